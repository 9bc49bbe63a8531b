// SPDX-License-Identifier: Apache-2.0 OR MIT
// The engine benchmark: command line, order of the groups, output. The main thread never does
// measured work; see runner.hpp for the threads that do.
#include "command_line.hpp"
#include "groups.hpp"
#include "machine.hpp"
#include "peers.hpp"
#include "report.hpp"
#include "subject.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <optional>

namespace bench {

namespace {

std::string ring_text() {
    const auto engine = std::make_shared<Engine>(EngineOptions{});
    // The first op that needs the ring starts it; a NOP does.
    fsys_request request{};
    fsys_op op = 0;
    check(fsys_submit(engine->get(), &request, 1, &op), "fsys_submit");
    check(fsys_wait(engine->get(), op, FSYS_FOREVER, nullptr), "fsys_wait");
    const fsys_handle_info info = engine->info();
    return fmt::format("{} ({}), ring flags 0x{:x}, {} op slots",
                       info.backend == FSYS_BACKEND_IO_URING ? "io_uring" : "THREADS",
                       info.backend == FSYS_BACKEND_IO_URING ? "no fallback" : info.reason_text,
                       info.ring_flags, info.max_ops);
}

void describe_subjects(const Settings &settings, Machine &machine) {
    auto &facts = machine.facts;
    facts.emplace_back("libfsys", fmt::format("{}; {}", fsys_version_string(), ring_text()));
    facts.emplace_back("liburing", BENCH_LIBURING_VERSION);
    const std::string fio = settings.with_fio ? fio_version() : std::string();
    facts.emplace_back("fio", fio.empty() ? "NOT RUN" : fio);
}

int run(const Settings &settings) {
    if (settings.list) {
        Report report(settings, "libfsys engine benchmark");
        measure_idle(report);
        TestFile tiny(settings.directory, "bench_engine.list", 1U << 20);
        const Files files{tiny, tiny};
        measure_single(report, files);
        measure_batch(report, files);
        measure_depth(report, files);
        measure_nop(report);
        measure_durable(report, files);
        measure_open_loop(report, files);
        measure_peers(report, files);
        measure_growth(report, files);
        return 0;
    }

    Report report(settings, "libfsys engine benchmark");
    // Before anything else of the library is touched.
    measure_idle(report);
    Machine machine = describe_machine(settings);
    describe_subjects(settings, machine);

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
    measure_open_loop(report, files);
    measure_peers(report, files);
    measure_growth(report, files);
    measure_instructions(report, files);
    report.add_allocation_goal(7);
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
    bool no_fio = false;
    std::string child;
    std::string child_file;
    unsigned long child_ops = 0;

    CLI::App app{
        "libfsys against pread/pwrite, bare liburing and fio's io_uring engine.\n"
        "Interleaved rounds; ratios are paired by round. See benchmarks/README.md."};
    bench::CommandLine line(app, settings, {11, 5, 100, 25, 256, 64, 20, 5});
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

    line.settle(argc, argv);
    settings.with_fio = !no_fio;

    try {
        if (!child.empty())
            return bench::run_instruction_child(child, child_ops, child_file);
        return bench::run(settings);
    } catch (const std::exception &error) {
        fmt::print(stderr, "bench_engine: {}\n", error.what());
        return 2;
    }
}
