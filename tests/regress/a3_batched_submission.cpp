// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A3: one entry per io_uring_enter even with many ops queued, and one wake-up per batch of
// completions. On a caller-driven handle the batching is exact: what was listed goes to the kernel
// in one call. With a driver thread, an array costs one doorbell at most.
#include "regress/support.hpp"

using namespace regress;

TEST_CASE("A3: ops submitted one by one go to the kernel in one call") {
    const Watchdog watchdog(60);
    if (kernel_io_uring_errno() != 0) {
        FSYS_SKIP("no io_uring: " + std::string(std::strerror(kernel_io_uring_errno())));
    }
    fsys_options options = default_options(FSYS_BACKEND_IO_URING);
    options.driver = FSYS_DRIVER_CALLER;
    Handle handle(options);
    const fsys_request nop = request(FSYS_OP_NOP, nullptr);
    fsys_op op = 0;
    REQUIRE(fsys_submit(handle, &nop, 1, &op) == 1);
    REQUIRE(fsys_wait(handle, op, FSYS_FOREVER, nullptr) == 0);
    constexpr unsigned kOps = 200;
    const fsys_counters before = stats_of(handle);
    for (unsigned i = 0; i < kOps; ++i) {
        REQUIRE(fsys_submit(handle, &nop, 1, nullptr) == 1);
    }
    unsigned taken = 0;
    while (taken < kOps) {
        fsys_result results[kOps];
        REQUIRE(fsys_poll(handle, 10 * kSecond) >= 0);
        const int n = fsys_reap(handle, results, kOps, 0);
        REQUIRE(n >= 0);
        taken += static_cast<unsigned>(n);
    }
    const fsys_counters after = stats_of(handle);
    CHECK(after.entries - before.entries >= kOps);
    CHECK(after.entries - before.entries <= kOps + 1);  // the poll of the wake descriptor
    CHECK(after.enters - before.enters <= 2);
    CHECK(after.doorbells == before.doorbells);
    CHECK(handle.close() == 0);
}

TEST_CASE("A3: an array costs one doorbell and wakes its waiter once") {
    const Watchdog watchdog(60);
    if (kernel_io_uring_errno() != 0) {
        FSYS_SKIP("no io_uring: " + std::string(std::strerror(kernel_io_uring_errno())));
    }
    Handle handle(FSYS_BACKEND_IO_URING);
    constexpr unsigned kOps = 128;
    constexpr unsigned kRounds = 50;
    const std::vector<fsys_request> batch(kOps, request(FSYS_OP_NOP, nullptr));
    std::vector<fsys_op> ops(kOps);
    const auto run = [&] {
        REQUIRE(fsys_submit(handle, batch.data(), kOps, ops.data()) == kOps);
        REQUIRE(fsys_wait_all(handle, ops.data(), kOps, 30 * kSecond, nullptr) == 0);
    };
    run();
    const fsys_counters before = stats_of(handle);
    for (unsigned i = 0; i < kRounds; ++i) {
        run();
    }
    const fsys_counters after = stats_of(handle);
    const std::uint64_t enters = after.enters - before.enters;
    CAPTURE(enters);
    CHECK(after.entries - before.entries >= kOps * kRounds);
    CHECK(enters < kOps * kRounds / 8);
    CHECK(after.doorbells - before.doorbells <= kRounds);
    CHECK(after.futex_wakes - before.futex_wakes <= 2 * kRounds);
    CHECK(handle.close() == 0);
}
