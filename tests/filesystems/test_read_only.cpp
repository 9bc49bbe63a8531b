// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A file system mounted read-only, and one that goes away under open files.

#include <sys/mount.h>

#include <cerrno>

#include "crash/loop_disk.hpp"
#include "filesystems/support.hpp"

using namespace filesystems;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("read-only: opening for writing is EROFS, reading and syncing work", "[read-only]") {
    const crash::LoopDisk disk("ext4", 16 << 20);
    if (!disk.missing().empty()) {
        FSYS_SKIP(disk.missing());
    }
    const auto bytes = block(4096, 1);
    {
        Engine engine(FSYS_BACKEND_DEFAULT);
        REQUIRE(fsys_write(engine.file(disk / "data"), bytes.data(), 4096, 0, FSYS_DURABLE) ==
                4096);
    }
    REQUIRE(::mount(nullptr, disk.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
    for (const std::uint32_t backend : backends()) {
        Engine engine(backend);
        fsys_file *file = nullptr;
        CHECK(engine.open(disk / "data", FSYS_FILE_WRITE, &file) == -EROFS);
        CHECK_THAT(engine.why, ContainsSubstring(disk / "data"));
        CHECK(engine.open(disk / "new", kReadWriteCreate, &file) == -EROFS);
        CHECK(file == nullptr);
        REQUIRE(engine.open(disk / "data", FSYS_FILE_READ, &file) == 0);
        CHECK(read_back(file, 4096, 0) == bytes);
        CHECK(fsys_write(file, bytes.data(), 4096, 0, 0) == -EBADF);
        CHECK(fsys_sync(file, 0) == 0);
        CHECK(fsys_file_close(file) == 0);
    }
}

TEST_CASE("gone: a file system that shuts down is an error, and poisons", "[read-only]") {
    const char *type = GENERATE("ext4", "xfs");
    crash::LoopDisk disk(type, std::string(type) == "xfs" ? 320 << 20 : 16 << 20);
    if (!disk.missing().empty()) {
        FSYS_SKIP(disk.missing());
    }
    Engine engine(FSYS_BACKEND_DEFAULT);
    fsys_file *file = engine.file(disk / "data");
    fsys_file *other = engine.file(disk / "other");
    const auto bytes = block(4096, 1);
    REQUIRE(fsys_write(file, bytes.data(), 4096, 0, FSYS_DURABLE) == 4096);
    REQUIRE(fsys_write(other, bytes.data(), 4096, 0, 0) == 4096);
    const std::string problem = disk.shut_down(crash::Shutdown::nothing_flushed);
    if (!problem.empty()) {
        FSYS_SKIP(problem);
    }
    CHECK(fsys_write(file, bytes.data(), 4096, 4096, FSYS_DURABLE) < 0);
    CHECK(fsys_write(file, bytes.data(), 4096, 4096, FSYS_DURABLE) == FSYS_E_POISONED);
    CHECK(fsys_sync(other, 0) < 0);
    CHECK(fsys_sync(other, 0) == FSYS_E_POISONED);
    char cause[256] = "";
    CHECK(fsys_cause(other, cause, sizeof cause) > 0);
    CHECK(fsys_file_close(file) <= 0);
    CHECK(fsys_file_close(other) <= 0);
}
