// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Cancelling: what has not started ends here; what the driver has is asked for; what somebody outside
// has (the journal) is asked back; what a thread executes in a system call cannot be recalled. Any
// thread.

#include <cerrno>

#include "engine/engine.hpp"

namespace libfsys {

bool Engine::cancel_op(std::uint32_t index, std::uint64_t word, Publisher &out) {
    Op &op = ops[index];
    const std::uint64_t generation = op_word::generation(word);
    // The op moves on while this looks at it: from the list into the ring, from the poller's hand
    // back to its list. A step that comes too late looks again, or the request would be lost.
    for (; op_word::generation(word) == generation; word = op.word.load(memory_order_acquire)) {
        switch (op_word::state(word)) {
        case OpState::kQueued:
        case OpState::kHeld:
            if (op_word::claim(op.word, word, OpState::kClaimed)) {
                complete(op, OpState::kClaimed, {-ECANCELED, op.done, FSYS_STEP_QUEUE},
                         FSYS_LANE_NONE, out);
                if ((word & op_word::kPolled) != 0) {
                    poller.wake();  // to unlink it
                }
                return true;
            }
            break;
        case OpState::kInflight:
            if (op.word.compare_exchange_strong(word, word | op_word::kCancel,
                                                memory_order_acq_rel, memory_order_acquire)) {
                driver.request_cancel(index, word);
                return true;
            }
            break;
        case OpState::kClaimed:
            if ((word & op_word::kExternal) != 0) {
                // By its token, which no other op will ever have: the slot may be reused by now.
                if (external == nullptr || !external->revoke(token(index, word))) {
                    return false;
                }
                complete(op, OpState::kClaimed, {-ECANCELED, 0, FSYS_STEP_QUEUE}, FSYS_LANE_NONE,
                         out);
                return true;
            }
            if ((word & op_word::kPolled) == 0) {
                return false;
            }
            // The poller looks at the bit when it lets go of the op.
            if (op.word.compare_exchange_strong(word, word | op_word::kCancel,
                                                memory_order_acq_rel, memory_order_acquire)) {
                return true;
            }
            break;
        default:
            return false;
        }
    }
    return false;
}

int Engine::cancel(fsys_op issued) {
    std::uint64_t generation = 0;
    Op *op = find(issued, generation);
    if (op == nullptr) {
        return FSYS_E_STALE;
    }
    const std::uint64_t word = op->word.load(memory_order_acquire);
    const OpState state = op_word::state(word);
    if (op_word::generation(word) != generation || (word & op_word::kQueueBound) != 0 ||
        state == OpState::kFree || state == OpState::kTaken || state == OpState::kGone) {
        return FSYS_E_STALE;
    }
    {
        Publisher out(*this);
        if (!cancel_op(ops.index(*op), word, out)) {
            return -EALREADY;
        }
    }
    stats.add(Count::kCancels);
    tell_driver();
    return 0;
}

int Engine::cancel_queued(std::uint64_t user_data) {
    int asked = 0;
    int late = 0;
    {
        Publisher out(*this);
        each_op([&](std::uint32_t index, std::uint64_t word) {
            // The look at the word acquires, so what is read here is this generation's user_data or
            // that of a later op in the slot. Then the word has moved on, and everything that
            // cancel_op does with the old one fails.
            if ((word & op_word::kQueueBound) == 0 || !op_word::is_pending(word) ||
                ops[index].user_data.load(std::memory_order_relaxed) != user_data) {
                return;
            }
            (cancel_op(index, word, out) ? asked : late) += 1;
        });
    }
    if (asked == 0) {
        return late == 0 ? -ENOENT : -EALREADY;
    }
    stats.add(Count::kCancels, static_cast<std::uint64_t>(asked));
    tell_driver();
    return asked;
}

}  // namespace libfsys
