// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Accepting ops: checks, a slot, and the lane. Any thread. The caller holds a user reference on each
// request's target, which an accepted op takes over.

#include <algorithm>
#include <cerrno>
#include <climits>

#include "engine/record.hpp"

namespace libfsys {
namespace {

constexpr std::uint32_t kCommon = kCommonFlags;
constexpr std::uint32_t kKnown = kCommon | FSYS_DURABLE | FSYS_PARTIAL | FSYS_EXACT | FSYS_ATOMIC |
                                 FSYS_SYNC_DATA | FSYS_SYNC_RANGE | FSYS_KEEP_SIZE;
constexpr std::uint32_t kAllowed[] = {
    kCommon,                                               // NOP
    kCommon | FSYS_PARTIAL | FSYS_EXACT,                   // READ
    kCommon | FSYS_PARTIAL | FSYS_EXACT | FSYS_DURABLE | FSYS_ATOMIC,  // WRITE
    kCommon | FSYS_PARTIAL | FSYS_EXACT,                   // READV
    kCommon | FSYS_PARTIAL | FSYS_EXACT | FSYS_DURABLE | FSYS_ATOMIC,  // WRITEV
    kCommon | FSYS_SYNC_DATA | FSYS_SYNC_RANGE,            // SYNC
    kCommon | FSYS_KEEP_SIZE,                              // ALLOCATE
};
// A cached read longer than this is not done inside submit: copying it takes longer than a hop.
constexpr std::uint64_t kNowaitMost = 64 * 1024;
// A buffered write up to this length costs less than waking another thread to do it.
constexpr std::uint64_t kLoneMost = 64 * 1024;
constexpr std::uint32_t kSlotChunk = 64;
constexpr std::uint64_t kIovMost = 1024;  // UIO_MAXIOV

// The part of an op's word that says where it will be published.
std::uint64_t lane_bits(const Target *target, unsigned lane) {
    const bool polled = lane == FSYS_LANE_POOL && target != nullptr && target->stream;
    return std::uint64_t{lane} << op_word::kLaneShift | (polled ? op_word::kPolled : 0);
}

bool aligned(std::uint64_t value, std::uint32_t to) { return to == 0 || value % to == 0; }

// Sums the iovecs; false when one is absurd.
bool total_of(const iovec *iov, std::uint64_t count, std::uint64_t &total) {
    total = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        if ((iov[i].iov_base == nullptr && iov[i].iov_len != 0) ||
            iov[i].iov_len > static_cast<std::uint64_t>(INT64_MAX) - total) {
            return false;
        }
        total += iov[i].iov_len;
    }
    return true;
}

// generic_atomic_write_valid() of the kernel and the limits of statx(2).
bool can_be_atomic(const Target &target, std::uint64_t bytes, std::uint64_t offset,
                   std::uint64_t buffers) {
    return target.atomic_min != 0 && bytes >= target.atomic_min && bytes <= target.atomic_max &&
           (bytes & (bytes - 1)) == 0 && offset % bytes == 0 && buffers <= target.atomic_segments;
}

}  // namespace

int Engine::check_all(const Request r) const {
    if (r.opcode > FSYS_OP_ALLOCATE || (r.flags & ~kKnown) != 0) {
        return FSYS_E_BAD_FLAG;
    }
    if ((r.flags & ~kAllowed[r.opcode]) != 0) {
        return -EINVAL;
    }
    const int poison = poisoned();
    if (poison != 0) {
        return poison;
    }
    if (r.opcode == FSYS_OP_NOP) {
        return 0;
    }
    const Target &target = *r.target;
    const bool read = r.opcode == FSYS_OP_READ || r.opcode == FSYS_OP_READV;
    const bool write = r.opcode == FSYS_OP_WRITE || r.opcode == FSYS_OP_WRITEV;
    if ((read && !target.readable) || (write && !target.writable)) {
        return -EBADF;
    }
    if (target.stream && (r.flags & FSYS_DURABLE) != 0) {
        return -EINVAL;
    }
    if ((r.opcode == FSYS_OP_SYNC || (r.flags & FSYS_DURABLE) != 0) &&
        target.poison.load(std::memory_order_acquire) != 0) {
        return FSYS_E_POISONED;
    }
    const bool vectored = r.opcode == FSYS_OP_READV || r.opcode == FSYS_OP_WRITEV;
    std::uint64_t bytes = r.opcode == FSYS_OP_SYNC && (r.flags & FSYS_SYNC_RANGE) == 0 ? 0
                                                                                       : r.length;
    if (read || write) {
        if (r.buffer == nullptr && r.length != 0) {
            return -EINVAL;
        }
        if (vectored &&
            (r.length > kIovMost || !total_of(static_cast<const iovec *>(r.buffer), r.length, bytes))) {
            return -EINVAL;
        }
    }
    if (bytes > static_cast<std::uint64_t>(INT64_MAX) ||
        r.offset > static_cast<std::uint64_t>(INT64_MAX) - bytes) {
        return -EINVAL;
    }
    if ((r.flags & FSYS_ATOMIC) != 0) {
        if ((r.flags & FSYS_PARTIAL) != 0) {
            return -EINVAL;
        }
        if (!can_be_atomic(target, bytes, r.offset, vectored ? r.length : 1)) {
            return FSYS_E_NOT_ATOMIC;
        }
    }
    if (target.direct && (read || write)) {
        if (!aligned(r.offset, target.offset_align) || !aligned(bytes, target.offset_align)) {
            return FSYS_E_MISALIGNED;
        }
        if (!vectored) {
            if (!aligned(reinterpret_cast<std::uintptr_t>(r.buffer), target.mem_align)) {
                return FSYS_E_MISALIGNED;
            }
        } else {
            const auto *iov = static_cast<const iovec *>(r.buffer);
            for (std::uint64_t i = 0; i < r.length; ++i) {
                if (!aligned(reinterpret_cast<std::uintptr_t>(iov[i].iov_base), target.mem_align) ||
                    !aligned(iov[i].iov_len, target.mem_align)) {
                    return FSYS_E_MISALIGNED;
                }
            }
        }
    }
    return 0;
}

// Measured in docs/design.md. On a handle without its own thread everything is the driver's.
unsigned Engine::route(const Target *target, std::uint32_t opcode) const {
    if (config.caller_driven) {
        return FSYS_LANE_RING;
    }
    // Where io_uring was insisted on, start() refuses what needs the ring that is not there.
    if (!config.uring || (driver.unavailable() && !config.uring_required)) {
        return FSYS_LANE_POOL;
    }
    switch (opcode) {
    case FSYS_OP_WRITE:
    case FSYS_OP_WRITEV:
        // The ring would hand it to a kernel worker, 3 to 14 times slower than the call itself.
        return target->direct || target->stream || target->ring_writes ? FSYS_LANE_RING
                                                                       : FSYS_LANE_POOL;
    case FSYS_OP_SYNC:
    case FSYS_OP_ALLOCATE:
        return FSYS_LANE_POOL;
    default:
        return FSYS_LANE_RING;
    }
}

std::uint32_t Engine::allocate(std::uint32_t flags, int &code) {
    std::uint32_t index = ops.allocate();
    if (index != kNil) {
        return index;
    }
    if ((flags & FSYS_NONBLOCK) != 0) {
        code = -EAGAIN;
        return kNil;
    }
    stats.add(Count::kSlotWaits);
    const Deadline deadline = Deadline::after(config.submit_timeout_ns);
    ops.add_waiter();
    for (;;) {
        const std::uint32_t seen = ops.sequence().load(std::memory_order_seq_cst);
        index = ops.allocate();
        code = index != kNil                                        ? 0
               : closing.load(std::memory_order_seq_cst)            ? FSYS_E_CLOSED
               : poisoned() != 0                                    ? poisoned()
               : deadline.passed()                                  ? -EAGAIN
                                                                    : 1;
        if (code <= 0) {
            break;
        }
        if (config.caller_driven && is_driver_thread()) {
            // Nobody else would free one; but when all slots hold completions that only this
            // thread could take, driving on is in vain.
            if (turn(1'000'000) <= 0 && in_flight() == 0) {
                code = -EAGAIN;
                break;
            }
            continue;
        }
        futex_wait(&ops.sequence(), seen, deadline);
    }
    ops.remove_waiter();
    return index;
}

void Engine::ring_bell() {
    // After the push, as poison() looks at the ops after it has set its code: of an op that is listed
    // while the driver dies, at least one of the two sees to the end.
    const int poison = poisoned();
    if (poison != 0) {
        end_waiting_ops(poison);
        return;
    }
    // On a caller-driven handle the driver thread itself will poll; others, and an outer event loop
    // that sleeps on the descriptor, must be told.
    if (config.caller_driven && is_driver_thread() && !driver.has_event_fd()) {
        return;
    }
    if (bell.must_ring()) {
        driver.wake();
        stats.add(Count::kDoorbells);
    }
}

void Engine::enlist(std::uint32_t index, unsigned lane) {
    if (lane == FSYS_LANE_RING && !driver.unavailable()) {
        list.push(index, index, [this](std::uint32_t i) -> auto & { return ops.link(i); });
        ring_bell();
        return;
    }
    // Only the word may be read here: a LISTED op stays this slot's, but a waiter may have claimed
    // it already.
    if ((ops[index].word.load(memory_order_relaxed) & op_word::kPolled) != 0 &&
        poller.push(index) == 0) {
        return;
    }
    pool.push(index);
}

void Engine::publish(std::uint32_t index, std::uint64_t word) {
    Op &op = ops[index];
    if (op_word::list(op.word, word)) {
        enlist(index, op_word::lane(word));
    }
}

void fill_iovecs(Op &op, const void *iovecs, std::uint64_t length) {
    const auto *iov = static_cast<const iovec *>(iovecs);
    const auto count = static_cast<std::uint32_t>(length);
    op.iov = count <= kInlineIovecs ? op.inline_iov : new iovec[count];
    std::copy(iov, iov + count, op.iov);
    op.iov_count = static_cast<std::uint16_t>(count);
    op.iov_at = 0;
    total_of(iov, count, op.length);
}

namespace {

bool is_claimable(const Request &r) {
    // A thread that executes an op on a pipe could be held for ever, out of reach of cancel.
    return (r.target == nullptr || !r.target->stream) && (r.flags & FSYS_LINK) == 0;
}

}  // namespace

int Engine::submit_one(const Request &r, fsys_op *ret_op) {
    int code = check(r);
    if (code != 0) {
        return code;
    }
    if ((r.flags & FSYS_LINK) != 0) {
        return -EINVAL;  // there is nothing behind it
    }
    if (route(r.target, r.opcode) == FSYS_LANE_RING) {
        code = driver.start();
        if (code != 0) {
            return code;
        }
    }
    const std::uint32_t index = allocate(r.flags, code);
    if (index == kNil) {
        return code;
    }
    const unsigned shard = current_shard();
    const Stats::Tally tally = stats.tally(shard);
    Op &op = ops[index];
    const std::uint64_t free_word = op.word.load(memory_order_relaxed);
    try {
        fill(op, r, ret_op == nullptr, tally.sample() ? now_ns() : 0);
    } catch (...) {
        ops.free(index);
        throw;
    }
    FSYS_PROBE3(submit, index, r.opcode, r.length);
    const fsys_op issued = token(index, free_word);
    if (ret_op != nullptr) {
        *ret_op = issued;
    }

    const bool hinted = (r.flags & FSYS_WAIT_SOON) != 0 && ret_op != nullptr && !config.caller_driven;
    if (r.opcode == FSYS_OP_READ && !hinted && !r.target->direct && !r.target->stream &&
        r.length <= kNowaitMost && r.length != 0 && r.target->nowait.open()) {
        // From the page cache at once, if it is all there. A short count is asked about again: 0
        // then is the end of the file, anything else the start of a gap.
        Target &target = *r.target;
        std::uint64_t done = 0;
        ssize_t n = 0;
        do {
            n = nowait_read(target.fd, static_cast<char *>(r.buffer) + done, r.length - done,
                            r.offset + done);
            done += n > 0 ? static_cast<std::uint64_t>(n) : 0;
        } while (n > 0 && done < r.length && (r.flags & FSYS_PARTIAL) == 0);
        if (n >= 0) {
            target.nowait.hit();
            tally.add(Count::kNowaitHits);
            const bool short_read = done < r.length && (r.flags & FSYS_EXACT) != 0;
            const Outcome outcome{short_read ? FSYS_E_SHORT : static_cast<std::int64_t>(done), done,
                                  static_cast<std::uint8_t>(short_read ? FSYS_STEP_TRANSFER : 0)};
            // Nobody knows the op yet: its completion is a plain store.
            record(op, outcome, FSYS_LANE_INLINE, tally);
            release_user(target, shard);
            op.word.store(op_word::with_state(free_word, OpState::kDone) |
                              (ret_op == nullptr ? op_word::kQueueBound : 0),
                          memory_order_release);
            if (ret_op == nullptr) {
                completions.push(index, index);
            }
            return 0;
        }
        if (n == -EOPNOTSUPP) {
            target.nowait.never();
        } else if (n == -EAGAIN) {
            target.nowait.miss();
        }
        tally.add(Count::kNowaitMisses);
        op.done = done;
    }

    const std::uint64_t claimable = is_claimable(r) && ret_op != nullptr ? op_word::kClaimable : 0;
    const unsigned lane = route(r.target, r.opcode);
    const std::uint64_t fixed =
        (ret_op == nullptr ? op_word::kQueueBound : 0) | lane_bits(r.target, lane);
    const bool lone = claimable != 0 && lane == FSYS_LANE_POOL && r.opcode == FSYS_OP_WRITE &&
                      (r.flags & FSYS_DURABLE) == 0 && r.length <= kLoneMost;
    if ((hinted && claimable != 0) || (lone && left_to_waiter(issued, shard))) {
        // Not listed: the waiter takes it from here, the ticker if no waiter comes.
        const std::uint64_t word = op_word::with_state(free_word, OpState::kQueued) | claimable | fixed;
        op.word.store(word, memory_order_release);
        if (!ticker.note()) {
            publish(index, word);
        }
        return 0;
    }
    op.word.store(op_word::with_state(free_word, OpState::kQueued) | claimable | fixed |
                      op_word::kListed,
                  memory_order_release);
    enlist(index, lane);
    return 0;
}

// Waking a pool thread costs three times as much as the small buffered write that it would do, so one
// that comes alone is left for its waiter, as if hinted. A second one before the first was claimed says
// that this thread wants them to overlap: then both are published.
bool Engine::left_to_waiter(fsys_op issued, unsigned shard) {
    // Another thread of the shard may come in between; whatever is lost, the ticker finds.
    std::atomic<fsys_op> &left = lone_[shard].left;
    std::uint64_t generation = 0;
    Op *before = find(left.load(std::memory_order_relaxed), generation);
    if (before != nullptr) {
        const std::uint64_t word = before->word.load(memory_order_acquire);
        if (op_word::generation(word) == generation && op_word::state(word) == OpState::kQueued &&
            (word & op_word::kListed) == 0) {
            publish(ops.index(*before), word);
            return false;
        }
    }
    left.store(issued, std::memory_order_relaxed);
    return true;
}

// Threads that each hold a part of a linked run and wait for the rest would wait for one another.
// So a thread waits for slots while it holds some only inside this lock: every other slot is then
// free or belongs to an op that was accepted whole.
int Engine::begin_gather() {
    const Deadline deadline = Deadline::after(config.submit_timeout_ns);
    while (gathering_.exchange(1, std::memory_order_acquire) != 0) {
        const int code = closing.load(std::memory_order_seq_cst) ? FSYS_E_CLOSED : poisoned();
        if (code != 0 || deadline.passed()) {
            return code != 0 ? code : -EAGAIN;
        }
        if (config.caller_driven && is_driver_thread()) {
            turn(1'000'000);  // the holder waits for slots that only this thread frees
        } else {
            futex_wait(&gathering_, 1, deadline);
        }
    }
    return 0;
}

// Wakes one waiter at a time, also when the handle closes: each passes it on.
void Engine::end_gather() {
    gathering_.store(0, std::memory_order_release);
    futex_wake(&gathering_, 1);
}

// The slots of one array of requests, and its part of the submission list. On its submitter's stack.
class Engine::Slots {
public:
    explicit Slots(Engine &engine) : engine_(engine) {}
    Slots(const Slots &) = delete;
    Slots &operator=(const Slots &) = delete;
    ~Slots() { engine_.ops.free(spare_, spares_); }

    // A free slot, or kNil. They are taken by the chunk: `wanted` are still to come.
    std::uint32_t take(std::uint32_t wanted) {
        if (spares_ == 0) {
            spares_ = engine_.ops.allocate(spare_, std::min(kSlotChunk, wanted));
        }
        return spares_ != 0 ? spare_[--spares_] : kNil;
    }
    // Hands a LISTED op to its lane; to the driver with others of the array, by push().
    void enlist(Op &op, std::uint32_t index, unsigned lane) {
        if (lane == FSYS_LANE_RING && !engine_.driver.unavailable()) {
            op.next.store(newest_, memory_order_relaxed);
            newest_ = index;
            oldest_ = oldest_ == kNil ? index : oldest_;
        } else {
            engine_.enlist(index, lane);
        }
    }
    void push() {
        if (newest_ != kNil) {
            engine_.list.push(newest_, oldest_, [this](std::uint32_t i) -> auto & {
                return engine_.ops.link(i);
            });
            engine_.ring_bell();
            newest_ = oldest_ = kNil;
        }
    }

private:
    Engine &engine_;
    std::uint32_t newest_ = kNil;
    std::uint32_t oldest_ = kNil;
    std::uint32_t spares_ = 0;
    std::uint32_t spare_[kSlotChunk];
};

// The lane of a request, and whether it is acceptable.
inline int Engine::examine(const Request &r, unsigned &lane) {
    int code = check(r);
    if (code != 0) {
        return code;
    }
    lane = route(r.target, r.opcode);
    if (lane == FSYS_LANE_RING && !driver.running()) {
        code = driver.start();
        lane = route(r.target, r.opcode);  // it may have turned out that there is no ring
    }
    return code;
}

// Each op, and each linked run, stands or falls by itself.
int Engine::submit_many(const Requests &requests, std::uint32_t count, fsys_op *ret_ops) {
    const Stats::Tally tally = stats.tally(current_shard());
    const std::uint64_t bound = ret_ops == nullptr ? op_word::kQueueBound : 0;
    // A batch that was rung for is executed as a batch: no waiter claims out of it.
    const bool alone = count == 1 && ret_ops != nullptr;
    const bool hints = ret_ops != nullptr && !config.caller_driven;
    Slots slots(*this);
    std::uint32_t accepted = 0;
    int refusal = 0;
    while (accepted < count) {
        const Request r = requests[accepted];
        if ((r.flags & FSYS_LINK) != 0) [[unlikely]] {
            refusal = submit_run(requests, accepted, count, ret_ops, slots);
            if (refusal != 0) {
                break;
            }
            continue;
        }
        unsigned lane = 0;
        refusal = examine(r, lane);
        if (refusal != 0) {
            break;
        }
        std::uint32_t index = slots.take(count - accepted);
        if (index == kNil) [[unlikely]] {
            slots.push();  // what was accepted must run, or no slot will ever become free
            // Slots that hold tokens of this very call are freed by nobody else.
            const bool own = ret_ops != nullptr && accepted != 0;
            index = allocate(own ? r.flags | FSYS_NONBLOCK : r.flags, refusal);
            if (index == kNil) {
                break;
            }
        }
        Op &op = ops[index];
        try {
            fill(op, r, ret_ops == nullptr, tally.sample() ? now_ns() : 0);
        } catch (const std::bad_alloc &) {
            ops.free(index);
            refusal = -ENOMEM;
            break;
        }
        FSYS_PROBE3(submit, index, r.opcode, r.length);
        const std::uint64_t free_word = op.word.load(memory_order_relaxed);
        if (ret_ops != nullptr) {
            ret_ops[accepted] = token(index, free_word);
        }
        ++accepted;
        const std::uint64_t word = op_word::with_state(free_word, OpState::kQueued) | bound |
                                   lane_bits(r.target, lane);
        if (hints && (r.flags & FSYS_WAIT_SOON) != 0 && is_claimable(r)) {
            op.word.store(word | op_word::kClaimable, memory_order_release);
            if (!ticker.note()) {
                publish(index, word | op_word::kClaimable);
            }
            continue;
        }
        op.word.store(word | op_word::kListed |
                          (alone && is_claimable(r) ? op_word::kClaimable : 0),
                      memory_order_release);
        slots.enlist(op, index, lane);
    }
    slots.push();
    return accepted != 0 ? static_cast<int>(accepted) : refusal;
}

// The linked run that starts at `from`, all of it or nothing; moves `from` behind it.
int Engine::submit_run(const Requests &requests, std::uint32_t &from, std::uint32_t count,
                       fsys_op *ret_ops, Slots &slots) {
    unsigned lane = 0;
    std::uint32_t end = from;
    for (bool more = true; more; ++end) {
        const Request r = requests[end];
        more = (r.flags & FSYS_LINK) != 0;
        const int code = examine(r, lane);
        if (code != 0 || (more && end + 1 == count)) {
            return code != 0 ? code : -EINVAL;
        }
    }
    const Stats::Tally tally = stats.tally(current_shard());
    const std::uint64_t bound = ret_ops == nullptr ? op_word::kQueueBound : 0;
    std::uint32_t first = kNil;
    std::uint32_t previous = kNil;
    bool gathering = false;
    int code = end - from > config.max_ops ? -EAGAIN : 0;
    // Nothing of the run is visible yet. Its slots are chained through `link`.
    const auto undo = [&] {
        while (first != kNil) {
            const std::uint32_t next = ops[first].link;
            Op &undone = ops[first];
            drop_iovecs(undone);
            undone.word.store(op_word::same_generation(undone.word.load(memory_order_relaxed),
                                                       OpState::kFree),
                              memory_order_relaxed);
            ops.free(first);
            first = next;
        }
        previous = kNil;
    };
    for (std::uint32_t i = from; i < end && code == 0; ++i) {
        const Request r = requests[i];
        std::uint32_t index = slots.take(count - i);
        if (index == kNil) {
            slots.push();
            if (i != from && !gathering && (r.flags & FSYS_NONBLOCK) == 0) {
                undo();
                code = begin_gather();
                gathering = code == 0;
                i = from - 1;
                continue;
            }
            const bool own = ret_ops != nullptr && from != 0;
            index = allocate(own ? r.flags | FSYS_NONBLOCK : r.flags, code);
        }
        if (index == kNil) {
            break;
        }
        Op &op = ops[index];
        try {
            fill(op, r, ret_ops == nullptr, tally.sample() ? now_ns() : 0);
        } catch (const std::bad_alloc &) {
            ops.free(index);
            code = -ENOMEM;
            break;
        }
        FSYS_PROBE3(submit, index, r.opcode, r.length);
        const std::uint64_t word = op.word.load(memory_order_relaxed) | bound |
                                   lane_bits(r.target, route(r.target, r.opcode));
        op.word.store(word, memory_order_relaxed);
        if (ret_ops != nullptr) {
            ret_ops[i] = token(index, word);
        }
        if (first == kNil) {
            first = index;
        } else {
            ops[previous].link = index;
            ops[previous].link_generation = op_word::generation(word);
        }
        previous = index;
    }
    if (gathering) {
        end_gather();
    }
    if (code != 0) {
        undo();
        return code;
    }
    // Held ones first: the head may complete, and release them, as soon as it is visible.
    for (std::uint32_t at = ops[first].link; at != kNil; at = ops[at].link) {
        ops[at].word.store(op_word::with_state(ops[at].word.load(memory_order_relaxed),
                                               OpState::kHeld),
                           memory_order_release);
    }
    Op &head = ops[first];
    const std::uint64_t word =
        op_word::with_state(head.word.load(memory_order_relaxed), OpState::kQueued);
    head.word.store(word | op_word::kListed, memory_order_release);
    slots.enlist(head, first, op_word::lane(word));
    from = end;
    return 0;
}

}  // namespace libfsys
