// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Executing an op in plain system calls, and completing one, whoever executed it. Entered by waiting
// threads, pool threads, the poller and (complete only) the driver; the caller holds the op in
// CLAIMED or INFLIGHT and thereby owns its fields.

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "engine/engine.hpp"
#include "engine/iovecs.hpp"
#include "engine/record.hpp"

namespace libfsys {
namespace {

bool is_vectored(std::uint32_t opcode) {
    return opcode == FSYS_OP_READV || opcode == FSYS_OP_WRITEV;
}
bool is_read(std::uint32_t opcode) { return opcode == FSYS_OP_READ || opcode == FSYS_OP_READV; }

}  // namespace

bool Engine::progress(const Target &target, std::uint32_t opcode, std::uint32_t flags,
                      std::uint64_t length, std::int64_t returned, std::uint8_t &retries,
                      Outcome &out) {
    constexpr std::uint8_t kMostRetries = 32;
    if (returned == -EINTR || (returned == -EAGAIN && !target.stream)) {
        // EAGAIN on a regular file is transient (XFS has been seen to), but not for ever.
        if (returned == -EINTR || retries++ < kMostRetries) {
            stats.add(Count::kRetries);
            return false;
        }
    }
    const bool atomic = (flags & FSYS_ATOMIC) != 0;
    if (atomic && (returned == -EINVAL || returned == -EOPNOTSUPP ||
                   (returned >= 0 && static_cast<std::uint64_t>(returned) < length))) {
        // Not as promised at open. A part that was written must not be continued by a second write.
        out.done += returned > 0 ? static_cast<std::uint64_t>(returned) : 0;
        out.result = FSYS_E_NOT_ATOMIC;
        out.step = FSYS_STEP_TRANSFER;
        return true;
    }
    if (returned < 0) {
        out.result = returned;
        out.step = failed(const_cast<Target *>(&target), opcode, flags, static_cast<int>(returned));
        return true;
    }
    if (returned == 0 && !is_read(opcode)) {
        out.result = -EIO;  // a write that takes nothing and says nothing would loop for ever
        out.step = FSYS_STEP_TRANSFER;
        return true;
    }
    out.done += static_cast<std::uint64_t>(returned);
    // Direct IO ends on a block edge except at the end of the file.
    const bool tail = target.direct && target.offset_align != 0 &&
                      static_cast<std::uint64_t>(returned) % target.offset_align != 0;
    const bool end = returned == 0 || (tail && is_read(opcode));
    if (out.done < length && !end && (flags & FSYS_PARTIAL) == 0) {
        stats.add(Count::kShortIos);
        return false;
    }
    if (out.done < length && (flags & (FSYS_EXACT | FSYS_LINK)) != 0) {
        out.result = FSYS_E_SHORT;
        out.step = FSYS_STEP_TRANSFER;
    } else {
        out.result = static_cast<std::int64_t>(out.done);
    }
    return true;
}

std::uint8_t Engine::failed(Target *target, std::uint32_t opcode, std::uint32_t flags, int error) {
    const bool sync = opcode == FSYS_OP_SYNC;
    if (!sync && (flags & FSYS_DURABLE) == 0) {
        return FSYS_STEP_TRANSFER;
    }
    switch (-error) {
    case EINVAL:
    case EBADF:
    case EOPNOTSUPP:
    case EFAULT:
    case EFBIG:
    case ESPIPE:
    case EPIPE:
    case ECANCELED:
        // The arguments were refused, or it never started: no write-back was tried.
        break;
    default:
        // The kernel marks the pages clean after a failed write-back; a later sync would succeed
        // without them. ENOSPC and EDQUOT can come from there as well as from the write itself.
        poison_file(*target, error, sync ? "sync" : "durable write");
        break;
    }
    return sync ? FSYS_STEP_SYNC : FSYS_STEP_TRANSFER;
}

Outcome Engine::execute(Target *target, std::uint32_t opcode, std::uint32_t flags, void *buffer,
                        iovec *iov, std::uint32_t iov_count, std::uint64_t length,
                        std::uint64_t offset, std::uint64_t already) {
    Outcome out;
    out.done = already;
    int code = 0;
    switch (opcode) {
    case FSYS_OP_NOP:
        return out;
    case FSYS_OP_SYNC:
        do {
            // RANGE has no system call that is durable; the whole file covers it.
            code = (flags & (FSYS_SYNC_DATA | FSYS_SYNC_RANGE)) != 0 ? sys.fdatasync(target->fd)
                                                                     : sys.fsync(target->fd);
        } while (code == -EINTR);
        break;
    case FSYS_OP_ALLOCATE:
        do {
            code = sys.fallocate(target->fd,
                                 (flags & FSYS_KEEP_SIZE) != 0 ? FALLOC_FL_KEEP_SIZE : 0, offset,
                                 length);
        } while (code == -EINTR);
        break;
    default: {
        const int rwf = rwf_of(flags);
        std::uint8_t retries = 0;
        if (out.done == length) {
            out.result = static_cast<std::int64_t>(length);
            return out;
        }
        for (;;) {
            const std::uint64_t at = target->stream ? kStreamOffset : offset + out.done;
            const std::size_t left = std::min<std::uint64_t>(length - out.done, kMaxPiece);
            char *bytes = static_cast<char *>(buffer) + out.done;
            ssize_t n = 0;
            switch (opcode) {
            case FSYS_OP_READ:
                n = sys.pread(target->fd, bytes, left, at, 0);
                break;
            case FSYS_OP_WRITE:
                n = sys.pwrite(target->fd, bytes, left, at, rwf);
                break;
            case FSYS_OP_READV:
                n = sys.preadv(target->fd, iov, static_cast<int>(iov_count), at, 0);
                break;
            default:
                n = sys.pwritev(target->fd, iov, static_cast<int>(iov_count), at, rwf);
                break;
            }
            if (progress(*target, opcode, flags, length, n, retries, out)) {
                return out;
            }
            if (left == kMaxPiece && n == static_cast<ssize_t>(kMaxPiece)) {
                stats.add(Count::kSplits);
            }
            if (is_vectored(opcode) && n > 0) {
                advance(iov, iov_count, static_cast<std::size_t>(n));
            }
        }
    }
    }
    out.result = code;
    if (code < 0) {
        out.step = failed(target, opcode, flags, code);
    }
    return out;
}

Outcome Engine::execute_from(std::int64_t n, Target &target, std::uint32_t opcode,
                             std::uint32_t flags, void *buffer, std::uint64_t length,
                             std::uint64_t offset) {
    Outcome out;
    std::uint8_t retries = 0;
    if (progress(target, opcode, flags, length, n, retries, out)) {
        return out;
    }
    return execute(&target, opcode, flags, buffer, nullptr, 0, length, offset, out.done);
}

Outcome Engine::execute(Op &op) {
    return execute(op.file(), op.opcode, op.flags, op.buffer, op.iov + op.iov_at,
                   static_cast<std::uint32_t>(op.iov_count - op.iov_at), op.length, op.offset,
                   op.done);
}

void Engine::complete(Op &op, OpState from, const Outcome &outcome, unsigned lane, Publisher &out,
                      OpState to) {
    Op *current = &op;
    Outcome now = outcome;
    // A chain behind a failure is completed here in a loop, not by recursion: it may be as long as
    // the table.
    for (;;) {
        record(*current, now, lane, out.tally());
        // Everything that is needed of the op, before it is published: from then on it is its
        // taker's.
        const std::uint32_t link = current->link;
        const std::uint64_t link_generation = current->link_generation;
        const bool ok = now.result >= 0;
        const bool queue_bound = current->queue_bound;
        if (current->file() != nullptr) {
            out.leave(current->file());
        }
        if (queue_bound) {
            // Nobody can wait for it. A canceller (close) that marks it meanwhile marks in vain; a
            // plain store may overwrite that. Who reaps it gets it through the queue's release. Not
            // so while it is LISTED (a closer ends what a lane still links): the store could bring
            // back the bit that the lane has just dropped, and the slot would never be freed.
            const std::uint64_t word = current->word.load(memory_order_relaxed);
            if ((word & op_word::kListed) == 0) {
                current->word.store(op_word::with_state(word, to), memory_order_release);
            } else {
                op_word::finish(current->word, from, to);
            }
            out.to_queue(ops.index(*current), *current);
        } else {
            const std::uint64_t before = op_word::finish(current->word, from, to);
            if ((before & op_word::kWaiter) != 0) {
                out.wake(futex_half(current->word));
            }
            if ((before & op_word::kGroup) != 0) {
                Group &group = groups[op_word::group(before)];
                if (group.arrive()) {
                    out.wake(&group.word);
                }
            }
        }
        if (link == kNil) {
            return;
        }
        Op &next = ops[link];
        const std::uint64_t word = next.word.load(memory_order_acquire);
        if (op_word::state(word) != OpState::kHeld || op_word::generation(word) != link_generation) {
            return;  // cancelled meanwhile, which took care of what is behind it
        }
        if (ok) {
            // The next may complete on another thread at once; its completion must not overtake
            // this one in the queue.
            out.flush();
            publish(link, word);
            return;
        }
        if (!op_word::claim(next.word, word, OpState::kClaimed)) {
            return;
        }
        current = &next;
        from = OpState::kClaimed;
        to = OpState::kDone;
        now = Outcome{-ECANCELED, 0, FSYS_STEP_QUEUE};
        lane = FSYS_LANE_NONE;
    }
}

void Publisher::wake(const void *futex) {
    for (unsigned i = 0; i < count_; ++i) {
        if (futexes_[i] == futex) {
            return;
        }
    }
    if (count_ == kMost) {
        flush();
    }
    futexes_[count_++] = futex;
}

void Publisher::leave_now() {
    if (left_ != nullptr) {
        engine_.release_user(*left_, shard_, left_count_);
        left_ = nullptr;
        left_count_ = 0;
    }
}

void Publisher::flush() {
    leave_now();
    if (newest_ != kNil) {
        engine_.completions.push(newest_, oldest_);
        newest_ = oldest_ = kNil;
    }
    // The words stay mapped while the engine lives; a wake on a slot that has been reused meanwhile
    // is a spurious one, which every sleeper expects.
    for (unsigned i = 0; i < count_; ++i) {
        futex_wake(futexes_[i]);
    }
    if (count_ != 0) {
        tally_.add(Count::kFutexWakes, count_);
        count_ = 0;
    }
}

}  // namespace libfsys
