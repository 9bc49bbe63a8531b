// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The log buffer: one ring of bytes in two mappings, from huge pages where the kernel gives them.

#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "journal/log_buffer.hpp"
#include "support/catch.hpp"

using namespace libfsys::journal;

namespace {

// Of the mappings that begin in [from, to): what /proc/self/smaps says is mapped by huge pages.
std::uint64_t huge_bytes(const unsigned char *from, const unsigned char *to) {
    std::ifstream smaps("/proc/self/smaps");
    std::string line;
    bool inside = false;
    std::uint64_t sum = 0;
    while (std::getline(smaps, line)) {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
        std::uint64_t kib = 0;
        if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " ", &begin, &end) == 2) {
            inside = begin >= reinterpret_cast<std::uintptr_t>(from) &&
                     begin < reinterpret_cast<std::uintptr_t>(to);
        } else if (inside && std::sscanf(line.c_str(), "ShmemPmdMapped: %" SCNu64, &kib) == 1) {
            sum += kib << 10;
        }
    }
    return sum;
}

}  // namespace

TEST_CASE("log buffer: both halves are the same bytes, whatever the pages", "[journal][basic]") {
    for (const std::uint64_t bytes : {std::uint64_t{64} << 10, std::uint64_t{1} << 20,
                                      std::uint64_t{2} << 20, std::uint64_t{8} << 20}) {
        LogBuffer buffer;
        REQUIRE(buffer.create(bytes) == 0);
        REQUIRE(buffer.size() == bytes);
        unsigned char *ring = buffer.at(0);
        for (std::uint64_t at = 0; at < bytes; at += 4096) {
            REQUIRE(ring[at] == 0);
            ring[at] = static_cast<unsigned char>(at / 4096 % 251 + 1);
            REQUIRE(ring[bytes + at] == ring[at]);
        }
        const char text[] = "across the end";
        std::memcpy(ring + bytes - 7, text, sizeof text);
        REQUIRE(std::memcmp(ring, text + 7, sizeof text - 7) == 0);
    }
}

TEST_CASE("log buffer: huge pages where the kernel collapses a memfd", "[journal][basic]") {
    constexpr std::uint64_t kBytes = std::uint64_t{8} << 20;
    LogBuffer first;
    LogBuffer second;
    REQUIRE(first.create(kBytes) == 0);
    REQUIRE(second.create(kBytes) == 0);
    const auto huge = [](const LogBuffer &buffer) {
        return huge_bytes(buffer.at(0), buffer.at(0) + 2 * kBytes);
    };
    // MADV_COLLAPSE by hand: what this machine can do at this moment.
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
    const bool can = ::madvise(second.at(0), kBytes, MADV_COLLAPSE) == 0 &&
                     huge_bytes(second.at(0), second.at(0) + kBytes) != 0;
    if (can) {
        REQUIRE(huge(first) == 2 * kBytes);
    } else {
        WARN("no huge pages for a memfd here (MADV_COLLAPSE wants Linux 6.1): small pages are used");
        REQUIRE(huge(first) < 2 * kBytes);
    }
}
