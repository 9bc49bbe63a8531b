// SPDX-License-Identifier: Apache-2.0 OR MIT
// Does appending, opening or trimming cost more in a longer journal? Journals of all lengths exist
// side by side, and every round visits each of them. Segments are 1 MiB instead of the default of
// 64 MiB, so that the longest has thousands: what could grow is the work per segment. Opening is
// measured with the default as well, which is what users have.
#include "groups.hpp"
#include "logs.hpp"
#include "process.hpp"

#include <fsys/journal.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

namespace bench {

namespace {

constexpr std::uint64_t mib = 1U << 20;
constexpr std::size_t record_bytes = 1000;
/// Of one round: small against the log buffer, so that nothing is written meanwhile, and against
/// the shortest journal.
constexpr unsigned burst = 128;

class LongJournal {
public:
    LongJournal(const std::string &directory, std::uint64_t length, std::uint64_t segment)
        : place_(directory, fmt::format("length-{}-{}", length / mib, segment / mib)),
          path_(place_.path() + "/j"),
          length_(length),
          segment_(segment) {
        check(fsys_open(nullptr, &handle_), "fsys_open");
        open();
        while (written_ < length)
            append(burst);
        sync();
    }
    ~LongJournal() { fsys_close(handle_); }
    LongJournal(const LongJournal &) = delete;
    LongJournal &operator=(const LongJournal &) = delete;

    [[nodiscard]] std::uint64_t length() const { return length_; }

    void open() {
        fsys_journal_options options{};
        options.struct_size = sizeof options;
        options.segment_bytes = segment_;
        options.mode = FSYS_JOURNAL_MODE_DIRECT;  // the probe's writes are not what is measured
        check(fsys_journal_open(handle_, path_.c_str(), &options, nullptr, &journal_),
              "fsys_journal_open");
    }
    void close() { check(fsys_journal_close(journal_), "fsys_journal_close"); }
    void append(unsigned records) {
        for (unsigned i = 0; i < records; ++i)
            check(fsys_journal_append(journal_, record_.data(), record_.size(), 0, &last_),
                  "fsys_journal_append");
        written_ += records * record_.size();
    }
    void sync() { check(fsys_journal_sync(journal_, last_, FSYS_FOREVER), "fsys_journal_sync"); }
    /// One more sealed segment, so that one can be trimmed.
    void seal() {
        append(1);
        check(fsys_journal_rotate(journal_), "fsys_journal_rotate");
    }
    [[nodiscard]] std::uint64_t end_of_oldest() const {
        fsys_journal_segment oldest{};
        check(fsys_journal_segments(journal_, &oldest, 1), "fsys_journal_segments");
        return oldest.end_lsn;
    }
    void trim(std::uint64_t lsn) { check(fsys_journal_trim(journal_, lsn), "fsys_journal_trim"); }

private:
    Place place_;
    std::string path_;
    std::uint64_t length_;
    std::uint64_t segment_;
    std::uint64_t written_ = 0;
    std::uint64_t last_ = 0;
    std::string record_ = std::string(record_bytes, 'g');
    fsys *handle_ = nullptr;
    fsys_journal *journal_ = nullptr;
};

Sample sample_of(std::uint64_t operations, std::uint64_t ns) {
    Sample sample;
    sample.ops = operations;
    sample.ops_per_second = static_cast<double>(operations) * 1e9 / static_cast<double>(ns);
    return sample;
}

/// One operation on a journal: does it, and returns the ns that it took.
using Step = std::function<std::uint64_t(LongJournal &)>;

std::uint64_t append_step(LongJournal &journal) {
    const std::uint64_t begin = now_ns();
    journal.append(burst);
    const std::uint64_t spent = now_ns() - begin;
    journal.sync();
    return spent;
}

std::uint64_t open_step(LongJournal &journal) {
    journal.close();
    const std::uint64_t begin = now_ns();
    journal.open();
    return now_ns() - begin;
}

std::uint64_t trim_step(LongJournal &journal) {
    journal.seal();
    const std::uint64_t end = journal.end_of_oldest();
    const std::uint64_t begin = now_ns();
    journal.trim(end);
    return now_ns() - begin;
}

struct Kind {
    const char *id;
    const char *title;
    const char *unit;
    std::uint64_t segment;     ///< bytes of a segment file
    double per_unit;           ///< ns
    std::uint64_t operations;  ///< of one step
    Step step;
};

const Outcome *measure(const Bench &bench, const Kind &kind,
                       const std::vector<std::shared_ptr<LongJournal>> &journals) {
    Comparison comparison;
    comparison.id = kind.id;
    comparison.title = kind.title;
    for (const auto &journal : journals) {
        Variant variant{.name = fmt::format("{} MiB", journal->length() / mib), .make = {}};
        variant.external = [=](std::chrono::milliseconds slice) {
            const auto budget = static_cast<std::uint64_t>(slice.count()) * 1'000'000;
            const std::uint64_t begin = now_ns();
            std::uint64_t spent = 0;
            std::uint64_t operations = 0;
            while (operations == 0 || now_ns() - begin < budget) {
                spent += kind.step(*journal);
                operations += kind.operations;
            }
            return sample_of(operations, spent);
        };
        comparison.variants.push_back(std::move(variant));
    }
    const Outcome *outcome = bench.report.run(comparison);
    if (outcome == nullptr)
        return nullptr;
    Curve curve{.id = kind.id,
                .title = kind.title,
                .x = "length of the journal, MiB",
                .unit = kind.unit,
                .peer = ""};
    for (std::size_t i = 0; i < journals.size(); ++i) {
        std::vector<double> costs;
        for (const Sample &sample : outcome->series[i].samples)
            costs.push_back(sample.ns_per_op() / kind.per_unit);
        curve.points.push_back(
            {.x = static_cast<double>(journals[i]->length() / mib), .ours = spread_of(costs)});
    }
    bench.report.add(std::move(curve));
    return outcome;
}

}  // namespace

void measure_length(const Bench &bench) {
    constexpr std::uint64_t usual = 64 * mib;
    const std::array<Kind, 4> kinds{
        Kind{"growth/journal-append", "Appending 1000 bytes to a journal, into the log buffer",
             "ns/record", mib, 1, burst, append_step},
        Kind{"growth/journal-recovery", "Opening a journal of segments of 1 MiB", "ms", mib, 1e6, 1,
             open_step},
        Kind{"growth/journal-trim", "Trimming the oldest segment of 1 MiB", "us", mib, 1e3, 1,
             trim_step},
        Kind{"growth/journal-open", "Opening a journal of segments of 64 MiB, the default", "ms",
             usual, 1e6, 1, open_step}};
    const Settings &settings = bench.report.settings();
    const std::vector<std::uint64_t> lengths =
        settings.quick ? std::vector<std::uint64_t>{1, 16, 128}
                       : std::vector<std::uint64_t>{1, 4, 16, 64, 256, 1024, 4096};
    for (const std::uint64_t segment : {mib, usual}) {
        const auto wanted = [&](const Kind &kind) {
            return kind.segment == segment && settings.wants(kind.id);
        };
        if (std::none_of(kinds.begin(), kinds.end(), wanted))
            continue;
        std::vector<std::shared_ptr<LongJournal>> journals;
        for (const std::uint64_t length : lengths) {
            if (settings.list)
                break;
            // Room for the journal, its spares, and what the other lengths still add.
            const std::uint64_t free = std::filesystem::space(bench.directory).available;
            if (free < (length + 1024) * mib) {
                bench.report.note(
                    fmt::format("growth/journal: {} MiB: not run: only {} MiB are free", length,
                                free / mib));
                continue;
            }
            fmt::print(stderr, "  a journal of {} MiB, of segments of {} MiB ...\n", length,
                       segment / mib);
            journals.push_back(
                std::make_shared<LongJournal>(bench.directory, length * mib, segment));
        }
        for (const Kind &kind : kinds) {
            if (kind.segment != segment)
                continue;
            const Outcome *outcome = measure(bench, kind, journals);
            if (segment == usual)
                bench.report.add({.number = 9,
                                  .row = "opening does not grow with the journal",
                                  .bound = Bound::at_most,
                                  .limit = 1.1,
                                  .unit = "x 1 MiB",
                                  .note = fmt::format("{} MiB over 1 MiB, segments of 64 MiB",
                                                      lengths.back())},
                                 outcome, [](const Outcome &o) {
                                     return cost_ratios(o.series.back(), o.series.front());
                                 });
        }
    }
}

}  // namespace bench
