// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From a full segment to its successor.
//
// A full segment is durable before its successor gets a name: then a hole in a segment that has a
// successor can only be damage. That is three syncs (the full segment, the successor's header, the
// directory), and a device that waits for them while a buffer full of frames waits for it is wasted.
// So whoever writes behind the appenders lends the handover to another thread and writes on, into a file
// that is still called a spare. A crash then leaves a spare with frames in it, which no recovery
// reads, and whose epoch no later segment has. Followers are told of nothing beyond the last name.
//
// No code but that which writes behind ever meets a handover: every leader ends one before anything else
// (settle()). The lent thread touches the Handover, and reads the successor's descriptor, which stays as
// it is meanwhile; `state` hands both over and back. A leader that needs the outcome before the thread has
// begun does the work itself. Where writes are queued the thread is lent when the full segment's last one
// has landed, or its sync would not cover it.

#include <algorithm>
#include <cerrno>
#include <new>

#include "engine/futex.hpp"
#include "journal/journal.hpp"
#include "platform/planted.hpp"

namespace libfsys::journal {

int Journal::rotate_segment(Flush how) {
    if (const int code = change_segment(); code < 0) {
        return code;
    }
    // Not lent when the leader did the last one itself and the runner has yet to find that out.
    return how == Flush::behind && handover_.lend(runner_) ? 0 : close_handover();
}

// From here on frames go to the successor.
int Journal::change_segment() {
    if (const int code = close_handover(); code < 0) {
        return code;
    }
    const Lsn edge = active_.first_lsn + active_.data_bytes;
    Lsn open_group = 0;
    for (const Crossing &crossing : crossings_) {
        if (crossing.room_end == edge && crossing.group_end < edge) {
            open_group = crossing.group_end;
        }
    }
    if (const int code = begin_successor(edge, open_group); code < 0) {
        return fail("starting the successor of", code, durable_raw_, written_raw_);
    }
    counters_.rotations.fetch_add(1, std::memory_order_relaxed);
    return 0;
}

int Journal::close_handover() {
    const int code = end_handover();
    return code < 0 ? fail(handover_.step, code, durable_raw_, written_raw_) : 0;
}

int Journal::start_segment(Lsn first, Lsn open_group) {
    const int code = begin_successor(first, open_group);
    return code < 0 ? code : end_handover();
}

// Frames may be written to the successor from here on, though it has neither header nor name.
int Journal::begin_successor(Lsn first, Lsn open_group) {
    SegmentHeader header{};
    std::uint64_t spare = 0;
    {
        const std::lock_guard lock(segments_mutex_);
        if (spares_.empty()) {
            return -ENOSPC;  // appends are admitted only up to the spares there are
        }
        spare = spares_.back();
        header.uuid = uuid_;
        header.epoch = epoch_;
        header.first_lsn = first;
        header.data_bytes = data_bytes_;
        header.block_bytes = options_.block_bytes;
        header.open_group_lsn = open_group;
        header.number = slot_.last_number + 1;
        if (!live_segments_.empty()) {
            const Live &before = live_segments_.back();
            header.number = before.number + 1;
            header.prev_number = before.number;
            header.prev_last_lsn = first;
            header.prev_epoch = before.epoch;
            header.prev_crc = before.crc;
        }
    }
    Fd fd;
    if (const int code = store_.open_spare(spare, direct_, fd); code < 0) {
        return code;
    }
    handover_.last = std::move(active_fd_);
    handover_.last_dirty = dirty_;
    handover_.spare = spare;
    handover_.header = header;
    handover_.code = 0;
    active_ = header;
    active_fd_ = std::move(fd);
    dirty_ = false;
    handover_.state.store(Handover::kReady, std::memory_order_release);
    return 0;
}

// Waits for a handover, or does it, and makes the successor known. 0 when there is none.
int Journal::end_handover() {
    Handover &h = handover_;
    if (!h.pending()) {
        return 0;
    }
    if (!h.carry_out()) {
        for (std::uint32_t seen; (seen = h.state.load(std::memory_order_acquire)) != Handover::kDone;) {
            futex_wait(&h.state, seen, Deadline::never());
        }
    }
    h.state.store(Handover::kNone, std::memory_order_relaxed);
    const bool follows = static_cast<bool>(h.last);
    h.last.reset();
    if (h.code < 0) {
        return h.code;
    }
    const Lsn first = h.header.first_lsn;
    {
        const std::lock_guard lock(segments_mutex_);
        // Counted as a spare until now, so that what appenders were admitted to never shrank.
        spares_.erase(std::find(spares_.begin(), spares_.end(), h.spare));
        if (follows) {
            Live &last = live_segments_.back();
            last.sealed = true;
            last.end = first;
        }
        Live successor({first, h.header.number});
        successor.know(h.header);
        successor.end = first + data_bytes_;
        live_segments_.push_back(successor);
        update_limits();
    }
    if (follows) {
        if (h.last_dirty) {
            counters_.syncs.fetch_add(1, std::memory_order_relaxed);
        }
        durable_raw_ = std::max(durable_raw_, first);
        announce_sealed();
    }
    return 0;
}

// False: another thread has taken it.
bool Journal::Handover::carry_out() {
    std::uint32_t ready = kReady;
    if (!state.compare_exchange_strong(ready, kTaken, std::memory_order_acq_rel,
                                       std::memory_order_relaxed)) {
        return false;
    }
    perform();
    state.store(kDone, std::memory_order_seq_cst);
    return true;
}

void Journal::Handover::perform() {
    if (last && last_dirty && !planted(Bug::no_sync) && !planted(Bug::rotate_before_sync)) {
        // Once: after a failure the kernel may have dropped the pages and would then say 0.
        step = "syncing the predecessor of";
        code = sync_file(journal.store_.sys(), last.get(), true);
    }
    if (code == 0) {
        step = "starting";
        try {
            code = journal.store_.activate(spare, journal.active_fd_.get(), header);
        } catch (const std::bad_alloc &) {
            code = -ENOMEM;
        }
    }
}

void Journal::Handover::work() {
    if (carry_out()) {
        futex_wake(&state);
    }
    journal.close_if_done();
}

// For a handover whose leader has dropped the baton: the sealed segment is announced even if no other
// leader comes by. Called by the lent thread and by who drops the baton; of the two, the one that is
// later finds it done and the baton free (both words are sequentially consistent).
void Journal::close_if_done() {
    while (handover_.state.load(std::memory_order_seq_cst) == Handover::kDone && try_baton()) {
        keep_in([this] {
            const int code = handover_.pending() ? close_handover() : 0;
            publish_progress();
            return code;
        });
        release_baton();
    }
}

}  // namespace libfsys::journal
