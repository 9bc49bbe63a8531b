// SPDX-License-Identifier: Apache-2.0 OR MIT
// The journal of the Rust crate fsys: a cargo project that is built on demand and run once per
// slice. It warms up, counts and times by itself. Main thread.
#include "logs.hpp"
#include "subprocess.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace bench {

std::string rust_program(const std::string &directory, std::string &why) {
    const std::string target = directory + "/fsys-bench-rust";
    if (run_program({"cargo", "--version"}).status != 0) {
        why = "there is no cargo";
        return {};
    }
    if (!std::filesystem::exists(BENCH_RUST_SOURCE "/Cargo.toml")) {
        why = "its source is not at " BENCH_RUST_SOURCE;
        return {};
    }
    fmt::print(stderr, "building the Rust crate's journal ...\n");
    // The project is copied, so that nothing is written beside the source.
    std::filesystem::create_directories(target);
    for (const char *part : {"Cargo.toml", "Cargo.lock", "src"})
        std::filesystem::copy(std::string(BENCH_RUST_SOURCE "/") + part, target + "/" + part,
                              std::filesystem::copy_options::recursive |
                                  std::filesystem::copy_options::overwrite_existing);
    const Output built = run_program({"cargo", "build", "--quiet", "--release", "--bin", "journal",
                                      "--manifest-path", target + "/Cargo.toml", "--target-dir", target + "/target"});
    if (built.status != 0) {
        why = "cargo build failed: " + built.text.substr(0, built.text.find('\n'));
        return {};
    }
    return target + "/target/release/journal";
}

Variant rust_variant(const std::string &name, const std::string &program, const LogPlan &plan,
                     const std::string &mode, bool tuned) {
    Variant variant{.name = name, .threads = plan.threads, .make = {}};
    variant.external = [=](std::chrono::milliseconds slice) {
        const Output output = run_program(
            {program, plan.directory + "/rust.wal", mode, std::to_string(plan.threads),
             std::to_string(plan.bytes), std::to_string(slice.count()), tuned ? "tuned" : "default"});
        std::istringstream text(output.text);
        double operations = 0;
        double seconds = 0;
        if (output.status != 0 || !(text >> operations >> seconds) || seconds <= 0 ||
            operations <= 0)
            throw Failure("the Rust crate: " + output.text.substr(0, output.text.find('\n')));
        Sample sample;
        sample.ops = static_cast<std::uint64_t>(operations);
        sample.ops_per_second = operations / seconds;
        return sample;
    };
    return variant;
}

}  // namespace bench
