// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Victim: kWriters threads of a forked process, ended by the failure of its storage. Judge: the
// parent's main thread. Shared memory belongs to Rig.

#include "crash/victim.hpp"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <new>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace crash {
namespace {

constexpr std::int64_t kLongest = 10'000'000'000;  // ns: no call may take longer
constexpr std::uint64_t kMostRecords = 3000;       // of a writer, in one life
constexpr std::uint64_t kKept = 96 << 10;          // bytes that the victim does not trim

struct Label {
    std::uint64_t number;
    std::uint32_t writer;
    std::uint32_t life;
};

std::size_t length_of(std::uint64_t number) {
    return sizeof(Label) + (number % 97 == 0 ? 18000 : number % 13 == 0 ? 0 : number * 37 % 700);
}

// The bytes follow from the label, so that nothing else need be kept to compare.
std::string bytes_of(const Label &label) {
    std::string text(length_of(label.number), '\0');
    std::memcpy(text.data(), &label, sizeof label);
    std::uint64_t x = label.number * 0x9e3779b97f4a7c15u + label.writer * 77 + label.life;
    for (std::size_t i = sizeof label; i < text.size(); ++i) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        text[i] = static_cast<char>(x >> 56);
    }
    return text;
}

class Writer {
public:
    Writer(Shared &shared, std::atomic<bool> &stop, fsys *engine, fsys_journal *journal,
           unsigned index, std::uint32_t life, std::uint64_t seed)
        : shared_(shared), stop_(stop), engine_(engine), journal_(journal), index_(index), life_(life),
          random_(seed + index * 7919) {}

    void run() {
        number_ = first_ = shared_.tried[index_];
        const int code = index_ + 1 == kWriters ? asynchronous() : blocking();
        stop_ = true;  // an error need not be sticky: the others then end as well
        if (code == 0) {
            return;
        }
        if (!shared_.power_fails) {
            int none = 0;
            shared_.wrong_code.compare_exchange_strong(none, code);
        }
        ++shared_.failures;
        // Sticky: nothing is promised any more, whatever the storage does now.
        if (code == FSYS_E_POISONED || code == FSYS_E_UNKNOWN) {
            ++shared_.sticky;
            for (int i = 0; i < 3; ++i) {
                if (fsys_journal_commit(journal_, "late", 4, 0, kLongest, nullptr) >= 0) {
                    ++shared_.lies;
                }
            }
        }
    }

private:
    std::uint64_t chance() {
        random_ = random_ * 6364136223846793005u + 1442695040888963407u;
        return (random_ >> 33) % 100;
    }
    std::string next() {
        shared_.tried[index_] = ++number_;
        return bytes_of({number_, index_, life_});
    }
    // Only what was promised before the shutdown began. While FS_IOC_SHUTDOWN runs, fdatasync on
    // ext4 may return 0 for writes that grow or convert extents and are then lost (seen on 6.18 with
    // plain pwrite and fdatasync, about 1 in 20 shutdowns): a loss of power has no such moment.
    void acknowledge(std::uint64_t number, std::uint64_t lsn) {
        if (shared_.shutting_down) {
            return;
        }
        shared_.acked_lsn[index_] = lsn;
        shared_.acked[index_] = number;
    }

    // Enough for one life, when nothing fails.
    bool done() const { return stop_ || number_ - first_ >= kMostRecords; }

    // Returns the code of the first call that failed, or 0.
    int blocking() {
        while (!done()) {
            std::uint64_t lsn = 0;
            int code = 0;
            const std::uint64_t choice = chance();
            if (choice < 70) {
                const std::string text = next();
                code = fsys_journal_commit(journal_, text.data(), text.size(), 0, kLongest, &lsn);
            } else if (choice < 80) {
                std::string texts[3] = {next(), next(), next()};
                fsys_iovec records[3];
                for (int i = 0; i < 3; ++i) {
                    records[i] = {texts[i].data(), texts[i].size()};
                }
                code = fsys_journal_append_batch(journal_, records, 3, 0, &lsn, nullptr);
                if (code == 0) {
                    code = fsys_journal_sync(journal_, lsn, kLongest);
                }
            } else if (choice < 90) {
                std::string text = next();
                const std::size_t cut = text.size() / 3;
                const fsys_iovec pieces[] = {{text.data(), cut},
                                             {text.data() + cut, text.size() - cut}};
                code = fsys_journal_appendv(journal_, pieces, 2, 0, &lsn);
                if (code == 0) {
                    code = fsys_journal_sync(journal_, lsn, kLongest);
                }
            } else {
                fsys_journal_ticket ticket{};
                const std::uint64_t number = number_ + 1;
                code = fsys_journal_reserve(journal_, length_of(number), 0, &ticket);
                if (code == -EMSGSIZE) {
                    continue;  // a long record: the next choice may be a copy
                }
                if (code == 0) {
                    const std::string text = next();
                    std::memcpy(ticket.memory, text.data(), text.size());
                    code = fsys_journal_publish(journal_, &ticket, &lsn);
                }
                if (code == 0) {
                    code = fsys_journal_sync(journal_, lsn, kLongest);
                }
            }
            if (code < 0) {
                return code;
            }
            acknowledge(number_, lsn);
            if (index_ == 0 && number_ % 16 == 0 && lsn > kKept + 4096) {
                shared_.trimmed = lsn - kKept;
                code = fsys_journal_trim(journal_, lsn - kKept);
                if (code < 0) {
                    return code;
                }
            }
        }
        return 0;
    }

    int asynchronous() {
        struct Flying {
            std::uint64_t number, lsn;
        };
        std::vector<Flying> flying;  // by number; user_data is the number
        std::int64_t failed = 0;
        for (;;) {
            while (flying.size() < 16 && failed == 0 && !done()) {
                const std::string text = next();
                std::uint64_t lsn = 0;
                failed = fsys_journal_submit_commit(journal_, text.data(), text.size(), 0, number_,
                                                    &lsn, nullptr);
                if (failed == 0) {
                    flying.push_back({number_, lsn});
                }
            }
            fsys_result results[16];
            const int count = flying.empty() ? 0 : fsys_reap(engine_, results, 16, kLongest);
            if (!flying.empty() && count <= 0) {
                return count < 0 ? count : -ETIMEDOUT;
            }
            for (int i = 0; i < count; ++i) {
                const auto one =
                    std::find_if(flying.begin(), flying.end(), [&](const Flying &flight) {
                        return flight.number == results[i].user_data;
                    });
                if (one == flying.end()) {
                    return FSYS_E_MISMATCH;
                }
                if (results[i].result == 0) {
                    if (one->number > shared_.acked[index_]) {
                        acknowledge(one->number, one->lsn);
                    }
                } else if (failed == 0) {
                    failed = results[i].result;
                }
                flying.erase(one);
            }
            if ((failed != 0 || done()) && flying.empty()) {
                return static_cast<int>(failed);  // every accepted one has completed
            }
        }
    }

    Shared &shared_;
    std::atomic<bool> &stop_;
    fsys *engine_;
    fsys_journal *journal_;
    unsigned index_;
    std::uint32_t life_;
    std::uint64_t random_;
    std::uint64_t first_ = 0;
    std::uint64_t number_ = 0;
};

// The victim's life; the return value is its exit code.
int victim(Shared &shared, const std::string &path, const fsys_journal_options &options,
           std::uint32_t life, std::uint64_t seed) {
    const auto excused = [&](int code) {
        if (!shared.power_fails) {
            shared.wrong_code = code;
        }
        return 0;
    };
    fsys_options engine_options{};
    engine_options.struct_size = sizeof engine_options;
    engine_options.max_ops = 64;
    fsys *engine = nullptr;
    int code = fsys_open(&engine_options, &engine);
    if (code < 0) {
        return excused(code);
    }
    fsys_journal *journal = nullptr;
    code = fsys_journal_open(engine, path.c_str(), &options, nullptr, &journal);
    if (code < 0) {
        return excused(code);
    }
    ++shared.opened;
    const unsigned sticky_before = shared.sticky;
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kWriters; ++i) {
        threads.emplace_back(
            [&, i] { Writer(shared, stop, engine, journal, i, life, seed).run(); });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    // Half of them die here as they stand, the others close what can be closed.
    if (seed % 2 == 0 && fsys_journal_close(journal) == 0 &&
        shared.sticky != sticky_before) {
        ++shared.lies;
    }
    return 0;
}

std::string sentence(const std::string &what, long long value) {
    return what + " (" + std::to_string(value) + ")";
}

// A small handle without a ring: opening a journal needs no more, and thousands are opened.
struct Engine {
    fsys *handle = nullptr;
    int code;
    Engine() {
        fsys_options options{};
        options.struct_size = sizeof options;
        options.backend = FSYS_BACKEND_THREADS;
        options.max_ops = 64;
        code = fsys_open(&options, &handle);
    }
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;
    ~Engine() { fsys_close(handle); }
};

}  // namespace

Rig::Rig(std::string path, std::uint64_t seed) : path_(std::move(path)), random_(seed) {
    void *memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::bad_alloc();
    }
    shared_ = new (memory) Shared{};
}

Rig::~Rig() {
    if (victim_ > 0) {
        ::kill(victim_, SIGKILL);
        ::waitpid(victim_, nullptr, 0);
    }
    ::munmap(shared_, sizeof(Shared));
}

std::uint64_t Rig::sum_acked() const {
    std::uint64_t sum = 0;
    for (const auto &count : shared_->acked) {
        sum += count.load();
    }
    return sum;
}

void Rig::start() {
    ++life_;
    options_ = {};
    options_.struct_size = sizeof options_;
    options_.mode = random(2) == 0 ? FSYS_JOURNAL_MODE_DIRECT : FSYS_JOURNAL_MODE_BUFFERED;
    options_.flags = random(4) == 0 ? FSYS_JOURNAL_STRICT : 0;
    options_.preallocate =
        random(2) == 0 ? FSYS_JOURNAL_RECYCLE : static_cast<std::uint32_t>(random(4));
    options_.block_bytes = random(3) == 0 ? 4096 : 512;
    options_.segment_bytes = (4 + random(5)) << 13;
    options_.buffer_bytes = random(2) == 0 ? 65536 : 262144;
    eager_ = random(5) == 0;  // does not wait for the first promise: opening is met as well
    acked_before_ = sum_acked();
    const std::uint64_t seed = next_random() >> 8;
    const pid_t parent = ::getpid();
    victim_ = ::fork();
    if (victim_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) {
            ::_exit(1);
        }
        ::_exit(victim(*shared_, path_, options_, life_, seed));
    }
    if (victim_ < 0) {
        throw std::runtime_error("fork failed");
    }
}

void Rig::let_work() {
    using std::chrono::microseconds;
    for (int i = 0; !eager_ && i < 50000 && sum_acked() == acked_before_; ++i) {
        std::this_thread::sleep_for(microseconds(200));
    }
    std::this_thread::sleep_for(microseconds(random(eager_ ? 8000 : 12000)));
}

std::string Rig::wait_for_end() {
    int status = 0;
    pid_t ended = 0;
    for (int i = 0; i < 40000 && ended == 0; ++i) {
        ended = ::waitpid(victim_, &status, WNOHANG);
        if (ended == 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(500));
        }
    }
    const pid_t victim = std::exchange(victim_, -1);
    if (ended == 0) {
        ::kill(victim, SIGKILL);
        ::waitpid(victim, &status, 0);
        return "the victim hangs: a call did not return in 20 s after power failed";
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return sentence("the victim crashed, status", status);
    }
    if (shared_->wrong_code != 0) {
        return std::string("a call failed while power was on: ") +
               fsys_strerror(shared_->wrong_code);
    }
    if (shared_->lies != 0) {
        return sentence("calls succeeded after the failure", shared_->lies);
    }
    shared_->power_fails = false;
    shared_->shutting_down = false;
    return "";
}

void Rig::recover_in_vain() {
    Engine engine;
    if (engine.code == 0) {
        fsys_journal *journal = nullptr;
        if (fsys_journal_open(engine.handle, path_.c_str(), &options_, nullptr, &journal) == 0) {
            fsys_journal_close(journal);
        }
    }
}

std::string Rig::judge() {
    Engine engine;
    int code = engine.code;
    if (code < 0) {
        return sentence("fsys_open", code);
    }
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    fsys_journal *journal = nullptr;
    code = fsys_journal_open(engine.handle, path_.c_str(), &options_, &report, &journal);
    if (code < 0) {
        return std::string("the journal does not open: ") + fsys_strerror(code) + ", " +
               report.text;
    }
    tally_.torn += report.verdict == FSYS_JOURNAL_TORN;
    const std::uint64_t trimmed = shared_->trimmed;
    if (report.first_lsn > std::max<std::uint64_t>(trimmed, 4096)) {
        return sentence("more is gone than was trimmed, from", report.first_lsn);
    }
    fsys_journal_reader *reader = nullptr;
    code = fsys_journal_reader_open(journal, 0, 0, &reader);
    if (code < 0) {
        return sentence("reader", code);
    }
    std::uint64_t last[kWriters] = {};
    std::uint32_t life = 0;
    std::uint64_t lsn = 0;
    for (;;) {
        fsys_journal_record record{};
        code = fsys_journal_reader_next(reader, 0, &record);
        if (code < 0) {
            return sentence("reading gave", code);
        }
        if (record.kind == FSYS_JOURNAL_END) {
            break;
        }
        const std::string at = " at LSN " + std::to_string(record.lsn);
        if (record.kind != FSYS_JOURNAL_RECORD) {
            return sentence("no record but kind", record.kind) + ", start " +
                   std::to_string(record.start) + at + ", after " + std::to_string(lsn) +
                   ": first " + std::to_string(report.first_lsn) + ", end " +
                   std::to_string(report.end_lsn) + ", " + report.text;
        }
        Label label{};
        if (record.length < sizeof label) {
            return "a record that nobody wrote" + at;
        }
        std::memcpy(&label, record.data, sizeof label);
        if (label.writer >= kWriters || label.life > life_ || label.life < life ||
            record.length != length_of(label.number) ||
            std::memcmp(record.data, bytes_of(label).data(), record.length) != 0) {
            return "an altered record" + at;
        }
        std::uint64_t &before = last[label.writer];
        if (before != 0 && label.number != before + 1) {
            return sentence("out of order, after", static_cast<long long>(before)) + at;
        }
        if ((label.number > base_[label.writer]) != (label.life == life_)) {
            return "a record of an earlier life came back" + at;
        }
        if (record.lsn <= lsn) {
            return "an LSN twice" + at;
        }
        before = label.number;
        life = label.life;
        lsn = record.lsn;
        ++tally_.recovered;
    }
    for (unsigned i = 0; i < kWriters; ++i) {
        const std::uint64_t acked = shared_->acked[i];
        if (last[i] == 0 ? shared_->acked_lsn[i] > trimmed : last[i] < acked) {
            return "writer " + std::to_string(i) + " was promised record " +
                   std::to_string(acked) + " with LSN " + std::to_string(shared_->acked_lsn[i]) +
                   ", the last there is " + std::to_string(last[i]) + ": " + report.text +
                   ". Victim: mode " + std::to_string(options_.mode) + ", flags " +
                   std::to_string(options_.flags) + ", preallocate " +
                   std::to_string(options_.preallocate) + ", blocks of " +
                   std::to_string(options_.block_bytes);
        }
        if (last[i] > shared_->tried[i]) {
            return "a record from the future";
        }
        tally_.acked += acked - std::min(acked, base_[i]);
        // What did not make it gives its number to the next life.
        base_[i] = std::max(last[i], acked);
        shared_->tried[i] = base_[i];
        shared_->acked[i] = base_[i];
    }
    code = fsys_journal_reader_close(reader);
    if (code == 0) {
        code = fsys_journal_close(journal);
    }
    if (code < 0) {
        return sentence("closing", code);
    }
    tally_.opened = shared_->opened;
    tally_.sticky = shared_->sticky;
    ++tally_.cycles;
    return "";
}

}  // namespace crash
