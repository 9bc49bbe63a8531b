// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Listing. Each directory is read whole and closed; the next one is opened by its path from the
// start, beneath it and through no symbolic link, so that nobody can lead the walk out of the tree
// by swapping a directory for a link.

#include "file/scan.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <functional>

namespace libfsys::files {

int Scan::begin(PathSettings &settings, const std::string &path) {
    int code = open_directory(sys_, settings.where, path, false, top_);
    code = code < 0 ? code : enter("", ".");
    return code < 0
               ? settings.detail.say(code, "scanning '%s': %s", path.c_str(), fsys_strerror(code))
               : 0;
}

int Scan::enter(const std::string &prefix, const char *path) {
    const Fd directory(
        sys_, sys_.open_beneath(top_.fd.get(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0));
    if (!directory) {
        return directory.get();
    }
    struct stat st {};
    int code = sys_.fstat(directory.get(), &st);
    if (code < 0) {
        return code;
    }
    if ((flags_ & FSYS_PATH_ONE_FILE_SYSTEM) != 0 && st.st_dev != top_.device) {
        return 0;
    }
    Level level;
    level.prefix = prefix;
    code = sys_.list(directory.get(), level.names);
    if (code < 0) {
        return code;
    }
    std::sort(level.names.begin(), level.names.end(), std::greater<>());
    levels_.push_back(std::move(level));
    return 0;
}

int Scan::next(fsys_scan_entry &entry) {
    if (enter_) {
        enter_ = false;
        const int code = enter(path_ + "/", path_.c_str());
        // Gone since it was listed: as if it had been gone then.
        if (code < 0 && code != -ENOENT) {
            entry.path = path_.c_str();
            entry.type = FSYS_TYPE_DIRECTORY;
            entry.depth = static_cast<std::uint32_t>(levels_.size() - 1);
            entry.error = code;
            return 0;
        }
    }
    while (!levels_.empty()) {
        Level &level = levels_.back();
        if (level.names.empty()) {
            levels_.pop_back();
            continue;
        }
        path_ = level.prefix + level.names.back();
        level.names.pop_back();
        entry.path = path_.c_str();
        entry.depth = static_cast<std::uint32_t>(levels_.size() - 1);
        struct stat st {};
        // By its directory, for the walk to the last name must not follow links either.
        const Fd node(sys_,
                      sys_.open_beneath(top_.fd.get(), path_.c_str(), O_PATH | O_NOFOLLOW, 0));
        const int code = !node ? node.get() : sys_.fstat(node.get(), &st);
        if (code == -ENOENT) {
            continue;
        }
        if (code < 0) {
            entry.error = code;
            return 0;
        }
        entry.type = S_ISREG(st.st_mode)   ? FSYS_TYPE_FILE
                     : S_ISDIR(st.st_mode) ? FSYS_TYPE_DIRECTORY
                     : S_ISLNK(st.st_mode) ? FSYS_TYPE_SYMLINK
                                           : FSYS_TYPE_OTHER;
        entry.size = static_cast<std::uint64_t>(st.st_size);
        entry.inode = st.st_ino;
        entry.modified_ns =
            static_cast<std::int64_t>(st.st_mtim.tv_sec) * 1'000'000'000 + st.st_mtim.tv_nsec;
        entry.mode = st.st_mode & 07777;
        entry.links = st.st_nlink;
        enter_ = entry.type == FSYS_TYPE_DIRECTORY && (flags_ & FSYS_PATH_RECURSIVE) != 0;
        return 0;
    }
    return FSYS_E_NOTHING;
}

}  // namespace libfsys::files
