// SPDX-License-Identifier: Apache-2.0 OR MIT
// Counts heap allocations of the whole process by defining the allocation functions in the
// executable: the dynamic linker binds the calls of libfsys.so and libstdc++ to these, too, so no
// LD_PRELOAD is needed. Entered by every thread; the counter is the only shared state.
#include "process.hpp"

#include <dlfcn.h>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace {

std::atomic<std::uint64_t> calls{0};

void count() noexcept { calls.fetch_add(1, std::memory_order_relaxed); }

template <typename Function>
Function next_function(const char *name) noexcept {
    return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

// dlsym may itself allocate before the real functions are known. What it gets comes from here and
// is never given back.
alignas(64) char early_memory[16384];
std::atomic<std::size_t> early_used{0};
thread_local bool resolving = false;

void *early_allocate(std::size_t size) noexcept {
    const std::size_t rounded = (size + 63) & ~std::size_t{63};
    const std::size_t at = early_used.fetch_add(rounded, std::memory_order_relaxed);
    return at + rounded <= sizeof early_memory ? early_memory + at : nullptr;
}

bool is_early(const void *pointer) noexcept {
    const auto *byte = static_cast<const char *>(pointer);
    return byte >= early_memory && byte < early_memory + sizeof early_memory;
}

struct Real {
    void *(*malloc)(std::size_t);
    void *(*calloc)(std::size_t, std::size_t);
    void *(*realloc)(void *, std::size_t);
    void (*free)(void *);
    void *(*memalign)(std::size_t, std::size_t);
    void *(*aligned_alloc)(std::size_t, std::size_t);
    int (*posix_memalign)(void **, std::size_t, std::size_t);
};

Real real;
std::atomic<bool> resolved{false};

bool resolve() noexcept {
    if (resolved.load(std::memory_order_acquire))
        return true;
    if (resolving)
        return false;
    // The first call comes while the process has one thread (the loader and libc start-up).
    resolving = true;
    real.malloc = next_function<decltype(real.malloc)>("malloc");
    real.calloc = next_function<decltype(real.calloc)>("calloc");
    real.realloc = next_function<decltype(real.realloc)>("realloc");
    real.free = next_function<decltype(real.free)>("free");
    real.memalign = next_function<decltype(real.memalign)>("memalign");
    real.aligned_alloc = next_function<decltype(real.aligned_alloc)>("aligned_alloc");
    real.posix_memalign = next_function<decltype(real.posix_memalign)>("posix_memalign");
    resolving = false;
    resolved.store(true, std::memory_order_release);
    return true;
}

}  // namespace

std::uint64_t bench::allocation_count() noexcept { return calls.load(std::memory_order_relaxed); }

extern "C" {

void *malloc(std::size_t size) {
    count();
    return resolve() ? real.malloc(size) : early_allocate(size);
}

void *calloc(std::size_t number, std::size_t size) {
    count();
    // early_memory is zero from the start and never reused.
    return resolve() ? real.calloc(number, size) : early_allocate(number * size);
}

void *realloc(void *pointer, std::size_t size) {
    count();
    if (!resolve() || is_early(pointer)) {
        void *fresh =
            resolved.load(std::memory_order_acquire) ? real.malloc(size) : early_allocate(size);
        if (fresh != nullptr && pointer != nullptr) {
            const auto room = static_cast<std::size_t>(early_memory + sizeof early_memory -
                                                       static_cast<const char *>(pointer));
            std::memcpy(fresh, pointer, size < room ? size : room);
        }
        return fresh;
    }
    return real.realloc(pointer, size);
}

void free(void *pointer) {
    if (pointer != nullptr && !is_early(pointer) && resolve())
        real.free(pointer);
}

void *memalign(std::size_t alignment, std::size_t size) {
    count();
    return resolve() ? real.memalign(alignment, size) : nullptr;
}

void *aligned_alloc(std::size_t alignment, std::size_t size) {
    count();
    return resolve() ? real.aligned_alloc(alignment, size) : nullptr;
}

int posix_memalign(void **memory, std::size_t alignment, std::size_t size) {
    count();
    return resolve() ? real.posix_memalign(memory, alignment, size) : ENOMEM;
}

}  // extern "C"
