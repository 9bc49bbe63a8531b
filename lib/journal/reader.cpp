// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Readers. One thread at a time per reader; a writer may run beside it in any process, so a bad
// frame is looked at again, past the page cache and in a fresh listing, before it is called damage.

#include "journal/reader.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/futex.hpp"

namespace libfsys::journal {

int Reader::open(Journal &journal, Lsn from, Bound bound, std::unique_ptr<Reader> &ret) {
    std::unique_ptr<Reader> reader(new Reader(journal.sys()));
    int code = reader->store_.open_dir(journal.path(), false, journal.root());
    if (code < 0) {
        return code;
    }
    reader->live_ = journal.live();
    reader->can_register_ = true;
    reader->kind_ = bound;
    reader->seen_epoch_ = reader->live_->epoch.load(std::memory_order_acquire);
    code = reader->refresh();
    if (code < 0) {
        return code;
    }
    reader->seek(from);
    ret = std::move(reader);
    return 0;
}

int Reader::open(Syscalls &sys, const std::string &path, Lsn from, Bound bound,
                 RecoveryReport *report, std::unique_ptr<Reader> &ret, int root) {
    std::unique_ptr<Reader> reader(new Reader(sys));
    int code = reader->store_.open_dir(path, false, root);
    if (code < 0) {
        return code;
    }
    reader->kind_ = bound;
    const int alive = reader->store_.writer_alive();
    if (alive > 0) {
        code = reader->store_.open_mark(false);
        if (code < 0) {
            return code;
        }
        reader->live_ = &reader->local_;
        reader->poll();
        if (report != nullptr) {
            *report = RecoveryReport{};
            report->verdict = Verdict::clean;
            report->rule = Rule::writer;
            report->writer = true;
            report->first = reader->live_->first.load(std::memory_order_acquire);
            report->end = reader->live_->durable.load(std::memory_order_acquire);
            report->written = reader->live_->written.load(std::memory_order_acquire);
            report->epoch = reader->live_->epoch.load(std::memory_order_acquire);
            report->text = "a writer has the journal open";
        }
        reader->seen_epoch_ = reader->live_->epoch.load(std::memory_order_acquire);
        code = reader->refresh();
    } else {
        const State state = examine(reader->store_);
        if (report != nullptr) {
            *report = RecoveryReport::of(state);
        }
        if (state.verdict == Verdict::io_error) {
            return state.code;
        }
        if (state.verdict == Verdict::fresh) {
            return -ENOENT;
        }
        for (const auto &segment : state.chain) {
            reader->files_.push_back(segment.file);
        }
        // Damaged: read on up to where it is met; what lies behind may still be of use.
        reader->fixed_bound_ =
            state.verdict == Verdict::damaged ? ~std::uint64_t{7} : state.end;
    }
    if (code < 0) {
        return code;
    }
    reader->seek(from);
    ret = std::move(reader);
    return 0;
}

Reader::~Reader() {
    if (shared_ != nullptr) {
        store_.sys().unshare(shared_);
    }
}

// Joins the writer's page, if it is in reach.
void Reader::attach() {
    void *page = nullptr;
    const bool member = store_.share_live(Syscalls::Share::member, &page) == 0;
    if (member || store_.share_live(Syscalls::Share::observer, &page) == 0) {
        shared_ = static_cast<LivePage *>(page);
        live_ = shared_;
        // seq_cst, as interrupted_: either interrupt() sees this, or wait() sees that.
        can_register_.store(member, std::memory_order_seq_cst);
    }
}

// Another IPC namespace than the writer's, or no shared memory: goes by the watermark, which each
// commit writes. Tries the page again, since a writer that has just begun has none yet.
void Reader::poll() {
    if (live_ != &local_) {
        return;
    }
    attach();
    Slot slot{};
    if (live_ != &local_ || store_.read_slots(slot) < 0) {
        return;  // or torn between two looks: the next one will do
    }
    const bool newer = slot.epoch != local_.epoch.load(std::memory_order_relaxed) ||
                       slot.durable_lsn > local_.durable.load(std::memory_order_relaxed);
    if (newer) {
        local_.durable.store(slot.durable_lsn, std::memory_order_relaxed);
        local_.written.store(slot.durable_lsn, std::memory_order_relaxed);
        local_.epoch.store(slot.epoch, std::memory_order_relaxed);
    }
    local_.first.store(slot.trim_lsn, std::memory_order_relaxed);
}

Lsn Reader::bound() const {
    if (live_ == nullptr) {
        return fixed_bound_;
    }
    return kind_ == Bound::durable ? live_->durable.load(std::memory_order_acquire)
                                   : live_->written.load(std::memory_order_acquire);
}

void Reader::seek(Lsn from) {
    at_ = from & ~std::uint64_t{kFrameAlign - 1};
    from_ = from;
    if (from == 0) {
        at_ = files_.empty() ? bound() : files_.front().first_lsn;
    }
    unsettled_ = from != 0;
    in_segment_ = false;
    retried_ = false;
    joining_ = false;
    code_ = 0;
}

int Reader::refresh() {
    Listing listing;
    const int code = store_.list(listing);
    if (code < 0) {
        return code;
    }
    if (live_ == nullptr) {
        return 0;  // the chain was judged at open
    }
    // A trimmed segment may be listed for a moment longer; a void one may not be in the way.
    const Lsn first = live_->first.load(std::memory_order_acquire);
    files_.clear();
    for (auto &file : listing.segments) {
        while (!files_.empty() && files_.back().first_lsn >= file.first_lsn) {
            files_.pop_back();
        }
        files_.push_back(std::move(file));
    }
    std::size_t old = 0;
    while (old + 1 < files_.size() && files_[old + 1].first_lsn <= first) {
        ++old;
    }
    files_.erase(files_.begin(), files_.begin() + static_cast<std::ptrdiff_t>(old));
    return 0;
}

// A new writer, or a truncation. The oldest segment of a later epoch than the one known begins where
// the log was cut, also after several truncations: what had been read behind it is void. Got::record:
// nothing was.
Got Reader::meet_epoch(Record &ret) {
    const std::uint64_t old = seen_epoch_;
    seen_epoch_ = live_->epoch.load(std::memory_order_acquire);  // before the listing
    code_ = refresh();
    if (code_ < 0) {
        return Got::error;
    }
    in_segment_ = false;
    retried_ = false;
    Lsn cut = at_;
    std::uint64_t epoch = 0;
    for (std::size_t i = files_.size(); i-- > 0;) {
        SegmentHeader header;
        const int code = store_.read_header(files_[i].name(), header);
        if (code == -ENOENT) {
            seen_epoch_ = old;  // changed once more under the listing: from the start
            return Got::record;
        }
        if (code < 0 && code != -EBADMSG) {
            code_ = code;
            return Got::error;
        }
        if (code == -EBADMSG || header.epoch <= old) {
            break;  // damage is named where it is read
        }
        cut = std::min(cut, files_[i].first_lsn);
        epoch = header.epoch;
    }
    if (cut == at_) {
        return Got::record;
    }
    at_ = cut;
    from_ = std::min(from_, cut);
    unsettled_ = false;
    joining_ = false;
    ret = Record{};
    ret.lsn = cut;
    ret.epoch = epoch;
    return Got::epoch_changed;
}

// Opens the segment that holds at_. Got::record: done, read on.
Got Reader::locate(Record &ret, bool &moved) {
    moved = false;
    const auto behind = std::upper_bound(
        files_.begin(), files_.end(), at_,
        [](Lsn at, const SegmentFile &file) { return at < file.first_lsn; });
    if (behind == files_.begin()) {
        if (files_.empty()) {
            return Got::end;
        }
        ret = Record{};
        ret.start = at_;
        ret.lsn = files_.front().first_lsn;
        at_ = ret.lsn;
        unsettled_ = false;
        joining_ = false;
        moved = true;
        return from_ == 0 && ret.start == 0 ? Got::record : Got::gap;
    }
    const SegmentFile file = *(behind - 1);
    SegmentHeader header;
    int code = store_.read_header(file.name(), header);
    if (code == 0) {
        code = bytes_.open(store_, file.name(), retried_);
    }
    if (code == -ENOENT && live_ != nullptr) {
        // Trimmed or withdrawn between the listing and here.
        code_ = refresh();
        moved = true;
        return code_ < 0 ? Got::error : Got::record;
    }
    if (code == -EBADMSG ||
        (code == 0 && (header.number != file.number || header.first_lsn != file.first_lsn))) {
        ret = Record{};
        ret.start = file.first_lsn;
        return Got::damaged;
    }
    if (code < 0) {
        code_ = code;
        return Got::error;
    }
    shape_ = SegmentShape::of(header);
    if (behind != files_.end()) {
        shape_.limit = std::min(shape_.limit, behind->first_lsn);
    }
    in_segment_ = true;
    if (at_ >= shape_.limit) {
        // Behind this segment's end, and no other holds the position.
        if (live_ != nullptr && behind == files_.end()) {
            code_ = refresh();
            if (code_ < 0) {
                return Got::error;
            }
            if (files_.empty() || files_.back().number != file.number) {
                in_segment_ = false;
                moved = true;
                return Got::record;
            }
        }
        if (live_ != nullptr && at_ >= bound()) {
            in_segment_ = false;
            return Got::end;
        }
        ret = Record{};
        ret.start = shape_.limit;
        return Got::damaged;
    }
    return Got::record;
}

// at_ came from the caller: is it the start of a frame? If not, walk there from the segment's
// start. False when the walk met something bad.
bool Reader::settle() {
    unsettled_ = false;
    FrameView frame;
    if (at_ == shape_.header.first_lsn) {
        return true;
    }
    const Step here = next_frame(bytes_, shape_, at_, frame);
    if (here == Step::frame || (here == Step::gap && at_ + kFrameHeader > shape_.room_end())) {
        return true;
    }
    Lsn record = shape_.header.first_lsn;  // where the record that the walk is in began
    for (Lsn at = record; at < at_; at = frame.next) {
        const Step step = next_frame(bytes_, shape_, at, frame);
        if (step != Step::frame && step != Step::gap) {
            return false;
        }
        if (step == Step::gap || (frame.header.flags & kFragmentRest) == 0) {
            record = at;
        }
    }
    at_ = record;
    return true;
}

Got Reader::next(Record &ret) {
    code_ = 0;
    if (live_ == &local_ && at_ >= bound()) {
        poll();
    }
    for (;;) {
        if (live_ != nullptr && live_->epoch.load(std::memory_order_acquire) != seen_epoch_) {
            const Got got = meet_epoch(ret);
            if (got != Got::record) {
                return got;
            }
            continue;
        }
        const Lsn limit = bound();
        if (at_ >= limit) {
            return Got::end;
        }
        if (!in_segment_ || at_ >= shape_.limit) {
            if (live_ != nullptr &&
                (files_.empty() || (!in_segment_ && unsettled_) ||
                 (in_segment_ && at_ >= shape_.limit && files_.back().first_lsn < at_))) {
                // After a seek, too: its place may be in a segment begun since the last look.
                code_ = refresh();
                if (code_ < 0) {
                    return Got::error;
                }
            }
            bool moved = false;
            const Got got = locate(ret, moved);
            if (got != Got::record) {
                return got;
            }
            if (moved) {
                continue;
            }
        }
        if (live_ != nullptr) {
            bytes_.set_cap(shape_.offset(std::min(limit, shape_.limit)));
        }
        FrameView frame;
        if (unsettled_ && !settle()) {
            at_ = shape_.header.first_lsn;  // from there the loop meets what is bad and names it
            from_ = 0;
        }
        const Step step = next_frame(bytes_, shape_, at_, frame);
        if (step == Step::frame) {
            retried_ = false;
            const Lsn start = at_;
            at_ = frame.next;
            const std::uint8_t flags = frame.header.flags;
            if (frame.header.type != kRecord) {
                continue;
            }
            if ((flags & kFragmentRest) != 0 && !joining_) {
                continue;  // the record began before the position asked for, or was trimmed
            }
            if ((flags & kFragmentRest) == 0) {
                joining_ = false;
            }
            if ((flags & (kFragmentMore | kFragmentRest)) != 0) {
                if (!joining_) {
                    joined_.clear();
                    joining_ = true;
                    join_start_ = start;
                }
                joined_.insert(joined_.end(), frame.payload, frame.payload + frame.header.length);
                if ((flags & kFragmentMore) != 0) {
                    continue;
                }
                joining_ = false;
            }
            if (at_ <= from_) {
                continue;
            }
            const bool long_record = (flags & kFragmentRest) != 0;
            ret.start = long_record ? join_start_ : start;
            ret.lsn = at_;
            ret.epoch = shape_.header.epoch;
            ret.data = long_record ? joined_.data() : frame.payload;
            ret.length = long_record ? joined_.size() : frame.header.length;
            return Got::record;
        }
        if (step == Step::gap) {
            at_ = frame.next;
            continue;
        }
        if (step == Step::end) {
            continue;  // at_ >= shape_.limit: locate
        }
        if (step == Step::read_error) {
            code_ = frame.code;
            return Got::error;
        }
        if (live_ != nullptr && (live_->epoch.load(std::memory_order_acquire) != seen_epoch_ ||
                                 at_ >= bound())) {
            bytes_.forget();
            continue;  // a truncation is at work here: it lowers the bound before it cuts
        }
        // Bad. Perhaps the segment was trimmed, recycled or withdrawn under us, or the cache was
        // behind: look again, once, at fresh names and past the cache.
        if (!retried_) {
            retried_ = true;
            in_segment_ = live_ == nullptr ? false : in_segment_;
            code_ = refresh();
            if (code_ < 0) {
                return Got::error;
            }
            bool moved = false;
            const Got got = locate(ret, moved);
            if (got != Got::record) {
                retried_ = got == Got::damaged;
                return got;
            }
            continue;
        }
        ret = Record{};
        ret.start = at_;
        ret.epoch = shape_.header.epoch;
        return Got::damaged;
    }
}

Got Reader::wait(Record &ret, std::int64_t timeout_ns) {
    const Deadline deadline = Deadline::after(timeout_ns);
    for (;;) {
        if (live_ == nullptr) {
            return next(ret);
        }
        const LivePage *const before = live_;
        // Sequence first: an advance between next() and the sleep changes it.
        const std::uint32_t seen = live_->sequence.load(std::memory_order_seq_cst);
        const Got got = next(ret);
        if (got != Got::end || deadline.passed() ||
            interrupted_.load(std::memory_order_seq_cst)) {
            return got;
        }
        if (live_ != before) {
            continue;  // `seen` was another page's
        }
        auto *page = const_cast<LivePage *>(live_);
        std::int64_t left = deadline.left_ns();
        if (can_register_.load(std::memory_order_relaxed)) {
            page->waiters.fetch_add(1, std::memory_order_seq_cst);
            // The writer may have looked at `waiters` before; then it has bumped the sequence.
            if (live_->sequence.load(std::memory_order_seq_cst) == seen) {
                futex_wait_shared(&live_->sequence, seen, left);
            }
            page->waiters.fetch_sub(1, std::memory_order_seq_cst);
        } else {
            // The writer cannot know of us: look every 10 ms.
            const std::int64_t slice = 10'000'000;
            futex_wait_shared(&live_->sequence, seen, left < 0 ? slice : std::min(left, slice));
        }
    }
}

void Reader::interrupt() {
    interrupted_.store(true, std::memory_order_seq_cst);
    if (can_register_.load(std::memory_order_seq_cst)) {
        // Changed as well as woken: the sleeper may be between its look at the flag and its sleep.
        // To other followers of the page this is a spurious wake-up.
        auto *page = const_cast<LivePage *>(live_);
        page->sequence.fetch_add(1, std::memory_order_seq_cst);
        futex_wake_shared(&page->sequence);
    }
}

bool Reader::skip_damage(Lsn *ret_from, Lsn *ret_to) {
    *ret_from = at_;
    joining_ = false;
    retried_ = false;
    if (in_segment_) {
        FrameView frame;
        for (Lsn at = at_ + kFrameAlign; at + kFrameHeader <= shape_.limit; at += kFrameAlign) {
            // next_frame() would read whole payloads of false starts; the position check inside
            // makes those rare.
            const Step step = next_frame(bytes_, shape_, at, frame);
            if (step == Step::frame) {
                at_ = *ret_to = at;
                return true;
            }
            if (step == Step::file_end || step == Step::read_error) {
                break;
            }
        }
    }
    for (const auto &file : files_) {
        if (file.first_lsn > at_) {
            at_ = *ret_to = file.first_lsn;
            in_segment_ = false;
            return true;
        }
    }
    *ret_to = at_;
    return false;
}

}  // namespace libfsys::journal
