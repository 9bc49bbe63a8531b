// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Reading records in LSN order: of a journal open in this process, of one that another process
// writes, or of one that nobody writes. Never takes the writer's lock and changes nothing.
//
// A Reader is used by one thread at a time. One that was made from a Journal must go before it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "journal/journal.hpp"

namespace libfsys::journal {

enum class Bound { durable, written };

enum class Got {
    record,
    end,            // nothing more below the bound now
    gap,            // [start, lsn) was trimmed; reading goes on at lsn
    damaged,        // at `start`; see skip_damage()
    epoch_changed,  // records behind `lsn` that were returned before have been withdrawn
    error,          // Reader::code()
};

struct Record {
    Lsn start = 0;
    Lsn lsn = 0;  // just past the record: its name
    std::uint64_t epoch = 0;
    const void *data = nullptr;  // valid until the next call on the reader
    std::size_t length = 0;
};

class Reader {
public:
    // From the first record whose LSN is above `from` (0: the oldest kept).
    static int open(Journal &journal, Lsn from, Bound bound, std::unique_ptr<Reader> &ret);
    // Beside a running writer it follows that writer's frontier; without one it reads up to what
    // recovery would keep. `report` (may be null) receives that verdict.
    static int open(Syscalls &sys, const std::string &path, Lsn from, Bound bound,
                    RecoveryReport *report, std::unique_ptr<Reader> &ret, int root = -1);
    ~Reader();

    Got next(Record &ret);
    // As next(), but sleeps for the first record; Got::end on timeout. Negative: no limit.
    Got wait(Record &ret, std::int64_t timeout_ns);
    // Ends a wait() of another thread, and every later one: Got::end. Any thread.
    void interrupt();
    // Goes to the next readable frame behind damage. False when there is none.
    bool skip_damage(Lsn *ret_from, Lsn *ret_to);
    void seek(Lsn from);
    Lsn position() const { return at_; }
    int code() const { return code_; }
    bool follows() const { return live_ != nullptr; }

private:
    explicit Reader(Syscalls &sys) : store_(sys) {}
    Lsn bound() const;
    void attach();
    void poll();
    int refresh();
    Got meet_epoch(Record &ret);
    Got locate(Record &ret, bool &moved);
    bool settle();

    Store store_;
    Bound kind_ = Bound::durable;
    const LivePage *live_ = nullptr;
    LivePage *shared_ = nullptr;  // ours to let go; null when the journal's own is used
    LivePage local_{};            // what the watermark says, while the writer's page is out of reach
    // Set once, after live_ has got its last value: interrupt() then may use that.
    std::atomic<bool> can_register_{false};
    std::atomic<bool> interrupted_{false};
    Lsn fixed_bound_ = 0;
    std::uint64_t seen_epoch_ = 0;
    std::vector<SegmentFile> files_;
    std::size_t current_ = 0;
    bool in_segment_ = false;
    SegmentShape shape_;
    SegmentBytes bytes_;
    Lsn at_ = 0;
    Lsn from_ = 0;
    bool unsettled_ = true;  // at_ may lie inside a frame
    bool retried_ = false;
    std::vector<unsigned char> joined_;  // fragments of a long record
    bool joining_ = false;
    Lsn join_start_ = 0;
    int code_ = 0;
};

// -- whole-directory checks (check.cpp, explain.cpp). `root`: as Options::root

struct VerifyReport {
    RecoveryReport recovery;  // verdict, first, end ...
    std::uint64_t segments = 0, records = 0, frames = 0, bytes = 0, pads = 0;
    int code = 0;
};
// Reads every frame of every segment. Changes nothing.
void verify(Syscalls &sys, const std::string &path, VerifyReport &ret, int root = -1);
// The verdict that opening would come to. Changes nothing.
int dry_run(Syscalls &sys, const std::string &path, RecoveryReport &ret, int root = -1);

// What lies at a position, and which rule says so.
struct Finding {
    // The values are those of FSYS_JOURNAL_AT_*.
    enum State { nothing, record, pad, trimmed, end_of_log, torn, damaged };
    State state = nothing;
    Rule rule = Rule::none;
    bool writer = false;
    Lsn start = 0, end = 0;
    std::uint64_t length = 0, epoch = 0, file_offset = 0;
    Lsn proof_at = 0, proof_durable = 0;
    std::string segment, text;
};
int explain(Syscalls &sys, const std::string &path, Lsn at, Finding &ret, int root = -1);
// Of a journal that is not open here. kCorrupt where a header, or the file of pins, does not check.
int list_segments(Syscalls &sys, const std::string &path, std::vector<SegmentInfo> &ret,
                  int root = -1);
int list_pins(Syscalls &sys, const std::string &path, std::map<std::string, Pin> &ret,
              int root = -1);

// Copies what is kept, up to `upto` (0: all that is durable, or that recovery would keep), into a new
// directory, as a clean journal. -EAGAIN: trimmed or withdrawn while it was copied.
int snapshot_path(Syscalls &sys, const std::string &from, Lsn upto, const std::string &to,
                  int root = -1);

struct SalvageReport {
    std::uint64_t records = 0;
    struct Lost {
        Lsn from, to;
    };
    std::vector<Lost> lost;
};
// Copies every readable record of `from` into a new journal at `to` (new LSNs), both beneath the root
// of `options`. Never writes to `from`.
int salvage(Syscalls &sys, const std::string &from, const std::string &to, const Options &options,
            SalvageReport &ret);

}  // namespace libfsys::journal
