// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Write-back that fails on a real ext4 and XFS. The kernel then marks the pages clean, tells of the
// failure once for each open file, and the next fsync() says 0 although the bytes are nowhere but in
// the page cache. The library must not pass that on: one failure is for good.
// https://wiki.postgresql.org/wiki/Fsync_Errors

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "filesystems/hole_disk.hpp"
#include "filesystems/support.hpp"
#include "fsys/journal.h"

using namespace filesystems;

namespace {

constexpr std::size_t kBytes = 256 * 1024;

bool write_back_failed(std::int64_t code) { return code == -EIO || code == -ENOSPC; }

// A file with blocks of its own, all zeros, on the disk.
void make_file(const std::string &name) {
    const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    const std::vector<char> zeros(kBytes);
    REQUIRE(::pwrite(fd, zeros.data(), kBytes, 0) == static_cast<ssize_t>(kBytes));
    REQUIRE(::fsync(fd) == 0);
    REQUIRE(::close(fd) == 0);
}

std::vector<char> on_disk(const std::string &name, std::size_t bytes) {
    const int fd = ::open(name.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    REQUIRE(fd >= 0);
    const std::unique_ptr<void, void (*)(void *)> memory(std::aligned_alloc(4096, bytes), std::free);
    REQUIRE(::pread(fd, memory.get(), bytes, 0) == static_cast<ssize_t>(bytes));
    REQUIRE(::close(fd) == 0);
    const char *first = static_cast<const char *>(memory.get());
    return {first, first + bytes};
}

// What the rig is for: without it the tests below would prove nothing.
void the_kernel_lies(HoleDisk &disk) {
    const std::string name = disk / "plain";
    make_file(name);
    REQUIRE(disk.break_range(name, 0, kBytes) == kBytes);
    const int fd = ::open(name.c_str(), O_RDWR | O_CLOEXEC);
    const auto bytes = block(kBytes, 1);
    REQUIRE(::pwrite(fd, bytes.data(), kBytes, 0) == static_cast<ssize_t>(kBytes));
    REQUIRE(::fsync(fd) == -1);
    REQUIRE(write_back_failed(-errno));
    REQUIRE(::fsync(fd) == 0);
    std::vector<char> cached(kBytes);
    REQUIRE(::pread(fd, cached.data(), kBytes, 0) == static_cast<ssize_t>(kBytes));
    REQUIRE(cached == bytes);
    REQUIRE(on_disk(name, kBytes) != bytes);
    REQUIRE(::close(fd) == 0);
    disk.mend();
}

// `early`: the kernel's own write-back fails before anybody asks for a sync.
void file_handle(HoleDisk &disk, std::uint32_t backend, bool early) {
    const std::string name =
        disk / ("file" + std::to_string(backend) + (early ? "-early" : "-late"));
    INFO(name);
    make_file(name);
    make_file(name + "-other");
    Engine engine(backend);
    fsys_file *file = engine.file(name);
    fsys_file *other = engine.file(name + "-other");
    REQUIRE(disk.break_range(name, 0, kBytes) == kBytes);
    const auto bytes = block(kBytes, 2);
    REQUIRE(fsys_write(file, bytes.data(), kBytes, 0, 0) == static_cast<std::int64_t>(kBytes));
    if (early) {
        const int fd = ::open(name.c_str(), O_RDWR | O_CLOEXEC);
        REQUIRE(::sync_file_range(fd, 0, 0,
                                  SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) == -1);
        REQUIRE(::close(fd) == 0);
    }
    REQUIRE(write_back_failed(fsys_sync(file, 0)));
    char cause[256] = "";
    REQUIRE(fsys_cause(file, cause, sizeof cause) > 0);
    INFO(cause);
    for (int again = 0; again < 3; ++again) {
        REQUIRE(fsys_sync(file, again == 0 ? FSYS_SYNC_DATA : 0) == FSYS_E_POISONED);
        fsys_op op = 0;
        const int asked = fsys_submit_sync(file, 0, 0, 0, 0, &op);
        fsys_result result{};
        result.result = asked;
        if (asked == 0) {
            REQUIRE(fsys_wait(engine, op, 10'000'000'000, &result) == 0);
        }
        REQUIRE(result.result == FSYS_E_POISONED);
        REQUIRE(fsys_write(file, bytes.data(), 4096, 0, FSYS_DURABLE) == FSYS_E_POISONED);
        if (again == 1) {
            disk.mend();  // nor when the disk has recovered: the bytes are gone all the same
        }
    }
    REQUIRE(on_disk(name, kBytes) != bytes);
    // The other file is not concerned.
    REQUIRE(fsys_write(other, bytes.data(), kBytes, 0, FSYS_DURABLE) ==
            static_cast<std::int64_t>(kBytes));
    REQUIRE(on_disk(name + "-other", kBytes) == bytes);
    fsys_file_close(file);
    REQUIRE(fsys_file_close(other) == 0);
}

std::vector<std::string> read_all(fsys *engine, const std::string &path) {
    fsys_journal_reader *reader = nullptr;
    REQUIRE(fsys_journal_reader_open_path(engine, path.c_str(), 0, 0, nullptr, &reader) == 0);
    std::vector<std::string> texts;
    for (;;) {
        fsys_journal_record record{};
        REQUIRE(fsys_journal_reader_next(reader, 0, &record) == 0);
        if (record.kind == FSYS_JOURNAL_END) {
            break;
        }
        REQUIRE(record.kind == FSYS_JOURNAL_RECORD);
        texts.emplace_back(static_cast<const char *>(record.data), record.length);
    }
    REQUIRE(fsys_journal_reader_close(reader) == 0);
    return texts;
}

void journal(HoleDisk &disk, std::uint32_t backend, std::uint32_t mode) {
    const std::string path =
        disk / ("journal" + std::to_string(backend) + "-" + std::to_string(mode));
    INFO(path);
    Engine engine(backend);
    fsys_journal_options options{};
    options.struct_size = sizeof options;
    options.mode = mode;
    options.segment_bytes = kBytes;
    options.buffer_bytes = 65536;
    options.spare_segments = 1;
    fsys_journal *journal = nullptr;
    REQUIRE(fsys_journal_open(engine, path.c_str(), &options, nullptr, &journal) == 0);
    std::vector<std::string> acked;
    const auto commit = [&](fsys_journal *to) {
        const std::string text = "record " + std::to_string(acked.size()) +
                                 std::string(100 + acked.size() * 37 % 900, 'x');
        std::uint64_t lsn = 0;
        REQUIRE(fsys_journal_commit(to, text.data(), text.size(), 0, -1, &lsn) == 0);
        acked.push_back(text);
        return lsn;
    };
    std::uint64_t last = 0;
    for (int i = 0; i < 20; ++i) {
        last = commit(journal);
    }

    fsys_journal_segment segment{};
    REQUIRE(fsys_journal_segments(journal, &segment, 1) == 1);
    // From the block behind the last acknowledged record on.
    const std::uint64_t offset = (4096 + (last - segment.first_lsn) + 4095) & ~std::uint64_t{4095};
    const std::uint64_t room = segment.file_bytes - offset;
    REQUIRE(disk.break_range(path + "/" + segment.name, offset, segment.file_bytes) == room);
    fsys_journal_stats before{};
    before.struct_size = sizeof before;
    REQUIRE(fsys_journal_stat(journal, &before) == 0);

    // Whoever takes part in that flush, or comes later, is told.
    constexpr unsigned kAsync = 6;
    const std::string lost = "lost " + std::string(700, 'y');
    std::uint64_t lsn = 0;
    std::vector<fsys_op> ops;
    for (unsigned i = 0; i < kAsync; ++i) {
        fsys_op op = 0;
        const int code =
            fsys_journal_submit_commit(journal, lost.data(), lost.size(), 0, i, &lsn, &op);
        if (code == 0) {
            ops.push_back(op);
        } else {
            REQUIRE(((code == FSYS_E_POISONED || code == FSYS_E_UNKNOWN)));
        }
    }
    REQUIRE_FALSE(ops.empty());
    for (const fsys_op op : ops) {
        fsys_result result{};
        REQUIRE(fsys_wait(engine, op, 10'000'000'000, &result) == 0);
        REQUIRE(((result.result == FSYS_E_UNKNOWN || result.result == FSYS_E_POISONED)));
    }
    fsys_journal_frontiers frontiers{};
    REQUIRE(fsys_journal_frontier(journal, &frontiers) == 0);
    REQUIRE(frontiers.durable >= last);  // the pad behind it counts as well
    REQUIRE(frontiers.durable <= segment.first_lsn + offset - 4096);
    REQUIRE(frontiers.unknown_lo == frontiers.durable);
    REQUIRE(frontiers.unknown_hi >= lsn);
    char cause[256] = "";
    REQUIRE(fsys_journal_cause(journal, cause, sizeof cause) > 0);
    INFO(cause);
    for (int again = 0; again < 4; ++again) {
        REQUIRE(fsys_journal_sync(journal, frontiers.unknown_hi, -1) == FSYS_E_UNKNOWN);
        REQUIRE(fsys_journal_commit(journal, "x", 1, 0, -1, nullptr) == FSYS_E_POISONED);
        fsys_op op = 0;
        const int code = fsys_journal_submit_sync(journal, frontiers.unknown_hi, 0, &op);
        REQUIRE(((code == FSYS_E_UNKNOWN || code == FSYS_E_POISONED)));
        REQUIRE(fsys_journal_rotate(journal) == FSYS_E_POISONED);
        if (again == 1) {
            disk.mend();
        }
    }
    // What had been acknowledged stays so, and no sync was tried again.
    REQUIRE(fsys_journal_sync(journal, last, -1) == 0);
    fsys_journal_frontiers later{};
    REQUIRE(fsys_journal_frontier(journal, &later) == 0);
    REQUIRE(later.durable == frontiers.durable);
    fsys_journal_stats after{};
    after.struct_size = sizeof after;
    REQUIRE(fsys_journal_stat(journal, &after) == 0);
    REQUIRE(after.poisoned == 1);
    REQUIRE(after.syncs == before.syncs);
    REQUIRE(fsys_journal_close(journal) == FSYS_E_POISONED);

    // By the disk, not by the page cache, which still shows the lost record: else it would be read
    // now and be gone after the next power loss.
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    REQUIRE(fsys_journal_open(engine, path.c_str(), &options, &report, &journal) == 0);
    INFO(report.text);
    REQUIRE(report.verdict != FSYS_JOURNAL_DAMAGED);
    REQUIRE(read_all(engine, path) == acked);
    commit(journal);
    REQUIRE(read_all(engine, path) == acked);
    REQUIRE(fsys_journal_close(journal) == 0);
}

void on(const char *type) {
    HoleDisk disk(type);
    if (!disk.missing().empty()) {
        FSYS_SKIP(std::string("failing write-back on ") + type + ": " + disk.missing());
    }
    the_kernel_lies(disk);
    std::vector<std::string> journals;
    for (const std::uint32_t backend : backends()) {
        file_handle(disk, backend, false);
        file_handle(disk, backend, true);
        journal(disk, backend, FSYS_JOURNAL_MODE_BUFFERED);
        journal(disk, backend, FSYS_JOURNAL_MODE_DIRECT);
    }
    REQUIRE(disk.remount() == "");
    Engine engine(FSYS_BACKEND_DEFAULT);
    for (const std::uint32_t backend : backends()) {
        for (const std::uint32_t mode : {FSYS_JOURNAL_MODE_BUFFERED, FSYS_JOURNAL_MODE_DIRECT}) {
            const std::string path =
                disk / ("journal" + std::to_string(backend) + "-" + std::to_string(mode));
            REQUIRE(read_all(engine, path).size() == 21);
        }
    }
}

}  // namespace

TEST_CASE("R13: write-back fails on ext4, and fsync() says so once", "[write-back-ext4]") {
    on("ext4");
}

TEST_CASE("R13: write-back fails on XFS, and fsync() says so once", "[write-back-xfs]") {
    on("xfs");
}
