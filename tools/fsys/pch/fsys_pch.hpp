// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Compiled once: these headers cost more than most files of the program. Precompiled, so without an
// include guard.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
