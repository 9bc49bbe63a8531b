// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points that submit and cancel. Any thread; they own nothing.

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>

#include "abi/guard.hpp"
#include "abi/handles.hpp"

using namespace libfsys;

namespace {

[[gnu::always_inline]] inline int submit_for(fsys_file *file, std::uint32_t opcode, void *buffer,
                                             std::uint64_t length, std::uint64_t offset,
                                             std::uint32_t flags, std::uint64_t user_data,
                                             fsys_op *ret_op) noexcept {
    return guarded([&]() -> int {
        Call call(file);
        if (call.code() != 0) {
            return call.code();
        }
        const Request request{opcode, flags, call.target(), buffer, length, offset, user_data};
        const int code = call.engine().submit_one(request, ret_op);
        if (code == 0) {
            call.hand_over_target();
        }
        return code;
    });
}

constexpr std::uint32_t kPiece = 128;  // 1 KiB of stack

// How many of these requests to hand over at once: a piece that does not end inside a linked run,
// or the whole run where one is longer than a piece.
std::uint32_t piece_of(const fsys_request *requests, std::uint32_t count) {
    if (count <= kPiece) {
        return count;
    }
    std::uint32_t end = kPiece;
    while (end != 0 && (requests[end - 1].flags & FSYS_LINK) != 0) {
        --end;
    }
    if (end != 0) {
        return end;
    }
    end = kPiece;
    while (end < count && (requests[end - 1].flags & FSYS_LINK) != 0) {
        ++end;
    }
    return end;
}

// Finds the files of `count` requests, for `targets`, and submits them, with `flags` besides their own.
// Returns how many were accepted, or a code when the first was not.
int submit_piece(const Call &call, const fsys_request *requests, std::uint32_t count,
                 std::uint32_t flags, Target **targets, fsys_op *ret_ops) {
    // Until the first that is malformed; the engine decides how far a linked run allows.
    std::uint32_t valid = 0;
    int refusal = 0;
    Target *run = nullptr;
    std::int64_t owed = 0;  // users to add to `run`
    const auto settle_run = [&] {
        if (owed != 0) {
            run->users.add(call.shard(), owed);
            owed = 0;
        }
    };
    for (; valid < count; ++valid) {
        const fsys_request &r = requests[valid];
        if (r.reserved[0] != 0 || r.reserved[1] != 0) {
            refusal = -EINVAL;
            break;
        }
        Target *target = nullptr;
        if (r.opcode != FSYS_OP_NOP || r.file != nullptr) {
            // A run of requests for one file adds all its users at once, behind the first.
            if (valid != 0 && r.file == requests[valid - 1].file) {
                target = targets[valid - 1];
                ++owed;
            } else {
                settle_run();
                target = call.acquire(r.file);
                run = target;
            }
            if (target == nullptr) {
                refusal = FSYS_E_CLOSED;
                break;
            }
        }
        targets[valid] = target;
    }
    settle_run();
    const auto release_from = [&](int first) {
        for (auto i = static_cast<std::uint32_t>(std::max(first, 0)); i < valid; ++i) {
            if (targets[i] != nullptr) {
                call.engine().release_user(*targets[i], call.shard());
            }
        }
    };
    int accepted = 0;
    try {
        accepted = valid == 0 ? refusal
                              : call.engine().submit_many({requests, targets, flags}, valid, ret_ops);
    } catch (...) {
        release_from(0);
        throw;
    }
    release_from(accepted);
    // The engine saw a linked run without its end; why it ends there is the better answer.
    const bool cut = accepted == -EINVAL && refusal != 0 && valid != 0 &&
                     (requests[valid - 1].flags & FSYS_LINK) != 0;
    return cut ? refusal : accepted;
}

}  // namespace

int fsys_submit_read(fsys_file *file, void *buffer, size_t length, uint64_t offset, uint32_t flags,
                     uint64_t user_data, fsys_op *ret_op) noexcept {
    return submit_for(file, FSYS_OP_READ, buffer, length, offset, flags, user_data, ret_op);
}

int fsys_submit_write(fsys_file *file, const void *buffer, size_t length, uint64_t offset,
                      uint32_t flags, uint64_t user_data, fsys_op *ret_op) noexcept {
    return submit_for(file, FSYS_OP_WRITE, const_cast<void *>(buffer), length, offset, flags,
                      user_data, ret_op);
}

int fsys_submit_sync(fsys_file *file, uint64_t length, uint64_t offset, uint32_t flags,
                     uint64_t user_data, fsys_op *ret_op) noexcept {
    const bool range = (flags & FSYS_SYNC_RANGE) != 0;
    return submit_for(file, FSYS_OP_SYNC, nullptr, range ? length : 0, range ? offset : 0, flags,
                      user_data, ret_op);
}

int fsys_submit(fsys *handle, const fsys_request *requests, uint32_t count,
                fsys_op *ret_ops) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        if (call.code() != 0) {
            return call.code();
        }
        if (requests == nullptr && count != 0) {
            return -EINVAL;
        }
        // By the piece, so that no call needs memory but one with a linked run longer than a piece.
        Target *on_stack[kPiece];
        count = std::min<std::uint32_t>(count, INT32_MAX);
        std::uint32_t accepted = 0;
        while (accepted < count) {
            const std::uint32_t piece = piece_of(requests + accepted, count - accepted);
            std::unique_ptr<Target *[]> on_heap;
            int code = 0;
            try {
                if (piece > kPiece) {
                    on_heap = std::make_unique<Target *[]>(piece);
                }
                // With tokens, slots that earlier pieces took are freed by nobody but the caller.
                const std::uint32_t flags = accepted != 0 && ret_ops != nullptr ? FSYS_NONBLOCK : 0;
                code = submit_piece(call, requests + accepted, piece, flags,
                                    on_heap != nullptr ? on_heap.get() : on_stack,
                                    ret_ops != nullptr ? ret_ops + accepted : nullptr);
            } catch (const std::bad_alloc &) {
                code = -ENOMEM;
            }
            if (code < 0) {
                return accepted != 0 ? static_cast<int>(accepted) : code;
            }
            accepted += static_cast<std::uint32_t>(code);
            if (static_cast<std::uint32_t>(code) != piece) {
                break;
            }
        }
        return static_cast<int>(accepted);
    });
}

int fsys_cancel(fsys *handle, fsys_op op) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        return call.code() != 0 ? call.code() : call.engine().cancel(op);
    });
}

int fsys_cancel_queued(fsys *handle, uint64_t user_data) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        return call.code() != 0 ? call.code() : call.engine().cancel_queued(user_data);
    });
}
