// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The state of an op: one 64-bit word, so that a token's generation is checked by the same atomic
// step that claims, completes or takes the op.
//
//   63                    26 25      18 17       8  7      6     5      4      3   0
//   [ generation (38 bits) ][ 25 .. 18 ][ group id ][CANCEL][GROUP][WAITER][LISTED][state]
//
//   FREE --> QUEUED --claim--> CLAIMED  --finish--> DONE --take--> TAKEN --release--> FREE
//    |        ^  '---start---> INFLIGHT --finish--> DONE              '--release--> GONE (LISTED)
//    '-> HELD-'                                                                       '-unlist-> FREE
//        (released by the op it is linked behind, or claimed to be cancelled)
//
// LISTED is a reference of its own: the submission list or the pool queue links the slot. A slot
// whose completion was taken while LISTED becomes GONE and is freed by whoever unlinks it; the bit
// and the state live in one word, so exactly one of the two parties sees both halves gone.
//
// The functions are templates over the atomic so that tests/model can run them under an exploring
// scheduler. docs/design.md argues the orders.
#pragma once

#include <cstdint>

#include "engine/atomics.hpp"

namespace libfsys {

enum class OpState : std::uint64_t {
    kFree = 0,
    kHeld = 1,      // linked behind an op that has not completed
    kQueued = 2,    // anyone may claim it
    kClaimed = 3,   // one thread executes it in a plain system call
    kInflight = 4,  // the driver has it: the ring, the pool's poller or its own backlog
    kDone = 5,      // the completion is there
    kTaken = 6,     // somebody copies the completion out
    kGone = 7,      // taken, waiting to be unlinked
};

namespace op_word {

inline constexpr std::uint64_t kStateMask = 0xf;
inline constexpr std::uint64_t kListed = 1u << 4;
inline constexpr std::uint64_t kWaiter = 1u << 5;
inline constexpr std::uint64_t kGroup = 1u << 6;
inline constexpr std::uint64_t kCancel = 1u << 7;
inline constexpr unsigned kGroupShift = 8;
inline constexpr std::uint64_t kGroupMask = std::uint64_t{0x3ff} << kGroupShift;
inline constexpr std::uint64_t kSeen = 1u << 18;  // the ticker saw it waiting once
inline constexpr std::uint64_t kClaimable = 1u << 19;  // a waiter may execute it
inline constexpr std::uint64_t kQueueBound = 1u << 20;  // no token: reaped, never waited for
inline constexpr std::uint64_t kPolled = 1u << 21;      // in the poller's care while QUEUED
inline constexpr unsigned kLaneShift = 22;               // FSYS_LANE_* it is published to
inline constexpr std::uint64_t kLaneMask = std::uint64_t{3} << kLaneShift;
inline constexpr std::uint64_t kPoked = 1u << 24;  // poison() has changed the word to wake sleepers
inline constexpr std::uint64_t kExternal = 1u << 25;  // CLAIMED for somebody outside the engine
inline constexpr unsigned kGenerationShift = 26;
inline constexpr std::uint64_t kGenerationMask = ~std::uint64_t{0} << kGenerationShift;

constexpr std::uint64_t bits(OpState state) { return static_cast<std::uint64_t>(state); }
constexpr OpState state(std::uint64_t word) { return static_cast<OpState>(word & kStateMask); }
constexpr bool is_pending(std::uint64_t word) {
    return state(word) >= OpState::kHeld && state(word) <= OpState::kInflight;
}
constexpr std::uint64_t generation(std::uint64_t word) { return word >> kGenerationShift; }
constexpr std::uint32_t group(std::uint64_t word) {
    return static_cast<std::uint32_t>((word & kGroupMask) >> kGroupShift);
}
constexpr unsigned lane(std::uint64_t word) {
    return static_cast<unsigned>((word & kLaneMask) >> kLaneShift);
}
constexpr std::uint64_t with_state(std::uint64_t word, OpState to) {
    return (word & ~kStateMask) | bits(to);
}
constexpr std::uint64_t same_generation(std::uint64_t word, OpState to) {
    return (word & kGenerationMask) | bits(to);
}
constexpr std::uint64_t next_generation(std::uint64_t word, OpState to) {
    return (((word >> kGenerationShift) + 1) << kGenerationShift) | bits(to);
}

// QUEUED (or HELD) -> `to`. Acquire: the fields that the submitter wrote are visible to the winner.
// `drop` and `set` are flag bits to clear and set in the same step.
template <class Word>
bool claim(Word &word, std::uint64_t expected, OpState to, std::uint64_t drop = 0,
           std::uint64_t set = 0) {
    for (;;) {
        const std::uint64_t desired = (with_state(expected, to) & ~drop) | set;
        std::uint64_t seen = expected;
        if (word.compare_exchange_strong(seen, desired, memory_order_acq_rel,
                                         memory_order_acquire)) {
            return true;
        }
        // Only flags may differ: a waiter or a canceller got in between. Anything else is lost.
        if (state(seen) != state(expected) || generation(seen) != generation(expected)) {
            return false;
        }
        expected = seen;
    }
}

// QUEUED and unlisted -> `to`, for a claimer that may list the op itself. False also when somebody has
// listed it meanwhile: to list it again would link its slot twice.
template <class Word>
bool claim_unlisted(Word &word, std::uint64_t expected, OpState to) {
    const std::uint64_t from = expected & (kGenerationMask | kStateMask);
    while ((expected & (kGenerationMask | kStateMask)) == from && (expected & kListed) == 0) {
        if (word.compare_exchange_weak(expected, with_state(expected, to), memory_order_acq_rel,
                                       memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

// QUEUED or HELD, unlisted -> QUEUED and LISTED: the caller then hands it to a lane. Unlike a claim
// this leaves the state as it is, so LISTED decides which of several (a waiter whose time is limited,
// the ticker, a closer) does it: linking a slot twice would make the list a circle.
template <class Word>
bool list(Word &word, std::uint64_t expected) {
    const std::uint64_t from = expected & (kGenerationMask | kStateMask);
    while ((expected & (kGenerationMask | kStateMask)) == from && (expected & kListed) == 0) {
        const std::uint64_t desired =
            (with_state(expected, OpState::kQueued) & ~kSeen) | kListed;
        if (word.compare_exchange_weak(expected, desired, memory_order_acq_rel,
                                       memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

// CLAIMED or INFLIGHT -> DONE (or TAKEN, by a waiter that executed it), by its executor. One RMW: the executor alone changes the state, the
// others only flags, so XOR of the two state patterns cannot be disturbed. Release: the result is
// visible to whoever sees DONE. Returns the word before: its WAITER, GROUP and group id say whom
// to wake.
template <class Word>
std::uint64_t finish(Word &word, OpState from, OpState to = OpState::kDone) {
    return word.fetch_xor(bits(from) ^ bits(to), memory_order_acq_rel);
}

// DONE -> TAKEN: exactly one of several waiters gets the completion. Returns the flags as they were
// at that moment through `expected`.
template <class Word>
bool take(Word &word, std::uint64_t expected) {
    return claim(word, expected, OpState::kTaken);
}

// TAKEN -> FREE of the next generation, or GONE while still linked. Returns true when the caller
// must put the slot on the free list.
template <class Word>
bool release(Word &word) {
    std::uint64_t seen = word.load(memory_order_acquire);
    while ((seen & kListed) != 0) {
        if (word.compare_exchange_weak(seen, next_generation(seen, OpState::kGone) | kListed,
                                       memory_order_acq_rel, memory_order_acquire)) {
            return false;
        }
    }
    // Not listed, and taken: nobody else changes the word any more, so a plain store will do. The
    // acquire above pairs with the unlinker's release: its reads of `next` are over.
    word.store(next_generation(seen, OpState::kFree), memory_order_release);
    return true;
}

// Drops the LISTED reference. Returns true when the op had been taken meanwhile, so the caller must
// free the slot (the word is FREE then).
template <class Word>
bool unlist(Word &word) {
    const std::uint64_t before = word.fetch_and(~kListed, memory_order_acq_rel);
    if (state(before) != OpState::kGone) {
        return false;
    }
    word.store(same_generation(before, OpState::kFree), memory_order_relaxed);
    return true;
}

// Sets flag bits on an op that is not done yet. False when it is done or another generation; the
// word seen is returned through `expected`.
template <class Word>
bool mark(Word &word, std::uint64_t &expected, std::uint64_t set) {
    const std::uint64_t wanted = generation(expected);
    while (generation(expected) == wanted && state(expected) != OpState::kDone &&
           state(expected) != OpState::kTaken && state(expected) != OpState::kFree &&
           state(expected) != OpState::kGone) {
        if (word.compare_exchange_weak(expected, expected | set, memory_order_acq_rel,
                                       memory_order_acquire)) {
            expected |= set;
            return true;
        }
    }
    return false;
}

}  // namespace op_word
}  // namespace libfsys
