// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Counters, sharded by thread: one relaxed add per event, summed when somebody asks.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "engine/sharded.hpp"
#include "engine/zero_pages.hpp"
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
    using Counter = std::atomic<std::uint64_t>;
    struct Cells {
        std::array<Counter, 4 * 8> ops{};
        std::array<Counter, static_cast<unsigned>(Count::kCount)> counts{};
        std::array<Counter, 3 * FSYS_STATS_BUCKETS> latency{};
    };
    // The first thread that counts in a shard owns it and adds without a locked instruction (four of
    // them per op were half of the library's cost per call); others that hash to it use the second
    // set. A later thread with the same pthread_t takes the place of one that has ended.
    struct alignas(kCacheLine) Shard {
        std::atomic<std::uint64_t> owner{0};
        std::atomic<std::uint32_t> tick{0};
        Cells owned;
        Cells shared;
    };

public:
    // Counting in one shard, for who has several things to count: its owner is found out once. On the
    // stack of one thread.
    class Tally {
    public:
        void add(Count what, std::uint64_t n = 1) const {
            add(&Cells::counts, static_cast<unsigned>(what), n);
        }
        // An op has ended: its kind and the bytes it moved.
        void op(unsigned lane, unsigned opcode, std::int64_t result, std::uint64_t bytes) const {
            add(&Cells::ops, lane * 8 + opcode, 1);
            if (result < 0) {
                add(Count::kFailed);
            }
            if (bytes != 0) {
                const bool read = opcode == FSYS_OP_READ || opcode == FSYS_OP_READV;
                add(read ? Count::kBytesRead : Count::kBytesWritten, bytes);
            }
        }
        void latency(unsigned lane, std::uint64_t ns) const {
            if (lane != FSYS_LANE_NONE) {
                add(&Cells::latency, (lane - 1) * FSYS_STATS_BUCKETS + latency_bucket(ns), 1);
            }
        }
        // Every 64th op of a shard is timed: two clock readings cost more than the op's bookkeeping.
        bool sample() const {
            // Not an RMW: threads that share the shard may lose a step, which only shifts the sample.
            const std::uint32_t now = shard_.tick.load(std::memory_order_relaxed) + 1;
            shard_.tick.store(now, std::memory_order_relaxed);
            return (now & 63) == 0;
        }

    private:
        friend Stats;
        explicit Tally(Shard &shard) : shard_(shard) {
            const std::uint64_t self = current_thread();
            std::uint64_t owner = shard.owner.load(std::memory_order_relaxed);
            owned_ = owner == self ||
                     (owner == 0 && shard.owner.compare_exchange_strong(owner, self));
        }
        template <std::size_t N>
        void add(std::array<Counter, N> Cells::*set, unsigned index, std::uint64_t n) const {
            if (owned_) {
                Counter &counter = (shard_.owned.*set)[index];
                counter.store(counter.load(std::memory_order_relaxed) + n,
                              std::memory_order_relaxed);
            } else {
                (shard_.shared.*set)[index].fetch_add(n, std::memory_order_relaxed);
            }
        }

        Shard &shard_;
        bool owned_;
    };

    Tally tally(unsigned shard) { return Tally(shards_[shard]); }
    void add(Count what, std::uint64_t n = 1) { tally(current_shard()).add(what, n); }
    std::uint64_t total(Count what) const {
        const auto i = static_cast<unsigned>(what);
        std::uint64_t sum = 0;
        for (const Shard &shard : shards_) {
            sum += shard.owned.counts[i].load(std::memory_order_relaxed) +
                   shard.shared.counts[i].load(std::memory_order_relaxed);
        }
        return sum;
    }
    // Fills everything but struct_size and in_flight.
    void collect(fsys_counters &out) const;

private:
    ZeroPages<Shard> shards_{kShards};
};

}  // namespace libfsys
