// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Protocols of classes that cannot be compiled against relacy (they hold a std::mutex or make system
// calls), written out here (see group_models.cpp about their orders): completion_queue.cpp (push, pop, signal,
// pass_on, event_fd), Engine::reap(), op_table.cpp (pop, free) and Engine::allocate().
#include <initializer_list>

#include "explore.hpp"

namespace model {
namespace {

using libfsys::Atomic;

constexpr std::uint32_t kNil = 0xffffffffu;

// CompletionQueue with two or three ops.
struct Queue {
    Atomic<std::uint32_t> head{kNil};
    Atomic<std::uint32_t> ready{kNil};
    Atomic<std::uint32_t> sleepers{0};
    Atomic<std::uint32_t> sequence{0};
    Atomic<std::uint32_t> signalled{0};
    Atomic<int> event_fd{-1};
    rl::var<std::uint32_t> cq_next[3];
    rl::mutex consumer;
    Sleep futex;
    Event descriptor;

    void push(std::uint32_t first, std::uint32_t last) {
        if (broken("push before looking for sleepers")) {
            look_for_sleepers();
        }
        std::uint32_t seen = head.load(memory_order_relaxed);
        do {
            cq_next[last]($) = seen;
        } while (!head.compare_exchange_weak(seen, first, memory_order_seq_cst,
                                             memory_order_relaxed));
        if (!broken("push before looking for sleepers")) {
            look_for_sleepers();
        }
        if (event_fd.load(memory_order_seq_cst) >= 0) {
            signal();
        }
    }

    void look_for_sleepers() {
        if (sleepers.load(memory_order_seq_cst) != 0) {
            sequence.fetch_add(1, KEPT(seq_cst));
            futex.wake(1);
        }
    }

    void signal() {
        if (signalled.exchange(1, KEPT(seq_cst)) == 0) {
            descriptor.write();
        }
    }

    bool empty() {
        return head.load(memory_order_seq_cst) == kNil && ready.load(memory_order_seq_cst) == kNil;
    }

    void pass_on() {
        if (sleepers.load(memory_order_seq_cst) != 0 && !empty()) {
            sequence.fetch_add(1, KEPT(seq_cst));
            futex.wake(1);
        }
    }

    unsigned pop(std::uint32_t *out, unsigned max) {
        consumer.lock($);
        std::uint32_t first = ready.load(memory_order_relaxed);
        unsigned count = 0;
        for (;;) {
            while (count < max && first != kNil) {
                out[count++] = first;
                first = cq_next[first]($);
            }
            if (count == max || head.load(memory_order_relaxed) == kNil) {
                break;
            }
            std::uint32_t taken = head.exchange(kNil, memory_order_acquire);
            while (taken != kNil) {
                const std::uint32_t next = cq_next[taken]($);
                cq_next[taken]($) = first;
                first = taken;
                taken = next;
            }
        }
        ready.store(first, memory_order_seq_cst);
        if (first == kNil && signalled.load(memory_order_relaxed) != 0) {
            const bool was = descriptor.read();
            if (was || broken("leave the signal to a late writer")) {
                signalled.store(0, KEPT(seq_cst));
                if (!broken("look again after the reset") &&
                    head.load(memory_order_seq_cst) != kNil) {
                    signal();
                }
            }
        }
        consumer.unlock($);
        return count;
    }

    void make_descriptor() {
        consumer.lock($);
        event_fd.store(3, memory_order_seq_cst);
        if (!broken("signal what was there before") && !empty()) {
            signal();
        }
        consumer.unlock($);
    }
};

// Engine::reap() until something comes or it sleeps. Returns false when it sleeps.
bool reap(Queue &queue, unsigned max, int *taken) {
    for (;;) {
        std::uint32_t out[3];
        const unsigned n = queue.pop(out, max);
        for (unsigned i = 0; i < n; ++i) {
            ++taken[out[i]];
        }
        if (n != 0 || (max == 0 && !queue.empty())) {
            if (!broken("wake the next")) {
                queue.pass_on();
            }
            return true;
        }
        queue.sleepers.fetch_add(1, memory_order_seq_cst);
        const std::uint32_t seen = queue.sequence.load(KEPT(seq_cst));
        if (queue.empty()) {
            // The kernel compares; relaxed, for its lock is what orders the wakes.
            if (queue.futex.sleep_if(
                    [&] { return queue.sequence.load(memory_order_relaxed) == seen; })) {
                return false;
            }
        }
        queue.sleepers.fetch_sub(1, memory_order_relaxed);
    }
}

// A consumer goes to sleep while two producers push.
struct QueueSleeper : rl::test_suite<QueueSleeper, 3> {
    Queue queue;
    rl::var<int> result[2];
    int taken[3] = {0, 0, 0};

    void thread(unsigned index) {
        if (index < 2) {
            result[index]($) = 1;
            queue.push(index, index);
        } else if (reap(queue, 1, taken)) {
            for (int i = 0; i < 2; ++i) {
                if (taken[i] != 0) {
                    RL_ASSERT(result[i]($) == 1);
                }
            }
        }
    }

    void after() {
        RL_ASSERT(queue.futex.asleep() == 0 || queue.empty());
        std::uint32_t out[3];
        const unsigned n = queue.pop(out, 3);
        for (unsigned i = 0; i < n; ++i) {
            ++taken[out[i]];
        }
        RL_ASSERT(taken[0] == 1 && taken[1] == 1);
    }
};

// A chain of two is pushed with one wake; each of two consumers takes one, or one only looks.
template <unsigned kFirstTakes>
struct QueueTwoSleepers : rl::test_suite<QueueTwoSleepers<kFirstTakes>, 3> {
    Queue queue;
    int taken[3] = {0, 0, 0};
    bool returned[2] = {false, false};

    void before() { queue.cq_next[1]($) = kNil; }

    void thread(unsigned index) {
        if (index == 2) {
            queue.cq_next[1]($) = 0;  // newest 1, oldest 0
            queue.push(1, 0);
        } else {
            returned[index] = reap(queue, index == 0 ? kFirstTakes : 1, taken);
        }
    }

    void after() {
        // Those who were woken go on, one by one; each may wake another, or sleep again.
        for (;;) {
            const unsigned waiting = (returned[0] ? 0u : 1u) + (returned[1] ? 0u : 1u);
            if (waiting <= queue.futex.asleep()) {
                break;
            }
            const unsigned who = returned[0] ? 1 : returned[1] ? 0 : rl::rand(2);
            queue.sleepers.fetch_sub(1, memory_order_relaxed);
            returned[who] = reap(queue, who == 0 ? kFirstTakes : 1, taken);
        }
        RL_ASSERT(queue.empty() || queue.futex.asleep() == 0);
    }
};

// The descriptor, for one consumer that looks at it and two producers.
struct QueueDescriptor : rl::test_suite<QueueDescriptor, 3> {
    Queue queue;
    int taken[3] = {0, 0, 0};

    void before() { queue.event_fd.store(3, memory_order_relaxed); }

    void thread(unsigned index) {
        if (index < 2) {
            queue.push(index, index);
        } else {
            take();
            take();
        }
    }

    unsigned take() {
        std::uint32_t out[3];
        const unsigned n = queue.pop(out, 3);
        for (unsigned i = 0; i < n; ++i) {
            ++taken[out[i]];
        }
        return n;
    }

    void after() {
        RL_ASSERT(queue.empty() || queue.descriptor.readable());
        // Level-triggered: whoever reaps until 0 has an unreadable descriptor.
        while (queue.descriptor.readable() && take() != 0) {
        }
        RL_ASSERT(!queue.descriptor.readable());
        RL_ASSERT(taken[0] == 1 && taken[1] == 1);
    }
};

// The descriptor is made while a producer pushes.
struct QueueDescriptorMade : rl::test_suite<QueueDescriptorMade, 2> {
    Queue queue;

    void thread(unsigned index) {
        if (index == 0) {
            queue.push(0, 0);
        } else {
            queue.make_descriptor();
        }
    }

    void after() { RL_ASSERT(queue.descriptor.readable()); }
};

// OpTable: one shard's free list of two slots, and the wait for a free one.
struct FreeList {
    Atomic<std::uint64_t> head{kNil};
    Atomic<std::uint32_t> next[2];
    Atomic<std::uint32_t> waiters{0};
    Atomic<std::uint32_t> sequence{0};
    Sleep futex;

    static std::uint32_t index_of(std::uint64_t head) { return static_cast<std::uint32_t>(head); }
    static std::uint64_t retag(std::uint64_t head, std::uint32_t index) {
        const std::uint64_t tag = broken("tag") ? 0 : (head >> 32) + 1;
        return tag << 32 | index;
    }

    std::uint32_t pop() {
        std::uint64_t seen = head.load(memory_order_seq_cst);
        while (index_of(seen) != kNil) {
            const std::uint32_t after = next[index_of(seen)].load(memory_order_relaxed);
            if (head.compare_exchange_weak(seen, retag(seen, after), memory_order_acquire,
                                           memory_order_acquire)) {
                return index_of(seen);
            }
        }
        return kNil;
    }

    void free_slot(std::uint32_t index) {
        std::uint64_t seen = head.load(memory_order_relaxed);
        do {
            next[index].store(index_of(seen), memory_order_relaxed);
        } while (!head.compare_exchange_weak(seen, retag(seen, index), memory_order_seq_cst,
                                             memory_order_relaxed));
        if (waiters.load(memory_order_seq_cst) != 0) {
            sequence.fetch_add(1, KEPT(seq_cst));
            futex.wake(1);
        }
    }
};

// A submit waits for a slot while another thread frees one.
struct SlotWait : rl::test_suite<SlotWait, 2> {
    FreeList slots;
    rl::var<int> field;
    bool got = false;

    void before() { field($) = 0; }

    void thread(unsigned index) {
        if (index == 0) {
            field($) = 1;
            slots.free_slot(0);
            return;
        }
        if (!broken("register before trying")) {
            slots.waiters.fetch_add(1, memory_order_seq_cst);
        }
        for (;;) {
            const std::uint32_t seen = slots.sequence.load(KEPT(seq_cst));
            if (slots.pop() != kNil) {
                got = true;
                RL_ASSERT(field($) == 1);
                return;
            }
            if (broken("register before trying")) {
                slots.waiters.fetch_add(1, memory_order_seq_cst);
            }
            if (slots.futex.sleep_if(
                    [&] { return slots.sequence.load(memory_order_relaxed) == seen; })) {
                return;
            }
        }
    }

    void after() { RL_ASSERT(got || slots.futex.asleep() == 0); }
};

// Slots are taken and given back by two threads, and taken by a third: each has one holder.
struct SlotHolders : rl::test_suite<SlotHolders, 3> {
    FreeList slots;
    rl::var<int> holder[2];

    void before() {
        holder[0]($) = 0;
        holder[1]($) = 0;
        slots.free_slot(0);
        slots.free_slot(1);
    }

    void thread(unsigned index) {
        if (index == 0) {
            // Takes both, gives back the first: the head is what it was, its next is not.
            const std::uint32_t a = use();
            const std::uint32_t b = use();
            give(a);
            static_cast<void>(b);
        } else {
            give(use());
        }
    }

    std::uint32_t use() {
        const std::uint32_t index = slots.pop();
        if (index != kNil) {
            RL_ASSERT(holder[index]($) == 0);
            holder[index]($) = 1;
        }
        return index;
    }

    void give(std::uint32_t index) {
        if (index != kNil) {
            holder[index]($) = 0;
            slots.free_slot(index);
        }
    }
};

const bool registered = [] {
    add<QueueSleeper>("completion queue: sleeper", {"push before looking for sleepers"}, false,
                      60000);
    add<QueueTwoSleepers<1>>("completion queue: two sleepers", {"wake the next"}, false, 60000);
    add<QueueTwoSleepers<0>>("completion queue: one only looks", {"wake the next"}, false, 60000);
    add<QueueDescriptor>("completion queue: descriptor",
                         {"leave the signal to a late writer", "look again after the reset"}, false,
                         100000);
    add<QueueDescriptorMade>("completion queue: descriptor made", {"signal what was there before"},
                             true);
    add<SlotWait>("slots: wait", {"register before trying"}, true);
    add<SlotHolders>("slots: holders", {"tag"}, false, 100000);
    return true;
}();

}  // namespace
}  // namespace model
