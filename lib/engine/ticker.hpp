// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The deadline of FSYS_WAIT_SOON: an op that its submitter promised to wait for, and does not, is
// published after one to two ticks. The thread exists only once the flag was used and sleeps while
// it is not.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>

#include "engine/presence.hpp"

namespace libfsys {

class Engine;

class Ticker {
public:
    explicit Ticker(Engine &engine) : engine_(engine) {}
    ~Ticker() { stop(); }

    // A hinted op has become QUEUED. False when no thread can be had: the caller must publish the op
    // itself.
    bool note() {
        // Pairs with the ticker's heavy barrier between clearing pending_ and its scan: if this
        // sees 1, the op is visible to that scan.
        has_asymmetric_barrier() ? light_barrier()
                                 : std::atomic_thread_fence(std::memory_order_seq_cst);
        if (pending_.load(std::memory_order_seq_cst) != 0) {
            return true;
        }
        return wake();
    }
    void stop();

private:
    static constexpr std::int64_t kTickNs = 2'000'000;
    bool wake();
    void work();

    Engine &engine_;
    std::atomic<std::uint32_t> pending_{0};
    std::atomic<std::uint32_t> asleep_{0};
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;
    std::thread thread_;
    bool started_ = false;
};

}  // namespace libfsys
