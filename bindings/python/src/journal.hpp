// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Journal: a write-ahead journal open for writing. Reader: reads one. A reader of an open journal
// keeps the Journal alive; closing the Journal closes its readers.

#pragma once

#include "engine.hpp"
#include "fsys/journal.h"

namespace binding {

class Reader;

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

private:
    EnginePtr engine_;
    fsys_journal *journal_;
    py::object path_;
    py::object report_;
    bool closed_ = false;
    std::unordered_set<Reader *> readers_;
};

using JournalPtr = std::shared_ptr<Journal>;

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
