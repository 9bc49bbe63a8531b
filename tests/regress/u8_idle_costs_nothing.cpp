// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// U8: a kernel thread polled the ring and nothing was gained. No part of the library polls: a handle
// that was never used has no thread, one that was used burns no processor time while idle or while
// its only op waits for somebody else.
#include "regress/support.hpp"

using namespace regress;

namespace {

struct Usage {
    std::int64_t cpu_ns;
    long switches;
};

Usage usage() {
    rusage now{};
    ::getrusage(RUSAGE_SELF, &now);
    const auto ns = [](const timeval &t) {
        return std::int64_t{t.tv_sec} * kSecond + std::int64_t{t.tv_usec} * 1000;
    };
    return {ns(now.ru_utime) + ns(now.ru_stime), now.ru_nvcsw};
}

std::uint64_t resident_bytes() {
    unsigned long total = 0;
    unsigned long resident = 0;
    FILE *statm = std::fopen("/proc/self/statm", "r");
    if (statm != nullptr) {
        [[maybe_unused]] const int n = std::fscanf(statm, "%lu %lu", &total, &resident);
        std::fclose(statm);
    }
    return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// The process's own consumption during half a second in which it does nothing.
Usage while_idle() {
    const Usage before = usage();
    const timespec half{0, 500'000'000};
    ::nanosleep(&half, nullptr);
    const Usage after = usage();
    return {after.cpu_ns - before.cpu_ns, after.switches - before.switches};
}

}  // namespace

TEST_CASE("U8: an unused handle has no thread and no descriptor") {
    const Watchdog watchdog(30);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const unsigned threads = thread_count();
    const unsigned descriptors = descriptor_count();
    Handle handle(backend);
    REQUIRE(thread_count() == threads);
    REQUIRE(descriptor_count() == descriptors);
    REQUIRE(info_of(handle).driver_running == 0);
    REQUIRE(handle.close() == 0);
}

TEST_CASE("U8: an unused handle takes at most 512 KiB of memory") {
    const Watchdog watchdog(30);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    if (kSanitized) {
        FSYS_SKIP("a sanitizer's own memory cannot be told apart");
    }
    constexpr unsigned kHandles = 64;
    std::vector<fsys *> handles(kHandles + 1);
    const fsys_options options = default_options(backend);
    REQUIRE(fsys_open(&options, &handles[kHandles]) == 0);  // what is paid once per process
    const std::uint64_t before = resident_bytes();
    for (unsigned i = 0; i < kHandles; ++i) {
        REQUIRE(fsys_open(&options, &handles[i]) == 0);
    }
    const std::uint64_t each = (resident_bytes() - before) / kHandles;
    CAPTURE(each);
    CHECK(each <= 512 * 1024);
    for (fsys *handle : handles) {
        REQUIRE(fsys_close(handle) == 0);
    }
}

TEST_CASE("U8: a handle that has worked and one that waits burn no processor time") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    Handle handle(backend);
    fsys_file *file = open_file(handle, scratch / "data", kReadWriteCreate);
    Pipe pipe;
    fsys_file *stream = adopt_fd(handle, pipe.read_end());
    std::vector<char> bytes(4096, 'i');
    std::vector<char> back(4096);
    for (unsigned i = 0; i < 200; ++i) {  // every lane and every helper thread has been used
        fsys_op ops[3];
        const fsys_request batch[3] = {
            request(FSYS_OP_WRITE, file, bytes.data(), 4096, i * 4096),
            request(FSYS_OP_READ, file, back.data(), 4096, 0, FSYS_WAIT_SOON),
            request(FSYS_OP_SYNC, file, nullptr, 0, 0, FSYS_SYNC_DATA),
        };
        REQUIRE(fsys_submit(handle, batch, i == 0 ? 3 : 2, ops) > 0);
        ops[2] = i == 0 ? ops[2] : 0;
        REQUIRE(fsys_wait_all(handle, ops, 3, 30 * kSecond, nullptr) == 0);
    }
    char byte = 0;
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(stream, &byte, 1, 0, 0, 0, &op) == 0);
    const timespec settle{0, 100'000'000};
    ::nanosleep(&settle, nullptr);  // helper threads go to sleep after some ticks
    const Usage waiting = while_idle();
    CAPTURE(waiting.cpu_ns, waiting.switches);
    CHECK(waiting.cpu_ns < 20 * kMs);  // 4 %; a polling thread takes 100 %
    CHECK(waiting.switches < 60);      // nor does one wake up all the time: the sleep itself is 1
    REQUIRE(::write(pipe.write_end(), "x", 1) == 1);
    REQUIRE(fsys_wait(handle, op, 30 * kSecond, nullptr) == 0);
    const Usage idle = while_idle();
    CAPTURE(idle.cpu_ns, idle.switches);
    CHECK(idle.cpu_ns < 20 * kMs);
    CHECK(idle.switches < 60);
    CHECK(handle.close() == 0);
}
