// SPDX-License-Identifier: Apache-2.0 OR MIT
// The file under test and the offsets that all peers draw. One TestFile is shared by all threads;
// an Offsets belongs to one.
#pragma once

#include "files.hpp"
#include "settings.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace bench {

/// Every IO of bench_engine has this size: the goals are stated for it.
inline constexpr std::size_t block_size = 4096;

/// A file of written blocks (no holes, no unwritten extents), removed with the object.
class TestFile {
public:
    TestFile(const std::string &directory, const std::string &name, std::uint64_t bytes);
    ~TestFile();
    TestFile(const TestFile &) = delete;
    TestFile &operator=(const TestFile &) = delete;

    [[nodiscard]] const std::string &path() const { return path_; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

    /// Makes every page resident.
    void fill_cache() const;
    /// Writes back and drops the pages, so that O_DIRECT finds none to flush or invalidate.
    void drop_cache() const;

private:
    std::string path_;
    std::uint64_t bytes_;
};

/// From now on SIGINT and SIGTERM remove the test files before they end the program.
void remove_files_on_signal();

/// Uniform random block offsets (xorshift64*): the same generator and cost for all peers in this
/// process.
class Offsets {
public:
    Offsets(std::uint64_t seed, std::uint64_t file_bytes)
        : state_(seed * 0x9E3779B97F4A7C15ULL | 1), blocks_(file_bytes / block_size) {}
    std::uint64_t next() noexcept {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        const std::uint64_t high = (state_ * 0x2545F4914F6CDD1DULL) >> 32;
        return ((high * blocks_) >> 32) * block_size;
    }

private:
    std::uint64_t state_;
    std::uint64_t blocks_;
};

}  // namespace bench
