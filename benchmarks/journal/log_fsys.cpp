// SPDX-License-Identifier: Apache-2.0 OR MIT
// libfsys under test, through its public headers only and with its defaults. A log is shared by all
// threads of a variant; the asynchronous worker belongs to one thread.
#include "logs.hpp"
#include "process.hpp"

#include <fsys/journal.h>

#include <fmt/format.h>

#include <array>
#include <filesystem>

#include <csignal>
#include <cstring>
#include <unistd.h>

namespace bench {

std::int64_t check(std::int64_t code, const char *call) {
    if (code < 0)
        throw Failure(std::string(call) + ": " + fsys_strerror(static_cast<int>(code)));
    return code;
}

namespace {

char root_path[4096];  // for the signal handler, which may only look at plain memory

}  // namespace

void remove_on_signal(const std::string &root) {
    if (root.size() >= sizeof root_path)
        return;
    std::memcpy(root_path, root.c_str(), root.size() + 1);
    struct sigaction action {};
    action.sa_handler = [](int signal) {
        // rm(1) does what may not be done in here.
        if (fork() == 0) {
            execlp("rm", "rm", "-rf", "--", root_path, nullptr);
            _exit(127);
        }
        _exit(128 + signal);
    };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

Place::Place(const std::string &directory, const std::string &name)
    : path_(directory + "/" + name) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
}

Place::~Place() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

namespace {

/// A handle and a journal on it.
class OpenJournal {
public:
    OpenJournal(const std::string &directory, std::uint32_t max_ops)
        : place_(directory, "libfsys") {
        fsys_options options{};
        options.struct_size = sizeof options;
        options.max_ops = max_ops;
        check(fsys_open(&options, &handle_), "fsys_open");
        char text[256];
        fsys_journal_options journal{};
        journal.struct_size = sizeof journal;
        journal.error_text = text;
        journal.error_text_size = sizeof text;
        const int code =
            fsys_journal_open(handle_, (place_.path() + "/j").c_str(), &journal, nullptr, &journal_);
        if (code != 0) {
            fsys_close(handle_);
            throw Failure(std::string("fsys_journal_open: ") + text);
        }
    }
    ~OpenJournal() {
        fsys_journal_close(journal_);
        fsys_close(handle_);
    }
    OpenJournal(const OpenJournal &) = delete;
    OpenJournal &operator=(const OpenJournal &) = delete;

    [[nodiscard]] fsys *handle() const { return handle_; }
    [[nodiscard]] fsys_journal *get() const { return journal_; }
    [[nodiscard]] fsys_journal_stats stats() const {
        fsys_journal_stats stats{};
        stats.struct_size = sizeof stats;
        check(fsys_journal_stat(journal_, &stats), "fsys_journal_stat");
        return stats;
    }
    void tidy() {
        fsys_journal_frontiers at{};
        check(fsys_journal_frontier(journal_, &at), "fsys_journal_frontier");
        if (at.durable > trimmed_ + keep_) {
            check(fsys_journal_trim(journal_, at.durable), "fsys_journal_trim");
            trimmed_ = at.durable;
        }
    }

private:
    static constexpr std::uint64_t keep_ = 128U << 20;  // two segments

    Place place_;
    fsys *handle_ = nullptr;
    fsys_journal *journal_ = nullptr;
    std::uint64_t trimmed_ = 0;
};

class FsysLog final : public Log {
public:
    explicit FsysLog(const LogPlan &plan) : journal_(plan.directory, 0) {}
    void commit(const char *data, std::size_t length) override {
        check(fsys_journal_commit(journal_.get(), data, length, 0, FSYS_FOREVER, nullptr),
              "fsys_journal_commit");
    }
    void append(const char *data, std::size_t length) override {
        check(fsys_journal_append(journal_.get(), data, length, 0, nullptr),
              "fsys_journal_append");
    }
    [[nodiscard]] std::uint64_t syncs() const override { return journal_.stats().syncs; }
    void tidy() override { journal_.tidy(); }

private:
    OpenJournal journal_;
};

class LogWorker final : public Worker {
public:
    LogWorker(std::shared_ptr<Log> log, const LogPlan &plan, bool durable, const Seat &seat)
        : log_(std::move(log)), record_(plan.bytes, 'r'), durable_(durable), first_(seat.thread == 0) {}
    std::uint64_t step() override {
        if (!durable_) {
            for (unsigned i = 0; i < appends; ++i)
                log_->append(record_.data(), record_.size());
            if (first_ && ++steps_ % 16 == 0)
                log_->tidy();
            return appends;
        }
        log_->commit(record_.data(), record_.size());
        if (first_ && ++steps_ % 256 == 0)
            log_->tidy();
        return 1;
    }

private:
    static constexpr unsigned appends = 64;  // a step must not be much shorter than the loop around it

    std::shared_ptr<Log> log_;
    std::string record_;
    bool durable_;
    bool first_;
    std::uint64_t steps_ = 0;
};

/// Fills up to `depth`, then takes what has completed.
class AsyncWorker final : public Worker {
public:
    AsyncWorker(std::shared_ptr<OpenJournal> journal, unsigned depth, std::size_t bytes,
                const Seat &seat)
        : journal_(std::move(journal)), record_(bytes, 'a'), depth_(depth), latency_(seat.latency) {}
    ~AsyncWorker() override {
        while (in_flight_ != 0) {
            const int taken = fsys_reap(journal_->handle(), results_.data(), results_.size(), -1);
            if (taken <= 0)
                break;
            in_flight_ -= static_cast<unsigned>(taken);
        }
    }
    std::uint64_t step() override {
        for (; in_flight_ < depth_; ++in_flight_)
            check(fsys_journal_submit_commit(journal_->get(), record_.data(), record_.size(), 0,
                                             latency_ != nullptr ? now_ns() : 0, nullptr, nullptr),
                  "fsys_journal_submit_commit");
        const auto taken = check(
            fsys_reap(journal_->handle(), results_.data(), results_.size(), FSYS_FOREVER),
            "fsys_reap");
        for (std::int64_t i = 0; i < taken; ++i) {
            check(results_[static_cast<std::size_t>(i)].result, "asynchronous commit");
            if (latency_ != nullptr)
                latency_->record(now_ns() - results_[static_cast<std::size_t>(i)].user_data);
        }
        in_flight_ -= static_cast<unsigned>(taken);
        if (++steps_ % 64 == 0)
            journal_->tidy();
        return static_cast<std::uint64_t>(taken);
    }
    [[nodiscard]] bool stamps() const override { return true; }

private:
    std::shared_ptr<OpenJournal> journal_;
    std::string record_;
    unsigned depth_;
    Histogram *latency_;
    unsigned in_flight_ = 0;
    std::uint64_t steps_ = 0;
    std::array<fsys_result, 256> results_{};
};

/// What queue_loop() needs: one commit per slot.
class ScheduledCommits {
public:
    ScheduledCommits(OpenJournal &journal, std::size_t bytes)
        : journal_(journal), record_(bytes, 'a') {}
    void put(unsigned slot) {
        check(fsys_journal_submit_commit(journal_.get(), record_.data(), record_.size(), 0, slot,
                                         nullptr, nullptr),
              "fsys_journal_submit_commit");
    }
    void flush() {}  // a commit needs no push
    unsigned take(unsigned *slots, std::int64_t patience) {
        const auto taken = check(
            fsys_reap(journal_.handle(), results_.data(), results_.size(), patience), "fsys_reap");
        for (std::int64_t i = 0; i < taken; ++i) {
            const fsys_result &one = results_[static_cast<std::size_t>(i)];
            check(one.result, "asynchronous commit");
            slots[i] = static_cast<unsigned>(one.user_data);
        }
        if (++turns_ % 64 == 0)
            journal_.tidy();
        return static_cast<unsigned>(taken);
    }

private:
    OpenJournal &journal_;
    std::string record_;
    std::uint64_t turns_ = 0;
    std::array<fsys_result, 256> results_{};
};

}  // namespace

OpenVariant async_open_loop(const std::string &name, const std::string &directory, unsigned depth,
                            std::size_t bytes) {
    auto journal = std::make_shared<OpenJournal>(directory + "/open-loop", 8192);
    return {name, [=](const Schedule &schedule, Histogram &histogram) {
                ScheduledCommits commits(*journal, bytes);
                return queue_loop(schedule, depth, commits, histogram);
            }};
}

std::unique_ptr<Log> make_fsys_log(const LogPlan &plan) { return std::make_unique<FsysLog>(plan); }

Variant async_variant(const std::string &directory, unsigned depth, std::size_t bytes) {
    auto journal = std::make_shared<OpenJournal>(directory + "/" + std::to_string(depth), 8192);
    return {.name = fmt::format("libfsys, {} in flight", depth),
            .make = [=](const Seat &seat) {
                return std::make_unique<AsyncWorker>(journal, depth, bytes, seat);
            },
            .count = [=] { return journal->stats().syncs; },
            .subject = true};
}

Variant log_variant(const std::string &name, std::shared_ptr<Log> log, const LogPlan &plan,
                    bool durable, bool subject) {
    Variant variant{
        .name = name, .threads = plan.threads, .make = [=](const Seat &seat) {
            return std::make_unique<LogWorker>(log, plan, durable, seat);
        }};
    variant.subject = subject;
    if (subject && durable)
        variant.count = [=] { return log->syncs(); };
    return variant;
}

}  // namespace bench
