// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The process-wide half of presence.hpp. Any thread.

#include "engine/presence.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace libfsys {
namespace {

constinit std::atomic<bool> g_asymmetric{false};
constinit std::atomic<bool> g_refused{false};

}  // namespace

void prepare_asymmetric_barrier() {
    if (!g_asymmetric.load(std::memory_order_relaxed) &&
        !g_refused.load(std::memory_order_relaxed) &&
        ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0) {
        g_asymmetric.store(true, std::memory_order_relaxed);
    }
}

bool has_asymmetric_barrier() { return g_asymmetric.load(std::memory_order_relaxed); }

void heavy_barrier() {
    if (has_asymmetric_barrier() &&
        ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0) {
        // Refused although it was registered: a seccomp filter came later. No cell gets an owner any
        // more, but those that have one go on without a fence. What is left is time: a store leaves
        // a processor's buffer within microseconds, so who stored before this began is seen after it.
        g_asymmetric.store(false, std::memory_order_relaxed);
        g_refused.store(true, std::memory_order_relaxed);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (g_refused.load(std::memory_order_relaxed)) {
        const timespec moment{0, 10'000'000};
        ::nanosleep(&moment, nullptr);
        std::atomic_thread_fence(std::memory_order_seq_cst);
    }
}

}  // namespace libfsys
