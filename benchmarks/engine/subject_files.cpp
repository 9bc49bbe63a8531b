// SPDX-License-Identifier: Apache-2.0 OR MIT
// Whole files through libfsys: replaced one by one, or many with one wait for the disk. The engine
// may be shared; a worker belongs to one thread.
#include "subject.hpp"

#include <fsys/files.h>

#include <vector>

namespace bench {

namespace {

std::vector<std::string> names_in(const std::string &directory, unsigned files, const Seat &seat) {
    std::vector<std::string> names;
    for (unsigned i = 0; i < files; ++i)
        names.push_back(directory + "/fsys-" + std::to_string(seat.thread) + "-" +
                        std::to_string(i));
    return names;
}

fsys_replace_options options_keeping(std::uint32_t keep) {
    fsys_replace_options options{};
    options.struct_size = sizeof options;
    options.keep = keep;
    options.mode = 0644;
    return options;
}

class ReplaceWorker final : public Worker {
public:
    ReplaceWorker(std::shared_ptr<Engine> engine, const std::string &directory, std::size_t bytes,
                  unsigned files, std::uint32_t keep, const Seat &seat)
        : engine_(std::move(engine)),
          names_(names_in(directory, files, seat)),
          data_(bytes, 'r'),
          options_(options_keeping(keep)) {}

    std::uint64_t step() override {
        const std::string &name = names_[next_++ % names_.size()];
        check(fsys_replace(engine_->get(), name.c_str(), data_.data(), data_.size(), &options_,
                           nullptr),
              "fsys_replace");
        return 1;
    }

private:
    std::shared_ptr<Engine> engine_;
    std::vector<std::string> names_;
    std::string data_;
    fsys_replace_options options_;
    std::size_t next_ = 0;
};

class ReplaceBatchWorker final : public Worker {
public:
    ReplaceBatchWorker(std::shared_ptr<Engine> engine, const std::string &directory,
                       std::size_t bytes, unsigned files, const Seat &seat)
        : engine_(std::move(engine)),
          names_(names_in(directory, files, seat)),
          data_(bytes, 'r'),
          options_(options_keeping(FSYS_KEEP_NOTHING)) {
        for (const std::string &name : names_) {
            fsys_batch_item item{};
            item.verb = FSYS_BATCH_REPLACE;
            item.path = name.c_str();
            item.data = data_.data();
            item.length = data_.size();
            items_.push_back(item);
        }
    }

    std::uint64_t step() override {
        check(fsys_batch(engine_->get(), items_.data(), static_cast<std::uint32_t>(items_.size()),
                         &options_),
              "fsys_batch");
        return items_.size();
    }
    /// The latency of one file is that of its batch, which is no figure to stand beside others.
    [[nodiscard]] bool stamps() const override { return true; }

private:
    std::shared_ptr<Engine> engine_;
    std::vector<std::string> names_;
    std::string data_;
    fsys_replace_options options_;
    std::vector<fsys_batch_item> items_;
};

}  // namespace

std::unique_ptr<Worker> replace_worker(std::shared_ptr<Engine> engine, const std::string &directory,
                                       std::size_t bytes, unsigned files, std::uint32_t keep,
                                       const Seat &seat) {
    return std::make_unique<ReplaceWorker>(std::move(engine), directory, bytes, files, keep, seat);
}

std::unique_ptr<Worker> replace_batch_worker(std::shared_ptr<Engine> engine,
                                             const std::string &directory, std::size_t bytes,
                                             unsigned files, const Seat &seat) {
    return std::make_unique<ReplaceBatchWorker>(std::move(engine), directory, bytes, files, seat);
}

}  // namespace bench
