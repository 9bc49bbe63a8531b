// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The journal against the bare system calls, in interleaved rounds, as ratios: devices drift, so
// only figures of one round are compared, and the median of the rounds is printed.
//
// usage: bench_journal [directory] [rounds] [milliseconds per cell]

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/futex.hpp"
#include "journal/reader.hpp"

using namespace libfsys;
using namespace libfsys::journal;

namespace {

std::string root;
int cell_ms = 400;

// One thread, kept: what an engine's pool lends.
class OneThread final : public Runner {
public:
    OneThread() : thread_([this] { work(); }) {}
    ~OneThread() {
        {
            const std::lock_guard lock(mutex_);
            stop_ = true;
        }
        wake_.notify_one();
        thread_.join();
    }
    bool run(Task *task) override {
        {
            const std::lock_guard lock(mutex_);
            tasks_.push_back(task);
        }
        wake_.notify_one();
        return true;
    }

private:
    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
            if (tasks_.empty()) {
                return;
            }
            Task *task = tasks_.front();
            tasks_.pop_front();
            lock.unlock();
            task->execute();
            lock.lock();
        }
    }
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Task *> tasks_;
    bool stop_ = false;
    std::thread thread_;
};

struct Window final : CompletionSink {
    std::atomic<std::uint64_t> done{0};
    std::atomic<std::uint64_t> failed{0};
    std::atomic<std::uint32_t> word{0};
    std::atomic<std::uint32_t> waiting{0};
    void complete(std::uint64_t, std::int64_t result) override {
        failed += result != 0;
        done.fetch_add(1, std::memory_order_release);
        if (waiting.load(std::memory_order_seq_cst) != 0) {
            waiting.store(0);
            word.fetch_add(1);
            futex_wake(&word);
        }
    }
};

std::unique_ptr<Journal> make(const char *name, Options options) {
    const std::string path = root + "/" + name;
    std::filesystem::remove_all(path);
    Journal *journal = nullptr;
    RecoveryReport report;
    const int code = Journal::open(real_syscalls(), path, options, &report, &journal);
    if (code < 0) {
        std::fprintf(stderr, "open %s: %d %s\n", path.c_str(), code, report.text.c_str());
        std::exit(1);
    }
    return std::unique_ptr<Journal>(journal);
}

double seconds(std::int64_t from) { return static_cast<double>(now_ns() - from) / 1e9; }

// Of this thread: for work that only computes and copies, the figure does not depend on who else is
// on the machine.
double cpu_seconds() {
    timespec ts{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return static_cast<double>(ts.tv_sec) + static_cast<double>(ts.tv_nsec) / 1e9;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

struct Lone {
    double to_buffered, to_direct;
};

// One commit of 256 B, one bare write + fdatasync of the same 4 KiB, one bare O_DIRECT DSYNC write,
// in turns on one thread, so that all three meet the same device and the same neighbours.
Lone lone_commit(IoMode mode) {
    const std::string path = root + "/bare";
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
    auto *block = static_cast<char *>(std::aligned_alloc(4096, 1 << 20));
    std::memset(block, 0, 1 << 20);
    for (int i = 0; i < 16; ++i) {
        if (::pwrite(fd, block, 1 << 20, i << 20) < 0) {
            std::exit(1);
        }
    }
    ::fsync(fd);
    const int direct = ::open(path.c_str(), O_RDWR | O_DIRECT);
    Options options;
    options.mode = mode;
    auto journal = make("lone", options);
    const std::string text(256, 'l');
    std::vector<double> times[3];
    for (off_t i = 0; i < 1500; ++i) {
        std::int64_t begin = now_ns();
        if (journal->commit(text.data(), text.size(), 0, -1, nullptr) != 0) {
            std::exit(1);
        }
        times[0].push_back(seconds(begin));
        begin = now_ns();
        if (::pwrite(fd, block, 4096, i * 4096) < 0 || ::fdatasync(fd) < 0) {
            std::exit(1);
        }
        times[1].push_back(seconds(begin));
        begin = now_ns();
        const iovec iov{block, 4096};
        if (direct >= 0 && ::pwritev2(direct, &iov, 1, (i + 2000) * 4096, RWF_DSYNC) < 0) {
            std::exit(1);
        }
        times[2].push_back(seconds(begin));
    }
    journal->close();
    ::close(fd);
    ::close(direct);
    std::free(block);
    return {median(times[0]) / median(times[1]), median(times[0]) / median(times[2])};
}

double bare_stream() {
    const std::string path = root + "/bare-stream";
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_DIRECT, 0600);
    auto *block = static_cast<char *>(std::aligned_alloc(4096, 4 << 20));
    std::memset(block, 1, 4 << 20);
    constexpr int kMiB = 256;
    for (int i = 0; i < kMiB / 4; ++i) {
        if (::pwrite(fd, block, 4 << 20, static_cast<off_t>(i) << 22) < 0) {
            std::exit(1);
        }
    }
    ::fsync(fd);
    const std::int64_t begin = now_ns();
    for (int i = 0; i < kMiB / 4; ++i) {
        if (::pwrite(fd, block, 4 << 20, static_cast<off_t>(i) << 22) < 0) {
            std::exit(1);
        }
    }
    ::fdatasync(fd);
    const double rate = kMiB / seconds(begin);
    ::close(fd);
    std::free(block);
    return rate;
}

struct Commits {
    double rate, per_sync, p50_us, p99_us;
    bool direct;
};

Commits commits(int threads, std::size_t length, IoMode mode) {
    Options options;
    options.mode = mode;
    auto journal = make("commits", options);
    const std::string text(length, 'c');
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> total{0};
    std::mutex mutex;
    std::vector<std::uint32_t> latencies;
    std::vector<std::thread> pool;
    std::atomic<bool> measure{false};
    for (int t = 0; t < threads; ++t) {
        pool.emplace_back([&] {
            std::vector<std::uint32_t> mine;
            mine.reserve(1 << 16);
            std::uint64_t n = 0;
            while (!stop.load(std::memory_order_relaxed)) {
                const std::int64_t begin = now_ns();
                if (journal->commit(text.data(), text.size(), 0, -1, nullptr) != 0) {
                    std::exit(1);
                }
                if (measure.load(std::memory_order_relaxed)) {
                    ++n;
                    mine.push_back(static_cast<std::uint32_t>((now_ns() - begin) / 100));
                }
            }
            total += n;
            const std::lock_guard lock(mutex);
            latencies.insert(latencies.end(), mine.begin(), mine.end());
        });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(cell_ms / 4));
    const Stat before = journal->stat();
    measure = true;
    const std::int64_t begin = now_ns();
    std::this_thread::sleep_for(std::chrono::milliseconds(cell_ms));
    const double spent = seconds(begin);
    const Stat after = journal->stat();
    stop = true;
    for (auto &thread : pool) {
        thread.join();
    }
    std::sort(latencies.begin(), latencies.end());
    Commits result{};
    result.rate = static_cast<double>(total) / spent;
    result.per_sync = static_cast<double>(after.commits - before.commits) /
                      static_cast<double>(std::max<std::uint64_t>(1, after.led - before.led));
    result.p50_us = latencies.empty() ? 0 : latencies[latencies.size() / 2] / 10.0;
    result.p99_us = latencies.empty() ? 0 : latencies[latencies.size() * 99 / 100] / 10.0;
    result.direct = after.direct;
    journal->close();
    return result;
}

// Records per second into the log buffer, nothing written meanwhile: bursts that fit it.
double appends(std::size_t length) {
    Options options;
    options.buffer_bytes = 64u << 20;
    auto journal = make("appends", options);
    const std::string text(length, 'a');
    const std::uint64_t burst = (32u << 20) / frame_bytes(length);
    double best = 0;
    for (int round = 0; round < 4; ++round) {
        const double begin = cpu_seconds();
        for (std::uint64_t i = 0; i < burst; ++i) {
            if (journal->append(text.data(), text.size(), 0, nullptr) != 0) {
                std::exit(1);
            }
        }
        best = std::max(best, static_cast<double>(burst) / (cpu_seconds() - begin));
        journal->sync(journal->frontier().reserved, -1);
        journal->trim(journal->durable());
    }
    journal->close();
    return best;
}

double sustained(std::size_t length) {
    OneThread runner;
    Options options;
    options.buffer_bytes = 16u << 20;
    options.runner = &runner;
    options.spare_segments = 8;
    auto journal = make("sustained", options);
    const std::string text(length, 's');
    const auto fill = [&](std::uint64_t bytes) {
        Lsn lsn = 0;
        for (std::uint64_t done = 0; done < bytes; done += frame_bytes(length)) {
            if (journal->append(text.data(), text.size(), 0, &lsn) != 0) {
                std::exit(1);
            }
        }
        journal->sync(lsn, -1);
    };
    fill(400u << 20);
    journal->trim(journal->durable());  // recycled, written segments from here on
    const std::int64_t begin = now_ns();
    fill(256u << 20);
    const double rate = 256 / seconds(begin);
    journal->close();
    return rate;
}

struct Async {
    double rate, per_sync;
};

Async async_commits(std::size_t length, std::uint64_t flight) {
    OneThread runner;
    Options options;
    options.runner = &runner;
    auto journal = make("async", options);
    Window window;
    const std::string text(length, 'x');
    std::uint64_t sent = 0;
    const Stat before = journal->stat();
    const std::int64_t begin = now_ns();
    while (seconds(begin) * 1000 < cell_ms) {
        for (int i = 0; i < 64; ++i) {
            while (sent - window.done.load(std::memory_order_acquire) >= flight) {
                const std::uint32_t seen = window.word.load();
                window.waiting.store(1, std::memory_order_seq_cst);
                if (sent - window.done.load(std::memory_order_seq_cst) >= flight) {
                    futex_wait(&window.word, seen, Deadline::after(1'000'000));
                }
            }
            if (journal->submit_commit(text.data(), text.size(), 0, sent, &window, nullptr) != 0) {
                std::exit(1);
            }
            ++sent;
        }
    }
    while (window.done.load() < sent) {
        std::this_thread::yield();
    }
    const double spent = seconds(begin);
    const Stat after = journal->stat();
    if (window.failed != 0) {
        std::exit(1);
    }
    journal->close();
    return {static_cast<double>(sent) / spent,
            static_cast<double>(sent) /
                static_cast<double>(std::max<std::uint64_t>(1, after.syncs - before.syncs))};
}

// Scanning a segment's records against reading its file, both from the page cache.
double scan_ratio() {
    Options options;
    options.segment_bytes = (256u << 20) + kHeaderBlock;
    auto journal = make("scan", options);
    const std::string text(1000, 'r');
    Lsn lsn = 0;
    for (std::uint64_t done = 0; done < 240u << 20; done += frame_bytes(text.size())) {
        if (journal->append(text.data(), text.size(), 0, &lsn) != 0) {
            std::exit(1);
        }
    }
    journal->close();
    std::string file;
    for (const auto &entry : std::filesystem::directory_iterator(root + "/scan")) {
        if (entry.path().extension() == ".fsj") {
            file = entry.path();
        }
    }
    const auto read_file = [&] {
        const int fd = ::open(file.c_str(), O_RDONLY);
        auto *block = static_cast<char *>(std::aligned_alloc(4096, 1 << 20));
        const double begin = cpu_seconds();
        std::uint64_t total = 0;
        ssize_t n = 0;
        while ((n = ::read(fd, block, 1 << 20)) > 0) {
            total += static_cast<std::uint64_t>(n);
        }
        const double rate = static_cast<double>(total) / (cpu_seconds() - begin);
        ::close(fd);
        std::free(block);
        return rate;
    };
    const auto scan = [&] {
        std::unique_ptr<Reader> reader;
        const int code = Reader::open(real_syscalls(), root + "/scan", 0, Bound::durable, nullptr,
                                      reader);
        if (code < 0) {
            std::exit(1);
        }
        Record record;
        std::uint64_t total = 0;
        const double begin = cpu_seconds();
        while (reader->next(record) == Got::record) {
            total += frame_bytes(record.length);
        }
        return static_cast<double>(total) / (cpu_seconds() - begin);
    };
    const auto direct_read = [&] {
        const int fd = ::open(file.c_str(), O_RDONLY | O_DIRECT);
        auto *block = static_cast<char *>(std::aligned_alloc(4096, 1 << 20));
        const std::int64_t begin = now_ns();
        std::uint64_t total = 0;
        ssize_t n = 0;
        while ((n = ::read(fd, block, 1 << 20)) > 0) {
            total += static_cast<std::uint64_t>(n);
        }
        const double rate = static_cast<double>(total) / seconds(begin);
        ::close(fd);
        std::free(block);
        return rate;
    };
    const auto recovery = [&] {
        RecoveryReport report;
        const std::int64_t begin = now_ns();
        if (dry_run(real_syscalls(), root + "/scan", report) != 0) {
            std::exit(1);
        }
        return static_cast<double>(report.scanned_bytes) / seconds(begin);
    };
    std::vector<double> ratios;
    for (int i = 0; i < 5; ++i) {
        const double bare = direct_read();
        ratios.push_back(recovery() / bare);
    }
    std::printf("recovery scan            %8.2f x reading the file, both O_DIRECT (goal 0.80)\n",
                median(ratios));
    read_file();
    scan();
    const double plain = std::max(read_file(), read_file());
    const double scanned = std::max(scan(), scan());
    std::printf("reading records          %8.2f GB/s of CPU time, read(2) of cached pages %.2f GB/s: %.2f\n",
                scanned / 1e9, plain / 1e9, scanned / plain);
    return scanned / plain;
}

double open_ms(int segments) {
    Options options;
    options.segment_bytes = (1u << 20) + kHeaderBlock;
    auto journal = make("open", options);
    const std::string text(65000, 'o');
    for (std::uint64_t done = 0; done < static_cast<std::uint64_t>(segments) << 20;
         done += frame_bytes(text.size())) {
        journal->append(text.data(), text.size(), 0, nullptr);
    }
    journal->close();
    double best = 1e9;
    for (int i = 0; i < 3; ++i) {
        Options again = options;
        again.mode = IoMode::direct;
        Journal *opened = nullptr;
        const std::int64_t begin = now_ns();
        if (Journal::open(real_syscalls(), root + "/open", again, nullptr, &opened) != 0) {
            std::exit(1);
        }
        best = std::min(best, seconds(begin) * 1000);
        opened->close();
        delete opened;
    }
    return best;
}

}  // namespace

int main(int argc, char **argv) {
    root = std::string(argc > 1 ? argv[1] : ".") + "/bench-journal";
    const int rounds = argc > 2 ? std::atoi(argv[2]) : 3;
    cell_ms = argc > 3 ? std::atoi(argv[3]) : 400;
    std::filesystem::create_directories(root);
    std::vector<double> lone, lone_direct, lone_mixed, async_rate, async_sync, burst, stream;
    std::vector<double> rate[5], share[5], p50[5], p99[5];
    const int threads[5] = {1, 4, 16, 64, 256};
    bool direct = false;
    for (int round = 0; round < rounds; ++round) {
        const Lone in_direct = lone_commit(IoMode::direct);
        const Lone in_buffered = lone_commit(IoMode::buffered);
        lone.push_back(in_buffered.to_buffered);
        lone_direct.push_back(in_direct.to_direct);
        lone_mixed.push_back(in_direct.to_buffered);
        for (int i = 0; i < 5; ++i) {
            const Commits c = commits(threads[i], 256, IoMode::automatic);
            direct = c.direct;
            rate[i].push_back(c.rate);
            share[i].push_back(c.per_sync / threads[i]);
            p50[i].push_back(c.p50_us);
            p99[i].push_back(c.p99_us);
        }
        const Async a = async_commits(256, 1024);
        async_rate.push_back(a.rate);
        async_sync.push_back(a.per_sync);
        burst.push_back(appends(100));
        stream.push_back(sustained(4000) / bare_stream());
    }
    std::printf("durability primitive     %s\n",
                direct ? "O_DIRECT + RWF_DSYNC" : "write + fdatasync");
    for (int i = 0; i < 5; ++i) {
        std::printf("commits, %3d threads     %8.0f /s, %.2f per thread per sync (goal 0.80), "
                    "p50 %.0f us, p99 %.0f us\n",
                    threads[i], median(rate[i]), median(share[i]), median(p50[i]), median(p99[i]));
    }
    std::printf("lone commit, direct      %8.2f x bare O_DIRECT DSYNC write, %.2f x bare write + "
                "fdatasync (goal 1.10)\n",
                median(lone_direct), median(lone_mixed));
    std::printf("lone commit, buffered    %8.2f x bare write + fdatasync (goal 1.10)\n",
                median(lone));
    std::printf("asynchronous, 1 thread   %8.2f M/s with 1024 in flight (goal 1.5), %.0f per sync\n",
                median(async_rate) / 1e6, median(async_sync));
    std::printf("append, 100 B            %8.2f M/s into the log buffer (goal 8)\n",
                median(burst) / 1e6);
    std::printf("append, sustained        %8.2f x the device's sequential write (goal 0.90)\n",
                median(stream));
    scan_ratio();
    const double few = open_ms(4);
    const double many = open_ms(128);
    std::printf("opening                  %8.2f ms with 4 segments, %.2f ms with 128\n", few, many);
    std::filesystem::remove_all(root);
    return 0;
}
