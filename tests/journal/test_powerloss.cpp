// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Power loss on the simulated disk: at every change of random scripts, disks in states that the
// loss may leave are opened, read and compared with what had been acknowledged; one in five
// recoveries loses power itself, up to three deep.
//
// FSYS_SIM_POINTS sets the number of crash points (default 200,000), FSYS_SIM_SEED the seed.

#include <cstdio>

#include "journal/powerloss.hpp"
#include "support/catch.hpp"

using namespace journal_test;

TEST_CASE("no power loss loses, alters, invents or reorders a record", "[journal][sim]") {
    const std::uint64_t points = number_from("FSYS_SIM_POINTS", 200'000);
    const std::uint64_t seed = number_from("FSYS_SIM_SEED", 20261124);
    std::printf("power loss: seed %llu\n", static_cast<unsigned long long>(seed));
    PowerLoss run(seed);
    while (run.points() < points && run.ok()) {
        run.script();
    }
    INFO(run.failure());
    std::printf("power loss: %llu crash points (%llu nested) in %llu scripts\n",
                static_cast<unsigned long long>(run.points()),
                static_cast<unsigned long long>(run.nested()),
                static_cast<unsigned long long>(run.scripts()));
    REQUIRE(run.ok());
    REQUIRE(run.points() >= points);
    REQUIRE(run.nested() > points / 20);
}

TEST_CASE("the simulation is a function of its seed", "[journal][sim]") {
    PowerLoss first(7);
    PowerLoss second(7);
    for (int i = 0; i < 3; ++i) {
        first.script();
        second.script();
    }
    REQUIRE(first.ok());
    REQUIRE(first.points() == second.points());
    REQUIRE(first.digest() == second.digest());
    PowerLoss other(8);
    other.script();
    REQUIRE(other.digest() != first.digest());
}
