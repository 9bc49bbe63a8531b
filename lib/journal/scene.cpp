// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Looking at a directory that somebody else may be writing. The caller's thread; nothing is shared.

#include "journal/scene.hpp"

#include <algorithm>
#include <cerrno>

namespace libfsys::journal {

int Scene::look(const std::string &path, int root) {
    int code = store.open_dir(path, false, root);
    const int alive = code < 0 ? code : store.writer_alive();
    if (alive < 0) {
        return alive;
    }
    writer = alive > 0;
    if (!writer) {
        state = examine(store);
        if (state.verdict == Verdict::io_error || state.verdict == Verdict::fresh) {
            return state.verdict == Verdict::fresh ? -ENOENT : state.code;
        }
        for (const ChainSegment &segment : state.chain) {
            files.push_back(segment.file);
        }
        first = state.first;
        end = state.end;
        return 0;
    }
    // The frontiers before the names: what is written then lies in a segment that has one.
    RecoveryReport report;
    std::unique_ptr<Reader> reader;
    code = Reader::open(store.sys(), path, 0, Bound::written, &report, reader, root);
    Listing listing;
    if (code == 0) {
        code = store.list(listing);
    }
    first = report.first;
    end = report.written;
    writer_durable = report.end;
    files = std::move(listing.segments);
    std::size_t old = 0;
    while (old + 1 < files.size() && files[old + 1].first_lsn <= first) {
        ++old;
    }
    files.erase(files.begin(), files.begin() + static_cast<std::ptrdiff_t>(old));
    return code;
}

Lsn Scene::proven(const SegmentHeader &header) const {
    if (writer) {
        return writer_durable;
    }
    const bool agree = state.has_slot && header.uuid == state.slot.uuid &&
                       header.epoch <= state.slot.epoch;
    return agree ? state.slot.durable_lsn : 0;
}

Lsn Scene::limit(std::size_t index, const SegmentHeader &header) const {
    const Lsn room = header.first_lsn + header.data_bytes;
    if (index + 1 < files.size()) {
        return std::min(room, files[index + 1].first_lsn);
    }
    if (!damaged()) {
        return std::min(room, end);
    }
    return header.epoch <= state.slot.cut_epoch ? std::min(room, state.slot.cut_lsn) : room;
}

}  // namespace libfsys::journal
