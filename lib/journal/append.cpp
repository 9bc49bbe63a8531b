// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Appending: positions, room, copying, publishing. Any number of threads; no lock on the way of a
// record that finds room.
//
// A position is taken by compare-and-swap, not by fetch-and-add, because three things are decided
// in the same step: that the frame does not cross a segment's end, that segments for it exist on
// disk (so a full disk is reported before anything happens), and that nobody has blocked appends.

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/futex.hpp"
#include "journal/journal.hpp"
#include "platform/planted.hpp"

namespace libfsys::journal {

namespace {
// Least room that is worth a fragment of a long record at the end of a segment.
constexpr std::uint64_t kMinSplit = 4096;

std::uint64_t total_length(const iovec *pieces, std::size_t count) {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < count; ++i) {
        total += pieces[i].iov_len;
        if (total > kMaxRecord) {
            break;
        }
    }
    return total;
}
}  // namespace

int Journal::blocked_code() {
    if (closed_.load(std::memory_order_acquire)) {
        return kClosed;
    }
    return poison_.load(std::memory_order_acquire) != 0 ? kPoisoned : 0;
}

// Where the next frame of a record with `remaining` bytes goes when the log stands at `at`. Pure,
// so that reserving and copying compute the same layout.
Journal::Piece Journal::place(Lsn at, std::uint64_t remaining) const {
    const std::uint64_t room = room_end(at) - at;
    const std::uint64_t take = std::min(remaining, max_fragment_);
    if (frame_bytes(take) <= room) {
        return {at, at, take};
    }
    if (remaining > max_fragment_ && room >= kMinSplit) {
        return {at, at, room - kFrameHeader};  // room is a multiple of 8: fills it exactly
    }
    return {at, at + room, take};
}

void Journal::finish_frame(Lsn start, std::uint64_t length, std::uint8_t type,
                           std::uint8_t flags) {
    unsigned char *bytes = buffer_.at(start);
    FrameHeader header{};
    header.magic = kFrameMagic;
    header.type = type;
    header.flags = flags;
    header.length = static_cast<std::uint32_t>(length);
    header.lsn = start;
    header.durable_lsn = planted(Bug::stale_durable_lsn)
                             ? 0
                             : durable_.load(std::memory_order_relaxed);
    std::memcpy(bytes, &header, sizeof header);
    // The bytes up to the alignment may be of an earlier lap; on disk they are zero.
    std::memset(bytes + kFrameHeader + length, 0, frame_bytes(length) - kFrameHeader - length);
    seal_frame(*reinterpret_cast<FrameHeader *>(bytes), key_);
}

void Journal::emit_pad(Lsn from, Lsn to, bool group_more) {
    while (from < to) {
        const std::uint64_t room = to - from;
        if (room < kFrameHeader) {
            std::memset(buffer_.at(from), 0, room);
            buffer_.publish(from, to, group_more);
            return;
        }
        // A pad is cut like a record, so that none is longer than readers must hold.
        std::uint64_t length = std::min(room - kFrameHeader, max_fragment_);
        if (room - frame_bytes(length) != 0 && room - frame_bytes(length) < kFrameHeader) {
            length -= kFrameHeader;
        }
        std::memset(buffer_.at(from) + kFrameHeader, 0, length);
        finish_frame(from, length, kPad, group_more ? kGroupMore : 0);
        buffer_.publish(from, from + frame_bytes(length), group_more);
        from += frame_bytes(length);
    }
}

int Journal::appendv(const iovec *pieces, int count, unsigned flags, Lsn *ret) {
    if (count < 0 || (count > 0 && pieces == nullptr)) {
        return -EINVAL;
    }
    const std::uint64_t length = total_length(pieces, static_cast<std::size_t>(count));
    if (length > kMaxRecord) {
        return -EMSGSIZE;
    }
    if (length > max_fragment_) {
        return append_group(pieces, static_cast<std::size_t>(count), true, flags, ret, nullptr);
    }
    const std::uint64_t need = frame_bytes(length);
    std::int64_t deadline = 0;
    std::uint64_t word = tail_.load(std::memory_order_acquire);
    Lsn at;
    Lsn start;
    for (;;) {
        at = lsn_of(word);
        const Lsn end_of_room = room_end(at);
        start = at + need <= end_of_room ? at : end_of_room;
        const Lsn end = start + need;
        // released_ is acquired: the leader's write has read the bytes that will be overwritten.
        if ((word & kBlocked) != 0 || end > limit_.load(std::memory_order_acquire) ||
            end > released_.load(std::memory_order_acquire) + buffer_.size()) {
            if (deadline == 0) {
                deadline = now_ns() + options_.append_timeout_ns;
            }
            const int code = make_room(at, end, flags, deadline);
            if (code < 0) {
                return code;
            }
            word = tail_.load(std::memory_order_acquire);
            if ((flags & kAppendEmergency) == 0 || (word & kBlocked) != 0 || lsn_of(word) != at) {
                continue;
            }
        }
        if (tail_.compare_exchange_weak(word, word_of(end, word >> 1), std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
            break;
        }
    }
    if (start != at) {
        emit_pad(at, start, false);
    }
    unsigned char *to = buffer_.at(start) + kFrameHeader;
    for (int i = 0; i < count; ++i) {
        if (pieces[i].iov_len != 0) {
            std::memcpy(to, pieces[i].iov_base, pieces[i].iov_len);
            to += pieces[i].iov_len;
        }
    }
    finish_frame(start, length, kRecord, 0);
    buffer_.publish(start, start + need, false);
    if (ret != nullptr) {
        *ret = start + need;
    }
    if (start + need >= behind_at_.load(std::memory_order_relaxed)) {
        write_behind();
    }
    return 0;
}

// Records longer than a fragment, and batches: one reservation, frames chained by kGroupMore. With
// `one_record` the iovecs are pieces of a single record.
int Journal::append_group(const iovec *records, std::size_t count, bool one_record,
                          unsigned flags, Lsn *ret_last, Lsn *ret_each) {
    const std::size_t sizes = one_record ? 1 : count;
    const auto size_of = [&](std::size_t i) {
        return one_record ? total_length(records, count) : std::uint64_t{records[i].iov_len};
    };
    std::int64_t deadline = now_ns() + options_.append_timeout_ns;
    std::uint64_t word = tail_.load(std::memory_order_acquire);
    Lsn at;
    Lsn end;
    bool whole;  // fits the buffer at once, so that no wait is needed while holding positions
    for (;;) {
        at = lsn_of(word);
        end = at;
        for (std::size_t i = 0; i < sizes; ++i) {
            std::uint64_t left = size_of(i);
            do {
                const Piece piece = place(end, left);
                end = piece.start + frame_bytes(piece.length);
                left -= piece.length;
            } while (left != 0);
        }
        const Lsn room_for = end - at <= buffer_.size() / 2 ? end : at;
        whole = room_for == end;
        const Lsn limit = (flags & kAppendEmergency) != 0
                              ? emergency_limit_.load(std::memory_order_acquire)
                              : limit_.load(std::memory_order_acquire);
        if ((word & kBlocked) != 0 || end > limit ||
            (whole && end > released_.load(std::memory_order_acquire) + buffer_.size())) {
            int code = make_room(whole ? at : 0, end, flags, deadline);
            if (code < 0) {
                return code;
            }
            word = tail_.load(std::memory_order_acquire);
            continue;
        }
        if (tail_.compare_exchange_weak(word, word_of(end, word >> 1), std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
            break;
        }
    }
    std::size_t source = 0;       // iovec and offset copied from next
    std::size_t source_offset = 0;
    bool first_frame = true;
    for (std::size_t i = 0; i < sizes; ++i) {
        std::uint64_t left = size_of(i);
        bool rest = false;
        do {
            const Piece piece = place(at, left);
            const Lsn piece_end = piece.start + frame_bytes(piece.length);
            if (!whole) {
                // Positions are held, so this wait must not give up; a failure of the journal ends
                // it, and then nothing is published: the bytes are never written.
                const int code = wait_for_space(piece_end, 0, INT64_MAX);
                if (code < 0) {
                    return code;
                }
            }
            if (piece.start != at) {
                emit_pad(at, piece.start, !first_frame);
            }
            unsigned char *to = buffer_.at(piece.start) + kFrameHeader;
            for (std::uint64_t copied = 0; copied < piece.length;) {
                const iovec &from = records[source];
                const std::uint64_t n =
                    std::min<std::uint64_t>(piece.length - copied, from.iov_len - source_offset);
                if (n != 0) {
                    std::memcpy(to + copied, static_cast<const char *>(from.iov_base) + source_offset, n);
                }
                copied += n;
                source_offset += n;
                if (source_offset == from.iov_len && copied < piece.length) {
                    ++source;
                    source_offset = 0;
                }
            }
            left -= piece.length;
            const bool more = left != 0 || i + 1 < sizes;
            const auto bits = static_cast<std::uint8_t>((more ? kGroupMore : 0) |
                                                        (left != 0 ? kFragmentMore : 0) |
                                                        (rest ? kFragmentRest : 0));
            finish_frame(piece.start, piece.length, kRecord, bits);
            buffer_.publish(piece.start, piece_end, more);
            at = piece_end;
            rest = true;
            first_frame = false;
        } while (left != 0);
        if (!one_record) {
            source = i + 1;
            source_offset = 0;
            if (ret_each != nullptr) {
                ret_each[i] = at;
            }
        }
    }
    if (ret_last != nullptr) {
        *ret_last = at;
    }
    if (at >= behind_at_.load(std::memory_order_relaxed)) {
        write_behind();
    }
    return 0;
}

int Journal::append_batch(const iovec *records, std::size_t count, unsigned flags, Lsn *ret_last,
                          Lsn *ret_each) {
    if (count == 0 || records == nullptr) {
        return -EINVAL;
    }
    for (std::size_t i = 0; i < count; ++i) {
        if (records[i].iov_len > kMaxRecord) {
            return -EMSGSIZE;
        }
    }
    if (total_length(records, count) > kMaxRecord) {
        return -EMSGSIZE;
    }
    return append_group(records, count, false, flags, ret_last, ret_each);
}

// ------------------------------------------------------------------- tickets

// A reservation may stay open for long, and a block that holds acknowledged bytes is never written
// again; so a ticket begins at a block boundary, and everything before it can be committed.
int Journal::reserve(std::size_t length, unsigned flags, Ticket *ret) {
    if (length > max_fragment_) {
        return -EMSGSIZE;
    }
    const std::uint64_t need = frame_bytes(length);
    const std::int64_t deadline = now_ns() + options_.append_timeout_ns;
    // Memory before the place: a place that is taken and has no ticket would hold the frontier for
    // ever.
    std::map<std::uint64_t, OpenTicket> memory;
    memory.emplace(0, OpenTicket{});
    auto node = memory.extract(memory.begin());
    for (;;) {
        std::uint64_t word = tail_.load(std::memory_order_acquire);
        const Lsn at = lsn_of(word);
        const std::uint64_t past = (at - base_) % options_.block_bytes;
        Lsn start = past == 0 ? at : at + options_.block_bytes - past;
        if (start != at && start - at < kFrameHeader && start != room_end(at)) {
            start += options_.block_bytes;
        }
        start = std::min(start, room_end(at));
        if (start + need > room_end(start)) {
            start = room_end(start);
        }
        const Lsn end = start + need;
        if (end - at > buffer_.size() / 2) {
            return -EMSGSIZE;  // the pad to the next segment would not fit the log buffer
        }
        if ((word & kBlocked) != 0 || end > limit_.load(std::memory_order_acquire) ||
            end > released_.load(std::memory_order_acquire) + buffer_.size()) {
            const int code = make_room(at, end, flags & ~kAppendEmergency, deadline);
            if (code < 0) {
                return code;
            }
            continue;
        }
        // Held over both steps: a leader that meets the hole asks for the ticket under this lock.
        const std::lock_guard lock(ticket_mutex_);
        if (!tail_.compare_exchange_strong(word, word_of(end, word >> 1),
                                           std::memory_order_acq_rel)) {
            continue;
        }
        ret->id = next_ticket_++;
        ret->memory = buffer_.at(start) + kFrameHeader;
        ret->length = length;
        node.key() = ret->id;
        node.mapped() = OpenTicket{start, end, length, now_ns()};
        tickets_.insert(std::move(node));
        if (start != at) {
            emit_pad(at, start, false);
        }
        return 0;
    }
}

int Journal::publish(const Ticket &ticket, Lsn *ret) {
    const std::lock_guard lock(ticket_mutex_);
    const auto found = tickets_.find(ticket.id);
    if (found == tickets_.end()) {
        return kStale;
    }
    const OpenTicket open = found->second;
    if (const int code = blocked_code(); code < 0) {
        return code;
    }
    finish_frame(open.start, open.length, kRecord, 0);
    buffer_.publish(open.start, open.end, false);
    tickets_.erase(found);
    if (ret != nullptr) {
        *ret = open.end;
    }
    return 0;
}

int Journal::abandon_ticket(const Ticket &ticket) {
    const std::lock_guard lock(ticket_mutex_);
    const auto found = tickets_.find(ticket.id);
    if (found == tickets_.end()) {
        return kStale;
    }
    emit_pad(found->second.start, found->second.end, false);
    tickets_.erase(found);
    return 0;
}

void Journal::abandon_tickets() {
    const std::lock_guard lock(ticket_mutex_);
    for (const auto &[id, open] : tickets_) {
        emit_pad(open.start, open.end, false);
    }
    tickets_.clear();
}

bool Journal::ticket_at(Lsn start) {
    const std::lock_guard lock(ticket_mutex_);
    for (const auto &[id, open] : tickets_) {
        if (open.start == start) {
            return true;
        }
    }
    return false;
}

// ---------------------------------------------------------------------- room

int Journal::make_room(Lsn from, Lsn end, unsigned flags, std::int64_t deadline) {
    if (const int code = blocked_code(); code < 0) {
        return code;
    }
    if ((tail_.load(std::memory_order_acquire) & kBlocked) != 0) {
        // restart() is at work: milliseconds.
        if ((flags & kAppendNonblock) != 0) {
            return -EAGAIN;
        }
        if (now_ns() > deadline) {
            return -ETIMEDOUT;
        }
        const timespec pause{0, 50'000};
        ::nanosleep(&pause, nullptr);
        return 0;
    }
    const bool emergency = (flags & kAppendEmergency) != 0;
    const Lsn limit = emergency ? emergency_limit_.load(std::memory_order_acquire)
                                : limit_.load(std::memory_order_acquire);
    if (end > limit) {
        const int code = ensure_segments(end, emergency);
        if (code < 0) {
            return code;
        }
    }
    return from != 0 ? wait_for_space(end, flags, deadline) : 0;
}

int Journal::wait_for_space(Lsn end, unsigned flags, std::int64_t deadline) {
    const auto fits = [&] {
        return end <= released_.load(std::memory_order_acquire) + buffer_.size();
    };
    while (!fits()) {
        if (const int code = blocked_code(); code < 0) {
            return code;
        }
        if ((flags & kAppendNonblock) != 0) {
            // What has been written may not have been taken yet.
            if (may_queue_.load(std::memory_order_relaxed) && try_baton()) {
                keep_in([this] { return submit_behind(); });
                drop_baton();
            }
            return fits() ? 0 : -EAGAIN;
        }
        if (deadline != INT64_MAX && now_ns() > deadline) {
            return -ETIMEDOUT;
        }
        counters_.space_waits.fetch_add(1, std::memory_order_relaxed);
        // Registered before looking again: the leader bumps the sequence after releasing.
        space_waiters_.fetch_add(1, std::memory_order_seq_cst);
        const std::uint32_t seen = space_sequence_.load(std::memory_order_seq_cst);
        int code = 0;
        if (!fits()) {
            if (try_baton()) {
                code = make_space();
                drop_baton();
                if (code == 0) {
                    // An unpublished frame, perhaps an old ticket, holds everything.
                    futex_wait(&space_sequence_, seen, Deadline::after(1'000'000));
                }
            } else {
                futex_wait(&space_sequence_, seen, Deadline::after(5'000'000));
            }
        }
        space_waiters_.fetch_sub(1, std::memory_order_relaxed);
        if (code < 0) {
            return code;
        }
    }
    return 0;
}

}  // namespace libfsys::journal
