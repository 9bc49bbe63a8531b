// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Counters that many threads touch and few read, spread over cache lines by thread.
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace libfsys {

inline constexpr std::size_t kCacheLine = 64;
inline constexpr unsigned kShards = 8;

// The calling thread's shard. From the address of its control block: no thread_local of our own
// (a __tls_get_addr call per op, and state to clean up), no system call. Stacks are megabytes apart,
// so the multiplicative hash spreads the high bits. Two threads may share a shard; all users of a
// shard therefore use atomic RMW.
inline unsigned current_shard() {
    const auto self = static_cast<std::uint64_t>(pthread_self());
    return static_cast<unsigned>((self >> 12) * 0x9e3779b97f4a7c15u >> 61);
}
static_assert(kShards == 8, "current_shard() yields three bits");

// A reference count whose holders may release on another thread than they acquired on: a single
// shard may go negative, only the sum counts. The sum is exact once acquiring has been stopped,
// because then every shard only falls: a read sum of 0 is >= the true count at its last load.
template <unsigned N>
class ShardedCount {
public:
    void add(unsigned shard, std::int64_t delta) {
        cells_[shard % N].value.fetch_add(delta, std::memory_order_seq_cst);
    }
    std::int64_t sum() const {
        std::int64_t total = 0;
        for (const Cell &cell : cells_) {
            total += cell.value.load(std::memory_order_seq_cst);
        }
        return total;
    }

private:
    struct alignas(kCacheLine) Cell {
        std::atomic<std::int64_t> value{0};
    };
    std::array<Cell, N> cells_{};
};

}  // namespace libfsys
