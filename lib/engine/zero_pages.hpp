// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An array in pages of its own that the kernel has zeroed: what is never touched costs no memory, so
// that an idle handle with room for thousands of ops stays small. T must be as good as constructed
// when all its bytes are 0 (or be constructed at first use), and need no destructor.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <type_traits>

namespace libfsys {

template <class T>
class ZeroPages {
    static_assert(std::is_trivially_destructible_v<T>);

public:
    explicit ZeroPages(std::size_t count) : count_(count) {
        void *memory = ::mmap(nullptr, sizeof(T) * count, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            throw std::bad_alloc();
        }
        items_ = static_cast<T *>(memory);
    }
    ZeroPages(const ZeroPages &) = delete;
    ZeroPages &operator=(const ZeroPages &) = delete;
    ~ZeroPages() { ::munmap(items_, sizeof(T) * count_); }

    T &operator[](std::size_t i) { return items_[i]; }
    const T &operator[](std::size_t i) const { return items_[i]; }
    T *begin() { return items_; }
    T *end() { return items_ + count_; }
    const T *begin() const { return items_; }
    const T *end() const { return items_ + count_; }

private:
    T *items_;
    const std::size_t count_;
};

}  // namespace libfsys
