// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// CRC-32C (Castagnoli). The value is the raw register: no final complement, because every use in
// the journal continues from a key. crc32c(0xffffffff, "123456789") ^ 0xffffffff == 0xe3069283.
#pragma once

#include <cstddef>
#include <cstdint>

#include <isa-l/crc.h>

namespace libfsys::journal {

// ISA-L takes an int length; the pieces keep longer ones right. It reads only, in spite of the
// non-const pointer.
inline std::uint32_t crc32c(std::uint32_t state, const void *data, std::size_t length) {
    auto *bytes = static_cast<unsigned char *>(const_cast<void *>(data));
    constexpr std::size_t kPiece = std::size_t{1} << 30;
    while (length > kPiece) {
        state = crc32_iscsi(bytes, static_cast<int>(kPiece), state);
        bytes += kPiece;
        length -= kPiece;
    }
    return crc32_iscsi(bytes, static_cast<int>(length), state);
}

}  // namespace libfsys::journal
