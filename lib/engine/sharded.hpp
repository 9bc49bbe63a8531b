// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Spreading what many threads touch over cache lines, by thread.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>

namespace libfsys {

inline constexpr std::size_t kCacheLine = 64;
inline constexpr unsigned kShards = 8;

// What tells running threads apart: the address of the thread's control block, in a register. Not a
// thread_local of our own (a __tls_get_addr call per use, and state to clean up), not a system call.
// A later thread may get the number of one that has ended. On glibc this is pthread_self() without
// the call.
inline std::uint64_t current_thread() {
#if defined(__has_builtin)
#if __has_builtin(__builtin_thread_pointer)
#define FSYS_THREAD_POINTER 1
#endif
#endif
#ifdef FSYS_THREAD_POINTER
    return reinterpret_cast<std::uint64_t>(__builtin_thread_pointer());
#else
    return static_cast<std::uint64_t>(pthread_self());
#endif
}

// The calling thread's shard. Stacks are megabytes apart, so the multiplicative hash spreads the
// high bits. Two threads may share a shard.
inline unsigned current_shard() {
    return static_cast<unsigned>((current_thread() >> 12) * 0x9e3779b97f4a7c15u >> 61);
}
static_assert(kShards == 8, "current_shard() yields three bits");

}  // namespace libfsys
