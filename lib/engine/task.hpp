// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Work that a thread of the pool is lent for. Intrusive, so that lending allocates nothing: the
// object is its maker's, is queued at most once at a time, and is not touched any more once run()
// was called.
#pragma once

namespace libfsys {

struct PoolTask {
    PoolTask *next = nullptr;
    virtual void run() = 0;

protected:
    ~PoolTask() = default;
};

}  // namespace libfsys
