// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys journal verify`, `explain` and `salvage`: what is wrong, why, and what can be saved. Main
// thread only.
#include "journal.hpp"

#include "failure.hpp"
#include "journal_handle.hpp"
#include "terminal.hpp"
#include "units.hpp"

#include <unistd.h>

namespace cli {

namespace {

enum CheckExit { kSound = 0, kTorn = 1, kDamaged = 2, kUnreadable = 3 };

nlohmann::json error_json(int code)
{
    return {{"message", code_text(code)}, {"code", code}, {"name", fsys_error_name(code)}};
}

void line(const char *label, const std::string &text)
{
    fmt::print("{:<10}{}\n", label, text);
}

std::string proof(std::uint32_t rule, std::uint64_t frame, std::uint64_t durable)
{
    switch (rule) {
    case FSYS_JOURNAL_RULE_FRAME:
        return fmt::format("the frame at LSN {}: everything below {} had been durable", frame,
                           durable);
    case FSYS_JOURNAL_RULE_SUCCESSOR:
        return fmt::format("the segment that begins at LSN {}: the one before it was durable",
                           frame);
    case FSYS_JOURNAL_RULE_WATERMARK:
    case FSYS_JOURNAL_RULE_WRITER:
        return fmt::format("{}: everything below {} had been durable",
                           rule == FSYS_JOURNAL_RULE_WRITER ? "the writer" : "the watermark",
                           durable);
    default: return rule_text(rule);
    }
}

const char *state_name(std::uint32_t state)
{
    switch (state) {
    case FSYS_JOURNAL_AT_RECORD: return "record";
    case FSYS_JOURNAL_AT_PAD: return "pad";
    case FSYS_JOURNAL_AT_TRIMMED: return "trimmed";
    case FSYS_JOURNAL_AT_END: return "end";
    case FSYS_JOURNAL_AT_TORN: return "torn";
    default: return "damaged";
    }
}

nlohmann::json finding_json(const fsys_journal_finding &found)
{
    nlohmann::json out{{"state", state_name(found.state)},
                       {"rule", rule_name(found.rule)},
                       {"start", found.start},
                       {"text", found.text}};
    if (found.end != UINT64_MAX) {
        out["end"] = found.end;
    }
    if (found.state == FSYS_JOURNAL_AT_RECORD) {
        out["lsn"] = found.end;
        out["length"] = found.length;
    }
    if (found.segment_name[0] != '\0') {
        out["segment"] = found.segment_name;
        out["offset"] = found.file_offset;
        out["epoch"] = found.epoch;
    }
    if (found.proof_lsn != 0) {
        out["proof_lsn"] = found.proof_lsn;
    }
    if (found.proof_durable_lsn != 0) {
        out["proof_durable_lsn"] = found.proof_durable_lsn;
    }
    return out;
}

void print_finding(const fsys_journal_finding &found, bool on)
{
    const bool bad =
        found.state == FSYS_JOURNAL_AT_TORN || found.state == FSYS_JOURNAL_AT_DAMAGED;
    std::string what = state_name(found.state);
    what = bad ? red(what, on) : green(what, on);
    switch (found.state) {
    case FSYS_JOURNAL_AT_RECORD:
        what += fmt::format(", LSN {}: {}, from {} on", found.end,
                            plural(found.length, "byte", "bytes"), found.start);
        break;
    case FSYS_JOURNAL_AT_END:
    case FSYS_JOURNAL_AT_TRIMMED: break;
    default:
        what += fmt::format(", {} to {}", found.start, found.end);
        break;
    }
    line("state", what);
    if (found.segment_name[0] != '\0') {
        line("place", fmt::format("{} at offset {}, epoch {}", found.segment_name,
                                  found.file_offset, found.epoch));
    }
    line("rule", fmt::format("{}: {}", rule_name(found.rule), rule_text(found.rule)));
    if (found.proof_durable_lsn != 0) {
        line("proof", proof(found.rule, found.proof_lsn, found.proof_durable_lsn));
    }
    line("finding", printable(found.text));
}

fsys_journal_finding explain(const std::string &path, std::uint64_t position, int &code)
{
    fsys_journal_finding found{};
    found.struct_size = sizeof found;
    code = fsys_journal_explain(path.c_str(), position, &found);
    return found;
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
    const int exit_code = report.verdict == FSYS_JOURNAL_TORN      ? kTorn
                          : report.verdict == FSYS_JOURNAL_DAMAGED  ? kDamaged
                          : report.verdict == FSYS_JOURNAL_IO_ERROR ? kUnreadable
                                                                    : kSound;
    if (options.json) {
        nlohmann::json out{{"command", "journal verify"},
                           {"ok", exit_code == kSound},
                           {"journal", options.path},
                           {"verdict", verdict_name(report.verdict)},
                           {"rule", rule_name(report.rule)},
                           {"writer", report.writer != 0},
                           {"records", report.records},
                           {"first_lsn", report.first_lsn},
                           {"end_lsn", report.end_lsn},
                           {"epoch", report.epoch},
                           {"torn_bytes", report.cut_to - report.cut_from},
                           {"text", report.text}};
        if (report.verdict == FSYS_JOURNAL_DAMAGED) {
            out["damage_lsn"] = report.damage_lsn;
            out["proof_lsn"] = report.proof_lsn;
            out["proof_durable_lsn"] = report.proof_durable_lsn;
        }
        if (code < 0) {
            out["error"] = error_json(code);
        }
        fmt::print("{}\n", json_text(out));
        return exit_code;
    }
    const bool on = colours(STDOUT_FILENO);
    const std::string verdict = verdict_name(report.verdict);
    line("verdict", exit_code == kSound ? green(verdict, on) : red(verdict, on));
    if (report.verdict == FSYS_JOURNAL_IO_ERROR) {
        line("cause", code_text(code));
        return exit_code;
    }
    const std::string range = fmt::format("LSN {} to {}, epoch {}", report.first_lsn,
                                          report.end_lsn, report.epoch);
    line("records", report.verdict == FSYS_JOURNAL_DAMAGED
                        ? range
                        : fmt::format("{} read whole, {}", human_count(report.records), range));
    if (report.writer != 0) {
        line("writer", "has it open: checked up to what was durable");
    }
    if (report.verdict == FSYS_JOURNAL_TORN) {
        line("tail", fmt::format("behind LSN {}: never acknowledged, opening will cut it",
                                 report.end_lsn));
    }
    if (report.verdict == FSYS_JOURNAL_DAMAGED) {
        line("damage", fmt::format("at LSN {}", report.damage_lsn));
    }
    line("rule", fmt::format("{}: {}", rule_name(report.rule), rule_text(report.rule)));
    if (report.proof_durable_lsn != 0 && report.verdict == FSYS_JOURNAL_DAMAGED) {
        line("proof", proof(report.rule, report.proof_lsn, report.proof_durable_lsn));
    }
    if (report.text[0] != '\0') {
        line("finding", printable(report.text));
    }
    return exit_code;
}

// An LSN names the record that ends there; a damage is named by where it begins. So both sides.
int run_journal_explain(const JournalOptions &options)
{
    int code = 0;
    fsys_journal_finding before{};
    if (options.lsn != 0) {
        before = explain(options.path, options.lsn - 1, code);
    }
    fsys_journal_finding here{};
    if (code == 0) {
        here = explain(options.path, options.lsn, code);
    }
    if (code < 0) {
        if (options.json) {
            fmt::print("{}\n", json_text({{"command", "journal explain"},
                                          {"ok", false},
                                          {"journal", options.path},
                                          {"lsn", options.lsn},
                                          {"error", error_json(code)}}));
        } else {
            line("state", red("unreadable", colours(STDOUT_FILENO)));
            line("cause", code_text(code));
        }
        return kUnreadable;
    }
    const auto is = [&](std::uint32_t state, const fsys_journal_finding &found) {
        return found.state == state && (state != FSYS_JOURNAL_AT_RECORD || found.end == options.lsn);
    };
    const bool named = options.lsn != 0 && before.start != here.start &&
                       (is(FSYS_JOURNAL_AT_RECORD, before) || is(FSYS_JOURNAL_AT_TORN, before) ||
                        is(FSYS_JOURNAL_AT_DAMAGED, before));
    const auto either = [&](std::uint32_t state) {
        return is(state, here) || (named && is(state, before));
    };
    const int exit_code = either(FSYS_JOURNAL_AT_DAMAGED) ? kDamaged
                          : either(FSYS_JOURNAL_AT_TORN)  ? kTorn
                                                          : kSound;
    if (options.json) {
        nlohmann::json out{{"command", "journal explain"},
                           {"ok", exit_code == kSound},
                           {"journal", options.path},
                           {"lsn", options.lsn},
                           {"writer", here.writer != 0},
                           {"at", finding_json(here)}};
        if (named) {
            out["below"] = finding_json(before);
        }
        fmt::print("{}\n", json_text(out));
        return exit_code;
    }
    const bool on = colours(STDOUT_FILENO);
    if (named) {
        fmt::print("{}\n", bold(fmt::format("what ends at LSN {}", options.lsn), on));
        print_finding(before, on);
        fmt::print("\n");
    }
    fmt::print("{}\n", bold(fmt::format("at position {}", options.lsn), on));
    print_finding(here, on);
    return exit_code;
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
