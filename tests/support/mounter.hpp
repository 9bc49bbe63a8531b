// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A FUSE file system of the tests, as a program that mounts it on a directory, says "ready", then
// takes a command a line and answers in lines. One thread; the program ends when its input does.
#pragma once

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace libfsys::test {

class Mounter {
public:
    Mounter() = default;
    Mounter(const Mounter &) = delete;
    Mounter &operator=(const Mounter &) = delete;
    ~Mounter() { end(); }

    // The program that the environment variable names, or nullptr with the reason in missing().
    const char *program(const char *variable, const char *what) {
        const char *program = std::getenv(variable);
        if (program == nullptr || *program == '\0') {
            missing_ = std::string(what) + " was not built (libfuse3 is missing)";
            return nullptr;
        }
        if (::access("/dev/fuse", R_OK | W_OK) != 0) {
            missing_ = std::string("/dev/fuse: ") + std::strerror(errno);
            return nullptr;
        }
        return program;
    }
    // Mounts on `directory`, or says in missing() why not.
    void start(const char *program, const std::string &directory) {
        int in[2];
        int out[2];
        if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) {
            throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
        }
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::dup2(in[0], 0);
            ::dup2(out[1], 1);
            ::execl(program, program, directory.c_str(), nullptr);
            ::_exit(127);
        }
        ::close(in[0]);
        ::close(out[1]);
        commands_ = ::fdopen(in[1], "w");
        answers_ = ::fdopen(out[0], "r");
        if (next_line() != "ready") {
            missing_ = "mounting FUSE is not allowed here";
        }
    }
    // The program unmounts and ends; the directory is then an ordinary one again.
    void end() {
        if (commands_ != nullptr) {
            std::fclose(commands_);
            std::fclose(answers_);
            commands_ = nullptr;
            int status = 0;
            ::waitpid(pid_, &status, 0);
        }
    }
    const std::string &missing() const { return missing_; }

    void send(const std::string &command) {
        std::fprintf(commands_, "%s\n", command.c_str());
        std::fflush(commands_);
    }
    std::string next_line() {
        char line[64] = "";
        if (std::fgets(line, sizeof line, answers_) == nullptr) {
            return "";
        }
        line[std::strcspn(line, "\n")] = '\0';
        return line;
    }

private:
    std::string missing_;
    pid_t pid_ = -1;
    std::FILE *commands_ = nullptr;
    std::FILE *answers_ = nullptr;
};

}  // namespace libfsys::test
