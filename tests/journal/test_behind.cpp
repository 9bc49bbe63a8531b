// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Writing behind the appenders through a queue of direct writes (lib/journal/behind.cpp).

#include "support/catch.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>

#include "backend/write_queue.hpp"
#include "fake/deferred_queue.hpp"
#include "journal/scratch.hpp"
#include "journal/sink.hpp"

using namespace journal_test;
using libfsys::make_aio_queue;
using libfsys::WriteQueue;
using libfsys::test::DeferredQueue;

namespace {

// A queue of the system, counted, whose results a test may change.
class Queued final : public Syscalls {
public:
    std::atomic<int> queues{0}, submitted{0}, pwrites{0};
    std::atomic<bool> refuse_queue{false}, refuse_writes{false};
    std::atomic<int> fail_at{0};        // the n-th result
    std::atomic<ssize_t> fail_with{0};  // becomes this, or so much shorter when positive

    std::unique_ptr<WriteQueue> write_queue(unsigned depth) override {
        ++queues;
        auto real = refuse_queue ? nullptr : make_aio_queue(depth);
        return real == nullptr ? nullptr : std::make_unique<Counting>(*this, std::move(real));
    }
    ssize_t pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                   int rwf) override {
        pwrites += length > 4096;
        return Syscalls::pwrite(fd, buffer, length, offset, rwf);
    }

private:
    class Counting final : public WriteQueue {
    public:
        Counting(Queued &of, std::unique_ptr<WriteQueue> real) : of_(of), real_(std::move(real)) {}
        int submit(int fd, const void *bytes, std::size_t length, std::uint64_t offset,
                   unsigned tag) override {
            if (of_.refuse_writes) {
                return -EAGAIN;
            }
            ++of_.submitted;
            return real_->submit(fd, bytes, length, offset, tag);
        }
        int reap(Done *done, unsigned count, bool wait) override {
            const int n = real_->reap(done, count, wait);
            for (int i = 0; i < n; ++i) {
                if (--of_.fail_at == 0) {
                    const ssize_t with = of_.fail_with;
                    done[i].result = with < 0 ? with : done[i].result - with;
                }
            }
            return n;
        }

    private:
        Queued &of_;
        std::unique_ptr<WriteQueue> real_;
    };
};

Options direct(Runner *runner = nullptr) {
    Options options = small(1 << 20, IoMode::direct);
    options.buffer_bytes = 1 << 19;
    options.runner = runner;
    return options;
}

Lsn fill(Journal &journal, int records) {
    Lsn lsn = 0;
    for (int i = 0; i < records; ++i) {
        const std::string text = record(static_cast<std::uint64_t>(i), 1000);
        REQUIRE(journal.append(text.data(), text.size(), 0, &lsn) == 0);
    }
    return lsn;
}

void expect_records(const std::string &path, std::size_t count) {
    const Read read = read_all(path);
    REQUIRE(read.records.size() == count);
    for (std::size_t i = 0; i < count; ++i) {
        REQUIRE(read.records[i] == record(i, 1000));
    }
}

}  // namespace

TEST_CASE("appenders queue direct writes, and nobody is woken for them", "[journal][behind]") {
    class Counted final : public Runner {
    public:
        int lent = 0;
        void run(Task *) override { ++lent; }
    };
    Scratch dir;
    Queued sys;
    Counted runner;
    auto options = direct(&runner);
    options.segment_bytes = (4 << 20) + 4096;
    auto journal = open_journal(dir / "j", options, nullptr, nullptr, sys);
    REQUIRE(journal);
    REQUIRE(journal->direct());
    const int before = sys.pwrites;
    const Lsn lsn = fill(*journal, 1500);
    REQUIRE(sys.queues == 1);
    REQUIRE(sys.submitted > 8);
    REQUIRE(sys.pwrites == before);
    REQUIRE(runner.lent == 0);
    REQUIRE(journal->sync(lsn, -1) == 0);
    REQUIRE(journal->durable() >= lsn);
    REQUIRE(journal->close() == 0);
    expect_records(dir / "j", 1500);
}

TEST_CASE("segments change while writes are in flight", "[journal][behind]") {
    Scratch dir;
    Queued sys;
    ThreadRunner runner;
    auto journal = open_journal(dir / "j", direct(&runner), nullptr, nullptr, sys);
    REQUIRE(journal);
    const Lsn lsn = fill(*journal, 12'000);
    REQUIRE(journal->sync(lsn, -1) == 0);
    REQUIRE(journal->stat().rotations >= 10);
    REQUIRE(sys.submitted > 100);
    REQUIRE(journal->close() == 0);
    expect_records(dir / "j", 12'000);
}

TEST_CASE("a segment that appends fill is sealed while they go on, without a sync", "[journal][behind]") {
    Scratch dir;
    Queued sys;
    ThreadRunner runner;
    auto journal = open_journal(dir / "j", direct(&runner), nullptr, nullptr, sys);
    REQUIRE(journal);
    const Lsn edge = journal->durable() + (1 << 20);
    Lsn lsn = 0;
    const std::string text = record(0, 1000);
    while (lsn < edge + (1 << 18)) {
        REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
    }
    // Its last write is taken by an append that submits another, of an eighth of the buffer.
    std::uint64_t segments = 1;
    for (int i = 0; i < 800 && segments < 2; ++i) {
        REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        segments = journal->stat().segments;
    }
    REQUIRE(segments >= 2);
    REQUIRE(journal->segments().front().sealed);
    REQUIRE(journal->close() == 0);
}

TEST_CASE("without a queue a lent thread writes behind", "[journal][behind]") {
    Scratch dir;
    Queued sys;
    sys.refuse_queue = true;
    ThreadRunner runner;
    auto journal = open_journal(dir / "j", direct(&runner), nullptr, nullptr, sys);
    REQUIRE(journal);
    const Lsn lsn = fill(*journal, 5000);
    REQUIRE(sys.queues == 1);  // asked for once
    REQUIRE(sys.submitted == 0);
    REQUIRE(sys.pwrites > 0);
    REQUIRE(journal->sync(lsn, -1) == 0);
    REQUIRE(journal->close() == 0);
    expect_records(dir / "j", 5000);
}

TEST_CASE("a queue that takes nothing costs speed only", "[journal][behind]") {
    Scratch dir;
    Queued sys;
    sys.refuse_writes = true;
    auto journal = open_journal(dir / "j", direct(), nullptr, nullptr, sys);
    REQUIRE(journal);
    const Lsn lsn = fill(*journal, 3000);
    REQUIRE(journal->sync(lsn, -1) == 0);
    REQUIRE(journal->close() == 0);
    expect_records(dir / "j", 3000);
}

TEST_CASE("a queued write that ends short or undone is finished", "[journal][behind]") {
    for (const ssize_t how : {ssize_t{512}, ssize_t{8192}, ssize_t{-EINTR}, ssize_t{-EAGAIN}}) {
        Scratch dir;
        Queued sys;
        sys.fail_at = 3;
        sys.fail_with = how;
        auto journal = open_journal(dir / "j", direct(), nullptr, nullptr, sys);
        REQUIRE(journal);
        const int before = sys.pwrites;
        const Lsn lsn = fill(*journal, 900);
        REQUIRE(journal->sync(lsn, -1) == 0);
        REQUIRE(sys.fail_at <= 0);
        REQUIRE(sys.pwrites >= before);
        REQUIRE(journal->close() == 0);
        expect_records(dir / "j", 900);
    }
}

TEST_CASE("a queued write that fails poisons, and the range named covers what was in flight",
          "[journal][behind]") {
    Scratch dir;
    Queued sys;
    sys.fail_at = 2;
    sys.fail_with = -EIO;
    auto journal = open_journal(dir / "j", direct(), nullptr, nullptr, sys);
    REQUIRE(journal);
    int code = 0;
    Lsn lsn = 0;
    Lsn last = 0;
    for (std::uint64_t i = 0; i < 3000 && code == 0; ++i) {
        const std::string text = record(i, 1000);
        code = journal->append(text.data(), text.size(), 0, &lsn);
        last = code == 0 ? lsn : last;
    }
    REQUIRE(code == kPoisoned);
    const Frontier at = journal->frontier();
    REQUIRE(at.unknown_lo <= at.durable);
    REQUIRE(at.unknown_hi > at.written);
    REQUIRE(at.unknown_hi <= at.reserved);
    REQUIRE(journal->sync(last, 1'000'000'000) < 0);
    REQUIRE(journal->cause().find("EIO") != std::string::npos);
    REQUIRE(journal->close() == kPoisoned);
}

TEST_CASE("an append that does not wait finds the room that queued writes have left",
          "[journal][behind]") {
    Scratch dir;
    Queued sys;
    ThreadRunner runner;
    auto journal = open_journal(dir / "j", direct(&runner), nullptr, nullptr, sys);
    REQUIRE(journal);
    const std::string text = record(0, 1000);
    int refused = 0;
    // Four buffers full, by one who only ever asks again.
    for (int done = 0; done < 2000;) {
        Lsn lsn = 0;
        const int code = journal->append(text.data(), text.size(), kAppendNonblock, &lsn);
        REQUIRE((code == 0 || code == -EAGAIN));
        done += code == 0;
        refused += code != 0;
        REQUIRE(refused < 100'000);
        if (code != 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    }
    REQUIRE(journal->close() == 0);
}

TEST_CASE("AIO writes what a write would", "[journal][behind]") {
    Scratch dir;
    Syscalls &sys = real_syscalls();
    auto queue = make_aio_queue(4);
    REQUIRE(queue);
    const int fd = sys.open(AT_FDCWD, (dir / "f").c_str(), O_RDWR | O_CREAT | O_DIRECT, 0644);
    REQUIRE(fd >= 0);
    alignas(4096) static unsigned char bytes[4 * 4096];
    for (std::size_t i = 0; i < sizeof bytes; ++i) {
        bytes[i] = static_cast<unsigned char>(i * 7 + i / 4096);
    }
    for (unsigned i = 0; i < 4; ++i) {
        REQUIRE(queue->submit(fd, bytes + i * 4096, 4096, i * 4096, i) == 0);
    }
    unsigned seen = 0;
    while (seen != 15) {
        WriteQueue::Done done[4];
        const int n = queue->reap(done, 4, true);
        REQUIRE(n > 0);
        for (int i = 0; i < n; ++i) {
            REQUIRE(done[i].result == 4096);
            seen |= 1u << done[i].tag;
        }
    }
    REQUIRE(queue->reap(nullptr, 0, false) == 0);
    REQUIRE(queue->submit(-1, bytes, 4096, 0, 0) == -EBADF);
    alignas(4096) static unsigned char back[4 * 4096];
    REQUIRE(sys.pread(fd, back, sizeof back, 0, 0) == static_cast<ssize_t>(sizeof back));
    REQUIRE(std::equal(back, back + sizeof back, bytes));
    sys.close(fd);
}
