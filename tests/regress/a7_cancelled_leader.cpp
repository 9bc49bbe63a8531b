// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A7: a cancelled append left a hole, and a cancelled sync left a flag behind that made every later
// sync hang. Here a cancelled op is over with its own completion: what is linked behind it ends too,
// and nothing else notices.
#include "regress/fuse.hpp"

using namespace regress;

TEST_CASE("A7: cancelling the head of a chain ends the chain and leaves nothing behind") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    const unsigned victim = GENERATE(0u, 1u, 2u);
    CAPTURE(backend_name(backend), victim);
    const Scratch scratch;
    Handle handle(backend);
    Pipe pipe;
    fsys_file *stream = adopt_fd(handle, pipe.read_end());
    fsys_file *file = open_file(handle, scratch / "data", kReadWriteCreate);
    char byte[2] = {};
    char bytes[512] = "hole";
    for (unsigned round = 0; round < 50; ++round) {
        const fsys_request chain[4] = {
            request(FSYS_OP_READ, stream, byte, 1, 0, FSYS_LINK, 0),
            request(FSYS_OP_WRITE, file, bytes, sizeof bytes, 0, FSYS_LINK, 1),
            request(FSYS_OP_SYNC, file, nullptr, 0, 0, FSYS_LINK, 2),
            request(FSYS_OP_NOP, nullptr, nullptr, 0, 0, 0, 3),
        };
        fsys_op ops[4];
        fsys_result results[4];
        REQUIRE(fsys_submit(handle, chain, 4, ops) == 4);
        REQUIRE(fsys_cancel(handle, ops[victim]) == 0);
        if (victim != 0) {
            REQUIRE(::write(pipe.write_end(), "x", 1) == 1);
        }
        REQUIRE(fsys_wait_all(handle, ops, 4, 30 * kSecond, results) == 0);
        for (unsigned i = 0; i < 4; ++i) {
            CAPTURE(round, i, results[i].result);
            REQUIRE(results[i].user_data == i);
            if (i >= victim) {
                REQUIRE(results[i].result == -ECANCELED);
            } else {
                REQUIRE(results[i].result > 0);
            }
        }
    }
    REQUIRE(std::filesystem::file_size(scratch / "data") == (victim <= 1 ? 0u : sizeof bytes));
    REQUIRE(stats_of(handle).in_flight == 0);
    REQUIRE(fsys_write(file, bytes, sizeof bytes, 0, 0) == sizeof bytes);
    REQUIRE(fsys_sync(file, 0) == 0);
    REQUIRE(handle.close() == 0);
}

TEST_CASE("A7: 200 writes are cancelled as they run: each wrote all of its block or is reported") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    Handle handle(backend);
    fsys_file *file = open_file(handle, scratch / "data", kReadWriteCreate);
    constexpr unsigned kOps = 200;
    std::vector<std::vector<unsigned char>> blocks;
    std::vector<fsys_op> ops(kOps);
    for (unsigned i = 0; i < kOps; ++i) {
        blocks.push_back(bytes_of(i, i * 4096, 4096));
        REQUIRE(fsys_submit_write(file, blocks[i].data(), 4096, i * 4096, 0, i, &ops[i]) == 0);
        const int code = fsys_cancel(handle, ops[i]);
        REQUIRE((code == 0 || code == -EALREADY));
    }
    for (unsigned i = 0; i < kOps; ++i) {
        fsys_result result{};
        REQUIRE(fsys_wait(handle, ops[i], 30 * kSecond, &result) == 0);
        REQUIRE(result.user_data == i);
        unsigned char back[4096] = {};
        const std::int64_t n = fsys_read(file, back, sizeof back, i * 4096, 0);
        if (result.result == 4096) {
            REQUIRE(n == 4096);
            REQUIRE(is_bytes_of(back, i, i * 4096, 4096));
        } else {
            REQUIRE(result.result == -ECANCELED);
            REQUIRE((n == 0 || std::all_of(back, back + n, [](auto b) { return b == 0; })));
        }
    }
    REQUIRE(fsys_sync(file, 0) == 0);
    REQUIRE(handle.close() == 0);
}

TEST_CASE("A7: a sync whose caller gave up does not hold up the syncs of others") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    StallingFile stalling;
    if (!stalling.missing().empty()) {
        FSYS_SKIP(stalling.missing());
    }
    Handle handle(backend);
    fsys_file *file = open_file(handle, stalling.path(), FSYS_FILE_READ | FSYS_FILE_WRITE);
    stalling.command("stall fsync");
    fsys_op leader = 0;
    Problems problems;
    std::thread([&] {
        NOTE_EQUAL(problems, fsys_submit_sync(file, 0, 0, 0, 1, &leader), 0);
        NOTE_EQUAL(problems, fsys_wait(handle, leader, 20 * kMs, nullptr), -ETIMEDOUT);
        const int code = fsys_cancel(handle, leader);
        NOTE_CHECK(problems, code == 0 || code == -EALREADY);
    }).join();
    REQUIRE(problems.text() == "");
    stalling.wait_stalled();
    fsys_op later = 0;
    REQUIRE(fsys_submit_sync(file, 0, 0, 0, 2, &later) == 0);
    stalling.command("go");
    fsys_result result{};
    REQUIRE(fsys_wait(handle, later, 30 * kSecond, &result) == 0);
    REQUIRE(result.result == 0);
    REQUIRE(fsys_wait(handle, leader, 30 * kSecond, &result) == 0);
    REQUIRE((result.result == 0 || result.result == -ECANCELED || result.result == -EINTR));
    REQUIRE(handle.close() == 0);
}
