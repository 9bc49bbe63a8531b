// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Writing behind the appenders: once half the log buffer is full, it goes to the device while they
// go on.
//
// Direct IO: the appender that filled a piece submits it (WriteQueue) and is gone; nobody is woken
// for it, and the device finds its next piece waiting. Who holds the baton next takes what has
// ended: another submitter, one who needs room, or a leader, who waits for all of it before
// anything else (settle()). No appender waits here: a change of segments, which may, is for a lent
// thread.
//
// Buffered IO, or no queue to be had: writing is the processor's copy into the page cache, and a
// lent thread does all of it.
//
// Everything but write_behind() has the baton.

#include <algorithm>
#include <cerrno>

#include "journal/journal.hpp"
#include "platform/planted.hpp"

namespace libfsys::journal {

// Nothing is in flight, and all below `from` is written.
void Journal::plan_behind(Lsn from) {
    behind_at_.store(from + buffer_.size() / 2, std::memory_order_relaxed);
}

void Journal::write_behind() {
    if (behind_.lent()) {
        return;
    }
    if (may_queue_.load(std::memory_order_relaxed)) {
        // Busy: the next frame tries again, or its holder writes all there is.
        if (baton_.load(std::memory_order_relaxed) != 0 || !try_baton()) {
            return;
        }
        const int code = keep_in([this] { return submit_behind(); });
        drop_baton();
        if (code <= 0) {
            return;
        }
    }
    behind_.lend(runner_);
}

// 1: a thread that may wait has to go on, for the segment is full or there is no queue.
int Journal::submit_behind() {
    if (queue_ == nullptr) {
        queue_ = store_.sys().write_queue(kFlights);
        if (queue_ == nullptr) {
            may_queue_.store(false, std::memory_order_relaxed);
            plan_behind(written_raw_);
            return 1;
        }
    }
    if (const int code = reap(Wait::none); code < 0) {
        return code;
    }
    walk(~Lsn{0});
    const Lsn whole = base_ + (frontier_ - base_) / options_.block_bytes * options_.block_bytes;
    while (flights_ < kFlights) {
        const Lsn from = submitted();
        const Lsn room = active_.first_lsn + active_.data_bytes;
        if (from == room && whole > from) {
            if (const int code = cross_over(); code != 0) {
                return code;
            }
            continue;
        }
        const Lsn upto = std::min(from + piece_, room);
        if (from == room || upto > whole) {
            break;
        }
        const unsigned tag = (first_flight_ + flights_) % kFlights;
        const int code = queue_->submit(active_fd_.get(), buffer_.at(from), upto - from,
                                        kHeaderBlock + (from - active_.first_lsn), tag);
        if (code < 0) {
            // Out of some resource. The next flush writes it, and reports what there is to report.
            break;
        }
        flight_[tag] = {upto, 0, true};
        ++flights_;
        dirty_ = true;
    }
    const Lsn from = submitted();
    if (flights_ == 0) {
        plan_behind(from);
    } else {
        behind_at_.store(std::max(frontier_, from) + piece_, std::memory_order_relaxed);
    }
    return 0;
}

// The active segment is full. 1: its change has to wait, for the last one or for want of a runner.
int Journal::cross_over() {
    if (runner_ == nullptr || handover_.under_way()) {
        return 1;
    }
    if (const int code = change_segment(); code < 0) {
        return code;
    }
    lend_handover();
    return 0;
}

// Once the full segment's last write has landed, the syncs may begin.
void Journal::lend_handover() {
    if (handover_.under_way() && written_raw_ >= handover_.header.first_lsn) {
        handover_.lend(runner_);
    }
}

// Takes what has ended. After a failure the rest is still waited for: the kernel reads the buffer.
int Journal::reap(Wait wait) {
    bool moved = false;
    while (flights_ != 0) {
        const Flight &oldest = flight_[first_flight_];
        if (oldest.pending) {
            WriteQueue::Done done[kFlights];
            const int n = queue_->reap(done, kFlights, wait != Wait::none);
            if (n == 0 && wait == Wait::none) {
                break;
            }
            for (int i = 0; i < n; ++i) {
                flight_[done[i].tag].result = done[i].result;
                flight_[done[i].tag].pending = false;
            }
            for (unsigned i = 0; n < 0 && i < kFlights; ++i) {
                flight_[i].result = -ECANCELED;  // as far as anybody can tell: written once more
                flight_[i].pending = false;
            }
            continue;
        }
        const Lsn to = oldest.to;
        const ssize_t result = oldest.result;
        first_flight_ = (first_flight_ + 1) % kFlights;
        --flights_;
        if (poison_.load(std::memory_order_relaxed) != 0) {
            continue;
        }
        if (const int code = land(to, result); code < 0) {
            fail("writing", code, durable_raw_, to);
            continue;
        }
        moved = true;
        if (wait == Wait::oldest) {
            wait = Wait::none;
        }
    }
    if (moved) {
        lend_handover();
        publish_progress();
    }
    return poison_.load(std::memory_order_relaxed) != 0 ? kPoisoned : 0;
}

// The oldest write, of [written_raw_, to), ended with `result`.
int Journal::land(Lsn to, ssize_t result) {
    const std::uint64_t length = to - written_raw_;
    if (result == -EAGAIN || result == -EINTR || result == -ECANCELED) {
        result = 0;  // nothing was refused: it was not tried
    }
    if (result < 0) {
        return static_cast<int>(result);
    }
    const auto written = static_cast<std::uint64_t>(result);
    if (written < length && !planted(Bug::ignore_short_write)) {
        // Direct transfers end at sectors, so the rest is as aligned as the whole.
        const Lsn from = written_raw_ + written;
        const bool before = from < active_.first_lsn;  // in the full segment of a handover
        const Lsn origin = before ? active_.first_lsn - data_bytes_ : active_.first_lsn;
        std::size_t done = 0;
        if (const int code = write_fully(store_.sys(), (before ? handover_.last : active_fd_).get(),
                                         buffer_.at(from), length - written,
                                         kHeaderBlock + (from - origin), 0, done);
            code < 0) {
            return code;
        }
    }
    advance(to);
    return 0;
}

// What a leader does first: afterwards nothing is in flight, and no handover under way.
int Journal::settle() {
    if (flights_ != 0 && planted(Bug::flight_ignored)) {
        for (Flight &flight : flight_) {
            flight.pending = false;
            flight.result = static_cast<ssize_t>(kLongestPiece);
        }
    }
    if (const int code = flights_ != 0 ? reap(Wait::all) : 0; code < 0) {
        return code;
    }
    return close_handover();
}

// For an appender whose bytes find no room. 1: something was written.
int Journal::make_space() {
    if (may_queue_.load(std::memory_order_relaxed)) {
        const int code = keep_in([this] {
            int done = submit_behind();
            if (done >= 0 && flights_ != 0) {
                done = reap(Wait::oldest);
                done = done < 0 ? done : submit_behind();
                return done < 0 ? done : 1;
            }
            return std::min(done, 0);
        });
        if (code != 0) {
            return code;
        }
    }
    return write_blocks(0, Flush::written);
}

void Journal::Behind::work() {
    Journal &j = journal;
    j.take_baton();
    const auto wanted = [&j] {
        return static_cast<std::uint32_t>(j.joined_.load(std::memory_order_relaxed)) != 0 ||
               j.baton_.load(std::memory_order_relaxed) == 2;
    };
    j.keep_in([&] {
        if (j.may_queue_.load(std::memory_order_relaxed)) {
            return j.settle() == 0 ? j.submit_behind() : 0;
        }
        // Goes on while appenders keep ahead, so that the device is not idle between two loans; but
        // not while anybody waits for a sync.
        while (j.write_blocks(j.buffer_.size() / 8, Flush::behind) == 1 && !wanted()) {
        }
        if (j.handover_.pending() && j.close_handover() == 0) {
            j.publish_progress();
        }
        return 0;
    });
    j.drop_baton();
}

}  // namespace libfsys::journal
