// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The system calls that touch storage, as a class that a test can replace: by one that fails,
// shortens and delays (tests/fake), or by a simulated disk that loses power (tests/sim). Everything
// above this line does file IO through it or through an AsyncQueue, never directly.
//
// All calls return what the system call returned, or a negative errno; none touches errno's caller.
// Any thread. The base class is the real system.
#pragma once

#include <dirent.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backend/write_queue.hpp"
#include "platform/file_facts.hpp"

namespace libfsys {

// Write all or nothing, RWF_ATOMIC of linux/fs.h since Linux 6.11.
inline constexpr int kRwfAtomic = 0x40;

// Offset that means "the descriptor's own position": pipes, sockets, terminals.
inline constexpr std::uint64_t kStreamOffset = ~std::uint64_t{0};

class Syscalls {
public:
    Syscalls() = default;
    Syscalls(const Syscalls &) = delete;
    Syscalls &operator=(const Syscalls &) = delete;
    virtual ~Syscalls() = default;

    // -- data. `rwf` are RWF_* flags; 0 uses pread/pwrite, which cost 5 % less than preadv2.
    virtual ssize_t pread(int fd, void *buffer, std::size_t length, std::uint64_t offset, int rwf);
    virtual ssize_t pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                           int rwf);
    virtual ssize_t preadv(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf);
    virtual ssize_t pwritev(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf);
    // Direct writes that are not waited for. None by default: what a test counts, fails or delays by a
    // pwrite() of its own must not pass beside it.
    virtual std::unique_ptr<WriteQueue> write_queue(unsigned depth);
    virtual int fsync(int fd);
    virtual int fdatasync(int fd);
    virtual int fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length);
    virtual int ftruncate(int fd, std::uint64_t length);

    // -- names. `dir` may be AT_FDCWD. O_CLOEXEC is always added.
    virtual int open(int dir, const char *path, int flags, mode_t mode);
    virtual int open_beneath(int dir, const char *path, int flags, mode_t mode);
    virtual int close(int fd);
    virtual int fstat(int fd, struct stat *out);
    virtual IoLimits io_limits(int fd);  // all unknown on failure
    virtual int rename(int from_dir, const char *from, int to_dir, const char *to);
    virtual int unlink(int dir, const char *path);
    virtual int mkdir(int dir, const char *path, mode_t mode);
    // Without "." and "..". A name is valid during the call that gets it.
    virtual int each_name(int dir, const std::function<void(const char *)> &call);
    int list(int dir, std::vector<std::string> &names);
    virtual int lock_exclusive(int fd);  // OFD lock; -EAGAIN when held
    virtual int advise(int fd, std::uint64_t offset, std::uint64_t length, int advice);

    // -- the journal's live page, which processes share. `ret` is not written on failure.
    virtual int unlock(int fd);     // for every duplicate of the descriptor, in fork children too
    virtual int lock_held(int fd);  // 1 when another descriptor holds lock_exclusive(), else 0
    // Zeroed memory of kSharedBytes that processes have in common because they know a file: its
    // name stands at `offset` there. Never memory of the file itself: a store into a mapped file
    // whose storage has failed raises SIGBUS and ends the process. The owner gets what members of an
    // earlier owner still hold, or new memory; -ENOENT for others when there is none in reach
    // (another IPC namespace, or no System V shared memory: the owner is then alone with it).
    enum class Share { owner, member, observer };  // an observer may only read
    virtual int share(int fd, std::uint64_t offset, Share how, void **ret);
    virtual void unshare(void *address);

    // -- whole files (syscalls_files.cpp). Names in a directory are never followed when they are
    // symbolic links.
    virtual int stat_at(int dir, const char *path, struct stat *out);
    virtual int read_link(int dir, const char *path, std::string &text);
    virtual int rename_with(int from_dir, const char *from, int to_dir, const char *to,
                            unsigned flags);  // renameat2(2)
    virtual int link(int from_dir, const char *from, int to_dir, const char *to);
    virtual int rmdir(int dir, const char *path);
    virtual int set_mode(int fd, mode_t mode);
    virtual int set_owner(int fd, uid_t user, gid_t group);
    virtual int set_times(int fd, const timespec times[2]);
    // Of a descriptor, which may be O_PATH for the first two.
    virtual int list_attributes(int fd, std::vector<std::string> &names);
    virtual int get_attribute(int fd, const char *name, std::string &value);
    virtual int set_attribute(int fd, const char *name, const std::string &value);
    virtual int remove_attribute(int fd, const char *name);
    virtual int clone(int from, int to);  // FICLONE
    virtual ssize_t copy_range(int from, std::uint64_t from_offset, int to,
                               std::uint64_t to_offset, std::size_t length);
    virtual std::int64_t seek(int fd, std::uint64_t offset, int whence);
    virtual int sync_file_system(int fd);
    virtual int set_lifetime(int fd, std::uint64_t hint);  // F_SET_RW_HINT
    // Flushes the devices underneath, after the file system's own commit; `text` tells the reason of
    // a failure.
    virtual int flush_device(int fd, std::string &text);
};

inline constexpr std::size_t kSharedBytes = 4096;

// The real system, one stateless object.
Syscalls &real_syscalls();

}  // namespace libfsys
