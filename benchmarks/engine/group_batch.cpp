// SPDX-License-Identifier: Apache-2.0 OR MIT
// 32 reads submitted as one array and waited for together, from 1 and from 5 threads that share a
// handle. Goal: row 4.
#include "groups.hpp"
#include "subject.hpp"

#include <fmt/format.h>

namespace bench {

namespace {

constexpr unsigned batch = 32;

const Outcome *compare(Report &report, const TestFile &file, bool direct, unsigned threads) {
    const std::string id = fmt::format("batch/{}-read/t{}", direct ? "direct" : "cached", threads);
    if (!report.settings().wants(id))
        return nullptr;
    const Target target = open_target(file, Direction::read, direct);
    Comparison comparison;
    comparison.id = id;
    comparison.title = fmt::format("4 KiB random reads, {}, batches of {}, {} thread(s)",
                                   direct ? "O_DIRECT" : "page cache", batch, threads);
    comparison.variants.push_back(
        {.name = "pread", .threads = threads, .make = [=](const Seat &seat) {
             return syscall_worker(target, Call::plain, seat);
         }});
    comparison.variants.push_back(
        {.name = "liburing", .threads = threads, .make = [=](const Seat &seat) {
             return uring_worker(target, batch, {.wait = batch}, seat);
         }});
    for (const bool hinted : {true, false}) {
        auto engine = std::make_shared<Engine>(EngineOptions{});
        auto subject = std::make_shared<SubjectFile>(engine, target);
        const std::uint32_t flags = hinted ? FSYS_WAIT_SOON : 0U;
        comparison.variants.push_back(
            {.name = hinted ? "fsys WAIT_SOON" : "fsys unhinted",
             .threads = threads,
             .make = [=](const Seat &seat) { return batch_worker(subject, batch, flags, seat); },
             .lanes = [=] { return engine->lanes(); },
             .subject = true});
    }
    return report.run(comparison);
}

}  // namespace

void measure_batch(Report &report, const Files &files) {
    for (const unsigned threads : {1U, 5U}) {
        const Outcome *outcome = compare(report, files.cached, false, threads);
        std::string how = "time per op, WAIT_SOON";
        if (outcome != nullptr)
            how += fmt::format(
                "; bare liburing, a ring per thread: {:.3f}",
                spread_of(cost_ratios(outcome->named("liburing"), outcome->named("pread"))).median);
        report.add({.number = 4,
                    .row = fmt::format("cached 4 KiB reads, batch 32, {} thread(s)", threads),
                    .bound = Bound::at_most,
                    .limit = 0.25,
                    .unit = "x pread",
                    .note = how},
                   outcome, [](const Outcome &o) {
                       return cost_ratios(o.named("fsys WAIT_SOON"), o.named("pread"));
                   });
    }
    for (const unsigned threads : {1U, 5U})
        compare(report, files.direct, true, threads);
}

}  // namespace bench
