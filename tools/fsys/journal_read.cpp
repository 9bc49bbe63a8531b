// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys journal cat`, `tail` and `dump`: records to standard output. Main thread only.
#include "journal.hpp"

#include "failure.hpp"
#include "interrupt.hpp"
#include "journal_handle.hpp"
#include "terminal.hpp"
#include "units.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <deque>
#include <memory>

namespace cli {

namespace {

void stop_if_interrupted()
{
    if (const int signal = interrupted(); signal != 0) {
        throw Interrupted{signal, ""};
    }
}

std::string_view payload(const fsys_journal_record &record)
{
    return {static_cast<const char *>(record.data), record.length};
}

// One line, whatever the bytes are: what is not UTF-8 becomes U+FFFD.
std::string json_line(const nlohmann::json &document)
{
    return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string as_line(std::uint64_t lsn, std::uint64_t epoch, std::string_view data, bool json)
{
    return json ? json_line({{"lsn", lsn}, {"epoch", epoch}, {"length", data.size()},
                             {"data", data}})
                : std::string(data) + "\n";
}

Failure damaged(const JournalOptions &options, std::uint64_t at)
{
    std::fflush(stdout);
    return Failure(fmt::format("damaged at LSN {}: journal", at), options.path, FSYS_E_CORRUPT)
        .hint("fsys journal explain tells why, salvage copies what can be read");
}

// What is not a record, told on standard error; damage ends the command.
void tell(const JournalOptions &options, const fsys_journal_record &found)
{
    switch (found.kind) {
    case FSYS_JOURNAL_GAP:
        warn(fmt::format("LSN {} to {} was trimmed", found.start, found.lsn));
        break;
    case FSYS_JOURNAL_EPOCH_CHANGED:
        warn(fmt::format("records behind LSN {} were withdrawn", found.lsn));
        break;
    case FSYS_JOURNAL_DAMAGE: throw damaged(options, found.start);
    default: break;
    }
}

std::vector<std::uint64_t> segment_starts(const std::string &path)
{
    std::vector<fsys_journal_segment> segments;
    int count = 0;
    do {
        segments.resize(static_cast<std::size_t>(count));
        count = fsys_journal_list_segments(path.c_str(), segments.data(),
                                           static_cast<std::uint32_t>(segments.size()));
        if (count < 0) {
            throw Failure("cannot read the journal", path, count);
        }
    } while (static_cast<std::size_t>(count) > segments.size());
    segments.resize(static_cast<std::size_t>(count));
    std::vector<std::uint64_t> starts;
    for (const fsys_journal_segment &segment : segments) {
        starts.push_back(segment.first_lsn);
    }
    return starts;
}

// Prints the last records, and where the last of them was: for whoever goes on behind it.
std::uint64_t print_last(Engine &engine, const JournalOptions &options)
{
    struct Kept {
        std::uint64_t lsn, epoch;
        std::string data;
    };
    const std::vector<std::uint64_t> starts = segment_starts(options.path);
    // A journal is read forwards only: from later segments first, and twice as many when they hold
    // too few.
    for (std::size_t back = 1;; back *= 2) {
        const bool all = back >= starts.size();
        // The first segment from its very start: LSN 0 is "the oldest".
        const std::uint64_t from = all ? 0 : starts[starts.size() - back];
        ReaderHandle reader(engine, options.path, from, options.written);
        std::deque<Kept> kept;
        std::uint64_t last = from;
        for (;;) {
            stop_if_interrupted();
            const fsys_journal_record record = reader.next(0);
            if (record.kind == FSYS_JOURNAL_END) {
                break;
            }
            tell(options, record);
            if (record.kind == FSYS_JOURNAL_RECORD) {
                last = record.lsn;
                kept.push_back({record.lsn, record.epoch, std::string(payload(record))});
                if (kept.size() > options.lines) {
                    kept.pop_front();
                }
            }
        }
        if (all || kept.size() == options.lines) {
            for (const Kept &record : kept) {
                put(as_line(record.lsn, record.epoch, record.data, options.json));
            }
            return last;
        }
    }
}

// Never returns but by a signal or a failure.
[[noreturn]] void follow(Engine &engine, const JournalOptions &options, std::uint64_t last)
{
    constexpr std::int64_t kLook = 200'000'000;  // how soon a ^C is seen
    for (;;) {
        ReaderHandle reader(engine, options.path, last, options.written);
        do {
            stop_if_interrupted();
            const fsys_journal_record record = reader.next(kLook);
            tell(options, record);
            if (record.kind == FSYS_JOURNAL_RECORD) {
                put(as_line(record.lsn, record.epoch, payload(record), options.json));
                last = record.lsn;
                continue;
            }
            if (record.kind == FSYS_JOURNAL_EPOCH_CHANGED) {
                last = record.lsn;
            }
            std::fflush(stdout);
            if (record.kind == FSYS_JOURNAL_END && !reader.follows()) {
                break;  // nobody writes: look again for a writer
            }
        } while (true);
        usleep(200'000);
    }
}

void dump_text(const fsys_journal_record &record, bool on)
{
    std::string out = bold(fmt::format("LSN {}", record.lsn), on) +
                      fmt::format("  from {}, {}, epoch {}\n", record.start,
                                  plural(record.length, "byte", "bytes"), record.epoch);
    const std::string_view data = payload(record);
    for (std::size_t at = 0; at < data.size(); at += 16) {
        const std::string_view row = data.substr(at, 16);
        std::string hex;
        std::string text;
        for (const char byte : row) {
            const auto value = static_cast<unsigned char>(byte);
            hex += fmt::format("{:02x} ", value);
            hex += hex.size() == 24 ? " " : "";
            text += value >= 0x20 && value < 0x7f ? byte : '.';
        }
        out += fmt::format("  {:08x}  {:<49} {}\n", at, hex, text);
        if (out.size() > 65536) {
            put(out);
            out.clear();
        }
    }
    put(out);
}

std::string hex_of(std::string_view data)
{
    std::string hex;
    hex.reserve(2 * data.size());
    for (const char byte : data) {
        fmt::format_to(std::back_inserter(hex), "{:02x}", static_cast<unsigned char>(byte));
    }
    return hex;
}

}  // namespace

void put(std::string_view bytes)
{
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) {
        throw Failure("cannot write to standard output", "", -errno);
    }
}

int run_journal_cat(const JournalOptions &options)
{
    Engine engine({});
    ReaderHandle reader(engine, options.path, options.from, options.written);
    for (;;) {
        stop_if_interrupted();
        const fsys_journal_record record = reader.next(0);
        if (record.kind == FSYS_JOURNAL_END) {
            return kOk;
        }
        tell(options, record);
        if (record.kind == FSYS_JOURNAL_RECORD) {
            put(as_line(record.lsn, record.epoch, payload(record), options.json));
        }
    }
}

int run_journal_tail(const JournalOptions &options)
{
    if (options.durable && options.written) {
        throw Usage("--durable and --written exclude each other");
    }
    Engine engine({});
    const std::uint64_t last = print_last(engine, options);
    std::fflush(stdout);
    if (options.follow) {
        follow(engine, options, last);
    }
    return kOk;
}

int run_journal_dump(const JournalOptions &options)
{
    Engine engine({});
    ReaderHandle reader(engine, options.path, options.from, options.written);
    const bool on = colours(STDOUT_FILENO);
    std::uint64_t damage = 0;
    for (;;) {
        stop_if_interrupted();
        const fsys_journal_record record = reader.next(0);
        if (record.kind == FSYS_JOURNAL_END) {
            break;
        }
        if (record.kind == FSYS_JOURNAL_DAMAGE) {
            // Unlike cat this is for looking at broken journals: over the gap and on.
            std::uint64_t from = 0;
            std::uint64_t to = 0;
            const int code = fsys_journal_reader_skip_damage(reader.get(), &from, &to);
            if (code == 0 && from < options.to) {
                put(options.json ? json_line({{"damage", {{"from", from}, {"to", to}}}})
                                 : red(fmt::format("LSN {} to {} cannot be read\n", from, to), on));
            }
            if (code < 0) {
                // Behind damage the reader knows no end: nothing more is then the end of the log.
                if (damage == 0 && record.start < options.to) {
                    put(options.json ? json_line({{"damage", {{"from", record.start}}}})
                                     : red(fmt::format("nothing behind LSN {} can be read\n",
                                                       record.start), on));
                }
                damage = damage == 0 ? record.start : damage;
                break;
            }
            damage = damage == 0 ? record.start : damage;
            continue;
        }
        tell(options, record);
        if (record.kind != FSYS_JOURNAL_RECORD) {
            continue;
        }
        if (record.lsn > options.to) {
            break;
        }
        if (options.json) {
            put(json_line({{"lsn", record.lsn},
                           {"start", record.start},
                           {"epoch", record.epoch},
                           {"length", record.length},
                           {"hex", hex_of(payload(record))}}));
        } else {
            dump_text(record, on);
        }
    }
    if (damage != 0 && damage < options.to) {
        throw damaged(options, damage);
    }
    return kOk;
}

}  // namespace cli
