// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A walk through a directory or tree, name by name.
#pragma once

#include <string>
#include <vector>

#include "file/names.hpp"

namespace libfsys::files {

// One thread at a time. Holds one descriptor, of the directory where it began, however deep the
// tree.
class Scan {
public:
    Scan(Syscalls &sys, std::uint32_t flags) : sys_(sys), flags_(flags) {}
    Scan(const Scan &) = delete;
    Scan &operator=(const Scan &) = delete;

    int begin(PathSettings &settings, const std::string &path);
    // 0, or FSYS_E_NOTHING at the end. `entry.path` stays until the next call.
    int next(fsys_scan_entry &entry);
    void close_in_child() { top_.fd.reset(); }

private:
    struct Level {
        std::string prefix;              // "" or "a/b/"
        std::vector<std::string> names;  // in reverse order: taken from the end
    };
    int enter(const std::string &prefix, const char *path);

    Syscalls &sys_;
    const std::uint32_t flags_;
    Directory top_;
    std::vector<Level> levels_;
    std::string path_;    // of the last entry
    bool enter_ = false;  // it is a directory whose names come next
};

}  // namespace libfsys::files
