// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Compiled once: Catch2's header costs more than a test file. Precompiled, so without an include guard.

#include <filesystem>
#include <functional>
#include <thread>

#include "support/catch.hpp"
