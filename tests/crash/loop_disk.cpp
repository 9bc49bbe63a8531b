// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Loop devices and mounts for the crash rigs. Main thread only; LoopDisk owns device and mount.

#include "crash/loop_disk.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

namespace crash {
namespace {

// FS_IOC_SHUTDOWN since Linux 6.11's headers; the same number was ext4's and XFS's own before.
constexpr unsigned long kShutdown = _IOR('X', 125, std::uint32_t);

std::string error(const std::string &what) { return what + ": " + std::strerror(errno); }

}  // namespace

std::string enter_private_mounts() {
    static const std::string outcome = []() -> std::string {
        if (::geteuid() != 0) {
            return "not root";
        }
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
            return error("a mount namespace of its own");
        }
        return "";
    }();
    return outcome;
}

LoopDisk::LoopDisk(const std::string &type, std::uint64_t bytes, const std::string &image,
                   const std::string &mkfs)
    : type_(type) {
    missing_ = enter_private_mounts();
    if (!missing_.empty()) {
        return;
    }
    const std::string tools = "PATH=$PATH:/usr/sbin:/sbin; ";
    if (std::system((tools + "command -v mkfs." + type + " >/dev/null").c_str()) != 0) {
        missing_ = "mkfs." + type + " is not installed";
        return;
    }
    image_fd_ = image.empty() ? ::memfd_create("loop-disk", MFD_CLOEXEC)
                              : ::open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (image_fd_ < 0 || ::ftruncate(image_fd_, static_cast<off_t>(bytes)) != 0) {
        missing_ = error("the image");
        return;
    }
    const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) {
        missing_ = error("/dev/loop-control");
        return;
    }
    for (int tries = 0; tries < 50; ++tries) {
        const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0) {
            missing_ = error("LOOP_CTL_GET_FREE");
            break;
        }
        device_ = "/dev/loop" + std::to_string(number);
        device_fd_ = ::open(device_.c_str(), O_RDWR | O_CLOEXEC);
        if (device_fd_ < 0) {
            missing_ = error(device_);
            break;
        }
        loop_config config{};
        config.fd = static_cast<std::uint32_t>(image_fd_);
        config.block_size = 512;
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR;  // freed with its last user
        if (::ioctl(device_fd_, LOOP_CONFIGURE, &config) == 0) {
            break;
        }
        const bool taken = errno == EBUSY;  // by somebody between the two calls
        missing_ = taken && tries < 49 ? "" : error("LOOP_CONFIGURE");
        ::close(device_fd_);
        device_fd_ = -1;
        if (!taken) {
            break;
        }
    }
    ::close(control);
    if (!missing_.empty()) {
        return;
    }
    const std::string options =
        (type == "xfs" ? " -q -f -K " : " -q -F -E nodiscard,lazy_itable_init=0 ") + mkfs + " ";
    if (std::system((tools + "mkfs." + type + options + device_ + " >/dev/null 2>&1").c_str()) !=
        0) {
        missing_ = "mkfs." + type + " failed";
        return;
    }
    path_ = (std::filesystem::current_path() / "loop-XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) {
        missing_ = error(path_);
        return;
    }
    missing_ = mount();
}

LoopDisk::~LoopDisk() {
    if (mounted_) {
        ::umount2(path_.c_str(), MNT_DETACH);
    }
    if (!path_.empty()) {
        ::rmdir(path_.c_str());
    }
    if (device_fd_ >= 0) {
        ::close(device_fd_);
    }
    if (image_fd_ >= 0) {
        ::close(image_fd_);
    }
}

std::string LoopDisk::mount() {
    if (::mount(device_.c_str(), path_.c_str(), type_.c_str(), 0, nullptr) != 0) {
        return error("mounting " + type_);
    }
    mounted_ = true;
    return "";
}

std::string LoopDisk::unmount() {
    // The kernel lets go of a dead process's ring, and of the files in it, in its own time.
    for (int tries = 0; tries < 20000; ++tries) {
        if (::umount2(path_.c_str(), 0) == 0) {
            mounted_ = false;
            return "";
        }
        if (errno != EBUSY) {
            break;
        }
        std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
    return error("unmounting " + path_);
}

std::string LoopDisk::shut_down(Shutdown how) {
    const int fd = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    std::uint32_t flag = static_cast<std::uint32_t>(how);
    const int code = fd < 0 ? -1 : ::ioctl(fd, kShutdown, &flag);
    const std::string text = code == 0 ? "" : error("FS_IOC_SHUTDOWN");
    if (fd >= 0) {
        ::close(fd);
    }
    return text;
}

}  // namespace crash
