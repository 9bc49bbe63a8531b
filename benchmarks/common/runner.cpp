// SPDX-License-Identifier: Apache-2.0 OR MIT
// The measuring loop. The calling thread only sleeps and reads clocks; workers run on threads that
// live for one slice. Warm-up flows into the measured part without a pause, so that per-thread
// rings, caches and the driver are in their steady state when counting starts.
#include "runner.hpp"

#include "process.hpp"
#include "files.hpp"
#include "process.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>

namespace bench {

namespace {

constexpr std::uint64_t patience_ns = 10'000'000'000;
constexpr std::uint64_t hang_ns = 60'000'000'000;

enum Phase : int { preparing, warming, counting, stopped };

struct Shared {
    std::atomic<int> phase{preparing};
    std::atomic<unsigned> ready{0};
    std::atomic<std::uint64_t> ops{0};
    std::atomic<unsigned> ended{0};
    std::atomic<bool> counted_one{false};
    std::mutex lock;
    std::exception_ptr failure;
};

void work(const Variant &variant, const Seat &seat, Shared &shared) {
    std::uint64_t counted = 0;
    bool announced = false;
    bool announced_count = false;
    try {
        const std::unique_ptr<Worker> worker = variant.make(seat);
        const bool time_steps = seat.latency != nullptr && !worker->stamps();
        announced = true;
        shared.ready.fetch_add(1);
        // Threads that already spin would keep those from starting that are still to come.
        shared.phase.wait(preparing);
        for (;;) {
            const int phase = shared.phase.load(std::memory_order_relaxed);
            if (phase == stopped)
                break;
            if (phase == warming) {
                worker->step();
                continue;
            }
            if (time_steps) {
                const std::uint64_t begin = now_ns();
                counted += worker->step();
                seat.latency->record(now_ns() - begin);
            } else {
                counted += worker->step();
            }
            if (!announced_count && counted != 0) {
                announced_count = true;
                shared.counted_one.store(true);
            }
        }
        // Before the worker drains what is in flight: that part belongs to no slice.
        shared.ops.fetch_add(counted);
    } catch (...) {
        const std::lock_guard hold(shared.lock);
        if (!shared.failure)
            shared.failure = std::current_exception();
        shared.counted_one.store(true);
        if (!announced)
            shared.ready.fetch_add(1);
    }
    shared.ended.fetch_add(1);
}

/// A thread that is stuck in a call cannot be joined or killed: name the culprit and end.
void await_end(const Variant &variant, const Shared &shared) {
    const std::uint64_t begin = now_ns();
    while (shared.ended.load() != variant.threads) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (now_ns() - begin > hang_ns) {
            std::fprintf(
                stderr, "%s: \"%s\" hangs: %u of %u threads have not come back\n",
                program_invocation_short_name, variant.name.c_str(), variant.threads - shared.ended.load(), variant.threads);
            std::_Exit(3);
        }
    }
}

}  // namespace

Sample run_slice(const Variant &variant, std::chrono::milliseconds warm_up,
                 std::chrono::milliseconds slice, std::uint64_t seed, Histogram *latency) {
    if (variant.external)
        return variant.external(slice);

    Shared shared;
    std::vector<Histogram> histograms(latency != nullptr ? variant.threads : 0);
    std::vector<std::thread> threads;
    threads.reserve(variant.threads);
    for (unsigned i = 0; i < variant.threads; ++i) {
        const Seat seat{i, seed * 1000 + i + 1, latency != nullptr ? &histograms[i] : nullptr};
        threads.emplace_back([&variant, seat, &shared] { work(variant, seat, shared); });
    }
    while (shared.ready.load() != variant.threads)
        std::this_thread::sleep_for(std::chrono::microseconds(200));
    shared.phase.store(warming);
    shared.phase.notify_all();
    std::this_thread::sleep_for(warm_up);

    const std::uint64_t switches_before = context_switches();
    const std::uint64_t allocations_before = allocation_count();
    const std::uint64_t cpu_before = cpu_ns();
    const std::uint64_t count_before = variant.count ? variant.count() : 0;
    const std::uint64_t begin = now_ns();
    shared.phase.store(counting);
    std::this_thread::sleep_for(slice);
    // A step may be longer than a slice (a flush of much dirty data, a huge batch).
    while (!shared.counted_one.load() && now_ns() - begin < patience_ns)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    shared.phase.store(stopped);
    const std::uint64_t end = now_ns();
    const std::uint64_t count_after = variant.count ? variant.count() : 0;
    const std::uint64_t cpu_after = cpu_ns();
    const std::uint64_t allocations_after = allocation_count();
    const std::uint64_t switches_after = context_switches();
    await_end(variant, shared);
    for (std::thread &thread : threads)
        thread.join();
    if (shared.failure)
        std::rethrow_exception(shared.failure);

    Sample sample;
    sample.ops = shared.ops.load();
    if (sample.ops == 0)
        throw Failure(variant.name + ": no op completed within the slice");
    sample.ops_per_second =
        static_cast<double>(sample.ops) * 1e9 / static_cast<double>(end - begin);
    sample.switches_per_op =
        static_cast<double>(switches_after - switches_before) / static_cast<double>(sample.ops);
    sample.cpu_ns_per_op =
        static_cast<double>(cpu_after - cpu_before) / static_cast<double>(sample.ops);
    sample.allocations = allocations_after - allocations_before;
    sample.counted = count_after - count_before;
    if (latency != nullptr) {
        for (const Histogram &histogram : histograms)
            latency->merge(histogram);
    }
    return sample;
}

Outcome run_comparison(const Comparison &comparison, const Settings &settings) {
    Outcome outcome;
    outcome.id = comparison.id;
    outcome.title = comparison.title;
    outcome.count_name = comparison.count_name;
    outcome.lanes_name = comparison.lanes_name;
    for (const Variant &variant : comparison.variants) {
        Series series;
        series.name = variant.name;
        series.subject = variant.subject;
        series.threads = variant.threads;
        outcome.series.push_back(std::move(series));
    }
    // Pages dirtied by an earlier comparison would be written back at the cost of this one.
    write_back(settings.directory);
    const std::size_t count = comparison.variants.size();
    const std::chrono::milliseconds slice = settings.slice * comparison.slice_factor;
    try {
        // Round 0 is thrown away: first touch of files, rings, code.
        for (unsigned round = 0; round <= settings.rounds; ++round) {
            for (std::size_t i = 0; i < count; ++i) {
                // Another starting point each round, so that nobody always follows the same peer.
                const std::size_t at = (round + i) % count;
                const Variant &variant = comparison.variants[at];
                if (round == 0 && variant.external)
                    continue;
                const auto length = round == 0 ? settings.warm_up : slice;
                const Sample sample = run_slice(variant, settings.warm_up, length, round, nullptr);
                if (round != 0)
                    outcome.series[at].samples.push_back(sample);
            }
        }
        for (unsigned round = 0; comparison.latency && round < (settings.quick ? 2U : 4U);
             ++round) {
            for (std::size_t i = 0; i < count; ++i) {
                const std::size_t at = (round + i) % count;
                const Variant &variant = comparison.variants[at];
                if (!variant.external)
                    run_slice(variant, settings.warm_up, slice, 100 + round,
                              &outcome.series[at].latency);
            }
        }
        for (std::size_t i = 0; i < count; ++i) {
            if (comparison.variants[i].lanes)
                outcome.series[i].lanes = comparison.variants[i].lanes();
        }
    } catch (const std::exception &error) {
        outcome.error = error.what();
        return outcome;
    }

    const std::vector<Sample> &first = outcome.series.front().samples;
    const std::size_t third = std::max<std::size_t>(1, first.size() / 3);
    std::vector<double> early;
    std::vector<double> late;
    for (std::size_t i = 0; i < third; ++i) {
        early.push_back(first[i].ops_per_second);
        late.push_back(first[first.size() - 1 - i].ops_per_second);
    }
    outcome.drift = quantile(late, 0.5) / quantile(early, 0.5) - 1.0;
    return outcome;
}

Spread Series::rate() const {
    std::vector<double> rates;
    for (const Sample &sample : samples)
        rates.push_back(sample.ops_per_second);
    return spread_of(rates);
}

namespace {

double median_of(const std::vector<Sample> &samples, double Sample::*field) {
    std::vector<double> values;
    for (const Sample &sample : samples)
        values.push_back(sample.*field);
    return quantile(values, 0.5);
}

/// The one over all samples by the other; 0 when there is nothing to divide by.
double quotient_of_sums(const std::vector<Sample> &samples, std::uint64_t Sample::*over,
                        std::uint64_t Sample::*under) {
    std::uint64_t above = 0;
    std::uint64_t below = 0;
    for (const Sample &sample : samples) {
        above += sample.*over;
        below += sample.*under;
    }
    return below == 0 ? 0.0 : static_cast<double>(above) / static_cast<double>(below);
}

}  // namespace

double Series::switches() const { return median_of(samples, &Sample::switches_per_op); }

double Series::cpu_ns_per_op() const { return median_of(samples, &Sample::cpu_ns_per_op); }

double Series::allocations_per_op() const {
    return quotient_of_sums(samples, &Sample::allocations, &Sample::ops);
}

double Series::ops_per_count() const {
    return quotient_of_sums(samples, &Sample::ops, &Sample::counted);
}

std::vector<double> counts_per_thread(const Series &series) {
    std::vector<double> values;
    for (const Sample &sample : series.samples) {
        if (sample.counted != 0)
            values.push_back(static_cast<double>(sample.ops) /
                             static_cast<double>(sample.counted) / series.threads);
    }
    return values;
}

const Series &Outcome::named(const std::string &name) const {
    for (const Series &one : series) {
        if (one.name == name)
            return one;
    }
    throw Failure("no series named " + name + " in " + id);
}

namespace {

template <typename Combine>
std::vector<double> by_round(const Series &a, const Series &b, Combine combine) {
    std::vector<double> values;
    for (std::size_t i = 0; i < std::min(a.samples.size(), b.samples.size()); ++i)
        values.push_back(combine(a.samples[i].ns_per_op(), b.samples[i].ns_per_op()));
    return values;
}

}  // namespace

std::vector<double> rate_ratios(const Series &a, const Series &b) {
    return by_round(a, b, [](double ours, double theirs) { return theirs / ours; });
}

std::vector<double> cost_ratios(const Series &a, const Series &b) {
    return by_round(a, b, [](double ours, double theirs) { return ours / theirs; });
}

std::vector<double> cost_differences(const Series &a, const Series &b) {
    return by_round(a, b, [](double ours, double theirs) { return ours - theirs; });
}

}  // namespace bench
