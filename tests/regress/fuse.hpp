// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A mounted fuse_stall file system; its path is in FSYS_FUSE_STALL (see meson.build).
#pragma once

#include <sys/mount.h>

#include "regress/support.hpp"

namespace regress {

class StallingFile {
public:
    // Mounts, or explains in missing() why not.
    StallingFile() {
        const char *helper = std::getenv("FSYS_FUSE_STALL");
        if (helper == nullptr || *helper == '\0') {
            missing_ = "the FUSE helper was not built (libfuse3 is missing)";
            return;
        }
        if (::access("/dev/fuse", R_OK | W_OK) != 0) {
            missing_ = std::string("/dev/fuse: ") + std::strerror(errno);
            return;
        }
        Pipe in;
        Pipe out;
        pid_ = ::fork();
        if (pid_ == 0) {
            ::dup2(in.read_end(), 0);
            ::dup2(out.write_end(), 1);
            ::execl(helper, helper, scratch_.path().c_str(), nullptr);
            ::_exit(127);
        }
        commands_ = ::fdopen(::dup(in.write_end()), "w");
        answers_ = ::fdopen(::dup(out.read_end()), "r");
        ::fcntl(::fileno(commands_), F_SETFD, FD_CLOEXEC);
        ::fcntl(::fileno(answers_), F_SETFD, FD_CLOEXEC);
        in.close_read();
        in.close_write();
        out.close_write();
        if (next_line() != "ready") {
            missing_ = "mounting FUSE is not allowed here";
        }
    }
    StallingFile(const StallingFile &) = delete;
    StallingFile &operator=(const StallingFile &) = delete;
    ~StallingFile() {
        if (commands_ != nullptr) {
            std::fclose(commands_);
            std::fclose(answers_);
            int status = 0;
            ::waitpid(pid_, &status, 0);
        }
    }
    const std::string &missing() const { return missing_; }
    std::string path() const { return scratch_ / "data"; }

    void command(const std::string &text) {
        std::fprintf(commands_, "%s\n", text.c_str());
        std::fflush(commands_);
        wait_for("ok");
    }
    // Returns when a request has begun to wait.
    void wait_stalled() {
        if (stalled_ != 0) {
            --stalled_;
            return;
        }
        wait_for("stalled");
    }

private:
    std::string next_line() {
        char line[64] = "";
        if (std::fgets(line, sizeof line, answers_) == nullptr) {
            return "";
        }
        line[std::strcspn(line, "\n")] = '\0';
        return line;
    }
    void wait_for(const std::string &wanted) {
        for (;;) {
            const std::string line = next_line();
            if (line == wanted) {
                return;
            }
            REQUIRE(line == "stalled");
            ++stalled_;
        }
    }

    Scratch scratch_;
    std::string missing_;
    pid_t pid_ = -1;
    FILE *commands_ = nullptr;
    FILE *answers_ = nullptr;
    unsigned stalled_ = 0;
};

}  // namespace regress
