// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Executing requests on the driver thread itself. Requests on streams wait until poll(2) says that
// they will not block.

#include "backend/threads/inline_queue.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "fsys/fsys.h"

namespace libfsys {
namespace {

bool is_write(const AsyncRequest &r) {
    return r.opcode == FSYS_OP_WRITE || r.opcode == FSYS_OP_WRITEV;
}
bool is_stream(const AsyncRequest &r) {
    return r.offset == kStreamOffset && (is_write(r) || r.opcode == FSYS_OP_READ ||
                                         r.opcode == FSYS_OP_READV);
}
pollfd watch(const AsyncRequest &r) {
    return pollfd{r.fd, static_cast<short>(is_write(r) ? POLLOUT : POLLIN), 0};
}

}  // namespace

InlineQueue::~InlineQueue() {
    for (const int fd : {wake_fd_, progress_fd_}) {
        if (fd >= 0) {
            ::close(fd);
        }
    }
}

int InlineQueue::open() {
    waiting_.reserve(most_);
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wake_fd_ < 0 ? -errno : 0;
}

bool InlineQueue::put(const AsyncRequest &request) {
    if (waiting_.size() == most_) {
        return false;
    }
    waiting_.push_back({request, false});
    return true;
}

bool InlineQueue::put_cancel(std::uint64_t cookie) {
    // Marked where it waits, so that it lasts as long; what is not there has ended already.
    for (Waiting &request : waiting_) {
        request.cancelled |= request.cookie == cookie;
    }
    return true;
}

void InlineQueue::wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(wake_fd_, &one, sizeof one);
}

std::int64_t InlineQueue::execute(const AsyncRequest &r) {
    const auto *iov = static_cast<const iovec *>(r.buffer);
    const bool stream = r.offset == kStreamOffset;
    switch (r.opcode) {
    case FSYS_OP_READ:
        return sys_.pread(r.fd, const_cast<void *>(r.buffer), r.length, r.offset, r.rwf);
    case FSYS_OP_WRITE:
        // POLLOUT on a pipe promises room for PIPE_BUF bytes and no more.
        return sys_.pwrite(r.fd, r.buffer,
                           stream ? std::min<std::size_t>(r.length, PIPE_BUF) : r.length, r.offset,
                           r.rwf);
    case FSYS_OP_READV:
        return sys_.preadv(r.fd, iov, static_cast<int>(r.length), r.offset, r.rwf);
    case FSYS_OP_WRITEV:
        return stream ? sys_.pwrite(r.fd, iov->iov_base,
                                    std::min<std::size_t>(iov->iov_len, PIPE_BUF), r.offset, 0)
                      : sys_.pwritev(r.fd, iov, static_cast<int>(r.length), r.offset, r.rwf);
    case FSYS_OP_SYNC:
        return r.data_only ? sys_.fdatasync(r.fd) : sys_.fsync(r.fd);
    case FSYS_OP_ALLOCATE:
        return sys_.fallocate(r.fd, r.mode, r.offset, r.sync_length);
    default:
        return 0;
    }
}

unsigned InlineQueue::run(AsyncResult *results, unsigned max) {
    unsigned count = 0;
    std::size_t kept = 0;
    for (const Waiting &request : waiting_) {
        if (count == max) {
            waiting_[kept++] = request;
            continue;
        }
        if (request.cancelled) {
            results[count++] = {request.cookie, -ECANCELED};
            continue;
        }
        if (is_stream(request)) {
            pollfd ready = watch(request);
            if (::poll(&ready, 1, 0) == 0) {
                waiting_[kept++] = request;
                continue;
            }
        }
        results[count++] = {request.cookie, static_cast<std::int32_t>(execute(request))};
    }
    waiting_.resize(kept);
    return count;
}

int InlineQueue::progress_fd() {
    if (progress_fd_ < 0) {
        progress_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
        watch_streams();
    }
    return progress_fd_;
}

// Brings the epoll set in line with the requests that still wait. A stream is taken out before its
// file can be closed: a duplicate elsewhere would keep it in the set.
void InlineQueue::watch_streams() {
    if (progress_fd_ < 0) {
        return;
    }
    std::vector<Watched> wanted;
    for (const AsyncRequest &request : waiting_) {
        if (!is_stream(request)) {
            continue;
        }
        const std::uint32_t events = is_write(request) ? EPOLLOUT : EPOLLIN;
        const auto same = std::find_if(wanted.begin(), wanted.end(),
                                       [&](const Watched &w) { return w.fd == request.fd; });
        if (same != wanted.end()) {
            same->events |= events;
        } else {
            wanted.push_back({request.fd, events});
        }
    }
    const auto find = [](const std::vector<Watched> &in, int fd) {
        return std::find_if(in.begin(), in.end(), [fd](const Watched &w) { return w.fd == fd; });
    };
    for (const Watched &old : watched_) {
        if (find(wanted, old.fd) == wanted.end()) {
            ::epoll_ctl(progress_fd_, EPOLL_CTL_DEL, old.fd, nullptr);
        }
    }
    for (const Watched &now : wanted) {
        const auto old = find(watched_, now.fd);
        if (old == watched_.end() || old->events != now.events) {
            epoll_event event{};
            event.events = now.events;
            // What epoll refuses (EPERM) never blocks and was executed already.
            ::epoll_ctl(progress_fd_, old == watched_.end() ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, now.fd,
                        &event);
        }
    }
    watched_.swap(wanted);
}

int InlineQueue::turn(AsyncResult *results, unsigned max, std::int64_t wait_ns) {
    unsigned count = run(results, max);
    if (count == 0 && wait_ns != 0) {
        std::vector<pollfd> set{pollfd{wake_fd_, POLLIN, 0}};
        for (const AsyncRequest &request : waiting_) {
            set.push_back(watch(request));
        }
        const timespec limit{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
        ::ppoll(set.data(), set.size(), wait_ns < 0 ? nullptr : &limit, nullptr);
        count = run(results, max);
    }
    watch_streams();
    std::uint64_t drained;
    [[maybe_unused]] const ssize_t n = ::read(wake_fd_, &drained, sizeof drained);
    return static_cast<int>(count);
}

}  // namespace libfsys
