// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The threads of one round. Each has its own buffers, histogram and sequence of offsets; the two
// sides of a comparison use the same sequence. They share the end of an appended file and the stop
// flag.
#include "bench.hpp"
#include "interrupt.hpp"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace cli {

namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t now_ns()
{
    return static_cast<std::uint64_t>(Clock::now().time_since_epoch().count());
}

struct Shared {
    std::atomic<std::uint64_t> append_at{0};
    std::atomic<bool> stop{false};
    std::mutex mutex;
    std::exception_ptr failure;
    std::atomic<std::uint64_t> deadline{0};
};

class Offsets {
public:
    Offsets(const Workload &workload, std::uint32_t thread, Shared &shared)
        : workload_(workload), shared_(shared), blocks_(workload.size / workload.block)
    {
        const std::uint64_t share = std::max<std::uint64_t>(blocks_ / workload.threads, 1);
        first_ = std::min<std::uint64_t>(thread * share, blocks_ - 1);
        last_ = std::min(first_ + share, blocks_);
        next_ = first_;
        random_ = 0x9e3779b97f4a7c15u * (thread + 1);
    }

    // False when there is no next one.
    bool next(std::uint64_t &offset)
    {
        switch (workload_.kind) {
        case Kind::kNop:
            offset = 0;
            return true;
        case Kind::kRandRead:
        case Kind::kRandWrite:
            // xorshift64*: the cost of picking an offset is part of neither side's result.
            random_ ^= random_ >> 12;
            random_ ^= random_ << 25;
            random_ ^= random_ >> 27;
            offset = (random_ * 0x2545f4914f6cdd1du >> 20) % blocks_ * workload_.block;
            return true;
        case Kind::kAppend:
            offset = shared_.append_at.fetch_add(workload_.block, std::memory_order_relaxed);
            return offset + workload_.block <= workload_.size;
        default:
            offset = next_ * workload_.block;
            next_ = next_ + 1 == last_ ? first_ : next_ + 1;
            return true;
        }
    }

private:
    const Workload &workload_;
    Shared &shared_;
    std::uint64_t blocks_;
    std::uint64_t first_;
    std::uint64_t last_;
    std::uint64_t next_;
    std::uint64_t random_;
};

class Worker {
public:
    Worker(Engine &engine, const Workload &workload, const Subject &subject, Shared &shared,
           std::uint32_t thread)
        : engine_(engine),
          workload_(workload),
          subject_(subject),
          shared_(shared),
          offsets_(workload, thread, shared),
          memory_(engine, workload.block * workload.depth),
          thread_(thread)
    {
        std::uint64_t random = thread + 1;
        auto *words = reinterpret_cast<std::uint64_t *>(memory_.data());
        for (std::size_t at = 0; at < workload.block * workload.depth / 8; ++at) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            words[at] = random;
        }
    }

    void run(Side side)
    {
        if (side == Side::kPlain) {
            one_by_one([this](std::uint64_t offset) { plain_op(offset); });
            return;
        }
        switch (workload_.mode) {
        case Mode::kBlocking:
            one_by_one([this](std::uint64_t offset) { blocking_op(offset); });
            break;
        case Mode::kWait:
            one_by_one([this](std::uint64_t offset) { waited_op(offset); });
            break;
        case Mode::kBatch:
            batches();
            break;
        case Mode::kPipeline:
            pipeline();
            break;
        }
    }

    std::uint64_t ops = 0;
    Histogram latency;

private:
    bool going(std::uint64_t now) const
    {
        return now < shared_.deadline.load(std::memory_order_relaxed) &&
               !shared_.stop.load(std::memory_order_relaxed) && interrupted() == 0;
    }

    template <typename Op>
    void one_by_one(Op &&op)
    {
        std::uint64_t offset = 0;
        if (workload_.rate == 0) {
            std::uint64_t start = now_ns();
            while (going(start) && offsets_.next(offset)) {
                op(offset);
                const std::uint64_t end = now_ns();
                latency.record(end - start);
                ++ops;
                start = end;
            }
            return;
        }
        // Open loop: ops are due at fixed times whatever became of the earlier ones, and a late
        // start counts as latency. Threads are spread over the interval.
        const double interval = 1e9 * workload_.threads / static_cast<double>(workload_.rate);
        const double first = static_cast<double>(now_ns()) +
                             interval * thread_ / static_cast<double>(workload_.threads);
        for (std::uint64_t number = 0;; ++number) {
            const auto due =
                static_cast<std::uint64_t>(first + interval * static_cast<double>(number));
            wait_until(due);
            if (!going(due) || !offsets_.next(offset)) {
                return;
            }
            op(offset);
            latency.record(now_ns() - due);
            ++ops;
        }
    }

    static void wait_until(std::uint64_t due)
    {
        // A timer is late by some 60 us: sleep short of it, spin the rest.
        constexpr std::uint64_t kSlack = 80'000;
        const std::uint64_t now = now_ns();
        if (due > now + kSlack) {
            const std::uint64_t wake = due - kSlack;
            const timespec until{static_cast<time_t>(wake / 1'000'000'000),
                                 static_cast<long>(wake % 1'000'000'000)};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
        }
        while (now_ns() < due) {
        }
    }

    [[noreturn]] void fail(int code, std::uint64_t offset) const
    {
        throw Failure(workload_.reads() ? "cannot read" : "cannot write", subject_.path,
                      code, static_cast<std::int64_t>(offset));
    }

    void check_bytes(std::int64_t got, std::uint64_t offset) const
    {
        if (got < 0) {
            fail(static_cast<int>(got), offset);
        }
        if (static_cast<std::uint64_t>(got) != workload_.block) {
            fail(FSYS_E_SHORT, offset);
        }
    }

    void plain_op(std::uint64_t offset)
    {
        const int fd = subject_.plain.get();
        const auto at = static_cast<off_t>(offset);
        const ssize_t got = workload_.reads() ? pread(fd, memory_.data(), workload_.block, at)
                                              : pwrite(fd, memory_.data(), workload_.block, at);
        check_bytes(got < 0 ? -errno : got, offset);
        if (workload_.kind == Kind::kSync && fdatasync(fd) != 0) {
            fail(-errno, offset);
        }
    }

    void blocking_op(std::uint64_t offset)
    {
        fsys_file *file = subject_.engine_file.get();
        check_bytes(workload_.reads()
                        ? fsys_read(file, memory_.data(), workload_.block, offset, 0)
                        : fsys_write(file, memory_.data(), workload_.block, offset, 0),
                    offset);
        if (workload_.kind == Kind::kSync) {
            if (const int code = fsys_sync(file, FSYS_SYNC_DATA); code != 0) {
                fail(code, offset);
            }
        }
    }

    // The requests of one op: a write and a sync in order for Kind::kSync, else one.
    std::uint32_t requests_per_op() const { return workload_.kind == Kind::kSync ? 2 : 1; }

    void fill(fsys_request *request, std::uint32_t slot, std::uint64_t offset,
              std::uint32_t flags) const
    {
        *request = fsys_request{};
        request->flags = flags;
        if (workload_.kind == Kind::kNop) {
            request->opcode = FSYS_OP_NOP;
            return;
        }
        request->opcode = workload_.reads() ? FSYS_OP_READ : FSYS_OP_WRITE;
        request->file = subject_.engine_file.get();
        request->buffer = memory_.data() + slot * workload_.block;
        request->length = workload_.block;
        request->offset = offset;
        if (workload_.kind == Kind::kSync) {
            request->flags |= FSYS_LINK;
            request[1] = fsys_request{};
            request[1].opcode = FSYS_OP_SYNC;
            request[1].flags = flags | FSYS_SYNC_DATA;
            request[1].file = request->file;
        }
    }

    void check(const fsys_request &request, const fsys_result &result) const
    {
        if (request.opcode == FSYS_OP_READ || request.opcode == FSYS_OP_WRITE) {
            check_bytes(result.result, request.offset);
        } else if (result.result < 0) {
            fail(static_cast<int>(result.result), request.offset);
        }
    }

    // Submits all of `count` or fails.
    void submit(const fsys_request *requests, std::uint32_t count, fsys_op *tokens)
    {
        for (std::uint32_t done = 0; done < count;) {
            const int accepted = fsys_submit(engine_.handle(), requests + done, count - done,
                                             tokens + done);
            if (accepted < 0) {
                // Those accepted before use our buffers: they are waited for first.
                if (done > 0) {
                    check_wait(engine_, fsys_wait_all(engine_.handle(), tokens, done,
                                                      FSYS_FOREVER, nullptr));
                }
                fail(accepted, requests[done].offset);
            }
            done += static_cast<std::uint32_t>(accepted);
        }
    }

    void waited_op(std::uint64_t offset)
    {
        fsys_request requests[2];
        fsys_op tokens[2];
        fsys_result results[2];
        const std::uint32_t count = requests_per_op();
        fill(requests, 0, offset, FSYS_WAIT_SOON);
        submit(requests, count, tokens);
        if (count == 1) {
            check_wait(engine_,
                       fsys_wait(engine_.handle(), tokens[0], FSYS_FOREVER, &results[0]));
        } else {
            check_wait(engine_, fsys_wait_all(engine_.handle(), tokens, count, FSYS_FOREVER,
                                              results));
        }
        for (std::uint32_t at = 0; at < count; ++at) {
            check(requests[at], results[at]);
        }
    }

    void batches()
    {
        const std::uint32_t per_op = requests_per_op();
        std::vector<fsys_request> requests(workload_.depth * per_op);
        std::vector<fsys_op> tokens(requests.size());
        std::vector<fsys_result> results(requests.size());
        std::uint64_t start = now_ns();
        while (going(start)) {
            std::uint32_t filled = 0;
            std::uint64_t offset = 0;
            while (filled < workload_.depth && offsets_.next(offset)) {
                fill(&requests[filled * per_op], filled, offset, FSYS_WAIT_SOON);
                ++filled;
            }
            if (filled == 0) {
                return;
            }
            const std::uint32_t count = filled * per_op;
            submit(requests.data(), count, tokens.data());
            check_wait(engine_, fsys_wait_all(engine_.handle(), tokens.data(), count,
                                              FSYS_FOREVER, results.data()));
            for (std::uint32_t at = 0; at < count; ++at) {
                check(requests[at], results[at]);
            }
            const std::uint64_t end = now_ns();
            latency.record(end - start, filled);
            ops += filled;
            start = end;
        }
    }

    // Every slot is an op in flight or idle; idle ones are submitted together.
    void pipeline()
    {
        const std::uint32_t per_op = requests_per_op();
        const std::uint32_t depth = workload_.depth;
        std::vector<fsys_request> requests(depth * per_op);  // by slot
        std::vector<fsys_request> array(depth * per_op);     // as submitted
        std::vector<fsys_op> tokens(depth * per_op);
        std::vector<fsys_op> last(depth, 0);   // of each slot, the op that ends it
        std::vector<fsys_op> first(depth, 0);  // with two per op, the write
        std::vector<std::uint64_t> started(depth, 0);
        std::vector<std::uint32_t> idle;
        for (std::uint32_t slot = depth; slot-- > 0;) {
            idle.push_back(slot);
        }
        std::exception_ptr failure;
        const auto finish = [&](std::uint32_t slot, const fsys_result &result, std::uint64_t now) {
            last[slot] = 0;
            idle.push_back(slot);
            try {
                if (per_op == 2) {
                    fsys_result write{};
                    check_wait(engine_,
                               fsys_wait(engine_.handle(), first[slot], FSYS_FOREVER, &write));
                    check(requests[slot * 2], write);
                }
                check(requests[slot * per_op + per_op - 1], result);
            } catch (...) {
                failure = std::current_exception();
            }
            latency.record(now - started[slot]);
            ++ops;
        };
        std::uint64_t now = now_ns();
        for (;;) {
            std::vector<std::uint32_t> slots;
            std::uint64_t offset = 0;
            while (failure == nullptr && going(now) && !idle.empty() && offsets_.next(offset)) {
                const std::uint32_t slot = idle.back();
                idle.pop_back();
                fill(&requests[slot * per_op], slot, offset, 0);
                std::copy_n(&requests[slot * per_op], per_op, &array[slots.size() * per_op]);
                started[slot] = now;
                slots.push_back(slot);
            }
            if (!slots.empty()) {
                start_slots(array, tokens, slots, first, last, idle, failure);
            }
            if (idle.size() == depth) {
                break;
            }
            std::uint32_t at = 0;
            fsys_result result{};
            check_wait(engine_, fsys_wait_any(engine_.handle(), last.data(), depth, FSYS_FOREVER,
                                              &at, &result));
            now = now_ns();
            finish(at, result, now);
            // Whatever else is done by now goes back in the same submission.
            for (std::uint32_t slot = 0; slot < depth; ++slot) {
                if (last[slot] != 0 &&
                    fsys_try(engine_.handle(), last[slot], &result) == 0) {
                    finish(slot, result, now);
                }
            }
        }
        if (failure != nullptr) {
            std::rethrow_exception(failure);
        }
    }

    void start_slots(const std::vector<fsys_request> &array, std::vector<fsys_op> &tokens,
                     const std::vector<std::uint32_t> &slots, std::vector<fsys_op> &first,
                     std::vector<fsys_op> &last, std::vector<std::uint32_t> &idle,
                     std::exception_ptr &failure)
    {
        const std::uint32_t per_op = requests_per_op();
        const auto count = static_cast<std::uint32_t>(slots.size()) * per_op;
        std::uint32_t done = 0;
        int code = 0;
        while (done < count) {
            code = fsys_submit(engine_.handle(), &array[done], count - done, &tokens[done]);
            if (code < 0) {
                break;
            }
            done += static_cast<std::uint32_t>(code);
        }
        for (std::uint32_t at = 0; at < slots.size(); ++at) {
            if ((at + 1) * per_op <= done) {
                first[slots[at]] = tokens[at * per_op];
                last[slots[at]] = tokens[(at + 1) * per_op - 1];
            } else {
                idle.push_back(slots[at]);  // refused: linked ones together
            }
        }
        if (code < 0) {
            failure = std::make_exception_ptr(
                Failure("cannot submit for", subject_.path, code,
                        static_cast<std::int64_t>(array[done].offset)));
        }
    }

    Engine &engine_;
    const Workload &workload_;
    const Subject &subject_;
    Shared &shared_;
    Offsets offsets_;
    Buffer memory_;
    std::uint32_t thread_;
};

}  // namespace

Round run_round(Engine &engine, const Workload &workload, const Subject &subject, Side side,
                double seconds, Histogram &latency)
{
    if (workload.kind == Kind::kAppend && ftruncate(subject.plain.get(), 0) != 0) {
        throw Failure("cannot truncate", subject.path, -errno);
    }
    Shared shared;
    std::vector<std::unique_ptr<Worker>> workers;
    for (std::uint32_t thread = 0; thread < workload.threads; ++thread) {
        workers.push_back(std::make_unique<Worker>(engine, workload, subject, shared, thread));
    }
    std::uint64_t started = 0;
    std::barrier start(static_cast<std::ptrdiff_t>(workload.threads), [&]() noexcept {
        started = now_ns();
        shared.deadline = started + static_cast<std::uint64_t>(seconds * 1e9);
    });
    std::vector<std::thread> threads;
    const auto fail = [&shared](std::exception_ptr failure) {
        const std::lock_guard lock(shared.mutex);
        if (shared.failure == nullptr) {
            shared.failure = std::move(failure);
        }
        shared.stop = true;
    };
    for (const auto &worker : workers) {
        const auto body = [&start, &fail, side, worker = worker.get()] {
            start.arrive_and_wait();
            try {
                worker->run(side);
            } catch (...) {
                fail(std::current_exception());
            }
        };
        try {
            threads.emplace_back(body);
        } catch (const std::system_error &) {
            fail(std::make_exception_ptr(Failure("cannot start a thread", "", -EAGAIN)));
            start.arrive_and_drop();  // the others must not wait for it
        }
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    Round round;
    round.seconds = static_cast<double>(now_ns() - started) / 1e9;
    if (shared.failure != nullptr) {
        std::rethrow_exception(shared.failure);
    }
    if (const int signal = interrupted(); signal != 0) {
        throw Interrupted{signal, "no result"};
    }
    for (const auto &worker : workers) {
        round.ops += worker->ops;
        latency.merge(worker->latency);
    }
    return round;
}

}  // namespace cli
