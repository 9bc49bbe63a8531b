// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The engine: one op, one slot; whoever claims it executes it. This header is the map: the parts
// and the operations on them. Each .cpp of this folder implements one of the groups below.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/async_queue.hpp"
#include "backend/syscalls.hpp"
#include "backend/uring/probe.hpp"
#include "engine/batch.hpp"
#include "engine/completion_queue.hpp"
#include "engine/doorbell.hpp"
#include "engine/driver.hpp"
#include "engine/groups.hpp"
#include "engine/op_table.hpp"
#include "engine/pool.hpp"
#include "engine/poller.hpp"
#include "engine/presence.hpp"
#include "engine/sharded.hpp"
#include "engine/stats.hpp"
#include "engine/target.hpp"
#include "engine/ticker.hpp"
#include "fsys/fsys.h"
#include "platform/raw_syscall.hpp"

namespace libfsys {

// Every number is final: defaults applied, ranges checked.
struct EngineConfig {
    bool uring = true;
    bool caller_driven = false;
    bool uring_required = false;
    std::uint32_t max_ops = 4096;
    std::uint32_t max_files = 65536;
    std::uint32_t pool_threads = 4;
    std::uint32_t file_places = 1024;
    std::int64_t close_timeout_ns = 5'000'000'000;
    std::int64_t submit_timeout_ns = 10'000'000'000;
    std::uint64_t arena_bytes = 8u << 20;
    std::uint32_t handle_index = 0;
    std::uint64_t seed = 0;  // of the generations
    UringVerdict verdict;    // why uring is what it is
    const Presence<kShards> *callers = nullptr;  // who is inside the handle, and pins files
    // Test seams.
    Syscalls *syscalls = nullptr;
    std::function<std::unique_ptr<AsyncQueue>()> make_queue;
};

// What a system call, or several, made of an op.
struct Outcome {
    std::int64_t result = 0;
    std::uint64_t done = 0;
    std::uint8_t step = 0;
};

// An op before it has a slot.
struct Request {
    std::uint32_t opcode = 0;
    std::uint32_t flags = 0;
    Target *target = nullptr;
    void *buffer = nullptr;
    std::uint64_t length = 0;
    std::uint64_t offset = 0;
    std::uint64_t user_data = 0;
};

// A caller's array, with the targets of its files, and flags that all have besides their own.
struct Requests {
    const fsys_request *list;
    Target *const *targets;
    std::uint32_t flags;

    Request operator[](std::uint32_t i) const {
        const fsys_request &r = list[i];
        const bool whole = r.opcode == FSYS_OP_SYNC && (r.flags & FSYS_SYNC_RANGE) == 0;
        return Request{r.opcode, r.flags | flags,        targets[i],  r.buffer,
                       whole ? 0 : r.length, whole ? 0 : r.offset, r.user_data};
    }
};

// What an op of any kind may have.
inline constexpr std::uint32_t kCommonFlags = FSYS_WAIT_SOON | FSYS_NONBLOCK | FSYS_LINK;

void fill_iovecs(Op &op, const void *iovecs, std::uint64_t count);
// Fills a slot that was just allocated. Throws std::bad_alloc, and then the slot is still free. What a
// field of a free slot always is, is not stored again: `iov` is nullptr.
inline void fill(Op &op, const Request &r, bool queue_bound, std::int64_t started_ns) {
    op.length = r.length;
    if (r.opcode == FSYS_OP_READV || r.opcode == FSYS_OP_WRITEV) [[unlikely]] {
        fill_iovecs(op, r.buffer, r.length);
    }
    op.flags = r.flags;
    op.opcode = static_cast<std::uint8_t>(r.opcode);
    op.queue_bound = queue_bound;
    op.target.store(r.target, std::memory_order_relaxed);
    op.buffer = r.buffer;
    op.offset = r.offset;
    op.done = 0;
    op.user_data.store(r.user_data, std::memory_order_relaxed);
    op.started_ns = started_ns;
    op.link = kNil;
    op.retries = 0;
}

// Wakes owed to waiters, paid after a whole batch is published: a woken waiter then finds all of its
// ops done. Completions without a token are chained and pushed once.
class Publisher {
public:
    explicit Publisher(Engine &engine);
    Publisher(const Publisher &) = delete;
    Publisher &operator=(const Publisher &) = delete;
    ~Publisher() { flush(); }

    void to_queue(std::uint32_t op, Op &slot) {
        slot.cq_next = newest_;
        newest_ = op;
        if (oldest_ == kNil) {
            oldest_ = op;
        }
    }
    void wake(const void *futex);
    // A user of the file less. Runs of the same file cost one atomic.
    void leave(Target *target) {
        if (target != left_) {
            leave_now();
            left_ = target;
        }
        ++left_count_;
    }
    void flush();
    const Stats::Tally &tally() const { return tally_; }

private:
    void leave_now();

    static constexpr unsigned kMost = 64;
    Engine &engine_;
    const unsigned shard_ = current_shard();
    const Stats::Tally tally_;
    Target *left_ = nullptr;
    std::int64_t left_count_ = 0;
    std::uint32_t newest_ = kNil;
    std::uint32_t oldest_ = kNil;
    unsigned count_ = 0;
    const void *futexes_[kMost];
};

// RWF_* flags of an op.
inline int rwf_of(std::uint32_t flags) {
    return ((flags & FSYS_DURABLE) != 0 ? RWF_DSYNC : 0) |
           ((flags & FSYS_ATOMIC) != 0 ? kRwfAtomic : 0);
}

// Who ends external ops.
class ExternalWork {
public:
    // Of a caller-driven handle, which has no thread but the caller's: on the driver thread, in a turn.
    // How many ops were ended.
    virtual int drive() = 0;
    virtual bool waiting() const = 0;
    // Any thread. True: this op will not be ended from there any more, the caller must.
    virtual bool revoke(fsys_op op) = 0;

protected:
    ~ExternalWork() = default;
};

class Engine {
public:
    explicit Engine(const EngineConfig &config);  // throws std::bad_alloc
    ~Engine();

    // -- engine.cpp: tokens, poison, facts
    // generation | handle index | slot
    static constexpr unsigned kIndexBits = 16;
    fsys_op token(std::uint32_t index, std::uint64_t word) const {
        return (word & op_word::kGenerationMask) |
               std::uint64_t{config.handle_index} << kIndexBits | index;
    }
    static std::uint32_t slot_of(fsys_op token) {
        return static_cast<std::uint32_t>(token & ((1u << kIndexBits) - 1));
    }
    Op *find(fsys_op token, std::uint64_t &generation);
    void poison(int code, const char *sentence);
    void end_waiting_ops(int code);
    // seq_cst: who changes the word that it sleeps on and then looks here, and poison(), which stores
    // the code and then changes that word, cannot miss one another.
    int poisoned() const { return poison_code_.load(std::memory_order_seq_cst); }
    void poison_file(Target &target, int error, const char *what);
    int cause(char *text, std::size_t size);
    int file_cause(const Target &target, char *text, std::size_t size);
    bool forked() const { return *alive_page_ == 0; }
    bool is_driver_thread() const { return pthread_equal(pthread_self(), creator_) != 0; }
    void describe(fsys_handle_info &info);
    std::uint64_t in_flight();
    // Runs `each(op index, word)` over all slots in use.
    template <class F>
    void each_op(F &&each) {
        const std::uint32_t touched = ops.touched();
        for (std::uint32_t i = 0; i < touched; ++i) {
            const std::uint64_t word = ops[i].word.load(memory_order_seq_cst);
            if (op_word::state(word) != OpState::kFree) {
                each(i, word);
            }
        }
    }

    // -- submit.cpp
    int check(const Request &r) const {
        if (r.opcode <= FSYS_OP_WRITE && (r.flags & ~kCommonFlags) == 0 &&
            (r.opcode == FSYS_OP_NOP || is_plain_transfer(r))) {
            return poisoned();
        }
        return check_all(r);
    }
    int submit_one(const Request &request, fsys_op *ret_op);
    int submit_many(const Requests &requests, std::uint32_t count, fsys_op *ret_ops);
    // Makes a QUEUED (unlisted) or HELD op visible to the lane that suits it.
    void publish(std::uint32_t op, std::uint64_t word);
    // Hands a LISTED op to a lane, which takes over that reference.
    void enlist(std::uint32_t op, unsigned lane);
    unsigned route(const Target *target, std::uint32_t opcode) const;
    std::uint32_t allocate(std::uint32_t flags, int &code);
    void ring_bell();

    // -- execute.cpp
    Outcome execute(Target *target, std::uint32_t opcode, std::uint32_t flags, void *buffer,
                    iovec *iov, std::uint32_t iov_count, std::uint64_t length, std::uint64_t offset,
                    std::uint64_t already);
    Outcome execute(Op &op);
    // Nothing but the arguments decides what a transfer does: no test in between, no poison.
    bool is_plain() const { return real_calls_ && poisoned() == 0; }
    // One whole transfer, the common case in the caller's frame; whatever else comes of it goes on
    // in execute_from().
    [[gnu::always_inline]] Outcome transfer(Target &target, std::uint32_t opcode,
                                            std::uint32_t flags, void *buffer, std::uint64_t length,
                                            std::uint64_t offset) {
        if (!real_calls_ || length == 0 || length > kMaxPiece || target.stream ||
            (flags & (FSYS_DURABLE | FSYS_ATOMIC)) != 0) {
            return execute(&target, opcode, flags, buffer, nullptr, 0, length, offset, 0);
        }
        const long n = opcode == FSYS_OP_READ ? raw_pread(target.fd, buffer, length, offset)
                                              : raw_pwrite(target.fd, buffer, length, offset);
        if (n == static_cast<long>(length)) {
            return Outcome{n, length, 0};
        }
        return execute_from(n, target, opcode, flags, buffer, length, offset);
    }
    [[gnu::always_inline]] long nowait_read(int fd, void *buffer, std::uint64_t length,
                                            std::uint64_t offset) {
        if (!real_calls_) {
            return sys.pread(fd, buffer, length, offset, RWF_NOWAIT);
        }
        const iovec iov{buffer, length};
        return raw_syscall(SYS_preadv2, fd, reinterpret_cast<long>(&iov), 1,
                           static_cast<long>(offset), 0, RWF_NOWAIT);
    }
    // Goes on after a first transfer call that returned `n`.
    Outcome execute_from(std::int64_t n, Target &target, std::uint32_t opcode, std::uint32_t flags,
                         void *buffer, std::uint64_t length, std::uint64_t offset);
    // What one transfer call returned. True: the op has ended and `out` is final. Shared by every
    // executor, so that short IO, EOF and retries mean the same on all of them.
    bool progress(const Target &target, std::uint32_t opcode, std::uint32_t flags,
                  std::uint64_t length, std::int64_t returned, std::uint8_t &retries,
                  Outcome &out);
    // Interprets a failure of a sync or durable write: poisons the file where the kernel may have
    // dropped dirty pages.
    std::uint8_t failed(Target *target, std::uint32_t opcode, std::uint32_t flags, int error);
    // Publishes the completion of an op that the caller holds in state `from`, and starts or fails
    // what is linked behind it.
    void complete(Op &op, OpState from, const Outcome &outcome, unsigned lane, Publisher &out,
                  OpState to = OpState::kDone);
    // Adds a user if this generation is open. The add comes first: see presence.hpp.
    bool acquire_user(Target &target, std::uint64_t generation, unsigned shard) {
        target.users.add(shard, 1);
        if (target.alive(generation)) {
            return true;
        }
        release_user(target, shard);
        return false;
    }
    void release_user(Target &target, unsigned shard, std::int64_t count = 1) {
        if (targets.release(target, shard, count)) {
            finish_file_close(target);
        }
    }
    // A pin has gone from a door that is not as it was.
    void pin_left(std::uint32_t index) {
        Target *target = targets.at(index);
        if (target != nullptr && targets.user_left(*target)) {
            finish_file_close(*target);
        }
    }
    // The part of completing that only looks at the op: result, counters, what its memory saw.
    void record(Op &op, const Outcome &outcome, unsigned lane, const Stats::Tally &tally);

    // -- waiting.cpp
    int wait(fsys_op token, std::int64_t timeout_ns, fsys_result *result);
    int try_take(fsys_op token, fsys_result *result);
    int wait_any(const fsys_op *tokens, std::uint32_t count, std::int64_t timeout_ns,
                 std::uint32_t *index, fsys_result *result);
    int wait_all(const fsys_op *tokens, std::uint32_t count, std::int64_t timeout_ns,
                 fsys_result *results);
    int reap(fsys_result *results, std::uint32_t max, std::int64_t timeout_ns);
    void copy_out(Op &op, fsys_op token, fsys_result *result);
    void give_back(Op &op);
    // One turn of a caller-driven handle, on its driver thread.
    void drive(std::int64_t wait_ns);
    // The same with the code; the driver must be running. Does waiting external work first.
    int turn(std::int64_t wait_ns);
    // After another thread has ended ops of a caller-driven handle: the driver thread, which waits for
    // the queue alone, must look again.
    void tell_driver() {
        if (config.caller_driven && !is_driver_thread()) {
            driver.nudge();
        }
    }

    // -- external.cpp
    // Takes a slot for an op that somebody else will end, exactly once, by one of the two below.
    int begin_external(std::uint32_t opcode, std::uint32_t flags, std::uint64_t user_data,
                       bool queue_bound, std::uint32_t &ret_index, fsys_op &ret_op);
    void drop_external(std::uint32_t index);  // as if it had never been: nobody saw the token
    void end_external(std::uint32_t index, std::int64_t result, unsigned lane, Publisher &out,
                      std::uint8_t step = FSYS_STEP_SYNC);  // `step` of a failure

    // -- cancel.cpp
    int cancel(fsys_op token);
    // All queue ops with this user_data; how many were ended or asked to end.
    int cancel_queued(std::uint64_t user_data);
    // True when the op was ended or asked to end; false when it is too late for that.
    bool cancel_op(std::uint32_t op, std::uint64_t word, Publisher &out);

    // -- close.cpp
    int close_file(Target &target, std::uint64_t generation);
    int finish_file_close(Target &target);  // what close(2) reported
    // Ends an entry whose descriptor was only lent, once all its ops have been taken.
    void forget_file(Target &target, std::uint64_t generation);
    // After admission has stopped. False: something is still in use, the engine must be leaked.
    bool shut_down(const std::function<bool()> &callers_gone);
    void close_in_child();

    const EngineConfig config;
    Syscalls &sys;
    Stats stats;
    OpTable ops;
    TargetTable targets;
    CompletionQueue completions;
    Groups groups;
    SubmitList list;
    Doorbell bell;
    Pool pool;
    Poller poller;
    Ticker ticker;
    BatchRings batches;
    Driver driver;
    ExternalWork *external = nullptr;  // set before the first op
    std::atomic<bool> closing{false};
    int root_fd = -1;
    // Set by lib/file: memory that fixed-buffer opcodes may use.
    std::atomic<std::uintptr_t> arena_base{0};
    std::atomic<std::size_t> arena_size{0};

private:
    static bool is_plain_transfer(const Request &r) {
        const Target &target = *r.target;
        return (r.opcode == FSYS_OP_READ ? target.readable : target.writable) && !target.direct &&
               r.buffer != nullptr && (r.length | r.offset) <= INT64_MAX / 2;
    }
    // By value: a request whose address nothing takes stays in registers.
    int check_all(Request request) const;
    class Slots;
    int examine(const Request &request, unsigned &lane);
    int submit_run(const Requests &requests, std::uint32_t &from, std::uint32_t count,
                   fsys_op *ret_ops, Slots &slots);
    int begin_gather();
    void end_gather();
    bool left_to_waiter(fsys_op issued, unsigned shard);

    // The write that a thread of this shard last left for its waiter.
    struct alignas(kCacheLine) Lone {
        std::atomic<fsys_op> left{0};
    };
    Lone lone_[kShards];
    std::atomic<std::uint32_t> gathering_{0};  // futex: a thread gathers slots for a linked run
    std::atomic<int> poison_code_{0};
    std::mutex cause_mutex_;
    char cause_[256] = {};
    struct FileCause {
        const Target *target;
        std::uint64_t word;
        std::string text;
    };
    std::vector<FileCause> file_causes_;
    // One page that a fork child finds zeroed (MADV_WIPEONFORK, Linux 4.14): telling parent from
    // child costs a load, where getpid() costs a system call.
    volatile std::uint32_t *alive_page_;
    const bool real_calls_;  // no test stands between: `sys` may be passed by
    const pthread_t creator_;
};

inline Publisher::Publisher(Engine &engine)
    : engine_(engine), tally_(engine.stats.tally(shard_)) {}

}  // namespace libfsys
