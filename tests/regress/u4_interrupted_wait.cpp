// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// U4: a wait cut short by a signal returned an error while the kernel still had the op, and the late
// completion was credited to the next one. Every thread of the process, the library's own included,
// is hit by signals whose handler lacks SA_RESTART; each op must give its own result, once.
#include <sys/types.h>

#include "regress/support.hpp"

using namespace regress;

namespace {

std::atomic<std::uint64_t> handled{0};

// Signals every thread but its own until told to stop.
class Storm {
public:
    Storm() {
        struct sigaction action{};
        action.sa_handler = [](int) { handled.fetch_add(1, std::memory_order_relaxed); };
        ::sigaction(SIGUSR1, &action, nullptr);
        thread_ = std::thread([this] { work(); });
    }
    Storm(const Storm &) = delete;
    Storm &operator=(const Storm &) = delete;
    ~Storm() {
        stop_ = true;
        thread_.join();
    }

private:
    void work() {
        const auto self = static_cast<pid_t>(::syscall(SYS_gettid));
        while (!stop_) {
            std::error_code ignored;
            for (const auto &entry : std::filesystem::directory_iterator("/proc/self/task", ignored)) {
                const int id = std::atoi(entry.path().filename().c_str());
                if (id != self && id > 0) {
                    ::syscall(SYS_tgkill, ::getpid(), id, SIGUSR1);
                }
            }
            const timespec brief{0, 50'000};
            ::nanosleep(&brief, nullptr);
        }
    }
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

}  // namespace

TEST_CASE("U4: signals during waits neither fail ops nor shift results") {
    const Watchdog watchdog(120);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    constexpr std::size_t kBlock = 4096;
    constexpr unsigned kBlocks = 64;
    const std::string path = scratch.make("data", kBlock * kBlocks, 5);
    Handle handle(backend);
    fsys_file *buffered = open_file(handle, path);
    fsys_file *direct = nullptr;
    if (try_open(handle, path, FSYS_FILE_READ | FSYS_FILE_DIRECT, &direct) != 0) {
        std::printf("note: no O_DIRECT here\n");
        direct = buffered;
    }
    Problems problems;
    const std::uint64_t before = handled;
    {
        const Storm storm;
        run_threads(4, [&](unsigned thread) {
            Pages pages(kBlock * 8);
            for (unsigned round = 0; round < 150; ++round) {
                fsys_request batch[8];
                fsys_op ops[8];
                for (unsigned i = 0; i < 8; ++i) {
                    const std::uint64_t block = (thread * 31 + round * 8 + i) % kBlocks;
                    batch[i] = request(FSYS_OP_READ, i % 2 == 0 ? direct : buffered,
                                       pages.data() + i * kBlock, kBlock, block * kBlock, 0,
                                       thread << 16 | round << 4 | i);
                }
                fsys_result results[8];
                if (round % 3 == 0) {
                    NOTE_EQUAL(problems, fsys_submit(handle, batch, 8, ops), 8);
                    NOTE_EQUAL(problems, fsys_wait_all(handle, ops, 8, 60 * kSecond, results), 0);
                } else if (round % 3 == 1) {
                    NOTE_EQUAL(problems, fsys_submit(handle, batch, 8, ops), 8);
                    for (unsigned i = 8; i-- > 0;) {
                        NOTE_EQUAL(problems, fsys_wait(handle, ops[i], 60 * kSecond, &results[i]), 0);
                    }
                } else {
                    NOTE_EQUAL(problems, fsys_submit(handle, batch, 8, ops), 8);
                    for (unsigned left = 8; left-- > 0;) {
                        std::uint32_t index = 99;
                        fsys_result result{};
                        if (!NOTE_EQUAL(problems, fsys_wait_any(handle, ops, 8, 60 * kSecond, &index,
                                                                &result), 0)) {
                            return;
                        }
                        results[index] = result;
                        ops[index] = 0;
                    }
                }
                for (unsigned i = 0; i < 8; ++i) {
                    NOTE_EQUAL(problems, results[i].result, kBlock);
                    NOTE_EQUAL(problems, results[i].user_data, batch[i].user_data);
                    NOTE_CHECK(problems, is_bytes_of(batch[i].buffer, 5, batch[i].offset, kBlock));
                    std::memset(batch[i].buffer, 0, kBlock);
                }
            }
        });
    }
    REQUIRE(problems.text() == "");
    REQUIRE(handled - before > 100);  // otherwise nothing was interrupted
    REQUIRE(handle.close() == 0);
}

TEST_CASE("U4: a signalled wait keeps its time limit and loses no late completion") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    Handle handle(backend);
    Pipe pipe;
    fsys_file *file = adopt_fd(handle, pipe.read_end());
    const Storm storm;
    char first = 0;
    char second = 0;
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(file, &first, 1, 0, 0, 1, &op) == 0);
    const std::int64_t started = now_ns();
    REQUIRE(fsys_wait(handle, op, 200 * kMs, nullptr) == -ETIMEDOUT);
    REQUIRE(now_ns() - started >= 200 * kMs);
    fsys_result result{};
    REQUIRE(::write(pipe.write_end(), "a", 1) == 1);
    REQUIRE(fsys_wait(handle, op, FSYS_FOREVER, &result) == 0);
    REQUIRE(result.user_data == 1);
    REQUIRE(first == 'a');
    REQUIRE(fsys_submit_read(file, &second, 1, 0, 0, 2, &op) == 0);
    REQUIRE(::write(pipe.write_end(), "b", 1) == 1);
    REQUIRE(fsys_wait(handle, op, FSYS_FOREVER, &result) == 0);
    REQUIRE(result.user_data == 2);
    REQUIRE(second == 'b');
    REQUIRE(handle.close() == 0);
}
