// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// statx(2) and statfs(2) of a descriptor. Stateless; any thread.

#include "platform/file_facts.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace libfsys {
namespace {

using Store = FileSystem::Store;

constexpr FileSystem kFileSystems[] = {
    {EXT4_SUPER_MAGIC, "ext4", false, Store::disk},  // ext2 and ext3 have the same number
    {0x58465342, "xfs", true, Store::disk},
    {BTRFS_SUPER_MAGIC, "btrfs", true, Store::disk},
    {TMPFS_MAGIC, "tmpfs", false, Store::memory},
    {RAMFS_MAGIC, "ramfs", false, Store::memory},
    {OVERLAYFS_SUPER_MAGIC, "overlay", false, Store::opaque},
    {NFS_SUPER_MAGIC, "nfs", false, Store::server},
    {SMB2_SUPER_MAGIC, "smb", false, Store::server},
    {CIFS_SUPER_MAGIC, "cifs", false, Store::server},
    {CEPH_SUPER_MAGIC, "ceph", false, Store::server},
    {V9FS_MAGIC, "9p", false, Store::server},
    {F2FS_SUPER_MAGIC, "f2fs", false, Store::disk},
    {MSDOS_SUPER_MAGIC, "vfat", false, Store::disk},
    {0x2011bab0, "exfat", false, Store::disk},
    {0x7366746e, "ntfs3", false, Store::disk},
    {0x65735546, "fuse", false, Store::server},
    {0x2fc12fc1, "zfs", false, Store::opaque},
    {0xca451a4e, "bcachefs", false, Store::opaque},
    {PROC_SUPER_MAGIC, "proc", false, Store::memory},
    {SYSFS_MAGIC, "sysfs", false, Store::memory},
    {PIPEFS_MAGIC, "pipefs", false, Store::memory},
    {SOCKFS_MAGIC, "sockfs", false, Store::memory},
};

// Debian 12's linux/stat.h ends before these; the layout is that of statx(2).
constexpr unsigned kStatxDioalign = 0x2000;      // Linux 6.1
constexpr unsigned kStatxWriteAtomic = 0x10000;  // Linux 6.11
constexpr std::size_t kMask = 0x00;
constexpr std::size_t kDioMemAlign = 0x98;
constexpr std::size_t kDioOffsetAlign = 0x9c;
constexpr std::size_t kAtomicMin = 0xa8;
constexpr std::size_t kAtomicMax = 0xac;
constexpr std::size_t kAtomicSegments = 0xb0;
constexpr std::size_t kAtomicMaxOpt = 0xb8;  // Linux 6.16, zero before

}  // namespace

const FileSystem *file_system_of(int fd) {
    struct statfs fs {};
    if (::fstatfs(fd, &fs) != 0) {
        return nullptr;
    }
    for (const FileSystem &known : kFileSystems) {
        if (known.magic == static_cast<std::uint32_t>(fs.f_type)) {
            return &known;
        }
    }
    return nullptr;
}

IoLimits io_limits_of(int fd) {
    IoLimits out;
    alignas(8) unsigned char raw[256] = {};
    // Through syscall(2): glibc 2.36 knows the call, its struct ends before these fields.
    if (::syscall(SYS_statx, fd, "", AT_EMPTY_PATH, kStatxDioalign | kStatxWriteAtomic, raw) != 0) {
        return out;
    }
    const auto field = [&raw](std::size_t at) {
        std::uint32_t value = 0;
        std::memcpy(&value, raw + at, sizeof value);
        return value;
    };
    const std::uint32_t mask = field(kMask);
    if ((mask & kStatxDioalign) != 0) {
        out.direct_known = true;
        out.mem_align = field(kDioMemAlign);
        out.offset_align = field(kDioOffsetAlign);
    }
    if ((mask & kStatxWriteAtomic) != 0) {
        out.atomic_known = true;
        out.atomic_min = field(kAtomicMin);
        out.atomic_max = field(kAtomicMax);
        out.atomic_segments = field(kAtomicSegments);
        out.atomic_max_fast = field(kAtomicMaxOpt);
    }
    return out;
}

}  // namespace libfsys
