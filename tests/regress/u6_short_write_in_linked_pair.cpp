// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// U6: a short write in a write + fsync pair was reported as an odd error, after the kernel had
// cancelled the fsync. RLIMIT_FSIZE makes a real short write: the library goes on, learns the cause,
// names it with the bytes that were written, and starts nothing that is linked behind.
#include "regress/support.hpp"

using namespace regress;

namespace {

// SIGXFSZ would end the process; ignored, the write fails with EFBIG.
class FileSizeLimit {
public:
    explicit FileSizeLimit(rlim_t bytes) {
        ::signal(SIGXFSZ, SIG_IGN);
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit{bytes, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    FileSizeLimit(const FileSizeLimit &) = delete;
    FileSizeLimit &operator=(const FileSizeLimit &) = delete;
    ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

private:
    rlimit before_{};
};

}  // namespace

TEST_CASE("U6: a short write fails its pair: nothing behind it starts, nothing is called durable") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    const bool direct = GENERATE(false, true);
    CAPTURE(backend_name(backend), direct);
    const Scratch scratch;
    Handle handle(backend);
    fsys_file *file = nullptr;
    const int opened = try_open(handle, scratch / "data",
                                kReadWriteCreate | (direct ? FSYS_FILE_DIRECT : 0u), &file);
    if (direct && opened == -EINVAL) {
        FSYS_SKIP("no O_DIRECT on this file system");
    }
    REQUIRE(opened == 0);
    constexpr std::size_t kLength = 65536;
    constexpr std::size_t kLimit = 32768;
    Pages pages(kLength);
    std::memset(pages.data(), 'w', kLength);
    fsys_result results[4];
    {
        const FileSizeLimit limit(kLimit);
        const fsys_request chain[4] = {
            request(FSYS_OP_WRITE, file, pages.data(), kLength, 0, FSYS_LINK, 1),
            request(FSYS_OP_SYNC, file, nullptr, 0, 0, FSYS_LINK, 2),
            request(FSYS_OP_WRITE, file, pages.data(), 4096, 0, FSYS_LINK, 3),
            request(FSYS_OP_SYNC, file, nullptr, 0, 0, 0, 4),
        };
        fsys_op ops[4];
        REQUIRE(fsys_submit(handle, chain, 4, ops) == 4);
        REQUIRE(fsys_wait_all(handle, ops, 4, 30 * kSecond, results) == 0);
    }
    CHECK(results[0].result == -EFBIG);
    CHECK(results[0].bytes_done == kLimit);
    CHECK(results[0].step == FSYS_STEP_TRANSFER);
    for (unsigned i = 1; i < 4; ++i) {
        CAPTURE(i);
        CHECK(results[i].user_data == i + 1);
        CHECK(results[i].result == -ECANCELED);
        CHECK(results[i].step == FSYS_STEP_QUEUE);
        CHECK(results[i].lane == FSYS_LANE_NONE);
        CHECK(results[i].bytes_done == 0);
    }
    const fsys_counters counters = stats_of(handle);
    std::uint64_t syncs = 0;
    for (unsigned lane = FSYS_LANE_INLINE; lane < FSYS_STATS_LANES; ++lane) {
        syncs += counters.ops[lane][FSYS_OP_SYNC];
    }
    CHECK(syncs == 0);  // no sync ran on any lane
    // Refused arguments are not lost pages: the file is usable, and a full pair succeeds.
    const fsys_request pair[2] = {
        request(FSYS_OP_WRITE, file, pages.data(), kLength, 0, FSYS_LINK, 1),
        request(FSYS_OP_SYNC, file, nullptr, 0, 0, 0, 2),
    };
    fsys_op ops[2];
    REQUIRE(fsys_submit(handle, pair, 2, ops) == 2);
    REQUIRE(fsys_wait_all(handle, ops, 2, 30 * kSecond, results) == 0);
    CHECK(results[0].result == kLength);
    CHECK(results[1].result == 0);
    CHECK(handle.close() == 0);
}

TEST_CASE("U6: a durable write that stays short is an error, with the bytes that were written") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    Handle handle(backend);
    fsys_file *file = open_file(handle, scratch / "data", kReadWriteCreate);
    std::vector<char> bytes(65536, 'd');
    const FileSizeLimit limit(40000);
    fsys_op op = 0;
    fsys_result result{};
    REQUIRE(fsys_submit_write(file, bytes.data(), bytes.size(), 0, FSYS_DURABLE, 0, &op) == 0);
    REQUIRE(fsys_wait(handle, op, 30 * kSecond, &result) == 0);
    CHECK(result.result == -EFBIG);
    CHECK(result.bytes_done == 40000);
    CHECK(fsys_write(file, bytes.data(), bytes.size(), 0, FSYS_DURABLE) == -EFBIG);
    CHECK(handle.close() == 0);
}

TEST_CASE("U6: a read that ends early fails what is linked behind it") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    Handle handle(backend);
    fsys_file *file = open_file(handle, scratch.make("data", 1000, 1), kReadWriteCreate);
    char bytes[4096];
    const fsys_request pair[2] = {
        request(FSYS_OP_READ, file, bytes, sizeof bytes, 0, FSYS_LINK, 1),
        request(FSYS_OP_WRITE, file, bytes, sizeof bytes, 0, 0, 2),
    };
    fsys_op ops[2];
    fsys_result results[2];
    REQUIRE(fsys_submit(handle, pair, 2, ops) == 2);
    REQUIRE(fsys_wait_all(handle, ops, 2, 30 * kSecond, results) == 0);
    CHECK(results[0].result == FSYS_E_SHORT);
    CHECK(results[0].bytes_done == 1000);
    CHECK(results[1].result == -ECANCELED);
    CHECK(std::filesystem::file_size(scratch / "data") == 1000);
    CHECK(handle.close() == 0);
}
