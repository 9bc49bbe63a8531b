// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What lossfs keeps: a tree as the running system sees it, and beside it the tree that would be
// there after a loss of power. fsync of a file moves its bytes and size from the one to the other,
// fsync of a directory its names; nothing else does. Stricter than any real file system.
//
// Not locked: main.cpp calls it under one mutex. Every call returns 0 (or a count) or -errno.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lossfs {

struct Inode {
    mode_t mode = 0;
    std::uint64_t serial = 0;  // st_ino: the same for the inode's life
    std::uint64_t node = 0;    // name between kernel and server ...
    std::uint64_t life = 0;    // ... given in this life of the volume
    unsigned links = 0;
    timespec modified{};
    std::string target;  // of a symbolic link

    // Bytes of a file. `dirty` has a flag per 512 bytes of the longer of the two.
    std::vector<char> now;
    std::vector<char> disk;
    std::vector<bool> dirty;

    // Names in a directory.
    std::map<std::string, std::shared_ptr<Inode>> names;
    std::map<std::string, std::shared_ptr<Inode>> names_on_disk;

    bool is_directory() const { return S_ISDIR(mode); }
};
using Node = std::shared_ptr<Inode>;

enum class Kind { read, write, fsync, fsyncdir, open, create, rename, unlink, mkdir, truncate,
                  fallocate };
inline constexpr const char *kKindNames[] = {"read",   "write",  "fsync", "fsyncdir",
                                             "open",   "create", "rename", "unlink",
                                             "mkdir",  "truncate", "fallocate"};
inline constexpr std::size_t kKinds = std::size(kKindNames);

class Volume {
public:
    Volume();

    // -- the commands of README.md
    void power_off() { off_ = true; }
    void power_off_after(std::uint64_t changes) { changes_left_ = changes; }
    // Forgets what is not durable. With a seed: each unsynced sector of 512 bytes, each unsynced
    // size, and a prefix of the unsynced changes of names may have reached the disk all the same.
    void power_on(bool seeded, std::uint64_t seed);
    void fail(Kind kind, int error, std::uint64_t skip, std::uint64_t count);
    void set_space(std::uint64_t bytes) { space_left_ = bytes; }
    std::uint64_t changes() const { return changes_; }
    std::uint64_t calls(Kind kind) const { return calls_[static_cast<std::size_t>(kind)]; }
    std::uint64_t life() const { return life_; }

    // -- operations. `life` is the one in which the caller's descriptor was opened.
    const Node &root() const { return root_; }
    int look_up(const Node &dir, const std::string &name, Node &ret) const;
    int make(const Node &dir, const std::string &name, mode_t mode, const std::string &target,
             Node &ret);
    int link(const Node &inode, const Node &dir, const std::string &name);
    int unlink(const Node &dir, const std::string &name, bool directory);
    int rename(const Node &from, const std::string &name, const Node &to,
               const std::string &new_name, unsigned flags);
    int open(const Node &inode, bool truncate);
    int read(const Node &inode, std::uint64_t offset, std::size_t size, const char **ret);
    int write(const Node &inode, std::uint64_t offset, const char *bytes, std::size_t size,
              bool durable, std::uint64_t life);
    int truncate(const Node &inode, std::uint64_t size);
    int fallocate(const Node &inode, int mode, std::uint64_t offset, std::uint64_t length);
    int sync_file(const Node &inode, std::uint64_t life);
    int sync_directory(const Node &inode);
    int set_mode(const Node &inode, mode_t mode);
    int set_time(const Node &inode, const timespec &time);

private:
    struct NameChange {
        Node dir;
        std::string name;
        Node inode;  // null: removed
    };
    using Transaction = std::vector<NameChange>;  // on disk whole or not at all
    struct Fault {
        int error = 0;
        std::uint64_t skip = 0;
        std::uint64_t count = 0;  // 0: for ever
    };

    // Whether the power is on and no fault is due. `change`: it would alter the volume.
    int enter(Kind kind, bool change);
    int grow_allowed(const Inode &inode, std::uint64_t size);
    void commit(Transaction transaction);
    void resize(Inode &inode, std::uint64_t size);
    static void touch(Inode &inode, std::uint64_t from, std::uint64_t to);
    static void store(Inode &inode, std::size_t sector);
    static void write_names(const Transaction &transaction);
    void collect(const Node &dir, std::vector<Node> &all) const;

    Node root_;
    std::vector<Transaction> pending_;
    bool off_ = false;
    std::uint64_t life_ = 1;
    std::uint64_t next_serial_ = 1;
    std::uint64_t changes_ = 0;
    std::uint64_t changes_left_ = ~std::uint64_t{0};
    std::uint64_t space_left_ = ~std::uint64_t{0};
    Fault faults_[kKinds];
    std::uint64_t calls_[kKinds] = {};
};

}  // namespace lossfs
