// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The power-loss run: a random script on a journal over a simulated disk, a model of what must and
// what may be there, and the check of every crash state. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "journal/scratch.hpp"
#include "sim/sim_disk.hpp"

namespace journal_test {

inline std::uint64_t number_from(const char *variable, std::uint64_t otherwise) {
    const char *text = std::getenv(variable);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// FSYS_SWEEP_STEP: tests that go through every byte, bit or call take each n-th only, for builds in
// which that is slow.
inline std::size_t sweep_step() {
    return std::max<std::size_t>(number_from("FSYS_SWEEP_STEP", 1), 1);
}

class PowerLoss {
public:
    explicit PowerLoss(std::uint64_t seed) : seed_(seed), random_(seed) {}
    void script();
    bool ok() const { return failure_.empty(); }
    const std::string &failure() const { return failure_; }
    std::uint64_t points() const { return points_; }
    std::uint64_t nested() const { return nested_; }
    std::uint64_t scripts() const { return scripts_; }
    std::uint64_t digest() const { return digest_; }

private:
    struct Entry {
        std::uint64_t id;
        std::size_t length;
        std::uint64_t group;  // entries of one batch share it
        Lsn lsn;              // 0 while the call that appends it has not returned
    };
    // A history that recovery may show: entries in order, of which the first `acked` must be there
    // unless they are below `trimmed`.
    struct History {
        std::vector<Entry> entries;
        std::size_t acked = 0;
        std::size_t trimmed = 0;  // entries that the owner has given up
    };

    void examine_point();
    void check(sim::Disk &disk, unsigned depth, const std::string &how);
    bool matches(const History &history, const std::vector<std::string> &records,
                 std::string &why) const;
    void fail(const std::string &text);
    void append(Journal &journal);
    void append(Journal &journal, std::size_t length);
    void burst(Journal &journal);
    void batch(Journal &journal);
    void acknowledge(const Journal &journal);
    Options options();

    std::uint64_t seed_;
    sim::Random random_;
    LateRunner runner_;
    std::unique_ptr<sim::Disk> disk_;
    Options options_;
    History history_;
    std::vector<History> alternatives_;  // while a truncation runs
    std::uint64_t next_id_ = 1;
    std::uint64_t next_group_ = 1;
    std::uint64_t points_ = 0;
    std::uint64_t nested_ = 0;
    std::uint64_t scripts_ = 0;
    std::uint64_t digest_ = 0;
    std::string failure_;
};

}  // namespace journal_test
