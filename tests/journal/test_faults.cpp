// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Error sweep: call k of a script fails, for every k, with every errno, once and for ever, and
// transfers that stop short. After each: no acknowledged record is missing, nothing was promised
// after the failure, no descriptor leaks, the journal opens again and goes on.

#include "journal/powerloss.hpp"
#include "support/catch.hpp"

using namespace journal_test;

namespace {

struct Promise {
    std::vector<std::string> tried;
    std::size_t acked = 0;
    bool opened = false;
    int closed = 0;  // times, without an error
};

// Open, commits, a batch, a trim, a rotation, a pin, close, reopen, commit. Returns at once when
// something fails that cannot be gone on from.
void script(sim::Disk &disk, const Options &options, Promise &promise) {
    for (int round = 0; round < 2; ++round) {
        auto journal = open_journal("/j", options, nullptr, nullptr, disk);
        if (!journal) {
            return;
        }
        promise.opened = true;
        const auto commit = [&](std::size_t length) {
            promise.tried.push_back(record(promise.tried.size(), length));
            Lsn lsn = 0;
            if (journal->append(promise.tried.back().data(), promise.tried.back().size(), 0,
                                &lsn) != 0) {
                promise.tried.pop_back();  // refused before it had a place
                return false;
            }
            if (journal->sync(lsn, 2'000'000'000) != 0) {
                return false;
            }
            promise.acked = promise.tried.size();
            return true;
        };
        bool good = commit(100) && commit(1500);
        for (int i = 0; good && i < 5; ++i) {
            good = commit(900);
        }
        if (good) {
            good = journal->rotate() == 0 && commit(50) &&
                   journal->pin("p", journal->first(), 0) == 0 && journal->unpin("p") == 0 &&
                   journal->trim(journal->first()) == 0;
        }
        if (journal->stat().poisoned) {
            // Sticky: later work is refused, whatever the disk does now.
            REQUIRE(journal->append("x", 1, 0, nullptr) == kPoisoned);
            REQUIRE(journal->close() == kPoisoned);
            return;
        }
        const int closed = journal->close();
        if (closed != 0) {
            return;
        }
        ++promise.closed;
    }
}

// More than a log buffer of appends and one sync: what is written behind them changes segments while
// frames go into the successor.
void burst(sim::Disk &disk, const Options &options, Promise &promise) {
    auto journal = open_journal("/j", options, nullptr, nullptr, disk);
    if (!journal) {
        return;
    }
    promise.opened = true;
    Lsn lsn = 0;
    bool good = true;
    for (int i = 0; good && i < 26; ++i) {
        promise.tried.push_back(record(promise.tried.size(), 3000));
        good = journal->append(promise.tried.back().data(), 3000, 0, &lsn) == 0;
        if (!good) {
            promise.tried.pop_back();
        }
    }
    if (good && journal->sync(lsn, 2'000'000'000) == 0) {
        promise.acked = promise.tried.size();
    }
    const bool poisoned = journal->stat().poisoned;
    if (poisoned) {
        REQUIRE(journal->append("x", 1, 0, nullptr) == kPoisoned);
    }
    const int closed = journal->close();
    REQUIRE((!poisoned || closed == kPoisoned));
}

void judge(sim::Disk &disk, const Options &options, const Promise &promise) {
    RecoveryReport report;
    int code = 0;
    auto journal = open_journal("/j", options, &report, &code, disk);
    if (!journal) {
        FAIL("reopening gave " << code << ": " << report.text);
    }
    std::unique_ptr<Reader> reader;
    REQUIRE(Reader::open(*journal, 0, Bound::durable, reader) == 0);
    const Read read = read_all(*reader);
    REQUIRE(read.last == Got::end);
    REQUIRE(read.records.size() >= promise.acked);
    REQUIRE(read.records.size() <= promise.tried.size());
    REQUIRE(std::equal(read.records.begin(), read.records.end(), promise.tried.begin()));
    reader.reset();
    REQUIRE(journal->commit("on", 2, 0, -1, nullptr) == 0);
    REQUIRE(journal->close() == 0);
    REQUIRE(disk.open_files() == 0);
}

// The real system, watched: writes of frames into what is still a spare, and what the journal says is
// written when a segment gets its name.
class Watcher final : public Syscalls {
public:
    const Journal *journal = nullptr;
    int before_name = 0;
    int renames = 0;
    int told_early = 0;
    ssize_t pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                   int rwf) override {
        const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd));
        before_name += path.filename().string().starts_with("spare-") && offset >= kHeaderBlock;
        return Syscalls::pwrite(fd, buffer, length, offset, rwf);
    }
    int rename(int from_dir, const char *from, int to_dir, const char *to) override {
        Lsn first = 0;
        std::uint64_t number = 0;
        if (journal != nullptr && parse_segment_name(to, first, number)) {
            ++renames;
            told_early += journal->written() > first;
        }
        return Syscalls::rename(from_dir, from, to_dir, to);
    }
};

// The real system, of which the n-th durable operation fails.
class FailsOnce final : public Syscalls {
public:
    std::atomic<int> left{INT32_MAX};
    ssize_t pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                   int rwf) override {
        return (rwf & RWF_DSYNC) != 0 && --left == 0
                   ? -EIO
                   : Syscalls::pwrite(fd, buffer, length, offset, rwf);
    }
    int fdatasync(int fd) override { return --left == 0 ? -EIO : Syscalls::fdatasync(fd); }
};

// Call k of `script` fails, for every k below `calls`, with each code, once and for ever. How many runs.
template <class Script>
std::size_t sweep_errors(const Options &options, std::initializer_list<int> codes,
                         std::uint64_t calls, sim::Random &random, Script script) {
    std::size_t runs = 0;
    for (const int code : codes) {
        for (const bool persistent : {false, true}) {
            for (std::uint64_t k = runs % sweep_step(); k < calls; k += sweep_step()) {
                sim::Disk disk;
                disk.set_fault({k, code, persistent, 0});
                Promise promise;
                script(disk, options, promise);
                disk.set_fault({});
                // Both ways on: the process died and the cache lives; or power was lost too.
                auto dark = disk.crash(sim::Loss::all, random);
                judge(disk, options, promise);
                judge(*dark, options, promise);
                ++runs;
            }
        }
    }
    return runs;
}

}  // namespace

TEST_CASE("a failure ends the wait of every thread", "[journal][faults]") {
    Scratch dir;
    const int rounds = sweep_step() == 1 ? 120 : 20;
    for (int round = 0; round < rounds; ++round) {
        FailsOnce sys;
        Options options = small(65536, round % 2 == 0 ? IoMode::direct : IoMode::buffered);
        auto journal =
            open_journal(dir / std::to_string(round), options, nullptr, nullptr, sys);
        REQUIRE(journal);
        sys.left = 1 + round % 10;
        std::atomic<int> wrong{0};
        std::vector<std::thread> threads;
        for (int t = 0; t < 12; ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < 1000; ++i) {
                    // Some with a timeout that may pass while others still wait.
                    const int code = journal->commit("0123456789", 10, 0,
                                                     t % 3 == 0 ? 50'000 : -1, nullptr);
                    if (code == kPoisoned || code == kUnknown) {
                        return;
                    }
                    wrong += code != 0 && code != -ETIMEDOUT;
                }
                ++wrong;  // a thousand commits and no failure seen
            });
        }
        for (auto &thread : threads) {
            thread.join();
        }
        REQUIRE(wrong == 0);
        REQUIRE(journal->stat().poisoned);
        REQUIRE(journal->close() == kPoisoned);
    }
}

TEST_CASE("R12: error sweep over every call, errno, once and for ever", "[journal][faults]") {
    sim::Random random(3);
    std::size_t runs = 0;
    for (const IoMode mode : {IoMode::buffered, IoMode::direct}) {
        Options options = small(4096, mode);
        options.append_timeout_ns = 1'000'000'000;
        sim::Disk clean;
        Promise whole;
        script(clean, options, whole);
        REQUIRE(whole.acked == 16);
        const std::uint64_t calls = clean.calls();
        REQUIRE(calls > 150);
        runs += sweep_errors(options,
                             {-EIO, -ENOSPC, -EDQUOT, -EFBIG, -EROFS, -ENODATA, -ETIMEDOUT, -EAGAIN,
                              -EINTR, -ECANCELED, -ENOMEM, -EBADF},
                             calls, random, script);
        for (const std::size_t limit : {std::size_t{1}, std::size_t{512}, std::size_t{2048}}) {
            for (const bool persistent : {false, true}) {
                for (std::uint64_t k = runs % sweep_step(); k < calls; k += sweep_step()) {
                    sim::Disk disk;
                    disk.set_fault({k, 0, persistent, limit});
                    Promise promise;
                    script(disk, options, promise);
                    // Short transfers are continued: nothing fails.
                    REQUIRE(promise.acked == 16);
                    disk.set_fault({});
                    judge(disk, options, promise);
                    ++runs;
                }
            }
        }
    }
    REQUIRE(runs > 9000 / sweep_step());
}

TEST_CASE("a call that is interrupted is made again: closing once gave -EINTR", "[journal][faults]") {
    for (const IoMode mode : {IoMode::buffered, IoMode::direct}) {
        for (const Prealloc prealloc : {Prealloc::recycle, Prealloc::none}) {
            Options options = small(4096, mode);
            options.prealloc = prealloc;
            sim::Disk clean;
            Promise whole;
            script(clean, options, whole);
            REQUIRE(whole.closed == 2);
            const std::uint64_t calls = clean.calls();
            for (std::uint64_t k = 0; k < calls; ++k) {
                sim::Disk disk;
                disk.set_fault({k, -EINTR, false, 0});
                Promise promise;
                script(disk, options, promise);
                INFO("call " << k << " of " << calls);
                REQUIRE(disk.fault_fired());
                // As if nothing had been.
                REQUIRE(promise.acked == whole.acked);
                REQUIRE(promise.closed == 2);
                REQUIRE(disk.open_files() == 0);
            }
        }
    }
}

TEST_CASE("R12: the sweep over a handover to the next segment that is still under way",
          "[journal][faults]") {
    sim::Random random(4);
    for (const IoMode mode : {IoMode::buffered, IoMode::direct}) {
        LateRunner runner;
        Options options = small(8192, mode);
        options.append_timeout_ns = 1'000'000'000;
        options.runner = &runner;
        sim::Disk clean;
        Promise whole;
        burst(clean, options, whole);
        REQUIRE(whole.acked == 26);
        const std::uint64_t calls = clean.calls();
        REQUIRE(calls > 100);
        sweep_errors(options, {-EIO, -ENOSPC, -EINTR, -ENOMEM}, calls, random, burst);
    }
}

TEST_CASE("behind the appends a segment is written to before it has its name, and followers are told after",
          "[journal][faults]") {
    Scratch dir;
    Watcher sys;
    LateRunner runner;
    Options options = small(8192);
    options.runner = &runner;
    auto journal = open_journal(dir / "j", options, nullptr, nullptr, sys);
    REQUIRE(journal);
    sys.journal = journal.get();
    Lsn lsn = 0;
    for (std::uint64_t i = 0; i < 26; ++i) {
        const std::string text = record(i, 3000);
        REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
    }
    REQUIRE(journal->sync(lsn, -1) == 0);
    REQUIRE(sys.renames > 4);
    REQUIRE(sys.before_name > 2);
    REQUIRE(sys.told_early == 0);
    REQUIRE(journal->close() == 0);
    REQUIRE(read_all(dir / "j").records.size() == 26);
}

TEST_CASE("R13: an error of the watermark in strict mode is a failed commit", "[journal][faults]") {
    sim::Disk disk;
    Options options = small(65536);
    options.strict = true;
    auto journal = open_journal("/j", options, nullptr, nullptr, disk);
    REQUIRE(journal);
    REQUIRE(journal->commit("one", 3, 0, -1, nullptr) == 0);
    // Of a commit in strict mode: write, sync, watermark write, watermark sync.
    disk.set_fault({disk.calls() + 3, -EIO, false, 0});
    REQUIRE(journal->commit("two", 3, 0, -1, nullptr) < 0);
    REQUIRE(disk.fault_fired());
    REQUIRE(journal->stat().poisoned);
}
