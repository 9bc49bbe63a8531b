// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Summing the sharded counters. Any thread, no lock: each number is exact, the set is not one
// instant.

#include "engine/stats.hpp"

namespace libfsys {

void Stats::collect(fsys_counters &out) const {
    for (const Shard &shard : shards_) {
        for (const Cells *cells : {&shard.owned, &shard.shared}) {
            for (unsigned i = 0; i < 4 * 8; ++i) {
                out.ops[i / 8][i % 8] += cells->ops[i].load(std::memory_order_relaxed);
            }
            for (unsigned i = 0; i < 3 * FSYS_STATS_BUCKETS; ++i) {
                out.latency[i / FSYS_STATS_BUCKETS][i % FSYS_STATS_BUCKETS] +=
                    cells->latency[i].load(std::memory_order_relaxed);
            }
        }
    }
    out.failed = total(Count::kFailed);
    out.bytes_read = total(Count::kBytesRead);
    out.bytes_written = total(Count::kBytesWritten);
    out.enters = total(Count::kEnters);
    out.entries = total(Count::kEntries);
    out.doorbells = total(Count::kDoorbells);
    out.pool_wakes = total(Count::kPoolWakes);
    out.futex_waits = total(Count::kFutexWaits);
    out.futex_wakes = total(Count::kFutexWakes);
    out.event_signals = total(Count::kEventSignals);
    out.nowait_hits = total(Count::kNowaitHits);
    out.nowait_misses = total(Count::kNowaitMisses);
    out.batch_enters = total(Count::kBatchEnters);
    out.iowq_punts = total(Count::kIowqPunts);
    out.short_ios = total(Count::kShortIos);
    out.retries = total(Count::kRetries);
    out.splits = total(Count::kSplits);
    out.cancels = total(Count::kCancels);
    out.slot_waits = total(Count::kSlotWaits);
}

}  // namespace libfsys
