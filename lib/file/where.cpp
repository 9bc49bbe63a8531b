// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Paths to directories and names. Any thread; the caller owns what comes back.

#include "file/where.hpp"

#include <fcntl.h>

#include <cerrno>

namespace libfsys::files {

int open_at(Syscalls &sys, const Where &where, const char *path, int flags, mode_t mode) {
    return where.beneath ? sys.open_beneath(where.base, path, flags, mode)
                         : sys.open(where.base, path, flags, mode);
}

int open_directory(Syscalls &sys, const Where &where, const std::string &path, bool names_only,
                   Directory &ret) {
    int fd = open_at(sys, where, path.c_str(), O_RDONLY | O_DIRECTORY, 0);
    if (fd == -EACCES && names_only) {
        fd = open_at(sys, where, path.c_str(), O_PATH | O_DIRECTORY, 0);
    }
    if (fd < 0) {
        return fd;
    }
    ret.fd = Fd(sys, fd);
    ret.path = path;
    struct stat st {};
    const int code = sys.fstat(fd, &st);
    if (code < 0) {
        ret.fd.reset();
        return code;
    }
    ret.device = st.st_dev;
    ret.inode = st.st_ino;
    return 0;
}

Split split(const std::string &path) {
    Split ret;
    std::size_t end = path.size();
    while (end > 1 && path[end - 1] == '/') {
        --end;
        ret.slash = true;
    }
    const std::size_t slash = path.rfind('/', end - 1);
    if (end == 0 || slash == std::string::npos) {
        ret.directory = ".";
        ret.leaf = path.substr(0, end);
    } else {
        // The root keeps its slash.
        ret.directory = path.substr(0, slash == 0 ? 1 : slash);
        ret.leaf = path.substr(slash + 1, end - slash - 1);
    }
    return ret;
}

int open_parent(Syscalls &sys, const Where &where, const std::string &path, bool names_only,
                bool slash_allowed, Directory &directory, std::string &leaf) {
    const Split parts = split(path);
    if (!parts.is_name() || (parts.slash && !slash_allowed)) {
        return -EINVAL;
    }
    leaf = parts.leaf;
    return open_directory(sys, where, parts.directory, names_only, directory);
}

int find_file(Syscalls &sys, const Where &where, const std::string &path, bool nofollow,
              bool names_only, Found &ret, bool &at_directory) {
    constexpr int kMostLinks = 40;  // as the kernel: path_resolution(7)
    std::string at = path;
    struct stat leads_to {};
    bool followed = false;
    bool leads_somewhere = false;
    for (int links = 0;; ++links) {
        at_directory = true;
        int code = open_parent(sys, where, at, names_only, false, ret.directory, ret.leaf);
        if (code < 0) {
            return code;
        }
        at_directory = false;
        code = sys.stat_at(ret.directory.fd.get(), ret.leaf.c_str(), &ret.st);
        if (code < 0 && code != -ENOENT) {
            return code;
        }
        ret.exists = code == 0;
        if (!ret.exists || !S_ISLNK(ret.st.st_mode)) {
            break;
        }
        if (nofollow || links == kMostLinks) {
            return -ELOOP;
        }
        if (!followed) {
            // The kernel follows it once too: so its rules count (fs.protected_symlinks, the jail),
            // and the walk below must come to the same file.
            followed = true;
            const Fd kernels(sys, open_at(sys, where, path.c_str(), O_PATH, 0));
            if (!kernels && kernels.get() != -ENOENT) {
                return kernels.get();
            }
            leads_somewhere = static_cast<bool>(kernels);
            if (leads_somewhere) {
                code = sys.fstat(kernels.get(), &leads_to);
                if (code < 0) {
                    return code;
                }
            }
        }
        std::string text;
        code = sys.read_link(ret.directory.fd.get(), ret.leaf.c_str(), text);
        if (code < 0) {
            return code;
        }
        at = !text.empty() && text[0] == '/' ? text : split(at).directory + "/" + text;
    }
    if (followed &&
        (leads_somewhere != ret.exists ||
         (ret.exists && (leads_to.st_dev != ret.st.st_dev || leads_to.st_ino != ret.st.st_ino)))) {
        return -ELOOP;  // changed meanwhile, or one of /proc's links that are no paths
    }
    if (ret.exists && !S_ISREG(ret.st.st_mode)) {
        return S_ISDIR(ret.st.st_mode) ? -EISDIR : -EINVAL;
    }
    return 0;
}

}  // namespace libfsys::files
