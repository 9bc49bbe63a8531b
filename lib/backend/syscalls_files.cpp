// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The real system calls that whole files need: names, metadata, copies. Stateless; any thread.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "backend/syscalls.hpp"
#include "device/flush.hpp"

namespace libfsys {
namespace {

// linux/fcntl.h has it since 4.13; its value is F_LINUX_SPECIFIC_BASE + 12.
constexpr int kSetRwHint = 1024 + 12;

template <class T>
T checked(T value) {
    return value < 0 ? static_cast<T>(-errno) : value;
}

// An O_PATH descriptor has no attributes of its own (EBADF), but its name in /proc leads to the
// inode and nowhere else.
class InodeName {
public:
    explicit InodeName(int fd) { std::snprintf(text_, sizeof text_, "/proc/self/fd/%d", fd); }
    const char *text() const { return text_; }

private:
    char text_[32];
};

// Calls `get(buffer, size)` with room that grows until it fits.
template <class Get>
int read_growing(std::string &value, Get &&get) {
    value.resize(256);
    for (int attempt = 0; attempt < 16; ++attempt) {
        const ssize_t n = get(value.data(), value.size());
        if (n >= 0) {
            value.resize(static_cast<std::size_t>(n));
            return 0;
        }
        if (errno != ERANGE) {
            return -errno;
        }
        value.resize(value.size() * 4);
    }
    return -ERANGE;
}

}  // namespace

int Syscalls::stat_at(int dir, const char *path, struct stat *out) {
    return checked(::fstatat(dir, path, out, AT_SYMLINK_NOFOLLOW));
}

int Syscalls::read_link(int dir, const char *path, std::string &text) {
    text.resize(PATH_MAX);
    const ssize_t n = ::readlinkat(dir, path, text.data(), text.size());
    if (n < 0) {
        return -errno;
    }
    if (static_cast<std::size_t>(n) == text.size()) {
        return -ENAMETOOLONG;
    }
    text.resize(static_cast<std::size_t>(n));
    return 0;
}

int Syscalls::rename_with(int from_dir, const char *from, int to_dir, const char *to,
                          unsigned flags) {
    return checked(::renameat2(from_dir, from, to_dir, to, flags));
}

int Syscalls::link(int from_dir, const char *from, int to_dir, const char *to) {
    return checked(::linkat(from_dir, from, to_dir, to, 0));
}

int Syscalls::rmdir(int dir, const char *path) {
    return checked(::unlinkat(dir, path, AT_REMOVEDIR));
}

int Syscalls::set_mode(int fd, mode_t mode) { return checked(::fchmod(fd, mode)); }

int Syscalls::set_owner(int fd, uid_t user, gid_t group) {
    return checked(::fchown(fd, user, group));
}

int Syscalls::set_times(int fd, const timespec times[2]) { return checked(::futimens(fd, times)); }

int Syscalls::list_attributes(int fd, std::vector<std::string> &names) {
    std::string list;
    int code = read_growing(list, [&](char *to, std::size_t size) {
        const ssize_t n = ::flistxattr(fd, to, size);
        return n < 0 && errno == EBADF ? ::listxattr(InodeName(fd).text(), to, size) : n;
    });
    names.clear();
    for (std::size_t at = 0; code == 0 && at < list.size();) {
        names.emplace_back(list.c_str() + at);
        at += names.back().size() + 1;
    }
    return code;
}

int Syscalls::get_attribute(int fd, const char *name, std::string &value) {
    return read_growing(value, [&](char *to, std::size_t size) {
        const ssize_t n = ::fgetxattr(fd, name, to, size);
        return n < 0 && errno == EBADF ? ::getxattr(InodeName(fd).text(), name, to, size) : n;
    });
}

int Syscalls::set_attribute(int fd, const char *name, const std::string &value) {
    return checked(::fsetxattr(fd, name, value.data(), value.size(), 0));
}

int Syscalls::remove_attribute(int fd, const char *name) {
    return checked(::fremovexattr(fd, name));
}

int Syscalls::clone(int from, int to) { return checked(::ioctl(to, FICLONE, from)); }

ssize_t Syscalls::copy_range(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                             std::size_t length) {
    auto in = static_cast<loff_t>(from_offset);
    auto out = static_cast<loff_t>(to_offset);
    return checked(::copy_file_range(from, &in, to, &out, length, 0));
}

std::int64_t Syscalls::seek(int fd, std::uint64_t offset, int whence) {
    return checked(static_cast<std::int64_t>(::lseek(fd, static_cast<off_t>(offset), whence)));
}

int Syscalls::sync_file_system(int fd) { return checked(::syncfs(fd)); }

int Syscalls::set_lifetime(int fd, std::uint64_t hint) {
    return checked(::fcntl(fd, kSetRwHint, &hint));
}

int Syscalls::flush_device(int fd, std::string &text) {
    device::FlushOutcome outcome = device::flush_disks(fd);
    text = std::move(outcome.text);
    return outcome.code;
}

}  // namespace libfsys
