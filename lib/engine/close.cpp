// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Ending: one file, or the engine. Nothing that the kernel may still touch is freed; what does not
// end in time is kept. Entered by the thread that closes, after admission has stopped.

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "engine/engine.hpp"

namespace libfsys {
namespace {

constexpr std::int64_t kAfterCancelNs = 1'000'000'000;

// Sleeps a little longer at each call: closing is rare, and has no event of its own to wait for.
class Backoff {
public:
    void pause() {
        const timespec ts{0, delay_ns_};
        ::nanosleep(&ts, nullptr);
        delay_ns_ = std::min(delay_ns_ * 2, 2'000'000l);
    }

private:
    long delay_ns_ = 20'000;
};

// Calls `done` until it is true or the deadline has passed; drives the handle if nobody else does.
template <class Done>
bool await(Engine &engine, std::int64_t deadline_ns, Done &&done) {
    Backoff backoff;
    while (!done()) {
        if (now_ns() >= deadline_ns) {
            return false;
        }
        if (engine.config.caller_driven && engine.is_driver_thread() && engine.driver.start() == 0) {
            if (engine.turn(1'000'000) < 0) {
                engine.poison(FSYS_E_DRIVER_DEAD, "the ring failed while the handle was closed");
                return done();
            }
        } else {
            backoff.pause();
        }
    }
    return true;
}

}  // namespace

int Engine::finish_file_close(Target &target) {
    const int place = target.place.exchange(-1);
    if (place >= 0) {
        driver.unregister_file(place);
    }
    const int code = sys.close(target.fd);
    targets.give_back(target);
    return code;
}

int Engine::close_file(Target &target, std::uint64_t generation) {
    if (!targets.begin_close(target, generation)) {
        return FSYS_E_CLOSED;
    }
    const auto unused = [&] { return targets.unused(target); };
    if (!unused()) {
        each_op([&](std::uint32_t index, std::uint64_t op) {
            if (op_word::state(op) == OpState::kQueued && (op & op_word::kListed) == 0) {
                publish(index, op);  // promised a waiter that may never come
            }
        });
    }
    bool gone = await(*this, now_ns() + config.close_timeout_ns, unused);
    if (!gone) {
        Publisher out(*this);
        each_op([&](std::uint32_t index, std::uint64_t op) {
            // A slot that is reused between the two reads has a new generation, which cancel_op's
            // compare-and-swap notices.
            if (op_word::is_pending(op) &&
                ops[index].target.load(std::memory_order_relaxed) == &target) {
                cancel_op(index, op, out);
            }
        });
        out.flush();
        gone = await(*this, now_ns() + kAfterCancelNs, unused);
    }
    if (!gone) {
        std::uint64_t word = generation << 2 | Target::kOrphan;
        target.word.store(word, std::memory_order_seq_cst);
        heavy_barrier();
        // The last user may have left between the look and the store: then nobody else will close.
        if (!unused() ||
            !target.word.compare_exchange_strong(word, generation << 2 | Target::kClosing)) {
            return -ETIMEDOUT;
        }
    }
    return finish_file_close(target);
}

void Engine::forget_file(Target &target, std::uint64_t generation) {
    if (!targets.begin_close(target, generation)) {
        return;
    }
    // All its ops were taken: the last one's lane is a few instructions from leaving.
    if (!await(*this, now_ns() + kAfterCancelNs, [&] { return targets.unused(target); })) {
        target.fd = -1;  // the entry is lost; nobody may close a number that is somebody else's
        return;
    }
    const int place = target.place.exchange(-1);
    if (place >= 0) {
        driver.unregister_file(place);
    }
    targets.give_back(target);
}

bool Engine::shut_down(const std::function<bool()> &callers_gone) {
    closing.store(true, std::memory_order_seq_cst);
    completions.wake_all();
    ops.wake_all_waiters();
    each_op([&](std::uint32_t index, std::uint64_t word) {
        if (op_word::state(word) == OpState::kQueued && (word & op_word::kListed) == 0) {
            publish(index, word);
        }
    });
    const auto quiet = [&] {
        bool pending = false;
        each_op([&](std::uint32_t, std::uint64_t word) { pending |= op_word::is_pending(word); });
        return !pending;
    };
    const bool dead = poisoned() != 0;
    bool ended = await(*this, now_ns() + (dead ? 0 : config.close_timeout_ns), quiet);
    if (!ended && !dead) {
        Publisher out(*this);
        each_op([&](std::uint32_t index, std::uint64_t word) {
            if (op_word::is_pending(word)) {
                cancel_op(index, word, out);
            }
        });
    }
    const std::int64_t last = now_ns() + kAfterCancelNs;
    if (!ended) {
        ended = await(*this, last, quiet);
    }
    const bool gone = await(*this, last, callers_gone);
    ticker.stop();
    const bool poller_ended = poller.stop(now_ns() + (ended ? kAfterCancelNs : 0));
    const bool driver_ended = driver.stop(now_ns() + kAfterCancelNs, !ended);
    const bool pool_ended = pool.stop(now_ns() + (ended ? kAfterCancelNs : 0));
    const bool clean = ended && gone && poller_ended && driver_ended && pool_ended;
    for (std::uint32_t i = 0; i < targets.touched(); ++i) {
        Target &target = *targets.at(i);
        const std::uint64_t state = target.word.load() & Target::kStateMask;
        if (state != Target::kFree && (clean || targets.unused(target))) {
            sys.close(target.fd);
        }
    }
    return clean;
}

void Engine::close_in_child() {
    for (std::uint32_t i = 0; i < targets.touched(); ++i) {
        Target &target = *targets.at(i);
        if ((target.word.load() & Target::kStateMask) != Target::kFree) {
            ::close(target.fd);
        }
    }
    if (root_fd >= 0) {
        ::close(root_fd);
    }
    driver.close_in_child();
    batches.close_in_child();
    poller.close_in_child();
    completions.close_event_fd_in_child();
}

}  // namespace libfsys
