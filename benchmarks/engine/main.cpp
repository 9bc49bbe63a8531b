// SPDX-License-Identifier: Apache-2.0 OR MIT
// The engine benchmark: command line, order of the groups, output. The main thread never does
// measured work; see runner.hpp for the threads that do.
#include "groups.hpp"
#include "machine.hpp"
#include "report.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <optional>

namespace bench {

namespace {

int run(const Settings &settings) {
    if (settings.list) {
        Report report(settings);
        measure_idle(report);
        TestFile tiny(settings.directory, "bench_engine.list", 1U << 20);
        const Files files{tiny, tiny};
        measure_single(report, files);
        measure_batch(report, files);
        measure_depth(report, files);
        measure_nop(report);
        measure_durable(report, files);
        measure_peers(report, files);
        measure_growth(report, files);
        return 0;
    }

    Report report(settings);
    // Before anything else of the library is touched.
    measure_idle(report);
    Machine machine = describe_machine(settings);

    fmt::print(stderr, "making two files of {} MiB in {} ...\n", settings.file_bytes >> 20,
               settings.directory);
    remove_files_on_signal();
    TestFile cached(settings.directory, "bench_engine.cached", settings.file_bytes);
    TestFile direct(settings.directory, "bench_engine.direct", settings.file_bytes);
    cached.fill_cache();
    direct.drop_cache();
    const Files files{cached, direct};

    measure_single(report, files);
    measure_batch(report, files);
    measure_depth(report, files);
    measure_nop(report);
    measure_durable(report, files);
    measure_peers(report, files);
    measure_growth(report, files);
    measure_instructions(report, files);
    report.add_allocation_goal();
    report.finish();

    machine.facts.emplace_back("load after", load_average());
    if (settings.quick)
        report.note(
            "--quick: short slices, few rounds, fio at one cell only, no writes at depth, no "
            "16 threads at depth. Do not quote these figures.");
    report.print(machine);
    if (!settings.json_path.empty())
        report.write_json(machine);
    return report.failed() ? 1 : 0;
}

}  // namespace

}  // namespace bench

int main(int argc, char **argv) {
    bench::Settings settings;
    unsigned rounds = 0;
    unsigned slice = 0;
    unsigned megabytes = 0;
    bool no_fio = false;
    std::string child;
    std::string child_file;
    unsigned long child_ops = 0;

    CLI::App app{
        "libfsys against pread/pwrite, bare liburing and fio's io_uring engine.\n"
        "Interleaved rounds; ratios are paired by round. See benchmarks/README.md."};
    app.add_option("--dir", settings.directory, "directory for the test files (default: .)")
        ->check(CLI::ExistingDirectory);
    app.add_option("--json", settings.json_path, "also write every sample to this file");
    app.add_option("--filter", settings.filters,
                   "only comparisons whose id contains this text (repeatable; see --list)");
    app.add_flag("--list", settings.list, "print the ids and end");
    app.add_flag("--quick", settings.quick,
                 "a look in under a minute: fewer, shorter, not to be quoted");
    app.add_option("--rounds", rounds, "rounds per comparison (default 11, quick 5)")
        ->check(CLI::Range(1, 1000));
    app.add_option("--slice", slice, "milliseconds per row and round (default 100, quick 25)")
        ->check(CLI::Range(1, 60000));
    app.add_option("--size", megabytes, "MiB of each of the two test files (default 256, quick 64)")
        ->check(CLI::Range(1, 65536));
    app.add_flag("--no-fio", no_fio, "leave fio out");
    app.add_option("--crate", settings.crate,
                   "the program built from benchmarks/peers/rust-fsys (target/release/io)")
        ->check(CLI::ExistingFile);
    app.add_flag("--instructions", settings.instructions,
                 "also count user-space instructions per op with valgrind");
    // Used by this program to run itself below valgrind.
    app.add_option("--instruction-child", child)->group("");
    app.add_option("--instruction-ops", child_ops)->group("");
    app.add_option("--instruction-file", child_file)->group("");
    CLI11_PARSE(app, argc, argv);

    if (settings.quick) {
        settings.rounds = 5;
        settings.slice = std::chrono::milliseconds(25);
        settings.warm_up = std::chrono::milliseconds(5);
        settings.file_bytes = 64ULL << 20;
    }
    if (rounds != 0)
        settings.rounds = rounds;
    if (slice != 0)
        settings.slice = std::chrono::milliseconds(slice);
    if (megabytes != 0)
        settings.file_bytes = std::uint64_t{megabytes} << 20;
    settings.with_fio = !no_fio;
    for (int i = 0; i < argc; ++i)
        settings.command += (i == 0 ? "" : " ") + std::string(argv[i]);

    try {
        if (!child.empty())
            return bench::run_instruction_child(child, child_ops, child_file);
        return bench::run(settings);
    } catch (const std::exception &error) {
        fmt::print(stderr, "bench_engine: {}\n", error.what());
        return 2;
    }
}
