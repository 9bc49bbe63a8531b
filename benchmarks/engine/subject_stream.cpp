// SPDX-License-Identifier: Apache-2.0 OR MIT
// The completion queue: `depth` ops per thread are always in flight, each completion is refilled by
// the thread that took it. Either one handle for all threads, or a caller-driven handle each.
#include "subject.hpp"

#include "process.hpp"

namespace bench {

class StreamPool {
public:
    StreamPool(std::shared_ptr<SubjectFile> file, unsigned threads, unsigned depth)
        : file(std::move(file)), threads(threads), depth(depth), submitted_at(threads * depth) {
        void *start = nullptr;
        check(fsys_buffer_alloc(this->file->handle(), std::size_t{threads} * depth * block_size,
                                &start),
              "fsys_buffer_alloc");
        memory = static_cast<char *>(start);
    }
    ~StreamPool() { fsys_buffer_free(file->handle(), memory); }
    StreamPool(const StreamPool &) = delete;
    StreamPool &operator=(const StreamPool &) = delete;

    std::shared_ptr<SubjectFile> file;
    unsigned threads;
    unsigned depth;
    char *memory = nullptr;
    std::vector<std::uint64_t> submitted_at;  ///< by slot; handed over with the slot
    std::atomic<std::int64_t> in_flight{0};   ///< touched once per turn, not per op
};

namespace {

class Refill {
public:
    Refill(fsys *handle, fsys_file *file, const Target &target, char *memory, unsigned depth,
           const Seat &seat)
        : handle_(handle), memory_(memory), offsets_(seat.seed, target.bytes), requests_(depth) {
        for (fsys_request &request : requests_) {
            request.opcode = target.direction == Direction::read ? FSYS_OP_READ : FSYS_OP_WRITE;
            request.file = file;
            request.length = block_size;
        }
    }

    void put(unsigned index, std::uint64_t slot) {
        fsys_request &request = requests_[index];
        request.buffer = memory_ + slot * block_size;
        request.offset = offsets_.next();
        request.user_data = slot;
    }

    void submit(unsigned count) {
        unsigned accepted = 0;
        while (accepted < count)
            accepted += static_cast<unsigned>(
                check(fsys_submit(handle_, requests_.data() + accepted, count - accepted, nullptr),
                      "fsys_submit"));
    }

private:
    fsys *handle_;
    char *memory_;
    Offsets offsets_;
    std::vector<fsys_request> requests_;
};

void expect_block(const fsys_result &result) {
    if (result.result != static_cast<std::int64_t>(block_size)) [[unlikely]] {
        check(result.result, "completion");
        throw Failure("short transfer in a stream");
    }
}

class StreamWorker final : public Worker {
public:
    StreamWorker(std::shared_ptr<StreamPool> pool, const Seat &seat)
        : pool_(std::move(pool)),
          latency_(seat.latency),
          refill_(pool_->file->handle(), pool_->file->get(), pool_->file->target(), pool_->memory,
                  pool_->depth, seat),
          results_(pool_->depth) {
        const std::uint64_t now = latency_ != nullptr ? now_ns() : 0;
        for (unsigned i = 0; i < pool_->depth; ++i) {
            const std::uint64_t slot = std::uint64_t{seat.thread} * pool_->depth + i;
            refill_.put(i, slot);
            pool_->submitted_at[slot] = now;
        }
        pool_->in_flight.fetch_add(pool_->depth);
        refill_.submit(pool_->depth);
    }

    ~StreamWorker() override {
        // Several threads drain together: none may wait without limit for what another one takes.
        while (pool_->in_flight.load() > 0) {
            const int got = fsys_reap(pool_->file->handle(), results_.data(),
                                      static_cast<std::uint32_t>(results_.size()), 5'000'000);
            if (got > 0)
                pool_->in_flight.fetch_sub(got);
            else if (got < 0 && got != FSYS_E_NOTHING)
                return;
        }
    }

    std::uint64_t step() override {
        const std::int64_t patience = pool_->threads == 1 ? FSYS_FOREVER : 20'000'000;
        const int got = fsys_reap(pool_->file->handle(), results_.data(),
                                  static_cast<std::uint32_t>(results_.size()), patience);
        // Another thread may hold all slots for a moment.
        if (got == 0 || got == FSYS_E_NOTHING)
            return 0;
        check(got, "fsys_reap");
        const std::uint64_t now = latency_ != nullptr ? now_ns() : 0;
        for (unsigned i = 0; i < static_cast<unsigned>(got); ++i) {
            expect_block(results_[i]);
            const std::uint64_t slot = results_[i].user_data;
            if (latency_ != nullptr) {
                latency_->record(now - pool_->submitted_at[slot]);
                pool_->submitted_at[slot] = now;
            }
            refill_.put(i, slot);
        }
        refill_.submit(static_cast<unsigned>(got));
        return static_cast<std::uint64_t>(got);
    }
    [[nodiscard]] bool stamps() const override { return true; }

private:
    std::shared_ptr<StreamPool> pool_;
    Histogram *latency_;
    Refill refill_;
    std::vector<fsys_result> results_;
};

class CallerWorker final : public Worker {
public:
    CallerWorker(const Target &target, unsigned depth, std::shared_ptr<LaneTally> tally,
                 const Seat &seat)
        : engine_(std::make_shared<Engine>(EngineOptions{.driver = FSYS_DRIVER_CALLER},
                                           std::move(tally))),
          file_(engine_, target),
          latency_(seat.latency),
          results_(depth),
          submitted_at_(depth) {
        void *memory = nullptr;
        check(fsys_buffer_alloc(engine_->get(), depth * block_size, &memory), "fsys_buffer_alloc");
        memory_ = static_cast<char *>(memory);
        refill_ =
            std::make_unique<Refill>(engine_->get(), file_.get(), target, memory_, depth, seat);
        const std::uint64_t now = latency_ != nullptr ? now_ns() : 0;
        for (unsigned i = 0; i < depth; ++i) {
            refill_->put(i, i);
            submitted_at_[i] = now;
        }
        refill_->submit(depth);
        in_flight_ = depth;
    }

    ~CallerWorker() override {
        while (in_flight_ > 0) {
            fsys_poll(engine_->get(), 5'000'000);
            const int got = fsys_reap(engine_->get(), results_.data(),
                                      static_cast<std::uint32_t>(results_.size()), 0);
            if (got < 0)
                break;
            in_flight_ -= static_cast<unsigned>(got);
        }
        fsys_buffer_free(engine_->get(), memory_);
    }

    std::uint64_t step() override {
        unsigned got = take();
        if (got == 0) {
            check(fsys_poll(engine_->get(), FSYS_FOREVER), "fsys_poll");
            got = take();
        }
        const std::uint64_t now = latency_ != nullptr ? now_ns() : 0;
        for (unsigned i = 0; i < got; ++i) {
            expect_block(results_[i]);
            const std::uint64_t slot = results_[i].user_data;
            if (latency_ != nullptr) {
                latency_->record(now - submitted_at_[slot]);
                submitted_at_[slot] = now;
            }
            refill_->put(i, slot);
        }
        in_flight_ -= got;
        refill_->submit(got);
        in_flight_ += got;
        return got;
    }
    [[nodiscard]] bool stamps() const override { return true; }

private:
    // Reap before polling: reads that were satisfied at submit are in the queue already, and a
    // poll without limit would wait for others.
    unsigned take() {
        return static_cast<unsigned>(
            check(fsys_reap(engine_->get(), results_.data(),
                            static_cast<std::uint32_t>(results_.size()), 0),
                  "fsys_reap"));
    }

    std::shared_ptr<Engine> engine_;
    SubjectFile file_;
    Histogram *latency_;
    std::vector<fsys_result> results_;
    std::vector<std::uint64_t> submitted_at_;
    std::unique_ptr<Refill> refill_;
    char *memory_ = nullptr;
    unsigned in_flight_ = 0;
};

class QueueNopWorker final : public Worker {
public:
    QueueNopWorker(std::shared_ptr<Engine> engine, unsigned count, bool caller_driven)
        : engine_(std::move(engine)),
          caller_driven_(caller_driven),
          requests_(count),
          results_(count) {}

    std::uint64_t step() override {
        const auto count = static_cast<std::uint32_t>(requests_.size());
        if (check(fsys_submit(engine_->get(), requests_.data(), count, nullptr), "fsys_submit") !=
            count) [[unlikely]]
            throw Failure("fsys_submit took a part of the batch");
        std::uint32_t taken = 0;
        for (;;) {
            taken +=
                static_cast<std::uint32_t>(check(fsys_reap(engine_->get(), results_.data(), count,
                                                           caller_driven_ ? 0 : FSYS_FOREVER),
                                                 "fsys_reap"));
            if (taken == count)
                break;
            if (caller_driven_)
                check(fsys_poll(engine_->get(), FSYS_FOREVER), "fsys_poll");
        }
        return count;
    }
    [[nodiscard]] bool stamps() const override { return true; }

private:
    std::shared_ptr<Engine> engine_;
    bool caller_driven_;
    std::vector<fsys_request> requests_;
    std::vector<fsys_result> results_;
};

}  // namespace

std::shared_ptr<StreamPool> make_stream_pool(std::shared_ptr<SubjectFile> file, unsigned threads,
                                             unsigned depth) {
    return std::make_shared<StreamPool>(std::move(file), threads, depth);
}

std::unique_ptr<Worker> stream_worker(std::shared_ptr<StreamPool> pool, const Seat &seat) {
    return std::make_unique<StreamWorker>(std::move(pool), seat);
}

std::unique_ptr<Worker> caller_worker(const Target &target, unsigned depth,
                                      std::shared_ptr<LaneTally> tally, const Seat &seat) {
    return std::make_unique<CallerWorker>(target, depth, std::move(tally), seat);
}

std::unique_ptr<Worker> caller_nop_worker(unsigned count, std::shared_ptr<LaneTally> tally,
                                          const Seat &) {
    return std::make_unique<QueueNopWorker>(
        std::make_shared<Engine>(EngineOptions{.driver = FSYS_DRIVER_CALLER}, std::move(tally)),
        count, true);
}

std::unique_ptr<Worker> queue_nop_worker(std::shared_ptr<Engine> engine, unsigned count,
                                         const Seat &) {
    return std::make_unique<QueueNopWorker>(std::move(engine), count, false);
}

}  // namespace bench
