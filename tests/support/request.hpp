// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A request of the C API in one expression.
#pragma once

#include <cstdint>

#include "fsys/fsys.h"

namespace libfsys::test {

inline fsys_request request(std::uint32_t opcode, fsys_file *file, const void *buffer = nullptr,
                            std::uint64_t length = 0, std::uint64_t offset = 0,
                            std::uint32_t flags = 0, std::uint64_t user_data = 0) {
    fsys_request r{};
    r.opcode = opcode;
    r.flags = flags;
    r.file = file;
    r.buffer = const_cast<void *>(buffer);
    r.length = length;
    r.offset = offset;
    r.user_data = user_data;
    return r;
}

}  // namespace libfsys::test
