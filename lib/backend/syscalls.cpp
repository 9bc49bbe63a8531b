// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The real system calls behind the seam. Stateless; any thread.

#include "backend/syscalls.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace libfsys {
namespace {

template <class T>
T checked(T value) {
    return value < 0 ? static_cast<T>(-errno) : value;
}

}  // namespace

ssize_t Syscalls::pread(int fd, void *buffer, std::size_t length, std::uint64_t offset, int rwf) {
    if (offset == kStreamOffset) {
        return checked(::read(fd, buffer, length));
    }
    if (rwf == 0) {
        return checked(::pread(fd, buffer, length, static_cast<off_t>(offset)));
    }
    const iovec iov{buffer, length};
    return checked(::preadv2(fd, &iov, 1, static_cast<off_t>(offset), rwf));
}

ssize_t Syscalls::pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                         int rwf) {
    if (offset == kStreamOffset) {
        return checked(::write(fd, buffer, length));
    }
    if (rwf == 0) {
        return checked(::pwrite(fd, buffer, length, static_cast<off_t>(offset)));
    }
    const iovec iov{const_cast<void *>(buffer), length};
    return checked(::pwritev2(fd, &iov, 1, static_cast<off_t>(offset), rwf));
}

// An offset of -1 makes preadv2 and pwritev2 use the descriptor's own position, see readv(2).
ssize_t Syscalls::preadv(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf) {
    return checked(::preadv2(fd, iov, count, static_cast<off_t>(offset), rwf));
}

ssize_t Syscalls::pwritev(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf) {
    return checked(::pwritev2(fd, iov, count, static_cast<off_t>(offset), rwf));
}

std::unique_ptr<WriteQueue> Syscalls::write_queue(unsigned) {
    return nullptr;
}

int Syscalls::fsync(int fd) { return checked(::fsync(fd)); }

int Syscalls::fdatasync(int fd) { return checked(::fdatasync(fd)); }

int Syscalls::fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) {
    return checked(::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length)));
}

int Syscalls::ftruncate(int fd, std::uint64_t length) {
    return checked(::ftruncate(fd, static_cast<off_t>(length)));
}

int Syscalls::open(int dir, const char *path, int flags, mode_t mode) {
    return checked(::openat(dir, path, flags | O_CLOEXEC, mode));
}

int Syscalls::open_beneath(int dir, const char *path, int flags, mode_t mode) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
    how.mode = (flags & O_CREAT) != 0 ? mode : 0;  // openat2(2): mode without O_CREAT is EINVAL
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    // EAGAIN means that a rename raced with the walk and the kernel could not be sure; openat2(2)
    // asks for a retry. Bounded, because a hostile renamer could keep it up.
    for (int attempt = 0;; ++attempt) {
        const auto fd = ::syscall(SYS_openat2, dir, path, &how, sizeof how);
        if (fd >= 0) {
            return static_cast<int>(fd);
        }
        if (errno != EAGAIN || attempt == 16) {
            return -errno;
        }
    }
}

// Linux frees the number even when close reports EINTR or EIO, so it is never retried.
int Syscalls::close(int fd) { return checked(::close(fd)); }

int Syscalls::fstat(int fd, struct stat *out) { return checked(::fstat(fd, out)); }

IoLimits Syscalls::io_limits(int fd) { return io_limits_of(fd); }

int Syscalls::rename(int from_dir, const char *from, int to_dir, const char *to) {
    return checked(::renameat(from_dir, from, to_dir, to));
}

int Syscalls::unlink(int dir, const char *path) { return checked(::unlinkat(dir, path, 0)); }

int Syscalls::mkdir(int dir, const char *path, mode_t mode) {
    return checked(::mkdirat(dir, path, mode));
}

int Syscalls::each_name(int dir, const std::function<void(const char *)> &call) {
    // fdopendir takes the descriptor over, so it gets one of its own (with its own position).
    const int own = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (own < 0) {
        return -errno;
    }
    struct Close {
        void operator()(DIR *stream) const { ::closedir(stream); }
    };
    const std::unique_ptr<DIR, Close> stream(::fdopendir(own));  // `call` may find no memory
    if (stream == nullptr) {
        const int code = -errno;
        ::close(own);
        return code;
    }
    for (;;) {
        errno = 0;
        const dirent *entry = ::readdir(stream.get());
        if (entry == nullptr) {
            break;
        }
        if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) {
            call(entry->d_name);
        }
    }
    return -errno;
}

int Syscalls::list(int dir, std::vector<std::string> &names) {
    names.clear();
    return each_name(dir, [&names](const char *name) { names.emplace_back(name); });
}

int Syscalls::lock_exclusive(int fd) {
    struct flock region{};
    region.l_type = F_WRLCK;
    region.l_whence = SEEK_SET;
    const int code = checked(::fcntl(fd, F_OFD_SETLK, &region));
    return code == -EACCES ? -EAGAIN : code;
}

int Syscalls::advise(int fd, std::uint64_t offset, std::uint64_t length, int advice) {
    return -::posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(length), advice);
}

int Syscalls::unlock(int fd) {
    struct flock region{};
    region.l_type = F_UNLCK;
    region.l_whence = SEEK_SET;
    return checked(::fcntl(fd, F_OFD_SETLK, &region));
}

int Syscalls::lock_held(int fd) {
    struct flock region{};
    region.l_type = F_WRLCK;
    region.l_whence = SEEK_SET;
    const int code = checked(::fcntl(fd, F_OFD_GETLK, &region));
    return code < 0 ? code : region.l_type == F_UNLCK ? 0 : 1;
}

namespace {

// How a file names shared memory. The token stands at the end of the memory as well: an id alone
// may have been given to something else since, or mean something else in another IPC namespace.
struct SharedName {
    char magic[8];
    std::int64_t id;
    std::uint64_t token[2];
};
constexpr char kSharedMagic[8] = {'F', 'S', 'Y', 'S', 'S', 'H', 'M', '1'};
constexpr std::size_t kTokenAt = kSharedBytes - sizeof(SharedName::token);

// A segment that is marked for destruction can still be attached while others are (Linux only,
// shmctl(2)); it goes with its last process, however that ends.
void *attach(const SharedName &name, int flags) {
    void *address = ::shmat(static_cast<int>(name.id), nullptr, flags);
    if (address == reinterpret_cast<void *>(-1)) {
        return nullptr;
    }
    struct shmid_ds info{};
    if (::shmctl(static_cast<int>(name.id), IPC_STAT, &info) == 0 &&
        info.shm_segsz == kSharedBytes &&
        std::memcmp(static_cast<char *>(address) + kTokenAt, name.token, sizeof name.token) == 0) {
        return address;
    }
    ::shmdt(address);
    return nullptr;
}

void *new_segment(mode_t mode, SharedName &name) {
    if (::getrandom(name.token, sizeof name.token, 0) != sizeof name.token) {
        return nullptr;
    }
    // Whoever may write the file may write the memory. 0600 for the owner in any case.
    const int id = ::shmget(IPC_PRIVATE, kSharedBytes, IPC_CREAT | 0600 | (mode & 0666));
    if (id < 0) {
        return nullptr;
    }
    void *address = ::shmat(id, nullptr, 0);
    ::shmctl(id, IPC_RMID, nullptr);
    if (address == reinterpret_cast<void *>(-1)) {
        return nullptr;
    }
    std::memcpy(static_cast<char *>(address) + kTokenAt, name.token, sizeof name.token);
    std::memcpy(name.magic, kSharedMagic, sizeof name.magic);
    name.id = id;
    return address;
}

}  // namespace

int Syscalls::share(int fd, std::uint64_t offset, Share how, void **ret) {
    SharedName name{};
    ssize_t n = pread(fd, &name, sizeof name, offset, 0);
    if (n < 0) {
        return static_cast<int>(n);
    }
    void *address = nullptr;
    if (n == sizeof name && std::memcmp(name.magic, kSharedMagic, sizeof name.magic) == 0) {
        address = attach(name, how == Share::observer ? SHM_RDONLY : 0);
    }
    if (address == nullptr && how != Share::owner) {
        return -ENOENT;
    }
    if (address == nullptr) {
        struct stat info{};
        if (const int code = fstat(fd, &info); code < 0) {
            return code;
        }
        name = {};
        address = new_segment(info.st_mode, name);
        n = pwrite(fd, &name, sizeof name, offset, 0);
        if (n != sizeof name) {
            if (address != nullptr) {
                ::shmdt(address);
            }
            return n < 0 ? static_cast<int>(n) : -EIO;
        }
    }
    if (address == nullptr) {
        address = ::mmap(nullptr, kSharedBytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (address == MAP_FAILED) {
            return -errno;
        }
    }
    *ret = address;
    return 0;
}

void Syscalls::unshare(void *address) {
    if (::shmdt(address) != 0) {
        ::munmap(address, kSharedBytes);
    }
}

namespace {
class RealSyscalls final : public Syscalls {
    std::unique_ptr<WriteQueue> write_queue(unsigned depth) override {
        return make_aio_queue(depth);
    }
};
}  // namespace

Syscalls &real_syscalls() {
    static RealSyscalls instance;
    return instance;
}

}  // namespace libfsys
