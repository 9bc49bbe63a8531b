// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points of readers. Opening and closing from any thread; the rest one thread at a time per
// reader, which is enforced. The engine's object table owns the readers.

#include <cerrno>

#include "abi/journals.hpp"

using namespace libfsys;

namespace {

int open_reader(const Call &call, const std::string &path, uint64_t from, std::uint32_t flags,
                fsys_journal_report *ret_report, Object *journal,
                fsys_journal_reader **ret_reader) {
    if ((flags & ~FSYS_JOURNAL_READ_WRITTEN) != 0) {
        return FSYS_E_BAD_FLAG;
    }
    if (ret_reader == nullptr) {
        return -EINVAL;
    }
    ObjectTable &objects = call.objects();
    Object *object = objects.allocate();
    if (object == nullptr) {
        return -EMFILE;
    }
    journal::RecoveryReport report;
    std::unique_ptr<journal::Reader> reader;
    int code = 0;
    try {
        // By the path also for a journal that is open here: with a live page of its own the reader
        // does not depend on the journal's life.
        code = journal::Reader::open(call.engine().sys, path, from,
                                     (flags & FSYS_JOURNAL_READ_WRITTEN) != 0 ? journal::Bound::written
                                                                        : journal::Bound::durable,
                                     &report, reader, call.engine().root_fd);
    } catch (...) {
        objects.give_back(*object);
        throw;
    }
    write_report(report, ret_report);
    if (code < 0) {
        objects.give_back(*object);
        return code;
    }
    object->reader = std::move(reader);
    object->busy.store(false, std::memory_order_relaxed);
    object->parent = journal;
    if (journal != nullptr) {
        journal->readers.fetch_add(1, std::memory_order_relaxed);
    }
    *ret_reader = reinterpret_cast<fsys_journal_reader *>(
        object_id(call.engine().config.handle_index, object->index,
                  objects.open(*object, kKindReader), kKindReader));
    return 0;
}

template <class F>
int with_reader(fsys_journal_reader *handle, F &&body) noexcept {
    return guarded([&]() -> int {
        const ObjectCall call(handle, kKindReader);
        if (call.code() != 0) {
            return call.code();
        }
        const Turn turn(call.object());
        return turn ? body(*call.object().reader, call.object()) : -EBUSY;
    });
}

}  // namespace

int fsys_journal_reader_open_path(fsys *handle, const char *path, uint64_t from, uint32_t flags,
                     fsys_journal_report *ret_report, fsys_journal_reader **ret_reader) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        if (call.code() != 0) {
            return call.code();
        }
        int code = check_size(ret_report);
        if (code == 0 && path == nullptr) {
            code = -EINVAL;
        }
        return code != 0 ? code : open_reader(call, path, from, flags, ret_report, nullptr, ret_reader);
    });
}

int fsys_journal_reader_open(fsys_journal *journal, uint64_t from, uint32_t flags,
                        fsys_journal_reader **ret_reader) noexcept {
    return guarded([&]() -> int {
        const ObjectCall call(journal, kKindJournal);
        return call.code() != 0 ? call.code()
                                : open_reader(call.engine_call(), call->path(), from, flags,
                                              nullptr, &call.object(), ret_reader);
    });
}

int fsys_journal_reader_next(fsys_journal_reader *reader, int64_t timeout_ns, fsys_journal_record *ret_record) noexcept {
    return with_reader(reader, [&](journal::Reader &r, const Object &object) -> int {
        if (ret_record == nullptr) {
            return -EINVAL;
        }
        journal::Record record;
        const journal::Got got = timeout_ns == 0 ? r.next(record) : r.wait(record, timeout_ns);
        std::uint32_t kind = FSYS_JOURNAL_END;
        switch (got) {
        case journal::Got::record: kind = FSYS_JOURNAL_RECORD; break;
        case journal::Got::gap: kind = FSYS_JOURNAL_GAP; break;
        case journal::Got::damaged: kind = FSYS_JOURNAL_DAMAGE; break;
        case journal::Got::epoch_changed: kind = FSYS_JOURNAL_EPOCH_CHANGED; break;
        case journal::Got::error: return r.code();
        case journal::Got::end:
            if (!object.is_open()) {
                return FSYS_E_CLOSED;
            }
            record = journal::Record{};
            break;
        }
        *ret_record = {kind, 0, record.start, record.lsn, record.epoch, record.data, record.length};
        return 0;
    });
}

int fsys_journal_reader_seek(fsys_journal_reader *reader, uint64_t from) noexcept {
    return with_reader(reader, [&](journal::Reader &r, const Object &) -> int {
        r.seek(from);
        return 0;
    });
}

int fsys_journal_reader_skip_damage(fsys_journal_reader *reader, uint64_t *ret_from, uint64_t *ret_to) noexcept {
    return with_reader(reader, [&](journal::Reader &r, const Object &) -> int {
        if (ret_from == nullptr || ret_to == nullptr) {
            return -EINVAL;
        }
        uint64_t from = 0;
        uint64_t to = 0;
        if (!r.skip_damage(&from, &to)) {
            return FSYS_E_NOTHING;
        }
        *ret_from = from;
        *ret_to = to;
        return 0;
    });
}

int fsys_journal_reader_close(fsys_journal_reader *reader) noexcept {
    return guarded([&]() -> int {
        ObjectCall call(reader, kKindReader);
        if (call.code() != 0) {
            return call.code();
        }
        Object &object = call.object();
        call.drop_use();
        return call.engine_call().objects().close(object, call.generation());
    });
}
