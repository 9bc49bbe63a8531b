// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The atomics that the lock-free pieces (op_word.hpp, submit_list.hpp, doorbell.hpp) are written
// with. The model tests compile those very headers against an exploring scheduler instead, by
// defining FSYS_MODEL and providing model_atomics.hpp; nothing else may depend on the macro.
#pragma once

#ifdef FSYS_MODEL
#include "model_atomics.hpp"
#else
#include <atomic>
namespace libfsys {
template <class T>
using Atomic = std::atomic<T>;
using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;
}  // namespace libfsys
#endif
