// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Copying a journal so that the copy is a clean journal: one that is open here, or any by its path.
// The caller's thread; commits go on meanwhile. Trimming waits for the first kind; the second finds
// out afterwards what was trimmed under it.

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "journal/scene.hpp"

namespace libfsys::journal {
namespace {

struct Part {
    SegmentFile file;
    Lsn end;
};

// 0 when a whole group ends at `end`, which lies in this segment; -EINVAL when none does.
int check_end(Store &store, const char *name, const SegmentHeader &header, Lsn end) {
    SegmentBytes bytes;
    if (const int code = bytes.open(store, name, false); code < 0) {
        return code;
    }
    const SegmentShape shape = SegmentShape::of(header);
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
    return at == end && boundary ? 0 : -EINVAL;
}

// The watermark of a copy that ends at `end` and was closed there.
Slot closed_slot(const Uuid &uuid, std::uint64_t epoch, Lsn first, Lsn end,
                 std::uint64_t last_number) {
    Slot slot{};
    slot.uuid = uuid;
    slot.epoch = epoch;
    slot.durable_lsn = end;
    slot.trim_lsn = first;
    slot.last_number = last_number;
    slot.clean = 1;
    return slot;
}

// The new directory with its watermark, which says more than is there yet: until every segment is
// there it is no journal that could be taken for a whole one.
int begin_copy(Store &copy, const std::string &path, int root, Slot &slot) {
    int code = copy.open_dir(path, true, root);
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
    return code == 0 ? copy.write_both(slot) : code;
}

// No hard links: a recycled segment would be overwritten in the copy as well.
int copy_part(Store &from, Store &copy, const Part &part, const AlignedBuffer &piece) {
    const std::uint64_t bytes = kHeaderBlock + (part.end - part.file.first_lsn);
    const FileName name = part.file.name();
    Fd in;
    int code = from.open_segment(name, O_RDONLY, in);
    Fd out;
    if (code == 0) {
        const int fd = copy.create_new(name);
        code = fd < 0 ? fd : 0;
        out = Fd(copy.sys(), fd);
    }
    for (std::uint64_t at = 0; code == 0 && at < bytes;) {
        std::size_t got = 0;
        std::size_t done = 0;
        code = read_fully(from.sys(), in.get(), piece.data(),
                          std::min<std::uint64_t>(piece.size(), bytes - at), at, got);
        if (code == 0 && got == 0) {
            code = kCorrupt;
        }
        if (code == 0) {
            code = write_fully(copy.sys(), out.get(), piece.data(), got, at, 0, done);
        }
        at += got;
    }
    return code == 0 ? sync_file(copy.sys(), out.get(), false) : code;
}

}  // namespace

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
    if (end > durable || end < list.front().first_lsn) {
        return -EINVAL;
    }
    while (list.size() > 1 && list.back().first_lsn >= end) {
        list.pop_back();
    }
    if (end != durable && end != list.back().end && end != list.back().first_lsn) {
        const FileName name = list.back().name();
        SegmentHeader header;
        int code = store_.read_header(name, header);
        if (code == 0) {
            code = check_end(store_, name, header, end);
        }
        if (code < 0) {
            return code == -EBADMSG ? kCorrupt : code;
        }
    }
    Store copy(store_.sys());
    Slot slot = closed_slot(uuid_, epoch_, list.front().first_lsn, end,
                            list.back().number);
    int code = begin_copy(copy, path, options_.root, slot);
    const AlignedBuffer piece(std::size_t{1} << 20);
    for (std::size_t i = 0; code == 0 && i < list.size(); ++i) {
        code = copy_part(store_, copy, {list[i], std::min(list[i].end, end)}, piece);
    }
    return code == 0 ? copy.sync_dir() : code;
}

int snapshot_path(Syscalls &sys, const std::string &from, Lsn upto, const std::string &to,
                  int root) {
    Scene scene(sys);
    int code = scene.look(from, root);
    if (code < 0) {
        return code;
    }
    if (scene.damaged()) {
        return kCorrupt;
    }
    const Lsn whole = scene.writer ? scene.writer_durable : scene.end;
    const Lsn end = upto == 0 ? whole : upto;
    auto &files = scene.files;
    if (files.empty() || end > whole || end < files.front().first_lsn) {
        return files.empty() && upto == 0 ? -ENOENT : -EINVAL;
    }
    while (files.size() > 1 && files.back().first_lsn >= end) {
        files.pop_back();
    }
    SegmentHeader header;
    Slot before;
    code = scene.store.read_header(files.back().name(), header);
    if (code == 0 && end != whole && end != header.first_lsn) {
        code = check_end(scene.store, files.back().name(), header, end);
    }
    if (code == 0) {
        code = scene.store.open_mark(false);
    }
    if (code == 0) {
        code = scene.store.read_slots(before);
    }
    if (code < 0) {
        return code == -EBADMSG ? kCorrupt : code == -ENOENT && scene.writer ? -EAGAIN : code;
    }
    Store copy(sys);
    Slot slot = closed_slot(before.uuid, before.epoch, files.front().first_lsn, end,
                            files.back().number);
    code = begin_copy(copy, to, root, slot);
    if (code < 0) {
        return code;
    }
    const AlignedBuffer piece(std::size_t{1} << 20);
    std::vector<bool> there(files.size());
    for (std::size_t i = 0; code == 0 && i < files.size(); ++i) {
        const Lsn part_end = i + 1 < files.size() ? files[i + 1].first_lsn : end;
        code = copy_part(scene.store, copy, {files[i], part_end}, piece);
        there[i] = code == 0;
        code = code == -ENOENT ? 0 : code;  // trimmed: the watermark will say so
    }
    // What was trimmed meanwhile may have been overwritten while it was copied, but not before the
    // new trim point was in both slots. What was withdrawn, or cut by a new writer, raises the
    // epoch there before it is touched.
    Slot after;
    if (code == 0) {
        code = scene.store.read_slots(after);
    }
    if (code == 0 && (after.epoch != before.epoch || after.trim_lsn >= end)) {
        code = -EAGAIN;
    }
    std::size_t kept = 0;
    while (code == 0 && kept + 1 < files.size() && files[kept + 1].first_lsn <= after.trim_lsn) {
        code = there[kept] ? copy.remove(files[kept].name()) : 0;
        ++kept;
    }
    for (std::size_t i = kept; code == 0 && i < files.size(); ++i) {
        code = there[i] ? 0 : -EAGAIN;
    }
    if (code == 0 && kept != 0) {
        slot.trim_lsn = files[kept].first_lsn;
        code = copy.write_both(slot);
    }
    return code == 0 ? copy.sync_dir() : code;
}

}  // namespace libfsys::journal
