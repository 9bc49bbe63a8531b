// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A queue of writes over a Syscalls that a test has replaced: each is carried out by its pwrite(),
// some when they are submitted and some only when they are reaped, as a device may. They end in any
// order. What is never reaped may never have been carried out. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/syscalls.hpp"
#include "support/random.hpp"

namespace libfsys::test {

class DeferredQueue final : public WriteQueue {
public:
    DeferredQueue(Syscalls &sys, std::uint64_t seed) : sys_(sys), random_(seed) {}

    int submit(int fd, const void *bytes, std::size_t length, std::uint64_t offset,
               unsigned tag) override {
        Write write{fd, bytes, length, offset, tag, 0, false};
        if (random_.chance(10)) {
            return -EAGAIN;
        }
        if (random_.chance(50)) {
            carry_out(write);
        }
        writes_.push_back(write);
        return 0;
    }

    int reap(Done *done, unsigned count, bool wait) override {
        unsigned n = 0;
        while (n < count && !writes_.empty() && ((wait && n == 0) || random_.chance(50))) {
            const auto at =
                writes_.begin() + static_cast<std::ptrdiff_t>(random_.below(writes_.size()));
            if (!at->ended) {
                carry_out(*at);
            }
            done[n++] = {at->tag, at->result};
            writes_.erase(at);
        }
        return static_cast<int>(n);
    }

private:
    struct Write {
        int fd;
        const void *bytes;
        std::size_t length;
        std::uint64_t offset;
        unsigned tag;
        ssize_t result;
        bool ended;
    };
    void carry_out(Write &write) {
        write.result = sys_.pwrite(write.fd, write.bytes, write.length, write.offset, 0);
        write.ended = true;
    }

    Syscalls &sys_;
    Random random_;
    std::vector<Write> writes_;
};

}  // namespace libfsys::test
