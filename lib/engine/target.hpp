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
#include "engine/zero_pages.hpp"

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
    NowaitGate nowait;  // in the line of the facts
    Presence<4> users;
    std::atomic<int> place{-1};          // in the ring's file table; set by the driver
    std::atomic<bool> refused{false};    // the table was full or refused it
    std::uint32_t ring_ops = 0;          // driver only: registering pays from some ops on
    std::atomic<int> poison{0};
    std::uint32_t index = 0;

    bool alive(std::uint64_t generation) const {
        return word.load(std::memory_order_seq_cst) == (generation << 2 | kOpen);
    }
};
static_assert(sizeof(TargetFacts) + sizeof(std::uint64_t) + sizeof(NowaitGate) == kCacheLine);

// All that a blocking transfer must know of an open file, in one word: with thousands of files open,
// each line of the cache that a call touches for its file is a miss (an entry's: 50 of 550 ns).
// | generation 30 | plain writes, plain reads | descriptor 31 | zero: not open.
// Plain: a transfer of one piece needs no look at alignment, position or kind of file.
class Door {
public:
    explicit Door(std::uint64_t word) : word_(word) {}
    Door(const TargetFacts &facts, std::uint64_t generation)
        : word_(generation << 34 | (plain(facts) && facts.writable ? kWrites : 0) |
                (plain(facts) && facts.readable ? kReads : 0) |
                static_cast<std::uint32_t>(facts.fd)) {}

    std::uint64_t word() const { return word_; }
    bool lets(bool read, std::uint64_t generation) const {
        return word_ >> 34 == generation && (word_ & (read ? kReads : kWrites)) != 0;
    }
    int fd() const { return static_cast<int>(word_ & 0x7fffffff); }

private:
    static constexpr std::uint64_t kWrites = std::uint64_t{1} << 33;
    static constexpr std::uint64_t kReads = std::uint64_t{1} << 32;
    static bool plain(const TargetFacts &facts) { return !facts.direct && !facts.stream; }
    std::uint64_t word_;
};

class TargetTable {
public:
    // `callers` of the handle pin files; may be nullptr.
    TargetTable(std::uint32_t capacity, std::uint64_t generation_seed,
                const Presence<kShards> *callers);

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
    // For a pin: what is open after its door was pinned is not closed until it is pinned no longer.
    const std::atomic<std::uint64_t> *door(std::uint32_t index) const {
        return index < capacity_ ? &doors_[index] : nullptr;
    }
    // OPEN -> CLOSING, followed by the heavy barrier: who comes now sees it. False: not open.
    bool begin_close(Target &target, std::uint64_t generation);
    // Users have gone, or a pin. True when the caller was the last user of an orphan and must finish
    // its closing.
    bool release(Target &target, unsigned shard, std::int64_t count) {
        target.users.add(shard, -count);
        return user_left(target);
    }
    bool user_left(Target &target) {
        const std::uint64_t word = target.word.load(std::memory_order_seq_cst);
        const std::uint64_t state = word & Target::kStateMask;
        return state != Target::kOpen && state != Target::kFree && left_closing(target, word);
    }
    // Nobody is inside any more; for who has marked it as closed, after a heavy barrier.
    bool unused(const Target &target) const {
        return (callers_ == nullptr || !callers_->is_pinned(&doors_[target.index])) &&
               target.users.sum() == 0;
    }

    std::uint32_t capacity() const { return capacity_; }
    std::uint32_t touched() const { return touched_.load(std::memory_order_acquire); }
    std::uint64_t memory_bytes() const {
        return std::uint64_t{capacity_} * (sizeof(Target) + sizeof(std::uint64_t));
    }

private:
    bool left_closing(Target &target, std::uint64_t word);

    static constexpr std::uint32_t kChunk = 64;
    std::uint32_t capacity_;
    std::uint64_t seed_;
    const Presence<kShards> *callers_;
    ZeroPages<std::atomic<std::uint64_t>> doors_;
    std::vector<std::atomic<Target *>> chunks_;
    std::vector<std::unique_ptr<Target[]>> owned_;
    std::mutex mutex_;  // allocate and give_back; opening a file costs microseconds anyway
    std::vector<Target *> free_;
    std::atomic<std::uint32_t> touched_{0};
};

}  // namespace libfsys
