// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From the chain of devices to answers: what each says of itself, and the weakest of them for the
// file. Any thread; nothing is kept but the cache of Identify pages.

#include "device/probe.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "device/namespace.hpp"
#include "platform/text.hpp"

namespace libfsys::device {
namespace {

constexpr unsigned kCapSysAdmin = 21;  // linux/capability.h

std::uint32_t answer_of(bool yes) { return yes ? FSYS_ANSWER_YES : FSYS_ANSWER_NO; }

// A sysfs flag: "0", "1".
std::uint32_t read_flag(System &system, const std::string &path) {
    std::string text;
    if (system.read(path, text) != 0 || text.empty()) {
        return FSYS_ANSWER_UNKNOWN;
    }
    return answer_of(text != "0");
}

std::string scheduler_of(const std::string &list) {
    const std::size_t start = list.find('[');
    const std::size_t end = list.find(']');
    return start != std::string::npos && end != std::string::npos && end > start
               ? list.substr(start + 1, end - start - 1)
               : list;  // a driver without a choice gives one word
}

std::string power_evidence(const Device &device) {
    switch (device.kind) {
    case FSYS_DEVICE_SCSI:
        return "the kernel passes on nothing that SCSI or ATA say of power-loss protection";
    case FSYS_DEVICE_VIRTIO: return "a virtual disk: it is up to its host";
    case FSYS_DEVICE_MEMORY: return "it is memory";
    default:
        return device.disk ? "nothing is known of this kind of device" : "up to the devices below";
    }
}

void fill_namespace(System &system, const Device &device, fsys_probe_device &out) {
    const Namespace ns = describe_namespace(system, device, true);
    out.nsid = ns.nsid;
    out.paths = ns.paths;
    const Identity &identity = ns.identity;
    if (!identity.known) {
        copy_text(ns.problem, out.evidence);
        return;
    }
    out.identified = 1;
    out.atomic_power_fail = identity.atomic_power_fail;
    out.atomic_normal = identity.atomic_normal;
    out.atomic_boundary = identity.boundary;
    out.atomic_boundary_offset = identity.boundary_offset;
    out.power_loss_protection = answer_of(!identity.volatile_cache);
    copy_text(std::string("Identify: ") +
                  (identity.volatile_cache ? "a volatile write cache is present (VWC 1)"
                                           : "no volatile write cache (VWC 0)") +
                  "; atomic units from " +
                  (identity.per_namespace ? "NAWUPF of the namespace" : "AWUPF of the controller"),
              out.evidence);
}

void fill_device(System &system, const Device &device, fsys_probe_device &out) {
    copy_text(device.name, out.name);
    copy_text(device.label, out.label);
    out.kind = device.kind;
    out.major_number = major(device.number);
    out.minor_number = minor(device.number);
    out.above = device.above.front();
    // A partition has no queue of its own.
    const std::string disk = device.kind == FSYS_DEVICE_PARTITION
                                 ? device.directory.substr(0, device.directory.rfind('/'))
                                 : device.directory;
    const std::string queue = disk + "/queue/";
    const auto number = [&](const char *name) {
        return static_cast<std::uint32_t>(read_value(system, queue + name));
    };
    out.logical_block = number("logical_block_size");
    out.physical_block = number("physical_block_size");
    out.atomic_unit_max = number("atomic_write_unit_max_bytes");
    out.rotational = read_flag(system, queue + "rotational");
    out.fua = read_flag(system, queue + "fua");
    std::string text;
    if (system.read(queue + "write_cache", text) == 0) {
        out.volatile_cache = text == "write back"      ? FSYS_ANSWER_YES
                             : text == "write through" ? FSYS_ANSWER_NO
                                                       : FSYS_ANSWER_UNKNOWN;
    }
    if (system.read(queue + "scheduler", text) == 0) {
        copy_text(scheduler_of(text), out.scheduler);
    }
    out.diskseq = read_value(system, disk + "/diskseq");
    out.bytes = read_value(system, device.directory + "/size") * 512;  // sysfs counts sectors
    if (device.disk && device.kind == FSYS_DEVICE_NVME) {
        fill_namespace(system, device, out);
        return;
    }
    out.power_loss_protection =
        device.kind == FSYS_DEVICE_MEMORY ? FSYS_ANSWER_NO : FSYS_ANSWER_UNKNOWN;
    copy_text(power_evidence(device), out.evidence);
}

// "Any" of a bad property, "all" of a good one; unknown unless one device decides it.
class Sum {
public:
    void add(std::uint32_t answer) {
        (answer == FSYS_ANSWER_YES ? yes_ : answer == FSYS_ANSWER_NO ? no_ : unknown_) = true;
    }
    std::uint32_t any() const {
        return yes_ ? FSYS_ANSWER_YES : unknown_ || !no_ ? FSYS_ANSWER_UNKNOWN : FSYS_ANSWER_NO;
    }
    std::uint32_t all() const {
        return no_ ? FSYS_ANSWER_NO : unknown_ || !yes_ ? FSYS_ANSWER_UNKNOWN : FSYS_ANSWER_YES;
    }

private:
    bool yes_ = false;
    bool no_ = false;
    bool unknown_ = false;
};

// Whether flushes get from the file system to a device: every layer above passes them on only if it
// takes itself for volatile.
void add_way_down(const Chain &chain, const std::vector<fsys_probe_device> &all, int index,
                  Sum &sum, int depth = 0) {
    for (const int above : chain.devices[static_cast<std::size_t>(index)].above) {
        if (above < 0 || depth > 32) {
            continue;
        }
        sum.add(all[static_cast<std::size_t>(above)].volatile_cache);
        add_way_down(chain, all, above, sum, depth + 1);
    }
}

// Whether this process may send NVMe commands to all disks. With CAP_SYS_ADMIN yes; without, from
// Linux 6.2 on, the driver decides by what the controller says of each command: unknown.
std::uint32_t passthrough_of(System &system, const Chain &chain) {
    std::string status;
    unsigned long long effective = 0;
    if (system.read("/proc/self/status", status) == 0) {
        const std::size_t at = status.find("CapEff:");
        effective =
            at == std::string::npos ? 0 : std::strtoull(status.c_str() + at + 7, nullptr, 16);
    }
    const bool admin = (effective >> kCapSysAdmin & 1) != 0;
    Sum sum;
    for (const Device &disk : chain.devices) {
        if (!disk.disk) {
            continue;
        }
        if (disk.kind != FSYS_DEVICE_NVME) {
            return FSYS_ANSWER_NO;
        }
        const Opened node(system, open_device_node(system, disk.directory, S_IFBLK));
        sum.add(node.fd() < 0 ? FSYS_ANSWER_NO : admin ? FSYS_ANSWER_YES : FSYS_ANSWER_UNKNOWN);
    }
    return sum.all();
}

void sum_up(const Chain &chain, const std::vector<fsys_probe_device> &all,
            fsys_probe_report &report) {
    Sum cache;
    Sum fua;
    Sum spins;
    Sum protected_;
    Sum reach;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const fsys_probe_device &d = all[i];
        const std::vector<int> &above = chain.devices[i].above;
        if (std::find(above.begin(), above.end(), -1) != above.end()) {
            report.logical_block = std::max(report.logical_block, d.logical_block);
            report.physical_block = std::max(report.physical_block, d.physical_block);
        }
        if (!chain.devices[i].disk) {
            continue;
        }
        cache.add(d.volatile_cache);
        fua.add(d.fua);
        spins.add(d.rotational);
        protected_.add(d.power_loss_protection);
        if (d.volatile_cache != FSYS_ANSWER_NO) {
            reach.add(d.volatile_cache);
            add_way_down(chain, all, static_cast<int>(i), reach);
        }
    }
    if (chain.in_memory) {
        protected_.add(FSYS_ANSWER_NO);
    }
    if (!chain.complete()) {
        for (Sum *sum : {&cache, &fua, &spins, &protected_, &reach}) {
            sum->add(FSYS_ANSWER_UNKNOWN);
        }
    }
    report.volatile_cache = cache.any();
    report.fua = fua.all();
    report.rotational = spins.any();
    report.power_loss_protection = protected_.all();
    // Without a volatile cache every flush has arrived where it must.
    report.flush_reaches = report.volatile_cache == FSYS_ANSWER_NO ? FSYS_ANSWER_YES : reach.all();
}

}  // namespace

int probe(System &system, int fd, fsys_probe_report &report) {
    FileFacts facts;
    const int code = system.inspect(fd, facts);
    if (code != 0) {
        return code;
    }
    const bool device = S_ISBLK(facts.mode);
    const dev_t number = device ? facts.rdevice : facts.device;
    report.major_number = major(number);
    report.minor_number = minor(number);
    if (!device) {
        copy_text(facts.file_system != nullptr ? facts.file_system->name : "?", report.file_system);
    }
    std::string text;
    if (system.read("/proc/sys/kernel/random/boot_id", text) == 0) {
        copy_text(text, report.boot_id);
    }
    const IoLimits &limits = facts.limits;
    if (limits.direct_known && (device || S_ISREG(facts.mode))) {
        report.direct = answer_of(limits.offset_align != 0);
        report.direct_mem_align = limits.mem_align;
        report.direct_offset_align = limits.offset_align;
    }
    if (limits.atomic_known) {
        report.atomic = answer_of(limits.atomic_min != 0);
        report.atomic_min = limits.atomic_min;
        report.atomic_max = limits.atomic_max;
        report.atomic_segments = limits.atomic_segments;
        report.atomic_max_fast = limits.atomic_max_fast;
    }
    const Chain chain = find_chain(system, fd, facts);
    report.complete = chain.lost     ? FSYS_ANSWER_NO
                      : chain.opaque ? FSYS_ANSWER_UNKNOWN
                                     : FSYS_ANSWER_YES;
    std::vector<fsys_probe_device> all(chain.devices.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        fill_device(system, chain.devices[i], all[i]);
    }
    report.device_count = static_cast<std::uint32_t>(all.size());
    std::copy_n(all.begin(), std::min<std::size_t>(all.size(), FSYS_PROBE_DEVICES), report.devices);
    sum_up(chain, all, report);
    report.passthrough = passthrough_of(system, chain);
    describe(chain, facts, report);
    return 0;
}

}  // namespace libfsys::device
