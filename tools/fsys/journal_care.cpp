// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys journal ls`, `stat`, `trim`, `pins` and `snapshot`. Main thread only. What only looks takes
// no lock; what changes a journal, or must keep it from changing, opens it for writing.
#include "journal.hpp"

#include "failure.hpp"
#include "journal_handle.hpp"
#include "terminal.hpp"
#include "units.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

namespace cli {

namespace {

void check(int code, const char *what, const JournalOptions &options)
{
    if (code < 0) {
        throw Failure(what, options.path, code);
    }
}

// fsys_journal_list_segments() and its like tell how many there are: asked until all fit.
template <class T>
std::vector<T> all(int (*list)(const char *, T *, std::uint32_t), const JournalOptions &options)
{
    std::vector<T> found(16);
    for (;;) {
        const int count =
            list(options.path.c_str(), found.data(), static_cast<std::uint32_t>(found.size()));
        check(count, "cannot read the journal", options);
        const bool fits = static_cast<std::size_t>(count) <= found.size();
        found.resize(static_cast<std::size_t>(count));
        if (fits) {
            return found;
        }
    }
}

// For a moment and without records: the segment that every opening begins stays small.
fsys_journal_options briefly()
{
    fsys_journal_options config{};
    config.flags = FSYS_JOURNAL_EXISTING;
    config.mode = FSYS_JOURNAL_MODE_BUFFERED;
    config.preallocate = FSYS_JOURNAL_NONE;
    config.segment_bytes = std::uint64_t{1} << 20;
    config.spare_segments = UINT32_MAX;
    return config;
}

// What the directory takes on its file system, spares and all.
std::uint64_t disk_bytes(const std::string &path)
{
    std::uint64_t bytes = 0;
    std::error_code error;
    for (std::filesystem::directory_iterator at(path, error), end; !error && at != end;
         at.increment(error)) {
        struct stat facts{};
        if (::stat(at->path().c_str(), &facts) == 0 && S_ISREG(facts.st_mode)) {
            bytes += static_cast<std::uint64_t>(facts.st_blocks) * 512;
        }
    }
    return bytes;
}

void print_done(const JournalOptions &options, const char *command, nlohmann::json more,
                const std::string &text)
{
    if (options.json) {
        more["command"] = command;
        more["ok"] = true;
        more["journal"] = options.path;
        fmt::print("{}\n", json_text(more));
    } else {
        fmt::print("{}\n", text);
    }
}

}  // namespace

int run_journal_ls(const JournalOptions &options)
{
    const auto segments = all(&fsys_journal_list_segments, options);
    if (options.json) {
        nlohmann::json list = nlohmann::json::array();
        for (const fsys_journal_segment &segment : segments) {
            list.push_back({{"name", segment.name},
                            {"number", segment.number},
                            {"epoch", segment.epoch},
                            {"first_lsn", segment.first_lsn},
                            {"end_lsn", segment.end_lsn},
                            {"bytes", segment.file_bytes},
                            {"sealed", segment.sealed != 0}});
        }
        fmt::print("{}\n", json_text({{"command", "journal ls"},
                                      {"ok", true},
                                      {"journal", options.path},
                                      {"segments", list}}));
        return kOk;
    }
    fmt::print("{}\n", bold(fmt::format("{:>6} {:>6} {:>16} {:>16} {:>11}  {:<7} {}", "number",
                                        "epoch", "first LSN", "end LSN", "size", "state", "file"),
                            colours(STDOUT_FILENO)));
    for (const fsys_journal_segment &segment : segments) {
        fmt::print("{:>6} {:>6} {:>16} {:>16} {:>11}  {:<7} {}\n", segment.number, segment.epoch,
                   segment.first_lsn, segment.end_lsn, human_bytes(segment.file_bytes),
                   segment.sealed != 0 ? "sealed" : "last", segment.name);
    }
    return kOk;
}

int run_journal_stat(const JournalOptions &options)
{
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    const int code = fsys_journal_check(options.path.c_str(), 0, &report);
    check(code == FSYS_E_CORRUPT ? 0 : code, "cannot read the journal", options);
    if (report.verdict == FSYS_JOURNAL_FRESH) {
        throw Failure("there is no journal in", options.path, -ENOENT);
    }
    std::vector<fsys_journal_segment> segments;
    std::vector<fsys_journal_pinned> pins;
    if (code == 0) {
        segments = all(&fsys_journal_list_segments, options);
        pins = all(&fsys_journal_list_pins, options);
    }
    const std::uint64_t disk = disk_bytes(options.path);
    const fsys_journal_pinned *holds = nullptr;  // the pin that keeps the most
    for (const fsys_journal_pinned &pin : pins) {
        holds = holds == nullptr || pin.lsn < holds->lsn ? &pin : holds;
    }
    if (options.json) {
        nlohmann::json out{{"command", "journal stat"},
                           {"ok", true},
                           {"journal", options.path},
                           {"verdict", verdict_name(report.verdict)},
                           {"rule", rule_name(report.rule)},
                           {"writer", report.writer != 0},
                           {"first_lsn", report.first_lsn},
                           {"end_lsn", report.end_lsn},
                           {"written_lsn", report.written_lsn},
                           {"epoch", report.epoch},
                           {"segments", segments.size()},
                           {"pins", pins.size()},
                           {"disk_bytes", disk}};
        if (holds != nullptr) {
            out["oldest_pin"] = {{"name", holds->name}, {"lsn", holds->lsn}};
        }
        fmt::print("{}\n", json_text(out));
        return kOk;
    }
    const bool on = colours(STDOUT_FILENO);
    const auto line = [&](const char *label, const std::string &text) {
        fmt::print("{}{}\n", bold(fmt::format("{:<10}", label), on), text);
    };
    line("writer", report.writer != 0 ? "has it open" : "none");
    if (report.writer == 0) {
        line("verdict", report.verdict == FSYS_JOURNAL_CLEAN
                            ? green(verdict_name(report.verdict), on)
                            : red(verdict_name(report.verdict), on) + ": " + report.text);
    }
    line("records", fmt::format("LSN {} to {}, {}", report.first_lsn, report.end_lsn,
                                human_bytes(report.end_lsn - report.first_lsn)));
    if (report.writer != 0) {
        line("", fmt::format("{} more written, not yet durable",
                             human_bytes(report.written_lsn -
                                         std::min(report.end_lsn, report.written_lsn))));
    }
    line("epoch", std::to_string(report.epoch));
    line("segments", std::to_string(segments.size()));
    line("disk", human_bytes(disk));
    line("pins", holds == nullptr
                     ? std::string("none")
                     : fmt::format("{}, the oldest '{}' at LSN {}, {} behind the end", pins.size(),
                                   printable(holds->name), holds->lsn,
                                   human_bytes(report.end_lsn - std::min(holds->lsn, report.end_lsn))));
    return kOk;
}

int run_journal_trim(const JournalOptions &options)
{
    Engine engine({});
    JournalHandle journal(engine, options.path, briefly());
    check(fsys_journal_trim(journal.get(), options.lsn), "cannot trim the journal", options);
    fsys_journal_stats stats{};
    stats.struct_size = sizeof stats;
    check(fsys_journal_stat(journal.get(), &stats), "cannot trim the journal", options);
    check(journal.close(), "cannot close the journal", options);
    print_done(options, "journal trim",
               {{"first_lsn", stats.first_lsn}, {"segments", stats.segments}},
               fmt::format("kept from LSN {} on, in {}", stats.first_lsn,
                           plural(stats.segments, "segment", "segments")));
    return kOk;
}

int run_journal_pins_list(const JournalOptions &options)
{
    const auto pins = all(&fsys_journal_list_pins, options);
    if (options.json) {
        nlohmann::json list = nlohmann::json::array();
        for (const fsys_journal_pinned &pin : pins) {
            list.push_back({{"name", pin.name}, {"lsn", pin.lsn}, {"max_bytes", pin.max_bytes}});
        }
        print_done(options, "journal pins list", {{"pins", list}}, "");
        return kOk;
    }
    for (const fsys_journal_pinned &pin : pins) {
        fmt::print("{:>16}  {:>11}  {}\n", pin.lsn,
                   pin.max_bytes == 0 ? "no limit" : human_bytes(pin.max_bytes),
                   printable(pin.name));
    }
    return kOk;
}

int run_journal_pins_add(const JournalOptions &options)
{
    Engine engine({});
    JournalHandle journal(engine, options.path, briefly());
    check(fsys_journal_pin(journal.get(), options.name.c_str(), options.lsn, options.max_bytes),
          "cannot pin the journal", options);
    check(journal.close(), "cannot close the journal", options);
    print_done(options, "journal pins add", {{"name", options.name}, {"lsn", options.lsn}},
               fmt::format("what lies behind LSN {} is kept for '{}'", options.lsn,
                           printable(options.name)));
    return kOk;
}

int run_journal_pins_remove(const JournalOptions &options)
{
    Engine engine({});
    JournalHandle journal(engine, options.path, briefly());
    check(fsys_journal_unpin(journal.get(), options.name.c_str()),
          "cannot remove the pin from the journal", options);
    check(journal.close(), "cannot close the journal", options);
    print_done(options, "journal pins remove", {{"name", options.name}},
               fmt::format("nothing is kept for '{}' any more", printable(options.name)));
    return kOk;
}

int run_journal_snapshot(const JournalOptions &options)
{
    if (const int code = fsys_journal_snapshot_path(options.path.c_str(), options.lsn,
                                                    options.target.c_str());
        code < 0) {
        throw Failure(fmt::format("cannot copy to '{}' the journal", printable(options.target)),
                      options.path, code);
    }
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    check(fsys_journal_check(options.target.c_str(), FSYS_JOURNAL_DEEP, &report),
          "the copy does not check: journal", options);
    print_done(options, "journal snapshot",
               {{"target", options.target},
                {"records", report.records},
                {"first_lsn", report.first_lsn},
                {"end_lsn", report.end_lsn}},
               fmt::format("{} copied and checked, LSN {} to {}",
                           plural(report.records, "record", "records"), report.first_lsn,
                           report.end_lsn));
    return kOk;
}

}  // namespace cli
