// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Wrong results that other journals give or gave, each as a test that this one passes. The numbers are
// those of docs/journal-design.md, "Defects that must not return"; those of cost are in test_cost.cpp.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "journal/powerloss.hpp"
#include "journal/sink.hpp"
#include "journal/spy.hpp"
#include "support/catch.hpp"

using namespace journal_test;

namespace {

std::unique_ptr<sim::Disk> twin(const sim::Disk &disk) {
    sim::Random random(1);
    return disk.crash(sim::Loss::none, random);
}

}  // namespace

TEST_CASE("J1: what sync acknowledges is in the file, with many threads", "[journal][defects]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(65536));
    REQUIRE(journal);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t) {
        threads.emplace_back([&, t] {
            std::unique_ptr<Reader> reader;
            if (Reader::open(*journal, 0, Bound::durable, reader) != 0) {
                ++wrong;
                return;
            }
            for (int i = 0; i < 60; ++i) {
                const std::string text = record(static_cast<std::uint64_t>(t * 1000 + i), 300);
                Lsn lsn = 0;
                if (journal->commit(text.data(), text.size(), 0, -1, &lsn) != 0) {
                    ++wrong;
                    continue;
                }
                reader->seek(lsn - 8);  // inside the record: gives the record
                Record found;
                if (reader->next(found) != Got::record || found.lsn != lsn ||
                    std::string(static_cast<const char *>(found.data), found.length) != text) {
                    ++wrong;
                }
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    REQUIRE(wrong == 0);
}

TEST_CASE("J2, J4, J5: after a failed or short write nothing is acknowledged and nothing hangs",
          "[journal][defects]") {
    for (const IoMode mode : {IoMode::buffered, IoMode::direct}) {
        sim::Disk disk;
        auto journal = open_journal("/j", small(65536, mode), nullptr, nullptr, disk);
        REQUIRE(journal);
        Lsn good = 0;
        REQUIRE(journal->commit("good", 4, 0, -1, &good) == 0);
        const std::string big = record(1, 3000);
        Lsn bad = 0;
        REQUIRE(journal->append(big.data(), big.size(), 0, &bad) == 0);
        disk.set_fault({disk.calls(), -EIO, false, 0});
        REQUIRE(journal->sync(bad, -1) == kUnknown);
        REQUIRE(journal->frontier().unknown_lo >= good);
        REQUIRE(journal->frontier().unknown_lo < bad);
        REQUIRE(journal->frontier().unknown_hi >= bad);
        REQUIRE_THAT(journal->cause(), Catch::Matchers::ContainsSubstring("EIO"));
        // The disk works again, and it makes no difference.
        REQUIRE(journal->append("later", 5, 0, nullptr) == kPoisoned);
        REQUIRE(journal->sync(bad, -1) == kUnknown);
        REQUIRE(journal->sync(good, -1) == 0);
        REQUIRE(journal->close() == kPoisoned);
        // A write that stops half way is continued.
        auto again = open_journal("/j", small(65536, mode), nullptr, nullptr, disk);
        REQUIRE(again);
        REQUIRE(again->append(big.data(), big.size(), 0, &bad) == 0);
        disk.set_fault({disk.calls(), 0, false, 512});
        REQUIRE(again->sync(bad, -1) == 0);
        REQUIRE(disk.fault_fired());
        REQUIRE(again->close() == 0);
        REQUIRE(read_all("/j", disk).records == std::vector<std::string>{"good", big});
    }
}

TEST_CASE("J3: a failed sync is never tried again", "[journal][defects]") {
    sim::Disk disk;
    auto journal = open_journal("/j", small(65536), nullptr, nullptr, disk);
    REQUIRE(journal);
    Lsn lsn = 0;
    REQUIRE(journal->append("x", 1, 0, &lsn) == 0);
    disk.set_fault({disk.calls() + 1, -ENOSPC, false, 0});  // the write passes, its sync does not
    REQUIRE(journal->sync(lsn, -1) == kUnknown);
    REQUIRE(disk.fault_fired());
    for (int i = 0; i < 5; ++i) {
        REQUIRE(journal->sync(lsn, -1) == kUnknown);
    }
    Sink sink;
    REQUIRE(journal->submit_sync(lsn, 1, &sink) == kUnknown);
    REQUIRE(journal->drive() == 0);
    journal->close();
    REQUIRE(disk.syncs_after_fault() == 0);
}

TEST_CASE("J6: no gap inside the log, whatever the record sizes", "[journal][defects]") {
    Scratch dir;
    for (const IoMode mode : {IoMode::buffered, IoMode::direct}) {
        const std::string path = dir / (mode == IoMode::direct ? "d" : "b");
        Options options = small(1 << 20, mode);
        options.block_bytes = 4096;
        std::vector<std::string> want;
        for (int round = 0; round < 2; ++round) {
            auto journal = open_journal(path, options);
            REQUIRE(journal);
            for (const std::size_t length : {10240, 61440, 1, 65536, 4056, 4057, 16300, 40, 60000}) {
                want.push_back(record(want.size(), length));
                REQUIRE(journal->append(want.back().data(), want.back().size(), 0, nullptr) == 0);
            }
            REQUIRE(journal->close() == 0);
        }
        REQUIRE(read_all(path).records == want);
    }
}

TEST_CASE("J7: records longer than the log buffer beside small ones: no LSN twice, none overlaid",
          "[journal][defects]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(262144));
    REQUIRE(journal);
    std::mutex mutex;
    std::map<Lsn, std::string> written;
    std::atomic<int> failures{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 25; ++i) {
                const std::string text = record(static_cast<std::uint64_t>(t * 1000 + i),
                                                t == 0 ? 200'000 : 50 + i * 77);
                Lsn lsn = 0;
                if (journal->append(text.data(), text.size(), 0, &lsn) != 0 ||
                    (i % 4 == 0 && journal->sync(lsn, -1) != 0)) {
                    ++failures;
                }
                const std::lock_guard lock(mutex);
                failures += !written.emplace(lsn, text).second;
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    REQUIRE(failures == 0);
    REQUIRE(journal->close() == 0);
    const Read read = read_all(dir / "j");
    REQUIRE(read.records.size() == written.size());
    for (std::size_t i = 0; i < read.records.size(); ++i) {
        REQUIRE(written.at(read.lsns[i]) == read.records[i]);
    }
}

TEST_CASE("J8: the frontiers never move back and keep their order", "[journal][defects]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(65536));
    REQUIRE(journal);
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0};
    std::thread observer([&] {
        Frontier before{};
        while (!stop) {
            const Frontier f = journal->frontier();
            wrong += f.durable > f.written || f.written > f.published ||
                     f.published > f.reserved || f.durable < before.durable ||
                     f.reserved < before.reserved || f.written < before.written;
            before = f;
        }
    });
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 150; ++i) {
                const std::string text = record(static_cast<std::uint64_t>(i), 700);
                Lsn lsn = 0;
                wrong += journal->append(text.data(), text.size(), 0, &lsn) != 0;
                if (i % 3 == 0) {
                    wrong += journal->sync(lsn, -1) != 0;
                }
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    stop = true;
    observer.join();
    REQUIRE(wrong == 0);
}

TEST_CASE("J9, J11: behind a torn tail new records are reachable, in direct mode too",
          "[journal][defects]") {
    for (const IoMode mode : {IoMode::buffered, IoMode::direct}) {
        Scratch dir;
        Options options = small(65536, mode);
        options.block_bytes = 4096;
        auto journal = open_journal(dir / "j", options);
        REQUIRE(journal);
        Lsn lsn = 0;
        REQUIRE(journal->commit("first", 5, 0, -1, &lsn) == 0);
        const std::string text = record(7, 6000);
        REQUIRE(journal->append(text.data(), text.size(), 0, nullptr) == 0);
        REQUIRE(journal->write_out() == 0);
        journal->abandon();
        // The second half of that record never reached the disk.
        const std::string file = segment_files(dir / "j")[0];
        std::string bytes = slurp(file);
        std::fill(bytes.begin() + 4096 + 4096 + 4096, bytes.end(), '\0');
        spill(file, bytes);
        RecoveryReport report;
        journal = open_journal(dir / "j", options, &report);
        REQUIRE(journal);
        REQUIRE(report.verdict == Verdict::torn);
        REQUIRE(report.cut_to > report.cut_from);
        REQUIRE_FALSE(report.kept_name.empty());
        REQUIRE(slurp((dir / "j") + "/" + report.kept_name).size() ==
                report.cut_to - report.cut_from);
        REQUIRE(journal->commit("second", 6, 0, -1, nullptr) == 0);
        journal->abandon();
        REQUIRE(read_all(dir / "j").records == std::vector<std::string>{"first", "second"});
    }
}

TEST_CASE("J10: frames behind a cut never come back", "[journal][defects]") {
    sim::Disk disk;
    const Options options = small(65536);
    auto journal = open_journal("/j", options, nullptr, nullptr, disk);
    REQUIRE(journal);
    Lsn first = 0;
    REQUIRE(journal->commit("kept", 4, 0, -1, &first) == 0);
    Lsn hole = 0;
    const std::string text = record(1, 400);
    for (int i = 0; i < 6; ++i) {
        REQUIRE(journal->append(text.data(), text.size(), 0, i == 0 ? &hole : nullptr) == 0);
    }
    REQUIRE(journal->write_out() == 0);
    const std::string name = journal->segments()[0].name;
    journal->abandon();
    // The first of them did not land, the others did; none was acknowledged.
    auto *bytes = disk.contents("j", name);
    std::fill_n(bytes->begin() + 4096 + 512, 440, std::uint8_t{0});
    RecoveryReport report;
    journal = open_journal("/j", options, &report, nullptr, disk);
    REQUIRE(journal);
    REQUIRE(report.verdict == Verdict::torn);
    // New records of the same sizes, so that old ones would fit behind them exactly.
    REQUIRE(journal->commit(text.data(), text.size(), 0, -1, nullptr) == 0);
    journal->abandon();
    for (int i = 0; i < 3; ++i) {
        journal = open_journal("/j", options, nullptr, nullptr, disk);
        REQUIRE(journal);
        journal->abandon();
    }
    REQUIRE(read_all("/j", disk).records == std::vector<std::string>{"kept", text});
}

TEST_CASE("J12: preallocation in any form does not move the end", "[journal][defects]") {
    Scratch dir;
    int n = 0;
    for (const Prealloc prealloc :
         {Prealloc::none, Prealloc::extent, Prealloc::zero, Prealloc::recycle}) {
        Options options = small(65536);
        options.prealloc = prealloc;
        const std::string path = dir / std::to_string(n++);
        std::vector<std::string> want;
        for (int round = 0; round < 3; ++round) {
            auto journal = open_journal(path, options);
            REQUIRE(journal);
            want.push_back(record(static_cast<std::uint64_t>(round), 100));
            REQUIRE(journal->commit(want.back().data(), want.back().size(), 0, -1, nullptr) == 0);
            round % 2 == 0 ? journal->abandon() : static_cast<void>(journal->close());
        }
        REQUIRE(read_all(path).records == want);
    }
}

TEST_CASE("J13: the first acknowledged record survives the loss of unsynced names",
          "[journal][defects]") {
    sim::Disk disk;
    auto journal = open_journal("/j", small(), nullptr, nullptr, disk);
    REQUIRE(journal);
    REQUIRE(journal->commit("here", 4, 0, -1, nullptr) == 0);
    sim::Random random(1);
    auto after = disk.crash(sim::Loss::names_only, random);
    journal->abandon();
    REQUIRE(read_all("/j", *after).records == std::vector<std::string>{"here"});
}

TEST_CASE("J14: a second writer is locked out, in this process and in another",
          "[journal][defects]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small());
    REQUIRE(journal);
    int code = 0;
    RecoveryReport report;
    open_journal(dir / "j", small(), &report, &code);
    REQUIRE(code == kLocked);
    REQUIRE_THAT(report.text, Catch::Matchers::ContainsSubstring("another writer"));
    const pid_t child = ::fork();
    if (child == 0) {
        Journal *other = nullptr;
        const int rc = Journal::open(real_syscalls(), dir / "j", small(), nullptr, &other);
        ::_exit(rc == kLocked ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
    REQUIRE(journal->commit("x", 1, 0, -1, nullptr) == 0);
    REQUIRE(journal->close() == 0);
    REQUIRE(open_journal(dir / "j", small()));
}

TEST_CASE("J15: a flipped bit in the middle is damage with its LSN; nothing is cut or changed",
          "[journal][defects]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small());
    REQUIRE(journal);
    std::vector<Lsn> lsns(20);
    for (auto &lsn : lsns) {
        REQUIRE(journal->commit("0123456789", 10, 0, -1, &lsn) == 0);
    }
    journal->abandon();
    const std::string file = segment_files(dir / "j")[0];
    std::string bytes = slurp(file);
    bytes[4096 + 9 * 512 + 41] ^= 4;
    spill(file, bytes);
    RecoveryReport report;
    for (int i = 0; i < 2; ++i) {
        int code = 0;
        open_journal(dir / "j", small(), &report, &code);
        REQUIRE(code == kCorrupt);
        REQUIRE(report.damage_lsn == kFirstLsn + 9 * 512);
        REQUIRE(report.proof_lsn > report.damage_lsn);
        REQUIRE(slurp(file) == bytes);
    }
    RecoveryReport dry;
    REQUIRE(dry_run(real_syscalls(), dir / "j", dry) == kCorrupt);
    REQUIRE(dry.damage_lsn == report.damage_lsn);
    const Read read = read_all(dir / "j");
    REQUIRE(read.records.size() == 9);
    REQUIRE(read.last == Got::damaged);
    REQUIRE(read.damage == report.damage_lsn);
}

TEST_CASE("J16: frames of another journal never validate, even at the same position",
          "[journal][defects]") {
    Scratch dir;
    for (const char *name : {"a", "b"}) {
        auto journal = open_journal(dir / name, small());
        REQUIRE(journal);
        for (int i = 0; i < 8; ++i) {
            const std::string text = std::string(name) + std::to_string(i);
            REQUIRE(journal->commit(text.data(), text.size(), 0, -1, nullptr) == 0);
        }
        journal->abandon();
    }
    const std::string a = segment_files(dir / "a")[0];
    const std::string from_b = slurp(segment_files(dir / "b")[0]);
    std::string bytes = slurp(a);
    bytes.replace(4096 + 3 * 512, 512, from_b, 4096 + 3 * 512, 512);
    spill(a, bytes);
    const Read read = read_all(dir / "a");
    REQUIRE(read.records == std::vector<std::string>{"a0", "a1", "a2"});
    REQUIRE(read.last == Got::damaged);
}

TEST_CASE("J17: a log whose front was given back opens, reads and goes on", "[journal][defects]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(8192));
    REQUIRE(journal);
    Lsn lsn = 0;
    for (int i = 0; i < 300; ++i) {
        const std::string text = record(static_cast<std::uint64_t>(i), 400);
        REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
    }
    REQUIRE(journal->sync(lsn, -1) == 0);
    REQUIRE(journal->trim(lsn) == 0);
    REQUIRE(segment_files(dir / "j").size() == 1);
    journal->abandon();
    RecoveryReport report;
    journal = open_journal(dir / "j", small(8192), &report);
    REQUIRE(journal);
    REQUIRE(report.end >= lsn);
    REQUIRE(journal->commit("on", 2, 0, -1, nullptr) == 0);
    REQUIRE(journal->close() == 0);
    REQUIRE(read_all(dir / "j").records.back() == "on");
}

TEST_CASE("J18: a block that holds acknowledged bytes is never written again",
          "[journal][defects]") {
    for (const IoMode mode : {IoMode::buffered, IoMode::direct}) {
        Scratch dir;
        Spy spy;
        Options options = small(262144, mode);
        options.block_bytes = 4096;
        auto journal = open_journal(dir / "j", options, nullptr, nullptr, spy);
        REQUIRE(journal);
        spy.log = true;
        for (int i = 0; i < 40; ++i) {
            const std::string text = record(static_cast<std::uint64_t>(i), 10 + i * 97);
            REQUIRE(journal->commit(text.data(), text.size(), 0, -1, nullptr) == 0);
        }
        std::map<int, std::uint64_t> end;
        std::size_t seen = 0;
        for (const auto &write : spy.take_log()) {
            if (write.to - write.from == 512) {
                continue;  // the watermark's hot slot
            }
            REQUIRE(write.from % 4096 == 0);
            REQUIRE(write.from >= end[write.fd]);
            end[write.fd] = write.to;
            ++seen;
        }
        REQUIRE(seen == 40);
    }
}

TEST_CASE("J19: an atomic batch that is cut anywhere is not there at all", "[journal][defects]") {
    sim::Disk disk;
    const Options options = small(8192);
    auto journal = open_journal("/j", options, nullptr, nullptr, disk);
    REQUIRE(journal);
    REQUIRE(journal->commit("before", 6, 0, -1, nullptr) == 0);
    std::vector<std::string> texts;
    std::vector<iovec> vecs;
    for (int i = 0; i < 12; ++i) {
        texts.push_back(record(static_cast<std::uint64_t>(i), 1000));  // spans three segments
    }
    for (auto &text : texts) {
        vecs.push_back({text.data(), text.size()});
    }
    REQUIRE(journal->append_batch(vecs.data(), vecs.size(), 0, nullptr, nullptr) == 0);
    REQUIRE(journal->write_out() == 0);
    const auto segments = journal->segments();
    REQUIRE(segments.size() >= 2);
    journal->abandon();
    REQUIRE(read_all("/j", disk).records.size() == 13);
    for (std::size_t cut = 0; cut < 8192; cut += 8) {
        auto damaged = twin(disk);
        auto *bytes = damaged->contents("j", segments.back().name);
        // Nothing behind `cut` in the last segment reached the disk.
        std::fill(bytes->begin() + static_cast<std::ptrdiff_t>(4096 + cut), bytes->end(),
                  std::uint8_t{0});
        auto again = open_journal("/j", options, nullptr, nullptr, *damaged);
        REQUIRE(again);
        std::unique_ptr<Reader> reader;
        REQUIRE(Reader::open(*again, 0, Bound::durable, reader) == 0);
        const std::size_t count = read_all(*reader).records.size();
        reader.reset();
        REQUIRE((count == 1 || count == 13));
        REQUIRE(again->commit("after", 5, 0, -1, nullptr) == 0);
        again->abandon();
        const auto last = read_all("/j", *damaged);
        REQUIRE(last.records.size() == count + 1);
        REQUIRE(last.records.back() == "after");
    }
}

TEST_CASE("J20: syncing beyond the end is an error, not a success", "[journal][defects]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small());
    REQUIRE(journal);
    Lsn lsn = 0;
    REQUIRE(journal->commit("x", 1, 0, -1, &lsn) == 0);
    REQUIRE(journal->sync(lsn + 1'000'000, -1) == -EINVAL);
    Sink sink;
    REQUIRE(journal->submit_sync(lsn + 1'000'000, 1, &sink) == -EINVAL);
    REQUIRE(sink.count() == 0);
}

TEST_CASE("J21: opening reads the same amount however long the journal is", "[journal][defects]") {
    std::uint64_t cost[2];
    int n = 0;
    for (const int records : {60, 3000}) {
        Scratch dir;
        Spy spy;
        auto journal = open_journal(dir / "j", small(16384));
        REQUIRE(journal);
        for (int i = 0; i < records; ++i) {
            const std::string text = record(static_cast<std::uint64_t>(i), 1000);
            REQUIRE(journal->append(text.data(), text.size(), 0, nullptr) == 0);
        }
        REQUIRE(journal->close() == 0);
        REQUIRE(segment_files(dir / "j").size() >= static_cast<std::size_t>(records) / 20);
        journal = open_journal(dir / "j", small(16384), nullptr, nullptr, spy);
        REQUIRE(journal);
        cost[n++] = spy.bytes_read;
    }
    REQUIRE(cost[1] <= cost[0] + 65536);
}

TEST_CASE("durable_lsn advances and is not zero in every configuration", "[journal][defects]") {
    for (const IoMode mode : {IoMode::buffered, IoMode::direct, IoMode::automatic}) {
        for (const bool strict : {false, true}) {
            for (const std::uint32_t block : {512u, 4096u}) {
                for (const int way : {0, 1, 2}) {  // commit, batch and sync, asynchronous
                    Scratch dir;
                    ThreadRunner runner;
                    Options options = small(262144, mode);
                    options.strict = strict;
                    options.block_bytes = block;
                    options.runner = way == 2 ? &runner : nullptr;
                    auto journal = open_journal(dir / "j", options);
                    REQUIRE(journal);
                    Sink sink;
                    for (std::uint64_t i = 0; i < 10; ++i) {
                        if (way == 0) {
                            REQUIRE(journal->commit("0123456789", 10, 0, -1, nullptr) == 0);
                        } else if (way == 1) {
                            char a[] = "abc";
                            const iovec two[] = {{a, 3}, {a, 2}};
                            Lsn lsn = 0;
                            REQUIRE(journal->append_batch(two, 2, 0, &lsn, nullptr) == 0);
                            REQUIRE(journal->sync(lsn, -1) == 0);
                        } else {
                            REQUIRE(journal->submit_commit("zz", 2, 0, i, &sink, nullptr) == 0);
                            while (sink.count() <= i) {
                                std::this_thread::yield();
                            }
                        }
                    }
                    REQUIRE(journal->close() == 0);
                    Store store(real_syscalls());
                    REQUIRE(store.open_dir(dir / "j", false) == 0);
                    const State state = examine(store);
                    const SegmentShape shape = SegmentShape::of(*state.chain.back().header);
                    SegmentBytes bytes;
                    REQUIRE(bytes.open(store, state.chain.back().file.name(), true) == 0);
                    FrameView frame;
                    std::set<Lsn> values;
                    Lsn before = 0;
                    for (Lsn at = shape.header.first_lsn; at < state.end; at = frame.next) {
                        REQUIRE(next_frame(bytes, shape, at, frame) == Step::frame);
                        REQUIRE(frame.header.durable_lsn != 0);
                        REQUIRE(frame.header.durable_lsn <= at);
                        REQUIRE(frame.header.durable_lsn >= before);
                        before = frame.header.durable_lsn;
                        values.insert(before);
                    }
                    REQUIRE(values.size() >= 9);  // one per flush
                    REQUIRE(state.slot.durable_lsn == state.end);
                }
            }
        }
    }
}
