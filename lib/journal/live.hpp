// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The live page: what followers, in this process and in others, wait on. Lives in memory that the
// third block of the watermark file names (Syscalls::share). It is a hint for readers beside a
// running writer; recovery knows nothing of it.
//
// The writer's flush leader stores; any number of readers load and sleep. Followers must register
// before they look, or a wake-up could be missed: both sides use seq_cst for that pair.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>

namespace libfsys::journal {

struct LivePage {
    std::atomic<std::uint64_t> epoch;
    std::atomic<std::uint64_t> durable;   // record boundary, may be read by followers
    std::atomic<std::uint64_t> written;   // handed to the kernel, not yet proven
    std::atomic<std::uint64_t> first;     // first position that is still kept
    std::atomic<std::uint32_t> sequence;  // futex word: changes with every advance
    std::atomic<std::uint32_t> waiters;
    std::atomic<std::uint32_t> open;      // 1 while a writer is attached
    std::atomic<std::uint32_t> failed;    // 1 after poison
};
static_assert(sizeof(LivePage) == 48);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

// Without FUTEX_PRIVATE_FLAG: the word is known by its page, also in other processes.
inline void futex_wake_shared(const std::atomic<std::uint32_t> *word) {
    ::syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}
// `timeout_ns` relative, negative: without end. May return early.
inline void futex_wait_shared(const std::atomic<std::uint32_t> *word, std::uint32_t expected,
                              std::int64_t timeout_ns) {
    const timespec ts{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
    ::syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_ns < 0 ? nullptr : &ts, nullptr, 0);
}

}  // namespace libfsys::journal
