// SPDX-License-Identifier: Apache-2.0 OR MIT
// libuv's file IO. A worker owns a loop and is its only thread; the pool that executes the calls
// belongs to the process. Callbacks start the next op.
#include "optional.hpp"

#include <cstdlib>

#if BENCH_HAVE_LIBUV

#include "process.hpp"

#include <uv.h>

#include <vector>

namespace bench {

namespace {

void check_uv(ssize_t code, const char *what) {
    if (code < 0)
        throw Failure(std::string(what) + ": " + uv_strerror(static_cast<int>(code)));
}

class UvWorker final : public Worker {
public:
    UvWorker(const Target &target, unsigned depth, Safety safety, const Seat &seat)
        : target_(target),
          safety_(safety),
          pages_(depth * block_size),
          offsets_(seat.seed, target.bytes),
          latency_(seat.latency),
          slots_(depth) {
        check_uv(uv_loop_init(&loop_), "uv_loop_init");
        for (unsigned i = 0; i < depth; ++i) {
            slots_[i].request.data = &slots_[i];
            slots_[i].owner = this;
            slots_[i].buffer = uv_buf_init(pages_.at(i), block_size);
            start(slots_[i]);
        }
    }

    ~UvWorker() override {
        stopping_ = true;
        uv_run(&loop_, UV_RUN_DEFAULT);
        uv_loop_close(&loop_);
    }

    std::uint64_t step() override {
        done_ = 0;
        uv_run(&loop_, UV_RUN_ONCE);
        // An exception must not cross libuv's frames: callbacks leave the error here.
        if (error_ < 0)
            check_uv(error_, "libuv");
        return done_;
    }

    [[nodiscard]] bool stamps() const override { return true; }

private:
    struct Slot {
        uv_fs_t request{};
        uv_buf_t buffer{};
        UvWorker *owner = nullptr;
        std::uint64_t submitted_at = 0;
    };

    void start(Slot &slot) {
        if (latency_ != nullptr)
            slot.submitted_at = now_ns();
        const int fd = target_.descriptor->get();
        const auto at = static_cast<std::int64_t>(offsets_.next());
        note(target_.direction == Direction::read
                 ? uv_fs_read(&loop_, &slot.request, fd, &slot.buffer, 1, at, transferred)
                 : uv_fs_write(&loop_, &slot.request, fd, &slot.buffer, 1, at, transferred));
    }

    static void transferred(uv_fs_t *request) {
        Slot &slot = *static_cast<Slot *>(request->data);
        UvWorker &worker = *slot.owner;
        const ssize_t result = request->result;
        uv_fs_req_cleanup(request);
        if (result != static_cast<ssize_t>(block_size)) {
            worker.note(result < 0 ? static_cast<int>(result) : UV_EIO);
            return;
        }
        if (worker.safety_ == Safety::durable)
            worker.note(
                uv_fs_fdatasync(&worker.loop_, request, worker.target_.descriptor->get(), synced));
        else
            worker.finish(slot);
    }

    static void synced(uv_fs_t *request) {
        Slot &slot = *static_cast<Slot *>(request->data);
        const ssize_t result = request->result;
        uv_fs_req_cleanup(request);
        if (result < 0)
            slot.owner->note(static_cast<int>(result));
        else
            slot.owner->finish(slot);
    }

    void finish(Slot &slot) {
        ++done_;
        if (latency_ != nullptr)
            latency_->record(now_ns() - slot.submitted_at);
        if (!stopping_)
            start(slot);
    }

    void note(int code) {
        if (code < 0 && error_ == 0)
            error_ = code;
    }

    Target target_;
    Safety safety_;
    Pages pages_;
    Offsets offsets_;
    Histogram *latency_;
    std::vector<Slot> slots_;
    uv_loop_t loop_{};
    int error_ = 0;
    unsigned done_ = 0;
    bool stopping_ = false;
};

}  // namespace

std::string libuv_missing() { return {}; }

std::string libuv_how() {
    return std::string("libuv ") + uv_version_string() +
           (uv_version() < 0x012d00 ? ": file calls run on its thread pool"
                                    : ": file calls run on its thread pool unless UV_USE_IO_URING");
}

void libuv_pool(unsigned threads) {
    // Read once, when the pool starts. One that the user has set counts.
    setenv("UV_THREADPOOL_SIZE", std::to_string(threads).c_str(), 0);
}

std::unique_ptr<Worker> libuv_worker(const Target &target, unsigned depth, Safety safety,
                                     const Seat &seat) {
    return std::make_unique<UvWorker>(target, depth, safety, seat);
}

}  // namespace bench

#else

namespace bench {

std::string libuv_missing() { return "built without libuv (Debian: libuv1-dev)"; }
std::string libuv_how() { return {}; }
void libuv_pool(unsigned) {}

std::unique_ptr<Worker> libuv_worker(const Target &, unsigned, Safety, const Seat &) {
    throw Failure("libuv: " + libuv_missing());
}

}  // namespace bench

#endif
