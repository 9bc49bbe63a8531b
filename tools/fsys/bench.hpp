// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the parts of `fsys bench` share: the workload with every default filled in (bench.cpp), the
// threads that run it (bench_worker.cpp), the results (bench_report.cpp).
#pragma once

#include "commands.hpp"
#include "engine.hpp"
#include "histogram.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace cli {

enum class Kind { kNop, kRead, kRandRead, kWrite, kRandWrite, kAppend, kSync };
enum class Mode { kBlocking, kWait, kBatch, kPipeline };

struct Workload {
    Kind kind;
    Mode mode;
    std::string name;
    std::uint64_t size;   // of the file; of an append workload, the most it grows to
    std::uint64_t block;
    std::uint32_t depth;
    std::uint32_t threads;
    std::uint64_t rate;  // ops/s of all threads, 0: closed loop
    bool direct;

    bool writes() const { return kind != Kind::kNop && !reads(); }
    bool reads() const { return kind == Kind::kRead || kind == Kind::kRandRead; }
};

// The file under test, open once for each side.
struct Subject {
    std::string path;  // "" for nop
    File engine_file;
    Fd plain;
    std::string file_system;
    bool scratch = false;  // has no name any more
};

enum class Side { kEngine, kPlain };

struct Round {
    std::uint64_t ops = 0;
    double seconds = 0;
    double rate() const { return seconds > 0 ? static_cast<double>(ops) / seconds : 0; }
};

// Runs one round of one side on `workload.threads` threads and adds its latencies to `latency`.
// Ends early when an append workload has reached its size. Throws Failure and Interrupted.
Round run_round(Engine &engine, const Workload &workload, const Subject &subject, Side side,
                double seconds, Histogram &latency);

struct BenchResult {
    std::vector<Round> engine_rounds;
    std::vector<Round> plain_rounds;  // empty for nop
    Histogram engine_latency;
    Histogram plain_latency;
    fsys_handle_info info{};
    fsys_counters counters{};
    std::string file_system;
    std::string file;  // "" for a scratch file
};

const char *mode_name(Mode mode);
std::string bench_text(const Workload &workload, const BenchResult &result);
nlohmann::json bench_json(const Workload &workload, const BenchResult &result);

}  // namespace cli
