// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A source tree as a list, and access to names below a directory whose paths may be longer than
// PATH_MAX.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace cli {

struct Entry {
    enum class Kind : std::uint8_t { kFile, kDirectory, kSymlink };

    Kind kind;
    mode_t mode;           // permission bits
    std::uint64_t size;    // regular files, when they were listed
    timespec accessed;
    timespec modified;
    std::string name;      // relative to the root, "" for the root itself
};

struct Tree {
    std::vector<Entry> entries;         // a directory before what is in it, siblings by name
    std::vector<std::string> skipped;   // sockets, FIFOs and devices, which are not copied
    std::uint64_t bytes = 0;
    std::uint64_t files = 0;
    std::uint64_t directories = 0;
    std::uint64_t symlinks = 0;
};

// Lists what is below the directory `root_fd`, root first. `display` is the root's name in
// messages; `note` is called now and then with the number of entries so far and may throw.
Tree list_tree(int root_fd, const std::string &display,
               const std::function<void(std::size_t)> &note);

Entry describe(const struct stat &facts, std::string name);

// openat(2) for relative names of any length; O_CLOEXEC is added. The descriptor or -errno.
int open_below(int root_fd, const std::string &name, int flags, mode_t mode = 0);

// The directory that holds `name` below `root_fd`, for the *at calls that take a last component:
// usable as (fd, leaf()) while the object lives.
class Parent {
public:
    Parent(int root_fd, const std::string &name);
    ~Parent();
    Parent(const Parent &) = delete;
    Parent &operator=(const Parent &) = delete;

    int fd() const { return fd_; }  // or -errno
    const char *leaf() const { return leaf_.c_str(); }

private:
    int fd_;
    bool owned_ = false;
    std::string leaf_;
};

// What readlink(2) gives, of any length; throws Failure.
std::string read_link(int root_fd, const std::string &name, const std::string &display);

std::string join(const std::string &directory, const std::string &name);

}  // namespace cli
