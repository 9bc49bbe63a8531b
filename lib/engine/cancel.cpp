// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Cancelling: what has not started ends here; what the driver has is asked for; what a thread
// executes in a system call cannot be recalled. Any thread.

#include <cerrno>

#include "engine/engine.hpp"

namespace libfsys {

void Engine::cancel_op(std::uint32_t index, std::uint64_t word, Publisher &out) {
    Op &op = ops[index];
    const OpState state = op_word::state(word);
    if (state == OpState::kQueued || state == OpState::kHeld) {
        if (op_word::claim(op.word, word, OpState::kClaimed)) {
            complete(op, OpState::kClaimed, {-ECANCELED, op.done, FSYS_STEP_QUEUE}, FSYS_LANE_NONE,
                     out);
            if ((word & op_word::kPolled) != 0) {
                poller.wake();  // to unlink it
            }
        }
    } else if (state == OpState::kInflight) {
        if (op_word::mark(op.word, word, op_word::kCancel)) {
            driver.request_cancel(index, word);
        }
    } else if (state == OpState::kClaimed && (word & op_word::kPolled) != 0) {
        op_word::mark(op.word, word, op_word::kCancel);  // the poller looks when it lets go of it
    }
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
    if (state == OpState::kDone ||
        (state == OpState::kClaimed && (word & op_word::kPolled) == 0)) {
        return -EALREADY;
    }
    stats.add(Count::kCancels);
    Publisher out(*this);
    cancel_op(ops.index(*op), word, out);
    return 0;
}

}  // namespace libfsys
