// SPDX-License-Identifier: Apache-2.0 OR MIT
// Durable commits: threads that wait for each record, and one thread with many in flight. Every row
// promises the same: the record is on stable storage when the call returns or the completion comes.
#include "groups.hpp"
#include "logs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace bench {

namespace {

constexpr const char *subject = "libfsys";
constexpr const char *bare = "pwrite + fdatasync";
constexpr const char *rocks = "RocksDB sync";
constexpr const char *rust = "Rust crate";
constexpr const char *rust_tuned = "Rust crate, tuned";

bool has(const Outcome &outcome, const std::string &name) {
    return std::any_of(outcome.series.begin(), outcome.series.end(),
                       [&](const Series &one) { return one.name == name; });
}

const Outcome *compare(const Bench &bench, unsigned threads, std::size_t bytes) {
    Comparison comparison;
    comparison.id = fmt::format("commit/{}-threads/{}", threads, bytes);
    comparison.title = fmt::format("durable commits of {} bytes, {} thread{}", bytes, threads,
                                   threads == 1 ? "" : "s");
    comparison.count_name = "commits/sync";
    comparison.latency = bytes == 256;
    if (!bench.report.settings().wants(comparison.id) || bench.report.settings().list)
        return bench.report.run(comparison);
    const LogPlan plan{bench.directory, threads, bytes};
    const auto add = [&](const char *name, std::unique_ptr<Log> log, bool ours = false) {
        if (log != nullptr)
            comparison.variants.push_back(
                log_variant(name, std::shared_ptr<Log>(std::move(log)), plan, true, ours));
    };
    add(bare, make_bare_log(plan));
    add(subject, make_fsys_log(plan), true);
    add(rocks, make_rocksdb_log(plan, false));
    add("RocksDB sync, tuned", make_rocksdb_log(plan, true));
    add("SQLite WAL FULL", make_sqlite_log(plan));
    if (!bench.rust.empty()) {
        comparison.variants.push_back(rust_variant(rust, bench.rust, plan, "commit", false));
        comparison.variants.push_back(rust_variant(rust_tuned, bench.rust, plan, "commit", true));
    }
    return bench.report.run(comparison);
}

Goal at_least(unsigned number, const std::string &row, double limit, const std::string &unit,
              const std::string &note) {
    return {.number = number,
            .row = row,
            .bound = Bound::at_least,
            .limit = limit,
            .unit = unit,
            .note = note};
}

}  // namespace

void measure_commits(const Bench &bench) {
    const bool quick = bench.report.settings().quick;
    const std::vector<unsigned> threads =
        quick ? std::vector<unsigned>{1, 16, 64} : std::vector<unsigned>{1, 4, 16, 64, 256};
    for (const unsigned count : threads) {
        const Outcome *outcome = compare(bench, count, 256);
        if (count == 1) {
            bench.report.add({.number = 3,
                              .row = "lone commit, 256 B",
                              .bound = Bound::at_most,
                              .limit = 1.1,
                              .unit = "x pwrite + fdatasync",
                              .note = "mean time per commit; both write one 4 KiB block"},
                             outcome, [](const Outcome &o) {
                                 return cost_ratios(o.named(subject), o.named(bare));
                             });
        }
        if (count != 64)
            continue;
        bench.report.add(at_least(4, "commits/s, 64 threads, 256 B", 5, "x RocksDB, sync=true",
                                  "RocksDB's defaults, compaction off"),
                         outcome, [](const Outcome &o) {
                             return has(o, rocks) ? rate_ratios(o.named(subject), o.named(rocks))
                                                  : std::vector<double>{};
                         });
        bench.report.add(at_least(5, "commits/s, 64 threads, 256 B", 2, "x Rust crate",
                                  "the better of its defaults and its tuned form, by round"),
                         outcome, [](const Outcome &o) {
                             if (!has(o, rust))
                                 return std::vector<double>{};
                             std::vector<double> ratios =
                                 rate_ratios(o.named(subject), o.named(rust));
                             const std::vector<double> tuned =
                                 rate_ratios(o.named(subject), o.named(rust_tuned));
                             for (std::size_t i = 0; i < ratios.size(); ++i)
                                 ratios[i] = std::min(ratios[i], tuned[i]);
                             return ratios;
                         });
        bench.report.add(
            at_least(6, "commits per thread per sync, 64 threads", 0.8, "", "256 B"), outcome,
            [](const Outcome &o) { return counts_per_thread(o.named(subject)); });
    }
    if (quick)
        return;
    for (const unsigned count : {1U, 16U, 64U}) {
        for (const std::size_t bytes : {std::size_t{100}, std::size_t{4096}, std::size_t{65536}})
            compare(bench, count, bytes);
    }
}

void measure_async(const Bench &bench) {
    const bool quick = bench.report.settings().quick;
    for (const std::size_t bytes : {std::size_t{256}, std::size_t{100}, std::size_t{4096},
                                    std::size_t{65536}}) {
        if (quick && bytes != 256)
            break;
        Comparison comparison;
        comparison.id = fmt::format("async/{}", bytes);
        comparison.title =
            fmt::format("asynchronous commits of {} bytes from one thread", bytes);
        comparison.count_name = "commits/sync";
        comparison.latency = bytes == 256;
        if (bench.report.settings().wants(comparison.id) && !bench.report.settings().list) {
            for (const unsigned depth : {1U, 4U, 16U, 64U, 256U, 1024U, 4096U}) {
                // What is in flight must fit the log buffer of 8 MiB.
                if (depth * (bytes + 64) <= 6U << 20)
                    comparison.variants.push_back(async_variant(bench.directory, depth, bytes));
            }
        }
        const Outcome *outcome = bench.report.run(comparison);
        if (bytes != 256)
            continue;
        bench.report.add(
            at_least(7, "asynchronous commits, 1 thread, 1024 in flight, 256 B", 1.5, "M/s",
                     "through the completion queue"),
            outcome, [](const Outcome &o) {
                std::vector<double> rates;
                for (const Sample &sample : o.named("libfsys, 1024 in flight").samples)
                    rates.push_back(sample.ops_per_second / 1e6);
                return rates;
            });
    }
}

}  // namespace bench
