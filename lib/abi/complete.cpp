// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points that take completions or drive. Any thread, but for fsys_poll(); they own nothing.

#include <cerrno>

#include "abi/guard.hpp"
#include "abi/handles.hpp"

using namespace libfsys;

namespace {

constexpr uint32_t kMostTokens = 4096;

}  // namespace

int fsys_wait(fsys *handle, fsys_op op, int64_t timeout_ns, fsys_result *ret_result) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        return call.code() != 0 ? call.code() : call.engine().wait(op, timeout_ns, ret_result);
    });
}

int fsys_try(fsys *handle, fsys_op op, fsys_result *ret_result) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        return call.code() != 0 ? call.code() : call.engine().try_take(op, ret_result);
    });
}

int fsys_wait_any(fsys *handle, const fsys_op *ops, uint32_t count, int64_t timeout_ns,
                  uint32_t *ret_index, fsys_result *ret_result) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        if (call.code() != 0) {
            return call.code();
        }
        if (ops == nullptr || ret_index == nullptr || count == 0 || count > kMostTokens) {
            return -EINVAL;
        }
        return call.engine().wait_any(ops, count, timeout_ns, ret_index, ret_result);
    });
}

int fsys_wait_all(fsys *handle, const fsys_op *ops, uint32_t count, int64_t timeout_ns,
                  fsys_result *ret_results) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        if (call.code() != 0) {
            return call.code();
        }
        if (count == 0) {
            return 0;
        }
        if (ops == nullptr || count > kMostTokens) {
            return -EINVAL;
        }
        return call.engine().wait_all(ops, count, timeout_ns, ret_results);
    });
}

int fsys_reap(fsys *handle, fsys_result *ret_results, uint32_t max, int64_t timeout_ns) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        if (call.code() != 0) {
            return call.code();
        }
        if (ret_results == nullptr && max != 0) {
            return -EINVAL;
        }
        return call.engine().reap(ret_results, std::min<uint32_t>(max, INT32_MAX), timeout_ns);
    });
}

int fsys_event_fd(fsys *handle) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        if (call.code() != 0) {
            return call.code();
        }
        Engine &engine = call.engine();
        if (!engine.config.caller_driven) {
            return engine.completions.event_fd();
        }
        if (!engine.driver.running() && !engine.is_driver_thread()) {
            return FSYS_E_WRONG_THREAD;
        }
        return engine.driver.event_fd();
    });
}

int fsys_poll(fsys *handle, int64_t timeout_ns) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        if (call.code() != 0) {
            return call.code();
        }
        Engine &engine = call.engine();
        if (!engine.config.caller_driven || !engine.is_driver_thread()) {
            return FSYS_E_WRONG_THREAD;
        }
        if (engine.poisoned() != 0) {
            return engine.poisoned();
        }
        int code = engine.driver.start();
        if (code != 0) {
            return code;
        }
        const Deadline deadline = Deadline::after(timeout_ns);
        const bool completions_wait = !engine.completions.empty();
        do {
            code = engine.turn(completions_wait ? 0 : deadline.left_ns());
        } while (code == 0 && timeout_ns != 0 && !completions_wait && !deadline.passed() &&
                 engine.in_flight() != 0);
        if (code < 0) {
            engine.poison(FSYS_E_DRIVER_DEAD, "the ring failed under fsys_poll");
            return engine.poisoned();
        }
        return code;
    });
}
