// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Writes that go on in the kernel while the caller does other things: what keeps a device busy
// between two writes of a log. Part of the seam of syscalls.hpp, so that a simulated disk can have
// one too.
//
// One thread at a time, and not always the same one: that is why the real one is of Linux AIO
// (io_submit(2)) and not an io_uring. A request of a ring is completed by the task that submitted
// it, which is interrupted for it, in the midst of an application's epoll_wait(2) if need be (which
// then returns EINTR), and is waited for in vain by another thread when DEFER_TASKRUN spares it
// that. An AIO request is completed by the interrupt, and any thread may take it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <sys/types.h>

namespace libfsys {

class WriteQueue {
public:
    struct Done {
        unsigned tag;
        ssize_t result;  // as of pwrite(2), or a negative errno
    };

    WriteQueue() = default;
    WriteQueue(const WriteQueue &) = delete;
    WriteQueue &operator=(const WriteQueue &) = delete;
    // Returns when the kernel needs no memory of any request any more.
    virtual ~WriteQueue() = default;

    // 0, or a negative errno and nothing has begun. The bytes stay as they are until the tag is
    // reaped.
    virtual int submit(int fd, const void *bytes, std::size_t length, std::uint64_t offset,
                       unsigned tag) = 0;
    // What has ended, in any order, up to `count`: how many; at least one is waited for when
    // `wait`. A negative errno: nothing can be known of any of them any more.
    virtual int reap(Done *done, unsigned count, bool wait) = 0;
};

// Null when the system has none (fs.aio-max-nr is used up, a kernel or a sandbox without AIO).
std::unique_ptr<WriteQueue> make_aio_queue(unsigned depth);

}  // namespace libfsys
