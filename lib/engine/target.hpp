// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the engine knows of an open file: the descriptor, who may still use it, which lane suits it,
// whether it can still be trusted. Entries live in chunks that stay mapped while the handle lives,
// so that a stale id can always be checked.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/presence.hpp"

namespace libfsys {

// Whether trying RWF_NOWAIT before queueing pays: a moving average of its hits. Below about 3 in 4
// the failed tries cost more than the hits save (measured in docs/design.md), so it is tried only
// now and then to notice that the file has become cached.
class NowaitGate {
public:
    bool open() {
        const int score = score_.load(std::memory_order_relaxed);
        if (score == kNever) {
            return false;
        }
        if (score >= kThreshold) {
            return true;
        }
        const std::uint32_t n = skipped_.load(std::memory_order_relaxed) + 1;
        skipped_.store(n, std::memory_order_relaxed);
        return n % 32 == 0;
    }
    void hit() {
        const int score = score_.load(std::memory_order_relaxed);
        if (score != kFull) {
            score_.store(score + (kFull - score + 15) / 16, std::memory_order_relaxed);
        }
    }
    void miss() {
        const int score = score_.load(std::memory_order_relaxed);
        score_.store(score - score / 16, std::memory_order_relaxed);
    }
    void never() { score_.store(kNever, std::memory_order_relaxed); }
    void reset() { score_.store(kFull, std::memory_order_relaxed); }

private:
    static constexpr int kFull = 1024;
    static constexpr int kThreshold = 768;
    static constexpr int kNever = -1;
    // Races between threads lose an update, which a moving average can bear.
    std::atomic<int> score_{kFull};
    std::atomic<std::uint32_t> skipped_{0};
};

// What is fixed at open.
struct TargetFacts {
    int fd = -1;
    bool readable = false;
    bool writable = false;
    bool direct = false;
    bool bounce = false;
    bool stream = false;       // no offsets, may block for ever: pipe, socket, terminal
    bool ring_writes = false;  // buffered writes can complete inside io_uring_enter
    std::uint32_t mem_align = 0;
    std::uint32_t offset_align = 0;
    std::uint32_t atomic_min = 0;  // bytes; 0: no atomic writes
    std::uint32_t atomic_max = 0;
    std::uint32_t atomic_segments = 0;
    char file_system[16] = "?";
};

struct Target : TargetFacts {
    // generation << 2 | state
    enum : std::uint64_t { kFree = 0, kOpen = 1, kClosing = 2, kOrphan = 3, kStateMask = 3 };
    std::atomic<std::uint64_t> word{kFree};
    Presence<4> users;
    std::atomic<std::uint32_t> left{0};  // bumped when a user leaves a closing file
    std::atomic<int> place{-1};          // in the ring's file table; set by the driver
    std::atomic<bool> refused{false};    // the table was full or refused it
    std::uint32_t ring_ops = 0;          // driver only: registering pays from some ops on
    std::atomic<int> poison{0};
    std::uint32_t index = 0;
    NowaitGate nowait;

    bool alive(std::uint64_t generation) const {
        return word.load(std::memory_order_seq_cst) == (generation << 2 | kOpen);
    }
};

class TargetTable {
public:
    TargetTable(std::uint32_t capacity, std::uint64_t generation_seed);

    // An unused entry, not yet open, or nullptr when `capacity` are in use. Throws std::bad_alloc.
    Target *allocate();
    // FREE -> OPEN with these facts. Returns the generation.
    std::uint64_t open(Target &target, const TargetFacts &facts);
    void give_back(Target &target);

    // The entry at this index, or nullptr when there never was one.
    Target *at(std::uint32_t index) const {
        if (index >= capacity_) {
            return nullptr;
        }
        Target *chunk = chunks_[index / kChunk].load(std::memory_order_acquire);
        return chunk == nullptr ? nullptr : &chunk[index % kChunk];
    }
    // Adds a user if this generation is open. The add comes first: see presence.hpp.
    static bool acquire(Target &target, std::uint64_t generation, unsigned shard) {
        target.users.add(shard, 1);
        if (target.alive(generation)) {
            return true;
        }
        release(target, shard);
        return false;
    }
    // True when the caller was the last user of an orphan and must finish its closing.
    static bool release(Target &target, unsigned shard, std::int64_t count = 1);

    std::uint32_t capacity() const { return capacity_; }
    std::uint32_t touched() const { return touched_.load(std::memory_order_acquire); }
    std::uint64_t memory_bytes() const { return std::uint64_t{capacity_} * sizeof(Target); }

private:
    static constexpr std::uint32_t kChunk = 64;
    std::uint32_t capacity_;
    std::uint64_t seed_;
    std::vector<std::atomic<Target *>> chunks_;
    std::vector<std::unique_ptr<Target[]>> owned_;
    std::mutex mutex_;  // allocate and give_back; opening a file costs microseconds anyway
    std::vector<Target *> free_;
    std::atomic<std::uint32_t> touched_{0};
};

}  // namespace libfsys
