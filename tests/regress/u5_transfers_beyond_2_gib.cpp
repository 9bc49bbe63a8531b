// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// U5: lengths were cut to 32 bits and a transfer above 2 GiB came back short, as an error. One
// system call moves at most 2 GiB - 4 KiB, so the library goes on where the kernel stopped.
//
// The memory is 64 MiB, mapped over and over: what counts is the length and where the last bytes
// land.
#include <sys/mman.h>

#include "regress/support.hpp"

using namespace regress;

namespace {

constexpr std::size_t kPeriod = std::size_t{64} << 20;
constexpr std::size_t kTail = 1 << 16;

class Alias {
public:
    explicit Alias(std::size_t size) : size_((size + kPeriod - 1) / kPeriod * kPeriod) {
        const int fd = ::memfd_create("alias", MFD_CLOEXEC);
        base_ = static_cast<unsigned char *>(
            ::mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        if (fd < 0 || ::ftruncate(fd, kPeriod) != 0 || base_ == MAP_FAILED) {
            std::perror("alias");
            std::abort();
        }
        for (std::size_t at = 0; at < size_; at += kPeriod) {
            if (::mmap(base_ + at, kPeriod, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
                MAP_FAILED) {
                std::perror("alias");
                std::abort();
            }
        }
        ::close(fd);
    }
    Alias(const Alias &) = delete;
    Alias &operator=(const Alias &) = delete;
    ~Alias() { ::munmap(base_, size_); }
    unsigned char *data() { return base_; }

private:
    unsigned char *base_;
    std::size_t size_;
};

// By the driver or the pool, or on the calling thread.
std::int64_t transfer(fsys *handle, const fsys_request &wanted, bool caller_driven) {
    fsys_op op = 0;
    REQUIRE(fsys_submit(handle, &wanted, 1, &op) == 1);
    fsys_result result{};
    REQUIRE(fsys_wait(handle, op, caller_driven ? FSYS_FOREVER : 100 * kSecond, &result) == 0);
    if (result.result >= 0) {
        REQUIRE(static_cast<std::uint64_t>(result.result) == result.bytes_done);
    }
    return result.result;
}

}  // namespace

TEST_CASE("U5: a read above 2 GiB is complete to the last byte") {
    if (REGRESS_TSAN != 0) {
        FSYS_SKIP("ThreadSanitizer's shadow of such a transfer is larger than memory");
    }
    const Watchdog watchdog(120);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    const std::uint64_t length = (std::uint64_t{2} << 30) + 3 * kTail;
    const std::string path = scratch / "sparse";
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const auto tail = bytes_of(77, length - kTail, kTail);
    REQUIRE(::ftruncate(fd, static_cast<off_t>(length)) == 0);
    REQUIRE(::pwrite(fd, tail.data(), kTail, static_cast<off_t>(length - kTail)) == kTail);
    ::close(fd);
    Alias memory(length);
    Handle handle(backend);
    // Direct where possible, so that 2 GiB of holes do not fill the page cache.
    fsys_file *file = nullptr;
    if (try_open(handle, path, FSYS_FILE_READ | FSYS_FILE_DIRECT, &file) != 0) {
        file = open_file(handle, path);
    }
    REQUIRE(transfer(handle, request(FSYS_OP_READ, file, memory.data(), length), false) ==
            static_cast<std::int64_t>(length));
    REQUIRE(is_bytes_of(memory.data() + length - kTail, 77, length - kTail, kTail));
    REQUIRE(stats_of(handle).splits + stats_of(handle).short_ios >= 1);

    std::memset(memory.data() + length - kTail, 0, kTail);
    REQUIRE(fsys_read(file, memory.data(), length, 0, 0) == static_cast<std::int64_t>(length));
    REQUIRE(is_bytes_of(memory.data() + length - kTail, 77, length - kTail, kTail));

    // Vectored: the sum counts, not the single lengths.
    std::memset(memory.data() + length - kTail, 0, kTail);
    const std::uint64_t half = length / 2 / 4096 * 4096;
    fsys_iovec parts[2] = {{memory.data(), half}, {memory.data() + half, length - half}};
    REQUIRE(transfer(handle, request(FSYS_OP_READV, file, parts, 2), false) ==
            static_cast<std::int64_t>(length));
    REQUIRE(is_bytes_of(memory.data() + length - kTail, 77, length - kTail, kTail));
    REQUIRE(handle.close() == 0);
}

TEST_CASE("U5: a write above 4 GiB is complete") {
    if (REGRESS_TSAN != 0) {
        FSYS_SKIP("ThreadSanitizer's shadow of such a transfer is larger than memory");
    }
    const Watchdog watchdog(120);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    const std::uint32_t driver = GENERATE(FSYS_DRIVER_THREAD, FSYS_DRIVER_CALLER);
    CAPTURE(backend_name(backend), driver);
    // /dev/null takes everything that one call may carry; on a caller-driven handle by the ring.
    const std::uint64_t length = (std::uint64_t{4} << 30) + 12345;
    Alias memory(length);
    fsys_options options = default_options(backend);
    options.driver = driver;
    Handle handle(options);
    fsys_file *file = open_file(handle, "/dev/null", FSYS_FILE_WRITE);
    REQUIRE(transfer(handle, request(FSYS_OP_WRITE, file, memory.data(), length),
                     driver == FSYS_DRIVER_CALLER) == static_cast<std::int64_t>(length));
    const fsys_counters counters = stats_of(handle);
    REQUIRE(counters.bytes_written == length);
    REQUIRE(counters.splits >= 2);
    REQUIRE(fsys_write(file, memory.data(), length, 0, 0) == static_cast<std::int64_t>(length));
    REQUIRE(handle.close() == 0);
}
