// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The bytes of a journal: frames, segment headers, watermark slots and file names. Pure functions
// over memory, no IO, any thread. docs/journal-format.md is the specification; all integers are
// little-endian, and a big-endian build is refused below rather than half supported.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "journal/crc.hpp"

namespace libfsys::journal {

static_assert(std::endian::native == std::endian::little, "the journal format is little-endian");

// A position in the logical byte stream. 0 means "none": the first byte of a journal is kFirstLsn,
// so that a durable_lsn that was never filled in cannot be mistaken for a real one.
using Lsn = std::uint64_t;

inline constexpr Lsn kFirstLsn = 4096;
// Beyond it positions no longer fit a writer's tail word. At 10 GB/s that is 228 years of appending.
inline constexpr Lsn kMostLsn = std::uint64_t{1} << 56;
inline constexpr std::uint32_t kFormatVersion = 1;
inline constexpr std::size_t kHeaderBlock = 4096;  // of a segment file; the data follow
inline constexpr std::size_t kFrameAlign = 8;
inline constexpr std::size_t kFrameHeader = 40;
inline constexpr std::uint64_t kMaxRecord = std::uint64_t{1} << 30;

using Uuid = std::array<std::uint8_t, 16>;

// ------------------------------------------------------------------ frames

inline constexpr std::uint16_t kFrameMagic = 0x4a46;  // "FJ"

enum FrameType : std::uint8_t {
    kRecord = 1,
    kPad = 2,  // no content: the length says how far to go
};

enum FrameFlags : std::uint8_t {
    kGroupMore = 0x01,     // the atomic group goes on in the next frame
    kFragmentMore = 0x02,  // the record goes on in the next record frame (implies kGroupMore)
    kFragmentRest = 0x04,  // this frame continues a record
    kKnownFlags = 0x07,
};

struct FrameHeader {
    std::uint32_t header_crc;   // over the 36 bytes that follow, from the segment's key
    std::uint16_t magic;        // kFrameMagic
    std::uint8_t type;          // FrameType
    std::uint8_t flags;         // FrameFlags
    std::uint32_t length;       // payload bytes, without the zeros up to the next multiple of 8
    std::uint32_t payload_crc;  // over lsn, payload and those zeros, from the segment's key
    std::uint64_t lsn;          // position of this frame's first byte
    std::uint64_t durable_lsn;  // all below was known to be durable when the frame was built
    std::uint32_t stream;       // 0 so far
    std::uint8_t codec;         // 0: plain
    std::uint8_t key_id;        // 0: not encrypted
    std::uint16_t reserved;     // 0
};
static_assert(sizeof(FrameHeader) == kFrameHeader);

constexpr std::uint64_t frame_bytes(std::uint64_t payload) {
    return kFrameHeader + ((payload + (kFrameAlign - 1)) & ~std::uint64_t{kFrameAlign - 1});
}

// Frames of different epochs of one journal can never validate under each other's key: a CRC is a
// bijection of its start value, and epochs differ within 32 consecutive bits.
std::uint32_t frame_key(const Uuid &uuid, std::uint64_t epoch);

// Seals a frame whose payload (zero-filled to the alignment) already stands behind `header`.
inline void seal_frame(FrameHeader &header, std::uint32_t key) {
    const auto *payload = reinterpret_cast<const unsigned char *>(&header) + kFrameHeader;
    const std::uint32_t seeded = crc32c(key, &header.lsn, sizeof header.lsn);
    header.payload_crc = crc32c(seeded, payload, frame_bytes(header.length) - kFrameHeader);
    header.header_crc = crc32c(key, &header.magic, kFrameHeader - sizeof header.header_crc);
}

// True when the 40 bytes are a header of this key at exactly this position. Only then may
// `length` be believed.
bool header_valid(const FrameHeader &header, std::uint32_t key, Lsn at);
bool payload_valid(const FrameHeader &header, const void *payload, std::uint32_t key);

// ---------------------------------------------------------------- segments

inline constexpr char kSegmentMagic[8] = {'F', 'S', 'Y', 'S', 'J', 'N', 'L', '1'};

struct SegmentHeader {
    char magic[8];
    std::uint32_t crc;             // from 0xffffffff over bytes 12 .. 4095
    std::uint32_t version;         // kFormatVersion
    Uuid uuid;                     // of the journal
    std::uint64_t number;          // 1, 2, 3 ... without gaps
    std::uint64_t epoch;           // raised at every open for write
    std::uint64_t first_lsn;       // position of the first byte behind this block
    std::uint64_t data_bytes;      // room for frames
    std::uint32_t block_bytes;     // commits end at multiples of this
    std::uint32_t header_bytes;    // kHeaderBlock
    std::uint64_t prev_number;     // 0: none
    std::uint64_t prev_last_lsn;   // where the previous segment's frames end
    std::uint64_t prev_epoch;
    std::uint32_t prev_crc;        // `crc` of the previous header
    std::uint32_t flags;           // 0
    std::uint64_t open_group_lsn;  // start of the atomic group that runs across first_lsn, or 0
};
static_assert(sizeof(SegmentHeader) == 112);

// `block` has kHeaderBlock bytes.
void encode_segment_header(SegmentHeader header, void *block);
bool decode_segment_header(const void *block, SegmentHeader &header);

// A name that the journal gives to a file. In no heap memory: a rotation and a trim ask for none.
struct FileName {
    char text[40];

    const char *c_str() const { return text; }
    operator const char *() const { return text; }
    friend std::string operator+(std::string left, const FileName &right) {
        return std::move(left += right.text);
    }
    friend bool operator==(const FileName &left, std::string_view right) {
        return right == left.text;
    }
};

FileName segment_name(Lsn first_lsn, std::uint64_t number);
bool parse_segment_name(std::string_view name, Lsn &first_lsn, std::uint64_t &number);
FileName spare_name(std::uint64_t id);
bool parse_spare_name(std::string_view name, std::uint64_t &id);

inline constexpr const char *kLockName = "lock";
inline constexpr const char *kMarkName = "watermark";
inline constexpr const char *kPinsName = "pins";
inline constexpr const char *kPinsTemp = "pins.tmp";
inline constexpr const char *kKeptPrefix = "cut-";
bool is_ours(std::string_view name);

// --------------------------------------------------------------- watermark

// Two slots, written alternately, each in a 4 KiB block of its own so that one torn write cannot
// take both. The third block names the live page (live.hpp); recovery never reads it.
inline constexpr std::size_t kSlotStride = 4096;
inline constexpr std::size_t kLiveOffset = 8192;
inline constexpr std::size_t kMarkBytes = 12288;
inline constexpr char kSlotMagic[8] = {'F', 'S', 'Y', 'S', 'W', 'M', 'K', '1'};

struct Slot {
    char magic[8];
    std::uint32_t crc;  // from 0xffffffff over bytes 12 .. 511
    std::uint32_t version;
    Uuid uuid;
    std::uint64_t sequence;     // the larger valid one counts
    std::uint64_t epoch;        // the highest ever given out
    std::uint64_t durable_lsn;  // everything below was durable when this was written
    std::uint64_t trim_lsn;     // everything below was given up by the owner
    std::uint64_t cut_lsn;      // truncate: bytes at or above this ...
    std::uint64_t cut_epoch;    // ... of epochs up to this one are void; 0: nothing is
    std::uint64_t last_number;  // highest segment number ever given out
    std::uint64_t clean;        // 1: written by an orderly close
};
static_assert(sizeof(Slot) == 96);

void encode_slot(Slot slot, void *sector);  // 512 bytes
bool decode_slot(const void *sector, Slot &slot);

}  // namespace libfsys::journal
