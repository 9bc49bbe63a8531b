// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Power loss on real file systems: FS_IOC_SHUTDOWN takes ext4 or XFS away under a process that
// writes a journal; then unmount, mount (the file system's own recovery), open, compare, go on.

#include <cstdio>
#include <cstdlib>

#include "crash/loop_disk.hpp"
#include "crash/victim.hpp"
#include "support/catch.hpp"

namespace {

std::uint64_t number_from(const char *variable, std::uint64_t otherwise) {
    const char *text = std::getenv(variable);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// "" or what was wrong.
std::string cycle(crash::LoopDisk &disk, crash::Rig &rig) {
    std::string cut;
    std::string wrong = rig.live([&] {
        cut = disk.shut_down(rig.random(2) == 0 ? crash::Shutdown::log_flushed
                                                : crash::Shutdown::nothing_flushed);
    });
    wrong = !cut.empty() ? cut : wrong;
    if (wrong.empty()) {
        wrong = disk.unmount();
    }
    if (wrong.empty()) {
        wrong = disk.mount();
    }
    return wrong.empty() ? rig.judge() : wrong;
}

void many_cycles(const char *type, std::uint64_t bytes) {
    const std::uint64_t seed = number_from("FSYS_CRASH_SEED", 20261124);
    const std::uint64_t cycles = number_from("FSYS_SHUTDOWN_CYCLES", 300);
    crash::LoopDisk disk(type, bytes);
    if (!disk.missing().empty()) {
        FSYS_SKIP(std::string(type) + " on a loop device: " + disk.missing());
    }
    std::printf("%s: seed %llu\n", type, static_cast<unsigned long long>(seed));
    crash::Rig rig(disk / "journal", seed);
    for (std::uint64_t i = 0; i < cycles; ++i) {
        const std::string wrong = cycle(disk, rig);
        INFO(type << ", seed " << seed << ", cycle " << i);
        REQUIRE(wrong == "");
    }
    const crash::Tally &tally = rig.tally();
    std::printf("%s: %llu power losses, %llu acknowledged records, 0 lost; %llu read back, "
                "%llu torn tails cut\n",
                type, static_cast<unsigned long long>(tally.cycles),
                static_cast<unsigned long long>(tally.acked),
                static_cast<unsigned long long>(tally.recovered),
                static_cast<unsigned long long>(tally.torn));
    REQUIRE(tally.cycles == cycles);
    REQUIRE(tally.acked > cycles);  // power was not lost before anything was promised
    REQUIRE(disk.unmount() == "");
}

}  // namespace

TEST_CASE("R2: power loss on ext4 loses no acknowledged record", "[shutdown-ext4]") {
    many_cycles("ext4", std::uint64_t{64} << 20);
}

TEST_CASE("R2: power loss on XFS loses no acknowledged record", "[shutdown-xfs]") {
    many_cycles("xfs", std::uint64_t{320} << 20);
}
