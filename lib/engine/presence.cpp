// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The process-wide half of presence.hpp. Any thread.

#include "engine/presence.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace libfsys {
namespace {

constinit std::atomic<bool> g_asymmetric{false};

}  // namespace

void prepare_asymmetric_barrier() {
    if (!g_asymmetric.load(std::memory_order_relaxed) &&
        ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0) {
        g_asymmetric.store(true, std::memory_order_relaxed);
    }
}

bool has_asymmetric_barrier() { return g_asymmetric.load(std::memory_order_relaxed); }

void heavy_barrier() {
    if (!has_asymmetric_barrier() ||
        ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0) {
        std::atomic_thread_fence(std::memory_order_seq_cst);
    }
}

}  // namespace libfsys
