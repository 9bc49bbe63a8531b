// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Linked requests: order, exact length, failure and cancel in the middle.

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

constexpr std::uint32_t kNew = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE;

}  // namespace

TEST_CASE("link: write then sync then read see each other's effects") {
    TempDir dir;
    Rig rig;
    fsys_file *file = rig.file(dir / "f", kNew);
    const auto bytes = pattern(100'000);
    for (unsigned round = 0; round < 20; ++round) {
        std::vector<unsigned char> back(bytes.size());
        const fsys_request r[3] = {
            request(FSYS_OP_WRITE, file, bytes.data(), bytes.size(), round * bytes.size(), FSYS_LINK),
            request(FSYS_OP_SYNC, file, nullptr, 0, 0, FSYS_LINK | FSYS_SYNC_DATA),
            request(FSYS_OP_READ, file, back.data(), back.size(), round * bytes.size())};
        fsys_op ops[3];
        REQUIRE(fsys_submit(rig, r, 3, ops) == 3);
        fsys_result results[3];
        REQUIRE(fsys_wait_all(rig, ops, 3, round % 2 == 0 ? FSYS_FOREVER : 20 * kSecond,
                              results) == 0);
        CHECK(results[0].result == 100'000);
        CHECK(results[1].result == 0);
        CHECK(results[2].result == 100'000);
        CHECK(back == bytes);
    }
}

TEST_CASE("link: a long chain runs in order") {
    TempDir dir;
    Setup setup;
    setup.max_ops = 2048;
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", kNew);
    // Every link overwrites the same byte: the last one must win.
    constexpr unsigned kLinks = 1500;
    std::vector<unsigned> values(kLinks);
    std::vector<fsys_request> r;
    for (unsigned i = 0; i < kLinks; ++i) {
        values[i] = i;
        r.push_back(request(FSYS_OP_WRITE, file, &values[i], sizeof values[i], 0,
                            i + 1 < kLinks ? FSYS_LINK : 0));
    }
    std::vector<fsys_op> ops(kLinks);
    REQUIRE(fsys_submit(rig, r.data(), kLinks, ops.data()) == static_cast<int>(kLinks));
    std::vector<fsys_result> results(kLinks);
    REQUIRE(fsys_wait_all(rig, ops.data(), kLinks, FSYS_FOREVER, results.data()) == 0);
    CHECK(std::all_of(results.begin(), results.end(),
                      [](const fsys_result &x) { return x.result == sizeof(unsigned); }));
    unsigned last = 0;
    REQUIRE(fsys_read(file, &last, sizeof last, 0, 0) == sizeof last);
    CHECK(last == kLinks - 1);
}

TEST_CASE("link: the first failure cancels all behind it, long chains included") {
    TempDir dir;
    write_whole(dir / "f", pattern(100));
    Setup setup;
    setup.max_ops = 4096;
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE);
    std::vector<unsigned char> buffer(4096);
    constexpr unsigned kLinks = 3000;
    std::vector<fsys_request> r;
    for (unsigned i = 0; i < kLinks; ++i) {
        // Number 10 wants more bytes than the file has: LINK implies EXACT.
        r.push_back(request(FSYS_OP_READ, file, buffer.data(), i == 10 ? 200 : 100, 0,
                            i + 1 < kLinks ? FSYS_LINK : 0));
    }
    std::vector<fsys_op> ops(kLinks);
    REQUIRE(fsys_submit(rig, r.data(), kLinks, ops.data()) == static_cast<int>(kLinks));
    std::vector<fsys_result> results(kLinks);
    REQUIRE(fsys_wait_all(rig, ops.data(), kLinks, FSYS_FOREVER, results.data()) == 0);
    bool ok = true;
    for (unsigned i = 0; i < kLinks; ++i) {
        ok &= results[i].result == (i < 10 ? 100 : i == 10 ? FSYS_E_SHORT : -ECANCELED);
        ok &= results[i].step == (i < 10 ? FSYS_STEP_NONE : i == 10 ? FSYS_STEP_TRANSFER
                                                                    : FSYS_STEP_QUEUE);
        ok &= i <= 10 || (results[i].lane == FSYS_LANE_NONE && results[i].bytes_done == 0);
    }
    CHECK(ok);
    CHECK(results[10].bytes_done == 100);
}

TEST_CASE("link: the last of a chain needs no exact length, two chains are apart") {
    TempDir dir;
    write_whole(dir / "f", pattern(100));
    Rig rig;
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ);
    std::vector<unsigned char> buffer(4096);
    const fsys_request r[5] = {request(FSYS_OP_READ, file, buffer.data(), 200, 0, FSYS_LINK),
                               request(FSYS_OP_READ, file, buffer.data(), 100, 0),
                               request(FSYS_OP_READ, file, buffer.data() + 300, 100, 0, FSYS_LINK),
                               request(FSYS_OP_READ, file, buffer.data() + 600, 200, 0),
                               request(FSYS_OP_NOP, nullptr, nullptr, 0, 0)};
    fsys_op ops[5];
    REQUIRE(fsys_submit(rig, r, 5, ops) == 5);
    fsys_result results[5];
    REQUIRE(fsys_wait_all(rig, ops, 5, 20 * kSecond, results) == 0);
    CHECK(results[0].result == FSYS_E_SHORT);
    CHECK(results[1].result == -ECANCELED);
    CHECK(results[2].result == 100);
    CHECK(results[3].result == 100);
    CHECK(results[4].result == 0);
}

TEST_CASE("link: what is wrong with a later request of the first run is what the caller is told") {
    TempDir dir;
    Rig rig;
    fsys_file *file = rig.file(dir / "f", kNew);
    fsys_file *closed = rig.file(dir / "g", kNew);
    REQUIRE(fsys_file_close(closed) == 0);
    const char byte = 'x';
    const fsys_request r[2] = {request(FSYS_OP_WRITE, file, &byte, 1, 0, FSYS_LINK),
                               request(FSYS_OP_WRITE, closed, &byte, 1, 0)};
    fsys_op ops[2];
    CHECK(fsys_submit(rig, r, 2, ops) == FSYS_E_CLOSED);
}

TEST_CASE("link: linked requests are accepted together or not at all") {
    TempDir dir;
    write_whole(dir / "f", pattern(100));
    Setup setup;
    setup.max_ops = 8;
    setup.submit_timeout_ns = 50 * kMs;
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ);
    char byte = 0;
    fsys_op ops[16] = {};
    // The third of the chain is refused: so is the chain, not what came before it.
    fsys_request r[4] = {request(FSYS_OP_NOP, nullptr, nullptr, 0, 0),
                         request(FSYS_OP_READ, file, &byte, 1, 0, FSYS_LINK),
                         request(FSYS_OP_READ, file, &byte, 1, 0, FSYS_LINK),
                         request(FSYS_OP_WRITE, file, &byte, 1, 0)};
    REQUIRE(fsys_submit(rig, r, 4, ops) == 1);
    rig.wait(ops[0]);
    CHECK(fsys_submit(rig, r + 1, 3, ops) == -EBADF);
    // A chain that never ends.
    CHECK(fsys_submit(rig, r + 1, 2, ops) == -EINVAL);
    // One that no table holds.
    std::vector<fsys_request> chain(16);
    for (unsigned i = 0; i < 15; ++i) {
        chain[i].flags = FSYS_LINK | FSYS_NONBLOCK;
    }
    CHECK(fsys_submit(rig, chain.data(), 16, ops) == -EAGAIN);
    for (auto &one : chain) {
        one.flags &= ~FSYS_NONBLOCK;
    }
    CHECK(fsys_submit(rig, chain.data(), 16, ops) == -EAGAIN);
    CHECK(rig.stats().in_flight == 0);
    // Nothing was lost: all slots are there.
    std::vector<fsys_request> eight(8);
    REQUIRE(fsys_submit(rig, eight.data(), 8, ops) == 8);
    CHECK(fsys_wait_all(rig, ops, 8, 10 * kSecond, nullptr) == 0);
    // And the file has no user left over.
    CHECK(fsys_file_close(file) == 0);
}

TEST_CASE("link: cancel in the middle of a chain that waits") {
    Rig rig;
    Pipe pipe;
    fsys_file *file = rig.from_fd(pipe.read_end);
    for (const unsigned victim : {0u, 1u, 3u, 5u}) {
        CAPTURE(victim);
        char byte = 0;
        fsys_request r[6] = {};
        r[0] = request(FSYS_OP_READ, file, &byte, 1, 0, FSYS_LINK);
        for (unsigned i = 1; i < 6; ++i) {
            r[i] = request(FSYS_OP_NOP, nullptr, nullptr, 0, 0, i < 5 ? FSYS_LINK : 0);
        }
        fsys_op ops[6];
        REQUIRE(fsys_submit(rig, r, 6, ops) == 6);
        CHECK(fsys_wait(rig, ops[5], 10 * kMs, nullptr) == -ETIMEDOUT);
        CHECK(fsys_cancel(rig, ops[victim]) == 0);
        fsys_result results[6];
        for (unsigned i = victim == 0 ? 0 : victim; i < 6; ++i) {
            results[i] = rig.wait(ops[i]);
            CHECK(results[i].result == -ECANCELED);
        }
        if (victim != 0) {
            CHECK(fsys_try(rig, ops[0], nullptr) == -EAGAIN);
            REQUIRE(::write(pipe.write_end, "x", 1) == 1);
            for (unsigned i = 0; i < victim; ++i) {
                CHECK(rig.wait(ops[i]).result == (i == 0 ? 1 : 0));
            }
        }
    }
    CHECK(rig.stats().in_flight == 0);
}

TEST_CASE("link: chains from several threads, cancelled at random", "[random]") {
    TempDir dir;
    Setup setup;
    setup.max_ops = 128;
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", kNew);
    Checks checks;
    rig.run(4, [&](unsigned thread) {
        std::mt19937 random(thread);
        unsigned char byte = 1;
        for (unsigned round = 0; round < 200; ++round) {
            fsys_request r[8] = {};
            fsys_op ops[8] = {};
            const unsigned count = 2 + random() % 7;
            for (unsigned i = 0; i < count; ++i) {
                r[i] = request(random() % 2 != 0 ? FSYS_OP_WRITE : FSYS_OP_NOP, file, &byte, 1, thread,
                               i + 1 < count ? FSYS_LINK : 0);
                if (r[i].opcode == FSYS_OP_NOP) {
                    r[i] = request(FSYS_OP_NOP, nullptr, nullptr, 0, 0, r[i].flags);
                }
            }
            const int code = fsys_submit(rig, r, count, ops);
            checks.expect(code == static_cast<int>(count), "submit " + std::to_string(code));
            if (code <= 0) {
                return;
            }
            if (random() % 2 == 0) {
                const int cancelled = fsys_cancel(rig, ops[random() % count]);
                checks.expect(cancelled == 0 || cancelled == -EALREADY,
                              "cancel " + std::to_string(cancelled));
            }
            fsys_result results[8];
            const int waited = fsys_wait_all(rig, ops, count,
                                             round % 2 == 0 ? FSYS_FOREVER : 20 * kSecond, results);
            checks.expect(waited == 0, "wait " + std::to_string(waited));
            bool failed = false;
            for (unsigned i = 0; waited == 0 && i < count; ++i) {
                checks.expect(!failed || results[i].result == -ECANCELED, "runs behind a failure");
                failed |= results[i].result < 0;
            }
        }
    });
    checks.require();
    CHECK(rig.stats().in_flight == 0);
    CHECK(rig.close() == 0);
}
