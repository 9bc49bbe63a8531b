// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The real system under the device layer. Any thread; nothing is kept.

#include "device/system.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "backend/uring/ring.hpp"

namespace libfsys::device {

int System::read(const std::string &path, std::string &ret_text) const {
    const int fd = ::open((root_ + path).c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return -errno;
    }
    char text[4096];  // sysfs never gives more than a page
    std::size_t length = 0;
    int code = 0;
    while (length < sizeof text) {
        const ssize_t n = ::read(fd, text + length, sizeof text - length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        code = n < 0 ? -errno : 0;
        if (n <= 0) {
            break;
        }
        length += static_cast<std::size_t>(n);
    }
    ::close(fd);
    if (code == 0) {
        ret_text.assign(text, length);
        while (!ret_text.empty() && (ret_text.back() == '\n' || ret_text.back() == ' ')) {
            ret_text.pop_back();
        }
    }
    return code;
}

int System::resolve(const std::string &path, std::string &ret_path) const {
    const std::unique_ptr<char, void (*)(void *)> whole(::realpath((root_ + path).c_str(), nullptr),
                                                        std::free);
    if (!whole) {
        return -errno;
    }
    const std::string found = whole.get();
    if (found.compare(0, root_.size(), root_) != 0) {
        return -EXDEV;
    }
    ret_path = found.substr(root_.size());
    return 0;
}

int System::list(const std::string &path, std::vector<std::string> &ret_names) const {
    DIR *stream = ::opendir((root_ + path).c_str());
    if (stream == nullptr) {
        return -errno;
    }
    ret_names.clear();
    try {
        while (const dirent *entry = ::readdir(stream)) {
            if (entry->d_name[0] != '.') {
                ret_names.emplace_back(entry->d_name);
            }
        }
    } catch (...) {
        ::closedir(stream);
        throw;
    }
    ::closedir(stream);
    std::sort(ret_names.begin(), ret_names.end());
    return 0;
}

int System::open_name(const std::string &path) {
    const int fd = ::open(path.c_str(), O_PATH | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int System::reopen(int fd) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    constexpr int kFlags = O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int opened = ::open(path.c_str(), O_RDONLY | kFlags);
    if (opened < 0 && errno == EACCES) {
        opened = ::open(path.c_str(), O_WRONLY | kFlags);
    }
    return opened < 0 ? -errno : opened;
}

int System::open_node(const std::string &name, bool write) {
    const int fd = ::open(("/dev/" + name).c_str(),
                          (write ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void System::close(int fd) { ::close(fd); }

int System::inspect(int fd, FileFacts &ret_facts) {
    struct stat st {};
    if (::fstat(fd, &st) != 0) {
        return -errno;
    }
    ret_facts.mode = st.st_mode;
    ret_facts.device = st.st_dev;
    ret_facts.rdevice = st.st_rdev;
    ret_facts.inode = st.st_ino;
    ret_facts.file_system = file_system_of(fd);
    ret_facts.limits = io_limits_of(fd);
    return 0;
}

int System::ioctl(int fd, unsigned long request, void *argument) {
    for (;;) {
        const int rc = ::ioctl(fd, request, argument);
        if (rc >= 0 || errno != EINTR) {
            return rc < 0 ? -errno : rc;
        }
    }
}

int System::uring_command(int fd, const nvme_uring_cmd &command) {
    // Both sizes are required by the NVMe driver: its command fills the second half of a 128-byte
    // entry, its result the second half of a 32-byte completion. The ring serves one command, so
    // that Ring's indexing by 64 and 16 bytes holds: it never leaves entry 0.
    Ring ring;
    int code = ring.open(1, 0, IORING_SETUP_SQE128 | IORING_SETUP_CQE32);
    if (code != 0) {
        return code;
    }
    io_uring_sqe *sqe = ring.next_sqe();
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = fd;
    sqe->cmd_op = NVME_URING_CMD_IO;
    std::memcpy(reinterpret_cast<char *>(sqe) + offsetof(io_uring_sqe, cmd), &command,
                sizeof command);
    int status = -EIO;
    for (bool done = false; !done;) {
        // No time limit of its own: the NVMe driver aborts what the device does not answer.
        code = ring.enter(1, -1);
        ring.reap(1, [&](const io_uring_cqe &cqe) {
            status = cqe.res;
            done = true;
        });
        if (code < 0 && code != -EINTR && code != -EAGAIN && code != -EBUSY) {
            return done ? status : code;
        }
    }
    return status;
}

int System::fsync(int fd) {
    for (;;) {
        if (::fsync(fd) == 0) {
            return 0;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

System &real_system() {
    static System instance;
    return instance;
}

}  // namespace libfsys::device
