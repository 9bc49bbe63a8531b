// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// FSYS_ATOMIC: one RWF_ATOMIC write where the file promises it, a refusal everywhere else; never
// split, continued, or replaced by a plain write.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

constexpr std::uint32_t kDirect = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_DIRECT;
constexpr std::uint32_t kBuffered = FSYS_FILE_READ | FSYS_FILE_WRITE;
constexpr std::size_t kFileSize = 1 << 16;

// A kernel and file system that promise atomic writes of 1 to 16 KiB, which the ones below need
// not.
class Promising : public FakeSyscalls {
public:
    libfsys::IoLimits io_limits(int fd) override {
        libfsys::IoLimits limits = FakeSyscalls::io_limits(fd);
        limits.atomic_known = true;
        limits.atomic_min = 1024;
        limits.atomic_max = 16384;
        limits.atomic_segments = 1;
        return limits;
    }
    ssize_t pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                   int rwf) override {
        if ((rwf & libfsys::kRwfAtomic) == 0) {
            ++plain;
            return FakeSyscalls::pwrite(fd, buffer, length, offset, rwf);
        }
        ++atomic;
        durable += (rwf & RWF_DSYNC) != 0 ? 1 : 0;
        const int failure = fail_next.exchange(0);
        if (failure != 0) {
            return -failure;
        }
        const std::size_t length_now = cut ? length / 2 : length;
        return FakeSyscalls::pwrite(fd, buffer, length_now, offset, rwf & ~libfsys::kRwfAtomic);
    }
    std::atomic<unsigned> atomic{0};
    std::atomic<unsigned> durable{0};
    std::atomic<unsigned> plain{0};
    std::atomic<int> fail_next{0};
    std::atomic<bool> cut{false};
};

// An engine over it, a file opened O_DIRECT, aligned memory with a pattern.
struct Bench {
    Promising system;
    TempDir dir;
    Rig rig;
    fsys_file *file = nullptr;
    unsigned char *bytes = nullptr;

    Bench() : rig(setup()) {
        write_whole(path(), pattern(kFileSize, 1));
        fsys_file_options o{};
        o.struct_size = sizeof o;
        o.flags = kDirect;
        if (fsys_file_open(rig, path().c_str(), &o, &file) != 0) {
            file = nullptr;
            return;
        }
        void *memory = nullptr;
        REQUIRE(fsys_buffer_alloc(rig, 1 << 16, &memory) == 0);
        bytes = static_cast<unsigned char *>(memory);
        const auto fresh = pattern(1 << 16, 2);
        std::copy(fresh.begin(), fresh.end(), bytes);
    }
    Setup setup() {
        Setup s;
        s.queue = quiet();
        s.syscalls = &system;
        return s;
    }
    std::string path() const { return dir / "f"; }
    bool holds(std::size_t length, std::size_t offset) const {
        const auto now = read_whole(path());
        return now.size() >= offset + length &&
               std::equal(bytes, bytes + length, now.begin() + offset);
    }
    bool untouched() const { return read_whole(path()) == pattern(kFileSize, 1); }
};

}  // namespace

TEST_CASE("atomic: refused where nothing is promised, and nothing is written") {
    TempDir dir;
    Rig rig;
    const auto before = pattern(kFileSize, 1);
    write_whole(dir / "f", before);
    fsys_file *file = rig.file(dir / "f", kBuffered);
    const auto block = pattern(4096, 2);
    CHECK(fsys_write(file, block.data(), block.size(), 0, FSYS_ATOMIC) == FSYS_E_NOT_ATOMIC);
    CHECK(fsys_write(file, block.data(), block.size(), 0, FSYS_ATOMIC | FSYS_DURABLE) ==
          FSYS_E_NOT_ATOMIC);
    fsys_op op = 0;
    CHECK(fsys_submit_write(file, block.data(), block.size(), 0, FSYS_ATOMIC, 0, &op) ==
          FSYS_E_NOT_ATOMIC);
    fsys_request request{};
    request.opcode = FSYS_OP_WRITE;
    request.flags = FSYS_ATOMIC;
    request.file = file;
    request.buffer = const_cast<unsigned char *>(block.data());
    request.length = block.size();
    CHECK(fsys_submit(rig, &request, 1, &op) == FSYS_E_NOT_ATOMIC);
    CHECK(read_whole(dir / "f") == before);
    // It is a refusal, not a failure of the file.
    CHECK(fsys_sync(file, 0) == 0);
    CHECK(fsys_write(file, block.data(), block.size(), 0, FSYS_DURABLE) == 4096);
}

TEST_CASE("atomic: promised lengths go out as one atomic write") {
    Bench at;
    if (at.file == nullptr) {
        FSYS_SKIP("no O_DIRECT on this file system");
    }
    CHECK(fsys_write(at.file, at.bytes, 4096, 8192, FSYS_ATOMIC) == 4096);
    CHECK(at.system.atomic == 1);
    CHECK(at.holds(4096, 8192));
    CHECK(fsys_write(at.file, at.bytes, 16384, 16384, FSYS_ATOMIC | FSYS_DURABLE) == 16384);
    CHECK(at.system.atomic == 2);
    CHECK(at.system.durable == 1);
    CHECK(at.holds(16384, 16384));

    fsys_op op = 0;
    REQUIRE(fsys_submit_write(at.file, at.bytes, 4096, 4096, FSYS_ATOMIC, 7, &op) == 0);
    const fsys_result result = at.rig.wait(op);
    CHECK(result.user_data == 7);
    if (result.lane == FSYS_LANE_RING && variant().ring()) {
        // The real ring asked the real kernel, which knows of no such promise on most file systems.
        if (result.result != 4096) {
            CHECK(result.result == FSYS_E_NOT_ATOMIC);
            CHECK(result.bytes_done == 0);
            CHECK_FALSE(at.holds(4096, 4096));
        }
    } else {
        CHECK(result.result == 4096);
        CHECK(at.holds(4096, 4096));
        CHECK(at.system.atomic == 3);
    }
    CHECK(at.system.plain == 0);
}

TEST_CASE("atomic: outside the promise it is refused before anything is done") {
    Bench at;
    if (at.file == nullptr) {
        FSYS_SKIP("no O_DIRECT on this file system");
    }
    const auto write = [&at](std::size_t length, std::uint64_t offset, std::uint32_t flags = 0) {
        return fsys_write(at.file, at.bytes, length, offset, FSYS_ATOMIC | flags);
    };
    CHECK(write(32768, 0) == FSYS_E_NOT_ATOMIC);  // too long
    CHECK(write(512, 0) == FSYS_E_NOT_ATOMIC);    // too short
    CHECK(write(0, 0) == FSYS_E_NOT_ATOMIC);
    CHECK(write(3072, 0) == FSYS_E_NOT_ATOMIC);      // no power of two
    CHECK(write(4096, 2048) == FSYS_E_NOT_ATOMIC);   // across a boundary
    CHECK(write(4096, 0, FSYS_PARTIAL) == -EINVAL);  // a contradiction
    CHECK(fsys_read(at.file, at.bytes, 4096, 0, FSYS_ATOMIC) == FSYS_E_BAD_FLAG);
    fsys_op op = 0;
    CHECK(fsys_submit_read(at.file, at.bytes, 4096, 0, FSYS_ATOMIC, 0, &op) == -EINVAL);

    fsys_iovec pieces[2] = {{at.bytes, 2048}, {at.bytes + 2048, 2048}};
    fsys_request request{};
    request.opcode = FSYS_OP_WRITEV;
    request.flags = FSYS_ATOMIC;
    request.file = at.file;
    request.buffer = pieces;
    request.length = 2;
    CHECK(fsys_submit(at.rig, &request, 1, &op) == FSYS_E_NOT_ATOMIC);  // more buffers than allowed

    // The same file without O_DIRECT: the kernel's promise is for direct IO.
    fsys_file *buffered = at.rig.file(at.path(), kBuffered);
    CHECK(fsys_write(buffered, at.bytes, 4096, 0, FSYS_ATOMIC) == FSYS_E_NOT_ATOMIC);
    CHECK(at.system.atomic == 0);
    CHECK(at.system.plain == 0);
    CHECK(at.untouched());
}

TEST_CASE("atomic: a promise that is not kept is told, not mended") {
    Bench at;
    if (at.file == nullptr) {
        FSYS_SKIP("no O_DIRECT on this file system");
    }
    SECTION("the kernel refuses after all") {
        at.system.fail_next = GENERATE(EINVAL, EOPNOTSUPP);
        CHECK(fsys_write(at.file, at.bytes, 4096, 0, FSYS_ATOMIC) == FSYS_E_NOT_ATOMIC);
        CHECK(at.system.atomic == 1);
        CHECK(at.untouched());
        CHECK(fsys_sync(at.file, 0) == 0);
    }
    SECTION("interrupted before it began: once more, whole") {
        at.system.fail_next = EINTR;
        CHECK(fsys_write(at.file, at.bytes, 4096, 0, FSYS_ATOMIC) == 4096);
        CHECK(at.system.atomic == 2);
        CHECK(at.holds(4096, 0));
    }
    SECTION("a short one is not continued") {
        at.system.cut = true;
        CHECK(fsys_write(at.file, at.bytes, 4096, 0, FSYS_ATOMIC) == FSYS_E_NOT_ATOMIC);
        CHECK(at.system.atomic == 1);
    }
    SECTION("an error is that error, and poisons what was to be durable") {
        at.system.fail_next = EIO;
        CHECK(fsys_write(at.file, at.bytes, 4096, 0, FSYS_ATOMIC | FSYS_DURABLE) == -EIO);
        CHECK(fsys_sync(at.file, 0) == FSYS_E_POISONED);
    }
    CHECK(at.system.plain == 0);
}
