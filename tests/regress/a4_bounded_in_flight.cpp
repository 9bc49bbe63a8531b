// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A4: queue and in-flight count had no bound, and an overflowing completion queue was not thought
// of. Here max_ops bounds both, the submitter learns it (at once or in time), and completions that
// nobody takes hold their slot: they are never dropped to make room.
#include "regress/support.hpp"

using namespace regress;

TEST_CASE("A4: a full handle refuses at once with NONBLOCK, after submit_timeout otherwise") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    fsys_options options = default_options(backend);
    options.max_ops = 8;
    options.submit_timeout_ns = 100 * kMs;
    Handle handle(options);
    Pipe pipe;
    fsys_file *file = adopt_fd(handle, pipe.read_end());
    char bytes[8];
    fsys_op ops[8];
    for (unsigned i = 0; i < 8; ++i) {
        REQUIRE(fsys_submit_read(file, &bytes[i], 1, 0, 0, i, &ops[i]) == 0);
    }
    REQUIRE(stats_of(handle).in_flight == 8);
    char byte = 0;
    fsys_op op = 0;
    std::int64_t started = now_ns();
    REQUIRE(fsys_submit_read(file, &byte, 1, 0, FSYS_NONBLOCK, 0, &op) == -EAGAIN);
    REQUIRE(now_ns() - started < 50 * kMs);
    started = now_ns();
    REQUIRE(fsys_submit_read(file, &byte, 1, 0, 0, 0, &op) == -EAGAIN);
    REQUIRE(now_ns() - started >= 100 * kMs);
    REQUIRE(stats_of(handle).slot_waits >= 1);
    REQUIRE(::write(pipe.write_end(), "12345678", 8) == 8);
    REQUIRE(fsys_wait_all(handle, ops, 8, 30 * kSecond, nullptr) == 0);
    REQUIRE(handle.close() == 0);
}

TEST_CASE("A4: a submitter that waits for a slot gets the one that becomes free") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    fsys_options options = default_options(backend);
    options.max_ops = 1;
    Handle handle(options);
    Pipe pipe;
    fsys_file *file = adopt_fd(handle, pipe.read_end());
    char bytes[2] = {};
    fsys_op first = 0;
    REQUIRE(fsys_submit_read(file, &bytes[0], 1, 0, 0, 1, &first) == 0);
    Problems problems;
    std::thread second([&] {
        fsys_op op = 0;
        fsys_result result{};
        NOTE_EQUAL(problems, fsys_submit_read(file, &bytes[1], 1, 0, 0, 2, &op), 0);
        NOTE_EQUAL(problems, fsys_wait(handle, op, 30 * kSecond, &result), 0);
        NOTE_EQUAL(problems, result.user_data, 2);
    });
    REQUIRE(eventually([&] { return stats_of(handle).slot_waits == 1; }));
    REQUIRE(::write(pipe.write_end(), "12", 2) == 2);
    REQUIRE(fsys_wait(handle, first, 30 * kSecond, nullptr) == 0);
    second.join();
    REQUIRE(problems.text() == "");
    REQUIRE(bytes[0] == '1');
    REQUIRE(bytes[1] == '2');
    REQUIRE(handle.close() == 0);
}

TEST_CASE("A4: completions that nobody takes are kept, whatever their number") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    const std::uint32_t slots = GENERATE(8u, 32768u);
    CAPTURE(backend_name(backend), slots);
    fsys_options options = default_options(backend);
    options.max_ops = slots;
    Handle handle(options);
    const Scratch scratch;
    fsys_file *file = open_file(handle, scratch.make("data", 4096, 6));
    std::vector<unsigned char> bytes(slots);
    unsigned accepted = 0;
    while (accepted < slots) {
        const unsigned n = std::min(slots - accepted, 1000u);
        std::vector<fsys_request> batch;
        for (unsigned i = accepted; i < accepted + n; ++i) {
            batch.push_back(request(FSYS_OP_READ, file, &bytes[i], 1, i % 4096, FSYS_NONBLOCK, i));
        }
        REQUIRE(fsys_submit(handle, batch.data(), n, nullptr) == static_cast<int>(n));
        accepted += n;
    }
    REQUIRE(eventually([&] { return stats_of(handle).in_flight == 0; }, 30 * kSecond));
    const fsys_request more = request(FSYS_OP_NOP, nullptr, nullptr, 0, 0, FSYS_NONBLOCK);
    REQUIRE(fsys_submit(handle, &more, 1, nullptr) == -EAGAIN);
    std::vector<bool> seen(slots);
    unsigned taken = 0;
    fsys_result results[256];
    int n = 0;
    while ((n = fsys_reap(handle, results, 256, 0)) > 0) {
        for (int i = 0; i < n; ++i) {
            const auto at = static_cast<std::size_t>(results[i].user_data);
            REQUIRE(at < slots);
            REQUIRE_FALSE(seen[at]);
            seen[at] = true;
            REQUIRE(results[i].result == 1);
            REQUIRE(bytes[at] == byte_at(6, at % 4096));
        }
        taken += static_cast<unsigned>(n);
    }
    REQUIRE(n == 0);
    REQUIRE(taken == slots);
    REQUIRE(fsys_reap(handle, results, 256, FSYS_FOREVER) == FSYS_E_NOTHING);
    REQUIRE(handle.close() == 0);
}
