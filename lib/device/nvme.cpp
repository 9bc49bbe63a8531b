// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// NVMe commands and what their answers mean. Stateless; any thread.

#include "device/nvme.hpp"

#include <linux/nvme_ioctl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstdio>

#include "device/system.hpp"

namespace libfsys::device {
namespace {

constexpr std::uint8_t kOpcodeFlush = 0x00;     // IO command
constexpr std::uint8_t kOpcodeIdentify = 0x06;  // admin command
constexpr std::uint32_t kCnsNamespace = 0x00;
constexpr std::uint32_t kCnsController = 0x01;

// Identify Controller.
constexpr std::size_t kVwc = 525;
constexpr std::size_t kAwun = 526;
constexpr std::size_t kAwupf = 528;
// Identify Namespace.
constexpr std::size_t kNsfeat = 24;
constexpr std::size_t kNlbaf = 25;
constexpr std::size_t kFlbas = 26;
constexpr std::size_t kNawun = 34;
constexpr std::size_t kNawupf = 36;
constexpr std::size_t kNabo = 42;
constexpr std::size_t kNabspf = 44;
constexpr std::size_t kLbaf = 128;
constexpr unsigned kNsfeatAtomics = 1u << 1;  // NSABP: the namespace's own atomic fields count

std::uint32_t word(const IdentifyPage &page, std::size_t at) {
    return static_cast<std::uint32_t>(page[at] | page[at + 1] << 8);
}

std::uint32_t in_bytes(std::uint64_t blocks, std::uint32_t block) {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(blocks * block, UINT32_MAX));
}

int identify_page(System &system, int node, std::uint32_t nsid, std::uint32_t cns,
                  IdentifyPage &page) {
    nvme_admin_cmd command{};
    command.opcode = kOpcodeIdentify;
    command.nsid = nsid;
    command.addr = reinterpret_cast<std::uintptr_t>(page.data());
    command.data_len = kIdentifyBytes;
    command.cdw10 = cns;
    return system.ioctl(node, NVME_IOCTL_ADMIN_CMD, &command);
}

struct StatusName {
    std::uint32_t code;  // status code type << 8 | status code
    const char *name;
};

constexpr StatusName kStatusNames[] = {
    {0x001, "invalid opcode"},
    {0x002, "invalid field"},
    {0x004, "data transfer error"},
    {0x005, "aborted because of power loss"},
    {0x006, "internal error"},
    {0x007, "aborted on request"},
    {0x008, "aborted, its queue was deleted"},
    {0x00b, "invalid namespace or format"},
    {0x00c, "command sequence error"},
    {0x01d, "sanitize in progress"},
    {0x020, "namespace is write protected"},
    {0x021, "command interrupted"},
    {0x022, "transient transport error"},
    {0x080, "LBA out of range"},
    {0x081, "capacity exceeded"},
    {0x082, "namespace not ready"},
    {0x083, "reservation conflict"},
    {0x084, "format in progress"},
    {0x182, "attempted write to read-only range"},
    {0x280, "write fault"},
    {0x281, "unrecovered read error"},
    {0x286, "access denied"},
    {0x300, "internal path error"},
    {0x301, "path persistently lost (ANA)"},
    {0x302, "path inaccessible (ANA)"},
    {0x303, "path in transition (ANA)"},
    {0x360, "controller pathing error"},
    {0x370, "host pathing error"},
    {0x371, "aborted by the host"},
};

constexpr const char *kTypeNames[8] = {"generic", "command specific", "media error",
                                       "path",    "type 4",           "type 5",
                                       "type 6",  "vendor specific"};

}  // namespace

Identity decode_identify(const IdentifyPage &controller, const IdentifyPage &name_space) {
    Identity out;
    out.volatile_cache = (controller[kVwc] & 1) != 0;
    // More than 16 formats: two more bits of the index, else reserved.
    const unsigned formats = name_space[kNlbaf] + 1u;
    unsigned format = name_space[kFlbas] & 0x0fu;
    if (formats > 16) {
        format |= (name_space[kFlbas] & 0x60u) >> 1;
    }
    const unsigned shift = format < 64 ? name_space[kLbaf + format * 4 + 2] : 0;
    if (format >= formats || shift < 9 || shift > 24) {
        return out;  // not a page that a drive in use could have
    }
    out.known = true;
    out.block = 1u << shift;
    // Counts from zero. The namespace's own values count only when NSFEAT says so, and there 0
    // means "as the controller"; the boundary fields are reserved otherwise.
    std::uint32_t normal = word(controller, kAwun);
    std::uint32_t power_fail = word(controller, kAwupf);
    if ((name_space[kNsfeat] & kNsfeatAtomics) != 0) {
        normal = word(name_space, kNawun) != 0 ? word(name_space, kNawun) : normal;
        if (word(name_space, kNawupf) != 0) {
            power_fail = word(name_space, kNawupf);
            out.per_namespace = true;
        }
        if (word(name_space, kNabspf) != 0) {
            out.boundary = in_bytes(word(name_space, kNabspf) + 1u, out.block);
            out.boundary_offset = in_bytes(word(name_space, kNabo), out.block);
        }
    }
    out.atomic_normal = in_bytes(normal + 1u, out.block);
    out.atomic_power_fail = in_bytes(power_fail + 1u, out.block);
    return out;
}

int identify(System &system, int node, std::uint32_t nsid, Identity &ret_identity) {
    alignas(4096) IdentifyPage controller{};
    alignas(4096) IdentifyPage name_space{};
    int code = identify_page(system, node, 0, kCnsController, controller);
    if (code == 0) {
        code = identify_page(system, node, nsid, kCnsNamespace, name_space);
    }
    if (code == 0) {
        ret_identity = decode_identify(controller, name_space);
    }
    return code;
}

int flush_by_ioctl(System &system, int node, std::uint32_t nsid) {
    nvme_passthru_cmd command{};
    command.opcode = kOpcodeFlush;
    command.nsid = nsid;
    return system.ioctl(node, NVME_IOCTL_IO_CMD, &command);
}

int flush_by_uring(System &system, int node, std::uint32_t nsid) {
    nvme_uring_cmd command{};
    command.opcode = kOpcodeFlush;
    command.nsid = nsid;
    return system.uring_command(node, command);
}

std::string status_text(std::uint32_t status) {
    const std::uint32_t code = status & 0x7ff;
    const char *name = "error";
    for (const StatusName &known : kStatusNames) {
        if (known.code == code) {
            name = known.name;
        }
    }
    char text[128];
    std::snprintf(text, sizeof text, "%s (NVMe status 0x%x: %s, code 0x%02x)%s", name, status,
                  kTypeNames[code >> 8], code & 0xff,
                  (status & 0x4000) != 0 ? ", do not retry" : "");
    return text;
}

}  // namespace libfsys::device
