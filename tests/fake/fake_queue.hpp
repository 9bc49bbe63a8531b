// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An AsyncQueue without a kernel ring that does what rings do on a bad day: completes short, late,
// out of order, not at all; is full; breaks. The engine's driver thread owns the queue; the test
// owns the FakeQueueControl, which outlives it, and steers from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "backend/async_queue.hpp"
#include "backend/syscalls.hpp"

namespace libfsys::test {

// Chances in 1/1000.
struct FakeQueueBehaviour {
    std::uint64_t seed = 1;
    std::uint32_t max_in_flight = 4096;
    unsigned full = 0;            // put() refuses until the next turn
    unsigned short_transfer = 0;  // moves fewer bytes than asked, at least one
    unsigned interrupted = 0;     // -EINTR without having done anything
    unsigned again = 0;           // -EAGAIN likewise (not for streams)
    unsigned cancelled = 0;       // -ECANCELED that nobody asked for (no worker could be made)
    unsigned delayed = 0;         // executed some turns later than it could be
    bool reorder = false;
    std::uint32_t file_places = 64;
    bool arena = true;
    int open_error = 0;  // open() fails with -error
};

class FakeQueue;

class FakeQueueControl {
public:
    FakeQueueControl(libfsys::Syscalls &sys, const FakeQueueBehaviour &behaviour)
        : sys(sys), behaviour(behaviour) {}

    // What the engine's make_queue wants.
    std::function<std::unique_ptr<libfsys::AsyncQueue>()> maker();

    // Requests of this opcode (or any: 0xff) are accepted and never complete, until release().
    // `deaf`: cancelling them does not help either, as with block IO that the device has.
    void hold(std::uint32_t opcode, bool deaf = false);
    void release();
    // Requests that are held now.
    std::uint32_t held() const { return held_.load(); }
    bool await_held(std::uint32_t count = 1);
    // The next turn fails with -EBADR, for good; or throws std::bad_alloc, once.
    void break_down();
    void run_out_of_memory();

    std::uint64_t puts() const { return puts_.load(); }
    std::uint64_t registered_file_puts() const { return registered_file_puts_.load(); }
    std::uint64_t registered_buffer_puts() const { return registered_buffer_puts_.load(); }
    std::uint64_t refused() const { return refused_.load(); }
    std::uint32_t files_registered() const { return files_registered_.load(); }
    std::uint32_t most_files_registered() const { return most_files_registered_.load(); }

    libfsys::Syscalls &sys;
    const FakeQueueBehaviour behaviour;

private:
    friend class FakeQueue;
    static constexpr std::uint32_t kNone = 0xfffe;
    static constexpr std::uint32_t kAny = 0xff;
    void wake();

    std::atomic<std::uint32_t> hold_{kNone};
    std::atomic<bool> deaf_{false};
    std::atomic<std::uint32_t> held_{0};
    std::atomic<bool> broken_{false};
    std::atomic<bool> exhausted_{false};
    std::atomic<std::uint64_t> puts_{0};
    std::atomic<std::uint64_t> registered_file_puts_{0};
    std::atomic<std::uint64_t> registered_buffer_puts_{0};
    std::atomic<std::uint64_t> refused_{0};
    std::atomic<std::uint32_t> files_registered_{0};
    std::atomic<std::uint32_t> most_files_registered_{0};
    std::mutex mutex_;  // of queue_
    FakeQueue *queue_ = nullptr;
};

class FakeQueue final : public libfsys::AsyncQueue {
public:
    explicit FakeQueue(FakeQueueControl &control);
    ~FakeQueue() override;

    int open() override;
    bool put(const libfsys::AsyncRequest &request) override;
    std::uint32_t max_in_flight() const override { return control_.behaviour.max_in_flight; }
    bool put_cancel(std::uint64_t cookie) override;
    int turn(libfsys::AsyncResult *results, unsigned max, std::int64_t wait_ns) override;
    void wake() override;
    int register_file(std::uint32_t place, int fd) override;
    void unregister_file(std::uint32_t place) override;
    int register_arena(void *base, std::size_t size) override;
    // Signalled by every turn that leaves requests under way: an outer event loop then polls too
    // often rather than too rarely.
    int poll_fd() const override { return busy_fd_; }
    int wake_fd() const override { return wake_fd_; }
    libfsys::AsyncFacts facts() const override;
    libfsys::AsyncCounters counters() const override { return counters_; }

private:
    struct Item {
        libfsys::AsyncRequest request;
        unsigned turns_left = 0;
        bool cancelled = false;
    };
    bool chance(unsigned per_mille) { return per_mille != 0 && random_() % 1000 < per_mille; }
    bool is_held(const Item &item) const;
    unsigned run(libfsys::AsyncResult *results, unsigned max);
    std::int32_t execute(const libfsys::AsyncRequest &request);
    void tell_outer_loop();

    FakeQueueControl &control_;
    std::mt19937_64 random_;
    std::vector<Item> items_;
    std::vector<int> files_;  // the file table, -1: empty
    char *arena_ = nullptr;
    std::size_t arena_size_ = 0;
    libfsys::AsyncCounters counters_{};
    bool full_ = false;
    int wake_fd_ = -1;
    int busy_fd_ = -1;
};

}  // namespace libfsys::test
