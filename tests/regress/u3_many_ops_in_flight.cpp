// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// U3: one operation at a time per handle, whatever the queue depth. Here many are in flight at the
// same time (they complete in the reverse of the order of submission, which one at a time cannot
// do), and many entries go to the kernel in one call.
#include "regress/support.hpp"

using namespace regress;

TEST_CASE("U3: ops on many files are in flight together and complete in any order") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    Handle handle(backend);
    constexpr unsigned kPipes = 100;
    std::vector<std::unique_ptr<Pipe>> pipes;
    std::vector<fsys_file *> files(kPipes);
    std::vector<fsys_op> ops(kPipes);
    std::vector<int> numbers(kPipes, -1);
    for (unsigned i = 0; i < kPipes; ++i) {
        pipes.push_back(std::make_unique<Pipe>());
        files[i] = adopt_fd(handle, pipes[i]->read_end());
        REQUIRE(fsys_submit_read(files[i], &numbers[i], sizeof numbers[i], 0, 0, i, &ops[i]) == 0);
    }
    REQUIRE(stats_of(handle).in_flight == kPipes);
    for (unsigned n = kPipes; n-- > 0;) {
        const int value = static_cast<int>(1000 + n);
        REQUIRE(::write(pipes[n]->write_end(), &value, sizeof value) == sizeof value);
        fsys_result result{};
        REQUIRE(fsys_wait(handle, ops[n], 30 * kSecond, &result) == 0);
        REQUIRE(result.result == sizeof value);
        REQUIRE(result.user_data == n);
        REQUIRE(numbers[n] == value);
        REQUIRE(stats_of(handle).in_flight == n);
    }
    REQUIRE(handle.close() == 0);
}

TEST_CASE("U3: threads on one handle do not serialise behind a slow op") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    Handle handle(backend);
    Pipe pipe;
    char slow = 0;
    fsys_op slow_op = 0;
    REQUIRE(fsys_submit_read(adopt_fd(handle, pipe.read_end()), &slow, 1, 0, 0, 0, &slow_op) == 0);
    fsys_file *file = open_file(handle, scratch.make("data", 1 << 16, 9));
    Problems problems;
    run_threads(8, [&](unsigned thread) {
        unsigned char bytes[512];
        for (unsigned i = 0; i < 200; ++i) {
            const std::uint64_t at = (thread * 200 + i) % 127 * 512;
            fsys_op op = 0;
            fsys_result result{};
            NOTE_EQUAL(problems, fsys_submit_read(file, bytes, sizeof bytes, at, 0, i, &op), 0);
            NOTE_EQUAL(problems, fsys_wait(handle, op, 30 * kSecond, &result), 0);
            NOTE_EQUAL(problems, result.result, 512);
            NOTE_CHECK(problems, is_bytes_of(bytes, 9, at, sizeof bytes));
        }
    });
    REQUIRE(problems.text() == "");
    REQUIRE(fsys_try(handle, slow_op, nullptr) == -EAGAIN);
    REQUIRE(::write(pipe.write_end(), "x", 1) == 1);
    REQUIRE(fsys_wait(handle, slow_op, 30 * kSecond, nullptr) == 0);
    REQUIRE(slow == 'x');
    REQUIRE(handle.close() == 0);
}

TEST_CASE("U3: the ring is given many entries per call") {
    const Watchdog watchdog(60);
    if (kernel_io_uring_errno() != 0) {
        FSYS_SKIP("no io_uring: " + std::string(std::strerror(kernel_io_uring_errno())));
    }
    Handle handle(FSYS_BACKEND_IO_URING);
    constexpr unsigned kOps = 256;
    std::vector<fsys_request> batch(kOps, request(FSYS_OP_NOP, nullptr));
    std::vector<fsys_op> ops(kOps);
    REQUIRE(fsys_submit(handle, batch.data(), kOps, ops.data()) == kOps);
    REQUIRE(fsys_wait_all(handle, ops.data(), kOps, 30 * kSecond, nullptr) == 0);
    const fsys_counters before = stats_of(handle);
    REQUIRE(fsys_submit(handle, batch.data(), kOps, ops.data()) == kOps);
    REQUIRE(fsys_wait_all(handle, ops.data(), kOps, 30 * kSecond, nullptr) == 0);
    const fsys_counters after = stats_of(handle);
    const std::uint64_t entries = after.entries - before.entries;
    const std::uint64_t enters = after.enters - before.enters;
    CAPTURE(entries, enters);
    REQUIRE(entries >= kOps);
    REQUIRE(entries > 8 * enters);
    REQUIRE(handle.close() == 0);
}
