// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The blocking calls: claimed at birth, executed on the calling thread, never in the op table. The
// call itself keeps file and handle open; close waits for it. Any thread.

#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "abi/guard.hpp"
#include "abi/handles.hpp"
#include "engine/sanitizer.hpp"

using namespace libfsys;

namespace {

// By the caller of either guard, Call or Visit. `execute` gives the outcome.
template <class Execute>
[[gnu::always_inline]] inline std::int64_t count(Engine &engine, unsigned shard, std::uint32_t opcode,
                                                 Execute &&execute) {
    const Stats::Tally tally = engine.stats.tally(shard);
    const bool sampled = tally.sample();
    const std::int64_t started = sampled ? now_ns() : 0;
    const Outcome outcome = execute();
    tally.op(FSYS_LANE_INLINE, opcode, outcome.result, outcome.done);
    if (sampled) {
        tally.latency(FSYS_LANE_INLINE, static_cast<std::uint64_t>(now_ns() - started));
    }
    return outcome.result;
}

// In line: threads that share a shard with its owner come here for every call.
[[gnu::always_inline]] inline std::int64_t run(const Call &call, std::uint32_t opcode, void *buffer,
                                               std::size_t length, std::uint64_t offset,
                                               std::uint32_t flags) {
    Engine &engine = call.engine();
    return count(engine, call.shard(), opcode, [&] {
        return opcode == FSYS_OP_SYNC
                   ? engine.execute(call.target(), opcode, flags, nullptr, nullptr, 0, 0, 0, 0)
                   : engine.transfer(*call.target(), opcode, flags, buffer, length, offset);
    });
}

constexpr std::int64_t kNotPlain = INT64_MIN;

// The common case, with nothing in the way that it does not need: a transfer of one piece of a
// regular file. Anything that is not so gives kNotPlain; nothing has been done then.
[[gnu::always_inline]] inline std::int64_t transfer_plain(fsys_file *file, std::uint32_t opcode,
                                                          void *buffer, std::size_t length,
                                                          std::uint64_t offset,
                                                          std::uint32_t flags) {
    const bool read = opcode == FSYS_OP_READ;
    const std::uint32_t allowed = read ? FSYS_PARTIAL | FSYS_EXACT : FSYS_PARTIAL;
    if ((flags & ~allowed) != 0 || buffer == nullptr || length - 1 >= kMaxPiece ||
        offset > INT64_MAX - kMaxPiece) {
        return kNotPlain;
    }
    const Visit visit(file, read);
    if (!visit.ok()) {
        return kNotPlain;
    }
    return count(visit.engine(), visit.shard(), opcode, [&] {
        const long n = read ? raw_pread(visit.fd(), buffer, length, offset)
                            : raw_pwrite(visit.fd(), buffer, length, offset);
        return n == static_cast<long>(length)
                   ? Outcome{n, length, 0}
                   : visit.engine().execute_from(n, visit.target(), opcode, flags, buffer, length,
                                                 offset);
    });
}

// A direct read of any range: the aligned range around it, through a buffer of our own.
std::int64_t read_bounced(const Call &call, char *buffer, std::size_t length, std::uint64_t offset,
                          std::uint32_t flags) {
    const Target &target = *call.target();
    const std::uint64_t edge = std::max(target.offset_align, target.mem_align);
    constexpr std::size_t kChunk = 1u << 20;
    const std::unique_ptr<void, void (*)(void *)> memory(
        std::aligned_alloc(std::max<std::size_t>(edge, 4096), kChunk), std::free);
    if (!memory) {
        return -ENOMEM;
    }
    std::size_t done = 0;
    while (done < length) {
        const std::uint64_t at = offset + done;
        const std::uint64_t start = at / edge * edge;
        const std::uint64_t skip = at - start;
        const std::uint64_t want = std::min<std::uint64_t>(skip + (length - done), kChunk);
        const std::uint64_t whole = std::min<std::uint64_t>((want + edge - 1) / edge * edge, kChunk);
        const std::int64_t n = run(call, FSYS_OP_READ, memory.get(), whole, start, 0);
        if (n < 0) {
            return n;
        }
        const std::size_t usable =
            std::min<std::size_t>(n > static_cast<std::int64_t>(skip) ? static_cast<std::size_t>(n) - skip : 0,
                                  length - done);
        std::memcpy(buffer + done, static_cast<char *>(memory.get()) + skip, usable);
        done += usable;
        if (static_cast<std::uint64_t>(n) < whole) {
            break;  // end of file
        }
    }
    return done < length && (flags & FSYS_EXACT) != 0 ? FSYS_E_SHORT : static_cast<std::int64_t>(done);
}

// A read that does not wait for the device: -EAGAIN instead. Asks as submit does, and with the same
// memory of whether asking pays.
std::int64_t read_cached(const Call &call, char *buffer, std::uint64_t length, std::uint64_t offset,
                         std::uint32_t flags) {
    Engine &engine = call.engine();
    Target &target = *call.target();
    if (target.direct || target.stream || !target.nowait.open()) {
        return -EAGAIN;
    }
    const Stats::Tally tally = engine.stats.tally(call.shard());
    std::uint64_t done = 0;
    long n = 0;
    do {
        n = engine.nowait_read(target.fd, buffer + done, length - done, offset + done);
        done += n > 0 ? static_cast<std::uint64_t>(n) : 0;
    } while (n == -EINTR || (n > 0 && done < length && (flags & FSYS_PARTIAL) == 0));
    if (n >= 0) {
        kernel_wrote(buffer, done);
        target.nowait.hit();
        tally.add(Count::kNowaitHits);
        const std::int64_t result = done < length && (flags & FSYS_EXACT) != 0
                                        ? FSYS_E_SHORT
                                        : static_cast<std::int64_t>(done);
        tally.op(FSYS_LANE_INLINE, FSYS_OP_READ, result, done);
        return result;
    }
    if (n == -EOPNOTSUPP) {
        target.nowait.never();
    } else if (n == -EAGAIN) {
        target.nowait.miss();
    }
    tally.add(Count::kNowaitMisses);
    return n == -EOPNOTSUPP ? -EAGAIN : n;
}

[[gnu::noinline]] std::int64_t read_any(fsys_file *file, void *buffer,
                                                   std::size_t length, std::uint64_t offset,
                                                   std::uint32_t flags) {
    const Call call(file);
    if (call.code() != 0) {
        return call.code();
    }
    if ((flags & ~std::uint32_t{FSYS_PARTIAL | FSYS_EXACT | FSYS_CACHED}) != 0) {
        return FSYS_E_BAD_FLAG;
    }
    const std::uint32_t known = flags & ~std::uint32_t{FSYS_CACHED};
    const Request request{FSYS_OP_READ, known, call.target(), buffer, length, offset, 0};
    const int code = call.engine().check(request);
    if ((flags & FSYS_CACHED) != 0 && (code == 0 || code == FSYS_E_MISALIGNED)) {
        return read_cached(call, static_cast<char *>(buffer), length, offset, known);
    }
    if (code == FSYS_E_MISALIGNED && call.target()->bounce) {
        return read_bounced(call, static_cast<char *>(buffer), length, offset, flags);
    }
    return code != 0 ? code : run(call, FSYS_OP_READ, buffer, length, offset, flags);
}

[[gnu::noinline]] std::int64_t write_any(fsys_file *file, void *buffer,
                                                    std::size_t length, std::uint64_t offset,
                                                    std::uint32_t flags) {
    const Call call(file);
    if (call.code() != 0) {
        return call.code();
    }
    if ((flags & ~std::uint32_t{FSYS_PARTIAL | FSYS_DURABLE | FSYS_ATOMIC}) != 0) {
        return FSYS_E_BAD_FLAG;
    }
    const Request request{FSYS_OP_WRITE, flags, call.target(), buffer, length, offset, 0};
    const int code = call.engine().check(request);
    return code != 0 ? code : run(call, FSYS_OP_WRITE, buffer, length, offset, flags);
}

}  // namespace

int64_t fsys_read(fsys_file *file, void *buffer, size_t length, uint64_t offset,
                  uint32_t flags) noexcept {
    return guarded([&]() -> int64_t {
        const std::int64_t n = transfer_plain(file, FSYS_OP_READ, buffer, length, offset, flags);
        return n != kNotPlain ? n : read_any(file, buffer, length, offset, flags);
    });
}

int64_t fsys_write(fsys_file *file, const void *buffer, size_t length, uint64_t offset,
                   uint32_t flags) noexcept {
    return guarded([&]() -> int64_t {
        void *bytes = const_cast<void *>(buffer);
        const std::int64_t n = transfer_plain(file, FSYS_OP_WRITE, bytes, length, offset, flags);
        return n != kNotPlain ? n : write_any(file, bytes, length, offset, flags);
    });
}

int fsys_sync(fsys_file *file, uint32_t flags) noexcept {
    return guarded([&]() -> int {
        const Call call(file);
        if (call.code() != 0) {
            return call.code();
        }
        if ((flags & ~std::uint32_t{FSYS_SYNC_DATA}) != 0) {
            return FSYS_E_BAD_FLAG;
        }
        const Request request{FSYS_OP_SYNC, flags, call.target(), nullptr, 0, 0, 0};
        const int code = call.engine().check(request);
        return code != 0 ? code : static_cast<int>(run(call, FSYS_OP_SYNC, nullptr, 0, 0, flags));
    });
}
