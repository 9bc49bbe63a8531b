// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points that tell of a journal, check one, or copy it. Any thread; they own nothing.

#include <cerrno>
#include <filesystem>

#include "abi/journals.hpp"

using namespace libfsys;

namespace {

int give(const std::vector<journal::SegmentInfo> &segments, fsys_journal_segment *ret,
         std::uint32_t max) {
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

}  // namespace

int fsys_journal_check(const char *path, uint32_t flags,
                       fsys_journal_report *ret_report) noexcept {
    return guarded([&]() -> int {
        if ((flags & ~FSYS_JOURNAL_DEEP) != 0) {
            return FSYS_E_BAD_FLAG;
        }
        if (path == nullptr || ret_report == nullptr) {
            return -EINVAL;
        }
        int code = check_size(ret_report);
        if (code != 0) {
            return code;
        }
        if ((flags & FSYS_JOURNAL_DEEP) == 0) {
            journal::RecoveryReport report;
            code = journal::dry_run(real_syscalls(), path, report);
            write_report(report, ret_report);
            // The core says -ENOENT of a directory without a journal, too.
            std::error_code ignored;
            return code == -ENOENT && std::filesystem::is_directory(path, ignored) ? 0 : code;
        }
        journal::VerifyReport report;
        journal::verify(real_syscalls(), path, report);
        report.recovery.records_in_tail = report.records;
        write_report(report.recovery, ret_report);
        switch (report.recovery.verdict) {
        case journal::Verdict::damaged: return FSYS_E_CORRUPT;
        case journal::Verdict::io_error: return report.code < 0 ? report.code : -EIO;
        default: return 0;
        }
    });
}

int fsys_journal_salvage(const char *from, const char *to, uint64_t *ret_records,
                         uint64_t *ret_lost) noexcept {
    return guarded([&]() -> int {
        if (from == nullptr || to == nullptr) {
            return -EINVAL;
        }
        journal::SalvageReport report;
        const int code = journal::salvage(real_syscalls(), from, to, journal::Options{}, report);
        if (code < 0) {
            return code;
        }
        if (ret_records != nullptr) {
            *ret_records = report.records;
        }
        if (ret_lost != nullptr) {
            *ret_lost = report.lost.size();
        }
        return 0;
    });
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

int fsys_journal_snapshot_path(const char *from, uint64_t lsn, const char *to) noexcept {
    return guarded([&]() -> int {
        return from == nullptr || to == nullptr
                   ? -EINVAL
                   : journal::snapshot_path(real_syscalls(), from, lsn, to);
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
        return give(segments, ret_segments, max);
    });
}

int fsys_journal_explain(const char *path, uint64_t position,
                         fsys_journal_finding *ret_finding) noexcept {
    return guarded([&]() -> int {
        if (path == nullptr || ret_finding == nullptr) {
            return -EINVAL;
        }
        int code = check_size(ret_finding);
        journal::Finding found;
        if (code == 0) {
            code = journal::explain(real_syscalls(), path, position, found);
        }
        if (code < 0) {
            return code;
        }
        fsys_journal_finding finding{};
        finding.state = static_cast<std::uint32_t>(found.state);
        finding.rule = static_cast<std::uint32_t>(found.rule);
        finding.writer = found.writer ? 1 : 0;
        finding.start = found.start;
        finding.end = found.end;
        finding.length = found.length;
        finding.epoch = found.epoch;
        finding.file_offset = found.file_offset;
        finding.proof_lsn = found.proof_at;
        finding.proof_durable_lsn = found.proof_durable;
        copy_text(found.segment, finding.segment_name);
        copy_text(found.text, finding.text);
        return write_struct(finding, ret_finding);
    });
}

int fsys_journal_list_segments(const char *path, fsys_journal_segment *ret_segments,
                               uint32_t max) noexcept {
    return guarded([&]() -> int {
        if (path == nullptr || (ret_segments == nullptr && max != 0)) {
            return -EINVAL;
        }
        std::vector<journal::SegmentInfo> segments;
        const int code = journal::list_segments(real_syscalls(), path, segments);
        return code < 0 ? code : give(segments, ret_segments, max);
    });
}

int fsys_journal_list_pins(const char *path, fsys_journal_pinned *ret_pins,
                           uint32_t max) noexcept {
    return guarded([&]() -> int {
        if (path == nullptr || (ret_pins == nullptr && max != 0)) {
            return -EINVAL;
        }
        std::map<std::string, journal::Pin> pins;
        const int code = journal::list_pins(real_syscalls(), path, pins);
        return code < 0 ? code : give_pins(pins, ret_pins, max);
    });
}
