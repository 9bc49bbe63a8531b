// SPDX-License-Identifier: Apache-2.0 OR MIT
// Runs another program and collects what it prints.
#pragma once

#include <string>
#include <vector>

namespace bench {

struct Output {
    int status = -1;   ///< exit status; -1 when the program could not be run or died of a signal
    std::string text;  ///< standard output and standard error together
};

/// Looks in PATH, waits for the end. Main thread.
Output run_program(const std::vector<std::string> &arguments);

}  // namespace bench
