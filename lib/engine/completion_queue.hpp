// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The queue of completed ops that have no token, and the descriptor that tells about it.
//
// Producers push chains on a stack; consumers, one at a time, take the whole stack and hand out its
// reverse. It cannot overflow: each op slot is in it at most once.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "engine/futex.hpp"
#include "engine/op_table.hpp"
#include "engine/stats.hpp"

namespace libfsys {

class CompletionQueue {
public:
    CompletionQueue(OpTable &ops, Stats &stats) : ops_(ops), stats_(stats) {}
    CompletionQueue(const CompletionQueue &) = delete;
    CompletionQueue &operator=(const CompletionQueue &) = delete;
    ~CompletionQueue();

    // Appends the chain that runs from its newest op `first` through cq_next to its oldest `last`.
    void push(std::uint32_t first, std::uint32_t last);
    // Takes up to `max` ops, oldest first, and resets the descriptor when it empties the queue.
    unsigned pop(std::uint32_t *out, unsigned max);
    bool empty() const {
        return head_.load(std::memory_order_seq_cst) == kNil &&
               ready_.load(std::memory_order_seq_cst) == kNil;
    }

    // Sleeping consumers: register, look again, sleep while the sequence stands still.
    void add_sleeper() { sleepers_.fetch_add(1, std::memory_order_seq_cst); }
    void remove_sleeper() { sleepers_.fetch_sub(1, std::memory_order_seq_cst); }
    std::atomic<std::uint32_t> &sequence() { return sequence_; }
    // A push wakes one sleeper, however long its chain: who leaves something wakes the next.
    void pass_on();
    void wake_all() {
        sequence_.fetch_add(1, std::memory_order_seq_cst);
        futex_wake(&sequence_);
    }

    // The descriptor, made by the first call. Negative errno on failure.
    int event_fd();
    void close_event_fd_in_child();

private:
    void signal();

    OpTable &ops_;
    Stats &stats_;
    alignas(kCacheLine) std::atomic<std::uint32_t> head_{kNil};
    std::atomic<std::uint32_t> sleepers_{0};
    std::atomic<std::uint32_t> sequence_{0};
    // 1 while the descriptor is readable, or somebody is about to make it so.
    std::atomic<std::uint32_t> signalled_{0};
    std::atomic<int> event_fd_{-1};
    alignas(kCacheLine) std::mutex consumer_;
    std::atomic<std::uint32_t> ready_{kNil};  // oldest first; written under consumer_
};

}  // namespace libfsys
