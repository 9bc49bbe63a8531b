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
// A result struct whose size is wrong is refused before anything is done.
template <class T>
int check_size(const T *to) {
    return to != nullptr && (to->struct_size < kFirstSize<T> ||
                             to->struct_size > sizeof(T) + kMostGrowth)
               ? FSYS_E_BAD_STRUCT
               : 0;
}
void write_report(const journal::RecoveryReport &from, fsys_journal_report *to);
// Paths are opened from the working directory, which would lead out of a root.
inline int check_path(const Engine &engine, const char *path) {
    return path == nullptr ? -EINVAL : engine.root_fd >= 0 ? -EOPNOTSUPP : 0;
}
template <std::size_t N>
void copy_text(const std::string &from, char (&to)[N]) {
    to[from.copy(to, N - 1)] = '\0';
}

}  // namespace libfsys
