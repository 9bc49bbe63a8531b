// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the calls on names and contents share. One thread, for the length of one call.
#pragma once

#include <fcntl.h>

#include <cerrno>
#include <string>

#include "file/names.hpp"

namespace libfsys::files {

// One call's sentences, and the flush of the device that every class but DEVICE leaves out.
class Verb {
public:
    Verb(Syscalls &sys, PathSettings &settings, const char *doing, const std::string &path)
        : sys_(sys), settings_(settings), doing_(doing), path_(path) {}

    int fail(int code, const char *step) {
        return settings_.detail.say(code, "%s '%s': %s: %s", doing_, path_.c_str(), step,
                                    fsys_strerror(code));
    }
    int parent(const std::string &path, bool slash_allowed, Directory &directory,
               std::string &leaf) {
        const int code = open_parent(sys_, settings_.where, path, !settings_.syncs(), slash_allowed,
                                     directory, leaf);
        return code < 0 ? fail(code, "opening its directory") : 0;
    }
    int sync_directory(const Directory &directory) {
        const int code = settings_.syncs() ? sys_.fsync(directory.fd.get()) : 0;
        return code < 0 ? fail(code, "syncing its directory (the change is visible)") : 0;
    }
    int flush_device(int fd) {
        if (settings_.durability != FSYS_DURABILITY_DEVICE) {
            return 0;
        }
        std::string text;
        const int code = sys_.flush_device(fd, text);
        return code < 0 ? fail(code, ("flushing the device: " + text).c_str()) : 0;
    }
    // A name that is made durable must lead to bytes that are.
    int sync_content(const Directory &directory, const std::string &leaf) {
        if (!settings_.syncs()) {
            return 0;
        }
        struct stat st {};
        int code = sys_.stat_at(directory.fd.get(), leaf.c_str(), &st);
        if (code < 0) {
            return fail(code, "looking at it");
        }
        if (!S_ISREG(st.st_mode)) {
            return 0;
        }
        constexpr int kFlags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
        Fd file(sys_, sys_.open(directory.fd.get(), leaf.c_str(), O_RDONLY | kFlags, 0));
        if (file.get() == -EACCES) {
            file = Fd(sys_, sys_.open(directory.fd.get(), leaf.c_str(), O_WRONLY | kFlags, 0));
        }
        if (!file) {
            return fail(file.get(), "opening it, to sync it before");
        }
        code = sync_fd(sys_, file.get(), settings_.durability);
        return code < 0 ? fail(code, "syncing it before") : 0;
    }

private:
    Syscalls &sys_;
    PathSettings &settings_;
    const char *doing_;
    const std::string &path_;
};

}  // namespace libfsys::files
