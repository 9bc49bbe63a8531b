// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Construction, tokens, poison and what the engine tells of itself. The ABI layer owns the engine;
// poison comes from any thread.

#include "engine/engine.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

namespace libfsys {
namespace {

constexpr unsigned kHandleBits = 10;
static_assert(Engine::kIndexBits + kHandleBits == op_word::kGenerationShift);

volatile std::uint32_t *map_alive_page() {
    const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void *page = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        throw std::bad_alloc();
    }
    ::madvise(page, size, MADV_WIPEONFORK);
    *static_cast<std::uint32_t *>(page) = 1;
    return static_cast<std::uint32_t *>(page);
}

int copy_text(const char *from, char *text, std::size_t size) {
    const std::size_t length = std::strlen(from);
    if (size != 0) {
        const std::size_t n = std::min(length, size - 1);
        std::memcpy(text, from, n);
        text[n] = '\0';
    }
    return static_cast<int>(length);
}

}  // namespace

Engine::Engine(const EngineConfig &c)
    : config(c),
      sys(c.syscalls != nullptr ? *c.syscalls : real_syscalls()),
      ops(c.max_ops, c.seed),
      targets(c.max_files, c.seed & 0x3fffffff, c.callers),
      completions(ops, stats),
      pool(*this, c.pool_threads),
      poller(*this),
      ticker(*this),
      driver(*this),
      alive_page_(map_alive_page()),
      real_calls_(c.syscalls == nullptr),
      creator_(::pthread_self()) {}

Engine::~Engine() {
    if (root_fd >= 0) {
        ::close(root_fd);
    }
    ::munmap(const_cast<std::uint32_t *>(alive_page_),
             static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
}

Op *Engine::find(fsys_op issued, std::uint64_t &generation) {
    const std::uint32_t index = slot_of(issued);
    const std::uint64_t handle = (issued >> kIndexBits) & ((1u << kHandleBits) - 1);
    if (issued == 0 || handle != config.handle_index || index >= ops.touched()) {
        return nullptr;
    }
    generation = issued >> op_word::kGenerationShift;
    return &ops[index];
}

std::uint64_t Engine::in_flight() {
    std::uint64_t count = 0;
    each_op([&](std::uint32_t, std::uint64_t word) {
        count += op_word::state(word) < OpState::kDone ? 1 : 0;
    });
    return count;
}

void Engine::poison(int code, const char *sentence) {
    {
        const std::lock_guard lock(cause_mutex_);
        if (poison_code_.load(std::memory_order_relaxed) != 0) {
            return;  // the first cause is the one that counts
        }
        copy_text(sentence, cause_, sizeof cause_);
        poison_code_.store(code, std::memory_order_seq_cst);
    }
    end_waiting_ops(code);
    groups.wake_all();
    completions.wake_all();
    ops.wake_all_waiters();
}

// What never started ends now; what the kernel holds cannot, so only its waiters are woken.
void Engine::end_waiting_ops(int code) {
    Publisher out(*this);
    each_op([&](std::uint32_t index, std::uint64_t word) {
        Op &op = ops[index];
        const OpState state = op_word::state(word);
        if ((state == OpState::kQueued || state == OpState::kHeld) &&
            op_word::claim(op.word, word, OpState::kClaimed)) {
            complete(op, OpState::kClaimed, {code, 0, FSYS_STEP_QUEUE}, FSYS_LANE_NONE, out);
        } else {
            // Changed first: a waiter that looked for poison just before this does not sleep.
            std::uint64_t seen = word;
            op_word::mark(op.word, seen, op_word::kPoked);
            futex_wake(futex_half(op.word));
        }
    });
}

void Engine::poison_file(Target &target, int error, const char *what) {
    const std::lock_guard lock(cause_mutex_);
    if (target.poison.load(std::memory_order_relaxed) != 0) {
        return;
    }
    target.poison.store(error, std::memory_order_release);
    char sentence[256];
    std::snprintf(sentence, sizeof sentence,
                  "a %s failed with %s (%d): the kernel may have dropped the unwritten pages, so no "
                  "later sync of this file can be believed; reopen it and compare",
                  what, std::strerror(-error), error);
    try {
        file_causes_.push_back({&target, target.word.load() >> 2, sentence});
    } catch (const std::bad_alloc &) {
        // The code is what matters; the sentence is a courtesy.
    }
}

int Engine::cause(char *text, std::size_t size) {
    const std::lock_guard lock(cause_mutex_);
    return copy_text(cause_, text, size);
}

int Engine::file_cause(const Target &target, char *text, std::size_t size) {
    const std::lock_guard lock(cause_mutex_);
    for (const FileCause &entry : file_causes_) {
        if (entry.target == &target && entry.word == target.word.load() >> 2) {
            return copy_text(entry.text.c_str(), text, size);
        }
    }
    return copy_text(target.poison.load() != 0 ? "a sync failed" : "", text, size);
}

void Engine::describe(fsys_handle_info &info) {
    const AsyncFacts facts = driver.facts();
    const bool uring = config.uring && !driver.unavailable();
    info.backend = uring ? FSYS_BACKEND_IO_URING : FSYS_BACKEND_THREADS;
    info.backend_reason = config.verdict.reason;
    info.backend_errno = config.verdict.error;
    copy_text(config.verdict.text, info.reason_text, sizeof info.reason_text);
    if (config.uring && !uring) {
        info.backend_reason = FSYS_REASON_OTHER;
        copy_text("io_uring worked at open, but the driver's ring could not be made", info.reason_text,
                  sizeof info.reason_text);
    }
    info.driver = config.caller_driven ? FSYS_DRIVER_CALLER : FSYS_DRIVER_THREAD;
    info.driver_running = driver.running() ? 1 : 0;
    info.ring_flags = driver.running() ? facts.flags : config.verdict.flags;
    info.ring_features = driver.running() ? facts.features : config.verdict.features;
    info.sq_entries = facts.sq_entries;
    info.cq_entries = facts.cq_entries;
    info.registered_files = facts.registered_files;
    info.registered_buffers = facts.registered_arena ? 1 : 0;
    info.max_ops = config.max_ops;
    info.max_files = config.max_files;
    info.pool_threads = config.pool_threads;
    info.poisoned = poisoned() != 0 ? 1 : 0;
    info.memory_bytes = sizeof(Engine) + std::uint64_t{config.max_ops} * sizeof(Op) +
                        targets.memory_bytes() + Groups::kCount * sizeof(Group) +
                        std::uint64_t{facts.sq_entries} * sizeof(io_uring_sqe) +
                        std::uint64_t{facts.cq_entries} * sizeof(io_uring_cqe);
}

}  // namespace libfsys
