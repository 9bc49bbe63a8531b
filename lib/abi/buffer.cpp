// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points for buffers. Any thread; the arena owns the memory.

#include <cerrno>

#include "abi/guard.hpp"
#include "abi/handles.hpp"

using namespace libfsys;

int fsys_buffer_alloc(fsys *handle, size_t size, void **ret_buffer) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        if (call.code() != 0) {
            return call.code();
        }
        if (ret_buffer == nullptr || size == 0 || size > size_t{1} << 30) {
            return -EINVAL;
        }
        return call.arena().allocate(size, ret_buffer);
    });
}

int fsys_buffer_free(fsys *handle, void *buffer) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        if (call.code() != 0) {
            return call.code();
        }
        return buffer == nullptr ? 0 : call.arena().free(buffer);
    });
}
