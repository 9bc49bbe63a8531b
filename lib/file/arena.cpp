// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The buffer arena. Any thread, under its mutex; it owns the region and every mapping.

#include "file/arena.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "engine/engine.hpp"

namespace libfsys {

Arena::~Arena() {
    if (base_ != nullptr) {
        ::munmap(base_, size_);
    }
    for (const auto &[address, size] : mappings_) {
        ::munmap(address, size);
    }
}

void Arena::map_region() {
    tried_ = true;
    const std::size_t size = std::bit_floor(std::max<std::uint64_t>(engine_.config.arena_bytes, kPage));
    void *memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return;
    }
    // Fewer TLB entries, and one page reference per 2 MiB when the region is registered.
    ::madvise(memory, size, MADV_HUGEPAGE);
    base_ = static_cast<char *>(memory);
    size_ = size;
    free_[std::bit_width(size / kPage) - 1].push_back(0);
    engine_.arena_base.store(reinterpret_cast<std::uintptr_t>(memory), std::memory_order_release);
    engine_.arena_size.store(size, std::memory_order_release);
    if (engine_.config.uring && engine_.driver.start() == 0 && engine_.driver.running()) {
        // Pins the region (RLIMIT_MEMLOCK). Refused: plain opcodes are used, which fsys_info says.
        engine_.driver.register_arena(base_, size_);
    }
}

// A block of 2^order pages, splitting a larger one if need be.
void *Arena::take(unsigned order) {
    unsigned from = order;
    while (from < kOrders && free_[from].empty()) {
        ++from;
    }
    if (from == kOrders) {
        return nullptr;
    }
    const std::uint32_t page = free_[from].back();
    free_[from].pop_back();
    while (from > order) {
        --from;
        free_[from].push_back(page + (1u << from));
    }
    taken_[page] = order;
    return base_ + std::size_t{page} * kPage;
}

int Arena::allocate(std::size_t size, void **ret_buffer) {
    const std::lock_guard lock(mutex_);
    if (!tried_) {
        map_region();
    }
    const std::size_t pages = (size + kPage - 1) / kPage;
    void *block = take(static_cast<unsigned>(std::bit_width(pages - 1)));
    if (block != nullptr) {
        std::memset(block, 0, pages * kPage);
    } else {
        block = ::mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
        if (block == MAP_FAILED) {
            return -errno;
        }
        try {
            mappings_[block] = pages * kPage;
        } catch (...) {
            ::munmap(block, pages * kPage);
            throw;
        }
    }
    *ret_buffer = block;
    return 0;
}

int Arena::free(void *buffer) {
    const std::lock_guard lock(mutex_);
    const auto mapping = mappings_.find(buffer);
    if (mapping != mappings_.end()) {
        ::munmap(buffer, mapping->second);
        mappings_.erase(mapping);
        return 0;
    }
    const char *address = static_cast<char *>(buffer);
    if (base_ == nullptr || address < base_ || address >= base_ + size_ ||
        static_cast<std::size_t>(address - base_) % kPage != 0) {
        return -EINVAL;
    }
    auto page = static_cast<std::uint32_t>(static_cast<std::size_t>(address - base_) / kPage);
    const auto taken = taken_.find(page);
    if (taken == taken_.end()) {
        return -EINVAL;
    }
    unsigned order = taken->second;
    taken_.erase(taken);
    // Joins with its buddy as long as that is free.
    for (;;) {
        const std::uint32_t buddy = page ^ (1u << order);
        auto &peers = free_[order];
        const auto found = std::find(peers.begin(), peers.end(), buddy);
        if (found == peers.end() || (std::size_t{2} << order) > size_ / kPage) {
            peers.push_back(page);
            return 0;
        }
        *found = peers.back();
        peers.pop_back();
        page = std::min(page, buddy);
        ++order;
    }
}

}  // namespace libfsys
