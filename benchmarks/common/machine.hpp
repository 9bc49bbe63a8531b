// SPDX-License-Identifier: Apache-2.0 OR MIT
// What a reader must know of the machine to judge the figures.
#pragma once

#include "settings.hpp"

#include <string>
#include <utility>
#include <vector>

namespace bench {

struct Machine {
    std::vector<std::pair<std::string, std::string>> facts;
};

/// Reads /proc and /sys. Versions of what is measured are for the caller to add. Main thread.
Machine describe_machine(const Settings &settings);

/// The three load averages, as the kernel prints them.
std::string load_average();

}  // namespace bench
