// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Pieces of a transfer.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace libfsys {

// Linux transfers at most this much in one read or write call, see read(2).
inline constexpr std::size_t kMaxPiece = 0x7ffff000;

// Moves past `n` transferred bytes.
inline void advance(iovec *&iov, std::uint32_t &count, std::size_t n) {
    while (count != 0 && n >= iov->iov_len) {
        n -= iov->iov_len;
        ++iov;
        --count;
    }
    if (n != 0) {
        iov->iov_base = static_cast<char *>(iov->iov_base) + n;
        iov->iov_len -= n;
    }
}

}  // namespace libfsys
