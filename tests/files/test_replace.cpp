// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Replacing on the real file system: contents, what may have the name, what is kept, the jail,
// pieces, tokens, batches, copies.

#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#include "files/files.hpp"

using namespace files_test;

TEST_CASE("replace: a new file, then another in its place", "[replace]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    Report report;
    const mode_t old_umask = ::umask(022);
    REQUIRE(replace(handle, dir / "f", "one", nullptr, &report) == 0);
    CHECK(contents(dir / "f") == "one");
    CHECK(mode_of(dir / "f") == 0644);
    CHECK(report.visible == 1);
    CHECK(report.durability == FSYS_DURABILITY_FULL);
    CHECK(report.bytes == 3);
    CHECK(report.step == FSYS_FILE_STEP_NONE);
    REQUIRE(replace(handle, dir / "f", "") == 0);
    CHECK(contents(dir / "f").empty());
    const std::string large(3'000'001, 'x');
    for (const std::uint32_t durability : {FSYS_DURABILITY_NONE, FSYS_DURABILITY_DATA}) {
        ReplaceOptions options;
        options.durability = durability;
        REQUIRE(replace(handle, dir / "f", large, &options, &report) == 0);
        CHECK(report.durability == durability);
        CHECK(contents(dir / "f") == large);
    }
    ReplaceOptions options;
    options.mode = 0640;
    REQUIRE(replace(handle, dir / "g", "x", &options) == 0);
    CHECK(mode_of(dir / "g") == 0640);
    CHECK(names_in(dir.path()) == "f g");
    ::umask(old_umask);
}

TEST_CASE("replace: a file that is open keeps its bytes for who has it open", "[replace]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    put(dir / "f", "old");
    std::ifstream open(dir / "f");
    REQUIRE(replace(handle, dir / "f", "new") == 0);
    std::string text;
    open >> text;
    CHECK(text == "old");
    CHECK(contents(dir / "f") == "new");
}

TEST_CASE("replace: NEW, EXISTING, and names that are no files", "[replace]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    ReplaceOptions fresh(FSYS_REPLACE_NEW);
    ReplaceOptions existing(FSYS_REPLACE_EXISTING);
    CHECK(replace(handle, dir / "f", "x", &existing) == -ENOENT);
    REQUIRE(replace(handle, dir / "f", "x", &fresh) == 0);
    CHECK(replace(handle, dir / "f", "y", &fresh) == -EEXIST);
    CHECK(std::string(fresh.text).find(dir / "f") != std::string::npos);
    REQUIRE(replace(handle, dir / "f", "z", &existing) == 0);
    CHECK(contents(dir / "f") == "z");
    for (const char *name : {"", ".", "..", "/", "f/", "d/"}) {
        INFO(name);
        std::filesystem::create_directory(dir / "d");
        CHECK(replace(handle, std::string(name).empty() ? "" : dir / name, "x") == -EINVAL);
    }
    CHECK(replace(handle, dir / "nowhere/f", "x") == -ENOENT);
    CHECK(replace(handle, dir / "f/g", "x") == -ENOTDIR);
    CHECK(replace(handle, dir / std::string(256, 'n'), "x") == -ENAMETOOLONG);
    CHECK(names_in(dir.path()) == "d f");
}

TEST_CASE("replace: a directory, FIFO or socket is not replaced", "[replace]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    std::filesystem::create_directory(dir / "d");
    REQUIRE(::mkfifo((dir / "p").c_str(), 0600) == 0);
    REQUIRE(::mknod((dir / "s").c_str(), S_IFSOCK | 0600, 0) == 0);
    Report report;
    CHECK(replace(handle, dir / "d", "x", nullptr, &report) == -EISDIR);
    CHECK(report.step == FSYS_FILE_STEP_INSPECT);
    CHECK(replace(handle, dir / "p", "x") == -EINVAL);
    CHECK(replace(handle, dir / "s", "x") == -EINVAL);
    CHECK(replace(handle, "/dev/null", "x") == -EINVAL);
    CHECK(names_in(dir.path()) == "d p s");
}

TEST_CASE("replace: a symbolic link stays, the file it leads to is replaced", "[replace]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    std::filesystem::create_directories(dir / "a/b");
    put(dir / "a/b/file", "old", 0600);
    REQUIRE(::symlink("a/link2", (dir / "link1").c_str()) == 0);
    REQUIRE(::symlink("b/../b/file", (dir / "a/link2").c_str()) == 0);
    REQUIRE(replace(handle, dir / "link1", "new") == 0);
    CHECK(std::filesystem::is_symlink(dir / "link1"));
    CHECK(std::filesystem::is_symlink(dir / "a/link2"));
    CHECK(contents(dir / "a/b/file") == "new");
    CHECK(mode_of(dir / "a/b/file") == 0600);

    ReplaceOptions nofollow(FSYS_REPLACE_NOFOLLOW);
    CHECK(replace(handle, dir / "link1", "x", &nofollow) == -ELOOP);
    // One that leads to nothing yet makes what it leads to; an absolute one works as well.
    REQUIRE(::symlink((dir / "a/fresh").c_str(), (dir / "dangling").c_str()) == 0);
    REQUIRE(replace(handle, dir / "dangling", "made") == 0);
    CHECK(contents(dir / "a/fresh") == "made");
    REQUIRE(::symlink("loop", (dir / "loop").c_str()) == 0);
    CHECK(replace(handle, dir / "loop", "x") == -ELOOP);
    REQUIRE(::symlink("a", (dir / "todir").c_str()) == 0);
    CHECK(replace(handle, dir / "todir", "x") == -EISDIR);
    CHECK(names_in(dir / "a") == "b fresh link2");
}

TEST_CASE("replace: /proc's links that are no paths are refused", "[replace]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    put(dir / "f", "old");
    const int fd = ::open((dir / "f").c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(::unlink((dir / "f").c_str()) == 0);
    // Its text is ".../f (deleted)", which must not be made.
    CHECK(replace(handle, "/proc/self/fd/" + std::to_string(fd), "x") == -ELOOP);
    ::close(fd);
    CHECK(names_in(dir.path()).empty());
}

TEST_CASE("replace: hard links keep the old bytes, are told of, or refused", "[replace]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    put(dir / "f", "old");
    std::filesystem::create_hard_link(dir / "f", dir / "g");
    std::filesystem::create_hard_link(dir / "f", dir / "h");
    ReplaceOptions one(FSYS_REPLACE_ONE_LINK);
    Report report;
    CHECK(replace(handle, dir / "f", "x", &one, &report) == -EMLINK);
    CHECK(contents(dir / "f") == "old");
    REQUIRE(replace(handle, dir / "f", "new", nullptr, &report) == 0);
    CHECK(report.other_links == 2);
    CHECK(contents(dir / "f") == "new");
    CHECK(contents(dir / "g") == "old");
}

TEST_CASE("replace: mode, owner, attributes, access list and times are kept", "[replace]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    const bool root = ::geteuid() == 0;
    const std::string path = dir / "f";
    put(path, "old", 0751);
    if (root) {
        REQUIRE(::chown(path.c_str(), 12345, 23456) == 0);
        REQUIRE(::chmod(path.c_str(), 06751) == 0);  // chown takes set-id bits away
    }
    const mode_t mode = mode_of(path);
    // Not on tmpfs before Linux 6.6.
    const bool notes = ::setxattr(path.c_str(), "user.note", "kept", 4, 0) == 0;
    CHECK((notes || errno == EOPNOTSUPP));
    // user::rwx user:1000:rw- group::r-- mask::rw- other::--x
    const unsigned char acl[] = {2, 0,   0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 2,   0,  6,
                                 0, 232, 3,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
                                 6, 0,   255, 255, 255, 255, 32, 0, 1,   0,   255, 255, 255, 255};
    const bool acls = ::setxattr(path.c_str(), "system.posix_acl_access", acl, sizeof acl, 0) == 0;
    const mode_t with_acl = mode_of(path);
    const timespec times[2] = {{1000, 5}, {2000, 7}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);

    const auto acl_of = [&] {
        char text[256];
        const ssize_t n = ::getxattr(path.c_str(), "system.posix_acl_access", text, sizeof text);
        return n < 0 ? std::string() : std::string(text, static_cast<std::size_t>(n));
    };
    const auto note_of = [&] {
        char text[16];
        const ssize_t n = ::getxattr(path.c_str(), "user.note", text, sizeof text);
        return n < 0 ? std::string() : std::string(text, static_cast<std::size_t>(n));
    };
    ReplaceOptions all(0, FSYS_KEEP_ALL);
    Report report;
    REQUIRE(replace(handle, path, "new", &all, &report) == 0);
    CHECK(report.not_kept == 0);
    CHECK(contents(path) == "new");
    struct stat st {};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == with_acl);
    if (root) {
        CHECK(st.st_uid == 12345);
        CHECK(st.st_gid == 23456);
        CHECK((mode & 06000) == 06000);
    }
    CHECK(note_of() == (notes ? "kept" : ""));
    CHECK(st.st_mtim.tv_sec == 2000);
    CHECK(st.st_mtim.tv_nsec == 7);
    if (acls) {
        CHECK(acl_of() == std::string(reinterpret_cast<const char *>(acl), sizeof acl));
    }

    SECTION("the default keeps mode, owner and access list, nothing else") {
        REQUIRE(replace(handle, path, "newer") == 0);
        REQUIRE(::stat(path.c_str(), &st) == 0);
        CHECK((st.st_mode & 07777) == with_acl);
        CHECK(st.st_uid == (root ? 12345 : ::getuid()));
        CHECK(note_of().empty());
        CHECK(st.st_mtim.tv_sec != 2000);
        if (acls) {
            CHECK(acl_of().size() == sizeof acl);
        }
    }
    SECTION("the mode without the list gives the group no more than it had") {
        ReplaceOptions only(0, FSYS_KEEP_MODE);
        REQUIRE(replace(handle, path, "newer", &only) == 0);
        CHECK(acl_of().empty());
        if (acls) {
            CHECK((mode_of(path) & 0777) == 0741);  // group::r--, though the mask shows rw-
        }
        if (root) {
            CHECK((mode_of(path) & 06000) == 0);  // set-id bits of another owner
        }
    }
    SECTION("nothing kept: as a new file") {
        ReplaceOptions nothing(0, FSYS_KEEP_NOTHING);
        nothing.mode = 0604;
        REQUIRE(replace(handle, path, "newer", &nothing) == 0);
        REQUIRE(::stat(path.c_str(), &st) == 0);
        CHECK((st.st_mode & 07777) == 0604);
        CHECK(st.st_uid == ::getuid());
        CHECK(acl_of().empty());
    }
}

TEST_CASE("replace: an owner that may not be given away", "[replace]") {
    if (::geteuid() != 0) {
        FSYS_SKIP("needs root to make a file of another user");
    }
    const Scratch dir;
    put(dir / "f", "old", 04755);
    REQUIRE(::chown((dir / "f").c_str(), 12345, 12345) == 0);
    REQUIRE(::chmod((dir / "f").c_str(), 04755) == 0);
    std::filesystem::permissions(dir.path(), std::filesystem::perms::all);
    const int ended = regress::in_child(20, [&] {
        // By a relative path: the directories above may be closed to that user.
        REQUIRE(::chdir(dir.path().c_str()) == 0);
        REQUIRE(::setresgid(54321, 54321, 54321) == 0);
        REQUIRE(::setresuid(54321, 54321, 54321) == 0);
        const Handle handle(FSYS_BACKEND_DEFAULT);
        Report report;
        ReplaceOptions strict(0, FSYS_KEEP_MODE | FSYS_KEEP_OWNER);
        REQUIRE(replace(handle, "f", "new", &strict, &report) == -EPERM);
        REQUIRE(report.step == FSYS_FILE_STEP_METADATA);
        REQUIRE(std::string(strict.text).find("owner") != std::string::npos);
        REQUIRE(contents("f") == "old");
        ReplaceOptions lenient(FSYS_REPLACE_KEEP_TRY, FSYS_KEEP_ALL);
        REQUIRE(replace(handle, "f", "new", &lenient, &report) == 0);
        REQUIRE((report.not_kept & FSYS_KEEP_OWNER) != 0);
        REQUIRE(mode_of("f") == 0755);  // not set-user-id for somebody else
    });
    CHECK(ended == 0);
    CHECK(contents(dir / "f") == "new");
    CHECK(names_in(dir.path()) == "f");
}

TEST_CASE("replace: beneath the root or a directory, and never out of it", "[replace]") {
    const Scratch dir;
    std::filesystem::create_directories(dir / "jail/sub");
    put(dir / "secret", "old");
    REQUIRE(::symlink("../secret", (dir / "jail/out").c_str()) == 0);
    REQUIRE(::symlink((dir / "secret").c_str(), (dir / "jail/absolute").c_str()) == 0);
    REQUIRE(::symlink("..", (dir / "jail/up").c_str()) == 0);
    REQUIRE(::symlink("../fresh", (dir / "jail/dangling").c_str()) == 0);
    REQUIRE(::symlink("sub/in", (dir / "jail/inside").c_str()) == 0);
    const std::string root = dir / "jail";
    fsys_options options = regress::default_options(FSYS_BACKEND_DEFAULT);
    const bool by_root = GENERATE(true, false);
    options.root = by_root ? root.c_str() : nullptr;
    const Handle handle(options);
    ReplaceOptions replace_options;
    fsys_file *jail = by_root ? nullptr : regress::open_file(handle, root);
    replace_options.dir = jail;
    for (const char *path : {"../secret", "out", "absolute", "up/secret", "dangling",
                             "sub/../../secret", "/etc/hostname"}) {
        INFO(path);
        CHECK(replace(handle, path, "x", &replace_options) == -EXDEV);
        CHECK(std::string(replace_options.text).find(path) != std::string::npos);
    }
    CHECK(contents(dir / "secret") == "old");
    CHECK(names_in(dir.path()) == "jail secret");
    REQUIRE(replace(handle, "sub/../sub/f", "y", &replace_options) == 0);
    CHECK(contents(dir / "jail/sub/f") == "y");
    REQUIRE(replace(handle, "inside", "z", &replace_options) == 0);
    CHECK(contents(dir / "jail/sub/in") == "z");

    // The same walls around the calls on names.
    PathOptions at;
    at.dir = jail;
    CHECK(fsys_unlink(handle, "up/secret", &at) == -EXDEV);
    CHECK(fsys_rename(handle, "inside", "../x", &at) == -EXDEV);
    CHECK(fsys_rename(handle, "up/secret", "x", &at) == -EXDEV);
    CHECK(fsys_link(handle, "up/secret", "x", &at) == -EXDEV);
    CHECK(fsys_append(handle, "out", "x", 1, &at, nullptr) == -EXDEV);
    CHECK(fsys_sync_path(handle, "out", &at) == -EXDEV);
    void *data = nullptr;
    size_t length = 0;
    CHECK(fsys_read_file(handle, "absolute", 0, &at, &data, &length) == -EXDEV);
    at.flags = FSYS_PATH_PARENTS;
    CHECK(fsys_mkdir(handle, "up/made/here", &at) == -EXDEV);
    at.flags = 0;
    CHECK(fsys_sweep(handle, "up", 0, &at, nullptr) == -EXDEV);
    CHECK(fsys_copy(handle, "out", "copy", &replace_options, nullptr) == -EXDEV);
    CHECK(names_in(dir.path()) == "jail secret");
    if (jail != nullptr) {
        CHECK(fsys_file_close(jail) == 0);
        CHECK(replace(handle, "f", "x", &replace_options) == FSYS_E_CLOSED);
    }
}

TEST_CASE("replace: piece by piece", "[replace]") {
    const Scratch dir;
    Handle handle(FSYS_BACKEND_DEFAULT);
    put(dir / "f", "old");
    const auto begin = [&](const std::string &path) {
        fsys_replacement *replacement = nullptr;
        REQUIRE(fsys_replace_begin(handle, path.c_str(), nullptr, &replacement) == 0);
        return replacement;
    };
    fsys_replacement *replacement = begin(dir / "f");
    REQUIRE(fsys_replace_write(replacement, "ne", 2) == 0);
    REQUIRE(fsys_replace_write(replacement, nullptr, 0) == 0);
    CHECK(fsys_replace_write(replacement, nullptr, 1) == -EINVAL);
    REQUIRE(fsys_replace_write(replacement, "w", 1) == 0);
    CHECK(contents(dir / "f") == "old");
    Report report;
    REQUIRE(fsys_replace_commit(replacement, &report) == 0);
    CHECK(report.bytes == 3);
    CHECK(contents(dir / "f") == "new");
    CHECK(fsys_replace_commit(replacement, nullptr) == FSYS_E_CLOSED);
    CHECK(fsys_replace_write(replacement, "x", 1) == FSYS_E_CLOSED);
    CHECK(fsys_replace_abort(replacement) == FSYS_E_CLOSED);

    replacement = begin(dir / "f");
    REQUIRE(fsys_replace_write(replacement, "gone", 4) == 0);
    REQUIRE(fsys_replace_abort(replacement) == 0);
    CHECK(contents(dir / "f") == "new");
    CHECK(names_in(dir.path()) == "f");

    // Closing the handle gives up what is left.
    replacement = begin(dir / "g");
    begin(dir / "h");
    CHECK(names_in(dir.path()).find(".fsys-tmp.") != std::string::npos);
    REQUIRE(handle.close() == 0);
    CHECK(names_in(dir.path()) == "f");
    CHECK(fsys_replace_commit(replacement, nullptr) == FSYS_E_CLOSED);
}

TEST_CASE("replace: one thread at a time, and a race of commits has one winner", "[replace]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    for (int round = 0; round < 20; ++round) {
        fsys_replacement *replacement = nullptr;
        REQUIRE(fsys_replace_begin(handle, (dir / "f").c_str(), nullptr, &replacement) == 0);
        std::atomic<int> won{0};
        std::atomic<int> odd{0};
        regress::run_threads(4, [&](unsigned i) {
            const int code = i % 2 == 0 ? fsys_replace_commit(replacement, nullptr)
                                        : fsys_replace_abort(replacement);
            won += code == 0;
            odd += code != 0 && code != FSYS_E_CLOSED && code != -EBUSY;
        });
        CHECK(won == 1);
        CHECK(odd == 0);
    }
    const std::string left = names_in(dir.path());
    CHECK((left.empty() || left == "f"));
}

TEST_CASE("replace: by token, and through the completion queue", "[replace]") {
    const Scratch dir;
    Handle handle(FSYS_BACKEND_DEFAULT);
    constexpr unsigned kFiles = 40;
    std::vector<fsys_op> ops(kFiles);
    std::vector<Report> reports(kFiles);
    std::vector<std::string> texts(kFiles);
    for (unsigned i = 0; i < kFiles; ++i) {
        texts[i] = "text " + std::to_string(i);
        // The path is copied.
        REQUIRE(fsys_submit_replace(handle, (dir / std::to_string(i)).c_str(), texts[i].data(),
                                    texts[i].size(), nullptr, &reports[i], i, &ops[i]) == 0);
    }
    std::vector<fsys_result> results(kFiles);
    REQUIRE(fsys_wait_all(handle, ops.data(), kFiles, FSYS_FOREVER, results.data()) == 0);
    for (unsigned i = 0; i < kFiles; ++i) {
        CHECK(results[i].result == 0);
        CHECK(results[i].user_data == i);
        CHECK(results[i].lane == FSYS_LANE_POOL);
        CHECK(reports[i].visible == 1);
        CHECK(contents(dir / std::to_string(i)) == texts[i]);
    }
    ReplaceOptions options(FSYS_REPLACE_EXISTING);
    Report report;
    REQUIRE(fsys_submit_replace(handle, (dir / "nothing").c_str(), "x", 1, &options, &report, 7,
                                nullptr) == 0);
    fsys_result result{};
    REQUIRE(fsys_reap(handle, &result, 1, FSYS_FOREVER) == 1);
    CHECK(result.result == -ENOENT);
    CHECK(result.step == FSYS_STEP_TRANSFER);
    CHECK(result.user_data == 7);
    CHECK(report.step == FSYS_FILE_STEP_INSPECT);
    CHECK(std::string(options.text).find("nothing") != std::string::npos);

    fsys_replacement *replacement = nullptr;
    REQUIRE(fsys_replace_begin(handle, (dir / "0").c_str(), nullptr, &replacement) == 0);
    REQUIRE(fsys_replace_write(replacement, "later", 5) == 0);
    fsys_op op = 0;
    REQUIRE(fsys_submit_replace_commit(replacement, &report, 9, &op) == 0);
    CHECK(fsys_replace_write(replacement, "x", 1) == FSYS_E_CLOSED);
    REQUIRE(fsys_wait(handle, op, FSYS_FOREVER, &result) == 0);
    CHECK(result.result == 0);
    CHECK(contents(dir / "0") == "later");

    // A directory handle is kept by the op, also when it is closed at once.
    fsys_file *jail = regress::open_file(handle, dir.path());
    ReplaceOptions in_jail;
    in_jail.dir = jail;
    REQUIRE(fsys_submit_replace(handle, "in", "jailed", 6, &in_jail, nullptr, 0, &op) == 0);
    CHECK(fsys_file_close(jail) == 0);
    REQUIRE(fsys_wait(handle, op, FSYS_FOREVER, &result) == 0);
    CHECK(result.result == 0);
    CHECK(contents(dir / "in") == "jailed");

    // What was accepted is done before the handle is gone.
    REQUIRE(fsys_submit_replace(handle, (dir / "last").c_str(), "x", 1, nullptr, nullptr, 0, &op) ==
            0);
    REQUIRE(handle.close() == 0);
    CHECK(contents(dir / "last") == "x");
}

TEST_CASE("replace: a caller-driven handle replaces, but submits nothing", "[replace]") {
    const Scratch dir;
    fsys_options options = regress::default_options(FSYS_BACKEND_DEFAULT);
    options.driver = FSYS_DRIVER_CALLER;
    const Handle handle(options);
    REQUIRE(replace(handle, dir / "f", "x") == 0);
    fsys_op op = 0;
    CHECK(fsys_submit_replace(handle, (dir / "f").c_str(), "y", 1, nullptr, nullptr, 0, &op) ==
          -EOPNOTSUPP);
    const std::string path = dir / "g";
    const std::string other = dir / "h";
    const std::string one = "1";
    const std::string two = "2";
    fsys_batch_item items[] = {item(path, one), item(other, two)};
    CHECK(fsys_batch(handle, items, 2, nullptr) == 0);
    CHECK(contents(path) == "1");
    CHECK(contents(other) == "2");
}

TEST_CASE("batch: many files, several directories, one failure", "[batch]") {
    const Scratch dir;
    const std::uint32_t backend = GENERATE(from_range(regress::backends()));
    const Handle handle(backend);
    std::filesystem::create_directories(dir / "a");
    std::filesystem::create_directories(dir / "b");
    constexpr unsigned kFiles = 300;  // three runs
    std::vector<std::string> paths;
    std::vector<std::string> texts;
    for (unsigned i = 0; i < kFiles; ++i) {
        paths.push_back(dir / ((i % 2 == 0 ? "a/" : "b/") + std::to_string(i)));
        texts.push_back(std::string(i, 'x'));
    }
    std::vector<fsys_batch_item> items;
    for (unsigned i = 0; i < kFiles; ++i) {
        items.push_back(item(paths[i], texts[i]));
    }
    ReplaceOptions options;
    REQUIRE(fsys_batch(handle, items.data(), kFiles, &options) == 0);
    for (unsigned i = 0; i < kFiles; ++i) {
        CHECK(items[i].result == 0);
        CHECK(items[i].visible == 1);
        CHECK(contents(paths[i]) == texts[i]);
    }
    // One bad path, two removals (one of nothing), the same path twice: the later one stays.
    const std::string bad = dir / "nowhere/f";
    const std::string missing = dir / "a/missing";
    const std::string one = "one";
    const std::string two = "two";
    std::vector<fsys_batch_item> mixed = {item(paths[0], one), item(bad, one), item(paths[0], two),
                                          item(paths[1], one), item(missing, one)};
    mixed[3].verb = mixed[4].verb = FSYS_BATCH_UNLINK;
    CHECK(fsys_batch(handle, mixed.data(), 5, &options) == -ENOENT);
    CHECK(std::string(options.text).find(bad) != std::string::npos);
    CHECK(mixed[0].result == 0);
    CHECK(mixed[1].result == -ENOENT);
    CHECK(mixed[1].step == FSYS_FILE_STEP_DIRECTORY);
    CHECK(mixed[2].result == 0);
    CHECK(contents(paths[0]) == two);
    CHECK(contents(paths[1]) == "(missing)");

    options.flags = FSYS_REPLACE_STOP;
    std::vector<fsys_batch_item> stopped = {item(paths[2], one), item(bad, one),
                                            item(paths[4], one)};
    CHECK(fsys_batch(handle, stopped.data(), 3, &options) == -ENOENT);
    CHECK(stopped[0].result == 0);
    CHECK(stopped[2].result == -ECANCELED);
    CHECK(contents(paths[2]) == one);
    CHECK(contents(paths[4]) == texts[4]);
    CHECK(names_in(dir / "a").find(".fsys-tmp.") == std::string::npos);
    CHECK(names_in(dir / "b").find(".fsys-tmp.") == std::string::npos);
    CHECK(fsys_batch(handle, nullptr, 0, nullptr) == 0);
    // No entry of the engine is left behind.
    CHECK(regress::open_file(handle, paths[2]) != nullptr);
    CHECK(stats_of(handle).in_flight == 0);
}

TEST_CASE("batch: by token, on fewer pool threads than batches", "[batch]") {
    const Scratch dir;
    fsys_options options = regress::default_options(FSYS_BACKEND_THREADS);
    options.pool_threads = 1;
    const Handle handle(options);
    constexpr unsigned kBatches = 4;
    constexpr unsigned kEach = 20;
    std::vector<std::string> paths;
    for (unsigned i = 0; i < kBatches * kEach; ++i) {
        paths.push_back(dir / std::to_string(i));
    }
    std::vector<fsys_batch_item> items;
    for (const std::string &path : paths) {
        items.push_back(item(path, path));
    }
    fsys_op ops[kBatches];
    for (unsigned i = 0; i < kBatches; ++i) {
        REQUIRE(fsys_submit_batch(handle, items.data() + i * kEach, kEach, nullptr, i, &ops[i]) ==
                0);
    }
    fsys_result results[kBatches];
    REQUIRE(fsys_wait_all(handle, ops, kBatches, 60 * regress::kSecond, results) == 0);
    for (const fsys_result &result : results) {
        CHECK(result.result == 0);
    }
    for (const std::string &path : paths) {
        CHECK(contents(path) == path);
    }
}

TEST_CASE("copy: bytes, holes, mode, and how it was done", "[copy]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    const int fd = ::open((dir / "from").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0610);
    REQUIRE(fd >= 0);
    REQUIRE(::pwrite(fd, "begin", 5, 0) == 5);
    REQUIRE(::pwrite(fd, "middle", 6, 8 << 20) == 6);
    REQUIRE(::ftruncate(fd, 16 << 20) == 0);
    REQUIRE(::fchmod(fd, 0610) == 0);
    ::close(fd);
    Report report;
    ReplaceOptions options;
    REQUIRE(fsys_copy(handle, (dir / "from").c_str(), (dir / "to").c_str(), &options, &report) ==
            0);
    CHECK(contents(dir / "to") == contents(dir / "from"));
    CHECK(report.bytes == 16 << 20);
    CHECK((report.method == FSYS_COPY_REFLINK || report.method == FSYS_COPY_KERNEL ||
           report.method == FSYS_COPY_BYTES));
    CHECK(mode_of(dir / "to") == 0610);
    struct stat st {};
    REQUIRE(::stat((dir / "to").c_str(), &st) == 0);
    CHECK(st.st_blocks * 512 < 1 << 20);  // holes stayed holes
    options.flags = FSYS_REPLACE_REFLINK;
    const int shared =
        fsys_copy(handle, (dir / "from").c_str(), (dir / "shared").c_str(), &options, &report);
    struct statfs fs{};
    REQUIRE(::statfs(dir.path().c_str(), &fs) == 0);
    if (shared == 0 || fs.f_type == BTRFS_SUPER_MAGIC) {
        CHECK(report.method == FSYS_COPY_REFLINK);
        CHECK(contents(dir / "shared") == contents(dir / "from"));
    } else {
        CHECK(shared == -EOPNOTSUPP);
        CHECK(contents(dir / "shared") == "(missing)");
    }
    // One whose length nobody tells, and one onto itself.
    REQUIRE(fsys_copy(handle, "/proc/self/status", (dir / "status").c_str(), nullptr, &report) ==
            0);
    CHECK(report.method == FSYS_COPY_BYTES);
    CHECK(contents(dir / "status").find("Name:") == 0);
    REQUIRE(fsys_copy(handle, (dir / "to").c_str(), (dir / "to").c_str(), nullptr, nullptr) == 0);
    CHECK(contents(dir / "to") == contents(dir / "from"));
    CHECK(fsys_copy(handle, dir.path().c_str(), (dir / "x").c_str(), nullptr, nullptr) == -EISDIR);
    CHECK(fsys_copy(handle, (dir / "no").c_str(), (dir / "x").c_str(), nullptr, nullptr) ==
          -ENOENT);
    CHECK(names_in(dir.path()).find(".fsys-tmp.") == std::string::npos);
}

TEST_CASE("replace: arguments that make no sense", "[replace]") {
    const Scratch dir;
    const Handle handle(FSYS_BACKEND_DEFAULT);
    const std::string path = dir / "f";
    CHECK(fsys_replace(nullptr, path.c_str(), "x", 1, nullptr, nullptr) == FSYS_E_CLOSED);
    CHECK(fsys_replace(handle, nullptr, "x", 1, nullptr, nullptr) == -EINVAL);
    CHECK(fsys_replace(handle, path.c_str(), nullptr, 1, nullptr, nullptr) == -EINVAL);
    Report report;
    report.struct_size = 3;
    CHECK(replace(handle, path, "x", nullptr, &report) == FSYS_E_BAD_STRUCT);
    ReplaceOptions options;
    options.struct_size = 1;
    CHECK(replace(handle, path, "x", &options) == FSYS_E_BAD_STRUCT);
    const auto with = [&](auto change) {
        ReplaceOptions bad;
        change(bad);
        const int code = replace(handle, path, "x", &bad);
        CHECK(bad.text[0] != '\0');
        return code;
    };
    CHECK(with([](auto &o) { o.flags = 1u << 30; }) == FSYS_E_BAD_FLAG);
    CHECK(with([](auto &o) { o.flags = FSYS_REPLACE_STOP; }) == FSYS_E_BAD_FLAG);
    CHECK(with([](auto &o) { o.durability = 5; }) == FSYS_E_BAD_FLAG);
    CHECK(with([](auto &o) { o.keep = 0x20; }) == FSYS_E_BAD_FLAG);
    CHECK(with([](auto &o) { o.keep = FSYS_KEEP_NOTHING | FSYS_KEEP_MODE; }) == -EINVAL);
    CHECK(with([](auto &o) { o.mode = 010000; }) == -EINVAL);
    CHECK(with([](auto &o) { o.lifetime = 6; }) == FSYS_E_BAD_FLAG);
    fsys_batch_item bad = item(path, path);
    bad.verb = 9;
    CHECK(fsys_batch(handle, &bad, 1, nullptr) == FSYS_E_BAD_FLAG);
    bad.verb = 0;
    bad.path = nullptr;
    CHECK(fsys_batch(handle, &bad, 1, nullptr) == -EINVAL);
    CHECK(fsys_batch(handle, nullptr, 1, nullptr) == -EINVAL);
    CHECK(fsys_replace_write(nullptr, "x", 1) == FSYS_E_CLOSED);
    CHECK(fsys_replace_commit(reinterpret_cast<fsys_replacement *>(0x1234), nullptr) ==
          FSYS_E_CLOSED);
    CHECK(names_in(dir.path()).empty());
}

TEST_CASE("replace: a fork child can neither commit nor remove what its parent writes",
          "[replace]") {
    const Scratch dir;
    Handle handle(FSYS_BACKEND_DEFAULT);
    fsys_replacement *replacement = nullptr;
    REQUIRE(fsys_replace_begin(handle, (dir / "f").c_str(), nullptr, &replacement) == 0);
    const int ended = regress::in_child(20, [&] {
        REQUIRE(fsys_replace_commit(replacement, nullptr) == FSYS_E_FORKED);
        REQUIRE(fsys_replace_abort(replacement) == FSYS_E_FORKED);
        REQUIRE(fsys_close(handle.release()) == FSYS_E_FORKED);
    });
    CHECK(ended == 0);
    REQUIRE(fsys_replace_write(replacement, "x", 1) == 0);
    REQUIRE(fsys_replace_commit(replacement, nullptr) == 0);
    CHECK(contents(dir / "f") == "x");
}
