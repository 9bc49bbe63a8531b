// SPDX-License-Identifier: Apache-2.0 OR MIT
// Runs variants of the same work in interleaved rounds. A worker is made, used and destroyed on
// its own thread, because rings with one issuer and caller-driven handles demand it.
#pragma once

#include "settings.hpp"
#include "statistics.hpp"

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

/// A peer or libfsys did not do what was asked: the figures of this comparison would be lies.
class Failure : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Where a worker sits in a run.
struct Seat {
    unsigned thread = 0;
    std::uint64_t seed = 0;
    Histogram *latency = nullptr;  ///< not null in the rounds that time every op
};

class Worker {
public:
    virtual ~Worker() = default;
    /// Does a bit of the work and returns how many ops completed.
    virtual std::uint64_t step() = 0;
    /// True when the worker records its latencies itself because a step is not one op.
    [[nodiscard]] virtual bool stamps() const { return false; }
};

/// One slice of one variant.
struct Sample {
    double ops_per_second = 0;
    std::uint64_t ops = 0;
    double switches_per_op = 0;
    double cpu_ns_per_op = 0;  ///< user and system time of the whole process
    std::uint64_t allocations = 0;
    std::uint64_t counted = 0;  ///< what Variant::count rose by
    [[nodiscard]] double ns_per_op() const { return 1e9 / ops_per_second; }
};

struct Variant {
    std::string name;
    unsigned threads = 1;
    std::function<std::unique_ptr<Worker>(const Seat &)> make;
    /// Instead of `make`: a peer in another process.
    std::function<Sample(std::chrono::milliseconds)> external{};
    /// For libfsys: the share of lanes that executed the ops, asked after the last round.
    std::function<std::string()> lanes{};
    /// A counter that is read at both ends of a slice, such as syncs: ops per count are printed.
    std::function<std::uint64_t()> count{};
    /// libfsys itself, so that its allocations count for the goal.
    bool subject = false;
};

struct Comparison {
    std::string id;
    std::string title;
    std::vector<Variant> variants;  ///< ratios are against the first one
    bool latency = false;           ///< add rounds that time every op
    unsigned slice_factor = 1;      ///< slices this much longer than usual
    std::string count_name = "ops/count";  ///< head of the column for Variant::count
    std::string lanes_name = "lanes";
};

/// All rounds of one variant.
struct Series {
    std::string name;
    std::string lanes;
    bool subject = false;
    unsigned threads = 1;
    std::vector<Sample> samples;  ///< by round
    Histogram latency;

    [[nodiscard]] Spread rate() const;
    [[nodiscard]] double switches() const;
    [[nodiscard]] double cpu_ns_per_op() const;
    [[nodiscard]] double allocations_per_op() const;
    [[nodiscard]] double ops_per_count() const;  ///< 0 without a counter
};

struct Outcome {
    std::string id;
    std::string title;
    std::string count_name;
    std::string lanes_name;
    std::vector<Series> series;
    double drift = 0;   ///< change of the first variant's rate, last against first third of rounds
    std::string error;  ///< not empty: the comparison failed and has no figures
    [[nodiscard]] const Series &named(const std::string &name) const;
};

/// Throughput of `a` over `b`, round by round.
std::vector<double> rate_ratios(const Series &a, const Series &b);
/// Time per op of `a` over `b`, round by round.
std::vector<double> cost_ratios(const Series &a, const Series &b);
/// Ops per count over the threads, round by round.
std::vector<double> counts_per_thread(const Series &series);
/// Time per op of `a` minus `b`, ns, round by round.
std::vector<double> cost_differences(const Series &a, const Series &b);

Outcome run_comparison(const Comparison &comparison, const Settings &settings);

/// One slice; used by run_comparison() and by the growth figures.
Sample run_slice(const Variant &variant, std::chrono::milliseconds warm_up,
                 std::chrono::milliseconds slice, std::uint64_t seed, Histogram *latency);

}  // namespace bench
