// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Frame walking and the verdict torn / damaged. No thread of its own, no shared state.

#include "journal/scan.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "platform/planted.hpp"

namespace libfsys::journal {
namespace {

constexpr std::size_t kWindow = std::size_t{1} << 20;

bool zero_bytes(const unsigned char *bytes, std::size_t length) {
    return length == 0 || (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, length - 1) == 0);
}

}  // namespace

int SegmentBytes::open(Store &store, const char *name, bool fresh) {
    store_ = &store;
    have_ = 0;
    int code = -EINVAL;
    if (fresh) {
        code = store.open_segment(name, O_RDONLY | O_DIRECT, fd_);
    }
    if (code == -EINVAL) {
        code = store.open_segment(name, O_RDONLY, fd_);
        if (code == 0 && fresh) {
            store.sys().advise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
        }
    }
    return code;
}

int SegmentBytes::view(std::uint64_t at, std::size_t want, const unsigned char **ret,
                       std::size_t *length) {
    if (at < start_ || at + want > start_ + have_) {
        const std::uint64_t start = at & ~std::uint64_t{4095};
        std::size_t need = (at - start) + want;
        if (need > buffer_.size()) {
            struct stat info{};
            const int code = store_->stat(fd_.get(), info);
            if (code < 0) {
                return code;
            }
            const auto size = static_cast<std::uint64_t>(info.st_size);
            // Never more than the file has: a length field cannot make memory grow.
            need = std::min<std::uint64_t>(need, size > start ? size - start : 0);
            const std::size_t window = std::max<std::size_t>(
                need, std::min<std::uint64_t>(kWindow, size > start ? size - start : 4096));
            if (window > buffer_.size()) {
                buffer_ = AlignedBuffer(window);
            }
        }
        start_ = start;
        have_ = 0;
        std::size_t done = 0;
        const std::uint64_t edge = std::max(cap_, at + want);
        const std::uint64_t upto = edge > ~std::uint64_t{8191} ? edge : (edge + 4095) & ~std::uint64_t{4095};
        const std::size_t length_now = static_cast<std::size_t>(
            std::min<std::uint64_t>(buffer_.size(), upto > start ? upto - start : 4096));
        const int code =
            read_fully(store_->sys(), fd_.get(), buffer_.data(), length_now, start, done);
        if (code < 0) {
            return code;
        }
        have_ = done;
        if (cap_ != ~std::uint64_t{0}) {
            // Bytes behind the cap came along with their block and may still change.
            have_ = static_cast<std::size_t>(std::min<std::uint64_t>(
                done, std::max(cap_, at + want) - start));
        }
    }
    const std::uint64_t skip = at - start_;
    *ret = buffer_.data() + skip;
    *length = have_ > skip ? have_ - skip : 0;
    return 0;
}

const char *step_text(Step step) {
    switch (step) {
    case Step::frame: return "a good frame";
    case Step::gap: return "the gap at the end of a segment";
    case Step::end: return "the end of the segment";
    case Step::file_end: return "the end of the file";
    case Step::zero: return "zeros";
    case Step::stale: return "bytes of an earlier use";
    case Step::torn_header: return "a frame header that does not check";
    case Step::torn_body: return "a frame whose payload does not check";
    case Step::read_error: return "a read error";
    }
    return "?";
}

SegmentShape SegmentShape::of(const SegmentHeader &header) {
    SegmentShape shape;
    shape.header = header;
    shape.key = frame_key(header.uuid, header.epoch);
    shape.limit = shape.room_end();
    return shape;
}

Step next_frame(SegmentBytes &bytes, const SegmentShape &shape, Lsn at, FrameView &ret) {
    if (at >= shape.limit) {
        return Step::end;
    }
    const unsigned char *data = nullptr;
    std::size_t have = 0;
    const std::uint64_t offset = shape.offset(at);
    const std::uint64_t room = shape.room_end() - at;
    ret.code = bytes.view(offset, std::min<std::uint64_t>(room, kFrameHeader), &data, &have);
    if (ret.code < 0) {
        return Step::read_error;
    }
    if (have == 0) {
        return Step::file_end;
    }
    if (room < kFrameHeader) {
        if (!zero_bytes(data, std::min<std::uint64_t>(have, room))) {
            return Step::stale;
        }
        ret.next = shape.room_end();
        return have >= room ? Step::gap : Step::file_end;
    }
    if (have < kFrameHeader) {
        return zero_bytes(data, have) ? Step::zero : Step::torn_header;
    }
    std::memcpy(&ret.header, data, kFrameHeader);
    if (planted(Bug::length_before_crc) && ret.header.magic == kFrameMagic) {
        ret.header.lsn = at;
    } else if (!header_valid(ret.header, shape.key, at)) {
        if (zero_bytes(data, kFrameHeader)) {
            return Step::zero;
        }
        return ret.header.lsn == at ? Step::torn_header : Step::stale;
    }
    const std::uint64_t total = frame_bytes(ret.header.length);
    // Also frames that reach beyond a truncation are not frames of this log.
    if (total > room || at + total > shape.limit) {
        return Step::torn_body;
    }
    ret.code = bytes.view(offset, total, &data, &have);
    if (ret.code < 0) {
        return Step::read_error;
    }
    if (have < total) {
        return Step::torn_body;
    }
    ret.payload = data + kFrameHeader;
    ret.next = at + total;
    if (!planted(Bug::crc_skipped) && !payload_valid(ret.header, ret.payload, shape.key)) {
        return Step::torn_body;
    }
    return Step::frame;
}

namespace {

// Looks for frames of this epoch behind a bad position: at every multiple of the alignment, since
// no length is to be trusted. A header alone is proof enough: its own CRC covers durable_lsn.
void search_behind(SegmentBytes &bytes, const SegmentShape &shape, Lsn bad_at, Tail &tail) {
    const Lsn room_end = shape.limit;
    for (Lsn at = bad_at + kFrameAlign; at + kFrameHeader <= room_end;) {
        const unsigned char *data = nullptr;
        std::size_t have = 0;
        const int code = bytes.view(shape.offset(at), kFrameHeader, &data, &have);
        if (code < 0) {
            tail.code = code;
            return;
        }
        if (have < kFrameHeader) {
            return;
        }
        std::size_t i = 0;
        for (; i + kFrameHeader <= have && at + i + kFrameHeader <= room_end; i += kFrameAlign) {
            std::uint64_t lsn;
            std::memcpy(&lsn, data + i + offsetof(FrameHeader, lsn), sizeof lsn);
            if (lsn != at + i) {
                continue;
            }
            FrameHeader header;
            std::memcpy(&header, data + i, sizeof header);
            if (!header_valid(header, shape.key, at + i)) {
                continue;
            }
            tail.torn = true;
            tail.keep_to = std::max(
                tail.keep_to, std::min(room_end, at + i + frame_bytes(header.length)));
            if (header.durable_lsn > bad_at && !planted(Bug::damage_is_torn)) {
                tail.damaged = true;
                tail.proof_at = at + i;
                tail.proof_durable = header.durable_lsn;
                return;
            }
        }
        at += i;
    }
}

}  // namespace

Tail scan_tail(SegmentBytes &bytes, const SegmentShape &shape, Lsn group_start, Lsn proven,
               Lsn closed) {
    Tail tail;
    const Lsn first = shape.header.first_lsn;
    tail.end = group_start != 0 ? group_start : first;
    tail.in_group = group_start != 0;
    Lsn at = first;
    FrameView frame;
    for (;;) {
        tail.reason = next_frame(bytes, shape, at, frame);
        if (tail.reason == Step::frame) {
            at = frame.next;
            tail.in_group = (frame.header.flags & kGroupMore) != 0;
            if (!tail.in_group || planted(Bug::group_not_checked)) {
                tail.end = at;
            }
            tail.records += frame.header.type == kRecord &&
                            (frame.header.flags & kFragmentMore) == 0;
        } else if (tail.reason == Step::gap) {
            at = frame.next;
            if (!tail.in_group) {
                tail.end = at;
            }
        } else {
            break;
        }
    }
    tail.bad_at = at;
    tail.keep_to = at;
    if (tail.reason == Step::read_error) {
        tail.code = frame.code;
        return tail;
    }
    if (tail.reason == Step::torn_body) {
        tail.torn = true;
        tail.keep_to = std::min(shape.limit, at + frame_bytes(frame.header.length));
    } else if (tail.reason == Step::torn_header) {
        tail.torn = true;
        tail.keep_to = std::min<Lsn>(shape.limit, at + 4096);
    }
    tail.torn = tail.torn || tail.in_group;
    tail.looked_to = std::min(at, shape.limit);
    // Behind an orderly close no frame of the epoch was ever written: most of a segment need not be
    // read. What claims this position is looked into nevertheless.
    const bool ended = at == closed && !tail.torn &&
                       (tail.reason == Step::zero || tail.reason == Step::stale);
    if (tail.reason != Step::end && tail.reason != Step::file_end && !ended) {
        search_behind(bytes, shape, at, tail);
        tail.looked_to = shape.limit;
    }
    if (!tail.damaged && tail.code == 0 && proven > tail.end && !planted(Bug::damage_is_torn)) {
        tail.damaged = true;
        tail.proof_durable = proven;
    }
    return tail;
}

}  // namespace libfsys::journal
