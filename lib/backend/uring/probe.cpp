// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The process-wide io_uring verdict. Any thread; the result lives in static memory and is published
// by an atomic state, so that nothing needs tearing down when the library is unloaded.

#include "backend/uring/probe.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "backend/uring/ring.hpp"
#include "fsys/fsys.h"

namespace libfsys {
namespace {

// Otherwise the process id of the thread that probes: a fork child inherits the state, not the
// thread, and probes itself.
enum : int { kUnknown = 0, kKnown = -1 };
constinit std::atomic<int> g_state{kUnknown};
constinit UringVerdict g_verdict{};

// The value of kernel.io_uring_disabled (since Linux 6.6), or -1 where there is none.
int disabled_sysctl() {
    const int fd = ::open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    char digit = '0';
    const ssize_t n = ::read(fd, &digit, 1);
    ::close(fd);
    return n == 1 ? digit - '0' : -1;
}

UringVerdict probe_now() {
    Ring ring;
    const int code = ring.open(4, 8, driver_ring_flags());
    if (code != 0) {
        return explain_setup_failure(-code);
    }
    UringVerdict verdict;
    verdict.flags = ring.flags();
    verdict.features = ring.features();
    constexpr std::uint32_t needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG |
                                     IORING_FEAT_RW_CUR_POS | IORING_FEAT_FAST_POLL;
    if ((ring.features() & needed) != needed) {
        verdict.reason = FSYS_REASON_OLD;
        std::snprintf(verdict.text, sizeof verdict.text,
                      "io_uring of this kernel lacks features that Linux 5.11 has "
                      "(features 0x%x, needed 0x%x)",
                      ring.features(), needed);
        return verdict;
    }
    io_uring_prep_nop(ring.next_sqe());
    const int entered = ring.enter(1, 1'000'000'000);
    int result = entered < 0 ? entered : -ETIME;
    ring.reap(1, [&](const io_uring_cqe &cqe) { result = cqe.res; });
    if (result != 0) {
        // Seccomp filters that allow setup but not enter exist.
        verdict = explain_setup_failure(-result);
        std::snprintf(verdict.text, sizeof verdict.text,
                      "io_uring_setup works but a NOP on the ring failed: %s (a seccomp filter on "
                      "io_uring_enter?)",
                      std::strerror(-result));
    }
    return verdict;
}

bool is_lasting(std::uint32_t reason) {
    return reason != FSYS_REASON_FD_LIMIT && reason != FSYS_REASON_MEMLOCK;
}

}  // namespace

std::uint32_t driver_ring_flags() {
    return IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
           IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | uapi::kSetupNoSqarray;
}

UringVerdict explain_setup_failure(int error) {
    UringVerdict verdict;
    verdict.error = error;
    const char *why = std::strerror(error);
    const auto say = [&](std::uint32_t reason, const char *text) {
        verdict.reason = reason;
        std::snprintf(verdict.text, sizeof verdict.text, "io_uring_setup: %s: %s", why, text);
    };
    switch (error) {
    case ENOSYS:
        say(FSYS_REASON_ENOSYS, "the kernel is older than 5.1, or a seccomp filter hides the call");
        break;
    case EPERM:
    case EACCES: {
        const int sysctl = disabled_sysctl();
        if (sysctl == 2 || (sysctl == 1 && ::geteuid() != 0)) {
            say(FSYS_REASON_SYSCTL, sysctl == 2 ? "sysctl kernel.io_uring_disabled is 2"
                                                : "sysctl kernel.io_uring_disabled is 1 and the "
                                                  "process is not privileged");
        } else {
            say(FSYS_REASON_SECCOMP,
                "a seccomp filter (container run-times have one) or a security module forbids it");
        }
        break;
    }
    case ENOMEM: {
        rlimit limit{};
        ::getrlimit(RLIMIT_MEMLOCK, &limit);
        verdict.reason = FSYS_REASON_MEMLOCK;
        std::snprintf(verdict.text, sizeof verdict.text,
                      "io_uring_setup: %s: RLIMIT_MEMLOCK is %llu KiB (counts on kernels before "
                      "5.12 and for registered memory)",
                      why, static_cast<unsigned long long>(limit.rlim_cur / 1024));
        break;
    }
    case EMFILE:
    case ENFILE:
        say(FSYS_REASON_FD_LIMIT, error == EMFILE ? "the process has no free descriptor "
                                                    "(RLIMIT_NOFILE)"
                                                  : "the system has no free file");
        break;
    default:
        say(FSYS_REASON_OTHER, "unexpected");
        break;
    }
    return verdict;
}

UringVerdict probe_uring() {
    int seen = g_state.load(std::memory_order_acquire);
    while (seen != kKnown) {
        const int self = ::getpid();
        if (seen != self &&
            g_state.compare_exchange_strong(seen, self, std::memory_order_acquire)) {
            const UringVerdict verdict = probe_now();
            if (is_lasting(verdict.reason)) {
                g_verdict = verdict;
                g_state.store(kKnown, std::memory_order_release);
            } else {
                g_state.store(kUnknown, std::memory_order_release);
            }
            return verdict;
        }
        // Another thread probes: tens of microseconds.
        std::this_thread::yield();
        seen = g_state.load(std::memory_order_acquire);
    }
    return g_verdict;
}

}  // namespace libfsys
