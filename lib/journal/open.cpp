// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Opening for write: examine, cut what is torn, raise the epoch, begin a new segment; and closing.
// The owner's thread only.
//
// Every open begins a segment of its own, so that an epoch is a property of a segment and nothing
// is ever written behind old bytes. Order, each step durable before the next: (1) the recovered
// bytes, (2) the copy of what will be cut, (3) both watermark slots with the new epoch and the
// cut, (4) names that are void go, (5) the last segment is cut to its exact length, (6) the new
// segment. A crash between any two leaves a state from which the same steps lead to the same end.

#include <fcntl.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

#include "engine/futex.hpp"
#include "journal/journal.hpp"
#include "platform/planted.hpp"

namespace libfsys::journal {

namespace {

bool valid(const Options &o) {
    return o.block_bytes >= 512 && o.block_bytes <= 65536 && std::has_single_bit(o.block_bytes) &&
           std::has_single_bit(o.buffer_bytes) && o.buffer_bytes >= 65536 &&
           o.buffer_bytes <= std::uint64_t{1} << 32 && o.buffer_bytes >= 8 * std::uint64_t{o.block_bytes} &&
           o.segment_bytes >= kHeaderBlock + 2 * std::uint64_t{o.block_bytes} &&
           (o.segment_bytes - kHeaderBlock) % o.block_bytes == 0 &&
           o.segment_bytes <= std::uint64_t{1} << 40;
}

}  // namespace

Journal::Journal(Syscalls &sys, const std::string &path, const Options &options)
    : store_(sys), path_(path), options_(options), runner_(options.runner) {}

Journal::~Journal() { abandon(); }

int Journal::open(Syscalls &sys, const std::string &path, const Options &options,
                  RecoveryReport *report, Journal **ret) {
    if (!valid(options) || ret == nullptr) {
        return -EINVAL;
    }
    RecoveryReport own;
    RecoveryReport &told = report != nullptr ? *report : own;
    told = RecoveryReport{};
    try {
        std::unique_ptr<Journal> journal(new Journal(sys, path, options));
        const int code = journal->recover(told);
        if (code < 0) {
            return code;
        }
        *ret = journal.release();
        return 0;
    } catch (const std::bad_alloc &) {
        return -ENOMEM;
    }
}

int Journal::recover(RecoveryReport &report) {
    data_bytes_ = options_.segment_bytes - kHeaderBlock;
    max_fragment_ = (std::min({std::uint64_t{1} << 20, options_.buffer_bytes / 4, data_bytes_ / 2}) -
                     kFrameHeader) & ~std::uint64_t{kFrameAlign - 1};
    int code = store_.open_dir(path_, options_.create, options_.root);
    if (code < 0) {
        report.text = "cannot open the directory";
        return code;
    }
    // Nothing may be made in a directory that is not a journal. One that has a watermark is, and is
    // listed only once, by examine(): with many segments that is most of what opening costs.
    Fd mark;
    if (store_.open_segment(kMarkName, O_RDONLY, mark) < 0) {
        Listing listing;
        code = store_.list(listing);
        if (code < 0) {
            report.text = "cannot list the directory";
            return code;
        }
        if (!listing.mark && listing.segments.empty()) {
            if (!options_.create) {
                report.text = "no journal in the directory";
                return -ENOENT;
            }
            if (listing.foreign != 0) {
                report.text = "the directory holds other files, such as " + listing.foreign_name;
                return -ENOTEMPTY;
            }
        }
    }
    mark.reset();
    code = store_.lock();
    if (code < 0) {
        report.text = code == -EAGAIN ? "another writer has the journal open"
                                      : "cannot open or lock the lock file";
        return code == -EAGAIN ? kLocked : code;
    }
    State state = examine(store_);
    report = RecoveryReport::of(state);
    if (state.verdict == Verdict::io_error) {
        return state.code;
    }
    if (state.verdict == Verdict::damaged) {
        return kCorrupt;
    }
    if (state.verdict == Verdict::fresh) {
        if (::getrandom(uuid_.data(), uuid_.size(), 0) != static_cast<ssize_t>(uuid_.size())) {
            return -EIO;
        }
        code = store_.create_mark();
        if (code < 0) {
            return code;
        }
        slot_ = Slot{};
        slot_.uuid = uuid_;
        slot_.epoch = 1;
        slot_.durable_lsn = slot_.trim_lsn = kFirstLsn;
        code = store_.write_both(slot_);
    } else {
        code = store_.open_mark(true);
        if (code == 0) {
            code = cut_tail(state, report);
        }
        if (code == 0) {
            code = read_pins(store_, pins_);
        }
    }
    if (code < 0) {
        return code;
    }
    adopt_spares(state.listing);
    const Lsn end = state.end;
    base_ = end;
    frontier_ = group_end_ = written_raw_ = durable_raw_ = end;
    released_ = published_ = written_ = durable_ = end;
    code = buffer_.create(options_.buffer_bytes);
    if (code == 0) {
        buffer_.restart(end);
        code = begin_epoch();
    }
    piece_ = std::max<std::uint64_t>(options_.block_bytes,
                                     std::min<std::uint64_t>(buffer_.size() / 8, kLongestPiece));
    may_queue_.store(direct_, std::memory_order_relaxed);
    plan_behind(end);
    report.epoch = epoch_;
    tail_.store(word_of(end, 0), std::memory_order_release);
    return code;
}

int Journal::cut_tail(State &state, RecoveryReport &report) {
    uuid_ = state.uuid;
    slot_ = state.slot;
    const Lsn end = state.end;
    const ChainSegment *last = nullptr;  // the one that stays and holds `end`
    for (const auto &segment : state.chain) {
        if (segment.file.first_lsn < end) {
            last = &segment;
        }
    }
    SegmentHeader last_header{};
    if (last != nullptr) {
        int code = 0;
        if (last->header != nullptr) {
            last_header = *last->header;
        } else {
            code = store_.read_header(last->file.name(), last_header);
        }
        if (code < 0) {
            return code == -EBADMSG ? kCorrupt : code;
        }
        // What a killed writer had only handed to the kernel becomes part of the log now.
        Fd fd;
        code = store_.open_segment(last->file.name(), O_RDWR, fd);
        if (code == 0 && !planted(Bug::no_recovery_sync)) {
            code = sync_file(store_.sys(), fd.get(), false);
        }
        if (code < 0) {
            return code;
        }
    }
    if (state.tail.torn) {
        for (const auto &segment : state.chain) {
            const Lsn from = std::max(end, segment.file.first_lsn);
            const Lsn to = &segment == &state.chain.back() ? state.tail.keep_to
                                                           : (&segment + 1)->file.first_lsn;
            if (segment.file.first_lsn + kFrameAlign > to || from >= to) {
                continue;
            }
            char name[64];
            std::snprintf(name, sizeof name, "%s%016llx-%llx", kKeptPrefix,
                          static_cast<unsigned long long>(from),
                          static_cast<unsigned long long>(state.epoch));
            const int code = store_.keep_aside(
                segment.file.name(), kHeaderBlock + (from - segment.file.first_lsn),
                kHeaderBlock + (to - segment.file.first_lsn), name);
            if (code < 0) {
                return code;  // nothing was changed yet
            }
            report.kept_name = name;
        }
    }
    const std::uint64_t old_epoch = std::max(state.epoch, slot_.epoch);
    slot_.epoch = planted(Bug::epoch_not_raised) ? old_epoch : old_epoch + 1;
    slot_.durable_lsn = end;
    slot_.cut_lsn = end;
    slot_.cut_epoch = planted(Bug::epoch_not_raised) ? 0 : old_epoch;
    slot_.clean = 0;
    slot_.last_number = last != nullptr ? last->file.number : slot_.last_number;
    if (last == nullptr) {
        slot_.trim_lsn = end;
    }
    int code = store_.write_both(slot_);
    if (code < 0) {
        return code;
    }
    bool names_changed = false;
    for (const auto &file : state.dead) {
        if (code == 0) {
            code = store_.remove(file.name());
            names_changed = true;
        }
    }
    // What the last run had begun and nobody had been promised: its room serves again, as that of a
    // trimmed segment does. Filling a new one with zeros would be most of what opening costs.
    auto &spares = state.listing.spares;
    for (const auto &segment : state.chain) {
        if (code == 0 && segment.file.first_lsn >= end) {
            if (options_.prealloc == Prealloc::recycle) {
                const std::uint64_t id = spares.empty() ? 1 : spares.back() + 1;
                code = store_.rename(segment.file.name(), spare_name(id));
                spares.push_back(id);
            } else {
                code = store_.remove(segment.file.name());
            }
            names_changed = true;
        }
    }
    if (code == 0 && names_changed) {
        code = store_.sync_dir();
    }
    if (code == 0 && last != nullptr) {
        code = store_.cut_file(last->file.name(), kHeaderBlock + (end - last->file.first_lsn));
    }
    if (code < 0) {
        return code;
    }
    live_segments_.reserve(state.chain.size() + 1);
    for (std::size_t i = 0; i < state.chain.size(); ++i) {
        const ChainSegment &segment = state.chain[i];
        if (segment.file.first_lsn >= end) {
            break;
        }
        Live live(segment.file);
        live.sealed = true;
        live.end = end;
        if (&segment == last) {
            live.know(last_header);
        } else {
            live.end = state.chain[i + 1].file.first_lsn;
        }
        live_segments_.push_back(live);
    }
    return 0;
}

// Spares of an earlier run serve again when they have the right size, and, unless none is wanted, room
// on disk for it; more than wanted go.
void Journal::adopt_spares(const Listing &listing) {
    const std::uint64_t bytes = kHeaderBlock + data_bytes_;
    const std::uint64_t room = options_.prealloc == Prealloc::none ? 0 : bytes;
    for (const std::uint64_t id : listing.spares) {
        next_spare_ = std::max(next_spare_, id + 1);
        Fd fd;
        struct stat info{};
        const FileName name = spare_name(id);
        const bool fits =
            store_.open_segment(name, O_RDONLY, fd) == 0 &&
            store_.stat(fd.get(), info) == 0 &&
            static_cast<std::uint64_t>(info.st_size) == bytes &&
            static_cast<std::uint64_t>(info.st_blocks) * 512 >= room &&
            spares_.size() < options_.spare_segments + options_.reserve_segments + 1;
        if (fits) {
            spares_.push_back(id);
        } else {
            store_.remove(name);  // a leftover that stays does no harm
        }
    }
}

int Journal::choose_mode(const char *spare) {
    direct_ = false;
    if (options_.mode == IoMode::buffered) {
        return 0;
    }
    Fd direct;
    Fd buffered;
    int code = store_.open_segment(spare, O_RDWR | O_DIRECT, direct);
    const AlignedBuffer zeros(options_.block_bytes);
    std::size_t done = 0;
    if (code == 0) {
        code = write_fully(store_.sys(), direct.get(), zeros.data(), options_.block_bytes,
                           kHeaderBlock, RWF_DSYNC, done);
    }
    if (code < 0) {
        // No O_DIRECT here (tmpfs before 6.6, some FUSE) or no RWF_DSYNC.
        return options_.mode == IoMode::direct || (code != -EINVAL && code != -EOPNOTSUPP) ? code
                                                                                           : 0;
    }
    direct_ = true;
    if (options_.mode == IoMode::direct) {
        return 0;
    }
    code = store_.open_segment(spare, O_RDWR, buffered);
    if (code < 0) {
        return code;
    }
    // Best of a few each, taken in turns so that a drifting device treats both alike. The bytes
    // are zeros over zeros: the header block of a spare is written later.
    std::int64_t best[2] = {INT64_MAX, INT64_MAX};
    for (int round = 0; round < 5; ++round) {
        for (int way = 0; way < 2; ++way) {
            const std::int64_t begin = now_ns();
            code = write_fully(store_.sys(), way == 0 ? direct.get() : buffered.get(),
                               zeros.data(), options_.block_bytes, kHeaderBlock,
                               way == 0 ? RWF_DSYNC : 0, done);
            if (code == 0 && way == 1) {
                code = sync_file(store_.sys(), buffered.get(), true);
            }
            if (code < 0) {
                return code;
            }
            best[way] = std::min(best[way], now_ns() - begin);
        }
    }
    // Direct IO also names the write that failed and keeps the log out of the page cache, so the
    // other must be clearly better.
    direct_ = best[0] <= best[1] + best[1] / 5;
    sync_ema_ns_ = std::max<std::int64_t>(best[direct_ ? 0 : 1], 1000);
    return 0;
}

int Journal::begin_epoch() {
    epoch_ = slot_.epoch;
    key_ = frame_key(uuid_, epoch_);
    int code = ensure_spare();
    if (code == 0) {
        code = choose_mode(spare_name(spares_.back()));
    }
    if (code == 0) {
        code = start_segment(base_, 0);
    }
    if (code == 0) {
        // Extents that will be rewritten are worth having from the start.
        const std::lock_guard lock(segments_mutex_);
        update_limits();
    }
    void *page = nullptr;
    if (code == 0) {
        code = store_.share_live(Syscalls::Share::owner, &page);
    }
    if (code < 0) {
        return code;
    }
    live_ = static_cast<LivePage *>(page);
    live_->failed.store(0, std::memory_order_relaxed);
    live_->epoch.store(epoch_, std::memory_order_relaxed);
    live_->durable.store(durable_, std::memory_order_relaxed);
    live_->written.store(written_, std::memory_order_relaxed);
    live_->first.store(first(), std::memory_order_relaxed);
    live_->open.store(1, std::memory_order_relaxed);
    live_->sequence.fetch_add(1, std::memory_order_seq_cst);
    futex_wake_shared(&live_->sequence);
    // The reserve is made now, while there is room for it, not in the emergency.
    std::uint64_t missing;
    {
        const std::lock_guard lock(segments_mutex_);
        missing = options_.reserve_segments > spares_.size()
                      ? options_.reserve_segments - spares_.size()
                      : 0;
    }
    for (; code == 0 && missing != 0; --missing) {
        const std::lock_guard prepare(prepare_mutex_);
        code = make_one_spare(next_spare_++);
    }
    return code;
}

int Journal::close() {
    if (closed_.load(std::memory_order_acquire)) {
        return kClosed;
    }
    abandon_tickets();
    tail_.fetch_or(kBlocked, std::memory_order_acq_rel);
    take_baton();
    int code = flush(Flush::durable);
    drop_baton();
    complete_async();
    for (;;) {
        // Lent threads must have left before the object goes.
        bool busy = behind_.lent() || handover_.lent() || ahead_.lent();
        {
            const std::lock_guard lock(async_mutex_);
            busy = busy || async_running_;
        }
        if (!busy) {
            break;
        }
        const timespec pause{0, 100'000};
        ::nanosleep(&pause, nullptr);
    }
    if (code == 0) {
        const std::lock_guard lock(slot_mutex_);
        slot_.durable_lsn = durable_.load();
        slot_.clean = 1;
        ++slot_.sequence;
        code = store_.write_hot(slot_, true);
    }
    closed_.store(true, std::memory_order_release);
    wake_everyone();
    store_.unlock();
    abandon();
    return code;
}

void Journal::abandon() {
    closed_.store(true, std::memory_order_release);
    end_all_watches(-ECANCELED);
    if (live_ != nullptr) {
        live_->open.store(0, std::memory_order_relaxed);
        live_->sequence.fetch_add(1, std::memory_order_seq_cst);
        futex_wake_shared(&live_->sequence);
        store_.sys().unshare(live_);
        live_ = nullptr;
    }
    queue_.reset();
    active_fd_.reset();
    store_.close_all();
}

// ------------------------------------------------------------------ observing

Frontier Journal::frontier() const {
    Frontier f{};
    // Read from the far end back: each is at most the one before it, whatever happens meanwhile.
    f.unknown_hi = unknown_hi_.load(std::memory_order_acquire);
    f.unknown_lo = unknown_lo_.load(std::memory_order_acquire);
    f.durable = durable_.load(std::memory_order_acquire);
    f.written = written_.load(std::memory_order_acquire);
    f.published = published_.load(std::memory_order_acquire);
    f.reserved = lsn_of(tail_.load(std::memory_order_acquire));
    return f;
}

Stat Journal::stat() {
    Stat s{};
    s.frontier = frontier();
    s.first = first();
    s.epoch = epoch_;
    s.direct = direct_;
    s.poisoned = poison_.load() != 0;
    {
        const std::lock_guard lock(segments_mutex_);
        s.segments = live_segments_.size();
        s.spares = spares_.size();
        s.bytes_on_disk = spares_.size() * (kHeaderBlock + data_bytes_);
        for (const Live &live : live_segments_) {
            s.bytes_on_disk += kHeaderBlock + (live.end - live.first_lsn);
        }
    }
    {
        const std::lock_guard lock(ticket_mutex_);
        s.open_tickets = tickets_.size();
        std::int64_t oldest = INT64_MAX;
        for (const auto &[id, ticket] : tickets_) {
            oldest = std::min(oldest, ticket.since);
        }
        s.oldest_ticket_ns = tickets_.empty() ? 0 : static_cast<std::uint64_t>(now_ns() - oldest);
    }
    s.async_pending = pending_count_.load();
    s.syncs = counters_.syncs;
    s.sync_ns = counters_.sync_ns;
    s.flushed_bytes = counters_.flushed;
    s.frames = counters_.frames;
    s.commits = counters_.commits;
    s.led = counters_.led;
    s.gathers = counters_.gathers;
    s.gather_misses = counters_.gather_misses;
    s.rotations = counters_.rotations;
    s.recycled = counters_.recycled;
    s.space_waits = counters_.space_waits;
    s.pins_dropped = counters_.pins_dropped;
    return s;
}

std::string Journal::cause() {
    const std::lock_guard lock(cause_mutex_);
    return cause_;
}

}  // namespace libfsys::journal
