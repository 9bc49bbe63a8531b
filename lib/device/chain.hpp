// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The block devices underneath a file. Any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "device/system.hpp"

namespace libfsys::device {

struct Device {
    std::string name;       // the kernel's
    std::string directory;  // in sysfs, links resolved
    std::string label;
    std::uint32_t kind = 0;  // FSYS_DEVICE_*
    dev_t number = 0;
    std::vector<int> above;  // indices of those that lie on it; -1: the file system
    bool disk = true;        // nothing that is known lies below it
};

struct Chain {
    std::vector<Device> devices;  // each after those that lie on it, except where a cycle is cut
    bool in_memory = false;       // (some of) the bytes are on a file system that lives in memory
    bool opaque = false;          // a file system does not tell where it keeps its bytes
    bool lost = false;            // a device is there but could not be followed
    bool complete() const { return !opaque && !lost; }
};

// Follows `fd`, a file, directory or block device that `facts` describe.
Chain find_chain(System &system, int fd, const FileFacts &facts);

// "259:3" of a sysfs `dev` file; 0 when it is not there.
dev_t read_number(System &system, const std::string &path);

// A node of /dev, opened for reading (a character device for writing too, where that is allowed),
// that is proven to be the device of the sysfs directory. A
// negative errno: -ENXIO when the node is missing or is another device.
int open_device_node(System &system, const std::string &directory, mode_t type);

}  // namespace libfsys::device
