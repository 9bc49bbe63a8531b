// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Signals as a flag that the commands poll. The handler runs on any thread.
#include "interrupt.hpp"

#include <csignal>

#include <atomic>

namespace cli {

namespace {

std::atomic<int> arrived{0};
static_assert(std::atomic<int>::is_always_lock_free);  // else not allowed in a handler

extern "C" void note_signal(int number)
{
    arrived.store(number, std::memory_order_relaxed);
}

}  // namespace

void catch_interrupts()
{
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction action {};
        sigaction(number, nullptr, &action);
        if (action.sa_handler == SIG_IGN) {
            continue;  // nohup, or a background job of a shell: stay deaf
        }
        action = {};
        action.sa_handler = note_signal;
        action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
        sigaction(number, &action, nullptr);
    }
    // A full disk quota reports EFBIG only when the signal of the limit does not kill first; a
    // closed stdout is seen by the final flush.
    std::signal(SIGXFSZ, SIG_IGN);
    std::signal(SIGPIPE, SIG_IGN);
}

int interrupted() noexcept
{
    return arrived.load(std::memory_order_relaxed);
}

}  // namespace cli
