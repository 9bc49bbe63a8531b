// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// futex(2) on the low half of a word, private to the process, with an absolute deadline.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstdint>

namespace libfsys {

inline std::int64_t now_ns() {
    timespec ts{};
    ::clock_gettime(CLOCK_MONOTONIC, &ts);
    return std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

// An instant on CLOCK_MONOTONIC, or never.
class Deadline {
public:
    static Deadline never() { return Deadline{INT64_MAX}; }
    static Deadline after(std::int64_t timeout_ns) {
        if (timeout_ns < 0) {
            return never();
        }
        if (timeout_ns == 0) {
            return Deadline{0};  // who only looks need not read the clock
        }
        const std::int64_t now = now_ns();
        return Deadline{timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns};
    }
    bool endless() const { return at_ == INT64_MAX; }
    bool passed() const { return !endless() && now_ns() >= at_; }
    std::int64_t at() const { return at_; }
    // Time left, -1 for never: the form that AsyncQueue::turn takes.
    std::int64_t left_ns() const {
        if (endless() || at_ == 0) {
            return endless() ? -1 : 0;
        }
        const std::int64_t left = at_ - now_ns();
        return left > 0 ? left : 0;
    }

private:
    explicit Deadline(std::int64_t at) : at_(at) {}
    std::int64_t at_;
};

// Sleeps while *word == expected. Returns false on timeout; true on a wake, a changed word or a
// signal: the caller looks again in every case.
inline bool futex_wait(const void *word, std::uint32_t expected, const Deadline &deadline) {
    timespec ts{};
    timespec *limit = nullptr;
    if (!deadline.endless()) {
        ts.tv_sec = deadline.at() / 1'000'000'000;
        ts.tv_nsec = deadline.at() % 1'000'000'000;
        limit = &ts;
    }
    const long rc = ::syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                              limit, nullptr, FUTEX_BITSET_MATCH_ANY);
    return !(rc < 0 && errno == ETIMEDOUT);
}

inline void futex_wake(const void *word, int count = INT_MAX) {
    ::syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, nullptr, nullptr, 0);
}

// The half of a 64-bit word in which the low-order bits change.
inline const void *futex_half(const std::atomic<std::uint64_t> &word) {
    const auto *halves = reinterpret_cast<const char *>(&word);
    return std::endian::native == std::endian::little ? halves : halves + 4;
}

}  // namespace libfsys
