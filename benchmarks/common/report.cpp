// SPDX-License-Identifier: Apache-2.0 OR MIT
// Text and JSON output. Everything that is printed was computed from samples kept in the report, so
// that the JSON file can be checked against the text.
#include "report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>

namespace bench {

namespace {

std::string number(double value, const std::string &unit) {
    if (unit == "ns")
        return fmt::format("{:.1f}", value);
    if (std::abs(value) >= 100)
        return fmt::format("{:.0f}", value);
    return fmt::format("{:.3f}", value);
}

void print_columns(const std::vector<std::string> &columns,
                   const std::vector<std::vector<std::string>> &rows) {
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        std::size_t width = columns[i].size();
        for (const auto &row : rows)
            width = std::max(width, row[i].size());
        widths.push_back(width);
    }
    const auto line = [&](const std::vector<std::string> &cells) {
        std::string text = "|";
        for (std::size_t i = 0; i < cells.size(); ++i)
            text += fmt::format(" {:<{}} |", cells[i], widths[i]);
        fmt::print("{}\n", text);
    };
    line(columns);
    std::string rule = "|";
    for (const std::size_t width : widths)
        rule += std::string(width + 2, '-') + "|";
    fmt::print("{}\n", rule);
    for (const auto &row : rows)
        line(row);
}

std::string microseconds(std::uint64_t ns) {
    return fmt::format("{:.2f}", static_cast<double>(ns) / 1000.0);
}

nlohmann::json json_of(const Spread &spread) {
    return {{"median", spread.median}, {"q1", spread.q1},    {"q3", spread.q3},
            {"min", spread.low},       {"max", spread.high}, {"rounds", spread.count}};
}

}  // namespace

const Outcome *Report::run(const Comparison &comparison) {
    if (!settings_.wants(comparison.id))
        return nullptr;
    if (settings_.list) {
        fmt::print("{:<32} {}\n", comparison.id, comparison.title);
        return nullptr;
    }
    fmt::print(stderr, "  {} ...\n", comparison.id);
    outcomes_.push_back(std::make_unique<Outcome>(run_comparison(comparison, settings_)));
    const Outcome &outcome = *outcomes_.back();
    if (!outcome.error.empty()) {
        fmt::print(stderr, "  {}: FAILED: {}\n", outcome.id, outcome.error);
        return nullptr;
    }
    return &outcome;
}

void Report::add(Goal goal, const Outcome *outcome,
                 const std::function<std::vector<double>(const Outcome &)> &values) {
    if (outcome != nullptr) {
        goal.value = spread_of(values(*outcome));
        goal.measured = goal.value.count != 0;
        goal.id = outcome->id;
    }
    goals_.push_back(std::move(goal));
}

void Report::add_allocation_goal(unsigned number) {
    Goal goal;
    goal.number = number;
    goal.row = "heap allocations per op after warm-up";
    goal.bound = Bound::at_most;
    goal.limit = 0;
    goal.unit = "";
    std::uint64_t ops = 0;
    std::uint64_t allocations = 0;
    std::string worst;
    double most = 0;
    for (const auto &outcome : outcomes_) {
        for (const Series &series : outcome->series) {
            if (!series.subject || !outcome->error.empty())
                continue;
            for (const Sample &sample : series.samples) {
                ops += sample.ops;
                allocations += sample.allocations;
            }
            if (series.allocations_per_op() > most) {
                most = series.allocations_per_op();
                worst = outcome->id + " " + series.name;
            }
        }
    }
    goal.measured = ops != 0;
    if (goal.measured) {
        goal.value = spread_of({static_cast<double>(allocations) / static_cast<double>(ops)});
        goal.note = fmt::format("{} allocations in {} ops of all libfsys rows{}", allocations, ops,
                                worst.empty() ? std::string() : "; most in " + worst);
    }
    goals_.push_back(std::move(goal));
}

void Report::finish() {
    std::stable_sort(goals_.begin(), goals_.end(),
                     [](const Goal &a, const Goal &b) { return a.number < b.number; });
}

bool Report::failed() const {
    return std::any_of(outcomes_.begin(), outcomes_.end(),
                       [](const auto &outcome) { return !outcome->error.empty(); }) ||
           std::any_of(open_loops_.begin(), open_loops_.end(),
                       [](const OpenLoop &table) { return !table.error.empty(); });
}

void Report::print_outcome(const Outcome &outcome) const {
    fmt::print("\n### {}: {}\n\n", outcome.id, outcome.title);
    if (!outcome.error.empty()) {
        fmt::print("FAILED: {}\n", outcome.error);
        return;
    }
    const Series &base = outcome.series.front();
    std::vector<std::vector<std::string>> rows;
    for (const Series &series : outcome.series) {
        const Spread rate = series.rate();
        const Spread ratio = spread_of(rate_ratios(series, base));
        const double per_count = series.ops_per_count();
        rows.push_back({series.name, fmt::format("{:.1f}", rate.median / 1000),
                        fmt::format("{:.0f}", 1e9 / rate.median),
                        fmt::format("{:.3f}", ratio.median),
                        fmt::format("{:.3f}..{:.3f}", ratio.q1, ratio.q3),
                        fmt::format("{:.3f}..{:.3f}", ratio.low, ratio.high),
                        fmt::format("{:.0f}", series.cpu_ns_per_op()),
                        fmt::format("{:.3f}", series.switches()),
                        per_count == 0 ? "" : fmt::format("{:.1f}", per_count), series.lanes});
    }
    std::vector<std::string> columns{"what",      "kops/s",    "ns/op",       "x " + base.name,
                                     "quartiles", "min..max",  "cpu ns/op",   "switches/op",
                                     outcome.count_name, outcome.lanes_name};
    // A column that says nothing in any row goes.
    for (std::size_t i = columns.size(); i-- > columns.size() - 2;) {
        if (std::all_of(rows.begin(), rows.end(), [&](const auto &row) { return row[i].empty(); })) {
            columns.erase(columns.begin() + static_cast<std::ptrdiff_t>(i));
            for (auto &row : rows)
                row.erase(row.begin() + static_cast<std::ptrdiff_t>(i));
        }
    }
    print_columns(columns, rows);
    fmt::print("\n{} rounds; {} drifted {:+.1f} % from the first to the last third.\n",
               base.samples.size(), base.name, outcome.drift * 100);

    rows.clear();
    for (const Series &series : outcome.series) {
        const Histogram &h = series.latency;
        if (h.count() != 0)
            rows.push_back({series.name, microseconds(static_cast<std::uint64_t>(h.mean())),
                            microseconds(h.percentile(0.5)), microseconds(h.percentile(0.9)),
                            microseconds(h.percentile(0.99)), microseconds(h.percentile(0.999)),
                            microseconds(h.max()), fmt::format("{}", h.count())});
    }
    if (!rows.empty()) {
        fmt::print("\n");
        print_columns({"latency, us", "mean", "p50", "p90", "p99", "p99.9", "max", "ops"}, rows);
    }
}

void Report::print(const Machine &machine) const {
    fmt::print("# {}\n\n", title_);
    for (const auto &[key, value] : machine.facts)
        fmt::print("- {}: {}\n", key, value);
    for (const std::string &note : notes_)
        fmt::print("- {}\n", note);

    fmt::print("\n## Goals (median of paired rounds, quartiles in brackets)\n\n");
    std::vector<std::vector<std::string>> rows;
    for (const Goal &goal : goals_) {
        const std::string limit = fmt::format(
            "{} {} {}", goal.bound == Bound::at_most ? "<=" : ">=", goal.limit, goal.unit);
        if (!goal.measured) {
            rows.push_back({goal.row, limit, "-", "not run", goal.note});
            continue;
        }
        std::string value = number(goal.value.median, goal.unit);
        if (goal.value.count > 1)
            value += fmt::format(" [{}..{}]", number(goal.value.q1, goal.unit),
                                 number(goal.value.q3, goal.unit));
        rows.push_back({goal.row, limit, value,
                        fmt::format("{}{}", goal.reached() ? "yes" : "NO",
                                    goal.close() ? " (within noise)" : ""),
                        goal.note});
    }
    print_columns({"what", "goal", "measured", "reached", "how"}, rows);

    for (const Table &table : tables_) {
        fmt::print("\n## {}\n\n", table.title);
        print_columns(table.columns, table.rows);
    }
    fmt::print(
        "\n## Comparisons\n\n"
        "Ratios are throughput against the first row, paired by round; more is better.\n");
    for (const auto &outcome : outcomes_)
        print_outcome(*outcome);
    for (const OpenLoop &table : open_loops_)
        print_open_loop(table);
}

void Report::print_open_loop(const OpenLoop &table) const {
    fmt::print("\n### {}: {}\n\n", table.id, table.title);
    if (!table.error.empty()) {
        fmt::print("FAILED: {}\n", table.error);
        return;
    }
    std::vector<std::vector<std::string>> rows;
    for (const OpenLoop::Row &row : table.rows) {
        const Spread p99 = spread_of(row.p99_us);
        rows.push_back({row.name, fmt::format("{:.0f} %", 100 * row.load),
                        fmt::format("{:.0f}", row.wanted),
                        fmt::format("{:.0f}", spread_of(row.achieved).median),
                        microseconds(row.latency.percentile(0.5)),
                        microseconds(row.latency.percentile(0.99)),
                        fmt::format("{:.2f}..{:.2f}", p99.q1, p99.q3),
                        microseconds(row.latency.percentile(0.999)),
                        microseconds(row.latency.max()), fmt::format("{:.0f}", row.closed)});
    }
    print_columns({"latency from when due, us", "load", "due/s", "done/s", "p50", "p99",
                   "p99 by round", "p99.9", "max", "closed loop/s"},
                  rows);
}

void Report::write_json(const Machine &machine) const {
    nlohmann::json root;
    for (const auto &[key, value] : machine.facts)
        root["machine"][key] = value;
    root["notes"] = notes_;
    root["goals"] = nlohmann::json::array();
    for (const Goal &goal : goals_) {
        nlohmann::json entry{
            {"what", goal.row},    {"bound", goal.bound == Bound::at_most ? "at_most" : "at_least"},
            {"limit", goal.limit}, {"unit", goal.unit},
            {"how", goal.note},    {"comparison", goal.id},
            {"measured", nullptr}, {"reached", nullptr}};
        if (goal.measured) {
            entry["measured"] = json_of(goal.value);
            entry["reached"] = goal.reached();
            entry["within_noise"] = goal.close();
        }
        root["goals"].push_back(std::move(entry));
    }
    root["comparisons"] = nlohmann::json::array();
    for (const auto &outcome : outcomes_) {
        nlohmann::json entry{{"id", outcome->id},
                             {"title", outcome->title},
                             {"error", outcome->error},
                             {"drift", outcome->drift},
                             {"variants", nlohmann::json::array()}};
        for (const Series &series : outcome->series) {
            nlohmann::json variant{{"name", series.name},
                                   {"lanes", series.lanes},
                                   {"threads", series.threads},
                                   {"rounds", nlohmann::json::array()}};
            for (const Sample &sample : series.samples)
                variant["rounds"].push_back({{"ops", sample.ops},
                                             {"ops_per_second", sample.ops_per_second},
                                             {"switches_per_op", sample.switches_per_op},
                                             {"cpu_ns_per_op", sample.cpu_ns_per_op},
                                             {"allocations", sample.allocations},
                                             {"counted", sample.counted}});
            for (const Histogram::Bucket &bucket : series.latency.buckets())
                variant["latency_ns"].push_back({bucket.up_to_ns, bucket.count});
            entry["variants"].push_back(std::move(variant));
        }
        root["comparisons"].push_back(std::move(entry));
    }
    root["tables"] = nlohmann::json::array();
    for (const Table &table : tables_)
        root["tables"].push_back(
            {{"title", table.title}, {"columns", table.columns}, {"rows", table.rows}});

    root["curves"] = nlohmann::json::array();
    for (const Curve &curve : curves_) {
        nlohmann::json entry{{"id", curve.id},     {"title", curve.title}, {"x", curve.x},
                             {"unit", curve.unit}, {"peer", curve.peer},
                             {"points", nlohmann::json::array()}};
        for (const Curve::Point &point : curve.points) {
            nlohmann::json one{{"x", point.x}, {"ours", json_of(point.ours)}};
            if (point.peer.count != 0)
                one["peer"] = json_of(point.peer);
            if (point.ratio.count != 0)
                one["ratio"] = json_of(point.ratio);
            entry["points"].push_back(std::move(one));
        }
        root["curves"].push_back(std::move(entry));
    }

    root["open_loops"] = nlohmann::json::array();
    for (const OpenLoop &table : open_loops_) {
        nlohmann::json entry{{"id", table.id},
                             {"title", table.title},
                             {"error", table.error},
                             {"rows", nlohmann::json::array()}};
        for (const OpenLoop::Row &row : table.rows) {
            nlohmann::json one{{"name", row.name},     {"load", row.load},
                               {"wanted", row.wanted}, {"closed", row.closed},
                               {"achieved", json_of(spread_of(row.achieved))},
                               {"p99_us", json_of(spread_of(row.p99_us))},
                               {"max_ns", row.latency.max()}};
            for (const Histogram::Bucket &bucket : row.latency.buckets())
                one["latency_ns"].push_back({bucket.up_to_ns, bucket.count});
            entry["rows"].push_back(std::move(one));
        }
        root["open_loops"].push_back(std::move(entry));
    }

    std::ofstream file(settings_.json_path);
    file << root.dump(1) << '\n';
    if (!file.flush())
        throw Failure("cannot write " + settings_.json_path);
}

}  // namespace bench
