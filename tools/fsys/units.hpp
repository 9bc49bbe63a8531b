// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Numbers as people write and read them. Sizes are binary: 1K = 1 KiB = 1024 bytes.
#pragma once

#include <cstdint>
#include <string>

namespace cli {

// "4096", "4k", "1M", "256MiB", "2G"; throws CLI::ValidationError naming `option` otherwise.
std::uint64_t parse_size(const std::string &option, const std::string &text);

std::string human_bytes(std::uint64_t bytes);     // "4 KiB", "1.5 GiB"; exact when it divides
std::string human_rate(double bytes_per_second);  // "812.4 MiB/s"
std::string human_count(std::uint64_t count);     // "1,234,567"
std::string human_ns(double nanoseconds);         // "850 ns", "12.3 us", "4.1 ms"
std::string human_seconds(double seconds);        // "0.84 s", "2 min 05 s"
std::string clock_seconds(double seconds);        // "0:07", "1:02:03"
std::string plural(std::uint64_t count, const char *one, const char *many);

}  // namespace cli
