// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Mapping of the log buffer. Memory only, so it does not go through the storage seam.

#include "journal/log_buffer.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace libfsys::journal {

namespace {

constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20;
#ifndef MADV_COLLAPSE
constexpr int MADV_COLLAPSE = 25;  // Linux 6.1, newer than the headers of the oldest system
#endif

bool map_halves(unsigned char *base, std::uint64_t bytes, int fd, int more) {
    for (std::uint64_t half = 0; half < 2; ++half) {
        if (::mmap(base + half * bytes, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | more,
                   fd, 0) == MAP_FAILED) {
            return false;
        }
    }
    return true;
}

// A direct write hands the device a list of pages, and a request holds only so many (254 with virtio,
// 127 with most NVMe): from small pages it is 1 MiB or less, from huge ones whatever the device takes.
//
// madvise(2), MADV_COLLAPSE: works on a memfd where transparent_hugepage/shmem_enabled says "never",
// which is the default. It wants something to collapse, so one byte of each huge page is touched; the
// rest is filled with zeros by the kernel, far faster than page by page. The second half has no page of
// its own: it gets the mapping. False on older kernels and when no huge page is free.
bool use_huge_pages(unsigned char *base, std::uint64_t bytes) {
    if (bytes % kHugePage != 0) {
        return false;
    }
    for (std::uint64_t at = 0; at < bytes; at += kHugePage) {
        base[at] = 0;
    }
    return ::madvise(base, bytes, MADV_COLLAPSE) == 0 &&
           ::madvise(base + bytes, bytes, MADV_COLLAPSE) == 0;
}

}  // namespace

int LogBuffer::create(std::uint64_t bytes) {
    const int fd = ::memfd_create("fsys-journal", MFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int code = 0;
    // Reserve twice the room, then put the same pages into both halves. A huge page is mapped only where
    // address and offset agree below its size.
    const std::uint64_t reserved = 2 * bytes + kHugePage;
    void *room = MAP_FAILED;
    if (::ftruncate(fd, static_cast<off_t>(bytes)) < 0 ||
        (room = ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) == MAP_FAILED) {
        code = -errno;
    } else {
        auto *const begin = static_cast<unsigned char *>(room);
        const std::uint64_t lead = -reinterpret_cast<std::uintptr_t>(room) & (kHugePage - 1);
        unsigned char *const base = begin + lead;
        if (lead != 0) {
            ::munmap(begin, lead);
        }
        ::munmap(base + 2 * bytes, kHugePage - lead);
        // Every page is there before the first append, which must not find out that memory is short.
        if (!map_halves(base, bytes, fd, 0) ||
            (!use_huge_pages(base, bytes) && !map_halves(base, bytes, fd, MAP_POPULATE))) {
            code = -errno;
            ::munmap(base, 2 * bytes);
        } else {
            // A fork child must not share, and so change, the parent's log.
            ::madvise(base, 2 * bytes, MADV_DONTFORK);
            ring_ = base;
            mask_ = bytes - 1;
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
