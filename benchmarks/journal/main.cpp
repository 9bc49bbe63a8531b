// SPDX-License-Identifier: Apache-2.0 OR MIT
// The journal benchmark: command line, order of the groups, output. The main thread never does
// measured work but in the variants that run "external"; see runner.hpp.
#include "command_line.hpp"
#include "groups.hpp"
#include "logs.hpp"
#include "machine.hpp"

#include <fsys/journal.h>

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <filesystem>

namespace bench {

namespace {

/// The durability primitive that opening chose here.
std::string primitive(const std::string &directory) {
    fsys *handle = nullptr;
    check(fsys_open(nullptr, &handle), "fsys_open");
    fsys_journal *journal = nullptr;
    const std::string path = directory + "/primitive";
    check(fsys_journal_open(handle, path.c_str(), nullptr, nullptr, &journal), "fsys_journal_open");
    fsys_journal_stats stats{};
    stats.struct_size = sizeof stats;
    check(fsys_journal_stat(journal, &stats), "fsys_journal_stat");
    fsys_journal_close(journal);
    fsys_close(handle);
    std::filesystem::remove_all(path);
    return stats.direct != 0 ? "O_DIRECT with RWF_DSYNC" : "write and fdatasync";
}

int run(const Settings &settings) {
    Report report(settings, "libfsys journal benchmark");
    Bench bench{report, settings.directory, {}};
    if (!settings.list) {
        bench.directory += "/bench_journal." + std::to_string(getpid());
        std::filesystem::create_directories(bench.directory);
        remove_on_signal(bench.directory);
    }
    const auto measure = [&] {
        measure_commits(bench);
        measure_async(bench);
        measure_open_loop(bench);
        measure_appends(bench);
        measure_recovery(bench);
        measure_length(bench);
    };
    if (settings.list) {
        measure();
        return 0;
    }
    Machine machine = describe_machine(settings);
    auto &facts = machine.facts;
    facts.emplace_back("libfsys", fmt::format("{}; the journal's primitive here: {}",
                                              fsys_version_string(), primitive(bench.directory)));
    const auto or_not = [](const std::string &version) {
        return version.empty() ? std::string("NOT RUN: not there when this was compiled") : version;
    };
    facts.emplace_back("RocksDB", or_not(rocksdb_version()));
    facts.emplace_back("SQLite", or_not(sqlite_version()));
    std::string why = "--no-rust";
    if (settings.with_rust)
        bench.rust = rust_program(std::filesystem::temp_directory_path().string(), why);
    facts.emplace_back("Rust crate fsys", bench.rust.empty() ? "NOT RUN: " + why : "1.1.0");

    measure();
    report.add_allocation_goal(10);
    report.finish();
    facts.emplace_back("load after", load_average());
    if (settings.quick)
        report.note(
            "--quick: short slices, few rounds, fewer thread counts and sizes. Do not quote these "
            "figures.");
    report.print(machine);
    if (!settings.json_path.empty())
        report.write_json(machine);
    std::error_code ignored;
    std::filesystem::remove_all(bench.directory, ignored);
    return report.failed() ? 1 : 0;
}

}  // namespace

}  // namespace bench

int main(int argc, char **argv) {
    bench::Settings settings;
    bool no_rust = false;
    CLI::App app{
        "libfsys's journal against RocksDB, SQLite, the Rust crate fsys and the bare system calls.\n"
        "Interleaved rounds; ratios are paired by round. See benchmarks/README.md."};
    bench::CommandLine line(app, settings, {10, 3, 200, 80, 256, 64, 40, 20});
    app.add_flag("--no-rust", no_rust, "leave the Rust crate out");
    CLI11_PARSE(app, argc, argv);
    line.settle(argc, argv);
    settings.with_rust = !no_rust;
    try {
        return bench::run(settings);
    } catch (const std::exception &error) {
        fmt::print(stderr, "bench_journal: {}\n", error.what());
        return 2;
    }
}
