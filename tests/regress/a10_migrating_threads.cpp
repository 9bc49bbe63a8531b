// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A10: a ring with DEFER_TASKRUN and SINGLE_ISSUER hung when its task moved between threads: only
// the thread that made such a ring may enter it. The driver's ring has these flags where the kernel
// knows them, while ops are submitted, waited for, cancelled and reaped by threads that change all
// the time, move between processors and end.
#include <linux/io_uring.h>
#include <sched.h>

#include "regress/support.hpp"

using namespace regress;

TEST_CASE("A10: ops submitted by one thread and taken by others that come and go") {
    const Watchdog watchdog(120);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    Handle handle(backend);
    fsys_file *file = nullptr;
    const std::string path = scratch.make("data", 1 << 16, 2);
    if (try_open(handle, path, FSYS_FILE_READ | FSYS_FILE_DIRECT, &file) != 0) {
        file = open_file(handle, path);
    }
    const long processors = ::sysconf(_SC_NPROCESSORS_ONLN);
    Problems problems;
    const auto on_processor = [processors](unsigned n, const std::function<void()> &body) {
        std::thread([&] {
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET(n % static_cast<unsigned>(processors), &set);
            ::sched_setaffinity(0, sizeof set, &set);
            body();
        }).join();
    };
    for (unsigned round = 0; round < 100; ++round) {
        Pages pages(6 * 4096);
        fsys_op ops[6] = {};
        on_processor(round, [&] {
            for (unsigned i = 0; i < 4; ++i) {
                NOTE_EQUAL(problems, fsys_submit_read(file, pages.data() + i * 4096, 4096, i * 4096, 0,
                                                      i, &ops[i]), 0);
            }
            NOTE_EQUAL(problems, fsys_submit_read(file, pages.data() + 4 * 4096, 4096, 0, 0, 4,
                                                  nullptr), 0);
        });
        on_processor(round + 1, [&] {
            NOTE_EQUAL(problems, fsys_wait(handle, ops[0], 30 * kSecond, nullptr), 0);
            ops[0] = 0;
        });
        on_processor(round + 2, [&] {
            std::uint32_t index = 0;
            NOTE_EQUAL(problems, fsys_wait_any(handle, ops, 6, 30 * kSecond, &index, nullptr), 0);
            ops[index] = 0;
        });
        on_processor(round + 3, [&] {
            NOTE_EQUAL(problems, fsys_wait_all(handle, ops, 6, 30 * kSecond, nullptr), 0);
        });
        on_processor(round + 4, [&] {
            fsys_result result{};
            NOTE_EQUAL(problems, fsys_reap(handle, &result, 1, 30 * kSecond), 1);
            NOTE_EQUAL(problems, result.result, 4096);
        });
        for (unsigned i = 0; i < 5; ++i) {
            NOTE_CHECK(problems, is_bytes_of(pages.data() + i * 4096, 2, i == 4 ? 0 : i * 4096, 4096));
        }
        REQUIRE(problems.text() == "");
    }
    if (backend == FSYS_BACKEND_IO_URING) {
        // Otherwise this has shown less than it says. The kernel is asked whether it has the flags.
        constexpr std::uint32_t wanted = (1u << 12) | (1u << 13);  // SINGLE_ISSUER, DEFER_TASKRUN
        io_uring_params params{};
        params.flags = wanted;
        const long fd = ::syscall(SYS_io_uring_setup, 4, &params);
        if (fd >= 0) {
            ::close(static_cast<int>(fd));
            REQUIRE((info_of(handle).ring_flags & wanted) == wanted);
        } else {
            std::printf("note: this kernel has no DEFER_TASKRUN (before 6.1)\n");
        }
    }
    REQUIRE(handle.close() == 0);
}
