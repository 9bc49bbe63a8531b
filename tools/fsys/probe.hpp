// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The facts that `fsys probe` gathers (probe.cpp) and prints (probe_report.cpp).
#pragma once

#include "engine.hpp"

#include <fsys/device.h>

#include <cstdint>
#include <string>
#include <vector>

namespace cli {

// One real operation: how it was asked for, who executed it.
struct Trial {
    std::string operation;  // "read, cached"
    std::string asked;      // "left alone", "waited for", "blocking", "batch of 32"
    bool direct = false;
    std::uint32_t lane = FSYS_LANE_NONE;
    std::uint64_t nanoseconds = 0;  // the best of some, submit until taken; per op in a batch
};

struct ProbeFacts {
    std::string kernel;    // uname -sr
    std::string machine;   // uname -m
    long processors = 0;
    std::string directory;
    std::string path;             // as given
    fsys_probe_report storage{};  // of `path`
    fsys_handle_info idle{};    // before the first operation
    fsys_handle_info running{};
    std::uint64_t idle_threads = 0;     // of the process, beyond the main one
    std::uint64_t running_threads = 0;
    fsys_file_details buffered{};
    fsys_file_details direct{};
    int direct_code = 0;  // why there is no O_DIRECT, or 0
    std::vector<Trial> trials;
    fsys_counters counters{};
};

// What lies underneath a path (probe_device.cpp).
fsys_probe_report probe_storage(const std::string &path);
std::string storage_text(const fsys_probe_report &report, const std::string &path, bool colours);
nlohmann::json storage_json(const fsys_probe_report &report, const std::string &path);

std::string probe_text(const ProbeFacts &facts);
nlohmann::json probe_json(const ProbeFacts &facts);

}  // namespace cli
