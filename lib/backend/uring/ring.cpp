// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Set-up, mapping and entering of one kernel ring. The thread that opened it enters; it owns the
// mapping and the descriptor.

#include "backend/uring/ring.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

namespace libfsys {
namespace {

// Newest first: the order in which flags are given up. TASKRUN_FLAG needs COOP or DEFER, DEFER needs
// SINGLE_ISSUER, so each goes before what it needs.
constexpr std::uint32_t kLadder[] = {
    uapi::kSetupNoSqarray,         // 6.6
    IORING_SETUP_DEFER_TASKRUN,    // 6.1
    IORING_SETUP_SINGLE_ISSUER,    // 6.0
    IORING_SETUP_TASKRUN_FLAG,     // 5.19
    IORING_SETUP_COOP_TASKRUN,     // 5.19
    IORING_SETUP_SUBMIT_ALL,       // 5.18
};

}  // namespace

int Ring::open(std::uint32_t entries, std::uint32_t cq_entries, std::uint32_t wanted) {
    std::uint32_t flags = wanted | IORING_SETUP_CLAMP;
    std::size_t rung = 0;
    for (;;) {
        io_uring_params params{};
        params.flags = flags | (cq_entries != 0 ? IORING_SETUP_CQSIZE : 0u);
        params.cq_entries = cq_entries;
        const auto fd = ::syscall(SYS_io_uring_setup, entries, &params);
        if (fd >= 0) {
            fd_ = static_cast<int>(fd);
            const int code = map(params);
            if (code != 0) {
                close();
            }
            return code;
        }
        if (errno != EINVAL) {
            return -errno;
        }
        while (rung < std::size(kLadder) && (flags & kLadder[rung]) == 0) {
            ++rung;
        }
        if (rung == std::size(kLadder)) {
            return -EINVAL;
        }
        flags &= ~kLadder[rung];
    }
}

int Ring::map(const io_uring_params &params) {
    flags_ = params.flags;
    features_ = params.features;
    sq_entries_ = params.sq_entries;
    cq_entries_ = params.cq_entries;
    if ((features_ & IORING_FEAT_SINGLE_MMAP) == 0) {
        return -ENOSYS;  // before 5.4; the library wants 5.11 anyway
    }
    const bool sq_array = (flags_ & uapi::kSetupNoSqarray) == 0;
    // The large entries of SQE128 and CQE32 are two of the small ones each.
    const std::size_t cqe_size = sizeof(io_uring_cqe) << ((flags_ & IORING_SETUP_CQE32) != 0);
    const std::size_t sqe_size = sizeof(io_uring_sqe) << ((flags_ & IORING_SETUP_SQE128) != 0);
    rings_size_ = std::max<std::size_t>(
        params.cq_off.cqes + std::size_t{params.cq_entries} * cqe_size,
        sq_array ? params.sq_off.array + std::size_t{params.sq_entries} * sizeof(std::uint32_t) : 0);
    rings_ = ::mmap(nullptr, rings_size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_,
                    IORING_OFF_SQ_RING);
    if (rings_ == MAP_FAILED) {
        rings_ = nullptr;
        return -errno;
    }
    sqes_size_ = std::size_t{params.sq_entries} * sqe_size;
    void *sqes = ::mmap(nullptr, sqes_size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_,
                        IORING_OFF_SQES);
    if (sqes == MAP_FAILED) {
        return -errno;
    }
    sqes_ = static_cast<io_uring_sqe *>(sqes);
    // A fork child must not share the rings: both would move the same indices.
    ::madvise(rings_, rings_size_, MADV_DONTFORK);
    ::madvise(sqes_, sqes_size_, MADV_DONTFORK);

    char *base = static_cast<char *>(rings_);
    const auto word = [base](std::uint32_t offset) {
        return reinterpret_cast<std::uint32_t *>(base + offset);
    };
    sq_head_ = word(params.sq_off.head);
    sq_tail_ = word(params.sq_off.tail);
    sq_flags_ = word(params.sq_off.flags);
    sq_mask_ = *word(params.sq_off.ring_mask);
    cq_head_ = word(params.cq_off.head);
    cq_tail_ = word(params.cq_off.tail);
    cq_overflow_ = word(params.cq_off.overflow);
    cq_mask_ = *word(params.cq_off.ring_mask);
    cqes_ = reinterpret_cast<io_uring_cqe *>(base + params.cq_off.cqes);
    if (sq_array) {
        // Entry i always sits in place i, so the indirection is filled once.
        std::uint32_t *array = word(params.sq_off.array);
        for (std::uint32_t i = 0; i < params.sq_entries; ++i) {
            array[i] = i;
        }
    }
    sq_local_tail_ = sq_submitted_ = *sq_tail_;
    enter_fd_ = fd_;
    return 0;
}

void Ring::close() {
    if (sqes_ != nullptr) {
        ::munmap(sqes_, sqes_size_);
        sqes_ = nullptr;
    }
    if (rings_ != nullptr) {
        ::munmap(rings_, rings_size_);
        rings_ = nullptr;
    }
    if (fd_ >= 0) {
        ::close(fd_);
        fd_ = -1;
    }
}

int Ring::enter(std::uint32_t min_complete, std::int64_t timeout_ns) {
    // Release: the kernel sees the entries before the tail that covers them.
    std::atomic_ref<std::uint32_t>(*sq_tail_).store(sq_local_tail_, std::memory_order_release);
    const std::uint32_t to_submit = sq_local_tail_ - sq_submitted_;
    std::uint32_t flags = enter_flags_ | uapi::kEnterGetevents;
    __kernel_timespec ts{};
    io_uring_getevents_arg arg{};
    const void *argument = nullptr;
    std::size_t argument_size = _NSIG / 8;
    if (min_complete != 0 && timeout_ns >= 0) {
        ts.tv_sec = timeout_ns / 1'000'000'000;
        ts.tv_nsec = timeout_ns % 1'000'000'000;
        arg.ts = reinterpret_cast<std::uint64_t>(&ts);
        argument = &arg;
        argument_size = sizeof arg;
        flags |= uapi::kEnterExtArg;
    }
    const auto rc = ::syscall(SYS_io_uring_enter, enter_fd_, to_submit, min_complete, flags,
                              argument, argument_size);
    if (rc < 0) {
        // After a failed or interrupted wait the entries may or may not have been taken: the head
        // in shared memory knows.
        const int code = -errno;
        sq_submitted_ = std::atomic_ref<std::uint32_t>(*sq_head_).load(std::memory_order_acquire);
        return code;
    }
    sq_submitted_ += static_cast<std::uint32_t>(rc);
    return static_cast<int>(rc);
}

void Ring::submit() {
    std::atomic_ref<std::uint32_t>(*sq_tail_).store(sq_local_tail_, std::memory_order_release);
    const long taken = ::syscall(SYS_io_uring_enter, enter_fd_, sq_local_tail_ - sq_submitted_, 0,
                                 enter_flags_, nullptr, _NSIG / 8);
    // What was not taken goes with the next enter, which also reports a failure that lasts.
    sq_submitted_ += taken > 0 ? static_cast<std::uint32_t>(taken) : 0;
}

int Ring::register_op(unsigned opcode, const void *arg, unsigned count) const {
    const auto rc = ::syscall(SYS_io_uring_register, fd_, opcode, arg, count);
    return rc < 0 ? -errno : static_cast<int>(rc);
}

void Ring::register_ring_fd() {
    io_uring_rsrc_update update{};
    update.offset = ~0u;  // any free place of this task
    update.data = static_cast<std::uint64_t>(fd_);
    if (register_op(IORING_REGISTER_RING_FDS, &update, 1) == 1) {
        enter_fd_ = static_cast<int>(update.offset);
        enter_flags_ = uapi::kEnterRegisteredRing;
    }
}

}  // namespace libfsys
