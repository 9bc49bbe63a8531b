// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A disk with sectors that cannot be written, under a real file system: a loop device whose image
// fills a tmpfs. Pages punched out of the image have no room to come back, so the write-back of the
// blocks that lie there fails (ENOSPC), while the file system's own metadata are written as ever.
//
// One thread.
#pragma once

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>

#include "crash/loop_disk.hpp"

namespace filesystems {

class HoleDisk {
public:
    // `type`: ext4 or xfs. Or says in missing() why not.
    explicit HoleDisk(const std::string &type) {
        const std::uint64_t bytes = std::uint64_t{type == "xfs" ? 320u : 16u} << 20;
        missing_ = crash::enter_private_mounts();
        if (!missing_.empty()) {
            return;
        }
        memory_ = (std::filesystem::current_path() / "hole-disk-XXXXXX").string();
        if (::mkdtemp(memory_.data()) == nullptr) {
            missing_ = "a directory: " + std::string(std::strerror(errno));
            return;
        }
        const std::string size = "size=" + std::to_string(bytes + (1 << 20));
        if (::mount("tmpfs", memory_.c_str(), "tmpfs", 0, size.c_str()) != 0) {
            missing_ = "a tmpfs: " + std::string(std::strerror(errno));
            return;
        }
        // Blocks of the image's pages: the loop driver takes a write that begins in a sound page and
        // ends in a broken one for a whole one.
        disk_.emplace(type, bytes, memory_ + "/image", type == "xfs" ? "-b size=4096" : "-b 4096");
        missing_ = disk_->missing();
        if (!missing_.empty()) {
            return;
        }
        image_ = ::open((memory_ + "/image").c_str(), O_RDWR | O_CLOEXEC);
        // All of it, so that only what is punched out later has no room.
        if (image_ < 0 || ::fallocate(image_, 0, 0, static_cast<off_t>(bytes)) != 0) {
            missing_ = "memory for the image: " + std::string(std::strerror(errno));
        }
    }
    HoleDisk(const HoleDisk &) = delete;
    HoleDisk &operator=(const HoleDisk &) = delete;
    ~HoleDisk() {
        disk_.reset();
        if (image_ >= 0) {
            ::close(image_);
        }
        if (!memory_.empty()) {
            ::umount2(memory_.c_str(), MNT_DETACH);
            ::rmdir(memory_.c_str());
        }
    }

    const std::string &missing() const { return missing_; }
    std::string operator/(const std::string &name) const { return *disk_ / name; }

    // From now on no write to [from, to) of the file, multiples of 4096, reaches the disk, which holds
    // zeros there. The file has its blocks: they were written and synced. How many bytes are
    // concerned; 0: it did not work.
    std::uint64_t break_range(const std::string &file, std::uint64_t from, std::uint64_t to) {
        constexpr unsigned kExtents = 64;
        alignas(fiemap) std::array<char, sizeof(fiemap) + kExtents * sizeof(fiemap_extent)> memory{};
        auto *map = reinterpret_cast<fiemap *>(memory.data());
        map->fm_start = from;
        map->fm_length = to - from;
        map->fm_flags = FIEMAP_FLAG_SYNC;
        map->fm_extent_count = kExtents;
        const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
        const bool mapped = fd >= 0 && ::ioctl(fd, FS_IOC_FIEMAP, map) == 0;
        if (fd >= 0) {
            ::close(fd);
        }
        std::uint64_t broken = 0;
        for (unsigned i = 0; mapped && i < map->fm_mapped_extents; ++i) {
            const fiemap_extent &extent = map->fm_extents[i];
            const std::uint64_t begin = std::max<std::uint64_t>(extent.fe_logical, from);
            const std::uint64_t end =
                std::min<std::uint64_t>(extent.fe_logical + extent.fe_length, to);
            const std::uint64_t first = begin - extent.fe_logical + extent.fe_physical;
            if (begin < end && ::fallocate(image_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                           static_cast<off_t>(first),
                                           static_cast<off_t>(end - begin)) == 0) {
                broken += end - begin;
            }
        }
        return broken != 0 && take_room() ? broken : 0;
    }
    // The room comes back: what was lost stays lost, but writing is possible again.
    void mend() { ::unlink((memory_ + "/filler").c_str()); }
    // Unmounts and mounts: the page cache is gone. "" or what went wrong.
    std::string remount() {
        const std::string wrong = disk_->unmount();
        return wrong.empty() ? disk_->mount() : wrong;
    }

private:
    bool take_room() {
        struct statfs room{};
        const int fd = ::open((memory_ + "/filler").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        bool full = false;
        for (int tries = 0; fd >= 0 && !full && tries < 10; ++tries) {
            if (::statfs(memory_.c_str(), &room) != 0) {
                break;
            }
            full = room.f_bfree == 0;
            const off_t end = ::lseek(fd, 0, SEEK_END);
            if (!full && ::fallocate(fd, 0, end, static_cast<off_t>(room.f_bfree) * 4096) != 0) {
                break;
            }
        }
        if (fd >= 0) {
            ::close(fd);
        }
        return full;
    }

    std::string missing_;
    std::string memory_;
    std::optional<crash::LoopDisk> disk_;
    int image_ = -1;
};

}  // namespace filesystems
