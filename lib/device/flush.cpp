// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A flush of each disk underneath a file, by the ways that the caller allows. Any thread; nodes are
// opened for one command and closed again.

#include "device/flush.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "device/chain.hpp"
#include "device/namespace.hpp"
#include "fsys/device.h"

namespace libfsys::device {
namespace {

constexpr std::uint32_t kAllWays = FSYS_FLUSH_IOCTL | FSYS_FLUSH_URING | FSYS_FLUSH_BLOCK;

struct Attempt {
    std::uint32_t way = 0;
    std::uint32_t reason = FSYS_FLUSH_NO_WAY;
    int code = -EOPNOTSUPP;
    std::uint32_t status = 0;
    // Carried out, with success or without: no other way follows.
    bool carried_out() const {
        return reason == FSYS_FLUSH_DONE || reason == FSYS_FLUSH_REFUSED ||
               reason == FSYS_FLUSH_ERROR;
    }
};

Attempt not_possible(std::uint32_t way, std::uint32_t reason) {
    const int code = reason == FSYS_FLUSH_PERMISSION ? -EACCES
                     : reason == FSYS_FLUSH_NO_NODE  ? -ENXIO
                                                     : -EOPNOTSUPP;
    return {way, reason, code, 0};
}

std::uint32_t reason_of_open(int code) {
    return code == -EACCES || code == -EPERM ? FSYS_FLUSH_PERMISSION
           : code == -ENXIO                  ? FSYS_FLUSH_NO_NODE
                                             : FSYS_FLUSH_ERROR;
}

// What the answer of a command means. A positive one is an NVMe status: the device did not do it.
Attempt judge(std::uint32_t way, int answer) {
    if (answer == 0) {
        return {way, FSYS_FLUSH_DONE, 0, 0};
    }
    if (answer > 0) {
        return {way, FSYS_FLUSH_REFUSED, -EIO, static_cast<std::uint32_t>(answer)};
    }
    const bool ring = way == FSYS_FLUSH_URING;
    switch (-answer) {
    case EACCES:  // the NVMe driver will not send it for this process
        return not_possible(way, FSYS_FLUSH_PERMISSION);
    case EPERM:  // of a ring: io_uring is not allowed here
        return not_possible(way, ring ? FSYS_FLUSH_NO_WAY : FSYS_FLUSH_PERMISSION);
    case ENOTTY:
    case EOPNOTSUPP:
    case ENOSYS: return not_possible(way, FSYS_FLUSH_NO_WAY);
    case EINVAL:  // of a ring: no SQE128 or CQE32 (before 5.19), or no such operation
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        if (ring) {
            return not_possible(way, FSYS_FLUSH_NO_WAY);
        }
        break;
    default: break;
    }
    return {way, FSYS_FLUSH_ERROR, answer, 0};
}

Attempt try_way(System &system, const Device &disk, const Namespace &ns, std::uint32_t way) {
    if (way != FSYS_FLUSH_BLOCK && ns.nsid == 0) {
        return not_possible(way, FSYS_FLUSH_NO_WAY);  // Flush names its namespace
    }
    const bool ring = way == FSYS_FLUSH_URING;
    if (ring && ns.generic.empty()) {
        return not_possible(way, FSYS_FLUSH_NO_WAY);
    }
    const Opened node(system, open_device_node(system, ring ? ns.generic : disk.directory,
                                               ring ? S_IFCHR : S_IFBLK));
    if (node.fd() < 0) {
        const std::uint32_t reason = reason_of_open(node.fd());
        return reason == FSYS_FLUSH_ERROR ? Attempt{way, reason, node.fd(), 0}
                                          : not_possible(way, reason);
    }
    return judge(way, way == FSYS_FLUSH_IOCTL ? flush_by_ioctl(system, node.fd(), ns.nsid)
                      : ring                  ? flush_by_uring(system, node.fd(), ns.nsid)
                                              : system.fsync(node.fd()));
}

const char *way_text(std::uint32_t way) {
    return way == FSYS_FLUSH_IOCTL   ? "NVMe Flush by ioctl"
           : way == FSYS_FLUSH_URING ? "NVMe Flush by io_uring"
                                     : "a flush by the block layer";
}

std::string reason_text(const Attempt &attempt) {
    switch (attempt.reason) {
    case FSYS_FLUSH_NOT_NVME:
        return "it is not an NVMe namespace, and only passthrough was allowed";
    case FSYS_FLUSH_PERMISSION:
        return attempt.way == FSYS_FLUSH_BLOCK
                   ? "permission denied: its node must be readable"
                   : "permission denied: its node must be readable, and the command needs "
                     "CAP_SYS_ADMIN or, from Linux 6.2 on, a controller whose effects log allows "
                     "it";
    case FSYS_FLUSH_NO_NODE: return "there is no node of it in /dev";
    case FSYS_FLUSH_NO_WAY: return "this kernel offers none of the ways that were allowed";
    case FSYS_FLUSH_REFUSED: return "the device answered: " + status_text(attempt.status);
    default: return std::strerror(-attempt.code);
    }
}

Attempt flush_disk(System &system, const Device &disk, const Namespace &ns, std::uint32_t ways) {
    Attempt first;
    bool tried = false;
    for (const std::uint32_t way : {FSYS_FLUSH_IOCTL, FSYS_FLUSH_URING, FSYS_FLUSH_BLOCK}) {
        if ((ways & way) == 0 || (way != FSYS_FLUSH_BLOCK && disk.kind != FSYS_DEVICE_NVME)) {
            continue;
        }
        const Attempt attempt = try_way(system, disk, ns, way);
        if (attempt.carried_out()) {
            return attempt;
        }
        first = tried ? first : attempt;
        tried = true;
    }
    return tried ? first : not_possible(0, FSYS_FLUSH_NOT_NVME);
}

bool on_partition(const Chain &chain, const Device &disk) {
    for (const int above : disk.above) {
        if (above >= 0 &&
            chain.devices[static_cast<std::size_t>(above)].kind == FSYS_DEVICE_PARTITION) {
            return true;
        }
    }
    return false;
}

void no_disk(const Chain &chain, const FileFacts &facts, FlushOutcome &out) {
    const char *name = facts.file_system != nullptr ? facts.file_system->name : "its file system";
    out.reason = FSYS_FLUSH_NO_DEVICE;
    out.code = -ENODEV;
    out.text = std::string("no block device is known underneath: ") + name +
               (chain.in_memory ? " keeps its files in memory"
                : chain.lost    ? " lies on a device that could not be followed"
                                : " does not tell where it keeps them");
}

}  // namespace

FlushOutcome flush_disks(System &system, int fd, std::uint32_t ways) {
    FlushOutcome out;
    FileFacts facts;
    out.code = system.inspect(fd, facts);
    if (out.code != 0) {
        out.reason = FSYS_FLUSH_ERROR;
        out.text = std::string("fstat: ") + std::strerror(-out.code);
        return out;
    }
    const Chain chain = find_chain(system, fd, facts);
    std::string failure;
    std::string done;
    for (const Device &disk : chain.devices) {
        if (!disk.disk) {
            continue;
        }
        ++out.devices;
        const bool nvme = disk.kind == FSYS_DEVICE_NVME;
        Namespace ns;
        if (nvme) {
            ns = describe_namespace(system, disk, false);
        }
        Attempt attempt = flush_disk(system, disk, ns, ways == 0 ? kAllWays : ways);
        std::string text = disk.name + ": ";
        if (attempt.reason == FSYS_FLUSH_DONE) {
            ++out.flushed;
            done += (done.empty() ? "" : ", ") + std::string(way_text(attempt.way)) + " of " +
                    disk.name;
            // By the specification a flush is for what the one controller that gets it has taken.
            if (nvme && ns.paths != 1) {
                ns = describe_namespace(system, disk, true);
                if (!ns.identity.known || ns.identity.volatile_cache) {
                    attempt.reason = FSYS_FLUSH_MULTIPATH;
                    attempt.code = FSYS_E_UNKNOWN;
                    text +=
                        std::to_string(ns.paths) +
                        " controllers lead to it, the kernel chose the one that was flushed, and "
                        "their caches are " +
                        (ns.identity.known ? "volatile" : "unknown");
                }
            }
        } else {
            text += attempt.way != 0 ? std::string(way_text(attempt.way)) + " not done: " : "";
            text += reason_text(attempt);
        }
        // The report is about the first failure, or else about the last disk.
        if (out.code == 0) {
            out.code = attempt.code;
            out.reason = attempt.reason;
            out.way = attempt.way;
            out.nvme_status = attempt.status;
            out.device = disk.name;
            out.nsid = ns.nsid;
            out.paths = ns.paths;
            out.partition = on_partition(chain, disk);
            failure = attempt.code != 0 ? text : "";
        }
    }
    if (out.devices == 0) {
        no_disk(chain, facts, out);
    } else if (out.code == 0 && !(chain.complete() && !chain.in_memory)) {
        out.code = FSYS_E_UNKNOWN;
        out.reason = FSYS_FLUSH_NO_DEVICE;
        out.text = done + "; a device underneath could not be followed";
    } else {
        out.text = out.code != 0 ? failure : done;
    }
    return out;
}

FlushOutcome flush_disks(int fd, std::uint32_t ways) {
    return flush_disks(real_system(), fd, ways);
}

}  // namespace libfsys::device
