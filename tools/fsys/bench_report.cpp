// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The results of `fsys bench` as a page to read and as JSON. No state.
#include "bench.hpp"
#include "terminal.hpp"
#include "units.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace cli {

namespace {

constexpr std::array<double, 4> kPercentiles{50, 90, 99, 99.9};

const char *plain_name(const Workload &workload)
{
    return workload.reads()                   ? "pread"
           : workload.kind == Kind::kSync     ? "pwrite+fdatasync"
                                              : "pwrite";
}

Round sum(const std::vector<Round> &rounds)
{
    Round total;
    for (const Round &round : rounds) {
        total.ops += round.ops;
        total.seconds += round.seconds;
    }
    return total;
}

// Of each round, the engine's rate over the plain one's, ascending.
std::vector<double> ratios(const BenchResult &result)
{
    std::vector<double> out;
    for (std::size_t at = 0; at < result.plain_rounds.size(); ++at) {
        const double plain = result.plain_rounds[at].rate();
        out.push_back(plain > 0 ? result.engine_rounds[at].rate() / plain : 0);
    }
    std::sort(out.begin(), out.end());
    return out;
}

const char *how(const Workload &workload)
{
    switch (workload.mode) {
    case Mode::kBlocking: return "blocking calls";
    case Mode::kWait: return "submit, then wait";
    case Mode::kBatch: return "submit in batches, wait for all";
    default: return "pipeline, resubmit on completion";
    }
}

std::string side_row(const char *name, const Workload &workload, const Round &total,
                     const Histogram &latency)
{
    std::string row = fmt::format(
        "{:<18}{:>12}{:>14}{:>10}", name, human_count(static_cast<std::uint64_t>(total.rate())),
        workload.kind == Kind::kNop
            ? std::string("-")
            : human_rate(total.rate() * static_cast<double>(workload.block)),
        human_ns(total.rate() > 0 ? 1e9 / total.rate() : 0));
    for (const double percent : kPercentiles) {
        row += fmt::format("{:>9}", human_ns(static_cast<double>(latency.percentile(percent))));
    }
    return row + fmt::format("{:>9}\n", human_ns(static_cast<double>(latency.most())));
}

// From the first row to the last that holds anything worth one.
std::string histogram_text(const Histogram &latency, bool colour, bool utf8)
{
    // Rows of half a power of two, or whole ones when that would be a long list.
    const double span = static_cast<double>(latency.percentile(99.99)) /
                        static_cast<double>(std::max<std::uint64_t>(latency.least(), 1));
    std::vector<std::uint64_t> bounds;
    for (double bound = 32; bound < 1e11; bound *= span > 200 ? 2.0 : std::sqrt(2.0)) {
        bounds.push_back(static_cast<std::uint64_t>(bound));
    }
    struct Row {
        std::uint64_t from;
        std::uint64_t to;
        std::uint64_t count;
    };
    std::vector<Row> rows{{0, bounds.front(), latency.between(0, bounds.front())}};
    for (std::size_t at = 0; at + 1 < bounds.size(); ++at) {
        rows.push_back({bounds[at], bounds[at + 1], latency.between(bounds[at], bounds[at + 1])});
    }
    // The tail is thin and long: what is beyond the 99.99th percentile is one row.
    const std::uint64_t tail_from = latency.percentile(99.99);
    std::uint64_t most = 1;
    std::size_t first = rows.size();
    std::size_t last = 0;
    for (std::size_t at = 0; at < rows.size(); ++at) {
        most = std::max(most, rows[at].count);
        if (rows[at].count != 0) {
            first = std::min(first, at);
            if (rows[at].from <= tail_from) {
                last = at;
            }
        }
    }
    std::string out;
    std::uint64_t shown = 0;
    const auto put = [&](const std::string &label, std::uint64_t count) {
        const double share =
            static_cast<double>(count) / static_cast<double>(std::max<std::uint64_t>(
                                             latency.count(), 1));
        out += fmt::format("  {:>20}  {} {:>7.3f} %  {:>12}\n", label,
                           green(bar(static_cast<double>(count) / static_cast<double>(most), 40,
                                     utf8),
                                 colour),
                           share * 100, human_count(count));
        shown += count;
    };
    for (std::size_t at = first; at < rows.size() && at <= last; ++at) {
        put(fmt::format("{:>8} - {:>8}", human_ns(static_cast<double>(rows[at].from)),
                        human_ns(static_cast<double>(rows[at].to))),
            rows[at].count);
    }
    if (shown < latency.count()) {
        put(fmt::format("to {:>8}", human_ns(static_cast<double>(latency.most()))),
            latency.count() - shown);
    }
    return out;
}

nlohmann::json side_json(const Workload &workload, const std::vector<Round> &rounds,
                         const Histogram &latency)
{
    const Round total = sum(rounds);
    nlohmann::json per_round = nlohmann::json::array();
    for (const Round &round : rounds) {
        per_round.push_back(round.rate());
    }
    return {{"ops", total.ops},
            {"seconds", total.seconds},
            {"ops_per_second", total.rate()},
            {"bytes_per_second", workload.kind == Kind::kNop
                                     ? 0.0
                                     : total.rate() * static_cast<double>(workload.block)},
            {"ops_per_second_by_round", per_round},
            {"latency_ns",
             {{"min", latency.least()},
              {"mean", latency.mean()},
              {"p50", latency.percentile(50)},
              {"p90", latency.percentile(90)},
              {"p99", latency.percentile(99)},
              {"p99_9", latency.percentile(99.9)},
              {"max", latency.most()}}}};
}

}  // namespace

std::string bench_text(const Workload &workload, const BenchResult &result)
{
    const bool on = colours(STDOUT_FILENO);
    std::string out = bold(workload.name, on);
    if (workload.kind != Kind::kNop) {
        out += fmt::format(
            ", {} blocks, {} {}on {}, {}", human_bytes(workload.block),
            workload.kind == Kind::kAppend ? "up to " + human_bytes(workload.size)
                                           : human_bytes(workload.size),
            result.file.empty() ? "" : fmt::format("of '{}' ", printable(result.file)),
            result.file_system, workload.direct ? "O_DIRECT" : "buffered");
    }
    out += fmt::format("\n{}, {} in flight each: {}; backend {}\n\n",
                       plural(workload.threads, "thread", "threads"), workload.depth,
                       how(workload), backend_name(result.info.backend));

    out += dim(fmt::format("{:<18}{:>12}{:>14}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}\n", "", "ops/s", "",
                           "per op", "p50", "p90", "p99", "p99.9", "max"),
               on);
    out += side_row("fsys", workload, sum(result.engine_rounds), result.engine_latency);
    if (!result.plain_rounds.empty()) {
        out += side_row(plain_name(workload), workload, sum(result.plain_rounds),
                        result.plain_latency);
    }
    if (!result.plain_rounds.empty() && workload.rate == 0) {
        const std::vector<double> sorted = ratios(result);
        const double median = sorted[sorted.size() / 2];
        const std::string factor = fmt::format("{:.2f} x", median);
        out += fmt::format("\nfsys does {} the rate of {}, {} each (median of {} alternating "
                           "rounds, {:.2f} to {:.2f})\n",
                           bold(median >= 1 ? green(factor, on) : yellow(factor, on), on),
                           plain_name(workload),
                           plural(workload.threads, "thread", "threads"), sorted.size(),
                           sorted.front(), sorted.back());
    }

    out += "\n" + bold("latency of fsys", on) +
           (workload.rate != 0 ? ", from when an operation was due (open loop)\n"
            : workload.mode == Mode::kBatch
                ? ", from submit until the whole batch is back (closed loop)\n"
                : ", from submit until taken (closed loop)\n");
    out += histogram_text(result.engine_latency, on, utf8_locale());
    if (workload.rate == 0) {
        out += dim("  closed loop: a stall delays few operations; --rate N shows what users of a "
                   "service see\n",
                   on);
    } else {
        const double reached = sum(result.engine_rounds).rate();
        if (reached < 0.95 * static_cast<double>(workload.rate)) {
            out += fmt::format("  {} of {} asked for: late operations queue up, latency grows with "
                               "the length of the run\n",
                               human_count(static_cast<std::uint64_t>(reached)),
                               human_count(workload.rate) + "/s");
        }
    }
    out += "\n" + bold("engine", on) + fmt::format(" in the measured rounds: {}\n", lanes_text(result.counters)) +
           counters_text(result.counters);
    return out;
}

nlohmann::json bench_json(const Workload &workload, const BenchResult &result)
{
    nlohmann::json out{
        {"command", "bench"},
        {"ok", true},
        {"workload", workload.name},
        {"mode", mode_name(workload.mode)},
        {"direct", workload.direct},
        {"block", workload.block},
        {"size", workload.size},
        {"depth", workload.depth},
        {"threads", workload.threads},
        {"rate", workload.rate},
        {"backend", backend_name(result.info.backend)},
        {"backend_reason", result.info.reason_text},
        {"file_system", result.file_system},
        {"fsys", side_json(workload, result.engine_rounds, result.engine_latency)},
        {"plain", nullptr},
        {"ratio", nullptr},
        {"stats", counters_json(result.counters)},
    };
    if (!result.plain_rounds.empty()) {
        const std::vector<double> sorted = ratios(result);
        out["plain"] = side_json(workload, result.plain_rounds, result.plain_latency);
        out["plain"]["call"] = plain_name(workload);
        out["ratio"] = {{"median", sorted[sorted.size() / 2]},
                        {"min", sorted.front()},
                        {"max", sorted.back()}};
    }
    return out;
}

}  // namespace cli
