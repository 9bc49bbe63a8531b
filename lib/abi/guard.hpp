// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What every entry point shares: no exception gets out, structs are read and written by the size that
// their caller knows.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <new>
#include <system_error>

#include "fsys/fsys.h"
#include "platform/text.hpp"

namespace libfsys {

// In line: a frame around every call of the library would be a mispredicted return each.
template <class F>
[[gnu::always_inline]] inline auto guarded(F &&body) noexcept -> decltype(body()) {
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return -ENOMEM;
    } catch (const std::system_error &error) {
        return error.code().value() > 0 ? -error.code().value() : -EIO;
    } catch (...) {
        return -EIO;
    }
}

// Of most structs of the ABI there is one version, so its first size is its size. One that grew has a
// specialisation with the size it began with.
template <class T>
inline constexpr std::uint32_t kFirstSize = sizeof(T);

// A caller's size beyond this is garbage, not a later version; its tail is not looked at.
inline constexpr std::uint32_t kMostGrowth = 1024;

// Copies an option struct by the size its caller was compiled with. NULL gives zeros: all defaults.
template <class T>
int read_struct(const T *from, T &to) {
    if (from == nullptr) {
        return 0;
    }
    const std::uint32_t size = from->struct_size;
    if (size < kFirstSize<T> || size > sizeof(T) + kMostGrowth) {
        return FSYS_E_BAD_STRUCT;
    }
    const char *bytes = reinterpret_cast<const char *>(from);
    if (size > sizeof(T) && !std::all_of(bytes + sizeof(T), bytes + size,
                                         [](char byte) { return byte == 0; })) {
        return FSYS_E_BAD_STRUCT;
    }
    std::memcpy(&to, from, std::min<std::size_t>(size, sizeof(T)));
    return 0;
}

// Fills a result struct by the size its caller was compiled with; what is beyond is zeroed.
template <class T>
int write_struct(const T &from, T *to) {
    const std::uint32_t size = to->struct_size;
    if (size < kFirstSize<T> || size > sizeof(T) + kMostGrowth) {
        return FSYS_E_BAD_STRUCT;
    }
    std::memcpy(to, &from, std::min<std::size_t>(size, sizeof(T)));
    if (size > sizeof(T)) {
        std::memset(reinterpret_cast<char *>(to) + sizeof(T), 0, size - sizeof(T));
    }
    to->struct_size = size;
    return 0;
}

// A result struct whose size is wrong is refused before anything is done.
template <class T>
int check_size(const T *to) {
    return to != nullptr && (to->struct_size < kFirstSize<T> ||
                             to->struct_size > sizeof(T) + kMostGrowth)
               ? FSYS_E_BAD_STRUCT
               : 0;
}

}  // namespace libfsys
