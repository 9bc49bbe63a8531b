// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One NVMe namespace as a disk: its number, the controllers that lead to it, its nodes, and what it
// says of itself. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "device/chain.hpp"
#include "device/nvme.hpp"

namespace libfsys::device {

struct Namespace {
    std::uint32_t nsid = 0;   // 0: sysfs does not say
    std::uint32_t paths = 0;  // controllers; 0: not known
    std::string generic;      // sysfs directory of the generic character device, or ""
    Identity identity;
    std::string problem;  // why `identity` is not known, as a clause
};

// Asks sysfs for the numbers; `identify_too`: and the device, or the cache, for its Identify pages.
Namespace describe_namespace(System &system, const Device &device, bool identify_too);

std::uint64_t read_value(System &system, const std::string &path);  // 0: not there, not a number

}  // namespace libfsys::device
