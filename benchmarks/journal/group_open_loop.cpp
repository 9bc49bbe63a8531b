// SPDX-License-Identifier: Apache-2.0 OR MIT
// Durable commits that arrive by a schedule: latency at 50 % and 80 % of what the slowest of the rows
// can do, counted from the moment a commit was due.
#include "groups.hpp"
#include "logs.hpp"

#include <fmt/format.h>

namespace bench {

namespace {

constexpr unsigned pool = 64;
constexpr unsigned depth = 1024;
constexpr std::size_t bytes = 256;

OpenVariant pool_variant(const std::string &name, std::unique_ptr<Log> log) {
    const std::shared_ptr<Log> shared(std::move(log));
    return {fmt::format("{}, {} threads", name, pool),
            [=](const Schedule &schedule, Histogram &histogram) {
                return pool_loop(
                    schedule, pool,
                    [&](unsigned thread) -> std::function<void()> {
                        return [=, record = std::string(bytes, 'r'), steps = 0U]() mutable {
                            shared->commit(record.data(), record.size());
                            if (thread == 0 && ++steps % 256 == 0)
                                shared->tidy();
                        };
                    },
                    histogram);
            }};
}

/// `grouping`: only the logs that put the commits of many threads into one sync.
void measure(const Bench &bench, bool grouping) {
    const std::string id = grouping ? "open-loop/commit-grouped" : "open-loop/commit";
    const std::string title = fmt::format(
        "durable commits of {} bytes that arrive at a fixed rate{}", bytes,
        grouping ? ", only logs that group the commits of many threads" : "");
    if (!bench.report.settings().wants(id))
        return;
    if (bench.report.settings().list) {
        fmt::print("{:<32} {}\n", id, title);
        return;
    }
    const LogPlan plan{bench.directory, pool, bytes};
    std::vector<OpenVariant> variants;
    const auto add = [&](const char *name, std::unique_ptr<Log> log) {
        if (log != nullptr)
            variants.push_back(pool_variant(name, std::move(log)));
    };
    if (!grouping)
        add("pwrite + fdatasync", make_bare_log(plan));
    add("RocksDB sync", make_rocksdb_log(plan, false));
    if (!grouping)
        add("SQLite WAL FULL", make_sqlite_log(plan));
    add("libfsys", make_fsys_log(plan));
    variants.push_back(
        async_open_loop("libfsys, asynchronous, 1 thread", bench.directory, depth, bytes));
    run_open_loop(bench.report, id, title, variants);
}

}  // namespace

void measure_open_loop(const Bench &bench) {
    measure(bench, false);
    measure(bench, true);
}

}  // namespace bench
