// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The op slots: one fixed table, mapped at open and touched only as far as it is used. Taking and
// giving back a slot is one CAS on a list of the calling thread's shard.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <mutex>

#include "engine/futex.hpp"
#include "engine/iovecs.hpp"
#include "engine/op_word.hpp"
#include "engine/sharded.hpp"
#include "engine/zero_pages.hpp"
#include "engine/submit_list.hpp"

namespace libfsys {

struct Target;

inline constexpr std::uint32_t kInlineIovecs = 4;

// An op. Its fields belong to the submitter until the word leaves FREE, then to whoever claimed it,
// then to whoever took it.
struct alignas(kCacheLine) Op {
    Atomic<std::uint64_t> word{0};
    Atomic<std::uint32_t> next{kNil};  // submission list, pool queue or free list
    std::uint32_t cq_next = kNil;      // completion queue
    std::uint32_t flags = 0;           // FSYS_* of the request
    std::uint8_t opcode = 0;
    std::uint8_t lane = 0;
    std::uint8_t step = 0;
    bool queue_bound = false;  // no token: the completion goes to the queue
    // An atomic for one reader beside the owner: closing a file looks for its ops.
    std::atomic<Target *> target{nullptr};
    void *buffer = nullptr;    // bytes; for vectored ops unused
    std::uint64_t length = 0;  // bytes in all
    std::uint64_t offset = 0;
    std::uint64_t link_generation = 0;  // of `link`

    std::uint64_t done = 0;  // bytes transferred so far
    std::int64_t result = 0;
    // As `target`: cancelling by user_data looks for its ops.
    std::atomic<std::uint64_t> user_data{0};
    std::int64_t started_ns = 0;  // 0: not a sampled op
    std::uint32_t link = kNil;    // the op that waits for this one
    std::uint32_t piece = 0;      // bytes of the transfer that the driver has under way
    std::uint16_t iov_count = 0;
    std::uint16_t iov_at = 0;     // first iovec not yet consumed
    std::uint8_t retries = 0;
    iovec *iov = nullptr;         // inline_iov, or a heap array for more
    iovec inline_iov[kInlineIovecs];

    Target *file() const { return target.load(std::memory_order_relaxed); }
};
static_assert(sizeof(Op) == 192);

inline void drop_iovecs(Op &op) {
    if (op.iov != nullptr) {
        if (op.iov != op.inline_iov) {
            delete[] op.iov;
        }
        op.iov = nullptr;
    }
}

// A vectored op's iovecs move past `n` transferred bytes.
inline void consume(Op &op, std::size_t n) {
    iovec *iov = op.iov + op.iov_at;
    std::uint32_t count = static_cast<std::uint32_t>(op.iov_count - op.iov_at);
    advance(iov, count, n);
    op.iov_at = static_cast<std::uint16_t>(op.iov_count - count);
}

class OpTable {
public:
    // Throws std::bad_alloc. `generation_seed` makes tokens of another handle in the same place
    // unlikely to match.
    OpTable(std::uint32_t capacity, std::uint64_t generation_seed);
    OpTable(const OpTable &) = delete;
    OpTable &operator=(const OpTable &) = delete;

    std::uint32_t capacity() const { return capacity_; }
    // Slots that were ever used: all live ops lie below.
    std::uint32_t touched() const {
        return fresh_.load(std::memory_order_acquire);
    }
    Op &operator[](std::uint32_t index) { return slots_[index]; }
    std::uint32_t index(const Op &op) const { return static_cast<std::uint32_t>(&op - slots_.begin()); }
    Atomic<std::uint32_t> &link(std::uint32_t index) { return slots_[index].next; }

    // A FREE slot, or kNil.
    std::uint32_t allocate();
    // Up to `count` slots with one exchange; returns how many.
    std::uint32_t allocate(std::uint32_t *out, std::uint32_t count);
    // Gives back a slot whose word is FREE.
    void free(std::uint32_t index) { free(&index, 1); }
    // The same for several with one exchange.
    void free(const std::uint32_t *indices, std::uint32_t count);

    // Waiting for a slot: register, try again, sleep while the sequence stands still.
    void add_waiter() { waiters_.fetch_add(1, std::memory_order_seq_cst); }
    void remove_waiter() { waiters_.fetch_sub(1, std::memory_order_seq_cst); }
    std::atomic<std::uint32_t> &sequence() { return sequence_; }
    void wake_all_waiters() {
        sequence_.fetch_add(1, std::memory_order_seq_cst);
        futex_wake(&sequence_);
    }

private:
    std::uint32_t pop(unsigned shard);

    // {tag, index}: the tag changes at each pop and push, against ABA.
    struct alignas(kCacheLine) FreeList {
        std::atomic<std::uint64_t> head{kNil};
    };

    std::uint32_t capacity_;
    std::uint64_t first_generation_;
    ZeroPages<Op> slots_;  // constructed one by one, at first use
    FreeList free_[kShards];
    alignas(kCacheLine) std::atomic<std::uint32_t> fresh_{0};
    std::mutex fresh_mutex_;
    std::atomic<std::uint32_t> waiters_{0};
    std::atomic<std::uint32_t> sequence_{0};
};

}  // namespace libfsys
