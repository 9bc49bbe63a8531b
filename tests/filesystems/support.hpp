// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the tests of failing file systems share: an engine of each backend, files on it, patterns.
// One thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "fsys/fsys.h"
#include "support/catch.hpp"

namespace filesystems {

inline constexpr std::uint32_t kReadWriteCreate =
    FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE;

class Engine {
public:
    explicit Engine(std::uint32_t backend) {
        fsys_options options{};
        options.struct_size = sizeof options;
        options.backend = backend;
        REQUIRE(fsys_open(&options, &handle_) == 0);
    }
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;
    ~Engine() { fsys_close(handle_); }
    operator fsys *() const { return handle_; }

    int open(const std::string &path, std::uint32_t flags, fsys_file **ret_file) {
        fsys_file_options options{};
        options.struct_size = sizeof options;
        options.flags = flags;
        options.error_text = why;
        options.error_text_size = sizeof why;
        return fsys_file_open(handle_, path.c_str(), &options, ret_file);
    }
    fsys_file *file(const std::string &path) {
        fsys_file *file = nullptr;
        const int code = open(path, kReadWriteCreate, &file);
        INFO(path << ": " << why);
        REQUIRE(code == 0);
        return file;
    }
    // By the queue: whichever lane suits it.
    fsys_result submit_write(fsys_file *file, const std::vector<char> &bytes, std::uint64_t offset,
                             std::uint32_t flags) {
        fsys_op op = 0;
        REQUIRE(fsys_submit_write(file, bytes.data(), bytes.size(), offset, flags, 0, &op) == 0);
        fsys_result result{};
        REQUIRE(fsys_wait(handle_, op, 10'000'000'000, &result) == 0);
        return result;
    }

    char why[256] = "";

private:
    fsys *handle_ = nullptr;
};

// Both backends, one after the other; io_uring only where the machine has it.
inline std::vector<std::uint32_t> backends() {
    std::vector<std::uint32_t> out{FSYS_BACKEND_THREADS};
    fsys_options options{};
    options.struct_size = sizeof options;
    options.backend = FSYS_BACKEND_IO_URING;
    fsys *handle = nullptr;
    if (fsys_open(&options, &handle) == 0) {
        fsys_close(handle);
        out.push_back(FSYS_BACKEND_IO_URING);
    }
    return out;
}

inline std::vector<char> block(std::size_t size, unsigned seed) {
    std::vector<char> bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<char>((i * 31 + seed * 7 + i / 251) & 0xff);
    }
    return bytes;
}

inline std::vector<char> read_back(fsys_file *file, std::size_t size, std::uint64_t offset) {
    std::vector<char> bytes(size);
    const std::int64_t n = fsys_read(file, bytes.data(), size, offset, 0);
    REQUIRE(n >= 0);
    bytes.resize(static_cast<std::size_t>(n));
    return bytes;
}

}  // namespace filesystems
