// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Orders in the code that are stronger than the models need, each with the reason that it stays.
// An entry that a model does catch is a failure too, so the list cannot rot.
#pragma once

#include "model_atomics.hpp"

namespace model {

struct Needless {
    const char *file;
    const char *function;
    Access access;
    rl::memory_order stated;
    rl::memory_order enough;
    const char *why;
};

inline constexpr const char *kRmwOnce = "atomicity alone makes one of several do it";
inline constexpr const char *kRetry = "a failed exchange only looks again or gives up";

inline const Needless kNeedless[] = {
    {"submit_list.hpp", "take_all", Access::kRmw, rl::mo_seq_cst, rl::mo_acq_rel,
     "the driver's half of Dekker's pattern is empty(), not the taking"},
    {"submit_list.hpp", "take_all", Access::kRmw, rl::mo_seq_cst, rl::mo_acquire,
     "the driver writes nothing that a producer reads through the list"},
    {"submit_list.hpp", "pop_if_head", Access::kRmw, rl::mo_acq_rel, rl::mo_acquire,
     "what was below was released by its own push, and the exchange continues that"},
    {"submit_list.hpp", "pop_if_head", Access::kRmw, rl::mo_acq_rel, rl::mo_release,
     "the load of the head before it has acquired"},
    {"submit_list.hpp", "pop_if_head", Access::kRmw, rl::mo_acq_rel, rl::mo_relaxed,
     "both of the above"},
    {"doorbell.hpp", "must_ring", Access::kRmw, rl::mo_seq_cst, rl::mo_acq_rel, kRmwOnce},
    {"doorbell.hpp", "must_ring", Access::kRmw, rl::mo_seq_cst, rl::mo_acquire, kRmwOnce},
    {"doorbell.hpp", "must_ring", Access::kRmw, rl::mo_seq_cst, rl::mo_release, kRmwOnce},
    {"doorbell.hpp", "must_ring", Access::kRmw, rl::mo_seq_cst, rl::mo_relaxed, kRmwOnce},
    {"doorbell.hpp", "run", Access::kStore, rl::mo_seq_cst, rl::mo_release,
     "a producer that still sees PARKED rings once too often"},
    {"doorbell.hpp", "run", Access::kStore, rl::mo_seq_cst, rl::mo_relaxed,
     "a producer that still sees PARKED rings once too often"},
    {"op_word.hpp", "claim", Access::kRmw, rl::mo_acq_rel, rl::mo_acquire,
     "the claimer has written nothing yet; the submitter's release goes on through it"},
    {"op_word.hpp", "claim", Access::kLoad, rl::mo_acquire, rl::mo_relaxed, kRetry},
    {"op_word.hpp", "claim_unlisted", Access::kRmw, rl::mo_acq_rel, rl::mo_acquire,
     "the claimer has written nothing yet; the submitter's release goes on through it"},
    {"op_word.hpp", "claim_unlisted", Access::kLoad, rl::mo_acquire, rl::mo_relaxed, kRetry},
    {"op_word.hpp", "list", Access::kRmw, rl::mo_acq_rel, rl::mo_acquire,
     "the push that follows releases"},
    {"op_word.hpp", "list", Access::kRmw, rl::mo_acq_rel, rl::mo_release,
     "the publisher reads nothing but the word"},
    {"op_word.hpp", "list", Access::kRmw, rl::mo_acq_rel, rl::mo_relaxed, "both of the above"},
    {"op_word.hpp", "list", Access::kLoad, rl::mo_acquire, rl::mo_relaxed, kRetry},
    {"op_word.hpp", "mark", Access::kLoad, rl::mo_acquire, rl::mo_relaxed, kRetry},
    {"op_word.hpp", "finish", Access::kRmw, rl::mo_acq_rel, rl::mo_release,
     "orders join() before arrive(), which relacy's program order hides"},
    {"op_word.hpp", "release", Access::kStore, rl::mo_release, rl::mo_relaxed,
     "the free list's exchange hands the slot on"},
};

}  // namespace model
