// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The submission list and the doorbell, the real headers: submit_list.hpp, doorbell.hpp, op_word.hpp.
#include "explore.hpp"

// After the macros of model_atomics.hpp.
#include "engine/doorbell.hpp"
#include "engine/op_word.hpp"
#include "engine/submit_list.hpp"

using namespace libfsys;

namespace model {
namespace {

// Two producers push and ring; the driver takes, parks and sleeps as Driver::turn() does. No op may
// be left on the list beside a driver that sleeps, and none may be taken twice.
struct ListAndDoorbell : rl::test_suite<ListAndDoorbell, 3> {
    SubmitList list;
    Doorbell bell;
    Event descriptor;
    Sleep driver;
    Atomic<std::uint32_t> next[2];
    rl::var<int> field[2];
    int taken[2] = {0, 0};

    void before() {
        field[0]($) = 0;
        field[1]($) = 0;
    }

    auto link() {
        return [this](std::uint32_t i) -> Atomic<std::uint32_t> & { return next[i]; };
    }

    void take() {
        for (std::uint32_t i = list.take_all(); i != kNil; i = next[i].load(memory_order_relaxed)) {
            RL_ASSERT(field[i]($) == 1);
            ++taken[i];
        }
    }

    void thread(unsigned index) {
        if (index < 2) {
            field[index]($) = 1;
            if (broken("push before ringing") && bell.must_ring()) {
                ring();
            }
            list.push(index, index, link());
            if (!broken("push before ringing") && bell.must_ring()) {
                ring();
            }
            return;
        }
        for (int turn = 0; turn < 2; ++turn) {
            take();
            if (broken("look after parking")) {
                const bool nothing = list.empty();
                if (!nothing || !bell.park([] { return true; })) {
                    continue;
                }
            } else if (!bell.park([this] { return list.empty(); })) {
                continue;
            }
            if (driver.sleep_if([this] { return !descriptor.read(); })) {
                return;
            }
            bell.run();
        }
    }

    void ring() {
        descriptor.write();
        driver.wake();
    }

    void after() {
        if (driver.asleep() != 0) {
            RL_ASSERT(list.empty());
        }
        take();
        RL_ASSERT(taken[0] == 1 && taken[1] == 1);
    }
};

// A waiter claims the op that it waits for and takes it off the list, while the driver takes the
// list and another producer pushes. One executes it, the slot is freed once, and the waiter may push
// it again at once.
struct ClaimOffTheList : rl::test_suite<ClaimOffTheList, 3> {
    SubmitList list;
    Atomic<std::uint32_t> next[2];
    Atomic<std::uint64_t> word[2];
    rl::var<int> field[2];
    int executed[2] = {0, 0};
    int freed[2] = {0, 0};
    int pushed[2] = {0, 0};

    void before() {
        for (int i = 0; i < 2; ++i) {
            field[i]($) = 0;
            word[i].store(op_word::next_generation(0, OpState::kFree), memory_order_relaxed);
        }
    }

    auto link() {
        return [this](std::uint32_t i) -> Atomic<std::uint32_t> & { return next[i]; };
    }

    void submit(std::uint32_t i) {
        field[i]($) = 1;
        ++pushed[i];
        const std::uint64_t free = word[i].load(memory_order_relaxed);
        // Relaxed: here all get the fields through the list, or have written them.
        word[i].store(op_word::with_state(free, OpState::kQueued) | op_word::kListed,
                      memory_order_relaxed);
        list.push(i, i, link());
    }

    void thread(unsigned index) {
        switch (index) {
        case 0:
            submit(0);
            break;
        case 1: {
            submit(1);
            const std::uint64_t seen = word[1].load(memory_order_relaxed);
            if (op_word::state(seen) == OpState::kQueued &&
                op_word::claim(word[1], seen, OpState::kClaimed)) {
                if (list.pop_if_head(1, link())) {
                    op_word::unlist(word[1]);
                }
                ++executed[1];
                field[1]($) = 2;
                op_word::finish(word[1], OpState::kClaimed, OpState::kTaken);
                if (op_word::release(word[1])) {
                    ++freed[1];
                    submit(1);
                }
            }
            break;
        }
        default:
            drive();
            drive();
        }
    }

    void drive() {
        std::uint32_t batch[4];
        unsigned count = 0;
        for (std::uint32_t i = list.take_all(); i != kNil; i = next[i].load(memory_order_relaxed)) {
            RL_ASSERT(count < 4);
            batch[count++] = i;
        }
        for (unsigned n = 0; n < count; ++n) {
            const std::uint32_t i = batch[n];
            const std::uint64_t seen = word[i].load(memory_order_relaxed);
            if (op_word::state(seen) == OpState::kQueued &&
                op_word::claim(word[i], seen, OpState::kInflight, op_word::kListed)) {
                RL_ASSERT(field[i]($) == 1);
                field[i]($) = 2;
                ++executed[i];
                op_word::finish(word[i], OpState::kInflight);
            } else if (op_word::unlist(word[i])) {
                field[i]($) = 0;
                ++freed[i];
            }
        }
    }

    void after() {
        drive();
        for (int i = 0; i < 2; ++i) {
            const std::uint64_t seen = word[i].load(memory_order_relaxed);
            if (op_word::state(seen) == OpState::kDone) {
                RL_ASSERT(op_word::take(word[i], seen));
                RL_ASSERT(op_word::release(word[i]));
                ++freed[i];
            }
            RL_ASSERT(executed[i] == pushed[i]);
            RL_ASSERT(freed[i] == pushed[i]);
            RL_ASSERT(op_word::state(word[i].load(memory_order_relaxed)) == OpState::kFree);
        }
    }
};

// An op promised to a waiter is listed by the ticker (Engine::publish()) while the waiter claims it:
// the waiter may see the LISTED word before the push. The list must stay whole.
struct ClaimWhileListed : rl::test_suite<ClaimWhileListed, 3> {
    SubmitList list;
    Atomic<std::uint32_t> next[3];
    Atomic<std::uint64_t> word;  // of op 1
    rl::var<int> field;
    int executed = 0;
    int freed = 0;
    int seen_on_list[3] = {0, 0, 0};

    auto link() {
        return [this](std::uint32_t i) -> Atomic<std::uint32_t> & { return next[i]; };
    }

    void before() {
        for (auto &n : next) {
            n.store(kNil, memory_order_relaxed);
        }
        list.push(0, 0, link());  // an op that waits there already
        word.store(op_word::next_generation(0, OpState::kFree), memory_order_relaxed);
        field($) = 0;
    }

    void thread(unsigned index) {
        if (index == 0) {
            // Submitter and waiter.
            field($) = 1;
            const std::uint64_t free = word.load(memory_order_relaxed);
            word.store(op_word::with_state(free, OpState::kQueued), memory_order_release);
            const std::uint64_t seen = word.load(memory_order_relaxed);
            if (op_word::state(seen) == OpState::kQueued &&
                op_word::claim(word, seen, OpState::kClaimed)) {
                const std::uint64_t now = word.load(memory_order_relaxed);
                if ((now & op_word::kListed) != 0 && list.pop_if_head(1, link())) {
                    op_word::unlist(word);
                }
                ++executed;
                field($) = 2;
                op_word::finish(word, OpState::kClaimed, OpState::kTaken);
                freed += op_word::release(word) ? 1 : 0;
            }
        } else if (index == 1) {
            // The ticker.
            const std::uint64_t seen = word.load(memory_order_relaxed);
            if (op_word::state(seen) == OpState::kQueued &&
                op_word::list(word, seen)) {
                list.push(1, 1, link());
            }
        } else {
            list.push(2, 2, link());
            drive();
        }
    }

    void drive() {
        int steps = 0;
        for (std::uint32_t i = list.take_all(); i != kNil; i = next[i].load(memory_order_relaxed)) {
            RL_ASSERT(++steps <= 3);
            ++seen_on_list[i];
            if (i != 1) {
                continue;
            }
            const std::uint64_t seen = word.load(memory_order_relaxed);
            if (op_word::state(seen) == OpState::kQueued &&
                op_word::claim(word, seen, OpState::kInflight, op_word::kListed)) {
                RL_ASSERT(field($) == 1);
                ++executed;
                op_word::finish(word, OpState::kInflight);
            } else if (op_word::unlist(word)) {
                field($) = 0;
                ++freed;
            }
        }
    }

    void after() {
        drive();
        const std::uint64_t seen = word.load(memory_order_relaxed);
        if (op_word::state(seen) == OpState::kDone) {
            RL_ASSERT(op_word::take(word, seen));
            freed += op_word::release(word) ? 1 : 0;
        }
        RL_ASSERT(seen_on_list[0] == 1 && seen_on_list[2] == 1 && seen_on_list[1] <= 1);
        RL_ASSERT(executed == 1 && freed == 1);
        RL_ASSERT(op_word::state(word.load(memory_order_relaxed)) == OpState::kFree);
    }
};

const bool registered = [] {
    add<ListAndDoorbell>("list and doorbell", {"push before ringing", "look after parking"}, false,
                         60000);
    add<ClaimOffTheList>("claim off the list", {}, false, 60000);
    add<ClaimWhileListed>("claim while listed", {}, false, 60000);
    return true;
}();

}  // namespace
}  // namespace model
