// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The state of a journal directory, read only. One thread; the caller holds the writer's lock, or
// accepts that a running writer moves things (readers retry).

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>

#include "journal/scan.hpp"

namespace libfsys::journal {

std::string say(const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    std::vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return text;
}

namespace {

using ull = unsigned long long;

void damage(State &state, Lsn at, std::string text, Rule rule = Rule::structure) {
    if (state.verdict == Verdict::damaged || state.verdict == Verdict::io_error) {
        return;
    }
    state.verdict = Verdict::damaged;
    state.rule = rule;
    state.damage_lsn = at;
    state.text = std::move(text);
}

void io_error(State &state, int code, const std::string &what) {
    state.verdict = Verdict::io_error;
    state.rule = Rule::none;
    state.code = code;
    state.text = "cannot read " + what;
}

// Reads the header of chain[i] once and checks that it is the one its name promises.
bool load_header(Store &store, State &state, std::size_t i) {
    ChainSegment &segment = state.chain[i];
    if (segment.header != nullptr) {
        return true;
    }
    SegmentHeader header;
    const int code = store.read_header(segment.file.name(), header);
    if (code == -EBADMSG) {
        damage(state, segment.file.first_lsn,
               say("the header block of segment %s does not check", segment.file.name().c_str()));
        return false;
    }
    if (code < 0) {
        io_error(state, code, "the header of segment " + segment.file.name());
        return false;
    }
    if (header.number != segment.file.number || header.first_lsn != segment.file.first_lsn ||
        (state.has_slot && header.uuid != state.slot.uuid)) {
        damage(state, segment.file.first_lsn,
               say("segment %s holds the header of another segment (number %llu, first LSN %llu)",
                   segment.file.name().c_str(), ull{header.number}, ull{header.first_lsn}));
        return false;
    }
    // Both slots are durable with an epoch before anything is made in it.
    if (state.has_slot && header.epoch > state.slot.epoch) {
        damage(state, segment.file.first_lsn,
               say("segment %s is of epoch %llu, but the watermark knows none above %llu: one of "
                   "them is of another time",
                   segment.file.name().c_str(), ull{header.epoch}, ull{state.slot.epoch}));
        return false;
    }
    segment.header = std::make_unique<SegmentHeader>(header);
    state.epoch = std::max(state.epoch, header.epoch);
    return true;
}

// The last segment's header proves what the one before it must be.
void check_predecessor(Store &store, State &state, std::size_t i) {
    const SegmentHeader &header = *state.chain[i].header;
    if (i == 0 || header.prev_number == 0 || !load_header(store, state, i - 1)) {
        return;
    }
    const SegmentHeader &before = *state.chain[i - 1].header;
    if (header.prev_number != before.number || header.prev_crc != before.crc ||
        header.prev_epoch != before.epoch || header.prev_last_lsn != header.first_lsn) {
        damage(state, before.first_lsn,
               say("segment %s does not follow the one that stands before it",
                   state.chain[i].file.name().c_str()));
        return;
    }
    Fd fd;
    struct stat info{};
    int code = store.open_segment(state.chain[i - 1].file.name(), O_RDONLY, fd);
    if (code == 0) {
        code = store.stat(fd.get(), info);
    }
    if (code < 0) {
        io_error(state, code, "segment " + state.chain[i - 1].file.name());
        return;
    }
    const std::uint64_t need = kHeaderBlock + (header.prev_last_lsn - before.first_lsn);
    if (static_cast<std::uint64_t>(info.st_size) < need) {
        damage(state, before.first_lsn + static_cast<std::uint64_t>(info.st_size) - kHeaderBlock,
               say("segment %s has %llu bytes and its successor says that it had %llu",
                   state.chain[i - 1].file.name().c_str(), ull{std::uint64_t(info.st_size)},
                   ull{need}));
    }
}

// Removes from the chain what was trimmed and what a truncation made void.
void drop_dead(Store &store, State &state) {
    auto &chain = state.chain;
    const Slot &slot = state.slot;
    while (!chain.empty() && slot.cut_epoch != 0 &&
           chain.back().file.first_lsn >= slot.cut_lsn) {
        if (!load_header(store, state, chain.size() - 1)) {
            return;
        }
        if (chain.back().header->epoch > slot.cut_epoch) {
            break;
        }
        state.dead.push_back(chain.back().file);
        chain.pop_back();
    }
    std::size_t below = 0;
    while (below + 1 < chain.size() && chain[below + 1].file.first_lsn <= slot.trim_lsn) {
        state.dead.push_back(chain[below].file);
        ++below;
    }
    chain.erase(chain.begin(), chain.begin() + static_cast<std::ptrdiff_t>(below));
}

void judge_end(Store &store, State &state) {
    const ChainSegment &last = state.chain.back();
    SegmentBytes bytes;
    const int code = bytes.open(store, last.file.name(), true);
    if (code < 0) {
        io_error(state, code, "segment " + last.file.name());
        return;
    }
    SegmentShape shape = SegmentShape::of(*last.header);
    if (last.header->epoch <= state.slot.cut_epoch) {
        shape.limit = std::min(shape.limit, state.slot.cut_lsn);
    }
    const Slot &slot = state.slot;
    const bool closed = slot.clean != 0 && slot.epoch == last.header->epoch;
    state.tail = scan_tail(bytes, shape, last.header->open_group_lsn, slot.durable_lsn,
                           closed ? slot.durable_lsn : 0);
    const Tail &tail = state.tail;
    state.scanned_bytes = tail.looked_to - shape.header.first_lsn;
    state.end = tail.end;
    if (tail.code < 0) {
        io_error(state, tail.code, "segment " + last.file.name());
    } else if (tail.damaged && tail.proof_at != 0) {
        damage(state, tail.bad_at,
               say("at LSN %llu: %s; the frame at LSN %llu proves that everything below %llu had "
                   "been durable",
                   ull{tail.bad_at}, step_text(tail.reason), ull{tail.proof_at},
                   ull{tail.proof_durable}),
               Rule::frame);
    } else if (tail.damaged) {
        damage(state, tail.end,
               say("the log ends at LSN %llu (%s); the watermark proves that everything below "
                   "%llu had been durable",
                   ull{tail.end}, step_text(tail.reason), ull{tail.proof_durable}),
               Rule::watermark);
    } else if (tail.torn) {
        state.verdict = Verdict::torn;
        state.rule = tail.bad_at == tail.end ? Rule::unproved : Rule::group;
        state.text = say("torn tail: the log ends at LSN %llu, then comes %s; nothing behind it "
                         "had been acknowledged",
                         ull{tail.end}, step_text(tail.reason));
    } else {
        state.verdict = Verdict::clean;
        state.rule = Rule::end;
        state.text = say("the log ends at LSN %llu", ull{tail.end});
    }
}

// Whether a writer may have written it: its CRC alone does not say so.
bool consistent(const Slot &slot) {
    const auto position = [](Lsn lsn) {
        return lsn >= kFirstLsn && lsn <= kMostLsn && lsn % kFrameAlign == 0;
    };
    // A cut sets durable_lsn to its own position, in a new epoch; from there it only grows.
    const bool cut = slot.cut_epoch == 0 ||
                     (position(slot.cut_lsn) && slot.cut_lsn <= slot.durable_lsn &&
                      slot.cut_epoch < slot.epoch);
    return position(slot.trim_lsn) && position(slot.durable_lsn) &&
           slot.trim_lsn <= slot.durable_lsn && cut;
}

}  // namespace

State examine(Store &store) {
    State state;
    int code = store.list(state.listing);
    if (code < 0) {
        io_error(state, code, "the directory");
        return state;
    }
    if (state.listing.mark) {
        code = store.open_mark(false);
        if (code == 0) {
            code = store.read_slots(state.slot);
        }
        if (code < 0 && code != -EBADMSG) {
            io_error(state, code, "the watermark file");
            return state;
        }
        state.has_slot = code == 0;
    }
    if (!state.has_slot) {
        if (state.listing.segments.empty()) {
            // Nothing, or a creation that lost power before its first watermark was durable.
            state.verdict = Verdict::fresh;
            state.text = "no journal here yet";
            return state;
        }
        // Both slots are written, one after the other, before any segment gets a name.
        damage(state, state.listing.segments.front().first_lsn,
               "there are segments, but the watermark file is missing or neither slot checks");
        state.first = state.listing.segments.front().first_lsn;
        state.end = state.first;
    }
    state.chain.reserve(state.listing.segments.size());
    for (const auto &file : state.listing.segments) {
        state.chain.push_back({file, nullptr});
    }
    if (state.verdict == Verdict::damaged) {
        return state;
    }
    // Believing its trim point would hide records, also those to come; nor does it prove anything, or
    // end a segment.
    if (!consistent(state.slot)) {
        state.first = state.end = kFirstLsn;
        damage(state, kFirstLsn,
               say("the watermark contradicts itself: epoch %llu, trimmed below %llu, durable below "
                   "%llu, cut at %llu in epoch %llu",
                   ull{state.slot.epoch}, ull{state.slot.trim_lsn}, ull{state.slot.durable_lsn},
                   ull{state.slot.cut_lsn}, ull{state.slot.cut_epoch}));
        state.has_slot = false;
        state.slot = Slot{};
        return state;
    }
    state.uuid = state.slot.uuid;
    state.epoch = state.slot.epoch;
    state.verdict = Verdict::clean;
    drop_dead(store, state);
    if (state.verdict != Verdict::clean) {
        return state;
    }
    if (state.chain.empty()) {
        state.first = state.end = state.slot.trim_lsn;
        if (state.slot.durable_lsn > state.slot.trim_lsn) {
            damage(state, state.slot.trim_lsn,
                   say("no segment is left, but LSN %llu to %llu had been durable",
                       ull{state.slot.trim_lsn}, ull{state.slot.durable_lsn}),
                   Rule::watermark);
            state.tail.proof_durable = state.slot.durable_lsn;
        } else {
            state.rule = Rule::end;
            state.text = "an empty journal";
        }
        return state;
    }
    state.first = state.chain.front().file.first_lsn;
    state.end = state.first;
    if (state.first > state.slot.trim_lsn) {
        damage(state, state.slot.trim_lsn,
               say("the oldest segment is missing: the log begins at LSN %llu, trimmed was only "
                   "below %llu",
                   ull{state.first}, ull{state.slot.trim_lsn}));
        return state;
    }
    for (std::size_t i = 1; i < state.chain.size(); ++i) {
        const auto &before = state.chain[i - 1].file;
        const auto &here = state.chain[i].file;
        if (here.number != before.number + 1 || here.first_lsn < before.first_lsn) {
            damage(state, before.first_lsn,
                   say("segment %s is followed by %s: one is missing or one too many",
                       before.name().c_str(), here.name().c_str()));
            return state;
        }
    }
    if (load_header(store, state, state.chain.size() - 1)) {
        check_predecessor(store, state, state.chain.size() - 1);
    }
    if (state.verdict == Verdict::clean) {
        judge_end(store, state);
    }
    return state;
}

}  // namespace libfsys::journal
