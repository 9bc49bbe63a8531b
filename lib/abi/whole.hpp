// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the entry points of whole files and names share: where paths begin, options checked, work
// handed to the pool.
#pragma once

#include <memory>
#include <utility>

#include "abi/guard.hpp"
#include "abi/handles.hpp"
#include "file/names.hpp"
#include "file/replace.hpp"

namespace libfsys {

// The start of paths: a directory that is open on the same handle, the handle's root, or the
// working directory. Keeps that directory open; a task that outlives the call takes it over.
class Start {
public:
    Start(const Call &call, const fsys_file *dir) : engine_(call.engine()), shard_(call.shard()) {
        if (dir != nullptr) {
            target_ = call.acquire(dir);
            code_ = target_ != nullptr ? 0 : FSYS_E_CLOSED;
        }
    }
    Start(Start &&other) noexcept
        : engine_(other.engine_),
          shard_(other.shard_),
          code_(other.code_),
          target_(std::exchange(other.target_, nullptr)) {}
    Start &operator=(Start &&) = delete;
    ~Start() {
        if (target_ != nullptr) {
            engine_.release_user(*target_, shard_);
        }
    }
    int code() const { return code_; }
    files::Where where() const {
        return target_ != nullptr     ? files::Where{target_->fd, true}
               : engine_.root_fd >= 0 ? files::Where{engine_.root_fd, true}
                                      : files::Where{AT_FDCWD, false};
    }

private:
    Engine &engine_;
    unsigned shard_;
    int code_ = 0;
    Target *target_ = nullptr;
};

// Options with defaults applied and ranges checked. `allowed` flags are those that the call takes.
int configure(const fsys_replace_options &o, std::uint32_t allowed, std::uint32_t keep_otherwise,
              files::ReplaceSettings &settings, Detail &detail);
int configure(const fsys_path_options &o, std::uint32_t allowed, files::PathSettings &settings);

inline std::uint32_t durability_of(std::uint32_t asked) {
    return asked == FSYS_DURABILITY_DEFAULT ? FSYS_DURABILITY_FULL : asked;
}

// Runs `body(Start &)`, which returns a code and the step that failed, on a pool thread, and ends
// an op with it.
struct TaskResult {
    int code;
    std::uint32_t step;  // FSYS_FILE_STEP_*
};

template <class Body>
class FileTask final : public PoolTask {
public:
    template <class B>
    FileTask(Engine &engine, Start &&start, B &&body)
        : engine_(engine), start_(std::move(start)), body_(std::forward<B>(body)) {}
    std::uint32_t slot = 0;

    void run() override {
        TaskResult result{0, FSYS_FILE_STEP_NONE};
        const int thrown = guarded([&]() -> int {
            result = body_(start_);
            return 0;
        });
        Engine &engine = engine_;
        const std::uint32_t index = slot;
        // First: once the op has ended the handle may be closed.
        delete this;
        const bool sync = result.step == FSYS_FILE_STEP_SYNC ||
                          result.step == FSYS_FILE_STEP_SYNC_DIRECTORY ||
                          result.step == FSYS_FILE_STEP_SYNC_DEVICE;
        Publisher out(engine);
        engine.end_external(index, thrown != 0 ? thrown : result.code, FSYS_LANE_POOL, out,
                            sync ? FSYS_STEP_SYNC : FSYS_STEP_TRANSFER);
    }

private:
    Engine &engine_;
    Start start_;
    Body body_;
};

// `accepted()` is called when nothing can fail any more, before the task may run.
template <class Body, class Accepted>
int submit_task(const Call &call, Start &&start, std::uint64_t user_data, fsys_op *ret_op,
                Body &&body, Accepted &&accepted) {
    Engine &engine = call.engine();
    auto task = std::make_unique<FileTask<std::decay_t<Body>>>(engine, std::move(start),
                                                               std::forward<Body>(body));
    fsys_op op = 0;
    const int code =
        engine.begin_external(FSYS_OP_WRITE, 0, user_data, ret_op == nullptr, task->slot, op);
    if (code != 0) {
        return code;
    }
    if (ret_op != nullptr) {
        *ret_op = op;
    }
    accepted();
    engine.pool.push(*task.release());
    return 0;
}
template <class Body>
int submit_task(const Call &call, Start &&start, std::uint64_t user_data, fsys_op *ret_op,
                Body &&body) {
    return submit_task(call, std::move(start), user_data, ret_op, std::forward<Body>(body), [] {});
}

}  // namespace libfsys
