// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Small stand-ins under the engine for what a kernel does too seldom to be tested with: a queue that
// refuses, holds, breaks or throws at a chosen moment, and system calls that fail and are counted.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>

#include "engine/engine.hpp"
#include "regress/support.hpp"

namespace libfsys {
int open_engine_for_test(EngineConfig config, fsys **ret_handle);
}

namespace regress {

// What a ScriptQueue does; shared with the test, which may look at the counts.
struct Script {
    int open_code = 0;
    std::uint32_t capacity = 1024;  // requests between two turns
    std::uint32_t in_flight = 1024;
    std::uint32_t places = 0;       // of the file table
    // Called with the number of the turn, from 1: 0, or the negative code that turn() returns.
    std::function<int(std::uint64_t)> on_turn;
    // Called with the number of the request, from 1; may throw.
    std::function<void(std::uint64_t)> on_put;
    // True: the request gets no result until it is cancelled.
    std::function<bool(const libfsys::AsyncRequest &)> hold;
    // The result instead of executing it.
    std::function<std::optional<std::int32_t>(const libfsys::AsyncRequest &)> answer;

    std::atomic<std::uint64_t> turns{0};
    std::atomic<std::uint64_t> puts{0};
    std::atomic<std::uint64_t> refused{0};
    std::atomic<std::uint64_t> held{0};
    std::atomic<std::uint64_t> unregistered{0};
};

class ScriptQueue final : public libfsys::AsyncQueue {
public:
    explicit ScriptQueue(std::shared_ptr<Script> script) : script_(std::move(script)) {}
    ~ScriptQueue() override {
        if (wake_fd_ >= 0) {
            ::close(wake_fd_);
        }
    }
    int open() override {
        wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return script_->open_code;
    }
    bool put(const libfsys::AsyncRequest &request) override {
        if (fresh_ == script_->capacity) {
            ++script_->refused;
            return false;
        }
        const std::uint64_t number = ++script_->puts;
        if (script_->on_put) {
            script_->on_put(number);
        }
        ++fresh_;
        if (script_->hold && script_->hold(request)) {
            held_.push_back(request.cookie);
            ++script_->held;
        } else {
            waiting_.push_back(request);
        }
        return true;
    }
    std::uint32_t max_in_flight() const override { return script_->in_flight; }
    bool put_cancel(std::uint64_t cookie) override {
        cancelled_.push_back(cookie);
        return true;
    }
    int turn(libfsys::AsyncResult *results, unsigned max, std::int64_t wait_ns) override {
        const std::uint64_t number = ++script_->turns;
        const int code = script_->on_turn ? script_->on_turn(number) : 0;
        if (code < 0) {
            return code;
        }
        fresh_ = 0;
        if (waiting_.empty() && cancelled_.empty() && wait_ns != 0) {
            pollfd ready{wake_fd_, POLLIN, 0};
            const timespec limit{wait_ns / kSecond, wait_ns % kSecond};
            ::ppoll(&ready, 1, wait_ns < 0 ? nullptr : &limit, nullptr);
        }
        std::uint64_t drained;
        [[maybe_unused]] const ssize_t n = ::read(wake_fd_, &drained, sizeof drained);
        unsigned count = 0;
        for (const std::uint64_t cookie : cancelled_) {
            const auto at = std::find(held_.begin(), held_.end(), cookie);
            if (at != held_.end() && count < max) {
                held_.erase(at);
                results[count++] = {cookie, -ECANCELED};
            }
        }
        cancelled_.clear();
        while (!waiting_.empty() && count < max) {
            const libfsys::AsyncRequest request = waiting_.front();
            waiting_.erase(waiting_.begin());
            const auto answer = script_->answer ? script_->answer(request) : std::nullopt;
            results[count++] = {request.cookie, answer ? *answer : execute(request)};
        }
        return static_cast<int>(count);
    }
    void wake() override {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t n = ::write(wake_fd_, &one, sizeof one);
    }
    int register_file(std::uint32_t place, int) override {
        return place < script_->places ? 0 : -EOPNOTSUPP;
    }
    void unregister_file(std::uint32_t) override { ++script_->unregistered; }
    int register_arena(void *, std::size_t) override { return -EOPNOTSUPP; }
    int poll_fd() const override { return -1; }
    int wake_fd() const override { return wake_fd_; }
    libfsys::AsyncFacts facts() const override {
        libfsys::AsyncFacts facts;
        facts.registered_files = script_->places;
        return facts;
    }
    libfsys::AsyncCounters counters() const override { return {}; }

private:
    static std::int32_t execute(const libfsys::AsyncRequest &r) {
        ssize_t n = 0;
        const auto at = static_cast<off_t>(r.offset);
        switch (r.opcode) {
        case FSYS_OP_READ:
            n = ::pread(r.fd, const_cast<void *>(r.buffer), r.length, at);
            break;
        case FSYS_OP_WRITE:
            n = ::pwrite(r.fd, r.buffer, r.length, at);
            break;
        case FSYS_OP_SYNC:
            n = ::fsync(r.fd);
            break;
        default:
            break;
        }
        return static_cast<std::int32_t>(n < 0 ? -errno : n);
    }

    std::shared_ptr<Script> script_;
    int wake_fd_ = -1;
    std::uint32_t fresh_ = 0;
    std::vector<libfsys::AsyncRequest> waiting_;
    std::vector<std::uint64_t> held_;
    std::vector<std::uint64_t> cancelled_;
};

inline libfsys::EngineConfig scripted(const std::shared_ptr<Script> &script) {
    libfsys::EngineConfig config;
    config.make_queue = [script] { return std::make_unique<ScriptQueue>(script); };
    return config;
}

inline fsys *open_scripted(const libfsys::EngineConfig &config) {
    fsys *handle = nullptr;
    REQUIRE(libfsys::open_engine_for_test(config, &handle) == 0);
    return handle;
}

// The real calls, with syncs and durable writes that fail when told to, and counted.
class FailingSyscalls final : public libfsys::Syscalls {
public:
    ssize_t pread(int fd, void *buffer, std::size_t length, std::uint64_t offset, int rwf) override {
        if ((rwf & RWF_NOWAIT) != 0 && cold) {
            return -EAGAIN;
        }
        return Syscalls::pread(fd, buffer, length, offset, rwf);
    }
    ssize_t pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                   int rwf) override {
        if ((rwf & RWF_DSYNC) != 0) {
            ++durable_writes;
            if (fail_durable != 0) {
                return fail_durable;
            }
        }
        return Syscalls::pwrite(fd, buffer, length, offset, rwf);
    }
    int fsync(int fd) override { return sync(fd, false); }
    int fdatasync(int fd) override { return sync(fd, true); }

    std::atomic<bool> cold{false};  // nothing is in the page cache
    std::atomic<int> fail_sync{0};
    std::atomic<int> fail_durable{0};
    std::atomic<unsigned> syncs{0};
    std::atomic<unsigned> durable_writes{0};

private:
    int sync(int fd, bool data) {
        ++syncs;
        const int code = fail_sync;
        return code != 0 ? code : data ? Syscalls::fdatasync(fd) : Syscalls::fsync(fd);
    }
};

}  // namespace regress
