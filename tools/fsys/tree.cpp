// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A source tree as a list. Directories are opened one at a time by their path from the root, so
// that depth costs neither descriptors nor stack. Any thread; no state.
#include "tree.hpp"

#include "failure.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

namespace cli {

namespace {

struct CloseDir {
    void operator()(DIR *dir) const { closedir(dir); }
};

std::vector<std::string> names_in(int root_fd, const std::string &name, const std::string &display)
{
    const int fd = open_below(root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) {
        throw Failure("cannot read directory", join(display, name), fd);
    }
    const std::unique_ptr<DIR, CloseDir> dir(fdopendir(fd));
    if (dir == nullptr) {
        const int code = -errno;
        close(fd);
        throw Failure("cannot read directory", join(display, name), code);
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent *entry = readdir(dir.get())) {
        const std::string leaf = entry->d_name;
        if (leaf != "." && leaf != "..") {
            names.push_back(leaf);
        }
        errno = 0;
    }
    if (errno != 0) {
        throw Failure("cannot read directory", join(display, name), -errno);
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

std::string join(const std::string &directory, const std::string &name)
{
    if (directory.empty() || name.empty()) {
        return directory + name;
    }
    return directory.back() == '/' ? directory + name : directory + "/" + name;
}

int open_below(int root_fd, const std::string &name, int flags, mode_t mode)
{
    // The kernel takes paths shorter than PATH_MAX, terminator included: a longer one is walked in
    // pieces that end at a slash.
    std::size_t from = 0;
    int at = root_fd;
    while (name.size() - from >= PATH_MAX) {
        const std::size_t slash = name.rfind('/', from + PATH_MAX - 2);
        const int next = openat(at, name.substr(from, slash - from).c_str(),
                                O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        const int code = -errno;
        if (at != root_fd) {
            close(at);
        }
        if (next < 0) {
            return code;
        }
        at = next;
        from = slash + 1;
    }
    const char *rest = name.empty() ? "." : name.c_str() + from;
    const int fd = openat(at, rest, flags | O_CLOEXEC, mode);
    const int code = fd < 0 ? -errno : fd;
    if (at != root_fd) {
        close(at);
    }
    return code;
}

Parent::Parent(int root_fd, const std::string &name) : fd_(root_fd)
{
    const std::size_t slash = name.rfind('/');
    leaf_ = slash == std::string::npos ? name : name.substr(slash + 1);
    if (leaf_.empty()) {
        leaf_ = ".";
    }
    if (slash != std::string::npos && name.size() < PATH_MAX) {
        leaf_ = name;  // short enough for the kernel to walk by itself
    } else if (slash != std::string::npos) {
        fd_ = open_below(root_fd, name.substr(0, slash), O_PATH | O_DIRECTORY);
        owned_ = fd_ >= 0;
    }
}

Parent::~Parent()
{
    if (owned_) {
        close(fd_);
    }
}

std::string read_link(int root_fd, const std::string &name, const std::string &display)
{
    const Parent parent(root_fd, name);
    if (parent.fd() < 0) {
        throw Failure("cannot read symbolic link", display, parent.fd());
    }
    std::string target(256, '\0');
    for (;;) {
        const ssize_t length =
            readlinkat(parent.fd(), parent.leaf(), target.data(), target.size());
        if (length < 0) {
            throw Failure("cannot read symbolic link", display, -errno);
        }
        if (static_cast<std::size_t>(length) < target.size()) {
            target.resize(static_cast<std::size_t>(length));
            return target;
        }
        target.resize(target.size() * 2);
    }
}

Entry describe(const struct stat &facts, std::string name)
{
    Entry entry{};
    entry.kind = S_ISDIR(facts.st_mode)   ? Entry::Kind::kDirectory
                 : S_ISLNK(facts.st_mode) ? Entry::Kind::kSymlink
                                          : Entry::Kind::kFile;
    entry.mode = facts.st_mode & 07777;
    if (facts.st_uid != geteuid()) {
        entry.mode &= 0777;  // the copy belongs to us: never a set-user-ID program of someone else
    }
    entry.size = S_ISREG(facts.st_mode) ? static_cast<std::uint64_t>(facts.st_size) : 0;
    entry.accessed = facts.st_atim;
    entry.modified = facts.st_mtim;
    entry.name = std::move(name);
    return entry;
}

Tree list_tree(int root_fd, const std::string &display,
               const std::function<void(std::size_t)> &note)
{
    Tree tree;
    std::vector<std::string> to_visit{""};
    while (!to_visit.empty()) {
        const std::string name = std::move(to_visit.back());
        to_visit.pop_back();
        const Parent parent(root_fd, name);
        struct stat facts {};
        if (parent.fd() < 0) {
            throw Failure("cannot reach", join(display, name), parent.fd());
        }
        if (fstatat(parent.fd(), parent.leaf(), &facts, AT_SYMLINK_NOFOLLOW) != 0) {
            throw Failure("cannot read the attributes of", join(display, name), -errno);
        }
        if (!S_ISREG(facts.st_mode) && !S_ISDIR(facts.st_mode) && !S_ISLNK(facts.st_mode)) {
            tree.skipped.push_back(name);
            continue;
        }
        tree.entries.push_back(describe(facts, name));
        const Entry &entry = tree.entries.back();
        switch (entry.kind) {
        case Entry::Kind::kFile:
            tree.bytes += entry.size;
            ++tree.files;
            break;
        case Entry::Kind::kSymlink:
            ++tree.symlinks;
            break;
        case Entry::Kind::kDirectory: {
            ++tree.directories;
            std::vector<std::string> names = names_in(root_fd, name, display);
            // The stack is popped from the back: reversed, so that siblings come out by name.
            for (auto leaf = names.rbegin(); leaf != names.rend(); ++leaf) {
                to_visit.push_back(join(name, *leaf));
            }
            break;
        }
        }
        note(tree.entries.size());
    }
    return tree;
}

}  // namespace cli
