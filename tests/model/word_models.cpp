// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The op's word, the real header op_word.hpp: who executes, who takes, who frees, who is woken.
#include "explore.hpp"

#include "engine/op_word.hpp"

using namespace libfsys;

namespace model {
namespace {

constexpr std::uint64_t word_of(OpState state, std::uint64_t flags = 0, std::uint64_t generation = 5) {
    return generation << op_word::kGenerationShift | op_word::bits(state) | flags;
}

// Submit, then a waiter, the driver and a canceller want the op. Exactly one ends it.
struct OneExecutor : rl::test_suite<OneExecutor, 3> {
    Atomic<std::uint64_t> word;
    rl::var<int> field;
    rl::var<int> result;
    int ended = 0;
    int freed = 0;

    void before() {
        word.store(word_of(OpState::kFree), memory_order_relaxed);
        field($) = 0;
        result($) = 0;
    }

    void thread(unsigned index) {
        if (index == 0) {
            // The submitter, who then cancels.
            field($) = 1;
            word.store(word_of(OpState::kQueued, op_word::kListed), memory_order_release);
            std::uint64_t seen = word.load(memory_order_relaxed);
            if (op_word::state(seen) == OpState::kQueued) {
                if (op_word::claim(word, seen, OpState::kClaimed)) {
                    result($) = 1;
                    ++ended;
                    op_word::finish(word, OpState::kClaimed);
                }
            } else if (op_word::state(seen) == OpState::kInflight) {
                op_word::mark(word, seen, op_word::kCancel);
            }
        } else if (index == 1) {
            // The waiter: executes it, or takes it when it is done.
            const std::uint64_t seen = word.load(memory_order_relaxed);
            if (op_word::state(seen) == OpState::kQueued) {
                if (op_word::claim(word, seen, OpState::kClaimed)) {
                    RL_ASSERT(field($) == 1);
                    result($) = 2;
                    ++ended;
                    op_word::finish(word, OpState::kClaimed, OpState::kTaken);
                    give_back();
                }
            } else if (op_word::state(seen) == OpState::kDone) {
                take(seen);
            }
        } else {
            // The driver, which has it from the list.
            const std::uint64_t seen = word.load(memory_order_relaxed);
            if (op_word::state(seen) == OpState::kFree &&
                op_word::generation(seen) == op_word::generation(word_of(OpState::kFree))) {
                return;  // not submitted yet
            }
            if (op_word::state(seen) == OpState::kQueued &&
                op_word::claim(word, seen, OpState::kInflight, op_word::kListed)) {
                RL_ASSERT(field($) == 1);
                result($) = 3;
                ++ended;
                op_word::finish(word, OpState::kInflight);
            } else if (op_word::unlist(word)) {
                ++freed;
            }
        }
    }

    void give_back() {
        field($) = 9;  // whoever gets the slot next writes it
        if (op_word::release(word)) {
            ++freed;
        }
    }

    void take(std::uint64_t seen) {
        if (op_word::take(word, seen)) {
            RL_ASSERT(result($) != 0);
            give_back();
        }
    }

    void after() {
        RL_ASSERT(ended <= 1);
        const std::uint64_t seen = word.load(memory_order_relaxed);
        if (op_word::state(seen) == OpState::kDone) {
            take(seen);
        }
        const std::uint64_t now = word.load(memory_order_relaxed);
        if ((now & op_word::kListed) == 0) {
            RL_ASSERT(ended == 1 && freed == 1);
            RL_ASSERT(op_word::state(now) == OpState::kFree);
        } else if (op_word::unlist(word)) {
            RL_ASSERT(ended == 1 && freed == 0);
        }
    }
};

// The executor finishes while a waiter marks the word and goes to sleep on it.
struct FinishAndSleep : rl::test_suite<FinishAndSleep, 2> {
    Atomic<std::uint64_t> word;
    rl::var<int> result;
    Sleep futex;
    bool taken = false;

    void before() {
        word.store(word_of(OpState::kInflight), memory_order_relaxed);
        result($) = 0;
    }

    void thread(unsigned index) {
        if (index == 0) {
            result($) = 7;
            const std::uint64_t before = op_word::finish(word, OpState::kInflight);
            if ((before & op_word::kWaiter) != 0) {
                futex.wake();
            }
            return;
        }
        for (;;) {
            std::uint64_t seen = word.load(memory_order_relaxed);
            if (op_word::state(seen) == OpState::kDone) {
                take(seen);
                return;
            }
            if (broken("mark before sleeping") || op_word::mark(word, seen, op_word::kWaiter)) {
                if (futex.sleep_if([&] {
                        return broken("compare in the kernel") ||
                               word.load(memory_order_relaxed) == seen;
                    })) {
                    return;
                }
            }
        }
    }

    void take(std::uint64_t seen) {
        RL_ASSERT(op_word::take(word, seen));
        RL_ASSERT(result($) == 7);
        taken = true;
    }

    void after() {
        RL_ASSERT(futex.asleep() == 0);
        if (!taken) {
            take(word.load(memory_order_relaxed));
        }
    }
};

// Two waiters see one completion: one takes it, the other finds the token stale.
struct TwoTakers : rl::test_suite<TwoTakers, 3> {
    Atomic<std::uint64_t> word;
    rl::var<int> result;
    int taken = 0;
    int freed = 0;

    void before() {
        word.store(word_of(OpState::kClaimed), memory_order_relaxed);
        result($) = 0;
    }

    void thread(unsigned index) {
        if (index == 0) {
            result($) = 7;
            op_word::finish(word, OpState::kClaimed);
        } else {
            try_take();
        }
    }

    void try_take() {
        const std::uint64_t seen = word.load(memory_order_relaxed);
        if (op_word::state(seen) == OpState::kDone && op_word::take(word, seen)) {
            RL_ASSERT(result($) == 7);
            ++taken;
            result($) = 0;  // the slot's next user
            freed += op_word::release(word) ? 1 : 0;
        }
    }

    void after() {
        try_take();
        RL_ASSERT(taken == 1 && freed == 1);
    }
};

// The taker releases while the holder of the list's reference drops it: whoever is last frees, and
// may then write everything that the other has read.
struct ReleaseAndUnlist : rl::test_suite<ReleaseAndUnlist, 2> {
    Atomic<std::uint64_t> word;
    rl::var<int> result;  // read by the taker
    rl::var<int> place;   // read by the unlinker
    int freed = 0;

    void before() {
        word.store(word_of(OpState::kTaken, op_word::kListed), memory_order_relaxed);
        result($) = 1;
        place($) = 1;
    }

    void reuse() {
        ++freed;
        result($) = 2;
        place($) = 2;
    }

    void thread(unsigned index) {
        if (index == 0) {
            RL_ASSERT(result($) == 1);
            if (op_word::release(word)) {
                reuse();
            }
        } else {
            RL_ASSERT(place($) == 1);
            if (op_word::unlist(word)) {
                reuse();
            }
        }
    }

    void after() {
        RL_ASSERT(freed == 1);
        RL_ASSERT(word.load(memory_order_relaxed) == word_of(OpState::kFree, 0, 6));
    }
};

// A thread holds a word from before the slot went round: its claim, mark and take must fail.
struct StaleGeneration : rl::test_suite<StaleGeneration, 2> {
    Atomic<std::uint64_t> word;
    rl::var<int> field;
    int executed[2] = {0, 0};

    void before() {
        word.store(word_of(OpState::kQueued), memory_order_relaxed);
        field($) = 0;
    }

    void thread(unsigned index) {
        if (index == 0) {
            const std::uint64_t seen = word_of(OpState::kQueued);
            if (op_word::claim(word, seen, OpState::kClaimed)) {
                ++executed[0];
                field($) = 1;
                op_word::finish(word, OpState::kClaimed, OpState::kTaken);
                RL_ASSERT(op_word::release(word));
                // The same slot, its next op.
                field($) = 2;
                word.store(op_word::with_state(word.load(memory_order_relaxed), OpState::kQueued),
                           memory_order_relaxed);
            }
            return;
        }
        std::uint64_t seen = word_of(OpState::kQueued);
        if (op_word::claim(word, seen, OpState::kClaimed)) {
            ++executed[0];
            field($) = 3;
            op_word::finish(word, OpState::kClaimed);
        } else {
            op_word::mark(word, seen, op_word::kCancel);
            RL_ASSERT(!op_word::take(word, word_of(OpState::kDone)));
        }
    }

    void after() {
        RL_ASSERT(executed[0] == 1);
        const std::uint64_t now = word.load(memory_order_relaxed);
        if (op_word::generation(now) != 5) {
            // The second op is as it was submitted.
            RL_ASSERT(now == word_of(OpState::kQueued, 0, 6));
        }
    }
};

// A promised op whose waiter has a time limit is published by the waiter, and by the ticker, and a
// third thread sets a flag meanwhile: it is listed once, and its fields come along.
struct PublishedOnce : rl::test_suite<PublishedOnce, 3> {
    Atomic<std::uint64_t> word;
    int listed = 0;

    void before() { word.store(word_of(OpState::kQueued, op_word::kSeen), memory_order_relaxed); }

    void thread(unsigned index) {
        std::uint64_t seen = word.load(memory_order_relaxed);
        if (index == 2) {
            op_word::mark(word, seen, op_word::kWaiter);
        } else if (op_word::state(seen) == OpState::kQueued &&
                   (broken("LISTED decides")
                        ? op_word::claim(word, seen, OpState::kQueued, op_word::kSeen,
                                         op_word::kListed)
                        : op_word::list(word, seen))) {
            ++listed;
        }
    }

    void after() { RL_ASSERT(listed == 1); }
};

// A promised op is claimed by a wait_all, which hands it to a lane after all, while it is published by
// the ticker (here its submitter): it is listed once.
struct ClaimedToBeListed : rl::test_suite<ClaimedToBeListed, 2> {
    Atomic<std::uint64_t> word;
    rl::var<int> field;
    int listed = 0;

    void before() { word.store(word_of(OpState::kFree), memory_order_relaxed); }

    void thread(unsigned index) {
        if (index == 1) {
            field($) = 1;
            const std::uint64_t queued = word_of(OpState::kQueued, op_word::kSeen);
            word.store(queued, memory_order_release);
            listed += op_word::list(word, queued) ? 1 : 0;
            return;
        }
        std::uint64_t seen = word.load(memory_order_relaxed);
        if (op_word::state(seen) != OpState::kQueued || (seen & op_word::kListed) != 0) {
            return;
        }
        if (broken("a claimer that lists")
                ? op_word::claim(word, seen, OpState::kClaimed)
                : op_word::claim_unlisted(word, seen, OpState::kClaimed)) {
            RL_ASSERT(field($) == 1);
            seen = word.load(memory_order_relaxed);
            while (!word.compare_exchange_weak(
                seen, op_word::with_state(seen, OpState::kQueued) | op_word::kListed,
                memory_order_relaxed, memory_order_relaxed)) {
            }
            ++listed;
        }
    }

    void after() { RL_ASSERT(listed == 1); }
};

// An op linked behind another: its release and its cancellation meet; then the driver takes it.
struct HeldAndCancelled : rl::test_suite<HeldAndCancelled, 3> {
    Atomic<std::uint64_t> word;
    Atomic<std::uint32_t> list;  // 1: it is on the list
    rl::var<int> field;
    int ended = 0;

    void before() {
        word.store(word_of(OpState::kHeld), memory_order_relaxed);
        list.store(0, memory_order_relaxed);
        field($) = 1;
    }

    void thread(unsigned index) {
        const std::uint64_t seen = word.load(memory_order_relaxed);
        if (index == 0) {
            // The op before it has completed: Engine::publish().
            if (op_word::state(seen) == OpState::kHeld &&
                op_word::list(word, seen)) {
                field($) = 2;  // nobody but the releaser may touch it before it is listed
                list.store(1, memory_order_release);
            }
        } else if (index == 1) {
            cancel(seen);
        } else if (list.load(memory_order_acquire) == 1) {
            drive();
        }
    }

    void cancel(std::uint64_t seen) {
        const OpState state = op_word::state(seen);
        if ((state == OpState::kHeld || state == OpState::kQueued) &&
            op_word::claim(word, seen, OpState::kClaimed)) {
            ++ended;
            op_word::finish(word, OpState::kClaimed);
        }
    }

    void drive() {
        list.store(0, memory_order_relaxed);
        const std::uint64_t seen = word.load(memory_order_relaxed);
        if (op_word::state(seen) == OpState::kQueued &&
            op_word::claim(word, seen, OpState::kInflight, op_word::kListed)) {
            RL_ASSERT(field($) == 2);
            ++ended;
            op_word::finish(word, OpState::kInflight);
        } else {
            RL_ASSERT(!op_word::unlist(word));
        }
    }

    void after() {
        if (list.load(memory_order_relaxed) == 1) {
            drive();
        }
        const std::uint64_t now = word.load(memory_order_relaxed);
        RL_ASSERT((now & op_word::kListed) == 0);
        RL_ASSERT(ended == 1 || (ended == 0 && op_word::state(now) == OpState::kHeld));
    }
};

// The handle is poisoned while a waiter goes to sleep on an op that will never be done: wait() marks,
// looks for poison, sleeps; poison() stores the code, changes the word, wakes.
struct PoisonAndSleep : rl::test_suite<PoisonAndSleep, 2> {
    Atomic<std::uint64_t> word;
    Atomic<int> poison;
    Sleep futex;

    void before() {
        word.store(word_of(OpState::kInflight), memory_order_relaxed);
        poison.store(0, memory_order_relaxed);
    }

    void thread(unsigned index) {
        std::uint64_t seen = word.load(memory_order_relaxed);
        if (index == 0) {
            // Relaxed: the marks alone order the code and the look for it.
            poison.store(1, memory_order_relaxed);
            if (!broken("change the word")) {
                op_word::mark(word, seen, op_word::kPoked);
            }
            futex.wake();
        } else if (op_word::mark(word, seen, op_word::kWaiter) &&
                   poison.load(memory_order_relaxed) == 0) {
            futex.sleep_if([&] { return word.load(memory_order_relaxed) == seen; });
        }
    }

    void after() { RL_ASSERT(futex.asleep() == 0); }
};

// cancel_queued() looks for user_data 1 while the op that has it completes, is reaped, and the slot gets
// an op with another user_data, or first had one. Only the op that was looked for may be claimed.
struct CancelByUserData : rl::test_suite<CancelByUserData, 2> {
    Atomic<std::uint64_t> word;
    Atomic<std::uint64_t> user_data;
    rl::var<int> field;
    int executed = 0;
    int cancelled = 0;

    void before() {
        word.store(word_of(OpState::kFree), memory_order_relaxed);
        user_data.store(0, memory_order_relaxed);
        field($) = 0;
    }

    void submit(std::uint64_t value) {
        field($) = static_cast<int>(value);
        user_data.store(value, memory_order_relaxed);
        word.store(op_word::with_state(word.load(memory_order_relaxed), OpState::kQueued) |
                       op_word::kQueueBound,
                   memory_order_release);
    }

    // By the thread that has submitted it. False: the canceller has it.
    bool run_and_reap() {
        const std::uint64_t seen = word.load(memory_order_relaxed);
        if (op_word::state(seen) != OpState::kQueued ||
            !op_word::claim(word, seen, OpState::kClaimed)) {
            return false;
        }
        ++executed;
        op_word::finish(word, OpState::kClaimed);
        RL_ASSERT(op_word::release(word));
        return true;
    }

    void thread(unsigned index) {
        if (index == 0) {
            submit(2);
            if (!run_and_reap()) {
                return;
            }
            submit(1);
            if (run_and_reap()) {
                submit(3);
            }
            return;
        }
        const std::uint64_t seen = word.load(memory_order_acquire);
        if ((seen & op_word::kQueueBound) == 0 || !op_word::is_pending(seen) ||
            user_data.load(memory_order_relaxed) != 1) {
            return;
        }
        if (broken("the generation is that of the first look")
                ? op_word::claim(word, word.load(memory_order_relaxed), OpState::kClaimed)
                : op_word::state(seen) == OpState::kQueued &&
                      op_word::claim(word, seen, OpState::kClaimed)) {
            RL_ASSERT(field($) == 1);
            ++cancelled;
        }
    }

    void after() { RL_ASSERT(executed + cancelled == 2); }
};

const bool registered = [] {
    add<OneExecutor>("op word: one executor", {}, false, 60000);
    add<FinishAndSleep>("op word: finish and sleep", {"mark before sleeping", "compare in the kernel"},
                        true);
    add<TwoTakers>("op word: two takers", {}, true);
    add<ReleaseAndUnlist>("op word: release and unlist", {}, true);
    add<StaleGeneration>("op word: stale generation", {}, true);
    add<PoisonAndSleep>("op word: poison and sleep", {"change the word"}, true);
    add<PublishedOnce>("op word: published once", {"LISTED decides"}, true);
    add<ClaimedToBeListed>("op word: claimed to be listed", {"a claimer that lists"}, true);
    add<CancelByUserData>("op word: cancel by user_data",
                          {"the generation is that of the first look"}, true);
    add<HeldAndCancelled>("op word: held and cancelled", {}, false, 60000);
    return true;
}();

}  // namespace
}  // namespace model
