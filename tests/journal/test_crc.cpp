// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// CRC-32C has two ways, by length: each against the definition, bit by bit.

#include <vector>

#include "journal/crc.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace {

std::uint32_t by_definition(std::uint32_t state, const unsigned char *bytes, std::size_t length) {
    for (std::size_t i = 0; i < length; ++i) {
        state ^= bytes[i];
        for (int bit = 0; bit < 8; ++bit) {
            state = (state >> 1) ^ ((state & 1) != 0 ? 0x82f63b78u : 0);
        }
    }
    return state;
}

}  // namespace

TEST_CASE("CRC-32C: every short length at every alignment, and long ones", "[journal][basic]") {
    // RFC 3720, B.4.
    REQUIRE((libfsys::journal::crc32c(0xffffffffu, "123456789", 9) ^ 0xffffffffu) == 0xe3069283u);
    libfsys::test::Random random(32);
    std::vector<unsigned char> bytes(5000);
    for (unsigned char &byte : bytes) {
        byte = static_cast<unsigned char>(random.next());
    }
    std::uint32_t state = 0xffffffffu;
    for (std::size_t length = 0; length < 300; ++length) {
        for (std::size_t at = 0; at < 16; ++at) {
            const std::uint32_t want = by_definition(state, bytes.data() + at, length);
            REQUIRE(libfsys::journal::crc32c(state, bytes.data() + at, length) == want);
            state = want;
        }
    }
    for (const std::size_t length : {std::size_t{1023}, std::size_t{4096}, std::size_t{4999}}) {
        REQUIRE(libfsys::journal::crc32c(7, bytes.data(), length) ==
                by_definition(7, bytes.data(), length));
    }
}
