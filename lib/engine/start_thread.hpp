// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A thread of the library: with every signal blocked, so that a handler of the host never runs on
// it. A thread inherits the mask of its maker, so the maker blocks around the start.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <thread>
#include <utility>

namespace libfsys {

// Throws std::system_error as std::thread does.
template <class F>
std::thread start_thread(F &&body) {
    class Blocked {
    public:
        Blocked() {
            sigset_t all;
            ::sigfillset(&all);
            ::pthread_sigmask(SIG_SETMASK, &all, &before_);
        }
        ~Blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

    private:
        sigset_t before_;
    };
    const Blocked blocked;
    return std::thread(std::forward<F>(body));
}

}  // namespace libfsys
