// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Whether this process may use io_uring, and if not, why, in a sentence. Found out once per process
// by making a ring and running a NOP on it. Conditions that can pass (no descriptor, no lockable
// memory) are looked at again by the next open.
#pragma once

#include <cstdint>

namespace libfsys {

struct UringVerdict {
    std::uint32_t reason = 0;  // FSYS_REASON_*; NONE: it works
    int error = 0;             // the errno behind it, positive
    std::uint32_t flags = 0;   // IORING_SETUP_* granted to a driver's ring
    std::uint32_t features = 0;
    char text[192] = {};       // the sentence
};

// Any thread.
UringVerdict probe_uring();

// The flags of a ring that one thread owns, submits to and reaps, before stripping.
std::uint32_t driver_ring_flags();

// Tells apart why io_uring_setup failed.
UringVerdict explain_setup_failure(int error);

}  // namespace libfsys
