// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The driver dies, at each of its steps, with 64 threads waiting in every way there is: all of them
// return within 5 s with a code that says so, nothing is admitted any more, close ends, and the
// cause can be read. The queue underneath breaks or throws at the chosen moment.
#include <new>

#include "regress/fakes.hpp"

using namespace regress;

namespace {

bool is_death(std::int64_t code) {
    return code == FSYS_E_DRIVER_DEAD || code == FSYS_E_POISONED;
}



}  // namespace

TEST_CASE("driver death: 64 waiters return within 5 s, whatever the driver was doing") {
    const Watchdog watchdog(120);
    const std::uint64_t step = GENERATE(1u, 2u, 5u, 40u);
    const unsigned way = GENERATE(0u, 1u, 2u, 3u);
    constexpr const char *names[] = {"turn: EBADR", "turn: EIO", "turn: throws", "put: throws"};
    CAPTURE(names[way], step);
    const auto script = std::make_shared<Script>();
    std::atomic<bool> armed{false};
    std::atomic<std::uint64_t> steps{0};
    std::atomic<std::int64_t> died{0};
    const auto strike = [&](bool turn) {
        if (armed && turn == (way != 3) && ++steps >= step) {
            died = died == 0 ? now_ns() : died.load();
            if (way >= 2) {
                throw std::bad_alloc();
            }
            return way == 0 ? -EBADR : -EIO;
        }
        return 0;
    };
    script->on_turn = [&](std::uint64_t) { return strike(true); };
    script->on_put = [&](std::uint64_t) { strike(false); };
    script->places = 64;
    // Reads at an odd offset never end: the kernel has them when the driver dies.
    script->hold = [](const libfsys::AsyncRequest &r) {
        return r.opcode == FSYS_OP_READ && r.offset % 2 == 1;
    };
    FailingSyscalls calls;
    calls.cold = true;  // else the page cache answers and the driver sees nothing
    libfsys::EngineConfig config = scripted(script);
    config.syscalls = &calls;
    config.max_ops = 1024;
    config.close_timeout_ns = 500 * kMs;
    const Scratch scratch;
    fsys *handle = open_scripted(config);
    fsys_file *file = open_file(handle, scratch.make("data", 65536, 1));
    const fsys_request nop = request(FSYS_OP_NOP, nullptr);
    fsys_op first = 0;
    REQUIRE(fsys_submit(handle, &nop, 1, &first) == 1);  // the driver lives
    REQUIRE(fsys_wait(handle, first, 10 * kSecond, nullptr) == 0);
    armed = true;
    Problems problems;
    std::atomic<unsigned> told{0};
    std::vector<unsigned char> memory(64 * 8);
    const std::int64_t started = now_ns();
    run_threads(64, [&](unsigned thread) {
        unsigned char *bytes = &memory[thread * 8];
        const auto over = [&] { return now_ns() - started > 60 * kSecond; };
        for (unsigned round = 0; !over(); ++round) {
            fsys_op ops[4] = {};
            fsys_request batch[4];
            for (unsigned i = 0; i < 4; ++i) {
                // One of four is held by the queue.
                batch[i] = request(FSYS_OP_READ, file, bytes + i, 1, i == 3 ? 1 : 2 * i,
                                   i == 0 && thread % 8 == 5 ? FSYS_LINK : 0, thread);
            }
            const bool queue_bound = thread % 8 == 4;
            const std::uint32_t count = thread % 8 == 7 ? 4 : 3;
            const int accepted = fsys_submit(handle, batch, count, queue_bound ? nullptr : ops);
            if (accepted < 0) {
                NOTE_CHECK(problems, is_death(accepted));
                told.fetch_add(1);
                return;
            }
            int code = 0;
            switch (thread % 8) {
            case 4: {
                fsys_result results[4];
                int taken = 0;
                while (taken < accepted && code >= 0) {
                    code = fsys_reap(handle, results, 4, FSYS_FOREVER);
                    taken += code > 0 ? code : 0;
                }
                code = code == FSYS_E_NOTHING || code > 0 ? 0 : code;
                break;
            }
            case 0:
            case 1:
            case 5:
                for (int i = 0; i < accepted && code == 0; ++i) {
                    fsys_result result{};
                    code = fsys_wait(handle, ops[i], thread % 8 == 1 ? 50 * kSecond : FSYS_FOREVER,
                                     &result);
                    if (code == 0 && result.result < 0) {
                        NOTE_CHECK(problems, is_death(result.result) || result.result == -ECANCELED);
                    }
                }
                break;
            case 2: {
                for (int i = 0; i < accepted && code == 0; ++i) {
                    std::uint32_t index = 0;
                    code = fsys_wait_any(handle, ops, 4, FSYS_FOREVER, &index, nullptr);
                    ops[index] = code == 0 ? 0 : ops[index];
                }
                break;
            }
            default:
                code = fsys_wait_all(handle, ops, 4, FSYS_FOREVER, nullptr);
                break;
            }
            if (code != 0) {
                NOTE_CHECK(problems, is_death(code));
                told.fetch_add(1);
                return;
            }
        }
    });
    const std::int64_t took = now_ns() - died;
    CAPTURE(took);
    REQUIRE(problems.text() == "");
    REQUIRE(told == 64);
    REQUIRE(died != 0);
    REQUIRE(took < (kSanitized ? 20 : 5) * kSecond);
    // Sticky, with its cause.
    REQUIRE(is_death(fsys_submit(handle, &nop, 1, &first)));
    REQUIRE(is_death(fsys_read(file, memory.data(), 1, 0, 0)));
    REQUIRE(info_of(handle).poisoned == 1);
    char cause[256] = "";
    REQUIRE(fsys_cause(handle, cause, sizeof cause) > 0);
    REQUIRE_THAT(std::string(cause), Catch::Matchers::ContainsSubstring("driver"));
    const std::int64_t closing = now_ns();
    const int closed = fsys_close(handle);
    REQUIRE((closed == 0 || closed == -ETIMEDOUT));  // the latter while the queue holds reads
    REQUIRE(now_ns() - closing < (kSanitized ? 20 : 5) * kSecond);
    REQUIRE(fsys_close(handle) == FSYS_E_CLOSED);
}

TEST_CASE("driver death: submitters that wait for a slot, and closers of files, return too") {
    const Watchdog watchdog(60);
    const auto script = std::make_shared<Script>();
    std::atomic<bool> die{false};
    script->on_turn = [&](std::uint64_t) { return die ? -EBADR : 0; };
    script->hold = [](const libfsys::AsyncRequest &r) { return r.opcode == FSYS_OP_READ; };
    FailingSyscalls calls;
    calls.cold = true;
    libfsys::EngineConfig config = scripted(script);
    config.syscalls = &calls;
    config.max_ops = 4;
    config.close_timeout_ns = 100 * kMs;
    config.submit_timeout_ns = 1000 * kSecond;
    const Scratch scratch;
    fsys *handle = open_scripted(config);
    fsys_file *file = open_file(handle, scratch.make("data", 4096, 1));
    char bytes[4];
    fsys_op ops[4];
    for (unsigned i = 0; i < 4; ++i) {
        REQUIRE(fsys_submit_read(file, &bytes[i], 1, 0, 0, 0, &ops[i]) == 0);
    }
    REQUIRE(eventually([&] { return script->held == 4; }));
    Problems problems;
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 32; ++i) {
        threads.emplace_back([&, i] {
            char byte;
            fsys_op op = 0;
            if (i % 2 == 0) {
                NOTE_CHECK(problems, is_death(fsys_submit_read(file, &byte, 1, 0, 0, 0, &op)));
            } else {
                const fsys_request pair[2] = {request(FSYS_OP_NOP, nullptr, nullptr, 0, 0, FSYS_LINK),
                                              request(FSYS_OP_NOP, nullptr)};
                fsys_op two[2];
                NOTE_CHECK(problems, is_death(fsys_submit(handle, pair, 2, two)));
            }
        });
    }
    REQUIRE(eventually([&] { return stats_of(handle).slot_waits >= 16; }));
    die = true;
    const std::int64_t died = now_ns();
    REQUIRE(fsys_cancel(handle, ops[0]) == 0);  // wakes the driver, which dies
    for (std::thread &thread : threads) {
        thread.join();
    }
    REQUIRE(problems.text() == "");
    REQUIRE(fsys_file_close(file) == -ETIMEDOUT);
    REQUIRE(fsys_close(handle) == -ETIMEDOUT);
    REQUIRE(now_ns() - died < (kSanitized ? 20 : 5) * kSecond);
}
