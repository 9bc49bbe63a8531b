// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Cancel in every state of an op, and closing with everything in motion.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "contract/harness.hpp"

using namespace libfsys::test;

TEST_CASE("cancel: done, taken and invented ops") {
    Rig rig;
    fsys_request r{};
    fsys_op op = 0;
    REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    REQUIRE(rig.until([&] { return rig.stats().in_flight == 0; }));
    CHECK(fsys_cancel(rig, op) == -EALREADY);
    CHECK(rig.wait(op).result == 0);
    CHECK(fsys_cancel(rig, op) == FSYS_E_STALE);
    CHECK(fsys_cancel(rig, 12345) == FSYS_E_STALE);
    CHECK(fsys_cancel(rig, 0) == FSYS_E_STALE);
}

TEST_CASE("cancel: a queued op never starts") {
    TempDir dir;
    Setup setup;
    setup.pool_threads = 1;
    FakeSyscalls sys;
    if (!variant().ring()) {
        setup.syscalls = &sys;
    }
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE);
    fsys_op op = 0;
    // Promised to a waiter: nobody has it for the next milliseconds.
    REQUIRE(fsys_submit_write(file, "x", 1, 0, FSYS_WAIT_SOON, 0, &op) == 0);
    const int code = fsys_cancel(rig, op);
    const fsys_result result = rig.wait(op);
    if (variant().caller() || code == 0) {
        CHECK(code == 0);
        CHECK(result.result == -ECANCELED);
        CHECK(result.step == FSYS_STEP_QUEUE);
        CHECK(result.lane == FSYS_LANE_NONE);
        CHECK(read_whole(dir / "f").empty());
    } else {
        CHECK(code == -EALREADY);  // the machine paused for longer than a tick
        CHECK(result.result == 1);
    }
    if (variant().threads() && !variant().caller()) {
        // Behind the only pool thread, which is held in a call.
        sys.hold(SysCall::kFsync);
        fsys_op held = 0;
        REQUIRE(fsys_submit_sync(file, 0, 0, 0, 0, &held) == 0);
        REQUIRE(sys.await_held());
        REQUIRE(fsys_submit_write(file, "x", 1, 0, 0, 0, &op) == 0);
        CHECK(fsys_cancel(rig, held) == -EALREADY);
        CHECK(fsys_cancel(rig, op) == 0);
        CHECK(rig.wait(op).result == -ECANCELED);
        sys.release();
        CHECK(rig.wait(held).result == 0);
        CHECK(read_whole(dir / "f").empty());
    }
}

TEST_CASE("cancel: at random, every op still completes once", "[random]") {
    TempDir dir;
    write_whole(dir / "f", pattern(1 << 20));
    Setup setup;
    setup.max_ops = 64;
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE);
    Pipe pipe;
    fsys_file *stream = rig.from_fd(pipe.read_end);
    Checks checks;
    rig.run(4, [&](unsigned thread) {
        std::mt19937 random(thread);
        std::vector<char> buffer(8192);
        for (unsigned i = 0; i < 400; ++i) {
            fsys_op op = 0;
            const std::uint32_t hint = random() % 2 != 0 ? FSYS_WAIT_SOON : 0;
            bool endless = false;
            int code = 0;
            switch (random() % 4) {
            case 0:
                code = fsys_submit_read(stream, buffer.data(), 1, 0, hint, 0, &op);
                endless = true;
                break;
            case 1:
                code = fsys_submit_write(file, buffer.data(), 8192, thread * 8192, hint, 0, &op);
                break;
            case 2:
                code = fsys_submit_sync(file, 0, 0, hint, 0, &op);
                break;
            default:
                code = fsys_submit_read(file, buffer.data(), 8192, random() % 1'000'000, hint, 0,
                                        &op);
                break;
            }
            checks.expect(code == 0, "submit " + std::to_string(code));
            if (random() % 4 == 0) {
                std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
            }
            if (endless || random() % 2 == 0) {
                code = fsys_cancel(rig, op);
                checks.expect(code == 0 || code == -EALREADY, "cancel " + std::to_string(code));
            }
            fsys_result result{};
            code = fsys_wait(rig, op, i % 2 == 0 ? FSYS_FOREVER : 20 * kSecond, &result);
            checks.expect(code == 0, "wait " + std::to_string(code));
            checks.expect(result.result >= 0 || result.result == -ECANCELED,
                          "result " + std::to_string(result.result));
            checks.expect(fsys_try(rig, op, nullptr) == FSYS_E_STALE, "twice");
        }
    });
    checks.require();
    CHECK(rig.stats().in_flight == 0);
    CHECK(fsys_file_close(file) == 0);
    CHECK(fsys_file_close(stream) == 0);
    CHECK(rig.close() == 0);
}

TEST_CASE("cancel: an op the device will not give back ends with its own result", "[fake]") {
    if (!variant().fake) {
        FSYS_SKIP("needs a queue that ignores cancels");
    }
    TempDir dir;
    write_whole(dir / "f", pattern(4096));
    Setup setup;
    setup.queue = quiet();
    Rig rig(setup);
    rig.queue()->hold(FSYS_OP_READV, true);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ);
    char bytes[64];
    fsys_iovec iov{bytes, 64};
    fsys_request r{};
    r.opcode = FSYS_OP_READV;
    r.file = file;
    r.buffer = &iov;
    r.length = 1;
    fsys_op op = 0;
    REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    CHECK(fsys_wait(rig, op, 20 * kMs, nullptr) == -ETIMEDOUT);
    CHECK(fsys_cancel(rig, op) == 0);
    CHECK(fsys_wait(rig, op, 20 * kMs, nullptr) == -ETIMEDOUT);
    rig.queue()->release();
    CHECK(rig.wait(op).result == 64);
}

TEST_CASE("close: of a file in use by waiting ops, seen by other threads") {
    TempDir dir;
    write_whole(dir / "f", pattern(4096));
    Rig rig;
    Checks checks;
    for (unsigned round = 0; round < 30; ++round) {
        fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE);
        std::atomic<bool> closed{false};
        rig.run(4, [&](unsigned thread) {
            char bytes[64];
            if (thread == 0) {
                sleep_ms(round % 4);
                const int code = fsys_file_close(file);
                checks.expect(code == 0, "close " + std::to_string(code));
                closed.store(true);
                return;
            }
            for (unsigned i = 0;; ++i) {
                fsys_op op = 0;
                const bool late = closed.load();
                const int code = fsys_submit_read(file, bytes, 64, i % 4000,
                                                  thread == 1 ? FSYS_WAIT_SOON : 0, 0, &op);
                if (code != 0) {
                    checks.expect(code == FSYS_E_CLOSED, "submit " + std::to_string(code));
                    break;
                }
                checks.expect(!late, "accepted after close");
                fsys_result result{};
                const int waited = fsys_wait(rig, op, FSYS_FOREVER, &result);
                checks.expect(waited == 0 && result.result == 64, "wait " + std::to_string(waited));
                const std::int64_t n = fsys_read(file, bytes, 64, 0, 0);
                checks.expect(n == 64 || n == FSYS_E_CLOSED, "read " + std::to_string(n));
            }
        });
        checks.require();
        CHECK(fsys_file_close(file) == FSYS_E_CLOSED);
        char byte = 0;
        CHECK(fsys_read(file, &byte, 1, 0, 0) == FSYS_E_CLOSED);
    }
}

TEST_CASE("close: a file whose op never ends is left to the op, which closes it", "[fake]") {
    if (!variant().fake) {
        FSYS_SKIP("needs a queue that keeps an op");
    }
    TempDir dir;
    write_whole(dir / "f", pattern(4096));
    Setup setup;
    setup.queue = quiet();
    setup.close_timeout_ns = 30 * kMs;
    Rig rig(setup);
    FakeQueueControl &queue = *rig.queue();
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ);
    char bytes[64];
    fsys_iovec iov{bytes, 64};
    fsys_request r{};
    r.opcode = FSYS_OP_READV;
    r.file = file;
    r.buffer = &iov;
    r.length = 1;
    // With a place in the table and without.
    const unsigned warm = GENERATE(0u, 20u);
    for (unsigned i = 0; i < warm; ++i) {
        fsys_op op = 0;
        REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
        rig.wait(op);
    }
    CHECK(queue.files_registered() == (warm != 0 ? 1 : 0));
    queue.hold(FSYS_OP_READV, true);
    fsys_op op = 0;
    REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    CHECK(fsys_wait(rig, op, 10 * kMs, nullptr) == -ETIMEDOUT);
    CHECK(fsys_file_close(file) == -ETIMEDOUT);
    CHECK(fsys_file_close(file) == FSYS_E_CLOSED);
    queue.release();
    CHECK(rig.wait(op).result == 64);
    CHECK(rig.until([&] { return queue.files_registered() == 0; }, 5 * kSecond));
    // The handle works on.
    file = rig.file(dir / "f", FSYS_FILE_READ);
    r.file = file;
    REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    CHECK(rig.wait(op).result == 64);
    CHECK(rig.close() == 0);
}

TEST_CASE("close: of a handle with blocked waiters, reapers and submitters") {
    for (unsigned round = 0; round < 5; ++round) {
        Setup setup;
        setup.max_ops = 8;
        setup.close_timeout_ns = 60 * kMs;
        setup.submit_timeout_ns = 20 * kSecond;
        Rig rig(setup);
        Pipe pipe;
        fsys_file *file = rig.from_fd(pipe.read_end);
        char bytes[8];
        fsys_op ops[8] = {};
        for (unsigned i = 0; i < 8; ++i) {
            REQUIRE(fsys_submit_read(file, &bytes[i], 1, 0, 0, i, i < 6 ? &ops[i] : nullptr) == 0);
        }
        if (variant().caller()) {
            fsys_poll(rig, 0);
        }
        fsys *handle = rig;
        Checks checks;
        std::atomic<unsigned> returned{0};
        std::vector<std::thread> threads;
        const auto start = [&](auto &&what) {
            threads.emplace_back([what, &returned] {
                what();
                returned.fetch_add(1);
            });
        };
        start([&checks, handle, &ops] {
            fsys_result result{};
            const int code = fsys_wait(handle, ops[0], FSYS_FOREVER, &result);
            // STALE: the other waiter got it.
            checks.expect((code == 0 && result.result == -ECANCELED) || code == FSYS_E_STALE ||
                              code == FSYS_E_CLOSED,
                          "wait " + std::to_string(code));
        });
        start([&checks, handle, &ops] {
            const int code = fsys_wait(handle, ops[0], 30 * kSecond, nullptr);
            checks.expect(code == 0 || code == FSYS_E_STALE || code == FSYS_E_CLOSED,
                          "second wait " + std::to_string(code));
        });
        start([&checks, handle, &ops] {
            std::uint32_t index = 0;
            const int code = fsys_wait_any(handle, ops + 1, 2, FSYS_FOREVER, &index, nullptr);
            checks.expect(code == 0 || code == FSYS_E_CLOSED, "wait_any " + std::to_string(code));
        });
        start([&checks, handle, &ops] {
            const int code = fsys_wait_all(handle, ops + 3, 3, FSYS_FOREVER, nullptr);
            checks.expect(code == 0 || code == FSYS_E_CLOSED, "wait_all " + std::to_string(code));
        });
        for (unsigned i = 0; i < 2; ++i) {
            start([&checks, handle] {
                fsys_result results[4];
                int n = 0;
                do {
                    n = fsys_reap(handle, results, 4, FSYS_FOREVER);
                } while (n > 0);
                checks.expect(n == FSYS_E_CLOSED || n == FSYS_E_NOTHING, "reap " + std::to_string(n));
            });
        }
        for (unsigned i = 0; i < 2; ++i) {
            start([&checks, handle] {
                fsys_request r{};
                fsys_op op = 0;
                const int code = fsys_submit(handle, &r, 1, &op);
                checks.expect(code == FSYS_E_CLOSED || code == 1, "submit " + std::to_string(code));
            });
        }
        start([&checks, file] {
            char byte = 0;
            for (;;) {
                fsys_op op = 0;
                const int code = fsys_submit_read(file, &byte, 1, 0, FSYS_NONBLOCK, 0, &op);
                if (code != -EAGAIN && code != 0) {
                    checks.expect(code == FSYS_E_CLOSED, "late submit " + std::to_string(code));
                    return;
                }
            }
        });
        sleep_ms(10 + round * 5);
        const std::int64_t started = now_ns();
        CHECK(rig.close() == 0);
        CHECK(now_ns() - started < 4 * kSecond);
        for (std::thread &thread : threads) {
            thread.join();
        }
        checks.require();
        CHECK(returned.load() == threads.size());
        CHECK(fsys_wait(handle, ops[0], 0, nullptr) == FSYS_E_CLOSED);
    }
}

TEST_CASE("close: racing calls, exactly one closes") {
    if (variant().caller()) {
        FSYS_SKIP("a caller-driven handle is closed by its driver thread only");
    }
    for (unsigned round = 0; round < 50; ++round) {
        Rig rig;
        fsys_request r{};
        REQUIRE(fsys_submit(rig, &r, 1, nullptr) == 1);
        fsys *handle = rig;
        std::atomic<unsigned> closed{0};
        Checks checks;
        rig.run(4, [&](unsigned) {
            const int code = fsys_close(handle);
            checks.expect(code == 0 || code == FSYS_E_CLOSED, "close " + std::to_string(code));
            closed.fetch_add(code == 0 ? 1 : 0);
        });
        rig.forget();
        checks.require();
        CHECK(closed.load() == 1);
        CHECK(fsys_close(handle) == FSYS_E_CLOSED);
    }
}

TEST_CASE("close: ops in flight finish, nothing is lost and no descriptor leaks") {
    TempDir dir;
    const auto bytes = pattern(65536);
    const auto descriptors = [] {
        unsigned count = 0;
        for (int fd = 0; fd < 1024; ++fd) {
            count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
        }
        return count;
    };
    for (unsigned round = 0; round < 20; ++round) {
        const unsigned before = descriptors();
        {
            Rig rig;
            fsys_file *file = rig.file(dir / "f", FSYS_FILE_WRITE | FSYS_FILE_CREATE);
            REQUIRE(fsys_event_fd(rig) >= 0);
            for (unsigned i = 0; i < 50; ++i) {
                fsys_op op = 0;
                REQUIRE(fsys_submit_write(file, bytes.data(), bytes.size(), i * bytes.size(),
                                          i % 2 != 0 ? FSYS_WAIT_SOON : 0, 0,
                                          i % 3 == 0 ? nullptr : &op) == 0);
            }
            CHECK(rig.close() == 0);
        }
        CHECK(descriptors() == before);
        const auto all = read_whole(dir / "f");
        REQUIRE(all.size() == 50 * bytes.size());
        bool same = true;
        for (unsigned i = 0; i < 50; ++i) {
            same &= std::equal(bytes.begin(), bytes.end(), all.begin() + i * 65536);
        }
        CHECK(same);
        REQUIRE(::unlink((dir / "f").c_str()) == 0);
    }
}

TEST_CASE("close: an idle handle has no thread and no ring") {
    Rig rig;
    CHECK(rig.info().driver_running == 0);
    CHECK(rig.info().sq_entries == 0);
    CHECK(rig.close() == 0);
}

TEST_CASE("close: what the kernel keeps is leaked, not freed", "[fake]") {
    if (!variant().fake) {
        FSYS_SKIP("needs a queue that keeps an op");
    }
    Setup setup;
    setup.queue = quiet();
    setup.close_timeout_ns = 30 * kMs;
    auto *rig = new Rig(setup);  // outlives the test: the driver thread keeps using its queue
    rig->queue()->hold(FSYS_OP_NOP, true);
    fsys_request r{};
    fsys_op op = 0;
    REQUIRE(fsys_submit(*rig, &r, 1, &op) == 1);
    CHECK(fsys_wait(*rig, op, 10 * kMs, nullptr) == -ETIMEDOUT);
    fsys *handle = *rig;
    CHECK(rig->close() == -ETIMEDOUT);
    CHECK(fsys_wait(handle, op, 0, nullptr) == FSYS_E_CLOSED);
    CHECK(fsys_close(handle) == FSYS_E_CLOSED);
}
