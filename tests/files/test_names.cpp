// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Names, directories, whole contents, ranges and advice on the real file system.

#include <sys/file.h>
#include <sys/resource.h>
#include <utime.h>

#include <set>

#include "files/files.hpp"

using namespace files_test;

namespace {

std::string read_file(fsys *handle, const std::string &path, std::uint64_t max_bytes = 0) {
    void *data = nullptr;
    size_t length = 0;
    const int code = fsys_read_file(handle, path.c_str(), max_bytes, nullptr, &data, &length);
    INFO(path << ": " << code);
    REQUIRE(code == 0);
    std::string text(static_cast<char *>(data), length);
    CHECK(static_cast<char *>(data)[length] == '\0');
    fsys_free(data);
    return text;
}

int read_code(fsys *handle, const std::string &path, std::uint64_t max_bytes = 0,
              std::uint32_t flags = 0) {
    void *data = nullptr;
    size_t length = 0;
    const PathOptions options(flags);
    const int code = fsys_read_file(handle, path.c_str(), max_bytes, &options, &data, &length);
    CHECK((code == 0) == (data != nullptr));
    fsys_free(data);
    return code;
}

}  // namespace

TEST_CASE("append: at the end, to a new file, from many threads", "[names]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    std::uint64_t offset = 99;
    REQUIRE(fsys_append(handle, (dir / "log").c_str(), "one", 3, nullptr, &offset) == 0);
    CHECK(offset == 0);
    REQUIRE(fsys_append(handle, (dir / "log").c_str(), "two", 3, nullptr, &offset) == 0);
    CHECK(offset == 3);
    CHECK(contents(dir / "log") == "onetwo");
    // Nothing appended: made all the same, no offset.
    offset = 99;
    REQUIRE(fsys_append(handle, (dir / "empty").c_str(), nullptr, 0, nullptr, &offset) == 0);
    CHECK(offset == 99);
    CHECK(contents(dir / "empty").empty());

    PathOptions none(0, FSYS_DURABILITY_NONE);
    constexpr unsigned kThreads = 4;
    constexpr unsigned kEach = 50;
    std::vector<std::set<std::uint64_t>> offsets(kThreads);
    std::atomic<int> failed{0};
    regress::run_threads(kThreads, [&](unsigned t) {
        const std::string line(100, static_cast<char>('a' + t));
        const fsys_path_options options = {sizeof options, 0, FSYS_DURABILITY_NONE, 0, nullptr,
                                           nullptr,        0};
        for (unsigned i = 0; i < kEach; ++i) {
            std::uint64_t at = 0;
            failed += fsys_append(handle, (dir / "many").c_str(), line.data(), line.size(),
                                  &options, &at) != 0;
            offsets[t].insert(at);
        }
    });
    CHECK(failed == 0);
    const std::string text = contents(dir / "many");
    REQUIRE(text.size() == kThreads * kEach * 100);
    for (unsigned t = 0; t < kThreads; ++t) {
        CHECK(offsets[t].size() == kEach);
        for (const std::uint64_t at : offsets[t]) {
            CHECK(text.substr(at, 100) == std::string(100, static_cast<char>('a' + t)));
        }
    }
    REQUIRE(::mkfifo((dir / "p").c_str(), 0600) == 0);
    CHECK(fsys_append(handle, (dir / "p").c_str(), "x", 1, nullptr, nullptr) == -EINVAL);
    CHECK(fsys_append(handle, dir.path().c_str(), "x", 1, nullptr, nullptr) == -EISDIR);
    REQUIRE(::symlink("target", (dir / "link").c_str()) == 0);
    PathOptions nofollow(FSYS_PATH_NOFOLLOW);
    CHECK(fsys_append(handle, (dir / "link").c_str(), "x", 1, &nofollow, nullptr) == -ELOOP);
    REQUIRE(fsys_append(handle, (dir / "link").c_str(), "x", 1, nullptr, nullptr) == 0);
    CHECK(contents(dir / "target") == "x");
}

TEST_CASE("append: what fits is reported when the file may not grow on", "[names]") {
    const Scratch dir;
    const int ended = regress::in_child(20, [&] {
        ::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{10'000, 10'000};
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
        const Handle handle(FSYS_BACKEND_DEFAULT);
        const std::string text(8000, 'x');
        std::uint64_t offset = 0;
        PathOptions options;
        REQUIRE(fsys_append(handle, (dir / "f").c_str(), text.data(), 8000, &options, &offset) ==
                0);
        REQUIRE(fsys_append(handle, (dir / "f").c_str(), text.data(), 8000, &options, &offset) ==
                -EFBIG);
        REQUIRE(offset == 8000);
        REQUIRE(std::string(options.text).find("a part of it") != std::string::npos);
        REQUIRE(std::filesystem::file_size(dir / "f") == 10'000);
        // A replace of the same size leaves nothing behind and the old bytes alone.
        const std::string larger(20'000, 'y');
        Report report;
        REQUIRE(replace(handle, dir / "f", larger, nullptr, &report) == -EFBIG);
        REQUIRE(report.step == FSYS_FILE_STEP_WRITE);
        REQUIRE(contents(dir / "f") == text + std::string(2000, 'x'));
        REQUIRE(names_in(dir.path()) == "f");
    });
    CHECK(ended == 0);
}

TEST_CASE("read: whole files, of unknown length too, and limits", "[names]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    put(dir / "f", std::string("a\0b", 3));
    put(dir / "empty", "");
    put(dir / "large", std::string(3'000'000, 'z'));
    CHECK(read_file(handle, dir / "f") == std::string("a\0b", 3));
    CHECK(read_file(handle, dir / "empty").empty());
    CHECK(read_file(handle, dir / "large").size() == 3'000'000);
    CHECK(read_file(handle, "/proc/self/status").find("Name:") == 0);
    CHECK(read_file(handle, dir / "f", 3).size() == 3);
    CHECK(read_code(handle, dir / "f", 2) == -EFBIG);
    CHECK(read_code(handle, "/proc/self/status", 10) == -EFBIG);
    CHECK(read_code(handle, dir.path()) == -EISDIR);
    CHECK(read_code(handle, "/dev/zero") == -EINVAL);
    REQUIRE(::mkfifo((dir / "p").c_str(), 0600) == 0);
    CHECK(read_code(handle, dir / "p") == -EINVAL);
    CHECK(read_code(handle, dir / "no") == -ENOENT);
    REQUIRE(::symlink("f", (dir / "link").c_str()) == 0);
    CHECK(read_code(handle, dir / "link") == 0);
    CHECK(read_code(handle, dir / "link", 0, FSYS_PATH_NOFOLLOW) == -ELOOP);
    fsys_free(nullptr);
}

TEST_CASE("rename, link, unlink", "[names]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    const auto at = [&](const char *name) { return dir / name; };
    std::filesystem::create_directories(at("d"));
    put(at("f"), "f");
    REQUIRE(fsys_rename(handle, at("f").c_str(), at("d/g").c_str(), nullptr) == 0);
    CHECK(contents(at("d/g")) == "f");
    put(at("h"), "h");
    PathOptions fresh(FSYS_PATH_NEW);
    CHECK(fsys_rename(handle, at("h").c_str(), at("d/g").c_str(), &fresh) == -EEXIST);
    CHECK(std::string(fresh.text).find("d/g") != std::string::npos);
    PathOptions exchange(FSYS_PATH_EXCHANGE);
    const int swapped = fsys_rename(handle, at("h").c_str(), at("d/g").c_str(), &exchange);
    REQUIRE((swapped == 0 || swapped == -EINVAL));
    if (swapped == 0) {
        CHECK(contents(at("h")) == "f");
        CHECK(contents(at("d/g")) == "h");
    }
    PathOptions both(FSYS_PATH_NEW | FSYS_PATH_EXCHANGE);
    CHECK(fsys_rename(handle, at("h").c_str(), at("d/g").c_str(), &both) == -EINVAL);
    REQUIRE(fsys_rename(handle, at("d").c_str(), at("e/").c_str(), nullptr) == 0);
    CHECK(fsys_rename(handle, at("no").c_str(), at("x").c_str(), nullptr) == -ENOENT);
    CHECK(fsys_rename(handle, at("e").c_str(), at("e/inside").c_str(), nullptr) == -EINVAL);

    REQUIRE(fsys_link(handle, at("h").c_str(), at("i").c_str(), nullptr) == 0);
    CHECK(std::filesystem::hard_link_count(at("h")) == 2);
    CHECK(fsys_link(handle, at("h").c_str(), at("i").c_str(), nullptr) == -EEXIST);
    REQUIRE(::symlink("h", at("s").c_str()) == 0);
    REQUIRE(fsys_link(handle, at("s").c_str(), at("s2").c_str(), nullptr) == 0);
    CHECK(std::filesystem::is_symlink(at("s2")));

    REQUIRE(fsys_unlink(handle, at("s").c_str(), nullptr) == 0);
    CHECK(std::filesystem::exists(at("h")));
    REQUIRE(fsys_unlink(handle, at("i").c_str(), nullptr) == 0);
    CHECK(fsys_unlink(handle, at("i").c_str(), nullptr) == -ENOENT);
    const PathOptions missing(FSYS_PATH_MISSING_OK);
    CHECK(fsys_unlink(handle, at("i").c_str(), &missing) == 0);
    CHECK(fsys_unlink(handle, at("e").c_str(), nullptr) == -EISDIR);
    CHECK(fsys_unlink(handle, at("h/").c_str(), nullptr) == -EINVAL);
    CHECK(fsys_unlink(handle, ".", nullptr) == -EINVAL);
}

TEST_CASE("mkdir with parents, rmdir", "[names]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    const auto at = [&](const char *name) { return dir / name; };
    REQUIRE(fsys_mkdir(handle, at("a").c_str(), nullptr) == 0);
    CHECK(fsys_mkdir(handle, at("a").c_str(), nullptr) == -EEXIST);
    CHECK(fsys_mkdir(handle, at("b/c").c_str(), nullptr) == -ENOENT);
    PathOptions parents(FSYS_PATH_PARENTS);
    for (const char *path : {"a", "b/c/d", "b/c/d/", "b//c/./e", "b/c/../f/g", "b/c"}) {
        INFO(path);
        CHECK(fsys_mkdir(handle, at(path).c_str(), &parents) == 0);
        CHECK(std::filesystem::is_directory(at(path)));
    }
    put(at("file"), "x");
    CHECK(fsys_mkdir(handle, at("file").c_str(), &parents) == -EEXIST);
    CHECK(fsys_mkdir(handle, at("file/x").c_str(), &parents) == -ENOTDIR);
    CHECK(fsys_mkdir(handle, "", &parents) == -EINVAL);
    REQUIRE(::symlink("b", at("link").c_str()) == 0);
    CHECK(fsys_mkdir(handle, at("link/h").c_str(), &parents) == 0);
    CHECK(std::filesystem::is_directory(at("b/h")));
    parents.mode = 0700;
    REQUIRE(fsys_mkdir(handle, at("secret/inner").c_str(), &parents) == 0);
    CHECK(mode_of(at("secret")) == 0700);
    CHECK(fsys_rmdir(handle, at("secret").c_str(), nullptr) == -ENOTEMPTY);
    REQUIRE(fsys_rmdir(handle, at("secret/inner").c_str(), nullptr) == 0);
    REQUIRE(fsys_rmdir(handle, at("secret/").c_str(), nullptr) == 0);
    CHECK(fsys_rmdir(handle, at("secret").c_str(), nullptr) == -ENOENT);
    const PathOptions missing(FSYS_PATH_MISSING_OK);
    CHECK(fsys_rmdir(handle, at("secret").c_str(), &missing) == 0);
    CHECK(fsys_rmdir(handle, at("file").c_str(), nullptr) == -ENOTDIR);
}

TEST_CASE("sync by path: files, directories, file systems; nothing is created", "[names]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    put(dir / "f", "x");
    for (const std::uint32_t flags : {0u, FSYS_PATH_SYNC_PARENT, FSYS_PATH_FILE_SYSTEM}) {
        for (const std::uint32_t durability : {FSYS_DURABILITY_DATA, FSYS_DURABILITY_FULL}) {
            const PathOptions options(flags, durability);
            CHECK(fsys_sync_path(handle, (dir / "f").c_str(), &options) == 0);
            CHECK(fsys_sync_path(handle, dir.path().c_str(), &options) == 0);
            CHECK(fsys_sync_path(handle, (dir.path() + "/").c_str(), &options) == 0);
            CHECK(fsys_sync_path(handle, ".", &options) == 0);
        }
    }
    PathOptions none(0, FSYS_DURABILITY_NONE);
    CHECK(fsys_sync_path(handle, (dir / "f").c_str(), &none) == -EINVAL);
    CHECK(fsys_sync_path(handle, (dir / "no").c_str(), nullptr) == -ENOENT);
    CHECK(names_in(dir.path()) == "f");
    // Without permission to read: by the other way in.
    REQUIRE(::chmod((dir / "f").c_str(), 0200) == 0);
    CHECK(fsys_sync_path(handle, (dir / "f").c_str(), nullptr) == 0);
    REQUIRE(::symlink("f", (dir / "link").c_str()) == 0);
    const PathOptions nofollow(FSYS_PATH_NOFOLLOW);
    CHECK(fsys_sync_path(handle, (dir / "link").c_str(), &nofollow) == -ELOOP);
}

TEST_CASE("sweep: orphans go, the living and the young stay", "[names]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    const std::string orphan = ".fsys-tmp.123.0123456789abcdef";
    put(dir / orphan, "left behind");
    for (const char *foreign : {".fsys-tmp.123.0123456789abcde", ".fsys-tmp.x.0123456789abcdef",
                                ".fsys-tmp.1.0123456789abcdeg", "x.fsys-tmp.1.0123456789abcdef",
                                ".fsys-tmp..0123456789abcdef"}) {
        put(dir / foreign, "not ours");
    }
    const std::string others = names_in(dir.path());
    fsys_replacement *replacement = nullptr;
    REQUIRE(fsys_replace_begin(handle, (dir / "f").c_str(), nullptr, &replacement) == 0);
    std::uint32_t removed = 99;
    REQUIRE(fsys_sweep(handle, dir.path().c_str(), 0, nullptr, &removed) == 0);
    CHECK(removed == 0);  // younger than a minute
    REQUIRE(fsys_sweep(handle, dir.path().c_str(), 1, nullptr, &removed) == 0);
    CHECK(removed == 1);  // the one that is being written is locked
    REQUIRE(fsys_replace_commit(replacement, nullptr) == 0);
    CHECK(!std::filesystem::exists(dir / orphan));
    CHECK(std::filesystem::exists(dir / "f"));
    // Left by a process that was killed.
    const int ended = regress::in_child(20, [&] {
        const Handle own(FSYS_BACKEND_DEFAULT);
        REQUIRE(fsys_replace_begin(own, (dir / "g").c_str(), nullptr, &replacement) == 0);
        REQUIRE(fsys_replace_write(replacement, "x", 1) == 0);
        ::raise(SIGKILL);
    });
    CHECK(ended == 128 + SIGKILL);
    REQUIRE(fsys_sweep(handle, dir.path().c_str(), 1, nullptr, &removed) == 0);
    CHECK(removed == 1);
    CHECK(fsys_sweep(handle, (dir / "no").c_str(), 1, nullptr, &removed) == -ENOENT);
    CHECK(removed == 0);
    CHECK(names_in(dir.path()).size() == others.size() - orphan.size() + 1);  // "f" and a space
}

TEST_CASE("scan: a directory, a tree, links not followed", "[names]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    std::filesystem::create_directories(dir / "t/b/c");
    put(dir / "t/b/c/deep", "12345");
    put(dir / "t/a", "1", 0640);
    put(dir / "t/z", "22");
    REQUIRE(::symlink("..", (dir / "t/b/up").c_str()) == 0);
    REQUIRE(::mkfifo((dir / "t/p").c_str(), 0600) == 0);
    const auto walk = [&](std::uint32_t flags) {
        fsys_scan *scan = nullptr;
        const PathOptions options(flags);
        REQUIRE(fsys_scan_open(handle, (dir / "t").c_str(), &options, &scan) == 0);
        std::string text;
        fsys_scan_entry entry{};
        entry.struct_size = sizeof entry;
        int code = 0;
        while ((code = fsys_scan_next(scan, &entry)) == 0) {
            CHECK(entry.error == 0);
            CHECK(entry.struct_size == sizeof entry);
            text += std::string(entry.path) + ":" + std::to_string(entry.type) +
                    std::to_string(entry.depth) +
                    (entry.type == FSYS_TYPE_FILE ? "=" + std::to_string(entry.size) : "") + " ";
        }
        CHECK(code == FSYS_E_NOTHING);
        CHECK(fsys_scan_next(scan, &entry) == FSYS_E_NOTHING);
        CHECK(fsys_scan_close(scan) == 0);
        CHECK(fsys_scan_next(scan, &entry) == FSYS_E_CLOSED);
        return text;
    };
    CHECK(walk(0) == "a:10=1 b:20 p:00 z:10=2 ");
    CHECK(walk(FSYS_PATH_RECURSIVE) == "a:10=1 b:20 b/c:21 b/c/deep:12=5 b/up:31 p:00 z:10=2 ");
    CHECK(walk(FSYS_PATH_RECURSIVE | FSYS_PATH_ONE_FILE_SYSTEM).size() > 20);

    // Removed while the walk is under way; deeper than there are descriptors.
    fsys_scan *scan = nullptr;
    const PathOptions recursive(FSYS_PATH_RECURSIVE);
    REQUIRE(fsys_scan_open(handle, (dir / "t").c_str(), &recursive, &scan) == 0);
    fsys_scan_entry entry{};
    entry.struct_size = sizeof entry;
    REQUIRE(fsys_scan_next(scan, &entry) == 0);
    REQUIRE(fsys_scan_next(scan, &entry) == 0);
    CHECK(entry.path == std::string("b"));
    std::filesystem::remove_all(dir / "t/b");
    REQUIRE(fsys_scan_next(scan, &entry) == 0);
    CHECK(entry.path == std::string("p"));
    // Swapped for a link that leads out: not entered.
    REQUIRE(fsys_scan_close(scan) == 0);
    std::filesystem::create_directories(dir / "t/d");
    put(dir / "outside", "secret");
    REQUIRE(fsys_scan_open(handle, (dir / "t").c_str(), &recursive, &scan) == 0);
    while (fsys_scan_next(scan, &entry) == 0 && entry.path != std::string("d")) {
    }
    std::filesystem::remove(dir / "t/d");
    REQUIRE(::symlink("..", (dir / "t/d").c_str()) == 0);
    REQUIRE(fsys_scan_next(scan, &entry) == 0);
    CHECK(entry.error < 0);  // told, for "d" itself
    CHECK(entry.path == std::string("d"));
    while (fsys_scan_next(scan, &entry) == 0) {
        CHECK(std::string(entry.path).find("outside") == std::string::npos);
    }
    CHECK(fsys_scan_open(handle, (dir / "t/a").c_str(), nullptr, &scan) == -ENOTDIR);
}

TEST_CASE("ranges: truncate, preallocate, punch, zero", "[ranges]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    const std::string path = dir.make("f", 100'000, 3);
    fsys_file *file = regress::open_file(handle, path, FSYS_FILE_READ | FSYS_FILE_WRITE);
    const auto byte = [&](std::uint64_t at) {
        unsigned char c = 0;
        REQUIRE(fsys_read(file, &c, 1, at, FSYS_EXACT) == 1);
        return c;
    };
    const int punched = fsys_punch_hole(file, 4096, 8192, 0);
    REQUIRE((punched == 0 || punched == -EOPNOTSUPP));
    if (punched == 0) {
        CHECK(byte(4095) == regress::byte_at(3, 4095));
        CHECK(byte(4096) == 0);
        CHECK(byte(4096 + 8191) == 0);
        CHECK(byte(4096 + 8192) == regress::byte_at(3, 4096 + 8192));
    }
    CHECK(std::filesystem::file_size(path) == 100'000);
    REQUIRE(fsys_zero_range(file, 50'001, 99, 0, FSYS_DURABILITY_DATA) == 0);
    CHECK(byte(50'000) == regress::byte_at(3, 50'000));
    CHECK(byte(50'001) == 0);
    CHECK(byte(50'100) == regress::byte_at(3, 50'100));
    REQUIRE(fsys_zero_range(file, 99'000, 2000, FSYS_KEEP_SIZE, 0) == 0);
    CHECK(std::filesystem::file_size(path) == 100'000);
    REQUIRE(fsys_zero_range(file, 99'000, 2000, 0, 0) == 0);
    CHECK(std::filesystem::file_size(path) == 101'000);
    REQUIRE(fsys_truncate(file, 70'000, 0) == 0);
    CHECK(std::filesystem::file_size(path) == 70'000);
    REQUIRE(fsys_truncate(file, 80'000, FSYS_DURABILITY_NONE) == 0);
    CHECK(byte(79'999) == 0);
    const int allocated = fsys_preallocate(file, 0, 1 << 20, FSYS_KEEP_SIZE, 0);
    REQUIRE((allocated == 0 || allocated == -EOPNOTSUPP));
    CHECK(std::filesystem::file_size(path) == 80'000);
    if (allocated == 0) {
        REQUIRE(fsys_preallocate(file, 0, 1 << 20, 0, 0) == 0);
        CHECK(std::filesystem::file_size(path) == 1 << 20);
    }
    CHECK(fsys_punch_hole(file, 0, 0, 0) < 0);
    CHECK(fsys_truncate(file, UINT64_MAX, 0) == -EINVAL);
    CHECK(fsys_zero_range(file, INT64_MAX, 2, 0, 0) == -EINVAL);
    CHECK(fsys_preallocate(file, 0, 1, 8, 0) == FSYS_E_BAD_FLAG);
    CHECK(fsys_truncate(file, 0, 9) == FSYS_E_BAD_FLAG);
    for (std::uint32_t hint = FSYS_LIFETIME_UNSET; hint <= FSYS_LIFETIME_EXTREME; ++hint) {
        const int code = fsys_set_lifetime(file, hint);
        CHECK((code == 0 || code == -EINVAL));
    }
    CHECK(fsys_set_lifetime(file, 6) == FSYS_E_BAD_FLAG);
    for (std::uint32_t advice = FSYS_ADVICE_NORMAL; advice <= FSYS_ADVICE_ONCE; ++advice) {
        CHECK(fsys_advise(file, 0, 0, advice) == 0);
    }
    CHECK(fsys_advise(file, 0, 0, 6) == FSYS_E_BAD_FLAG);
    REQUIRE(fsys_file_close(file) == 0);
    CHECK(fsys_truncate(file, 0, 0) == FSYS_E_CLOSED);
    fsys_file *reading = regress::open_file(handle, path);
    CHECK(fsys_truncate(reading, 0, 0) == -EBADF);
    CHECK(fsys_zero_range(reading, 0, 1, 0, 0) == -EBADF);
    // A new file's blocks, by the options.
    ReplaceOptions options;
    options.lifetime = FSYS_LIFETIME_SHORT;
    CHECK(replace(handle, dir / "g", "x", &options) == 0);
}
