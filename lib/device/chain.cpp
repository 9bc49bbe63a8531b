// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From a file to the disks that hold it: the device number of its file system, then sysfs through
// partitions, device-mapper and md (`slaves`), loop devices (their backing file, which is a file
// again) and btrfs (whose st_dev is anonymous: the kernel is asked for the file system's id). What
// cannot be proven is not followed, and the chain says so. Any thread; nothing stays open.

#include "device/chain.hpp"

#include <linux/btrfs.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "fsys/device.h"

namespace libfsys::device {
namespace {

constexpr int kDeepest = 32;
constexpr std::size_t kMostDevices = 256;
constexpr unsigned kRamdiskMajor = 1;  // Documentation/admin-guide/devices.txt

std::string base_name(const std::string &path) { return path.substr(path.rfind('/') + 1); }

class Walk {
public:
    Walk(System &system, Chain &chain) : system_(system), chain_(chain) {}

    void file(int fd, const FileFacts &facts, int above) {
        if (S_ISBLK(facts.mode)) {
            device(facts.rdevice, above);
            return;
        }
        const FileSystem *fs = facts.file_system;
        const bool named = major(facts.device) != 0;
        if (fs != nullptr && fs->store == FileSystem::Store::memory) {
            chain_.in_memory = true;
        } else if (fs != nullptr && fs->magic == BTRFS_SUPER_MAGIC) {
            btrfs(fd, facts, above);
        } else if (named && (fs == nullptr || fs->store == FileSystem::Store::disk)) {
            device(facts.device, above);
        } else {
            chain_.opaque = true;
        }
    }

private:
    void btrfs(int fd, const FileFacts &facts, int above) {
        btrfs_ioctl_fs_info_args info{};
        int code = system_.ioctl(fd, BTRFS_IOC_FS_INFO, &info);
        if (code == -EBADF && (S_ISREG(facts.mode) || S_ISDIR(facts.mode))) {
            const Opened again(system_, system_.reopen(fd));  // O_PATH takes no ioctl
            code =
                again.fd() < 0 ? again.fd() : system_.ioctl(again.fd(), BTRFS_IOC_FS_INFO, &info);
        }
        if (code < 0) {
            chain_.lost = true;
            return;
        }
        std::string id;
        for (unsigned i = 0; i < BTRFS_FSID_SIZE; ++i) {
            char digits[4];
            std::snprintf(digits, sizeof digits, "%02x", info.fsid[i]);
            id += digits;
            id += i == 3 || i == 5 || i == 7 || i == 9 ? "-" : "";
        }
        const std::string directory = "/sys/fs/btrfs/" + id + "/devices";
        std::vector<std::string> names;
        system_.list(directory, names);
        if (names.size() != info.num_devices) {
            chain_.lost = true;
        }
        for (const std::string &name : names) {
            device(read_number(system_, directory + "/" + name + "/dev"), above);
        }
    }

    void device(dev_t number, int above) {
        for (Device &known : chain_.devices) {
            if (known.number == number) {
                known.above.push_back(above);
                return;
            }
        }
        Device d;
        d.number = number;
        d.above.push_back(above);
        const std::string entry =
            "/sys/dev/block/" + std::to_string(major(number)) + ":" + std::to_string(minor(number));
        if (number == 0 || depth_ >= kDeepest || chain_.devices.size() >= kMostDevices ||
            system_.resolve(entry, d.directory) != 0) {
            chain_.lost = true;
            return;
        }
        d.name = base_name(d.directory);
        const int index = static_cast<int>(chain_.devices.size());
        std::string text;
        std::vector<std::string> below;
        ++depth_;
        if (system_.read(d.directory + "/partition", text) == 0) {
            d.kind = FSYS_DEVICE_PARTITION;
            d.disk = false;
            const std::string parent = d.directory.substr(0, d.directory.rfind('/'));
            chain_.devices.push_back(d);
            device(read_number(system_, parent + "/dev"), index);
        } else if (system_.read(d.directory + "/loop/backing_file", d.label) == 0) {
            d.kind = FSYS_DEVICE_LOOP;
            d.disk = false;
            chain_.devices.push_back(d);
            loop(d, index);
        } else {
            system_.list(d.directory + "/slaves", below);
            d.disk = below.empty();
            classify(d);
            chain_.devices.push_back(d);
            for (const std::string &name : below) {
                device(read_number(system_, d.directory + "/slaves/" + name + "/dev"), index);
            }
        }
        --depth_;
    }

    void classify(Device &d) const {
        std::string text;
        if (system_.read(d.directory + "/dm/name", text) == 0) {
            d.kind = FSYS_DEVICE_MAPPER;
            d.label = text;
            std::string id;  // "LVM-...", "CRYPT-LUKS2-...", "mpath-..."
            if (system_.read(d.directory + "/dm/uuid", id) == 0 &&
                id.find('-') != std::string::npos) {
                d.label += " (" + id.substr(0, id.find('-')) + ")";
            }
            return;
        }
        if (system_.read(d.directory + "/md/level", text) == 0) {
            d.kind = FSYS_DEVICE_MD;
            d.label = text;
            return;
        }
        system_.read(d.directory + "/device/model", d.label);
        std::string subsystem;
        if (system_.resolve(d.directory + "/device/subsystem", subsystem) == 0) {
            subsystem = base_name(subsystem);
            d.kind = subsystem == "nvme" || subsystem == "nvme-subsystem" ? FSYS_DEVICE_NVME
                     : subsystem == "scsi"                                ? FSYS_DEVICE_SCSI
                     : subsystem == "virtio"                              ? FSYS_DEVICE_VIRTIO
                                                                          : FSYS_DEVICE_OTHER;
        } else if (major(d.number) == kRamdiskMajor ||
                   system_.read(d.directory + "/comp_algorithm", text) == 0) {
            d.kind = FSYS_DEVICE_MEMORY;
        }
    }

    // sysfs gives the path that the backing file had where it was attached. Only the device itself
    // can say whether that path leads to the same file here.
    void loop(const Device &d, int index) {
        loop_info64 info{};
        const Opened node(system_, open_device_node(system_, d.directory, S_IFBLK));
        if (node.fd() < 0 || system_.ioctl(node.fd(), LOOP_GET_STATUS64, &info) < 0) {
            chain_.lost = true;
            return;
        }
        const Opened backing(system_, system_.open_name(d.label));
        FileFacts facts;
        if (backing.fd() < 0 || system_.inspect(backing.fd(), facts) != 0 ||
            facts.device != info.lo_device || facts.inode != info.lo_inode) {
            chain_.lost = true;
            return;
        }
        file(backing.fd(), facts, index);
    }

    System &system_;
    Chain &chain_;
    int depth_ = 0;
};

}  // namespace

dev_t read_number(System &system, const std::string &path) {
    std::string text;
    unsigned high = 0;
    unsigned low = 0;
    if (system.read(path, text) != 0 || std::sscanf(text.c_str(), "%u:%u", &high, &low) != 2) {
        return 0;
    }
    return makedev(high, low);
}

int open_device_node(System &system, const std::string &directory, mode_t type) {
    std::string name = base_name(directory);
    std::string uevent;
    if (system.read(directory + "/uevent", uevent) == 0) {
        const std::size_t at = ("\n" + uevent).find("\nDEVNAME=");
        if (at != std::string::npos) {
            const std::size_t start = at + std::strlen("DEVNAME=");
            name = uevent.substr(start, uevent.find('\n', start) - start);
        }
    }
    // All that may throw comes before there is a descriptor to lose.
    const dev_t number = read_number(system, directory + "/dev");
    // Without CAP_SYS_ADMIN, Linux passes a Flush of a controller that calls it a change of
    // contents only through a node that is open for writing. Not so a block device: closing one
    // that was open for writing makes udev read it anew.
    int fd = type == S_IFCHR ? system.open_node(name, true) : -EACCES;
    if (fd == -EACCES || fd == -EPERM || fd == -EROFS) {
        fd = system.open_node(name, false);
    }
    if (fd < 0) {
        return fd == -ENOENT || fd == -ENODEV || fd == -ENOMEDIUM ? -ENXIO : fd;
    }
    FileFacts facts;
    const int code = system.inspect(fd, facts);
    if (code != 0 || (facts.mode & S_IFMT) != type || number == 0 || facts.rdevice != number) {
        system.close(fd);
        return -ENXIO;
    }
    return fd;
}

Chain find_chain(System &system, int fd, const FileFacts &facts) {
    Chain chain;
    Walk(system, chain).file(fd, facts, -1);
    return chain;
}

}  // namespace libfsys::device
