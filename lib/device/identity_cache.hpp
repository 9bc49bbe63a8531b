// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What namespaces have said of themselves, for as long as they are provably the same: same boot,
// same device number, same disk sequence number (which the kernel never gives twice in a boot),
// same namespace. Any thread. A thread that would have to wait asks the device instead, so that a
// fork child cannot hang on a lock that its parent held.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <string>

#include "device/nvme.hpp"

namespace libfsys::device {

class IdentityCache {
public:
    struct Key {
        std::string boot_id;
        dev_t number = 0;
        std::uint64_t diskseq = 0;
        std::uint32_t nsid = 0;
        bool operator==(const Key &) const = default;
        // Without one of them, nothing would tell a new disk from the old one.
        bool usable() const { return !boot_id.empty() && diskseq != 0; }
    };

    bool find(const Key &key, Identity &ret_identity) {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (!lock || !key.usable()) {
            return false;
        }
        for (const Entry &entry : entries_) {
            if (entry.identity.known && entry.key == key) {
                ret_identity = entry.identity;
                return true;
            }
        }
        return false;
    }

    void store(const Key &key, const Identity &identity) {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (!lock || !key.usable() || !identity.known) {
            return;
        }
        for (Entry &entry : entries_) {
            if (entry.key.number == key.number) {
                entry = {key, identity};
                return;
            }
        }
        entries_[next_] = {key, identity};
        next_ = (next_ + 1) % entries_.size();
    }

private:
    struct Entry {
        Key key;
        Identity identity;
    };
    std::mutex mutex_;
    std::array<Entry, 32> entries_;
    std::size_t next_ = 0;
};

}  // namespace libfsys::device
