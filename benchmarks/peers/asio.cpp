// SPDX-License-Identifier: Apache-2.0 OR MIT
// Asio's file IO on io_uring. A worker owns an io_context with concurrency hint 1 and is its only
// thread; handlers start the next op, and run() is left by stop() every `turn` completions.
#include "optional.hpp"

#if BENCH_HAVE_ASIO

#include "process.hpp"

#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/random_access_file.hpp>

#include <fcntl.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace bench {

namespace {

int duplicate(int fd) {
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        throw Failure(std::string("fcntl F_DUPFD_CLOEXEC: ") + std::strerror(errno));
    return copy;
}

class AsioWorker final : public Worker {
public:
    AsioWorker(const Target &target, unsigned depth, Safety safety, const Seat &seat)
        : target_(target),
          turn_(std::max(depth, 16U)),
          pages_(depth * block_size),
          offsets_(seat.seed, target.bytes),
          latency_(seat.latency),
          submitted_at_(depth),
          file_(context_) {
        using asio::file_base;
        auto flags =
            target.direction == Direction::read ? file_base::read_only : file_base::read_write;
        if (safety == Safety::durable)
            flags = flags | file_base::sync_all_on_write;
        if (target.direct)
            // Asio's flags do not know O_DIRECT; a descriptor can be handed over.
            file_.assign(duplicate(target.descriptor->get()));
        else
            file_.open(target.path, flags);
        for (unsigned slot = 0; slot < depth; ++slot)
            start(slot);
    }

    ~AsioWorker() override {
        stopping_ = true;
        try {
            while (in_flight_ != 0) {
                context_.restart();
                context_.run_one();
            }
        } catch (const std::exception &) {
            // Reported by step() already.
        }
    }

    std::uint64_t step() override {
        done_ = 0;
        context_.restart();
        context_.run();
        return done_;
    }

    [[nodiscard]] bool stamps() const override { return true; }

private:
    void start(unsigned slot) {
        const auto handler = [this, slot](const std::error_code &error, std::size_t bytes) {
            finish(slot, error, bytes);
        };
        ++in_flight_;
        if (latency_ != nullptr)
            submitted_at_[slot] = now_ns();
        if (target_.direction == Direction::read)
            file_.async_read_some_at(offsets_.next(), asio::buffer(pages_.at(slot), block_size),
                                     handler);
        else
            file_.async_write_some_at(offsets_.next(), asio::buffer(pages_.at(slot), block_size),
                                      handler);
    }

    void finish(unsigned slot, const std::error_code &error, std::size_t bytes) {
        --in_flight_;
        if (error || bytes != block_size)
            throw Failure("asio: " + (error ? error.message() : std::string("short transfer")));
        if (latency_ != nullptr)
            latency_->record(now_ns() - submitted_at_[slot]);
        if (stopping_)
            return;
        start(slot);
        if (++done_ >= turn_)
            context_.stop();
    }

    Target target_;
    unsigned turn_;
    Pages pages_;
    Offsets offsets_;
    Histogram *latency_;
    std::vector<std::uint64_t> submitted_at_;
    unsigned in_flight_ = 0;
    unsigned done_ = 0;
    bool stopping_ = false;
    asio::io_context context_{1};
    asio::random_access_file file_;
};

}  // namespace

std::string asio_missing() { return {}; }

std::unique_ptr<Worker> asio_worker(const Target &target, unsigned depth, Safety safety,
                                    const Seat &seat) {
    return std::make_unique<AsioWorker>(target, depth, safety, seat);
}

}  // namespace bench

#else

namespace bench {

std::string asio_missing() {
    return "built without Asio 1.21 or later and its io_uring files (Debian: libasio-dev)";
}

std::unique_ptr<Worker> asio_worker(const Target &, unsigned, Safety, const Seat &) {
    throw Failure("asio: " + asio_missing());
}

}  // namespace bench

#endif
