// SPDX-License-Identifier: Apache-2.0 OR MIT
// The schedule, the pool of threads and the rounds of open-loop latency. See open_loop.hpp.
#include "open_loop.hpp"

#include "files.hpp"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

namespace bench {

void sleep_until(std::uint64_t ns) noexcept {
    const timespec at{static_cast<time_t>(ns / 1'000'000'000),
                      static_cast<long>(ns % 1'000'000'000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) != 0)
        ;
}

std::uint64_t pool_loop(const Schedule &schedule, unsigned threads,
                        const std::function<std::function<void()>(unsigned thread)> &make,
                        Histogram &histogram) {
    std::atomic<std::uint64_t> next{0};
    std::mutex lock;
    std::exception_ptr failure;
    std::vector<Histogram> histograms(threads);
    std::vector<std::thread> pool;
    for (unsigned i = 0; i < threads; ++i) {
        pool.emplace_back([&, i] {
            // The default slack of 50 us would be taken for latency.
            prctl(PR_SET_TIMERSLACK, 1UL);
            try {
                const std::function<void()> op = make(i);
                sleep_until(schedule.begin_ns);
                for (;;) {
                    const std::uint64_t index = next.fetch_add(1, std::memory_order_relaxed);
                    const std::uint64_t now = now_ns();
                    if (!schedule.has(index, now))
                        return;
                    const std::uint64_t due = schedule.closed() ? now : schedule.due(index);
                    if (due > now)
                        sleep_until(due);
                    op();
                    histograms[i].record(now_ns() - due);
                }
            } catch (...) {
                const std::lock_guard hold(lock);
                if (!failure)
                    failure = std::current_exception();
            }
        });
    }
    for (std::thread &thread : pool)
        thread.join();
    if (failure)
        std::rethrow_exception(failure);
    std::uint64_t done = 0;
    for (const Histogram &one : histograms) {
        histogram.merge(one);
        done += one.count();
    }
    return done;
}

namespace {

/// One slice; @return ops per second.
double run_once(const OpenVariant &variant, double interval, std::chrono::milliseconds length,
                Histogram &histogram) {
    Schedule schedule;
    // Time to make threads and rings.
    schedule.begin_ns = now_ns() + 20'000'000;
    schedule.end_ns = schedule.begin_ns + static_cast<std::uint64_t>(length.count()) * 1'000'000;
    schedule.interval_ns = interval;
    const std::uint64_t done = variant.run(schedule, histogram);
    if (done == 0)
        throw Failure(variant.name + ": no op completed within the slice");
    const std::uint64_t end = std::max(now_ns(), schedule.end_ns);
    return static_cast<double>(done) * 1e9 / static_cast<double>(end - schedule.begin_ns);
}

void measure(OpenLoop &table, const std::vector<OpenVariant> &variants, const Settings &settings) {
    const std::size_t count = variants.size();
    std::vector<std::vector<double>> closed(count);
    Histogram ignored;
    const unsigned tries = settings.quick ? 2 : 4;
    for (unsigned round = 0; round < tries; ++round) {
        for (std::size_t i = 0; i < count; ++i) {
            const double rate = run_once(variants[i], 0, settings.slice, ignored);
            if (round != 0)
                closed[i].push_back(rate);
        }
    }
    double lowest = 0;
    for (const std::vector<double> &rates : closed) {
        const double rate = quantile(rates, 0.5);
        lowest = lowest == 0 ? rate : std::min(lowest, rate);
    }
    for (const double load : {0.5, 0.8}) {
        const std::size_t first = table.rows.size();
        for (std::size_t i = 0; i < count; ++i) {
            OpenLoop::Row row;
            row.name = variants[i].name;
            row.load = load;
            row.wanted = load * lowest;
            row.closed = quantile(closed[i], 0.5);
            table.rows.push_back(std::move(row));
        }
        for (unsigned round = 0; round < settings.rounds; ++round) {
            for (std::size_t i = 0; i < count; ++i) {
                const std::size_t at = (round + i) % count;
                Histogram histogram;
                OpenLoop::Row &row = table.rows[first + at];
                row.achieved.push_back(
                    run_once(variants[at], 1e9 / row.wanted, settings.slice, histogram));
                row.p99_us.push_back(static_cast<double>(histogram.percentile(0.99)) / 1000);
                row.latency.merge(histogram);
            }
        }
    }
}

}  // namespace

void run_open_loop(Report &report, const std::string &id, const std::string &title,
                   const std::vector<OpenVariant> &variants) {
    fmt::print(stderr, "  {} ...\n", id);
    write_back(report.settings().directory);
    prctl(PR_SET_TIMERSLACK, 1UL);
    OpenLoop table;
    table.id = id;
    table.title = title;
    try {
        measure(table, variants, report.settings());
    } catch (const std::exception &error) {
        fmt::print(stderr, "  {}: FAILED: {}\n", id, error.what());
        table.rows.clear();
        table.error = error.what();
    }
    prctl(PR_SET_TIMERSLACK, 0UL);
    report.add(std::move(table));
}

}  // namespace bench
