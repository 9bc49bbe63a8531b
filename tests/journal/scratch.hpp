// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Helpers of the journal tests: a directory that goes away, options for small journals, records
// whose bytes follow from their number.
#pragma once

#include <cstdint>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "journal/journal.hpp"
#include "journal/reader.hpp"

namespace journal_test {

using namespace libfsys::journal;
using libfsys::real_syscalls;
using libfsys::Syscalls;

class Scratch {
public:
    Scratch() {
        // Beside the build, not in /tmp: that is often a tmpfs without O_DIRECT.
        std::string name = (std::filesystem::current_path() / "journal-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) {
            std::abort();
        }
        path_ = name;
    }
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;
    std::string operator/(const std::string &name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

inline Options small(std::uint64_t data = 65536, IoMode mode = IoMode::buffered) {
    Options options;
    options.segment_bytes = data + 4096;
    options.buffer_bytes = 65536;
    options.block_bytes = 512;
    options.mode = mode;
    return options;
}

// Record `n`: its number, then bytes that follow from it. Never shorter than 8.
inline std::string record(std::uint64_t n, std::size_t length) {
    std::string text(length < 8 ? 8 : length, '\0');
    std::memcpy(text.data(), &n, 8);
    std::uint64_t x = n * 0x9e3779b97f4a7c15u + 1;
    for (std::size_t i = 8; i < text.size(); ++i) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        text[i] = static_cast<char>(x >> 56);
    }
    return text;
}

inline std::unique_ptr<Journal> open_journal(const std::string &path, const Options &options,
                                             RecoveryReport *report = nullptr,
                                             int *code = nullptr,
                                             Syscalls &sys = real_syscalls()) {
    Journal *journal = nullptr;
    const int rc = Journal::open(sys, path, options, report, &journal);
    if (code != nullptr) {
        *code = rc;
    }
    return std::unique_ptr<Journal>(rc == 0 ? journal : nullptr);
}

struct Read {
    std::vector<std::string> records;
    std::vector<Lsn> lsns;
    Got last = Got::end;
    Lsn damage = 0;
};

inline Read read_all(Reader &reader) {
    Read all;
    Record record;
    while ((all.last = reader.next(record)) == Got::record) {
        all.records.emplace_back(static_cast<const char *>(record.data), record.length);
        all.lsns.push_back(record.lsn);
    }
    all.damage = all.last == Got::damaged ? record.start : 0;
    return all;
}

inline Read read_all(const std::string &path, Syscalls &sys = real_syscalls()) {
    std::unique_ptr<Reader> reader;
    Read all;
    const int code = Reader::open(sys, path, 0, Bound::durable, nullptr, reader);
    if (code < 0) {
        all.last = Got::error;
        return all;
    }
    return read_all(*reader);
}

inline std::string slurp(const std::string &path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}
inline void spill(const std::string &path, const std::string &bytes) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}
inline std::vector<std::string> segment_files(const std::string &dir) {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(dir)) {
        if (entry.path().extension() == ".fsj") {
            names.push_back(entry.path().string());
        }
    }
    std::sort(names.begin(), names.end());
    return names;
}

// Lends real threads, and joins them.
class ThreadRunner final : public Runner {
public:
    void run(Task *task) override {
        std::lock_guard lock(mutex_);
        threads_.emplace_back([task] { task->run(); });
    }
    ~ThreadRunner() {
        for (auto &thread : threads_) {
            thread.join();
        }
    }

private:
    std::mutex mutex_;
    std::vector<std::thread> threads_;
};

// Lends the calling thread. What is lent meanwhile comes after it, so that a leader who lends work and
// needs its outcome finds it not begun: the latest moment that any scheduling could give.
class LateRunner final : public Runner {
public:
    void run(Task *task) override {
        if (busy_) {
            later_.push_back(task);
            return;
        }
        busy_ = true;
        task->run();
        for (std::size_t i = 0; i < later_.size(); ++i) {
            later_[i]->run();
        }
        later_.clear();
        busy_ = false;
    }

private:
    bool busy_ = false;
    std::vector<Task *> later_;
};

}  // namespace journal_test
