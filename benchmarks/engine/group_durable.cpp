// SPDX-License-Identifier: Apache-2.0 OR MIT
// A lone durable 4 KiB overwrite. Every row gives the same promise: the bytes are on stable storage
// when the call or the completion says so.
#include "groups.hpp"
#include "subject.hpp"

namespace bench {

namespace {

Variant subject_variant(const std::string &name, const Target &target, Single kind) {
    auto engine = std::make_shared<Engine>(EngineOptions{});
    auto file = std::make_shared<SubjectFile>(engine, target);
    return {.name = name,
            .make = [=](const Seat &seat) { return single_worker(file, kind, FSYS_DURABLE, seat); },
            .lanes = [=] { return engine->lanes(); },
            .subject = true};
}

const Outcome *compare(Report &report, const TestFile &file, bool direct) {
    Comparison comparison;
    comparison.id = std::string("durable/") + (direct ? "direct" : "cached");
    comparison.title = std::string("lone durable 4 KiB overwrite, ") +
                       (direct ? "O_DIRECT" : "page cache") + ", 1 thread";
    if (!report.settings().wants(comparison.id))
        return nullptr;
    comparison.latency = true;
    comparison.slice_factor = report.settings().quick ? 2 : 4;
    const Target target = open_target(file, Direction::write, direct);
    comparison.variants.push_back({.name = "pwrite + fdatasync", .make = [=](const Seat &seat) {
                                       return syscall_worker(target, Call::fdatasync, seat);
                                   }});
    comparison.variants.push_back({.name = "pwritev2 RWF_DSYNC", .make = [=](const Seat &seat) {
                                       return syscall_worker(target, Call::dsync, seat);
                                   }});
    comparison.variants.push_back(subject_variant("fsys_write DURABLE", target, Single::blocking));
    comparison.variants.push_back(subject_variant("submit+wait DURABLE", target, Single::unhinted));
    comparison.variants.push_back(
        subject_variant("submit+wait DURABLE|WAIT_SOON", target, Single::hinted));
    return report.run(comparison);
}

}  // namespace

void measure_durable(Report &report, const Files &files) {
    for (const bool direct : {true, false}) {
        const Outcome *outcome = compare(report, direct ? files.direct : files.cached, direct);
        report.add(
            {.number = 11,
             .row = std::string("lone durable 4 KiB write, ") + (direct ? "O_DIRECT" : "cached") +
                    " (the journal's row, at engine level)",
             .bound = Bound::at_most,
             .limit = 1.1,
             .unit = "x write+fdatasync",
             .note = "fsys_write DURABLE, mean latency"},
            outcome, [](const Outcome &o) {
                return cost_ratios(o.named("fsys_write DURABLE"), o.named("pwrite + fdatasync"));
            });
    }
}

}  // namespace bench
