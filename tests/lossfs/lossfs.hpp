// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A mounted lossfs for the tests of one process: see README.md. The program is named by the
// environment variable FSYS_LOSSFS (meson: `env: lossfs_env, depends: lossfs`).
//
// One thread gives commands. Construct it before threads that are to see the mount: as root it lies
// in a mount namespace of the constructing thread and those that it starts later, so that nothing
// stays behind however the test ends.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace lossfs {

class LossFs {
public:
    // Mounts, or says in missing() why not.
    LossFs() {
        const char *program = std::getenv("FSYS_LOSSFS");
        if (program == nullptr || *program == '\0') {
            missing_ = "lossfs was not built (libfuse3 is missing)";
            return;
        }
        if (::access("/dev/fuse", R_OK | W_OK) != 0) {
            missing_ = std::string("/dev/fuse: ") + std::strerror(errno);
            return;
        }
        path_ = (std::filesystem::current_path() / "lossfs-XXXXXX").string();
        int in[2];
        int out[2];
        if (::mkdtemp(path_.data()) == nullptr || ::pipe2(in, O_CLOEXEC) != 0 ||
            ::pipe2(out, O_CLOEXEC) != 0) {
            throw std::runtime_error(std::string("lossfs: ") + std::strerror(errno));
        }
        static thread_local const bool alone =
            ::geteuid() == 0 && ::unshare(CLONE_NEWNS) == 0 &&
            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
        (void)alone;  // without: a mount like any other
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::dup2(in[0], 0);
            ::dup2(out[1], 1);
            ::execl(program, program, path_.c_str(), nullptr);
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
    LossFs(const LossFs &) = delete;
    LossFs &operator=(const LossFs &) = delete;
    ~LossFs() {
        if (commands_ != nullptr) {
            std::fclose(commands_);
            std::fclose(answers_);
            int status = 0;
            ::waitpid(pid_, &status, 0);
        }
        if (!path_.empty()) {
            ::rmdir(path_.c_str());
        }
    }

    const std::string &missing() const { return missing_; }
    const std::string &path() const { return path_; }
    std::string operator/(const std::string &name) const { return path_ + "/" + name; }

    // The number that the answer holds.
    std::uint64_t command(const std::string &text) {
        std::fprintf(commands_, "%s\n", text.c_str());
        std::fflush(commands_);
        const std::string answer = next_line();
        if (answer.rfind("ok ", 0) != 0) {
            throw std::runtime_error("lossfs answered \"" + answer + "\" to \"" + text + "\"");
        }
        return std::strtoull(answer.c_str() + 3, nullptr, 10);
    }
    void power_off() { command("off"); }
    void power_off_after(std::uint64_t changes) { command("off " + std::to_string(changes)); }
    void power_on() { command("on"); }
    void power_on(std::uint64_t seed) { command("on " + std::to_string(seed)); }
    // After `skip` more calls of this kind, `count` fail (0: all).
    void fail(const std::string &kind, int error, std::uint64_t skip = 0,
              std::uint64_t count = 1) {
        command("fail " + kind + " " + std::to_string(error) + " " + std::to_string(skip) + " " +
                std::to_string(count));
    }
    void set_space(std::uint64_t bytes) { command("space " + std::to_string(bytes)); }
    std::uint64_t changes() { return command("changes"); }
    std::uint64_t calls(const std::string &kind) { return command("calls " + kind); }

private:
    std::string next_line() {
        char line[64] = "";
        if (std::fgets(line, sizeof line, answers_) == nullptr) {
            return "";
        }
        line[std::strcspn(line, "\n")] = '\0';
        return line;
    }

    std::string missing_;
    std::string path_;
    pid_t pid_ = -1;
    std::FILE *commands_ = nullptr;
    std::FILE *answers_ = nullptr;
};

}  // namespace lossfs
