// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// io_uring worked when the handle was opened, but the driver's ring cannot be made: the default goes
// on with plain calls and says so; io_uring asked for by name is an error, at once, at every submit.
// And requests that the kernel drops because it cannot make a worker (a pids limit) are done by a
// plain call.
#include "regress/fakes.hpp"

using namespace regress;

TEST_CASE("no ring at the first op: the default falls back to the pool") {
    const Watchdog watchdog(60);
    const int error = GENERATE(-ENOMEM, -EMFILE, -EPERM);
    CAPTURE(error);
    const auto script = std::make_shared<Script>();
    script->open_code = error;
    FailingSyscalls calls;
    calls.cold = true;
    libfsys::EngineConfig config = scripted(script);
    config.syscalls = &calls;
    const Scratch scratch;
    Handle handle(Handle::Adopt{open_scripted(config)});
    fsys_file *file = open_file(handle, scratch.make("data", 4096, 3));
    Problems problems;
    run_threads(8, [&](unsigned) {
        for (unsigned i = 0; i < 50; ++i) {
            unsigned char bytes[64];
            fsys_op op = 0;
            fsys_result result{};
            NOTE_EQUAL(problems, fsys_submit_read(file, bytes, sizeof bytes, i * 64, 0, i, &op), 0);
            NOTE_EQUAL(problems, fsys_wait(handle, op, 30 * kSecond, &result), 0);
            NOTE_EQUAL(problems, result.result, 64);
            NOTE_EQUAL(problems, result.lane, FSYS_LANE_POOL);
            NOTE_CHECK(problems, is_bytes_of(bytes, 3, i * 64, sizeof bytes));
        }
    });
    REQUIRE(problems.text() == "");
    const fsys_handle_info info = info_of(handle);
    REQUIRE(info.backend == FSYS_BACKEND_THREADS);
    REQUIRE(info.backend_reason != FSYS_REASON_NONE);
    REQUIRE(info.reason_text[0] != '\0');
    REQUIRE(info.poisoned == 0);
    REQUIRE(handle.close() == 0);
}

TEST_CASE("no ring at the first op: an error where io_uring was asked for by name") {
    const Watchdog watchdog(60);
    const auto script = std::make_shared<Script>();
    script->open_code = -ENOMEM;
    libfsys::EngineConfig config = scripted(script);
    config.uring_required = true;
    Handle handle(Handle::Adopt{open_scripted(config)});
    const fsys_request nop = request(FSYS_OP_NOP, nullptr);
    fsys_op op = 0;
    for (int i = 0; i < 3; ++i) {
        REQUIRE(fsys_submit(handle, &nop, 1, &op) == FSYS_E_URING_SETUP);
    }
    REQUIRE(handle.close() == 0);
}

TEST_CASE("a request that the kernel cancelled by itself is done by a plain call") {
    const Watchdog watchdog(60);
    const auto script = std::make_shared<Script>();
    script->answer = [](const libfsys::AsyncRequest &r) -> std::optional<std::int32_t> {
        return r.opcode == FSYS_OP_NOP ? std::nullopt : std::optional<std::int32_t>(-ECANCELED);
    };
    FailingSyscalls calls;
    calls.cold = true;
    libfsys::EngineConfig config = scripted(script);
    config.syscalls = &calls;
    const Scratch scratch;
    Handle handle(Handle::Adopt{open_scripted(config)});
    fsys_file *file = open_file(handle, scratch.make("data", 4096, 3));
    for (unsigned i = 0; i < 20; ++i) {
        unsigned char bytes[64];
        fsys_op op = 0;
        fsys_result result{};
        REQUIRE(fsys_submit_read(file, bytes, sizeof bytes, i * 64, 0, i, &op) == 0);
        REQUIRE(fsys_wait(handle, op, 30 * kSecond, &result) == 0);
        REQUIRE(result.result == 64);
        REQUIRE(result.lane == FSYS_LANE_POOL);
        REQUIRE(is_bytes_of(bytes, 3, i * 64, sizeof bytes));
    }
    REQUIRE(handle.close() == 0);
}
