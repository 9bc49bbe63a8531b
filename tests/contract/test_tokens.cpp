// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Tokens and waiting for one: single use, stale, foreign and invented ones, timeouts, WAIT_SOON.

#include <unistd.h>

#include <cerrno>
#include <random>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

fsys_op nop(const Rig &rig, std::uint64_t user_data = 0, std::uint32_t flags = 0) {
    fsys_request r{};
    r.opcode = FSYS_OP_NOP;
    r.flags = flags;
    r.user_data = user_data;
    fsys_op op = 0;
    REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    return op;
}

}  // namespace

TEST_CASE("token: taken once, stale ever after") {
    Rig rig;
    const fsys_op op = nop(rig, 7);
    CHECK(rig.wait(op).user_data == 7);
    fsys_result result{};
    std::uint32_t index = 9;
    CHECK(fsys_wait(rig, op, 0, &result) == FSYS_E_STALE);
    CHECK(fsys_wait(rig, op, FSYS_FOREVER, &result) == FSYS_E_STALE);
    CHECK(fsys_try(rig, op, &result) == FSYS_E_STALE);
    CHECK(fsys_wait_any(rig, &op, 1, FSYS_FOREVER, &index, &result) == FSYS_E_STALE);
    CHECK(index == 0);
    CHECK(fsys_wait_all(rig, &op, 1, FSYS_FOREVER, &result) == FSYS_E_STALE);
    CHECK(fsys_cancel(rig, op) == FSYS_E_STALE);
    // The slot is used again; the old token does not name the new op.
    for (unsigned i = 0; i < 1000; ++i) {
        const fsys_op next = nop(rig);
        REQUIRE(next != op);
        REQUIRE(fsys_try(rig, op, &result) == FSYS_E_STALE);
        rig.wait(next);
    }
}

TEST_CASE("token: foreign and invented ones are stale, never a crash") {
    Rig rig;
    Rig other;
    const fsys_op op = nop(rig);
    CHECK(fsys_wait(other, op, FSYS_FOREVER, nullptr) == FSYS_E_STALE);
    CHECK(fsys_cancel(other, op) == FSYS_E_STALE);
    CHECK(fsys_wait(rig, 0, FSYS_FOREVER, nullptr) == FSYS_E_STALE);
    std::mt19937_64 random(4711);
    for (unsigned i = 0; i < 20'000; ++i) {
        // Far from the truth, and off by some bits.
        const fsys_op invented = i % 2 == 0 ? random() : op ^ (fsys_op{1} << random() % 64) ^
                                                             (fsys_op{1} << random() % 64);
        if (invented == op) {
            continue;
        }
        REQUIRE(fsys_try(rig, invented, nullptr) == FSYS_E_STALE);
        REQUIRE(fsys_cancel(rig, invented) == FSYS_E_STALE);
    }
    CHECK(rig.wait(op).result == 0);
}

TEST_CASE("token: of an op of the completion queue there is none") {
    Rig rig;
    // The queue's ops have slots as well; their words must not be taken by guessing.
    fsys_request r{};
    REQUIRE(fsys_submit(rig, &r, 1, nullptr) == 1);
    const fsys_op near = nop(rig);
    for (std::uint64_t index = 0; index < 256; ++index) {
        const fsys_op guess = (near & ~fsys_op{0xffff}) | index;
        if (guess != near) {
            REQUIRE(fsys_try(rig, guess, nullptr) == FSYS_E_STALE);
        }
    }
    rig.wait(near);
    fsys_result result{};
    CHECK(fsys_reap(rig, &result, 1, 5 * kSecond) == 1);
    CHECK(result.op == 0);
}

TEST_CASE("wait: a timeout leaves the op alive") {
    Rig rig;
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    char byte = 0;
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(file, &byte, 1, 0, 0, 5, &op) == 0);
    fsys_result result{};
    result.result = 77;
    CHECK(fsys_wait(rig, op, 0, &result) == -ETIMEDOUT);
    const std::int64_t start = now_ns();
    CHECK(fsys_wait(rig, op, 20 * kMs, &result) == -ETIMEDOUT);
    CHECK(now_ns() - start >= 20 * kMs);
    CHECK(result.result == 77);
    CHECK(fsys_try(rig, op, &result) == -EAGAIN);
    REQUIRE(::write(pipe.write_end, "q", 1) == 1);
    CHECK(rig.wait(op).user_data == 5);
    CHECK(byte == 'q');
}

TEST_CASE("try: sees the completion without waiting") {
    TempDir dir;
    write_whole(dir / "f", pattern(100));
    Rig rig;
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ);
    char bytes[100];
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(file, bytes, 100, 0, 0, 1, &op) == 0);
    fsys_result result{};
    int code = 0;
    REQUIRE(rig.until([&] { return (code = fsys_try(rig, op, &result)) != -EAGAIN; }));
    CHECK(code == 0);
    CHECK(result.result == 100);
    CHECK(result.op == op);
}

TEST_CASE("WAIT_SOON: an abandoned op still runs") {
    if (variant().caller()) {
        // No thread of the library exists; the driver thread runs it when it polls.
        TempDir dir;
        Rig rig;
        const auto bytes = pattern(10);
        fsys_file *file = rig.file(dir / "f", FSYS_FILE_WRITE | FSYS_FILE_CREATE);
        fsys_op op = 0;
        REQUIRE(fsys_submit_write(file, bytes.data(), 10, 0, FSYS_WAIT_SOON, 0, &op) == 0);
        REQUIRE(rig.until([&] { return read_whole(dir / "f") == bytes; }));
        CHECK(rig.wait(op).result == 10);
        return;
    }
    TempDir dir;
    Rig rig;
    const auto bytes = pattern(10);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_WRITE | FSYS_FILE_CREATE);
    for (unsigned i = 0; i < 20; ++i) {
        fsys_op op = 0;
        REQUIRE(fsys_submit_write(file, bytes.data(), 10, i * 10, FSYS_WAIT_SOON, 0, &op) == 0);
        REQUIRE(rig.until([&] { return read_whole(dir / "f").size() == (i + 1) * 10; }));
        fsys_result result{};
        int code = 0;
        REQUIRE(rig.until([&] { return (code = fsys_try(rig, op, &result)) != -EAGAIN; }));
        CHECK(code == 0);
        CHECK(result.result == 10);
        if (i % 5 == 4) {
            sleep_ms(15);  // until the ticker sleeps
        }
    }
    // In a batch, and without a token.
    std::vector<fsys_request> r(50);
    for (auto &one : r) {
        one.flags = FSYS_WAIT_SOON;
    }
    std::vector<fsys_op> ops(50);
    REQUIRE(fsys_submit(rig, r.data(), 50, ops.data()) == 50);
    REQUIRE(rig.until([&] { return rig.stats().in_flight == 0; }));
    REQUIRE(fsys_wait_all(rig, ops.data(), 50, 0, nullptr) == 0);
    REQUIRE(fsys_submit(rig, r.data(), 50, nullptr) == 50);
    std::vector<fsys_result> results(50);
    int taken = 0;
    REQUIRE(rig.until([&] { return (taken += fsys_reap(rig, results.data(), 50, 0)) == 50; }));
}

TEST_CASE("wait: of many threads on one token exactly one gets it") {
    TempDir dir;
    write_whole(dir / "f", pattern(4096));
    Rig rig;
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ);
    Pipe pipe;
    fsys_file *slow = rig.from_fd(pipe.read_end);
    Checks checks;
    for (unsigned round = 0; round < 60; ++round) {
        std::vector<char> buffer(4096);
        fsys_op op = 0;
        const bool stream = round % 3 == 0;
        if (stream) {
            REQUIRE(fsys_submit_read(slow, buffer.data(), 1, 0, 0, round, &op) == 0);
        } else {
            REQUIRE(fsys_submit_read(file, buffer.data(), 4096, 0,
                                     round % 3 == 1 ? FSYS_WAIT_SOON : 0, round, &op) == 0);
        }
        std::atomic<unsigned> got{0};
        std::atomic<unsigned> stale{0};
        rig.run(7, [&](unsigned i) {
            fsys_result result{};
            std::uint32_t index = 0;
            int code = 0;
            if (i == 6) {
                if (stream) {
                    sleep_ms(3);
                    checks.expect(::write(pipe.write_end, "x", 1) == 1, "write");
                }
                return;
            }
            switch (i % 3) {
            case 0:
                code = fsys_wait(rig, op, i == 0 ? FSYS_FOREVER : 20 * kSecond, &result);
                break;
            case 1:
                code = fsys_wait_any(rig, &op, 1, i == 1 ? FSYS_FOREVER : 20 * kSecond, &index,
                                     &result);
                break;
            default:
                code = fsys_wait_all(rig, &op, 1, i == 2 ? FSYS_FOREVER : 20 * kSecond, &result);
                break;
            }
            if (code == 0) {
                got.fetch_add(1);
                checks.expect(result.user_data == round, "user data");
            } else {
                stale.fetch_add(1);
                checks.expect(code == FSYS_E_STALE, "loser got " + std::to_string(code));
            }
        });
        checks.require();
        REQUIRE(got.load() == 1);
        REQUIRE(stale.load() == 5);
    }
}
