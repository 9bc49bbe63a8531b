// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Defects that the Rust crate this library answers has had in whole files (R), batches (B) and
// elsewhere (C), each as a test of the behaviour that it lacked. Where power must fail the disk is
// simulated. Not here because there is nothing of the kind: C1 (a cache file of capabilities;
// answers are kept per boot and device in memory, tests/device), C2 (SPDK), C4 and C7 (documents
// and lints of that project), the Windows and macOS halves of C6. C3 (counters that nothing counts)
// is the last.

#include <sys/mman.h>
#include <sys/xattr.h>

#include <functional>
#include <memory>
#include <thread>

#include "files/simulated.hpp"

using namespace files_test;

namespace {

// A disk with directory "a" and, if there is one, file "a/f", all durable.
struct Prepared {
    explicit Prepared(const std::string &old = "", mode_t mode = 0644) {
        REQUIRE(disk.mkdir(AT_FDCWD, "a", 0755) == 0);
        if (!old.empty()) {
            make_file(disk, "a/f", old, mode);
        }
        REQUIRE(disk.sync_file_system(0) == 0);
    }
    // After a power cut that takes all that was not synced.
    std::unique_ptr<sim::Disk> cut() {
        sim::Random random(1);
        return disk.crash(sim::Loss::all, random);
    }
    sim::Disk disk;
};

const Scenario &scenario(const std::string &name) {
    for (const Scenario &one : scenarios()) {
        if (name == one.name) {
            return one;
        }
    }
    FAIL("no scenario " << name);
    return scenarios().front();
}

// The real system, watched.
class Spy : public libfsys::Syscalls {
public:
    ssize_t pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                   int rwf) override {
        buffers.push_back(buffer);
        return Syscalls::pwrite(fd, buffer, length, offset, rwf);
    }
    int set_owner(int fd, uid_t user, gid_t group) override {
        order += "owner ";
        return Syscalls::set_owner(fd, user, group);
    }
    int set_mode(int fd, mode_t mode) override {
        order += "mode ";
        return Syscalls::set_mode(fd, mode);
    }
    int set_attribute(int fd, const char *name, const std::string &value) override {
        order += "attribute ";
        return Syscalls::set_attribute(fd, name, value);
    }
    int set_times(int fd, const timespec times[2]) override {
        order += "times ";
        return Syscalls::set_times(fd, times);
    }
    int fsync(int fd) override {
        order += "sync ";
        return Syscalls::fsync(fd);
    }
    int rename(int from_dir, const char *from, int to_dir, const char *to) override {
        order += "rename ";
        return Syscalls::rename(from_dir, from, to_dir, to);
    }
    std::vector<const void *> buffers;
    std::string order;
};

fsys *open_over(libfsys::Syscalls &sys) {
    libfsys::EngineConfig config;
    config.uring = false;
    config.caller_driven = true;
    config.syscalls = &sys;
    fsys *handle = nullptr;
    REQUIRE(libfsys::open_engine_for_test(config, &handle) == 0);
    return handle;
}

// One replacement after the other, the k-th call of the k-th failing with EIO, until none fails.
template <class Judge>
void fail_each_call(const std::function<std::unique_ptr<Prepared>()> &prepare, const char *path,
                    const char *text, Judge &&judge) {
    for (std::uint64_t k = 0;; ++k) {
        const std::unique_ptr<Prepared> fresh = prepare();
        const SimHandle over(fresh->disk);
        sim::Fault fault;
        fault.at = fresh->disk.calls() + k;
        fault.code = -EIO;
        fresh->disk.set_fault(fault);
        Report report;
        const int code = replace(over, path, text, nullptr, &report);
        if (!fresh->disk.fault_fired()) {
            return;
        }
        judge(fresh->disk, code, report);
    }
}

}  // namespace

TEST_CASE("R1: without io_uring a replace is synced all the same", "[defects]") {
    Prepared at("old");
    const SimHandle handle(at.disk);  // has no ring
    const std::uint64_t syncs = at.disk.syncs();
    REQUIRE(replace(handle, "a/f", "new") == 0);
    CHECK(at.disk.syncs() == syncs + 2);
    CHECK(text_of(*at.cut(), "a/f") == "new");
}

TEST_CASE("R2: an error of the sync is the error of the call, and nothing is tried again",
          "[defects]") {
    std::uint64_t failed = 0;
    const auto old = [] { return std::make_unique<Prepared>("old"); };
    fail_each_call(old, "a/f", "new", [&](sim::Disk &disk, int code, const Report &report) {
        REQUIRE(code == -EIO);
        CHECK(disk.syncs_after_fault() == 0);
        if (report.step == FSYS_FILE_STEP_SYNC) {
            ++failed;
            CHECK(text_of(disk, "a/f") == "old");
            CHECK(temp_files(disk, "a") == 0);
        }
    });
    CHECK(failed == 1);
}

TEST_CASE("R3: the exact length is durable, whatever the sector", "[defects]") {
    for (const std::size_t length : {1u, 511u, 512u, 513u, 4095u, 4096u, 4097u, 12'345u}) {
        Prepared at("old");
        const SimHandle handle(at.disk);
        const std::string fresh = long_text(length, 5);
        REQUIRE(replace(handle, "a/f", fresh) == 0);
        CHECK(text_of(*at.cut(), "a/f") == fresh);
    }
}

TEST_CASE("R4: the directory is synced, for a bare name too, and its error returned", "[defects]") {
    Prepared at;
    const SimHandle handle(at.disk);
    REQUIRE(replace(handle, "bare", "text") == 0);
    CHECK(text_of(*at.cut(), "bare") == "text");
    bool seen = false;
    const auto nothing = [] { return std::make_unique<Prepared>(); };
    fail_each_call(nothing, "bare", "text", [&](sim::Disk &, int code, const Report &report) {
        if (report.step == FSYS_FILE_STEP_SYNC_DIRECTORY) {
            seen = true;
            CHECK(code == -EIO);
            CHECK(report.visible == 1);
        }
    });
    CHECK(seen);
}

TEST_CASE("R5: a replaced file keeps mode and owner", "[defects]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    for (const mode_t mode : {0644, 0600, 0755, 0444}) {
        put(dir / "f", "old", mode);
        REQUIRE(replace(handle, dir / "f", "new") == 0);
        CHECK(mode_of(dir / "f") == mode);
        REQUIRE(::unlink((dir / "f").c_str()) == 0);
    }
    if (::geteuid() != 0) {
        FSYS_SKIP("the owner: needs root");
    }
    put(dir / "f", "old");
    REQUIRE(::chown((dir / "f").c_str(), 1234, 4321) == 0);
    REQUIRE(replace(handle, dir / "f", "new") == 0);
    struct stat st {};
    REQUIRE(::stat((dir / "f").c_str(), &st) == 0);
    CHECK(st.st_uid == 1234);
    CHECK(st.st_gid == 4321);
}

TEST_CASE("R6: leftovers and other processes do not get in the way, nor do long names",
          "[defects]") {
    const Scratch dir;
    // The same process id, many times over: as in containers, which all begin at 1.
    constexpr int kChildren = 4;
    for (int i = 0; i < 50; ++i) {
        put(dir / (".fsys-tmp." + std::to_string(::getpid()) + "." + std::to_string(i)), "left");
    }
    const int ended = regress::in_child(30, [&] {
        regress::run_threads(kChildren, [&](unsigned t) {
            const Handle handle(FSYS_BACKEND_THREADS);
            const std::string path = dir / std::to_string(t % 2);
            for (int i = 0; i < 20; ++i) {
                ReplaceOptions options;
                options.durability = FSYS_DURABILITY_NONE;
                if (replace(handle, path, "text", &options) != 0) {
                    ::_exit(3);
                }
            }
        });
    });
    CHECK(ended == 0);
    const Handle handle(FSYS_BACKEND_DEFAULT);
    const std::string longest(255, 'n');
    REQUIRE(replace(handle, dir / longest, "text") == 0);
    CHECK(contents(dir / longest) == "text");
}

TEST_CASE("R7: owner, mode, attributes, times, in this order, then the sync", "[defects]") {
    if (::geteuid() != 0) {
        FSYS_SKIP("needs root to give a file away");
    }
    const Scratch dir;
    put(dir / "f", "old");
    REQUIRE(::chown((dir / "f").c_str(), 1234, 4321) == 0);
    REQUIRE(::chmod((dir / "f").c_str(), 06755) == 0);
    if (::setxattr((dir / "f").c_str(), "user.note", "kept", 4, 0) != 0) {
        FSYS_SKIP("no extended attributes in the build directory");
    }
    Spy spy;
    fsys *handle = open_over(spy);
    ReplaceOptions all(0, FSYS_KEEP_ALL);
    REQUIRE(replace(handle, dir / "f", "new", &all) == 0);
    CHECK(spy.order == "owner mode attribute times sync rename sync ");
    CHECK(mode_of(dir / "f") == 06755);  // chown takes set-id bits, chmod gives them back
    CHECK(fsys_close(handle) == 0);
}

TEST_CASE("R8: append, truncate, rename, unlink and copy are durable when they return",
          "[defects]") {
    std::uint64_t points = 0;
    for (const char *name : {"append", "truncate", "rename", "unlink", "copy"}) {
        CHECK(crash_everywhere(scenario(name), FSYS_DURABILITY_FULL, {}, 4, points) == "");
    }
    // A write at an offset is so by FSYS_DURABLE.
    Prepared at("old");
    const SimHandle handle(at.disk);
    fsys_file *file = regress::open_file(handle, "a/f", FSYS_FILE_READ | FSYS_FILE_WRITE);
    REQUIRE(fsys_write(file, "new", 3, 0, FSYS_DURABLE) == 3);
    CHECK(text_of(*at.cut(), "a/f") == "new");
}

TEST_CASE("R9: syncing a path never makes a file", "[defects]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    for (const std::uint32_t flags : {0u, FSYS_PATH_SYNC_PARENT, FSYS_PATH_FILE_SYSTEM}) {
        const PathOptions options(flags);
        CHECK(fsys_sync_path(handle, (dir / "no").c_str(), &options) == -ENOENT);
    }
    CHECK(names_in(dir.path()).empty());
}

TEST_CASE("R10: the caller's bytes go to the kernel, not to a copy of them", "[defects]") {
    const Scratch dir;
    Spy spy;
    fsys *handle = open_over(spy);
    const std::string text(2'000'000, 'x');
    REQUIRE(replace(handle, dir / "f", text) == 0);
    REQUIRE(spy.buffers.size() == 1);
    CHECK(spy.buffers[0] == text.data());
    CHECK(fsys_close(handle) == 0);
}

TEST_CASE("R11: a directory swapped for a link leads nobody out of the root", "[defects]") {
    const Scratch dir;
    std::filesystem::create_directories(dir / "jail/real");
    std::filesystem::create_directories(dir / "outside");
    REQUIRE(::symlink("../outside", (dir / "jail/trap").c_str()) == 0);
    std::filesystem::create_directories(dir / "jail/sub");
    std::atomic<bool> stop{false};
    // "sub" is by turns a directory and a link that leads out.
    std::thread swapper([&] {
        while (!stop.load()) {
            ::syscall(SYS_renameat2, AT_FDCWD, (dir / "jail/sub").c_str(), AT_FDCWD,
                      (dir / "jail/trap").c_str(), 2 /* RENAME_EXCHANGE */);
        }
    });
    const std::string root = dir / "jail";
    fsys_options options = regress::default_options(FSYS_BACKEND_DEFAULT);
    options.root = root.c_str();
    const Handle handle(options);
    ReplaceOptions none;
    none.durability = FSYS_DURABILITY_NONE;
    PathOptions quick(0, FSYS_DURABILITY_NONE);
    int in = 0;
    int refused = 0;
    int odd = 0;
    for (int i = 0; i < 2000; ++i) {
        const int code = i % 2 == 0 ? replace(handle, "sub/f", "text", &none)
                                    : fsys_append(handle, "sub/g", "text", 4, &quick, nullptr);
        in += code == 0;
        refused += code == -EXDEV;
        odd += code != 0 && code != -EXDEV;
    }
    stop.store(true);
    swapper.join();
    CHECK(names_in(dir / "outside").empty());
    CHECK(odd == 0);
    CHECK(in + refused == 2000);
    // A link inside that leads out and to nothing makes nothing outside.
    REQUIRE(::symlink("../outside/fresh", (dir / "jail/dangling").c_str()) == 0);
    CHECK(replace(handle, "dangling", "text") == -EXDEV);
    CHECK(fsys_append(handle, "dangling", "text", 4, nullptr, nullptr) == -EXDEV);
    CHECK(names_in(dir / "outside").empty());
}

TEST_CASE("B1: every file of a batch is synced before it has its name", "[defects]") {
    std::uint64_t points = 0;
    CHECK(crash_everywhere(scenario("batch"), FSYS_DURABILITY_FULL, {}, 20, points) == "");
    CHECK_FALSE(crash_everywhere(scenario("batch"), FSYS_DURABILITY_FULL, {true, false}, 20, points)
                    .empty());
}

TEST_CASE("B2: a batch syncs each directory once, and its files together on the engine",
          "[defects]") {
    Prepared at;
    const SimHandle handle(at.disk);
    std::vector<std::string> paths;
    std::vector<fsys_batch_item> items;
    const std::string text = "text";
    for (int i = 0; i < 20; ++i) {
        paths.push_back("a/" + std::to_string(i));
    }
    for (const std::string &path : paths) {
        items.push_back(item(path, text));
    }
    const std::uint64_t syncs = at.disk.syncs();
    REQUIRE(fsys_batch(handle, items.data(), 20, nullptr) == 0);
    CHECK(at.disk.syncs() - syncs == 21);
    // As ops: they are counted as such.
    fsys_counters counters = regress::stats_of(handle);
    std::uint64_t as_ops = 0;
    for (const auto &lane : counters.ops) {
        as_ops += lane[FSYS_OP_SYNC];
    }
    CHECK(as_ops == 20);
}

TEST_CASE("B3: payloads are not copied, and removals are synced", "[defects]") {
    const Scratch dir;
    Spy spy;
    fsys *handle = open_over(spy);
    const std::string paths[] = {dir / "0", dir / "1"};
    const std::string texts[] = {std::string(100'000, 'x'), std::string(100'000, 'y')};
    fsys_batch_item items[] = {item(paths[0], texts[0]), item(paths[1], texts[1])};
    REQUIRE(fsys_batch(handle, items, 2, nullptr) == 0);
    CHECK(spy.buffers == std::vector<const void *>{texts[0].data(), texts[1].data()});
    CHECK(fsys_close(handle) == 0);

    Prepared at("old");
    const SimHandle simulated(at.disk);
    const std::string path = "a/f";
    fsys_batch_item gone{};
    gone.verb = FSYS_BATCH_UNLINK;
    gone.path = path.c_str();
    REQUIRE(fsys_batch(simulated, &gone, 1, nullptr) == 0);
    CHECK(text_of(*at.cut(), "a/f") == "(missing)");
}

TEST_CASE("B4: what succeeded before a failure in a batch is durable", "[defects]") {
    for (const std::uint32_t flags : {0u, FSYS_REPLACE_STOP}) {
        Prepared at("old");
        const SimHandle handle(at.disk);
        const std::string paths[] = {"a/f", "a/g", "nowhere/h", "a/i"};
        const std::string text = "new";
        std::vector<fsys_batch_item> items;
        for (const std::string &path : paths) {
            items.push_back(item(path, text));
        }
        ReplaceOptions options(flags);
        CHECK(fsys_batch(handle, items.data(), 4, &options) == -ENOENT);
        const auto after = at.cut();
        CHECK(text_of(*after, "a/f") == "new");
        CHECK(text_of(*after, "a/g") == "new");
        CHECK(items[2].result == -ENOENT);
        CHECK(items[3].result == (flags != 0 ? -ECANCELED : 0));
        CHECK(text_of(*after, "a/i") == (flags != 0 ? "(missing)" : "new"));
    }
}

TEST_CASE("B5: a full handle refuses without spinning, and closing finishes what was accepted",
          "[defects]") {
    const Scratch dir;
    fsys_options options = regress::default_options(FSYS_BACKEND_THREADS);
    options.max_ops = 1;
    options.submit_timeout_ns = 200 * regress::kMs;
    Handle handle(options);
    // The only slot is taken by an op that waits for input.
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    fsys_file *pipe = regress::adopt_fd(handle, ends[0]);
    char byte = 0;
    fsys_op held = 0;
    REQUIRE(fsys_submit_read(pipe, &byte, 1, 0, FSYS_PARTIAL, 0, &held) == 0);
    timespec before{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    fsys_op op = 0;
    CHECK(fsys_submit_replace(handle, (dir / "f").c_str(), "x", 1, nullptr, nullptr, 0, &op) ==
          -EAGAIN);
    timespec after{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1'000'000'000 + after.tv_nsec - before.tv_nsec <
          100 * regress::kMs);
    REQUIRE(::write(ends[1], "x", 1) == 1);
    fsys_result result{};
    REQUIRE(fsys_wait(handle, held, FSYS_FOREVER, &result) == 0);
    REQUIRE(fsys_submit_replace(handle, (dir / "f").c_str(), "x", 1, nullptr, nullptr, 0, &op) ==
            0);
    CHECK(handle.close() == 0);
    CHECK(contents(dir / "f") == "x");
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("C5: appending reads no byte that the caller did not give", "[defects]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    // Ends where the page ends and nothing is mapped: a read beyond is a crash.
    const long page = ::sysconf(_SC_PAGESIZE);
    regress::Pages pages(static_cast<std::size_t>(2 * page));
    unsigned char *bytes = pages.data();
    REQUIRE(::mprotect(bytes + page, static_cast<std::size_t>(page), PROT_NONE) == 0);
    std::memset(bytes, 'x', static_cast<std::size_t>(page));
    for (const std::size_t length : {1u, 100u, 2047u, 4096u}) {
        REQUIRE(fsys_append(handle, (dir / "f").c_str(), bytes + page - length, length, nullptr,
                            nullptr) == 0);
    }
    CHECK(contents(dir / "f") == std::string(1 + 100 + 2047 + 4096, 'x'));
    REQUIRE(::mprotect(bytes + page, static_cast<std::size_t>(page), PROT_READ | PROT_WRITE) == 0);
}

TEST_CASE("C6: preallocating again does not grow the file", "[defects]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    const std::string path = dir.make("f", 1000, 1);
    fsys_file *file = regress::open_file(handle, path, FSYS_FILE_READ | FSYS_FILE_WRITE);
    for (int i = 0; i < 3; ++i) {
        const int code = fsys_preallocate(file, 0, 1 << 20, FSYS_KEEP_SIZE, FSYS_DURABILITY_NONE);
        REQUIRE((code == 0 || code == -EOPNOTSUPP));
    }
    struct stat st {};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    CHECK(st.st_size == 1000);
    CHECK(st.st_blocks * 512 <= (1 << 20) + (64 << 10));
    // A hole gives space back although nobody made the file sparse.
    const std::string full = dir.make("full", 1 << 20, 1);
    file = regress::open_file(handle, full, FSYS_FILE_READ | FSYS_FILE_WRITE);
    REQUIRE(fsys_sync(file, 0) == 0);
    const int punched = fsys_punch_hole(file, 0, 1 << 20, 0);
    REQUIRE((punched == 0 || punched == -EOPNOTSUPP));
    if (punched == 0) {
        REQUIRE(::stat(full.c_str(), &st) == 0);
        CHECK(st.st_blocks * 512 <= 64 << 10);
    }
}

TEST_CASE("C3: what the counters promise to count is counted", "[defects]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    fsys_op op = 0;
    REQUIRE(fsys_submit_replace(handle, (dir / "f").c_str(), "x", 1, nullptr, nullptr, 0, &op) ==
            0);
    fsys_result result{};
    REQUIRE(fsys_wait(handle, op, FSYS_FOREVER, &result) == 0);
    const fsys_counters counters = regress::stats_of(handle);
    CHECK(counters.ops[FSYS_LANE_POOL][FSYS_OP_WRITE] == 1);
    CHECK(counters.in_flight == 0);
}
