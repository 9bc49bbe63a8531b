// SPDX-License-Identifier: Apache-2.0 OR MIT
// Robust summaries and latency histograms. Plain values: no thread is created here, a Histogram
// belongs to the thread that records into it until that thread has been joined.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

/// Linear-interpolated quantile; NaN for an empty set.
double quantile(std::vector<double> values, double q);

/// What is printed of a set of repeated measurements.
struct Spread {
    double median = 0;
    double q1 = 0;
    double q3 = 0;
    double low = 0;
    double high = 0;
    std::size_t count = 0;
};

Spread spread_of(const std::vector<double> &values);

/// Nanoseconds in 16 steps per power of two: at most 6.25 % between a value and its bucket.
class Histogram {
public:
    void record(std::uint64_t ns) noexcept;
    void merge(const Histogram &other) noexcept;
    /// Upper bound of the bucket where the quantile lies, ns.
    [[nodiscard]] std::uint64_t percentile(double q) const noexcept;
    [[nodiscard]] double mean() const noexcept;
    [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

    struct Bucket {
        std::uint64_t up_to_ns;
        std::uint64_t count;
    };
    /// Buckets that are not empty, in ascending order.
    [[nodiscard]] std::vector<Bucket> buckets() const;

private:
    static constexpr unsigned sub_bits = 4;
    static constexpr std::size_t bucket_count = (64 - sub_bits + 1) << sub_bits;
    static std::size_t index_of(std::uint64_t ns) noexcept;
    static std::uint64_t bound_of(std::size_t index) noexcept;

    std::array<std::uint64_t, bucket_count> counts_{};
    std::uint64_t count_ = 0;
    std::uint64_t sum_ = 0;
    std::uint64_t max_ = 0;
};

}  // namespace bench
