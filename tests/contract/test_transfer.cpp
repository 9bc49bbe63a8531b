// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What every op moves and returns: bytes, ends of files, flags, limits.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

#ifdef __SANITIZE_THREAD__
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

constexpr std::uint32_t kNew = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE;

// Submits one and waits for it.
fsys_result done(const Rig &rig, const fsys_request &r) {
    fsys_op op = 0;
    REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    REQUIRE(op != 0);
    return rig.wait(op);
}

std::uint64_t size_of(const std::string &path) {
    struct stat st{};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    return static_cast<std::uint64_t>(st.st_size);
}

// Whether the kernel answers a read that must not wait, for a file here (FUSE and older tmpfs do not).
bool cache_tells(const std::string &path) {
    char byte = 0;
    const iovec piece{&byte, 1};
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t n = ::preadv2(fd, &piece, 1, 0, RWF_NOWAIT);
    ::close(fd);
    return n == 1;
}

}  // namespace

TEST_CASE("a write is read back, in every form and size") {
    TempDir dir;
    Rig rig;
    fsys_file *file = rig.file(dir / "f", kNew);
    const std::uint32_t hint = GENERATE(0u, FSYS_WAIT_SOON);
    std::uint64_t offset = 0;
    for (const std::size_t size : {1u, 511u, 4096u, 4097u, 65536u, 65537u, 1u << 20}) {
        CAPTURE(size, hint);
        auto bytes = pattern(size, size);
        fsys_op op = 0;
        REQUIRE(fsys_submit_write(file, bytes.data(), size, offset, hint, size, &op) == 0);
        fsys_result result = rig.wait(op);
        CHECK(result.result == static_cast<std::int64_t>(size));
        CHECK(result.bytes_done == size);
        CHECK(result.user_data == size);
        CHECK(result.step == FSYS_STEP_NONE);
        CHECK(result.lane != FSYS_LANE_NONE);

        std::vector<unsigned char> back(size);
        REQUIRE(fsys_submit_read(file, back.data(), size, offset, hint, ~size, &op) == 0);
        result = rig.wait(op, FSYS_FOREVER);
        CHECK(result.result == static_cast<std::int64_t>(size));
        CHECK(result.user_data == ~size);
        CHECK(back == bytes);

        std::fill(back.begin(), back.end(), 0);
        CHECK(fsys_read(file, back.data(), size, offset, 0) == static_cast<std::int64_t>(size));
        CHECK(back == bytes);
        offset += size;
    }
    CHECK(size_of(dir / "f") == offset);
    CHECK(fsys_file_close(file) == 0);
}

TEST_CASE("blocking calls write, read and sync") {
    TempDir dir;
    Rig rig;
    fsys_file *file = rig.file(dir / "f", kNew);
    const auto bytes = pattern(100'000);
    CHECK(fsys_write(file, bytes.data(), bytes.size(), 10, 0) == 100'000);
    CHECK(fsys_write(file, bytes.data(), 10, 0, FSYS_DURABLE) == 10);
    CHECK(fsys_sync(file, 0) == 0);
    CHECK(fsys_sync(file, FSYS_SYNC_DATA) == 0);
    CHECK(fsys_sync(file, FSYS_DURABLE) == FSYS_E_BAD_FLAG);
    std::vector<unsigned char> back(bytes.size());
    CHECK(fsys_read(file, back.data(), back.size(), 10, FSYS_EXACT) == 100'000);
    CHECK(back == bytes);
    CHECK(fsys_read(file, back.data(), 1, 0, FSYS_DURABLE) == FSYS_E_BAD_FLAG);
    CHECK(fsys_read(file, nullptr, 1, 0, 0) == -EINVAL);
}

TEST_CASE("vectored transfers of 1 to 1024 iovecs") {
    TempDir dir;
    Rig rig;
    fsys_file *file = rig.file(dir / "f", kNew);
    for (const std::size_t count : {1u, 2u, 4u, 5u, 64u, 1023u, 1024u}) {
        CAPTURE(count);
        // Uneven pieces, some empty.
        std::vector<std::size_t> sizes(count);
        std::size_t total = 0;
        for (std::size_t i = 0; i < count; ++i) {
            sizes[i] = i % 7 == 3 ? 0 : 1 + i * 37 % 1500;
            total += sizes[i];
        }
        auto bytes = pattern(total, count);
        std::vector<fsys_iovec> iov(count);
        std::size_t at = 0;
        for (std::size_t i = 0; i < count; ++i) {
            iov[i] = {bytes.data() + at, sizes[i]};
            at += sizes[i];
        }
        fsys_op op = 0;
        auto r = request(FSYS_OP_WRITEV, file, iov.data(), count, 77);
        REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
        std::fill(iov.begin(), iov.end(), fsys_iovec{});  // copied at submit
        CHECK(rig.wait(op).result == static_cast<std::int64_t>(total));

        std::vector<unsigned char> back(total);
        at = 0;
        for (std::size_t i = 0; i < count; ++i) {
            iov[i] = {back.data() + at, sizes[i]};
            at += sizes[i];
        }
        const fsys_result result =
            done(rig, request(FSYS_OP_READV, file, iov.data(), count, 77, FSYS_EXACT));
        CHECK(result.result == static_cast<std::int64_t>(total));
        CHECK(result.bytes_done == total);
        CHECK(back == bytes);
    }
    fsys_op op = 0;
    std::vector<fsys_iovec> many(1025, fsys_iovec{});
    auto r = request(FSYS_OP_READV, file, many.data(), 1025, 0);
    CHECK(fsys_submit(rig, &r, 1, &op) == -EINVAL);
    // No iovec at all moves nothing.
    r = request(FSYS_OP_READV, file, nullptr, 0, 0);
    CHECK(done(rig, r).result == 0);
    r = request(FSYS_OP_WRITEV, file, nullptr, 0, 0);
    CHECK(done(rig, r).result == 0);
}

TEST_CASE("the end of a file: short counts, EXACT, PARTIAL") {
    TempDir dir;
    const auto bytes = pattern(10'000);
    write_whole(dir / "f", bytes);
    Rig rig;
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ);
    std::vector<unsigned char> back(20'000);
    const auto read = [&](std::size_t length, std::uint64_t offset, std::uint32_t flags) {
        return done(rig, request(FSYS_OP_READ, file, back.data(), length, offset, flags));
    };
    const std::uint32_t hint = GENERATE(0u, FSYS_WAIT_SOON);
    CHECK(read(20'000, 0, hint).result == 10'000);
    CHECK(std::equal(bytes.begin(), bytes.end(), back.begin()));
    CHECK(read(20'000, 9'999, hint).result == 1);
    CHECK(read(1, 10'000, hint).result == 0);
    CHECK(read(1, std::uint64_t{1} << 40, hint).result == 0);
    CHECK(read(10'000, 0, hint | FSYS_EXACT).result == 10'000);
    fsys_result result = read(20'000, 5'000, hint | FSYS_EXACT);
    CHECK(result.result == FSYS_E_SHORT);
    CHECK(result.bytes_done == 5'000);
    CHECK(result.step == FSYS_STEP_TRANSFER);
    result = read(1, 10'000, hint | FSYS_EXACT);
    CHECK(result.result == FSYS_E_SHORT);
    CHECK(result.bytes_done == 0);
    result = read(20'000, 0, hint | FSYS_PARTIAL);
    CHECK(result.result >= 1);
    CHECK(result.result <= 10'000);
    CHECK(fsys_read(file, back.data(), 20'000, 0, FSYS_EXACT) == FSYS_E_SHORT);
    CHECK(fsys_read(file, back.data(), 20'000, 4'000, 0) == 6'000);
    // Vectored.
    fsys_iovec iov[2] = {{back.data(), 6'000}, {back.data() + 6'000, 6'000}};
    CHECK(done(rig, request(FSYS_OP_READV, file, iov, 2, 0, hint)).result == 10'000);
    result = done(rig, request(FSYS_OP_READV, file, iov, 2, 0, hint | FSYS_EXACT));
    CHECK(result.result == FSYS_E_SHORT);
    CHECK(result.bytes_done == 10'000);
}

TEST_CASE("zero lengths move nothing and succeed") {
    TempDir dir;
    Rig rig;
    fsys_file *file = rig.file(dir / "f", kNew);
    for (const std::uint32_t opcode : {FSYS_OP_READ, FSYS_OP_WRITE}) {
        for (const std::uint32_t flags : {0u, FSYS_EXACT, FSYS_WAIT_SOON, FSYS_PARTIAL}) {
            CAPTURE(opcode, flags);
            const fsys_result result = done(rig, request(opcode, file, nullptr, 0, 12, flags));
            CHECK(result.result == 0);
            CHECK(result.bytes_done == 0);
            CHECK(result.step == FSYS_STEP_NONE);
        }
    }
    CHECK(fsys_read(file, nullptr, 0, 0, 0) == 0);
    CHECK(fsys_write(file, nullptr, 0, 0, 0) == 0);
    CHECK(size_of(dir / "f") == 0);
}

TEST_CASE("offsets and lengths at their limits") {
    TempDir dir;
    write_whole(dir / "f", pattern(100));
    Rig rig;
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE);
    char byte = 'x';
    fsys_op op = 0;
    const auto most = static_cast<std::uint64_t>(INT64_MAX);
    const auto submit = [&](std::uint32_t opcode, void *buffer, std::uint64_t length,
                            std::uint64_t offset) {
        const auto r = request(opcode, file, buffer, length, offset);
        return fsys_submit(rig, &r, 1, &op);
    };
    CHECK(submit(FSYS_OP_READ, &byte, 1, most) == -EINVAL);
    CHECK(submit(FSYS_OP_READ, &byte, 1, most + 1) == -EINVAL);
    CHECK(submit(FSYS_OP_READ, &byte, 1, ~std::uint64_t{0}) == -EINVAL);
    CHECK(submit(FSYS_OP_READ, &byte, ~std::uint64_t{0}, 1) == -EINVAL);
    CHECK(submit(FSYS_OP_READ, nullptr, 1, 0) == -EINVAL);
    CHECK(submit(FSYS_OP_ALLOCATE, nullptr, most, 1) == -EINVAL);
    CHECK(fsys_read(file, &byte, 1, most, 0) == -EINVAL);
    CHECK(fsys_write(file, &byte, 1, ~std::uint64_t{0}, 0) == -EINVAL);
    CHECK(fsys_submit_read(file, &byte, 1, most, 0, 0, &op) == -EINVAL);
    fsys_iovec absurd[2] = {{&byte, SIZE_MAX / 2}, {&byte, SIZE_MAX / 2}};
    CHECK(submit(FSYS_OP_READV, absurd, 2, 0) == -EINVAL);
    fsys_iovec null_base = {nullptr, 1};
    CHECK(submit(FSYS_OP_READV, &null_base, 1, 0) == -EINVAL);
    // The last byte that can be named: beyond the end for a read; as a write too big for ext4, a file
    // of 2^63 - 1 bytes on XFS, btrfs and tmpfs.
    CHECK(done(rig, request(FSYS_OP_READ, file, &byte, 1, most - 1)).result == 0);
    const fsys_result result = done(rig, request(FSYS_OP_WRITE, file, &byte, 1, most - 1));
    CHECK((result.result == -EFBIG || result.result == 1));
    CHECK(result.step == (result.result < 0 ? FSYS_STEP_TRANSFER : FSYS_STEP_NONE));
    CHECK(static_cast<std::uint64_t>(size_of(dir / "f")) == (result.result < 0 ? 100 : most));
}

TEST_CASE("access, flags and opcodes are checked before anything is accepted") {
    TempDir dir;
    write_whole(dir / "f", pattern(100));
    Rig rig;
    fsys_file *reader = rig.file(dir / "f", FSYS_FILE_READ);
    fsys_file *writer = rig.file(dir / "f", FSYS_FILE_WRITE);
    char byte = 'x';
    fsys_op op = 0;
    const auto submit = [&](fsys_request r) { return fsys_submit(rig, &r, 1, &op); };
    CHECK(submit(request(FSYS_OP_WRITE, reader, &byte, 1, 0)) == -EBADF);
    CHECK(submit(request(FSYS_OP_READ, writer, &byte, 1, 0)) == -EBADF);
    CHECK(fsys_write(reader, &byte, 1, 0, 0) == -EBADF);
    CHECK(fsys_read(writer, &byte, 1, 0, 0) == -EBADF);
    CHECK(submit(request(FSYS_OP_READ, reader, &byte, 1, 0, FSYS_DURABLE)) == -EINVAL);
    CHECK(submit(request(FSYS_OP_WRITE, writer, &byte, 1, 0, FSYS_SYNC_DATA)) == -EINVAL);
    CHECK(submit(request(FSYS_OP_SYNC, writer, nullptr, 0, 0, FSYS_EXACT)) == -EINVAL);
    CHECK(submit(request(FSYS_OP_READ, reader, &byte, 1, 0, 0x80000000u)) == FSYS_E_BAD_FLAG);
    CHECK(submit(request(FSYS_OP_READ, nullptr, &byte, 1, 0)) == FSYS_E_CLOSED);
    CHECK(submit(request(7, reader, &byte, 1, 0)) == FSYS_E_BAD_FLAG);
    CHECK(submit(request(FSYS_OP_READ, reader, &byte, 1, 0, FSYS_LINK)) == -EINVAL);
    auto reserved = request(FSYS_OP_READ, reader, &byte, 1, 0);
    reserved.reserved[1] = 1;
    CHECK(submit(reserved) == -EINVAL);
    CHECK(fsys_submit(rig, nullptr, 1, &op) == -EINVAL);
    CHECK(fsys_submit(rig, nullptr, 0, &op) == 0);
    // Of an array the good ones before the bad are accepted.
    fsys_request three[3] = {request(FSYS_OP_READ, reader, &byte, 1, 0),
                             request(FSYS_OP_NOP, nullptr, nullptr, 0, 0),
                             request(FSYS_OP_WRITE, reader, &byte, 1, 0)};
    fsys_op ops[3] = {};
    REQUIRE(fsys_submit(rig, three, 3, ops) == 2);
    CHECK(rig.wait(ops[0]).result == 1);
    CHECK(rig.wait(ops[1]).result == 0);
    CHECK(rig.stats().in_flight == 0);
}

TEST_CASE("sync in all its forms, nop, and durable writes") {
    TempDir dir;
    Rig rig;
    fsys_file *file = rig.file(dir / "f", kNew);
    auto bytes = pattern(50'000);
    CHECK(done(rig, request(FSYS_OP_NOP, nullptr, nullptr, 0, 0)).result == 0);
    CHECK(done(rig, request(FSYS_OP_NOP, file, nullptr, 0, 0, FSYS_WAIT_SOON)).result == 0);
    CHECK(done(rig, request(FSYS_OP_WRITE, file, bytes.data(), bytes.size(), 0, FSYS_DURABLE))
              .result == 50'000);
    fsys_iovec iov[2] = {{bytes.data(), 100}, {bytes.data() + 100, 200}};
    CHECK(done(rig, request(FSYS_OP_WRITEV, file, iov, 2, 50'000, FSYS_DURABLE)).result == 300);
    for (const std::uint32_t flags : {0u, FSYS_SYNC_DATA, FSYS_SYNC_RANGE,
                                      FSYS_SYNC_RANGE | FSYS_SYNC_DATA, FSYS_WAIT_SOON}) {
        CAPTURE(flags);
        fsys_op op = 0;
        REQUIRE(fsys_submit_sync(file, 4096, 512, flags, 9, &op) == 0);
        const fsys_result result = rig.wait(op);
        CHECK(result.result == 0);
        CHECK(result.user_data == 9);
    }
    // A range longer than the ring's 32-bit field.
    fsys_op op = 0;
    REQUIRE(fsys_submit_sync(file, std::uint64_t{1} << 40, 0, FSYS_SYNC_RANGE, 0, &op) == 0);
    CHECK(rig.wait(op).result == 0);
    bytes.insert(bytes.end(), bytes.begin(), bytes.begin() + 300);
    CHECK(read_whole(dir / "f") == bytes);
}

TEST_CASE("allocate grows the file, or keeps its size") {
    TempDir dir;
    Rig rig;
    fsys_file *file = rig.file(dir / "f", kNew);
    const fsys_result kept =
        done(rig, request(FSYS_OP_ALLOCATE, file, nullptr, 1 << 20, 0, FSYS_KEEP_SIZE));
    if (kept.result == -EOPNOTSUPP) {
        FSYS_SKIP("fallocate is not supported by this file system");
    }
    CHECK(kept.result == 0);
    CHECK(size_of(dir / "f") == 0);
    struct stat st{};
    REQUIRE(::stat((dir / "f").c_str(), &st) == 0);
    fsys_file_details details{};
    details.struct_size = sizeof details;
    REQUIRE(fsys_file_info(file, &details) == 0);
    // A FUSE server need not count blocks.
    CHECK((st.st_blocks * 512 >= 1 << 20 || std::string(details.file_system) == "fuse"));
    CHECK(done(rig, request(FSYS_OP_ALLOCATE, file, nullptr, 5000, 1 << 20)).result == 0);
    CHECK(size_of(dir / "f") == (1 << 20) + 5000);
    const fsys_result refused = done(rig, request(FSYS_OP_ALLOCATE, file, nullptr, 0, 0));
    CHECK(refused.result == -EINVAL);
    CHECK(refused.step == FSYS_STEP_TRANSFER);
}

TEST_CASE("a write above 2 GiB is split and complete") {
    if (kThreadSanitizer) {
        FSYS_SKIP("ThreadSanitizer's shadow of such a transfer is larger than memory");
    }
    // /dev/null takes the bytes without reading them, so no memory is behind the buffer.
    constexpr std::uint64_t kSize = 5'000'000'003;
    void *memory = ::mmap(nullptr, kSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                          -1, 0);
    REQUIRE(memory != MAP_FAILED);
    {
        Setup setup;
        setup.queue = quiet();
        Rig rig(setup);
        fsys_file *file = rig.file("/dev/null", FSYS_FILE_WRITE);
        const std::uint32_t hint = GENERATE(0u, FSYS_WAIT_SOON);
        const fsys_result result =
            done(rig, request(FSYS_OP_WRITE, file, memory, kSize, 1000, hint));
        CHECK(result.result == static_cast<std::int64_t>(kSize));
        CHECK(result.bytes_done == kSize);
        CHECK(rig.stats().bytes_written == kSize);
        CHECK(rig.stats().splits == 2);
        CHECK(fsys_write(file, memory, kSize, 0, 0) == static_cast<std::int64_t>(kSize));
        CHECK(rig.stats().splits == 4);
    }
    ::munmap(memory, kSize);
}

TEST_CASE("a vectored read above 2 GiB is continued to its end") {
    if (kThreadSanitizer) {
        FSYS_SKIP("ThreadSanitizer's shadow of such a transfer is larger than memory");
    }
    // 1024 times the same 3 MiB of memory, from /dev/zero.
    constexpr std::size_t kPiece = 3u << 20;
    std::vector<char> memory(kPiece, 'x');
    const std::vector<fsys_iovec> iov(1024, fsys_iovec{memory.data(), kPiece});
    Setup setup;
    setup.queue = quiet();
    Rig rig(setup);
    fsys_file *file = rig.file("/dev/zero", FSYS_FILE_READ);
    const fsys_result result =
        done(rig, request(FSYS_OP_READV, file, const_cast<fsys_iovec *>(iov.data()), 1024, 0));
    CHECK(result.result == static_cast<std::int64_t>(1024 * std::uint64_t{kPiece}));
    CHECK(memory.back() == 0);
}

TEST_CASE("a read above 2 GiB is split", "[fake]") {
    if (kThreadSanitizer) {
        FSYS_SKIP("ThreadSanitizer's shadow of such a transfer is larger than memory");
    }
    // Calls that only pretend: the kernel would have to fill the memory.
    FakeSyscalls sys;
    sys.pretend();
    Setup setup;
    setup.syscalls = &sys;
    setup.queue = quiet();
    setup.force_fake_queue = !variant().threads();
    Rig rig(setup);
    constexpr std::uint64_t kSize = 7'000'000'000;
    fsys_file *file = rig.file("/dev/zero", FSYS_FILE_READ);
    void *memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    const fsys_result result = done(rig, request(FSYS_OP_READ, file, memory, kSize, 0));
    CHECK(result.result == static_cast<std::int64_t>(kSize));
    CHECK(rig.stats().splits == 3);
    CHECK(fsys_read(file, memory, kSize, 0, 0) == static_cast<std::int64_t>(kSize));
    ::munmap(memory, kSize);
}

TEST_CASE("many files and sizes at once come back whole", "[random]") {
    TempDir dir;
    Setup setup;
    setup.max_ops = 64;  // fewer than the threads want
    Rig rig(setup);
    Checks checks;
    std::vector<fsys_file *> files;
    for (unsigned i = 0; i < 8; ++i) {
        files.push_back(rig.file(dir / std::to_string(i), kNew));
    }
    rig.run(4, [&](unsigned thread) {
        std::mt19937 random(thread);
        for (unsigned round = 0; round < 60; ++round) {
            const unsigned which = thread * 2 + random() % 2;
            const std::size_t size = 1 + random() % 70'000;
            const std::uint64_t offset = random() % 1'000'000;
            const auto bytes = pattern(size, round * 100 + thread);
            std::vector<unsigned char> back(size);
            fsys_op op = 0;
            fsys_result result{};
            const std::uint32_t hint = random() % 2 != 0 ? FSYS_WAIT_SOON : 0;
            int code = fsys_submit_write(files[which], bytes.data(), size, offset, hint, 0, &op);
            checks.expect(code == 0, "submit write " + std::to_string(code));
            code = fsys_wait(rig, op, FSYS_FOREVER, &result);
            checks.expect(code == 0 && result.result == static_cast<std::int64_t>(size),
                          "write " + std::to_string(result.result));
            code = fsys_submit_read(files[which], back.data(), size, offset, hint, 0, &op);
            checks.expect(code == 0, "submit read " + std::to_string(code));
            code = fsys_wait(rig, op, FSYS_FOREVER, &result);
            checks.expect(code == 0 && result.result == static_cast<std::int64_t>(size),
                          "read " + std::to_string(result.result));
            checks.expect(back == bytes, "bytes differ");
        }
    });
    checks.require();
    CHECK(rig.stats().in_flight == 0);
    CHECK(rig.close() == 0);
}

TEST_CASE("a read of the page cache alone never waits: it says -EAGAIN") {
    TempDir dir;
    FakeSyscalls sys;
    Setup setup;
    setup.syscalls = &sys;
    setup.queue = quiet();
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", kNew);
    // Whole pages: of one that was written in part, a file system with smaller blocks does not know the
    // rest without reading it.
    const auto bytes = pattern(12'288, 1);
    REQUIRE(fsys_write(file, bytes.data(), bytes.size(), 0, 0) == 12'288);
    std::vector<unsigned char> back(20'000);
    if (!cache_tells(dir / "f")) {
        std::printf("this file system does not tell what is in the page cache\n");
        CHECK(fsys_read(file, back.data(), 12'288, 0, FSYS_CACHED) == -EAGAIN);
        CHECK(fsys_read(file, back.data(), 12'288, 0, 0) == 12'288);
        return;
    }

    // Just written, it is there.
    CHECK(fsys_read(file, back.data(), 12'288, 0, FSYS_CACHED) == 12'288);
    CHECK(std::equal(bytes.begin(), bytes.end(), back.begin()));
    CHECK(fsys_read(file, back.data(), 20'000, 4'000, FSYS_CACHED) == 8'288);
    CHECK(fsys_read(file, back.data(), 20'000, 4'000, FSYS_CACHED | FSYS_EXACT) == FSYS_E_SHORT);
    CHECK(fsys_read(file, back.data(), 1, 12'288, FSYS_CACHED) == 0);
    CHECK(rig.stats().nowait_hits == 4);

    // Not there: the next call of the kernel answers as for a page that must be read.
    sys.fail(SysCall::kPread, EAGAIN);
    CHECK(fsys_read(file, back.data(), 100, 0, FSYS_CACHED) == -EAGAIN);
    CHECK(rig.stats().nowait_misses == 1);
    CHECK(fsys_read(file, back.data(), 100, 0, 0) == 100);
    CHECK(fsys_read(file, back.data(), 100, 0, FSYS_CACHED) == 100);

    // A file that is mostly not there is soon not asked about, but now and then.
    sys.fail(SysCall::kPread, EAGAIN, 1, true);
    const std::uint64_t before = sys.calls(SysCall::kPread);
    for (unsigned i = 0; i < 320; ++i) {
        REQUIRE(fsys_read(file, back.data(), 100, 0, FSYS_CACHED) == -EAGAIN);
    }
    const std::uint64_t asked = sys.calls(SysCall::kPread) - before;
    CHECK(asked >= 5);
    CHECK(asked <= 30);
    sys.heal();
    CHECK(fsys_read(file, back.data(), 100, 0, 0) == 100);

    // Another failure is the call's own; where the kernel does not know the flag it is not asked twice.
    fsys_file *other = rig.file(dir / "f", FSYS_FILE_READ);
    sys.fail(SysCall::kPread, EIO);
    CHECK(fsys_read(other, back.data(), 100, 0, FSYS_CACHED) == -EIO);
    sys.fail(SysCall::kPread, EOPNOTSUPP);
    for (unsigned i = 0; i < 100; ++i) {
        CHECK(fsys_read(other, back.data(), 100, 0, FSYS_CACHED) == -EAGAIN);
    }

    // It is of the blocking read alone.
    fsys_op op = 0;
    CHECK(fsys_submit_read(file, back.data(), 1, 0, FSYS_CACHED, 0, &op) == FSYS_E_BAD_FLAG);
    CHECK(fsys_write(file, back.data(), 1, 0, FSYS_CACHED) == FSYS_E_BAD_FLAG);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    fsys_file *stream = nullptr;
    REQUIRE(fsys_file_from_fd(rig, ends[0], nullptr, &stream) == 0);
    CHECK(fsys_read(stream, back.data(), 1, 0, FSYS_CACHED) == -EAGAIN);
    CHECK(fsys_file_close(stream) == 0);
    ::close(ends[0]);
    ::close(ends[1]);
}
