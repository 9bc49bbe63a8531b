// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the device layer asks of the system: files of sysfs and procfs below a root directory,
// device nodes, ioctls, io_uring commands. A test gives a recorded tree as the root and answers for
// the nodes. Any thread; the base class is the real system.
//
// All calls return 0 (or what they say) or a negative errno.
#pragma once

#include <linux/nvme_ioctl.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "device/identity_cache.hpp"
#include "platform/file_facts.hpp"

namespace libfsys::device {

struct FileFacts {
    mode_t mode = 0;
    dev_t device = 0;   // st_dev
    dev_t rdevice = 0;  // st_rdev
    ino_t inode = 0;
    const FileSystem *file_system = nullptr;
    IoLimits limits;
};

class System {
public:
    explicit System(std::string root = "") : root_(std::move(root)) {}
    System(const System &) = delete;
    System &operator=(const System &) = delete;
    virtual ~System() = default;

    // -- sysfs and procfs; `path` is absolute and gets the root in front.
    // A small file without the newline at its end.
    int read(const std::string &path, std::string &ret_text) const;
    // The directory that a path leads to, links followed, without the root: "/sys/devices/...".
    int resolve(const std::string &path, std::string &ret_path) const;
    int list(const std::string &path, std::vector<std::string> &ret_names) const;

    // -- files and device nodes
    // A descriptor that names the file and opens nothing (O_PATH).
    virtual int open_name(const std::string &path);
    // The file of such a descriptor, opened for reading, or for writing where that is not allowed.
    virtual int reopen(int fd);
    virtual int open_node(const std::string &name, bool write);  // below /dev
    virtual void close(int fd);
    virtual int inspect(int fd, FileFacts &ret_facts);
    virtual int ioctl(int fd, unsigned long request, void *argument);  // >= 0: what ioctl returned
    // One NVMe IO command through IORING_OP_URING_CMD; >= 0: the NVMe status.
    virtual int uring_command(int fd, const nvme_uring_cmd &command);
    virtual int fsync(int fd);

    IdentityCache identities;

private:
    std::string root_;
};

System &real_system();

// Closes at the end of a scope.
class Opened {
public:
    Opened(System &system, int fd) : system_(system), fd_(fd) {}
    Opened(const Opened &) = delete;
    Opened &operator=(const Opened &) = delete;
    ~Opened() {
        if (fd_ >= 0) {
            system_.close(fd_);
        }
    }
    int fd() const { return fd_; }  // or the negative errno of opening

private:
    System &system_;
    const int fd_;
};

}  // namespace libfsys::device
