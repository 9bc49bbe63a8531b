// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Failing and watching. fail() may be entered by any thread; the first one wins, the others wait
// for the abort. The watchdog owns its thread.

#include "report.hpp"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <thread>

namespace stress {

Report &report() {
    static Report instance;
    return instance;
}

void print_state() {
    Report &r = report();
    if (r.activities != nullptr) {
        for (std::size_t i = 0; i < r.activities->size(); ++i) {
            const Activity &a = (*r.activities)[i];
            if (a.busy.load()) {
                std::fprintf(stderr, "  thread %zu: %s (%llu), step %llu\n", i, a.doing.load(),
                             static_cast<unsigned long long>(a.argument.load()),
                             static_cast<unsigned long long>(a.steps.load()));
            }
        }
    }
    fsys_counters c{};
    c.struct_size = sizeof c;
    fsys *handle = r.handle.load();
    if (handle != nullptr && fsys_stats(handle, &c) == 0) {
        const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
        std::fprintf(stderr,
                     "  in_flight %llu enters %llu entries %llu doorbells %llu pool_wakes %llu "
                     "futex_waits %llu futex_wakes %llu event_signals %llu batch_enters %llu "
                     "retries %llu cancels %llu slot_waits %llu failed %llu\n",
                     n(c.in_flight), n(c.enters), n(c.entries), n(c.doorbells), n(c.pool_wakes),
                     n(c.futex_waits), n(c.futex_wakes), n(c.event_signals), n(c.batch_enters),
                     n(c.retries), n(c.cancels), n(c.slot_waits), n(c.failed));
    }
    std::fflush(stderr);
}

void fail(const char *format, ...) {
    static std::mutex once;
    once.lock();  // for good: nobody prints over the first failure
    std::va_list arguments;
    va_start(arguments, format);
    std::fprintf(stderr, "\nstress: FAILED: ");
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fprintf(stderr, "\n  --seed %llu, round %llu: %s\n",
                 static_cast<unsigned long long>(report().seed),
                 static_cast<unsigned long long>(report().round.load()), report().title.c_str());
    print_state();
    if (std::getenv("FSYS_STRESS_KEEP") != nullptr) {
        // For a debugger: everything stays as it is.
        std::fprintf(stderr, "  FSYS_STRESS_KEEP: pid %d waits\n", ::getpid());
        for (;;) {
            ::pause();
        }
    }
    std::error_code ignored;
    std::filesystem::remove_all(report().directory, ignored);
    std::abort();
}

struct Watchdog::Impl {
    std::mutex mutex;
    std::condition_variable changed;
    bool stopping = false;
    std::thread thread;
};

Watchdog::Watchdog(unsigned seconds) : impl_(new Impl) {
    impl_->thread = std::thread([impl = impl_, seconds] {
        struct Last {
            std::uint64_t steps = 0;
            unsigned still = 0;
        };
        std::vector<Last> last(report().activities->size());
        std::unique_lock lock(impl->mutex);
        while (!impl->changed.wait_for(lock, std::chrono::seconds(1),
                                       [impl] { return impl->stopping; })) {
            for (std::size_t i = 0; i < last.size(); ++i) {
                const Activity &a = (*report().activities)[i];
                const std::uint64_t steps = a.steps.load();
                if (!a.busy.load() || steps != last[i].steps) {
                    last[i] = {steps, 0};
                } else if (++last[i].still >= seconds) {
                    fail("thread %zu has not moved for %u s: %s", i, seconds, a.doing.load());
                }
            }
        }
    });
}

Watchdog::~Watchdog() {
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
    }
    impl_->changed.notify_all();
    impl_->thread.join();
    delete impl_;
}

}  // namespace stress
