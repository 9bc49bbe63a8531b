// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Whether the driver sleeps, so that a producer pays for a wake-up only then.
//
// Dekker's pattern: the producer pushes, then looks at the state; the driver says PARKED, then looks
// at the list. All four accesses are seq_cst, so in their single total order at least one side sees
// the other: no op is left on the list beside a sleeping driver. PARKED -> KICKED by CAS makes a
// burst of producers write the eventfd once.
#pragma once

#include <cstdint>

#include "engine/atomics.hpp"

namespace libfsys {

class Doorbell {
public:
    // Producer, after its push. True: the caller must write the wake descriptor.
    bool must_ring() {
        std::uint32_t seen = state_.load(memory_order_seq_cst);
        return seen == kParked &&
               state_.compare_exchange_strong(seen, kKicked, memory_order_seq_cst,
                                              memory_order_relaxed);
    }

    // Driver, before it may sleep. `idle()` looks at everything that producers push to; false means
    // that there is work and the driver must not sleep.
    template <class Idle>
    bool park(Idle &&idle) {
        state_.store(kParked, memory_order_seq_cst);
        if (idle()) {
            return true;
        }
        run();
        return false;
    }

    // Driver, awake again. A KICKED that is overwritten here has done its work.
    void run() { state_.store(kRunning, memory_order_seq_cst); }

private:
    static constexpr std::uint32_t kRunning = 0;
    static constexpr std::uint32_t kParked = 1;
    static constexpr std::uint32_t kKicked = 2;
    Atomic<std::uint32_t> state_{kRunning};
};

}  // namespace libfsys
