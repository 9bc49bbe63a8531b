// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A failed sync poisons its file and is never tried again: the kernel has marked the pages clean, so
// a second fsync would succeed without them. The calls are counted.
#include "regress/fakes.hpp"

using namespace regress;

TEST_CASE("a failed sync poisons the file and no further sync reaches the kernel") {
    const Watchdog watchdog(60);
    const bool uring = GENERATE(false, true);
    const unsigned how = GENERATE(0u, 1u, 2u, 3u);  // fsys_sync, submitted, linked pair, durable write
    const int error = GENERATE(-EIO, -ENOSPC, -EDQUOT);
    CAPTURE(uring, how, error);
    FailingSyscalls calls;
    libfsys::EngineConfig config;
    config.uring = uring && kernel_io_uring_errno() == 0;
    config.syscalls = &calls;
    const Scratch scratch;
    Handle handle(Handle::Adopt{open_scripted(config)});
    fsys_file *file = open_file(handle, scratch / "data", kReadWriteCreate);
    fsys_file *other = open_file(handle, scratch / "other", kReadWriteCreate);
    char bytes[512] = "x";
    REQUIRE(fsys_write(file, bytes, sizeof bytes, 0, 0) == sizeof bytes);
    calls.fail_sync = error;
    calls.fail_durable = error;
    fsys_op op = 0;
    fsys_result result{};
    switch (how) {
    case 0:
        REQUIRE(fsys_sync(file, 0) == error);
        break;
    case 1:
        REQUIRE(fsys_submit_sync(file, 0, 0, FSYS_SYNC_DATA, 0, &op) == 0);
        REQUIRE(fsys_wait(handle, op, 30 * kSecond, &result) == 0);
        REQUIRE(result.result == error);
        REQUIRE(result.step == FSYS_STEP_SYNC);
        break;
    case 2: {
        const fsys_request pair[2] = {
            request(FSYS_OP_WRITE, file, bytes, sizeof bytes, 0, FSYS_LINK),
            request(FSYS_OP_SYNC, file),
        };
        fsys_op ops[2];
        fsys_result results[2];
        REQUIRE(fsys_submit(handle, pair, 2, ops) == 2);
        REQUIRE(fsys_wait_all(handle, ops, 2, 30 * kSecond, results) == 0);
        REQUIRE(results[0].result == sizeof bytes);
        REQUIRE(results[1].result == error);
        break;
    }
    default:
        REQUIRE(fsys_write(file, bytes, sizeof bytes, 0, FSYS_DURABLE) == error);
        break;
    }
    const unsigned syncs = calls.syncs;
    const unsigned durable = calls.durable_writes;
    REQUIRE(syncs + durable == 1);
    // From now on the kernel would say yes. It must not be asked.
    calls.fail_sync = 0;
    calls.fail_durable = 0;
    for (int i = 0; i < 3; ++i) {
        CHECK(fsys_sync(file, 0) == FSYS_E_POISONED);
        CHECK(fsys_sync(file, FSYS_SYNC_DATA) == FSYS_E_POISONED);
        CHECK(fsys_submit_sync(file, 0, 0, 0, 0, &op) == FSYS_E_POISONED);
        CHECK(fsys_submit_sync(file, 1, 0, FSYS_SYNC_RANGE, 0, nullptr) == FSYS_E_POISONED);
        CHECK(fsys_write(file, bytes, sizeof bytes, 0, FSYS_DURABLE) == FSYS_E_POISONED);
        CHECK(fsys_submit_write(file, bytes, sizeof bytes, 0, FSYS_DURABLE, 0, &op) ==
              FSYS_E_POISONED);
    }
    CHECK(calls.syncs == syncs);
    CHECK(calls.durable_writes == durable);
    char cause[300] = "";
    CHECK(fsys_cause(file, cause, sizeof cause) > 0);
    CHECK_THAT(std::string(cause), Catch::Matchers::ContainsSubstring(std::strerror(-error)));
    // Not durable, but alive; and it is this file's trouble alone.
    CHECK(fsys_read(file, bytes, sizeof bytes, 0, 0) == sizeof bytes);
    CHECK(fsys_write(file, bytes, sizeof bytes, 0, 0) == sizeof bytes);
    CHECK(fsys_sync(other, 0) == 0);
    CHECK(fsys_cause(other, cause, sizeof cause) == 0);
    CHECK(info_of(handle).poisoned == 0);
    CHECK(handle.close() == 0);
}

TEST_CASE("a file opened anew is not poisoned by its predecessor in the same place") {
    const Watchdog watchdog(60);
    FailingSyscalls calls;
    libfsys::EngineConfig config;
    config.syscalls = &calls;
    config.uring = false;
    const Scratch scratch;
    Handle handle(Handle::Adopt{open_scripted(config)});
    for (int i = 0; i < 3; ++i) {
        fsys_file *file = open_file(handle, scratch / "data", kReadWriteCreate);
        char cause[300] = "";
        REQUIRE(fsys_cause(file, cause, sizeof cause) == 0);
        REQUIRE(fsys_sync(file, 0) == 0);
        calls.fail_sync = -EIO;
        REQUIRE(fsys_sync(file, 0) == -EIO);
        REQUIRE(fsys_sync(file, 0) == FSYS_E_POISONED);
        calls.fail_sync = 0;
        REQUIRE(fsys_file_close(file) == 0);
    }
    REQUIRE(handle.close() == 0);
}
