// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An asynchronous executor of requests: io_uring, its stand-in without a kernel ring
// (backend/threads/), or a test's fake that is short, late, reordered or dead. One thread, the
// driver, owns a queue and makes every call but wake().
#pragma once

#include <cstddef>
#include <cstdint>

namespace libfsys {

struct AsyncRequest {
    std::uint32_t opcode = 0;        // FSYS_OP_*
    int fd = -1;
    int registered_file = -1;        // place in the file table, or -1: use fd
    const void *buffer = nullptr;    // bytes, or iovecs for the vectored opcodes
    std::uint32_t length = 0;        // bytes, or number of iovecs
    std::uint64_t offset = 0;        // kStreamOffset: the descriptor's own position
    std::uint64_t sync_length = 0;   // FSYS_OP_SYNC and _ALLOCATE: range; 0 with SYNC: whole file
    int rwf = 0;                     // RWF_*
    int mode = 0;                    // FSYS_OP_ALLOCATE: FALLOC_FL_*
    bool registered_buffer = false;  // bytes lie in the registered arena
    bool device = false;             // goes to a device now (direct IO): start it without delay
    bool data_only = false;          // FSYS_OP_SYNC: fdatasync
    std::uint64_t cookie = 0;        // comes back in the result; below 2^32
};

struct AsyncResult {
    std::uint64_t cookie;
    std::int32_t result;  // >= 0, or a negative errno
};

struct AsyncFacts {
    std::uint32_t flags = 0;
    std::uint32_t features = 0;
    std::uint32_t sq_entries = 0;
    std::uint32_t cq_entries = 0;
    std::uint32_t registered_files = 0;
    bool registered_arena = false;
};

struct AsyncCounters {
    std::uint64_t enters = 0;
    std::uint64_t entries = 0;
};

class AsyncQueue {
public:
    AsyncQueue() = default;
    AsyncQueue(const AsyncQueue &) = delete;
    AsyncQueue &operator=(const AsyncQueue &) = delete;
    virtual ~AsyncQueue() = default;

    // Makes the queue on the calling thread, which owns it from then on. 0 or a negative errno.
    virtual int open() = 0;

    // Accepts a request, or returns false when it is full until the next turn(). At most
    // max_in_flight() requests (cancels not counted) may be without a result at a time.
    virtual bool put(const AsyncRequest &request) = 0;
    virtual std::uint32_t max_in_flight() const = 0;

    // Asks for the request with this cookie to be ended; its own result tells. False: full.
    virtual bool put_cancel(std::uint64_t cookie) = 0;

    // Hands over what was put, collects up to `max` results; when there are none sleeps up to
    // `wait_ns` (0: not at all, -1: without limit) for a result or a wake(). Returns their number,
    // or a negative errno when the queue is broken for good.
    virtual int turn(AsyncResult *results, unsigned max, std::int64_t wait_ns) = 0;

    // Ends a turn() that sleeps, or the next one that would. Any thread, async-signal-safe.
    virtual void wake() = 0;

    // The file table. 0 or a negative errno; a queue without one refuses.
    virtual int register_file(std::uint32_t place, int fd) = 0;
    virtual void unregister_file(std::uint32_t place) = 0;
    virtual int register_arena(void *base, std::size_t size) = 0;

    // A descriptor that polls readable while results are there to collect, or -1.
    virtual int poll_fd() const = 0;
    // For an outer event loop, to poll beside poll_fd(): readable when a request under way can go
    // on, which only a turn() does. Made by the first call; turn() resets it. -1: none.
    virtual int progress_fd() { return -1; }
    // The descriptor behind wake(), to poll beside poll_fd().
    virtual int wake_fd() const = 0;

    virtual AsyncFacts facts() const = 0;
    // Counted by the driver thread; read by it alone.
    virtual AsyncCounters counters() const = 0;
};

}  // namespace libfsys
