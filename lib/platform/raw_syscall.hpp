// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// System calls without libc in between, for the two paths where that counts.
//
// libc's pread and pwrite are cancellation points: pthread_cancel() would unwind through frames of
// ours that must not be left half-way, and they pay for it in every program with threads. And each
// frame between the caller and the kernel costs a mispredicted return afterwards, for the kernel
// overwrites the return stack: four frames more than pread made 30 ns of 550.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace libfsys {

// Returns what the kernel returns: a value, or a negative errno. errno is left alone where possible.
inline long raw_syscall(long number, long a, long b, long c, long d, long e = 0, long f = 0) {
#if defined(__x86_64__) && !defined(__ILP32__)
    long result = number;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#else
    const long result = ::syscall(number, a, b, c, d, e, f);
    return result == -1 ? -errno : result;
#endif
}

// 64-bit offsets in one register: every 64-bit Linux.
static_assert(sizeof(long) == 8);

inline long raw_pread(int fd, void *buffer, std::size_t length, std::uint64_t offset) {
    return raw_syscall(SYS_pread64, fd, reinterpret_cast<long>(buffer), static_cast<long>(length),
                       static_cast<long>(offset));
}

inline long raw_pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset) {
    return raw_syscall(SYS_pwrite64, fd, reinterpret_cast<long>(buffer), static_cast<long>(length),
                       static_cast<long>(offset));
}

}  // namespace libfsys
