// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Bugs that the crash rigs must catch. With the build option planted_bugs (never shipped) a test
// sets the one that is to misbehave; without it every question folds to false and leaves no code.
#pragma once

namespace libfsys {

enum class Bug {
    none,
    no_sync,              // commits acknowledged without any sync
    no_header_sync,       // a segment named before its header is durable
    no_directory_sync,    // a segment used before its name is durable
    early_frontier,       // durable frontier published before the sync
    sync_retried,         // a failed sync tried again and believed
    epoch_not_raised,     // reopening writes under the old epoch
    crc_skipped,          // payload CRC not checked by readers
    length_before_crc,    // a frame's length believed before its header CRC
    ignore_short_write,   // a short write taken for a whole one
    no_recovery_sync,     // recovered bytes declared durable without a sync
    damage_is_torn,       // the durable_lsn proof is ignored
    trim_before_mark,     // segments removed before the watermark says so
    stale_durable_lsn,    // frames carry a durable_lsn that never moves
    group_not_checked,    // an incomplete atomic group is kept
    rotate_before_sync,   // successor named before its predecessor is durable
    flight_ignored,       // a leader syncs while writes are still in flight
    frontier_over_hole,   // the frontier steps over an unpublished frame
};

#ifdef FSYS_PLANTED_BUGS
inline Bug planted_bug = Bug::none;
inline bool planted(Bug bug) { return planted_bug == bug; }
#else
constexpr bool planted(Bug) { return false; }
#endif

}  // namespace libfsys
