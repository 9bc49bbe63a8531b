// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Two ops pushed while one pool thread was idle both went to it, so the second waited for the first
// to end although more threads were allowed: a sync behind a stuck sync of another file.

#include "regress/fakes.hpp"
#include "regress/support.hpp"

using namespace regress;

namespace {

// fdatasync blocks on the chosen descriptors until released.
class BlockingSyncs final : public libfsys::Syscalls {
public:
    int fdatasync(int fd) override {
        std::unique_lock lock(mutex_);
        if (!block_) {
            return 0;
        }
        block_ = false;  // the first one only
        changed_.wait(lock, [this] { return released_; });
        return libfsys::Syscalls::fdatasync(fd);
    }
    void block_next() {
        const std::lock_guard lock(mutex_);
        block_ = true;
    }
    void release() {
        const std::lock_guard lock(mutex_);
        released_ = true;
        changed_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool block_ = false;
    bool released_ = false;
};

}  // namespace

TEST_CASE("the pool starts a thread for an op beside one that blocks") {
    const Watchdog watchdog(60);
    BlockingSyncs syscalls;
    libfsys::EngineConfig config;
    config.uring = false;
    config.pool_threads = 4;
    config.syscalls = &syscalls;
    fsys *handle = nullptr;
    REQUIRE(libfsys::open_engine_for_test(config, &handle) == 0);
    char name[] = "pool_thread_XXXXXX";
    const int fd = ::mkstemp(name);
    REQUIRE(fd >= 0);
    ::unlink(name);
    fsys_file *file = nullptr;
    REQUIRE(fsys_file_from_fd(handle, fd, nullptr, &file) == 0);
    ::close(fd);
    const auto submit = [&](fsys_op &op) {
        REQUIRE(fsys_submit_sync(file, 0, 0, FSYS_SYNC_DATA, 0, &op) == 0);
    };
    for (int round = 0; round < 200; ++round) {
        // One thread runs and is idle again, or about to be.
        fsys_op first = 0;
        submit(first);
        REQUIRE(fsys_wait(handle, first, 10 * kSecond, nullptr) == 0);
    }
    fsys_op stuck = 0;
    fsys_op free_one = 0;
    syscalls.block_next();
    submit(stuck);
    submit(free_one);
    // Either may be the one that blocks; the other must not wait for it.
    const fsys_op ops[] = {stuck, free_one};
    std::uint32_t index = 0;
    CHECK(fsys_wait_any(handle, ops, 2, 10 * kSecond, &index, nullptr) == 0);
    syscalls.release();
    CHECK(fsys_wait(handle, ops[1 - index], 10 * kSecond, nullptr) == 0);
    CHECK(fsys_close(handle) == 0);
}
