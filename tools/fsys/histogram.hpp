// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Latencies in log-linear buckets, as HdrHistogram has them: 64 to a power of two, so that any
// value is known to 1.6 %, from 1 ns to 584 years, in 30 KiB. One thread records; merge afterwards.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace cli {

class Histogram {
public:
    void record(std::uint64_t value, std::uint64_t times = 1)
    {
        counts_[index_of(value)] += times;
        count_ += times;
        sum_ += static_cast<double>(value) * static_cast<double>(times);
        least_ = std::min(least_, value);
        most_ = std::max(most_, value);
    }

    void merge(const Histogram &other)
    {
        for (std::size_t at = 0; at < counts_.size(); ++at) {
            counts_[at] += other.counts_[at];
        }
        count_ += other.count_;
        sum_ += other.sum_;
        least_ = std::min(least_, other.least_);
        most_ = std::max(most_, other.most_);
    }

    std::uint64_t count() const { return count_; }
    std::uint64_t least() const { return count_ == 0 ? 0 : least_; }
    std::uint64_t most() const { return most_; }
    double mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

    // The value that `percent` of the recorded ones do not exceed (the top of its bucket).
    std::uint64_t percentile(double percent) const
    {
        const auto wanted = static_cast<std::uint64_t>(
            std::max(1.0, std::ceil(percent / 100 * static_cast<double>(count_))));
        std::uint64_t seen = 0;
        for (std::size_t at = 0; at < counts_.size(); ++at) {
            seen += counts_[at];
            if (seen >= wanted && count_ != 0) {
                return std::min(lower_bound(at + 1) - 1, most_);
            }
        }
        return most_;
    }

    // Recorded values in [from, to), to the resolution of the buckets.
    std::uint64_t between(std::uint64_t from, std::uint64_t to) const
    {
        std::uint64_t sum = 0;
        for (std::size_t at = 0; at < counts_.size(); ++at) {
            if (lower_bound(at) >= from && lower_bound(at) < to) {
                sum += counts_[at];
            }
        }
        return sum;
    }

private:
    static constexpr unsigned kBits = 6;
    static constexpr std::size_t kSub = std::size_t{1} << kBits;
    static constexpr std::size_t kBuckets = kSub * (64 - kBits + 1);

    static std::size_t index_of(std::uint64_t value)
    {
        if (value < kSub) {
            return static_cast<std::size_t>(value);
        }
        const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kBits;
        return kSub * (shift + 1) + static_cast<std::size_t>((value >> shift) - kSub);
    }

    static std::uint64_t lower_bound(std::size_t index)
    {
        if (index < kSub) {
            return index;
        }
        if (index >= kBuckets) {
            return UINT64_MAX;
        }
        return (kSub + index % kSub) << (index / kSub - 1);
    }

    std::array<std::uint64_t, kBuckets> counts_{};
    std::uint64_t count_ = 0;
    double sum_ = 0;
    std::uint64_t least_ = UINT64_MAX;
    std::uint64_t most_ = 0;
};

}  // namespace cli
