// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Mapping of the log buffer. Memory only, so it does not go through the storage seam.

#include "journal/log_buffer.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace libfsys::journal {

int LogBuffer::create(std::uint64_t bytes) {
    const int fd = ::memfd_create("fsys-journal", MFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int code = 0;
    if (::ftruncate(fd, static_cast<off_t>(bytes)) < 0) {
        code = -errno;
    } else {
        // Reserve twice the room, then put the same pages into both halves.
        void *room = ::mmap(nullptr, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (room == MAP_FAILED) {
            code = -errno;
        } else {
            auto *base = static_cast<unsigned char *>(room);
            for (std::uint64_t half = 0; code == 0 && half < 2; ++half) {
                if (::mmap(base + half * bytes, bytes, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0) == MAP_FAILED) {
                    code = -errno;
                }
            }
            if (code < 0) {
                ::munmap(room, 2 * bytes);
            } else {
                // A fork child must not share, and so change, the parent's log.
                ::madvise(room, 2 * bytes, MADV_DONTFORK);
                ring_ = base;
                mask_ = bytes - 1;
            }
        }
    }
    ::close(fd);
    if (code == 0) {
        marks_.reset(new std::atomic<std::uint64_t>[bytes >> 5]());
    }
    return code;
}

LogBuffer::~LogBuffer() {
    if (ring_ != nullptr) {
        ::munmap(ring_, 2 * size());
    }
}

void LogBuffer::restart(Lsn origin) {
    origin_ = origin;
    for (std::uint64_t i = 0; i <= mask_ >> 5; ++i) {
        marks_[i].store(0, std::memory_order_relaxed);
    }
}

}  // namespace libfsys::journal
