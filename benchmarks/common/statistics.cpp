// SPDX-License-Identifier: Apache-2.0 OR MIT
// Quantiles and the log-linear histogram. No state shared between threads.
#include "statistics.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace bench {

double quantile(std::vector<double> values, double q) {
    if (values.empty())
        return std::numeric_limits<double>::quiet_NaN();
    std::sort(values.begin(), values.end());
    const double at = q * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(std::floor(at));
    const std::size_t above = std::min(below + 1, values.size() - 1);
    const double part = at - std::floor(at);
    return values[below] * (1 - part) + values[above] * part;
}

Spread spread_of(const std::vector<double> &values) {
    return {quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75),
            quantile(values, 0.0), quantile(values, 1.0),  values.size()};
}

std::size_t Histogram::index_of(std::uint64_t ns) noexcept {
    if (ns < (1U << sub_bits))
        return static_cast<std::size_t>(ns);
    const unsigned shift = static_cast<unsigned>(std::bit_width(ns)) - sub_bits - 1;
    return (static_cast<std::size_t>(shift + 1) << sub_bits) +
           static_cast<std::size_t>((ns >> shift) & ((1U << sub_bits) - 1));
}

std::uint64_t Histogram::bound_of(std::size_t index) noexcept {
    if (index < (1U << sub_bits))
        return index;
    const unsigned shift = static_cast<unsigned>(index >> sub_bits) - 1;
    const std::uint64_t step = (1U << sub_bits) + (index & ((1U << sub_bits) - 1));
    return ((step + 1) << shift) - 1;
}

void Histogram::record(std::uint64_t ns) noexcept {
    ++counts_[index_of(ns)];
    ++count_;
    sum_ += ns;
    max_ = std::max(max_, ns);
}

void Histogram::merge(const Histogram &other) noexcept {
    for (std::size_t i = 0; i < bucket_count; ++i)
        counts_[i] += other.counts_[i];
    count_ += other.count_;
    sum_ += other.sum_;
    max_ = std::max(max_, other.max_);
}

std::uint64_t Histogram::percentile(double q) const noexcept {
    const auto wanted = static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_)));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < bucket_count; ++i) {
        seen += counts_[i];
        if (seen >= wanted && counts_[i] != 0)
            return std::min(bound_of(i), max_);
    }
    return max_;
}

double Histogram::mean() const noexcept {
    return count_ == 0 ? 0.0 : static_cast<double>(sum_) / static_cast<double>(count_);
}

std::vector<Histogram::Bucket> Histogram::buckets() const {
    std::vector<Bucket> found;
    for (std::size_t i = 0; i < bucket_count; ++i) {
        if (counts_[i] != 0)
            found.push_back({bound_of(i), counts_[i]});
    }
    return found;
}

}  // namespace bench
