// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A5: dropping a future freed memory that the kernel still wrote to, and let a descriptor number be
// reused before the op was submitted. Here giving up (a timeout, a thread that ends) changes nothing
// for the op: buffer and slot stay its own, and its completion can be taken later by anybody.
#include "regress/support.hpp"

using namespace regress;

TEST_CASE("A5: after a timeout the buffer is still the op's, and its slot is not reused") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    Handle handle(backend);
    Pipe pipe;
    fsys_file *file = adopt_fd(handle, pipe.read_end());
    fsys_file *data = open_file(handle, scratch.make("data", 4096, 2));
    char buffer[8] = "-------";
    fsys_op op = 0;
    // The waiter is a thread that gives up and ends.
    Problems problems;
    std::thread([&] {
        NOTE_EQUAL(problems, fsys_submit_read(file, buffer, 4, 0, 0, 42, &op), 0);
        NOTE_EQUAL(problems, fsys_wait(handle, op, 20 * kMs, nullptr), -ETIMEDOUT);
    }).join();
    REQUIRE(problems.text() == "");
    // Other ops come and go: none of them gets this token, the buffer stays untouched.
    for (unsigned i = 0; i < 2000; ++i) {
        unsigned char bytes[64];
        fsys_op other = 0;
        fsys_result result{};
        REQUIRE(fsys_submit_read(data, bytes, sizeof bytes, 0, 0, i, &other) == 0);
        REQUIRE(other != op);
        REQUIRE(fsys_wait(handle, other, 30 * kSecond, &result) == 0);
        REQUIRE(result.user_data == i);
    }
    for (unsigned i = 0; i < 4; ++i) {
        REQUIRE(peek(buffer + i) == '-');
    }
    REQUIRE(fsys_try(handle, op, nullptr) == -EAGAIN);
    REQUIRE(::write(pipe.write_end(), "late", 4) == 4);
    fsys_result result{};
    REQUIRE(fsys_wait(handle, op, 30 * kSecond, &result) == 0);
    REQUIRE(result.result == 4);
    REQUIRE(result.user_data == 42);
    REQUIRE(std::string(buffer, 4) == "late");
    REQUIRE(fsys_try(handle, op, nullptr) == FSYS_E_STALE);
    REQUIRE(handle.close() == 0);
}

TEST_CASE("A5: wait_any and wait_all that time out take nothing and lose nothing") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    Handle handle(backend);
    std::vector<std::unique_ptr<Pipe>> pipes;
    fsys_op ops[4];
    char bytes[4] = {};
    for (unsigned i = 0; i < 4; ++i) {
        pipes.push_back(std::make_unique<Pipe>());
        REQUIRE(fsys_submit_read(adopt_fd(handle, pipes[i]->read_end()), &bytes[i], 1, 0, 0, i,
                                 &ops[i]) == 0);
    }
    std::uint32_t index = 77;
    REQUIRE(fsys_wait_any(handle, ops, 4, 20 * kMs, &index, nullptr) == -ETIMEDOUT);
    REQUIRE(fsys_wait_all(handle, ops, 4, 20 * kMs, nullptr) == -ETIMEDOUT);
    for (unsigned i = 0; i < 3; ++i) {
        REQUIRE(::write(pipes[i]->write_end(), "x", 1) == 1);
    }
    REQUIRE(fsys_wait_all(handle, ops, 4, 20 * kMs, nullptr) == -ETIMEDOUT);  // none is taken
    REQUIRE(::write(pipes[3]->write_end(), "x", 1) == 1);
    fsys_result results[4];
    REQUIRE(fsys_wait_all(handle, ops, 4, 30 * kSecond, results) == 0);
    for (unsigned i = 0; i < 4; ++i) {
        REQUIRE(results[i].result == 1);
        REQUIRE(results[i].user_data == i);
        REQUIRE(bytes[i] == 'x');
    }
    REQUIRE(handle.close() == 0);
}

TEST_CASE("A5: an op whose file is closed at once still goes to that file") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    Handle handle(backend);
    std::vector<std::vector<char>> contents;
    std::vector<fsys_op> ops;
    constexpr unsigned kFiles = 64;
    for (unsigned i = 0; i < kFiles; ++i) {
        contents.emplace_back(5000, static_cast<char>('A' + i % 26));
    }
    // Submit, close, and open the next one, which gets the same descriptor number.
    for (unsigned i = 0; i < kFiles; ++i) {
        fsys_file *file = open_file(handle, scratch / std::to_string(i), kReadWriteCreate);
        fsys_op op = 0;
        REQUIRE(fsys_submit_write(file, contents[i].data(), contents[i].size(), 0, 0, i, &op) == 0);
        REQUIRE(fsys_file_close(file) == 0);
        ops.push_back(op);
    }
    REQUIRE(fsys_wait_all(handle, ops.data(), kFiles, 30 * kSecond, nullptr) == 0);
    for (unsigned i = 0; i < kFiles; ++i) {
        std::vector<char> back(5001);
        const int fd = ::open((scratch / std::to_string(i)).c_str(), O_RDONLY | O_CLOEXEC);
        const ssize_t n = ::read(fd, back.data(), back.size());
        ::close(fd);
        REQUIRE(n == 5000);
        back.resize(5000);
        REQUIRE(back == contents[i]);
    }
    REQUIRE(handle.close() == 0);
}
