// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A8: the ring lived on the runtime that first used it and died with it. Here threads come and go:
// the one that opened the handle, the one whose op started the driver, the one that submitted what
// is still in flight, the one that first ran a batch.
#include "regress/support.hpp"

using namespace regress;

TEST_CASE("A8: the threads that opened, first used and submitted end; the handle goes on") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    const std::string path = scratch.make("data", 4096, 4);
    Problems problems;
    Pipe pipe;
    fsys *handle = nullptr;
    fsys_file *file = nullptr;
    fsys_op pending = 0;
    fsys_op soon = 0;
    char byte = 0;
    unsigned char late[64] = {};
    const auto batch_read = [&](unsigned count) {
        fsys_request batch[16];
        fsys_op ops[16];
        unsigned char bytes[16][64];
        for (unsigned i = 0; i < count; ++i) {
            batch[i] = request(FSYS_OP_READ, file, bytes[i], 64, i * 64, FSYS_WAIT_SOON);
        }
        NOTE_EQUAL(problems, fsys_submit(handle, batch, count, ops), count);
        NOTE_EQUAL(problems, fsys_wait_all(handle, ops, count, FSYS_FOREVER, nullptr), 0);
        for (unsigned i = 0; i < count; ++i) {
            NOTE_CHECK(problems, is_bytes_of(bytes[i], 4, i * 64, 64));
        }
    };
    std::thread([&] {
        const fsys_options options = default_options(backend);
        NOTE_EQUAL(problems, fsys_open(&options, &handle), 0);
        NOTE_EQUAL(problems, try_open(handle, path, FSYS_FILE_READ, &file), 0);
    }).join();
    std::thread([&] {  // starts the driver, leaves an op in flight
        fsys_file *stream = nullptr;
        NOTE_EQUAL(problems, fsys_file_from_fd(handle, pipe.read_end(), nullptr, &stream), 0);
        NOTE_EQUAL(problems, fsys_submit_read(stream, &byte, 1, 0, 0, 7, &pending), 0);
    }).join();
    std::thread([&] { batch_read(16); }).join();
    std::thread([&] {  // promises to wait soon, and ends
        NOTE_EQUAL(problems, fsys_submit_read(file, late, 64, 0, FSYS_WAIT_SOON, 8, &soon), 0);
    }).join();
    REQUIRE(problems.text() == "");
    fsys_result result{};
    REQUIRE(eventually([&] { return fsys_try(handle, soon, &result) == 0; }));
    REQUIRE(result.user_data == 8);
    REQUIRE(is_bytes_of(late, 4, 0, 64));
    for (unsigned i = 0; i < 50; ++i) {
        std::thread([&] {
            batch_read(16);
            unsigned char bytes[64];
            fsys_op op = 0;
            NOTE_EQUAL(problems, fsys_submit_read(file, bytes, 64, 0, 0, 0, &op), 0);
            NOTE_EQUAL(problems, fsys_wait(handle, op, 30 * kSecond, nullptr), 0);
        }).join();
    }
    REQUIRE(problems.text() == "");
    REQUIRE(fsys_try(handle, pending, nullptr) == -EAGAIN);  // not cancelled with its thread
    REQUIRE(::write(pipe.write_end(), "z", 1) == 1);
    REQUIRE(fsys_wait(handle, pending, 30 * kSecond, &result) == 0);
    REQUIRE(result.result == 1);
    REQUIRE(result.user_data == 7);
    REQUIRE(fsys_close(handle) == 0);
}

TEST_CASE("A8: the driver thread of a caller-driven handle ends: others are told, nobody hangs") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    fsys *handle = nullptr;
    fsys_op op = 0;
    Problems problems;
    const fsys_request nop = request(FSYS_OP_NOP, nullptr);
    std::thread([&] {
        fsys_options options = default_options(backend);
        options.driver = FSYS_DRIVER_CALLER;
        NOTE_EQUAL(problems, fsys_open(&options, &handle), 0);
        NOTE_EQUAL(problems, fsys_submit(handle, &nop, 1, &op), 1);
        // Closed by its own thread, as the rule is.
        NOTE_EQUAL(problems, fsys_wait(handle, op, FSYS_FOREVER, nullptr), 0);
        std::thread([&] {
            fsys_op other = 0;
            NOTE_EQUAL(problems, fsys_submit(handle, &nop, 1, &other), 1);
            NOTE_EQUAL(problems, fsys_poll(handle, 0), FSYS_E_WRONG_THREAD);
            NOTE_EQUAL(problems, fsys_close(handle), FSYS_E_WRONG_THREAD);
            NOTE_EQUAL(problems, fsys_wait(handle, other, 20 * kMs, nullptr), -ETIMEDOUT);
        }).join();
        NOTE_EQUAL(problems, fsys_close(handle), 0);
    }).join();
    REQUIRE(problems.text() == "");
}
