// SPDX-License-Identifier: Apache-2.0 OR MIT
// Declares the common options and turns them into settings. Main thread.
#include "command_line.hpp"

namespace bench {

namespace {

std::string with_defaults(const char *text, unsigned normal, unsigned quick) {
    return std::string(text) + " (default " + std::to_string(normal) + ", quick " +
           std::to_string(quick) + ")";
}

}  // namespace

CommandLine::CommandLine(CLI::App &app, Settings &settings, const Defaults &defaults)
    : settings_(settings), defaults_(defaults) {
    app.add_option("--dir", settings.directory, "directory for the test files (default: .)")
        ->check(CLI::ExistingDirectory);
    app.add_option("--json", settings.json_path, "also write every sample to this file");
    app.add_option("--filter", settings.filters,
                   "only comparisons whose id contains this text (repeatable; see --list)");
    app.add_flag("--list", settings.list, "print the ids and end");
    app.add_flag("--quick", settings.quick, "a look: fewer, shorter, not to be quoted");
    app.add_option("--rounds", rounds_,
                   with_defaults("rounds per comparison", defaults.rounds, defaults.quick_rounds))
        ->check(CLI::Range(1, 1000));
    app.add_option(
           "--slice", slice_,
           with_defaults("milliseconds per row and round", defaults.slice_ms,
                         defaults.quick_slice_ms))
        ->check(CLI::Range(1, 60000));
    app.add_option("--size", size_,
                   with_defaults("MiB of each test file", defaults.size_mib,
                                 defaults.quick_size_mib))
        ->check(CLI::Range(1, 65536));
}

void CommandLine::settle(int argc, char **argv) {
    const bool quick = settings_.quick;
    const auto choose = [&](unsigned given, unsigned normal, unsigned fast) {
        return given != 0 ? given : quick ? fast : normal;
    };
    settings_.rounds = choose(rounds_, defaults_.rounds, defaults_.quick_rounds);
    settings_.slice =
        std::chrono::milliseconds(choose(slice_, defaults_.slice_ms, defaults_.quick_slice_ms));
    settings_.warm_up =
        std::chrono::milliseconds(choose(0, defaults_.warm_up_ms, defaults_.quick_warm_up_ms));
    settings_.file_bytes =
        std::uint64_t{choose(size_, defaults_.size_mib, defaults_.quick_size_mib)} << 20;
    for (int i = 0; i < argc; ++i)
        settings_.command += (i == 0 ? "" : " ") + std::string(argv[i]);
}

}  // namespace bench
