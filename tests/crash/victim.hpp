// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The workload that loses power, and the judge of what is left.
//
// The victim is a process of its own that writes a journal through the C interface from several
// threads, and notes in memory shared with its parent what it tries and what it was promised. When
// its storage has failed the judge, in the parent, opens the journal again: all that was promised
// is there, in order, unaltered, and nothing that nobody wrote.
#pragma once

#include <fsys/journal.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace crash {

inline constexpr unsigned kWriters = 4;  // the last one commits asynchronously

// Lies in memory shared by both processes.
struct Shared {
    std::atomic<std::uint64_t> tried[kWriters];  // last number given to an append
    std::atomic<std::uint64_t> acked[kWriters];  // last number that was said to be durable ...
    std::atomic<std::uint64_t> acked_lsn[kWriters];
    std::atomic<std::uint64_t> trimmed;          // last LSN given to a trim
    std::atomic<bool> power_fails;               // from now on errors are expected
    std::atomic<bool> shutting_down;             // from now on promises do not count
    std::atomic<int> wrong_code;                 // an error before that
    std::atomic<unsigned> lies;                  // successes after a sticky failure
    std::atomic<unsigned> failures;              // writers that met the failure
    std::atomic<unsigned> sticky;                // of those, with FSYS_E_POISONED or FSYS_E_UNKNOWN
    std::atomic<unsigned> opened;                // lives in which the journal could be opened
};

struct Tally {
    std::uint64_t cycles = 0;
    std::uint64_t acked = 0;     // records promised, all cycles together
    std::uint64_t recovered = 0; // records read back, all cycles together
    std::uint64_t torn = 0;      // verdicts "torn"
    std::uint64_t opened = 0;    // lives in which the victim could open the journal
    std::uint64_t sticky = 0;    // writers that were told of a sticky failure
};

// One journal through many lives. Used by the parent's main thread.
class Rig {
public:
    Rig(std::string path, std::uint64_t seed);
    Rig(const Rig &) = delete;
    Rig &operator=(const Rig &) = delete;
    ~Rig();

    // Starts a victim, lets it work for a random while, calls `cut` (which takes the power away),
    // and waits for the victim's end. "" or what was wrong.
    template <class F>
    std::string live(F &&cut) {
        start();
        let_work();
        shared_->power_fails = true;
        shared_->shutting_down = true;
        cut();
        return wait_for_end();
    }
    // As live(), for power that goes by itself at some operation: waits until the victim has failed.
    template <class F>
    std::string live_until_failure(F &&before) {
        shared_->power_fails = true;
        before();
        start();
        return wait_for_end();
    }
    // Opens the journal and compares. "" or what was wrong.
    std::string judge();
    // Opens and closes, and does not care: for power that goes during recovery.
    void recover_in_vain();

    const Tally &tally() const { return tally_; }
    std::uint64_t next_random() {
        return random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    }
    std::uint64_t random(std::uint64_t below) { return (next_random() >> 33) % below; }

private:
    void start();
    void let_work();
    std::string wait_for_end();
    std::uint64_t sum_acked() const;

    std::string path_;
    std::uint64_t random_;
    std::uint32_t life_ = 0;
    Shared *shared_;
    fsys_journal_options options_{};
    pid_t victim_ = -1;
    std::uint64_t base_[kWriters] = {};  // numbers up to these come from earlier lives
    std::uint64_t acked_before_ = 0;
    bool eager_ = false;
    Tally tally_;
};

}  // namespace crash
