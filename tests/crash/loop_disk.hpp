// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A file system on a loop device over memory, in a mount namespace of this process's own: when the
// process ends, however it does, the kernel unmounts it and frees device and memory.
//
// One thread.
#pragma once

#include <cstdint>
#include <string>

namespace crash {

// Values of FS_IOC_SHUTDOWN: what happens to the file system's own log.
enum class Shutdown : std::uint32_t {
    log_flushed = 1,  // the log is written, data are not
    nothing_flushed = 2,
};

class LoopDisk {
public:
    // `type`: ext4 or xfs. Makes and mounts it, or says in missing() why not. `image`: a file that
    // backs the device; "" for memory. `mkfs`: more options for it.
    LoopDisk(const std::string &type, std::uint64_t bytes, const std::string &image = "",
             const std::string &mkfs = "");
    LoopDisk(const LoopDisk &) = delete;
    LoopDisk &operator=(const LoopDisk &) = delete;
    ~LoopDisk();

    const std::string &missing() const { return missing_; }
    const std::string &path() const { return path_; }  // where it is mounted
    std::string operator/(const std::string &name) const { return path_ + "/" + name; }

    // Each "" or what went wrong. shut_down() takes the file system away under whoever uses it.
    std::string mount();
    std::string unmount();  // waits for descriptors that the kernel still lets go of
    std::string shut_down(Shutdown how);

private:
    std::string type_;
    std::string missing_;
    std::string path_;
    std::string device_;
    int image_fd_ = -1;
    int device_fd_ = -1;
    bool mounted_ = false;
};

// A mount namespace for this thread and those that it starts later. "" or why not.
std::string enter_private_mounts();

}  // namespace crash
