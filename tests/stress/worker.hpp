// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One thread of the stress program: it makes up ops, keeps them in a table, takes their completions
// in every way that the library knows, and checks each result against the model.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <fsys/fsys.h>

#include "files.hpp"
#include "report.hpp"

namespace stress {

constexpr std::uint32_t kMostWorkers = 32;
constexpr std::uint32_t kPending = 48;  // ops of one thread at a time
constexpr std::uint32_t kMostUnits = 16;
constexpr std::uint32_t kBufferBytes = 64 * 1024;

class Worker;

struct Pending {
    enum State : int { kIdle, kFlying, kDelivered };
    std::atomic<int> state{kIdle};
    std::atomic<std::uint64_t> serial{0};
    std::atomic<bool> cancel_asked{false};
    // Written by the deliverer before kDelivered.
    fsys_result result{};

    // The owner's.
    std::uint32_t opcode = FSYS_OP_NOP;
    std::uint32_t flags = 0;
    TestFile *file = nullptr;
    bool pipe = false;
    bool queued = false;  // without a token
    bool shared = false;  // another thread may take it
    bool past_end = false;
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    std::uint64_t length = 0;
    std::uint32_t version = 0;                   // that a write writes
    std::array<std::uint32_t, kMostUnits> expected{};  // that a read finds
    std::uint32_t chain = 0;                     // ops linked together have the same
    fsys_op token = 0;
    std::uint8_t *memory = nullptr;              // for the program's life
    std::uint8_t *arena = nullptr;               // for the round, or nullptr
    std::uint8_t *buffer = nullptr;              // one of the two
    fsys_iovec iov[8];
};

// What the threads of a round share.
struct Round {
    fsys *handle = nullptr;
    bool caller_driven = false;
    bool own_reaper = false;      // a thread of its own empties the completion queue
    std::vector<TestFile> *shared = nullptr;
    std::atomic<bool> stop{false};
    std::atomic<bool> closing{false};  // FSYS_E_CLOSED is an answer now
    std::vector<std::unique_ptr<Worker>> *workers = nullptr;
    // Tokens that anyone may wait for or cancel: user data and token.
    struct Offer {
        std::atomic<fsys_op> token{0};
        std::atomic<std::uint64_t> user_data{0};
    };
    std::array<Offer, 8> offers;
};

// The op that a completion belongs to; fails on user data that no op in flight has.
Pending &pending_of(Round &round, const fsys_result &result);
// Stores a completion; fails when the op had one before.
void deliver(Round &round, const fsys_result &result, bool from_queue);
// Takes up to `max` completions from the queue and delivers them. False once the handle is closed.
bool reap_some(Round &round, std::uint32_t max, std::int64_t timeout_ns, int *ret_count = nullptr);

class Worker {
public:
    Worker(std::uint32_t index, std::uint64_t seed, const std::string &directory, bool direct,
           Activity &activity);
    Worker(const Worker &) = delete;
    Worker &operator=(const Worker &) = delete;
    ~Worker();

    void begin(Round &round);
    // One random thing. False when the handle was closed under it.
    bool step();
    // Takes everything that is in flight, or leaves some of it to fsys_close().
    void end(bool abandon);
    // After the handle has been closed: what was in flight is unknown.
    void forget();
    // Reads the files with plain calls and compares.
    void verify_on_disk(TestFile &file, bool whole);
    TestFile &private_file() { return own_; }
    Pending &pending(std::uint32_t slot) { return pending_[slot]; }
    Activity &activity() { return activity_; }
    std::uint64_t finished() const { return finished_; }

private:
    Pending *idle();
    std::int64_t random_timeout(bool may_be_endless);
    TestFile &random_file();
    bool pick_units(TestFile &file, bool write, std::uint32_t &first, std::uint32_t &count);
    // Prepares a random op in an idle entry and its request; nullptr when there is no room for it.
    Pending *make(fsys_request &request, std::uint32_t most_flags);
    Pending *make_transfer(fsys_request &request, bool write, TestFile &file, std::uint32_t first,
                           std::uint32_t count, const std::uint32_t *expected);
    void launch(Pending &p, std::uint64_t &user_data);
    void undo(Pending &p);
    void collect(Pending &p);
    void settle(Pending &p, bool known);
    bool take(Pending &p, std::int64_t timeout_ns);
    bool closed(int code) const;
    void collect_delivered();
    std::uint32_t choose(Pending **chosen, std::uint32_t most, bool with_pipe, bool with_shared);

    bool submit_one();
    bool submit_many();
    bool submit_chain();
    bool wait_one();
    bool wait_any();
    bool wait_all();
    bool cancel_one();
    bool stale_token();
    bool blocking();
    bool help();
    bool reopen();
    bool pipe_step();
    bool observe();
    bool fork_step();
    bool open_pipe();
    void feed_pipe();

    const std::uint32_t index_;
    Random random_;
    Activity &activity_;
    Round *round_ = nullptr;
    TestFile own_;
    std::vector<Pending> pending_;
    std::unique_ptr<std::uint8_t, void (*)(void *)> memory_;
    std::unique_ptr<std::uint8_t, void (*)(void *)> scratch_;
    std::uint64_t serial_ = 0;
    std::uint32_t version_ = 0;
    std::uint32_t chain_ = 0;
    std::uint64_t finished_ = 0;
    int pipe_[2] = {-1, -1};
    fsys_file *pipe_file_ = nullptr;
    Pending *pipe_read_ = nullptr;
    bool pipe_fed_ = false;
    fsys_op last_taken_ = 0;
};

}  // namespace stress
