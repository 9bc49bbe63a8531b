// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A disk in memory, below the library's storage seam, that knows what is durable and what is not.
//
// Every write, truncation and directory operation is kept as pending until the call that makes it
// durable: fsync and fdatasync of the file, RWF_DSYNC for that write alone, fsync of the directory
// for names (an fsync of a file does NOT make its name durable). crash() gives a disk in one of
// the states that a power loss may leave. It also counts calls and fails the k-th.
//
// Metadata (mode, owner, times, attributes) become durable by fsync, not by fdatasync. A rename between
// directories is one operation: a sync of either directory makes both halves durable, as on a
// file system with a journal. There are no symbolic links.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "backend/syscalls.hpp"
#include "support/random.hpp"

namespace sim {

using libfsys::test::Random;

// What happens to unsynced operations.
enum class Loss {
    all,         // nothing unsynced survives
    none,        // everything does
    prefix,      // in order up to some point, the operation there torn at 512 bytes
    writes,      // each 4 KiB page of each write, each name: there or not, independently
    sectors,     // the same for each 512 bytes
    names_only,  // unsynced data survive, unsynced names do not
    data_lost,   // unsynced names survive, unsynced data do not
};
inline constexpr int kLosses = 7;

struct Fault {
    std::uint64_t at = ~std::uint64_t{0};  // call index, counted by calls()
    int code = 0;                          // negative errno; 0 with `limit`: a short transfer
    bool persistent = false;
    std::size_t limit = 0;                 // short transfer: at most this many bytes
};

class Disk final : public libfsys::Syscalls {
public:
    Disk();
    ~Disk() override;

    std::unique_ptr<Disk> crash(Loss loss, Random &random) const;

    // Before each call that changes something.
    std::function<void()> before_change;
    // From this change on every call fails with -EIO: the process is dead, for nested crashes.
    std::uint64_t die_at = ~std::uint64_t{0};
    bool dead() const { return changes_ >= die_at; }
    std::uint64_t changes() const { return changes_; }
    std::uint64_t calls() const { return calls_; }
    std::uint64_t syncs() const { return syncs_; }
    std::uint64_t syncs_after_fault() const { return syncs_after_fault_; }
    bool fault_fired() const { return fired_; }
    void set_fault(const Fault &fault) {
        fault_ = fault;
        fired_ = false;
        syncs_after_fault_ = 0;
    }
    // Bugs planted below the library: what one that leaves out a sync would do.
    bool ignore_file_syncs = false;
    bool ignore_directory_syncs = false;
    // What flush_device() answers, and how often it was asked.
    int flush_code = 0;
    std::uint64_t flushes() const { return flushes_; }
    // FNV-1a over all operations and their bytes so far: equal for equal runs.
    std::uint64_t trace() const { return trace_; }

    // A file as the running system sees it, for tests that damage one.
    std::vector<std::uint8_t> *contents(const std::string &dir, const std::string &name);
    std::vector<std::string> names(const std::string &dir) const;
    std::size_t open_files() const { return open_.size(); }
    // By path from the root: the bytes, or nullptr; and whether the name is there at all.
    const std::vector<std::uint8_t> *find(const std::string &path);
    bool exists(const std::string &path);
    mode_t mode(const std::string &path);

    ssize_t pread(int fd, void *buffer, std::size_t length, std::uint64_t offset, int rwf) override;
    ssize_t pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                   int rwf) override;
    ssize_t preadv(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf) override;
    ssize_t pwritev(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf) override;
    std::unique_ptr<libfsys::WriteQueue> write_queue(unsigned depth) override;
    int fsync(int fd) override;
    int fdatasync(int fd) override;
    int fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) override;
    int ftruncate(int fd, std::uint64_t length) override;
    int open(int dir, const char *path, int flags, mode_t mode) override;
    int close(int fd) override;
    int fstat(int fd, struct stat *out) override;
    int rename(int from_dir, const char *from, int to_dir, const char *to) override;
    int unlink(int dir, const char *path) override;
    int mkdir(int dir, const char *path, mode_t mode) override;
    int each_name(int dir, const std::function<void(const char *)> &call) override;
    int lock_exclusive(int fd) override;
    int unlock(int fd) override;
    int lock_held(int fd) override;
    int advise(int fd, std::uint64_t offset, std::uint64_t length, int advice) override;
    int share(int fd, std::uint64_t offset, Share how, void **ret) override;
    void unshare(void *address) override;

    int open_beneath(int dir, const char *path, int flags, mode_t mode) override;
    int stat_at(int dir, const char *path, struct stat *out) override;
    int read_link(int dir, const char *path, std::string &text) override;
    int rename_with(int from_dir, const char *from, int to_dir, const char *to,
                    unsigned flags) override;
    int link(int from_dir, const char *from, int to_dir, const char *to) override;
    int rmdir(int dir, const char *path) override;
    int set_mode(int fd, mode_t mode) override;
    int set_owner(int fd, uid_t user, gid_t group) override;
    int set_times(int fd, const timespec times[2]) override;
    int list_attributes(int fd, std::vector<std::string> &names) override;
    int get_attribute(int fd, const char *name, std::string &value) override;
    int set_attribute(int fd, const char *name, const std::string &value) override;
    int remove_attribute(int fd, const char *name) override;
    int clone(int from, int to) override;
    ssize_t copy_range(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                       std::size_t length) override;
    std::int64_t seek(int fd, std::uint64_t offset, int whence) override;
    int sync_file_system(int fd) override;
    int set_lifetime(int fd, std::uint64_t hint) override;
    int flush_device(int fd, std::string &text) override;

private:
    using Bytes = std::vector<std::uint8_t>;
    struct Change {  // of a file's bytes
        std::uint64_t sequence;
        bool truncate;
        std::uint64_t offset;  // or the new size
        Bytes bytes;
        std::vector<bool> gone;  // per 512 bytes: a later durable write covers them
    };
    struct Naming {
        std::uint64_t sequence;
        std::string add;  // empty: none
        int node;
        std::string remove;
    };
    struct Meta {
        mode_t mode = 0;
        uid_t user = 0;
        gid_t group = 0;
        timespec times[2] = {};
        std::map<std::string, std::string> attributes;
    };
    struct Node {
        bool directory = false;
        int parent = 0;
        Bytes now;
        Bytes disk;
        std::vector<Change> pending;
        std::map<std::string, int> names_now;
        std::map<std::string, int> names_disk;
        std::vector<Naming> naming;
        Meta meta_now;
        Meta meta_disk;
    };
    struct OpenFile {
        int node;
        int flags;
        std::uint64_t position = 0;
    };

    // A name: its directory, and what has it now; -1: nothing.
    struct Spot {
        int parent = 0;
        std::string leaf;
        int node = -1;
    };

    int enter(bool change, const char *what);
    int look(int dir, const char *path, Spot &ret);
    // enter() and look().
    int enter(bool change, const char *what, int dir, const char *path, Spot &ret);
    void add_name(const Spot &spot, int node);
    void drop_name(const Spot &spot);
    OpenFile *file(int fd);
    static void apply(Bytes &to, std::uint64_t offset, const std::uint8_t *bytes,
                      std::size_t length);
    void note(const void *bytes, std::size_t length);
    int sync(int fd, const char *what, bool metadata);
    void make_durable(Node &node, bool metadata);
    void make_names_durable(Node &node);
    void fill(int node, struct stat *out) const;
    int at_path(const std::string &path);
    void zero(Node &node, std::uint64_t offset, std::uint64_t length);

    std::vector<Node> nodes_;
    std::map<int, OpenFile> open_;
    std::map<int, int> locks_;  // node -> fd
    int next_fd_ = 100;
    std::uint64_t queues_ = 0;
    std::uint64_t sequence_ = 0;
    std::uint64_t changes_ = 0;
    std::uint64_t calls_ = 0;
    std::uint64_t syncs_ = 0;
    std::uint64_t syncs_after_fault_ = 0;
    std::uint64_t flushes_ = 0;
    std::uint64_t trace_ = 0xcbf29ce484222325u;
    Fault fault_;
    bool fired_ = false;
    std::set<void *> maps_;
};

}  // namespace sim
