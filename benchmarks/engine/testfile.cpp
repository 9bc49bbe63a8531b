// SPDX-License-Identifier: Apache-2.0 OR MIT
// Creates, warms, cools and removes test files. Called by the main thread between measurements.
#include "testfile.hpp"

#include "runner.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace bench {

namespace {

// For the signal handler, which may only look at plain memory: paths of the files that exist.
constexpr std::size_t most_files = 4;
char paths[most_files][4096];

void remember(const std::string &path) {
    for (auto &place : paths) {
        if (place[0] == '\0' && path.size() < sizeof place) {
            std::memcpy(place, path.c_str(), path.size() + 1);
            return;
        }
    }
}

void forget(const std::string &path) {
    for (auto &place : paths) {
        if (path == place)
            place[0] = '\0';
    }
}

void remove_and_end(int signal) {
    for (const auto &place : paths) {
        if (place[0] != '\0')
            unlink(place);
    }
    _exit(128 + signal);
}

}  // namespace

void remove_files_on_signal() {
    struct sigaction action {};
    action.sa_handler = remove_and_end;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

TestFile::TestFile(const std::string &directory, const std::string &name, std::uint64_t bytes)
    : path_(directory + "/" + name + "." + std::to_string(getpid())), bytes_(bytes) {
    remember(path_);
    const Descriptor file(path_, O_CREAT | O_TRUNC | O_RDWR);
    constexpr std::size_t chunk = 1U << 20;
    const Pages pages(chunk);
    std::uint64_t noise = 0x1234567;
    for (std::uint64_t at = 0; at < bytes; at += chunk) {
        // Incompressible and different everywhere, so that no layer below can cheat.
        for (std::size_t i = 0; i < chunk; i += sizeof noise) {
            noise = noise * 6364136223846793005ULL + 1442695040888963407ULL;
            std::memcpy(pages.at(0) + i, &noise, sizeof noise);
        }
        if (pwrite(file.get(), pages.at(0), chunk, static_cast<off_t>(at)) !=
            static_cast<ssize_t>(chunk))
            fail_with_errno("write", path_);
    }
    if (fsync(file.get()) != 0)
        fail_with_errno("fsync", path_);
}

TestFile::~TestFile() {
    unlink(path_.c_str());
    forget(path_);
}

void TestFile::fill_cache() const {
    const Descriptor file(path_, O_RDONLY);
    const Pages pages(1U << 20);
    for (std::uint64_t at = 0; at < bytes_; at += 1U << 20) {
        if (pread(file.get(), pages.at(0), 1U << 20, static_cast<off_t>(at)) < 0)
            fail_with_errno("read", path_);
    }
}

void TestFile::drop_cache() const {
    const Descriptor file(path_, O_RDWR);
    if (fdatasync(file.get()) != 0)
        fail_with_errno("fdatasync", path_);
    posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
}

}  // namespace bench
