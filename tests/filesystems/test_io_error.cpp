// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// EIO and ENOSPC from below, by a FUSE file system that fails on command: the right code, one sync
// and no second, and exactly the file concerned is poisoned.

#include <cerrno>

#include "filesystems/support.hpp"
#include "lossfs/lossfs.hpp"

using namespace filesystems;

TEST_CASE("EIO from below: a failed sync is final and is not repeated", "[io-error]") {
    lossfs::LossFs below;
    if (!below.missing().empty()) {
        FSYS_SKIP(below.missing());
    }
    unsigned round = 0;
    for (const std::uint32_t backend : backends()) {
        INFO("backend " << backend);
        Engine engine(backend);
        const std::string name = below.path() + "/file" + std::to_string(round++);
        fsys_file *file = engine.file(name);
        fsys_file *other = engine.file(name + "-other");
        const auto bytes = block(4096, round);
        REQUIRE(fsys_write(file, bytes.data(), 4096, 0, 0) == 4096);
        REQUIRE(fsys_write(other, bytes.data(), 4096, 0, 0) == 4096);
        below.command("fail fsync 5");
        const auto before = below.command("calls fsync");
        fsys_op op = 0;
        REQUIRE(fsys_submit_sync(file, 0, 0, 0, 0, &op) == 0);
        fsys_result result{};
        REQUIRE(fsys_wait(engine, op, 10'000'000'000, &result) == 0);
        CHECK(result.result == -EIO);
        CHECK(result.step == FSYS_STEP_SYNC);
        CHECK(fsys_sync(file, 0) == FSYS_E_POISONED);
        CHECK(fsys_sync(file, FSYS_SYNC_DATA) == FSYS_E_POISONED);
        CHECK(fsys_write(file, bytes.data(), 4096, 0, FSYS_DURABLE) == FSYS_E_POISONED);
        CHECK(below.command("calls fsync") == before + 1);
        // Plain writes and reads are still possible, and the other file is sound.
        CHECK(fsys_write(file, bytes.data(), 4096, 4096, 0) == 4096);
        CHECK(fsys_sync(other, 0) == 0);
        CHECK(fsys_file_close(file) == 0);
        CHECK(fsys_file_close(other) == 0);
    }
}

TEST_CASE("EIO from below: a failed write", "[io-error]") {
    lossfs::LossFs below;
    if (!below.missing().empty()) {
        FSYS_SKIP(below.missing());
    }
    for (const std::uint32_t backend : backends()) {
        INFO("backend " << backend);
        Engine engine(backend);
        const std::string name = below.path() + "/write" + std::to_string(backend);
        fsys_file *file = engine.file(name);
        const auto bytes = block(4096, 1);
        const auto later = block(4096, 2);
        REQUIRE(fsys_write(file, bytes.data(), 4096, 0, FSYS_DURABLE) == 4096);
        below.command("fail write 5");
        CHECK(engine.submit_write(file, later, 4096, 0).result == -EIO);
        // Not a sync: the program knows which bytes are missing and may write them again.
        CHECK(fsys_write(file, later.data(), 4096, 4096, FSYS_DURABLE) == 4096);
        CHECK(read_back(file, 4096, 0) == bytes);
        CHECK(read_back(file, 4096, 4096) == later);
        below.command("fail write 5");
        CHECK(fsys_write(file, later.data(), 4096, 8192, FSYS_DURABLE) == -EIO);
        CHECK(fsys_sync(file, 0) == FSYS_E_POISONED);
        CHECK(fsys_file_close(file) == 0);
    }
}

TEST_CASE("ENOSPC from below", "[io-error]") {
    lossfs::LossFs below;
    if (!below.missing().empty()) {
        FSYS_SKIP(below.missing());
    }
    Engine engine(FSYS_BACKEND_DEFAULT);
    fsys_file *file = engine.file(below.path() + "/space");
    const auto bytes = block(16384, 1);
    REQUIRE(fsys_write(file, bytes.data(), 16384, 0, FSYS_DURABLE) == 16384);
    below.command("space 0");
    CHECK(engine.submit_write(file, bytes, 16384, 0).result == -ENOSPC);
    below.command("space all");
    CHECK(fsys_write(file, bytes.data(), 16384, 16384, FSYS_DURABLE) == 16384);
    CHECK(read_back(file, 16384, 0) == bytes);
    CHECK(read_back(file, 16384, 16384) == bytes);
}
