// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Opening and describing files, the root jail, the ring's file table, buffers.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

constexpr std::uint32_t kNew = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE;

int try_open(fsys *handle, const std::string &path, std::uint32_t flags, std::uint32_t mode = 0,
             std::string *text = nullptr) {
    char sentence[256] = "";
    fsys_file_options o{};
    o.struct_size = sizeof o;
    o.flags = flags;
    o.mode = mode;
    o.error_text = sentence;
    o.error_text_size = sizeof sentence;
    fsys_file *file = nullptr;
    const int code = fsys_file_open(handle, path.c_str(), &o, &file);
    if (text != nullptr) {
        *text = sentence;
    }
    return code == 0 ? fsys_file_close(file) : code;
}

fsys_file_details details_of(fsys_file *file) {
    fsys_file_details details{};
    details.struct_size = sizeof details;
    REQUIRE(fsys_file_info(file, &details) == 0);
    return details;
}

}  // namespace

TEST_CASE("open: flags mean what open(2) means") {
    TempDir dir;
    Rig rig;
    std::string text;
    CHECK(try_open(rig, dir / "none", FSYS_FILE_READ, 0, &text) == -ENOENT);
    CHECK(text.find("none") != std::string::npos);
    CHECK(try_open(rig, dir / "f", kNew, 0600) == 0);
    struct stat st{};
    REQUIRE(::stat((dir / "f").c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0600);
    CHECK(try_open(rig, dir / "f", kNew | FSYS_FILE_EXCLUSIVE) == -EEXIST);
    CHECK(try_open(rig, dir / "f", FSYS_FILE_EXCLUSIVE) == -EINVAL);
    CHECK(try_open(rig, dir / "f", FSYS_FILE_TRUNCATE) == -EINVAL);
    CHECK(try_open(rig, dir / "f", 1u << 20) == FSYS_E_BAD_FLAG);
    write_whole(dir / "f", pattern(100));
    CHECK(try_open(rig, dir / "f", FSYS_FILE_WRITE | FSYS_FILE_TRUNCATE) == 0);
    CHECK(read_whole(dir / "f").empty());
    REQUIRE(::symlink("f", (dir / "link").c_str()) == 0);
    CHECK(try_open(rig, dir / "link", FSYS_FILE_READ) == 0);
    CHECK(try_open(rig, dir / "link", FSYS_FILE_READ | FSYS_FILE_NOFOLLOW) == -ELOOP);
    CHECK(try_open(rig, dir / ".", FSYS_FILE_WRITE) == -EISDIR);
    fsys_file *file = nullptr;
    CHECK(fsys_file_open(rig, nullptr, nullptr, &file) == -EINVAL);
    CHECK(fsys_file_open(rig, "x", nullptr, nullptr) == -EINVAL);
    REQUIRE(fsys_file_open(rig, (dir / "f").c_str(), nullptr, &file) == 0);
    CHECK(details_of(file).flags == FSYS_FILE_READ);
    // Descriptors are not inherited.
    bool inherited = false;
    for (int fd = 3; fd < 256; ++fd) {
        struct stat here{};
        if (::fstat(fd, &here) == 0 && here.st_ino == st.st_ino && here.st_dev == st.st_dev) {
            inherited |= (::fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
        }
    }
    CHECK(!inherited);
}

TEST_CASE("open: at most max_files") {
    TempDir dir;
    write_whole(dir / "f", pattern(10));
    Setup setup;
    setup.max_files = 3;
    Rig rig(setup);
    fsys_file *files[3];
    for (fsys_file *&file : files) {
        file = rig.file(dir / "f", FSYS_FILE_READ);
    }
    std::string text;
    CHECK(try_open(rig, dir / "f", FSYS_FILE_READ, 0, &text) == -EMFILE);
    CHECK(text.find("max_files") != std::string::npos);
    CHECK(fsys_file_close(files[1]) == 0);
    CHECK(try_open(rig, dir / "f", FSYS_FILE_READ) == 0);
    // Ids are not reused: the old one stays closed while its place is taken again.
    fsys_file *again = rig.file(dir / "f", FSYS_FILE_READ);
    CHECK(again != files[1]);
    char byte = 0;
    CHECK(fsys_read(files[1], &byte, 1, 0, 0) == FSYS_E_CLOSED);
    CHECK(fsys_read(again, &byte, 1, 0, 0) == 1);
}

TEST_CASE("file of another handle, handle as file, garbage: closed, never a crash") {
    TempDir dir;
    write_whole(dir / "f", pattern(10));
    Rig rig;
    Rig other;
    fsys_file *file = other.file(dir / "f", FSYS_FILE_READ);
    char byte = 0;
    fsys_op op = 0;
    fsys_request r{};
    r.opcode = FSYS_OP_READ;
    r.file = file;
    r.buffer = &byte;
    r.length = 1;
    CHECK(fsys_submit(rig, &r, 1, &op) == FSYS_E_CLOSED);
    CHECK(fsys_submit(other, &r, 1, &op) == 1);
    CHECK(other.wait(op).result == 1);
    CHECK(fsys_read(reinterpret_cast<fsys_file *>(rig.handle()), &byte, 1, 0, 0) == FSYS_E_CLOSED);
    CHECK(fsys_submit(reinterpret_cast<fsys *>(file), &r, 1, &op) == FSYS_E_CLOSED);
    CHECK(fsys_file_close(nullptr) == FSYS_E_CLOSED);
    CHECK(fsys_close(nullptr) == FSYS_E_CLOSED);
}

TEST_CASE("info: a file's facts") {
    TempDir dir;
    write_whole(dir / "f", pattern(12'345));
    Rig rig;
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE);
    const fsys_file_details details = details_of(file);
    CHECK(details.size == 12'345);
    CHECK(details.flags == (FSYS_FILE_READ | FSYS_FILE_WRITE));
    CHECK(details.registered == 0);
    CHECK(std::strlen(details.file_system) >= 1);
    const std::string fs = details.file_system;
    INFO("file system " << fs);
    if (variant().caller()) {
        CHECK(details.read_lane == FSYS_LANE_RING);
        CHECK(details.write_lane == FSYS_LANE_RING);
        CHECK(details.sync_lane == FSYS_LANE_RING);
    } else if (variant().threads()) {
        CHECK(details.read_lane == FSYS_LANE_POOL);
        CHECK(details.write_lane == FSYS_LANE_POOL);
        CHECK(details.sync_lane == FSYS_LANE_POOL);
    } else {
        CHECK(details.read_lane == FSYS_LANE_RING);
        CHECK(details.sync_lane == FSYS_LANE_POOL);
        CHECK(details.write_lane == (fs == "xfs" || fs == "btrfs" ? FSYS_LANE_RING : FSYS_LANE_POOL));
    }
    Pipe pipe;
    fsys_file *stream = rig.from_fd(pipe.write_end);
    CHECK(details_of(stream).flags == FSYS_FILE_WRITE);
    CHECK(std::string(details_of(stream).file_system) == "pipefs");
    CHECK(details_of(stream).direct_mem_align == 0);
    fsys_file_details bad{};
    CHECK(fsys_file_info(file, &bad) == FSYS_E_BAD_STRUCT);
    CHECK(fsys_file_info(file, nullptr) == -EINVAL);
}

TEST_CASE("from_fd: O_APPEND and O_PATH are refused, the offset is ours") {
    TempDir dir;
    write_whole(dir / "f", pattern(100));
    Rig rig;
    fsys_file *file = nullptr;
    int fd = ::open((dir / "f").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK(fsys_file_from_fd(rig, fd, nullptr, &file) == -EINVAL);
    ::close(fd);
    fd = ::open((dir / "f").c_str(), O_PATH | O_CLOEXEC);
    CHECK(fsys_file_from_fd(rig, fd, nullptr, &file) == -EBADF);
    ::close(fd);
    CHECK(fsys_file_from_fd(rig, -1, nullptr, &file) == -EBADF);
    fd = ::open((dir / "f").c_str(), O_RDWR | O_CLOEXEC);
    file = rig.from_fd(fd);
    char bytes[10];
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(file, bytes, 10, 50, 0, 0, &op) == 0);
    CHECK(rig.wait(op).result == 10);
    CHECK(std::memcmp(bytes, pattern(100).data() + 50, 10) == 0);
    CHECK(::lseek(fd, 0, SEEK_CUR) == 0);
    ::close(fd);
}

TEST_CASE("root: nothing outside of it can be opened") {
    TempDir dir;
    REQUIRE(::mkdir((dir / "root").c_str(), 0700) == 0);
    REQUIRE(::mkdir((dir / "root/sub").c_str(), 0700) == 0);
    write_whole(dir / "outside", pattern(10));
    write_whole(dir / "root/inside", pattern(10));
    REQUIRE(::symlink("../outside", (dir / "root/out").c_str()) == 0);
    REQUIRE(::symlink((dir / "root/inside").c_str(), (dir / "root/absolute").c_str()) == 0);
    REQUIRE(::symlink("inside", (dir / "root/in").c_str()) == 0);
    REQUIRE(::symlink("/proc/self/root", (dir / "root/magic").c_str()) == 0);
    const std::string root = dir / "root";
    fsys_options o{};
    o.struct_size = sizeof o;
    o.backend = variant().backend;
    o.driver = variant().driver;
    o.root = root.c_str();
    fsys *handle = nullptr;
    REQUIRE(fsys_open(&o, &handle) == 0);
    CHECK(try_open(handle, "inside", FSYS_FILE_READ) == 0);
    CHECK(try_open(handle, "sub/../inside", FSYS_FILE_READ) == 0);
    CHECK(try_open(handle, "in", FSYS_FILE_READ) == 0);
    CHECK(try_open(handle, "sub/new", kNew) == 0);
    std::string text;
    CHECK(try_open(handle, "../outside", FSYS_FILE_READ, 0, &text) == -EXDEV);
    CHECK(text.find("root") != std::string::npos);
    CHECK(try_open(handle, "sub/../../outside", FSYS_FILE_READ) == -EXDEV);
    CHECK(try_open(handle, dir / "outside", FSYS_FILE_READ) == -EXDEV);
    CHECK(try_open(handle, dir / "root/inside", FSYS_FILE_READ) == -EXDEV);
    CHECK(try_open(handle, "out", FSYS_FILE_READ) == -EXDEV);
    CHECK(try_open(handle, "absolute", FSYS_FILE_READ) == -EXDEV);
    CHECK(try_open(handle, "magic/etc/passwd", FSYS_FILE_READ) == -EXDEV);
    CHECK(try_open(handle, "../evil", kNew) == -EXDEV);
    CHECK(::access((dir / "evil").c_str(), F_OK) != 0);
    CHECK(fsys_close(handle) == 0);

    char sentence[256] = "";
    const std::string missing = dir / "nowhere";
    o.root = missing.c_str();
    o.error_text = sentence;
    o.error_text_size = sizeof sentence;
    CHECK(fsys_open(&o, &handle) == -ENOENT);
    CHECK(std::strstr(sentence, "nowhere") != nullptr);
}

TEST_CASE("file table: more files than places, places are used again") {
    TempDir dir;
    Setup setup;
    setup.registered_files = 16;
    setup.queue = quiet();
    Rig rig(setup);
    const bool table = !variant().threads();
    for (unsigned round = 0; round < 3; ++round) {
        std::vector<fsys_file *> files;
        unsigned registered = 0;
        for (unsigned i = 0; i < 40; ++i) {
            const std::string path = dir / std::to_string(i);
            write_whole(path, pattern(256, i + round));
            files.push_back(rig.file(path, FSYS_FILE_READ));
            const auto expected = pattern(256, i + round);
            for (unsigned n = 0; n < 20; ++n) {
                unsigned char bytes[256];
                fsys_iovec iov{bytes, 256};
                fsys_request r{};
                r.opcode = FSYS_OP_READV;  // not done at submit from the page cache
                r.file = files.back();
                r.buffer = &iov;
                r.length = 1;
                fsys_op op = 0;
                REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
                REQUIRE(rig.wait(op, 20 * kSecond).result == 256);
                REQUIRE(std::memcmp(bytes, expected.data(), 256) == 0);
            }
            registered += details_of(files.back()).registered;
        }
        CHECK(registered == (table ? 16 : 0));
        CHECK(rig.info().registered_files == (table ? 16 : 0));
        if (rig.queue() != nullptr) {
            CHECK(rig.queue()->files_registered() == 16);
            CHECK(rig.queue()->registered_file_puts() > 0);
        }
        for (fsys_file *file : files) {
            REQUIRE(fsys_file_close(file) == 0);
        }
        if (rig.queue() != nullptr) {
            CHECK(rig.queue()->files_registered() == 0);
        }
    }
    CHECK(rig.close() == 0);
}

TEST_CASE("buffers: aligned, zeroed, from the arena and beyond it") {
    Setup setup;
    setup.arena_bytes = 256 * 1024;
    setup.queue = quiet();
    Rig rig(setup);
    void *p = nullptr;
    CHECK(fsys_buffer_alloc(rig, 0, &p) == -EINVAL);
    CHECK(fsys_buffer_alloc(rig, (1u << 30) + 1, &p) == -EINVAL);
    CHECK(fsys_buffer_alloc(rig, 4096, nullptr) == -EINVAL);
    CHECK(fsys_buffer_free(rig, nullptr) == 0);
    std::mt19937 random(3);
    std::vector<std::pair<unsigned char *, std::size_t>> held;
    std::size_t total = 0;
    for (unsigned i = 0; i < 400; ++i) {
        if (random() % 3 != 0 || held.empty()) {
            const std::size_t size = 1 + random() % 60'000;
            REQUIRE(fsys_buffer_alloc(rig, size, &p) == 0);
            REQUIRE(reinterpret_cast<std::uintptr_t>(p) % 4096 == 0);
            auto *bytes = static_cast<unsigned char *>(p);
            REQUIRE(std::all_of(bytes, bytes + size, [](unsigned char b) { return b == 0; }));
            std::memset(bytes, static_cast<int>(i % 255 + 1), size);
            for (const auto &[other, length] : held) {
                REQUIRE((bytes + size <= other || other + length <= bytes));
            }
            held.emplace_back(bytes, size);
            total += size;
        } else {
            const std::size_t which = random() % held.size();
            auto *bytes = held[which].first;
            const unsigned char first = *bytes;
            REQUIRE(std::all_of(bytes, bytes + held[which].second,
                                [&](unsigned char b) { return b == first; }));
            REQUIRE(fsys_buffer_free(rig, bytes) == 0);
            CHECK(fsys_buffer_free(rig, bytes) == -EINVAL);
            held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
        }
    }
    CHECK(total > setup.arena_bytes);
    int local = 0;
    CHECK(fsys_buffer_free(rig, &local) == -EINVAL);
    if (!held.empty()) {
        CHECK(fsys_buffer_free(rig, held[0].first + 1) == -EINVAL);
        Rig other;
        CHECK(fsys_buffer_free(other, held[0].first) == -EINVAL);
    }
    for (const auto &[bytes, size] : held) {
        CHECK(fsys_buffer_free(rig, bytes) == 0);
    }
    // All of the arena joins again.
    REQUIRE(fsys_buffer_alloc(rig, 256 * 1024, &p) == 0);
    CHECK(fsys_buffer_free(rig, p) == 0);
    CHECK(rig.close() == 0);
}

TEST_CASE("buffers: of the arena go through the fixed opcodes, all of their bytes arrive") {
    TempDir dir;
    const auto bytes = pattern(1 << 16);
    write_whole(dir / "f", bytes);
    Setup setup;
    setup.queue = quiet();
    Rig rig(setup);
    void *p = nullptr;
    REQUIRE(fsys_buffer_alloc(rig, 1 << 16, &p) == 0);
    if (variant().ring()) {
        REQUIRE(rig.until([&] { return rig.info().registered_buffers == 1; }));
    }
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE);
    // Part of a page, the middle, all.
    for (const std::size_t at : {0u, 100u, 5000u}) {
        std::memset(p, 0, 1 << 16);
        fsys_op ops[4];
        const std::size_t quarter = (65536 - at) / 4;
        for (unsigned i = 0; i < 4; ++i) {
            // PARTIAL reads below 64 KiB are satisfied at submit when cached; these go in a batch.
            fsys_request r{};
            r.opcode = FSYS_OP_READ;
            r.file = file;
            r.buffer = static_cast<unsigned char *>(p) + at + i * quarter;
            r.length = quarter;
            r.offset = at + i * quarter;
            fsys_request two[2] = {r, {}};
            fsys_op tokens[2];
            REQUIRE(fsys_submit(rig, two, 2, tokens) == 2);
            ops[i] = tokens[0];
            rig.wait(tokens[1]);
        }
        for (const fsys_op op : ops) {
            CHECK(rig.wait(op).result == static_cast<std::int64_t>(quarter));
        }
        CHECK(std::memcmp(static_cast<unsigned char *>(p) + at, bytes.data() + at, quarter * 4) == 0);
    }
    if (rig.queue() != nullptr) {
        CHECK(rig.queue()->registered_buffer_puts() >= 12);
    }
    CHECK(fsys_buffer_free(rig, p) == 0);
}
