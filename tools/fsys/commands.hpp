// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The commands next to `fsys copy` (copy.hpp), as main.cpp sees them.
#pragma once

#include <cstdint>
#include <string>

namespace cli {

struct ProbeOptions {
    std::string path = ".";
    std::string backend = "auto";
    bool direct = false;  // O_DIRECT must work
    bool storage = false;  // nothing but what lies underneath: no engine, no scratch file
    bool json = false;
};
int run_probe(const ProbeOptions &options);

struct BenchOptions {
    std::string workload = "randread";
    std::string mode = "auto";
    std::string file;  // "": a scratch file in the current directory
    std::string backend = "auto";
    bool direct = false;
    bool overwrite = false;
    bool json = false;
    bool progress = false;  // on stderr
    std::uint64_t size = 0;   // 0: by workload
    std::uint64_t block = 0;
    std::uint32_t depth = 0;
    std::uint32_t threads = 1;
    std::uint64_t rate = 0;  // ops/s of all threads together; 0: as fast as possible
    double seconds = 4;
};
int run_bench(const BenchOptions &options);

}  // namespace cli
