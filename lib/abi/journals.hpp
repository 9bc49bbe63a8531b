// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the journal's entry points share: options and reports to and fro.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "abi/guard.hpp"
#include "abi/handles.hpp"
#include "fsys/journal.h"

namespace libfsys {

template <>
inline constexpr std::uint32_t kFirstSize<fsys_journal_report> =
    offsetof(fsys_journal_report, rule);

// Options with defaults applied and ranges checked that the core does not check itself.
int configure(const fsys_journal_options &o, journal::Options &options, Detail &detail);
void write_report(const journal::RecoveryReport &from, fsys_journal_report *to);
int give_segments(const std::vector<journal::SegmentInfo> &segments, fsys_journal_segment *ret,
                  std::uint32_t max);
int give_pins(const std::map<std::string, journal::Pin> &pins, fsys_journal_pinned *ret,
              std::uint32_t max);

}  // namespace libfsys
