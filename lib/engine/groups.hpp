// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Waiting for several ops with one sleep: a counter that the completions of its members lower.
// Groups live in a fixed table, not on the waiter's stack: a completer may still touch one after its
// waiter has gone. The group's number is in the op's word, so attaching, completing and detaching
// are decided by the same atomic step.
#pragma once

#include <atomic>
#include <cstdint>

#include "engine/futex.hpp"
#include "engine/sharded.hpp"
#include "engine/zero_pages.hpp"

namespace libfsys {

struct alignas(kCacheLine) Group {
    static constexpr std::uint32_t kAny = 1u << 31;  // wake at every arrival, not only the last
    static constexpr std::uint32_t kPoked = 1u << 30;  // poison() has been here
    std::atomic<std::uint32_t> word{0};
    std::atomic<std::uint32_t> busy{0};

    // A member has completed. True: the caller must wake the sleepers on `word`. The count is
    // lowered as the last access, after which the group may be reused at once.
    bool arrive() {
        const std::uint32_t before = word.fetch_sub(1, std::memory_order_seq_cst);
        return (before & kAny) != 0 || (before & ~kPoked) == 1;
    }
    std::uint32_t members() const { return word.load(std::memory_order_seq_cst) & ~(kAny | kPoked); }
};

class Groups {
public:
    static constexpr std::uint32_t kCount = 1024;  // as the group id of the op word

    Group &operator[](std::uint32_t id) { return groups_[id]; }

    // An idle group's number, or kCount when 1024 threads wait for groups already.
    std::uint32_t acquire() {
        const std::uint32_t start = current_shard() * (kCount / kShards);
        for (std::uint32_t i = 0; i < kCount; ++i) {
            const std::uint32_t id = (start + i) % kCount;
            if (groups_[id].busy.load(std::memory_order_relaxed) == 0 &&
                groups_[id].busy.exchange(1, std::memory_order_acquire) == 0) {
                return id;
            }
        }
        return kCount;
    }
    void release(std::uint32_t id) { groups_[id].busy.store(0, std::memory_order_release); }

    // Changes the words as well: a waiter on its way to sleep then does not.
    void wake_all() {
        for (std::uint32_t id = 0; id < kCount; ++id) {
            groups_[id].word.fetch_or(Group::kPoked, std::memory_order_seq_cst);
            futex_wake(&groups_[id].word);
        }
    }

private:
    ZeroPages<Group> groups_{kCount};
};

}  // namespace libfsys
