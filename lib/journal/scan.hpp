// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Reading without believing: frames of one segment, the verdict on a journal's end, and the state
// of a whole directory. Changes nothing on disk; used by open, dry run, readers, verify, salvage.
//
// Objects are used by one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "journal/store.hpp"

namespace libfsys::journal {

// A window on a segment file, read in large aligned pieces, with O_DIRECT when `fresh` is asked
// and possible (after a failed write the page cache may show what the disk does not have).
class SegmentBytes {
public:
    SegmentBytes() = default;
    int open(Store &store, const char *name, bool fresh);
    // The bytes from file offset `at`: at least `want` of them unless the file ends before, or an
    // error code. Valid until the next call.
    int view(std::uint64_t at, std::size_t want, const unsigned char **ret, std::size_t *length);
    void forget() { have_ = 0; }  // the next view reads again
    // Offset from which on nothing is read: a follower must not keep bytes that are not final yet.
    void set_cap(std::uint64_t cap) { cap_ = cap; }
    bool is_open() const { return static_cast<bool>(fd_); }
    void close() {
        fd_.reset();
        have_ = 0;
    }

private:
    Store *store_ = nullptr;
    Fd fd_;
    AlignedBuffer buffer_;
    std::uint64_t start_ = 0;
    std::size_t have_ = 0;
    std::uint64_t cap_ = ~std::uint64_t{0};
};

enum class Step {
    frame,       // `header` and `payload` are good
    gap,         // the zero bytes, too few for a frame, at the end of a segment
    end,         // the position is the end of the segment's room
    file_end,    // the file has no byte here
    zero,        // no frame: the header is all zero
    stale,       // no frame: whatever is here does not claim this position
    torn_header, // claims this position, but the header does not check
    torn_body,   // good header, payload does not check or is cut by the end of the file
    read_error,  // `code`
};
const char *step_text(Step step);

struct FrameView {
    FrameHeader header;
    const unsigned char *payload = nullptr;
    Lsn next = 0;  // position behind this frame
    int code = 0;
};

// Where one segment lies and how its frames are keyed.
struct SegmentShape {
    SegmentHeader header;
    std::uint32_t key = 0;
    Lsn limit = 0;  // frames end here at the latest (a truncation, or the room of the segment)

    static SegmentShape of(const SegmentHeader &header);
    std::uint64_t offset(Lsn lsn) const { return kHeaderBlock + (lsn - header.first_lsn); }
    Lsn room_end() const { return header.first_lsn + header.data_bytes; }
};

Step next_frame(SegmentBytes &bytes, const SegmentShape &shape, Lsn at, FrameView &ret);

// Verdict on the last segment. The rules are those of docs/journal-design.md, "Recovery".
struct Tail {
    Lsn end = 0;           // behind the last complete atomic group
    Lsn bad_at = 0;        // first position without a good frame
    Step reason = Step::end;
    bool damaged = false;  // bytes at bad_at had been acknowledged
    Lsn proof_at = 0;      // the later frame that proves it; 0: the watermark does
    Lsn proof_durable = 0;
    Lsn keep_to = 0;       // bytes worth keeping aside end here
    bool torn = false;     // something of this epoch was there and is not complete
    bool in_group = false; // bad_at lies inside an atomic group that began at `end`
    std::uint64_t records = 0;
    Lsn looked_to = 0;     // everything below was read
    int code = 0;          // a read error: neither torn nor damaged
};

// `group_start`: where the atomic group began that runs into the segment, or 0. `proven`: all below had
// been durable. `closed`: where an orderly close ended the log of this epoch, or 0.
Tail scan_tail(SegmentBytes &bytes, const SegmentShape &shape, Lsn group_start, Lsn proven,
               Lsn closed);

enum class Verdict { fresh, clean, torn, damaged, io_error };

// What a verdict rests on; the values are those of FSYS_JOURNAL_RULE_*.
enum class Rule {
    none, end, unproved, group, frame, watermark, successor, structure, trimmed, writer
};

// A sentence, cut at 511 bytes.
std::string say(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct ChainSegment {
    SegmentFile file;
    std::unique_ptr<SegmentHeader> header;  // once read: opening reads those of the last ones only
};

// What a directory holds, as recovery sees it.
struct State {
    Verdict verdict = Verdict::fresh;
    Rule rule = Rule::none;
    int code = 0;        // of an io_error
    std::string text;    // a sentence: what was found where
    Listing listing;
    bool has_slot = false;  // `slot` is one that a writer may have written
    Slot slot{};
    std::vector<ChainSegment> chain;  // kept segments, oldest first
    std::vector<SegmentFile> dead;    // below the trim point or above a truncation: to be removed
    Lsn first = kFirstLsn;  // first position kept
    Lsn end = kFirstLsn;    // behind the last complete group
    std::uint64_t epoch = 0;       // highest seen
    Uuid uuid{};
    Tail tail;           // of the last segment
    Lsn damage_lsn = 0;  // where the first damage is
    std::uint64_t scanned_bytes = 0;
};

// Looks at names, watermark, the headers of the last segments, and scans the last one. Cost does
// not grow with the length of the journal beyond listing its names.
State examine(Store &store);

}  // namespace libfsys::journal
