// SPDX-License-Identifier: Apache-2.0 OR MIT
// The groups of figures. Each runs its comparisons and adds its goals to the report. Main thread.
#pragma once

#include "report.hpp"
#include "testfile.hpp"

namespace bench {

struct Files {
    TestFile &cached;  ///< read and overwritten through the page cache, resident
    TestFile &direct;  ///< read and overwritten with O_DIRECT, never resident
};

void measure_idle(Report &report);                              // group_idle.cpp, first of all
void measure_single(Report &report, const Files &files);        // group_single.cpp
void measure_batch(Report &report, const Files &files);         // group_batch.cpp
void measure_depth(Report &report, const Files &files);         // group_depth.cpp
void measure_nop(Report &report);                               // group_nop.cpp
void measure_durable(Report &report, const Files &files);       // group_durable.cpp
void measure_open_loop(Report &report, const Files &files);     // group_open_loop.cpp
void measure_peers(Report &report, const Files &files);         // group_peers.cpp
void measure_growth(Report &report, const Files &files);        // group_growth.cpp
void measure_instructions(Report &report, const Files &files);  // group_instructions.cpp

/// The part of measure_instructions() that valgrind runs: `count` ops of one kind.
int run_instruction_child(const std::string &kind, unsigned long count, const std::string &path);

}  // namespace bench
