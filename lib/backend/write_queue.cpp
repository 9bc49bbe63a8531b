// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Linux AIO by its system calls: there is nothing in libaio that they do not do. Direct writes to
// blocks that exist are truly asynchronous; others may be carried out within submit(), which is
// slow but right.

#include "backend/write_queue.hpp"

#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace libfsys {
namespace {

class AioQueue final : public WriteQueue {
public:
    explicit AioQueue(aio_context_t context) : context_(context) {}
    // Cancels what can be and waits for the rest. In a fork child the number is nobody's: the error
    // is no loss, the memory there is a copy.
    ~AioQueue() override { ::syscall(SYS_io_destroy, context_); }

    int submit(int fd, const void *bytes, std::size_t length, std::uint64_t offset,
               unsigned tag) override {
        iocb block{};
        block.aio_data = tag;
        block.aio_lio_opcode = IOCB_CMD_PWRITE;
        block.aio_fildes = static_cast<std::uint32_t>(fd);
        block.aio_buf = reinterpret_cast<std::uint64_t>(bytes);
        block.aio_nbytes = length;
        block.aio_offset = static_cast<std::int64_t>(offset);
        iocb *list = &block;
        return ::syscall(SYS_io_submit, context_, 1, &list) == 1 ? 0 : -errno;
    }

    int reap(Done *done, unsigned count, bool wait) override {
        io_event events[kMost];
        for (;;) {
            const long n = ::syscall(SYS_io_getevents, context_, wait ? 1 : 0,
                                     std::min(count, kMost), events, nullptr);
            if (n >= 0) {
                for (long i = 0; i < n; ++i) {
                    done[i] = {static_cast<unsigned>(events[i].data),
                               static_cast<ssize_t>(events[i].res)};
                }
                return static_cast<int>(n);
            }
            if (errno != EINTR) {
                return -errno;
            }
        }
    }

private:
    static constexpr unsigned kMost = 16;
    const aio_context_t context_;
};

}  // namespace

std::unique_ptr<WriteQueue> make_aio_queue(unsigned depth) {
    aio_context_t context = 0;
    if (::syscall(SYS_io_setup, depth, &context) != 0) {
        return nullptr;
    }
    auto *queue = new (std::nothrow) AioQueue(context);
    if (queue == nullptr) {
        ::syscall(SYS_io_destroy, context);
    }
    return std::unique_ptr<WriteQueue>(queue);
}

}  // namespace libfsys
