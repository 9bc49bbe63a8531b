// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The directory of a journal: names, segment files, spares, the two watermark slots, pins. Knows
// which writes must be durable before which, and nothing of frames.
//
// One object belongs to one Journal, Reader or tool. Not locked: the callers below say which of
// their locks covers it.
#pragma once

#include <fcntl.h>

#include <memory>
#include <string>
#include <vector>

#include "backend/syscalls.hpp"
#include "backend/transfer.hpp"
#include "journal/format.hpp"

namespace libfsys::journal {

// 4 KiB aligned, zeroed at allocation; what O_DIRECT needs.
class AlignedBuffer {
public:
    AlignedBuffer() = default;
    explicit AlignedBuffer(std::size_t bytes);
    unsigned char *data() const { return memory_.get(); }
    std::size_t size() const { return size_; }

private:
    struct Free {
        void operator()(unsigned char *memory) const;
    };
    std::unique_ptr<unsigned char[], Free> memory_;
    std::size_t size_ = 0;
};

struct SegmentFile {
    Lsn first_lsn = 0;
    std::uint64_t number = 0;

    FileName name() const { return segment_name(first_lsn, number); }
};

struct Listing {
    std::vector<SegmentFile> segments;  // by number, then by position
    std::vector<std::uint64_t> spares;
    bool mark = false;
    bool pins = false;
    std::size_t foreign = 0;
    std::string foreign_name;  // one of them
};

// How the room of a new segment file is made. Only written zeros make later commits overwrites.
enum class Fill { sparse, extents, zeros };

class Store {
public:
    explicit Store(Syscalls &sys) : sys_(sys) {}
    Store(const Store &) = delete;
    Store &operator=(const Store &) = delete;

    Syscalls &sys() const { return sys_; }
    int dir() const { return dir_.get(); }

    // Opens the directory; with `create` makes it when absent and syncs its parent. Neither leaves
    // the directory `root`, when there is one.
    int open_dir(const std::string &path, bool create, int root = -1);
    int lock();          // -EAGAIN: another writer
    // Releases the lock also when a fork child still holds the descriptor. close_all() does not:
    // in a fork child the lock is the parent's.
    void unlock() {
        if (lock_) {
            sys_.unlock(lock_.get());
        }
    }
    void close_all() {
        mark_.reset();
        lock_.reset();
        dir_.reset();
    }
    int writer_alive();  // 1 or 0, or a code
    int list(Listing &ret);
    int sync_dir() { return sync_file(sys_, dir_.get(), false); }

    int open_segment(const char *name, int flags, Fd &ret);
    int create_new(const char *name) { return open_file(name, O_RDWR | O_CREAT | O_EXCL); }
    // Reads a header past the page cache where possible. 0; -EBADMSG when the block is no header;
    // or the error of reading.
    int read_header(const char *name, SegmentHeader &ret);
    int remove(const char *name) {
        return uninterrupted([&] { return sys_.unlink(dir_.get(), name); });
    }
    int rename(const char *from, const char *to) {
        return uninterrupted([&] { return sys_.rename(dir_.get(), from, dir_.get(), to); });
    }
    int stat(int fd, struct stat &ret) {
        return uninterrupted([&] { return sys_.fstat(fd, &ret); });
    }

    // -- watermark
    int create_mark();
    int open_mark(bool writable);
    // 0, or -EBADMSG when neither slot is valid.
    int read_slots(Slot &ret);
    int write_hot(const Slot &slot, bool durable);  // slot 0 only: the commits' watermark
    int write_both(Slot &slot);  // raises the sequence; durable, one slot after the other
    int share_live(Syscalls::Share how, void **ret) {
        return uninterrupted([&] { return sys_.share(mark_.get(), kLiveOffset, how, ret); });
    }

    // -- segments. A spare has its full length written (or as `zero` says) and durable before it
    // is counted as one; the header block is written and durable before the segment gets its name.
    // So: a segment file with a bad header is damage, never a torn creation.
    int make_spare(std::uint64_t id, std::uint64_t file_bytes, Fill fill);
    int open_spare(std::uint64_t id, bool direct, Fd &ret) {
        return open_segment(spare_name(id), O_RDWR | (direct ? O_DIRECT : 0), ret);
    }
    // Writes the header (its crc is filled in) into an open spare and gives it its name; durable.
    int activate(std::uint64_t spare_id, int fd, SegmentHeader &header);
    // Opens for writing without O_DIRECT, cuts to `bytes`, makes that durable.
    int cut_file(const char *name, std::uint64_t bytes);
    // Copies [from, to) of a segment file into a new file, durable with its name.
    int keep_aside(const char *segment, std::uint64_t from, std::uint64_t to, const char *kept);

    // Replaces a small file: all old or all new.
    int write_small(const char *name, const char *temp, const std::string &text);
    int read_small(const char *name, std::string &ret);

private:
    int open_below(int root, const std::string &path);
    int open_file(const char *name, int flags);  // in the directory
    int resize(int fd, std::uint64_t bytes) {
        return uninterrupted([&] { return sys_.ftruncate(fd, bytes); });
    }

    Syscalls &sys_;
    Fd dir_;
    Fd lock_;
    Fd mark_;
};

}  // namespace libfsys::journal
