// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The driver: takes the submission list, feeds an AsyncQueue, completes ops. It runs on a thread of
// its own, started by the first op that needs it, or inside fsys_poll() on the opening thread.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "backend/async_queue.hpp"
#include "engine/futex.hpp"
#include "engine/submit_list.hpp"

namespace libfsys {

class Engine;
class Publisher;
struct Op;
struct Target;

class Driver {
public:
    explicit Driver(Engine &engine) : engine_(engine) {}
    ~Driver();

    // Starts thread and queue if there is none. 0, or a negative errno when neither can be had.
    // Any thread (caller-driven: the driver thread).
    int start();
    bool running() const { return state_.load(std::memory_order_acquire) == kRunning; }
    // True once the queue could not be made: ops go to the pool instead.
    bool unavailable() const { return state_.load(std::memory_order_acquire) == kFailed; }

    // One round on the calling thread, which must own the queue: submit, wait up to `wait_ns`,
    // complete. Returns the number of ops completed, negative when the queue is broken.
    int turn(std::int64_t wait_ns);

    // Requests from other threads, carried out between two turns.
    void request_cancel(std::uint32_t op, std::uint64_t word);
    void unregister_file(int place);  // waits until done, or the driver is dead
    void register_arena(void *base, std::size_t size);
    void wake();
    // Caller-driven: the turn that is under way, or the next one, does not wait. After what it is to
    // see was published.
    void nudge();

    // Ends the thread. False when it does not end in time. `detach`: requests are stuck in the
    // kernel, which makes the exit of their submitting thread wait for them; do not wait for that.
    bool stop(std::int64_t deadline_ns, bool detach);
    // Nothing of the queue may be freed: the kernel still uses it.
    void leak() { static_cast<void>(queue_.release()); }

    AsyncFacts facts();
    int poll_fd() const { return queue_ ? queue_->poll_fd() : -1; }
    int wake_fd() const { return queue_ ? queue_->wake_fd() : -1; }
    // Descriptor for an outer event loop: the queue and the bell in one epoll set.
    int event_fd();
    bool has_event_fd() const { return event_fd_.load(std::memory_order_relaxed) >= 0; }
    void close_in_child();

private:
    enum State : int { kIdle, kRunning, kFailed, kStopped };
    enum class What : std::uint8_t { kCancel, kUnregister, kArena };
    struct Control {
        What what;
        std::uint64_t a;
        std::uint64_t b;
    };

    int open_queue();
    void thread_main();
    void die(int code, const char *where);
    void collect();
    int start_backlog(Publisher &out);  // how many ops it completed
    bool put(Op &op, std::uint32_t index);
    bool put_control(const Control &control);
    void run_controls();
    bool idle();
    bool on_result(std::uint32_t index, std::int32_t result, Publisher &out);
    void requeue(std::uint32_t index);
    int registered_place(Target &target);
    bool ask(const Control &control, std::uint32_t *ret_ticket = nullptr);

    Engine &engine_;
    std::atomic<int> state_{kIdle};
    std::mutex start_mutex_;
    int start_error_ = 0;
    std::unique_ptr<AsyncQueue> queue_;
    std::thread thread_;
    pthread_t owner_{};  // the thread itself; written before state_ becomes kRunning
    std::atomic<std::uint32_t> ended_{0};
    std::atomic<bool> stopping_{false};
    std::atomic<int> event_fd_{-1};
    int progress_fd_ = -1;  // the queue's, a member of event_fd_

    // Driver thread only.
    std::vector<std::uint32_t> backlog_;  // taken, not yet put; oldest at backlog_at_
    std::size_t backlog_at_ = 0;
    std::vector<AsyncResult> results_;
    std::vector<int> free_places_;
    std::uint32_t in_queue_ = 0;
    std::uint32_t max_in_queue_ = 0;
    AsyncCounters seen_{};

    std::mutex control_mutex_;
    std::vector<Control> controls_;
    std::vector<Control> controls_now_;
    std::uint64_t controls_asked_ = 0;
    std::atomic<std::uint32_t> controls_pending_{0};
    std::atomic<std::uint32_t> controls_done_{0};
    std::atomic<bool> nudged_{false};
    std::mutex facts_mutex_;
    AsyncFacts facts_{};
};

}  // namespace libfsys
