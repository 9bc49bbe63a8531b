// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Private rings for batches of cached reads. Any thread; a ring belongs to the thread that set its
// busy flag, for one call.

#include "engine/batch.hpp"

#include <unistd.h>

#include <cerrno>

#include "engine/engine.hpp"

namespace libfsys {

bool BatchRings::read_cached(Engine &engine, const std::uint32_t *ops, std::uint32_t count,
                             std::int32_t *results) {
    Slot *slot = nullptr;
    const unsigned start = current_shard();
    for (unsigned i = 0; i < kRings && slot == nullptr; ++i) {
        Slot &candidate = slots_[(start + i) % kRings];
        // Acquire pairs with the release below: the ring's indices are those its last user left.
        if (candidate.busy.load(std::memory_order_relaxed) == 0 &&
            candidate.busy.exchange(1, std::memory_order_acquire) == 0) {
            slot = &candidate;
        }
    }
    if (slot == nullptr) {
        return false;
    }
    Ring &ring = slot->ring;
    bool ok = !slot->broken;
    if (ok && !ring.is_open()) {
        ok = ring.open(kMost, kMost * 2, IORING_SETUP_SUBMIT_ALL | uapi::kSetupNoSqarray) == 0;
        slot->broken = !ok;
    }
    if (ok) {
        for (std::uint32_t i = 0; i < count; ++i) {
            const Op &op = engine.ops[ops[i]];
            results[i] = -EAGAIN;
            io_uring_sqe *sqe = ring.next_sqe();
            io_uring_prep_read(sqe, op.file()->fd, op.buffer,
                               static_cast<unsigned>(op.length), op.offset);
            sqe->rw_flags = RWF_NOWAIT;
            sqe->user_data = i;
        }
        std::uint32_t seen = 0;
        unsigned enters = 0;
        while (seen < count) {
            // With NOWAIT the first enter completes them all; waiting is for what should not happen.
            ++enters;
            const int code = ring.enter(enters == 1 ? 0 : 1, -1);
            seen += ring.reap(count, [&](const io_uring_cqe &cqe) {
                results[cqe.user_data] = cqe.res;
            });
            if (code < 0 && code != -EINTR && code != -EAGAIN && code != -EBUSY) {
                // Entries that the kernel did not take are forgotten with the ring; those it took
                // have completed, since NOWAIT leaves nothing in flight.
                ring.close();
                slot->broken = true;
                break;
            }
        }
        engine.stats.add(Count::kBatchEnters);
        engine.stats.add(Count::kEnters, enters);
        engine.stats.add(Count::kEntries, count);
    }
    slot->busy.store(0, std::memory_order_release);
    return ok;
}

void BatchRings::close_in_child() {
    for (const Slot &slot : slots_) {
        if (slot.ring.is_open()) {
            ::close(slot.ring.fd());
        }
    }
}

}  // namespace libfsys
