// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Counters, sharded by thread: one relaxed add per event, summed when somebody asks.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "engine/sharded.hpp"
#include "fsys/fsys.h"

namespace libfsys {

enum class Count : unsigned {
    kFailed,
    kBytesRead,
    kBytesWritten,
    kDoorbells,
    kPoolWakes,
    kFutexWaits,
    kFutexWakes,
    kEventSignals,
    kNowaitHits,
    kNowaitMisses,
    kBatchEnters,
    kIowqPunts,
    kShortIos,
    kRetries,
    kSplits,
    kCancels,
    kSlotWaits,
    kEnters,
    kEntries,
    kCount,
};

// Four buckets per power of two, exact below 4.
constexpr unsigned latency_bucket(std::uint64_t ns) {
    if (ns < 4) {
        return static_cast<unsigned>(ns);
    }
    const unsigned log2 = static_cast<unsigned>(std::bit_width(ns)) - 1;
    const unsigned bucket = (log2 - 1) * 4 + static_cast<unsigned>((ns >> (log2 - 2)) & 3);
    return bucket < FSYS_STATS_BUCKETS ? bucket : FSYS_STATS_BUCKETS - 1;
}
constexpr std::uint64_t latency_bound(unsigned bucket) {
    return bucket < 4 ? bucket : std::uint64_t{4 + (bucket & 3)} << (bucket / 4 - 1);
}
static_assert(latency_bound(latency_bucket(1000)) <= 1000);
static_assert(latency_bound(latency_bucket(1000) + 1) > 1000);

class Stats {
public:
    void add(Count what, std::uint64_t n = 1) { add(current_shard(), what, n); }
    void add(unsigned shard, Count what, std::uint64_t n = 1) {
        bump(shards_[shard].counts[static_cast<unsigned>(what)], n);
    }
    // An op has ended: its kind and the bytes it moved.
    void op(unsigned shard, unsigned lane, unsigned opcode, std::int64_t result,
            std::uint64_t bytes) {
        Shard &s = shards_[shard];
        bump(s.ops[lane][opcode], 1);
        if (result < 0) {
            bump(s.counts[static_cast<unsigned>(Count::kFailed)], 1);
        }
        if (bytes != 0) {
            const bool read = opcode == FSYS_OP_READ || opcode == FSYS_OP_READV;
            bump(s.counts[static_cast<unsigned>(read ? Count::kBytesRead : Count::kBytesWritten)],
                 bytes);
        }
    }
    void latency(unsigned shard, unsigned lane, std::uint64_t ns) {
        if (lane != FSYS_LANE_NONE) {
            bump(shards_[shard].latency[lane - 1][latency_bucket(ns)], 1);
        }
    }
    // Every 16th op of a shard is timed: two clock readings cost as much as the op's bookkeeping.
    bool sample(unsigned shard) {
        // Not an RMW: threads that share the shard may lose a step, which only shifts the sample.
        std::atomic<std::uint32_t> &tick = shards_[shard].tick;
        const std::uint32_t now = tick.load(std::memory_order_relaxed) + 1;
        tick.store(now, std::memory_order_relaxed);
        return (now & 15) == 0;
    }
    std::uint64_t total(Count what) const {
        std::uint64_t sum = 0;
        for (const Shard &shard : shards_) {
            sum += shard.counts[static_cast<unsigned>(what)].load(std::memory_order_relaxed);
        }
        return sum;
    }
    // Fills everything but struct_size and in_flight.
    void collect(fsys_counters &out) const;

private:
    using Counter = std::atomic<std::uint64_t>;
    static void bump(Counter &counter, std::uint64_t n) {
        counter.fetch_add(n, std::memory_order_relaxed);
    }
    struct alignas(kCacheLine) Shard {
        std::atomic<std::uint32_t> tick{0};
        Counter ops[4][8]{};
        Counter counts[static_cast<unsigned>(Count::kCount)]{};
        Counter latency[3][FSYS_STATS_BUCKETS]{};
    };
    std::array<Shard, kShards> shards_{};
};

}  // namespace libfsys
