// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// wait_any and wait_all: zeros, duplicates, timeouts, large counts, several threads with overlapping
// sets.

#include <unistd.h>

#include <cerrno>
#include <random>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

// `count` pipes' worth of reads that wait.
class SlowReads {
public:
    SlowReads(const Rig &rig, unsigned count) : pipes_(count), bytes_(count), ops(count) {
        for (unsigned i = 0; i < count; ++i) {
            pipes_[i] = std::make_unique<Pipe>();
            fsys_file *file = rig.from_fd(pipes_[i]->read_end);
            REQUIRE(fsys_submit_read(file, &bytes_[i], 1, 0, 0, 100 + i, &ops[i]) == 0);
        }
    }
    void finish(unsigned i) { [[maybe_unused]] const auto n = ::write(pipes_[i]->write_end, "x", 1); }

private:
    std::vector<std::unique_ptr<Pipe>> pipes_;
    std::vector<char> bytes_;

public:
    std::vector<fsys_op> ops;
};

}  // namespace

TEST_CASE("wait_any: takes the one that is done") {
    Rig rig;
    SlowReads slow(rig, 5);
    std::uint32_t index = 0;
    fsys_result result{};
    CHECK(fsys_wait_any(rig, slow.ops.data(), 5, 0, &index, &result) == -ETIMEDOUT);
    CHECK(fsys_wait_any(rig, slow.ops.data(), 5, 20 * kMs, &index, &result) == -ETIMEDOUT);
    for (const unsigned which : {3u, 0u, 4u, 1u, 2u}) {
        slow.finish(which);
        REQUIRE(fsys_wait_any(rig, slow.ops.data(), 5, which % 2 != 0 ? FSYS_FOREVER : 20 * kSecond,
                              &index, &result) == 0);
        CHECK(index == which);
        CHECK(result.user_data == 100 + which);
        CHECK(result.op == slow.ops[which]);
        slow.ops[which] = 0;  // skipped from now on
    }
    CHECK(fsys_wait_any(rig, slow.ops.data(), 5, FSYS_FOREVER, &index, &result) == FSYS_E_NOTHING);
    CHECK(fsys_wait_any(rig, slow.ops.data(), 0, 0, &index, &result) == -EINVAL);
    CHECK(fsys_wait_any(rig, nullptr, 1, 0, &index, &result) == -EINVAL);
    const std::vector<fsys_op> many(4097);
    CHECK(fsys_wait_any(rig, many.data(), 4097, 0, &index, &result) == -EINVAL);
}

TEST_CASE("wait_any: a stale token is named at once, duplicates are one op") {
    Rig rig;
    SlowReads slow(rig, 2);
    const fsys_op live = slow.ops[0];
    std::uint32_t index = 9;
    fsys_op ops[4] = {0, live, live, slow.ops[1] + 1};
    CHECK(fsys_wait_any(rig, ops, 4, FSYS_FOREVER, &index, nullptr) == FSYS_E_STALE);
    CHECK(index == 3);
    ops[3] = slow.ops[1];
    CHECK(fsys_wait_any(rig, ops, 4, 20 * kMs, &index, nullptr) == -ETIMEDOUT);
    slow.finish(0);
    fsys_result result{};
    REQUIRE(fsys_wait_any(rig, ops, 4, FSYS_FOREVER, &index, &result) == 0);
    CHECK((index == 1 || index == 2));
    CHECK(result.user_data == 100);
    // The other mention is stale now.
    ops[index] = 0;
    CHECK(fsys_wait_any(rig, ops, 4, FSYS_FOREVER, &index, nullptr) == FSYS_E_STALE);
    slow.finish(1);
    CHECK(rig.wait(slow.ops[1]).result == 1);
}

TEST_CASE("wait_any: completions that race with going to sleep are seen", "[random]") {
    // Every round one of several ops ends at a random moment around the wait; nothing else would
    // wake the waiter.
    Rig rig;
    std::mt19937 random(99);
    const unsigned rounds = variant().caller() ? 100 : 400;
    Pipe never;
    fsys_file *never_file = rig.from_fd(never.read_end);
    char unused = 0;
    fsys_op blocked[3];
    for (fsys_op &op : blocked) {
        REQUIRE(fsys_submit_read(never_file, &unused, 1, 0, 0, 0, &op) == 0);
    }
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    Checks checks;
    for (unsigned round = 0; round < rounds; ++round) {
        char byte = 0;
        fsys_op op = 0;
        REQUIRE(fsys_submit_read(file, &byte, 1, 0, 0, round, &op) == 0);
        const unsigned spin = random() % 4000;
        rig.run({[&] {
                     for (unsigned i = 0; i < spin; ++i) {
                         asm volatile("");
                     }
                     checks.expect(::write(pipe.write_end, "x", 1) == 1, "write");
                 },
                 [&] {
                     const fsys_op ops[4] = {blocked[0], op, blocked[1], blocked[2]};
                     std::uint32_t index = 0;
                     fsys_result result{};
                     const int code =
                         fsys_wait_any(rig, ops, 4, 10 * kSecond, &index, &result);
                     checks.expect(code == 0 && index == 1 && result.user_data == round,
                                   "round " + std::to_string(round) + ": " + std::to_string(code));
                 }});
        checks.require();
    }
    for (const fsys_op op : blocked) {
        CHECK(fsys_cancel(rig, op) == 0);
        CHECK(rig.wait(op).result == -ECANCELED);
    }
}

TEST_CASE("wait_any: an op that another thread waits for too wakes both") {
    // Thread A gives up on X before X ends; thread B, which waits for X and Y, must still see X.
    Rig rig;
    for (unsigned round = 0; round < 10; ++round) {
        SlowReads slow(rig, 2);
        Checks checks;
        rig.run({[&] {
                     std::uint32_t index = 0;
                     const fsys_op set[2] = {slow.ops[0], 0};
                     const int code = fsys_wait_any(rig, set, 2, 40 * kMs, &index, nullptr);
                     checks.expect(code == -ETIMEDOUT, "A " + std::to_string(code));
                     sleep_ms(5);
                     slow.finish(0);
                 },
                 [&] {
                     sleep_ms(10);
                     std::uint32_t index = 9;
                     const int code =
                         fsys_wait_any(rig, slow.ops.data(), 2, 5 * kSecond, &index, nullptr);
                     checks.expect(code == 0 && index == 0, "B " + std::to_string(code));
                 }});
        checks.require();
        slow.finish(1);
        rig.wait(slow.ops[1]);
    }
}

TEST_CASE("wait_all: mixed hinted and plain ops, zeros, large counts") {
    TempDir dir;
    write_whole(dir / "f", pattern(1 << 20));
    const auto whole = pattern(1 << 20);
    Setup setup;
    setup.max_ops = 8192;
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE);
    std::mt19937 random(5);
    for (const std::uint32_t count : {1u, 2u, 127u, 128u, 129u, 1000u, 4096u}) {
        CAPTURE(count);
        for (const std::int64_t timeout : {FSYS_FOREVER, 30 * kSecond}) {
            std::vector<unsigned char> buffer(count * 64);
            std::vector<fsys_op> ops(count);
            for (std::uint32_t i = 0; i < count; ++i) {
                const std::uint32_t hint = random() % 3 != 0 ? FSYS_WAIT_SOON : 0;
                const std::uint64_t offset = (i * 977u) % ((1 << 20) - 64);
                switch (random() % 8) {
                case 0:
                    ops[i] = 0;
                    break;
                case 1:
                    REQUIRE(fsys_submit_write(file, whole.data() + offset, 64, offset, hint, i,
                                              &ops[i]) == 0);
                    break;
                default:
                    REQUIRE(fsys_submit_read(file, &buffer[i * 64], 64, offset, hint, i,
                                             &ops[i]) == 0);
                    break;
                }
            }
            std::vector<fsys_result> results(count, fsys_result{1, 1, 1, 1, 1, 1});
            REQUIRE(fsys_wait_all(rig, ops.data(), count, timeout, results.data()) == 0);
            bool ok = true;
            for (std::uint32_t i = 0; i < count; ++i) {
                ok &= results[i].op == ops[i];
                ok &= results[i].user_data == (ops[i] != 0 ? i : 0);
                ok &= results[i].result == (ops[i] != 0 ? 64 : 0);
            }
            CHECK(ok);
        }
    }
    CHECK(rig.stats().in_flight == 0);
    CHECK(fsys_wait_all(rig, nullptr, 0, 0, nullptr) == 0);
    CHECK(fsys_wait_all(rig, nullptr, 1, 0, nullptr) == -EINVAL);
    const std::vector<fsys_op> many(4097);
    CHECK(fsys_wait_all(rig, many.data(), 4097, 0, nullptr) == -EINVAL);
    CHECK(fsys_wait_all(rig, many.data(), 4096, FSYS_FOREVER, nullptr) == 0);
}

TEST_CASE("wait_all: a timeout takes none, a later wait takes all") {
    Rig rig;
    SlowReads slow(rig, 3);
    std::vector<fsys_op> ops = slow.ops;
    fsys_request r{};
    r.flags = FSYS_WAIT_SOON;
    fsys_op op = 0;
    REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    ops.push_back(op);
    slow.finish(1);
    std::vector<fsys_result> results(4);
    CHECK(fsys_wait_all(rig, ops.data(), 4, 30 * kMs, results.data()) == -ETIMEDOUT);
    CHECK(fsys_wait_all(rig, ops.data(), 4, 0, results.data()) == -ETIMEDOUT);
    slow.finish(0);
    slow.finish(2);
    REQUIRE(fsys_wait_all(rig, ops.data(), 4, FSYS_FOREVER, results.data()) == 0);
    for (unsigned i = 0; i < 3; ++i) {
        CHECK(results[i].result == 1);
        CHECK(results[i].user_data == 100 + i);
    }
}

TEST_CASE("wait_all: a stale or doubled token is told and takes nothing") {
    Rig rig;
    SlowReads slow(rig, 2);
    fsys_op ops[3] = {slow.ops[0], slow.ops[1], slow.ops[1] + 1};
    CHECK(fsys_wait_all(rig, ops, 3, FSYS_FOREVER, nullptr) == FSYS_E_STALE);
    slow.finish(0);
    slow.finish(1);
    ops[2] = slow.ops[0];
    std::vector<fsys_result> results(3);
    CHECK(fsys_wait_all(rig, ops, 3, 10 * kSecond, results.data()) == FSYS_E_STALE);
    // Nothing was taken.
    CHECK(rig.wait(slow.ops[0]).user_data == 100);
    CHECK(rig.wait(slow.ops[1]).user_data == 101);
}

TEST_CASE("wait_all: threads with overlapping sets all end", "[random]") {
    Setup setup;
    setup.max_ops = 1024;
    Rig rig(setup);
    Checks checks;
    for (unsigned round = 0; round < 30; ++round) {
        std::vector<fsys_request> r(40);
        for (unsigned i = 0; i < r.size(); ++i) {
            r[i].flags = (i + round) % 3 == 0 ? FSYS_WAIT_SOON : 0;
            r[i].user_data = i;
        }
        std::vector<fsys_op> ops(r.size());
        REQUIRE(fsys_submit(rig, r.data(), 40, ops.data()) == 40);
        std::atomic<unsigned> won{0};
        rig.run(4, [&](unsigned thread) {
            std::vector<fsys_op> mine(ops.begin() + thread * 5, ops.begin() + thread * 5 + 25);
            const int code = fsys_wait_all(rig, mine.data(), 25,
                                           thread % 2 == 0 ? FSYS_FOREVER : 20 * kSecond, nullptr);
            checks.expect(code == 0 || code == FSYS_E_STALE, std::to_string(code));
            won.fetch_add(code == 0 ? 1 : 0);
        });
        checks.require();
        CHECK(won.load() <= 1);
        for (const fsys_op op : ops) {
            const int code = fsys_wait(rig, op, 10 * kSecond, nullptr);
            REQUIRE((code == 0 || code == FSYS_E_STALE));
        }
        REQUIRE(rig.stats().in_flight == 0);
    }
}
