// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What lib/engine/atomics.hpp is in the model tests: atomics whose every access is a scheduling
// point of relacy, and whose memory order the test can weaken, one place in the source at a time.
// A place ("site") is the line on which the order is written.
#pragma once

#include <relacy/relacy.hpp>

// relacy takes these names over; the code under test and the standard library want them back.
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno

#include <cstdint>
#include <cstring>

namespace model {

enum class Access { kLoad, kStore, kRmw, kFence };

struct Site {
    const char *file = "";  // without its folders
    unsigned line = 0;
    Access access = Access::kLoad;
    rl::memory_order stated = rl::mo_relaxed;
    const char *function = "";

    bool operator==(const Site &other) const {
        return line == other.line && access == other.access && stated == other.stated &&
               std::strcmp(file, other.file) == 0;
    }
};

// The order to use at this place: the one stated, unless this place is the one being weakened.
rl::memory_order order_at(Access access, rl::memory_order stated, const rl::debug_info &where);

// An order of the code that exploration of this kind cannot show to be needed: relacy keeps each
// thread's program order (a load may be stale but not early, a store is not late). It is used as it
// stands and never weakened; docs/memory-ordering.md argues it.
#define KEPT(order) rl::mo_##order, rl::debug_info("kept", __FILE__, __LINE__)

// True while the step with this name is left out or swapped. Names are string literals.
bool broken(const char *step);

// A full fence in the code that a model mirrors.
inline void fence(rl::memory_order stated, const rl::debug_info &where) {
    const rl::memory_order order = order_at(Access::kFence, stated, where);
    if (order != rl::mo_relaxed) {
        rl::atomic_thread_fence(order, where);
    }
}

template <class T>
class Atomic : public rl::atomic<T> {
    using Base = rl::atomic<T>;
    using Info = const rl::debug_info &;

public:
    Atomic() = default;
    Atomic(T value) : Base(value) {}  // as std::atomic: not explicit

    T load(rl::memory_order order, Info where) const {
        return Base::load(order_at(Access::kLoad, order, where), where);
    }
    void store(T value, rl::memory_order order, Info where) {
        Base::store(value, order_at(Access::kStore, order, where), where);
    }
    T exchange(T value, rl::memory_order order, Info where) {
        return Base::exchange(value, order_at(Access::kRmw, order, where), where);
    }
    T fetch_add(T value, rl::memory_order order, Info where) {
        return Base::fetch_add(value, order_at(Access::kRmw, order, where), where);
    }
    T fetch_sub(T value, rl::memory_order order, Info where) {
        return Base::fetch_sub(value, order_at(Access::kRmw, order, where), where);
    }
    T fetch_and(T value, rl::memory_order order, Info where) {
        return Base::fetch_and(value, order_at(Access::kRmw, order, where), where);
    }
    T fetch_or(T value, rl::memory_order order, Info where) {
        return Base::fetch_or(value, order_at(Access::kRmw, order, where), where);
    }
    T fetch_xor(T value, rl::memory_order order, Info where) {
        return Base::fetch_xor(value, order_at(Access::kRmw, order, where), where);
    }
    bool compare_exchange_weak(T &expected, T desired, rl::memory_order success, Info where,
                               rl::memory_order failure, Info where_failure) {
        const rl::memory_order s = order_at(Access::kRmw, success, where);
        return Base::compare_exchange_weak(
            expected, desired, s, where,
            at_most(order_at(Access::kLoad, failure, where_failure), s), where_failure);
    }
    bool compare_exchange_strong(T &expected, T desired, rl::memory_order success, Info where,
                                 rl::memory_order failure, Info where_failure) {
        const rl::memory_order s = order_at(Access::kRmw, success, where);
        return Base::compare_exchange_strong(
            expected, desired, s, where,
            at_most(order_at(Access::kLoad, failure, where_failure), s), where_failure);
    }

private:
    // relacy wants a failure order no stronger than the success order.
    static rl::memory_order at_most(rl::memory_order failure, rl::memory_order success) {
        switch (success) {
        case rl::mo_relaxed:
        case rl::mo_release:
            return rl::mo_relaxed;
        case rl::mo_acquire:
        case rl::mo_acq_rel:
            return failure == rl::mo_seq_cst ? rl::mo_acquire : failure;
        default:
            return failure;
        }
    }
};

}  // namespace model

namespace libfsys {
template <class T>
using Atomic = ::model::Atomic<T>;
}  // namespace libfsys

// relacy has defined memory_order_relaxed and so on as macros that add the place; they name rl's
// enumerators without qualification.
using rl::mo_acq_rel;
using rl::mo_acquire;
using rl::mo_relaxed;
using rl::mo_release;
using rl::mo_seq_cst;
