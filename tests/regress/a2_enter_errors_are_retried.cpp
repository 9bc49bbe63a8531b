// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A2: errors of io_uring_enter were ignored; EAGAIN and EBUSY left entries in the queue that nobody
// submitted again. A seccomp listener answers most enters of a child process with EAGAIN, EBUSY or
// EINTR in turn and lets few through: every op must complete all the same.
#include <thread>

#include "regress/fakes.hpp"
#include "regress/seccomp.hpp"

using namespace regress;

namespace {

constexpr int kSkip = 77;

// Answers notifications: two errors, then one call goes through.
void supervise(int listener, std::atomic<std::uint64_t> &denied) {
    constexpr int errors[] = {EAGAIN, EBUSY, EINTR};
    std::uint64_t calls = 0;
    for (;;) {
        seccomp_notif ask{};
        if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &ask) != 0) {
            if (errno == EINTR || errno == ENOENT) {
                continue;
            }
            return;
        }
        seccomp_notif_resp answer{};
        answer.id = ask.id;
        if (++calls % 3 == 0) {
            answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        } else {
            answer.error = -errors[calls % 4 % 3];
            denied.fetch_add(1);
        }
        ::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}

}  // namespace

TEST_CASE("A2: EAGAIN, EBUSY and EINTR of io_uring_enter leave no op behind") {
    const Watchdog watchdog(120);
    const std::uint32_t driver = GENERATE(FSYS_DRIVER_THREAD, FSYS_DRIVER_CALLER);
    CAPTURE(driver);
    if (kernel_io_uring_errno() != 0) {
        FSYS_SKIP("no io_uring: " + std::string(std::strerror(kernel_io_uring_errno())));
    }
    if (REGRESS_TSAN != 0) {
        FSYS_SKIP("ThreadSanitizer forbids threads in a fork child");
    }
    const Scratch scratch;
    const std::string path = scratch.make("data", 64 * 4096, 8);
    const int code = in_child(100, [&] {
        // The probe runs unharmed: this is about a ring that works.
        fsys_options options = default_options(FSYS_BACKEND_IO_URING);
        options.driver = driver;
        Handle handle(options);
        std::atomic<std::uint64_t> denied{0};
        std::atomic<int> listener{-1};
        std::thread supervisor([&] {
            while (listener < 0) {
                std::this_thread::yield();
            }
            supervise(listener, denied);
        });
        supervisor.detach();
        const int fd = filter_syscall(SYS_io_uring_enter, SECCOMP_RET_USER_NOTIF, true);
        if (fd < 0) {
            std::printf("seccomp listener: %s\n", std::strerror(-fd));
            std::fflush(stdout);
            ::_exit(kSkip);
        }
        listener = fd;
        fsys_file *file = nullptr;
        if (try_open(handle, path, FSYS_FILE_READ | FSYS_FILE_DIRECT, &file) != 0) {
            file = open_file(handle, path);
        }
        Pages pages(16 * 4096);
        for (unsigned round = 0; round < 40; ++round) {
            fsys_request batch[16];
            fsys_op ops[16];
            fsys_result results[16];
            std::memset(pages.data(), 0, pages.size());
            for (unsigned i = 0; i < 16; ++i) {
                batch[i] = request(FSYS_OP_READ, file, pages.data() + i * 4096, 4096,
                                   (round + i) % 64 * 4096, 0, i);
            }
            REQUIRE(fsys_submit(handle, batch, 16, ops) == 16);
            REQUIRE(fsys_wait_all(handle, ops, 16, 60 * kSecond, results) == 0);
            for (unsigned i = 0; i < 16; ++i) {
                REQUIRE(results[i].result == 4096);
                REQUIRE(results[i].user_data == i);
                REQUIRE(is_bytes_of(batch[i].buffer, 8, batch[i].offset, 4096));
            }
        }
        REQUIRE(denied > 40);
        REQUIRE(stats_of(handle).in_flight == 0);
        REQUIRE(handle.close() == 0);
    });
    if (code == kSkip) {
        FSYS_SKIP("no seccomp listener here");
    }
    REQUIRE(code == 0);
}

TEST_CASE("A2: a request that the kernel answers with EAGAIN is tried again, or done by a thread") {
    const Watchdog watchdog(60);
    const auto script = std::make_shared<Script>();
    const unsigned times = GENERATE(1u, 5u, 1000000u);
    CAPTURE(times);
    auto left = std::make_shared<std::atomic<unsigned>>(times);
    script->answer = [left](const libfsys::AsyncRequest &r) -> std::optional<std::int32_t> {
        if (r.opcode == FSYS_OP_READ && *left != 0) {
            --*left;
            return -EAGAIN;
        }
        return std::nullopt;
    };
    libfsys::EngineConfig config = scripted(script);
    FailingSyscalls calls;
    calls.cold = true;
    config.syscalls = &calls;
    const Scratch scratch;
    Handle handle(Handle::Adopt{open_scripted(config)});
    fsys_file *file = open_file(handle, scratch.make("data", 4096, 4));
    unsigned char bytes[4096];
    fsys_op op = 0;
    fsys_result result{};
    REQUIRE(fsys_submit_read(file, bytes, sizeof bytes, 0, 0, 0, &op) == 0);
    REQUIRE(fsys_wait(handle, op, 30 * kSecond, &result) == 0);
    CHECK(result.result == 4096);
    CHECK(is_bytes_of(bytes, 4, 0, 4096));
    CHECK(result.lane == (times < 8 ? FSYS_LANE_RING : FSYS_LANE_POOL));
    CHECK(handle.close() == 0);
}
