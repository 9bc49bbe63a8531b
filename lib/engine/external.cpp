// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Ops that the engine only accounts for: somebody outside (the journal, a replacement on a pool
// thread) decides when they end. Such an op is CLAIMED from the start, so that no waiter or lane touches
// it; a canceller asks whoever has it to let go of it (ExternalWork::revoke). Any thread.

#include "engine/engine.hpp"

namespace libfsys {

int Engine::begin_external(std::uint32_t opcode, std::uint32_t flags, std::uint64_t user_data,
                           bool queue_bound, std::uint32_t &ret_index, fsys_op &ret_op) {
    int code = poisoned();
    if (code != 0) {
        return code;
    }
    const std::uint32_t index = allocate(flags, code);
    if (index == kNil) {
        return code;
    }
    Op &op = ops[index];
    fill(op, Request{.opcode = opcode, .flags = flags, .user_data = user_data}, queue_bound,
         stats.tally(current_shard()).sample() ? now_ns() : 0);
    const std::uint64_t free_word = op.word.load(memory_order_relaxed);
    ret_index = index;
    ret_op = token(index, free_word);
    op.word.store(op_word::with_state(free_word, OpState::kClaimed) | op_word::kExternal |
                      (queue_bound ? op_word::kQueueBound : 0),
                  memory_order_release);
    return 0;
}

void Engine::drop_external(std::uint32_t index) {
    // Nobody was given its token, but who looked for its user_data may have its word in hand: the next
    // op of the slot is another generation. Flags that a poison() set meanwhile go with the plain store.
    Op &op = ops[index];
    op.word.store(op_word::next_generation(op.word.load(memory_order_relaxed), OpState::kFree),
                  memory_order_release);
    ops.free(index);
}

void Engine::end_external(std::uint32_t index, std::int64_t result, unsigned lane,
                          Publisher &out, std::uint8_t step) {
    complete(ops[index], OpState::kClaimed,
             {result, 0, result < 0 ? step : static_cast<std::uint8_t>(FSYS_STEP_NONE)}, lane, out);
}

}  // namespace libfsys
