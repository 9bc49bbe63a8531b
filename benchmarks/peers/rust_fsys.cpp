// SPDX-License-Identifier: Apache-2.0 OR MIT
// The Rust crate fsys as a subprocess: it warms up, measures for one slice, and prints one line of
// JSON. Called by the main thread only.
#include "optional.hpp"
#include "subprocess.hpp"

#include <nlohmann/json.hpp>

namespace bench {

Sample run_crate(const CrateJob &job, std::chrono::milliseconds slice) {
    const Output output =
        run_program({job.program, "--op", job.op, "--path", job.path, "--span",
                     std::to_string(job.span), "--bytes", std::to_string(job.bytes), "--depth",
                     std::to_string(job.depth), "--ms", std::to_string(slice.count())});
    const std::size_t brace = output.text.find('{');
    if (output.status != 0 || brace == std::string::npos)
        throw Failure("the crate fsys failed (status " + std::to_string(output.status) +
                      "): " + output.text);
    const auto report = nlohmann::json::parse(output.text.substr(brace));
    Sample sample;
    sample.ops = report.at("ops").get<std::uint64_t>();
    if (sample.ops == 0)
        throw Failure("the crate fsys: no op completed within the slice");
    const auto ops = static_cast<double>(sample.ops);
    sample.ops_per_second = ops * 1e9 / report.at("elapsed_ns").get<double>();
    sample.cpu_ns_per_op = report.at("cpu_ns").get<double>() / ops;
    sample.switches_per_op = report.at("switches").get<double>() / ops;
    return sample;
}

}  // namespace bench
