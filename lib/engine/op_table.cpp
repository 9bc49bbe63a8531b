// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Allocation of op slots. Any thread.

#include "engine/op_table.hpp"

#include <new>

namespace libfsys {
namespace {

constexpr std::uint64_t kTag = std::uint64_t{1} << 32;

std::uint32_t index_of(std::uint64_t head) { return static_cast<std::uint32_t>(head); }

std::uint64_t retag(std::uint64_t head, std::uint32_t index) {
    return ((head & ~std::uint64_t{0xffffffffu}) + kTag) | index;
}

}  // namespace

OpTable::OpTable(std::uint32_t capacity, std::uint64_t generation_seed)
    : capacity_(capacity), first_generation_(generation_seed << op_word::kGenerationShift),
      slots_(capacity) {}

std::uint32_t OpTable::pop(unsigned shard) {
    auto &head = free_[shard].head;
    // seq_cst: a waiter has registered before this look; see free().
    std::uint64_t seen = head.load(std::memory_order_seq_cst);
    while (index_of(seen) != kNil) {
        // The slot may be taken by another thread meanwhile, so `next` may be anything; the tag
        // then makes the exchange fail.
        const std::uint32_t next = slots_[index_of(seen)].next.load(memory_order_relaxed);
        if (head.compare_exchange_weak(seen, retag(seen, next), std::memory_order_acquire,
                                       std::memory_order_acquire)) {
            return index_of(seen);
        }
    }
    return kNil;
}

std::uint32_t OpTable::allocate() {
    const unsigned own = current_shard();
    std::uint32_t index = pop(own);
    if (index != kNil) {
        return index;
    }
    if (fresh_.load(std::memory_order_relaxed) < capacity_) {
        // Once for each slot. Counted when it is built: others look at all slots that are counted.
        const std::lock_guard lock(fresh_mutex_);
        index = fresh_.load(std::memory_order_relaxed);
        if (index < capacity_) {
            Op *op = new (&slots_[index]) Op;
            op->word.store(first_generation_, memory_order_relaxed);
            fresh_.store(index + 1, std::memory_order_release);
            return index;
        }
    }
    for (unsigned i = 1; i < kShards; ++i) {
        index = pop((own + i) % kShards);
        if (index != kNil) {
            return index;
        }
    }
    return kNil;
}

std::uint32_t OpTable::allocate(std::uint32_t *out, std::uint32_t count) {
    auto &head = free_[current_shard()].head;
    std::uint64_t seen = head.load(std::memory_order_acquire);
    for (;;) {
        // The links may change under the walk; then the tag has changed too and the exchange fails.
        std::uint32_t n = 0;
        std::uint32_t next = index_of(seen);
        while (n < count && next < capacity_) {
            out[n++] = next;
            next = slots_[next].next.load(memory_order_relaxed);
        }
        if (n == 0) {
            break;
        }
        if (head.compare_exchange_weak(seen, retag(seen, next), std::memory_order_acquire,
                                       std::memory_order_acquire)) {
            return n;
        }
    }
    std::uint32_t n = 0;
    while (n < count && (out[n] = allocate()) != kNil) {
        ++n;
    }
    return n;
}

void OpTable::free(const std::uint32_t *indices, std::uint32_t count) {
    if (count == 0) {
        return;
    }
    for (std::uint32_t i = 0; i + 1 < count; ++i) {
        slots_[indices[i]].next.store(indices[i + 1], memory_order_relaxed);
    }
    auto &head = free_[current_shard()].head;
    std::uint64_t seen = head.load(std::memory_order_relaxed);
    do {
        slots_[indices[count - 1]].next.store(index_of(seen), memory_order_relaxed);
        // seq_cst: ordered before the look at waiters_, which pairs with add_waiter() before the
        // waiter's last try.
    } while (!head.compare_exchange_weak(seen, retag(seen, indices[0]), std::memory_order_seq_cst,
                                         std::memory_order_relaxed));
    if (waiters_.load(std::memory_order_seq_cst) != 0) {
        sequence_.fetch_add(1, std::memory_order_seq_cst);
        futex_wake(&sequence_, static_cast<int>(count));
    }
}

}  // namespace libfsys
