// SPDX-License-Identifier: Apache-2.0 OR MIT
// fio's engines io_uring and psync as a subprocess: same file, same size, random offsets with repetition, and
// its own JSON as the result. Called by the main thread only.
#include "peers.hpp"

#include "subprocess.hpp"

#include <nlohmann/json.hpp>

namespace bench {

namespace {

std::vector<std::string> arguments(const FioJob &job, std::chrono::milliseconds runtime) {
    const bool reads = job.target.direction == Direction::read;
    std::vector<std::string> list{
        "fio",
        "--name=peer",
        std::string("--ioengine=") + (job.psync ? "psync" : "io_uring"),
        "--thread",
        "--group_reporting",
        "--output-format=json",
        "--allow_file_create=0",
        "--fallocate=none",
        "--norandommap",
        "--randrepeat=0",
        "--time_based",
        "--invalidate=0",  // buffered jobs would otherwise start by dropping the page cache
        std::string("--rw=") + (reads ? "randread" : "randwrite"),
        "--bs=4k",
        std::string("--direct=") + (job.target.direct ? "1" : "0"),
        "--iodepth=" + std::to_string(job.depth),
        "--numjobs=" + std::to_string(job.threads),
        "--runtime=" + std::to_string(runtime.count()) + "ms",
        "--size=" + std::to_string(job.target.bytes),
        "--filename=" + job.target.path,
    };
    if (job.fdatasync)
        list.push_back("--fdatasync=1");
    if (job.tuned) {
        const unsigned group = std::min(job.depth, 16U);
        list.push_back("--iodepth_batch_submit=" + std::to_string(group));
        list.push_back("--iodepth_batch_complete_max=" + std::to_string(std::min(job.depth, 32U)));
        list.insert(list.end(), {"--gtod_reduce=1", "--registerfiles=1", "--fixedbufs=1"});
        if (!reads)
            list.push_back("--scramble_buffers=0");
    }
    return list;
}

}  // namespace

std::string fio_version() {
    const Output output = run_program({"fio", "--version"});
    return output.status == 0 ? output.text.substr(0, output.text.find('\n')) : std::string();
}

std::string fio_command(const FioJob &job, std::chrono::milliseconds runtime) {
    std::string line;
    for (const std::string &word : arguments(job, runtime))
        line += (line.empty() ? "" : " ") + word;
    return line;
}

Sample run_fio(const FioJob &job, std::chrono::milliseconds runtime) {
    const Output output = run_program(arguments(job, runtime));
    // fio may print warnings in front of the JSON.
    const std::size_t start = output.text.find("\n{");
    const std::size_t brace = output.text.starts_with("{") ? 0 : start;
    if (output.status != 0 || brace == std::string::npos)
        throw Failure("fio failed (status " + std::to_string(output.status) + "): " + output.text);
    const auto report = nlohmann::json::parse(output.text.substr(brace));
    const auto &jobs = report.at("jobs").at(0);
    if (jobs.at("error").get<int>() != 0)
        throw Failure("fio reports error " + std::to_string(jobs.at("error").get<int>()));
    const auto &side = jobs.at(job.target.direction == Direction::read ? "read" : "write");
    Sample sample;
    sample.ops = side.at("total_ios").get<std::uint64_t>();
    // Not "iops": that is rounded and, for several jobs, averaged in a way of its own.
    sample.ops_per_second =
        static_cast<double>(sample.ops) * 1000.0 / side.at("runtime").get<double>();
    sample.switches_per_op = jobs.at("ctx").get<double>() / static_cast<double>(sample.ops);
    // Percent of one processor, summed over the job's threads, over their common run time.
    sample.cpu_ns_per_op = (jobs.at("usr_cpu").get<double>() + jobs.at("sys_cpu").get<double>()) *
                           1e4 * jobs.at("job_runtime").get<double>() /
                           static_cast<double>(sample.ops);
    return sample;
}

}  // namespace bench
