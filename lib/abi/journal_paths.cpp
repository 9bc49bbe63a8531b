// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points that look at a journal by its path, or copy it: of the working directory, and in the
// second form (_at) of a handle, beneath its root. Any thread; they own nothing.

#include <cerrno>

#include "abi/journals.hpp"

using namespace libfsys;

namespace {

struct Place {
    Syscalls &sys;
    int root;
};

template <class F>
int anywhere(F &&body) noexcept {
    return guarded([&]() -> int { return body(Place{real_syscalls(), -1}); });
}

// The call keeps the handle, and so its root, until it is through.
template <class F>
int beneath(const fsys *handle, F &&body) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        return call.code() != 0 ? call.code()
                                : body(Place{call.engine().sys, call.engine().root_fd});
    });
}

int check(const Place &at, const char *path, std::uint32_t flags, fsys_journal_report *ret_report) {
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
        code = journal::dry_run(at.sys, path, report, at.root);
        write_report(report, ret_report);
        // The core says -ENOENT of a directory without a journal, too.
        return code == -ENOENT ? journal::Store(at.sys).open_dir(path, false, at.root) : code;
    }
    journal::VerifyReport report;
    journal::verify(at.sys, path, report, at.root);
    report.recovery.records_in_tail = report.records;
    write_report(report.recovery, ret_report);
    switch (report.recovery.verdict) {
    case journal::Verdict::damaged: return FSYS_E_CORRUPT;
    case journal::Verdict::io_error: return report.code < 0 ? report.code : -EIO;
    default: return 0;
    }
}

int salvage(const Place &at, const char *from, const char *to, std::uint64_t *ret_records,
            std::uint64_t *ret_lost) {
    if (from == nullptr || to == nullptr) {
        return -EINVAL;
    }
    journal::Options options;
    options.root = at.root;
    journal::SalvageReport report;
    const int code = journal::salvage(at.sys, from, to, options, report);
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
}

int snapshot(const Place &at, const char *from, std::uint64_t lsn, const char *to) {
    return from == nullptr || to == nullptr
               ? -EINVAL
               : journal::snapshot_path(at.sys, from, lsn, to, at.root);
}

int explain(const Place &at, const char *path, std::uint64_t position,
            fsys_journal_finding *ret_finding) {
    if (path == nullptr || ret_finding == nullptr) {
        return -EINVAL;
    }
    int code = check_size(ret_finding);
    journal::Finding found;
    if (code == 0) {
        code = journal::explain(at.sys, path, position, found, at.root);
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
}

int list_segments(const Place &at, const char *path, fsys_journal_segment *ret_segments,
                  std::uint32_t max) {
    if (path == nullptr || (ret_segments == nullptr && max != 0)) {
        return -EINVAL;
    }
    std::vector<journal::SegmentInfo> segments;
    const int code = journal::list_segments(at.sys, path, segments, at.root);
    return code < 0 ? code : give_segments(segments, ret_segments, max);
}

int list_pins(const Place &at, const char *path, fsys_journal_pinned *ret_pins, std::uint32_t max) {
    if (path == nullptr || (ret_pins == nullptr && max != 0)) {
        return -EINVAL;
    }
    std::map<std::string, journal::Pin> pins;
    const int code = journal::list_pins(at.sys, path, pins, at.root);
    return code < 0 ? code : give_pins(pins, ret_pins, max);
}

}  // namespace

int fsys_journal_check(const char *path, uint32_t flags, fsys_journal_report *ret_report) noexcept {
    return anywhere([&](const Place &at) { return check(at, path, flags, ret_report); });
}

int fsys_journal_check_at(fsys *handle, const char *path, uint32_t flags,
                          fsys_journal_report *ret_report) noexcept {
    return beneath(handle, [&](const Place &at) { return check(at, path, flags, ret_report); });
}

int fsys_journal_salvage(const char *from, const char *to, uint64_t *ret_records,
                         uint64_t *ret_lost) noexcept {
    return anywhere([&](const Place &at) { return salvage(at, from, to, ret_records, ret_lost); });
}

int fsys_journal_salvage_at(fsys *handle, const char *from, const char *to, uint64_t *ret_records,
                            uint64_t *ret_lost) noexcept {
    return beneath(handle,
                   [&](const Place &at) { return salvage(at, from, to, ret_records, ret_lost); });
}

int fsys_journal_snapshot_path(const char *from, uint64_t lsn, const char *to) noexcept {
    return anywhere([&](const Place &at) { return snapshot(at, from, lsn, to); });
}

int fsys_journal_snapshot_at(fsys *handle, const char *from, uint64_t lsn,
                             const char *to) noexcept {
    return beneath(handle, [&](const Place &at) { return snapshot(at, from, lsn, to); });
}

int fsys_journal_explain(const char *path, uint64_t position,
                         fsys_journal_finding *ret_finding) noexcept {
    return anywhere([&](const Place &at) { return explain(at, path, position, ret_finding); });
}

int fsys_journal_explain_at(fsys *handle, const char *path, uint64_t position,
                            fsys_journal_finding *ret_finding) noexcept {
    return beneath(handle,
                   [&](const Place &at) { return explain(at, path, position, ret_finding); });
}

int fsys_journal_list_segments(const char *path, fsys_journal_segment *ret_segments,
                               uint32_t max) noexcept {
    return anywhere([&](const Place &at) { return list_segments(at, path, ret_segments, max); });
}

int fsys_journal_list_segments_at(fsys *handle, const char *path,
                                  fsys_journal_segment *ret_segments, uint32_t max) noexcept {
    return beneath(handle,
                   [&](const Place &at) { return list_segments(at, path, ret_segments, max); });
}

int fsys_journal_list_pins(const char *path, fsys_journal_pinned *ret_pins, uint32_t max) noexcept {
    return anywhere([&](const Place &at) { return list_pins(at, path, ret_pins, max); });
}

int fsys_journal_list_pins_at(fsys *handle, const char *path, fsys_journal_pinned *ret_pins,
                              uint32_t max) noexcept {
    return beneath(handle, [&](const Place &at) { return list_pins(at, path, ret_pins, max); });
}
