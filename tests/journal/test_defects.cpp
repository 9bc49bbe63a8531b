// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Defects that other journals have or had, each as a test that this one passes. The numbers are
// those of docs/journal-design.md, "Defects that must not return".

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>
#include <set>

#include "journal/powerloss.hpp"
#include "journal/spy.hpp"
#include "support/catch.hpp"

using namespace journal_test;

// Counts this thread's heap allocations, for P3 and P8. Every form is replaced: a form left to
// AddressSanitizer must not meet one of these at the other end.
static thread_local std::uint64_t allocations = 0;
static void *counted(std::size_t size, std::size_t alignment = alignof(std::max_align_t)) noexcept {
    ++allocations;
    return std::aligned_alloc(alignment, (std::max<std::size_t>(size, 1) + alignment - 1) / alignment *
                                             alignment);
}
static void *or_throw(void *memory) {
    return memory != nullptr ? memory : throw std::bad_alloc();
}
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
using Alignment = std::align_val_t;
using Quiet = std::nothrow_t;
void *operator new(std::size_t n) { return or_throw(counted(n)); }
void *operator new[](std::size_t n) { return or_throw(counted(n)); }
void *operator new(std::size_t n, const Quiet &) noexcept { return counted(n); }
void *operator new[](std::size_t n, const Quiet &) noexcept { return counted(n); }
void *operator new(std::size_t n, Alignment to) { return or_throw(counted(n, std::size_t(to))); }
void *operator new[](std::size_t n, Alignment to) { return or_throw(counted(n, std::size_t(to))); }
void *operator new(std::size_t n, Alignment to, const Quiet &) noexcept {
    return counted(n, std::size_t(to));
}
void *operator new[](std::size_t n, Alignment to, const Quiet &) noexcept {
    return counted(n, std::size_t(to));
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete[](void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void *memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void *memory, const Quiet &) noexcept { std::free(memory); }
void operator delete[](void *memory, const Quiet &) noexcept { std::free(memory); }
void operator delete(void *memory, Alignment) noexcept { std::free(memory); }
void operator delete[](void *memory, Alignment) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t, Alignment) noexcept { std::free(memory); }
void operator delete[](void *memory, std::size_t, Alignment) noexcept { std::free(memory); }
void operator delete(void *memory, Alignment, const Quiet &) noexcept { std::free(memory); }
void operator delete[](void *memory, Alignment, const Quiet &) noexcept { std::free(memory); }

namespace {

// Their builds are slow: what is a figure is asked for in full of the other builds only.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

std::unique_ptr<sim::Disk> twin(const sim::Disk &disk) {
    sim::Random random(1);
    return disk.crash(sim::Loss::none, random);
}

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

struct Sink final : CompletionSink {
    std::mutex mutex;
    std::map<std::uint64_t, std::vector<std::int64_t>> results;
    void complete(const Completion *group, std::size_t count) override {
        const std::lock_guard lock(mutex);
        for (std::size_t i = 0; i < count; ++i) {
            results[group[i].cookie].push_back(group[i].result);
        }
    }
    std::size_t count() {
        const std::lock_guard lock(mutex);
        return results.size();
    }
};

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

TEST_CASE("P1: a lone committer never waits for company", "[journal][defects]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(262144));
    REQUIRE(journal);
    for (int i = 0; i < 100; ++i) {
        REQUIRE(journal->commit("alone", 5, 0, -1, nullptr) == 0);
    }
    Stat stat = journal->stat();
    REQUIRE(stat.gathers == 0);  // a gather is the only wait that there is
    REQUIRE(stat.led == 100);
    // After company has left: at most the one gather that finds it gone.
    std::thread other([&] {
        for (int i = 0; i < 30; ++i) {
            journal->commit("other", 5, 0, -1, nullptr);
        }
    });
    for (int i = 0; i < 30; ++i) {
        journal->commit("mine", 4, 0, -1, nullptr);
    }
    other.join();
    const Stat before = journal->stat();
    for (int i = 0; i < 50; ++i) {
        REQUIRE(journal->commit("alone", 5, 0, -1, nullptr) == 0);
    }
    stat = journal->stat();
    REQUIRE(stat.gathers <= before.gathers + 1);
    REQUIRE(stat.led == before.led + 50);
}

TEST_CASE("P2, P5: a commit writes its own blocks once, inside room that exists",
          "[journal][defects]") {
    Scratch dir;
    Spy spy;
    Options options = small(1 << 20);
    options.block_bytes = 4096;
    auto journal = open_journal(dir / "j", options, nullptr, nullptr, spy);
    REQUIRE(journal);
    spy.log = true;
    const std::uint64_t resizes = spy.resizes;
    for (int i = 0; i < 100; ++i) {
        const std::string text = record(static_cast<std::uint64_t>(i), 100);
        REQUIRE(journal->commit(text.data(), text.size(), 0, -1, nullptr) == 0);
    }
    REQUIRE(journal->stat().flushed_bytes == 100 * 4096);
    REQUIRE(spy.grown == 0);
    REQUIRE(spy.resizes == resizes);
}

TEST_CASE("P3, P4: an append allocates nothing and makes no system call", "[journal][defects]") {
    Scratch dir;
    Spy spy;
    Options options = small(1 << 20);
    options.buffer_bytes = 1 << 20;
    auto journal = open_journal(dir / "j", options, nullptr, nullptr, spy);
    REQUIRE(journal);
    const std::string text = record(1, 100);
    const std::uint64_t writes = spy.writes + spy.syncs + spy.reads;
    const std::uint64_t before = allocations;
    for (int i = 0; i < 5000; ++i) {
        if (journal->append(text.data(), text.size(), 0, nullptr) != 0) {
            FAIL("append failed");
        }
    }
    REQUIRE(allocations == before);
    REQUIRE(spy.writes + spy.syncs + spy.reads == writes);
}

TEST_CASE("P6: threads that come back at once share every sync", "[journal][defects]") {
    Scratch dir;
    Spy spy;
    auto journal = open_journal(dir / "j", small(1 << 20), nullptr, nullptr, spy);
    REQUIRE(journal);
    // Slow enough that scheduling noise cannot keep a thread from joining in time.
    spy.slow_sync_us = 5000;
    constexpr int kThreads = 16;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 25; ++i) {
                journal->commit("0123456789", 10, 0, -1, nullptr);
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    const Stat stat = journal->stat();
    REQUIRE(stat.commits == 16 * 25);
    INFO(stat.commits << " commits in " << stat.led << " syncs");
    REQUIRE(static_cast<double>(stat.commits) / static_cast<double>(stat.led) >
            (kSanitized ? 0.3 : 0.8) * kThreads);
}

TEST_CASE("a commit needs one sync while others append", "[journal][defects]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(1 << 20));
    REQUIRE(journal);
    std::atomic<bool> stop{false};
    std::thread appender([&] {
        while (!stop) {
            journal->append("0123456789", 10, 0, nullptr);
        }
    });
    constexpr std::uint64_t kCommits = 200;
    int wrong = 0;
    for (std::uint64_t i = 0; i < kCommits; ++i) {
        wrong += journal->commit("x", 1, 0, -1, nullptr) != 0;
    }
    stop = true;
    appender.join();
    REQUIRE(wrong == 0);
    // Who is not covered by its sync joins another, which counts.
    REQUIRE(journal->stat().commits == kCommits);
    REQUIRE(journal->close() == 0);
}

TEST_CASE("the next segment is made by a lent thread before a committer needs it",
          "[journal][defects]") {
    class WhoMakes final : public Syscalls {
    public:
        std::thread::id committer{};
        std::atomic<int> by_committer{0};
        std::atomic<int> by_others{0};
        int fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) override {
            ++(std::this_thread::get_id() == committer ? by_committer : by_others);
            return Syscalls::fallocate(fd, mode, offset, length);
        }
    };
    Scratch dir;
    WhoMakes sys;
    ThreadRunner runner;
    Options options = small(65536);
    options.runner = &runner;
    auto journal = open_journal(dir / "j", options, nullptr, nullptr, sys);
    REQUIRE(journal);
    sys.committer = std::this_thread::get_id();
    const std::string text(300, 'x');
    for (std::uint64_t segments = 1; segments < 5; segments = journal->stat().segments) {
        // At most a block each: half a segment is far from its end.
        for (int i = 0; i < 66; ++i) {
            REQUIRE(journal->commit(text.data(), text.size(), 0, -1, nullptr) == 0);
        }
        for (int i = 0; i < 5000 && journal->stat().spares == 0; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        REQUIRE(journal->stat().spares != 0);
        while (journal->stat().segments == segments) {
            REQUIRE(journal->commit(text.data(), text.size(), 0, -1, nullptr) == 0);
        }
    }
    REQUIRE(journal->close() == 0);
    REQUIRE(sys.by_committer == 0);
    REQUIRE(sys.by_others >= 4);
}

TEST_CASE("P7: waiting for a sync, blocking or not, costs no CPU", "[journal][defects]") {
    Scratch dir;
    Spy spy;
    ThreadRunner runner;
    Options options = small(1 << 20);
    options.runner = &runner;
    auto journal = open_journal(dir / "j", options, nullptr, nullptr, spy);
    REQUIRE(journal);
    Sink sink;
    spy.slow_sync_us = 150'000;
    const double before = cpu_seconds();
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&] { journal->commit("x", 1, 0, -1, nullptr); });
    }
    for (std::uint64_t i = 0; i < 64; ++i) {
        REQUIRE(journal->submit_commit("y", 1, 0, i, &sink, nullptr) == 0);
    }
    for (auto &thread : threads) {
        thread.join();
    }
    while (sink.count() < 64) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    const double spent = cpu_seconds() - before;
    INFO(spent << " s of CPU");
    REQUIRE(spent < (kSanitized ? 0.5 : 0.06));
    for (const auto &[cookie, results] : sink.results) {
        REQUIRE(results == std::vector<std::int64_t>{0});
    }
    spy.slow_sync_us = 0;
    REQUIRE(journal->close() == 0);
}

TEST_CASE("P8: reading allocates per window, not per record; a wild length allocates nothing",
          "[journal][defects]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(1 << 20));
    REQUIRE(journal);
    for (int i = 0; i < 3000; ++i) {
        const std::string text = record(static_cast<std::uint64_t>(i), 200);
        REQUIRE(journal->append(text.data(), text.size(), 0, nullptr) == 0);
    }
    REQUIRE(journal->close() == 0);
    std::unique_ptr<Reader> reader;
    REQUIRE(Reader::open(real_syscalls(), dir / "j", 0, Bound::durable, nullptr, reader) == 0);
    Record found;
    REQUIRE(reader->next(found) == Got::record);
    const std::uint64_t before = allocations;
    int count = 1;
    while (reader->next(found) == Got::record) {
        ++count;
    }
    REQUIRE(count == 3000);
    REQUIRE(allocations - before <= 16);
    // The last record's length field is made huge, with and without a matching header CRC.
    const std::string file = segment_files(dir / "j")[0];
    std::string bytes = slurp(file);
    FrameHeader header;
    std::memcpy(&header, bytes.data() + 4096, sizeof header);
    header.length = 0xfffffff0u;
    std::memcpy(bytes.data() + 4096, &header, sizeof header);
    spill(file, bytes);
    REQUIRE(read_all(dir / "j").last == Got::damaged);
    SegmentHeader segment;
    REQUIRE(decode_segment_header(bytes.data(), segment));
    const std::uint32_t key = frame_key(segment.uuid, segment.epoch);
    header.header_crc = crc32c(key, &header.magic, 36);
    std::memcpy(bytes.data() + 4096, &header, sizeof header);
    spill(file, bytes);
    REQUIRE(read_all(dir / "j").last == Got::damaged);
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
                    const SegmentShape shape = SegmentShape::of(state.chain.back().header);
                    SegmentBytes bytes;
                    REQUIRE(bytes.open(store, state.chain.back().file.name, true) == 0);
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
