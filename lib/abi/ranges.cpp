// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points that change an open file's length or allocation, or give advice on it. Any thread,
// on the calling thread; they own nothing.

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "abi/whole.hpp"
#include "fsys/files.h"

using namespace libfsys;

namespace {

constexpr std::size_t kZeros = std::size_t{1} << 20;

// 0 when the range is sane.
int check_range(std::uint64_t offset, std::uint64_t length) {
    return offset > INT64_MAX || length > INT64_MAX - offset ? -EINVAL : 0;
}

// Runs `change(engine, target)`, then makes what it did durable. A poisoned file is refused before,
// when it should be durable afterwards.
template <class Change>
int change_file(fsys_file *file, std::uint32_t durability, Change &&change) noexcept {
    return guarded([&]() -> int {
        const Call call(file);
        if (call.code() != 0) {
            return call.code();
        }
        if (durability > FSYS_DURABILITY_DEVICE) {
            return FSYS_E_BAD_FLAG;
        }
        Engine &engine = call.engine();
        Target &target = *call.target();
        const std::uint32_t wanted = durability_of(durability);
        const std::uint32_t sync = wanted == FSYS_DURABILITY_DATA ? FSYS_SYNC_DATA : 0;
        if (!target.writable) {
            return -EBADF;
        }
        if (wanted >= FSYS_DURABILITY_DATA) {
            const int code = engine.check(Request{FSYS_OP_SYNC, sync, &target, nullptr, 0, 0, 0});
            if (code != 0) {
                return code;
            }
        }
        int code = change(engine, target);
        if (code < 0 || wanted < FSYS_DURABILITY_DATA) {
            return code;
        }
        code = static_cast<int>(
            engine.execute(&target, FSYS_OP_SYNC, sync, nullptr, nullptr, 0, 0, 0, 0).result);
        if (code == 0 && wanted == FSYS_DURABILITY_DEVICE) {
            std::string text;
            code = engine.sys.flush_device(target.fd, text);
        }
        return code;
    });
}

int fallocate(Engine &engine, const Target &target, int mode, std::uint64_t offset,
              std::uint64_t length) {
    return uninterrupted(
        [&] { return engine.sys.fallocate(target.fd, mode, offset, length); });
}

struct Free {
    void operator()(void *memory) const { std::free(memory); }
};

int write_zeros(Engine &engine, Target &target, std::uint64_t offset, std::uint64_t length) {
    const std::unique_ptr<void, Free> zeros(std::aligned_alloc(4096, kZeros));
    if (zeros == nullptr) {
        return -ENOMEM;
    }
    std::memset(zeros.get(), 0, kZeros);
    while (length != 0) {
        const std::uint64_t piece = std::min<std::uint64_t>(length, kZeros);
        const Request request{FSYS_OP_WRITE, 0, &target, zeros.get(), piece, offset, 0};
        const int code = engine.check(request);
        if (code != 0) {
            return code;
        }
        const Outcome out =
            engine.execute(&target, FSYS_OP_WRITE, 0, zeros.get(), nullptr, 0, piece, offset, 0);
        if (out.result < 0) {
            return static_cast<int>(out.result);
        }
        offset += piece;
        length -= piece;
    }
    return 0;
}

}  // namespace

int fsys_truncate(fsys_file *file, uint64_t length, uint32_t durability) noexcept {
    return change_file(file, durability, [&](Engine &engine, Target &target) -> int {
        if (length > INT64_MAX) {
            return -EINVAL;
        }
        return uninterrupted([&] { return engine.sys.ftruncate(target.fd, length); });
    });
}

int fsys_preallocate(fsys_file *file, uint64_t offset, uint64_t length, uint32_t flags,
                     uint32_t durability) noexcept {
    return change_file(file, durability, [&](Engine &engine, Target &target) -> int {
        if ((flags & ~FSYS_KEEP_SIZE) != 0) {
            return FSYS_E_BAD_FLAG;
        }
        const int code = check_range(offset, length);
        return code != 0 ? code
                         : fallocate(engine, target,
                                     (flags & FSYS_KEEP_SIZE) != 0 ? FALLOC_FL_KEEP_SIZE : 0,
                                     offset, length);
    });
}

int fsys_punch_hole(fsys_file *file, uint64_t offset, uint64_t length,
                    uint32_t durability) noexcept {
    return change_file(file, durability, [&](Engine &engine, Target &target) -> int {
        const int code = check_range(offset, length);
        return code != 0 ? code
                         : fallocate(engine, target, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                     offset, length);
    });
}

int fsys_zero_range(fsys_file *file, uint64_t offset, uint64_t length, uint32_t flags,
                    uint32_t durability) noexcept {
    return change_file(file, durability, [&](Engine &engine, Target &target) -> int {
        if ((flags & ~FSYS_KEEP_SIZE) != 0) {
            return FSYS_E_BAD_FLAG;
        }
        int code = check_range(offset, length);
        if (code != 0) {
            return code;
        }
        const bool keep_size = (flags & FSYS_KEEP_SIZE) != 0;
        code =
            fallocate(engine, target, FALLOC_FL_ZERO_RANGE | (keep_size ? FALLOC_FL_KEEP_SIZE : 0),
                      offset, length);
        if (code != -EOPNOTSUPP) {
            return code;
        }
        std::uint64_t end = offset + length;
        if (keep_size) {
            struct stat st {};
            code = engine.sys.fstat(target.fd, &st);
            if (code < 0) {
                return code;
            }
            end = std::min(end, static_cast<std::uint64_t>(st.st_size));
        }
        return end > offset ? write_zeros(engine, target, offset, end - offset) : 0;
    });
}

int fsys_set_lifetime(fsys_file *file, uint32_t lifetime) noexcept {
    return guarded([&]() -> int {
        const Call call(file);
        if (call.code() != 0) {
            return call.code();
        }
        if (lifetime > FSYS_LIFETIME_EXTREME) {
            return FSYS_E_BAD_FLAG;
        }
        // RWH_WRITE_LIFE_NOT_SET is 0 in linux/fcntl.h, NONE 1 and so on: the same numbers.
        return call.engine().sys.set_lifetime(call.target()->fd, lifetime);
    });
}

int fsys_advise(fsys_file *file, uint64_t offset, uint64_t length, uint32_t advice) noexcept {
    return guarded([&]() -> int {
        const Call call(file);
        if (call.code() != 0) {
            return call.code();
        }
        constexpr int kAdvice[] = {POSIX_FADV_NORMAL,   POSIX_FADV_RANDOM,   POSIX_FADV_SEQUENTIAL,
                                   POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED, POSIX_FADV_NOREUSE};
        if (advice > FSYS_ADVICE_ONCE) {
            return FSYS_E_BAD_FLAG;
        }
        const int code = check_range(offset, length);
        return code != 0
                   ? code
                   : call.engine().sys.advise(call.target()->fd, offset, length, kAdvice[advice]);
    });
}
