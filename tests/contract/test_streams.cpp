// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Pipes and sockets: ops on them may wait for ever, can be cancelled, hold nothing up.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

void put_bytes(int fd, const void *bytes, std::size_t size) {
    REQUIRE(::write(fd, bytes, size) == static_cast<ssize_t>(size));
}

}  // namespace

TEST_CASE("stream: a read waits until data arrives") {
    Rig rig;
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    char buffer[100] = {};
    const std::uint32_t hint = GENERATE(0u, FSYS_WAIT_SOON);
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(file, buffer, 5, 0, hint, 3, &op) == 0);
    CHECK(fsys_wait(rig, op, 30 * kMs, nullptr) == -ETIMEDOUT);
    CHECK(fsys_try(rig, op, nullptr) == -EAGAIN);
    put_bytes(pipe.write_end, "hello", 5);
    const fsys_result result = rig.wait(op);
    CHECK(result.result == 5);
    CHECK(result.user_data == 3);
    CHECK(std::memcmp(buffer, "hello", 5) == 0);
}

TEST_CASE("stream: a read that is not PARTIAL goes on to its length or the end") {
    Rig rig;
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    char buffer[10] = {};
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(file, buffer, 10, 0, 0, 0, &op) == 0);
    put_bytes(pipe.write_end, "abcd", 4);
    CHECK(fsys_wait(rig, op, 30 * kMs, nullptr) == -ETIMEDOUT);
    put_bytes(pipe.write_end, "efghij", 6);
    CHECK(rig.wait(op).result == 10);
    CHECK(std::memcmp(buffer, "abcdefghij", 10) == 0);

    REQUIRE(fsys_submit_read(file, buffer, 10, 0, FSYS_PARTIAL, 0, &op) == 0);
    put_bytes(pipe.write_end, "xyz", 3);
    const fsys_result partial = rig.wait(op);
    CHECK(partial.result >= 1);
    CHECK(partial.result <= 3);
    std::size_t rest = 3 - static_cast<std::size_t>(partial.result);
    while (rest != 0) {
        REQUIRE(fsys_submit_read(file, buffer, 10, 0, FSYS_PARTIAL, 0, &op) == 0);
        const fsys_result more = rig.wait(op);
        REQUIRE(more.result >= 1);
        rest -= static_cast<std::size_t>(more.result);
    }

    REQUIRE(fsys_submit_read(file, buffer, 10, 0, 0, 0, &op) == 0);
    put_bytes(pipe.write_end, "zz", 2);
    pipe.close_write();
    CHECK(rig.wait(op).result == 2);
    REQUIRE(fsys_submit_read(file, buffer, 10, 0, 0, 0, &op) == 0);
    CHECK(rig.wait(op).result == 0);
    REQUIRE(fsys_submit_read(file, buffer, 10, 0, FSYS_EXACT, 0, &op) == 0);
    CHECK(rig.wait(op).result == FSYS_E_SHORT);
}

TEST_CASE("stream: vectored transfers") {
    Rig rig;
    SocketPair sockets;
    fsys_file *reader = rig.from_fd(sockets.fds[0]);
    fsys_file *writer = rig.from_fd(sockets.fds[1]);
    auto bytes = pattern(3000);
    std::vector<unsigned char> back(3000);
    fsys_iovec out[3] = {{bytes.data(), 1000}, {bytes.data() + 1000, 0}, {bytes.data() + 1000, 2000}};
    fsys_iovec in[2] = {{back.data(), 1}, {back.data() + 1, 2999}};
    fsys_request r[2] = {};
    r[0].opcode = FSYS_OP_READV;
    r[0].file = reader;
    r[0].buffer = in;
    r[0].length = 2;
    r[1].opcode = FSYS_OP_WRITEV;
    r[1].file = writer;
    r[1].buffer = out;
    r[1].length = 3;
    fsys_op ops[2];
    REQUIRE(fsys_submit(rig, r, 2, ops) == 2);
    CHECK(rig.wait(ops[1]).result == 3000);
    CHECK(rig.wait(ops[0]).result == 3000);
    CHECK(back == bytes);
}

TEST_CASE("stream: a write bigger than the pipe waits for its reader") {
    Rig rig;
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.write_end);
    const auto bytes = pattern(400'000);
    fsys_op op = 0;
    REQUIRE(fsys_submit_write(file, bytes.data(), bytes.size(), 0, 0, 0, &op) == 0);
    CHECK(fsys_wait(rig, op, 30 * kMs, nullptr) == -ETIMEDOUT);
    std::vector<unsigned char> back(bytes.size());
    std::atomic<bool> read_all{false};
    rig.run({[&] {
        std::size_t done = 0;
        while (done < back.size()) {
            const ssize_t n = ::read(pipe.read_end, back.data() + done, back.size() - done);
            if (n <= 0) {
                return;
            }
            done += static_cast<std::size_t>(n);
        }
        read_all.store(true);
    }});
    CHECK(read_all.load());
    CHECK(rig.wait(op).result == 400'000);
    CHECK(back == bytes);
}

TEST_CASE("stream: writing without a reader is EPIPE, and no signal kills the process") {
    ::signal(SIGPIPE, SIG_IGN);
    Rig rig;
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.write_end);
    pipe.close_read();
    fsys_op op = 0;
    REQUIRE(fsys_submit_write(file, "x", 1, 0, 0, 0, &op) == 0);
    const fsys_result result = rig.wait(op);
    CHECK(result.result == -EPIPE);
    CHECK(result.step == FSYS_STEP_TRANSFER);
}

TEST_CASE("stream: cancel ends a waiting read and a waiting write") {
    Rig rig;
    Pipe pipe;
    fsys_file *reader = rig.from_fd(pipe.read_end);
    char buffer[16];
    fsys_op op = 0;
    // At once, and when the lane has it.
    for (const unsigned delay : {0u, 20u}) {
        REQUIRE(fsys_submit_read(reader, buffer, 16, 0, 0, 0, &op) == 0);
        if (delay != 0) {
            CHECK(fsys_wait(rig, op, delay * kMs, nullptr) == -ETIMEDOUT);
        }
        CHECK(fsys_cancel(rig, op) == 0);
        const fsys_result result = rig.wait(op);
        CHECK(result.result == -ECANCELED);
        CHECK(result.bytes_done == 0);
        CHECK(fsys_cancel(rig, op) == FSYS_E_STALE);
    }
    // After some bytes.
    REQUIRE(fsys_submit_read(reader, buffer, 16, 0, 0, 0, &op) == 0);
    put_bytes(pipe.write_end, "abc", 3);
    REQUIRE(rig.until([&] {
        pollfd p{pipe.read_end, POLLIN, 0};
        return ::poll(&p, 1, 0) == 0;
    }));
    sleep_ms(5);
    CHECK(fsys_wait(rig, op, 10 * kMs, nullptr) == -ETIMEDOUT);
    CHECK(fsys_cancel(rig, op) == 0);
    fsys_result result = rig.wait(op);
    CHECK(result.result == -ECANCELED);
    CHECK(result.bytes_done == 3);

    fsys_file *writer = rig.from_fd(pipe.write_end);
    fill(pipe.write_end);
    REQUIRE(fsys_submit_write(writer, buffer, 16, 0, 0, 0, &op) == 0);
    CHECK(fsys_wait(rig, op, 20 * kMs, nullptr) == -ETIMEDOUT);
    CHECK(fsys_cancel(rig, op) == 0);
    CHECK(rig.wait(op).result == -ECANCELED);
    // The pipe is as usable as before.
    std::vector<char> drain(1 << 20);
    REQUIRE(::read(pipe.read_end, drain.data(), drain.size()) > 0);
    REQUIRE(fsys_submit_write(writer, "ok", 2, 0, 0, 0, &op) == 0);
    CHECK(rig.wait(op).result == 2);
}

TEST_CASE("stream: many waiting reads hold nothing else up") {
    TempDir dir;
    write_whole(dir / "f", pattern(4096));
    Setup setup;
    setup.pool_threads = 2;
    Rig rig(setup);
    Pipe pipe;
    fsys_file *waiting = rig.from_fd(pipe.read_end);
    char bytes[32];
    fsys_op reads[32];
    for (unsigned i = 0; i < 32; ++i) {
        REQUIRE(fsys_submit_read(waiting, &bytes[i], 1, 0, 0, i, &reads[i]) == 0);
    }
    CHECK(fsys_wait(rig, reads[0], 10 * kMs, nullptr) == -ETIMEDOUT);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE);
    char block[4096];
    fsys_op op = 0;
    for (unsigned i = 0; i < 50; ++i) {
        REQUIRE(fsys_submit_read(file, block, sizeof block, 0, 0, 0, &op) == 0);
        CHECK(rig.wait(op).result == 4096);
        REQUIRE(fsys_submit_write(file, block, sizeof block, 0, 0, 0, &op) == 0);
        CHECK(rig.wait(op).result == 4096);
    }
    std::string letters = "abcdefghijklmnopqrstuvwxyzABCDEF";
    put_bytes(pipe.write_end, letters.data(), 32);
    std::vector<fsys_result> results(32);
    REQUIRE(fsys_wait_all(rig, reads, 32, 10 * kSecond, results.data()) == 0);
    for (const fsys_result &result : results) {
        CHECK(result.result == 1);
    }
    std::string got(bytes, 32);
    std::sort(got.begin(), got.end());
    std::sort(letters.begin(), letters.end());
    CHECK(got == letters);
}

TEST_CASE("stream: closing the file waits for its ops, then cancels them") {
    Setup setup;
    setup.close_timeout_ns = 100 * kMs;
    Rig rig(setup);
    Pipe pipe;
    char byte = 0;

    SECTION("data arrives during the wait") {
        fsys_file *file = rig.from_fd(pipe.read_end);
        fsys_op op = 0;
        REQUIRE(fsys_submit_read(file, &byte, 1, 0, 0, 0, &op) == 0);
        CHECK(fsys_wait(rig, op, 10 * kMs, nullptr) == -ETIMEDOUT);
        std::thread writer([&] {
            sleep_ms(20);
            [[maybe_unused]] const ssize_t n = ::write(pipe.write_end, "!", 1);
        });
        CHECK(fsys_file_close(file) == 0);
        writer.join();
        CHECK(rig.wait(op).result == 1);
        CHECK(byte == '!');
    }
    SECTION("nothing arrives") {
        fsys_file *file = rig.from_fd(pipe.read_end);
        fsys_op op = 0;
        REQUIRE(fsys_submit_read(file, &byte, 1, 0, 0, 0, &op) == 0);
        CHECK(fsys_wait(rig, op, 10 * kMs, nullptr) == -ETIMEDOUT);
        const std::int64_t start = now_ns();
        CHECK(fsys_file_close(file) == 0);
        CHECK(now_ns() - start >= 90 * kMs);
        CHECK(fsys_submit_read(file, &byte, 1, 0, 0, 0, &op) == FSYS_E_CLOSED);
        CHECK(rig.wait(op).result == -ECANCELED);
    }
    SECTION("the handle, with the op of a queue and of a token") {
        fsys_file *file = rig.from_fd(pipe.read_end);
        fsys_op op = 0;
        REQUIRE(fsys_submit_read(file, &byte, 1, 0, 0, 0, &op) == 0);
        REQUIRE(fsys_submit_read(file, &byte, 1, 0, 0, 0, nullptr) == 0);
        CHECK(fsys_wait(rig, op, 10 * kMs, nullptr) == -ETIMEDOUT);
        const std::int64_t start = now_ns();
        CHECK(rig.close() == 0);
        CHECK(now_ns() - start < 5 * kSecond);
        CHECK(fsys_file_close(file) == FSYS_E_CLOSED);
    }
}

TEST_CASE("stream: the descriptor is duplicated, the caller's may go") {
    Rig rig;
    int fds[2];
    REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
    fsys_file *reader = rig.from_fd(fds[0]);
    fsys_file *writer = rig.from_fd(fds[1]);
    ::close(fds[0]);
    ::close(fds[1]);
    char buffer[3];
    fsys_op ops[2];
    REQUIRE(fsys_submit_read(reader, buffer, 3, 0, 0, 0, &ops[0]) == 0);
    REQUIRE(fsys_submit_write(writer, "abc", 3, 0, 0, 0, &ops[1]) == 0);
    CHECK(rig.wait(ops[1]).result == 3);
    CHECK(rig.wait(ops[0]).result == 3);
    CHECK(fsys_submit_sync(reader, 0, 0, 0, 0, &ops[0]) == 0);
    CHECK(rig.wait(ops[0]).result == -EINVAL);
    // EINVAL of a pipe is no lost page: nothing is poisoned.
    char text[64];
    CHECK(fsys_cause(reader, text, sizeof text) == 0);
}
