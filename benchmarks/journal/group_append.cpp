// SPDX-License-Identifier: Apache-2.0 OR MIT
// Appending without a sync per record: into the log buffer, for longer than any buffer holds, and
// from many threads.
#include "files.hpp"
#include "groups.hpp"
#include "logs.hpp"
#include "process.hpp"

#include <fsys/journal.h>

#include <fmt/format.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace bench {

namespace {

Sample timed(double operations, std::uint64_t spent_ns) {
    Sample sample;
    sample.ops = static_cast<std::uint64_t>(operations);
    sample.ops_per_second = operations * 1e9 / static_cast<double>(spent_ns);
    return sample;
}

/// One journal with the buffer and the spares asked for.
class Subject {
public:
    Subject(const std::string &directory, const std::string &name, std::uint64_t buffer,
            std::uint32_t spares)
        : place_(directory, name) {
        fsys_options options{};
        options.struct_size = sizeof options;
        check(fsys_open(&options, &handle_), "fsys_open");
        fsys_journal_options journal{};
        journal.struct_size = sizeof journal;
        journal.buffer_bytes = buffer;
        journal.spare_segments = spares;
        check(fsys_journal_open(handle_, (place_.path() + "/j").c_str(), &journal, nullptr,
                                &journal_),
              "fsys_journal_open");
    }
    ~Subject() {
        fsys_journal_close(journal_);
        fsys_close(handle_);
    }
    Subject(const Subject &) = delete;
    Subject &operator=(const Subject &) = delete;

    std::uint64_t append(const std::string &record) {
        std::uint64_t lsn = 0;
        check(fsys_journal_append(journal_, record.data(), record.size(), 0, &lsn),
              "fsys_journal_append");
        return lsn;
    }
    void sync(std::uint64_t lsn) {
        check(fsys_journal_sync(journal_, lsn, FSYS_FOREVER), "fsys_journal_sync");
    }
    void trim(std::uint64_t lsn) { check(fsys_journal_trim(journal_, lsn), "fsys_journal_trim"); }
    /// The segments that wait to be used again, in the order in which the journal will.
    [[nodiscard]] std::vector<std::string> spares() const {
        std::vector<std::string> paths;
        for (const auto &entry : std::filesystem::directory_iterator(place_.path() + "/j")) {
            if (entry.path().filename().string().starts_with("spare-"))
                paths.push_back(entry.path().string());
        }
        std::sort(paths.rbegin(), paths.rend());
        return paths;
    }

private:
    Place place_;
    fsys *handle_ = nullptr;
    fsys_journal *journal_ = nullptr;
};

void measure_burst(const Bench &bench) {
    Comparison comparison;
    comparison.id = "append/burst/100";
    comparison.title = "appends of 100 bytes, 1 thread, in bursts that fit the log buffer; processor time of the "
        "thread";
    if (bench.report.settings().wants(comparison.id) && !bench.report.settings().list) {
        auto journal = std::make_shared<Subject>(bench.directory, "burst", 64U << 20, 0);
        Variant ours{.name = "libfsys", .make = {}};
        ours.external = [journal](std::chrono::milliseconds slice) {
            const std::string record(100, 'b');
            constexpr unsigned burst = 150'000;  // 21 MB, less than half the buffer
            const std::uint64_t begin = now_ns();
            std::uint64_t spent = 0;
            std::uint64_t count = 0;
            while (count == 0 ||
                   now_ns() - begin < static_cast<std::uint64_t>(slice.count()) * 1'000'000) {
                const std::uint64_t from = thread_cpu_ns();
                std::uint64_t last = 0;
                for (unsigned i = 0; i < burst; ++i)
                    last = journal->append(record);
                spent += thread_cpu_ns() - from;
                count += burst;
                journal->sync(last);
                journal->trim(last);
            }
            return timed(static_cast<double>(count), spent);
        };
        comparison.variants.push_back(std::move(ours));
        if (!bench.rust.empty()) {
            const LogPlan plan{bench.directory, 1, 100};
            comparison.variants.push_back(
                rust_variant("Rust crate", bench.rust, plan, "burst", false));
            comparison.variants.push_back(
                rust_variant("Rust crate, tuned", bench.rust, plan, "burst", true));
        }
    }
    const Outcome *outcome = bench.report.run(comparison);
    bench.report.add({.number = 1,
                      .row = "append, 100 B, unsynced, 1 thread",
                      .bound = Bound::at_least,
                      .limit = 8,
                      .unit = "M/s",
                      .note = "into the log buffer, processor time of the thread"},
                     outcome, [](const Outcome &o) {
                         std::vector<double> rates;
                         for (const Sample &sample : o.named("libfsys").samples)
                             rates.push_back(sample.ops_per_second / 1e6);
                         return rates;
                     });
    for (const std::size_t peer : {std::size_t{1}, std::size_t{2}}) {
        bench.report.add({.number = 1,
                          .row = "append, 100 B, unsynced, 1 thread",
                          .bound = Bound::at_least,
                          .limit = 10,
                          .unit = peer == 1 ? "x Rust crate" : "x Rust crate, tuned",
                          .note = peer == 1 ? "its defaults: a write(2) per record"
                                            : "direct IO: records gather in a buffer of 1 MiB"},
                         outcome, [peer](const Outcome &o) {
                             return o.series.size() < 3
                                        ? std::vector<double>{}
                                        : rate_ratios(o.series[0], o.series[peer]);
                         });
    }
}

void measure_sustained(const Bench &bench) {
    Comparison comparison;
    comparison.id = "append/sustained";
    comparison.title = fmt::format("MiB appended and synced at the end, 1 thread, {} MiB a round",
                                   bench.report.settings().file_bytes >> 20);
    const std::uint64_t bytes = bench.report.settings().file_bytes;
    if (bench.report.settings().wants(comparison.id) && !bench.report.settings().list) {
        const auto segments = static_cast<std::uint32_t>(bytes / (64U << 20));
        const auto make_journal = [&](const std::string &name, std::uint64_t buffer) {
            return std::make_shared<Subject>(bench.directory, "sustained-" + name, buffer, segments + 4);
        };
        const auto fill = [](Subject &journal, std::uint64_t total, std::size_t length) {
            const std::string record(length, 's');
            std::uint64_t last = 0;
            for (std::uint64_t done = 0; done < total; done += length)
                last = journal.append(record);
            journal.sync(last);
            return last;
        };
        // The bare writes go to the very blocks that the journal writes next, its spare segments (what
        // stands in those means nothing): between one file and another a virtual disk may be twice as
        // fast.
        const auto main_journal = make_journal("device", 0);
        const auto device = [=](std::size_t piece, bool huge) {
            const Pages pages(piece, huge);
            const std::vector<std::string> paths = main_journal->spares();
            std::uint64_t spent = 0;
            for (std::uint64_t done = 0; done < bytes;) {
                const Descriptor file(paths.at(done / (64U << 20)), O_WRONLY | O_DIRECT);
                const std::uint64_t begin = now_ns();
                for (std::uint64_t at = 0; at < (64U << 20) && done < bytes; at += piece, done += piece) {
                    if (pwrite(file.get(), pages.at(0), piece, static_cast<off_t>(at)) !=
                        static_cast<ssize_t>(piece))
                        fail_with_errno("write", paths.at(0));
                }
                if (fdatasync(file.get()) != 0)
                    fail_with_errno("fdatasync", paths.at(0));
                spent += now_ns() - begin;
            }
            return timed(static_cast<double>(bytes >> 20), spent);
        };
        const auto add_device = [&](const char *name, unsigned mib, bool huge) {
            Variant bare{.name = name, .make = {}};
            bare.external = [=](std::chrono::milliseconds) {
                return device(std::size_t{mib} << 20, huge);
            };
            comparison.variants.push_back(std::move(bare));
        };
        add_device("O_DIRECT pwrite of 4 MiB", 4, false);
        add_device("O_DIRECT pwrite of 4 MiB, huge pages", 4, true);
        add_device("O_DIRECT pwrite of 1 MiB", 1, false);
        const auto add = [&](const std::string &name, std::uint64_t buffer, std::size_t length) {
            const auto journal = buffer == 0 && length == 4000 ? main_journal
                                                               : make_journal(name, buffer);
            // Twice a round's bytes: then every segment is a recycled one.
            journal->trim(fill(*journal, 2 * bytes, length));
            Variant ours{.name = name, .make = {}};
            ours.external = [=](std::chrono::milliseconds) {
                const std::uint64_t begin = now_ns();
                const std::uint64_t last = fill(*journal, bytes, length);
                const Sample sample = timed(static_cast<double>(bytes >> 20), now_ns() - begin);
                journal->trim(last);
                return sample;
            };
            comparison.variants.push_back(std::move(ours));
        };
        add("libfsys, 4000 B", 0, 4000);
        add("libfsys, 4000 B, buffer of 16 MiB", 16U << 20, 4000);
        add("libfsys, 100 B", 0, 100);
    }
    const Outcome *outcome = bench.report.run(comparison);
    for (const bool huge : {false, true}) {
        bench.report.add(
            {.number = 2,
             .row = "append, sustained, 4000 B",
             .bound = Bound::at_least,
             .limit = 0.9,
             .unit = huge ? "x sequential write, huge pages" : "x sequential write",
             .note = "payload bytes, default options, over O_DIRECT writes of 4 MiB to the same blocks"},
            outcome, [huge](const Outcome &o) {
                return rate_ratios(o.named("libfsys, 4000 B"), o.series[huge ? 1 : 0]);
            });
    }
}

void measure_threads(const Bench &bench, unsigned threads, std::size_t bytes) {
    Comparison comparison;
    comparison.id = fmt::format("append/{}-threads/{}", threads, bytes);
    comparison.title = fmt::format(
        "appends of {} bytes without a sync, {} thread{}; the journal writes them to the device, "
        "the others to the page cache",
        bytes, threads, threads == 1 ? "" : "s");
    if (bench.report.settings().wants(comparison.id) && !bench.report.settings().list) {
        const LogPlan plan{bench.directory, threads, bytes};
        const auto add = [&](const char *name, std::unique_ptr<Log> log, bool ours = false) {
            if (log != nullptr)
                comparison.variants.push_back(
                    log_variant(name, std::shared_ptr<Log>(std::move(log)), plan, false, ours));
        };
        add("pwrite", make_bare_log(plan));
        add("libfsys", make_fsys_log(plan), true);
        add("RocksDB, not synced", make_rocksdb_log(plan, false));
        if (!bench.rust.empty())
            comparison.variants.push_back(
                rust_variant("Rust crate", bench.rust, plan, "append", false));
    }
    bench.report.run(comparison);
}

}  // namespace

void measure_appends(const Bench &bench) {
    measure_burst(bench);
    measure_sustained(bench);
    if (bench.report.settings().quick) {
        measure_threads(bench, 4, 100);
        return;
    }
    for (const unsigned threads : {1U, 4U, 16U, 64U, 256U})
        measure_threads(bench, threads, 100);
    for (const std::size_t bytes : {std::size_t{4096}, std::size_t{65536}})
        measure_threads(bench, 4, bytes);
}

}  // namespace bench
