// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Renaming, linking, removing and making names, each with the sync that makes it last. Any thread,
// on the calling thread; nothing outlives a call.

#include "file/verb.hpp"

#include <fcntl.h>
#include <linux/fs.h>

#include <cerrno>

namespace libfsys::files {
namespace {

int remove(Syscalls &sys, PathSettings &settings, const std::string &path, bool directory_wanted) {
    Verb verb(sys, settings, directory_wanted ? "removing the directory" : "removing", path);
    Directory directory;
    std::string leaf;
    int code = verb.parent(path, directory_wanted, directory, leaf);
    if (code < 0) {
        return code;
    }
    code = directory_wanted ? sys.rmdir(directory.fd.get(), leaf.c_str())
                            : sys.unlink(directory.fd.get(), leaf.c_str());
    // Missing: perhaps since a moment, by somebody who did not sync. The promise is that it is
    // gone.
    if (code < 0 && !(code == -ENOENT && settings.has(FSYS_PATH_MISSING_OK))) {
        return verb.fail(code, "removing the name");
    }
    code = verb.sync_directory(directory);
    return code < 0 ? code : verb.flush_device(directory.fd.get());
}

}  // namespace

int sync_fd(Syscalls &sys, int fd, std::uint32_t durability) {
    return durability < FSYS_DURABILITY_DATA
               ? 0
               : sync_file(sys, fd, durability == FSYS_DURABILITY_DATA);
}

int rename(Syscalls &sys, PathSettings &settings, const std::string &from, const std::string &to) {
    Verb verb(sys, settings, "renaming", from);
    const bool exchange = settings.has(FSYS_PATH_EXCHANGE);
    if (exchange && settings.has(FSYS_PATH_NEW)) {
        return verb.fail(-EINVAL, "NEW and EXCHANGE together");
    }
    Directory from_directory;
    Directory to_directory;
    std::string from_leaf;
    std::string to_leaf;
    int code = verb.parent(from, true, from_directory, from_leaf);
    code = code < 0 ? code : verb.parent(to, true, to_directory, to_leaf);
    code = code < 0 ? code : verb.sync_content(from_directory, from_leaf);
    if (exchange && code == 0) {
        code = verb.sync_content(to_directory, to_leaf);
    }
    if (code < 0) {
        return code;
    }
    const int from_fd = from_directory.fd.get();
    const int to_fd = to_directory.fd.get();
    code = exchange || settings.has(FSYS_PATH_NEW)
               ? sys.rename_with(from_fd, from_leaf.c_str(), to_fd, to_leaf.c_str(),
                                 exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE)
               : sys.rename(from_fd, from_leaf.c_str(), to_fd, to_leaf.c_str());
    if (code < 0) {
        return verb.fail(code, ("changing the name to '" + to + "'").c_str());
    }
    // The new name first: a power loss in between must not leave none.
    code = verb.sync_directory(to_directory);
    if (code == 0 && !from_directory.same_as(to_directory)) {
        code = verb.sync_directory(from_directory);
    }
    return code < 0 ? code : verb.flush_device(to_fd);
}

int link(Syscalls &sys, PathSettings &settings, const std::string &from, const std::string &to) {
    Verb verb(sys, settings, "linking", from);
    Directory from_directory;
    Directory to_directory;
    std::string from_leaf;
    std::string to_leaf;
    int code = verb.parent(from, false, from_directory, from_leaf);
    code = code < 0 ? code : verb.parent(to, false, to_directory, to_leaf);
    code = code < 0 ? code : verb.sync_content(from_directory, from_leaf);
    if (code < 0) {
        return code;
    }
    code = sys.link(from_directory.fd.get(), from_leaf.c_str(), to_directory.fd.get(),
                    to_leaf.c_str());
    if (code < 0) {
        return verb.fail(code, ("giving it the name '" + to + "'").c_str());
    }
    code = verb.sync_directory(to_directory);
    return code < 0 ? code : verb.flush_device(to_directory.fd.get());
}

int unlink(Syscalls &sys, PathSettings &settings, const std::string &path) {
    return remove(sys, settings, path, false);
}

int rmdir(Syscalls &sys, PathSettings &settings, const std::string &path) {
    return remove(sys, settings, path, true);
}

namespace {

// Makes one directory, durable in its parent. 0; 1 when it was there; or a code.
int make_one(Syscalls &sys, PathSettings &settings, Verb &verb, const std::string &path) {
    Directory parent;
    std::string leaf;
    int code = verb.parent(path, true, parent, leaf);
    if (code < 0) {
        return code;
    }
    code = sys.mkdir(parent.fd.get(), leaf.c_str(), settings.mode == 0 ? 0777 : settings.mode);
    if (code == -EEXIST && settings.has(FSYS_PATH_PARENTS)) {
        // A symbolic link to a directory is fine too, as with mkdir(1).
        const Fd there(sys, open_at(sys, settings.where, path.c_str(), O_PATH | O_DIRECTORY, 0));
        return there ? 1
                     : verb.fail(there.get() == -ENOTDIR ? -EEXIST : there.get(),
                                 ("'" + path + "' is there").c_str());
    }
    if (code < 0) {
        return verb.fail(code, ("making '" + path + "'").c_str());
    }
    if (!settings.syncs()) {
        return 0;
    }
    const Fd made(sys,
                  sys.open(parent.fd.get(), leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0));
    // A mode without read permission: the parent's sync has to do.
    if (!made && made.get() != -EACCES) {
        return verb.fail(made.get(), "opening it to sync it");
    }
    code = made ? sys.fsync(made.get()) : 0;
    if (code < 0) {
        return verb.fail(code, "syncing it (it is visible)");
    }
    code = verb.sync_directory(parent);
    return code < 0 ? code : verb.flush_device(parent.fd.get());
}

}  // namespace

int mkdir(Syscalls &sys, PathSettings &settings, const std::string &path) {
    Verb verb(sys, settings, "making the directory", path);
    if (!settings.has(FSYS_PATH_PARENTS)) {
        return make_one(sys, settings, verb, path);
    }
    if (path.empty()) {
        return verb.fail(-EINVAL, "the path is empty");
    }
    for (std::size_t at = 0; at < path.size();) {
        std::size_t slash = path.find('/', at + 1);
        slash = slash == std::string::npos ? path.size() : slash;
        const std::string upto = path.substr(0, slash);
        at = slash;
        const Split parts = split(upto);
        if (!parts.is_name() || parts.slash) {
            continue;  // "a/./b", "a/../b", "a//b", "/"
        }
        // A look first: what is there may lie in a directory that cannot be read.
        const Fd there(sys, open_at(sys, settings.where, upto.c_str(), O_PATH | O_DIRECTORY, 0));
        if (there) {
            continue;
        }
        int code = there.get();
        if (code == -ENOENT) {
            code = make_one(sys, settings, verb, upto);
        } else {
            code = verb.fail(code == -ENOTDIR && at == path.size() ? -EEXIST : code,
                             ("looking at '" + upto + "'").c_str());
        }
        if (code < 0) {
            return code;
        }
    }
    // "a/..": nothing to make at the end, but it must be there.
    const Fd there(sys, open_at(sys, settings.where, path.c_str(), O_PATH | O_DIRECTORY, 0));
    return there ? 0 : verb.fail(there.get(), "looking at what was made");
}

int sync_path(Syscalls &sys, PathSettings &settings, const std::string &path) {
    Verb verb(sys, settings, "syncing", path);
    if (!settings.syncs()) {
        return verb.fail(-EINVAL, "durability NONE");
    }
    const int how = O_NONBLOCK | O_NOCTTY | (settings.has(FSYS_PATH_NOFOLLOW) ? O_NOFOLLOW : 0);
    Fd file(sys, open_at(sys, settings.where, path.c_str(), O_RDONLY | how, 0));
    if (file.get() == -EACCES) {
        file = Fd(sys, open_at(sys, settings.where, path.c_str(), O_WRONLY | how, 0));
    }
    if (!file) {
        return verb.fail(file.get(), "opening it");
    }
    int code = settings.has(FSYS_PATH_FILE_SYSTEM) ? sys.sync_file_system(file.get())
                                                   : sync_fd(sys, file.get(), settings.durability);
    if (code < 0) {
        return verb.fail(
            code, settings.has(FSYS_PATH_FILE_SYSTEM) ? "syncing its file system" : "syncing it");
    }
    if (settings.has(FSYS_PATH_SYNC_PARENT)) {
        Directory directory;
        const Split parts = split(path);
        if (parts.is_name()) {
            code = open_directory(sys, settings.where, parts.directory, false, directory);
        } else if (!settings.where.beneath) {
            // "." and ".." have their parent in the tree, not in the text.
            code = open_directory(sys, Where{file.get(), false}, "..", false, directory);
        } else {
            code = -EINVAL;
        }
        if (code < 0) {
            return verb.fail(code, "opening the directory that holds it");
        }
        code = sys.fsync(directory.fd.get());
        if (code < 0) {
            return verb.fail(code, "syncing the directory that holds it");
        }
    }
    return verb.flush_device(file.get());
}

}  // namespace libfsys::files
