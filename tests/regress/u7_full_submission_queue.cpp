// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// U7: when the second half of a linked pair did not fit the queue, the first stayed queued with a
// stale pointer and went out with somebody else's op. Here 64 threads fight for very few slots; a
// pair is accepted whole or not at all, and what was refused never runs.
#include "regress/support.hpp"

using namespace regress;

TEST_CASE("U7: 64 threads through a tiny queue: every op completes once, with its own result") {
    const Watchdog watchdog(120);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    const std::uint32_t slots = GENERATE(1u, 7u, 64u);
    CAPTURE(backend_name(backend), slots);
    const Scratch scratch;
    constexpr std::size_t kBlock = 512;
    constexpr unsigned kThreads = 64;
    constexpr unsigned kRounds = kSanitized ? 15 : 60;
    fsys_options options = default_options(backend);
    options.max_ops = slots;
    Handle handle(options);
    fsys_file *file = open_file(handle, scratch / "data", kReadWriteCreate);
    Problems problems;
    std::atomic<unsigned> done{0};
    run_threads(kThreads, [&](unsigned thread) {
        const std::uint64_t at = thread * kBlock;
        for (unsigned round = 0; round < kRounds; ++round) {
            auto bytes = bytes_of(thread + round, at, kBlock);
            fsys_result result{};
            fsys_op op = 0;
            if (slots > 1 && round % 2 == 0) {
                // A pair; the write must be there when the read behind it runs.
                std::vector<unsigned char> back(kBlock);
                const fsys_request pair[2] = {
                    request(FSYS_OP_WRITE, file, bytes.data(), kBlock, at, FSYS_LINK, thread),
                    request(FSYS_OP_READ, file, back.data(), kBlock, at, 0, thread + 1),
                };
                fsys_op ops[2];
                const int accepted = fsys_submit(handle, pair, 2, ops);
                if (!NOTE_EQUAL(problems, accepted, 2)) {
                    continue;
                }
                fsys_result results[2];
                NOTE_EQUAL(problems, fsys_wait_all(handle, ops, 2, 60 * kSecond, results), 0);
                NOTE_EQUAL(problems, results[0].result, kBlock);
                NOTE_EQUAL(problems, results[0].user_data, thread);
                NOTE_EQUAL(problems, results[1].result, kBlock);
                NOTE_EQUAL(problems, results[1].user_data, thread + 1);
                NOTE_CHECK(problems, back == bytes);
            } else {
                NOTE_EQUAL(problems, fsys_submit_write(file, bytes.data(), kBlock, at, 0, thread, &op),
                           0);
                NOTE_EQUAL(problems, fsys_wait(handle, op, 60 * kSecond, &result), 0);
                NOTE_EQUAL(problems, result.result, kBlock);
                NOTE_EQUAL(problems, result.user_data, thread);
            }
            done.fetch_add(1);
        }
    });
    REQUIRE(problems.text() == "");
    REQUIRE(done == kThreads * kRounds);
    for (unsigned thread = 0; thread < kThreads; ++thread) {
        unsigned char bytes[kBlock];
        REQUIRE(fsys_read(file, bytes, kBlock, thread * kBlock, 0) == kBlock);
        REQUIRE(is_bytes_of(bytes, thread + kRounds - 1, thread * kBlock, kBlock));
    }
    REQUIRE(stats_of(handle).in_flight == 0);
    REQUIRE(handle.close() == 0);
}

TEST_CASE("U7: a pair that does not fit is refused whole and never runs") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    const std::uint32_t slots = GENERATE(1u, 2u);
    CAPTURE(backend_name(backend), slots);
    const Scratch scratch;
    fsys_options options = default_options(backend);
    options.max_ops = slots;
    options.submit_timeout_ns = 50 * kMs;
    Handle handle(options);
    fsys_file *file = open_file(handle, scratch.make("data", 4096, 1), kReadWriteCreate);
    Pipe pipe;
    char byte = 0;
    fsys_op slow = 0;
    if (slots == 2) {  // one slot stays free: room for the first half only
        REQUIRE(fsys_submit_read(adopt_fd(handle, pipe.read_end()), &byte, 1, 0, 0, 0, &slow) == 0);
    }
    std::vector<char> bytes(4096, 'X');
    for (const std::uint32_t flag : {std::uint32_t{FSYS_NONBLOCK}, 0u}) {
        CAPTURE(flag);
        const fsys_request pair[2] = {
            request(FSYS_OP_WRITE, file, bytes.data(), bytes.size(), 0, FSYS_LINK | flag, 1),
            request(FSYS_OP_SYNC, file, nullptr, 0, 0, flag, 2),
        };
        fsys_op ops[2] = {0, 0};
        REQUIRE(fsys_submit(handle, pair, 2, ops) == -EAGAIN);
    }
    // The next ops would carry a stale half to the kernel.
    for (int i = 0; i < 3; ++i) {
        const fsys_request nop = request(FSYS_OP_NOP, nullptr);
        fsys_op op = 0;
        REQUIRE(fsys_submit(handle, &nop, 1, &op) == 1);
        REQUIRE(fsys_wait(handle, op, 30 * kSecond, nullptr) == 0);
    }
    unsigned char back[4096];
    REQUIRE(fsys_read(file, back, sizeof back, 0, 0) == 4096);
    REQUIRE(is_bytes_of(back, 1, 0, sizeof back));
    if (slow != 0) {
        REQUIRE(::write(pipe.write_end(), "x", 1) == 1);
        REQUIRE(fsys_wait(handle, slow, 30 * kSecond, nullptr) == 0);
    }
    REQUIRE(handle.close() == 0);
}
