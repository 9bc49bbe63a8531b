// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The answers of a probe as sentences. They say no more than the numbers do. Stateless; any thread.

#include <sys/stat.h>

#include "device/probe.hpp"
#include "platform/text.hpp"

namespace libfsys::device {
namespace {

std::string disks_text(const Chain &chain) {
    std::string out;
    std::size_t count = 0;
    for (const Device &device : chain.devices) {
        if (device.disk && ++count <= 4) {
            out += (out.empty() ? "" : ", ") + device.name;
        }
    }
    return count > 4 ? out + " and " + std::to_string(count - 4) + " more" : out;
}

// What becomes of the flush that ends every sync of a file system on a disk.
std::string flush_clause(const Chain &chain, const fsys_probe_report &report) {
    const std::string disks = disks_text(chain);
    if (disks.empty()) {
        return "; which disk it lies on is not known";
    }
    if (report.volatile_cache == FSYS_ANSWER_NO) {
        return ", and sends no flush: the kernel takes the cache of " + disks + " for non-volatile";
    }
    if (report.volatile_cache == FSYS_ANSWER_UNKNOWN) {
        return "; whether " + disks + " has a volatile cache is not known";
    }
    switch (report.flush_reaches) {
    case FSYS_ANSWER_YES: return ", and has the block layer flush the volatile cache of " + disks;
    case FSYS_ANSWER_NO:
        return ", but its flush does NOT reach the volatile cache of " + disks +
               ": a layer in between is set to write-through and drops it";
    default: return "; whether its flush reaches the volatile cache of " + disks + " is not known";
    }
}

std::string sync_text(const Chain &chain, const FileFacts &facts, const fsys_probe_report &report,
                      bool data_only) {
    const FileSystem *fs = facts.file_system;
    const bool device = S_ISBLK(facts.mode);
    const std::string name = device ? "the block device" : report.file_system;
    if (!device && fs != nullptr && fs->store == FileSystem::Store::memory) {
        return "nothing: " + name + " keeps its files in memory, and they go with it";
    }
    if (!device && fs != nullptr && fs->store == FileSystem::Store::server) {
        return "asks the server of this " + name +
               " file system to commit; what that does is up to it";
    }
    if (!device && fs != nullptr && fs->store == FileSystem::Store::opaque) {
        return name + " passes it on to what lies below, which it does not tell";
    }
    const std::string what = device ? "writes the cached pages of the device"
                             : data_only
                                 ? "writes the file's data and what is needed to read it back"
                                 : "writes the file's data and all its metadata";
    return what + flush_clause(chain, report);
}

std::string device_flush_text(const Chain &chain, const fsys_probe_report &report) {
    const std::string disks = disks_text(chain);
    if (disks.empty()) {
        return "fsync, then fails: no block device is known underneath";
    }
    bool nvme = true;
    bool several_paths = false;
    std::uint32_t listed = 0;
    for (const Device &device : chain.devices) {
        nvme = nvme && (!device.disk || device.kind == FSYS_DEVICE_NVME);
        if (listed < FSYS_PROBE_DEVICES) {
            several_paths = several_paths || report.devices[listed].paths > 1;
            ++listed;
        }
    }
    std::string out = "fsync, then ";
    if (!nvme) {
        out += "a flush by the block layer (NVMe Flush where the disk is NVMe) of " + disks +
               ", as far as the device nodes may be opened";
    } else if (report.passthrough == FSYS_ANSWER_YES) {
        out += "NVMe Flush of " + disks;
    } else if (report.passthrough == FSYS_ANSWER_NO) {
        out += "fails: this process may not open the nodes of " + disks;
    } else {
        out += "NVMe Flush of " + disks + ", if the kernel lets this process send it";
    }
    out += several_paths ? "; several controllers lead there, one of them gets it" : "";
    return out;
}

std::string power_text(const Chain &chain, const fsys_probe_report &report) {
    if (chain.in_memory && chain.devices.empty()) {
        return std::string(report.file_system) + " keeps its files in memory";
    }
    std::string out;
    std::uint32_t listed = 0;
    for (const Device &device : chain.devices) {
        if (listed < FSYS_PROBE_DEVICES && device.disk) {
            out += (out.empty() ? "" : "; ") + device.name + ": " + report.devices[listed].evidence;
        }
        ++listed;
    }
    if (!chain.complete()) {
        out += (out.empty() ? "" : "; ");
        out += chain.lost ? "a device underneath could not be followed"
                          : "the file system does not tell where it keeps its bytes";
    }
    return out;
}

}  // namespace

void describe(const Chain &chain, const FileFacts &facts, fsys_probe_report &report) {
    copy_text(sync_text(chain, facts, report, false), report.sync_text);
    copy_text(sync_text(chain, facts, report, true), report.datasync_text);
    copy_text(device_flush_text(chain, report), report.flush_text);
    copy_text(power_text(chain, report), report.power_text);
}

}  // namespace libfsys::device
