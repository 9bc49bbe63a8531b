// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An NVMe namespace in sysfs. `device` of its block device is its controller (nvme0), or, when
// several controllers may lead to it, its subsystem (nvme-subsys0): the block device is then the
// multipath head, and each controller has a hidden one of its own (nvme0c1n1). Any thread.

#include "device/namespace.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace libfsys::device {
namespace {

bool is_number(const std::string &text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// How many controllers of a subsystem have a path to the head "nvme<subsystem>n<head>".
std::uint32_t count_paths(System &system, const std::string &subsystem, const std::string &head) {
    const std::size_t split = head.rfind('n');
    const std::string before = head.substr(0, split) + "c";  // nvme0c
    const std::string after = head.substr(split);            // n1
    std::vector<std::string> controllers;
    system.list(subsystem, controllers);
    std::uint32_t count = 0;
    for (const std::string &name : controllers) {
        if (name.rfind("nvme", 0) != 0 || !is_number(name.substr(4))) {
            continue;
        }
        std::string path;
        if (system.resolve(subsystem + "/" + name + "/" + before + name.substr(4) + after, path) ==
            0) {
            ++count;
        }
    }
    return count;
}

}  // namespace

std::uint64_t read_value(System &system, const std::string &path) {
    std::string text;
    return system.read(path, text) == 0 ? std::strtoull(text.c_str(), nullptr, 10) : 0;
}

Namespace describe_namespace(System &system, const Device &device, bool identify_too) {
    Namespace out;
    out.nsid = static_cast<std::uint32_t>(read_value(system, device.directory + "/nsid"));
    std::string owner;
    std::string subsystem;
    if (system.resolve(device.directory + "/device", owner) == 0 &&
        system.resolve(owner + "/subsystem", subsystem) == 0) {
        out.paths = subsystem.substr(subsystem.rfind('/') + 1) == "nvme-subsystem"
                        ? count_paths(system, owner, device.name)
                        : 1;
        // The generic device of nvme0n1 is ng0n1, beside it.
        const std::string generic = owner + "/ng" + device.name.substr(std::strlen("nvme"));
        if (device.name.rfind("nvme", 0) == 0 && system.resolve(generic, out.generic) != 0) {
            out.generic.clear();
        }
    }
    if (!identify_too) {
        return out;
    }
    IdentityCache::Key key;
    system.read("/proc/sys/kernel/random/boot_id", key.boot_id);
    key.number = device.number;
    key.diskseq = read_value(system, device.directory + "/diskseq");
    key.nsid = out.nsid;
    if (system.identities.find(key, out.identity)) {
        return out;
    }
    if (out.nsid == 0) {
        out.problem = "sysfs gives no namespace id";
        return out;
    }
    const Opened node(system, open_device_node(system, device.directory, S_IFBLK));
    if (node.fd() < 0) {
        out.problem = node.fd() == -ENXIO ? "there is no node of it in /dev"
                                          : std::string("its node: ") + std::strerror(-node.fd());
        return out;
    }
    const int code = identify(system, node.fd(), out.nsid, out.identity);
    if (code > 0) {
        out.problem = "Identify: " + status_text(static_cast<std::uint32_t>(code));
    } else if (code < 0) {
        out.problem = std::string("Identify: ") + std::strerror(-code);
    } else if (!out.identity.known) {
        out.problem = "its Identify pages contradict themselves";
    }
    // A disk that was exchanged meanwhile has another number by now.
    if (read_value(system, device.directory + "/diskseq") == key.diskseq) {
        system.identities.store(key, out.identity);
    }
    return out;
}

}  // namespace libfsys::device
