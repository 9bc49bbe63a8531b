// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One regular file on its way. Created, published and destroyed by one worker at a time; the
// workers that share a big file only add to `end_`.
#include "copy_target.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace cli {

std::string temporary_beside(const std::string &name)
{
    // Not derived from the last component, which may be 255 bytes long already.
    static std::atomic<std::uint64_t> serial{0};
    const std::size_t slash = name.rfind('/');
    const std::string directory = slash == std::string::npos ? "" : name.substr(0, slash);
    return join(directory, fmt::format(".fsys-copy-{}-{}", getpid(), ++serial));
}

OpenPair::OpenPair(Engine &engine, const CopyOptions &options, const CopyPlan &plan,
                   const Entry &entry)
    : options_(options),
      plan_(plan),
      entry_(entry),
      name_(plan.name_in_target(entry)),
      temporary_(name_)
{
    const int direct = options.direct ? O_DIRECT : 0;
    // A source that is itself named on the command line may be a symbolic link; one that became a
    // link after it was listed is not what was listed.
    const int follow = plan.is_tree ? O_NOFOLLOW : 0;
    // O_NONBLOCK: should it have become a FIFO, opening must not hang. No effect on regular files.
    int fd = open_below(plan.source_root.get(), entry.name,
                        O_RDONLY | O_NONBLOCK | direct | follow);
    if (fd < 0) {
        Failure failure("cannot open", source_path(), fd);
        if (fd == -EINVAL && options.direct) {
            failure.hint("this file system has no O_DIRECT; copy without --direct");
        }
        throw failure;
    }
    const Fd source_fd(fd);
    struct stat facts {};
    if (fstat(fd, &facts) != 0) {
        throw Failure("cannot read the attributes of", source_path(), -errno);
    }
    if (!S_ISREG(facts.st_mode)) {
        throw Failure("no longer a regular file:", source_path());
    }

    fd = target_parent_open(O_EXCL | direct, name_);
    if (fd == -EEXIST && options.force) {
        const Parent parent(plan.target_root.get(), name_);
        if (fstatat(parent.fd(), parent.leaf(), &facts, AT_SYMLINK_NOFOLLOW) == 0) {
            if (S_ISDIR(facts.st_mode)) {
                throw Failure("will not replace the directory", target_path())
                    .hint("by the file " + printable(source_path()));
            }
        }
        temporary_ = temporary_beside(name_);
        fd = target_parent_open(O_EXCL | direct, temporary_);
    }
    if (fd < 0) {
        Failure failure("cannot create", target_path(), fd);
        if (fd == -EEXIST) {
            failure.hint("use --force to replace files");
        } else if (fd == -EINVAL && options.direct) {
            // The kernel may create the name before it finds that O_DIRECT is impossible.
            const Parent parent(plan.target_root.get(), temporary_);
            unlinkat(parent.fd(), parent.leaf(), 0);
            failure.hint("this file system has no O_DIRECT; copy without --direct");
        }
        throw failure;
    }
    target_fd_ = Fd(fd);
    try {
        source_file_ = File::from_fd(engine, source_fd.get(), source_path());
        target_file_ = File::from_fd(engine, target_fd_.get(), target_path());
        if (options.direct) {
            const fsys_file_details source = source_file_.details();
            const fsys_file_details target = target_file_.details();
            const std::uint32_t needed = std::max({source.direct_offset_align,
                                                   target.direct_offset_align, 1u});
            if (options.block % needed != 0) {
                throw Failure(fmt::format("--block must be a multiple of {} for O_DIRECT on",
                                          needed),
                              target_path());
            }
            unit_ = std::max(target.direct_offset_align, 1u);
        }
    } catch (...) {
        // The destructor does not run for a constructor that throws.
        const Parent parent(plan.target_root.get(), temporary_);
        unlinkat(parent.fd(), parent.leaf(), 0);
        throw;
    }
}

OpenPair::~OpenPair()
{
    if (!kept_) {
        const Parent parent(plan_.target_root.get(), temporary_);
        unlinkat(parent.fd(), parent.leaf(), 0);
    }
}

int OpenPair::target_parent_open(int flags, const std::string &name)
{
    // Owner-only until it is complete: its content may be more private than the umask.
    return open_below(plan_.target_root.get(), name, O_WRONLY | O_CREAT | O_NOFOLLOW | flags, 0600);
}

void OpenPair::fail_target(const char *what, int code) const
{
    throw Failure(what, target_path(), code);
}

std::size_t OpenPair::write_length(std::size_t length) const
{
    return (length + unit_ - 1) / unit_ * unit_;
}

void OpenPair::written(std::uint64_t end)
{
    std::uint64_t seen = end_.load(std::memory_order_relaxed);
    while (seen < end && !end_.compare_exchange_weak(seen, end, std::memory_order_relaxed)) {
    }
}

std::uint64_t OpenPair::copy_tail(std::byte *buffer, std::size_t block, std::uint64_t from)
{
    std::uint64_t copied = 0;
    for (;;) {
        const std::int64_t got = fsys_read(source(), buffer, block, from + copied, 0);
        if (got < 0) {
            throw Failure("cannot read", source_path(), static_cast<int>(got),
                          static_cast<std::int64_t>(from + copied));
        }
        const auto length = static_cast<std::size_t>(got);
        if (length == 0) {
            return copied;
        }
        const std::size_t padded = write_length(length);
        std::memset(buffer + length, 0, padded - length);
        const std::int64_t put = fsys_write(target(), buffer, padded, from + copied, 0);
        if (put < 0) {
            throw Failure("cannot write", target_path(), static_cast<int>(put),
                          static_cast<std::int64_t>(from + copied));
        }
        copied += length;
        written(from + copied);
        if (length < block) {
            return copied;
        }
    }
}

void OpenPair::set_attributes()
{
    if (options_.direct && end() % unit_ != 0 &&
        ftruncate(target_fd_.get(), static_cast<off_t>(end())) != 0) {
        fail_target("cannot set the length of", -errno);
    }
    if (fchmod(target_fd_.get(), entry_.mode) != 0) {
        fail_target("cannot set the permissions of", -errno);
    }
    const timespec times[2] = {entry_.accessed, entry_.modified};
    if (futimens(target_fd_.get(), times) != 0) {
        fail_target("cannot set the times of", -errno);
    }
}

void OpenPair::publish()
{
    // Some file systems report a failed write-back at close only.
    if (const int code = target_file_.close(); code != 0) {
        fail_target("cannot close", code);
    }
    if (temporary_ != name_) {
        const Parent from(plan_.target_root.get(), temporary_);
        const Parent to(plan_.target_root.get(), name_);
        if (renameat(from.fd(), from.leaf(), to.fd(), to.leaf()) != 0) {
            fail_target("cannot replace", -errno);
        }
    }
    kept_ = true;
}

}  // namespace cli
