// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From a path to the directory that holds its last component, which is then all that names are
// changed through: nobody can move the ground between a check and its use.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>

#include "backend/transfer.hpp"
#include "platform/text.hpp"

namespace libfsys::files {

// Where paths begin, and whether they may lead out.
struct Where {
    int base;
    bool beneath;
};

// A directory of names that change.
struct Directory {
    Fd fd;
    std::string path;  // as the caller said it, "." for the start itself
    dev_t device = 0;
    ino_t inode = 0;
    bool same_as(const Directory &other) const {
        return device == other.device && inode == other.inode;
    }
};

int open_at(Syscalls &sys, const Where &where, const char *path, int flags, mode_t mode);

// Opens for syncing, which takes read permission; with `names_only` what can be had.
int open_directory(Syscalls &sys, const Where &where, const std::string &path, bool names_only,
                   Directory &ret);

// "a/b/c" is "a/b" and "c"; "c" is "." and "c"; slashes behind are kept apart.
struct Split {
    std::string directory;
    std::string leaf;
    bool slash = false;  // behind the leaf
    bool is_name() const { return !leaf.empty() && leaf != "." && leaf != ".."; }
};
Split split(const std::string &path);

// The directory and name of a path whose last component must be a name, and is not followed.
int open_parent(Syscalls &sys, const Where &where, const std::string &path, bool names_only,
                bool slash_allowed, Directory &directory, std::string &leaf);

// What a path leads to: its last component followed while it is a symbolic link.
struct Found {
    Directory directory;
    std::string leaf;
    bool exists = false;
    struct stat st {};
};
// 0; -ELOOP for a link with `nofollow`; -EINVAL, -EISDIR when it is no regular file.
// `at_directory` tells whether opening a directory failed, or the look at the name.
int find_file(Syscalls &sys, const Where &where, const std::string &path, bool nofollow,
              bool names_only, Found &ret, bool &at_directory);

}  // namespace libfsys::files
