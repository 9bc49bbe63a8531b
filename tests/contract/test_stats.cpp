// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Counters add up, lanes are plausible, a handle tells what it uses.

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <numeric>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

constexpr std::uint32_t kNew = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE;

std::uint64_t total_ops(const fsys_counters &c) {
    std::uint64_t sum = 0;
    for (const auto &lane : c.ops) {
        sum = std::accumulate(std::begin(lane), std::end(lane), sum);
    }
    return sum;
}

std::uint64_t by_opcode(const fsys_counters &c, std::uint32_t opcode) {
    std::uint64_t sum = 0;
    for (const auto &lane : c.ops) {
        sum += lane[opcode];
    }
    return sum;
}

}  // namespace

TEST_CASE("stats: ops, bytes and failures add up; nothing is left in flight") {
    TempDir dir;
    Rig rig;
    fsys_file *file = rig.file(dir / "f", kNew);
    std::uint64_t lanes[4] = {};
    std::uint64_t read = 0;
    std::uint64_t written = 0;
    std::vector<unsigned char> buffer(10'000, 'x');
    const auto take = [&](fsys_op op) {
        const fsys_result result = rig.wait(op);
        ++lanes[result.lane];
        return result;
    };
    for (unsigned i = 0; i < 30; ++i) {
        const std::uint32_t hint = i % 2 != 0 ? FSYS_WAIT_SOON : 0;
        fsys_op op = 0;
        REQUIRE(fsys_submit_write(file, buffer.data(), 1000 + i, i * 2000, hint, 0, &op) == 0);
        written += static_cast<std::uint64_t>(take(op).result);
        REQUIRE(fsys_submit_read(file, buffer.data(), 10'000, i * 100, hint, 0, &op) == 0);
        read += static_cast<std::uint64_t>(take(op).result);
        REQUIRE(fsys_submit_sync(file, 0, 0, hint, 0, &op) == 0);
        CHECK(take(op).result == 0);
        fsys_request r{};
        REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
        CHECK(take(op).result == 0);
    }
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(file, buffer.data(), 10'000, 1 << 20, FSYS_EXACT, 0, &op) == 0);
    CHECK(take(op).result == FSYS_E_SHORT);
    fsys_counters c = rig.stats();
    CHECK(by_opcode(c, FSYS_OP_WRITE) == 30);
    CHECK(by_opcode(c, FSYS_OP_READ) == 31);
    CHECK(by_opcode(c, FSYS_OP_SYNC) == 30);
    CHECK(by_opcode(c, FSYS_OP_NOP) == 30);
    CHECK(total_ops(c) == 121);
    for (unsigned lane = 0; lane < 4; ++lane) {
        CAPTURE(lane);
        CHECK(std::accumulate(std::begin(c.ops[lane]), std::end(c.ops[lane]), std::uint64_t{0}) ==
              lanes[lane]);
    }
    CHECK(c.bytes_read == read);
    CHECK(c.bytes_written == written);
    CHECK(c.failed == 1);
    CHECK(c.in_flight == 0);
    CHECK(c.ops[FSYS_LANE_NONE][FSYS_OP_READ] == 0);
    // Blocking calls count as inline.
    const std::uint64_t before = c.ops[FSYS_LANE_INLINE][FSYS_OP_WRITE];
    CHECK(fsys_write(file, buffer.data(), 77, 0, 0) == 77);
    c = rig.stats();
    CHECK(c.ops[FSYS_LANE_INLINE][FSYS_OP_WRITE] == before + 1);
    CHECK(c.bytes_written == written + 77);
    // Every 16th op has a latency.
    std::uint64_t samples = 0;
    for (const auto &lane : c.latency) {
        samples = std::accumulate(std::begin(lane), std::end(lane), samples);
    }
    CHECK(samples >= 1);
    CHECK(samples <= total_ops(c));
}

TEST_CASE("stats: in_flight counts what waits") {
    Rig rig;
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    char bytes[5];
    fsys_op ops[5];
    CHECK(rig.stats().in_flight == 0);
    for (unsigned i = 0; i < 5; ++i) {
        REQUIRE(fsys_submit_read(file, &bytes[i], 1, 0, 0, 0, &ops[i]) == 0);
        CHECK(rig.stats().in_flight == i + 1);
    }
    REQUIRE(::write(pipe.write_end, "12345", 5) == 5);
    CHECK(fsys_wait_all(rig, ops, 5, 10 * kSecond, nullptr) == 0);
    CHECK(rig.stats().in_flight == 0);
    CHECK(rig.stats().bytes_read == 5);
}

TEST_CASE("stats: many threads, every op is counted once") {
    TempDir dir;
    write_whole(dir / "f", pattern(65536));
    Rig rig;
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ);
    Checks checks;
    rig.run(4, [&](unsigned) {
        char bytes[128];
        for (unsigned i = 0; i < 500; ++i) {
            fsys_op op = 0;
            checks.expect(fsys_submit_read(file, bytes, 128, i, i % 2 != 0 ? FSYS_WAIT_SOON : 0, 0,
                                           &op) == 0,
                          "submit");
            checks.expect(fsys_wait(rig, op, FSYS_FOREVER, nullptr) == 0, "wait");
        }
    });
    checks.require();
    const fsys_counters c = rig.stats();
    CHECK(by_opcode(c, FSYS_OP_READ) == 2000);
    CHECK(c.bytes_read == 2000 * 128);
    CHECK(c.in_flight == 0);
}

TEST_CASE("lanes: who executes what") {
    TempDir dir;
    write_whole(dir / "f", pattern(65536));
    Setup setup;
    setup.queue = quiet();
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE);
    char bytes[4096];
    fsys_op op = 0;
    fsys_request r{};
    r.opcode = FSYS_OP_READV;
    r.file = file;
    fsys_iovec iov{bytes, sizeof bytes};
    r.buffer = &iov;
    r.length = 1;
    // Nobody waits for it yet: the lane is the one that fsys_file_info() names.
    fsys_file_details details{};
    details.struct_size = sizeof details;
    REQUIRE(fsys_file_info(file, &details) == 0);
    fsys_result result{};
    const auto unattended = [&](const fsys_request &request) {
        fsys_request r2[2] = {request, {}};  // two: not claimed out of a batch
        fsys_op ops[2];
        REQUIRE(fsys_submit(rig, r2, 2, ops) == 2);
        rig.wait(ops[1]);
        return rig.wait(ops[0]);
    };
    result = unattended(r);
    CHECK(result.lane == details.read_lane);
    r.opcode = FSYS_OP_WRITEV;
    result = unattended(r);
    CHECK(result.lane == details.write_lane);
    r = {};
    r.opcode = FSYS_OP_SYNC;
    r.file = file;
    result = unattended(r);
    CHECK(result.lane == details.sync_lane);
    if (!variant().caller()) {
        // Waited for at once: the waiter is the executor, with no lane between.
        REQUIRE(fsys_submit_write(file, bytes, 10, 0, FSYS_WAIT_SOON, 0, &op) == 0);
        REQUIRE(fsys_wait(rig, op, FSYS_FOREVER, &result) == 0);
        CHECK(result.lane != FSYS_LANE_NONE);
        const std::uint64_t inline_reads = rig.stats().ops[FSYS_LANE_INLINE][FSYS_OP_READ];
        for (unsigned i = 0; i < 50; ++i) {
            REQUIRE(fsys_submit_read(file, bytes, 10, 0, FSYS_WAIT_SOON, 0, &op) == 0);
            REQUIRE(fsys_wait(rig, op, FSYS_FOREVER, &result) == 0);
        }
        // All but those during which this thread was off the processor for a tick.
        CHECK(rig.stats().ops[FSYS_LANE_INLINE][FSYS_OP_READ] - inline_reads >= 40);
    }
    // A stream is nobody's to be held by.
    Pipe pipe;
    fsys_file *stream = rig.from_fd(pipe.read_end);
    REQUIRE(::write(pipe.write_end, "x", 1) == 1);
    REQUIRE(fsys_submit_read(stream, bytes, 1, 0, FSYS_WAIT_SOON, 0, &op) == 0);
    REQUIRE(fsys_wait(rig, op, FSYS_FOREVER, &result) == 0);
    CHECK(result.lane != FSYS_LANE_INLINE);
    CHECK(result.lane != FSYS_LANE_NONE);
}

TEST_CASE("info: what a handle uses, before and after its first op") {
    Setup setup;
    setup.max_ops = 100;
    setup.max_files = 200;
    setup.pool_threads = 3;
    Rig rig(setup);
    fsys_handle_info info = rig.info();
    CHECK(info.struct_size == sizeof info);
    CHECK(info.driver_running == 0);
    CHECK(info.max_ops == 100);
    CHECK(info.max_files == 200);
    CHECK(info.pool_threads == 3);
    CHECK(info.driver == variant().driver);
    CHECK(info.poisoned == 0);
    CHECK(info.memory_bytes > 0);
    fsys_request r{};
    fsys_op op = 0;
    REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    rig.wait(op);
    info = rig.info();
    CHECK(info.backend == variant().backend);
    if (variant().ring()) {
        INFO("io_uring must be used where the machine has it: " << info.reason_text);
        CHECK(info.backend == FSYS_BACKEND_IO_URING);
        CHECK(info.backend_reason == FSYS_REASON_NONE);
        CHECK(info.backend_errno == 0);
        CHECK(info.driver_running == 1);
        CHECK(info.sq_entries >= 8);
        CHECK(info.cq_entries >= 100);
        CHECK(info.ring_features != 0);
        CHECK(info.registered_files == 64);
        CHECK(rig.stats().ops[FSYS_LANE_RING][FSYS_OP_NOP] == 1);
        CHECK(rig.stats().enters >= 1);
        CHECK(rig.stats().entries >= 1);
    } else if (variant().threads()) {
        CHECK(info.backend_reason == FSYS_REASON_ASKED);
        CHECK(std::strlen(info.reason_text) > 5);
        CHECK(info.registered_files == 0);
        CHECK(rig.stats().enters == 0);
    }
    fsys_handle_info bad{};
    CHECK(fsys_info(rig, &bad) == FSYS_E_BAD_STRUCT);
    CHECK(fsys_info(rig, nullptr) == -EINVAL);
}

TEST_CASE("stats: buckets rise, four to a power of two") {
    std::uint64_t last = 0;
    for (std::uint32_t i = 0; i < FSYS_STATS_BUCKETS; ++i) {
        const std::uint64_t bound = fsys_bucket_bound_ns(i);
        CHECK((i == 0 || bound > last || bound < 16));
        CHECK(bound >= last);
        last = bound;
    }
    CHECK(fsys_bucket_bound_ns(160) == UINT64_MAX);
}

TEST_CASE("doorbells: a burst of submits rings once, not per op") {
    if (variant().caller() || variant().threads()) {
        FSYS_SKIP("no other thread drives a queue here");
    }
    Setup setup;
    setup.queue = quiet();
    Rig rig(setup);
    std::vector<fsys_request> r(100);
    std::vector<fsys_op> ops(100);
    REQUIRE(fsys_submit(rig, r.data(), 100, ops.data()) == 100);
    REQUIRE(fsys_wait_all(rig, ops.data(), 100, 10 * kSecond, nullptr) == 0);
    CHECK(rig.stats().doorbells <= 2);
    if (variant().ring()) {
        CHECK(rig.stats().enters < 50);
        CHECK(rig.stats().entries >= 100);
    }
}
