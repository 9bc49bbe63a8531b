// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What commits, appends and reading may cost: syncs, blocks, allocations, processor time. P1 to P8 are
// those of docs/journal-design.md, "Defects that must not return".

#include <sys/resource.h>
#include <sys/stat.h>

#include <new>
#include <vector>

#include "journal/powerloss.hpp"
#include "journal/sink.hpp"
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

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

}  // namespace

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

TEST_CASE("P3: a rotation and a trim allocate nothing once as many segments were there",
          "[journal][defects]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(65536));
    REQUIRE(journal);
    const std::string text(30'000, 'r');
    std::vector<Lsn> lsns;
    lsns.reserve(400);
    std::uint64_t before = 0;
    int wrong = 0;
    for (std::size_t i = 0; i < 400; ++i) {
        if (i == 200) {
            before = allocations;
        }
        Lsn lsn = 0;
        wrong += journal->commit(text.data(), text.size(), 0, -1, &lsn) != 0;
        lsns.push_back(lsn);
        // Some ten segments stay.
        wrong += i >= 20 && journal->trim(lsns[i - 20]) != 0;
    }
    REQUIRE(allocations == before);
    REQUIRE(wrong == 0);
    const Stat stat = journal->stat();
    REQUIRE(stat.rotations >= 190);
    REQUIRE(stat.recycled >= 150);
    REQUIRE(stat.segments >= 9);
    REQUIRE(stat.segments <= 13);
    REQUIRE(journal->close() == 0);
}

TEST_CASE("opening after an orderly close reads to the end of the log, and fills no segment",
          "[journal][defects]") {
    Scratch dir;
    const Options options = small(16 << 20);
    auto journal = open_journal(dir / "j", options);
    REQUIRE(journal);
    REQUIRE(journal->commit("one", 3, 0, -1, nullptr) == 0);
    REQUIRE(journal->close() == 0);
    const auto cost = [&](bool orderly) {
        Spy spy;
        spy.log = true;
        RecoveryReport report;
        auto again = open_journal(dir / "j", options, &report, nullptr, spy);
        REQUIRE(again);
        REQUIRE(report.verdict == Verdict::clean);
        const std::uint64_t read = spy.bytes_read;
        std::uint64_t written = 0;
        for (const Spy::Write &write : spy.take_log()) {
            written += write.to - write.from;
        }
        orderly ? static_cast<void>(again->close()) : again->abandon();
        return std::pair(read, written);
    };
    const std::uint64_t segment = 16 << 20;
    // The first one cuts the segment that was written to, and so makes another.
    REQUIRE(cost(true).second > segment);
    for (int i = 0; i < 3; ++i) {
        const auto [read, written] = cost(true);
        REQUIRE(read < segment / 4);
        REQUIRE(written < segment / 4);
    }
    // Of a run that died nothing says where it ended.
    REQUIRE(cost(false).first < segment / 4);
    const auto [read, written] = cost(true);
    REQUIRE(read >= segment);
    REQUIRE(written < segment / 4);
    REQUIRE(read_all(dir / "j").records == std::vector<std::string>{"one"});
}

TEST_CASE("a segment without room on disk does not serve a run that wants it there",
          "[journal][defects]") {
    Scratch dir;
    Options options = small(1 << 20);
    options.prealloc = Prealloc::none;
    auto journal = open_journal(dir / "j", options);
    REQUIRE(journal);
    const auto blocks = [&] {
        struct stat info {};
        REQUIRE(::stat(segment_files(dir / "j").back().c_str(), &info) == 0);
        return static_cast<std::uint64_t>(info.st_blocks) * 512;
    };
    REQUIRE(blocks() < options.segment_bytes / 2);
    REQUIRE(journal->close() == 0);
    options.prealloc = Prealloc::recycle;
    journal = open_journal(dir / "j", options);
    REQUIRE(journal);
    REQUIRE(blocks() >= options.segment_bytes);
    REQUIRE(journal->close() == 0);
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
