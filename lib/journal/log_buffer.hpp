// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The log buffer: a ring of bytes mapped twice back to back, so that no frame ever wraps, and the
// marks that say which frames are complete.
//
// Why marks beside the frames instead of a flag inside them: after one lap a payload of the lap
// before lies where a header is expected, and a payload may hold any bytes, also those of a
// published header. A mark is written by nobody but publish(), and an old lap's mark is smaller
// than every position of the new one.
//
// Appenders publish, the holder of the journal's write baton walks. publish() releases what the
// appender copied; end_of() acquires it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "journal/format.hpp"

namespace libfsys::journal {

class LogBuffer {
public:
    LogBuffer() = default;
    ~LogBuffer();
    LogBuffer(const LogBuffer &) = delete;
    LogBuffer &operator=(const LogBuffer &) = delete;

    int create(std::uint64_t bytes);  // a power of two, at least 64 KiB
    std::uint64_t size() const { return mask_ + 1; }
    // Blocks begin at origin + k * block; O_DIRECT wants them aligned in memory as well.
    unsigned char *at(Lsn lsn) const { return ring_ + ((lsn - origin_) & mask_); }

    // Two frames never begin in the same 32 bytes: the shortest is 40 long. Bit 0 says that the
    // atomic group goes on behind this frame; ends are multiples of 8.
    void publish(Lsn start, Lsn end, bool group_more) {
        mark(start).store(end | (group_more ? 1u : 0u), std::memory_order_release);
    }
    // Behind the frame at `start`, or 0 when it is not published yet.
    Lsn end_of(Lsn start, bool &group_more) const {
        const std::uint64_t value = mark(start).load(std::memory_order_acquire);
        group_more = (value & 1u) != 0;
        return value > start ? value & ~std::uint64_t{7} : 0;
    }
    // Forgets all marks; positions begin at `origin`. Only while nobody appends.
    void restart(Lsn origin);

private:
    std::atomic<std::uint64_t> &mark(Lsn lsn) const { return marks_[((lsn - origin_) & mask_) >> 5]; }

    unsigned char *ring_ = nullptr;
    std::uint64_t mask_ = 0;
    Lsn origin_ = 0;
    std::unique_ptr<std::atomic<std::uint64_t>[]> marks_;
};

}  // namespace libfsys::journal
