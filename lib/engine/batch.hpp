// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Cached reads in one system call: a batch that its own waiter executes on a private ring with
// RWF_NOWAIT, so that every request ends inside io_uring_enter and nothing is ever left in flight.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "backend/uring/ring.hpp"

namespace libfsys {

class Engine;

class BatchRings {
public:
    static constexpr std::uint32_t kMost = 128;  // reads in one enter

    // Reads that the caller has claimed. results[i] is the byte count or a negative errno of
    // ops[i], -EAGAIN where the page cache does not have it. False when no ring can be had.
    bool read_cached(Engine &engine, const std::uint32_t *ops, std::uint32_t count,
                     std::int32_t *results);
    void close_in_child();

private:
    static constexpr unsigned kRings = 16;
    struct Slot {
        std::atomic<std::uint32_t> busy{0};
        Ring ring;
        bool broken = false;
    };
    // No DEFER_TASKRUN: the rings move between threads. Nothing completes later, so it would not
    // help either.
    Slot slots_[kRings];
};

}  // namespace libfsys
