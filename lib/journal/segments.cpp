// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Segments beyond the one being written: making spares ahead, the cap and the reserve, trimming,
// pins, and the two operations that begin a new segment early (rotate, truncate).

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <sstream>

#include "engine/futex.hpp"
#include "journal/journal.hpp"
#include "platform/planted.hpp"

namespace libfsys::journal {

// With segments_mutex_. Appends may take positions below limit_: every segment up to there exists
// with its room on disk, so no later ENOSPC can hit an admitted record.
void Journal::update_limits() {
    if (live_segments_.empty()) {
        return;
    }
    const Live &active = live_segments_.back();
    const Lsn room = active.first_lsn + active.data_bytes;
    const std::uint64_t all = spares_.size();
    const std::uint64_t usable =
        all > options_.reserve_segments ? all - options_.reserve_segments : 0;
    limit_.store(room + usable * data_bytes_, std::memory_order_release);
    emergency_limit_.store(room + all * data_bytes_, std::memory_order_release);
}

int Journal::ensure_segments(Lsn end, bool emergency) {
    const std::lock_guard prepare(prepare_mutex_);
    for (;;) {
        std::uint64_t id;
        {
            const std::lock_guard lock(segments_mutex_);
            if (end <= (emergency ? emergency_limit_ : limit_).load(std::memory_order_acquire)) {
                return 0;
            }
            const std::uint64_t file = kHeaderBlock + data_bytes_;
            std::uint64_t used = spares_.size() * file;
            for (const Live &live : live_segments_) {
                used += live.sealed ? kHeaderBlock + (live.end - live.first_lsn) : file;
            }
            if (options_.max_bytes != 0 && used + file > options_.max_bytes) {
                return -ENOSPC;
            }
            id = next_spare_++;
        }
        if (const int code = make_one_spare(id); code < 0) {
            return code;
        }
    }
}

// With prepare_mutex_.
int Journal::make_one_spare(std::uint64_t id) {
    const Fill fill = options_.prealloc == Prealloc::none     ? Fill::sparse
                      : options_.prealloc == Prealloc::extent ? Fill::extents
                                                              : Fill::zeros;
    const int code = store_.make_spare(id, kHeaderBlock + data_bytes_, fill);
    if (code == 0) {
        const std::lock_guard lock(segments_mutex_);
        spares_.push_back(id);
        update_limits();
    }
    return code;
}

bool Journal::wants_spare() {
    const std::lock_guard lock(segments_mutex_);
    return spares_.size() <= options_.reserve_segments;
}

// A spare takes as long as writing a segment full of zeros: some 50 ms in which every appender would
// wait. So a thread is lent for it when the active segment is half full. With no spares wanted, or no
// thread to be had, the appender that needs it makes it.
void Journal::prepare_ahead() {
    if (runner_ != nullptr && options_.spare_segments != 0 && wants_spare()) {
        ahead_.lend(runner_);
    }
}

void Journal::Ahead::work() {
    Journal &j = journal;
    if (j.poison_.load(std::memory_order_acquire) == 0 && j.wants_spare()) {
        // No room is no failure yet: the appender that needs the segment will be told.
        try {
            j.ensure_segments(j.limit_.load(std::memory_order_acquire) + 1, false);
        } catch (const std::bad_alloc &) {
        }
    }
}

// For the segment that must be begun now. Not subject to the cap: the one it follows is being cut.
int Journal::ensure_spare() {
    const std::lock_guard prepare(prepare_mutex_);
    std::uint64_t id;
    {
        const std::lock_guard lock(segments_mutex_);
        if (!spares_.empty()) {
            return 0;
        }
        id = next_spare_++;
    }
    return make_one_spare(id);
}

// ------------------------------------------------------------------- trimming

Lsn Journal::pin_floor(Lsn below) {
    for (auto at = pins_.begin(); at != pins_.end();) {
        const Lsn end = durable_.load(std::memory_order_acquire);
        if (at->second.max_bytes != 0 && end > at->second.lsn &&
            end - at->second.lsn > at->second.max_bytes) {
            // The owner asked for this: rather lose the pin than the disk.
            at = pins_.erase(at);
            counters_.pins_dropped.fetch_add(1, std::memory_order_relaxed);
            continue;
        }
        below = std::min(below, at->second.lsn);
        ++at;
    }
    return below;
}

int Journal::trim(Lsn below) {
    const std::lock_guard maintain(maintain_mutex_);
    if (const int code = blocked_code(); code < 0) {
        return code;
    }
    if (below > durable_.load(std::memory_order_acquire)) {
        return -EINVAL;
    }
    const std::size_t before = pins_.size();
    const Lsn floor = pin_floor(below);
    if (pins_.size() != before) {
        if (const int code = save_pins(); code < 0) {
            return code;
        }
    }
    return drop_front(floor);
}

int Journal::drop_front(Lsn below) {
    std::size_t going = 0;
    Lsn first = 0;
    {
        const std::lock_guard lock(segments_mutex_);
        while (going + 1 < live_segments_.size() && live_segments_[going].sealed &&
               live_segments_[going].end <= below) {
            ++going;
        }
        if (going == 0) {
            return 0;
        }
        first = live_segments_[going].first_lsn;
        if (planted(Bug::trim_before_mark)) {
            for (std::size_t i = 0; i < going; ++i) {
                store_.remove(live_segments_[i].name());
            }
        }
    }
    {
        // Durable before the first name goes: after a crash that lost some removals and kept
        // others, recovery must know that the missing ones were meant to be missing.
        const std::lock_guard lock(slot_mutex_);
        slot_.trim_lsn = first;
        slot_.durable_lsn = std::max(slot_.durable_lsn, first);
        if (const int code = store_.write_both(slot_); code < 0) {
            return fail("writing the watermark beside", code, durable_.load(), written_.load());
        }
    }
    std::uint64_t pool;
    std::uint64_t spare;  // the number of the first that is recycled
    {
        const std::lock_guard lock(segments_mutex_);
        pool = spares_.size();
        spare = next_spare_;
        next_spare_ += going;
    }
    const std::uint64_t wanted = options_.spare_segments + options_.reserve_segments;
    std::uint64_t recycled = 0;
    live_->first.store(first, std::memory_order_release);
    int failure = 0;
    for (; going != 0; --going) {
        Live live = [this] {
            const std::lock_guard lock(segments_mutex_);
            const Live front = live_segments_.front();
            live_segments_.pop_front();
            return front;
        }();
        int code;
        if (options_.prealloc == Prealloc::recycle && live.end - live.first_lsn == data_bytes_ &&
            pool + recycled < wanted &&
            // Of an earlier run: known by name only until now. Its frames are of an older epoch, as
            // are those of any spare. One whose header does not check is better removed.
            complete_header(live) == 0 && live.data_bytes == data_bytes_) {
            code = store_.rename(live.name(), spare_name(spare + recycled));
            recycled += code == 0;
        } else {
            code = store_.remove(live.name());
        }
        if (code < 0 && code != -ENOENT) {
            failure = code;  // stays on disk; the next open removes it
        }
    }
    // Before a spare is used again its old name must be gone for good: the header is about to be
    // overwritten, and a segment name over a foreign header reads as damage.
    const int code = store_.sync_dir();
    if (code < 0) {
        return fail("trimming before", code, durable_.load(), written_.load());
    }
    const std::lock_guard lock(segments_mutex_);
    for (std::uint64_t i = 0; i < recycled; ++i) {
        spares_.push_back(spare + i);
    }
    counters_.recycled.fetch_add(recycled, std::memory_order_relaxed);
    update_limits();
    return failure;
}

// ----------------------------------------------------------------------- pins

// One line per pin, the CRC of all before it last: "name lsn max\n".
int Journal::save_pins() {
    std::ostringstream text;
    for (const auto &[name, pin] : pins_) {
        text << name << ' ' << pin.lsn << ' ' << pin.max_bytes << '\n';
    }
    const std::string body = text.str();
    return store_.write_small(
        kPinsName, kPinsTemp,
        body + "crc " + std::to_string(crc32c(0xffffffffu, body.data(), body.size())) + "\n");
}

int read_pins(Store &store, std::map<std::string, Pin> &ret) {
    std::string text;
    const int code = store.read_small(kPinsName, text);
    if (code == -ENOENT) {
        return 0;
    }
    if (code < 0) {
        return code;
    }
    const std::size_t mark = text.rfind("crc ");
    if (mark == std::string::npos ||
        std::strtoull(text.c_str() + mark + 4, nullptr, 10) !=
            crc32c(0xffffffffu, text.data(), mark)) {
        return -EBADMSG;
    }
    std::istringstream lines(text.substr(0, mark));
    std::string name;
    Pin pin;
    while (lines >> name >> pin.lsn >> pin.max_bytes) {
        ret[name] = pin;
    }
    return 0;
}

int Journal::pin(const std::string &name, Lsn lsn, std::uint64_t max_bytes) {
    if (name.empty() || name.size() > 255 ||
        name.find_first_of(" \t\r\n") != std::string::npos || name == "crc") {
        return -EINVAL;
    }
    const std::lock_guard maintain(maintain_mutex_);
    if (const int code = blocked_code(); code < 0) {
        return code;
    }
    if (lsn < first() || lsn > lsn_of(tail_.load(std::memory_order_acquire))) {
        return -ERANGE;
    }
    const auto before = pins_;
    pins_[name] = {lsn, max_bytes};
    const int code = save_pins();
    if (code < 0) {
        pins_ = before;
    }
    return code;
}

int Journal::unpin(const std::string &name) {
    const std::lock_guard maintain(maintain_mutex_);
    const auto before = pins_;
    if (pins_.erase(name) == 0) {
        return -ENOENT;
    }
    const int code = save_pins();
    if (code < 0) {
        pins_ = before;
    }
    return code;
}

std::map<std::string, Pin> Journal::pins() {
    const std::lock_guard maintain(maintain_mutex_);
    return pins_;
}

// Opening reads only the last headers; older segments are known by name until somebody asks.
int Journal::complete_header(Live &live) {
    if (live.epoch != 0) {
        return 0;
    }
    SegmentHeader header;
    const int code = store_.read_header(live.name(), header);
    if (code == 0) {
        live.know(header);
    }
    return code == -EBADMSG ? kCorrupt : code;
}

// -------------------------------------------------------- beginning a new segment

// With maintain_mutex_. Stops appends, makes everything durable, leaves the baton held. On failure
// appends run again and the baton is free.
int Journal::quiesce(Lsn *tail) {
    if (const int code = blocked_code(); code < 0) {
        return code;
    }
    {
        // A ticket may not be left behind: its memory would belong to another position.
        const std::lock_guard lock(ticket_mutex_);
        if (!tickets_.empty()) {
            return -EBUSY;
        }
        tail_.fetch_or(kBlocked, std::memory_order_acq_rel);
    }
    take_baton();
    int code = flush(Flush::durable);
    *tail = lsn_of(tail_.load(std::memory_order_acquire));
    if (code == 0 && (durable_raw_ != *tail || poison_.load() != 0)) {
        code = poison_.load() != 0 ? kPoisoned : -EIO;
    }
    if (code < 0) {
        drop_baton();
        if (poison_.load() == 0) {
            tail_.fetch_and(~kBlocked, std::memory_order_acq_rel);
        }
    }
    return code;
}

void Journal::resume(Lsn tail) {
    const std::uint64_t word = tail_.load(std::memory_order_relaxed);
    tail_.store(word_of(tail, (word >> 1) + 1), std::memory_order_release);
}

// Everything is durable and nobody appends. Begins a segment at `at`; what lies behind is void.
// With the baton and appends blocked: an exception must not leave it, as in flush().
int Journal::restart(Lsn at, bool raise_epoch) {
    try {
        return restart_unguarded(at, raise_epoch);
    } catch (const std::bad_alloc &) {
        return fail("finding memory for", -ENOMEM, at, written_raw_);
    }
}

int Journal::restart_unguarded(Lsn at, bool raise_epoch) {
    std::vector<SegmentFile> void_files;
    SegmentFile cut_file;
    std::uint64_t cut_bytes = 0;  // 0: none is cut
    std::uint64_t last_number = 0;  // of the one that stays and now ends at `at`
    int code = 0;
    {
        const std::lock_guard lock(segments_mutex_);
        auto &live = live_segments_;
        while (!live.empty() && live.back().first_lsn >= at) {
            void_files.push_back(live.back());
            live.pop_back();
        }
        if (!live.empty()) {
            Live &last = live.back();
            code = complete_header(last);
            if (last.end > at || !last.sealed) {
                cut_file = last;
                cut_bytes = kHeaderBlock + (at - last.first_lsn);
            }
            last.end = at;
            last.sealed = true;
            last_number = last.number;
        }
    }
    if (code < 0) {
        return fail("reading the header of a predecessor of", code, at, written_raw_);
    }
    active_fd_.reset();
    if (raise_epoch) {
        const std::lock_guard lock(slot_mutex_);
        slot_.durable_lsn = at;
        slot_.cut_lsn = at;
        slot_.cut_epoch = epoch_;
        slot_.epoch = epoch_ + 1;
        slot_.clean = 0;
        if (last_number == 0) {
            slot_.trim_lsn = at;
        }
        code = store_.write_both(slot_);
    }
    if (code < 0) {
        return fail("writing the watermark beside", code, at, written_raw_);
    }
    if (raise_epoch) {
        // Followers stop at the cut before the bytes behind it go.
        live_->written.store(at, std::memory_order_seq_cst);
        live_->durable.store(at, std::memory_order_seq_cst);
    }
    for (const SegmentFile &file : void_files) {
        if (code == 0) {
            code = store_.remove(file.name());
        }
    }
    if (code == 0 && !void_files.empty()) {
        code = store_.sync_dir();
    }
    if (code == 0 && cut_bytes != 0) {
        code = store_.cut_file(cut_file.name(), cut_bytes);
    }
    if (code == 0) {
        code = ensure_spare();
    }
    if (code < 0) {
        return fail("cutting", code, at, written_raw_);
    }
    if (raise_epoch) {
        ++epoch_;
        key_ = frame_key(uuid_, epoch_);
    }
    base_ = at;
    buffer_.restart(at);
    crossings_.clear();
    frontier_ = group_end_ = written_raw_ = durable_raw_ = at;
    dirty_ = false;
    released_.store(at, std::memory_order_release);
    plan_behind(at);
    published_.store(at, std::memory_order_release);
    written_.store(at, std::memory_order_release);
    durable_.store(at, std::memory_order_release);
    code = start_segment(at, 0);
    if (code < 0) {
        return fail("starting a segment behind", code, at, at);
    }
    live_->epoch.store(epoch_, std::memory_order_relaxed);
    live_->written.store(at, std::memory_order_relaxed);
    live_->durable.store(at, std::memory_order_relaxed);
    live_->sequence.fetch_add(1, std::memory_order_seq_cst);
    futex_wake_shared(&live_->sequence);
    announce_sealed(!raise_epoch ? ~std::uint64_t{0}
                    : cut_bytes == 0 || last_number == 0 ? last_number
                                                           : last_number - 1);
    return 0;
}

int Journal::rotate() {
    const std::lock_guard maintain(maintain_mutex_);
    Lsn tail = 0;
    int code = quiesce(&tail);
    if (code < 0) {
        return code;
    }
    if (tail != active_.first_lsn) {
        code = restart(tail, false);
    }
    if (code == 0) {
        counters_.rotations.fetch_add(1, std::memory_order_relaxed);
        resume(tail);
    }
    drop_baton();
    return code;
}

// Whether `lsn`, which is kept, is the end of a record or of a batch.
int Journal::find_boundary(Lsn lsn, bool &boundary) {
    SegmentFile file;
    Lsn end = 0;
    {
        const std::lock_guard lock(segments_mutex_);
        for (const Live &live : live_segments_) {
            if (live.first_lsn <= lsn && lsn <= live.end) {
                file = live;
                end = live.end;
            }
        }
    }
    if (boundary || file.number == 0) {
        return 0;
    }
    SegmentHeader header;
    int code = store_.read_header(file.name(), header);
    if (code < 0) {
        return code == -EBADMSG ? kCorrupt : code;
    }
    if (lsn == header.first_lsn) {
        boundary = header.open_group_lsn == 0;
        return 0;
    }
    SegmentBytes bytes;
    code = bytes.open(store_, file.name(), false);
    SegmentShape shape = SegmentShape::of(header);
    shape.limit = std::min(shape.limit, end);
    Lsn at = header.first_lsn;
    FrameView frame;
    while (code == 0 && at < lsn) {
        const Step step = next_frame(bytes, shape, at, frame);
        if (step != Step::frame && step != Step::gap) {
            return step == Step::read_error ? frame.code : kCorrupt;
        }
        at = frame.next;
        boundary = at == lsn && (step == Step::gap || (frame.header.flags & kGroupMore) == 0);
    }
    return code;
}

int Journal::truncate_after(Lsn lsn) {
    const std::lock_guard maintain(maintain_mutex_);
    if (lsn % kFrameAlign != 0 || lsn < first()) {
        return -EINVAL;
    }
    Lsn tail = 0;
    int code = quiesce(&tail);
    if (code < 0) {
        return code;
    }
    bool boundary = lsn == tail;
    try {
        code = find_boundary(lsn, boundary);
    } catch (const std::bad_alloc &) {
        code = -ENOMEM;  // nothing was changed
    }
    if (code == 0 && !boundary) {
        code = -EINVAL;
    }
    if (code < 0) {
        resume(tail);
        drop_baton();
        return code;
    }
    if (lsn != tail) {
        code = restart(lsn, true);
    }
    if (code == 0) {
        resume(lsn);
    }
    drop_baton();
    return code;
}

Lsn Journal::first() {
    const std::lock_guard lock(segments_mutex_);
    return live_segments_.empty() ? durable_.load() : live_segments_.front().first_lsn;
}

std::vector<SegmentInfo> Journal::segments() {
    const std::lock_guard lock(segments_mutex_);
    std::vector<SegmentInfo> list;
    for (Live &live : live_segments_) {
        complete_header(live);  // epoch 0 in the list when it cannot be read
        list.push_back({live.name().c_str(), live.number, live.epoch,
                        kHeaderBlock + (live.end - live.first_lsn), live.first_lsn, live.end,
                        live.sealed});
    }
    return list;
}

}  // namespace libfsys::journal
