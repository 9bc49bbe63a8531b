// SPDX-License-Identifier: Apache-2.0 OR MIT
// Collects outcomes and goals and prints them: the goals first, then every table. Main thread.
#pragma once

#include "machine.hpp"
#include "runner.hpp"

#include <functional>
#include <optional>

namespace bench {

enum class Bound { at_most, at_least };

/// A row of the design's goals.
struct Goal {
    unsigned number = 0;  ///< place of the row in the design's table of goals; orders the output
    std::string row{};    ///< the subject in words
    Bound bound = Bound::at_most;
    double limit = 0;
    std::string unit{};  ///< "x pread", "ns"
    Spread value{};      ///< median and spread over rounds
    bool measured = false;
    std::string note{};  ///< what exactly was measured
    std::string id{};    ///< the comparison that it comes from

    [[nodiscard]] bool reached() const {
        return bound == Bound::at_most ? value.median <= limit : value.median >= limit;
    }
    /// The limit lies between the quartiles: another run may say the opposite.
    [[nodiscard]] bool close() const {
        return value.count > 1 && value.q1 <= limit && limit <= value.q3;
    }
};

/// A table that is not a comparison (idle handle, instruction counts).
struct Table {
    std::string title;
    std::vector<std::string> columns;
    std::vector<std::vector<std::string>> rows;
};

/// Cost against a size, to be plotted: what the JSON file calls a curve.
struct Curve {
    struct Point {
        double x = 0;
        Spread ours{};
        Spread peer{};   ///< count 0: there is no peer
        Spread ratio{};  ///< paired
    };
    std::string id;
    std::string title;
    std::string x;     ///< what grows
    std::string unit;  ///< of the cost
    std::string peer;  ///< name of the peer, or empty
    std::vector<Point> points{};
};

/// Latency of ops that arrive at a given rate, from the moment they were due (open_loop.hpp).
struct OpenLoop {
    struct Row {
        std::string name;
        double load = 0;    ///< part of the lowest closed-loop rate of all rows
        double wanted = 0;  ///< ops/s
        double closed = 0;  ///< its own closed-loop rate, ops/s
        std::vector<double> achieved{};
        std::vector<double> p99_us{};  ///< by round
        Histogram latency{};           ///< of all rounds
    };
    std::string id;
    std::string title;
    std::vector<Row> rows{};
    std::string error{};
};

class Report {
public:
    Report(const Settings &settings, std::string title)
        : settings_(settings), title_(std::move(title)) {}

    /// Runs the comparison when it was asked for, keeps the outcome, shows progress on stderr.
    /// @return the outcome, or nullptr when it was filtered out or failed
    const Outcome *run(const Comparison &comparison);
    void add(Table table) { tables_.push_back(std::move(table)); }
    void add(Curve curve) { curves_.push_back(std::move(curve)); }
    void add(OpenLoop table) { open_loops_.push_back(std::move(table)); }
    void add(Goal goal) { goals_.push_back(std::move(goal)); }
    /// A goal whose values are made of one outcome; "not run" when there is none.
    void add(Goal goal, const Outcome *outcome,
             const std::function<std::vector<double>(const Outcome &)> &values);
    /// Adds the row about allocations: over every round of libfsys that ran.
    void add_allocation_goal(unsigned number);
    void note(std::string text) { notes_.push_back(std::move(text)); }

    /// Orders the goals. Call once, before printing.
    void finish();
    void print(const Machine &machine) const;
    void write_json(const Machine &machine) const;
    /// Whether any comparison failed outright.
    [[nodiscard]] bool failed() const;
    [[nodiscard]] const Settings &settings() const { return settings_; }

private:
    void print_outcome(const Outcome &outcome) const;
    void print_open_loop(const OpenLoop &table) const;

    const Settings &settings_;
    const std::string title_;
    // Pointers to outcomes are handed out: a vector of values would move them.
    std::vector<std::unique_ptr<Outcome>> outcomes_;
    std::vector<Goal> goals_;
    std::vector<Table> tables_;
    std::vector<Curve> curves_;
    std::vector<OpenLoop> open_loops_;
    std::vector<std::string> notes_;
};

}  // namespace bench
