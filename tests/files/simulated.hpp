// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Calls of fsys/files.h over the simulated disk: each scenario is run with a crash examined before
// every change and after its end, and again with every call failing in turn.
#pragma once

#include <fcntl.h>

#include <functional>
#include <string>
#include <vector>

#include "abi/handles.hpp"
#include "files/files.hpp"
#include "sim/sim_disk.hpp"

namespace files_test {

// An engine over a disk. Caller-driven: every op runs on this thread, and the disk is for one.
class SimHandle {
public:
    explicit SimHandle(sim::Disk &disk) {
        libfsys::EngineConfig config;
        config.uring = false;
        config.caller_driven = true;
        config.syscalls = &disk;
        REQUIRE(libfsys::open_engine_for_test(config, &handle_) == 0);
    }
    SimHandle(const SimHandle &) = delete;
    SimHandle &operator=(const SimHandle &) = delete;
    ~SimHandle() { fsys_close(handle_); }
    operator fsys *() const { return handle_; }

private:
    fsys *handle_ = nullptr;
};

// A file that is there, and durable, from the start.
inline void make_file(sim::Disk &disk, const std::string &path, const std::string &text,
                      mode_t mode = 0644) {
    const int fd = disk.open(AT_FDCWD, path.c_str(), O_RDWR | O_CREAT, mode);
    REQUIRE(fd >= 0);
    REQUIRE(disk.pwrite(fd, text.data(), text.size(), 0, 0) == static_cast<ssize_t>(text.size()));
    REQUIRE(disk.close(fd) == 0);
}
inline std::string text_of(sim::Disk &disk, const std::string &path) {
    const auto *bytes = disk.find(path);
    return bytes == nullptr ? "(missing)" : std::string(bytes->begin(), bytes->end());
}
// Text that differs from sector to sector.
inline std::string long_text(std::size_t size, unsigned seed) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
        text[i] = static_cast<char>('!' + (i / 512 * 7 + i + seed) % 90);
    }
    return text;
}
inline unsigned temp_files(sim::Disk &disk, const std::string &directory) {
    unsigned count = 0;
    for (const std::string &name : disk.names(directory)) {
        count += name.rfind(".fsys-tmp.", 0) == 0;
    }
    return count;
}

struct Scenario {
    const char *name;
    // What is there, durable, before.
    std::function<void(sim::Disk &)> prepare;
    // The calls; `durability` is for them. Returns the first code that is not 0.
    std::function<int(fsys *, std::uint32_t durability)> run;
    // What is wrong with a state after a crash, "" if nothing. `done`: run() had returned 0.
    std::function<std::string(sim::Disk &, bool done)> check;
    // What somebody else does before, and does not sync; may be empty.
    std::function<void(fsys *)> before;
};

struct Planted {
    bool file_syncs = false;
    bool directory_syncs = false;
};

// Runs a scenario and examines every crash point, `variants` random states of each kind of loss at
// each. Returns "" or the first violation.
inline std::string crash_everywhere(const Scenario &scenario, std::uint32_t durability,
                                    Planted planted, unsigned variants, std::uint64_t &points) {
    sim::Disk disk;
    REQUIRE(disk.mkdir(AT_FDCWD, "a", 0755) == 0);
    REQUIRE(disk.mkdir(AT_FDCWD, "b", 0755) == 0);
    scenario.prepare(disk);
    REQUIRE(disk.sync_file_system(0) == 0);
    disk.ignore_file_syncs = planted.file_syncs;
    disk.ignore_directory_syncs = planted.directory_syncs;
    sim::Random random(1);
    std::string failure;
    const auto examine = [&](bool done) {
        for (int loss = 0; loss < sim::kLosses && failure.empty(); ++loss) {
            for (unsigned i = 0; i < variants && failure.empty(); ++i) {
                const auto after = disk.crash(static_cast<sim::Loss>(loss), random);
                ++points;
                const std::string wrong = scenario.check(*after, done);
                if (!wrong.empty()) {
                    failure = std::string(scenario.name) + (done ? ", acknowledged" : "") +
                              ", loss " + std::to_string(loss) + ": " + wrong;
                }
            }
        }
    };
    const SimHandle handle(disk);
    if (scenario.before) {
        scenario.before(handle);
    }
    disk.before_change = [&] { examine(false); };
    const int code = scenario.run(handle, durability);
    disk.before_change = nullptr;
    if (code != 0 && failure.empty()) {
        failure = std::string(scenario.name) + ": returned " + std::to_string(code);
    }
    examine(true);
    return failure;
}

const std::vector<Scenario> &scenarios();

}  // namespace files_test
