// SPDX-License-Identifier: Apache-2.0 OR MIT
// The groups of figures. Each runs its comparisons and adds its goals to the report. Main thread.
#pragma once

#include "report.hpp"

namespace bench {

/// What the groups share.
struct Bench {
    Report &report;
    std::string directory;
    std::string rust;  ///< the Rust peer's program, or ""
};

void measure_commits(const Bench &bench);   // group_commit.cpp
void measure_async(const Bench &bench);     // group_commit.cpp
void measure_open_loop(const Bench &bench); // group_open_loop.cpp
void measure_appends(const Bench &bench);   // group_append.cpp
void measure_recovery(const Bench &bench);  // group_recovery.cpp
void measure_length(const Bench &bench);    // group_growth.cpp

}  // namespace bench
