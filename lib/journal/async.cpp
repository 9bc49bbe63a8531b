// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Asynchronous syncs: a queue ordered by LSN, and a lent thread that leads flushes as long as the
// queue is not empty. Batching comes from what arrives during a flush; there is no timer.

#include <time.h>

#include <algorithm>
#include <cerrno>

#include "journal/journal.hpp"

namespace libfsys::journal {

int Journal::submit_sync(Lsn lsn, std::uint64_t cookie, CompletionSink *sink) {
    if (sink == nullptr || lsn > lsn_of(tail_.load(std::memory_order_acquire))) {
        return -EINVAL;
    }
    if (lsn <= durable_.load(std::memory_order_acquire)) {
        const Completion done{cookie, 0};
        sink->complete(&done, 1);
        return 0;
    }
    if (poison_.load(std::memory_order_acquire) != 0) {
        return outcome(lsn);
    }
    bool start = false;
    {
        const std::lock_guard lock(async_mutex_);
        if (pending_head_ == pending_.size()) {
            pending_.clear();
            pending_head_ = 0;
        } else if (pending_.size() == pending_.capacity() && pending_head_ >= pending_.size() / 2) {
            // Moved to the front instead of into more memory: no allocation once it is warm.
            pending_.erase(pending_.begin(),
                           pending_.begin() + static_cast<std::ptrdiff_t>(pending_head_));
            pending_head_ = 0;
        }
        if (pending_.empty() || pending_.back().lsn <= lsn) {
            pending_.push_back({lsn, cookie, sink});
        } else {
            const auto at = std::upper_bound(
                pending_.begin() + static_cast<std::ptrdiff_t>(pending_head_), pending_.end(), lsn,
                [](Lsn value, const Pending &pending) { return value < pending.lsn; });
            pending_.insert(at, {lsn, cookie, sink});
        }
        pending_count_.store(pending_.size() - pending_head_, std::memory_order_release);
        if (!async_running_ && runner_ != nullptr) {
            async_running_ = start = true;
        }
    }
    if (start) {
        runner_->run(this);
    } else if (lsn <= durable_.load(std::memory_order_acquire) ||
               poison_.load(std::memory_order_acquire) != 0) {
        complete_async();  // a flush, or its failure, passed while this one was being queued
    }
    return 0;
}

int Journal::submit_commit(const void *data, std::size_t length, unsigned flags,
                           std::uint64_t cookie, CompletionSink *sink, Lsn *ret) {
    Lsn lsn = 0;
    const int code = append(data, length, flags, &lsn);
    if (code < 0) {
        return code;
    }
    if (ret != nullptr) {
        *ret = lsn;
    }
    return submit_sync(lsn, cookie, sink);
}

int Journal::complete_async() {
    std::size_t ended = 0;
    constexpr std::size_t kBurst = 256;  // the first of a large group is not kept waiting for the last
    Completion burst[kBurst];
    for (;;) {
        std::size_t n = 0;
        CompletionSink *sink = nullptr;
        bool more = false;
        {
            const std::lock_guard lock(async_mutex_);
            const Lsn durable = durable_.load(std::memory_order_acquire);
            const bool failed = poison_.load(std::memory_order_acquire) != 0;
            while (pending_head_ != pending_.size()) {
                const Pending &oldest = pending_[pending_head_];
                if (!failed && oldest.lsn > durable) {
                    break;
                }
                more = n == kBurst || (n != 0 && oldest.sink != sink);
                if (more) {
                    break;
                }
                sink = oldest.sink;
                burst[n++] = {oldest.cookie, oldest.lsn <= durable ? 0 : outcome(oldest.lsn)};
                ++pending_head_;
            }
            pending_count_.store(pending_.size() - pending_head_, std::memory_order_release);
        }
        if (n != 0) {
            sink->complete(burst, n);
            ended += n;
        }
        if (!more) {
            return static_cast<int>(ended);
        }
    }
}

bool Journal::revoke(std::uint64_t cookie) {
    {
        // Who removes it from the queue ends it: here, or in complete_async().
        const std::lock_guard lock(async_mutex_);
        const auto begin = pending_.begin() + static_cast<std::ptrdiff_t>(pending_head_);
        const auto at = std::find_if(begin, pending_.end(), [cookie](const Pending &pending) {
            return pending.cookie == cookie;
        });
        if (at != pending_.end()) {
            pending_.erase(at);
            pending_count_.store(pending_.size() - pending_head_, std::memory_order_release);
            return true;
        }
    }
    return withdraw_watch(cookie);
}

void Journal::run() {
    for (;;) {
        const Lsn before = durable_.load(std::memory_order_relaxed);
        take_baton();
        if (poison_.load(std::memory_order_acquire) == 0) {
            flush(Flush::durable);
        }
        drop_baton();
        complete_async();
        {
            const std::lock_guard lock(async_mutex_);
            if (pending_head_ == pending_.size()) {
                async_running_ = false;
                return;
            }
        }
        if (durable_.load(std::memory_order_relaxed) == before) {
            // An open ticket holds the frontier.
            const timespec pause{0, 200'000};
            ::nanosleep(&pause, nullptr);
        }
    }
}

int Journal::drive() {
    if (pending_count_.load(std::memory_order_acquire) == 0) {
        return 0;
    }
    take_baton();
    flush(Flush::durable);  // a failure is in the results
    drop_baton();
    return complete_async();
}

}  // namespace libfsys::journal
