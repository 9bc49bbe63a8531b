// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Sanitizers do not see what the kernel does with memory. These tell them: the completing thread
// declares the kernel's access in its own name, so that a caller who touches a buffer in flight, or
// hands in freed memory, is reported. They compile to nothing in ordinary builds.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define FSYS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define FSYS_SANITIZED 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
extern "C" void __tsan_read_range(void *address, unsigned long size);
extern "C" void __tsan_write_range(void *address, unsigned long size);
#endif
#if defined(__SANITIZE_ADDRESS__)
extern "C" void *__asan_region_is_poisoned(void *begin, size_t size);
#endif

namespace libfsys {

inline void kernel_wrote([[maybe_unused]] void *buffer, [[maybe_unused]] std::size_t size) {
#if defined(__SANITIZE_THREAD__)
    __tsan_write_range(buffer, size);
#elif defined(__SANITIZE_ADDRESS__)
    if (void *bad = __asan_region_is_poisoned(buffer, size)) {
        *static_cast<volatile char *>(bad) = 0;  // the report names this op's completion
    }
#endif
}

inline void kernel_read([[maybe_unused]] const void *buffer, [[maybe_unused]] std::size_t size) {
#if defined(__SANITIZE_THREAD__)
    __tsan_read_range(const_cast<void *>(buffer), size);
#elif defined(__SANITIZE_ADDRESS__)
    if (void *bad = __asan_region_is_poisoned(const_cast<void *>(buffer), size)) {
        static_cast<void>(*static_cast<volatile char *>(bad));
    }
#endif
}

}  // namespace libfsys
