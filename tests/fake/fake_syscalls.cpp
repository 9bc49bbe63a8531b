// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The misbehaving system calls. Engine threads enter; the rules and the random source are under one
// mutex, which is not held while a call is carried out.

#include "fake/fake_syscalls.hpp"

#include "fake/deferred_queue.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "engine/iovecs.hpp"

namespace libfsys::test {




void FakeSyscalls::fail(SysCall call, int error, unsigned nth, bool persistent, bool carry_out) {
    const std::lock_guard lock(mutex_);
    rules_.push_back({call, error, nth, persistent, carry_out});
}

void FakeSyscalls::heal() {
    const std::lock_guard lock(mutex_);
    rules_.clear();
}

void FakeSyscalls::hold(SysCall call) {
    const std::lock_guard lock(mutex_);
    holding_[static_cast<unsigned>(call)] = true;
}

void FakeSyscalls::release() {
    const std::lock_guard lock(mutex_);
    holding_.fill(false);
    released_.notify_all();
}

bool FakeSyscalls::await_held(unsigned count) {
    for (int i = 0; i < 2000 && held_.load() < count; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return held_.load() >= count;
}

FakeSyscalls::Verdict FakeSyscalls::judge(SysCall call, std::size_t length, bool transfer,
                                          bool stream) {
    calls_[static_cast<unsigned>(call)].fetch_add(1);
    Verdict verdict;
    verdict.length = length;
    unsigned delay_us = 0;
    {
        std::unique_lock lock(mutex_);
        if (holding_[static_cast<unsigned>(call)]) {
            held_.fetch_add(1);
            released_.wait(lock, [&] { return !holding_[static_cast<unsigned>(call)]; });
            held_.fetch_sub(1);
        }
        for (auto rule = rules_.begin(); rule != rules_.end(); ++rule) {
            if (rule->call != call || (rule->nth > 1 && --rule->nth >= 1)) {
                continue;
            }
            verdict.error = rule->error;
            verdict.carry_out = rule->carry_out;
            if (!rule->persistent) {
                rules_.erase(rule);
            }
            return verdict;
        }
        const auto chance = [&](unsigned per_mille) {
            return per_mille != 0 && random_() % 1000 < per_mille;
        };
        if (call == SysCall::kClose || call == SysCall::kOpen || call == SysCall::kFstat) {
            return verdict;  // what these return is the caller's business, and no mischief
        }
        if (chance(mischief_.delayed)) {
            delay_us = static_cast<unsigned>(random_() % 200);
        }
        if (chance(mischief_.interrupted)) {
            verdict.error = EINTR;
        } else if (transfer && !stream && chance(mischief_.again)) {
            verdict.error = EAGAIN;
        } else if (transfer && length > 1 && chance(mischief_.short_transfer)) {
            verdict.length = 1 + random_() % (length - 1);
        }
    }
    if (delay_us != 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(delay_us));
    }
    return verdict;
}

ssize_t FakeSyscalls::pread(int fd, void *buffer, std::size_t length, std::uint64_t offset,
                            int rwf) {
    const Verdict v = judge(SysCall::kPread, length, true, offset == kStreamOffset);
    if (v.error != 0) {
        return -v.error;
    }
    return pretend_.load() ? static_cast<ssize_t>(std::min(v.length, kMaxPiece))
                           : Syscalls::pread(fd, buffer, v.length, offset, rwf);
}

ssize_t FakeSyscalls::pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                             int rwf) {
    const Verdict v = judge(SysCall::kPwrite, length, true, offset == kStreamOffset);
    if (v.error != 0) {
        if (v.carry_out) {
            static_cast<void>(Syscalls::pwrite(fd, buffer, length, offset, rwf));
        }
        return -v.error;
    }
    return pretend_.load() ? static_cast<ssize_t>(std::min(v.length, kMaxPiece))
                           : Syscalls::pwrite(fd, buffer, v.length, offset, rwf);
}

ssize_t FakeSyscalls::vectored(SysCall call, int fd, const iovec *iov, int count,
                               std::uint64_t offset, int rwf) {
    std::size_t total = 0;
    for (int i = 0; i < count; ++i) {
        total += iov[i].iov_len;
    }
    const Verdict v = judge(call, total, true, offset == kStreamOffset);
    if (v.error != 0) {
        return -v.error;
    }
    if (pretend_.load()) {
        return static_cast<ssize_t>(std::min(v.length, kMaxPiece));
    }
    // Cut to the length of the verdict.
    std::vector<iovec> cut(iov, iov + count);
    std::size_t left = v.length;
    for (iovec &piece : cut) {
        piece.iov_len = std::min(piece.iov_len, left);
        left -= piece.iov_len;
    }
    return call == SysCall::kPreadv ? Syscalls::preadv(fd, cut.data(), count, offset, rwf)
                                    : Syscalls::pwritev(fd, cut.data(), count, offset, rwf);
}

ssize_t FakeSyscalls::preadv(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf) {
    return vectored(SysCall::kPreadv, fd, iov, count, offset, rwf);
}

ssize_t FakeSyscalls::pwritev(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf) {
    return vectored(SysCall::kPwritev, fd, iov, count, offset, rwf);
}

std::unique_ptr<WriteQueue> FakeSyscalls::write_queue(unsigned) {
    return std::make_unique<DeferredQueue>(*this, mischief_.seed);
}

int FakeSyscalls::fsync(int fd) {
    const Verdict v = judge(SysCall::kFsync, 0, false, false);
    return v.error != 0 ? -v.error : Syscalls::fsync(fd);
}

int FakeSyscalls::fdatasync(int fd) {
    const Verdict v = judge(SysCall::kFdatasync, 0, false, false);
    return v.error != 0 ? -v.error : Syscalls::fdatasync(fd);
}

int FakeSyscalls::fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) {
    const Verdict v = judge(SysCall::kFallocate, 0, false, false);
    return v.error != 0 ? -v.error : Syscalls::fallocate(fd, mode, offset, length);
}

int FakeSyscalls::open(int dir, const char *path, int flags, mode_t mode) {
    const Verdict v = judge(SysCall::kOpen, 0, false, false);
    return v.error != 0 ? -v.error : Syscalls::open(dir, path, flags, mode);
}

// The descriptor is gone in any case, as on Linux.
int FakeSyscalls::close(int fd) {
    const Verdict v = judge(SysCall::kClose, 0, false, false);
    const int code = Syscalls::close(fd);
    return v.error != 0 ? -v.error : code;
}

int FakeSyscalls::fstat(int fd, struct stat *out) {
    const Verdict v = judge(SysCall::kFstat, 0, false, false);
    return v.error != 0 ? -v.error : Syscalls::fstat(fd, out);
}

}  // namespace libfsys::test
