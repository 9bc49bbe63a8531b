// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// fsys.Journal and fsys.Reader. Entered with the GIL; every call that may wait for the disk or for
// room gives it up.

#include "journal.hpp"

#include <cerrno>
#include <chrono>

#include "records.hpp"

namespace binding {

Journal::~Journal() {
    if (!closed()) {
        without_gil([&] { return fsys_journal_close(journal_); });
    }
}

int Journal::close() {
    if (closed()) {
        return 0;
    }
    const std::vector<Ticket *> tickets(tickets_.begin(), tickets_.end());
    for (const Ticket *ticket : tickets) {
        if (ticket->held() != 0) {
            PyErr_SetString(PyExc_BufferError, "a Ticket of this journal is exported: release its "
                                               "memoryviews and arrays before closing");
            throw py::error_already_set();
        }
    }
    for (Ticket *ticket : tickets) {
        ticket->abandon();
    }
    const std::vector<Reader *> readers(readers_.begin(), readers_.end());
    for (Reader *reader : readers) {
        reader->close();
    }
    const int code = without_gil([&] { return fsys_journal_close(journal_); });
    closed_ = code != -EBUSY;
    return code == FSYS_E_CLOSED ? 0 : code;
}

py::object Journal::next_sealed(uint64_t after, int64_t timeout_ns) {
    engine_->sweep();
    for (;;) {
        fsys_op op = 0;
        checked(without_gil([&] { return fsys_journal_submit_sealed(journal_, after, 0, &op); }),
                path_);
        fsys_result result{};
        const auto give_up = [&] {
            fsys_cancel(engine_->handle(), op);
            engine_->adopt(op, {});  // its slot is in use until the completion was taken
        };
        int64_t code = 0;
        try {
            code = interruptible(timeout_ns, [&](int64_t slice) {
                return fsys_wait(engine_->handle(), op, slice, &result);
            });
        } catch (py::error_already_set &) {
            give_up();
            throw;
        }
        if (code < 0) {
            if (code == -ETIMEDOUT) {
                give_up();
            }
            fail(code, path_);
        }
        // Only closing the journal cancels one that somebody waits for.
        checked(result.result == -ECANCELED ? FSYS_E_CLOSED : result.result, path_);
        const auto number = static_cast<uint64_t>(result.result);
        const auto all = listed<fsys_journal_segment>(
            path_, [&](fsys_journal_segment *segments, uint32_t max) {
                return fsys_journal_segments(journal_, segments, max);
            });
        for (const fsys_journal_segment &segment : all) {
            if (segment.number == number) {
                return journal_segment(segment);
            }
        }
        after = number;  // trimmed meanwhile: the one behind it
    }
}

Reader::Reader(EnginePtr engine, JournalPtr journal, fsys_journal_reader *reader, py::object path,
               py::object report)
    : engine_(std::move(engine)), journal_(std::move(journal)), reader_(reader),
      path_(std::move(path)), report_(std::move(report)) {
    if (journal_) {
        journal_->add(this);
    }
}

Reader::~Reader() { close(); }

int Reader::close() {
    if (journal_) {
        journal_->remove(this);
    }
    if (closed()) {
        return 0;
    }
    closed_ = true;
    const int code = without_gil([&] { return fsys_journal_reader_close(reader_); });
    return code == FSYS_E_CLOSED ? 0 : code;
}

namespace {

[[noreturn]] void fail_corrupt(int code, const py::object &path, const char *text,
                               const py::object &report) {
    const py::object error = make_error(code, path, text);
    error.attr("report") = report;
    raise(error);
}

}  // namespace

JournalPtr open_journal(const Handle &handle, const py::object &path, bool existing, bool strict,
                        const std::string &mode, const std::string &preallocate,
                        uint64_t segment_bytes, uint64_t buffer_bytes, uint32_t block_bytes,
                        uint32_t reserve_segments, const py::object &spare_segments,
                        uint64_t max_bytes, const py::object &append_timeout) {
    const Name name = Name::path_only(path);
    char text[512] = "";
    fsys_journal_options options{};
    options.struct_size = sizeof options;
    options.flags = (existing ? FSYS_JOURNAL_EXISTING : 0) | (strict ? FSYS_JOURNAL_STRICT : 0);
    options.mode = choice(mode, {"auto", "direct", "buffered"}, "mode");
    options.preallocate =
        choice(preallocate, {"recycle", "zero", "extent", "none"}, "preallocate");
    options.segment_bytes = segment_bytes;
    options.buffer_bytes = buffer_bytes;
    options.block_bytes = block_bytes;
    options.reserve_segments = reserve_segments;
    if (!spare_segments.is_none()) {
        const auto spares = spare_segments.cast<uint32_t>();
        options.spare_segments = spares == 0 ? UINT32_MAX : spares;
    }
    options.max_bytes = max_bytes;
    options.append_timeout_ns = append_timeout.is_none()
        ? 0
        : static_cast<uint64_t>(std::max<int64_t>(1, nanoseconds(append_timeout)));
    options.error_text = text;
    options.error_text_size = sizeof text;

    fsys_journal_report report{};
    report.struct_size = sizeof report;
    fsys_journal *journal = nullptr;
    const EnginePtr engine = handle.engine;
    const int code = without_gil([&] {
        return fsys_journal_open(engine->handle(), name.c_str(), &options, &report, &journal);
    });
    if (code == FSYS_E_CORRUPT) {
        fail_corrupt(code, name.given, text, journal_report(report));
    }
    checked(code, name.given, text);
    return std::make_shared<Journal>(engine, journal, name.given, journal_report(report));
}

namespace {

// ----------------------------------------------------------------- journal

uint64_t append(const Journal &journal, const py::object &data, bool wait, bool emergency) {
    const View view(data, View::kRead);
    const uint32_t flags =
        (wait ? 0 : FSYS_JOURNAL_NONBLOCK) | (emergency ? FSYS_JOURNAL_EMERGENCY : 0);
    uint64_t lsn = 0;
    // First without giving up the GIL: an append is a copy into memory.
    int code = -EAGAIN;
    if (view.size() <= 65536) {
        code = fsys_journal_append(journal.get(), view.data(), view.size(),
                                   flags | FSYS_JOURNAL_NONBLOCK, &lsn);
    }
    if (code == -EAGAIN && (wait || view.size() > 65536)) {
        code = without_gil([&] {
            return fsys_journal_append(journal.get(), view.data(), view.size(), flags, &lsn);
        });
    }
    checked(code, journal.path());
    return lsn;
}

struct Pieces {
    explicit Pieces(const py::object &buffers) {
        const py::list list(buffers);
        views.reserve(list.size());
        for (const py::handle buffer : list) {
            const View &view = views.emplace_back(buffer, View::kRead);
            vectors.push_back({view.data(), view.size()});
        }
    }
    std::vector<View> views;
    std::vector<fsys_iovec> vectors;
};

uint64_t append_pieces(const Journal &journal, const py::object &buffers, bool wait,
                       bool emergency) {
    const Pieces pieces(buffers);
    const uint32_t flags =
        (wait ? 0 : FSYS_JOURNAL_NONBLOCK) | (emergency ? FSYS_JOURNAL_EMERGENCY : 0);
    uint64_t lsn = 0;
    const int code = without_gil([&] {
        return fsys_journal_appendv(journal.get(), pieces.vectors.data(),
                                    static_cast<uint32_t>(pieces.vectors.size()), flags, &lsn);
    });
    checked(code, journal.path());
    return lsn;
}

py::list append_batch(const Journal &journal, const py::object &records, bool wait,
                      bool emergency) {
    const Pieces pieces(records);
    const uint32_t flags =
        (wait ? 0 : FSYS_JOURNAL_NONBLOCK) | (emergency ? FSYS_JOURNAL_EMERGENCY : 0);
    std::vector<uint64_t> each(pieces.vectors.size());
    const int code = without_gil([&] {
        return fsys_journal_append_batch(journal.get(), pieces.vectors.data(),
                                         static_cast<uint32_t>(pieces.vectors.size()), flags,
                                         nullptr, each.data());
    });
    checked(code, journal.path());
    py::list lsns;
    for (const uint64_t lsn : each) {
        lsns.append(lsn);
    }
    return lsns;
}

fsys_journal_frontiers frontiers(const Journal &journal) {
    fsys_journal_frontiers all{};
    checked(fsys_journal_frontier(journal.get(), &all), journal.path());
    return all;
}

int64_t wait_durable(const Journal &journal, uint64_t lsn, const py::object &timeout) {
    return interruptible(nanoseconds(timeout), [&](int64_t slice) {
        return fsys_journal_sync(journal.get(), lsn, slice);
    });
}

uint64_t sync(const Journal &journal, const py::object &lsn, const py::object &timeout) {
    const uint64_t through = lsn.is_none() ? frontiers(journal).reserved : lsn.cast<uint64_t>();
    checked(wait_durable(journal, through, timeout), journal.path());
    return through;
}

uint64_t commit(const Journal &journal, const py::object &data, const py::object &timeout,
                bool emergency) {
    const uint64_t lsn = append(journal, data, true, emergency);
    const int64_t code = wait_durable(journal, lsn, timeout);
    if (code < 0) {
        const py::object error = make_error(code, journal.path());
        error.attr("lsn") = lsn;
        raise(error);
    }
    return lsn;
}

py::object stats(const Journal &journal) {
    fsys_journal_stats all{};
    all.struct_size = sizeof all;
    checked(fsys_journal_stat(journal.get(), &all), journal.path());
    return journal_stats(all);
}

template <class Call>
void simple(const Journal &journal, Call &&call) {
    checked(without_gil([&] { return call(journal.get()); }), journal.path());
}

// ------------------------------------------------------------------ reader

std::unique_ptr<Reader> reader_of(const JournalPtr &journal, uint64_t after, bool written) {
    fsys_journal_reader *reader = nullptr;
    const int code = without_gil([&] {
        return fsys_journal_reader_open(journal->get(), after,
                                        written ? FSYS_JOURNAL_READ_WRITTEN : 0, &reader);
    });
    checked(code, journal->path());
    return std::make_unique<Reader>(journal->engine(), journal, reader, journal->path(),
                                    py::none());
}

std::unique_ptr<Reader> reader_at(const Handle &handle, const py::object &path, uint64_t after,
                                  bool written) {
    const Name name = Name::path_only(path);
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    fsys_journal_reader *reader = nullptr;
    const EnginePtr engine = handle.engine;
    const int code = without_gil([&] {
        return fsys_journal_reader_open_path(engine->handle(), name.c_str(), after,
                                             written ? FSYS_JOURNAL_READ_WRITTEN : 0, &report,
                                             &reader);
    });
    if (code == FSYS_E_CORRUPT) {
        fail_corrupt(code, name.given, report.text, journal_report(report));
    }
    checked(code, name.given);
    return std::make_unique<Reader>(engine, nullptr, reader, name.given, journal_report(report));
}

py::object next_record(const Reader &reader, const py::object &timeout) {
    using Clock = std::chrono::steady_clock;
    fsys_journal_record record{};
    const auto attempt = [&](int64_t slice) -> int64_t {
        const Clock::time_point start = Clock::now();
        const int code = fsys_journal_reader_next(reader.get(), slice, &record);
        const bool waited = Clock::now() - start >= std::chrono::nanoseconds(slice / 2);
        // An end that comes at once is the end: there is no writer to wait for.
        return code == 0 && record.kind == FSYS_JOURNAL_END && waited && slice > 0 ? -ETIMEDOUT
                                                                                   : code;
    };
    const int64_t wanted = nanoseconds(timeout);
    int64_t code = 0;
    if (wanted == 0) {
        // Mostly from memory or the page cache.
        code = without_gil([&] { return fsys_journal_reader_next(reader.get(), 0, &record); });
    } else {
        code = interruptible(wanted, attempt);
    }
    if (code == -ETIMEDOUT || (code == 0 && record.kind == FSYS_JOURNAL_END)) {
        return py::none();
    }
    checked(code, reader.path());
    // Never released: static destructors run after the interpreter has ended.
    static const py::handle type = python_class("fsys._types", "Record").release();
    static const py::handle kinds = python_class("fsys._types", "RECORD_KINDS").release();
    return type(kinds[py::int_(record.kind)], record.lsn, record.start, record.epoch,
                py::bytes(static_cast<const char *>(record.data), record.length));
}

py::object iterate(const Reader &reader) {
    py::object record = next_record(reader, py::float_(0.0));
    if (record.is_none()) {
        throw py::stop_iteration();
    }
    static const py::handle damage =
        py::object(python_class("fsys._types", "RecordKind").attr("DAMAGE")).release();
    if (py::object(record.attr("kind")).ptr() == damage.ptr()) {
        fail(FSYS_E_CORRUPT, reader.path());
    }
    return record;
}

py::tuple skip_damage(const Reader &reader) {
    uint64_t from = 0;
    uint64_t to = 0;
    const int code =
        without_gil([&] { return fsys_journal_reader_skip_damage(reader.get(), &from, &to); });
    checked(code, reader.path());
    return py::make_tuple(from, to);
}

void bind_reader(py::module_ &module) {
    py::class_<Reader>(module, "Reader",
                       "Reads the records of a journal in order; follows a writer, in another "
                       "process too. One thread at a time (EBUSY).\n\n"
                       "Iterating gives what is there now and ends; damage raises CorruptError.")
        .def("next",
             [](const Reader &self, const py::object &timeout) {
                 return next_record(self, timeout);
             },
             py::arg("timeout") = 0.0,
             "The next Record, waiting up to `timeout` seconds for one (None: without limit); None "
             "when there is none. Without a writer nothing is waited for. Look at its kind: RECORD, "
             "GAP (trimmed), EPOCH_CHANGED (records that were read have been withdrawn), DAMAGE (see "
             "skip_damage()).\n\nRaises Error (E_CLOSED, also when another thread closes), OSError.")
        .def("seek",
             [](const Reader &self, uint64_t after) {
                 const int code =
                     without_gil([&] { return fsys_journal_reader_seek(self.get(), after); });
                 checked(code, self.path());
             },
             py::arg("after"), "Goes to the first record whose LSN is above `after`.")
        .def("skip_damage", &skip_damage,
             "After DAMAGE: goes to the next readable record and returns the lost range of "
             "positions. Error (E_NOTHING) when nothing readable is behind it.")
        .def("close", [](Reader &self) { checked(self.close(), self.path()); },
             "Closes the reader and wakes a thread that sleeps in next().")
        .def_property_readonly("report", &Reader::report,
                               "The JournalReport of opening by path; None for a reader of an open "
                               "Journal.")
        .def_property_readonly("closed", &Reader::closed, "Whether it, or its handle, is closed.")
        .def("__iter__", [](const py::object &self) { return self; })
        .def("__next__", &iterate)
        .def("__enter__", [](const py::object &self) { return self; })
        .def("__exit__", [](const py::object &self, const py::args &) { self.attr("close")(); });
}

}  // namespace

void bind_journal(py::module_ &module) {
    bind_reader(module);
    py::class_<Journal, JournalPtr>(module, "Journal",
                                    "A write-ahead journal open for writing, see Handle.journal(). "
                                    "Any thread.\n\nAn LSN is a position in the journal; a record's "
                                    "LSN is just past it, so that durable-through is a comparison.")
        .def("append", &append, py::arg("data"), py::kw_only(), py::arg("wait") = true,
             py::arg("emergency") = false,
             "Appends one record (0 bytes to 1 GiB, copied) and returns its LSN. Nothing is durable "
             "yet. wait: for room in the log buffer, else BlockingIOError. emergency: may use the "
             "reserve segments.\n\nRaises OSError (ENOSPC: nothing happened; EMSGSIZE; ETIMEDOUT), "
             "PoisonedError.")
        .def("append_pieces", &append_pieces, py::arg("pieces"), py::kw_only(),
             py::arg("wait") = true, py::arg("emergency") = false,
             "Appends one record that is gathered from up to 1024 buffers.")
        .def("append_batch", &append_batch, py::arg("records"), py::kw_only(),
             py::arg("wait") = true, py::arg("emergency") = false,
             "Appends records that are all there after a crash or none, and returns their LSNs; the "
             "batch is durable when the last one is.")
        .def("sync", &sync, py::arg("lsn") = py::none(), py::arg("timeout") = py::none(),
             "Waits until all through `lsn` (None: all appended so far) is durable and returns the "
             "LSN. Threads share the flush.\n\nRaises TimeoutError (it may still become durable), "
             "PoisonedError (failed, not there), FateUnknownError (failed, open again to learn).")
        .def("commit", &commit, py::arg("data"), py::arg("timeout") = py::none(), py::kw_only(),
             py::arg("emergency") = false,
             "append() and sync(). When the sync fails the exception has the record's LSN as `lsn`.")
        .def("write_out",
             [](const Journal &self) {
                 simple(self, [](fsys_journal *journal) { return fsys_journal_write_out(journal); });
             },
             "Gives everything appended to the kernel: it survives this process, not power loss.")
        .def("frontiers", [](const Journal &self) { return journal_frontiers(frontiers(self)); },
             "How far things are, as Frontiers. No lock, no wait.")
        .def("trim",
             [](const Journal &self, uint64_t lsn) {
                 simple(self, [&](fsys_journal *journal) { return fsys_journal_trim(journal, lsn); });
             },
             py::arg("lsn"),
             "Gives up records at or below `lsn`, in whole segments and as far as pins allow. EINVAL "
             "beyond what is durable.")
        .def("truncate",
             [](const Journal &self, uint64_t lsn) {
                 simple(self,
                        [&](fsys_journal *journal) { return fsys_journal_truncate(journal, lsn); });
             },
             py::arg("lsn"), "Withdraws all records behind `lsn`, the LSN of a kept record (EINVAL).")
        .def("rotate",
             [](const Journal &self) {
                 simple(self, [](fsys_journal *journal) { return fsys_journal_rotate(journal); });
             },
             "Makes everything durable and seals the active segment.")
        .def("next_sealed",
             [](Journal &self, uint64_t after, const py::object &timeout) {
                 return self.next_sealed(after, nanoseconds(timeout));
             },
             py::arg("after") = 0, py::arg("timeout") = py::none(),
             "Waits up to `timeout` seconds (None: without limit) for a sealed segment and returns "
             "the oldest one numbered above `after` as a Segment. Who ships files begins with 0 and "
             "asks again with each number that came: none is missed but those that were trimmed "
             "meanwhile.\n\nRaises TimeoutError, Error (E_STALE: a truncation withdrew segment "
             "`after`, look at segments(); E_CLOSED, also when it is closed meanwhile), "
             "PoisonedError.")
        .def("pin",
             [](const Journal &self, const std::string &name, uint64_t lsn, uint64_t max_bytes) {
                 simple(self, [&](fsys_journal *journal) {
                     return fsys_journal_pin(journal, name.c_str(), lsn, max_bytes);
                 });
             },
             py::arg("name"), py::arg("lsn"), py::arg("max_bytes") = 0,
             "Keeps what is behind `lsn` from being trimmed, also after reopening; above max_bytes "
             "(0: no limit) the pin is dropped instead of filling the disk.")
        .def("unpin",
             [](const Journal &self, const std::string &name) {
                 simple(self, [&](fsys_journal *journal) {
                     return fsys_journal_unpin(journal, name.c_str());
                 });
             },
             py::arg("name"), "Removes a pin; FileNotFoundError when there is none.")
        .def("pins",
             [](const Journal &self) {
                 return journal_pins(self.path(), [&](fsys_journal_pinned *pins, uint32_t max) {
                     return fsys_journal_pins(self.get(), pins, max);
                 });
             },
             "The pins by name, as a list of Pin.")
        .def("snapshot",
             [](const Journal &self, const py::object &path, uint64_t lsn) {
                 const Name name = Name::path_only(path);
                 const int code = without_gil(
                     [&] { return fsys_journal_snapshot(self.get(), lsn, name.c_str()); });
                 checked(code, name.given);
             },
             py::arg("path"), py::arg("lsn") = 0,
             "Copies what is kept up to `lsn` (0: all that is durable) into a new directory.")
        .def("segments",
             [](const Journal &self) {
                 return journal_segments(
                     self.path(), [&](fsys_journal_segment *segments, uint32_t max) {
                         return fsys_journal_segments(self.get(), segments, max);
                     });
             },
             "The segment files, oldest first, as a list of Segment.")
        .def("stats", &stats, "Counters since it was opened, as JournalStats.")
        .def("cause",
             [](const Journal &self) {
                 char text[1024] = "";
                 checked(fsys_journal_cause(self.get(), text, sizeof text), self.path());
                 return std::string(text);
             },
             "The sentence behind a failure; '' when there is none.")
        .def("reader", &reader_of, py::arg("after") = 0, py::kw_only(), py::arg("written") = false,
             "Opens a Reader whose first record is the one whose LSN is above `after` (0: the oldest "
             "kept). written: also records that power loss may still take back.")
        .def("close", [](Journal &self) { checked(self.close(), self.path()); },
             "Makes everything durable, closes its readers and the journal. Closing twice is "
             "allowed. PoisonedError: it is closed, but had failed.")
        .def_property_readonly("report", &Journal::report, "What opening found: a JournalReport.")
        .def_property_readonly("path", &Journal::path, "What it was opened by.")
        .def_property_readonly("closed", &Journal::closed, "Whether it, or its handle, is closed.")
        .def("__enter__", [](const py::object &self) { return self; })
        .def("__exit__", [](const py::object &self, const py::args &) { self.attr("close")(); });

    auto handle = py::reinterpret_borrow<py::class_<Handle>>(module.attr("Handle"));
    handle
        .def("journal", &open_journal, py::arg("path"), py::kw_only(), py::arg("existing") = false,
             py::arg("strict") = false, py::arg("mode") = "auto",
             py::arg("preallocate") = "recycle", py::arg("segment_bytes") = 0,
             py::arg("buffer_bytes") = 0, py::arg("block_bytes") = 0,
             py::arg("reserve_segments") = 0, py::arg("spare_segments") = py::none(),
             py::arg("max_bytes") = 0, py::arg("append_timeout") = py::none(),
             "Opens the journal in a directory for writing: recovers it and begins a new segment; "
             "creates it when absent, unless `existing`. strict: a durable watermark before each "
             "acknowledgement. mode: 'auto', 'direct', 'buffered'. preallocate: 'recycle', 'zero', "
             "'extent', 'none'. Numbers that are 0 or None: the library's defaults.\n\n"
             "Raises CorruptError (with its JournalReport as `report`; nothing was changed), "
             "LockedError (another writer), OSError (ENOTEMPTY: foreign files, ENOENT, ENOSPC ...).")
        .def("reader", &reader_at, py::arg("path"), py::arg("after") = 0, py::kw_only(),
             py::arg("written") = false,
             "Opens a Reader on the journal in a directory, beside its writer or without one. Takes "
             "no lock and changes nothing.");
}

}  // namespace binding
