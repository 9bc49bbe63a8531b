// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the holder of the baton does: close a block, walk the published frames, write, sync, go on
// to the next segment, tell how far things are. One thread at a time.
//
// A block is written once: before a flush the leader fills the block that holds the tail with a
// pad frame, so that acknowledged bytes are never rewritten in place (a torn rewrite could destroy
// them). The pad is also where the freshest durable_lsn travels.

#include <fcntl.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

#include "engine/futex.hpp"
#include "journal/journal.hpp"
#include "platform/planted.hpp"

namespace libfsys::journal {

// ------------------------------------------------------------------ the baton

bool Journal::try_baton() {
    std::uint32_t free = 0;
    return baton_.compare_exchange_strong(free, 1, std::memory_order_seq_cst,
                                          std::memory_order_seq_cst);
}

void Journal::take_baton() {
    if (try_baton()) {
        return;
    }
    // 2 tells the holder that somebody sleeps; whoever wakes keeps saying 2 since others may too.
    while (baton_.exchange(2, std::memory_order_acquire) != 0) {
        futex_wait(&baton_, 2, Deadline::never());
    }
}

void Journal::drop_baton() {
    release_baton();
    close_if_done();
}

void Journal::release_baton() {
    if (baton_.exchange(0, std::memory_order_seq_cst) == 2) {
        futex_wake(&baton_, 1);
    }
    // Committers that joined while the baton was away may all be asleep, the last one included:
    // it saw the baton held and did not lead.
    const std::uint64_t joined = joined_.load(std::memory_order_seq_cst);
    const auto members = static_cast<std::uint32_t>(joined);
    if (members != 0 && members >= expected_.load(std::memory_order_relaxed)) {
        kick(done_[(joined >> 32) % kGenerations].generation, 1);
    }
}

// ----------------------------------------------------------------- the frontier

// Through `limit` at most. A flush does not look beyond what it will write: what is made durable is told
// by the last group boundary that was walked over, and one that lies behind the flush tells nothing.
void Journal::walk(Lsn limit) {
    const Lsn tail = std::min(lsn_of(tail_.load(std::memory_order_acquire)), limit);
    Lsn at = frontier_;
    if (at >= tail) {
        return;
    }
    Lsn edge = room_end(at);
    std::uint64_t frames = 0;
    while (at < tail) {
        bool more = false;
        const Lsn end = buffer_.end_of(at, more);
        if (end == 0) {
            break;
        }
        at = end;
        if (!more) {
            group_end_ = at;
        }
        if (at == edge) {
            crossings_.push_back({edge, group_end_});
            edge = room_end(at);
        }
        ++frames;
    }
    if (planted(Bug::frontier_over_hole) && at < tail) {
        at = group_end_ = base_ + (tail - base_) / options_.block_bytes * options_.block_bytes;
    }
    frontier_ = at;
    published_.store(at, std::memory_order_release);
    counters_.frames.fetch_add(frames, std::memory_order_relaxed);
}

int Journal::flush(Flush how) {
    return keep_in([&] { return flush_all(how); });
}

// Gives the kernel what is published and fills whole blocks, if that is more than `least` bytes.
// 1: done, 0: less.
int Journal::write_blocks(std::uint64_t least, Flush how) {
    return keep_in([&] {
        walk(~Lsn{0});
        const Lsn whole =
            base_ + (frontier_ - base_) / options_.block_bytes * options_.block_bytes;
        if (poison_.load(std::memory_order_acquire) != 0 || whole <= written_raw_ + least) {
            return 0;
        }
        const int code = write_range(whole, how);
        return code < 0 ? code : 1;
    });
}

int Journal::flush_all(Flush how) {
    if (poison_.load(std::memory_order_acquire) != 0) {
        return kPoisoned;
    }
    const std::uint64_t block = options_.block_bytes;
    Lsn target = ~Lsn{0};
    const auto write_whole_blocks = [&] {
        walk(target);
        const Lsn whole = base_ + (frontier_ - base_) / block * block;
        return whole > written_raw_ ? write_range(whole, Flush::written) : 0;
    };
    for (std::uint64_t word = tail_.load(std::memory_order_acquire);;) {
        const Lsn at = lsn_of(word);
        target = at;
        const std::uint64_t past = (at - base_) % block;
        if (past == 0) {
            break;
        }
        Lsn end = at + (block - past);
        if (end - at < kFrameHeader && end != room_end(at)) {
            end += block;
        }
        if (end > released_.load(std::memory_order_relaxed) + buffer_.size()) {
            // The pad must not be written over bytes that are still in the buffer. A long record
            // may have reserved far ahead of what it has copied.
            if (const int code = write_whole_blocks(); code < 0) {
                return code;
            }
            if (end > released_.load(std::memory_order_relaxed) + buffer_.size()) {
                ::sched_yield();
            }
            word = tail_.load(std::memory_order_acquire);
            continue;
        }
        if (tail_.compare_exchange_weak(word, word_of(end, word >> 1) | (word & kBlocked),
                                        std::memory_order_acq_rel, std::memory_order_acquire)) {
            emit_pad(at, end, false);
            target = end;
            break;
        }
    }
    // Appenders that hold positions below the target are copying: wait for them, not for tickets.
    for (int tries = 0;; ++tries) {
        walk(target);
        if (frontier_ >= target || poison_.load(std::memory_order_relaxed) != 0) {
            break;
        }
        if (ticket_at(frontier_)) {
            walk(target);  // published between the walk and the look
            if (frontier_ < target && ticket_at(frontier_)) {
                break;
            }
            continue;
        }
        if (space_waiters_.load(std::memory_order_relaxed) != 0) {
            if (const int code = write_whole_blocks(); code < 0) {
                return code;
            }
        }
        if (tries < 64) {
            ::sched_yield();
        } else {
            // An appender that was descheduled by a thread of higher priority needs the CPU.
            const timespec pause{0, 50'000};
            ::nanosleep(&pause, nullptr);
        }
    }
    return write_range(std::min(frontier_, target), how);
}

// ---------------------------------------------------------------- writing

namespace {
constexpr std::uint64_t kPiece = std::uint64_t{2} << 20;  // a multiple of every block size
}

// `to` is a block boundary and published.
int Journal::write_range(Lsn to, Flush how) {
    const bool durable = how == Flush::durable;
    if (const int code = settle(); code < 0) {
        return code;
    }
    while (written_raw_ < to || (durable && durable_raw_ < written_raw_)) {
        const Lsn room = active_.first_lsn + active_.data_bytes;
        if (written_raw_ == room && written_raw_ < to) {
            const int code = rotate_segment(how);
            if (code < 0) {
                return code;
            }
            continue;
        }
        Lsn upto = std::min(std::max(to, written_raw_), room);
        if (!durable && upto - written_raw_ > kPiece) {
            upto = written_raw_ + kPiece;  // appenders get their room back piece by piece
        }
        // A full segment is durable before its successor gets a name, see rotate.cpp.
        const bool sync_now = durable || (upto == room && how != Flush::behind &&
                                          !planted(Bug::rotate_before_sync));
        const bool dsync = sync_now && direct_ && !dirty_;
        const std::int64_t begin = sync_now ? now_ns() : 0;
        const std::uint64_t length = upto - written_raw_;
        if (length != 0) {
            std::size_t done = 0;
            const int code = write_fully(
                store_.sys(), active_fd_.get(), buffer_.at(written_raw_), length,
                kHeaderBlock + (written_raw_ - active_.first_lsn),
                dsync && !planted(Bug::no_sync) ? RWF_DSYNC : 0, done);
            if (code < 0) {
                return fail("writing", code, durable_raw_, upto);
            }
            dirty_ = dirty_ || !dsync;
            advance(upto);
        }
        if (planted(Bug::early_frontier)) {
            durable_raw_ = written_raw_;
            publish_progress();
        }
        if (sync_now) {
            if (const int code = sync_segment(upto); code < 0) {
                return code;
            }
            const std::int64_t spent = now_ns() - begin;
            counters_.sync_ns.fetch_add(static_cast<std::uint64_t>(spent),
                                        std::memory_order_relaxed);
            const std::int64_t ema = sync_ema_ns_.load(std::memory_order_relaxed);
            sync_ema_ns_.store(ema + (spent - ema) / 8, std::memory_order_relaxed);
        }
        if (durable_raw_ == room) {
            publish_progress();  // before the rotation, which may fail
        }
    }
    publish_progress();
    return 0;
}

// Written through `to`.
void Journal::advance(Lsn to) {
    counters_.flushed.fetch_add(to - written_raw_, std::memory_order_relaxed);
    written_raw_ = to;
    released_.store(to, std::memory_order_release);
    if (flights_ == 0) {
        plan_behind(to);
    }
    if (to > active_.first_lsn && to - active_.first_lsn >= data_bytes_ / 2 && prepared_for_ != active_.number) {
        prepared_for_ = active_.number;
        prepare_ahead();
    }
    // Bumped after released_, and waiters register before they look: no lost wake-up.
    space_sequence_.fetch_add(1, std::memory_order_seq_cst);
    if (space_waiters_.load(std::memory_order_seq_cst) != 0) {
        futex_wake(&space_sequence_);
    }
}

int Journal::sync_segment(Lsn to) {
    if (dirty_ && !planted(Bug::no_sync)) {
        int code = sync_file(store_.sys(), active_fd_.get(), true);
        if (code < 0 && planted(Bug::sync_retried)) {
            code = sync_file(store_.sys(), active_fd_.get(), true);
        }
        if (code < 0) {
            // Never a second try: the kernel may have dropped the pages and would then say 0.
            return fail("syncing", code, durable_raw_, to);
        }
    }
    dirty_ = false;
    durable_raw_ = to;
    counters_.syncs.fetch_add(1, std::memory_order_relaxed);
    return 0;
}

// Public positions are record (group) boundaries.
void Journal::publish_progress() {
    Lsn durable = durable_.load(std::memory_order_relaxed);
    Lsn written = written_.load(std::memory_order_relaxed);
    // Followers find bytes by the name of their segment.
    const Lsn named = handover_.pending() ? active_.first_lsn : written_raw_;
    for (const Crossing &crossing : crossings_) {
        if (crossing.room_end <= durable_raw_) {
            durable = std::max(durable, crossing.group_end);
        }
        if (crossing.room_end <= named) {
            written = std::max(written, crossing.group_end);
        }
    }
    // One crossing is kept: rotate_segment() asks for the group that runs across it.
    while (crossings_.size() > 1 && crossings_[1].room_end <= active_.first_lsn) {
        crossings_.pop_front();
    }
    if (durable_raw_ >= group_end_) {
        durable = std::max(durable, group_end_);
    }
    if (named >= group_end_) {
        written = std::max(written, group_end_);
    }
    const bool advanced = durable > durable_.load(std::memory_order_relaxed);
    if (!advanced && written <= written_.load(std::memory_order_relaxed)) {
        return;
    }
    written_.store(written, std::memory_order_release);
    if (advanced && options_.strict) {
        // Strict: no acknowledgement before the watermark that proves it is durable.
        const std::lock_guard lock(slot_mutex_);
        slot_.durable_lsn = durable;
        slot_.clean = 0;
        ++slot_.sequence;
        if (const int code = store_.write_hot(slot_, true); code < 0) {
            fail("writing the watermark", code, durable_.load(std::memory_order_relaxed), durable);
            return;
        }
    }
    durable_.store(durable, std::memory_order_release);
    live_->durable.store(durable, std::memory_order_relaxed);
    live_->written.store(written, std::memory_order_relaxed);
    live_->sequence.fetch_add(1, std::memory_order_seq_cst);
    if (live_->waiters.load(std::memory_order_seq_cst) != 0) {
        futex_wake_shared(&live_->sequence);
    }
    if (advanced && !options_.strict) {
        // Goes out with the next commit's traffic, or by the kernel's write-back: closes the blind
        // spot of the last commit after some seconds. Skipped when a trim is writing slots.
        const std::unique_lock lock(slot_mutex_, std::try_to_lock);
        if (lock.owns_lock()) {
            slot_.durable_lsn = durable;
            slot_.clean = 0;
            ++slot_.sequence;
            // Failing is no loss of anything promised; the next synced one will report.
            store_.write_hot(slot_, false);
        }
    }
}

// ------------------------------------------------------------------- failing

int Journal::fail(const char *step, int code, Lsn lo, Lsn hi) {
    int none = 0;
    if (poison_.compare_exchange_strong(none, code, std::memory_order_acq_rel)) {
        {
            const std::lock_guard lock(cause_mutex_);
            // The sentence may find no memory; code and range are what matters.
            try {
                char text[256];
                std::snprintf(text, sizeof text,
                              "%s segment %s failed: %s; the fate of the bytes of LSN %llu to %llu "
                              "is unknown until the journal is opened again",
                              step, segment_name(active_.first_lsn, active_.number).c_str(),
                              ::strerrorname_np(-code) != nullptr ? ::strerrorname_np(-code)
                                                                  : "error",
                              static_cast<unsigned long long>(std::min(lo, durable_.load())),
                              static_cast<unsigned long long>(hi));
                cause_ = text;
            } catch (const std::bad_alloc &) {
            }
        }
        unknown_lo_.store(durable_.load(std::memory_order_relaxed), std::memory_order_relaxed);
        unknown_hi_.store(std::max(hi, submitted()), std::memory_order_release);
        // From here no position is handed out; who holds one never gets it written.
        tail_.fetch_or(kBlocked, std::memory_order_acq_rel);
        if (live_ != nullptr) {
            live_->failed.store(1, std::memory_order_relaxed);
            live_->sequence.fetch_add(1, std::memory_order_seq_cst);
            futex_wake_shared(&live_->sequence);
        }
        wake_everyone();
        end_all_watches(kPoisoned);
    }
    return kPoisoned;
}

}  // namespace libfsys::journal
