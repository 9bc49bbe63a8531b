// SPDX-License-Identifier: Apache-2.0 OR MIT
// Descriptors, aligned memory and write-back for every benchmark. Each object belongs to one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace bench {

/// Throws Failure with errno in words.
[[noreturn]] void fail_with_errno(const std::string &what, const std::string &path);

/// Writes back all dirty data of the file system that holds the directory.
void write_back(const std::string &directory);

/// An open descriptor.
class Descriptor {
public:
    Descriptor(const std::string &path, int flags);
    ~Descriptor();
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;
    [[nodiscard]] int get() const { return fd_; }

private:
    int fd_;
};

/// Page-aligned memory, touched.
class Pages {
public:
    /// With `huge`, from transparent huge pages where they are allowed: what a program that asks for
    /// them gets, and a device reads from them with fewer requests.
    explicit Pages(std::size_t bytes, bool huge = false);
    [[nodiscard]] char *at(std::size_t page) const { return memory_.get() + page * 4096; }

private:
    struct Release {
        void operator()(char *memory) const;
    };
    std::unique_ptr<char, Release> memory_;
};

}  // namespace bench
