// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The poller's thread, which it owns together with the list of waiting ops. push() and wake() are
// called by any thread. Ops in its care stay QUEUED, so that cancel can claim them.

#include "engine/poller.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <system_error>

#include "engine/engine.hpp"
#include "engine/start_thread.hpp"

namespace libfsys {

Poller::~Poller() {
    const int fd = wake_fd_.load();
    if (fd >= 0) {
        ::close(fd);
    }
}

int Poller::start() {
    if (stopping_) {
        return -ESHUTDOWN;
    }
    if (thread_.joinable()) {
        return 0;
    }
    if (wake_fd_.load() < 0) {
        const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0) {
            return -errno;
        }
        wake_fd_.store(fd);
    }
    try {
        thread_ = start_thread([this] {
            work();
            ended_.store(1, std::memory_order_seq_cst);
            futex_wake(&ended_);
        });
    } catch (const std::exception &) {
        return -EAGAIN;
    }
    return 0;
}

int Poller::push(std::uint32_t op) {
    const std::lock_guard lock(mutex_);
    const int code = start();
    if (code != 0) {
        return code;
    }
    arriving_.push_back(op);
    wake();
    return 0;
}

void Poller::wake() {
    const int fd = wake_fd_.load();
    if (fd >= 0) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t n = ::write(fd, &one, sizeof one);
    }
}

void Poller::work() {
    ::pthread_setname_np(pthread_self(), "fsys-poller");
    std::vector<std::uint32_t> waiting;
    std::vector<pollfd> set;
    for (;;) {
        {
            const std::lock_guard lock(mutex_);
            waiting.insert(waiting.end(), arriving_.begin(), arriving_.end());
            arriving_.clear();
        }
        set.assign(1, pollfd{wake_fd_.load(), POLLIN, 0});
        std::size_t kept = 0;
        // Back to where cancel can reach it. A cancel that came meanwhile has only set its bit.
        const auto let_go = [&](std::uint32_t index, const pollfd &ready) {
            Op &op = engine_.ops[index];
            const std::uint64_t before = op.word.fetch_xor(
                op_word::bits(OpState::kClaimed) ^ op_word::bits(OpState::kQueued),
                memory_order_acq_rel);
            set.push_back(pollfd{ready.fd, ready.events, 0});
            waiting[kept++] = index;
            if ((before & op_word::kCancel) != 0) {
                Publisher out(engine_);
                engine_.cancel_op(index, op.word.load(memory_order_acquire), out);
                wake();
            }
        };
        for (const std::uint32_t index : waiting) {
            Op &op = engine_.ops[index];
            const std::uint64_t word = op.word.load(memory_order_acquire);
            // Claimed for a moment, so that its fields may be read and tried.
            if (op_word::state(word) != OpState::kQueued ||
                !op_word::claim(op.word, word, OpState::kClaimed)) {
                if (op_word::unlist(op.word)) {
                    engine_.ops.free(index);
                }
                continue;
            }
            const bool read = op.opcode == FSYS_OP_READ || op.opcode == FSYS_OP_READV;
            const bool write = op.opcode == FSYS_OP_WRITE || op.opcode == FSYS_OP_WRITEV;
            const int fd = op.file()->fd;
            pollfd ready{fd, static_cast<short>(read ? POLLIN : POLLOUT), 0};
            if ((read || write) && ::poll(&ready, 1, 0) == 0) {
                let_go(index, ready);
                continue;
            }
            // Ready: one transfer that cannot block. POLLOUT on a pipe promises room for PIPE_BUF
            // bytes and no more.
            Publisher out(engine_);
            Outcome outcome;
            outcome.done = op.done;
            if (read || write) {
                const bool vectored = op.iov != nullptr;
                char *bytes = vectored ? static_cast<char *>(op.iov[op.iov_at].iov_base)
                                       : static_cast<char *>(op.buffer) + op.done;
                std::size_t left = vectored ? op.iov[op.iov_at].iov_len : op.length - op.done;
                const ssize_t n =
                    read ? engine_.sys.pread(fd, bytes, std::min(left, kMaxPiece), kStreamOffset, 0)
                         : engine_.sys.pwrite(fd, bytes, std::min<std::size_t>(left, PIPE_BUF),
                                              kStreamOffset, 0);
                if (n == -EAGAIN ||
                    !engine_.progress(*op.file(), op.opcode, op.flags, op.length, n, op.retries,
                                      outcome)) {
                    op.done = outcome.done;
                    if (vectored && n > 0) {
                        consume(op, static_cast<std::size_t>(n));
                    }
                    let_go(index, ready);
                    continue;
                }
            } else {
                outcome = engine_.execute(op);
            }
            op_word::unlist(op.word);
            engine_.complete(op, OpState::kClaimed, outcome, FSYS_LANE_POOL, out);
        }
        waiting.resize(kept);
        {
            // Here and not before the work above: one wake may tell of the last cancel and of the
            // end together. A later stop() finds the descriptor drained and makes it readable.
            const std::lock_guard lock(mutex_);
            if (stopping_ && waiting.empty() && arriving_.empty()) {
                return;
            }
        }
        ::poll(set.data(), set.size(), -1);
        if (set[0].revents != 0) {
            std::uint64_t drained;
            [[maybe_unused]] const ssize_t n = ::read(set[0].fd, &drained, sizeof drained);
        }
    }
}

void Poller::close_in_child() {
    const int fd = wake_fd_.exchange(-1);
    if (fd >= 0) {
        ::close(fd);
    }
}

bool Poller::stop(std::int64_t deadline_ns) {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        if (!thread_.joinable()) {
            return true;
        }
        wake();
    }
    while (ended_.load(std::memory_order_seq_cst) == 0 && now_ns() < deadline_ns) {
        futex_wait(&ended_, 0, Deadline::after(deadline_ns - now_ns()));
    }
    const bool ended = ended_.load(std::memory_order_seq_cst) != 0;
    ended ? thread_.join() : thread_.detach();
    return ended;
}

}  // namespace libfsys
