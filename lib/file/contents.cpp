// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Appending to a file, reading a whole one, and sweeping up temporary files. Any thread, on the
// calling thread; nothing outlives a call.

#include <fcntl.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "file/replace.hpp"
#include "file/verb.hpp"

namespace libfsys::files {
namespace {

constexpr int kQuiet = O_NONBLOCK | O_NOCTTY;
constexpr std::size_t kMostPiece = std::size_t{1} << 30;

// Writes at the end, one call if the kernel takes it so: a call is not mixed with other appenders'.
// `offset` is where the first byte went, once there is one.
int write_at_end(Syscalls &sys, int fd, const void *data, std::size_t length, bool &any,
                 std::uint64_t &offset) {
    const auto *bytes = static_cast<const unsigned char *>(data);
    constexpr int kMostIdle = 1000;
    for (std::size_t done = 0, idle = 0; done < length;) {
        const ssize_t n =
            sys.pwrite(fd, bytes + done, std::min(length - done, kMostPiece), kStreamOffset, 0);
        if (n > 0) {
            if (!any) {
                // With O_APPEND the position is where this write ended, whoever else appends.
                const std::int64_t end = sys.seek(fd, 0, SEEK_CUR);
                if (end < n) {
                    return end < 0 ? static_cast<int>(end) : -EIO;
                }
                offset = static_cast<std::uint64_t>(end - n);
                any = true;
            }
            done += static_cast<std::size_t>(n);
            idle = 0;
        } else if (n != 0 && n != -EINTR) {
            return static_cast<int>(n);
        } else if (++idle > kMostIdle) {
            return n == 0 ? -EIO : -EINTR;
        }
    }
    return 0;
}

struct Malloced {
    ~Malloced() { std::free(memory); }
    unsigned char *memory = nullptr;
    std::size_t room = 0;
    // Also for a NUL behind `size` bytes.
    bool grow(std::size_t size) {
        if (size < room) {
            return true;
        }
        void *more = std::realloc(memory, size + 1);
        if (more == nullptr) {
            return false;
        }
        memory = static_cast<unsigned char *>(more);
        room = size + 1;
        return true;
    }
};

}  // namespace

int append(Syscalls &sys, PathSettings &settings, const std::string &path, const void *data,
           std::size_t length, std::uint64_t *ret_offset) {
    Verb verb(sys, settings, "appending to", path);
    Fd file;
    Found found;
    bool created = false;
    // Again: between the look and the opening somebody may make or remove it.
    for (int attempt = 0; !file; ++attempt) {
        bool at_directory = false;
        const int code = find_file(sys, settings.where, path, settings.has(FSYS_PATH_NOFOLLOW),
                                   !settings.syncs(), found, at_directory);
        if (code < 0) {
            return verb.fail(code, at_directory ? "opening its directory" : "looking at what is there");
        }
        created = !found.exists;
        file = Fd(sys, sys.open(found.directory.fd.get(), found.leaf.c_str(),
                                O_WRONLY | O_APPEND | O_NOFOLLOW | kQuiet |
                                    (created ? O_CREAT | O_EXCL : 0),
                                settings.mode == 0 ? 0666 : settings.mode));
        const bool raced = file.get() == (created ? -EEXIST : -ENOENT);
        if (!file && (!raced || attempt == 8)) {
            return verb.fail(file.get(), created ? "creating it" : "opening it");
        }
    }
    bool any = false;
    std::uint64_t offset = 0;
    int code = write_at_end(sys, file.get(), data, length, any, offset);
    if (any && ret_offset != nullptr) {
        *ret_offset = offset;
    }
    if (code < 0) {
        return verb.fail(code, any ? "writing (a part of it is there)" : "writing");
    }
    code = sync_fd(sys, file.get(), settings.durability);
    if (code < 0) {
        return verb.fail(code, "syncing it (the bytes are visible)");
    }
    if (settings.syncs() && (created || settings.has(FSYS_PATH_SYNC_PARENT))) {
        code = sys.fsync(found.directory.fd.get());
        if (code < 0) {
            return verb.fail(code, "syncing its directory (the bytes are visible)");
        }
    }
    return verb.flush_device(file.get());
}

int read_file(Syscalls &sys, PathSettings &settings, const std::string &path,
              std::uint64_t max_bytes, void **ret, std::size_t *ret_length) {
    Verb verb(sys, settings, "reading", path);
    const Fd file(
        sys, open_at(sys, settings.where, path.c_str(),
                     O_RDONLY | kQuiet | (settings.has(FSYS_PATH_NOFOLLOW) ? O_NOFOLLOW : 0), 0));
    if (!file) {
        return verb.fail(file.get(), "opening it");
    }
    struct stat st {};
    int code = sys.fstat(file.get(), &st);
    if (code < 0) {
        return verb.fail(code, "looking at it");
    }
    if (!S_ISREG(st.st_mode)) {
        return verb.fail(S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL, "it is no regular file");
    }
    const std::uint64_t most =
        max_bytes == 0 ? SIZE_MAX / 2 : std::min<std::uint64_t>(max_bytes, SIZE_MAX / 2);
    const auto size = static_cast<std::uint64_t>(st.st_size);
    if (size > most) {
        return verb.fail(-EFBIG, "its length");
    }
    Malloced data;
    std::size_t length = 0;
    // One byte more than it should have, to see the end with the same call; then as far as it goes:
    // the length is a hint that a growing file, or one in /proc, does not keep to.
    std::size_t want = static_cast<std::size_t>(size) + 1;
    for (;;) {
        if (!data.grow(length + want)) {
            return verb.fail(-ENOMEM, "memory for it");
        }
        std::size_t got = 0;
        code = read_fully(sys, file.get(), data.memory + length, want, length, got);
        length += got;
        if (code < 0) {
            return verb.fail(code, "reading");
        }
        if (length > most) {
            return verb.fail(-EFBIG, "its length");
        }
        if (got < want) {
            break;
        }
        want = std::max<std::size_t>(length, 64 << 10);
    }
    data.memory[length] = 0;
    *ret = data.memory;
    *ret_length = length;
    data.memory = nullptr;
    return 0;
}

int sweep(Syscalls &sys, PathSettings &settings, const std::string &path, std::uint64_t min_age_ns,
          std::uint32_t &removed) {
    removed = 0;
    Verb verb(sys, settings, "sweeping", path);
    Directory directory;
    int code = open_directory(sys, settings.where, path, false, directory);
    if (code < 0) {
        return verb.fail(code, "opening it");
    }
    std::vector<std::string> names;
    code = sys.list(directory.fd.get(), names);
    if (code < 0) {
        return verb.fail(code, "listing it");
    }
    constexpr std::uint64_t kDefaultAge = 60'000'000'000;
    const std::uint64_t age = min_age_ns == 0 ? kDefaultAge : min_age_ns;
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    const auto ns = [](const timespec &t) {
        return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
    };
    int first = 0;
    for (const std::string &name : names) {
        if (!is_temp_name(name)) {
            continue;
        }
        struct stat st {};
        code = sys.stat_at(directory.fd.get(), name.c_str(), &st);
        // The change time: unlike the modification time nobody can set it back.
        if (code < 0 || !S_ISREG(st.st_mode) ||
            ns(now) - ns(st.st_ctim) <
                static_cast<std::int64_t>(std::min<std::uint64_t>(age, INT64_MAX))) {
            continue;
        }
        const Fd file(sys,
                      sys.open(directory.fd.get(), name.c_str(), O_RDWR | O_NOFOLLOW | kQuiet, 0));
        code = file.get();
        struct stat opened {};
        if (file) {
            code = sys.lock_exclusive(file.get());
            if (code == -EAGAIN) {
                continue;  // its writer lives
            }
            code = code < 0 ? code : sys.fstat(file.get(), &opened);
            if (code == 0 && (opened.st_ino != st.st_ino || opened.st_dev != st.st_dev)) {
                continue;
            }
            code = code < 0 ? code : sys.unlink(directory.fd.get(), name.c_str());
        }
        if (code == 0) {
            ++removed;
        } else if (code != -ENOENT && first == 0) {
            first = verb.fail(code, ("removing " + name).c_str());
        }
    }
    if (removed != 0 && settings.syncs()) {
        code = sys.fsync(directory.fd.get());
        if (code < 0 && first == 0) {
            first = verb.fail(code, "syncing it");
        }
    }
    return first;
}

}  // namespace libfsys::files
