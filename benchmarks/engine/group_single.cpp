// SPDX-License-Identifier: Apache-2.0 OR MIT
// One op at a time per thread: blocking calls and submit + wait against the plain syscalls, cached
// and O_DIRECT, and against a design with an owner thread only. Goals: rows 1 to 3.
#include "groups.hpp"
#include "subject.hpp"

#include <fmt/format.h>

namespace bench {

namespace {

Variant syscall_variant(const std::string &name, const Target &target, Call call,
                        unsigned threads) {
    return {.name = name, .threads = threads, .make = [=](const Seat &seat) {
                return syscall_worker(target, call, seat);
            }};
}

Variant subject_variant(const std::string &name, const Target &target, Single kind,
                        unsigned threads) {
    auto engine = std::make_shared<Engine>(EngineOptions{});
    auto file = std::make_shared<SubjectFile>(engine, target);
    return {.name = name,
            .threads = threads,
            .make = [=](const Seat &seat) { return single_worker(file, kind, 0, seat); },
            .lanes = [=] { return engine->lanes(); },
            .subject = true};
}

const Outcome *compare(Report &report, const TestFile &file, Direction direction, bool direct,
                       unsigned threads) {
    const bool reads = direction == Direction::read;
    const std::string id = fmt::format("single/{}-{}/t{}", direct ? "direct" : "cached",
                                       reads ? "read" : "write", threads);
    if (!report.settings().wants(id))
        return nullptr;
    const Target target = open_target(file, direction, direct);
    Comparison comparison;
    comparison.id = id;
    comparison.title =
        fmt::format("4 KiB random {}, {}, {} thread(s), one op at a time each",
                    reads ? "reads" : "overwrites", direct ? "O_DIRECT" : "page cache", threads);
    comparison.latency = threads == 1;
    const std::string plain = reads ? "pread" : "pwrite";
    comparison.variants.push_back(syscall_variant(plain, target, Call::plain, threads));
    comparison.variants.push_back(syscall_variant(plain + "v2", target, Call::vectored, threads));
    comparison.variants.push_back(
        {.name = "liburing depth 1", .threads = threads, .make = [=](const Seat &seat) {
             return uring_worker(target, 1, {}, seat);
         }});
    // Buffered writes on a ring go to kernel workers on some file systems: a peer like any other.
    const auto owner = make_owner_ring();
    comparison.variants.push_back(
        {.name = "owner thread only", .threads = threads, .make = [=](const Seat &seat) {
             return owner_worker(owner, target, seat);
         }});
    comparison.variants.push_back(
        subject_variant("fsys blocking", target, Single::blocking, threads));
    comparison.variants.push_back(
        subject_variant("fsys submit+wait", target, Single::unhinted, threads));
    comparison.variants.push_back(
        subject_variant("fsys submit+wait WAIT_SOON", target, Single::hinted, threads));
    return report.run(comparison);
}

std::function<std::vector<double>(const Outcome &)> cost(const char *ours, const char *theirs) {
    return [=](const Outcome &o) { return cost_ratios(o.named(ours), o.named(theirs)); };
}

std::function<std::vector<double>(const Outcome &)> rate(const char *ours, const char *theirs) {
    return [=](const Outcome &o) { return rate_ratios(o.named(ours), o.named(theirs)); };
}

}  // namespace

void measure_single(Report &report, const Files &files) {
    const Outcome *read_1 = compare(report, files.cached, Direction::read, false, 1);
    const Outcome *read_16 = compare(report, files.cached, Direction::read, false, 16);
    const Outcome *write_1 = compare(report, files.cached, Direction::write, false, 1);
    report.add({.number = 1,
                .row = "blocking fsys_read, 4 KiB cached, 1 thread",
                .bound = Bound::at_most,
                .limit = 1.05,
                .unit = "x pread",
                .note = "time per op"},
               read_1, cost("fsys blocking", "pread"));
    report.add({.number = 1,
                .row = "blocking fsys_write, 4 KiB cached, 1 thread",
                .bound = Bound::at_most,
                .limit = 1.05,
                .unit = "x pwrite",
                .note = "time per op"},
               write_1, cost("fsys blocking", "pwrite"));
    report.add({.number = 2,
                .row = "submit + wait, same, unhinted",
                .bound = Bound::at_most,
                .limit = 1.05,
                .unit = "x pread",
                .note = "mean time per op"},
               read_1, cost("fsys submit+wait", "pread"));
    report.add({.number = 2,
                .row = "the same, hinted (FSYS_WAIT_SOON; not a row of its own)",
                .bound = Bound::at_most,
                .limit = 1.05,
                .unit = "x pread",
                .note = "mean time per op"},
               read_1, cost("fsys submit+wait WAIT_SOON", "pread"));
    report.add({.number = 3,
                .row = "the same through 16 threads",
                .bound = Bound::at_least,
                .limit = 0.95,
                .unit = "x pread",
                .note = "throughput, unhinted"},
               read_16, rate("fsys submit+wait", "pread"));
    report.add({.number = 3,
                .row = "the same through 16 threads",
                .bound = Bound::at_least,
                .limit = 7,
                .unit = "x owner only",
                .note = "throughput, unhinted, against peer_owner.cpp"},
               read_16, rate("fsys submit+wait", "owner thread only"));

    const std::vector<unsigned> more =
        report.settings().quick ? std::vector<unsigned>{1} : std::vector<unsigned>{1, 4, 16};
    for (const unsigned threads : more) {
        if (threads == 4)
            compare(report, files.cached, Direction::read, false, threads);
        if (threads != 1)
            compare(report, files.cached, Direction::write, false, threads);
        compare(report, files.direct, Direction::read, true, threads);
        if (!report.settings().quick)
            compare(report, files.direct, Direction::write, true, threads);
    }
}

}  // namespace bench
