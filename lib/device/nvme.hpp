// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The part of NVMe that the library speaks: Identify, Flush, and reading statuses. Offsets and
// rules are those of the NVM Express Base Specification 2.0 (Identify Controller: figure 275,
// status codes: figures 93 to 101) and NVM Command Set Specification 1.0 (Identify Namespace:
// figure 97, atomic operation: section 2.1.4). Stateless; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace libfsys::device {

class System;

inline constexpr std::size_t kIdentifyBytes = 4096;
using IdentifyPage = std::array<unsigned char, kIdentifyBytes>;

// What the two Identify pages say, in bytes where they count logical blocks from zero.
struct Identity {
    bool known = false;           // both pages were read
    bool volatile_cache = false;  // VWC bit 0 of the controller
    std::uint32_t block = 0;      // logical block of the format in use
    std::uint32_t atomic_normal = 0;
    std::uint32_t atomic_power_fail = 0;
    std::uint32_t boundary = 0;  // 0: none
    std::uint32_t boundary_offset = 0;
    bool per_namespace = false;  // the power-fail unit is the namespace's own (NAWUPF)
};

Identity decode_identify(const IdentifyPage &controller, const IdentifyPage &name_space);

// Asks the namespace behind an open node. 0; a negative errno; or a positive NVMe status.
int identify(System &system, int node, std::uint32_t nsid, Identity &ret_identity);

// Flush of one namespace by ioctl on its block device, or by io_uring on its generic character
// device. 0; a negative errno; or a positive NVMe status: the device did not do it.
int flush_by_ioctl(System &system, int node, std::uint32_t nsid);
int flush_by_uring(System &system, int node, std::uint32_t nsid);

// "write fault (status 0x280: media error, code 0x80), do not retry"
std::string status_text(std::uint32_t status);

}  // namespace libfsys::device
