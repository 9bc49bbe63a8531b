// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What everybody above the seam needs: a descriptor that closes itself, and transfers that go on
// after a short one.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "backend/syscalls.hpp"

namespace libfsys {

// An open descriptor that closes itself through the seam.
class Fd {
public:
    Fd() = default;
    Fd(Syscalls &sys, int fd) : sys_(&sys), fd_(fd) {}
    Fd(Fd &&other) noexcept : sys_(other.sys_), fd_(other.fd_) { other.fd_ = -1; }
    Fd &operator=(Fd &&other) noexcept {
        if (this != &other) {
            reset();
            sys_ = other.sys_;
            fd_ = other.fd_;
            other.fd_ = -1;
        }
        return *this;
    }
    ~Fd() { reset(); }
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int reset() {
        const int fd = fd_;
        fd_ = -1;
        const int code = fd >= 0 ? sys_->close(fd) : 0;
        return code == -EINTR ? 0 : code;  // Linux has closed it all the same, see close(2)
    }
    int release() {
        const int fd = fd_;
        fd_ = -1;
        return fd;
    }

private:
    Syscalls *sys_ = nullptr;
    int fd_ = -1;
};

// Most attempts at a call that is always interrupted.
inline constexpr int kMaxInterrupts = 1000;

// A call that a signal interrupted did nothing, and is made again. A bounded number of times, so that
// a system that always answers EINTR cannot hang a thread.
template <class Call>
auto uninterrupted(Call &&call) {
    auto result = call();
    for (int i = 0; result == -EINTR && i < kMaxInterrupts; ++i) {
        result = call();
    }
    return result;
}

// Repeats EINTR, goes on after a short transfer, and gives up after a bounded number of attempts
// without progress, so that a system that always answers EINTR cannot hang a thread.
// Returns 0 or a negative code; `done` counts what was transferred in any case.
int write_fully(Syscalls &sys, int fd, const void *data, std::size_t length, std::uint64_t offset,
                int rwf, std::size_t &done);
// fdatasync(2) or fsync(2). After EINTR once more, unlike after any other failure: no write-back has
// failed then, of which a second call would not tell.
inline int sync_file(Syscalls &sys, int fd, bool data_only) {
    return uninterrupted([&] { return data_only ? sys.fdatasync(fd) : sys.fsync(fd); });
}
// Reads until `length`, end of file or an error.
int read_fully(Syscalls &sys, int fd, void *data, std::size_t length, std::uint64_t offset,
               std::size_t &done);

}  // namespace libfsys
