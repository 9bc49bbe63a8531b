// SPDX-License-Identifier: Apache-2.0 OR MIT
// What the process has used so far: allocations, context switches, threads, rings, memory.
// Any thread may ask.
#pragma once

#include <cstdint>

namespace bench {

/// Calls of malloc, calloc, realloc, memalign and the like since start, by any code of the process
/// (libfsys and libstdc++'s operator new included).
std::uint64_t allocation_count() noexcept;

/// Voluntary and involuntary context switches of all threads of the process.
std::uint64_t context_switches() noexcept;

/// Processor time of all threads of the process, user and system, ns.
std::uint64_t cpu_ns() noexcept;

/// Processor time of the calling thread, user and system, ns.
std::uint64_t thread_cpu_ns() noexcept;

struct Footprint {
    unsigned threads = 0;
    unsigned rings = 0;                ///< descriptors that are io_uring instances
    unsigned descriptors = 0;          ///< all of them
    std::uint64_t resident_bytes = 0;  ///< private and shared pages in RAM, smaps_rollup Rss
    /// Private_Dirty + Shared_Dirty: what is held. Pages of code are not in it, which the kernel maps
    /// around a fault in larger or smaller groups (a hundred KiB more or less from run to run).
    std::uint64_t dirty_bytes = 0;
};

Footprint footprint();

/// Monotonic nanoseconds.
std::uint64_t now_ns() noexcept;

}  // namespace bench
