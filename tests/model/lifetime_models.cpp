// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Closing against users, and the ticker against promises: presence.hpp, target.cpp and ticker.hpp
// are written out (see group_models.cpp about their orders). Both rest on a barrier that only one side pays for: membarrier(2)
// makes every running thread execute a full fence. In the model both sides execute one; that the
// light side's may be left to the kernel is what membarrier(2) promises.
#include "explore.hpp"

#include "engine/op_word.hpp"

using namespace libfsys;

namespace model {
namespace {

void light_barrier() {
    if (!broken("light barrier")) {
        fence(memory_order_seq_cst);
    }
}
void heavy_barrier() {
    if (!broken("heavy barrier")) {
        fence(memory_order_seq_cst);
    }
}

// Presence: a cell of one owner and a cell that others share.
struct Cells {
    Atomic<std::int64_t> owned{0};
    Atomic<std::int64_t> shared{0};

    void add_owned(std::int64_t delta) {
        owned.store(owned.load(memory_order_relaxed) + delta, memory_order_release);
        light_barrier();
    }
    void add_shared(std::int64_t delta) { shared.fetch_add(delta, memory_order_seq_cst); }
    std::int64_t sum() {
        return owned.load(memory_order_acquire) + shared.load(memory_order_seq_cst);
    }
};

// One user enters in its own cell and leaves by another thread's hand; one uses the shared cell; the
// closer destroys what they use once the sum is 0.
struct AcquireAndClose : rl::test_suite<AcquireAndClose, 3> {
    Cells cells;
    Atomic<int> open;
    rl::var<int> object;

    void before() {
        open.store(1, memory_order_relaxed);
        object($) = 1;
    }

    void thread(unsigned index) {
        if (index == 0) {
            cells.add_owned(1);
            if (open.load(memory_order_relaxed) == 1) {  // the barrier orders it
                RL_ASSERT(object($) == 1);
                // Its op may be completed by a thread that does not own the cell.
                rl::rand(2) == 0 ? cells.add_shared(-1) : cells.add_owned(-1);
            } else {
                cells.add_owned(-1);
            }
        } else if (index == 1) {
            cells.add_shared(1);
            if (open.load(memory_order_seq_cst) == 1) {
                RL_ASSERT(object($) == 1);
            }
            cells.add_shared(-1);
        } else {
            if (broken("close before summing")) {
                const bool unused = cells.sum() == 0;
                open.store(0, memory_order_seq_cst);
                if (unused) {
                    object($) = 0;
                }
                return;
            }
            open.store(0, memory_order_seq_cst);
            heavy_barrier();
            if (cells.sum() == 0) {
                object($) = 0;
            }
        }
    }
};

// The closer has given up and leaves an orphan; two last users leave, each in a cell of its own: one
// of the three closes.
struct Orphan : rl::test_suite<Orphan, 3> {
    enum { kClosing = 2, kOrphan = 3 };
    Atomic<std::int64_t> cell[2];
    Atomic<int> state;
    rl::var<int> object;
    int closed = 0;

    void before() {
        for (int i = 0; i < 2; ++i) {
            cell[i].store(1, memory_order_relaxed);
        }
        state.store(kClosing, memory_order_relaxed);
        object($) = 1;
    }

    std::int64_t sum() {
        return cell[0].load(memory_order_acquire) + cell[1].load(memory_order_acquire);
    }

    void try_close() {
        int expected = kOrphan;
        if (sum() == 0 &&
            state.compare_exchange_strong(expected, kClosing, memory_order_relaxed,
                                          memory_order_relaxed)) {
            ++closed;
            object($) = 0;
        }
    }

    void thread(unsigned index) {
        if (index == 2) {
            state.store(kOrphan, memory_order_relaxed);
            heavy_barrier();
            try_close();
            return;
        }
        RL_ASSERT(object($) == 1);
        cell[index].store(cell[index].load(memory_order_relaxed) - 1, memory_order_release);
        light_barrier();
        if (state.load(memory_order_relaxed) == kOrphan) {
            heavy_barrier();
            try_close();
        }
    }

    void after() { RL_ASSERT(closed == 1); }
};

// A blocking call pins a file's door instead of counting itself; the closer finds the pin gone and
// closes, or gives up and leaves an orphan: then whoever sees it last closes, once.
struct PinAndClose : rl::test_suite<PinAndClose, 2> {
    enum { kClosing = 2, kOrphan = 3 };
    Atomic<int> pinned;
    Atomic<int> door;
    Atomic<int> state;
    rl::var<int> object;
    int closed = 0;

    void before() {
        pinned.store(0, memory_order_relaxed);
        door.store(1, memory_order_relaxed);
        state.store(1, memory_order_relaxed);
        object($) = 1;
    }

    void pin(int thing) {
        pinned.store(thing, memory_order_release);
        light_barrier();
    }

    void try_close() {
        int expected = kOrphan;
        if (pinned.load(memory_order_acquire) == 0 &&
            state.compare_exchange_strong(expected, kClosing, memory_order_relaxed,
                                          memory_order_relaxed)) {
            ++closed;
            object($) = 0;
        }
    }

    void thread(unsigned index) {
        if (index == 0) {
            pin(1);
            if (door.load(memory_order_relaxed) == 1) {
                RL_ASSERT(object($) == 1);
            }
            pin(0);
            if (door.load(memory_order_relaxed) != 1 &&
                state.load(memory_order_relaxed) == kOrphan) {
                heavy_barrier();
                try_close();
            }
            return;
        }
        state.store(kClosing, memory_order_relaxed);
        door.store(0, memory_order_relaxed);
        heavy_barrier();
        if (pinned.load(memory_order_acquire) == 0) {
            ++closed;
            object($) = 0;
            return;
        }
        state.store(kOrphan, memory_order_relaxed);
        heavy_barrier();
        try_close();
    }

    void after() { RL_ASSERT(closed == 1); }
};

// A promised op is submitted while the ticker ends a round and goes to sleep.
struct TickerSleep : rl::test_suite<TickerSleep, 2> {
    Atomic<std::uint64_t> word;
    Atomic<std::uint32_t> pending;
    Atomic<std::uint32_t> asleep;
    Sleep futex;
    bool published = false;

    void before() {
        word.store(0, memory_order_relaxed);
        pending.store(1, memory_order_relaxed);
        asleep.store(0, memory_order_relaxed);
    }

    void thread(unsigned index) {
        if (index == 0) {
            word.store(op_word::bits(OpState::kQueued), memory_order_relaxed);
            light_barrier();
            if (pending.load(memory_order_relaxed) != 0) {
                return;
            }
            pending.store(1, memory_order_seq_cst);
            if (asleep.exchange(0, KEPT(seq_cst)) != 0) {
                futex.wake();
            }
            return;
        }
        for (int round = 0; round < 3; ++round) {
            if (tick()) {
                return;
            }
        }
    }

    // One round of Ticker::work(). True when it sleeps.
    bool tick() {
        const bool active = pending.exchange(0, memory_order_relaxed) != 0;
        heavy_barrier();
        bool waiting = false;
        const std::uint64_t seen = word.load(memory_order_relaxed);
        if (op_word::state(seen) == OpState::kQueued) {
            published = true;  // seen; the code gives it one round more
        }
        if (active || waiting) {
            return false;
        }
        asleep.store(1, KEPT(seq_cst));
        if (pending.load(memory_order_seq_cst) == 0 || broken("look after lying down")) {
            if (asleep.load(memory_order_relaxed) != 0 && futex.sleep_if([this] {
                    return asleep.load(memory_order_relaxed) == 1;
                })) {
                return true;
            }
        }
        asleep.store(0, memory_order_relaxed);
        return false;
    }

    void after() { RL_ASSERT(published || futex.asleep() == 0); }
};

const bool registered = [] {
    add<AcquireAndClose>("close: users", {"light barrier", "heavy barrier", "close before summing"},
                         false, 100000);
    add<PinAndClose>("close: pins", {"heavy barrier", "light barrier"}, false, 100000);
    add<Orphan>("close: orphan", {"heavy barrier", "light barrier"}, false, 100000);
    add<TickerSleep>("ticker: note and sleep",
                     {"light barrier", "heavy barrier", "look after lying down"}, true);
    return true;
}();

}  // namespace
}  // namespace model
