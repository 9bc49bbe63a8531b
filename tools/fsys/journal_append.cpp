// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys journal append`: lines become records. The command's thread reads the input, and polls, so
// that it sees signals and failures while no input comes; worker threads append and commit. The
// queue between them is theirs together, under its lock; the journal takes calls from all.
#include "journal.hpp"

#include "failure.hpp"
#include "interrupt.hpp"
#include "journal_handle.hpp"
#include "terminal.hpp"
#include "units.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace cli {

namespace {

// Lines on their way from the reader to the workers, at most some thousand.
class Lines {
public:
    // False: a worker has failed.
    bool push(std::string line)
    {
        std::unique_lock lock(mutex_);
        room_.wait(lock, [&] { return lines_.size() < kMost || failure_ != nullptr; });
        if (failure_ != nullptr) {
            return false;
        }
        lines_.push_back(std::move(line));
        lock.unlock();
        filled_.notify_one();
        return true;
    }
    // False: there is and will be none.
    bool pop(std::string &line)
    {
        std::unique_lock lock(mutex_);
        filled_.wait(lock, [&] { return !lines_.empty() || ended_ || failure_ != nullptr; });
        if (lines_.empty() || failure_ != nullptr) {
            return false;
        }
        line = std::move(lines_.front());
        lines_.pop_front();
        lock.unlock();
        room_.notify_one();
        return true;
    }
    void end()
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        filled_.notify_all();
    }
    void fail(std::exception_ptr failure)
    {
        const std::lock_guard lock(mutex_);
        failure_ = failure_ == nullptr ? std::move(failure) : failure_;
        filled_.notify_all();
        room_.notify_all();
    }
    bool failed()
    {
        const std::lock_guard lock(mutex_);
        return failure_ != nullptr;
    }
    void rethrow()
    {
        const std::lock_guard lock(mutex_);
        if (failure_ != nullptr) {
            std::rethrow_exception(failure_);
        }
    }

private:
    static constexpr std::size_t kMost = 4096;
    std::mutex mutex_;
    std::condition_variable room_;
    std::condition_variable filled_;
    std::deque<std::string> lines_;
    bool ended_ = false;
    std::exception_ptr failure_;
};

struct Counts {
    std::atomic<std::uint64_t> records{0};
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::uint64_t> last_lsn{0};  // the largest
};

class Append {
public:
    explicit Append(const JournalOptions &options)
        : options_(options), progress_(options.progress),
          every_(options.commit == "end" ? 0 : options.commit == "each" ? 1
                                                                        : std::stoull(options.commit))
    {
        if (!options.input.empty()) {
            input_ = Fd(::open(options.input.c_str(), O_RDONLY | O_CLOEXEC));
            if (!input_.valid()) {
                throw Failure("cannot open", options.input, -errno);
            }
            struct stat facts{};
            if (fstat(input_.get(), &facts) == 0 && S_ISREG(facts.st_mode)) {
                total_ = static_cast<std::uint64_t>(facts.st_size);
            }
        }
    }

    int run()
    {
        Engine engine({});
        fsys_journal_options config{};
        config.segment_bytes = options_.segment;
        JournalHandle journal(engine, options_.path, config);
        progress_.phase("appending", total_, 0);
        const auto start = std::chrono::steady_clock::now();
        std::vector<std::thread> workers;
        for (std::uint32_t i = 0; i < options_.threads; ++i) {
            workers.emplace_back([&] {
                try {
                    work(journal.get());
                } catch (...) {
                    lines_.fail(std::current_exception());
                }
            });
        }
        try {
            read_lines();
        } catch (...) {
            lines_.fail(std::current_exception());
        }
        lines_.end();
        for (std::thread &worker : workers) {
            worker.join();
        }
        progress_.clear();
        lines_.rethrow();
        // What came before a signal is kept, too.
        check(counts_.last_lsn == 0
                  ? 0
                  : fsys_journal_sync(journal.get(), counts_.last_lsn, FSYS_FOREVER));
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        fsys_journal_stats stats{};
        stats.struct_size = sizeof stats;
        check(fsys_journal_stat(journal.get(), &stats));
        check(journal.close());
        if (const int signal = interrupted(); signal != 0) {
            throw Interrupted{signal, fmt::format("{} durable", plural(counts_.records, "record is",
                                                                       "records are"))};
        }
        report(stats, seconds);
        return kOk;
    }

private:
    void check(int code) const
    {
        if (code < 0) {
            throw Failure("cannot append to the journal", options_.path, code);
        }
    }

    void work(fsys_journal *journal)
    {
        std::string line;
        std::uint64_t pending = 0;
        std::uint64_t lsn = 0;
        while (lines_.pop(line)) {
            if (every_ == 1) {
                check(fsys_journal_commit(journal, line.data(), line.size(), 0, FSYS_FOREVER,
                                          &lsn));
            } else {
                check(fsys_journal_append(journal, line.data(), line.size(), 0, &lsn));
                if (++pending == every_) {
                    check(fsys_journal_sync(journal, lsn, FSYS_FOREVER));
                    pending = 0;
                }
            }
            std::uint64_t last = counts_.last_lsn;
            while (last < lsn && !counts_.last_lsn.compare_exchange_weak(last, lsn)) {
            }
            ++counts_.records;
            counts_.bytes += line.size() + 1;
        }
    }

    void read_lines()
    {
        const int fd = input_.valid() ? input_.get() : STDIN_FILENO;
        std::vector<char> piece(std::size_t{1} << 16);
        std::string line;
        for (;;) {
            pollfd ready{fd, POLLIN, 0};
            const int polled = poll(&ready, 1, 100);
            progress_.draw(counts_.bytes, 0);
            if (interrupted() != 0 || lines_.failed()) {
                return;  // an unfinished line is no record
            }
            if (polled <= 0) {
                continue;
            }
            const ssize_t got = ::read(fd, piece.data(), piece.size());
            if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
                continue;
            }
            if (got < 0) {
                throw Failure(input_.valid() ? "cannot read" : "cannot read standard input",
                              options_.input, -errno);
            }
            if (got == 0) {
                break;
            }
            const char *at = piece.data();
            const char *const end = at + got;
            for (;;) {
                const char *const newline = std::find(at, end, '\n');
                line.append(at, newline);
                if (newline == end) {
                    break;
                }
                if (!lines_.push(std::exchange(line, std::string()))) {
                    return;
                }
                at = newline + 1;
            }
        }
        if (!line.empty()) {
            lines_.push(std::move(line));  // the last one, without a newline
        }
    }

    void report(const fsys_journal_stats &stats, double seconds) const
    {
        const std::uint64_t records = counts_.records;
        const double rate = static_cast<double>(records) / std::max(seconds, 1e-9);
        if (options_.json) {
            fmt::print("{}\n", json_text({{"command", "journal append"},
                                          {"ok", true},
                                          {"journal", options_.path},
                                          {"records", records},
                                          {"bytes", counts_.bytes.load()},
                                          {"last_lsn", counts_.last_lsn.load()},
                                          {"threads", options_.threads},
                                          {"commit", options_.commit},
                                          {"syncs", stats.syncs},
                                          {"direct", stats.direct != 0},
                                          {"seconds", seconds},
                                          {"records_per_second", rate}}));
            return;
        }
        if (records == 0) {
            fmt::print("no records\n");
            return;
        }
        fmt::print("{} durable in {}, the last at LSN {}\n", plural(records, "record", "records"),
                   human_seconds(seconds), counts_.last_lsn.load());
        fmt::print("{} records/s, {} ({:.1f} records per sync)\n",
                   human_count(static_cast<std::uint64_t>(rate)),
                   plural(stats.syncs, "sync", "syncs"),
                   static_cast<double>(records) /
                       static_cast<double>(std::max<std::uint64_t>(stats.syncs, 1)));
    }

    const JournalOptions &options_;
    Progress progress_;
    std::uint64_t every_;  // records per commit of a thread, 0: all
    Fd input_;
    std::uint64_t total_ = 0;
    Lines lines_;
    Counts counts_;
};

}  // namespace

int run_journal_append(const JournalOptions &options)
{
    return Append(options).run();
}

}  // namespace cli
