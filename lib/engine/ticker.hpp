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

namespace libfsys {

class Engine;

class Ticker {
public:
    explicit Ticker(Engine &engine) : engine_(engine) {}
    ~Ticker() { stop(); }

    // A hinted op has become QUEUED (stored seq_cst). False when no thread can be had: the caller
    // must publish the op itself.
    bool note() {
        // seq_cst, after the op's word: if this sees 1, the scan that follows the ticker's exchange
        // to 0 sees the op.
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
