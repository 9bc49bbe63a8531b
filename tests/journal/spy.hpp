// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The real system calls, watched: what is written where, how often, and made slow on demand.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "backend/syscalls.hpp"

namespace journal_test {

class Spy final : public libfsys::Syscalls {
public:
    struct Write {
        int fd;
        std::uint64_t from, to;
    };
    std::atomic<int> slow_sync_us{0};
    std::atomic<std::uint64_t> writes{0};
    std::atomic<std::uint64_t> durable_writes{0};
    std::atomic<std::uint64_t> syncs{0};
    std::atomic<std::uint64_t> reads{0};
    std::atomic<std::uint64_t> bytes_read{0};
    std::atomic<std::uint64_t> resizes{0};
    std::atomic<std::uint64_t> grown{0};  // writes beyond the end of their file
    std::atomic<bool> log{false};

    std::vector<Write> take_log() {
        const std::lock_guard lock(mutex_);
        return std::exchange(log_, {});
    }

    ssize_t pread(int fd, void *buffer, std::size_t length, std::uint64_t offset,
                  int rwf) override {
        ++reads;
        const ssize_t n = Syscalls::pread(fd, buffer, length, offset, rwf);
        bytes_read += n > 0 ? static_cast<std::uint64_t>(n) : 0;
        return n;
    }
    ssize_t pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                   int rwf) override {
        ++writes;
        if (log) {
            struct stat info{};
            Syscalls::fstat(fd, &info);
            grown += offset + length > static_cast<std::uint64_t>(info.st_size);
            const std::lock_guard lock(mutex_);
            log_.push_back({fd, offset, offset + length});
        }
        if ((rwf & RWF_DSYNC) != 0) {
            ++durable_writes;
            pause();
        }
        return Syscalls::pwrite(fd, buffer, length, offset, rwf);
    }
    int fsync(int fd) override {
        ++syncs;
        pause();
        return Syscalls::fsync(fd);
    }
    int fdatasync(int fd) override {
        ++syncs;
        pause();
        return Syscalls::fdatasync(fd);
    }
    int ftruncate(int fd, std::uint64_t length) override {
        ++resizes;
        return Syscalls::ftruncate(fd, length);
    }
    int fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) override {
        ++resizes;
        return Syscalls::fallocate(fd, mode, offset, length);
    }

private:
    void pause() {
        if (const int us = slow_sync_us.load(); us != 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(us));
        }
    }
    std::mutex mutex_;
    std::vector<Write> log_;
};

}  // namespace journal_test
