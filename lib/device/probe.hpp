// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Everything that is known of the storage of one file, as fsys/device.h reports it. Any thread.
#pragma once

#include "device/chain.hpp"
#include "fsys/device.h"

namespace libfsys::device {

// `fd` may be opened with O_PATH. 0, or a negative errno of looking at it; all but `struct_size` is
// filled then.
int probe(System &system, int fd, fsys_probe_report &ret_report);

// The sentences, from the numbers (describe.cpp).
void describe(const Chain &chain, const FileFacts &facts, fsys_probe_report &report);

}  // namespace libfsys::device
