// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// submit and wait of a small buffered write, without a hint, cost 3.4 times the bare pwrite: a pool
// thread was woken for each, and seldom was there first. A lone one is left for its waiter; two at a
// time still overlap, and one that nobody waits for still happens.

#include "regress/support.hpp"

using namespace regress;

namespace {

struct OneFile {
    explicit OneFile(std::uint32_t backend) {
        fsys_options options{};
        options.struct_size = sizeof options;
        options.backend = backend;
        REQUIRE(fsys_open(&options, &handle) == 0);
        char name[] = "lone_write_XXXXXX";
        fd = ::mkstemp(name);
        REQUIRE(fd >= 0);
        ::unlink(name);
        REQUIRE(fsys_file_from_fd(handle, fd, nullptr, &file) == 0);
    }
    ~OneFile() {
        fsys_close(handle);
        ::close(fd);
    }
    std::uint64_t on_lane(unsigned lane) {
        fsys_counters counters{};
        counters.struct_size = sizeof counters;
        REQUIRE(fsys_stats(handle, &counters) == 0);
        return counters.ops[lane][FSYS_OP_WRITE];
    }
    fsys *handle = nullptr;
    fsys_file *file = nullptr;
    int fd = -1;
};

}  // namespace

TEST_CASE("lone small buffered writes are left for their waiter") {
    const Watchdog watchdog(60);
    const auto backend = GENERATE(as<std::uint32_t>{}, FSYS_BACKEND_DEFAULT, FSYS_BACKEND_THREADS);
    CAPTURE(backend);
    OneFile scratch(backend);
    constexpr unsigned kOps = 500;
    const std::vector<char> block(4096, 'x');
    for (unsigned i = 0; i < kOps; ++i) {
        fsys_op op = 0;
        fsys_result result{};
        REQUIRE(fsys_submit_write(scratch.file, block.data(), block.size(), 4096 * i, 0, 0, &op) == 0);
        REQUIRE(fsys_wait(scratch.handle, op, FSYS_FOREVER, &result) == 0);
        REQUIRE(result.result == 4096);
    }
    // Between submit and wait this thread may lose the processor to the ticker for two ticks.
    CHECK(scratch.on_lane(FSYS_LANE_INLINE) >= kOps * 9 / 10);

    // Two at a time: nobody waits until both have been published.
    const std::uint64_t pool = scratch.on_lane(FSYS_LANE_POOL);
    fsys_op two[2] = {};
    for (unsigned i = 0; i < 2; ++i) {
        REQUIRE(fsys_submit_write(scratch.file, block.data(), block.size(), 4096 * i, 0, 0, &two[i]) ==
                0);
    }
    fsys_result results[2];
    for (const std::int64_t until = now_ns() + 30 * kSecond;
         scratch.on_lane(FSYS_LANE_POOL) < pool + 2 && now_ns() < until;) {
        ::usleep(1000);
    }
    CHECK(scratch.on_lane(FSYS_LANE_POOL) == pool + 2);
    REQUIRE(fsys_wait_all(scratch.handle, two, 2, FSYS_FOREVER, results) == 0);

    // And one that is never waited for.
    fsys_op lone = 0;
    REQUIRE(fsys_submit_write(scratch.file, "last", 4, 1 << 22, 0, 0, &lone) == 0);
    char seen[4] = {};
    for (const std::int64_t until = now_ns() + 30 * kSecond;
         std::memcmp(seen, "last", 4) != 0 && now_ns() < until;) {
        ::usleep(1000);
        (void)!::pread(scratch.fd, seen, 4, 1 << 22);
    }
    CHECK(std::memcmp(seen, "last", 4) == 0);
    fsys_result result{};
    REQUIRE(fsys_wait(scratch.handle, lone, FSYS_FOREVER, &result) == 0);
    CHECK(result.result == 4);
}
