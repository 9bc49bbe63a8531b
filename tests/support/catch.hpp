// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The one place that names Catch2's headers: version 2 has one header, version 3 another.
// Tests include "support/catch.hpp" and write TEST_CASE, REQUIRE and so on as usual; the matcher
// for a part of a text goes by its version 3 name, ContainsSubstring.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#define CATCH_CONFIG_EXTERNAL_INTERFACES  // listeners, which version 3 has anyway
#include <catch2/catch.hpp>
namespace Catch::Matchers {
inline auto ContainsSubstring(const std::string &part) { return Contains(part); }
}  // namespace Catch::Matchers
#endif

#include <string>

namespace libfsys::test {

// Says on stdout that the running test case is skipped, and counts it as skipped, not passed.
// Called through FSYS_SKIP.
void note_skip(const std::string &reason);

}  // namespace libfsys::test

// Leaves the current test case (from the test case's own body, not from a helper function) because
// the machine lacks something. The reason is printed and the case counts as skipped. The SUCCEED
// keeps the runner's rule that a test case without any assertion has failed.
#define FSYS_SKIP(reason)                \
    do {                                 \
        ::libfsys::test::note_skip(reason); \
        SUCCEED("skipped");              \
        return;                          \
    } while (false)
