// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The completion queue and its descriptor.

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <random>
#include <thread>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

void submit_nops(const Rig &rig, unsigned count, std::uint64_t first = 0) {
    std::vector<fsys_request> r(count);
    for (unsigned i = 0; i < count; ++i) {
        r[i].user_data = first + i;
    }
    REQUIRE(fsys_submit(rig, r.data(), count, nullptr) == static_cast<int>(count));
}

bool readable(int fd, int timeout_ms = 0) {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, timeout_ms) == 1;
}

}  // namespace

TEST_CASE("queue: completions without a token come from reap, each once") {
    Rig rig;
    submit_nops(rig, 100);
    std::vector<bool> seen(100);
    unsigned taken = 0;
    while (taken < 100) {
        fsys_result results[7];
        const int n = fsys_reap(rig, results, 7, 10 * kSecond);
        REQUIRE(n >= 1);
        REQUIRE(n <= 7);
        for (int i = 0; i < n; ++i) {
            REQUIRE(results[i].user_data < 100);
            REQUIRE(!seen[results[i].user_data]);
            seen[results[i].user_data] = true;
            CHECK(results[i].op == 0);
            CHECK(results[i].result == 0);
        }
        taken += static_cast<unsigned>(n);
    }
    fsys_result result{};
    CHECK(fsys_reap(rig, &result, 1, 0) == 0);
    const std::int64_t start = now_ns();
    CHECK(fsys_reap(rig, &result, 1, 20 * kMs) == 0);
    CHECK(now_ns() - start >= 19 * kMs);
    CHECK(fsys_reap(rig, nullptr, 1, 0) == -EINVAL);
}

TEST_CASE("queue: FOREVER with nothing outstanding is told, not slept") {
    Rig rig;
    fsys_result result{};
    CHECK(fsys_reap(rig, &result, 1, FSYS_FOREVER) == FSYS_E_NOTHING);
    // Ops with a token do not count.
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    char byte = 0;
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(file, &byte, 1, 0, 0, 0, &op) == 0);
    CHECK(fsys_reap(rig, &result, 1, FSYS_FOREVER) == FSYS_E_NOTHING);
    submit_nops(rig, 1, 5);
    CHECK(fsys_reap(rig, &result, 1, FSYS_FOREVER) == 1);
    CHECK(result.user_data == 5);
    CHECK(fsys_reap(rig, &result, 1, FSYS_FOREVER) == FSYS_E_NOTHING);
    // max 0 only waits.
    submit_nops(rig, 1, 6);
    CHECK(fsys_reap(rig, nullptr, 0, FSYS_FOREVER) == 0);
    CHECK(fsys_reap(rig, &result, 1, 0) == 1);
    CHECK(result.user_data == 6);
    CHECK(fsys_cancel(rig, op) == 0);
    rig.wait(op);
}

TEST_CASE("queue: oldest first when one lane completes in order") {
    Setup setup;
    setup.queue = quiet();
    Rig rig(setup);
    // A chain completes in its order whatever the lane.
    std::vector<fsys_request> r(50);
    for (unsigned i = 0; i < 50; ++i) {
        r[i].user_data = i;
        r[i].flags = i + 1 < 50 ? FSYS_LINK : 0;
    }
    REQUIRE(fsys_submit(rig, r.data(), 50, nullptr) == 50);
    unsigned next = 0;
    while (next < 50) {
        fsys_result results[64];
        const int n = fsys_reap(rig, results, 64, 10 * kSecond);
        REQUIRE(n >= 1);
        for (int i = 0; i < n; ++i) {
            REQUIRE(results[i].user_data == next++);
        }
    }
}

TEST_CASE("queue: several reapers share the completions") {
    Rig rig;
    constexpr unsigned kOps = 4000;
    std::vector<std::atomic<unsigned>> seen(kOps);
    std::atomic<unsigned> taken{0};
    Checks checks;
    std::vector<std::function<void()>> threads;
    for (unsigned t = 0; t < 2; ++t) {
        threads.emplace_back([&, t] {
            for (unsigned i = t; i < kOps; i += 2) {
                fsys_request r{};
                r.user_data = i;
                const int code = fsys_submit(rig, &r, 1, nullptr);
                checks.expect(code == 1, "submit " + std::to_string(code));
            }
        });
    }
    for (unsigned t = 0; t < 3; ++t) {
        threads.emplace_back([&, t] {
            while (taken.load() < kOps) {
                fsys_result results[16];
                const int n = fsys_reap(rig, results, 1 + t * 5, 2 * kMs);
                checks.expect(n >= 0, "reap " + std::to_string(n));
                if (n < 0) {
                    return;
                }
                for (int i = 0; i < n; ++i) {
                    seen[results[i].user_data].fetch_add(1);
                }
                taken.fetch_add(static_cast<unsigned>(n));
            }
        });
    }
    rig.run(threads);
    checks.require();
    CHECK(taken.load() == kOps);
    bool once = true;
    for (const auto &count : seen) {
        once &= count.load() == 1;
    }
    CHECK(once);
}

TEST_CASE("queue: sleeping reapers with FOREVER all get what comes") {
    Rig rig;
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    char bytes[4];
    for (char &byte : bytes) {
        REQUIRE(fsys_submit_read(file, &byte, 1, 0, 0, 1, nullptr) == 0);
    }
    Checks checks;
    rig.run(5, [&](unsigned i) {
        if (i == 4) {
            for (unsigned n = 0; n < 4; ++n) {
                sleep_ms(3);
                checks.expect(::write(pipe.write_end, "x", 1) == 1, "write");
            }
            return;
        }
        fsys_result result{};
        const int n = fsys_reap(rig, &result, 1, FSYS_FOREVER);
        checks.expect(n == 1, "reap " + std::to_string(n));
    });
    checks.require();
}

TEST_CASE("event fd: readable while there is something to take, once per burst") {
    Rig rig;
    submit_nops(rig, 3);
    const int fd = fsys_event_fd(rig);
    REQUIRE(fd >= 0);
    CHECK(fsys_event_fd(rig) == fd);
    REQUIRE(rig.until([&] { return rig.stats().in_flight == 0; }));
    CHECK(readable(fd, 5000));
    fsys_result results[512];
    CHECK(fsys_reap(rig, results, 2, kSecond) == 2);
    CHECK(readable(fd));
    CHECK(fsys_reap(rig, results, 2, kSecond) == 1);
    const auto at_rest = [&] {
        if (variant().caller()) {
            fsys_poll(rig, 0);
        }
        return !readable(fd);
    };
    CHECK(rig.until(at_rest, kSecond));
    // A burst of many is one write, or a few when a reaper comes between: never one per op.
    const std::uint64_t before = rig.stats().event_signals;
    submit_nops(rig, 200);
    REQUIRE(rig.until([&] { return rig.stats().in_flight == 0; }));
    CHECK(readable(fd, 5000));
    CHECK(rig.stats().event_signals - before <= 2);
    unsigned taken = 0;
    while (taken < 200) {
        const int n = fsys_reap(rig, results, 512, kSecond);
        REQUIRE(n > 0);
        taken += static_cast<unsigned>(n);
    }
    CHECK(rig.until(at_rest, kSecond));
    // An op with a token is no business of the queue's (a caller-driven handle is told of work).
    if (!variant().caller()) {
        fsys_request r{};
        fsys_op op = 0;
        REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
        rig.wait(op);
        CHECK(!readable(fd));
    }
}

TEST_CASE("event fd: edge-triggered epoll loses no wake-up", "[random]") {
    if (variant().caller()) {
        FSYS_SKIP("one thread drives: see 'event fd: an outer loop drives'");
    }
    Setup setup;
    setup.max_ops = 64;
    Rig rig(setup);
    const int fd = fsys_event_fd(rig);
    REQUIRE(fd >= 0);
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    REQUIRE(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    constexpr unsigned kOps = 20'000;
    Checks checks;
    std::atomic<unsigned> taken{0};
    std::vector<std::function<void()>> threads;
    for (unsigned t = 0; t < 2; ++t) {
        threads.emplace_back([&, t] {
            std::mt19937 random(t);
            for (unsigned i = 0; i < kOps / 2;) {
                fsys_request r[4] = {};
                const unsigned n = std::min(1 + static_cast<unsigned>(random() % 4), kOps / 2 - i);
                const int code = fsys_submit(rig, r, n, nullptr);
                checks.expect(code > 0, "submit " + std::to_string(code));
                if (code <= 0) {
                    return;
                }
                i += static_cast<unsigned>(code);
                if (random() % 16 == 0) {
                    // Lets the queue run empty now and then, which is where wake-ups get lost.
                    std::this_thread::sleep_for(std::chrono::microseconds(random() % 100));
                }
            }
        });
    }
    threads.emplace_back([&] {
        while (taken.load() < kOps) {
            epoll_event got{};
            const int n = ::epoll_wait(epoll, &got, 1, 5000);
            checks.expect(n == 1, "epoll_wait timed out at " + std::to_string(taken.load()));
            if (n != 1) {
                return;
            }
            fsys_result results[8];
            int m = 0;
            while ((m = fsys_reap(rig, results, 8, 0)) > 0) {
                taken.fetch_add(static_cast<unsigned>(m));
            }
        }
    });
    rig.run(threads);
    checks.require();
    CHECK(taken.load() == kOps);
    ::close(epoll);
}

TEST_CASE("event fd: at rest it is not readable, whatever raced before", "[random]") {
    if (variant().caller()) {
        FSYS_SKIP("of the thread-driven queue");
    }
    Rig rig;
    const int fd = fsys_event_fd(rig);
    REQUIRE(fd >= 0);
    Checks checks;
    for (unsigned round = 0; round < 300; ++round) {
        std::atomic<unsigned> taken{0};
        constexpr unsigned kOps = 40;
        rig.run(3, [&](unsigned thread) {
            if (thread == 0) {
                for (unsigned i = 0; i < kOps; ++i) {
                    fsys_request r{};
                    checks.expect(fsys_submit(rig, &r, 1, nullptr) == 1, "submit");
                }
                return;
            }
            while (taken.load() < kOps) {
                fsys_result result{};
                const int n = fsys_reap(rig, &result, 1, 0);
                taken.fetch_add(n > 0 ? 1 : 0);
            }
        });
        checks.require();
        // A level-triggered loop would spin on a descriptor that stays readable over an empty queue.
        fsys_result result{};
        CHECK(fsys_reap(rig, &result, 1, 0) == 0);
        REQUIRE(rig.until([&] { return !readable(fd); }, 200 * kMs));
    }
}

TEST_CASE("event fd: an outer loop drives a caller-driven handle") {
    if (!variant().caller()) {
        fsys_op op = 0;
        Rig rig;
        CHECK(fsys_poll(rig, 0) == FSYS_E_WRONG_THREAD);
        static_cast<void>(op);
        return;
    }
    TempDir dir;
    write_whole(dir / "f", pattern(1 << 20));
    Setup setup;
    setup.max_ops = 1024;
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ);
    const int fd = fsys_event_fd(rig);
    REQUIRE(fd >= 0);
    const std::uint32_t how = GENERATE(0u, static_cast<std::uint32_t>(EPOLLET));
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{};
    event.events = EPOLLIN | how;
    REQUIRE(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    // Sleeps in epoll_wait; polls only when told.
    const auto drive_until = [&](const std::function<bool()> &done) {
        while (!done()) {
            epoll_event got{};
            const int n = ::epoll_wait(epoll, &got, 1, 5000);
            if (n < 0 && errno == EINTR) {
                continue;  // io_uring's task work interrupts system calls of its thread
            }
            if (n != 1) {
                return false;
            }
            while (fsys_poll(rig, 0) > 0) {
            }
        }
        return true;
    };
    SECTION("ops of the driver thread") {
        std::vector<unsigned char> buffer(700 * 64);
        std::vector<fsys_op> ops(700);
        for (unsigned i = 0; i < 700; ++i) {
            REQUIRE(fsys_submit_read(file, &buffer[i * 64], 64, i * 64, 0, i, &ops[i]) == 0);
        }
        CHECK(drive_until([&] { return rig.stats().in_flight == 0; }));
        CHECK(fsys_wait_all(rig, ops.data(), 700, 0, nullptr) == 0);
    }
    SECTION("ops of another thread") {
        std::atomic<bool> ended{false};
        Checks checks;
        std::thread other([&] {
            for (unsigned i = 0; i < 200; ++i) {
                char bytes[64];
                fsys_op op = 0;
                fsys_result result{};
                checks.expect(fsys_submit_read(file, bytes, 64, i, 0, i, &op) == 0, "submit");
                const int code = fsys_wait(rig, op, 5 * kSecond, &result);
                checks.expect(code == 0 && result.result == 64, "wait " + std::to_string(code));
            }
            ended.store(true);
            fsys_request r{};
            fsys_submit(rig, &r, 1, nullptr);  // so that the loop looks again
        });
        const bool driven = drive_until([&] { return ended.load(); });
        if (!driven) {
            rig.until([&] { return ended.load(); });
        }
        other.join();
        CHECK(driven);
        checks.require();
    }
    SECTION("a pipe becomes readable") {
        Pipe pipe;
        fsys_file *stream = rig.from_fd(pipe.read_end);
        char byte = 0;
        fsys_op op = 0;
        REQUIRE(fsys_submit_read(stream, &byte, 1, 0, 0, 0, &op) == 0);
        while (fsys_poll(rig, 0) > 0) {
        }
        std::thread writer([&] {
            sleep_ms(30);
            [[maybe_unused]] const ssize_t n = ::write(pipe.write_end, "x", 1);
        });
        CHECK(drive_until([&] { return byte == 'x'; }));
        writer.join();
        CHECK(rig.wait(op).result == 1);
    }
    SECTION("completions of the queue") {
        submit_nops(rig, 600);
        unsigned taken = 0;
        fsys_result results[64];
        CHECK(drive_until([&] {
            int n = 0;
            while ((n = fsys_reap(rig, results, 64, 0)) > 0) {
                taken += static_cast<unsigned>(n);
            }
            return taken == 600;
        }));
    }
    ::close(epoll);
}

TEST_CASE("poll: drives, waits, and is the driver thread's alone") {
    if (!variant().caller()) {
        FSYS_SKIP("the handle has its own thread");
    }
    Rig rig;
    CHECK(fsys_poll(rig, 0) == 0);
    const std::int64_t start = now_ns();
    CHECK(fsys_poll(rig, 10 * kMs) == 0);
    CHECK(now_ns() - start < kSecond);
    submit_nops(rig, 10);
    int completed = 0;
    fsys_result results[10];
    while (completed < 10) {
        const int n = fsys_poll(rig, kSecond);
        REQUIRE(n > 0);
        CHECK(fsys_reap(rig, results, 10, 0) == n);
        completed += n;
    }
    Checks checks;
    std::thread([&] {
        checks.expect(fsys_poll(rig, 0) == FSYS_E_WRONG_THREAD, "poll");
        checks.expect(fsys_close(rig) == FSYS_E_WRONG_THREAD, "close");
    }).join();
    checks.require();
    CHECK(rig.close() == 0);
}
