// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points that tell of a journal that is open here, or copy it. Any thread; they own nothing.

#include <cerrno>

#include "abi/journals.hpp"

using namespace libfsys;

int libfsys::give_segments(const std::vector<journal::SegmentInfo> &segments,
                           fsys_journal_segment *ret, std::uint32_t max) {
    for (std::size_t i = 0; i < segments.size() && i < max; ++i) {
        const journal::SegmentInfo &from = segments[i];
        fsys_journal_segment info{};
        copy_text(from.name, info.name);
        info.number = from.number;
        info.epoch = from.epoch;
        info.first_lsn = from.first;
        info.end_lsn = from.end;
        info.file_bytes = from.file_bytes;
        info.sealed = from.sealed ? 1 : 0;
        ret[i] = info;
    }
    return static_cast<int>(std::min<std::size_t>(segments.size(), INT32_MAX));
}

int fsys_journal_snapshot(fsys_journal *journal, uint64_t upto, const char *path) noexcept {
    return guarded([&]() -> int {
        const ObjectCall call(journal, kKindJournal);
        if (call.code() != 0) {
            return call.code();
        }
        return path == nullptr ? -EINVAL : call->snapshot(upto, path);
    });
}

int fsys_journal_stat(fsys_journal *journal, fsys_journal_stats *ret_stats) noexcept {
    return guarded([&]() -> int {
        const ObjectCall call(journal, kKindJournal);
        if (call.code() != 0) {
            return call.code();
        }
        if (ret_stats == nullptr) {
            return -EINVAL;
        }
        const journal::Stat s = call->stat();
        fsys_journal_stats c{};
        c.direct = s.direct ? 1 : 0;
        c.poisoned = s.poisoned ? 1 : 0;
        c.first_lsn = s.first;
        c.epoch = s.epoch;
        c.segments = s.segments;
        c.spares = s.spares;
        c.bytes_on_disk = s.bytes_on_disk;
        c.syncs = s.syncs;
        c.sync_ns = s.sync_ns;
        c.flushed_bytes = s.flushed_bytes;
        c.frames = s.frames;
        c.commits = s.commits;
        c.led = s.led;
        c.gathers = s.gathers;
        c.gather_misses = s.gather_misses;
        c.rotations = s.rotations;
        c.recycled = s.recycled;
        c.space_waits = s.space_waits;
        c.open_tickets = s.open_tickets;
        c.oldest_ticket_ns = s.oldest_ticket_ns;
        c.async_pending = s.async_pending;
        c.pins_dropped = s.pins_dropped;
        return write_struct(c, ret_stats);
    });
}

int fsys_journal_cause(fsys_journal *journal, char *ret_text, size_t size) noexcept {
    return (reinterpret_cast<std::uint64_t>(journal) & 15) == kKindJournal
               ? fsys_cause(journal, ret_text, size)
               : FSYS_E_CLOSED;
}

int fsys_journal_segments(fsys_journal *journal, fsys_journal_segment *ret_segments,
                          uint32_t max) noexcept {
    return guarded([&]() -> int {
        const ObjectCall call(journal, kKindJournal);
        if (call.code() != 0) {
            return call.code();
        }
        if (ret_segments == nullptr && max != 0) {
            return -EINVAL;
        }
        const auto segments = call->segments();
        return give_segments(segments, ret_segments, max);
    });
}
