// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Waiting for several ops: op_word.hpp is the real header; Group, Membership, wait_any() and
// wait_all() of groups.hpp and waiting.cpp are written out.
//
// A model that is written out states the weakest orders that it holds with. The code's are at least
// as strong; where they are seq_cst and the model's are not, docs/memory-ordering.md says why.
#include "explore.hpp"

#include "engine/op_word.hpp"

using namespace libfsys;

namespace model {
namespace {

constexpr std::uint32_t kAny = 1u << 31;
constexpr std::uint32_t kPoked = 1u << 30;
constexpr std::uint64_t kId = 3;  // of the group

constexpr std::uint64_t kInflight =
    std::uint64_t{5} << op_word::kGenerationShift | op_word::bits(OpState::kInflight);

template <bool kForAny>
struct GroupWait : rl::test_suite<GroupWait<kForAny>, 3> {
    Atomic<std::uint32_t> group;
    Atomic<std::uint64_t> word[2];
    rl::var<int> result[2];
    Sleep futex;
    bool slept = false;
    bool timed_out = false;

    void before() {
        group.store(77, memory_order_relaxed);  // of an earlier use
        for (int i = 0; i < 2; ++i) {
            word[i].store(kInflight, memory_order_relaxed);
            result[i]($) = 0;
        }
    }

    void complete(unsigned i) {
        result[i]($) = 1;
        const std::uint64_t before = op_word::finish(word[i], OpState::kInflight);
        if ((before & op_word::kGroup) != 0) {
            RL_ASSERT(op_word::group(before) == kId);
            const std::uint32_t count = group.fetch_sub(1, memory_order_relaxed);
            if ((count & kAny) != 0 || (count & ~kPoked) == 1) {
                futex.wake();
            }
        }
    }

    bool join(unsigned i) {
        std::uint64_t seen = word[i].load(memory_order_relaxed);
        group.fetch_add(1, memory_order_relaxed);
        while ((seen & op_word::kGroup) == 0 && op_word::state(seen) < OpState::kDone) {
            if (word[i].compare_exchange_weak(seen,
                                              seen | op_word::kGroup | kId << op_word::kGroupShift,
                                              memory_order_relaxed, memory_order_relaxed)) {
                return true;
            }
        }
        group.fetch_sub(1, memory_order_relaxed);
        return false;
    }

    void leave(unsigned i) {
        std::uint64_t seen = word[i].load(memory_order_relaxed);
        while ((seen & op_word::kGroup) != 0 && op_word::state(seen) < OpState::kDone) {
            if (word[i].compare_exchange_weak(
                    seen, seen & ~(op_word::kGroup | op_word::kGroupMask), memory_order_relaxed,
                    memory_order_relaxed)) {
                group.fetch_sub(1, memory_order_relaxed);
                return;
            }
        }
    }

    void thread(unsigned index) {
        if (index < 2) {
            complete(index);
            return;
        }
        group.store(1u | (kForAny ? kAny : 0u), memory_order_relaxed);
        std::uint32_t joined = 0;
        bool done = false;
        for (unsigned i = 0; i < 2 && !(kForAny && done); ++i) {
            if (join(i)) {
                ++joined;
            } else {
                done = true;
            }
        }
        std::uint32_t expected = kAny | joined;
        if (kForAny && broken("expect only the joins")) {
            expected = group.load(memory_order_relaxed) - 1;
        }
        group.fetch_sub(1, memory_order_relaxed);
        if (kForAny) {
            slept = !done && sleep(expected);
        } else {
            for (;;) {
                const std::uint32_t left = group.load(memory_order_relaxed);
                if ((left & ~kPoked) == 0) {
                    break;
                }
                if (sleep(left)) {
                    slept = true;
                    break;
                }
            }
        }
        if (slept) {
            return;  // after() goes on
        }
        finish_wait();
    }

    bool sleep(std::uint32_t expected) {
        return futex.sleep_if([&] { return group.load(memory_order_relaxed) == expected; });
    }

    // Leave, settle, and the group is somebody else's.
    void finish_wait() {
        leave(0);
        leave(1);
        if (!broken("settle")) {
            while ((group.load(memory_order_relaxed) & ~(kAny | kPoked)) != 0) {
                rl::yield(1, $);
            }
        }
        group.store(1000, memory_order_relaxed);
        for (unsigned i = 0; i < 2; ++i) {
            const std::uint64_t seen = word[i].load(memory_order_relaxed);
            if (op_word::state(seen) == OpState::kDone && op_word::take(word[i], seen)) {
                RL_ASSERT(result[i]($) == 1);
            }
        }
    }

    void after() {
        // Both are done now: nobody may be asleep.
        RL_ASSERT(futex.asleep() == 0);
        if (slept) {
            finish_wait();
        }
        RL_ASSERT(group.load(memory_order_relaxed) == 1000);
    }
};


const bool registered = [] {
    add<GroupWait<true>>("group: any", {"expect only the joins", "settle"}, false, 100000);
    add<GroupWait<false>>("group: all", {}, false, 100000);
    return true;
}();

}  // namespace
}  // namespace model
