// SPDX-License-Identifier: Apache-2.0 OR MIT
// Plain syscalls: pread, pwrite and their v2 forms, alone or followed by fdatasync. A worker is
// used by one thread; the descriptor is shared.
#include "peers.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstring>

namespace bench {

Target open_target(const TestFile &file, Direction direction, bool direct) {
    const int access = direction == Direction::read ? O_RDONLY : O_RDWR;
    Target target;
    target.descriptor = std::make_shared<Descriptor>(file.path(), access | (direct ? O_DIRECT : 0));
    target.path = file.path();
    target.bytes = file.bytes();
    // Buffered overwrites stay within a part that is dirty after the warm-up: what is measured is
    // then the write, not the first dirtying of each page and the write-back that follows.
    if (direction == Direction::write && !direct)
        target.bytes = std::min<std::uint64_t>(target.bytes, 16U << 20);
    target.direction = direction;
    target.direct = direct;
    return target;
}

namespace {

template <typename Transfer>
class SyscallWorker final : public Worker {
public:
    SyscallWorker(const Target &target, const Seat &seat, Transfer transfer)
        : target_(target),
          fd_(target.descriptor->get()),
          offsets_(seat.seed, target.bytes),
          pages_(block_size),
          transfer_(transfer) {}

    std::uint64_t step() override {
        if (transfer_(fd_, pages_.at(0), static_cast<off_t>(offsets_.next())) !=
            static_cast<ssize_t>(block_size)) [[unlikely]]
            throw Failure(std::string("plain syscall: ") + std::strerror(errno));
        return 1;
    }

private:
    Target target_;
    int fd_;
    Offsets offsets_;
    Pages pages_;
    Transfer transfer_;
};

template <typename Transfer>
std::unique_ptr<Worker> worker_with(const Target &target, const Seat &seat, Transfer transfer) {
    return std::make_unique<SyscallWorker<Transfer>>(target, seat, transfer);
}

}  // namespace

std::unique_ptr<Worker> syscall_worker(const Target &target, Call call, const Seat &seat) {
    const bool reads = target.direction == Direction::read;
    switch (call) {
    case Call::plain:
        if (reads)
            return worker_with(target, seat, [](int fd, char *buffer, off_t at) {
                return pread(fd, buffer, block_size, at);
            });
        return worker_with(target, seat, [](int fd, char *buffer, off_t at) {
            return pwrite(fd, buffer, block_size, at);
        });
    case Call::vectored:
        if (reads)
            return worker_with(target, seat, [](int fd, char *buffer, off_t at) {
                const iovec piece{buffer, block_size};
                return preadv2(fd, &piece, 1, at, 0);
            });
        return worker_with(target, seat, [](int fd, char *buffer, off_t at) {
            const iovec piece{buffer, block_size};
            return pwritev2(fd, &piece, 1, at, 0);
        });
    case Call::dsync:
        return worker_with(target, seat, [](int fd, char *buffer, off_t at) {
            const iovec piece{buffer, block_size};
            return pwritev2(fd, &piece, 1, at, RWF_DSYNC);
        });
    case Call::fdatasync:
        return worker_with(target, seat, [](int fd, char *buffer, off_t at) -> ssize_t {
            const ssize_t written = pwrite(fd, buffer, block_size, at);
            return ::fdatasync(fd) == 0 ? written : -1;
        });
    }
    throw Failure("unknown call");
}

}  // namespace bench
