// SPDX-License-Identifier: Apache-2.0 OR MIT
// Latency at a given load: ops arrive by a schedule, whether or not earlier ones are done, and each is
// timed from the moment it was due (no coordinated omission: an op that had to wait because the one
// before it was late is charged for the wait). The calling thread drives; pools make threads of
// their own, which are gone when the slice ends.
#pragma once

#include "process.hpp"
#include "report.hpp"

#include <functional>
#include <vector>

namespace bench {

/// Ops are due at begin, begin + interval, ... before end. Interval 0: as fast as they complete.
struct Schedule {
    std::uint64_t begin_ns = 0;
    std::uint64_t end_ns = 0;
    double interval_ns = 0;

    [[nodiscard]] bool closed() const { return interval_ns == 0; }
    [[nodiscard]] std::uint64_t due(std::uint64_t index) const {
        return begin_ns + static_cast<std::uint64_t>(static_cast<double>(index) * interval_ns);
    }
    /// Whether op `index` is still to be issued. Who is a second behind at the end is let off.
    [[nodiscard]] bool has(std::uint64_t index, std::uint64_t now) const {
        return closed() ? now < end_ns : due(index) < end_ns && now < end_ns + 1'000'000'000;
    }
};

void sleep_until(std::uint64_t ns) noexcept;

struct OpenVariant {
    std::string name;
    /// Runs one slice and records each op; @return the ops done.
    std::function<std::uint64_t(const Schedule &, Histogram &)> run;
};

/// `threads` threads take the next op of the schedule in turn, sleep until it is due and call `op`.
std::uint64_t pool_loop(const Schedule &schedule, unsigned threads,
                        const std::function<std::function<void()>(unsigned thread)> &make,
                        Histogram &histogram);

/// One thread with up to `depth` ops in flight. `Io` has put(slot), flush(), and
/// take(slots, timeout_ns), which waits for at least one completion and returns how many it stored.
template <typename Io>
std::uint64_t queue_loop(const Schedule &schedule, unsigned depth, Io &io, Histogram &histogram) {
    std::vector<std::uint64_t> due(depth);
    std::vector<unsigned> free(depth);
    std::vector<unsigned> taken(depth);
    for (unsigned i = 0; i < depth; ++i)
        free[i] = i;
    std::uint64_t next = 0;
    std::uint64_t done = 0;
    sleep_until(schedule.begin_ns);
    for (;;) {
        const std::uint64_t now = now_ns();
        const std::uint64_t before = next;
        while (!free.empty() && schedule.has(next, now) && schedule.due(next) <= now) {
            const unsigned slot = free.back();
            free.pop_back();
            due[slot] = schedule.closed() ? now : schedule.due(next);
            io.put(slot);
            ++next;
        }
        if (next != before)
            io.flush();
        const bool more = schedule.has(next, now);
        if (next == done) {
            if (!more)
                return done;
            sleep_until(schedule.due(next));
            continue;
        }
        std::int64_t patience = 100'000'000;
        if (more && !free.empty())
            patience = schedule.due(next) <= now
                           ? 0
                           : static_cast<std::int64_t>(schedule.due(next) - now);
        const unsigned count = io.take(taken.data(), patience);
        const std::uint64_t end = now_ns();
        for (unsigned i = 0; i < count; ++i) {
            histogram.record(end - due[taken[i]]);
            free.push_back(taken[i]);
        }
        done += count;
    }
}

/// Measures the closed-loop rate of each variant, then all of them at 50 % and 80 % of the lowest, in
/// interleaved rounds; adds the table to the report.
void run_open_loop(Report &report, const std::string &id, const std::string &title,
                   const std::vector<OpenVariant> &variants);

}  // namespace bench
