// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Followers: same process and another, durable and written bound, woken, across rotation, trim and
// a change of writer; a read-only open beside a writer.

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <random>

#include "journal/scratch.hpp"
#include "support/catch.hpp"

using namespace journal_test;

TEST_CASE("a follower in this process sees every durable record, in order, and only those",
          "[journal][follow]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    std::vector<std::string> seen;
    std::atomic<int> wrong{0};
    constexpr std::size_t kCount = 600;
    std::unique_ptr<Reader> reader;
    REQUIRE(Reader::open(*journal, 0, Bound::durable, reader) == 0);
    std::thread follower([&] {
        Record found;
        while (seen.size() < kCount) {
            const Got got = reader->wait(found, 10'000'000'000);
            if (got != Got::record) {
                ++wrong;
                return;
            }
            wrong += found.lsn > journal->durable();
            seen.emplace_back(static_cast<const char *>(found.data), found.length);
        }
    });
    std::vector<std::string> want;
    for (std::size_t i = 0; i < kCount; ++i) {
        want.push_back(record(i, 100 + i % 400));
        Lsn lsn = 0;
        REQUIRE(journal->append(want.back().data(), want.back().size(), 0, &lsn) == 0);
        if (i % 5 == 4) {
            REQUIRE(journal->sync(lsn, -1) == 0);
        }
        if (i % 97 == 0) {
            REQUIRE(journal->rotate() == 0);
        }
    }
    REQUIRE(journal->sync(journal->frontier().reserved, -1) == 0);
    follower.join();
    REQUIRE(wrong == 0);
    REQUIRE(seen == want);
}

TEST_CASE("the written bound runs ahead of the durable one", "[journal][follow]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small());
    REQUIRE(journal);
    std::unique_ptr<Reader> written;
    std::unique_ptr<Reader> durable;
    REQUIRE(Reader::open(*journal, 0, Bound::written, written) == 0);
    REQUIRE(Reader::open(*journal, 0, Bound::durable, durable) == 0);
    Lsn lsn = 0;
    REQUIRE(journal->append("early", 5, 0, &lsn) == 0);
    Record found;
    REQUIRE(written->next(found) == Got::end);
    REQUIRE(journal->write_out() == 0);
    REQUIRE(written->next(found) == Got::record);
    REQUIRE(found.lsn == lsn);
    REQUIRE(durable->next(found) == Got::end);
    REQUIRE(durable->wait(found, 1'000'000) == Got::end);
    REQUIRE(journal->sync(lsn, -1) == 0);
    REQUIRE(durable->next(found) == Got::record);
}

TEST_CASE("a follower in another process is woken, not polled, and outlives its writer",
          "[journal][follow]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    const std::string path = dir / "j";
    int pipes[2];
    REQUIRE(::pipe(pipes) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::close(pipes[0]);
        std::unique_ptr<Reader> reader;
        RecoveryReport report;
        if (Reader::open(real_syscalls(), path, 0, Bound::durable, &report, reader) != 0 ||
            !reader->follows()) {
            ::_exit(2);
        }
        char ready = 'r';
        if (::write(pipes[1], &ready, 1) != 1) {
            ::_exit(3);
        }
        // A wait of ten seconds: only a wake-up makes this quick.
        for (std::uint64_t n = 0; n < 400; ++n) {
            Record found;
            if (reader->wait(found, 10'000'000'000) != Got::record ||
                std::string(static_cast<const char *>(found.data), found.length) !=
                    record(n, 60 + n % 300)) {
                ::_exit(4);
            }
        }
        ::_exit(0);
    }
    ::close(pipes[1]);
    char ready = 0;
    REQUIRE(::read(pipes[0], &ready, 1) == 1);
    for (std::uint64_t n = 0; n < 400; ++n) {
        const std::string text = record(n, 60 + n % 300);
        REQUIRE(journal->commit(text.data(), text.size(), 0, -1, nullptr) == 0);
        if (n == 200) {
            // A new writer: the follower goes on across the epoch.
            REQUIRE(journal->close() == 0);
            journal = open_journal(path, small(16384));
            REQUIRE(journal);
        }
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
    ::close(pipes[0]);
}

TEST_CASE("a follower that was overtaken by trimming is told the first LSN there is",
          "[journal][follow]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(8192));
    REQUIRE(journal);
    std::unique_ptr<Reader> reader;
    REQUIRE(Reader::open(*journal, 0, Bound::durable, reader) == 0);
    Lsn lsn = 0;
    const auto add = [&](int count) {
        for (int i = 0; i < count; ++i) {
            const std::string text = record(static_cast<std::uint64_t>(i), 500);
            REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
        }
        REQUIRE(journal->sync(lsn, -1) == 0);
    };
    add(5);
    Record found;
    REQUIRE(reader->next(found) == Got::record);
    add(200);
    REQUIRE(journal->trim(lsn) == 0);
    add(60);  // recycles what the reader stands in
    Got got = reader->next(found);
    // Records that were in its buffer may still come; then the gap, never anything else.
    int buffered = 0;
    while (got == Got::record && ++buffered < 40 && found.lsn < journal->first()) {
        got = reader->next(found);
    }
    REQUIRE(got == Got::gap);
    REQUIRE(found.lsn >= journal->first());
    const Read rest = read_all(*reader);
    REQUIRE(rest.last == Got::end);
    REQUIRE(rest.lsns.back() == lsn);
}

TEST_CASE("read-only: beside a writer, from a read-only place, without a writer",
          "[journal][follow]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small());
    REQUIRE(journal);
    REQUIRE(journal->commit("one", 3, 0, -1, nullptr) == 0);
    REQUIRE(journal->append("two", 3, 0, nullptr) == 0);
    REQUIRE(read_all(dir / "j").records == std::vector<std::string>{"one"});
    REQUIRE(journal->close() == 0);
    REQUIRE(read_all(dir / "j").records == std::vector<std::string>{"one", "two"});
    std::unique_ptr<Reader> reader;
    REQUIRE(Reader::open(real_syscalls(), dir / "none", 0, Bound::durable, nullptr, reader) ==
            -ENOENT);
    std::filesystem::create_directory(dir / "empty");
    REQUIRE(Reader::open(real_syscalls(), dir / "empty", 0, Bound::durable, nullptr, reader) ==
            -ENOENT);
}

// Stores into a mapped file raise SIGBUS once its storage has failed (found by the shutdown rig).
TEST_CASE("no page of a journal's files is mapped", "[journal][follow]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small());
    REQUIRE(journal);
    REQUIRE(journal->commit("one", 3, 0, -1, nullptr) == 0);
    std::unique_ptr<Reader> reader;
    REQUIRE(Reader::open(real_syscalls(), dir / "j", 0, Bound::durable, nullptr, reader) == 0);
    Record record;
    REQUIRE(reader->next(record) == Got::record);
    const std::string maps = slurp("/proc/self/maps");
    REQUIRE(maps.find("test_journal") != std::string::npos);
    REQUIRE(maps.find(dir / "j") == std::string::npos);
}

TEST_CASE("a follower in another IPC namespace goes by the watermark", "[journal][follow]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small());
    REQUIRE(journal);
    REQUIRE(journal->commit("one", 3, 0, -1, nullptr) == 0);
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t follower = ::fork();
    if (follower == 0) {
        if (::unshare(CLONE_NEWIPC) != 0) {
            ::_exit(77);
        }
        std::unique_ptr<Reader> reader;
        if (Reader::open(real_syscalls(), dir / "j", 0, Bound::durable, nullptr, reader) != 0) {
            ::_exit(1);
        }
        Record record;
        for (const char *wanted : {"one", "two", "three"}) {
            if (reader->wait(record, 20'000'000'000) != Got::record ||
                std::string(static_cast<const char *>(record.data), record.length) != wanted) {
                ::_exit(2);
            }
            [[maybe_unused]] const ssize_t n = ::write(ready[1], "x", 1);
        }
        ::_exit(reader->wait(record, 30'000'000) == Got::end ? 0 : 3);
    }
    ::close(ready[1]);
    char byte = 0;
    for (const char *text : {"two", "three"}) {
        if (::read(ready[0], &byte, 1) != 1) {
            break;
        }
        REQUIRE(journal->commit(text, std::strlen(text), 0, -1, nullptr) == 0);
    }
    int status = 0;
    REQUIRE(::waitpid(follower, &status, 0) == follower);
    ::close(ready[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        FSYS_SKIP("not allowed to make an IPC namespace");
    }
    REQUIRE(status == 0);
}

TEST_CASE("500 SIGKILLs: every acknowledged record is there, in order", "[journal][kill]") {
    Scratch dir;
    const std::string path = dir / "j";
    constexpr int kThreads = 3;
    struct Shared {
        // Last number that each thread was promised; written by the victim, read after its death.
        std::atomic<std::uint64_t> acked[kThreads];
        std::atomic<std::uint64_t> tried[kThreads];
        std::atomic<std::uint64_t> trimmed;
        std::atomic<int> failed;
    };
    const int rounds = std::getenv("FSYS_KILL_ROUNDS") != nullptr
                           ? std::atoi(std::getenv("FSYS_KILL_ROUNDS"))
                           : 500;
    auto *shared = static_cast<Shared *>(::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                                                MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    REQUIRE(shared != MAP_FAILED);
    new (shared) Shared{};
    std::uint32_t jitter = 12345;
    Options options = small(32768);
    std::uint64_t total = 0;
    for (int round = 0; round < rounds; ++round) {
        const auto acked = [&] {
            std::uint64_t sum = 0;
            for (const auto &count : shared->acked) {
                sum += count.load();
            }
            return sum;
        };
        const std::uint64_t before = acked();
        const pid_t victim = ::fork();
        if (victim == 0) {
            auto journal = open_journal(path, options);
            if (!journal) {
                shared->failed = 1;
                ::_exit(1);
            }
            std::vector<std::thread> threads;
            for (int t = 0; t < kThreads; ++t) {
                threads.emplace_back([&, t] {
                    for (;;) {
                        const std::uint64_t n = shared->tried[t].load() + 1;
                        const std::string text =
                            record(n * kThreads + static_cast<std::uint64_t>(t), 30 + n % 700);
                        shared->tried[t] = n;
                        Lsn lsn = 0;
                        if (journal->commit(text.data(), text.size(), 0, -1, &lsn) != 0) {
                            shared->failed = 2;
                            ::_exit(2);
                        }
                        shared->acked[t] = n;
                        if (t == 0 && n % 40 == 0 && journal->durable() > 65536) {
                            shared->trimmed = journal->durable() - 65536;
                            journal->trim(journal->durable() - 65536);
                        }
                    }
                });
            }
            for (auto &thread : threads) {
                thread.join();
            }
            ::_exit(3);
        }
        // One round in four is killed at any moment, recovery included; the others once something was
        // acknowledged, however slow the disk is.
        for (int tries = 0; round % 4 != 0 && tries < 20000 && acked() == before; ++tries) {
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
        jitter = jitter * 1664525 + 1013904223;
        std::this_thread::sleep_for(std::chrono::microseconds(1000 + (jitter >> 16) % 20000));
        ::kill(victim, SIGKILL);
        int status = 0;
        REQUIRE(::waitpid(victim, &status, 0) == victim);
        REQUIRE(WIFSIGNALED(status));
        REQUIRE(shared->failed == 0);
        RecoveryReport report;
        int code = 0;
        auto journal = open_journal(path, options, &report, &code);
        INFO("round " << round << ": " << report.text);
        REQUIRE(code == 0);
        std::unique_ptr<Reader> reader;
        REQUIRE(Reader::open(*journal, 0, Bound::durable, reader) == 0);
        const Read read = read_all(*reader);
        REQUIRE(read.last == Got::end);
        std::uint64_t last[kThreads] = {};
        for (const auto &text : read.records) {
            std::uint64_t id = 0;
            std::memcpy(&id, text.data(), 8);
            const auto t = id % kThreads;
            const std::uint64_t n = id / kThreads;
            REQUIRE(text == record(id, 30 + n % 700));
            REQUIRE((last[t] == 0 || n == last[t] + 1));
            last[t] = n;
        }
        for (int t = 0; t < kThreads; ++t) {
            if (last[t] != 0) {
                REQUIRE(last[t] >= shared->acked[t]);
                REQUIRE(last[t] <= shared->tried[t]);
            } else {
                REQUIRE(shared->acked[t] == shared->acked[t]);
                REQUIRE((shared->acked[t] == 0 || read.records.size() > 20));
            }
            // What was tried and did not make it gives its number to the next round.
            shared->tried[t] = std::max(last[t], shared->acked[t].load());
            shared->acked[t] = shared->tried[t].load();
            total += last[t] != 0;
        }
        reader.reset();
        REQUIRE(journal->close() == 0);
    }
    REQUIRE(total > 0);
    ::munmap(shared, sizeof(Shared));
}

// What a follower believes is what it was told: records, less those that EPOCH_CHANGED took back.
// Whatever it read while the log was being cut, at the end it must believe the log itself.
TEST_CASE("followers of a log that is truncated again and again end with the log as it is",
          "[journal][follow]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    struct View {
        std::vector<std::pair<Lsn, std::string>> records;
        int wrong = 0;
    };
    std::atomic<bool> stop{false};
    const auto follow = [&](Reader &reader, View &view) {
        Record found;
        for (;;) {
            const bool last = stop.load();
            const Got got = reader.wait(found, last ? 0 : 20'000'000);
            if (got == Got::record) {
                const Lsn end = view.records.empty() ? 0 : view.records.back().first;
                // In order, nothing twice, and no bytes that this LSN never had.
                view.wrong += found.lsn <= end || found.start < end;
                view.records.emplace_back(
                    found.lsn, std::string(static_cast<const char *>(found.data), found.length));
            } else if (got == Got::epoch_changed) {
                view.wrong += view.records.empty() || view.records.back().first <= found.lsn;
                while (!view.records.empty() && view.records.back().first > found.lsn) {
                    view.records.pop_back();
                }
            } else if (got == Got::end) {
                if (last) {
                    return;
                }
            } else {
                ++view.wrong;
                return;
            }
        }
    };
    View views[4];
    std::unique_ptr<Reader> readers[4];
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        const Bound bound = i % 2 == 0 ? Bound::durable : Bound::written;
        // With the journal's own page, and as another process does it.
        REQUIRE((i < 2 ? Reader::open(*journal, 0, bound, readers[i])
                       : Reader::open(real_syscalls(), dir / "j", 0, bound, nullptr, readers[i])) ==
                0);
        threads.emplace_back([&, i] { follow(*readers[i], views[i]); });
    }
    std::vector<std::pair<Lsn, std::string>> want;
    std::mt19937_64 random(4711);
    for (int round = 0; round < 60; ++round) {
        const int count = 1 + static_cast<int>(random() % 60);
        for (int i = 0; i < count; ++i) {
            const std::string text = record(static_cast<std::size_t>(round * 1000 + i), 20 + random() % 400);
            Lsn lsn = 0;
            REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
            want.emplace_back(lsn, text);
        }
        REQUIRE(journal->sync(want.back().first, -1) == 0);
        if (round % 3 == 0) {
            REQUIRE(journal->rotate() == 0);
        }
        // Up to two cuts with nothing, or little, between them.
        for (std::uint64_t cuts = random() % 3; cuts > 0; --cuts) {
            want.resize(1 + random() % want.size());
            REQUIRE(journal->truncate_after(want.back().first) == 0);
        }
    }
    REQUIRE(journal->sync(journal->frontier().reserved, -1) == 0);
    stop = true;
    for (auto &thread : threads) {
        thread.join();
    }
    for (int i = 0; i < 4; ++i) {
        CAPTURE(i);
        CHECK(views[i].wrong == 0);
        CHECK(views[i].records == want);
    }
}

TEST_CASE("a follower that stands at the end learns that the log was cut below it",
          "[journal][follow]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    Lsn keep = 0;
    Lsn end = 0;
    REQUIRE(journal->commit("keep", 4, 0, -1, &keep) == 0);
    REQUIRE(journal->commit("void", 4, 0, -1, &end) == 0);
    std::unique_ptr<Reader> reader;
    REQUIRE(Reader::open(*journal, end, Bound::durable, reader) == 0);
    Record found;
    REQUIRE(reader->next(found) == Got::end);
    REQUIRE(journal->truncate_after(keep) == 0);
    REQUIRE(reader->next(found) == Got::epoch_changed);
    REQUIRE(found.lsn == keep);
    REQUIRE(reader->next(found) == Got::end);
    Lsn again = 0;
    REQUIRE(journal->commit("new!", 4, 0, -1, &again) == 0);
    REQUIRE(reader->next(found) == Got::record);
    REQUIRE(found.lsn == again);
    REQUIRE(std::string(static_cast<const char *>(found.data), found.length) == "new!");
    REQUIRE(reader->next(found) == Got::end);
}
