// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points of a journal that is open: opening, appending, durability, bounds. Any thread. The
// engine's object table owns the journals.

#include <cerrno>
#include <filesystem>

#include "abi/journals.hpp"

namespace libfsys {

static_assert(sizeof(fsys_iovec) == sizeof(iovec) &&
              offsetof(fsys_iovec, base) == offsetof(iovec, iov_base) &&
              offsetof(fsys_iovec, length) == offsetof(iovec, iov_len));
static_assert(FSYS_JOURNAL_NONBLOCK == journal::kAppendNonblock &&
              FSYS_JOURNAL_EMERGENCY == journal::kAppendEmergency);
static_assert(FSYS_E_POISONED == journal::kPoisoned && FSYS_E_CLOSED == journal::kClosed &&
              FSYS_E_STALE == journal::kStale && FSYS_E_CORRUPT == journal::kCorrupt &&
              FSYS_E_UNKNOWN == journal::kUnknown && FSYS_E_LOCKED == journal::kLocked);

int configure(const fsys_journal_options &o, journal::Options &options, Detail &detail) {
    if ((o.flags & ~(FSYS_JOURNAL_EXISTING | FSYS_JOURNAL_STRICT)) != 0) {
        return detail.say(FSYS_E_BAD_FLAG, "unknown journal flags 0x%x", o.flags);
    }
    if (o.mode > FSYS_JOURNAL_MODE_BUFFERED) {
        return detail.say(FSYS_E_BAD_FLAG, "unknown mode %u", o.mode);
    }
    if (o.preallocate > FSYS_JOURNAL_NONE) {
        return detail.say(FSYS_E_BAD_FLAG, "unknown preallocate %u", o.preallocate);
    }
    if (o.reserved != 0) {
        return detail.say(-EINVAL, "fsys_journal_options.reserved must be 0");
    }
    constexpr std::uint32_t kMostSpares = 1u << 16;
    if (o.reserve_segments > kMostSpares ||
        (o.spare_segments > kMostSpares && o.spare_segments != UINT32_MAX)) {
        return detail.say(-EINVAL, "more than %u spare or reserve segments", kMostSpares);
    }
    options.create = (o.flags & FSYS_JOURNAL_EXISTING) == 0;
    options.strict = (o.flags & FSYS_JOURNAL_STRICT) != 0;
    switch (o.mode) {
    case FSYS_JOURNAL_MODE_DIRECT: options.mode = journal::IoMode::direct; break;
    case FSYS_JOURNAL_MODE_BUFFERED: options.mode = journal::IoMode::buffered; break;
    default: options.mode = journal::IoMode::automatic; break;
    }
    switch (o.preallocate) {
    case FSYS_JOURNAL_ZERO: options.prealloc = journal::Prealloc::zero; break;
    case FSYS_JOURNAL_EXTENT: options.prealloc = journal::Prealloc::extent; break;
    case FSYS_JOURNAL_NONE: options.prealloc = journal::Prealloc::none; break;
    default: options.prealloc = journal::Prealloc::recycle; break;
    }
    const auto set = [](auto value, auto &field) { field = value != 0 ? value : field; };
    if (o.segment_bytes > std::uint64_t{1} << 39) {
        return detail.say(-EINVAL, "segment_bytes is above 512 GiB");
    }
    // The core's figure is of the file: with its header block.
    options.segment_bytes = (o.segment_bytes != 0 ? o.segment_bytes : std::uint64_t{64} << 20) +
                            journal::kHeaderBlock;
    set(o.buffer_bytes, options.buffer_bytes);
    set(o.block_bytes, options.block_bytes);
    options.max_bytes = o.max_bytes;
    options.reserve_segments = o.reserve_segments;
    set(o.spare_segments == UINT32_MAX ? 0 : o.spare_segments, options.spare_segments);
    if (o.spare_segments == UINT32_MAX) {
        options.spare_segments = 0;
    }
    if (o.append_timeout_ns != 0) {
        // Halved, so that now + timeout does not overflow: still 146 years.
        options.append_timeout_ns = static_cast<std::int64_t>(
            std::min<std::uint64_t>(o.append_timeout_ns, INT64_MAX / 2));
    }
    return 0;
}

void write_report(const journal::RecoveryReport &from, fsys_journal_report *to) {
    if (to == nullptr) {
        return;
    }
    fsys_journal_report report{};
    switch (from.verdict) {
    case journal::Verdict::fresh: report.verdict = FSYS_JOURNAL_FRESH; break;
    case journal::Verdict::clean: report.verdict = FSYS_JOURNAL_CLEAN; break;
    case journal::Verdict::torn: report.verdict = FSYS_JOURNAL_TORN; break;
    case journal::Verdict::damaged: report.verdict = FSYS_JOURNAL_DAMAGED; break;
    case journal::Verdict::io_error: report.verdict = FSYS_JOURNAL_IO_ERROR; break;
    }
    report.first_lsn = from.first;
    report.end_lsn = from.end;
    report.cut_from = from.cut_from;
    report.cut_to = from.cut_to;
    report.damage_lsn = from.damage_lsn;
    report.proof_lsn = from.proof_lsn;
    report.epoch = from.epoch;
    report.scanned_bytes = from.scanned_bytes;
    report.records = from.records_in_tail;
    report.rule = static_cast<std::uint32_t>(from.rule);
    report.writer = from.writer ? 1 : 0;
    report.proof_durable_lsn = from.proof_durable;
    report.written_lsn = from.written;
    copy_text(from.kept_name, report.kept_name);
    copy_text(from.text, report.text);
    write_struct(report, to);
}

int give_pins(const std::map<std::string, journal::Pin> &pins, fsys_journal_pinned *ret,
              std::uint32_t max) {
    std::uint32_t n = 0;
    for (const auto &[name, pin] : pins) {
        if (n == max) {
            break;
        }
        fsys_journal_pinned info{};
        copy_text(name, info.name);
        info.lsn = pin.lsn;
        info.max_bytes = pin.max_bytes;
        ret[n++] = info;
    }
    return static_cast<int>(pins.size());
}

namespace {

constexpr std::uint32_t kAppendFlags = FSYS_JOURNAL_NONBLOCK | FSYS_JOURNAL_EMERGENCY;
constexpr std::uint32_t kMostPieces = 1024;
constexpr std::uint32_t kMostRecords = 65536;

// 0 when every piece is sane, so that the core may add their lengths.
int check_pieces(const fsys_iovec *pieces, std::size_t count) {
    if (pieces == nullptr && count != 0) {
        return -EINVAL;
    }
    for (std::size_t i = 0; i < count; ++i) {
        if (pieces[i].base == nullptr && pieces[i].length != 0) {
            return -EINVAL;
        }
        if (pieces[i].length > journal::kMaxRecord) {
            return -EMSGSIZE;
        }
    }
    return 0;
}

const iovec *as_iovec(const fsys_iovec *pieces) {
    return reinterpret_cast<const iovec *>(pieces);
}

// Runs `body(journal)` in a call on an open journal.
template <class F>
int with_journal(fsys_journal *handle, F &&body) noexcept {
    return guarded([&]() -> int {
        const ObjectCall call(handle, kKindJournal);
        return call.code() != 0 ? call.code() : body(*call.object().journal);
    });
}

// Runs `body(journal, op, sink)` with an op that the sink will end, if it returns 0.
template <class F>
int submit(fsys_journal *handle, std::uint64_t user_data, fsys_op *ret_op, F &&body) noexcept {
    return guarded([&]() -> int {
        const ObjectCall call(handle, kKindJournal);
        if (call.code() != 0) {
            return call.code();
        }
        Engine &engine = call.engine();
        std::uint32_t slot = 0;
        fsys_op op = 0;
        int code = engine.begin_external(FSYS_OP_SYNC, 0, user_data, ret_op == nullptr, slot, op);
        if (code != 0) {
            return code;
        }
        // Until it is accepted nobody but this call knows the slot.
        try {
            code = body(*call.object().journal, op, call.engine_call().objects().sink());
        } catch (...) {
            engine.drop_external(slot);
            throw;
        }
        if (code < 0) {
            engine.drop_external(slot);
            return code;
        }
        if (ret_op != nullptr) {
            *ret_op = op;
        }
        if (engine.config.caller_driven) {
            // The driver thread leads the flush; it may be asleep.
            call.engine_call().objects().await_driver();
            engine.ring_bell();
        }
        return code;
    });
}

}  // namespace
}  // namespace libfsys

using namespace libfsys;

int fsys_journal_open(fsys *handle, const char *path, const fsys_journal_options *options,
                      fsys_journal_report *ret_report, fsys_journal **ret_journal) noexcept {
    return guarded([&]() -> int {
        fsys_journal_options o{};
        int code = read_struct(options, o);
        if (code != 0) {
            return code;
        }
        Detail detail(o.error_text, o.error_text_size);
        const Call call(handle);
        if (call.code() != 0) {
            return detail.say(call.code(), "%s", fsys_strerror(call.code()));
        }
        code = check_size(ret_report);
        if (code != 0) {
            return detail.say(code, "fsys_journal_report.struct_size is wrong");
        }
        if (path == nullptr || ret_journal == nullptr) {
            return detail.say(-EINVAL, "%s", path == nullptr ? "the path is NULL"
                                                             : "there is no place for the journal");
        }
        journal::Options config;
        code = configure(o, config, detail);
        if (code != 0) {
            return code;
        }
        ObjectTable &objects = call.objects();
        config.runner = call.engine().config.caller_driven ? nullptr : objects.runner();
        Object *object = objects.allocate();
        if (object == nullptr) {
            return detail.say(-EMFILE, "too many journals and readers are open on this handle");
        }
        journal::RecoveryReport report;
        journal::Journal *opened = nullptr;
        try {
            // Readers are opened by the path later, when the working directory may be another.
            std::string lasting = path;
            std::error_code no_directory;
            if (call.engine().root_fd >= 0) {
                config.root = call.engine().root_fd;
            } else if (const auto absolute = std::filesystem::absolute(path, no_directory);
                       !no_directory && *path != '\0') {
                lasting = absolute.string();
            }
            code = journal::Journal::open(call.engine().sys, lasting, config, &report, &opened);
        } catch (...) {
            objects.give_back(*object);
            throw;
        }
        write_report(report, ret_report);
        if (code < 0) {
            objects.give_back(*object);
            return detail.say(code, "%s: %s", path,
                              report.text.empty() ? fsys_strerror(code) : report.text.c_str());
        }
        object->journal.reset(opened);
        *ret_journal = reinterpret_cast<fsys_journal *>(
            object_id(call.engine().config.handle_index, object->index,
                      objects.open(*object, kKindJournal), kKindJournal));
        return 0;
    });
}

int fsys_journal_close(fsys_journal *journal) noexcept {
    return guarded([&]() -> int {
        ObjectCall call(journal, kKindJournal);
        if (call.code() != 0) {
            return call.code();
        }
        Object &object = call.object();
        if (object.readers.load(std::memory_order_acquire) != 0) {
            return -EBUSY;
        }
        call.drop_use();
        return call.engine_call().objects().close(object, call.generation());
    });
}

// ----------------------------------------------------------------- appending

int fsys_journal_append(fsys_journal *journal, const void *data, size_t length, uint32_t flags,
                        uint64_t *ret_lsn) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int {
        if ((flags & ~kAppendFlags) != 0) {
            return FSYS_E_BAD_FLAG;
        }
        const fsys_iovec piece{const_cast<void *>(data), length};
        const int code = check_pieces(&piece, 1);
        return code != 0 ? code : j.append(data, length, flags, ret_lsn);
    });
}

int fsys_journal_appendv(fsys_journal *journal, const fsys_iovec *pieces, uint32_t count,
                         uint32_t flags, uint64_t *ret_lsn) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int {
        if ((flags & ~kAppendFlags) != 0) {
            return FSYS_E_BAD_FLAG;
        }
        const int code = count > kMostPieces ? -EINVAL : check_pieces(pieces, count);
        return code != 0 ? code : j.appendv(as_iovec(pieces), static_cast<int>(count), flags, ret_lsn);
    });
}

int fsys_journal_append_batch(fsys_journal *journal, const fsys_iovec *records, uint32_t count,
                              uint32_t flags, uint64_t *ret_last, uint64_t *ret_each) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int {
        if ((flags & ~kAppendFlags) != 0) {
            return FSYS_E_BAD_FLAG;
        }
        const int code =
            count == 0 || count > kMostRecords ? -EINVAL : check_pieces(records, count);
        return code != 0 ? code
                         : j.append_batch(as_iovec(records), count, flags, ret_last, ret_each);
    });
}

int fsys_journal_reserve(fsys_journal *journal, size_t length, uint32_t flags,
                         fsys_journal_ticket *ret_ticket) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int {
        if ((flags & ~kAppendFlags) != 0) {
            return FSYS_E_BAD_FLAG;
        }
        if (ret_ticket == nullptr || (flags & FSYS_JOURNAL_EMERGENCY) != 0) {
            return -EINVAL;
        }
        journal::Ticket ticket;
        const int code = j.reserve(length, flags, &ticket);
        if (code == 0) {
            *ret_ticket = {ticket.id, ticket.memory, ticket.length};
        }
        return code;
    });
}

int fsys_journal_publish(fsys_journal *journal, const fsys_journal_ticket *ticket,
                         uint64_t *ret_lsn) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int {
        return ticket == nullptr ? -EINVAL : j.publish({ticket->id, nullptr, 0}, ret_lsn);
    });
}

int fsys_journal_abandon(fsys_journal *journal, const fsys_journal_ticket *ticket) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int {
        return ticket == nullptr ? -EINVAL : j.abandon_ticket({ticket->id, nullptr, 0});
    });
}

// ---------------------------------------------------------------- durability

int fsys_journal_sync(fsys_journal *journal, uint64_t lsn, int64_t timeout_ns) noexcept {
    return with_journal(journal,
                        [&](journal::Journal &j) -> int { return j.sync(lsn, timeout_ns); });
}

int fsys_journal_commit(fsys_journal *journal, const void *data, size_t length, uint32_t flags,
                        int64_t timeout_ns, uint64_t *ret_lsn) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int {
        if ((flags & ~kAppendFlags) != 0) {
            return FSYS_E_BAD_FLAG;
        }
        const fsys_iovec piece{const_cast<void *>(data), length};
        const int code = check_pieces(&piece, 1);
        return code != 0 ? code : j.commit(data, length, flags, timeout_ns, ret_lsn);
    });
}

int fsys_journal_write_out(fsys_journal *journal) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int { return j.write_out(); });
}

int fsys_journal_submit_sync(fsys_journal *journal, uint64_t lsn, uint64_t user_data,
                             fsys_op *ret_op) noexcept {
    return submit(journal, user_data, ret_op,
                  [&](journal::Journal &j, fsys_op op, journal::CompletionSink *sink) {
                      return j.submit_sync(lsn, op, sink);
                  });
}

int fsys_journal_submit_commit(fsys_journal *journal, const void *data, size_t length,
                               uint32_t flags, uint64_t user_data, uint64_t *ret_lsn,
                               fsys_op *ret_op) noexcept {
    return submit(journal, user_data, ret_op,
                  [&](journal::Journal &j, fsys_op op, journal::CompletionSink *sink) {
                      if ((flags & ~kAppendFlags) != 0) {
                          return FSYS_E_BAD_FLAG;
                      }
                      const fsys_iovec piece{const_cast<void *>(data), length};
                      const int code = check_pieces(&piece, 1);
                      return code != 0 ? code
                                       : j.submit_commit(data, length, flags, op, sink, ret_lsn);
                  });
}

int fsys_journal_submit_sealed(fsys_journal *journal, uint64_t after, uint64_t user_data,
                               fsys_op *ret_op) noexcept {
    return submit(journal, user_data, ret_op,
                  [&](journal::Journal &j, fsys_op op, journal::CompletionSink *sink) {
                      return j.submit_sealed(after, op, sink);
                  });
}

int fsys_journal_frontier(fsys_journal *journal, fsys_journal_frontiers *ret_frontiers) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int {
        if (ret_frontiers == nullptr) {
            return -EINVAL;
        }
        const journal::Frontier f = j.frontier();
        // `published` is as the last flush saw it and may lag behind the others.
        const std::uint64_t written = std::max(f.written, f.durable);
        const std::uint64_t published = std::max(f.published, written);
        *ret_frontiers = {std::max(f.reserved, published), published,    written,
                          f.durable,                       f.unknown_lo, f.unknown_hi};
        return 0;
    });
}

// -------------------------------------------------------------------- bounds

int fsys_journal_trim(fsys_journal *journal, uint64_t below) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int { return j.trim(below); });
}

int fsys_journal_truncate(fsys_journal *journal, uint64_t lsn) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int { return j.truncate_after(lsn); });
}

int fsys_journal_rotate(fsys_journal *journal) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int { return j.rotate(); });
}

int fsys_journal_pin(fsys_journal *journal, const char *name, uint64_t lsn,
                     uint64_t max_bytes) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int {
        return name == nullptr ? -EINVAL : j.pin(name, lsn, max_bytes);
    });
}

int fsys_journal_unpin(fsys_journal *journal, const char *name) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int {
        return name == nullptr ? -EINVAL : j.unpin(name);
    });
}

int fsys_journal_pins(fsys_journal *journal, fsys_journal_pinned *ret_pins, uint32_t max) noexcept {
    return with_journal(journal, [&](journal::Journal &j) -> int {
        if (ret_pins == nullptr && max != 0) {
            return -EINVAL;
        }
        return give_pins(j.pins(), ret_pins, max);
    });
}
