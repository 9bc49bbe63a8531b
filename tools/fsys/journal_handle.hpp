// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Journals and readers with C++ lifetimes, and the words for what the library says of them. Each
// object belongs to one thread; the handles inside may be used by any, as journal.h allows.
#pragma once

#include "engine.hpp"

#include <fsys/journal.h>

#include <cstdint>
#include <string>
#include <utility>

namespace cli {

class JournalHandle {
public:
    // Throws Failure with the library's sentence. Sizes and sentence of `options` are set here.
    JournalHandle(Engine &engine, const std::string &path, fsys_journal_options options,
                  fsys_journal_report *report = nullptr);
    ~JournalHandle();
    JournalHandle(const JournalHandle &) = delete;
    JournalHandle &operator=(const JournalHandle &) = delete;

    fsys_journal *get() const { return journal_; }
    int close() { return fsys_journal_close(std::exchange(journal_, nullptr)); }

private:
    fsys_journal *journal_ = nullptr;
};

class ReaderHandle {
public:
    // On a directory, whether somebody writes it or not; throws Failure.
    ReaderHandle(Engine &engine, const std::string &path, std::uint64_t from, bool written);
    ~ReaderHandle();
    ReaderHandle(const ReaderHandle &) = delete;
    ReaderHandle &operator=(const ReaderHandle &) = delete;

    fsys_journal_reader *get() const { return reader_; }
    // It had a writer when it was opened: only then a read can wait for more.
    bool follows() const { return follows_; }
    // fsys_journal_reader_next(); throws Failure where that fails.
    fsys_journal_record next(std::int64_t timeout_ns);

private:
    std::string path_;
    fsys_journal_reader *reader_ = nullptr;
    bool follows_ = false;
};

const char *verdict_name(std::uint32_t verdict);
// What a rule says, after "because": a clause.
const char *rule_text(std::uint32_t rule);
const char *rule_name(std::uint32_t rule);  // one word, for --json

}  // namespace cli
