// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A disk that becomes full: -ENOSPC, what was acknowledged stays, the file whose durable write
// failed is poisoned and no other, and with room again other files go on.

#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "crash/loop_disk.hpp"
#include "filesystems/support.hpp"

using namespace filesystems;

namespace {

constexpr std::size_t kPiece = 256 * 1024;

void fill_and_recover(const std::string &directory, std::uint32_t backend) {
    INFO("backend " << backend << " in " << directory);
    Engine engine(backend);
    fsys_file *small = engine.file(directory + "/small");
    const auto record = block(4096, 99);
    REQUIRE(fsys_write(small, record.data(), record.size(), 0, FSYS_DURABLE) == 4096);

    fsys_file *big = engine.file(directory + "/big");
    unsigned pieces = 0;
    fsys_result result{};
    for (;; ++pieces) {
        REQUIRE(pieces < 1000);
        result = engine.submit_write(big, block(kPiece, pieces), std::uint64_t{pieces} * kPiece,
                                     FSYS_DURABLE);
        if (result.result != static_cast<std::int64_t>(kPiece)) {
            break;
        }
    }
    CHECK(pieces > 0);
    CHECK(result.result == -ENOSPC);
    CHECK(result.step == FSYS_STEP_TRANSFER);
    CHECK(result.bytes_done < kPiece);
    // It might have come from the write-back of earlier bytes: nothing later of this file is
    // believed.
    CHECK(fsys_sync(big, 0) == FSYS_E_POISONED);
    char cause[256] = "";
    CHECK(fsys_cause(big, cause, sizeof cause) > 0);
    // What was acknowledged is there, and the other file is not concerned.
    unsigned wrong = 0;
    for (unsigned i = 0; i < pieces; ++i) {
        wrong += read_back(big, kPiece, std::uint64_t{i} * kPiece) != block(kPiece, i) ? 1 : 0;
    }
    CHECK(wrong == 0);
    CHECK(read_back(small, 4096, 0) == record);
    CHECK(fsys_write(small, record.data(), record.size(), 0, FSYS_DURABLE) == 4096);

    // With room again.
    CHECK(fsys_file_close(big) == 0);
    REQUIRE(::unlink((directory + "/big").c_str()) == 0);
    fsys_file *next = engine.file(directory + "/next");
    const auto piece = block(kPiece, 5);
    CHECK(fsys_write(next, piece.data(), piece.size(), 0, FSYS_DURABLE) ==
          static_cast<std::int64_t>(kPiece));
    CHECK(fsys_file_close(next) == 0);
    REQUIRE(::unlink((directory + "/next").c_str()) == 0);
}

}  // namespace

TEST_CASE("full disk: ext4", "[full-disk]") {
    const crash::LoopDisk disk("ext4", 16 << 20);
    if (!disk.missing().empty()) {
        FSYS_SKIP(disk.missing());
    }
    for (const std::uint32_t backend : backends()) {
        fill_and_recover(disk.path(), backend);
    }
}

TEST_CASE("full disk: tmpfs", "[full-disk]") {
    const std::string missing = crash::enter_private_mounts();
    if (!missing.empty()) {
        FSYS_SKIP(missing);
    }
    const std::string path = (std::filesystem::current_path() / "tmpfs-full").string();
    std::filesystem::create_directory(path);
    REQUIRE(::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=2m") == 0);
    for (const std::uint32_t backend : backends()) {
        fill_and_recover(path, backend);
    }
    ::umount2(path.c_str(), MNT_DETACH);
    std::filesystem::remove(path);
}
