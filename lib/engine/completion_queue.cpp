// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The completion queue. Producers: the driver, pool threads, threads that execute inline.
// Consumers: whoever calls fsys_reap(). The queue owns its eventfd.

#include "engine/completion_queue.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace libfsys {

CompletionQueue::~CompletionQueue() {
    const int fd = event_fd_.load();
    if (fd >= 0) {
        ::close(fd);
    }
}

void CompletionQueue::push(std::uint32_t first, std::uint32_t last) {
    std::uint32_t head = head_.load(std::memory_order_relaxed);
    do {
        ops_[last].cq_next = head;
        // seq_cst: ordered before the looks at sleepers_ and signalled_, each of which pairs with a
        // consumer's store there before its look at the queue.
    } while (!head_.compare_exchange_weak(head, first, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    if (sleepers_.load(std::memory_order_seq_cst) != 0) {
        sequence_.fetch_add(1, std::memory_order_seq_cst);
        futex_wake(&sequence_, 1);
    }
    if (event_fd_.load(std::memory_order_seq_cst) >= 0) {
        signal();
    }
}

// Results are visible (pushed) before this. One write per empty-to-non-empty transition.
void CompletionQueue::signal() {
    if (signalled_.exchange(1, std::memory_order_seq_cst) == 0) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t written =
            ::write(event_fd_.load(std::memory_order_relaxed), &one, sizeof one);
        stats_.add(Count::kEventSignals);
    }
}

void CompletionQueue::pass_on() {
    if (sleepers_.load(std::memory_order_seq_cst) != 0 && !empty()) {
        sequence_.fetch_add(1, std::memory_order_seq_cst);
        futex_wake(&sequence_, 1);
    }
}

unsigned CompletionQueue::pop(std::uint32_t *out, unsigned max) {
    const std::lock_guard lock(consumer_);
    std::uint32_t ready = ready_.load(std::memory_order_relaxed);
    unsigned count = 0;
    for (;;) {
        while (count < max && ready != kNil) {
            out[count++] = ready;
            ready = ops_[ready].cq_next;
        }
        if (count == max || head_.load(std::memory_order_relaxed) == kNil) {
            break;
        }
        std::uint32_t taken = head_.exchange(kNil, std::memory_order_seq_cst);
        while (taken != kNil) {
            const std::uint32_t next = ops_[taken].cq_next;
            ops_[taken].cq_next = ready;
            ready = taken;
            taken = next;
        }
    }
    ready_.store(ready, std::memory_order_seq_cst);
    if (ready == kNil && signalled_.load(std::memory_order_seq_cst) != 0) {
        // Nothing to read: the producer that set signalled_ has yet to write. It stays set for that
        // write, or the descriptor would become readable with nobody left to reset it.
        std::uint64_t drained;
        if (::read(event_fd_.load(std::memory_order_relaxed), &drained, sizeof drained) > 0) {
            signalled_.store(0, std::memory_order_seq_cst);
            // A producer that pushed before this store saw 1 and did not write: do it in its place.
            if (head_.load(std::memory_order_seq_cst) != kNil) {
                signal();
            }
        }
    }
    return count;
}

int CompletionQueue::event_fd() {
    int fd = event_fd_.load(std::memory_order_seq_cst);
    if (fd >= 0) {
        return fd;
    }
    const std::lock_guard lock(consumer_);
    fd = event_fd_.load(std::memory_order_relaxed);
    if (fd >= 0) {
        return fd;
    }
    fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    event_fd_.store(fd, std::memory_order_seq_cst);
    // What was completed before the descriptor existed.
    if (!empty()) {
        signal();
    }
    return fd;
}

void CompletionQueue::close_event_fd_in_child() {
    const int fd = event_fd_.exchange(-1);
    if (fd >= 0) {
        ::close(fd);
    }
}

}  // namespace libfsys
