// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Group commit in user space: gather, the last to join leads, one broadcast wakes all.
//
// A committer joins the open generation. Who finds that everybody expected has joined, and the
// baton free, takes the baton and leads: closes the generation, flushes, wakes its members. The
// number expected next is what was just released plus who has joined meanwhile, so threads that
// come straight back all catch the next sync. Only member 0 has a timer; it leads when the others
// do not come. After a gather that missed more than one in eight, the next 1, 2, 4 .. 64 syncs do not
// gather.
//
// A lone committer is the last of one expected: it leads at once.

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "engine/futex.hpp"
#include "journal/journal.hpp"

namespace libfsys::journal {

int Journal::outcome(Lsn lsn) {
    if (lsn <= durable_.load(std::memory_order_acquire)) {
        return 0;
    }
    if (poison_.load(std::memory_order_acquire) == 0) {
        return closed_.load(std::memory_order_acquire) ? kClosed : -EAGAIN;
    }
    // Bytes that were never handed to the kernel are certainly not there; others may be.
    return lsn <= unknown_hi_.load(std::memory_order_acquire) ? kUnknown : kPoisoned;
}

int Journal::sync(Lsn lsn, std::int64_t timeout_ns) {
    if (lsn <= durable_.load(std::memory_order_acquire)) {
        return 0;
    }
    if (lsn > lsn_of(tail_.load(std::memory_order_acquire))) {
        return -EINVAL;
    }
    const Deadline deadline = Deadline::after(timeout_ns);
    for (;;) {
        if (poison_.load(std::memory_order_acquire) != 0) {
            return outcome(lsn);
        }
        const std::uint64_t ticket = joined_.fetch_add(1, std::memory_order_seq_cst);
        const auto generation = static_cast<std::uint32_t>(ticket >> 32);
        const auto index = static_cast<std::uint32_t>(ticket);
        std::atomic<std::uint32_t> &done = done_[generation % kGenerations].generation;
        std::int64_t timer = 0;  // of member 0, once it had to wait
        for (;;) {
            const std::uint32_t seen = done.load(std::memory_order_acquire);
            if (static_cast<std::int32_t>((seen & ~0xffu) - finished(generation)) >= 0 ||
                poison_.load(std::memory_order_acquire) != 0) {
                break;
            }
            const std::uint64_t now_joined = joined_.load(std::memory_order_seq_cst);
            const bool open = static_cast<std::uint32_t>(now_joined >> 32) == generation;
            const bool held = baton_.load(std::memory_order_seq_cst) != 0;
            const std::uint32_t expected = expected_.load(std::memory_order_relaxed);
            if (open && !held) {
                bool go = static_cast<std::uint32_t>(now_joined) >= expected ||
                          orphan_.load(std::memory_order_relaxed) == generation;
                if (!go && index == 0) {
                    // Company that has not come back within the window since the last release is
                    // not waited for: so a committer after a pause never waits at all.
                    const std::int64_t window = (expected > 96 ? 4 : 2) *
                                                sync_ema_ns_.load(std::memory_order_relaxed);
                    timer = released_at_.load(std::memory_order_relaxed) + window;
                    go = now_ns() >= timer;
                }
                if (go && try_baton()) {
                    if (static_cast<std::uint32_t>(joined_.load(std::memory_order_seq_cst) >>
                                                   32) == generation) {
                        lead(generation);
                    } else {
                        drop_baton();
                    }
                    continue;
                }
            }
            if (deadline.passed()) {
                if (index == 0) {
                    // The others have no timer: let one of them lead.
                    orphan_.store(generation, std::memory_order_seq_cst);
                    kick(done, INT_MAX);
                }
                return -ETIMEDOUT;
            }
            Deadline wake = deadline;
            if (index == 0) {
                const std::int64_t ema = sync_ema_ns_.load(std::memory_order_relaxed);
                const std::int64_t patience =
                    held ? 4 * ema : std::max<std::int64_t>(timer - now_ns(), 10'000);
                if (wake.endless() || patience < wake.left_ns()) {
                    wake = Deadline::after(patience);
                }
            }
            futex_wait(&done, seen, wake);
        }
        const int code = outcome(lsn);
        if (code != -EAGAIN) {
            return code;
        }
        // Flushed, and still not covered: an open ticket lies below. Not a busy loop.
        if (deadline.passed()) {
            return -ETIMEDOUT;
        }
        const timespec pause{0, 200'000};
        ::nanosleep(&pause, nullptr);
    }
}

// With the baton, which it drops.
int Journal::lead(std::uint32_t generation) {
    const std::uint64_t closed =
        joined_.exchange(std::uint64_t{generation + 1} << 32, std::memory_order_seq_cst);
    const auto members = static_cast<std::uint32_t>(closed);
    const std::uint32_t expected = expected_.load(std::memory_order_relaxed);
    const int code = flush(Flush::durable);
    const auto waiting =
        static_cast<std::uint32_t>(joined_.load(std::memory_order_seq_cst));
    if (skip_left_ != 0) {
        --skip_left_;
    } else if (expected > 1) {
        counters_.gathers.fetch_add(1, std::memory_order_relaxed);
        // One in eight that comes late (descheduled by a neighbour, or gone) does not make gathering
        // a mistake: without it a single straggler would split the whole company over two syncs.
        if (members + expected / 8 < expected) {
            counters_.gather_misses.fetch_add(1, std::memory_order_relaxed);
            skip_left_ = skip_next_;
            skip_next_ = std::min(skip_next_ * 2, 64u);
        } else {
            skip_next_ = 1;
        }
    }
    expected_.store(skip_left_ != 0 ? 1 : std::max(1u, members + waiting),
                    std::memory_order_relaxed);
    counters_.commits.fetch_add(members, std::memory_order_relaxed);
    counters_.led.fetch_add(1, std::memory_order_relaxed);
    // A lone committer has nobody to be waited for by: no clock read.
    if (members + waiting > 1) {
        released_at_.store(now_ns(), std::memory_order_relaxed);
    }
    drop_baton();
    std::atomic<std::uint32_t> &done = done_[generation % kGenerations].generation;
    done.store(finished(generation), std::memory_order_release);
    if (members > 1) {
        futex_wake(&done);
    }
    if (pending_count_.load(std::memory_order_acquire) != 0) {
        complete_async();
    }
    return code;
}

int Journal::commit(const void *data, std::size_t length, unsigned flags, std::int64_t timeout_ns,
                    Lsn *ret) {
    Lsn lsn = 0;
    const int code = append(data, length, flags, &lsn);
    if (code < 0) {
        return code;
    }
    if (ret != nullptr) {
        *ret = lsn;
    }
    return sync(lsn, timeout_ns);
}

int Journal::write_out() {
    take_baton();
    const int code = flush(Flush::written);
    drop_baton();
    return code;
}

// Makes sleepers of a generation look again. The word changes, so that one who has looked and is
// about to sleep does not.
void Journal::kick(std::atomic<std::uint32_t> &done, int count) {
    std::uint32_t word = done.load(std::memory_order_relaxed);
    while (!done.compare_exchange_weak(word, (word & ~0xffu) | ((word + 1) & 0xffu),
                                       std::memory_order_seq_cst, std::memory_order_relaxed)) {
    }
    futex_wake(&done, count);
}

void Journal::wake_everyone() {
    for (Done &done : done_) {
        kick(done.generation, INT_MAX);
    }
    space_sequence_.fetch_add(1, std::memory_order_seq_cst);
    futex_wake(&space_sequence_);
}

}  // namespace libfsys::journal
