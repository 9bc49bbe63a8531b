// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Pipes, sockets and terminals on the thread backend: an op on them may wait for ever, and must
// neither hold a pool thread nor be beyond cancelling. One thread polls for all of them and reads
// or writes what has become ready. (io_uring does the same inside the kernel.)
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace libfsys {

class Engine;

class Poller {
public:
    explicit Poller(Engine &engine) : engine_(engine) {}
    ~Poller();

    // Takes over the op's LISTED reference. 0, or a negative errno: then the op is not taken.
    int push(std::uint32_t op);
    // An op of the poller was cancelled: its slot wants to be unlinked.
    void wake();
    // Ends the thread. False when it does not end in time: a descriptor that said it was ready holds
    // it in a system call.
    bool stop(std::int64_t deadline_ns);
    void close_in_child();

private:
    int start();
    void work();

    Engine &engine_;
    std::mutex mutex_;
    std::vector<std::uint32_t> arriving_;
    std::atomic<int> wake_fd_{-1};
    bool stopping_ = false;
    std::atomic<std::uint32_t> ended_{0};
    std::thread thread_;
};

}  // namespace libfsys
