// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A journal open for writing.
//
// Threads: every public member may be called from any thread at any time, except open() and
// close(), which the owner serialises with everything else.
//
// Who owns what:
//  - tail_ (an atomic word) hands out positions; whoever's compare-and-swap wins owns the bytes
//    [start, end) of the log buffer until it publishes them.
//  - The *baton* (baton_) is held by one thread at a time, the leader: only it walks the frontier,
//    writes, syncs, rotates. All fields under "baton" below are its.
//  - segments_mutex_ guards the list of segments and spares; slot_mutex_ the watermark slots;
//    async_mutex_ the asynchronous syncs; ticket_mutex_ the open reservations;
//    maintain_mutex_ serialises trim, truncate, pins and snapshot; watch_mutex_ guards the requests
//    for sealed segments. Order of locking: maintain, baton, slot, watch, segments. async and ticket
//    are leaves.
#pragma once

#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "engine/task.hpp"
#include "journal/fifo.hpp"
#include "journal/live.hpp"
#include "journal/log_buffer.hpp"
#include "journal/scan.hpp"
#include "journal/store.hpp"

namespace libfsys::journal {

struct Completion {
    std::uint64_t cookie;
    std::int64_t result;
};

// Where asynchronous requests report, group by group. Called by a thread that led a flush or sealed a
// segment; must not block, nor call the journal.
class CompletionSink {
public:
    virtual void complete(const Completion *group, std::size_t count) = 0;

protected:
    ~CompletionSink() = default;
};

using Task = PoolTask;

// Lends a thread, once per run(): the engine's pool (which has the calling thread do the work when it
// has none), or a test's own.
class Runner {
public:
    virtual void run(Task *task) = 0;

protected:
    ~Runner() = default;
};

class Journal;

// Work of a journal that a thread is lent for, at most once at a time. The journal stays until it is
// back.
class Loan : public Task {
public:
    explicit Loan(Journal &of) : journal(of) {}
    // False: there is nobody to lend a thread, or the last loan is not back.
    bool lend(Runner *runner) {
        if (runner == nullptr || lent_.exchange(true, std::memory_order_acq_rel)) {
            return false;
        }
        runner->run(this);
        return true;
    }
    bool lent() const { return lent_.load(std::memory_order_acquire); }

protected:
    ~Loan() = default;
    Journal &journal;

private:
    virtual void work() = 0;
    void run() final {
        work();
        lent_.store(false, std::memory_order_release);  // the last access
    }
    std::atomic<bool> lent_{false};
};

enum class IoMode { automatic, direct, buffered };
enum class Prealloc { recycle, zero, extent, none };

struct Options {
    std::uint64_t segment_bytes = std::uint64_t{64} << 20;  // of a segment file
    std::uint64_t buffer_bytes = std::uint64_t{8} << 20;    // log buffer, power of two
    std::uint32_t block_bytes = 4096;       // commits end at multiples of this
    std::uint64_t max_bytes = 0;            // of segment files, spares included; 0: no cap
    std::uint32_t reserve_segments = 0;     // spares that only emergency appends may use
    std::uint32_t spare_segments = 2;       // most spares kept besides the reserve
    Prealloc prealloc = Prealloc::recycle;
    IoMode mode = IoMode::automatic;
    bool create = true;
    bool strict = false;  // watermark made durable after each sync, at the cost of a second flush
    std::int64_t append_timeout_ns = 30'000'000'000;  // longest wait for room in the log buffer
    Runner *runner = nullptr;
    int root = -1;  // a directory that no path of the journal leaves; its owner outlives the journal
};

// What opening found and did.
struct RecoveryReport {
    Verdict verdict = Verdict::fresh;
    Lsn first = 0;
    Lsn end = 0;           // new records begin behind this
    Lsn cut_from = 0;      // bytes that were cut: [cut_from, cut_to), equal when none were kept
    Lsn cut_to = 0;
    Lsn damage_lsn = 0;
    Lsn proof_lsn = 0;     // frame that proves the damage, 0: the watermark, or none
    Lsn proof_durable = 0; // through here all had been durable, says the proof
    Lsn written = 0;       // `end`, or the written frontier of a writer
    Rule rule = Rule::none;
    bool writer = false;   // one has it open
    std::uint64_t epoch = 0;
    std::uint64_t scanned_bytes = 0;
    std::uint64_t records_in_tail = 0;  // whole records in the segment that was scanned
    std::string kept_name;
    std::string text;

    static RecoveryReport of(const State &state);
};

struct Frontier {
    Lsn reserved, published, written, durable, unknown_lo, unknown_hi;
};

struct Ticket {
    std::uint64_t id = 0;
    void *memory = nullptr;
    std::uint64_t length = 0;
};

struct SegmentInfo {
    std::string name;
    std::uint64_t number, epoch, file_bytes;
    Lsn first, end;  // end: where frames end; of the active segment its room
    bool sealed;
};

struct Stat {
    Frontier frontier;
    Lsn first;
    std::uint64_t epoch, segments, spares, bytes_on_disk, syncs, sync_ns, flushed_bytes, frames,
        commits, led, gathers, gather_misses, rotations, recycled, space_waits, open_tickets,
        oldest_ticket_ns, async_pending, pins_dropped;
    bool direct, poisoned;
};

struct Pin {
    Lsn lsn = 0;
    std::uint64_t max_bytes = 0;  // 0: no cap
};
// The file of pins. 0, also when there is none; -EBADMSG when it does not check.
int read_pins(Store &store, std::map<std::string, Pin> &ret);

inline constexpr unsigned kAppendNonblock = 1;   // -EAGAIN instead of waiting for buffer room
inline constexpr unsigned kAppendEmergency = 2;  // may use the reserve
inline constexpr int kPoisoned = -4099;  // FSYS_E_POISONED and its kin, see fsys/error.h
inline constexpr int kClosed = -4097;
inline constexpr int kStale = -4098;
inline constexpr int kCorrupt = -4109;
inline constexpr int kUnknown = -4111;
inline constexpr int kLocked = -4112;

class Journal final : Task {
public:
    // `report` may be null; it is filled on success and after kCorrupt.
    static int open(Syscalls &sys, const std::string &path, const Options &options,
                    RecoveryReport *report, Journal **ret);
    ~Journal();
    // Makes everything durable, writes the clean watermark, releases the lock. The object is of no
    // further use but to be destroyed.
    int close();
    // Lets go of the files and writes nothing, as a dying process would. For tests.
    void abandon();
    // In a fork child: gives up the descriptors only. The live page is the parent's, and a thread
    // of the parent may have held any of the locks.
    void close_in_child() {
        active_fd_.reset();
        handover_.last.reset();
        store_.close_all();
    }

    // -- append. Success gives the LSN just past the record.
    int append(const void *data, std::size_t length, unsigned flags, Lsn *ret) {
        const iovec piece{const_cast<void *>(data), length};
        return appendv(&piece, 1, flags, ret);
    }
    int appendv(const iovec *pieces, int count, unsigned flags, Lsn *ret);
    // All or none after a crash. `ret_each` (may be null) receives each record's LSN.
    int append_batch(const iovec *records, std::size_t count, unsigned flags, Lsn *ret_last,
                     Lsn *ret_each);
    int reserve(std::size_t length, unsigned flags, Ticket *ret);
    int publish(const Ticket &ticket, Lsn *ret);
    int abandon_ticket(const Ticket &ticket);
    // All that are open: nobody will publish them any more.
    void abandon_tickets();

    // -- durability
    int sync(Lsn lsn, std::int64_t timeout_ns);
    int commit(const void *data, std::size_t length, unsigned flags, std::int64_t timeout_ns,
               Lsn *ret);
    // Hands everything published to the kernel, without a promise about power loss.
    int write_out();
    int submit_sync(Lsn lsn, std::uint64_t cookie, CompletionSink *sink);
    int submit_commit(const void *data, std::size_t length, unsigned flags, std::uint64_t cookie,
                      CompletionSink *sink, Lsn *ret);
    // Leads one flush for the asynchronous syncs on this thread; how many it ended.
    int drive();
    // Takes back an asynchronous request that has not ended, a sync or one for a sealed segment. True:
    // its sink will not be told of it any more. Cookies must be unlike each other for this.
    bool revoke(std::uint64_t cookie);

    // -- bounds
    int trim(Lsn below);
    int truncate_after(Lsn lsn);
    int rotate();
    int pin(const std::string &name, Lsn lsn, std::uint64_t max_bytes);
    int unpin(const std::string &name);
    std::map<std::string, Pin> pins();
    // Copies everything up to a durable LSN (0: all that is durable) into a new directory, which
    // is then a clean journal of its own.
    int snapshot(Lsn upto, const std::string &path);

    // -- observe
    Frontier frontier() const;
    Stat stat();
    std::vector<SegmentInfo> segments();
    std::string cause();
    Lsn durable() const { return durable_.load(std::memory_order_acquire); }
    Lsn written() const { return written_.load(std::memory_order_acquire); }
    Lsn first();
    const LivePage *live() const { return live_; }
    const std::string &path() const { return path_; }
    int root() const { return options_.root; }
    Syscalls &sys() const { return store_.sys(); }
    bool direct() const { return direct_; }
    // Completes with the number of the oldest sealed segment above `after`, at once or when there is
    // one; kStale when a truncation withdraws what was told before.
    int submit_sealed(std::uint64_t after, std::uint64_t cookie, CompletionSink *sink);
    bool async_pending() const { return pending_count_.load(std::memory_order_acquire) != 0; }

private:
    struct Live : SegmentFile {  // a segment in use
        explicit Live(const SegmentFile &file) : SegmentFile(file) {}
        // All that is ever asked of a header. Until then, of a segment of an earlier run, `epoch` is 0.
        void know(const SegmentHeader &header) {
            epoch = header.epoch;
            data_bytes = header.data_bytes;
            crc = header.crc;
        }
        Lsn end = 0;  // where its frames end, once sealed; its room before
        std::uint64_t epoch = 0;
        std::uint64_t data_bytes = 0;
        std::uint32_t crc = 0;
        bool sealed = false;
    };
    struct OpenTicket {
        Lsn start, end;
        std::uint64_t length;
        std::int64_t since;
    };
    struct Pending {
        Lsn lsn;
        std::uint64_t cookie;
        CompletionSink *sink;
    };
    struct Watch {  // a request for the next sealed segment
        std::uint64_t after, cookie;
        CompletionSink *sink;
    };
    struct Flight {  // a write in the queue, which begins where the one before it ends
        Lsn to;
        ssize_t result;
        bool pending;
    };
    struct Crossing {  // what the walker saw when it stepped over a segment's end
        Lsn room_end, group_end;
    };
    // From a full segment to its successor, see rotate.cpp. begin_successor() fills it in, carry_out()
    // runs once, on a lent thread or on the leader's; everything else is the leader's.
    struct Handover final : Loan {
        static constexpr std::uint32_t kNone = 0, kReady = 1, kTaken = 2, kDone = 3;

        using Loan::Loan;
        Fd last;                  // the full one, none at a start
        bool last_dirty = false;  // written without a sync since
        std::uint64_t spare = 0;  // what the successor still is
        SegmentHeader header{};   // of the successor; its crc is known once it is written
        const char *step = "";
        int code = 0;
        std::atomic<std::uint32_t> state{kNone};  // futex word

        bool pending() const { return state.load(std::memory_order_relaxed) != kNone; }
        bool under_way() const {
            const std::uint32_t now = state.load(std::memory_order_relaxed);
            return now == kReady || now == kTaken;
        }
        bool carry_out();
        void perform();
        void work() override;
    };
    struct Piece {  // of a record: where its next frame goes
        Lsn pad_from, start;
        std::uint64_t length;
    };

    Journal(Syscalls &sys, const std::string &path, const Options &options);

    // open.cpp
    int recover(RecoveryReport &report);
    int cut_tail(State &state, RecoveryReport &report);
    int begin_epoch();
    int choose_mode(const char *spare);
    void adopt_spares(const Listing &listing);
    // append.cpp
    static constexpr std::uint64_t kBlocked = 1;
    static Lsn lsn_of(std::uint64_t word) { return word >> 9 << 3; }
    static std::uint64_t word_of(Lsn lsn, std::uint64_t generation) {
        return lsn >> 3 << 9 | (generation & 0xff) << 1;
    }
    Lsn room_end(Lsn lsn) const {
        return base_ + ((lsn - base_) / data_bytes_ + 1) * data_bytes_;
    }
    Piece place(Lsn at, std::uint64_t remaining) const;
    int make_room(Lsn from, Lsn end, unsigned flags, std::int64_t deadline);
    int wait_for_space(Lsn end, unsigned flags, std::int64_t deadline);
    int blocked_code();
    void emit_pad(Lsn from, Lsn to, bool group_more);
    void finish_frame(Lsn start, std::uint64_t length, std::uint8_t type, std::uint8_t flags);
    int append_group(const iovec *records, std::size_t count, bool one_record, unsigned flags,
                     Lsn *ret_last, Lsn *ret_each);
    enum class Flush {
        written,  // given to the kernel
        durable,
        behind,  // given to the kernel while another thread changes segments
    };
    // behind.cpp: all but the first with the baton
    static constexpr unsigned kFlights = 4;
    static constexpr std::uint64_t kLongestPiece = std::uint64_t{1} << 20;
    enum class Wait { none, oldest, all };
    void write_behind();
    int submit_behind();
    int reap(Wait wait);
    int land(Lsn to, ssize_t result);
    int settle();
    int make_space();
    int cross_over();
    void lend_handover();
    void plan_behind(Lsn from);
    // Where the kernel's share ends: written, or in flight.
    Lsn submitted() const {
        return flights_ == 0 ? written_raw_
                             : flight_[(first_flight_ + flights_ - 1) % kFlights].to;
    }
    // flush.cpp and rotate.cpp: all with the baton
    bool try_baton();
    void take_baton();
    void drop_baton();
    void release_baton();
    void close_if_done();
    void walk(Lsn limit);
    int flush(Flush how);
    int flush_all(Flush how);
    int write_range(Lsn to, Flush how);
    void advance(Lsn to);
    int write_blocks(std::uint64_t least, Flush how);
    int sync_segment(Lsn to);
    int rotate_segment(Flush how);
    int change_segment();
    int start_segment(Lsn first, Lsn open_group);
    int begin_successor(Lsn first, Lsn open_group);
    int end_handover();
    int close_handover();
    template <class F>
    int keep_in(F &&body);
    void publish_progress();
    int fail(const char *step, int code, Lsn lo, Lsn hi);
    bool ticket_at(Lsn start);
    // commit.cpp
    static std::uint32_t finished(std::uint32_t generation) { return (generation + 1) << 8; }
    int lead(std::uint32_t generation);
    static void kick(std::atomic<std::uint32_t> &done, int count);
    int outcome(Lsn lsn);
    void wake_everyone();
    // async.cpp
    void run() override;
    int complete_async();
    void schedule_async();
    // sealed.cpp
    std::int64_t sealed_above(std::uint64_t after);
    void announce_sealed(std::uint64_t kept = ~std::uint64_t{0});
    template <class F>
    void end_watches(F &&result);
    void end_all_watches(int code);
    bool withdraw_watch(std::uint64_t cookie);
    // segments.cpp
    int ensure_segments(Lsn end, bool emergency);
    int ensure_spare();
    int make_one_spare(std::uint64_t id);
    bool wants_spare();
    void prepare_ahead();
    void update_limits();
    int quiesce(Lsn *tail);
    void resume(Lsn tail);
    int restart(Lsn at, bool raise_epoch);
    int restart_unguarded(Lsn at, bool raise_epoch);
    int find_boundary(Lsn lsn, bool &boundary);
    int drop_front(Lsn below);
    int complete_header(Live &live);
    int save_pins();
    Lsn pin_floor(Lsn below);

    Store store_;
    const std::string path_;
    Options options_;
    Runner *runner_;

    // Constant while anybody may append (changed by restart() under kBlocked).
    // Segments of this run begin at base_ + k * data_bytes_. Atomic because appenders read it
    // before they own anything; a stale value never survives their compare-and-swap.
    std::atomic<Lsn> base_{0};
    std::uint64_t data_bytes_ = 0;  // room per segment
    std::uint64_t max_fragment_ = 0;
    std::uint32_t key_ = 0;
    std::atomic<std::uint64_t> epoch_{0};
    Uuid uuid_{};
    bool direct_ = false;

    LogBuffer buffer_;

    // Appenders. Word: position / 8 << 9 | generation << 1 | blocked. The generation makes a
    // compare-and-swap fail when restart() changed base_ and came back to the same position.
    alignas(64) std::atomic<std::uint64_t> tail_{0};
    // Read by appenders, written by leaders.
    alignas(64) std::atomic<Lsn> released_{0};  // bytes below are no longer needed in the buffer
    std::atomic<Lsn> behind_at_{0};             // who appends beyond it sees to write_behind()
    std::atomic<Lsn> limit_{0};                 // segments exist below this
    std::atomic<Lsn> emergency_limit_{0};
    std::atomic<Lsn> durable_{0};               // record boundary
    std::atomic<Lsn> written_{0};               // record boundary
    std::atomic<Lsn> published_{0};             // as the last walk saw it
    std::atomic<Lsn> unknown_lo_{0};
    std::atomic<Lsn> unknown_hi_{0};
    std::atomic<int> poison_{0};                // the code of the first failure
    std::atomic<bool> closed_{false};
    std::atomic<bool> may_queue_{false};        // direct, and no queue has been refused

    // Group commit, see commit.cpp.
    static constexpr std::uint32_t kGenerations = 16;
    alignas(64) std::atomic<std::uint64_t> joined_{0};  // generation << 32 | members
    std::atomic<std::uint32_t> expected_{1};
    std::atomic<std::uint32_t> orphan_{~0u};  // generation whose timer has gone
    std::atomic<std::int64_t> released_at_{0};
    std::atomic<std::int64_t> sync_ema_ns_{200'000};
    // Futex word: what finished() says of the last generation that ended here, plus a counter in the
    // low byte that kick() raises.
    struct alignas(64) Done {
        std::atomic<std::uint32_t> generation{0};
    };
    Done done_[kGenerations];
    std::uint32_t skip_left_ = 0;  // baton
    std::uint32_t skip_next_ = 1;  // baton

    // The baton: 0 free, 1 held, 2 held and wanted.
    alignas(64) std::atomic<std::uint32_t> baton_{0};
    std::atomic<std::uint32_t> space_sequence_{0};
    std::atomic<std::uint32_t> space_waiters_{0};

    // Fields of the baton.
    Lsn frontier_ = 0;      // everything below is published
    Lsn group_end_ = 0;     // last group boundary at or below frontier_
    Lsn written_raw_ = 0;   // multiple of the block size from base_
    Lsn durable_raw_ = 0;
    bool dirty_ = false;    // written without a sync since
    Fifo<Crossing> crossings_;
    Fd active_fd_;
    SegmentHeader active_{};
    std::uint64_t prepared_for_ = 0;  // number of the segment whose successor was thought of
    Handover handover_{*this};
    std::uint64_t piece_ = 0;  // of write_behind(): constant
    std::array<Flight, kFlights> flight_{};
    unsigned first_flight_ = 0;
    unsigned flights_ = 0;
    std::unique_ptr<WriteQueue> queue_;  // goes before the buffer does

    std::mutex segments_mutex_;
    Fifo<Live> live_segments_;
    std::vector<std::uint64_t> spares_;
    std::uint64_t next_spare_ = 1;
    std::mutex prepare_mutex_;  // one thread makes spares; taken before segments_mutex_

    std::mutex slot_mutex_;
    Slot slot_{};
    LivePage *live_ = nullptr;

    std::mutex async_mutex_;
    std::vector<Pending> pending_;  // by LSN; those before pending_head_ are gone
    std::size_t pending_head_ = 0;
    std::atomic<std::size_t> pending_count_{0};
    bool async_running_ = false;

    std::mutex watch_mutex_;
    std::vector<Watch> watches_;

    std::mutex ticket_mutex_;
    std::map<std::uint64_t, OpenTicket> tickets_;
    std::uint64_t next_ticket_ = 1;

    std::mutex maintain_mutex_;
    std::map<std::string, Pin> pins_;

    std::mutex cause_mutex_;
    std::string cause_;

    struct Counters {
        std::atomic<std::uint64_t> syncs{0}, sync_ns{0}, flushed{0}, frames{0}, commits{0}, led{0},
            gathers{0}, gather_misses{0}, rotations{0}, recycled{0}, space_waits{0},
            pins_dropped{0};
    } counters_;
    // Writes out what appenders have filled.
    struct Behind final : Loan {
        using Loan::Loan;
        void work() override;
    } behind_{*this};
    // Makes the next spare before anybody needs it.
    struct Ahead final : Loan {
        using Loan::Loan;
        void work() override;
    } ahead_{*this};
};

// No exception leaves a leader: it would leave the baton held, and end the process when a pool thread
// leads. Memory is asked for only when a segment is sealed or opened, and then its fate is unknown.
template <class F>
int Journal::keep_in(F &&body) {
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return fail("finding memory for", -ENOMEM, durable_raw_, written_raw_);
    }
}

}  // namespace libfsys::journal
