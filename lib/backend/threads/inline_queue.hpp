// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An AsyncQueue without io_uring and without threads: what was put is executed in plain system calls
// by the turn() that follows. For caller-driven handles where no ring can be had.
#pragma once

#include <vector>

#include "backend/async_queue.hpp"
#include "backend/syscalls.hpp"

namespace libfsys {

class InlineQueue final : public AsyncQueue {
public:
    InlineQueue(Syscalls &sys, std::uint32_t max_in_flight) : sys_(sys), most_(max_in_flight) {}
    ~InlineQueue() override;

    int open() override;
    bool put(const AsyncRequest &request) override;
    std::uint32_t max_in_flight() const override { return most_; }
    bool put_cancel(std::uint64_t cookie) override;
    int turn(AsyncResult *results, unsigned max, std::int64_t wait_ns) override;
    void wake() override;
    int register_file(std::uint32_t, int) override { return -95; }  // EOPNOTSUPP
    void unregister_file(std::uint32_t) override {}
    int register_arena(void *, std::size_t) override { return -95; }
    int poll_fd() const override { return -1; }
    int progress_fd() override;
    int wake_fd() const override { return wake_fd_; }
    AsyncFacts facts() const override { return {}; }
    AsyncCounters counters() const override { return {}; }

private:
    unsigned run(AsyncResult *results, unsigned max);
    std::int64_t execute(const AsyncRequest &request);
    void watch_streams();

    Syscalls &sys_;
    std::uint32_t most_;
    int wake_fd_ = -1;
    int progress_fd_ = -1;  // an epoll set of the streams that requests wait for
    struct Watched {
        int fd;
        std::uint32_t events;
    };
    std::vector<Watched> watched_;  // its members
    struct Waiting : AsyncRequest {
        bool cancelled = false;
    };
    std::vector<Waiting> waiting_;
};

}  // namespace libfsys
