// SPDX-License-Identifier: Apache-2.0 OR MIT
// One op at a time: the blocking calls, and submit followed at once by a wait.
#include "subject.hpp"

namespace bench {

namespace {

void expect_block(std::int64_t result, const char *call) {
    if (result != static_cast<std::int64_t>(block_size)) [[unlikely]] {
        check(result, call);
        throw Failure(std::string(call) + ": short transfer");
    }
}

class BlockingWorker final : public Worker {
public:
    BlockingWorker(std::shared_ptr<SubjectFile> file, std::uint32_t flags, const Seat &seat)
        : file_(std::move(file)),
          flags_(flags),
          offsets_(seat.seed, file_->target().bytes),
          pages_(block_size) {}

    std::uint64_t step() override {
        if (file_->target().direction == Direction::read)
            expect_block(fsys_read(file_->get(), pages_.at(0), block_size, offsets_.next(), flags_),
                         "fsys_read");
        else
            expect_block(
                fsys_write(file_->get(), pages_.at(0), block_size, offsets_.next(), flags_),
                "fsys_write");
        return 1;
    }

private:
    std::shared_ptr<SubjectFile> file_;
    std::uint32_t flags_;
    Offsets offsets_;
    Pages pages_;
};

class SubmitWaitWorker final : public Worker {
public:
    SubmitWaitWorker(std::shared_ptr<SubjectFile> file, std::uint32_t flags, const Seat &seat)
        : file_(std::move(file)),
          flags_(flags),
          offsets_(seat.seed, file_->target().bytes),
          pages_(block_size) {}

    std::uint64_t step() override {
        fsys_op op = 0;
        const std::uint64_t at = offsets_.next();
        if (file_->target().direction == Direction::read)
            check(fsys_submit_read(file_->get(), pages_.at(0), block_size, at, flags_, 0, &op),
                  "fsys_submit_read");
        else
            check(fsys_submit_write(file_->get(), pages_.at(0), block_size, at, flags_, 0, &op),
                  "fsys_submit_write");
        fsys_result result;
        check(fsys_wait(file_->handle(), op, FSYS_FOREVER, &result), "fsys_wait");
        expect_block(result.result, "completion");
        return 1;
    }

private:
    std::shared_ptr<SubjectFile> file_;
    std::uint32_t flags_;
    Offsets offsets_;
    Pages pages_;
};

}  // namespace

std::unique_ptr<Worker> single_worker(std::shared_ptr<SubjectFile> file, Single kind,
                                      std::uint32_t flags, const Seat &seat) {
    if (kind == Single::blocking)
        return std::make_unique<BlockingWorker>(std::move(file), flags, seat);
    const std::uint32_t hint = kind == Single::hinted ? FSYS_WAIT_SOON : 0U;
    return std::make_unique<SubmitWaitWorker>(std::move(file), flags | hint, seat);
}

}  // namespace bench
