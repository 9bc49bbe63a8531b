// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Power loss at every change and failure of every call, of each call of fsys/files.h that promises
// something, on the simulated disk.

#include "files/simulated.hpp"

using namespace files_test;

TEST_CASE("powerloss: every crash state of every call keeps its promise", "[powerloss]") {
    std::uint64_t points = 0;
    for (const Scenario &scenario : scenarios()) {
        for (const std::uint32_t durability :
             {FSYS_DURABILITY_DATA, FSYS_DURABILITY_FULL, FSYS_DURABILITY_DEVICE}) {
            CHECK(crash_everywhere(scenario, durability, {}, 12, points) == "");
        }
    }
    std::printf("files: %llu crash states examined\n", static_cast<unsigned long long>(points));
    CHECK(points > 10'000);
}

TEST_CASE("powerloss: without the syncs the same checks fail", "[powerloss]") {
    // The bare system calls: shows that the checks can see what is missing, for each call.
    std::uint64_t points = 0;
    for (const Scenario &scenario : scenarios()) {
        INFO(scenario.name);
        CHECK_FALSE(crash_everywhere(scenario, FSYS_DURABILITY_NONE, {}, 12, points).empty());
    }
}

TEST_CASE("powerloss: planted: the file's sync is left out", "[powerloss]") {
    std::uint64_t points = 0;
    for (const Scenario &scenario : scenarios()) {
        const std::string name = scenario.name;
        if (name == "rename" || name == "rename to another directory" || name == "unlink" ||
            name == "mkdir" || name == "rmdir") {
            continue;  // only names change
        }
        INFO(name);
        CHECK_FALSE(
            crash_everywhere(scenario, FSYS_DURABILITY_FULL, {true, false}, 12, points).empty());
    }
}

TEST_CASE("powerloss: planted: the directory's sync is left out", "[powerloss]") {
    std::uint64_t points = 0;
    for (const Scenario &scenario : scenarios()) {
        const std::string name = scenario.name;
        if (name == "append" || name == "truncate" || name == "preallocate" ||
            name == "punch hole" || name == "zero range") {
            continue;  // no name changes
        }
        INFO(name);
        CHECK_FALSE(
            crash_everywhere(scenario, FSYS_DURABILITY_FULL, {false, true}, 12, points).empty());
    }
}

TEST_CASE("powerloss: without the directory's sync a replace is still all old or all new",
          "[powerloss]") {
    std::uint64_t points = 0;
    Scenario scenario = scenarios().front();
    scenario.run = [](fsys *handle, std::uint32_t) {
        ReplaceOptions options(FSYS_REPLACE_NO_DIRECTORY_SYNC);
        return replace(handle, "a/f", long_text(14000, 2), &options);
    };
    const std::string acknowledged = crash_everywhere(scenario, 0, {}, 12, points);
    CHECK(acknowledged.find("is old") != std::string::npos);  // that is what the flag gives up
    scenario.check = [check = scenario.check](sim::Disk &disk, bool) { return check(disk, false); };
    CHECK(crash_everywhere(scenario, 0, {}, 12, points).empty());
}

TEST_CASE("powerloss: what a crash leaves is swept", "[powerloss]") {
    sim::Disk disk;
    REQUIRE(disk.mkdir(AT_FDCWD, "a", 0755) == 0);
    REQUIRE(disk.sync_file_system(0) == 0);
    sim::Random random(3);
    unsigned left = 0;
    disk.before_change = [&] {
        const auto after = disk.crash(sim::Loss::none, random);
        left += temp_files(*after, "a");
        const SimHandle handle(*after);
        std::uint32_t removed = 0;
        REQUIRE(fsys_sweep(handle, "a", 0, nullptr, &removed) == 0);
        REQUIRE(temp_files(*after, "a") == 0);
    };
    const SimHandle handle(disk);
    REQUIRE(replace(handle, "a/f", "text") == 0);
    disk.before_change = nullptr;
    CHECK(left != 0);
}

TEST_CASE("faults: every failing call is an error, leaves the old file and no temporary one",
          "[faults]") {
    std::uint64_t runs = 0;
    for (const Scenario &scenario : scenarios()) {
        for (const int code : {-EIO, -ENOSPC, -EROFS}) {
            for (const bool persistent : {false, true}) {
                for (std::uint64_t k = 0;; ++k) {
                    sim::Disk disk;
                    REQUIRE(disk.mkdir(AT_FDCWD, "a", 0755) == 0);
                    REQUIRE(disk.mkdir(AT_FDCWD, "b", 0755) == 0);
                    scenario.prepare(disk);
                    REQUIRE(disk.sync_file_system(0) == 0);
                    const SimHandle handle(disk);
                    const std::size_t open = disk.open_files();
                    if (scenario.before) {
                        scenario.before(handle);
                    }
                    sim::Fault fault;
                    fault.at = disk.calls() + k;
                    fault.code = code;
                    fault.persistent = persistent;
                    disk.set_fault(fault);
                    const int returned = scenario.run(handle, FSYS_DURABILITY_DEVICE);
                    INFO(scenario.name << ", call " << k << ", " << fsys_error_name(code)
                                       << (persistent ? ", from then on" : ""));
                    if (!disk.fault_fired()) {
                        CHECK(returned == 0);
                        break;
                    }
                    ++runs;
                    CHECK(returned == code);
                    CHECK(disk.open_files() == open);
                    disk.set_fault({});
                    CHECK(scenario.check(disk, false).empty());
                    if (!persistent) {
                        CHECK(temp_files(disk, "a") == 0);
                        CHECK(temp_files(disk, "b") == 0);
                    }
                }
            }
        }
    }
    CHECK(runs > 500);
}

TEST_CASE("faults: the report tells the step, and whether the change is visible", "[faults]") {
    for (std::uint64_t k = 0;; ++k) {
        sim::Disk disk;
        REQUIRE(disk.mkdir(AT_FDCWD, "a", 0755) == 0);
        make_file(disk, "a/f", "old");
        const SimHandle handle(disk);
        sim::Fault fault;
        fault.at = disk.calls() + k;
        fault.code = -EIO;
        disk.set_fault(fault);
        ReplaceOptions options;
        options.durability = FSYS_DURABILITY_DEVICE;
        Report report;
        const int code = replace(handle, "a/f", "new", &options, &report);
        if (!disk.fault_fired()) {
            CHECK(code == 0);
            CHECK(report.step == FSYS_FILE_STEP_NONE);
            CHECK(report.durability == FSYS_DURABILITY_DEVICE);
            CHECK(disk.flushes() == 1);
            break;
        }
        INFO("call " << k << ": " << options.text);
        CHECK(code == -EIO);
        CHECK(report.step != FSYS_FILE_STEP_NONE);
        CHECK(report.visible == (report.step >= FSYS_FILE_STEP_SYNC_DIRECTORY));
        CHECK(text_of(disk, "a/f") == (report.visible != 0 ? "new" : "old"));
        CHECK(std::string(options.text).find("'a/f'") != std::string::npos);
        CHECK(std::string(options.text).find("Input/output error") != std::string::npos);
        CHECK(report.durability < FSYS_DURABILITY_DEVICE);
        CHECK(disk.syncs_after_fault() == 0);
    }
}

TEST_CASE("faults: short transfers are gone on with", "[faults]") {
    for (const Scenario &scenario : scenarios()) {
        for (const std::size_t limit : {std::size_t{1}, std::size_t{700}, std::size_t{8191}}) {
            sim::Disk disk;
            REQUIRE(disk.mkdir(AT_FDCWD, "a", 0755) == 0);
            REQUIRE(disk.mkdir(AT_FDCWD, "b", 0755) == 0);
            scenario.prepare(disk);
            const SimHandle handle(disk);
            if (scenario.before) {
                scenario.before(handle);
            }
            sim::Fault fault;
            fault.at = disk.calls();
            fault.limit = limit;
            fault.persistent = limit != 1;
            disk.set_fault(fault);
            INFO(scenario.name << ", " << limit << " bytes a call");
            CHECK(scenario.run(handle, FSYS_DURABILITY_FULL) == 0);
            CHECK(scenario.check(disk, true).empty());
        }
    }
}
