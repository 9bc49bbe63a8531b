// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Verify, dry run, salvage. The caller's thread; nothing is shared, nothing is written to the
// journal that is looked at.

#include <algorithm>
#include <cerrno>

#include "journal/reader.hpp"

namespace libfsys::journal {
namespace {

void found(VerifyReport &report, Lsn at, Rule rule, const std::string &text) {
    report.recovery.verdict = Verdict::damaged;
    report.recovery.rule = rule;
    report.recovery.damage_lsn = at;
    report.recovery.text = text;
}

// Beside a writer: every frame below what was durable when the check began.
void verify_beside_writer(Syscalls &sys, const std::string &path, VerifyReport &ret, int root) {
    std::unique_ptr<Reader> reader;
    ret.code = Reader::open(sys, path, 0, Bound::durable, &ret.recovery, reader, root);
    const Lsn end = ret.recovery.end;
    Record record;
    while (ret.code == 0 && reader->position() < end) {
        switch (reader->next(record)) {
        case Got::record:
            ++ret.records;
            ret.bytes += record.length;
            break;
        case Got::damaged:
            found(ret, record.start, Rule::writer,
                  say("no good frame at LSN %llu, which the writer calls durable",
                      static_cast<unsigned long long>(record.start)));
            return;
        case Got::error: ret.code = reader->code(); break;
        case Got::end: return;
        case Got::gap:
        case Got::epoch_changed: break;
        }
    }
    if (ret.code < 0) {
        ret.recovery.verdict = Verdict::io_error;
    }
}

}  // namespace

RecoveryReport RecoveryReport::of(const State &state) {
    RecoveryReport report;
    report.verdict = state.verdict;
    report.rule = state.rule;
    report.first = state.first;
    report.end = state.end;
    report.written = state.end;
    report.damage_lsn = state.damage_lsn;
    report.proof_lsn = state.tail.proof_at;
    report.proof_durable = state.tail.proof_durable;
    report.epoch = state.epoch;
    report.scanned_bytes = state.scanned_bytes;
    report.records_in_tail = state.tail.records;
    report.text = state.text;
    if (state.verdict == Verdict::torn) {
        report.cut_from = state.end;
        report.cut_to = std::max(state.end, state.tail.keep_to);
    }
    return report;
}

int dry_run(Syscalls &sys, const std::string &path, RecoveryReport &ret, int root) {
    std::unique_ptr<Reader> reader;
    const int code = Reader::open(sys, path, 0, Bound::durable, &ret, reader, root);
    return code == 0 && ret.verdict == Verdict::damaged ? kCorrupt : code;
}

void verify(Syscalls &sys, const std::string &path, VerifyReport &ret, int root) {
    ret = VerifyReport{};
    Store store(sys);
    ret.code = store.open_dir(path, false, root);
    const int alive = ret.code < 0 ? ret.code : store.writer_alive();
    if (alive < 0) {
        ret.code = alive;
        ret.recovery.verdict = Verdict::io_error;
        return;
    }
    if (alive > 0) {
        verify_beside_writer(sys, path, ret, root);
        return;
    }
    const State state = examine(store);
    ret.recovery = RecoveryReport::of(state);
    ret.code = state.code;
    if (state.verdict == Verdict::io_error || state.verdict == Verdict::damaged ||
        state.verdict == Verdict::fresh) {
        return;
    }
    SegmentHeader before{};
    for (std::size_t i = 0; i < state.chain.size(); ++i) {
        const SegmentFile &file = state.chain[i].file;
        const bool last = i + 1 == state.chain.size();
        const Lsn end = last ? state.end : state.chain[i + 1].file.first_lsn;
        SegmentHeader header;
        int code = store.read_header(file.name(), header);
        SegmentBytes bytes;
        if (code == 0) {
            code = bytes.open(store, file.name(), true);
        }
        if (code == -EBADMSG) {
            found(ret, file.first_lsn, Rule::structure,
                  "the header block of " + file.name() + " does not check");
            return;
        }
        if (code < 0) {
            ret.code = code;
            ret.recovery.verdict = Verdict::io_error;
            ret.recovery.text = "cannot read " + file.name();
            return;
        }
        if (header.first_lsn != file.first_lsn || header.number != file.number ||
            header.uuid != state.uuid ||
            (i != 0 && (header.prev_number != before.number || header.prev_crc != before.crc ||
                        header.prev_epoch != before.epoch || header.epoch < before.epoch))) {
            found(ret, file.first_lsn, Rule::structure,
                  "segment " + file.name() + " is not what its place asks for");
            return;
        }
        before = header;
        SegmentShape shape = SegmentShape::of(header);
        shape.limit = std::min(shape.limit, end);
        FrameView frame;
        for (Lsn at = header.first_lsn; at < end;) {
            const Step step = next_frame(bytes, shape, at, frame);
            if (step == Step::read_error) {
                ret.code = frame.code;
                ret.recovery.verdict = Verdict::io_error;
                ret.recovery.text = "cannot read " + file.name();
                return;
            }
            if (step != Step::frame && step != Step::gap) {
                // The end of the last one was judged above, so this one has a successor.
                found(ret, at, Rule::successor,
                      "at LSN " + std::to_string(at) + " in " + file.name() + ": " + step_text(step));
                return;
            }
            ++ret.frames;
            if (step == Step::frame && frame.header.type == kRecord) {
                ret.records += (frame.header.flags & kFragmentMore) == 0;
                ret.bytes += frame.header.length;
            } else {
                ++ret.pads;
            }
            at = frame.next;
        }
        ++ret.segments;
    }
}

int salvage(Syscalls &sys, const std::string &from, const std::string &to, const Options &options,
            SalvageReport &ret) {
    ret = SalvageReport{};
    std::unique_ptr<Reader> reader;
    int code = Reader::open(sys, from, 0, Bound::durable, nullptr, reader, options.root);
    if (code < 0) {
        return code;
    }
    if (reader->follows()) {
        return kLocked;  // a running writer's journal is not in need of it
    }
    Journal *made = nullptr;
    code = Journal::open(sys, to, options, nullptr, &made);
    if (code < 0) {
        return code;
    }
    const std::unique_ptr<Journal> journal(made);
    Record record;
    for (bool more = true; more && code == 0;) {
        const Got got = reader->next(record);
        Lsn lost_from = 0;
        Lsn lost_to = 0;
        switch (got) {
        case Got::record:
            code = journal->append(record.data, record.length, 0, nullptr);
            ret.records += code == 0;
            break;
        case Got::damaged:
            more = reader->skip_damage(&lost_from, &lost_to);
            if (lost_from != lost_to) {  // else the end, which a damaged journal does not know
                ret.lost.push_back({lost_from, lost_to});
            }
            break;
        case Got::gap:
            ret.lost.push_back({record.start, record.lsn});
            break;
        case Got::epoch_changed:
            break;
        case Got::error:
            code = reader->code();
            break;
        case Got::end:
            more = false;
            break;
        }
    }
    const int closed = journal->close();
    return code < 0 ? code : closed;
}

}  // namespace libfsys::journal
