// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Calls on names and their directories, each with its durability.
#pragma once

#include <string>

#include "file/where.hpp"
#include "fsys/files.h"

namespace libfsys::files {

// An fsys_path_options, checked, and where its paths begin.
struct PathSettings {
    Where where{};
    std::uint32_t flags = 0;
    std::uint32_t durability = FSYS_DURABILITY_FULL;
    std::uint32_t mode = 0;  // 0: the default of the call
    Detail detail{nullptr, 0};

    bool has(std::uint32_t flag) const { return (flags & flag) != 0; }
    bool syncs() const { return durability >= FSYS_DURABILITY_DATA; }
};

// Each returns 0 or a code, with a sentence in `settings.detail`. Any thread.
int append(Syscalls &sys, PathSettings &settings, const std::string &path, const void *data,
           std::size_t length, std::uint64_t *ret_offset);
int rename(Syscalls &sys, PathSettings &settings, const std::string &from, const std::string &to);
int link(Syscalls &sys, PathSettings &settings, const std::string &from, const std::string &to);
int unlink(Syscalls &sys, PathSettings &settings, const std::string &path);
int rmdir(Syscalls &sys, PathSettings &settings, const std::string &path);
int mkdir(Syscalls &sys, PathSettings &settings, const std::string &path);
int sync_path(Syscalls &sys, PathSettings &settings, const std::string &path);
int sweep(Syscalls &sys, PathSettings &settings, const std::string &path, std::uint64_t min_age_ns,
          std::uint32_t &removed);
// `ret` is malloc()ed, with a NUL behind the bytes.
int read_file(Syscalls &sys, PathSettings &settings, const std::string &path,
              std::uint64_t max_bytes, void **ret, std::size_t *ret_length);

// Syncs as the class says, without the device.
int sync_fd(Syscalls &sys, int fd, std::uint32_t durability);

}  // namespace libfsys::files
