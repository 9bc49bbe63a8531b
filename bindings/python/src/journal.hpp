// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Journal: a write-ahead journal open for writing. Reader: reads one. A reader of an open journal
// keeps the Journal alive; closing the Journal closes its readers. Ticket: a place for a record in the
// log buffer, exported to Python.

#pragma once

#include "engine.hpp"
#include "fsys/journal.h"
#include "records.hpp"

namespace binding {

class Reader;
class Ticket;

class Journal {
public:
    Journal(EnginePtr engine, fsys_journal *journal, py::object path, py::object report)
        : engine_(std::move(engine)), journal_(journal), path_(std::move(path)),
          report_(std::move(report)) {}
    ~Journal();
    Journal(const Journal &) = delete;

    fsys_journal *get() const { return journal_; }
    const EnginePtr &engine() const { return engine_; }
    const py::object &path() const { return path_; }
    const py::object &report() const { return report_; }
    bool closed() const { return closed_ || engine_->closed(); }
    int close();

    void add(Reader *reader) { readers_.insert(reader); }
    void remove(Reader *reader) { readers_.erase(reader); }
    void add(Ticket *ticket) { tickets_.insert(ticket); }
    void remove(Ticket *ticket) { tickets_.erase(ticket); }

    /// The oldest sealed segment numbered above `after`, as a Segment.
    py::object next_sealed(uint64_t after, int64_t timeout_ns);

private:
    EnginePtr engine_;
    fsys_journal *journal_;
    py::object path_;
    py::object report_;
    bool closed_ = false;
    std::unordered_set<Reader *> readers_;
    std::unordered_set<Ticket *> tickets_;
};

using JournalPtr = std::shared_ptr<Journal>;

class Ticket : public Exporter {
public:
    static constexpr const char *kGone =
        "the Ticket was published or abandoned, or its journal closed";

    Ticket(JournalPtr journal, const fsys_journal_ticket &ticket);
    ~Ticket();

    /// The record's LSN. BufferError while the memory is exported.
    uint64_t publish();
    void abandon();
    /// 0: not published.
    uint64_t lsn() const { return lsn_; }
    bool open() const { return !gone() && !journal_->closed(); }

private:
    void end();

    JournalPtr journal_;
    fsys_journal_ticket ticket_;
    uint64_t lsn_ = 0;
};

/// Calls `list(array, room)`, which returns how many there are, until all fit.
template <class T, class List>
std::vector<T> listed(const py::object &path, List &&list) {
    std::vector<T> all(64);
    for (;;) {
        const auto count = static_cast<size_t>(checked(
            without_gil([&] { return list(all.data(), static_cast<uint32_t>(all.size())); }),
            path));
        const bool fits = count <= all.size();
        all.resize(count);
        if (fits) {
            return all;
        }
    }
}

template <class List>
py::list journal_segments(const py::object &path, List &&list) {
    py::list segments;
    for (const fsys_journal_segment &segment : listed<fsys_journal_segment>(path, list)) {
        segments.append(journal_segment(segment));
    }
    return segments;
}

template <class List>
py::list journal_pins(const py::object &path, List &&list) {
    py::list pins;
    for (const fsys_journal_pinned &pin : listed<fsys_journal_pinned>(path, list)) {
        pins.append(journal_pin(pin));
    }
    return pins;
}

class Reader {
public:
    Reader(EnginePtr engine, JournalPtr journal, fsys_journal_reader *reader, py::object path,
           py::object report);
    ~Reader();
    Reader(const Reader &) = delete;

    fsys_journal_reader *get() const { return reader_; }
    const py::object &path() const { return path_; }
    const py::object &report() const { return report_; }
    bool closed() const { return closed_ || engine_->closed(); }
    int close();

private:
    EnginePtr engine_;
    JournalPtr journal_;  // empty: opened by path
    fsys_journal_reader *reader_;
    py::object path_;
    py::object report_;
    bool closed_ = false;
};

JournalPtr open_journal(const Handle &handle, const py::object &path, bool existing, bool strict,
                        const std::string &mode, const std::string &preallocate,
                        uint64_t segment_bytes, uint64_t buffer_bytes, uint32_t block_bytes,
                        uint32_t reserve_segments, const py::object &spare_segments,
                        uint64_t max_bytes, const py::object &append_timeout);

}  // namespace binding
