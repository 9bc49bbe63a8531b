// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a new file takes over from the one whose place it takes.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "backend/syscalls.hpp"

namespace libfsys::files {

struct KeepPolicy {
    std::uint32_t keep = 0;  // FSYS_KEEP_* bits, none for DEFAULT or NOTHING
    bool try_all = false;    // what may not be set is reported
    bool try_owner = false;  // the same for the owner alone
};

// The bits behind an fsys_replace_options::keep. `otherwise` is what DEFAULT means.
KeepPolicy keep_policy(std::uint32_t keep, std::uint32_t flags, std::uint32_t otherwise);

// Puts the metadata of `from` (an open descriptor, O_PATH will do, and its stat) on `to`. Nothing
// is made durable. `changed` tells whether anything was set, `what` names what a failure was about.
int keep_metadata(Syscalls &sys, const KeepPolicy &policy, int from, const struct stat &st, int to,
                  std::uint32_t &not_kept, bool &changed, std::string &what);

// What the owning group of a file with this ACL (the value of system.posix_acl_access) may do:
// 0..7, or -1 when the value makes no sense. st_mode shows the ACL's mask instead.
int group_bits_of_acl(const std::string &acl);

}  // namespace libfsys::files
