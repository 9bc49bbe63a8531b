// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One scenario for each call that promises durability, with what must hold in every crash state.

#include "files/simulated.hpp"

namespace files_test {
namespace {

const std::string kOld = long_text(9000, 1);
const std::string kNew = long_text(14000, 2);

std::string old_or_new(sim::Disk &disk, const std::string &path, const std::string &old,
                       const std::string &fresh, bool done) {
    const std::string text = text_of(disk, path);
    if (text == fresh || (!done && text == old)) {
        return "";
    }
    return path +
           (text == old           ? " is old"
            : text == "(missing)" ? " is missing"
                                  : " is neither old nor new: ") +
           (text == old || text == "(missing)" ? "" : std::to_string(text.size()) + " bytes");
}

ReplaceOptions &with(ReplaceOptions &options, std::uint32_t durability) {
    options.durability = durability;
    return options;
}

void one_file(sim::Disk &disk) { make_file(disk, "a/f", kOld, 0640); }
void nothing(sim::Disk &) {}

// What is written and not synced, by somebody else.
void unsynced_file(fsys *handle, const char *path) {
    fsys_file_options options{};
    options.struct_size = sizeof options;
    options.flags = FSYS_FILE_WRITE | FSYS_FILE_CREATE;
    fsys_file *file = nullptr;
    REQUIRE(fsys_file_open(handle, path, &options, &file) == 0);
    REQUIRE(fsys_write(file, kNew.data(), kNew.size(), 0, 0) ==
            static_cast<std::int64_t>(kNew.size()));
    REQUIRE(fsys_file_close(file) == 0);
}

template <class Change>
int on_file(fsys *handle, const char *path, Change &&change) {
    fsys_file_options options{};
    options.struct_size = sizeof options;
    options.flags = FSYS_FILE_READ | FSYS_FILE_WRITE;
    fsys_file *file = nullptr;
    int code = fsys_file_open(handle, path, &options, &file);
    if (code != 0) {
        return code;
    }
    code = change(file);
    const int closed = fsys_file_close(file);
    return code != 0 ? code : closed;
}

std::vector<Scenario> make() {
    std::vector<Scenario> all;
    all.push_back({"replace",
                   one_file,
                   [](fsys *handle, std::uint32_t durability) {
                       ReplaceOptions options;
                       return replace(handle, "a/f", kNew, &with(options, durability));
                   },
                   [](sim::Disk &disk, bool done) {
                       const std::string wrong = old_or_new(disk, "a/f", kOld, kNew, done);
                       // The mode is kept before the sync, so a new file never shows another.
                       return !wrong.empty()             ? wrong
                              : disk.mode("a/f") != 0640 ? std::string("the mode is not kept")
                                                         : "";
                   },
                   {}});
    all.push_back({"replace, all metadata kept",
                   [](sim::Disk &disk) {
                       make_file(disk, "a/f", kOld, 0640);
                       const int fd = disk.open(AT_FDCWD, "a/f", O_RDWR, 0);
                       REQUIRE(disk.set_attribute(fd, "user.note", "kept") == 0);
                       REQUIRE(disk.set_owner(fd, 5, 6) == 0);
                       REQUIRE(disk.fsync(fd) == 0);
                       REQUIRE(disk.close(fd) == 0);
                   },
                   [](fsys *handle, std::uint32_t durability) {
                       ReplaceOptions options(0, FSYS_KEEP_ALL);
                       return replace(handle, "a/f", kNew, &with(options, durability));
                   },
                   [](sim::Disk &disk, bool done) {
                       std::string wrong = old_or_new(disk, "a/f", kOld, kNew, done);
                       std::string value;
                       struct stat st {};
                       const int fd = disk.open(AT_FDCWD, "a/f", O_RDWR, 0);
                       disk.fstat(fd, &st);
                       if (wrong.empty() && (disk.get_attribute(fd, "user.note", value) != 0 ||
                                             value != "kept" || st.st_uid != 5 || st.st_gid != 6)) {
                           wrong = "metadata are not kept";
                       }
                       return wrong;
                   },
                   {}});
    all.push_back({"replace, new name",
                   nothing,
                   [](fsys *handle, std::uint32_t durability) {
                       ReplaceOptions options;
                       return replace(handle, "a/f", kNew, &with(options, durability));
                   },
                   [](sim::Disk &disk, bool done) {
                       return old_or_new(disk, "a/f", "(missing)", kNew, done);
                   },
                   {}});
    all.push_back({"replace, NEW, in pieces",
                   nothing,
                   [](fsys *handle, std::uint32_t durability) {
                       ReplaceOptions options(FSYS_REPLACE_NEW);
                       fsys_replacement *replacement = nullptr;
                       int code = fsys_replace_begin(handle, "a/f", &with(options, durability),
                                                     &replacement);
                       if (code != 0) {
                           return code;
                       }
                       for (std::size_t at = 0; code == 0 && at < kNew.size(); at += 3000) {
                           code = fsys_replace_write(replacement, kNew.data() + at,
                                                     std::min<std::size_t>(3000, kNew.size() - at));
                       }
                       if (code != 0) {
                           REQUIRE(fsys_replace_commit(replacement, nullptr) == FSYS_E_POISONED);
                           REQUIRE(fsys_replace_abort(replacement) == 0);
                           return code;
                       }
                       return fsys_replace_commit(replacement, nullptr);
                   },
                   [](sim::Disk &disk, bool done) {
                       return old_or_new(disk, "a/f", "(missing)", kNew, done);
                   },
                   {}});
    all.push_back({"batch",
                   [](sim::Disk &disk) {
                       make_file(disk, "a/f", kOld);
                       make_file(disk, "b/g", kOld);
                       make_file(disk, "b/gone", kOld);
                   },
                   [](fsys *handle, std::uint32_t durability) {
                       static const std::string paths[] = {"a/f", "b/g", "b/new", "b/gone", "a/f2"};
                       std::vector<fsys_batch_item> items;
                       for (const std::string &path : paths) {
                           items.push_back(item(path, kNew));
                       }
                       items[3].verb = FSYS_BATCH_UNLINK;
                       ReplaceOptions options;
                       const int code =
                           fsys_batch(handle, items.data(), 5, &with(options, durability));
                       int first = 0;
                       for (const fsys_batch_item &one : items) {
                           first = first == 0 ? one.result : first;
                       }
                       INFO(code << " " << first << " " << options.text);
                       REQUIRE((code == 0) == (first == 0));
                       return code;
                   },
                   [](sim::Disk &disk, bool done) {
                       std::string wrong = old_or_new(disk, "a/f", kOld, kNew, done);
                       wrong += old_or_new(disk, "b/g", kOld, kNew, done);
                       wrong += old_or_new(disk, "b/new", "(missing)", kNew, done);
                       wrong += old_or_new(disk, "a/f2", "(missing)", kNew, done);
                       return wrong + old_or_new(disk, "b/gone", kOld, "(missing)", done);
                   },
                   {}});
    all.push_back(
        {"copy",
         one_file,
         [](fsys *handle, std::uint32_t durability) {
             ReplaceOptions options;
             return fsys_copy(handle, "a/f", "b/copy", &with(options, durability), nullptr);
         },
         [](sim::Disk &disk, bool done) {
             const std::string wrong = old_or_new(disk, "b/copy", "(missing)", kOld, done);
             return !wrong.empty() ? wrong
                    : disk.exists("b/copy") && disk.mode("b/copy") != 0640
                        ? std::string("the mode is not the source's")
                        : "";
         },
         {}});
    const auto appended = [](sim::Disk &disk, bool done, const std::string &before) {
        const std::string text = text_of(disk, "a/f");
        if (done) {
            return text == before + kNew ? "" : "what was appended is not there";
        }
        return text == "(missing)" && before.empty()         ? ""
               : text.compare(0, before.size(), before) == 0 ? ""
                                                             : "the old bytes are not there";
    };
    const auto append = [](fsys *handle, std::uint32_t durability) {
        PathOptions options(0, durability);
        std::uint64_t offset = 99;
        const int code = fsys_append(handle, "a/f", kNew.data(), kNew.size(), &options, &offset);
        REQUIRE((code != 0 || offset == 0 || offset == kOld.size()));
        return code;
    };
    all.push_back(
        {"append",
         one_file,
         append,
         [=](sim::Disk &disk, bool done) -> std::string { return appended(disk, done, kOld); },
         {}});
    all.push_back(
        {"append, new name",
         nothing,
         append,
         [=](sim::Disk &disk, bool done) -> std::string { return appended(disk, done, ""); },
         {}});
    const auto renamed = [](const char *from, const char *to, bool durable_before) {
        return [=](sim::Disk &disk, bool done) -> std::string {
            const bool at_old = disk.exists(from);
            const bool at_new = disk.exists(to);
            if (done) {
                return at_old ? "the old name is still there"
                              : old_or_new(disk, to, "", kNew, true);
            }
            if (!durable_before) {
                return "";  // whoever wrote it promised nothing
            }
            return !at_old && !at_new ? "the file is gone"
                                      : old_or_new(disk, at_new ? to : from, "", kNew, true);
        };
    };
    all.push_back({"rename",
                   [](sim::Disk &disk) { make_file(disk, "a/f", kNew); },
                   [](fsys *handle, std::uint32_t durability) {
                       const PathOptions options(0, durability);
                       return fsys_rename(handle, "a/f", "a/g", &options);
                   },
                   renamed("a/f", "a/g", true),
                   {}});
    all.push_back({"rename to another directory",
                   [](sim::Disk &disk) { make_file(disk, "a/f", kNew); },
                   [](fsys *handle, std::uint32_t durability) {
                       const PathOptions options(0, durability);
                       return fsys_rename(handle, "a/f", "b/g", &options);
                   },
                   renamed("a/f", "b/g", true),
                   {}});
    all.push_back({"rename of what was not synced",
                   nothing,
                   [](fsys *handle, std::uint32_t durability) {
                       const PathOptions options(0, durability);
                       const int code = fsys_rename(handle, "a/f", "b/g", &options);
                       return code;
                   },
                   renamed("a/f", "b/g", false),
                   {}});
    all.push_back({"link of what was not synced",
                   nothing,
                   [](fsys *handle, std::uint32_t durability) {
                       const PathOptions options(0, durability);
                       return fsys_link(handle, "a/f", "b/g", &options);
                   },
                   [](sim::Disk &disk, bool done) -> std::string {
                       return done ? old_or_new(disk, "b/g", "", kNew, true) : "";
                   },
                   {}});
    all.push_back({"unlink",
                   one_file,
                   [](fsys *handle, std::uint32_t durability) {
                       const PathOptions options(0, durability);
                       return fsys_unlink(handle, "a/f", &options);
                   },
                   [](sim::Disk &disk, bool done) {
                       return old_or_new(disk, "a/f", kOld, "(missing)", done);
                   },
                   {}});
    all.push_back({"mkdir",
                   nothing,
                   [](fsys *handle, std::uint32_t durability) {
                       const PathOptions options(0, durability);
                       return fsys_mkdir(handle, "a/d", &options);
                   },
                   [](sim::Disk &disk, bool done) -> std::string {
                       return done && !disk.exists("a/d") ? "the directory is not there" : "";
                   },
                   {}});
    all.push_back({"mkdir with parents, and a file in it",
                   nothing,
                   [](fsys *handle, std::uint32_t durability) {
                       const PathOptions options(FSYS_PATH_PARENTS, durability);
                       const int code = fsys_mkdir(handle, "a/d/e/../e/h", &options);
                       ReplaceOptions replacing;
                       return code != 0 ? code
                                        : replace(handle, "a/d/e/h/f", kNew,
                                                  &with(replacing, durability));
                   },
                   [](sim::Disk &disk, bool done) {
                       return old_or_new(disk, "a/d/e/h/f", "(missing)", kNew, done);
                   },
                   {}});
    all.push_back({"rmdir",
                   [](sim::Disk &disk) { REQUIRE(disk.mkdir(AT_FDCWD, "a/d", 0755) == 0); },
                   [](fsys *handle, std::uint32_t durability) {
                       const PathOptions options(0, durability);
                       return fsys_rmdir(handle, "a/d", &options);
                   },
                   [](sim::Disk &disk, bool done) -> std::string {
                       return done && disk.exists("a/d") ? "the directory is still there" : "";
                   },
                   {}});
    all.push_back({"sync of what others wrote",
                   nothing,
                   [](fsys *handle, std::uint32_t durability) {
                       const PathOptions options(FSYS_PATH_SYNC_PARENT, durability);
                       return durability == FSYS_DURABILITY_NONE
                                  ? 0
                                  : fsys_sync_path(handle, "a/f", &options);
                   },
                   [](sim::Disk &disk, bool done) -> std::string {
                       return done ? old_or_new(disk, "a/f", "", kNew, true) : "";
                   },
                   {}});
    all.push_back({"sync of the file system",
                   nothing,
                   [](fsys *handle, std::uint32_t durability) {
                       const PathOptions options(FSYS_PATH_FILE_SYSTEM, durability);
                       return durability == FSYS_DURABILITY_NONE
                                  ? 0
                                  : fsys_sync_path(handle, "b", &options);
                   },
                   [](sim::Disk &disk, bool done) -> std::string {
                       return done ? old_or_new(disk, "a/f", "", kNew, true) : "";
                   },
                   {}});
    const auto changed = [](const std::string &wanted) {
        return [=](sim::Disk &disk, bool done) -> std::string {
            return done ? old_or_new(disk, "a/f", "", wanted, true) : "";
        };
    };
    all.push_back({"truncate",
                   one_file,
                   [](fsys *handle, std::uint32_t durability) {
                       return on_file(handle, "a/f", [=](fsys_file *file) {
                           return fsys_truncate(file, 700, durability);
                       });
                   },
                   changed(kOld.substr(0, 700)),
                   {}});
    all.push_back({"preallocate",
                   one_file,
                   [](fsys *handle, std::uint32_t durability) {
                       return on_file(handle, "a/f", [=](fsys_file *file) {
                           return fsys_preallocate(file, 0, 20000, 0, durability);
                       });
                   },
                   changed(kOld + std::string(20000 - kOld.size(), '\0')),
                   {}});
    std::string holed = kOld;
    holed.replace(1000, 4000, 4000, '\0');
    all.push_back({"punch hole",
                   one_file,
                   [](fsys *handle, std::uint32_t durability) {
                       return on_file(handle, "a/f", [=](fsys_file *file) {
                           return fsys_punch_hole(file, 1000, 4000, durability);
                       });
                   },
                   changed(holed),
                   {}});
    all.push_back({"zero range",
                   one_file,
                   [](fsys *handle, std::uint32_t durability) {
                       return on_file(handle, "a/f", [=](fsys_file *file) {
                           return fsys_zero_range(file, 1000, 20000, 0, durability);
                       });
                   },
                   changed(kOld.substr(0, 1000) + std::string(20000, '\0')),
                   {}});
    for (Scenario &scenario : all) {
        const std::string name = scenario.name;
        if (name.find("not synced") != std::string::npos || name.find("sync of") == 0) {
            scenario.before = [](fsys *handle) { unsynced_file(handle, "a/f"); };
        }
    }
    return all;
}

}  // namespace

const std::vector<Scenario> &scenarios() {
    static const std::vector<Scenario> all = make();
    return all;
}

}  // namespace files_test
