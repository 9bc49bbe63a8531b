// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A small bounded pool of threads that execute ops in plain system calls: what no one waits for and
// the ring would hand to a kernel worker anyway (buffered writes of some file systems, syncs), and
// everything on the thread backend. Threads start as work arrives and stay until close.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/submit_list.hpp"
#include "engine/task.hpp"

namespace libfsys {

class Engine;

class Pool {
public:
    Pool(Engine &engine, unsigned most) : engine_(engine), most_(most) { threads_.reserve(most); }

    // Queues an op whose LISTED reference the pool takes over. When no thread can be started and
    // none runs, the op is executed by the caller: an accepted op always ends.
    void push(std::uint32_t op);
    void push(PoolTask &task);

    // Lets the threads end once the queue is empty. False when one is stuck in a system call at the
    // deadline (it is detached then and the pool must not be destroyed).
    bool stop(std::int64_t deadline_ns);

private:
    void work();
    bool make_room();
    void run_op(std::uint32_t op);

    Engine &engine_;
    const unsigned most_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable ended_;
    std::uint32_t head_ = kNil;
    std::uint32_t tail_ = kNil;
    PoolTask *tasks_ = nullptr;
    PoolTask **tasks_tail_ = &tasks_;
    unsigned idle_ = 0;    // waiting for work, or woken and not yet running
    unsigned queued_ = 0;  // items that no thread has taken
    unsigned running_ = 0;
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace libfsys
