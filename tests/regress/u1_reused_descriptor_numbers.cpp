// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// U1: a file table keyed by descriptor number sent writes to an earlier, already closed file when
// the number was used again. Files are opened and closed so that numbers repeat at once; every byte
// must land in the file it was meant for, also from several threads, and a caller's own descriptor
// may be closed and reused right after it was handed over.
#include "regress/support.hpp"

using namespace regress;

namespace {

constexpr std::size_t kBlock = 4096;
constexpr unsigned kOps = 12;  // enough for the file to get a place in the ring's table

int descriptor_of(const std::string &path) {
    const std::string want = std::filesystem::canonical(path).string();
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code ignored;
        if (std::filesystem::read_symlink(entry, ignored).string() == want) {
            return std::stoi(entry.path().filename().string());
        }
    }
    return -1;
}

// Writes kOps blocks of `seed`'s bytes into a new file, by ops, and closes it.
bool write_file(fsys *handle, const std::string &path, unsigned seed, std::uint32_t flags,
                Problems &problems, int *number = nullptr, bool *registered = nullptr) {
    fsys_file *file = nullptr;
    if (!NOTE_EQUAL(problems, try_open(handle, path, kReadWriteCreate | flags, &file), 0)) {
        return false;
    }
    if (number != nullptr) {
        *number = descriptor_of(path);
    }
    Pages pages(kBlock * kOps);
    const auto bytes = bytes_of(seed, 0, kBlock * kOps);
    std::memcpy(pages.data(), bytes.data(), bytes.size());
    for (unsigned i = 0; i < kOps; ++i) {
        fsys_op op = 0;
        fsys_result result{};
        NOTE_EQUAL(problems, fsys_submit_write(file, pages.data() + i * kBlock, kBlock,
                                               i * kBlock, 0, i, &op), 0);
        // A limit, so that no waiter executes it: it is the driver or the pool that must not mix
        // up the files.
        NOTE_EQUAL(problems, fsys_wait(handle, op, 30 * kSecond, &result), 0);
        NOTE_EQUAL(problems, result.result, kBlock);
    }
    if (registered != nullptr) {
        fsys_file_details details{};
        details.struct_size = sizeof details;
        NOTE_EQUAL(problems, fsys_file_info(file, &details), 0);
        *registered |= details.registered != 0;
    }
    return NOTE_EQUAL(problems, fsys_file_close(file), 0);
}

bool holds(const std::string &path, unsigned seed) {
    std::vector<unsigned char> bytes(kBlock * kOps + 1);
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t n = ::pread(fd, bytes.data(), bytes.size(), 0);
    ::close(fd);
    return n == static_cast<ssize_t>(kBlock * kOps) &&
           is_bytes_of(bytes.data(), seed, 0, kBlock * kOps);
}

bool direct_works(fsys *handle, const Scratch &scratch) {
    fsys_file *file = nullptr;
    const int code =
        try_open(handle, scratch / "direct-probe", kReadWriteCreate | FSYS_FILE_DIRECT, &file);
    if (code == 0) {
        fsys_file_close(file);
    }
    return code == 0;
}

}  // namespace

TEST_CASE("U1: writes go to the file they were meant for when descriptor numbers repeat") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    Handle handle(backend);
    const std::uint32_t direct = direct_works(handle, scratch) ? FSYS_FILE_DIRECT : 0;
    if (direct == 0) {
        std::printf("note: no O_DIRECT here, writes do not reach the ring\n");
    }
    Problems problems;
    bool reused = false;
    bool registered = false;
    int last = -2;
    constexpr unsigned kFiles = 64;
    for (unsigned i = 0; i < kFiles; ++i) {
        int number = -1;
        write_file(handle, scratch / std::to_string(i), i * 7, direct, problems, &number, &registered);
        reused |= number >= 0 && number == last;
        last = number;
    }
    REQUIRE(problems.text() == "");
    REQUIRE(reused);  // otherwise this test has shown nothing
    if (backend == FSYS_BACKEND_IO_URING && direct != 0 && info_of(handle).registered_files != 0) {
        REQUIRE(registered);
    }
    for (unsigned i = 0; i < kFiles; ++i) {
        CAPTURE(i);
        REQUIRE(holds(scratch / std::to_string(i), i * 7));
    }
    REQUIRE(handle.close() == 0);
}

TEST_CASE("U1: four threads churn descriptors without mixing files") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    Handle handle(backend);
    const std::uint32_t direct = direct_works(handle, scratch) ? FSYS_FILE_DIRECT : 0;
    Problems problems;
    constexpr unsigned kEach = 40;
    run_threads(4, [&](unsigned thread) {
        for (unsigned i = 0; i < kEach; ++i) {
            const unsigned id = thread * kEach + i;
            write_file(handle, scratch / std::to_string(id), id, direct, problems);
        }
    });
    REQUIRE(problems.text() == "");
    for (unsigned id = 0; id < 4 * kEach; ++id) {
        CAPTURE(id);
        REQUIRE(holds(scratch / std::to_string(id), id));
    }
    REQUIRE(handle.close() == 0);
}

TEST_CASE("U1: a caller's descriptor may be closed and its number reused at once") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    Handle handle(backend);
    const int mine = ::open(scratch.make("mine", kBlock, 1).c_str(), O_RDWR | O_CLOEXEC);
    fsys_file *file = adopt_fd(handle, mine);
    ::close(mine);
    const int other = ::open(scratch.make("other", kBlock, 2).c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(other == mine);
    Pages pages(kBlock);
    for (unsigned i = 0; i < kOps; ++i) {
        fsys_op op = 0;
        fsys_result result{};
        REQUIRE(fsys_submit_read(file, pages.data(), kBlock, 0, 0, 0, &op) == 0);
        REQUIRE(fsys_wait(handle, op, 30 * kSecond, &result) == 0);
        REQUIRE(result.result == kBlock);
        REQUIRE(is_bytes_of(pages.data(), 1, 0, kBlock));
    }
    const auto bytes = bytes_of(3, 0, kBlock);
    std::memcpy(pages.data(), bytes.data(), kBlock);
    fsys_op op = 0;
    fsys_result result{};
    REQUIRE(fsys_submit_write(file, pages.data(), kBlock, 0, 0, 0, &op) == 0);
    REQUIRE(fsys_wait(handle, op, 30 * kSecond, &result) == 0);
    REQUIRE(result.result == kBlock);
    unsigned char back[kBlock];
    REQUIRE(::pread(other, back, kBlock, 0) == kBlock);
    REQUIRE(is_bytes_of(back, 2, 0, kBlock));
    ::close(other);
    REQUIRE(handle.close() == 0);
}
