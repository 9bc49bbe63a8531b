// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Cancelling ops of the completion queue by their user_data, in every state, while slots are reused;
// and cancelling what a journal has, by token and by user_data.

#include <cerrno>
#include <map>
#include <random>
#include <thread>

#include "contract/harness.hpp"
#include "fsys/journal.h"

using namespace libfsys::test;

namespace {

// Takes exactly `count` completions, of ops with this user_data and result.
void take(const Rig &rig, unsigned count, std::uint64_t user_data, std::int64_t wanted) {
    for (unsigned i = 0; i < count; ++i) {
        fsys_result result{};
        REQUIRE(fsys_reap(rig, &result, 1, 10 * kSecond) == 1);
        CHECK(result.user_data == user_data);
        CHECK(result.result == wanted);
    }
    CHECK(fsys_reap(rig, nullptr, 0, 0) == 0);
}

// Without the fakes' short writes, which keep to no blocks.
Setup for_journals() {
    Setup setup;
    setup.queue = quiet();
    return setup;
}

// A journal whose asynchronous syncs wait: a reservation that nobody publishes holds the frontier.
struct HeldJournal {
    TempDir dir;
    fsys_journal *journal = nullptr;
    fsys_journal_ticket ticket{};
    std::uint64_t lsn = 0;

    explicit HeldJournal(const Rig &rig) {
        fsys_journal_options options{};
        options.struct_size = sizeof options;
        options.segment_bytes = 65536;
        options.buffer_bytes = 65536;
        options.block_bytes = 512;
        REQUIRE(fsys_journal_open(rig, (dir / "j").c_str(), &options, nullptr, &journal) == 0);
        REQUIRE(fsys_journal_reserve(journal, 100, 0, &ticket) == 0);
        REQUIRE(fsys_journal_append(journal, "behind it", 9, 0, &lsn) == 0);
    }
};

}  // namespace

TEST_CASE("cancel queued: what is not there, has completed or has a token") {
    Rig rig;
    CHECK(fsys_cancel_queued(rig, 7) == -ENOENT);
    CHECK(fsys_cancel_queued(nullptr, 7) == FSYS_E_CLOSED);
    fsys_request r{};
    r.user_data = 7;
    REQUIRE(fsys_submit(rig, &r, 1, nullptr) == 1);
    REQUIRE(rig.until([&] { return rig.stats().in_flight == 0; }));
    CHECK(fsys_cancel_queued(rig, 7) == -ENOENT);
    take(rig, 1, 7, 0);
    CHECK(fsys_cancel_queued(rig, 7) == -ENOENT);

    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    char byte = 0;
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(file, &byte, 1, 0, 0, 7, &op) == 0);
    CHECK(fsys_cancel_queued(rig, 7) == -ENOENT);
    CHECK(fsys_wait(rig, op, 5 * kMs, nullptr) == -ETIMEDOUT);
    CHECK(rig.stats().cancels == 0);
    CHECK(fsys_cancel(rig, op) == 0);
    CHECK(rig.wait(op).result == -ECANCELED);
    CHECK(rig.stats().cancels == 1);
}

TEST_CASE("cancel queued: all ops with this user_data end, the others go on") {
    Rig rig;
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    char bytes[5] = {};
    for (unsigned i = 0; i < 5; ++i) {
        REQUIRE(fsys_submit_read(file, &bytes[i], 1, 0, 0, i % 2 == 0 ? 7 : 8, nullptr) == 0);
    }
    const bool on_the_way = GENERATE(false, true);
    if (on_the_way) {
        // Into the ring, the poller's hands, the driver's queue.
        const std::int64_t end = now_ns() + 5 * kMs;
        rig.until([&] { return now_ns() > end; });
    }
    CHECK(fsys_cancel_queued(rig, 7) == 3);
    take(rig, 3, 7, -ECANCELED);
    CHECK(fsys_cancel_queued(rig, 7) == -ENOENT);
    REQUIRE(::write(pipe.write_end, "xy", 2) == 2);
    take(rig, 2, 8, 1);
    CHECK(fsys_file_close(file) == 0);
}

TEST_CASE("cancel queued: an op that is linked behind another, and one with a follower") {
    Rig rig;
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    char byte = 0;
    fsys_request r[3] = {request(FSYS_OP_READ, file, &byte, 1, 0, FSYS_LINK, 1)};
    r[1].flags = FSYS_LINK;
    r[1].user_data = 2;
    r[2].user_data = 3;
    REQUIRE(fsys_submit(rig, r, 3, nullptr) == 3);
    CHECK(fsys_cancel_queued(rig, 3) == 1);
    take(rig, 1, 3, -ECANCELED);
    // The head takes along what is still linked behind it.
    CHECK(fsys_cancel_queued(rig, 1) == 1);
    std::map<std::uint64_t, std::int64_t> ended;
    for (unsigned i = 0; i < 2; ++i) {
        fsys_result result{};
        REQUIRE(fsys_reap(rig, &result, 1, 10 * kSecond) == 1);
        ended[result.user_data] = result.result;
    }
    CHECK(ended == std::map<std::uint64_t, std::int64_t>{{1, -ECANCELED}, {2, -ECANCELED}});
    CHECK(rig.stats().in_flight == 0);
}

TEST_CASE("cancel queued: not while a thread is inside the system call") {
    if (!variant().threads() || variant().caller()) {
        FSYS_SKIP("needs a pool thread that can be held");
    }
    TempDir dir;
    FakeSyscalls sys;
    Setup setup;
    setup.pool_threads = 1;
    setup.syscalls = &sys;
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_WRITE | FSYS_FILE_CREATE);
    sys.hold(SysCall::kFsync);
    REQUIRE(fsys_submit_sync(file, 0, 0, 0, 7, nullptr) == 0);
    REQUIRE(sys.await_held());
    CHECK(fsys_cancel_queued(rig, 7) == -EALREADY);
    // Behind the only thread, in its queue: ended here, unlinked there.
    REQUIRE(fsys_submit_write(file, "x", 1, 0, 0, 7, nullptr) == 0);
    CHECK(fsys_cancel_queued(rig, 7) == 1);
    take(rig, 1, 7, -ECANCELED);
    sys.release();
    take(rig, 1, 7, 0);
    CHECK(read_whole(dir / "f").empty());
}

TEST_CASE("cancel queued: by another thread, of one that sleeps until then") {
    Rig rig;
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    char byte = 0;
    fsys_request r[2] = {request(FSYS_OP_READ, file, &byte, 1, 0, FSYS_LINK, 1)};
    r[1].user_data = 2;
    REQUIRE(fsys_submit(rig, r, 2, nullptr) == 2);
    for (const std::uint64_t user_data : {2u, 1u}) {
        std::thread canceller([&] {
            sleep_ms(10);
            fsys_cancel_queued(rig, user_data);
        });
        fsys_result result{};
        CHECK(fsys_reap(rig, &result, 1, FSYS_FOREVER) == 1);
        CHECK(result.user_data == user_data);
        CHECK(result.result == -ECANCELED);
        canceller.join();
    }
}

TEST_CASE("cancel queued: submitted, cancelled and reused by many threads", "[random]") {
    TempDir dir;
    write_whole(dir / "f", pattern(1 << 16));
    Setup setup;
    setup.max_ops = 32;
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE);
    Pipe pipe;
    fsys_file *stream = rig.from_fd(pipe.read_end);
    constexpr unsigned kSubmitters = 3;
    constexpr unsigned kEach = 600;
    // user_data: number * kSubmitters + thread. Multiples of 3 in the number may be cancelled; of the
    // others a cancel would be the wrong op's. Cancelling goes on behind the completion, too, so that
    // it meets the slot's next op.
    constexpr unsigned kAll = kSubmitters * kEach;
    const auto may_cancel = [](std::uint64_t user_data) { return user_data / kSubmitters % 3 == 0; };
    std::vector<std::atomic<unsigned>> ended(kAll);
    std::vector<std::vector<char>> buffers(kAll, std::vector<char>(64));
    std::atomic<unsigned> cancelled{0};
    std::atomic<unsigned> taken{0};
    Checks checks;
    std::vector<std::function<void()>> threads;
    for (unsigned thread = 0; thread < kSubmitters; ++thread) {
        threads.emplace_back([&, thread] {
            std::mt19937 random(thread);
            for (unsigned i = 0; i < kEach; ++i) {
                const std::uint64_t user_data = std::uint64_t{i} * kSubmitters + thread;
                std::vector<char> &buffer = buffers[user_data];
                const bool victim = may_cancel(user_data);
                int code = 0;
                switch (victim ? random() % 4 : 1 + random() % 3) {
                case 0:
                    code = fsys_submit_read(stream, buffer.data(), 1, 0, 0, user_data, nullptr);
                    break;
                case 1:
                    code = fsys_submit_write(file, buffer.data(), 64, thread * 64, 0, user_data,
                                             nullptr);
                    break;
                case 2:
                    code = fsys_submit_sync(file, 0, 0, FSYS_SYNC_DATA, user_data, nullptr);
                    break;
                default:
                    code = fsys_submit_read(file, buffer.data(), 64, random() % 60'000, 0,
                                            user_data, nullptr);
                    break;
                }
                checks.expect(code == 0, "submit " + std::to_string(code));
                if (victim) {
                    do {
                        code = fsys_cancel_queued(rig, user_data);
                        checks.expect(code == 1 || code == -ENOENT || code == -EALREADY,
                                      "cancel " + std::to_string(code));
                    } while (random() % 4 != 0);
                }
            }
        });
    }
    for (unsigned reaper = 0; reaper < 2; ++reaper) {
        threads.emplace_back([&] {
            const std::int64_t limit = now_ns() + 60 * kSecond;
            while (taken.load() < kAll && now_ns() < limit) {
                fsys_result results[16];
                const int n = fsys_reap(rig, results, 16, 5 * kMs);
                checks.expect(n >= 0, "reap " + std::to_string(n));
                for (int i = 0; i < n; ++i) {
                    const fsys_result &r = results[i];
                    if (r.user_data >= kAll) {
                        checks.expect(false, "user_data of nobody");
                        continue;
                    }
                    checks.expect(ended[r.user_data].fetch_add(1) == 0, "twice");
                    checks.expect(r.result >= 0 ||
                                      (r.result == -ECANCELED && may_cancel(r.user_data)),
                                  std::to_string(r.user_data) + " ended with " +
                                      std::to_string(r.result));
                    cancelled.fetch_add(r.result == -ECANCELED ? 1 : 0);
                }
                taken.fetch_add(static_cast<unsigned>(std::max(n, 0)));
            }
        });
    }
    rig.run(threads);
    checks.require();
    CHECK(taken.load() == kAll);
    CHECK(cancelled.load() > 0);
    CHECK(rig.stats().in_flight == 0);
    CHECK(fsys_reap(rig, nullptr, 0, 0) == 0);
    CHECK(fsys_file_close(file) == 0);
    CHECK(fsys_file_close(stream) == 0);
    CHECK(rig.close() == 0);
}

TEST_CASE("cancel: what a journal was asked for, by token") {
    Rig rig(for_journals());
    HeldJournal held(rig);
    fsys_op sync = 0;
    fsys_op commit = 0;
    fsys_op sealed = 0;
    fsys_op kept = 0;
    REQUIRE(fsys_journal_submit_sync(held.journal, held.lsn, 1, &sync) == 0);
    REQUIRE(fsys_journal_submit_sync(held.journal, held.lsn, 2, &kept) == 0);
    std::uint64_t lsn = 0;
    REQUIRE(fsys_journal_submit_commit(held.journal, "kept", 4, 0, 3, &lsn, &commit) == 0);
    REQUIRE(fsys_journal_submit_sealed(held.journal, 0, 4, &sealed) == 0);
    CHECK(fsys_wait(rig, sync, 5 * kMs, nullptr) == -ETIMEDOUT);
    for (const fsys_op op : {sync, commit, sealed}) {
        CHECK(fsys_cancel(rig, op) == 0);
        CHECK(fsys_cancel(rig, op) == -EALREADY);
        const fsys_result result = rig.wait(op);
        CHECK(result.result == -ECANCELED);
        CHECK(result.step == FSYS_STEP_QUEUE);
        CHECK(result.lane == FSYS_LANE_NONE);
        CHECK(fsys_cancel(rig, op) == FSYS_E_STALE);
    }
    // The one beside them goes on, and so does the record whose commit was given up.
    CHECK(fsys_try(rig, kept, nullptr) == -EAGAIN);
    REQUIRE(fsys_journal_publish(held.journal, &held.ticket, nullptr) == 0);
    CHECK(rig.wait(kept).result == 0);
    CHECK(fsys_journal_sync(held.journal, lsn, FSYS_FOREVER) == 0);
    CHECK(fsys_journal_rotate(held.journal) == 0);
    REQUIRE(fsys_journal_submit_sealed(held.journal, 0, 5, &sealed) == 0);
    CHECK(fsys_cancel(rig, sealed) == -EALREADY);
    CHECK(rig.wait(sealed).result == 1);
    CHECK(fsys_journal_close(held.journal) == 0);
    CHECK(rig.stats().in_flight == 0);
}

TEST_CASE("cancel queued: what a journal was asked for") {
    Rig rig(for_journals());
    HeldJournal held(rig);
    REQUIRE(fsys_journal_submit_sync(held.journal, held.lsn, 7, nullptr) == 0);
    REQUIRE(fsys_journal_submit_sealed(held.journal, 0, 7, nullptr) == 0);
    REQUIRE(fsys_journal_submit_sealed(held.journal, 0, 8, nullptr) == 0);
    CHECK(fsys_cancel_queued(rig, 7) == 2);
    take(rig, 2, 7, -ECANCELED);
    CHECK(fsys_cancel_queued(rig, 7) == -ENOENT);
    // Sealed by another thread while this one sleeps.
    REQUIRE(fsys_journal_publish(held.journal, &held.ticket, nullptr) == 0);
    std::thread sealer([&] {
        sleep_ms(10);
        fsys_journal_rotate(held.journal);
    });
    fsys_result result{};
    CHECK(fsys_reap(rig, &result, 1, FSYS_FOREVER) == 1);
    CHECK(result.user_data == 8);
    CHECK(result.result == 1);
    sealer.join();
    REQUIRE(fsys_journal_submit_sealed(held.journal, 1, 9, nullptr) == 0);
    // Closing ends it, once.
    CHECK(fsys_journal_close(held.journal) == 0);
    take(rig, 1, 9, -ECANCELED);
}

TEST_CASE("cancel queued: a journal's requests, while they end by themselves", "[random]") {
    Rig rig(for_journals());
    HeldJournal held(rig);
    REQUIRE(fsys_journal_publish(held.journal, &held.ticket, nullptr) == 0);
    constexpr unsigned kEach = 100;
    std::atomic<unsigned> taken{0};
    std::atomic<unsigned> accepted{0};
    std::vector<std::atomic<unsigned>> ended(3 * kEach);
    Checks checks;
    std::vector<std::function<void()>> threads;
    std::atomic<unsigned> running{3};
    for (unsigned thread = 0; thread < 3; ++thread) {
        threads.emplace_back([&, thread] {
            std::mt19937 random(thread);
            for (unsigned i = 0; i < kEach; ++i) {
                const std::uint64_t user_data = thread * kEach + i;
                const bool seals = random() % 2 == 0;
                const int code =
                    seals ? fsys_journal_submit_sealed(held.journal, 0, user_data, nullptr)
                          : fsys_journal_submit_commit(held.journal, "record", 6, 0, user_data,
                                                       nullptr, nullptr);
                checks.expect(code == 0, "submit " + std::to_string(code));
                accepted.fetch_add(code == 0 ? 1 : 0);
                if (seals || random() % 2 == 0) {
                    const int asked = fsys_cancel_queued(rig, user_data);
                    checks.expect(asked == 1 || asked == -ENOENT || asked == -EALREADY,
                                  "cancel " + std::to_string(asked));
                }
                if (i == kEach / 2 && thread == 0) {
                    checks.expect(fsys_journal_rotate(held.journal) == 0, "rotate");
                }
            }
            running.fetch_sub(1);
        });
    }
    threads.emplace_back([&] {
        const std::int64_t limit = now_ns() + 60 * kSecond;
        while ((running.load() != 0 || taken.load() != accepted.load()) && now_ns() < limit) {
            fsys_result results[16];
            const int n = fsys_reap(rig, results, 16, 5 * kMs);
            for (int i = 0; i < n; ++i) {
                checks.expect(ended[results[i].user_data].fetch_add(1) == 0, "twice");
                checks.expect(results[i].result >= 0 || results[i].result == -ECANCELED,
                              "result " + std::to_string(results[i].result));
            }
            taken.fetch_add(static_cast<unsigned>(std::max(n, 0)));
        }
    });
    rig.run(threads);
    checks.require();
    CHECK(taken.load() == accepted.load());
    CHECK(fsys_journal_close(held.journal) == 0);
    CHECK(fsys_reap(rig, nullptr, 0, 0) == 0);
}
