// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The pool. Any thread pushes; its own threads work. It owns the threads and the queue links.

#include "engine/pool.hpp"

#include <pthread.h>

#include <chrono>
#include <system_error>

#include "engine/engine.hpp"
#include "engine/start_thread.hpp"
#include "engine/trace.hpp"

namespace libfsys {

// Under the mutex: sees to it that somebody will look at the queue. False when nobody can.
bool Pool::make_room() {
    // An idle thread counts until it runs: of two items pushed at once only one finds it so, the
    // other must not queue up behind what may be a slow sync while threads could still be started.
    if (queued_ >= idle_ && running_ < most_ && !stopping_) {
        try {
            threads_.push_back(start_thread([this] { work(); }));
            ++running_;
            ++queued_;
            return true;
        } catch (const std::exception &) {
            // No more threads in this process, or no memory for one: those that run get to it.
        }
    }
    if (running_ == 0) {
        return false;
    }
    ++queued_;
    if (idle_ != 0) {
        engine_.stats.add(Count::kPoolWakes);
        wake_.notify_one();
    }
    return true;
}

void Pool::push(std::uint32_t op) {
    {
        const std::lock_guard lock(mutex_);
        if (make_room()) {
            engine_.ops.link(op).store(kNil, memory_order_relaxed);
            if (head_ == kNil) {
                head_ = op;
            } else {
                engine_.ops.link(tail_).store(op, memory_order_relaxed);
            }
            tail_ = op;
            return;
        }
    }
    run_op(op);
}

void Pool::push(PoolTask &task) {
    {
        const std::lock_guard lock(mutex_);
        if (make_room()) {
            task.next = nullptr;
            *tasks_tail_ = &task;
            tasks_tail_ = &task.next;
            return;
        }
    }
    task.run();
}

void Pool::run_op(std::uint32_t index) {
    Op &op = engine_.ops[index];
    const std::uint64_t word = op.word.load(memory_order_acquire);
    if (op_word::state(word) == OpState::kQueued &&
        op_word::claim(op.word, word, OpState::kClaimed, op_word::kListed)) {
        FSYS_PROBE3(claim, index, op.opcode, FSYS_LANE_POOL);
        Publisher out(engine_);
        engine_.complete(op, OpState::kClaimed, engine_.execute(op), FSYS_LANE_POOL, out);
    } else if (op_word::state(word) == OpState::kInflight) {
        // Handed over by the driver, which keeps it INFLIGHT.
        op_word::unlist(op.word);
        Publisher out(engine_);
        engine_.complete(op, OpState::kInflight, engine_.execute(op), FSYS_LANE_POOL, out);
    } else if (op_word::unlist(op.word)) {
        engine_.ops.free(index);  // a waiter or canceller was faster, and is done with it
    }
}

void Pool::work() {
    ::pthread_setname_np(pthread_self(), "fsys-pool");
    std::unique_lock lock(mutex_);
    for (;;) {
        if (head_ != kNil) {
            const std::uint32_t op = head_;
            head_ = engine_.ops.link(op).load(memory_order_relaxed);
            --queued_;
            lock.unlock();
            run_op(op);
            lock.lock();
        } else if (tasks_ != nullptr) {
            PoolTask *task = tasks_;
            tasks_ = task->next;
            if (tasks_ == nullptr) {
                tasks_tail_ = &tasks_;
            }
            --queued_;
            lock.unlock();
            task->run();
            lock.lock();
        } else if (stopping_) {
            break;
        } else {
            ++idle_;
            wake_.wait(lock);
            --idle_;
        }
    }
    --running_;
    ended_.notify_all();
}

bool Pool::stop(std::int64_t deadline_ns) {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
    const auto left = std::chrono::nanoseconds(std::max<std::int64_t>(deadline_ns - now_ns(), 0));
    const bool ended = ended_.wait_for(lock, left, [this] { return running_ == 0; });
    lock.unlock();
    for (std::thread &thread : threads_) {
        if (ended) {
            thread.join();
        } else {
            thread.detach();
        }
    }
    threads_.clear();
    return ended;
}

}  // namespace libfsys
