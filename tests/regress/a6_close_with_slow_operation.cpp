// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A6: shutdown drained completions once, told waiting callers "poisoned" and let them free buffers
// with IO in flight. Here close waits, then cancels; what can be cancelled is over when close
// returns 0, and what cannot is announced by -ETIMEDOUT and stays alive.
#include "regress/fuse.hpp"

using namespace regress;

TEST_CASE("A6: close cancels a read of an empty pipe; the buffer is the caller's again") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    const std::uint32_t driver = GENERATE(FSYS_DRIVER_THREAD, FSYS_DRIVER_CALLER);
    CAPTURE(backend_name(backend), driver);
    fsys_options options = default_options(backend);
    options.driver = driver;
    options.close_timeout_ns = 100 * kMs;
    Handle handle(options);
    Pipe pipe;
    char bytes[4] = "---";
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(adopt_fd(handle, pipe.read_end()), bytes, 3, 0, 0, 0, &op) == 0);
    if (driver == FSYS_DRIVER_CALLER) {
        REQUIRE(fsys_poll(handle, 0) == 0);
    }
    const std::int64_t started = now_ns();
    REQUIRE(handle.close() == 0);
    const std::int64_t took = now_ns() - started;
    CAPTURE(took);
    REQUIRE(took >= 100 * kMs);
    REQUIRE(took < (kSanitized ? 8 : 2) * kSecond);
    REQUIRE(::write(pipe.write_end(), "xyz", 3) == 3);
    REQUIRE(std::string(bytes) == "---");
    char back[3];
    REQUIRE(::read(pipe.read_end(), back, 3) == 3);  // nobody else took it
}

TEST_CASE("A6: an op that ends within close_timeout ends well") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    fsys_options options = default_options(backend);
    options.close_timeout_ns = 20 * kSecond;
    Handle handle(options);
    Pipe pipe;
    char byte = 0;
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(adopt_fd(handle, pipe.read_end()), &byte, 1, 0, 0, 0, &op) == 0);
    Problems problems;
    fsys *raw = handle.release();
    std::thread closer([&] { NOTE_EQUAL(problems, fsys_close(raw), 0); });
    fsys_handle_info info{};
    info.struct_size = sizeof info;
    REQUIRE(eventually([&] { return fsys_info(raw, &info) == FSYS_E_CLOSED; }));
    REQUIRE(::write(pipe.write_end(), "x", 1) == 1);
    closer.join();
    REQUIRE(problems.text() == "");
    REQUIRE(byte == 'x');
}

TEST_CASE("A6: a stalled file system: close ends in time, buffer and file stay until the kernel lets go") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    // By path, or as a descriptor that "may block for ever".
    const bool blocking_fd = GENERATE(false, true);
    CAPTURE(backend_name(backend), blocking_fd);
    StallingFile stalling;
    if (!stalling.missing().empty()) {
        FSYS_SKIP(stalling.missing());
    }
    fsys_options options = default_options(backend);
    options.close_timeout_ns = 100 * kMs;
    Handle handle(options);
    fsys_file *file = nullptr;
    if (blocking_fd) {
        const int fd = ::open(stalling.path().c_str(), O_RDONLY | O_CLOEXEC);
        fsys_file_options how{};
        how.struct_size = sizeof how;
        how.flags = FSYS_FILE_BLOCKING_FD;
        REQUIRE(fsys_file_from_fd(handle, fd, &how, &file) == 0);
        ::close(fd);
    } else {
        file = open_file(handle, stalling.path());
    }
    stalling.command("stall read");
    auto *buffer = new std::vector<unsigned char>(4096);  // outlives the handle
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(file, buffer->data(), buffer->size(), 0, 0, 0, &op) == 0);
    stalling.wait_stalled();
    REQUIRE(fsys_wait(handle, op, 10 * kMs, nullptr) == -ETIMEDOUT);
    std::int64_t started = now_ns();
    REQUIRE(fsys_file_close(file) == -ETIMEDOUT);
    REQUIRE(now_ns() - started < (kSanitized ? 20 : 5) * kSecond);
    started = now_ns();
    const int closed = handle.close();
    CAPTURE(closed);
    REQUIRE(now_ns() - started < (kSanitized ? 20 : 5) * kSecond);
    // 0 only where the kernel really gave up the request.
    if (closed == 0) {
        REQUIRE(backend == FSYS_BACKEND_IO_URING);
    } else {
        REQUIRE(closed == -ETIMEDOUT);
    }
    stalling.command("go");
    if (closed != 0) {
        // The kernel still had the buffer, and now fills it.
        REQUIRE(eventually([&] {
            return peek(buffer->data() + 4095) == byte_at(5, 4095);
        }));
    }
    // What close reported as still in use stays: who sees the last byte does not see the call end.
    static auto &kept = *new std::vector<decltype(buffer)>;
    closed == 0 ? delete buffer : kept.push_back(buffer);
}

TEST_CASE("A6: after a stall the file goes on, and a failing file system is reported") {
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
    fsys_op sync = 0;
    REQUIRE(fsys_submit_sync(file, 0, 0, 0, 0, &sync) == 0);
    stalling.wait_stalled();
    unsigned char bytes[4096];  // others do not wait for it
    fsys_op op = 0;
    fsys_result result{};
    REQUIRE(fsys_submit_read(file, bytes, sizeof bytes, 0, 0, 0, &op) == 0);
    REQUIRE(fsys_wait(handle, op, 30 * kSecond, &result) == 0);
    REQUIRE(is_bytes_of(bytes, 5, 0, sizeof bytes));
    REQUIRE(fsys_wait(handle, sync, 10 * kMs, nullptr) == -ETIMEDOUT);
    stalling.command("go");
    REQUIRE(fsys_wait(handle, sync, 30 * kSecond, &result) == 0);
    REQUIRE(result.result == 0);

    stalling.command("fail write " + std::to_string(ENOSPC));
    const fsys_request pair[2] = {request(FSYS_OP_WRITE, file, bytes, 512, 0, FSYS_LINK),
                                  request(FSYS_OP_SYNC, file)};
    fsys_op ops[2];
    fsys_result results[2];
    REQUIRE(fsys_submit(handle, pair, 2, ops) == 2);
    REQUIRE(fsys_wait_all(handle, ops, 2, 30 * kSecond, results) == 0);
    REQUIRE(results[0].result == -ENOSPC);
    REQUIRE(results[1].result == -ECANCELED);
    stalling.command("fail write 0");
    stalling.command("fail fsync " + std::to_string(EIO));
    REQUIRE(fsys_submit(handle, pair, 2, ops) == 2);
    REQUIRE(fsys_wait_all(handle, ops, 2, 30 * kSecond, results) == 0);
    REQUIRE(results[0].result == 512);
    REQUIRE(results[1].result == -EIO);
    REQUIRE(results[1].step == FSYS_STEP_SYNC);
    stalling.command("fail fsync 0");
    REQUIRE(fsys_sync(file, 0) == FSYS_E_POISONED);
    REQUIRE(handle.close() == 0);
}
