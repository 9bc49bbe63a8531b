// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The AsyncQueue on io_uring: the driver's ring.
#pragma once

#include <cstdint>

#include "backend/async_queue.hpp"
#include "backend/uring/ring.hpp"

namespace libfsys {

class UringQueue final : public AsyncQueue {
public:
    // `max_in_flight` requests must fit the CQ together with the queue's own entries.
    UringQueue(std::uint32_t max_in_flight, std::uint32_t file_places)
        : wanted_in_flight_(max_in_flight), file_places_(file_places) {}
    ~UringQueue() override;

    int open() override;
    bool put(const AsyncRequest &request) override;
    std::uint32_t max_in_flight() const override { return max_in_flight_; }
    bool put_cancel(std::uint64_t cookie) override;
    int turn(AsyncResult *results, unsigned max, std::int64_t wait_ns) override;
    void wake() override;
    int register_file(std::uint32_t place, int fd) override;
    void unregister_file(std::uint32_t place) override;
    int register_arena(void *base, std::size_t size) override;
    int poll_fd() const override { return ring_.fd(); }
    int progress_fd() override;
    int wake_fd() const override { return wake_fd_; }
    AsyncFacts facts() const override { return facts_; }
    AsyncCounters counters() const override { return counters_; }

private:
    bool arm_wake();

    Ring ring_;
    int wake_fd_ = -1;
    int progress_fd_ = -1;
    bool wake_armed_ = false;
    std::uint32_t device_unsubmitted_ = 0;
    std::uint32_t wanted_in_flight_;
    std::uint32_t max_in_flight_ = 0;
    std::uint32_t file_places_;
    AsyncFacts facts_;
    AsyncCounters counters_;
};

}  // namespace libfsys
