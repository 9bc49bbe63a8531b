// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the two output streams can show. No state; any thread.
#include "terminal.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace cli {

namespace {

std::string sgr(const char *code, const std::string &text, bool on)
{
    return on ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}

std::string_view environment(const char *name)
{
    const char *value = std::getenv(name);
    return value == nullptr ? std::string_view() : std::string_view(value);
}

}  // namespace

bool is_terminal(int fd)
{
    return isatty(fd) == 1;
}

bool colours(int fd)
{
    return is_terminal(fd) && environment("NO_COLOR").empty() && environment("TERM") != "dumb";
}

bool utf8_locale()
{
    for (const char *name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
        const std::string_view value = environment(name);
        if (!value.empty()) {
            return value.find("UTF-8") != std::string_view::npos ||
                   value.find("utf8") != std::string_view::npos;
        }
    }
    return false;
}

int terminal_width(int fd)
{
    winsize size{};
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string bold(const std::string &text, bool on)
{
    return sgr("1", text, on);
}

std::string dim(const std::string &text, bool on)
{
    return sgr("2", text, on);
}

std::string green(const std::string &text, bool on)
{
    return sgr("32", text, on);
}

std::string yellow(const std::string &text, bool on)
{
    return sgr("33", text, on);
}

std::string red(const std::string &text, bool on)
{
    return sgr("31", text, on);
}

std::string bar(double fraction, int width, bool utf8)
{
    constexpr std::array<const char *, 8> eighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    fraction = std::clamp(fraction, 0.0, 1.0);
    std::string out;
    if (!utf8) {
        const int full = static_cast<int>(std::lround(fraction * width));
        out.append(static_cast<std::size_t>(full), '#');
        out.append(static_cast<std::size_t>(width - full), ' ');
        return out;
    }
    const int units = static_cast<int>(std::lround(fraction * width * 8));
    for (int i = 0; i < units / 8; ++i) {
        out += "█";
    }
    out += eighths[static_cast<std::size_t>(units % 8)];
    const int used = units / 8 + (units % 8 != 0 ? 1 : 0);
    out.append(static_cast<std::size_t>(width - used), ' ');
    return out;
}

void warn(const std::string &text)
{
    const bool on = colours(STDERR_FILENO);
    fmt::print(stderr, "fsys: {} {}\n", yellow("warning:", on), text);
}

}  // namespace cli
