/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * malloc and its relatives and mmap, replaced in a test program so that the k-th call fails: once, or
 * all from then on. The dynamic linker prefers the program's functions to libc's, so the library's
 * operator new, its mmap calls and libc's own allocations for threads all come through. Calls from
 * any thread count. glibc only. Include first, in one file of the program.
 */
#ifndef ALLOC_HOOK_H
#define ALLOC_HOOK_H

/* Meson asks for 64-bit offsets, which would rename mmap below to mmap64. */
#undef _FILE_OFFSET_BITS
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "check.h"

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);

static atomic_bool armed;
static atomic_long countdown; /* allocations that still succeed */
static atomic_bool all_later; /* after the first failure, all fail */
static atomic_long failures;
static atomic_long living; /* blocks allocated and not freed */

static bool fails(void) {
    if (!atomic_load_explicit(&armed, memory_order_relaxed)) {
        return false;
    }
    const long left = atomic_fetch_sub(&countdown, 1);
    if (left == 1 || (left < 1 && atomic_load(&all_later))) {
        atomic_fetch_add(&failures, 1);
        errno = ENOMEM;
        return true;
    }
    return false;
}

static void *counted(void *memory) {
    if (memory != NULL) {
        atomic_fetch_add_explicit(&living, 1, memory_order_relaxed);
    }
    return memory;
}

void *malloc(size_t size) { return fails() ? NULL : counted(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) {
    return fails() ? NULL : counted(__libc_calloc(count, size));
}
void *realloc(void *old, size_t size) {
    if (fails()) {
        return NULL;
    }
    return old == NULL ? counted(__libc_realloc(old, size)) : __libc_realloc(old, size);
}
void free(void *memory) {
    if (memory != NULL) {
        atomic_fetch_sub_explicit(&living, 1, memory_order_relaxed);
    }
    __libc_free(memory);
}
void *memalign(size_t alignment, size_t size) {
    return fails() ? NULL : counted(__libc_memalign(alignment, size));
}
void *aligned_alloc(size_t alignment, size_t size) {
    return fails() ? NULL : counted(__libc_memalign(alignment, size));
}
int posix_memalign(void **out, size_t alignment, size_t size) {
    if (fails() || (*out = counted(__libc_memalign(alignment, size))) == NULL) {
        return ENOMEM;
    }
    return 0;
}
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    if (fails()) {
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return mmap(address, length, protection, flags, fd, offset);
}

/* From here on the k-th allocation fails, and with `later_too` all behind it. */
static void arm(long k, bool later_too) {
    atomic_store(&failures, 0);
    atomic_store(&all_later, later_too);
    atomic_store(&countdown, k);
    atomic_store(&armed, true);
}
static void disarm(void) { atomic_store(&armed, false); }

#endif
