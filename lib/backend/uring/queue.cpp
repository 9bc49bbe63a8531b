// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The driver's ring: requests to SQEs, CQEs to results, one io_uring_enter for submitting, waiting
// and being woken. The driver thread opens, owns and enters it; other threads only wake().

#include "backend/uring/queue.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "backend/syscalls.hpp"
#include "backend/uring/probe.hpp"
#include "fsys/fsys.h"

namespace libfsys {
namespace {

// Cookies of the queue's own entries lie above what callers may use.
constexpr std::uint64_t kWakeCookie = std::uint64_t{1} << 32;
constexpr std::uint64_t kCancelCookie = std::uint64_t{1} << 33;

constexpr std::uint32_t kSqEntries = 512;
// Direct IO is handed over in groups of this many instead of all at the turn's end: 1.17 x the rate
// of a bare ring at depth 32 on a virtio disk (8: 1.14, 16: 1.08, 1: 1.10).
constexpr std::uint32_t kDeviceGroup = 4;
// Room in the CQ beside requests: the wake poll, and a cancel for each slot of a burst.
constexpr std::uint32_t kOwnEntries = 64;

}  // namespace

UringQueue::~UringQueue() {
    // The ring first: it holds the poll on the eventfd.
    ring_.close();
    for (const int fd : {wake_fd_, progress_fd_}) {
        if (fd >= 0) {
            ::close(fd);
        }
    }
}

int UringQueue::open() {
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0) {
        return -errno;
    }
    const std::uint32_t sq =
        std::min<std::uint32_t>(kSqEntries, std::max<std::uint32_t>(wanted_in_flight_, 8));
    const int code = ring_.open(sq, wanted_in_flight_ + kOwnEntries, driver_ring_flags());
    if (code != 0) {
        return code;
    }
    ring_.register_ring_fd();
    // CLAMP may have given fewer than asked: then requests wait their turn, the CQ never overflows.
    max_in_flight_ = std::min(wanted_in_flight_, ring_.cq_entries() - kOwnEntries);
    facts_.flags = ring_.flags();
    facts_.features = ring_.features();
    facts_.sq_entries = ring_.sq_entries();
    facts_.cq_entries = ring_.cq_entries();
    if (file_places_ != 0) {
        // Sparse table (Linux 5.19) by REGISTER_FILES2; RLIMIT_NOFILE caps it.
        for (std::uint32_t places = file_places_; places >= 16; places /= 2) {
            io_uring_rsrc_register table{};
            table.nr = places;
            table.flags = IORING_RSRC_REGISTER_SPARSE;
            if (ring_.register_op(IORING_REGISTER_FILES2, &table, sizeof table) == 0) {
                facts_.registered_files = places;
                break;
            }
        }
    }
    return arm_wake() ? 0 : -EIO;
}

// Multishot poll on the eventfd (Linux 5.13; one-shot before, re-armed below). It fires at each
// write, so the eventfd never needs draining.
bool UringQueue::arm_wake() {
    io_uring_sqe *sqe = ring_.next_sqe();
    if (sqe == nullptr) {
        return false;
    }
    io_uring_prep_poll_add(sqe, wake_fd_, POLLIN);
    sqe->len = IORING_POLL_ADD_MULTI;
    sqe->user_data = kWakeCookie;
    wake_armed_ = true;
    return true;
}

bool UringQueue::put(const AsyncRequest &request) {
    io_uring_sqe *sqe = ring_.next_sqe();
    if (sqe == nullptr) {
        return false;
    }
    const int fd = request.registered_file >= 0 ? request.registered_file : request.fd;
    switch (request.opcode) {
    case FSYS_OP_READ:
        io_uring_prep_rw(request.registered_buffer ? IORING_OP_READ_FIXED : IORING_OP_READ, sqe, fd,
                         request.buffer, request.length, request.offset);
        sqe->rw_flags = request.rwf;
        break;
    case FSYS_OP_WRITE:
        io_uring_prep_rw(request.registered_buffer ? IORING_OP_WRITE_FIXED : IORING_OP_WRITE, sqe,
                         fd, request.buffer, request.length, request.offset);
        sqe->rw_flags = request.rwf;
        break;
    case FSYS_OP_READV:
        io_uring_prep_rw(IORING_OP_READV, sqe, fd, request.buffer, request.length, request.offset);
        sqe->rw_flags = request.rwf;
        break;
    case FSYS_OP_WRITEV:
        io_uring_prep_rw(IORING_OP_WRITEV, sqe, fd, request.buffer, request.length, request.offset);
        sqe->rw_flags = request.rwf;
        break;
    case FSYS_OP_SYNC:
        io_uring_prep_fsync(sqe, fd, request.data_only ? IORING_FSYNC_DATASYNC : 0);
        sqe->off = request.offset;
        // len is 32 bits wide; a longer range syncs the whole file, which covers it.
        if (request.sync_length != 0 && request.sync_length <= 0xffffffffu) {
            sqe->len = static_cast<std::uint32_t>(request.sync_length);
        } else {
            sqe->off = 0;
        }
        break;
    case FSYS_OP_ALLOCATE:
        io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, fd,
                         reinterpret_cast<const void *>(request.sync_length),
                         static_cast<unsigned>(request.mode), request.offset);
        break;
    default:
        break;  // a NOP: all zero
    }
    if (request.registered_file >= 0) {
        sqe->flags |= IOSQE_FIXED_FILE;
    }
    sqe->user_data = request.cookie;
    if (request.device && ++device_unsubmitted_ == kDeviceGroup) {
        // A device works on the first few while the rest is still being filled in.
        device_unsubmitted_ = 0;
        counters_.entries += ring_.unsubmitted();
        ++counters_.enters;
        ring_.submit();
        counters_.entries -= ring_.unsubmitted();
    }
    return true;
}

bool UringQueue::put_cancel(std::uint64_t cookie) {
    io_uring_sqe *sqe = ring_.next_sqe();
    if (sqe == nullptr) {
        return false;
    }
    io_uring_prep_cancel64(sqe, cookie, 0);
    sqe->user_data = kCancelCookie;
    return true;
}

// With DEFER_TASKRUN a request that becomes ready (a pipe's data) posts no CQE until the owner enters
// the ring, and does not wake those who poll the ring's descriptor (seen on Linux 6.18). It does
// signal a registered eventfd.
int UringQueue::progress_fd() {
    if (progress_fd_ < 0) {
        progress_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (progress_fd_ >= 0 &&
            ring_.register_op(IORING_REGISTER_EVENTFD, &progress_fd_, 1) != 0) {
            ::close(progress_fd_);
            progress_fd_ = -1;
        }
    }
    return progress_fd_;
}

int UringQueue::turn(AsyncResult *results, unsigned max, std::int64_t wait_ns) {
    if (progress_fd_ >= 0) {
        // Before the enter, which runs what was signalled until now.
        std::uint64_t drained;
        [[maybe_unused]] const ssize_t n = ::read(progress_fd_, &drained, sizeof drained);
    }
    if (!wake_armed_ && !arm_wake()) {
        // A full SQ: this turn empties it, the next one arms. It must not sleep unarmed.
        wait_ns = 0;
    }
    // Sleep only when nothing is there to take: CQEs may be left over from the last turn.
    const bool wait = wait_ns != 0 && ring_.cq_empty();
    const std::uint32_t entries = ring_.unsubmitted();
    device_unsubmitted_ = 0;
    if (entries != 0 || wait || ring_.needs_getevents() || ring_.cq_empty()) {
        ++counters_.enters;
        const int code = ring_.enter(wait ? 1 : 0, wait_ns);
        counters_.entries += entries - ring_.unsubmitted();
        switch (code) {
        case -ETIME:   // the wait's limit
        case -EINTR:   // a signal; nothing is lost, the CQ is read below
        case -EAGAIN:  // no memory for a request now: what was not taken stays queued
        case -EBUSY:   // the kernel holds completions back until some are reaped
            break;
        default:
            if (code < 0) {
                return code;
            }
        }
    }
    unsigned count = 0;
    ring_.reap(max, [&](const io_uring_cqe &cqe) {
        if (cqe.user_data == kWakeCookie) {
            wake_armed_ = (cqe.flags & IORING_CQE_F_MORE) != 0;
        } else if (cqe.user_data != kCancelCookie) {
            results[count++] = AsyncResult{cqe.user_data, cqe.res};
        }
    });
    // NODROP kernels queue what does not fit, so this means memory ran out: completions are gone.
    return ring_.dropped() != 0 ? -EBADR : static_cast<int>(count);
}

void UringQueue::wake() {
    const std::uint64_t one = 1;
    // EAGAIN (the counter is full) still leaves it readable; nothing else can fail.
    [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

int UringQueue::register_file(std::uint32_t place, int fd) {
    io_uring_files_update update{};
    update.offset = place;
    update.fds = reinterpret_cast<std::uint64_t>(&fd);
    const int code = ring_.register_op(IORING_REGISTER_FILES_UPDATE, &update, 1);
    return code == 1 ? 0 : (code < 0 ? code : -EIO);
}

void UringQueue::unregister_file(std::uint32_t place) { register_file(place, -1); }

int UringQueue::register_arena(void *base, std::size_t size) {
    const iovec whole{base, size};
    const int code = ring_.register_op(IORING_REGISTER_BUFFERS, &whole, 1);
    facts_.registered_arena = code == 0;
    return code;
}

}  // namespace libfsys
