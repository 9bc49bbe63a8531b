// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Closing a journal, a reader or their engine while other threads are inside: every call ends with
// a code that the header allows, exactly one close wins, sleepers are woken, every accepted
// asynchronous sync completes.

#include "fsys/journal.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "journal/scratch.hpp"
#include "support/catch.hpp"

using journal_test::Scratch;

namespace {

fsys_journal_options small_options() {
    fsys_journal_options options{};
    options.struct_size = sizeof options;
    options.segment_bytes = 65536;
    options.buffer_bytes = 65536;
    options.block_bytes = 512;
    options.mode = FSYS_JOURNAL_MODE_BUFFERED;
    return options;
}

}  // namespace

TEST_CASE("close races with every kind of call; one close wins", "[journal][abi]") {
    Scratch dir;
    for (int round = 0; round < 20; ++round) {
        fsys *engine = nullptr;
        REQUIRE(fsys_open(nullptr, &engine) == 0);
        const fsys_journal_options options = small_options();
        fsys_journal *journal = nullptr;
        REQUIRE(fsys_journal_open(engine, (dir / "j").c_str(), &options, nullptr, &journal) == 0);
        fsys_journal_reader *reader = nullptr;
        REQUIRE(fsys_journal_reader_open_path(engine, (dir / "j").c_str(), 0, 0, nullptr,
                                              &reader) == 0);
        std::atomic<int> wrong{0};
        std::atomic<int> won{0};
        std::atomic<std::uint64_t> promised{0};
        std::vector<std::thread> threads;
        const auto check = [&](int code) {
            if (code < 0 && code != FSYS_E_CLOSED) {
                wrong.store(code);
            }
            return code == 0;
        };
        for (int i = 0; i < 2; ++i) {
            threads.emplace_back([&] {
                std::uint64_t lsn = 0;
                while (check(fsys_journal_commit(journal, "record", 6, 0, FSYS_FOREVER, &lsn))) {
                    std::uint64_t seen = promised.load();
                    while (seen < lsn && !promised.compare_exchange_weak(seen, lsn)) {
                    }
                }
            });
        }
        threads.emplace_back([&] {
            fsys_journal_ticket ticket{};
            while (check(fsys_journal_reserve(journal, 100, 0, &ticket))) {
                // Left open at times, so that closing finds it and the committers behind it.
                std::this_thread::sleep_for(std::chrono::microseconds(300));
                if (!check(fsys_journal_abandon(journal, &ticket))) {
                    break;
                }
            }
        });
        threads.emplace_back([&] {
            fsys_journal_record record{};
            while (check(fsys_journal_reader_next(reader, FSYS_FOREVER, &record))) {
            }
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(5 + round));
        const bool whole_engine = round % 2 != 0;
        for (int i = 0; i < 2; ++i) {
            threads.emplace_back([&] {
                const int code = whole_engine ? fsys_close(engine) : fsys_journal_close(journal);
                won += check(code) ? 1 : 0;
            });
        }
        if (!whole_engine) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
            REQUIRE(fsys_journal_reader_close(reader) == 0);  // wakes the one that sleeps in it
        }
        for (auto &thread : threads) {
            thread.join();
        }
        REQUIRE(wrong.load() == 0);
        REQUIRE(won.load() == 1);
        if (!whole_engine) {
            REQUIRE(fsys_close(engine) == 0);
        }
        fsys_journal_report report{};
        report.struct_size = sizeof report;
        REQUIRE(fsys_journal_check((dir / "j").c_str(), FSYS_JOURNAL_DEEP, &report) == 0);
        REQUIRE(report.verdict == FSYS_JOURNAL_CLEAN);
        REQUIRE(report.end_lsn >= promised.load());
    }
}

TEST_CASE("thousands of asynchronous commits, then close: each completes", "[journal][abi]") {
    Scratch dir;
    fsys *engine = nullptr;
    REQUIRE(fsys_open(nullptr, &engine) == 0);
    const fsys_journal_options options = small_options();
    fsys_journal *journal = nullptr;
    REQUIRE(fsys_journal_open(engine, (dir / "j").c_str(), &options, nullptr, &journal) == 0);
    constexpr std::uint64_t kCount = 3000;
    for (std::uint64_t i = 0; i < kCount; ++i) {
        REQUIRE(fsys_journal_submit_commit(journal, &i, sizeof i, 0, i, nullptr, nullptr) == 0);
    }
    REQUIRE(fsys_journal_close(journal) == 0);
    std::vector<int> seen(kCount);
    fsys_result results[64];
    for (std::uint64_t taken = 0; taken < kCount;) {
        const int n = fsys_reap(engine, results, 64, 0);
        REQUIRE(n > 0);  // closing has completed them all
        for (int i = 0; i < n; ++i) {
            REQUIRE(results[i].result == 0);
            ++seen[results[i].user_data];
        }
        taken += static_cast<std::uint64_t>(n);
    }
    REQUIRE(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
    REQUIRE(fsys_reap(engine, results, 1, 0) == 0);
    REQUIRE(fsys_close(engine) == 0);
}
