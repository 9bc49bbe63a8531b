// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the journal's entry points share: options and reports to and fro.
#pragma once

#include <algorithm>
#include <string>

#include "abi/guard.hpp"
#include "abi/handles.hpp"
#include "fsys/journal.h"

namespace libfsys {

// Options with defaults applied and ranges checked that the core does not check itself.
int configure(const fsys_journal_options &o, journal::Options &options, Detail &detail);
void write_report(const journal::RecoveryReport &from, fsys_journal_report *to);
// Paths are opened from the working directory, which would lead out of a root.
inline int check_path(const Engine &engine, const char *path) {
    return path == nullptr ? -EINVAL : engine.root_fd >= 0 ? -EOPNOTSUPP : 0;
}

}  // namespace libfsys
