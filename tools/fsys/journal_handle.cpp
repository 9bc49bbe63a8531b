// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Opening journals and readers, and naming what they find. Any thread.
#include "journal_handle.hpp"

#include "failure.hpp"

namespace cli {

JournalHandle::JournalHandle(Engine &engine, const std::string &path, fsys_journal_options options,
                             fsys_journal_report *report)
{
    char text[256] = "";
    options.struct_size = sizeof options;
    options.error_text = text;
    options.error_text_size = sizeof text;
    const int code =
        fsys_journal_open(engine.handle(), path.c_str(), &options, report, &journal_);
    if (code < 0) {
        Failure failure("cannot open the journal", path, code);
        if (text[0] != '\0') {
            failure.hint(text);
        }
        throw failure;
    }
}

JournalHandle::~JournalHandle()
{
    if (journal_ != nullptr) {
        fsys_journal_close(journal_);
    }
}

ReaderHandle::ReaderHandle(Engine &engine, const std::string &path, std::uint64_t from,
                           bool written)
    : path_(path)
{
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    const int code = fsys_journal_reader_open_path(engine.handle(), path.c_str(), from,
                                                   written ? FSYS_JOURNAL_READ_WRITTEN : 0, &report,
                                                   &reader_);
    if (code < 0) {
        throw Failure("cannot read the journal", path, code);
    }
    follows_ = report.writer != 0;
}

ReaderHandle::~ReaderHandle()
{
    fsys_journal_reader_close(reader_);
}

fsys_journal_record ReaderHandle::next(std::int64_t timeout_ns)
{
    fsys_journal_record record{};
    if (const int code = fsys_journal_reader_next(reader_, timeout_ns, &record); code < 0) {
        throw Failure("cannot read the journal", path_, code);
    }
    return record;
}

const char *verdict_name(std::uint32_t verdict)
{
    switch (verdict) {
    case FSYS_JOURNAL_FRESH: return "empty";
    case FSYS_JOURNAL_CLEAN: return "clean";
    case FSYS_JOURNAL_TORN: return "torn";
    case FSYS_JOURNAL_DAMAGED: return "damaged";
    default: return "unreadable";
    }
}

const char *rule_name(std::uint32_t rule)
{
    switch (rule) {
    case FSYS_JOURNAL_RULE_END: return "end";
    case FSYS_JOURNAL_RULE_UNPROVED: return "unproved";
    case FSYS_JOURNAL_RULE_GROUP: return "group";
    case FSYS_JOURNAL_RULE_FRAME: return "frame";
    case FSYS_JOURNAL_RULE_WATERMARK: return "watermark";
    case FSYS_JOURNAL_RULE_SUCCESSOR: return "successor";
    case FSYS_JOURNAL_RULE_STRUCTURE: return "structure";
    case FSYS_JOURNAL_RULE_TRIMMED: return "trimmed";
    case FSYS_JOURNAL_RULE_WRITER: return "writer";
    default: return "none";
    }
}

const char *rule_text(std::uint32_t rule)
{
    switch (rule) {
    case FSYS_JOURNAL_RULE_END: return "no frame of this epoch lies behind the end";
    case FSYS_JOURNAL_RULE_UNPROVED: return "bad bytes, and nothing proves that they were durable";
    case FSYS_JOURNAL_RULE_GROUP: return "an atomic group without its last frame";
    case FSYS_JOURNAL_RULE_FRAME: return "a later frame proves that it was durable";
    case FSYS_JOURNAL_RULE_WATERMARK: return "the watermark proves that it was durable";
    case FSYS_JOURNAL_RULE_SUCCESSOR: return "the next segment proves that it was durable";
    case FSYS_JOURNAL_RULE_STRUCTURE: return "segments, headers and watermark must fit together";
    case FSYS_JOURNAL_RULE_TRIMMED: return "it lies below the trim point";
    case FSYS_JOURNAL_RULE_WRITER: return "the writer that has it open says so";
    default: return "nothing proves that it was durable";
    }
}

}  // namespace cli
