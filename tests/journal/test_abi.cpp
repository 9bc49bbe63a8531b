// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The C face of the journal: arguments, handles, every function once, reports, fork.

#include "fsys/journal.h"

#include <sys/wait.h>
#include <unistd.h>

#include "journal/scratch.hpp"
#include "support/catch.hpp"

using journal_test::Scratch;

namespace {

struct Engine {
    fsys *handle = nullptr;
    Engine() { REQUIRE(fsys_open(nullptr, &handle) == 0); }
    ~Engine() { fsys_close(handle); }
};

fsys_journal_options small_options() {
    fsys_journal_options options{};
    options.struct_size = sizeof options;
    options.segment_bytes = 65536;
    options.buffer_bytes = 65536;
    options.block_bytes = 512;
    return options;
}

fsys_journal_report report() {
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    return report;
}

}  // namespace

TEST_CASE("every call of the journal, once, through C", "[journal][abi]") {
    Scratch dir;
    Engine engine;
    const std::string path = dir / "j";
    const fsys_journal_options options = small_options();
    fsys_journal_report found = report();
    fsys_journal *journal = nullptr;
    REQUIRE(fsys_journal_open(engine.handle, path.c_str(), &options, &found, &journal) == 0);
    REQUIRE(found.verdict == FSYS_JOURNAL_FRESH);
    uint64_t lsn = 0;
    REQUIRE(fsys_journal_append(journal, "one", 3, 0, &lsn) == 0);
    char a[] = "tw";
    char b[] = "o";
    const fsys_iovec pieces[] = {{a, 2}, {b, 1}};
    REQUIRE(fsys_journal_appendv(journal, pieces, 2, 0, &lsn) == 0);
    uint64_t each[2];
    REQUIRE(fsys_journal_append_batch(journal, pieces, 2, 0, &lsn, each) == 0);
    REQUIRE(each[1] == lsn);
    REQUIRE(fsys_journal_write_out(journal) == 0);
    fsys_journal_frontiers f{};
    REQUIRE(fsys_journal_frontier(journal, &f) == 0);
    REQUIRE(f.written >= lsn);
    REQUIRE(f.durable < lsn);
    REQUIRE(fsys_journal_sync(journal, lsn, FSYS_FOREVER) == 0);
    fsys_journal_ticket ticket{};
    REQUIRE(fsys_journal_reserve(journal, 4, 0, &ticket) == 0);
    std::memcpy(ticket.memory, "four", 4);
    REQUIRE(fsys_journal_publish(journal, &ticket, &lsn) == 0);
    REQUIRE(fsys_journal_publish(journal, &ticket, &lsn) == FSYS_E_STALE);
    REQUIRE(fsys_journal_reserve(journal, 4, 0, &ticket) == 0);
    REQUIRE(fsys_journal_abandon(journal, &ticket) == 0);
    fsys_op op = 0;
    fsys_result result{};
    REQUIRE(fsys_journal_submit_sync(journal, lsn, 7, &op) == 0);
    REQUIRE(fsys_wait(engine.handle, op, FSYS_FOREVER, &result) == 0);
    REQUIRE(result.result == 0);
    REQUIRE(result.user_data == 7);
    uint64_t five = 0;
    REQUIRE(fsys_journal_commit(journal, "five", 4, 0, FSYS_FOREVER, &five) == 0);
    REQUIRE(fsys_journal_rotate(journal) == 0);
    REQUIRE(fsys_journal_submit_commit(journal, "away", 4, 0, 9, nullptr, nullptr) == 0);
    REQUIRE(fsys_reap(engine.handle, &result, 1, FSYS_FOREVER) == 1);
    REQUIRE(result.result == 0);
    REQUIRE(result.user_data == 9);
    REQUIRE(fsys_journal_commit(journal, "gone", 4, 0, FSYS_FOREVER, nullptr) == 0);
    REQUIRE(fsys_journal_truncate(journal, five) == 0);
    fsys_journal_segment segments[8];
    const int count = fsys_journal_segments(journal, segments, 8);
    REQUIRE(count >= 2);
    REQUIRE(segments[0].sealed == 1);
    REQUIRE(segments[count - 1].sealed == 0);
    REQUIRE(fsys_journal_pin(journal, "p", five, 0) == 0);
    REQUIRE(fsys_journal_unpin(journal, "p") == 0);
    REQUIRE(fsys_journal_trim(journal, segments[0].first_lsn) == 0);
    fsys_journal_stats stats{};
    stats.struct_size = sizeof stats;
    REQUIRE(fsys_journal_stat(journal, &stats) == 0);
    REQUIRE(stats.syncs >= 3);
    REQUIRE(stats.poisoned == 0);
    char text[8] = "x";
    REQUIRE(fsys_journal_cause(journal, text, sizeof text) == 0);
    REQUIRE(text[0] == '\0');
    REQUIRE(fsys_journal_snapshot(journal, 0, (dir / "copy").c_str()) == 0);

    fsys_journal_reader *reader = nullptr;
    REQUIRE(fsys_journal_reader_open(journal, 0, 0, &reader) == 0);
    REQUIRE(fsys_journal_close(journal) == -EBUSY);
    const char *want[] = {"one", "two", "tw", "o", "four", "five"};
    fsys_journal_record record{};
    for (const char *wanted : want) {
        REQUIRE(fsys_journal_reader_next(reader, 0, &record) == 0);
        REQUIRE(record.kind == FSYS_JOURNAL_RECORD);
        REQUIRE(std::string(static_cast<const char *>(record.data), record.length) == wanted);
    }
    REQUIRE(fsys_journal_reader_next(reader, 1000, &record) == 0);
    REQUIRE(record.kind == FSYS_JOURNAL_END);
    REQUIRE(fsys_journal_reader_seek(reader, each[0]) == 0);
    REQUIRE(fsys_journal_reader_next(reader, 0, &record) == 0);
    REQUIRE(record.lsn == each[1]);
    REQUIRE(fsys_journal_reader_close(reader) == 0);
    REQUIRE(fsys_journal_reader_close(reader) == FSYS_E_CLOSED);
    REQUIRE(fsys_journal_close(journal) == 0);
    REQUIRE(fsys_journal_close(journal) == FSYS_E_CLOSED);

    for (const uint32_t deep : {0u, FSYS_JOURNAL_DEEP}) {
        found = report();
        REQUIRE(fsys_journal_check((dir / "copy").c_str(), deep, &found) == 0);
        REQUIRE(found.verdict == FSYS_JOURNAL_CLEAN);
        REQUIRE(found.end_lsn >= five);
    }
    REQUIRE(found.records == 6);
    found = report();
    REQUIRE(fsys_journal_reader_open_path(engine.handle, path.c_str(), 0, 0, &found, &reader) == 0);
    REQUIRE(fsys_journal_reader_next(reader, 0, &record) == 0);
    REQUIRE(fsys_journal_reader_close(reader) == 0);
    uint64_t records = 0;
    uint64_t lost = 1;
    REQUIRE(fsys_journal_salvage(path.c_str(), (dir / "saved").c_str(), &records, &lost) == 0);
    REQUIRE(records == 6);
    REQUIRE(lost == 0);
}

TEST_CASE("a reader seeks into a segment begun after it was opened", "[journal][abi]") {
    Scratch dir;
    Engine engine;
    const fsys_journal_options options = small_options();
    fsys_journal *journal = nullptr;
    REQUIRE(fsys_journal_open(engine.handle, (dir / "j").c_str(), &options, nullptr, &journal) == 0);
    fsys_journal_reader *reader = nullptr;
    REQUIRE(fsys_journal_reader_open(journal, 0, 0, &reader) == 0);
    fsys_journal_record record{};
    REQUIRE(fsys_journal_reader_next(reader, 0, &record) == 0);
    REQUIRE(record.kind == FSYS_JOURNAL_END);
    uint64_t second = 0;
    uint64_t last = 0;
    REQUIRE(fsys_journal_commit(journal, "first", 5, 0, FSYS_FOREVER, nullptr) == 0);
    REQUIRE(fsys_journal_rotate(journal) == 0);
    REQUIRE(fsys_journal_commit(journal, "second", 6, 0, FSYS_FOREVER, &second) == 0);
    REQUIRE(fsys_journal_rotate(journal) == 0);
    REQUIRE(fsys_journal_commit(journal, "last", 4, 0, FSYS_FOREVER, &last) == 0);
    // It knew the first segment only, and began again at its start.
    REQUIRE(fsys_journal_reader_seek(reader, second) == 0);
    REQUIRE(fsys_journal_reader_next(reader, 0, &record) == 0);
    REQUIRE(record.kind == FSYS_JOURNAL_RECORD);
    REQUIRE(record.lsn == last);
    REQUIRE(fsys_journal_reader_close(reader) == 0);
    REQUIRE(fsys_journal_close(journal) == 0);
}

TEST_CASE("wrong arguments and handles are codes", "[journal][abi]") {
    Scratch dir;
    Engine engine;
    const std::string path = dir / "j";
    fsys_journal_options options = small_options();
    char text[200] = "";
    options.error_text = text;
    options.error_text_size = sizeof text;
    fsys_journal *journal = nullptr;
    REQUIRE(fsys_journal_open(nullptr, path.c_str(), &options, nullptr, &journal) ==
            FSYS_E_CLOSED);
    REQUIRE(fsys_journal_open(engine.handle, nullptr, &options, nullptr, &journal) == -EINVAL);
    REQUIRE(fsys_journal_open(engine.handle, path.c_str(), &options, nullptr, nullptr) == -EINVAL);
    options.flags = 0x100;
    REQUIRE(fsys_journal_open(engine.handle, path.c_str(), &options, nullptr, &journal) ==
            FSYS_E_BAD_FLAG);
    options.flags = FSYS_JOURNAL_EXISTING;
    REQUIRE(fsys_journal_open(engine.handle, path.c_str(), &options, nullptr, &journal) ==
            -ENOENT);
    REQUIRE(text[0] != '\0');
    options.flags = 0;
    options.struct_size = 4;
    REQUIRE(fsys_journal_open(engine.handle, path.c_str(), &options, nullptr, &journal) ==
            FSYS_E_BAD_STRUCT);
    options.struct_size = sizeof options;
    fsys_journal_report wrong{};
    REQUIRE(fsys_journal_open(engine.handle, path.c_str(), &options, &wrong, &journal) ==
            FSYS_E_BAD_STRUCT);
    REQUIRE(fsys_journal_open(engine.handle, path.c_str(), &options, nullptr, &journal) == 0);
    fsys_journal *second = nullptr;
    REQUIRE(fsys_journal_open(engine.handle, path.c_str(), &options, nullptr, &second) ==
            FSYS_E_LOCKED);
    REQUIRE(fsys_journal_append(journal, nullptr, 1, 0, nullptr) == -EINVAL);
    REQUIRE(fsys_journal_append(journal, nullptr, 0, 0, nullptr) == 0);
    REQUIRE(fsys_journal_append(journal, "x", 1, 0x80, nullptr) == FSYS_E_BAD_FLAG);
    REQUIRE(fsys_journal_append_batch(journal, nullptr, 1, 0, nullptr, nullptr) == -EINVAL);
    REQUIRE(fsys_journal_sync(journal, UINT64_MAX, 0) == -EINVAL);
    REQUIRE(fsys_journal_frontier(journal, nullptr) == -EINVAL);
    REQUIRE(fsys_journal_stat(journal, nullptr) == -EINVAL);
    for (const std::uint64_t garbage :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{3}, ~std::uint64_t{0},
          reinterpret_cast<std::uint64_t>(engine.handle),
          reinterpret_cast<std::uint64_t>(journal) + (1u << 14)}) {
        auto *handle = reinterpret_cast<fsys_journal *>(garbage);
        REQUIRE(fsys_journal_append(handle, "x", 1, 0, nullptr) == FSYS_E_CLOSED);
        REQUIRE(fsys_journal_close(handle) == FSYS_E_CLOSED);
        auto *reader = reinterpret_cast<fsys_journal_reader *>(garbage);
        fsys_journal_record record{};
        REQUIRE(fsys_journal_reader_next(reader, 0, &record) == FSYS_E_CLOSED);
        REQUIRE(fsys_journal_reader_close(reader) == FSYS_E_CLOSED);
    }
    const pid_t child = ::fork();
    if (child == 0) {
        const bool right = fsys_journal_append(journal, "x", 1, 0, nullptr) == FSYS_E_FORKED &&
                           fsys_journal_close(journal) == FSYS_E_FORKED;
        ::_exit(right ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
    REQUIRE(fsys_journal_commit(journal, "x", 1, 0, FSYS_FOREVER, nullptr) == 0);
    REQUIRE(fsys_journal_close(journal) == 0);
}

TEST_CASE("damage is FSYS_E_CORRUPT with the report filled", "[journal][abi]") {
    Scratch dir;
    Engine engine;
    const std::string path = dir / "j";
    const fsys_journal_options options = small_options();
    fsys_journal *journal = nullptr;
    REQUIRE(fsys_journal_open(engine.handle, path.c_str(), &options, nullptr, &journal) == 0);
    for (int i = 0; i < 5; ++i) {
        REQUIRE(fsys_journal_commit(journal, "record", 6, 0, FSYS_FOREVER, nullptr) == 0);
    }
    REQUIRE(fsys_journal_close(journal) == 0);
    const std::string file = journal_test::segment_files(path)[0];
    std::string bytes = journal_test::slurp(file);
    bytes[4096 + 2 * 512 + 40] ^= 1;
    journal_test::spill(file, bytes);
    fsys_journal_report found = report();
    REQUIRE(fsys_journal_open(engine.handle, path.c_str(), &options, &found, &journal) ==
            FSYS_E_CORRUPT);
    REQUIRE(found.verdict == FSYS_JOURNAL_DAMAGED);
    REQUIRE(found.damage_lsn == 4096 + 2 * 512);
    REQUIRE(found.text[0] != '\0');
    uint64_t records = 0;
    uint64_t lost = 0;
    REQUIRE(fsys_journal_salvage(path.c_str(), (dir / "saved").c_str(), &records, &lost) == 0);
    REQUIRE(records == 4);
    REQUIRE(lost == 1);
}
