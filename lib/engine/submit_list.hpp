// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The submission list: many threads push slots, the driver takes all of them in one exchange.
// A stack of indices, newest first; the driver reverses what it took.
//
// Push and take are seq_cst because they pair with the doorbell: see doorbell.hpp.
#pragma once

#include <cstdint>

#include "engine/atomics.hpp"

namespace libfsys {

inline constexpr std::uint32_t kNil = 0xffffffffu;

class SubmitList {
public:
    // Links the chain first..last (already linked through next, oldest last) before the head.
    // `link(i)` is the Atomic<uint32_t> next of slot i. It is an atomic, relaxed, because a claimer
    // may read its own next in pop_if_head while the driver, who took the list, reverses it; the
    // claimer's CAS then fails.
    template <class Link>
    void push(std::uint32_t first, std::uint32_t last, Link &&link) {
        std::uint32_t head = head_.load(memory_order_relaxed);
        do {
            link(last).store(head, memory_order_relaxed);
            // seq_cst success: ordered before the producer's load of the doorbell; it also releases
            // the links and fields to the driver's exchange.
        } while (!head_.compare_exchange_weak(head, first, memory_order_seq_cst,
                                              memory_order_relaxed));
    }

    // Everything, newest first. Acquires what push released.
    std::uint32_t take_all() {
        if (head_.load(memory_order_relaxed) == kNil) {
            return kNil;
        }
        return head_.exchange(kNil, memory_order_seq_cst);
    }

    // Unlinks `slot`, which the caller has claimed, if it is still the newest. The head is looked at
    // first and with acquire: an op that is being published is LISTED before it is pushed, so only
    // "head == slot" tells that its next is written. No ABA: a slot that its claimer holds cannot be
    // pushed again, so "head == slot" means "never taken since", and its next has not changed either.
    template <class Link>
    bool pop_if_head(std::uint32_t slot, Link &&link) {
        std::uint32_t expected = head_.load(memory_order_acquire);
        return expected == slot &&
               head_.compare_exchange_strong(expected, link(slot).load(memory_order_relaxed),
                                             memory_order_acq_rel, memory_order_relaxed);
    }

    bool empty() const { return head_.load(memory_order_seq_cst) == kNil; }

private:
    Atomic<std::uint32_t> head_{kNil};
};

}  // namespace libfsys
