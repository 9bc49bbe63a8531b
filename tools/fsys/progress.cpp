// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One status line on stderr, redrawn in place. Used by the command's main thread only.
#include "progress.hpp"

#include "terminal.hpp"
#include "units.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace cli {

Progress::Progress(ProgressMode mode)
    : shown_(mode == ProgressMode::kAlways ||
             (mode == ProgressMode::kAuto && is_terminal(STDERR_FILENO))),
      in_place_(is_terminal(STDERR_FILENO)),
      colours_(colours(STDERR_FILENO)),
      utf8_(utf8_locale())
{
}

void Progress::phase(std::string name, std::uint64_t total_bytes, std::uint64_t total_files,
                     const char *things)
{
    things_ = things;
    phase_ = std::move(name);
    total_bytes_ = total_bytes;
    total_files_ = total_files;
    started_ = Clock::now();
    drawn_ = {};
}

void Progress::draw(std::uint64_t bytes, std::uint64_t files, bool now)
{
    if (!shown_) {
        return;
    }
    const auto time = Clock::now();
    const auto pause = in_place_ ? std::chrono::milliseconds(80) : std::chrono::milliseconds(1000);
    if (!now && time - drawn_ < pause) {
        return;
    }
    drawn_ = time;

    const double seconds = std::chrono::duration<double>(time - started_).count();
    // Trees of tiny and empty files move files, not bytes: the bar follows both.
    const double work = static_cast<double>(total_bytes_) + 16384.0 * static_cast<double>(total_files_);
    const double done = static_cast<double>(bytes) + 16384.0 * static_cast<double>(files);
    const double fraction = work > 0 ? std::min(1.0, done / work) : 1.0;
    const double rate = seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
    const std::string eta =
        fraction > 0.01 && seconds > 0.3
            ? clock_seconds(seconds * (1 - fraction) / fraction)
            : std::string("--:--");
    std::string text;
    if (total_bytes_ == 0 && total_files_ == 0) {
        put(fmt::format("{}  {}  {}", phase_, human_bytes(bytes),
                        human_rate(seconds > 0 ? static_cast<double>(bytes) / seconds : 0)));
        return;
    }
    if (total_bytes_ != 0) {
        text = fmt::format(" {:3.0f}%  {:>9} of {}", fraction * 100, human_bytes(bytes),
                           human_bytes(total_bytes_));
    } else {
        text = fmt::format(" {:3.0f}%", fraction * 100);
    }
    if (total_files_ != 0) {
        text += fmt::format("  {}/{} {}", human_count(files), human_count(total_files_), things_);
    }
    text += total_bytes_ != 0
                ? fmt::format("  {:>11}", human_rate(rate))
                : fmt::format("  {:>9}/s", human_count(static_cast<std::uint64_t>(
                                               seconds > 0 ? static_cast<double>(files) / seconds
                                                           : 0)));
    text += "  ETA " + eta;
    const int room = (in_place_ ? terminal_width(STDERR_FILENO) : 100) - 1;
    const int used = static_cast<int>(phase_.size() + text.size()) + 3;
    const int width = std::min(30, room - used);
    std::string line = phase_;
    if (width >= 5) {
        line += " " + (utf8_ ? std::string("▕") : std::string("[")) +
                green(bar(fraction, width, utf8_), colours_) +
                (utf8_ ? std::string("▏") : std::string("]")) + text;
    } else {
        line += text;
        line.resize(std::min(line.size(), static_cast<std::size_t>(std::max(room, 1))));
    }
    put(line);
}

void Progress::note(const std::string &text)
{
    if (!shown_ || !in_place_) {
        return;
    }
    const auto time = Clock::now();
    if (time - drawn_ < std::chrono::milliseconds(80)) {
        return;
    }
    drawn_ = time;
    put(text);
}

void Progress::put(const std::string &line)
{
    if (in_place_) {
        fmt::print(stderr, "\r{}\x1b[K", line);
        dirty_ = true;
    } else {
        fmt::print(stderr, "{}\n", line);
    }
    std::fflush(stderr);
}

void Progress::clear()
{
    if (dirty_) {
        fmt::print(stderr, "\r\x1b[K");
        std::fflush(stderr);
        dirty_ = false;
    }
}

}  // namespace cli
