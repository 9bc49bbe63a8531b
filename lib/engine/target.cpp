// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The table of open files. Any thread; the table owns the entries, the engine the descriptors.

#include "engine/target.hpp"

namespace libfsys {

TargetTable::TargetTable(std::uint32_t capacity, std::uint64_t generation_seed,
                         const Presence<kShards> *callers)
    : capacity_(capacity), seed_(generation_seed), callers_(callers), doors_(capacity),
      chunks_((capacity + kChunk - 1) / kChunk) {}

Target *TargetTable::allocate() {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
        Target *target = free_.back();
        free_.pop_back();
        return target;
    }
    const std::uint32_t index = touched_.load(std::memory_order_relaxed);
    if (index == capacity_) {
        return nullptr;
    }
    if (index % kChunk == 0) {
        // Room on the free list for all of them now, so that give_back() cannot throw.
        free_.reserve(index + kChunk);
        owned_.reserve(owned_.size() + 1);
        auto chunk = std::make_unique<Target[]>(kChunk);
        for (std::uint32_t i = 0; i < kChunk; ++i) {
            chunk[i].index = index + i;
            chunk[i].word.store(seed_ << 2 | Target::kFree, std::memory_order_relaxed);
        }
        chunks_[index / kChunk].store(chunk.get(), std::memory_order_release);
        owned_.push_back(std::move(chunk));
    }
    touched_.store(index + 1, std::memory_order_release);
    return at(index);
}

std::uint64_t TargetTable::open(Target &target, const TargetFacts &facts) {
    static_cast<TargetFacts &>(target) = facts;
    target.place.store(-1, std::memory_order_relaxed);
    target.refused.store(false, std::memory_order_relaxed);
    target.ring_ops = 0;
    target.poison.store(0, std::memory_order_relaxed);
    target.nowait.reset();
    const std::uint64_t generation =
        ((target.word.load(std::memory_order_relaxed) >> 2) + 1) & 0x3fffffff;
    // Before the word: only then can it be closed, and the door with it.
    doors_[target.index].store(Door(facts, generation).word(), std::memory_order_seq_cst);
    target.word.store(generation << 2 | Target::kOpen, std::memory_order_seq_cst);
    return generation;
}

bool TargetTable::begin_close(Target &target, std::uint64_t generation) {
    std::uint64_t word = generation << 2 | Target::kOpen;
    if (!target.word.compare_exchange_strong(word, generation << 2 | Target::kClosing)) {
        return false;
    }
    doors_[target.index].store(0, std::memory_order_seq_cst);
    heavy_barrier();
    return true;
}

void TargetTable::give_back(Target &target) {
    const std::uint64_t generation = target.word.load(std::memory_order_relaxed) >> 2;
    target.word.store(generation << 2 | Target::kFree, std::memory_order_seq_cst);
    const std::lock_guard lock(mutex_);
    free_.push_back(&target);
}

bool TargetTable::left_closing(Target &target, std::uint64_t word) {
    if ((word & Target::kStateMask) != Target::kOrphan) {
        return false;
    }
    // The closer has given up waiting: the last user closes. The barrier, so that of two last ones
    // at least one sees the other gone; CLOSING again, so that at most one closes.
    heavy_barrier();
    return unused(target) &&
           target.word.compare_exchange_strong(word, (word & ~std::uint64_t{Target::kStateMask}) |
                                                         Target::kClosing);
}

}  // namespace libfsys
