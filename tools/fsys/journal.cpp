// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys journal ...`: looks at, fills and saves journals from the command line. Main thread only.
#include "journal.hpp"

#include "engine.hpp"
#include "failure.hpp"
#include "interrupt.hpp"
#include "terminal.hpp"
#include "units.hpp"

#include <fsys/journal.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace cli {

namespace {

struct CloseJournal {
    void operator()(fsys_journal *journal) const { fsys_journal_close(journal); }
};
struct CloseReader {
    void operator()(fsys_journal_reader *reader) const { fsys_journal_reader_close(reader); }
};

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

void stop_if_interrupted(const std::string &text)
{
    if (const int signal = interrupted(); signal != 0) {
        throw Interrupted{signal, text};
    }
}

void put(const void *data, std::size_t length)
{
    if (std::fwrite(data, 1, length, stdout) != length) {
        throw Failure("cannot write the records to standard output", "", -errno);
    }
}

}  // namespace

int run_journal_verify(const JournalOptions &options)
{
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    const int code = fsys_journal_check(options.path.c_str(), FSYS_JOURNAL_DEEP, &report);
    if (code < 0 && code != FSYS_E_CORRUPT) {
        report.verdict = FSYS_JOURNAL_IO_ERROR;
    }
    const int exit_code = report.verdict == FSYS_JOURNAL_TORN      ? 1
                          : report.verdict == FSYS_JOURNAL_DAMAGED  ? 2
                          : report.verdict == FSYS_JOURNAL_IO_ERROR ? 3
                                                                    : 0;
    if (options.json) {
        nlohmann::json out{{"command", "journal verify"},
                           {"ok", exit_code == 0},
                           {"journal", options.path},
                           {"verdict", verdict_name(report.verdict)},
                           {"records", report.records},
                           {"first_lsn", report.first_lsn},
                           {"end_lsn", report.end_lsn},
                           {"epoch", report.epoch},
                           {"torn_bytes", report.cut_to - report.cut_from},
                           {"text", report.text}};
        if (report.verdict == FSYS_JOURNAL_DAMAGED) {
            out["damage_lsn"] = report.damage_lsn;
            out["proof_lsn"] = report.proof_lsn;
        }
        if (code < 0) {
            out["error"] = {{"message", code_text(code)},
                            {"code", code},
                            {"name", fsys_error_name(code)}};
        }
        fmt::print("{}\n", json_text(out));
        return exit_code;
    }
    const bool on = colours(STDOUT_FILENO);
    const std::string verdict = verdict_name(report.verdict);
    fmt::print("{:<10}{}\n", "verdict", exit_code == 0 ? green(verdict, on) : red(verdict, on));
    if (report.verdict == FSYS_JOURNAL_IO_ERROR) {
        fmt::print("{:<10}{}\n", "cause", code_text(code));
        return exit_code;
    }
    fmt::print("{:<10}{} read whole, LSN {} to {}, epoch {}\n", "records",
               human_count(report.records), report.first_lsn, report.end_lsn, report.epoch);
    if (report.verdict == FSYS_JOURNAL_TORN) {
        fmt::print("{:<10}behind LSN {}: never acknowledged, opening will cut it\n", "tail",
                   report.end_lsn);
    }
    if (report.verdict == FSYS_JOURNAL_DAMAGED) {
        fmt::print("{:<10}at LSN {}, proved by {}\n", "damage", report.damage_lsn,
                   report.proof_lsn != 0 ? fmt::format("the frame at LSN {}", report.proof_lsn)
                                         : std::string("the watermark or the structure"));
    }
    if (report.text[0] != '\0') {
        fmt::print("{:<10}{}\n", "finding", printable(report.text));
    }
    return exit_code;
}

int run_journal_cat(const JournalOptions &options)
{
    Engine engine({});
    fsys_journal_reader *opened = nullptr;
    const int code = fsys_journal_reader_open_path(
        engine.handle(), options.path.c_str(), options.from,
        options.written ? FSYS_JOURNAL_READ_WRITTEN : 0, nullptr, &opened);
    if (code < 0) {
        throw Failure("cannot read the journal", options.path, code);
    }
    const std::unique_ptr<fsys_journal_reader, CloseReader> reader(opened);
    constexpr std::int64_t kLook = 200'000'000;  // how soon a ^C is seen
    for (;;) {
        stop_if_interrupted("");
        fsys_journal_record record{};
        const int got =
            fsys_journal_reader_next(reader.get(), options.follow ? kLook : 0, &record);
        if (got < 0) {
            throw Failure("cannot read the journal", options.path, got);
        }
        switch (record.kind) {
        case FSYS_JOURNAL_RECORD: {
            const std::string_view data(static_cast<const char *>(record.data), record.length);
            if (options.json) {
                // One line each; bytes that are not UTF-8 become U+FFFD.
                const std::string line =
                    nlohmann::json{{"lsn", record.lsn},
                                   {"epoch", record.epoch},
                                   {"length", record.length},
                                   {"data", data}}
                        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
                put(line.data(), line.size());
            } else {
                put(data.data(), data.size());
            }
            put("\n", 1);
            break;
        }
        case FSYS_JOURNAL_GAP:
            warn(fmt::format("LSN {} to {} was trimmed", record.start, record.lsn));
            break;
        case FSYS_JOURNAL_EPOCH_CHANGED:
            warn(fmt::format("records behind LSN {} were withdrawn", record.lsn));
            break;
        case FSYS_JOURNAL_DAMAGE:
            std::fflush(stdout);
            throw Failure(fmt::format("damaged at LSN {}: journal", record.start), options.path,
                          FSYS_E_CORRUPT)
                .hint("fsys journal salvage copies what can be read");
        default:
            if (!options.follow) {
                return kOk;
            }
            std::fflush(stdout);
            break;
        }
    }
}

int run_journal_append(const JournalOptions &options)
{
    Engine engine({});
    char text[256] = "";
    fsys_journal_options config{};
    config.struct_size = sizeof config;
    config.error_text = text;
    config.error_text_size = sizeof text;
    fsys_journal *opened = nullptr;
    if (const int code = fsys_journal_open(engine.handle(), options.path.c_str(), &config, nullptr,
                                           &opened);
        code < 0) {
        throw Failure("cannot open the journal", options.path, code).hint(text);
    }
    std::unique_ptr<fsys_journal, CloseJournal> journal(opened);
    std::uint64_t records = 0;
    std::uint64_t lsn = 0;
    const auto check = [&](int code) {
        if (code < 0) {
            throw Failure("cannot append to the journal", options.path, code);
        }
    };
    char *line = nullptr;
    std::size_t room = 0;
    for (;;) {
        errno = 0;
        const ssize_t got = ::getline(&line, &room, stdin);
        const std::unique_ptr<char, decltype(&std::free)> owner(line, &std::free);
        if (got < 0 || interrupted() != 0) {
            if (errno != 0 && interrupted() == 0) {
                throw Failure("cannot read standard input", "", -errno);
            }
            break;
        }
        const auto length = static_cast<std::size_t>(got) - (line[got - 1] == '\n' ? 1 : 0);
        check(options.commit == "each"
                  ? fsys_journal_commit(journal.get(), line, length, 0, FSYS_FOREVER, &lsn)
                  : fsys_journal_append(journal.get(), line, length, 0, &lsn));
        ++records;
        line = nullptr;
        room = 0;
    }
    check(lsn == 0 ? 0 : fsys_journal_sync(journal.get(), lsn, FSYS_FOREVER));
    check(fsys_journal_close(journal.release()));
    stop_if_interrupted(fmt::format("{} durable", plural(records, "record is", "records are")));
    if (options.json) {
        fmt::print("{}\n", json_text({{"command", "journal append"},
                                      {"ok", true},
                                      {"journal", options.path},
                                      {"records", records},
                                      {"last_lsn", lsn}}));
    } else {
        fmt::print("{} durable, the last at LSN {}\n", plural(records, "record", "records"), lsn);
    }
    return kOk;
}

int run_journal_salvage(const JournalOptions &options)
{
    std::uint64_t records = 0;
    std::uint64_t lost = 0;
    const int code = fsys_journal_salvage(options.path.c_str(), options.target.c_str(), &records,
                                          &lost);
    if (code < 0) {
        throw Failure(fmt::format("cannot salvage to '{}' the journal", printable(options.target)),
                      options.path, code);
    }
    if (options.json) {
        fmt::print("{}\n", json_text({{"command", "journal salvage"},
                                      {"ok", true},
                                      {"journal", options.path},
                                      {"target", options.target},
                                      {"records", records},
                                      {"lost_ranges", lost}}));
    } else {
        fmt::print("{} copied, {} could not be read\n", plural(records, "record", "records"),
                   plural(lost, "range", "ranges"));
    }
    return kOk;
}

}  // namespace cli
