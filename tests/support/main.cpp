// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The Catch2 runner, compiled once and linked into every C++ test program.
//
// Adds to Catch2's own: a test case that asserts nothing has failed; a program whose cases were all
// skipped exits with 77, which Meson reports as SKIP; and the last line on stdout counts the cases
// in the form that tools/sum-tests adds up. The main thread only enters.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using ListenerBase = Catch::EventListenerBase;
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
using ListenerBase = Catch::TestEventListenerBase;
#endif

#include <atomic>
#include <cstdio>
#include <string>

namespace libfsys::test {

namespace {

struct Counts {
    unsigned passed = 0;
    unsigned failed = 0;
    unsigned skipped = 0;
};

Counts counts;
std::atomic<bool> current_skipped{false};

class CountingListener : public ListenerBase {
public:
    using ListenerBase::ListenerBase;

    void testCaseStarting(const Catch::TestCaseInfo &) override { current_skipped = false; }

    void testCaseEnded(const Catch::TestCaseStats &stats) override {
        if (stats.totals.testCases.failed != 0 || stats.totals.assertions.failed != 0) {
            ++counts.failed;
        } else if (current_skipped) {
            ++counts.skipped;
        } else {
            ++counts.passed;
        }
    }
};

}  // namespace

void note_skip(const std::string &reason) {
    current_skipped = true;
    std::printf("skipped: %s\n", reason.c_str());
    std::fflush(stdout);
}

}  // namespace libfsys::test

using libfsys::test::CountingListener;
CATCH_REGISTER_LISTENER(CountingListener)

int main(int argc, char **argv) {
    Catch::Session session;
    session.configData().warnings = Catch::WarnAbout::NoAssertions;
    int code = session.applyCommandLine(argc, argv);
    if (code != 0) {
        return code;
    }
    code = session.run();
    const auto &counts = libfsys::test::counts;
    if (counts.passed + counts.failed + counts.skipped == 0) {
        return code;  // a listing, or nothing matched: Catch2's own code is right
    }
    std::printf("test cases: %u passed, %u failed, %u skipped\n", counts.passed, counts.failed,
                counts.skipped);
    std::fflush(stdout);
    return code == 0 && counts.passed == 0 && counts.skipped > 0 ? 77 : code;
}
