// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The model that contents are checked against. A file is divided into units; each unit belongs to
// one thread, which alone writes it and knows its version. The bytes of a unit follow from file,
// unit and version. A write whose fate is unknown makes the unit unknown until it is written again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <fsys/fsys.h>

namespace stress {

inline std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15u); }
    std::uint64_t below(std::uint64_t n) { return next() % n; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }

private:
    std::uint64_t state_;
};

constexpr std::uint32_t kUnknown = 0xffffffffu;
constexpr std::uint32_t kUnitsEach = 96;  // of one thread in one file

struct Unit {
    std::uint32_t version = 0;  // 0: never written, zeros
    std::uint16_t readers = 0;  // ops in flight
    bool writer = false;
};

struct TestFile {
    std::string path;
    std::uint32_t number = 0;
    bool direct = false;
    std::uint32_t unit = 512;  // bytes
    std::uint32_t owners = 1;
    std::vector<Unit> units;
    fsys_file *handle = nullptr;

    std::uint64_t size() const { return std::uint64_t{unit} * units.size(); }

    void fill(std::uint8_t *bytes, std::uint32_t index, std::uint32_t version) const {
        if (version == 0) {
            std::memset(bytes, 0, unit);
            return;
        }
        std::uint64_t key = mix((std::uint64_t{number} << 56) ^ (std::uint64_t{index} << 32) ^ version);
        for (std::uint32_t at = 0; at < unit; at += 8) {
            key = key * 6364136223846793005u + 1442695040888963407u;
            std::memcpy(bytes + at, &key, 8);
        }
    }
    // The first wrong byte, or `unit` when all are right.
    std::uint32_t mismatch(const std::uint8_t *bytes, std::uint32_t index,
                           std::uint32_t version) const {
        std::uint8_t expected[4096];
        fill(expected, index, version);
        if (std::memcmp(bytes, expected, unit) == 0) {
            return unit;
        }
        std::uint32_t at = 0;
        while (bytes[at] == expected[at]) {
            ++at;
        }
        return at;
    }
};

}  // namespace stress
