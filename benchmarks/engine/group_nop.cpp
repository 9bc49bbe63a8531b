// SPDX-License-Identifier: Apache-2.0 OR MIT
// What the library itself costs per op: batches of NOPs minus the same batches on a bare ring.
// Goal: row 6.
#include "groups.hpp"
#include "subject.hpp"

#include <fmt/format.h>

namespace bench {

namespace {

const Outcome *compare(Report &report, unsigned batch) {
    Comparison comparison;
    comparison.id = fmt::format("nop/b{}", batch);
    comparison.title = fmt::format("NOPs in batches of {}, 1 thread", batch);
    if (!report.settings().wants(comparison.id))
        return nullptr;
    comparison.variants.push_back({.name = "liburing", .make = [=](const Seat &seat) {
                                       return uring_nop_worker(batch, seat);
                                   }});
    auto tally = std::make_shared<LaneTally>();
    comparison.variants.push_back(
        {.name = "fsys caller driver",
         .make = [=](const Seat &seat) { return caller_nop_worker(batch, tally, seat); },
         .lanes = [=] { return tally->text(); },
         .subject = true});
    for (const bool queue : {false, true}) {
        auto engine = std::make_shared<Engine>(EngineOptions{});
        comparison.variants.push_back(
            {.name = queue ? "fsys owner thread, reap" : "fsys owner thread, wait_all",
             .make =
                 [=](const Seat &seat) {
                     return queue ? queue_nop_worker(engine, batch, seat)
                                  : nop_batch_worker(engine, batch, seat);
                 },
             .lanes = [=] { return engine->lanes(); },
             .subject = true});
    }
    return report.run(comparison);
}

}  // namespace

void measure_nop(Report &report) {
    const Outcome *outcome = compare(report, 32);
    const auto extra = [](const char *name) {
        return
            [=](const Outcome &o) { return cost_differences(o.named(name), o.named("liburing")); };
    };
    report.add({.number = 6,
                .row = "library cost per op, batch 32, caller driver",
                .bound = Bound::at_most,
                .limit = 20,
                .unit = "ns",
                .note = "NOP minus bare liburing NOP; poll + reap"},
               outcome, extra("fsys caller driver"));
    report.add({.number = 6,
                .row = "library cost per op, batch 32, owner thread",
                .bound = Bound::at_most,
                .limit = 100,
                .unit = "ns",
                .note = "NOP minus bare liburing NOP; wait_all, unhinted"},
               outcome, extra("fsys owner thread, wait_all"));
    for (const unsigned batch : {1U, 8U, 128U})
        compare(report, batch);
}

}  // namespace bench
