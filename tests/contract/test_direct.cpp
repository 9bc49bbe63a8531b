// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// O_DIRECT: alignment is checked and told, never worked around in silence; BOUNCE on request.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

constexpr std::uint32_t kDirect = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_DIRECT;

// A file of this many bytes, opened O_DIRECT; nullptr where the file system has no direct IO.
fsys_file *open_direct(const Rig &rig, const std::string &path, std::size_t size,
                       std::uint32_t flags = kDirect) {
    write_whole(path, pattern(size));
    fsys_file_options o{};
    o.struct_size = sizeof o;
    o.flags = flags;
    fsys_file *file = nullptr;
    const int code = fsys_file_open(rig, path.c_str(), &o, &file);
    REQUIRE((code == 0 || code == -EINVAL));
    return code == 0 ? file : nullptr;
}

Setup quiet_setup() {
    Setup setup;
    setup.queue = quiet();
    return setup;
}

}  // namespace

TEST_CASE("direct: aligned transfers work, misaligned ones are refused") {
    TempDir dir;
    Rig rig(quiet_setup());
    fsys_file *file = open_direct(rig, dir / "f", 1 << 20);
    if (file == nullptr) {
        FSYS_SKIP("no O_DIRECT on this file system");
    }
    fsys_file_details details{};
    details.struct_size = sizeof details;
    REQUIRE(fsys_file_info(file, &details) == 0);
    const std::uint32_t mem = details.direct_mem_align;
    const std::uint32_t edge = details.direct_offset_align;
    REQUIRE(mem != 0);
    REQUIRE(edge != 0);
    CHECK((details.flags & FSYS_FILE_DIRECT) != 0);

    void *memory = nullptr;
    REQUIRE(fsys_buffer_alloc(rig, 256 * 1024, &memory) == 0);
    auto *bytes = static_cast<unsigned char *>(memory);
    const auto whole = pattern(1 << 20);
    fsys_op op = 0;
    for (const std::uint32_t hint : {0u, FSYS_WAIT_SOON}) {
        std::memset(bytes, 0, 256 * 1024);
        REQUIRE(fsys_submit_read(file, bytes, 128 * 1024, edge, hint, 0, &op) == 0);
        CHECK(rig.wait(op).result == 128 * 1024);
        CHECK(std::memcmp(bytes, whole.data() + edge, 128 * 1024) == 0);
    }
    CHECK(fsys_submit_read(file, bytes + 1, edge, 0, 0, 0, &op) == FSYS_E_MISALIGNED);
    CHECK(fsys_submit_read(file, bytes, edge, 1, 0, 0, &op) == FSYS_E_MISALIGNED);
    CHECK(fsys_submit_read(file, bytes, edge + 1, 0, 0, 0, &op) == FSYS_E_MISALIGNED);
    CHECK(fsys_submit_write(file, bytes + 1, edge, 0, 0, 0, &op) == FSYS_E_MISALIGNED);
    CHECK(fsys_read(file, bytes + 1, edge, 0, 0) == FSYS_E_MISALIGNED);
    CHECK(fsys_write(file, bytes, edge - 1, 0, 0) == FSYS_E_MISALIGNED);
    fsys_iovec iov[2] = {{bytes, edge}, {bytes + edge + 1, edge}};
    fsys_request r{};
    r.opcode = FSYS_OP_READV;
    r.file = file;
    r.buffer = iov;
    r.length = 2;
    CHECK(fsys_submit(rig, &r, 1, &op) == FSYS_E_MISALIGNED);
    iov[1].base = bytes + edge;
    REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    CHECK(rig.wait(op).result == 2 * static_cast<std::int64_t>(edge));
    CHECK(std::memcmp(bytes, whole.data(), 2 * edge) == 0);

    std::memset(bytes, 0x5a, 64 * 1024);
    REQUIRE(fsys_submit_write(file, bytes, 64 * 1024, 64 * 1024, FSYS_DURABLE, 0, &op) == 0);
    CHECK(rig.wait(op).result == 64 * 1024);
    const auto after = read_whole(dir / "f");
    CHECK(std::memcmp(after.data() + 64 * 1024, bytes, 64 * 1024) == 0);
    CHECK(fsys_buffer_free(rig, memory) == 0);
}

TEST_CASE("direct: a file that does not end on a block edge ends where it ends") {
    TempDir dir;
    Rig rig(quiet_setup());
    const std::size_t size = 8 * 4096 + 100;
    fsys_file *file = open_direct(rig, dir / "f", size);
    if (file == nullptr) {
        FSYS_SKIP("no O_DIRECT on this file system");
    }
    void *memory = nullptr;
    REQUIRE(fsys_buffer_alloc(rig, 64 * 1024, &memory) == 0);
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(file, memory, 64 * 1024, 0, 0, 0, &op) == 0);
    CHECK(rig.wait(op).result == static_cast<std::int64_t>(size));
    REQUIRE(fsys_submit_read(file, memory, 64 * 1024, 0, FSYS_EXACT, 0, &op) == 0);
    const fsys_result result = rig.wait(op);
    CHECK(result.result == FSYS_E_SHORT);
    CHECK(result.bytes_done == size);
    CHECK(fsys_read(file, memory, 4096, 8 * 4096, 0) == 100);
    CHECK(fsys_read(file, memory, 4096, 9 * 4096, 0) == 0);
}

TEST_CASE("direct: BOUNCE reads any range in blocking calls") {
    TempDir dir;
    Rig rig(quiet_setup());
    const std::size_t size = (3u << 20) + 777;
    fsys_file *file = open_direct(rig, dir / "f", size, kDirect | FSYS_FILE_BOUNCE);
    if (file == nullptr) {
        FSYS_SKIP("no O_DIRECT on this file system");
    }
    const auto whole = pattern(size);
    std::vector<unsigned char> back(size + 100);
    const auto check = [&](std::uint64_t offset, std::size_t length, std::int64_t expected) {
        CAPTURE(offset, length);
        const std::int64_t n = fsys_read(file, back.data() + 1, length, offset, 0);
        REQUIRE(n == expected);
        if (n > 0) {
            CHECK(std::memcmp(back.data() + 1, whole.data() + offset,
                              static_cast<std::size_t>(n)) == 0);
        }
    };
    check(1, 1, 1);
    check(511, 2, 2);
    check(4095, 4098, 4098);
    check(13, (2u << 20) + 5, (2 << 20) + 5);
    check(0, size, static_cast<std::int64_t>(size));
    check(size - 5, 50, 5);
    check(size, 50, 0);
    check(size + 5000, 50, 0);
    check((1u << 20) - 1, 2, 2);
    CHECK(fsys_read(file, back.data(), 50, size - 5, FSYS_EXACT) == FSYS_E_SHORT);
    // Submits and writes are not bounced.
    fsys_op op = 0;
    CHECK(fsys_submit_read(file, back.data() + 1, 3, 1, 0, 0, &op) == FSYS_E_MISALIGNED);
    CHECK(fsys_write(file, back.data() + 1, 3, 1, 0) == FSYS_E_MISALIGNED);
}
