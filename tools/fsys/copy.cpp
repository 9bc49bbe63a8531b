// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys copy`: plan, directories, links, files, then permissions, durability and verification; and
// the report. Main thread; the work on regular files is in copy_files.cpp and copy_verify.cpp.
#include "copy.hpp"

#include "copy_plan.hpp"
#include "terminal.hpp"
#include "units.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace cli {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Report {
    std::uint64_t bytes = 0;
    double copy_seconds = 0;
    double verify_seconds = 0;
    fsys_handle_info info{};
    fsys_counters counters{};
};

void warn_of_skipped(const CopyPlan &plan)
{
    constexpr std::size_t kShown = 10;
    for (std::size_t at = 0; at < std::min(kShown, plan.tree.skipped.size()); ++at) {
        warn(fmt::format("skipped special file '{}'",
                         printable(join(plan.source_display, plan.tree.skipped[at]))));
    }
    if (plan.tree.skipped.size() > kShown) {
        warn(fmt::format("skipped {} more special files", plan.tree.skipped.size() - kShown));
    }
}

nlohmann::json report_json(const CopyOptions &options, const CopyPlan &plan, const Report &report)
{
    const auto per_second = [&](std::uint64_t amount, double seconds) {
        return seconds > 0 ? static_cast<double>(amount) / seconds : 0.0;
    };
    nlohmann::json lanes;
    for (const std::uint32_t lane : {FSYS_LANE_INLINE, FSYS_LANE_RING, FSYS_LANE_POOL}) {
        lanes[lane_name(lane)] = lane_ops(report.counters, lane);
    }
    nlohmann::json out{
        {"command", "copy"},
        {"ok", true},
        {"source", options.source},
        {"target", plan.is_tree ? plan.target_display
                                : plan.target_path(plan.tree.entries.front())},
        {"copied", !options.verify_only},
        {"files", plan.tree.files},
        {"directories", plan.tree.directories},
        {"symlinks", plan.tree.symlinks},
        {"skipped", plan.tree.skipped.size()},
        {"bytes", report.bytes},
        {"seconds", report.copy_seconds},
        {"bytes_per_second", per_second(report.bytes, report.copy_seconds)},
        {"files_per_second", per_second(plan.tree.files, report.copy_seconds)},
        {"durable", options.durable},
        {"direct", options.direct},
        {"verified", options.verify},
        {"verify_seconds", report.verify_seconds},
        {"threads", options.threads},
        {"depth", options.depth},
        {"block", options.block},
        {"backend", backend_name(report.info.backend)},
        {"backend_reason", report.info.reason_text},
        {"lanes", lanes},
        {"enters", report.counters.enters},
        {"ops_per_enter", ops_per_enter(report.counters)},
        {"doorbells", report.counters.doorbells},
    };
    if (options.stats) {
        out["stats"] = counters_json(report.counters);
    }
    return out;
}

std::string report_text(const CopyOptions &options, const CopyPlan &plan, const Report &report)
{
    const bool on = colours(STDOUT_FILENO);
    const Tree &tree = plan.tree;
    std::string what = plural(tree.files, "file", "files");
    if (tree.directories != 0) {
        what += ", " + plural(tree.directories, "directory", "directories");
    }
    if (tree.symlinks != 0) {
        what += ", " + plural(tree.symlinks, "symbolic link", "symbolic links");
    }
    std::string out;
    const auto line = [&](const char *label, const std::string &text) {
        out += fmt::format("{}{}\n", bold(fmt::format("{:<10}", label), on), text);
    };
    const auto speed = [&](double seconds) {
        return fmt::format(
            "{} in {}: {}, {} files/s", human_bytes(report.bytes), human_seconds(seconds),
            human_rate(static_cast<double>(report.bytes) / seconds),
            human_count(static_cast<std::uint64_t>(static_cast<double>(tree.files) / seconds)));
    };
    line(options.verify_only ? "compared" : "copied", what);
    if (!options.verify_only) {
        line("", speed(report.copy_seconds));
    }
    if (options.verify) {
        line("verified", green("identical", on) + ", every byte of both sides read and compared");
        line("", speed(report.verify_seconds));
    } else {
        line("verified", "no (ask with --verify)");
    }
    if (options.durable && !options.verify_only) {
        line("durable", "yes, every file and directory was synced");
    }
    if (!tree.skipped.empty()) {
        line("skipped", plural(tree.skipped.size(), "special file", "special files"));
    }
    line("engine", fmt::format("{}, {}, {} blocks of {} each{}", backend_name(report.info.backend),
                               plural(options.threads, "thread", "threads"), options.depth,
                               human_bytes(options.block), options.direct ? ", O_DIRECT" : ""));
    line("lanes", lanes_text(report.counters));
    if (options.stats) {
        out += "\n" + counters_text(report.counters);
    }
    return out;
}

// Raises the soft limit of descriptors as far as it goes (the usual 1024 is for programs that use
// select(2)) and returns what it is then.
std::uint64_t raise_descriptor_limit()
{
    rlimit limit{1024, 1024};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        const rlim_t before = limit.rlim_cur;
        limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 65536);
        if (limit.rlim_cur < before || setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            return before;
        }
    }
    return limit.rlim_cur;
}

}  // namespace

int run_copy(const CopyOptions &given)
{
    CopyOptions options = given;
    if (options.threads == 0) {
        options.threads = std::clamp(std::thread::hardware_concurrency(), 2u, 8u);
    }
    options.verify = options.verify || options.verify_only;

    // Four descriptors to a file at most, and some dozens for everything else.
    const std::uint64_t per_worker = raise_descriptor_limit() / options.threads / 5;
    options.group_files =
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(per_worker, 1, options.group_files));
    Progress progress(options.progress);
    CopyPlan plan = make_plan(options, progress);
    warn_of_skipped(plan);

    EngineSettings settings;
    settings.backend = options.backend;
    // Verification keeps both sides of a block in flight.
    settings.max_ops = std::clamp(options.threads * (options.depth + 1) * 2 + 64, 256u, 32768u);
    settings.arena_bytes =
        std::min<std::uint64_t>(options.threads * options.depth * options.block + (1u << 20),
                                std::uint64_t{64} << 20);
    Engine engine(settings);

    Report report;
    report.bytes = plan.tree.bytes;
    const auto started = Clock::now();
    if (!options.verify_only) {
        make_directories(plan);
        make_symlinks(options, plan);
        progress.phase("copying", plan.tree.bytes, plan.tree.files);
        report.bytes = copy_files(engine, options, plan, progress);
        finish_directories(plan);
        if (options.durable) {
            sync_directories(engine, plan);
        }
        report.copy_seconds = seconds_since(started);
    }
    if (options.verify) {
        const auto verify_started = Clock::now();
        progress.phase("verifying", plan.tree.bytes, plan.tree.files);
        verify_files(engine, options, plan, progress);
        report.verify_seconds = seconds_since(verify_started);
    }
    report.info = engine.info();
    report.counters = engine.counters();
    fmt::print("{}", options.json ? json_text(report_json(options, plan, report)) + "\n"
                                  : report_text(options, plan, report));
    return kOk;
}

}  // namespace cli
