// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Copying a running journal so that the copy is a clean journal. The caller's thread; commits go
// on meanwhile, trimming waits.

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "journal/journal.hpp"

namespace libfsys::journal {

// No hard links: a recycled segment would be overwritten in the copy as well.
int Journal::snapshot(Lsn upto, const std::string &path) {
    const std::lock_guard maintain(maintain_mutex_);
    if (closed_.load(std::memory_order_acquire)) {
        return kClosed;
    }
    const Lsn durable = durable_.load(std::memory_order_acquire);
    const Lsn end = upto == 0 ? durable : upto;
    std::vector<Live> list;
    {
        const std::lock_guard lock(segments_mutex_);
        for (Live &live : live_segments_) {
            if (const int code = complete_header(live); code < 0) {
                return code;
            }
        }
        list.assign(live_segments_.begin(), live_segments_.end());
    }
    if (end > durable || end < list.front().header.first_lsn) {
        return -EINVAL;
    }
    while (list.size() > 1 && list.back().header.first_lsn >= end) {
        list.pop_back();
    }
    // The copy must end with a complete group.
    if (end != durable && end != list.back().end && end != list.back().header.first_lsn) {
        SegmentBytes bytes;
        int code = bytes.open(store_, list.back().name, false);
        if (code < 0) {
            return code;
        }
        const SegmentShape shape = SegmentShape::of(list.back().header);
        bytes.set_cap(shape.offset(end));
        FrameView frame;
        Lsn at = shape.header.first_lsn;
        bool boundary = false;
        while (at < end) {
            const Step step = next_frame(bytes, shape, at, frame);
            if (step != Step::frame && step != Step::gap) {
                return step == Step::read_error ? frame.code : kCorrupt;
            }
            at = frame.next;
            boundary = step == Step::gap || (frame.header.flags & kGroupMore) == 0;
        }
        if (at != end || !boundary) {
            return -EINVAL;
        }
    }
    Store copy(store_.sys());
    int code = copy.open_dir(path, true, options_.root);
    Listing listing;
    if (code == 0) {
        code = copy.list(listing);
    }
    if (code == 0 && (!listing.segments.empty() || listing.mark || listing.foreign != 0)) {
        code = -ENOTEMPTY;
    }
    if (code == 0) {
        code = copy.create_mark();
    }
    if (code == 0) {
        Slot slot{};
        slot.uuid = uuid_;
        slot.epoch = epoch_;
        slot.durable_lsn = end;
        slot.trim_lsn = list.front().header.first_lsn;
        slot.last_number = list.back().header.number;
        slot.clean = 1;
        code = copy.write_both(slot);
    }
    AlignedBuffer piece(std::size_t{1} << 20);
    for (std::size_t i = 0; code == 0 && i < list.size(); ++i) {
        const Live &live = list[i];
        const std::uint64_t bytes =
            kHeaderBlock + (std::min(live.end, end) - live.header.first_lsn);
        Fd in;
        code = store_.open_segment(live.name, O_RDONLY, in);
        Fd out;
        if (code == 0) {
            const int fd = copy.sys().open(copy.dir(), live.name.c_str(),
                                           O_RDWR | O_CREAT | O_EXCL, 0666);
            code = fd < 0 ? fd : 0;
            out = Fd(copy.sys(), fd);
        }
        for (std::uint64_t at = 0; code == 0 && at < bytes;) {
            std::size_t got = 0;
            std::size_t done = 0;
            code = read_fully(store_.sys(), in.get(), piece.data(),
                              std::min<std::uint64_t>(piece.size(), bytes - at), at, got);
            if (code == 0 && got == 0) {
                code = kCorrupt;
            }
            if (code == 0) {
                code = write_fully(copy.sys(), out.get(), piece.data(), got, at, 0, done);
            }
            at += got;
        }
        if (code == 0) {
            code = copy.sys().fsync(out.get());
        }
    }
    return code == 0 ? copy.sync_dir() : code;
}

}  // namespace libfsys::journal
