// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Backpressure: what happens when all slots are in use.

#include <unistd.h>

#include <cerrno>
#include <thread>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

// Takes every slot with reads of a pipe that wait.
std::vector<fsys_op> occupy(fsys_file *file, std::vector<char> &bytes) {
    std::vector<fsys_op> ops(bytes.size());
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        REQUIRE(fsys_submit_read(file, &bytes[i], 1, 0, 0, i, &ops[i]) == 0);
    }
    return ops;
}

}  // namespace

TEST_CASE("pressure: NONBLOCK is told at once, others after the timeout") {
    Setup setup;
    setup.max_ops = 16;
    setup.submit_timeout_ns = 60 * kMs;
    Rig rig(setup);
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    std::vector<char> bytes(16);
    const auto ops = occupy(file, bytes);
    fsys_request r{};
    fsys_op op = 0;
    r.flags = FSYS_NONBLOCK;
    std::int64_t start = now_ns();
    CHECK(fsys_submit(rig, &r, 1, &op) == -EAGAIN);
    CHECK(fsys_submit_read(file, bytes.data(), 1, 0, FSYS_NONBLOCK, 0, &op) == -EAGAIN);
    CHECK(now_ns() - start < 50 * kMs);
    r.flags = 0;
    start = now_ns();
    CHECK(fsys_submit(rig, &r, 1, &op) == -EAGAIN);
    CHECK(now_ns() - start >= 60 * kMs);
    CHECK(rig.stats().slot_waits >= 1);
    CHECK(rig.stats().in_flight == 16);
    // One byte frees one slot once its completion is taken.
    REQUIRE(::write(pipe.write_end, "x", 1) == 1);
    std::uint32_t index = 0;
    REQUIRE(fsys_wait_any(rig, ops.data(), 16, 10 * kSecond, &index, nullptr) == 0);
    r.flags = FSYS_NONBLOCK;
    REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    CHECK(fsys_submit(rig, &r, 1, &op) == -EAGAIN);
    CHECK(rig.wait(op).result == 0);
    for (const fsys_op waiting : ops) {
        if (waiting != ops[index]) {
            CHECK(fsys_cancel(rig, waiting) == 0);
            rig.wait(waiting);
        }
    }
}

TEST_CASE("pressure: an array is accepted as far as there is room") {
    Setup setup;
    setup.max_ops = 16;
    Rig rig(setup);
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    std::vector<char> bytes(10);
    const auto waiting = occupy(file, bytes);
    std::vector<fsys_request> r(12);
    for (auto &one : r) {
        one.opcode = FSYS_OP_READ;
        one.file = file;
        one.buffer = bytes.data();
        one.length = 1;
        one.flags = FSYS_NONBLOCK;
    }
    std::vector<fsys_op> ops(12);
    REQUIRE(fsys_submit(rig, r.data(), 12, ops.data()) == 6);
    for (unsigned i = 0; i < 6; ++i) {
        CHECK(fsys_cancel(rig, ops[i]) == 0);
        CHECK(rig.wait(ops[i]).result == -ECANCELED);
    }
    for (const fsys_op op : waiting) {
        CHECK(fsys_cancel(rig, op) == 0);
        rig.wait(op);
    }
}

TEST_CASE("pressure: an array with tokens never waits for the slots that it holds itself") {
    Setup setup;
    setup.max_ops = 200;
    setup.submit_timeout_ns = 600 * kSecond;  // longer than the watchdog
    for (const std::uint32_t flags : {0u, FSYS_WAIT_SOON}) {
        Rig rig(setup);
        std::vector<fsys_request> r(500);
        for (auto &one : r) {
            one.flags = flags;
        }
        std::vector<fsys_op> ops(r.size());
        REQUIRE(fsys_submit(rig, r.data(), 500, ops.data()) == 200);
        std::vector<fsys_result> results(200);
        REQUIRE(fsys_wait_all(rig, ops.data(), 200, FSYS_FOREVER, results.data()) == 0);
    }
}

TEST_CASE("pressure: blocked submitters go on as slots come free") {
    Setup setup;
    setup.max_ops = 8;
    setup.submit_timeout_ns = 20 * kSecond;
    Rig rig(setup);
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    std::vector<char> bytes(8);
    const auto waiting = occupy(file, bytes);
    Checks checks;
    std::atomic<unsigned> accepted{0};
    rig.run(5, [&](unsigned i) {
        if (i == 4) {
            sleep_ms(20);
            checks.expect(accepted.load() == 0, "accepted without a slot");
            checks.expect(::write(pipe.write_end, "12345678", 8) == 8, "write");
            const int code = fsys_wait_all(rig, waiting.data(), 8, 20 * kSecond, nullptr);
            checks.expect(code == 0, "wait_all " + std::to_string(code));
            return;
        }
        for (unsigned n = 0; n < 20; ++n) {
            fsys_request r{};
            fsys_op op = 0;
            const int code = fsys_submit(rig, &r, 1, &op);
            checks.expect(code == 1, "submit " + std::to_string(code));
            if (code != 1) {
                return;
            }
            accepted.fetch_add(1);
            checks.expect(fsys_wait(rig, op, 20 * kSecond, nullptr) == 0, "wait");
        }
    });
    checks.require();
    CHECK(accepted.load() == 80);
    CHECK(rig.stats().in_flight == 0);
}

TEST_CASE("pressure: a flood through one slot completes every op") {
    TempDir dir;
    write_whole(dir / "f", pattern(4096));
    Setup setup;
    setup.max_ops = 1;
    setup.submit_timeout_ns = 20 * kSecond;
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ);
    Checks checks;
    rig.run(4, [&](unsigned thread) {
        char bytes[64];
        for (unsigned i = 0; i < 100; ++i) {
            fsys_op op = 0;
            fsys_result result{};
            const int code = fsys_submit_read(file, bytes, 64, i, thread % 2 != 0 ? FSYS_WAIT_SOON : 0,
                                              i, &op);
            checks.expect(code == 0, "submit " + std::to_string(code));
            const int waited = fsys_wait(rig, op, FSYS_FOREVER, &result);
            checks.expect(waited == 0 && result.result == 64, "wait " + std::to_string(waited));
        }
    });
    checks.require();
}

TEST_CASE("pressure: the driver thread does not wait for itself") {
    if (!variant().caller()) {
        FSYS_SKIP("the handle has its own thread");
    }
    // All slots hold completions that only this thread could take.
    Setup setup;
    setup.max_ops = 4;
    setup.submit_timeout_ns = 20 * kSecond;
    setup.queue = quiet();
    Rig rig(setup);
    fsys_request r{};
    fsys_op ops[4];
    for (fsys_op &op : ops) {
        REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    }
    fsys_op op = 0;
    const std::int64_t start = now_ns();
    CHECK(fsys_submit(rig, &r, 1, &op) == -EAGAIN);
    CHECK(now_ns() - start < 5 * kSecond);
    CHECK(fsys_wait_all(rig, ops, 4, 0, nullptr) == 0);
}
