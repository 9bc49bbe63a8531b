// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The part of completing an op that every completion executes, in line. The caller owns the op.
#pragma once

#include "engine/engine.hpp"
#include "engine/sanitizer.hpp"
#include "engine/trace.hpp"

namespace libfsys {

// What the kernel did to the op's memory, for the sanitizers.
inline void declare_access([[maybe_unused]] const Op &op) {
#ifdef FSYS_SANITIZED
    if (op.opcode == FSYS_OP_READ) {
        kernel_wrote(op.buffer, op.done);
    } else if (op.opcode == FSYS_OP_WRITE) {
        kernel_read(op.buffer, op.done);
    }
#endif
}

[[gnu::always_inline]] inline void Engine::record(Op &op, const Outcome &outcome, unsigned lane,
                                                  const Stats::Tally &tally) {
    op.result = outcome.result;
    op.done = outcome.done;
    op.step = outcome.step;
    op.lane = static_cast<std::uint8_t>(lane);
    declare_access(op);
    tally.op(lane, op.opcode, outcome.result, outcome.done);
    if (op.started_ns != 0) {
        tally.latency(lane, static_cast<std::uint64_t>(now_ns() - op.started_ns));
    }
    FSYS_PROBE3(complete, ops.index(op), lane, outcome.result);
    drop_iovecs(op);
}

}  // namespace libfsys
