// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The journal on lossfs: power that goes at any operation, with unsynced bytes and names gone whole
// or in part, also during recovery; syncs and writes that fail; a disk that is full.

#include <cstdio>
#include <cstdlib>

#include "crash/victim.hpp"
#include "lossfs/lossfs.hpp"
#include "support/catch.hpp"

namespace {

std::uint64_t number_from(const char *variable, std::uint64_t otherwise) {
    const char *text = std::getenv(variable);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

void print(const char *what, std::uint64_t seed, const crash::Tally &tally) {
    std::printf("%s, seed %llu: %llu cycles, %llu acknowledged records, 0 lost; %llu read back, "
                "%llu torn tails cut\n",
                what, static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(tally.cycles),
                static_cast<unsigned long long>(tally.acked),
                static_cast<unsigned long long>(tally.recovered),
                static_cast<unsigned long long>(tally.torn));
}

}  // namespace

TEST_CASE("R3: power loss on lossfs loses no acknowledged record", "[forgetful]") {
    const std::uint64_t seed = number_from("FSYS_CRASH_SEED", 20261124);
    const std::uint64_t cycles = number_from("FSYS_LOSSFS_CYCLES", 2000);
    lossfs::LossFs fs;
    if (!fs.missing().empty()) {
        FSYS_SKIP(fs.missing());
    }
    crash::Rig rig(fs / "journal", seed);
    const auto power_on = [&] {
        if (rig.random(2) == 0) {
            fs.power_on();
        } else {
            fs.power_on(rig.next_random() >> 1);
        }
    };
    for (std::uint64_t i = 0; i < cycles; ++i) {
        INFO("seed " << seed << ", cycle " << i);
        std::string wrong = rig.live_until_failure([&] { fs.power_off_after(rig.random(120)); });
        REQUIRE(wrong == "");
        power_on();
        for (std::uint64_t nested = rig.random(10); nested > 7; --nested) {
            fs.power_off_after(rig.random(40));
            rig.recover_in_vain();
            fs.power_off();
            power_on();
        }
        REQUIRE(rig.judge() == "");
    }
    print("lossfs", seed, rig.tally());
    REQUIRE(rig.tally().cycles == cycles);
    REQUIRE(rig.tally().acked > cycles);
    REQUIRE(rig.tally().sticky > cycles);
}

TEST_CASE("R13: after a failed sync or write on lossfs nothing is promised, and nothing is lost",
          "[forgetful]") {
    const std::uint64_t seed = number_from("FSYS_CRASH_SEED", 20261124);
    const std::uint64_t cycles = number_from("FSYS_LOSSFS_CYCLES", 2000) / 10;
    lossfs::LossFs fs;
    if (!fs.missing().empty()) {
        FSYS_SKIP(fs.missing());
    }
    crash::Rig rig(fs / "journal", seed);
    for (std::uint64_t i = 0; i < cycles; ++i) {
        INFO("seed " << seed << ", cycle " << i);
        const std::string wrong = rig.live_until_failure([&] {
            const std::uint64_t skip = rig.random(60);
            switch (i % 4) {
            case 0: fs.fail("fsync", EIO, skip); break;
            case 1: fs.fail("write", EIO, skip); break;
            case 2: fs.fail("write", ENOSPC, skip); break;
            default: fs.set_space(rig.random(200'000)); break;
            }
        });
        REQUIRE(wrong == "");
        // What the process saw last, and then what the disk really has.
        if (rig.random(2) == 0) {
            fs.power_off();
            fs.power_on();
        }
        fs.command("fail fsync 0");
        fs.command("fail write 0");
        fs.set_space(std::uint64_t{1} << 40);
        REQUIRE(rig.judge() == "");
        fs.command("space all");
    }
    print("lossfs with errors", seed, rig.tally());
    REQUIRE(rig.tally().cycles == cycles);
    REQUIRE(rig.tally().sticky > cycles);
}
