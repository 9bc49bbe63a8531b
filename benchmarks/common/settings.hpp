// SPDX-License-Identifier: Apache-2.0 OR MIT
// What the command line asked for. Filled once by main, read-only afterwards.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace bench {

struct Settings {
    std::string directory = ".";
    std::string json_path;
    std::vector<std::string> filters;
    std::string command;
    std::uint64_t file_bytes = 256ULL << 20;  ///< of each test file
    unsigned rounds = 11;
    std::chrono::milliseconds slice{100};
    std::chrono::milliseconds warm_up{20};
    std::string crate;  ///< program of the Rust peer (bench_engine), or empty
    bool quick = false;
    bool list = false;
    bool with_fio = true;       ///< bench_engine
    bool instructions = false;  ///< bench_engine
    bool with_rust = true;      ///< bench_journal

    /// Whether a comparison of this id was asked for (substring match; no filter means all).
    [[nodiscard]] bool wants(const std::string &id) const {
        if (filters.empty())
            return true;
        for (const std::string &filter : filters) {
            if (id.find(filter) != std::string::npos)
                return true;
        }
        return false;
    }
};

}  // namespace bench
