// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Taking completions: by token, by group of tokens, from the queue. Any thread. A waiter executes an
// op itself when nobody has claimed it yet and it may wait without limit: a plain system call cannot
// be timed out.

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "engine/engine.hpp"
#include "engine/trace.hpp"

namespace libfsys {
namespace {

// The word is that of the token's op, and its completion can still be taken.
bool is_live(std::uint64_t word, std::uint64_t generation) {
    return op_word::generation(word) == generation && (word & op_word::kQueueBound) == 0 &&
           op_word::state(word) != OpState::kTaken &&
           op_word::state(word) != OpState::kFree && op_word::state(word) != OpState::kGone;
}

}  // namespace

void Engine::copy_out(Op &op, fsys_op issued, fsys_result *result) {
    if (result != nullptr) {
        *result = fsys_result{op.user_data.load(std::memory_order_relaxed),
                              issued, op.result, op.done, op.step, op.lane};
    }
}

void Engine::give_back(Op &op) {
    if (op_word::release(op.word)) {
        ops.free(ops.index(op));
    }
}

void Engine::drive(std::int64_t wait_ns) {
    int code = driver.start();  // ops of other threads may be listed before this one needed a queue
    if (code == 0) {
        code = turn(wait_ns);
    }
    if (code < 0) {
        poison(FSYS_E_DRIVER_DEAD, "the ring failed under the driver thread");
    }
}

int Engine::turn(std::int64_t wait_ns) {
    int ended = 0;
    if (external != nullptr && external->waiting()) {
        // What could not be ended now (an open ticket holds the journal) is tried again soon.
        constexpr std::int64_t kSoon = 1'000'000;
        ended = external->drive();
        wait_ns = ended != 0 ? 0 : wait_ns < 0 ? kSoon : std::min(wait_ns, kSoon);
    }
    const int code = driver.turn(wait_ns);
    return code < 0 ? code : code + ended;
}

int Engine::try_take(fsys_op issued, fsys_result *result) {
    std::uint64_t generation = 0;
    Op *op = find(issued, generation);
    if (op == nullptr) {
        return FSYS_E_STALE;
    }
    const std::uint64_t word = op->word.load(memory_order_acquire);
    if (!is_live(word, generation)) {
        return FSYS_E_STALE;
    }
    if (op_word::state(word) != OpState::kDone) {
        const int poison = poisoned();
        return poison != 0 && op_word::state(word) == OpState::kInflight ? poison : -EAGAIN;
    }
    if (!op_word::take(op->word, word)) {
        return FSYS_E_STALE;
    }
    copy_out(*op, issued, result);
    give_back(*op);
    return 0;
}

int Engine::wait(fsys_op issued, std::int64_t timeout_ns, fsys_result *result) {
    std::uint64_t generation = 0;
    Op *op = find(issued, generation);
    if (op == nullptr) {
        return FSYS_E_STALE;
    }
    std::uint64_t word = op->word.load(memory_order_acquire);
    if (is_live(word, generation) && op_word::state(word) == OpState::kQueued) {
        const std::uint32_t index = ops.index(*op);
        if (timeout_ns < 0 && (word & op_word::kClaimable) != 0 &&
            op_word::claim(op->word, word, OpState::kClaimed)) {
            FSYS_PROBE3(claim, index, op->opcode, FSYS_LANE_INLINE);
            if ((word & op_word::kListed) != 0 &&
                list.pop_if_head(index, [this](std::uint32_t i) -> auto & { return ops.link(i); })) {
                op_word::unlist(op->word);
            }
            {
                const bool plain = (op->opcode == FSYS_OP_READ || op->opcode == FSYS_OP_WRITE) &&
                                   op->done == 0;
                const Outcome outcome = plain ? transfer(*op->file(), op->opcode, op->flags,
                                                         op->buffer, op->length, op->offset)
                                              : execute(*op);
                Publisher out(*this);
                complete(*op, OpState::kClaimed, outcome, FSYS_LANE_INLINE, out, OpState::kTaken);
            }
            copy_out(*op, issued, result);
            give_back(*op);
            return 0;
        }
        if (timeout_ns != 0 && (word & op_word::kListed) == 0) {
            publish(index, word);
        }
    }
    const Deadline deadline = Deadline::after(timeout_ns);
    for (;;) {
        const int code = try_take(issued, result);
        if (code != -EAGAIN) {
            return code;
        }
        if (timeout_ns == 0 || deadline.passed()) {
            return -ETIMEDOUT;
        }
        if (config.caller_driven && is_driver_thread()) {
            drive(deadline.left_ns());
            continue;
        }
        word = op->word.load(memory_order_acquire);
        if (op_word::generation(word) != generation) {
            continue;
        }
        if (op_word::mark(op->word, word, op_word::kWaiter)) {
            if (poisoned() != 0) {
                continue;
            }
            stats.add(Count::kFutexWaits);
            futex_wait(futex_half(op->word), static_cast<std::uint32_t>(word), deadline);
        }
    }
}

namespace {

// Puts the ops of a wait into a group, and takes those that did not complete out again.
class Membership {
public:
    Membership(Engine &engine, std::uint32_t id) : engine_(engine), group_(engine.groups[id]), id_(id) {}
    Membership(const Membership &) = delete;
    Membership &operator=(const Membership &) = delete;

    // `any`: wake at the first arrival. The count starts at 1 so that arrivals during joining do
    // not reach 0.
    void begin(bool any) { group_.word.store(1u | (any ? Group::kAny : 0u)); }
    void end_joining() { group_.word.fetch_sub(1); }

    // True when the op will arrive. False: it is done, or another waiter's group has it.
    bool join(Op &op, std::uint64_t generation) {
        std::uint64_t word = op.word.load(memory_order_acquire);
        group_.word.fetch_add(1);
        const std::uint64_t id = std::uint64_t{id_} << op_word::kGroupShift;
        while (op_word::generation(word) == generation && (word & op_word::kGroup) == 0 &&
               op_word::state(word) < OpState::kDone && op_word::state(word) != OpState::kFree) {
            if (op.word.compare_exchange_weak(word, word | op_word::kGroup | id,
                                              memory_order_acq_rel, memory_order_acquire)) {
                return true;
            }
        }
        group_.word.fetch_sub(1);
        return false;
    }

    void leave(fsys_op issued) {
        std::uint64_t generation = 0;
        Op *op = engine_.find(issued, generation);
        if (op == nullptr) {
            return;
        }
        std::uint64_t word = op->word.load(memory_order_acquire);
        while (op_word::generation(word) == generation && (word & op_word::kGroup) != 0 &&
               op_word::group(word) == id_ && op_word::state(word) < OpState::kDone) {
            if (op->word.compare_exchange_weak(word,
                                               word & ~(op_word::kGroup | op_word::kGroupMask),
                                               memory_order_acq_rel, memory_order_acquire)) {
                group_.word.fetch_sub(1);
                return;
            }
        }
    }

    // Every member has left or arrived. An arrival that has finished its op's word but not yet
    // lowered the count is a few instructions away.
    void settle() {
        while (group_.members() != 0) {
            ::sched_yield();
        }
    }

    Group &group() { return group_; }

private:
    Engine &engine_;
    Group &group_;
    std::uint32_t id_;
};

// Ops that were submitted with FSYS_WAIT_SOON and are still nobody's: cached reads in one enter on a
// private ring, the rest handed to the lanes with one bell.
void execute_hinted(Engine &engine, const fsys_op *tokens, std::uint32_t count, bool endless) {
    std::uint32_t claimed[BatchRings::kMost];
    std::int32_t results[BatchRings::kMost];
    const auto link = [&engine](std::uint32_t i) -> auto & { return engine.ops.link(i); };
    std::uint32_t at = 0;
    while (at < count) {
        std::uint32_t n = 0;
        for (; at < count && n < BatchRings::kMost; ++at) {
            std::uint64_t generation = 0;
            Op *op = engine.find(tokens[at], generation);
            if (op == nullptr) {
                continue;
            }
            const std::uint64_t word = op->word.load(memory_order_acquire);
            if (op_word::generation(word) == generation && op_word::state(word) == OpState::kQueued &&
                op_word::claim_unlisted(op->word, word, OpState::kClaimed)) {
                claimed[n++] = engine.ops.index(*op);
            }
        }
        if (n == 0) {
            continue;
        }
        // Sort out the cached reads; the order of the others is kept.
        std::uint32_t reads = 0;
        for (std::uint32_t i = 0; i < n; ++i) {
            const Op &op = engine.ops[claimed[i]];
            if (op.opcode == FSYS_OP_READ && !op.file()->direct && op.length <= 1u << 20 &&
                op.length != 0 && op.file()->nowait.open()) {
                std::swap(claimed[i], claimed[reads++]);
            }
        }
        Publisher out(engine);
        std::uint32_t rest = 0;  // claimed[rest..n) still have to be executed
        if (engine.config.uring && reads > 1 &&
            engine.batches.read_cached(engine, claimed, reads, results)) {
            std::uint32_t missed = 0;
            for (std::uint32_t i = 0; i < reads; ++i) {
                Op &op = engine.ops[claimed[i]];
                Outcome outcome;
                std::uint8_t retries = 0xff;
                const std::int32_t result = results[i];
                if (result < 0) {
                    result == -EOPNOTSUPP ? op.file()->nowait.never() : op.file()->nowait.miss();
                    claimed[missed++] = claimed[i];
                } else if (engine.progress(*op.file(), op.opcode, op.flags, op.length, result,
                                           retries, outcome)) {
                    op.file()->nowait.hit();
                    engine.complete(op, OpState::kClaimed, outcome, FSYS_LANE_RING, out);
                } else {
                    op.done = outcome.done;
                    claimed[missed++] = claimed[i];
                }
            }
            engine.stats.add(Count::kNowaitHits, reads - missed);
            engine.stats.add(Count::kNowaitMisses, missed);
            std::copy(claimed + reads, claimed + n, claimed + missed);
            n = missed + (n - reads);
        }
        // What a plain call does best goes inline when the caller may block; the ring takes the
        // rest as one chain, so that device latencies overlap.
        std::uint32_t newest = kNil;
        std::uint32_t oldest = kNil;
        std::uint32_t inline_ops[BatchRings::kMost];
        std::uint32_t inline_count = 0;
        const bool ring = engine.config.uring && engine.driver.start() == 0 && engine.driver.running();
        for (; rest < n; ++rest) {
            Op &op = engine.ops[claimed[rest]];
            const unsigned lane = engine.route(op.file(), op.opcode);
            if (endless && (!ring || lane != FSYS_LANE_RING || n == 1)) {
                inline_ops[inline_count++] = claimed[rest];
                continue;
            }
            // CLAIMED -> QUEUED|LISTED: nobody else changes the state of a claimed op, only flags.
            std::uint64_t word = op.word.load(memory_order_relaxed);
            while (!op.word.compare_exchange_weak(
                word, (op_word::with_state(word, OpState::kQueued) | op_word::kListed) &
                          ~op_word::kClaimable,
                memory_order_acq_rel, memory_order_relaxed)) {
            }
            if (lane == FSYS_LANE_RING && ring) {
                link(claimed[rest]).store(newest, memory_order_relaxed);
                newest = claimed[rest];
                oldest = oldest == kNil ? newest : oldest;
            } else {
                engine.enlist(claimed[rest], lane);
            }
        }
        if (newest != kNil) {
            engine.list.push(newest, oldest, link);
            engine.ring_bell();
        }
        out.flush();
        for (std::uint32_t i = 0; i < inline_count; ++i) {
            Op &op = engine.ops[inline_ops[i]];
            engine.complete(op, OpState::kClaimed, engine.execute(op), FSYS_LANE_INLINE, out);
        }
    }
}

}  // namespace

int Engine::wait_any(const fsys_op *tokens, std::uint32_t count, std::int64_t timeout_ns,
                     std::uint32_t *ret_index, fsys_result *result) {
    const Deadline deadline = Deadline::after(timeout_ns);
    std::uint32_t live = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (tokens[i] == 0) {
            continue;
        }
        std::uint64_t generation = 0;
        const Op *op = find(tokens[i], generation);
        if (op == nullptr || !is_live(op->word.load(memory_order_acquire), generation)) {
            *ret_index = i;
            return FSYS_E_STALE;
        }
        ++live;
    }
    if (live == 0) {
        return FSYS_E_NOTHING;
    }
    if (live == 1 && timeout_ns < 0) {
        for (std::uint32_t i = 0; i < count; ++i) {
            if (tokens[i] != 0) {
                *ret_index = i;
                return wait(tokens[i], timeout_ns, result);
            }
        }
    }
    execute_hinted(*this, tokens, timeout_ns == 0 ? 0 : count, false);
    std::uint32_t id = Groups::kCount;
    int code = 0;
    bool first_round = true;
    for (;;) {
        // Take whatever is done.
        for (std::uint32_t i = 0; i < count; ++i) {
            if (tokens[i] == 0) {
                continue;
            }
            code = try_take(tokens[i], result);
            if (code != -EAGAIN) {
                *ret_index = i;
                return code;
            }
        }
        if (timeout_ns == 0 || (!first_round && deadline.passed())) {
            return -ETIMEDOUT;
        }
        first_round = false;
        if (config.caller_driven && is_driver_thread()) {
            drive(deadline.left_ns());
            continue;
        }
        id = groups.acquire();
        if (id == Groups::kCount) {
            return -EAGAIN;
        }
        Membership membership(*this, id);
        membership.begin(true);
        bool sleep = true;
        bool foreign = false;
        std::uint32_t joined = 0;
        for (std::uint32_t i = 0; i < count && sleep; ++i) {
            std::uint64_t generation = 0;
            if (Op *op = find(tokens[i], generation)) {
                if (membership.join(*op, generation)) {
                    ++joined;
                    continue;
                }
                // Done meanwhile: no need to sleep. In another waiter's group: look again soon.
                const std::uint64_t word = op->word.load(memory_order_acquire);
                sleep = is_live(word, generation) && op_word::state(word) != OpState::kDone;
                foreign = true;
            }
        }
        membership.end_joining();
        if (sleep && poisoned() == 0) {
            stats.add(Count::kFutexWaits);
            const Deadline brief = Deadline::after(1'000'000);
            // The word as it is when nothing has arrived since the first joined, whatever it is now:
            // an arrival during joining must not be slept over.
            futex_wait(&membership.group().word, Group::kAny | joined, foreign ? brief : deadline);
        }
        for (std::uint32_t i = 0; i < count; ++i) {
            membership.leave(tokens[i]);
        }
        membership.settle();
        groups.release(id);
    }
}

int Engine::wait_all(const fsys_op *tokens, std::uint32_t count, std::int64_t timeout_ns,
                     fsys_result *results) {
    for (std::uint32_t i = 0; i < count; ++i) {
        if (tokens[i] == 0) {
            continue;
        }
        std::uint64_t generation = 0;
        const Op *op = find(tokens[i], generation);
        if (op == nullptr || !is_live(op->word.load(memory_order_acquire), generation)) {
            return FSYS_E_STALE;
        }
    }
    const Deadline deadline = Deadline::after(timeout_ns);
    if (timeout_ns != 0) {
        execute_hinted(*this, tokens, count, timeout_ns < 0);
    }
    // The state of an op that has not completed; DONE of one that has, or was never named.
    const auto state_of = [&](std::uint32_t i) {
        std::uint64_t generation = 0;
        const Op *op = find(tokens[i], generation);
        const std::uint64_t word = op != nullptr ? op->word.load(memory_order_acquire) : 0;
        return op != nullptr && is_live(word, generation) ? op_word::state(word) : OpState::kDone;
    };
    const auto pending = [&](std::uint32_t i) { return state_of(i) != OpState::kDone; };
    const auto any_pending = [&] {
        for (std::uint32_t i = 0; i < count; ++i) {
            if (pending(i)) {
                return true;
            }
        }
        return false;
    };
    while (any_pending()) {
        if (timeout_ns == 0 || deadline.passed()) {
            return -ETIMEDOUT;
        }
        if (poisoned() != 0) {
            // Those that the kernel holds may never come; those that a thread executes will.
            bool stuck = false;
            for (std::uint32_t i = 0; i < count; ++i) {
                stuck |= state_of(i) == OpState::kInflight;
            }
            if (stuck) {
                return poisoned();
            }
        }
        if (config.caller_driven && is_driver_thread()) {
            drive(deadline.left_ns());
            continue;
        }
        const std::uint32_t id = groups.acquire();
        if (id == Groups::kCount) {
            return -EAGAIN;
        }
        Membership membership(*this, id);
        membership.begin(false);
        std::uint32_t joined = 0;
        bool foreign = false;
        for (std::uint32_t i = 0; i < count; ++i) {
            std::uint64_t generation = 0;
            Op *op = find(tokens[i], generation);
            if (op == nullptr) {
                continue;
            }
            if (membership.join(*op, generation)) {
                ++joined;
            } else if (pending(i)) {
                foreign = true;  // named twice here, or another thread waits for it too
            }
        }
        membership.end_joining();
        for (;;) {
            const std::uint32_t left = membership.group().word.load();
            if ((left & ~Group::kPoked) == 0 || poisoned() != 0) {
                break;
            }
            stats.add(Count::kFutexWaits);
            if (!futex_wait(&membership.group().word, left, deadline)) {
                break;
            }
        }
        for (std::uint32_t i = 0; i < count && joined != 0; ++i) {
            membership.leave(tokens[i]);
        }
        membership.settle();
        groups.release(id);
        if (foreign && joined == 0) {
            const timespec brief{0, 100'000};
            ::nanosleep(&brief, nullptr);
        }
    }
    // All or none: take every one before any is copied, and put back when one cannot be had.
    for (std::uint32_t i = 0; i < count; ++i) {
        std::uint64_t generation = 0;
        Op *op = find(tokens[i], generation);
        if (op == nullptr) {
            continue;
        }
        const std::uint64_t word = op->word.load(memory_order_acquire);
        if (!is_live(word, generation) || op_word::state(word) != OpState::kDone ||
            !op_word::take(op->word, word)) {
            // Named twice here, or taken by another thread meanwhile.
            while (i-- != 0) {
                if (Op *taken = find(tokens[i], generation)) {
                    op_word::finish(taken->word, OpState::kTaken, OpState::kDone);
                }
            }
            return FSYS_E_STALE;
        }
    }
    std::uint32_t freed[64];
    std::uint32_t freed_count = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        std::uint64_t generation = 0;
        Op *op = find(tokens[i], generation);
        if (op == nullptr) {
            if (results != nullptr) {
                results[i] = fsys_result{};
            }
            continue;
        }
        copy_out(*op, tokens[i], results != nullptr ? &results[i] : nullptr);
        if (op_word::release(op->word)) {
            if (freed_count == std::size(freed)) {
                ops.free(freed, freed_count);
                freed_count = 0;
            }
            freed[freed_count++] = ops.index(*op);
        }
    }
    ops.free(freed, freed_count);
    return 0;
}

int Engine::reap(fsys_result *results, std::uint32_t max, std::int64_t timeout_ns) {
    constexpr std::uint32_t kChunk = 64;
    std::uint32_t taken[kChunk];
    const Deadline deadline = Deadline::after(timeout_ns);
    const bool drives = config.caller_driven && is_driver_thread();
    int count = 0;
    for (;;) {
        while (static_cast<std::uint32_t>(count) < max) {
            const unsigned n = completions.pop(
                taken, std::min(kChunk, max - static_cast<std::uint32_t>(count)));
            unsigned freed = 0;
            for (unsigned i = 0; i < n; ++i) {
                Op &op = ops[taken[i]];
                copy_out(op, 0, &results[count++]);
                // In no waiter's hands: no TAKEN in between.
                if (op_word::release(op.word)) {
                    taken[freed++] = taken[i];
                }
            }
            ops.free(taken, freed);
            if (n == 0) {
                break;
            }
        }
        if (count != 0 || (max == 0 && !completions.empty())) {
            completions.pass_on();
            return count;
        }
        if (closing.load(std::memory_order_seq_cst)) {
            return FSYS_E_CLOSED;
        }
        if (poisoned() != 0) {
            return poisoned();
        }
        if (timeout_ns == 0 || deadline.passed()) {
            return 0;
        }
        if (deadline.endless()) {
            bool outstanding = false;
            each_op([&](std::uint32_t, std::uint64_t word) {
                outstanding |= (word & op_word::kQueueBound) != 0 &&
                               op_word::state(word) < OpState::kTaken;
            });
            if (!outstanding) {
                return FSYS_E_NOTHING;
            }
        }
        if (drives) {
            drive(deadline.left_ns());
            continue;
        }
        completions.add_sleeper();
        const std::uint32_t seen = completions.sequence().load(std::memory_order_seq_cst);
        if (completions.empty() && !closing.load(std::memory_order_seq_cst) && poisoned() == 0) {
            stats.add(Count::kFutexWaits);
            futex_wait(&completions.sequence(), seen, deadline);
        }
        completions.remove_sleeper();
    }
}

}  // namespace libfsys
