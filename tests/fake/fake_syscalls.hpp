// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// System calls that misbehave: the real ones, with faults by rule and mischief from a seed. Any
// thread; the test owns the object and keeps it alive until the engine over it is closed.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <random>
#include <vector>

#include "backend/syscalls.hpp"

namespace libfsys::test {

enum class SysCall : unsigned {
    kPread,
    kPwrite,
    kPreadv,
    kPwritev,
    kFsync,
    kFdatasync,
    kFallocate,
    kOpen,
    kClose,
    kFstat,
    kCount,
};

// Mischief from a seed: how likely, in 1/1000 of the calls. All of it is what a kernel may do, so a
// program over the library must not notice.
struct Mischief {
    std::uint64_t seed = 1;
    unsigned short_transfer = 0;  // moves fewer bytes than asked, at least one
    unsigned interrupted = 0;     // fails with EINTR, having done nothing
    unsigned again = 0;           // fails with EAGAIN (offset transfers only)
    unsigned delayed = 0;         // sleeps up to 200 us first, so that calls overtake each other
};

class FakeSyscalls : public libfsys::Syscalls {
public:
    explicit FakeSyscalls(const Mischief &mischief = {}) : mischief_(mischief) {
        random_.seed(mischief.seed);
    }

    // The `nth` (1: the next) call of this kind fails with -error; `persistent`: all from then on.
    // `before` false: the call is carried out first and its result thrown away.
    void fail(SysCall call, int error, unsigned nth = 1, bool persistent = false,
              bool carry_out = false);
    void heal();  // drops all rules

    // Calls of this kind stop inside, as one on a dead disk does, until release().
    void hold(SysCall call);
    void release();
    unsigned held() const { return held_.load(); }
    // False when no call was held within two seconds.
    bool await_held(unsigned count = 1);

    // Data calls claim to have moved everything, up to the kernel's limit of one call, and touch no
    // memory: transfers above 2 GiB without the memory for them.
    void pretend() { pretend_.store(true); }

    std::uint64_t calls(SysCall call) const { return calls_[static_cast<unsigned>(call)].load(); }

    ssize_t pread(int fd, void *buffer, std::size_t length, std::uint64_t offset, int rwf) override;
    ssize_t pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                   int rwf) override;
    ssize_t preadv(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf) override;
    ssize_t pwritev(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf) override;
    std::unique_ptr<WriteQueue> write_queue(unsigned depth) override;
    int fsync(int fd) override;
    int fdatasync(int fd) override;
    int fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) override;
    int open(int dir, const char *path, int flags, mode_t mode) override;
    int close(int fd) override;
    int fstat(int fd, struct stat *out) override;

private:
    struct Rule {
        SysCall call;
        int error;
        unsigned nth;
        bool persistent;
        bool carry_out;
    };
    // What to do with one call.
    struct Verdict {
        int error = 0;  // positive errno
        bool carry_out = false;
        std::size_t length = 0;  // to transfer
    };
    Verdict judge(SysCall call, std::size_t length, bool transfer, bool stream);
    ssize_t vectored(SysCall call, int fd, const iovec *iov, int count, std::uint64_t offset,
                     int rwf);

    const Mischief mischief_;
    mutable std::mutex mutex_;
    std::condition_variable released_;
    std::mt19937_64 random_;
    std::vector<Rule> rules_;
    std::array<bool, static_cast<unsigned>(SysCall::kCount)> holding_{};
    std::array<std::atomic<std::uint64_t>, static_cast<unsigned>(SysCall::kCount)> calls_{};
    std::atomic<unsigned> held_{0};
    std::atomic<bool> pretend_{false};
};

}  // namespace libfsys::test
