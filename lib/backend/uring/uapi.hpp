// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The kernel's io_uring interface: liburing 2.3's copy of the header plus the constants that newer
// kernels added. A constant says what may be asked for; whether it is granted is probed at run time.
#pragma once

#include <liburing.h>

#include <cstdint>

namespace libfsys::uapi {

inline constexpr std::uint32_t kSetupNoSqarray = 1u << 16;  // Linux 6.6
inline constexpr std::uint32_t kEnterGetevents = IORING_ENTER_GETEVENTS;
inline constexpr std::uint32_t kEnterExtArg = IORING_ENTER_EXT_ARG;           // Linux 5.11
inline constexpr std::uint32_t kEnterRegisteredRing = IORING_ENTER_REGISTERED_RING;  // Linux 5.18

}  // namespace libfsys::uapi
