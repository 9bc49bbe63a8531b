// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One kernel ring: set up with a ladder of flags, mapped, filled, entered, reaped. A thin owner of
// the mapping with no policy. One thread at a time; with IORING_SETUP_SINGLE_ISSUER always the
// thread that called open().
//
// Not liburing's queue functions: 2.3, the oldest supported, cannot map a ring without an SQ array
// (IORING_SETUP_NO_SQARRAY). Its header supplies the ABI and the io_uring_prep_* helpers.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/uring/uapi.hpp"

namespace libfsys {

class Ring {
public:
    Ring() = default;
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;
    ~Ring() { close(); }

    // Makes a ring of `entries`, a CQ of `cq_entries`, with as many of `wanted` flags as the kernel
    // grants: on EINVAL the newest is stripped and the call repeated. 0 or a negative errno.
    int open(std::uint32_t entries, std::uint32_t cq_entries, std::uint32_t wanted);
    void close();
    // Gives up the mapping and the descriptor without freeing them: the kernel still writes there.
    void leak() { fd_ = -1, rings_ = nullptr, sqes_ = nullptr; }

    bool is_open() const { return fd_ >= 0; }
    int fd() const { return fd_; }
    std::uint32_t flags() const { return flags_; }
    std::uint32_t features() const { return features_; }
    std::uint32_t sq_entries() const { return sq_entries_; }
    std::uint32_t cq_entries() const { return cq_entries_; }

    // The next free entry, zeroed, or nullptr when the queue is full. It is handed over by enter().
    io_uring_sqe *next_sqe() {
        // Acquire pairs with the kernel's release of the head: it has read the entry.
        const std::uint32_t head =
            std::atomic_ref<std::uint32_t>(*sq_head_).load(std::memory_order_acquire);
        if (sq_local_tail_ - head >= sq_entries_) {
            return nullptr;
        }
        io_uring_sqe *sqe = &sqes_[sq_local_tail_ & sq_mask_];
        ++sq_local_tail_;
        std::memset(sqe, 0, sizeof *sqe);
        return sqe;
    }
    std::uint32_t unsubmitted() const { return sq_local_tail_ - sq_submitted_; }

    // Submits everything and waits for `min_complete` completions, at most `timeout_ns` (-1: no
    // limit). Returns the entries that the kernel took, or a negative errno (-ETIME, -EINTR and
    // -EBUSY are not failures of the ring).
    int enter(std::uint32_t min_complete, std::int64_t timeout_ns);

    // Calls `each(cqe)` for up to `max` completions and releases them. Returns their number.
    template <class F>
    unsigned reap(unsigned max, F &&each) {
        // Acquire pairs with the kernel's release of the tail: the entries are complete.
        std::uint32_t head = *cq_head_;
        const std::uint32_t tail =
            std::atomic_ref<std::uint32_t>(*cq_tail_).load(std::memory_order_acquire);
        unsigned count = 0;
        while (head != tail && count < max) {
            each(cqes_[head & cq_mask_]);
            ++head;
            ++count;
        }
        if (count != 0) {
            // Release: the kernel may overwrite the entries only after they were read.
            std::atomic_ref<std::uint32_t>(*cq_head_).store(head, std::memory_order_release);
        }
        return count;
    }
    bool cq_empty() const {
        return *cq_head_ == std::atomic_ref<std::uint32_t>(*cq_tail_).load(std::memory_order_acquire);
    }
    // The kernel has deferred work, or completions that did not fit, and wants a GETEVENTS.
    bool needs_getevents() const {
        return (std::atomic_ref<std::uint32_t>(*sq_flags_).load(std::memory_order_relaxed) &
                (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    }
    std::uint32_t dropped() const {
        return std::atomic_ref<std::uint32_t>(*cq_overflow_).load(std::memory_order_relaxed);
    }

    // Submits everything and looks at no completion.
    void submit();

    int register_op(unsigned opcode, const void *arg, unsigned count) const;
    // Makes later enters cheaper (Linux 5.18); for a ring that one thread enters.
    void register_ring_fd();

private:
    int map(const io_uring_params &params);

    int fd_ = -1;
    int enter_fd_ = -1;  // the registered index, or fd_
    std::uint32_t enter_flags_ = 0;
    std::uint32_t flags_ = 0;
    std::uint32_t features_ = 0;
    std::uint32_t sq_entries_ = 0;
    std::uint32_t cq_entries_ = 0;

    void *rings_ = nullptr;
    std::size_t rings_size_ = 0;
    io_uring_sqe *sqes_ = nullptr;
    std::size_t sqes_size_ = 0;

    std::uint32_t *sq_head_ = nullptr;
    std::uint32_t *sq_tail_ = nullptr;
    std::uint32_t *sq_flags_ = nullptr;
    std::uint32_t sq_mask_ = 0;
    std::uint32_t sq_local_tail_ = 0;
    std::uint32_t sq_submitted_ = 0;

    std::uint32_t *cq_head_ = nullptr;
    std::uint32_t *cq_tail_ = nullptr;
    std::uint32_t *cq_overflow_ = nullptr;
    std::uint32_t cq_mask_ = 0;
    io_uring_cqe *cqes_ = nullptr;
};

}  // namespace libfsys
