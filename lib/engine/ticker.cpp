// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The ticker's thread, which it owns. note() is called by any submitting thread.

#include "engine/ticker.hpp"

#include <pthread.h>

#include <system_error>

#include "engine/engine.hpp"
#include "engine/start_thread.hpp"

namespace libfsys {

bool Ticker::wake() {
    pending_.store(1, std::memory_order_seq_cst);
    if (asleep_.exchange(0, std::memory_order_seq_cst) != 0) {
        futex_wake(&asleep_);
        return true;
    }
    const std::lock_guard lock(mutex_);
    if (!started_ && !stopping_.load()) {
        try {
            thread_ = start_thread([this] { work(); });
            started_ = true;
        } catch (const std::exception &) {
            // No thread, or no memory for one: false, and the op is published at once.
        }
    }
    return started_;
}

void Ticker::work() {
    ::pthread_setname_np(pthread_self(), "fsys-ticker");
    while (!stopping_.load(std::memory_order_seq_cst)) {
        const timespec tick{0, kTickNs};
        ::nanosleep(&tick, nullptr);
        const bool active = pending_.exchange(0, std::memory_order_seq_cst) != 0;
        heavy_barrier();
        bool waiting = false;
        engine_.each_op([&](std::uint32_t index, std::uint64_t word) {
            if (op_word::state(word) != OpState::kQueued || (word & op_word::kListed) != 0) {
                return;
            }
            if ((word & op_word::kSeen) != 0) {
                engine_.publish(index, word);  // at least one whole tick old
            } else {
                std::uint64_t expected = word;
                engine_.ops[index].word.compare_exchange_strong(expected, word | op_word::kSeen);
                waiting = true;
            }
        });
        if (active || waiting) {
            continue;
        }
        // Idle. seq_cst pairs with note(): either it sees asleep_, or this sees pending_.
        asleep_.store(1, std::memory_order_seq_cst);
        while (pending_.load(std::memory_order_seq_cst) == 0 && !stopping_.load() &&
               asleep_.load(std::memory_order_seq_cst) != 0) {
            futex_wait(&asleep_, 1, Deadline::never());
        }
        asleep_.store(0, std::memory_order_seq_cst);
    }
}

void Ticker::stop() {
    stopping_.store(true, std::memory_order_seq_cst);
    asleep_.store(0, std::memory_order_seq_cst);
    futex_wake(&asleep_);
    std::thread thread;
    {
        const std::lock_guard lock(mutex_);
        thread = std::move(thread_);
    }
    if (thread.joinable()) {
        thread.join();
    }
}

}  // namespace libfsys
