// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// CRC-32C (Castagnoli). The value is the raw register: no final complement, because every use in
// the journal continues from a key. crc32c(0xffffffff, "123456789") ^ 0xffffffff == 0xe3069283.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <isa-l/crc.h>

namespace libfsys::journal {

#if defined(__x86_64__)
// By cpuid: the compiler's own __builtin_cpu_supports() would link code that runs when the library is
// loaded.
inline bool has_crc32() {
    static const bool has = [] {
        unsigned a = 0;
        unsigned b = 0;
        unsigned c = 0;
        unsigned d = 0;
        return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_SSE4_2) != 0;
    }();
    return has;
}

// The crc32 instruction (SSE4.2), 8 bytes in 3 cycles: inlined, it has a frame header done before
// ISA-L has chosen its kernel (4 ns against 13), and loses from about 200 bytes on. By assembler, since
// an intrinsic wants the whole translation unit compiled for SSE4.2.
inline std::uint32_t crc32c_short(std::uint32_t state, const unsigned char *bytes,
                                  std::size_t length) {
    std::uint64_t wide = state;
    for (; length >= 8; length -= 8, bytes += 8) {
        std::uint64_t word;
        std::memcpy(&word, bytes, sizeof word);
        asm("crc32q %1, %0" : "+r"(wide) : "rm"(word));
    }
    state = static_cast<std::uint32_t>(wide);
    if (length >= 4) {
        std::uint32_t word;
        std::memcpy(&word, bytes, sizeof word);
        asm("crc32l %1, %0" : "+r"(state) : "rm"(word));
        bytes += 4;
        length -= 4;
    }
    for (; length != 0; --length, ++bytes) {
        asm("crc32b %1, %0" : "+r"(state) : "rm"(*bytes));
    }
    return state;
}
#endif

// ISA-L takes an int length; the pieces keep longer ones right. It reads only, in spite of the
// non-const pointer.
inline std::uint32_t crc32c(std::uint32_t state, const void *data, std::size_t length) {
    auto *bytes = static_cast<unsigned char *>(const_cast<void *>(data));
#if defined(__x86_64__)
    if (length < 200 && has_crc32()) {
        return crc32c_short(state, bytes, length);
    }
#endif
    constexpr std::size_t kPiece = std::size_t{1} << 30;
    while (length > kPiece) {
        state = crc32_iscsi(bytes, static_cast<int>(kPiece), state);
        bytes += kPiece;
        length -= kPiece;
    }
    return crc32_iscsi(bytes, static_cast<int>(length), state);
}

}  // namespace libfsys::journal
