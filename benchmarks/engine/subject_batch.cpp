// SPDX-License-Identifier: Apache-2.0 OR MIT
// Array submit with tokens, then fsys_wait_all(). Each worker has its own buffers and arrays.
#include "subject.hpp"

namespace bench {

namespace {

class BatchWorker final : public Worker {
public:
    BatchWorker(std::shared_ptr<SubjectFile> file, unsigned count, std::uint32_t flags,
                const Seat &seat)
        : file_(std::move(file)),
          offsets_(seat.seed, file_->target().bytes),
          requests_(count),
          ops_(count),
          results_(count) {
        void *memory = nullptr;
        check(fsys_buffer_alloc(file_->handle(), count * block_size, &memory), "fsys_buffer_alloc");
        memory_ = static_cast<char *>(memory);
        for (unsigned i = 0; i < count; ++i) {
            requests_[i].opcode =
                file_->target().direction == Direction::read ? FSYS_OP_READ : FSYS_OP_WRITE;
            requests_[i].flags = flags;
            requests_[i].file = file_->get();
            requests_[i].buffer = memory_ + i * block_size;
            requests_[i].length = block_size;
        }
    }
    ~BatchWorker() override { fsys_buffer_free(file_->handle(), memory_); }

    std::uint64_t step() override {
        for (fsys_request &request : requests_)
            request.offset = offsets_.next();
        const auto count = static_cast<std::uint32_t>(requests_.size());
        std::uint32_t accepted = 0;
        while (accepted < count)
            accepted += static_cast<std::uint32_t>(
                check(fsys_submit(file_->handle(), requests_.data() + accepted, count - accepted,
                                  ops_.data() + accepted),
                      "fsys_submit"));
        check(fsys_wait_all(file_->handle(), ops_.data(), count, FSYS_FOREVER, results_.data()),
              "fsys_wait_all");
        for (const fsys_result &result : results_) {
            if (result.result != static_cast<std::int64_t>(block_size)) [[unlikely]] {
                check(result.result, "completion");
                throw Failure("short transfer in a batch");
            }
        }
        return count;
    }
    [[nodiscard]] bool stamps() const override { return true; }

private:
    std::shared_ptr<SubjectFile> file_;
    Offsets offsets_;
    std::vector<fsys_request> requests_;
    std::vector<fsys_op> ops_;
    std::vector<fsys_result> results_;
    char *memory_ = nullptr;
};

class NopBatchWorker final : public Worker {
public:
    NopBatchWorker(std::shared_ptr<Engine> engine, unsigned count)
        : engine_(std::move(engine)), requests_(count), ops_(count), results_(count) {}

    std::uint64_t step() override {
        const auto count = static_cast<std::uint32_t>(requests_.size());
        if (check(fsys_submit(engine_->get(), requests_.data(), count, ops_.data()),
                  "fsys_submit") != count) [[unlikely]]
            throw Failure("fsys_submit took a part of the batch");
        check(fsys_wait_all(engine_->get(), ops_.data(), count, FSYS_FOREVER, results_.data()),
              "fsys_wait_all");
        return count;
    }
    [[nodiscard]] bool stamps() const override { return true; }

private:
    std::shared_ptr<Engine> engine_;
    std::vector<fsys_request> requests_;
    std::vector<fsys_op> ops_;
    std::vector<fsys_result> results_;
};

}  // namespace

std::unique_ptr<Worker> batch_worker(std::shared_ptr<SubjectFile> file, unsigned count,
                                     std::uint32_t flags, const Seat &seat) {
    return std::make_unique<BatchWorker>(std::move(file), count, flags, seat);
}

std::unique_ptr<Worker> nop_batch_worker(std::shared_ptr<Engine> engine, unsigned count,
                                         const Seat &) {
    return std::make_unique<NopBatchWorker>(std::move(engine), count);
}

}  // namespace bench
