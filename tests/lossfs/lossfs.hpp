// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A mounted lossfs for the tests of one process: see README.md. The program is named by the
// environment variable FSYS_LOSSFS (meson: `env: lossfs_env, depends: lossfs`).
//
// One thread gives commands. Construct it before threads that are to see the mount: as root it lies
// in a mount namespace of the constructing thread and those that it starts later, so that nothing
// stays behind however the test ends.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "support/mounter.hpp"

namespace lossfs {

class LossFs {
public:
    // Mounts, or says in missing() why not.
    LossFs() {
        const char *program = mounter_.program("FSYS_LOSSFS", "lossfs");
        if (program == nullptr) {
            return;
        }
        path_ = (std::filesystem::current_path() / "lossfs-XXXXXX").string();
        if (::mkdtemp(path_.data()) == nullptr) {
            throw std::runtime_error(std::string("lossfs: ") + std::strerror(errno));
        }
        static thread_local const bool alone =
            ::geteuid() == 0 && ::unshare(CLONE_NEWNS) == 0 &&
            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
        (void)alone;  // without: a mount like any other
        mounter_.start(program, path_);
    }
    LossFs(const LossFs &) = delete;
    LossFs &operator=(const LossFs &) = delete;
    ~LossFs() {
        mounter_.end();
        if (!path_.empty()) {
            ::rmdir(path_.c_str());
        }
    }

    const std::string &missing() const { return mounter_.missing(); }
    const std::string &path() const { return path_; }
    std::string operator/(const std::string &name) const { return path_ + "/" + name; }

    // The number that the answer holds.
    std::uint64_t command(const std::string &text) {
        mounter_.send(text);
        const std::string answer = mounter_.next_line();
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
    std::string path_;
    libfsys::test::Mounter mounter_;
};

}  // namespace lossfs
