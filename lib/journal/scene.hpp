// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A directory as it is to be judged from outside: by recovery's rules, or beside a writer up to
// what that one has written. Used by one thread; takes no lock, changes nothing.
#pragma once

#include <string>
#include <vector>

#include "journal/reader.hpp"

namespace libfsys::journal {

struct Scene {
    explicit Scene(Syscalls &sys) : store(sys) {}
    int look(const std::string &path, int root);

    bool damaged() const { return state.verdict == Verdict::damaged; }
    // Frames of segment `index` end here at the latest.
    Lsn limit(std::size_t index, const SegmentHeader &header) const;
    // Below it all of the segment was durable, says the writer, or the watermark when it is of the
    // same journal and not older than the segment. 0: nothing says so.
    Lsn proven(const SegmentHeader &header) const;

    Store store;
    bool writer = false;
    State state;                     // without a writer
    std::vector<SegmentFile> files;  // what is kept, oldest first
    Lsn first = 0;
    Lsn end = 0;     // without damage: behind the last whole group; of a writer: what is written
    Lsn writer_durable = 0;
};

}  // namespace libfsys::journal
