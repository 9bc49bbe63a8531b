// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What journals do with their engine handle, through C: sealed segments announced as completions,
// asynchronous syncs on a caller-driven handle, journals beneath a root directory.

#include "fsys/journal.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>
#include <thread>

#include "journal/scratch.hpp"
#include "support/catch.hpp"

using journal_test::Scratch;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

fsys *open_engine(std::uint32_t driver, const char *root = nullptr) {
    fsys_options options{};
    options.struct_size = sizeof options;
    options.driver = driver;
    options.root = root;
    fsys *handle = nullptr;
    REQUIRE(fsys_open(&options, &handle) == 0);
    return handle;
}

int open_small(fsys *handle, const std::string &path, fsys_journal **ret) {
    fsys_journal_options options{};
    options.struct_size = sizeof options;
    options.segment_bytes = 65536;
    options.buffer_bytes = 65536;
    options.block_bytes = 4096;
    return fsys_journal_open(handle, path.c_str(), &options, nullptr, ret);
}

int try_commit(fsys_journal *journal, std::uint64_t *lsn) {
    const char record[1000] = {};
    return fsys_journal_commit(journal, record, sizeof record, 0, -1, lsn);
}
void commit(fsys_journal *journal, std::uint64_t *lsn = nullptr) {
    REQUIRE(try_commit(journal, lsn) == 0);
}

// The next sealed segment above `after`, by token.
std::int64_t sealed(fsys *handle, fsys_journal *journal, std::uint64_t after) {
    fsys_op op = 0;
    REQUIRE(fsys_journal_submit_sealed(journal, after, 0, &op) == 0);
    fsys_result result{};
    REQUIRE(fsys_wait(handle, op, 10 * kSecond, &result) == 0);
    return result.result;
}

}  // namespace

TEST_CASE("each sealed segment is announced once, in order, to whoever asks again",
          "[journal][abi]") {
    Scratch dir;
    fsys *handle = open_engine(FSYS_DRIVER_THREAD);
    fsys_journal *journal = nullptr;
    REQUIRE(open_small(handle, dir / "j", &journal) == 0);
    // Through the queue, while the writer fills segments.
    REQUIRE(fsys_journal_submit_sealed(journal, 0, 7, nullptr) == 0);
    int refused = 0;  // assertions are the main thread's
    std::thread writer([&] {
        for (int i = 0; i < 60; ++i) {
            refused += try_commit(journal, nullptr) != 0;
        }
    });
    std::uint64_t last = 0;
    for (int i = 0; i < 3; ++i) {
        fsys_result result{};
        REQUIRE(fsys_reap(handle, &result, 1, 10 * kSecond) == 1);
        REQUIRE(result.user_data == 7);
        REQUIRE(result.result == static_cast<std::int64_t>(last + 1));
        last = static_cast<std::uint64_t>(result.result);
        fsys_journal_segment list[16];
        const int count = fsys_journal_segments(journal, list, 16);
        REQUIRE(count > static_cast<int>(last));
        REQUIRE(list[last - 1].number == last);
        REQUIRE(list[last - 1].sealed == 1);
        if (i < 2) {
            REQUIRE(fsys_journal_submit_sealed(journal, last, 7, nullptr) == 0);
        }
    }
    writer.join();
    REQUIRE(refused == 0);
    // Late is not too late: they come at once, one by one, by token.
    REQUIRE(sealed(handle, journal, 0) == 1);
    REQUIRE(sealed(handle, journal, 1) == 2);
    // One that is not sealed cannot have been shipped.
    fsys_op op = 0;
    REQUIRE(fsys_journal_submit_sealed(journal, 1000, 0, &op) == FSYS_E_STALE);
    // What was trimmed is passed over.
    fsys_journal_frontiers at{};
    REQUIRE(fsys_journal_frontier(journal, &at) == 0);
    REQUIRE(fsys_journal_trim(journal, at.durable) == 0);
    fsys_journal_segment oldest{};
    REQUIRE(fsys_journal_segments(journal, &oldest, 1) >= 1);
    REQUIRE(oldest.number > 1);
    fsys_result result{};
    REQUIRE(fsys_journal_rotate(journal) == 0);
    REQUIRE(sealed(handle, journal, 0) == static_cast<std::int64_t>(oldest.number));
    // Closing ends a request that waits.
    const std::uint64_t newest = oldest.number;
    REQUIRE(fsys_journal_submit_sealed(journal, newest, 0, &op) == 0);
    REQUIRE(fsys_wait(handle, op, 0, &result) == -ETIMEDOUT);
    REQUIRE(fsys_journal_close(journal) == 0);
    REQUIRE(fsys_wait(handle, op, 0, &result) == 0);
    REQUIRE(result.result == -ECANCELED);
    // Those of an earlier run are announced, too.
    REQUIRE(open_small(handle, dir / "j", &journal) == 0);
    REQUIRE(sealed(handle, journal, 0) == static_cast<std::int64_t>(newest));
    REQUIRE(fsys_close(handle) == 0);
}

TEST_CASE("a truncation that withdraws an announced segment says so", "[journal][abi]") {
    Scratch dir;
    fsys *handle = open_engine(FSYS_DRIVER_THREAD);
    fsys_journal *journal = nullptr;
    REQUIRE(open_small(handle, dir / "j", &journal) == 0);
    std::uint64_t first = 0;
    commit(journal, &first);
    commit(journal);
    REQUIRE(fsys_journal_rotate(journal) == 0);  // segment 1
    commit(journal);
    REQUIRE(fsys_journal_rotate(journal) == 0);  // segment 2
    commit(journal);
    fsys_op two = 0;
    fsys_op one = 0;
    REQUIRE(fsys_journal_submit_sealed(journal, 2, 0, &two) == 0);
    // Cut where segment 1 ends: it stays as it is, 2 is void.
    fsys_journal_segment list[4];
    REQUIRE(fsys_journal_segments(journal, list, 4) == 3);
    REQUIRE(fsys_journal_truncate(journal, list[0].end_lsn) == 0);
    fsys_result result{};
    REQUIRE(fsys_wait(handle, two, 0, &result) == 0);
    REQUIRE(result.result == FSYS_E_STALE);
    REQUIRE(fsys_journal_submit_sealed(journal, 1, 0, &one) == 0);
    // Cut into segment 1: it is no longer what was announced.
    commit(journal);
    REQUIRE(fsys_journal_truncate(journal, first) == 0);
    REQUIRE(fsys_wait(handle, one, 0, &result) == 0);
    REQUIRE(result.result == FSYS_E_STALE);
    REQUIRE(sealed(handle, journal, 0) == 1);
    REQUIRE(fsys_journal_segments(journal, list, 4) == 2);
    REQUIRE(list[0].end_lsn == first);
    REQUIRE(fsys_close(handle) == 0);
}

TEST_CASE("a caller-driven handle leads asynchronous syncs in its own turns", "[journal][abi]") {
    Scratch dir;
    fsys *handle = open_engine(FSYS_DRIVER_CALLER);
    fsys_journal *journal = nullptr;
    REQUIRE(open_small(handle, dir / "j", &journal) == 0);
    // By token: the wait drives.
    fsys_op op = 0;
    REQUIRE(fsys_journal_submit_commit(journal, "a", 1, 0, 0, nullptr, &op) == 0);
    fsys_result result{};
    REQUIRE(fsys_try(handle, op, &result) == -EAGAIN);
    REQUIRE(fsys_wait(handle, op, 10 * kSecond, &result) == 0);
    REQUIRE(result.result == 0);
    // Through the queue: many in one flush, by fsys_poll().
    for (std::uint64_t i = 0; i < 32; ++i) {
        REQUIRE(fsys_journal_submit_commit(journal, &i, sizeof i, 0, i, nullptr, nullptr) == 0);
    }
    fsys_journal_stats before{};
    before.struct_size = sizeof before;
    REQUIRE(fsys_journal_stat(journal, &before) == 0);
    REQUIRE(before.async_pending == 32);
    REQUIRE(fsys_poll(handle, 10 * kSecond) == 32);
    fsys_result results[64];
    REQUIRE(fsys_reap(handle, results, 64, 0) == 32);
    for (std::uint64_t i = 0; i < 32; ++i) {
        REQUIRE(results[i].user_data == i);
        REQUIRE(results[i].result == 0);
    }
    // From another thread, while the driver thread sleeps in a reap.
    fsys_op other = 0;
    REQUIRE(fsys_journal_submit_commit(journal, "b", 1, 0, 1, nullptr, nullptr) == 0);
    REQUIRE(fsys_reap(handle, results, 64, 10 * kSecond) == 1);
    fsys_journal_ticket ticket{};
    REQUIRE(fsys_journal_reserve(journal, 8, 0, &ticket) == 0);
    std::thread second([&] {
        // Behind an open ticket nothing can be durable; it is published a little later.
        REQUIRE(fsys_journal_submit_commit(journal, "c", 1, 0, 2, nullptr, nullptr) == 0);
        ::usleep(5000);
        std::memset(ticket.memory, 'x', 8);
        REQUIRE(fsys_journal_publish(journal, &ticket, nullptr) == 0);
    });
    while (fsys_reap(handle, results, 64, kSecond / 10) == 0) {
    }
    second.join();
    REQUIRE(results[0].user_data == 2);
    REQUIRE(results[0].result == 0);
    // What is open when the journal closes completes.
    REQUIRE(fsys_journal_submit_commit(journal, "d", 1, 0, 3, nullptr, &other) == 0);
    REQUIRE(fsys_journal_close(journal) == 0);
    REQUIRE(fsys_wait(handle, other, 0, &result) == 0);
    REQUIRE(result.result == 0);
    REQUIRE(fsys_close(handle) == 0);
}

TEST_CASE("a journal beneath a root cannot be led out of it", "[journal][abi]") {
    Scratch dir;
    const std::string root = dir / "root";
    const std::string outside = dir / "outside";
    REQUIRE(::mkdir(root.c_str(), 0700) == 0);
    REQUIRE(::mkdir(outside.c_str(), 0700) == 0);
    REQUIRE(::mkdir((root + "/sub").c_str(), 0700) == 0);
    REQUIRE(::symlink(outside.c_str(), (root + "/link").c_str()) == 0);
    fsys *handle = open_engine(FSYS_DRIVER_THREAD, root.c_str());
    fsys_journal *journal = nullptr;
    REQUIRE(open_small(handle, "../outside", &journal) == -EXDEV);
    REQUIRE(open_small(handle, "link/j", &journal) == -EXDEV);
    REQUIRE(open_small(handle, outside, &journal) == -EXDEV);
    REQUIRE(open_small(handle, "none/j", &journal) == -ENOENT);
    REQUIRE(std::filesystem::is_empty(outside));
    REQUIRE(open_small(handle, "sub/j/", &journal) == 0);
    commit(journal);
    struct stat st {};
    REQUIRE(::stat((root + "/sub/j").c_str(), &st) == 0);
    fsys_journal_reader *reader = nullptr;
    fsys_journal_record record{};
    REQUIRE(fsys_journal_reader_open(journal, 0, 0, &reader) == 0);
    REQUIRE(fsys_journal_reader_next(reader, 0, &record) == 0);
    REQUIRE(record.length == 1000);
    REQUIRE(fsys_journal_reader_close(reader) == 0);
    REQUIRE(fsys_journal_reader_open_path(handle, "../outside", 0, 0, nullptr, &reader) == -EXDEV);
    REQUIRE(fsys_journal_reader_open_path(handle, "sub/j", 0, 0, nullptr, &reader) == 0);
    REQUIRE(fsys_journal_reader_close(reader) == 0);
    REQUIRE(fsys_journal_snapshot(journal, 0, "link/copy") == -EXDEV);
    REQUIRE(fsys_journal_snapshot(journal, 0, "copy") == 0);
    REQUIRE(::stat((root + "/copy").c_str(), &st) == 0);
    REQUIRE(std::filesystem::is_empty(outside));
    REQUIRE(fsys_close(handle) == 0);
}

TEST_CASE("looking at a journal beneath a root does not lead out of it", "[journal][abi]") {
    Scratch dir;
    const std::string root = dir / "root";
    const std::string outside = dir / "outside";
    REQUIRE(::mkdir(root.c_str(), 0700) == 0);
    REQUIRE(::mkdir(outside.c_str(), 0700) == 0);
    fsys *anywhere = open_engine(FSYS_DRIVER_THREAD);
    fsys *handle = open_engine(FSYS_DRIVER_THREAD, root.c_str());
    // A journal on each side: one that is out of bounds is not found to be there.
    for (const auto &[by, path] :
         {std::pair{anywhere, outside + "/j"}, std::pair{handle, std::string("j")}}) {
        fsys_journal *journal = nullptr;
        REQUIRE(open_small(by, path, &journal) == 0);
        commit(journal);
        REQUIRE(fsys_journal_pin(journal, "p", 4096, 0) == 0);
        REQUIRE(fsys_journal_close(journal) == 0);
    }
    REQUIRE(::symlink((outside + "/j").c_str(), (root + "/link").c_str()) == 0);
    REQUIRE(::symlink(outside.c_str(), (root + "/away").c_str()) == 0);
    REQUIRE(::symlink("j", (root + "/inside").c_str()) == 0);
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    fsys_journal_finding finding{};
    finding.struct_size = sizeof finding;
    fsys_journal_segment segment{};
    fsys_journal_pinned pin{};
    std::uint64_t records = 0;
    const auto look = [&](fsys *by, const char *path) {
        const std::set<int> codes{
            fsys_journal_check_at(by, path, 0, &report),
            fsys_journal_check_at(by, path, FSYS_JOURNAL_DEEP, &report),
            fsys_journal_explain_at(by, path, 4096, &finding),
            std::min(fsys_journal_list_segments_at(by, path, &segment, 1), 0),
            std::min(fsys_journal_list_pins_at(by, path, &pin, 1), 0),
        };
        REQUIRE(codes.size() == 1);
        return *codes.begin();
    };
    for (const std::string &out : {outside + "/j", std::string("../outside/j"), std::string("link"),
                                   std::string("away/j"), std::string("inside/../../outside/j")}) {
        INFO(out);
        REQUIRE(look(handle, out.c_str()) == -EXDEV);
        REQUIRE(fsys_journal_snapshot_at(handle, out.c_str(), 0, "copy") == -EXDEV);
        REQUIRE(fsys_journal_salvage_at(handle, out.c_str(), "copy", nullptr, nullptr) == -EXDEV);
    }
    REQUIRE_FALSE(std::filesystem::exists(root + "/copy"));
    for (const std::string &out :
         {outside + "/copy", std::string("../outside/copy"), std::string("away/copy")}) {
        INFO(out);
        REQUIRE(fsys_journal_snapshot_at(handle, "j", 0, out.c_str()) == -EXDEV);
        REQUIRE(fsys_journal_salvage_at(handle, "j", out.c_str(), nullptr, nullptr) == -EXDEV);
    }
    REQUIRE_FALSE(std::filesystem::exists(outside + "/copy"));
    // What is beneath it is found, whatever the working directory.
    for (const char *in : {"j", "inside", "./j/../j"}) {
        INFO(in);
        REQUIRE(look(handle, in) == 0);
        REQUIRE(report.verdict == FSYS_JOURNAL_CLEAN);
        REQUIRE(report.records == 1);
        REQUIRE(finding.state == FSYS_JOURNAL_AT_RECORD);
        REQUIRE(segment.number == 1);
        REQUIRE(std::string(pin.name) == "p");
    }
    REQUIRE(look(anywhere, (outside + "/j").c_str()) == 0);
    REQUIRE(fsys_journal_check_at(handle, "none", 0, &report) == -ENOENT);
    REQUIRE(::mkdir((root + "/empty").c_str(), 0700) == 0);
    REQUIRE(fsys_journal_check_at(handle, "empty", 0, &report) == 0);
    REQUIRE(report.verdict == FSYS_JOURNAL_FRESH);
    REQUIRE(fsys_journal_snapshot_at(handle, "j", 0, "copy") == 0);
    REQUIRE(look(handle, "copy") == 0);
    REQUIRE(fsys_journal_salvage_at(handle, "copy", "saved", &records, nullptr) == 0);
    REQUIRE(records == 1);
    REQUIRE(look(handle, "saved") == 0);
    REQUIRE(fsys_close(handle) == 0);
    REQUIRE(look(handle, "j") == FSYS_E_CLOSED);
    REQUIRE(fsys_close(anywhere) == 0);
}
