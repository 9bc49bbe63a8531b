// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Opening a file: the descriptor, its kind, its alignment, the lane that suits it. Any thread; the
// caller owns the descriptor that comes back.

#include "file/open.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "platform/file_facts.hpp"

namespace libfsys {
namespace {

void find_limits(Engine &engine, TargetFacts &facts) {
    const IoLimits limits = engine.sys.io_limits(facts.fd);
    // Before 6.1 the kernel does not say; a page satisfies every device.
    facts.mem_align = limits.direct_known ? limits.mem_align : 4096;
    facts.offset_align = limits.direct_known ? limits.offset_align : 4096;
    // Without O_DIRECT the kernel refuses every atomic write.
    if (facts.direct && limits.atomic_known) {
        facts.atomic_min = limits.atomic_min;
        facts.atomic_max = limits.atomic_max;
        facts.atomic_segments = limits.atomic_segments;
    }
}

int inspect(Engine &engine, std::uint32_t flags, TargetFacts &facts, Detail &detail) {
    struct stat st{};
    int code = engine.sys.fstat(facts.fd, &st);
    if (code != 0) {
        return detail.say(code, "fstat: %s", std::strerror(-code));
    }
    const bool regular = S_ISREG(st.st_mode);
    facts.stream = (flags & FSYS_FILE_BLOCKING_FD) != 0 || S_ISFIFO(st.st_mode) ||
                   S_ISSOCK(st.st_mode) || (S_ISCHR(st.st_mode) && ::isatty(facts.fd) == 1);
    if (const FileSystem *fs = file_system_of(facts.fd)) {
        std::strncpy(facts.file_system, fs->name, sizeof facts.file_system - 1);
        facts.ring_writes = fs->ring_writes;
    }
    if (regular || S_ISBLK(st.st_mode)) {
        find_limits(engine, facts);
    }
    facts.bounce = facts.direct && (flags & FSYS_FILE_BOUNCE) != 0;
    return 0;
}

}  // namespace

int open_path(Engine &engine, const char *path, std::uint32_t flags, std::uint32_t mode,
              TargetFacts &facts, Detail &detail) {
    facts.writable = (flags & FSYS_FILE_WRITE) != 0;
    facts.readable = (flags & FSYS_FILE_READ) != 0 || !facts.writable;
    if (!facts.writable && (flags & FSYS_FILE_TRUNCATE) != 0) {
        return detail.say(-EINVAL, "'%s': TRUNCATE without WRITE", path);
    }
    if ((flags & FSYS_FILE_EXCLUSIVE) != 0 && (flags & FSYS_FILE_CREATE) == 0) {
        return detail.say(-EINVAL, "'%s': EXCLUSIVE without CREATE", path);
    }
    if ((mode & ~07777u) != 0) {
        return detail.say(-EINVAL, "'%s': mode 0%o has bits beyond 07777", path, mode);
    }
    int how = facts.readable && facts.writable ? O_RDWR : facts.writable ? O_WRONLY : O_RDONLY;
    how |= (flags & FSYS_FILE_CREATE) != 0 ? O_CREAT : 0;
    how |= (flags & FSYS_FILE_EXCLUSIVE) != 0 ? O_EXCL : 0;
    how |= (flags & FSYS_FILE_TRUNCATE) != 0 ? O_TRUNC : 0;
    how |= (flags & FSYS_FILE_DIRECT) != 0 ? O_DIRECT : 0;
    how |= (flags & FSYS_FILE_NOFOLLOW) != 0 ? O_NOFOLLOW : 0;
    // O_NOCTTY: opening a terminal must not make it ours.
    how |= O_NOCTTY;
    facts.direct = (flags & FSYS_FILE_DIRECT) != 0;
    const int fd = engine.root_fd >= 0 ? engine.sys.open_beneath(engine.root_fd, path, how, mode)
                                       : engine.sys.open(AT_FDCWD, path, how, mode);
    if (fd < 0) {
        return detail.say(fd, "opening '%s'%s: %s%s", path,
                          engine.root_fd >= 0 ? " beneath the root" : "", std::strerror(-fd),
                          fd == -EINVAL && facts.direct ? " (no direct IO on this file system?)"
                                                        : "");
    }
    facts.fd = fd;
    const int code = inspect(engine, flags, facts, detail);
    if (code != 0) {
        engine.sys.close(fd);
    }
    return code;
}

int adopt_fd(Engine &engine, int fd, std::uint32_t flags, TargetFacts &facts, Detail &detail) {
    const int status = ::fcntl(fd, F_GETFL);
    if (status < 0) {
        return detail.say(-errno, "descriptor %d: %s", fd, std::strerror(errno));
    }
    if ((status & O_APPEND) != 0) {
        return detail.say(-EINVAL, "descriptor %d is O_APPEND: pwrite(2) would ignore the offset", fd);
    }
    if ((status & O_PATH) != 0) {
        return detail.say(-EBADF, "descriptor %d is O_PATH: no IO is possible on it", fd);
    }
    const int own = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) {
        return detail.say(-errno, "duplicating descriptor %d: %s", fd, std::strerror(errno));
    }
    facts.fd = own;
    facts.readable = (status & O_ACCMODE) != O_WRONLY;
    facts.writable = (status & O_ACCMODE) != O_RDONLY;
    facts.direct = (status & O_DIRECT) != 0;
    const int code = inspect(engine, flags, facts, detail);
    if (code != 0) {
        engine.sys.close(own);
    }
    return code;
}

int describe_file(Engine &engine, const Target &target, fsys_file_details &details) {
    struct stat st{};
    const int code = engine.sys.fstat(target.fd, &st);
    if (code != 0) {
        return code;
    }
    details.flags = (target.readable ? FSYS_FILE_READ : 0) | (target.writable ? FSYS_FILE_WRITE : 0) |
                    (target.direct ? FSYS_FILE_DIRECT : 0);
    details.size = static_cast<std::uint64_t>(st.st_size);
    details.direct_mem_align = target.mem_align;
    details.direct_offset_align = target.offset_align;
    details.read_lane = engine.route(&target, FSYS_OP_READ);
    details.write_lane = engine.route(&target, FSYS_OP_WRITE);
    details.sync_lane = engine.route(&target, FSYS_OP_SYNC);
    details.registered = target.place.load() >= 0 ? 1 : 0;
    std::memcpy(details.file_system, target.file_system, sizeof details.file_system);
    return 0;
}

}  // namespace libfsys
