// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The driver loop. One thread runs turn(): the driver's own, or the opening thread of a
// caller-driven handle; it owns the queue, the backlog and the places of the file table. start(),
// wake() and the requests come from any thread.

#include "engine/driver.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <new>
#include <system_error>

#include "backend/threads/inline_queue.hpp"
#include "backend/uring/queue.hpp"
#include "engine/engine.hpp"
#include "engine/start_thread.hpp"

namespace libfsys {
namespace {

constexpr unsigned kResults = 256;  // completions of one turn: bounds the time to publish the first
// A file gets its place in the ring's table at its 8th op: registering and unregistering are system
// calls and a hop, a file that is read once and closed should not pay for them.
constexpr std::uint32_t kRegisterAt = 8;

}  // namespace

Driver::~Driver() {
    const int fd = event_fd_.load();
    if (fd >= 0) {
        ::close(fd);
    }
}

int Driver::open_queue() {
    int code = 0;
    if (engine_.config.uring) {
        queue_ = engine_.config.make_queue
                     ? engine_.config.make_queue()
                     : std::make_unique<UringQueue>(engine_.config.max_ops,
                                                    engine_.config.file_places);
        code = queue_->open();
    }
    if (!engine_.config.uring || (code != 0 && engine_.config.caller_driven &&
                                  !engine_.config.uring_required)) {
        queue_ = std::make_unique<InlineQueue>(engine_.sys, engine_.config.max_ops);
        code = queue_->open();
    }
    if (code != 0) {
        queue_.reset();
        return code;
    }
    max_in_queue_ = queue_->max_in_flight();
    const std::lock_guard lock(facts_mutex_);
    facts_ = queue_->facts();
    {
        const std::lock_guard control_lock(control_mutex_);
        controls_.reserve(64);
        controls_now_.reserve(64);
    }
    results_.resize(kResults);
    backlog_.reserve(engine_.config.max_ops);
    free_places_.resize(facts_.registered_files);
    for (std::size_t i = 0; i < free_places_.size(); ++i) {
        free_places_[i] = static_cast<int>(free_places_.size() - 1 - i);
    }
    return 0;
}

int Driver::start() {
    const int state = state_.load(std::memory_order_acquire);
    if (state == kRunning) {
        return 0;
    }
    const Engine &engine = engine_;
    if (engine.config.caller_driven && !engine.is_driver_thread()) {
        return 0;  // the driver thread will find the op on the list
    }
    const std::lock_guard lock(start_mutex_);
    if (state_.load(std::memory_order_acquire) == kIdle) {
        if (engine.config.caller_driven) {
            start_error_ = open_queue();
            state_.store(start_error_ == 0 ? kRunning : kFailed, std::memory_order_release);
        } else {
            try {
                thread_ = start_thread([this] { thread_main(); });
                while (state_.load(std::memory_order_acquire) == kIdle) {
                    futex_wait(&state_, kIdle, Deadline::never());
                }
            } catch (const std::exception &) {
                start_error_ = -EAGAIN;
                state_.store(kFailed, std::memory_order_release);
            }
        }
    }
    if (state_.load(std::memory_order_acquire) != kFailed) {
        return 0;
    }
    // Without a queue a threaded handle goes on with its pool, unless io_uring was insisted on.
    if (engine.config.uring_required) {
        return FSYS_E_URING_SETUP;
    }
    return engine.config.caller_driven ? start_error_ : 0;
}

void Driver::thread_main() {
    ::pthread_setname_np(pthread_self(), "fsys-driver");
    owner_ = pthread_self();
    try {
        start_error_ = open_queue();
    } catch (const std::bad_alloc &) {
        start_error_ = -ENOMEM;
    }
    const bool ok = start_error_ == 0;
    state_.store(ok ? kRunning : kFailed, std::memory_order_release);
    futex_wake(&state_);
    if (ok) {
        try {
            while (!stopping_.load(std::memory_order_seq_cst)) {
                const int code = turn(-1);
                if (code < 0) {
                    die(code, "waiting on the ring");
                    break;
                }
            }
        } catch (const std::exception &) {
            die(-ENOMEM, "running out of memory");
        }
    }
    ended_.store(1, std::memory_order_seq_cst);
    futex_wake(&ended_);
}

void Driver::die(int code, const char *where) {
    char sentence[160];
    std::snprintf(sentence, sizeof sentence, "the driver thread ended while %s: %s (%d)", where,
                  std::strerror(-code), code);
    engine_.poison(FSYS_E_DRIVER_DEAD, sentence);
    // Nobody will answer requests any more.
    controls_done_.fetch_add(1u << 30, std::memory_order_seq_cst);
    futex_wake(&controls_done_);
}

void Driver::wake() {
    if (state_.load(std::memory_order_acquire) == kRunning) {
        queue_->wake();
    }
}

void Driver::nudge() {
    // Set first: turn() looks at it after it has said that it parks, as at the list.
    nudged_.store(true, std::memory_order_seq_cst);
    engine_.ring_bell();
}

bool Driver::idle() {
    return engine_.list.empty() && controls_pending_.load(std::memory_order_seq_cst) == 0 &&
           !nudged_.load(std::memory_order_seq_cst) && !stopping_.load(std::memory_order_seq_cst);
}

// Takes the submission list and appends it to the backlog, oldest first.
void Driver::collect() {
    std::uint32_t newest = engine_.list.take_all();
    if (newest == kNil) {
        return;
    }
    if (backlog_at_ == backlog_.size()) {
        backlog_.clear();
        backlog_at_ = 0;
    }
    const std::size_t first = backlog_.size();
    while (newest != kNil) {
        backlog_.push_back(newest);
        newest = engine_.ops.link(newest).load(memory_order_relaxed);
    }
    std::reverse(backlog_.begin() + static_cast<std::ptrdiff_t>(first), backlog_.end());
}

int Driver::registered_place(Target &target) {
    const int place = target.place.load(std::memory_order_relaxed);
    if (place >= 0) {
        return place;
    }
    if (++target.ring_ops < kRegisterAt || free_places_.empty() ||
        target.refused.load(std::memory_order_relaxed)) {
        return -1;
    }
    const int chosen = free_places_.back();
    if (queue_->register_file(static_cast<std::uint32_t>(chosen), target.fd) != 0) {
        target.refused.store(true, std::memory_order_relaxed);
        return -1;
    }
    free_places_.pop_back();
    target.place.store(chosen, std::memory_order_release);
    return chosen;
}

bool Driver::put(Op &op, std::uint32_t index) {
    AsyncRequest request;
    request.opcode = op.opcode;
    request.cookie = index;
    if (op.file() != nullptr) {
        Target &target = *op.file();
        request.fd = target.fd;
        request.registered_file = registered_place(target);
        request.device = target.direct;
        request.rwf = rwf_of(op.flags);
        if (op.opcode == FSYS_OP_SYNC) {
            const bool range = (op.flags & FSYS_SYNC_RANGE) != 0;
            request.data_only = range || (op.flags & FSYS_SYNC_DATA) != 0;
            request.offset = range ? op.offset : 0;
            request.sync_length = range ? op.length : 0;
        } else if (op.opcode == FSYS_OP_ALLOCATE) {
            request.offset = op.offset;
            request.sync_length = op.length;
            request.mode = (op.flags & FSYS_KEEP_SIZE) != 0 ? FALLOC_FL_KEEP_SIZE : 0;
        } else {
            request.offset = target.stream ? kStreamOffset : op.offset + op.done;
            if (op.iov != nullptr) {
                request.buffer = op.iov + op.iov_at;
                request.length = static_cast<std::uint32_t>(op.iov_count - op.iov_at);
            } else {
                request.buffer = static_cast<char *>(op.buffer) + op.done;
                request.length = static_cast<std::uint32_t>(
                    std::min<std::uint64_t>(op.length - op.done, kMaxPiece));
                const auto address = reinterpret_cast<std::uintptr_t>(request.buffer);
                const auto base = engine_.arena_base.load(std::memory_order_acquire);
                // The kernel takes atomic writes from plain user memory only (EINVAL otherwise: its
                // generic_atomic_write_valid(), 6.11 to 6.18).
                request.registered_buffer = facts_.registered_arena && address >= base &&
                                            address - base < engine_.arena_size.load() &&
                                            (op.flags & FSYS_ATOMIC) == 0;
            }
            op.piece = request.length;
        }
    }
    if (!queue_->put(request)) {
        return false;
    }
    ++in_queue_;
    const bool write = op.opcode == FSYS_OP_WRITE || op.opcode == FSYS_OP_WRITEV;
    if (op.opcode == FSYS_OP_SYNC || op.opcode == FSYS_OP_ALLOCATE ||
        (write && !op.file()->direct && !op.file()->stream && !op.file()->ring_writes)) {
        engine_.stats.add(Count::kIowqPunts);
    }
    return true;
}

int Driver::start_backlog(Publisher &out) {
    int ended = 0;
    while (backlog_at_ < backlog_.size()) {
        const std::uint32_t index = backlog_[backlog_at_];
        Op &op = engine_.ops[index];
        const std::uint64_t word = op.word.load(memory_order_acquire);
        if (op_word::state(word) != OpState::kInflight) {
            if (op_word::state(word) != OpState::kQueued ||
                !op_word::claim(op.word, word, OpState::kInflight, op_word::kListed)) {
                // A waiter or canceller claimed it.
                if (op_word::unlist(op.word)) {
                    engine_.ops.free(index);
                }
                ++backlog_at_;
                continue;
            }
        } else if ((word & op_word::kCancel) != 0) {
            ++backlog_at_;
            ++ended;
            engine_.complete(op, OpState::kInflight, {-ECANCELED, op.done, FSYS_STEP_QUEUE},
                             FSYS_LANE_RING, out);
            continue;
        }
        const bool transfer = op.opcode >= FSYS_OP_READ && op.opcode <= FSYS_OP_WRITEV;
        if (transfer && op.done == op.length) {
            ++backlog_at_;
            ++ended;
            engine_.complete(op, OpState::kInflight, {static_cast<std::int64_t>(op.done), op.done, 0},
                             FSYS_LANE_RING, out);
            continue;
        }
        // Credits: results never outnumber the places for them.
        if (in_queue_ >= max_in_queue_ || !put(op, index)) {
            break;
        }
        ++backlog_at_;
    }
    return ended;
}

void Driver::requeue(std::uint32_t index) { backlog_.push_back(index); }

bool Driver::on_result(std::uint32_t index, std::int32_t result, Publisher &out) {
    --in_queue_;
    Op &op = engine_.ops[index];
    const bool transfer = op.opcode >= FSYS_OP_READ && op.opcode <= FSYS_OP_WRITEV;
    if (result >= 0 && (!transfer || op.done + static_cast<std::uint32_t>(result) == op.length)) {
        // All of it, as nearly always. (What has nothing to transfer never gets here.)
        const std::uint64_t done = transfer ? op.length : 0;
        engine_.complete(op, OpState::kInflight, {static_cast<std::int64_t>(done), done, 0},
                         FSYS_LANE_RING, out);
        return true;
    }
    const bool cancelled = (op.word.load(memory_order_relaxed) & op_word::kCancel) != 0;
    const bool again = result == -EAGAIN && op.file() != nullptr && !op.file()->stream;
    if (!engine_.config.caller_driven && op.file() != nullptr && !op.file()->stream &&
        ((result == -ECANCELED && !cancelled) || (again && op.retries >= 8))) {
        // Cancelled by nobody: the kernel could not make a worker (a pids limit) and never started
        // it. EAGAIN that stays: it wants a thread that may block. Either way a plain call does it.
        engine_.stats.add(Count::kRetries);
        op.word.fetch_or(op_word::kListed, memory_order_acq_rel);
        engine_.pool.push(index);
        return false;
    }
    Outcome outcome;
    outcome.done = op.done;
    if (transfer) {
        if (!engine_.progress(*op.file(), op.opcode, op.flags, op.length, result, op.retries,
                              outcome)) {
            if (result > 0) {
                if (op.iov != nullptr) {
                    consume(op, static_cast<std::size_t>(result));
                } else if (op.piece == kMaxPiece) {
                    engine_.stats.add(Count::kSplits);
                }
            }
            op.done = outcome.done;
            requeue(index);
            return false;
        }
    } else if (result == -EINTR || (again && op.retries < 32)) {
        ++op.retries;
        engine_.stats.add(Count::kRetries);
        requeue(index);
        return false;
    } else if (result < 0) {
        outcome.result = result;
        outcome.step = engine_.failed(op.file(), op.opcode, op.flags, result);
    }
    engine_.complete(op, OpState::kInflight, outcome, FSYS_LANE_RING, out);
    return true;
}

int Driver::turn(std::int64_t wait_ns) {
    const bool caller_driven = engine_.config.caller_driven;
    if (caller_driven) {
        engine_.bell.run();
        // The caller of this turn may have looked before what it is told of was there.
        if (nudged_.load(std::memory_order_relaxed) && nudged_.exchange(false)) {
            wait_ns = 0;
        }
        if (has_event_fd()) {
            // Before the list is taken, so that a later write says "again". Left readable, it would
            // keep an outer loop spinning.
            std::uint64_t drained;
            [[maybe_unused]] const ssize_t n = ::read(queue_->wake_fd(), &drained, sizeof drained);
        }
    }
    run_controls();
    collect();
    int ended = 0;
    {
        Publisher out(engine_);
        ended = start_backlog(out);
    }
    // A backlog that only credits hold up waits for results; one that a full queue holds up goes on
    // right after this turn has emptied it.
    const bool full = backlog_at_ < backlog_.size() && in_queue_ < max_in_queue_;
    // What ended without the queue may be what the caller of this turn waits for.
    std::int64_t wait = full || ended != 0 ? 0 : wait_ns;
    const bool parked = wait != 0 && engine_.bell.park([this] { return idle(); });
    if (!parked) {
        wait = 0;
    }
    const int count = queue_->turn(results_.data(), kResults, wait);
    if (parked) {
        engine_.bell.run();
    }
    const AsyncCounters counters = queue_->counters();
    engine_.stats.add(Count::kEnters, counters.enters - seen_.enters);
    engine_.stats.add(Count::kEntries, counters.entries - seen_.entries);
    seen_ = counters;
    if (count > 0) {
        Publisher out(engine_);
        for (int i = 0; i < count; ++i) {
            ended += on_result(
                static_cast<std::uint32_t>(results_[static_cast<std::size_t>(i)].cookie),
                results_[static_cast<std::size_t>(i)].result, out);
        }
    }
    if (caller_driven) {
        // Until the next poll this side sleeps: others ring, and an outer loop is told of what has
        // come since the list was taken.
        const bool nothing = engine_.bell.park([this] { return idle(); });
        // The rest of a short transfer waits here for its next turn, and the queue may have more
        // results than fit: nothing else announces either.
        const bool more = (backlog_at_ < backlog_.size() && in_queue_ < max_in_queue_) ||
                          count == static_cast<int>(kResults);
        if ((!nothing || more) && has_event_fd()) {
            queue_->wake();
        }
    }
    return count < 0 ? count : ended;
}

// ------------------------------------------------------------------ requests of other threads

// Closing and cancelling must work without memory, too: a list that cannot grow is waited for, since
// the driver empties it and leaves its room. False when the driver does not come for a second.
bool Driver::ask(const Control &control, std::uint32_t *ret_ticket) {
    for (int tries = 0; tries < 1000; ++tries) {
        bool room = false;
        {
            const std::lock_guard lock(control_mutex_);
            room = controls_.size() < controls_.capacity();
            if (!room) {
                try {
                    controls_.reserve(std::max<std::size_t>(64, 2 * controls_.size()));
                    room = true;
                } catch (const std::bad_alloc &) {
                }
            }
            if (room) {
                controls_.push_back(control);
                const auto ticket = static_cast<std::uint32_t>(++controls_asked_);
                if (ret_ticket != nullptr) {
                    *ret_ticket = ticket;
                }
                controls_pending_.store(1, std::memory_order_seq_cst);
            }
        }
        engine_.ring_bell();
        if (room) {
            return true;
        }
        const timespec pause{0, 1'000'000};
        ::nanosleep(&pause, nullptr);
    }
    return false;
}

void Driver::request_cancel(std::uint32_t op, std::uint64_t word) {
    ask({What::kCancel, op, word});
}

void Driver::register_arena(void *base, std::size_t size) {
    ask({What::kArena, reinterpret_cast<std::uint64_t>(base), size});
}

void Driver::unregister_file(int place) {
    const Control control{What::kUnregister, static_cast<std::uint64_t>(place), 0};
    // Asking oneself would be waiting for oneself: the driver closes a file whose last op it ends.
    const bool own = engine_.config.caller_driven
                         ? engine_.is_driver_thread()
                         : running() && pthread_equal(pthread_self(), owner_) != 0;
    if (own) {
        put_control(control);
        return;
    }
    std::uint32_t ticket = 0;
    if (!ask(control, &ticket) || engine_.config.caller_driven) {
        return;  // the driver thread may be anywhere; it unregisters at its next poll
    }
    for (;;) {
        const std::uint32_t done = controls_done_.load(std::memory_order_seq_cst);
        if (static_cast<std::int32_t>(done - ticket) >= 0 || engine_.poisoned() != 0 || !running()) {
            return;
        }
        futex_wait(&controls_done_, done, Deadline::after(100'000'000));
    }
}

bool Driver::put_control(const Control &control) {
    switch (control.what) {
    case What::kCancel: {
        const std::uint64_t word =
            engine_.ops[static_cast<std::uint32_t>(control.a)].word.load(memory_order_acquire);
        if (op_word::generation(word) != op_word::generation(control.b) ||
            op_word::state(word) != OpState::kInflight) {
            return true;
        }
        return queue_->put_cancel(control.a);
    }
    case What::kUnregister:
        if (queue_) {
            queue_->unregister_file(static_cast<std::uint32_t>(control.a));
            free_places_.push_back(static_cast<int>(control.a));
        }
        return true;
    case What::kArena: {
        queue_->register_arena(reinterpret_cast<void *>(control.a), control.b);
        const std::lock_guard lock(facts_mutex_);
        facts_ = queue_->facts();
        return true;
    }
    }
    return true;
}

void Driver::run_controls() {
    if (controls_pending_.load(std::memory_order_seq_cst) == 0) {
        return;
    }
    {
        const std::lock_guard lock(control_mutex_);
        controls_now_.swap(controls_);
        controls_pending_.store(0, std::memory_order_seq_cst);
    }
    std::size_t done = 0;
    while (done < controls_now_.size() && put_control(controls_now_[done])) {
        ++done;
    }
    if (done < controls_now_.size()) {
        // The queue is full: the rest goes first at the next turn.
        const std::lock_guard lock(control_mutex_);
        controls_.insert(controls_.begin(), controls_now_.begin() + static_cast<std::ptrdiff_t>(done),
                         controls_now_.end());
        controls_pending_.store(1, std::memory_order_seq_cst);
    }
    controls_now_.clear();
    controls_done_.fetch_add(static_cast<std::uint32_t>(done), std::memory_order_seq_cst);
    futex_wake(&controls_done_);
}

bool Driver::stop(std::int64_t deadline_ns, bool detach) {
    stopping_.store(true, std::memory_order_seq_cst);
    if (!thread_.joinable()) {
        state_.store(kStopped, std::memory_order_release);
        return true;
    }
    wake();
    while (ended_.load(std::memory_order_seq_cst) == 0 && now_ns() < deadline_ns) {
        futex_wait(&ended_, 0, Deadline::after(deadline_ns - now_ns()));
    }
    if (ended_.load(std::memory_order_seq_cst) == 0) {
        thread_.detach();
        return false;
    }
    detach ? thread_.detach() : thread_.join();
    state_.store(kStopped, std::memory_order_release);
    return true;
}

AsyncFacts Driver::facts() {
    const std::lock_guard lock(facts_mutex_);
    return facts_;
}

int Driver::event_fd() {
    const int code = start();
    if (code != 0 || !running()) {
        return code != 0 ? code : FSYS_E_WRONG_THREAD;
    }
    const std::lock_guard lock(start_mutex_);
    int fd = event_fd_.load();
    if (fd >= 0) {
        return fd;
    }
    fd = ::epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    progress_fd_ = queue_->progress_fd();
    for (const int member : {poll_fd(), progress_fd_, wake_fd(), engine_.completions.event_fd()}) {
        epoll_event event{};
        event.events = EPOLLIN;
        if (member >= 0 && ::epoll_ctl(fd, EPOLL_CTL_ADD, member, &event) != 0) {
            const int error = -errno;
            ::close(fd);
            return error;
        }
    }
    event_fd_.store(fd);
    queue_->wake();  // ops listed before the descriptor existed
    return fd;
}

void Driver::close_in_child() {
    for (const int fd : {event_fd_.exchange(-1), poll_fd(), progress_fd_, wake_fd()}) {
        if (fd >= 0) {
            ::close(fd);
        }
    }
}

}  // namespace libfsys
