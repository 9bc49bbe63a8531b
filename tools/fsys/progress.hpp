// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One status line on stderr, redrawn in place. One thread draws; the numbers come from atomics
// that the workers count in.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace cli {

enum class ProgressMode { kAuto, kAlways, kNever };

class Progress {
public:
    explicit Progress(ProgressMode mode);
    ~Progress() { clear(); }
    Progress(const Progress &) = delete;
    Progress &operator=(const Progress &) = delete;

    bool shown() const { return shown_; }

    // Starts counting time, rate and ETA anew: "copy", "verify". Without a total of bytes the count
    // of files, or of whatever else `things` names, is shown alone; without either there is no bar.
    void phase(std::string name, std::uint64_t total_bytes, std::uint64_t total_files,
               const char *things = "files");
    // Redraws; does nothing when called more than some ten times a second, unless `now`.
    void draw(std::uint64_t bytes, std::uint64_t files, bool now = false);
    // A line without bar or totals: "scanning: 12,345 files".
    void note(const std::string &text);
    // Takes the line away, so that messages and results start in column 1.
    void clear();

private:
    using Clock = std::chrono::steady_clock;
    void put(const std::string &line);

    bool shown_;
    bool in_place_;  // a terminal: rewrite one line; else (--progress=always) one line each
    bool colours_;
    bool utf8_;
    bool dirty_ = false;
    std::string phase_;
    std::uint64_t total_bytes_ = 0;
    std::uint64_t total_files_ = 0;
    const char *things_ = "files";
    Clock::time_point started_;
    Clock::time_point drawn_;
};

}  // namespace cli
