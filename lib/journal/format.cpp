// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Encoding and checking of the journal's bytes. Pure functions; any thread.

#include "journal/format.hpp"

#include <cstdio>
#include <cstring>

namespace libfsys::journal {
namespace {

constexpr std::size_t kCrcFrom = 12;  // headers and slots: behind magic and the CRC itself

bool all_zero(const unsigned char *bytes, std::size_t length) {
    for (std::size_t i = 0; i < length; ++i) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

bool parse_hex(std::string_view text, std::size_t at, std::size_t digits, std::uint64_t &value) {
    value = 0;
    for (std::size_t i = at; i < at + digits; ++i) {
        const char c = text[i];
        // Only what segment_name() writes: another spelling of a number is a foreign file.
        if (c >= '0' && c <= '9') {
            value = value << 4 | static_cast<std::uint64_t>(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value << 4 | static_cast<std::uint64_t>(c - 'a' + 10);
        } else {
            return false;
        }
    }
    return true;
}

}  // namespace

std::uint32_t frame_key(const Uuid &uuid, std::uint64_t epoch) {
    return crc32c(crc32c(0xffffffffu, uuid.data(), uuid.size()), &epoch, sizeof epoch);
}

bool header_valid(const FrameHeader &header, std::uint32_t key, Lsn at) {
    if (header.magic != kFrameMagic || header.lsn != at) {
        return false;
    }
    if (header.header_crc !=
        crc32c(key, &header.magic, kFrameHeader - sizeof header.header_crc)) {
        return false;
    }
    // Reserved fields are checked behind the CRC: a later version may set them, and this one must
    // then refuse the frame instead of misreading it.
    return (header.type == kRecord || header.type == kPad) && (header.flags & ~kKnownFlags) == 0 &&
           header.codec == 0 && header.key_id == 0 && header.reserved == 0;
}

bool payload_valid(const FrameHeader &header, const void *payload, std::uint32_t key) {
    const std::uint32_t seeded = crc32c(key, &header.lsn, sizeof header.lsn);
    return header.payload_crc ==
           crc32c(seeded, payload, frame_bytes(header.length) - kFrameHeader);
}

void encode_segment_header(SegmentHeader header, void *block) {
    auto *bytes = static_cast<unsigned char *>(block);
    std::memset(bytes, 0, kHeaderBlock);
    std::memcpy(header.magic, kSegmentMagic, sizeof header.magic);
    header.version = kFormatVersion;
    header.header_bytes = kHeaderBlock;
    std::memcpy(bytes, &header, sizeof header);
    header.crc = crc32c(0xffffffffu, bytes + kCrcFrom, kHeaderBlock - kCrcFrom);
    std::memcpy(bytes + offsetof(SegmentHeader, crc), &header.crc, sizeof header.crc);
}

bool decode_segment_header(const void *block, SegmentHeader &header) {
    const auto *bytes = static_cast<const unsigned char *>(block);
    std::memcpy(&header, bytes, sizeof header);
    return std::memcmp(header.magic, kSegmentMagic, sizeof header.magic) == 0 &&
           header.crc == crc32c(0xffffffffu, bytes + kCrcFrom, kHeaderBlock - kCrcFrom) &&
           header.version == kFormatVersion && header.header_bytes == kHeaderBlock &&
           header.flags == 0 && header.data_bytes % kFrameAlign == 0 &&
           header.first_lsn % kFrameAlign == 0 && header.block_bytes != 0 &&
           all_zero(bytes + sizeof header, kHeaderBlock - sizeof header);
}

FileName segment_name(Lsn first_lsn, std::uint64_t number) {
    FileName name;
    std::snprintf(name.text, sizeof name.text, "%016llx-%08llx.fsj",
                  static_cast<unsigned long long>(first_lsn),
                  static_cast<unsigned long long>(number));
    return name;
}

bool parse_segment_name(std::string_view name, Lsn &first_lsn, std::uint64_t &number) {
    // More than 2^32 segments give a longer number; nothing else varies.
    if (name.size() < 29 || name.size() > 37 || name[16] != '-' ||
        name.compare(name.size() - 4, 4, ".fsj") != 0) {
        return false;
    }
    // Compared by its shape, not written again: opening does this for every segment there is.
    return (name.size() == 29 || name[17] != '0') && parse_hex(name, 0, 16, first_lsn) &&
           parse_hex(name, 17, name.size() - 21, number);
}

FileName spare_name(std::uint64_t id) {
    FileName name;
    std::snprintf(name.text, sizeof name.text, "spare-%08llx",
                  static_cast<unsigned long long>(id));
    return name;
}

bool parse_spare_name(std::string_view name, std::uint64_t &id) {
    return name.size() >= 14 && name.size() <= 22 && name.compare(0, 6, "spare-") == 0 &&
           parse_hex(name, 6, name.size() - 6, id);
}

bool is_ours(std::string_view name) {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    return name == kLockName || name == kMarkName || name == kPinsName || name == kPinsTemp ||
           name.starts_with(kKeptPrefix) || parse_segment_name(name, a, b) ||
           parse_spare_name(name, a);
}

void encode_slot(Slot slot, void *sector) {
    auto *bytes = static_cast<unsigned char *>(sector);
    std::memset(bytes, 0, 512);
    std::memcpy(slot.magic, kSlotMagic, sizeof slot.magic);
    slot.version = kFormatVersion;
    std::memcpy(bytes, &slot, sizeof slot);
    slot.crc = crc32c(0xffffffffu, bytes + kCrcFrom, 512 - kCrcFrom);
    std::memcpy(bytes + offsetof(Slot, crc), &slot.crc, sizeof slot.crc);
}

bool decode_slot(const void *sector, Slot &slot) {
    const auto *bytes = static_cast<const unsigned char *>(sector);
    std::memcpy(&slot, bytes, sizeof slot);
    return std::memcmp(slot.magic, kSlotMagic, sizeof slot.magic) == 0 &&
           slot.crc == crc32c(0xffffffffu, bytes + kCrcFrom, 512 - kCrcFrom) &&
           slot.version == kFormatVersion && all_zero(bytes + sizeof slot, 512 - sizeof slot);
}

}  // namespace libfsys::journal
