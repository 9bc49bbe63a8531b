// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How the stress program fails and how it is watched: one sentence with the seed, the state of all
// workers and the handle's counters, then an abort. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <fsys/fsys.h>

namespace stress {

// What one thread is doing, for the watchdog. Written by that thread, read by the watchdog.
struct alignas(64) Activity {
    std::atomic<const char *> doing{"nothing"};
    std::atomic<std::uint64_t> steps{0};
    std::atomic<std::uint64_t> argument{0};
    std::atomic<bool> busy{false};  // inside a round: standing still is then a failure

    void now(const char *what, std::uint64_t with = 0) {
        doing.store(what, std::memory_order_relaxed);
        argument.store(with, std::memory_order_relaxed);
        steps.fetch_add(1, std::memory_order_relaxed);
    }
};

struct Report {
    std::uint64_t seed = 0;
    std::string title;      // backend, driver, options of the round
    std::string directory;  // removed when the program fails
    std::atomic<fsys *> handle{nullptr};
    std::vector<Activity> *activities = nullptr;
    std::atomic<std::uint64_t> round{0};
};

Report &report();

// Prints the sentence and everything above, then aborts.
[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char *format, ...);
// Prints counters and activities.
void print_state();

// A thread that fails the program when one busy activity has not moved for `seconds`.
class Watchdog {
public:
    explicit Watchdog(unsigned seconds);
    Watchdog(const Watchdog &) = delete;
    Watchdog &operator=(const Watchdog &) = delete;
    ~Watchdog();

private:
    struct Impl;
    Impl *impl_;
};

}  // namespace stress
