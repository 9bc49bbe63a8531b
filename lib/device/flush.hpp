// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Flushing the disks underneath a file, past every layer in between. Any thread; plain system calls
// on the calling thread, nothing is kept open.
#pragma once

#include <cstdint>
#include <string>

namespace libfsys::device {

class System;

// The outcome in the terms of fsys/device.h: fsys_flush_report without its struct_size.
struct FlushOutcome {
    int code = 0;  // what fsys_device_flush() returns
    std::uint32_t way = 0;
    std::uint32_t reason = 0;
    std::uint32_t devices = 0;
    std::uint32_t flushed = 0;
    std::uint32_t nvme_status = 0;
    std::uint32_t nsid = 0;
    std::uint32_t paths = 0;
    bool partition = false;
    std::string device;
    std::string text;
};

// Sends a flush to each disk underneath the file (or directory, or block device) of `fd`. The
// caller has just made the file system commit what it wants to be safe, with success: fsync,
// fdatasync, RWF_DSYNC, and the directory's sync. This is in addition to that, never instead of it.
// `ways` are FSYS_FLUSH_* bits, 0: all. `fd` is neither read, written nor closed.
FlushOutcome flush_disks(System &system, int fd, std::uint32_t ways);
FlushOutcome flush_disks(int fd, std::uint32_t ways = 0);  // on the real system

}  // namespace libfsys::device
