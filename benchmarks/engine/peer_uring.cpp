// SPDX-License-Identifier: Apache-2.0 OR MIT
// Bare liburing, set up as well as liburing 2.3 allows. Each worker owns its ring, its buffers and
// its place in the ring's file table; nothing is shared between threads.
#include "peers.hpp"

#include "process.hpp"

#include <liburing.h>
#include <algorithm>
#include <cerrno>
#include <cstring>

namespace bench {

namespace {

class Ring {
public:
    explicit Ring(unsigned entries) {
        io_uring_params params{};
        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                       IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                       IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP;
        int code = io_uring_queue_init_params(entries, &ring_, &params);
        if (code == -EINVAL) {
            // Kernels before 6.1 do not know all of them.
            params = {};
            params.flags = IORING_SETUP_CLAMP;
            code = io_uring_queue_init_params(entries, &ring_, &params);
        }
        check(code, "io_uring_queue_init_params");
        // A refusal (before 5.18) costs the peer a few ns per enter and nothing else.
        io_uring_register_ring_fd(&ring_);
    }
    ~Ring() { io_uring_queue_exit(&ring_); }
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;

    io_uring *get() { return &ring_; }

    static void check(int code, const char *what) {
        if (code < 0)
            throw Failure(std::string(what) + ": " + std::strerror(-code));
    }

private:
    io_uring ring_{};
};

class StreamWorker final : public Worker {
public:
    StreamWorker(const Target &target, unsigned depth, const UringTurn &turn, const Seat &seat)
        : target_(target),
          depth_(depth),
          turn_{std::min(turn.wait, depth), turn.group},
          pages_(depth * block_size),
          offsets_(seat.seed, target.bytes),
          ring_(depth),
          latency_(seat.latency),
          submitted_at_(depth),
          free_(depth) {
        const int fd = target.descriptor->get();
        Ring::check(io_uring_register_files(ring_.get(), &fd, 1), "io_uring_register_files");
        const iovec arena{pages_.at(0), depth * block_size};
        Ring::check(io_uring_register_buffers(ring_.get(), &arena, 1), "io_uring_register_buffers");
        for (unsigned i = 0; i < depth; ++i)
            free_[i] = i;
    }

    ~StreamWorker() override {
        while (free_.size() < depth_) {
            if (io_uring_submit_and_wait(ring_.get(), 1) < 0)
                break;
            take(nullptr);
        }
    }

    std::uint64_t step() override {
        const std::uint64_t begin = latency_ != nullptr ? now_ns() : 0;
        unsigned prepared = 0;
        for (const unsigned slot : free_) {
            io_uring_sqe *sqe = io_uring_get_sqe(ring_.get());
            const std::uint64_t at = offsets_.next();
            if (target_.direction == Direction::read)
                io_uring_prep_read_fixed(sqe, 0, pages_.at(slot), block_size, at, 0);
            else
                io_uring_prep_write_fixed(sqe, 0, pages_.at(slot), block_size, at, 0);
            sqe->flags |= IOSQE_FIXED_FILE;
            io_uring_sqe_set_data64(sqe, slot);
            submitted_at_[slot] = begin;
            if (turn_.group != 0 && ++prepared % turn_.group == 0)
                Ring::check(io_uring_submit(ring_.get()), "io_uring_submit");
        }
        free_.clear();
        Ring::check(io_uring_submit_and_wait(ring_.get(), turn_.wait), "io_uring_submit_and_wait");
        return take(latency_);
    }

    [[nodiscard]] bool stamps() const override { return true; }

private:
    unsigned take(Histogram *latency) {
        const std::uint64_t end = latency != nullptr ? now_ns() : 0;
        unsigned head = 0;
        unsigned count = 0;
        io_uring_cqe *cqe = nullptr;
        io_uring_for_each_cqe(ring_.get(), head, cqe) {
            if (cqe->res != static_cast<int>(block_size)) [[unlikely]]
                throw Failure(std::string("io_uring: ") + std::strerror(-cqe->res));
            const auto slot = static_cast<unsigned>(cqe->user_data);
            free_.push_back(slot);
            if (latency != nullptr)
                latency->record(end - submitted_at_[slot]);
            ++count;
        }
        io_uring_cq_advance(ring_.get(), count);
        return count;
    }

    Target target_;
    unsigned depth_;
    UringTurn turn_;
    Pages pages_;
    Offsets offsets_;
    Ring ring_;  // after the buffers: it lets go of them first
    Histogram *latency_;
    std::vector<std::uint64_t> submitted_at_;
    std::vector<unsigned> free_;
};

class NopWorker final : public Worker {
public:
    explicit NopWorker(unsigned batch) : batch_(batch), ring_(batch) {}

    std::uint64_t step() override {
        for (unsigned i = 0; i < batch_; ++i) {
            io_uring_sqe *sqe = io_uring_get_sqe(ring_.get());
            io_uring_prep_nop(sqe);
            io_uring_sqe_set_data64(sqe, i);
        }
        Ring::check(io_uring_submit_and_wait(ring_.get(), batch_), "io_uring_submit_and_wait");
        unsigned head = 0;
        unsigned count = 0;
        io_uring_cqe *cqe = nullptr;
        io_uring_for_each_cqe(ring_.get(), head, cqe) {
            if (cqe->res != 0) [[unlikely]]
                throw Failure("NOP failed");
            ++count;
        }
        io_uring_cq_advance(ring_.get(), count);
        return count;
    }

    [[nodiscard]] bool stamps() const override { return true; }

private:
    unsigned batch_;
    Ring ring_;
};

/// What queue_loop() needs: one op per slot.
class ScheduledRing {
public:
    ScheduledRing(const Target &target, unsigned depth, std::uint64_t seed)
        : target_(target),
          pages_(depth * block_size),
          offsets_(seed, target.bytes),
          ring_(depth) {
        const iovec all{pages_.at(0), depth * block_size};
        Ring::check(io_uring_register_buffers(ring_.get(), &all, 1), "io_uring_register_buffers");
        const int fd = target_.descriptor->get();
        Ring::check(io_uring_register_files(ring_.get(), &fd, 1), "io_uring_register_files");
    }
    void put(unsigned slot) {
        io_uring_sqe *sqe = io_uring_get_sqe(ring_.get());
        io_uring_prep_read_fixed(sqe, 0, pages_.at(slot), block_size, offsets_.next(), 0);
        sqe->flags |= IOSQE_FIXED_FILE;
        io_uring_sqe_set_data64(sqe, slot);
    }
    void flush() { Ring::check(io_uring_submit(ring_.get()), "io_uring_submit"); }
    unsigned take(unsigned *slots, std::int64_t patience) {
        io_uring_cqe *cqe = nullptr;
        if (patience > 0) {
            __kernel_timespec limit{patience / 1'000'000'000, patience % 1'000'000'000};
            const int code = io_uring_wait_cqes(ring_.get(), &cqe, 1, &limit, nullptr);
            if (code != -ETIME && code != -EINTR)
                Ring::check(code, "io_uring_wait_cqes");
        } else {
            // With DEFER_TASKRUN completions appear only in a call that asks for them.
            Ring::check(io_uring_get_events(ring_.get()), "io_uring_get_events");
        }
        unsigned head = 0;
        unsigned count = 0;
        io_uring_for_each_cqe(ring_.get(), head, cqe) {
            if (cqe->res != static_cast<int>(block_size)) [[unlikely]]
                throw Failure(std::string("io_uring: ") + std::strerror(-cqe->res));
            slots[count++] = static_cast<unsigned>(cqe->user_data);
        }
        io_uring_cq_advance(ring_.get(), count);
        return count;
    }

private:
    Target target_;
    Pages pages_;
    Offsets offsets_;
    Ring ring_;
};

}  // namespace

OpenVariant uring_open_loop(const std::string &name, const Target &target, unsigned depth) {
    return {name, [=](const Schedule &schedule, Histogram &histogram) {
                ScheduledRing ring(target, depth, schedule.begin_ns);
                return queue_loop(schedule, depth, ring, histogram);
            }};
}

std::unique_ptr<Worker> uring_worker(const Target &target, unsigned depth, const UringTurn &turn,
                                     const Seat &seat) {
    return std::make_unique<StreamWorker>(target, depth, turn, seat);
}

std::unique_ptr<Worker> uring_nop_worker(unsigned batch, const Seat &) {
    return std::make_unique<NopWorker>(batch);
}

}  // namespace bench
