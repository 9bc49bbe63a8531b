// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the kernel says of an open file beyond stat(2): its file system's name, its limits for
// direct IO and for atomic writes. Any thread; descriptors opened with O_PATH are allowed.
#pragma once

#include <cstdint>

namespace libfsys {

struct FileSystem {
    std::uint32_t magic;
    const char *name;
    // A buffered write to cached pages completes inside io_uring_enter. Elsewhere the kernel hands
    // it to a worker thread (ext4 answers EAGAIN to a non-blocking buffered write, always).
    bool ring_writes;
    // Where the bytes are kept.
    enum class Store : std::uint8_t { disk, memory, server, opaque } store;
};

// The file system of a descriptor, or nullptr when it is none of the list.
const FileSystem *file_system_of(int fd);

struct IoLimits {
    // O_DIRECT alignment, bytes (STATX_DIOALIGN, Linux 6.1). Known and 0: no direct IO on the file.
    bool direct_known = false;
    std::uint32_t mem_align = 0;
    std::uint32_t offset_align = 0;
    // RWF_ATOMIC writes, bytes (STATX_WRITE_ATOMIC, Linux 6.11). Known and 0: none on the file.
    bool atomic_known = false;
    std::uint32_t atomic_min = 0;
    std::uint32_t atomic_max = 0;
    std::uint32_t atomic_segments = 0;
    std::uint32_t atomic_max_fast = 0;  // by the device alone (Linux 6.16)
};

IoLimits io_limits_of(int fd);

}  // namespace libfsys
