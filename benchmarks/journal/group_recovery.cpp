// SPDX-License-Identifier: Apache-2.0 OR MIT
// Opening: the recovery scan against reading the file, reading records against reading the file,
// and the time to open against the length of the journal.
#include "files.hpp"
#include "groups.hpp"
#include "logs.hpp"
#include "process.hpp"

#include <fsys/journal.h>

#include <fmt/format.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

namespace bench {

namespace {

class Handle {
public:
    Handle() {
        fsys_options options{};
        options.struct_size = sizeof options;
        check(fsys_open(&options, &handle_), "fsys_open");
    }
    ~Handle() { fsys_close(handle_); }
    Handle(const Handle &) = delete;
    Handle &operator=(const Handle &) = delete;
    [[nodiscard]] fsys *get() const { return handle_; }

private:
    fsys *handle_ = nullptr;
};

fsys_journal *open_journal(const Handle &handle, const std::string &path, std::uint64_t segment) {
    fsys_journal_options options{};
    options.struct_size = sizeof options;
    options.segment_bytes = segment;
    options.mode = FSYS_JOURNAL_MODE_DIRECT;  // the probe's writes are not what is measured
    fsys_journal *journal = nullptr;
    check(fsys_journal_open(handle.get(), path.c_str(), &options, nullptr, &journal),
          "fsys_journal_open");
    return journal;
}

Sample timed(double operations, std::uint64_t begin) {
    Sample sample;
    sample.ops = static_cast<std::uint64_t>(operations);
    sample.ops_per_second = operations * 1e9 / static_cast<double>(now_ns() - begin);
    return sample;
}

/// Reads the whole file in pieces.
Variant file_reader(const std::string &name, const std::string &path, int flags,
                    std::size_t piece) {
    Variant variant{.name = name, .make = {}};
    variant.external = [=](std::chrono::milliseconds) {
        const Descriptor file(path, O_RDONLY | flags);
        const Pages pages(piece);
        const std::uint64_t begin = now_ns();
        std::uint64_t total = 0;
        for (;;) {
            const ssize_t got = read(file.get(), pages.at(0), piece);
            if (got < 0)
                fail_with_errno("read", path);
            if (got == 0)
                break;
            total += static_cast<std::uint64_t>(got);
        }
        return timed(static_cast<double>(total >> 20), begin);
    };
    return variant;
}

void measure_scan(const Bench &bench) {
    for (const bool cached : {false, true}) {
        Comparison comparison;
        comparison.id = cached ? "scan/records" : "scan/recovery";
        comparison.title = fmt::format(
            "MiB/s of a segment of {} MiB with records of 1000 bytes, {}",
            bench.report.settings().file_bytes >> 20,
            cached ? "read one by one from the page cache" : "all with O_DIRECT");
        const std::uint64_t room = bench.report.settings().file_bytes;
        auto place = std::make_shared<Place>(bench.directory, "scan");
        const std::string path = place->path() + "/j";
        auto handle = std::make_shared<Handle>();
        if (bench.report.settings().wants(comparison.id) && !bench.report.settings().list) {
            fsys_journal *journal = open_journal(*handle, path, room);
            const std::string record(1000, 'r');
            for (std::uint64_t done = 0; done < room - room / 16; done += 1040)
                check(fsys_journal_append(journal, record.data(), record.size(), 0, nullptr),
                      "fsys_journal_append");
            check(fsys_journal_close(journal), "fsys_journal_close");
            std::string segment;
            for (const auto &entry : std::filesystem::directory_iterator(path)) {
                if (entry.path().extension() == ".fsj")
                    segment = entry.path().string();
            }
            const int flags = cached ? 0 : O_DIRECT;
            comparison.variants.push_back(
                file_reader("reading the file, 1 MiB at a time", segment, flags, 1U << 20));
            comparison.variants.push_back(
                file_reader("reading the file, 4 MiB at a time", segment, flags, 4U << 20));
            Variant ours{.name = cached ? "fsys_journal_reader_next" : "fsys_journal_check",
                         .make = {}};
            if (!cached) {
                ours.external = [path](std::chrono::milliseconds) {
                    fsys_journal_report report{};
                    report.struct_size = sizeof report;
                    const std::uint64_t begin = now_ns();
                    check(fsys_journal_check(path.c_str(), 0, &report), "fsys_journal_check");
                    return timed(static_cast<double>(report.scanned_bytes) / (1 << 20), begin);
                };
            } else {
                ours.external = [path, handle, place](std::chrono::milliseconds) {
                    fsys_journal_reader *reader = nullptr;
                    check(fsys_journal_reader_open_path(handle->get(), path.c_str(), 0, 0, nullptr,
                                                        &reader),
                          "fsys_journal_reader_open_path");
                    fsys_journal_record record{};
                    std::uint64_t total = 0;
                    const std::uint64_t begin = now_ns();
                    for (;;) {
                        check(fsys_journal_reader_next(reader, 0, &record),
                              "fsys_journal_reader_next");
                        if (record.kind != FSYS_JOURNAL_RECORD)
                            break;
                        total += 1040;
                    }
                    const Sample sample = timed(static_cast<double>(total >> 20), begin);
                    check(fsys_journal_reader_close(reader), "fsys_journal_reader_close");
                    return sample;
                };
            }
            comparison.variants.push_back(std::move(ours));
        }
        const Outcome *outcome = bench.report.run(comparison);
        if (!cached)
            bench.report.add({.number = 8,
                              .row = "recovery scan",
                              .bound = Bound::at_least,
                              .limit = 0.8,
                              .unit = "x reading the file",
                              .note = "O_DIRECT, 1 MiB at a time"},
                             outcome, [](const Outcome &o) {
                                 return rate_ratios(o.series.back(), o.series.front());
                             });
    }
}

void measure_open(const Bench &bench) {
    Comparison comparison;
    comparison.id = "open";
    comparison.title = "opening and closing a journal of so many segments of 64 KiB";
    const std::vector<unsigned> counts = bench.report.settings().quick
                                             ? std::vector<unsigned>{2, 128}
                                             : std::vector<unsigned>{2, 16, 128, 1024};
    constexpr std::uint64_t segment = 64U << 10;
    if (bench.report.settings().wants(comparison.id) && !bench.report.settings().list) {
        for (const unsigned count : counts) {
            auto place = std::make_shared<Place>(bench.directory, fmt::format("open-{}", count));
            const std::string path = place->path() + "/j";
            auto handle = std::make_shared<Handle>();
            fsys_journal *journal = open_journal(*handle, path, segment);
            const std::string record(4000, 'o');
            for (std::uint64_t done = 0; done < count * segment; done += 4040)
                check(fsys_journal_append(journal, record.data(), record.size(), 0, nullptr),
                      "fsys_journal_append");
            check(fsys_journal_close(journal), "fsys_journal_close");
            Variant variant{.name = fmt::format("{} segments", count), .make = {}};
            variant.external = [=](std::chrono::milliseconds slice) {
                const std::uint64_t begin = now_ns();
                unsigned opened = 0;
                while (opened == 0 ||
                       now_ns() - begin < static_cast<std::uint64_t>(slice.count()) * 1'000'000) {
                    check(fsys_journal_close(open_journal(*handle, path, segment)),
                          "fsys_journal_close");
                    ++opened;
                }
                // `place` must live as long as the variant.
                return timed(place->path().empty() ? 0 : opened, begin);
            };
            comparison.variants.push_back(std::move(variant));
        }
    }
    const Outcome *outcome = bench.report.run(comparison);
    bench.report.add({.number = 9,
                      .row = "opening does not grow with the journal",
                      .bound = Bound::at_most,
                      .limit = 1.1,
                      .unit = "x 2 segments",
                      .note = fmt::format("{} segments over 2", counts.back())},
                     outcome, [](const Outcome &o) {
                         return cost_ratios(o.series.back(), o.series.front());
                     });
}

}  // namespace

void measure_recovery(const Bench &bench) {
    measure_scan(bench);
    measure_open(bench);
}

}  // namespace bench
