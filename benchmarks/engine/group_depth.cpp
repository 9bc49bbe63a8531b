// SPDX-License-Identifier: Apache-2.0 OR MIT
// A fixed number of ops in flight per thread: libfsys (one shared handle; a caller-driven handle
// per thread) against bare liburing and fio's io_uring engine, both as it comes and tuned.
// Goal: row 5.
#include "groups.hpp"
#include "subject.hpp"

#include <fmt/format.h>

namespace bench {

namespace {

struct Cell {
    Direction direction;
    bool direct;
    unsigned depth;
    unsigned threads;
};

constexpr Cell goal_cell{Direction::read, true, 32, 1};

std::string id_of(const Cell &cell) {
    return fmt::format("depth/{}-{}/d{}/t{}", cell.direct ? "direct" : "cached",
                       cell.direction == Direction::read ? "read" : "write", cell.depth,
                       cell.threads);
}

const Outcome *compare(Report &report, const TestFile &file, const Cell &cell, bool with_fio) {
    if (!report.settings().wants(id_of(cell)))
        return nullptr;
    const Target target = open_target(file, cell.direction, cell.direct);
    const unsigned depth = cell.depth;
    const unsigned threads = cell.threads;
    Comparison comparison;
    comparison.id = id_of(cell);
    comparison.title = fmt::format("4 KiB random {}, {}, {} in flight per thread, {} thread(s)",
                                   cell.direction == Direction::read ? "reads" : "overwrites",
                                   cell.direct ? "O_DIRECT" : "page cache", depth, threads);
    comparison.latency = threads == 1 && (depth == 1 || depth == 32);
    comparison.variants.push_back(
        {.name = "liburing", .threads = threads, .make = [=](const Seat &seat) {
             return uring_worker(target, depth, {}, seat);
         }});
    // Where the device completes many at once, handing over small groups keeps it busy meanwhile.
    if (depth > 1)
        comparison.variants.push_back(
            {.name = "liburing, groups of 4", .threads = threads, .make = [=](const Seat &seat) {
                 return uring_worker(target, depth, {.wait = 1, .group = 4}, seat);
             }});
    if (depth == 1)
        comparison.variants.push_back(
            {.name = cell.direction == Direction::read ? "pread" : "pwrite",
             .threads = threads,
             .make = [=](const Seat &seat) { return syscall_worker(target, Call::plain, seat); }});

    // Pages of every buffer in flight, and room for the ends of other comparisons' buffers.
    const std::uint64_t arena =
        std::max<std::uint64_t>(8U << 20, 2ULL * threads * depth * block_size);
    {
        auto engine = std::make_shared<Engine>(EngineOptions{.arena_bytes = arena});
        auto subject = std::make_shared<SubjectFile>(engine, target);
        auto pool = make_stream_pool(subject, threads, depth);
        comparison.variants.push_back(
            {.name = "fsys queue",
             .threads = threads,
             .make = [=](const Seat &seat) { return stream_worker(pool, seat); },
             .lanes = [=] { return engine->lanes(); },
             .subject = true});
    }
    {
        auto engine = std::make_shared<Engine>(EngineOptions{.arena_bytes = arena});
        auto subject = std::make_shared<SubjectFile>(engine, target);
        comparison.variants.push_back({.name = "fsys wait_all WAIT_SOON",
                                       .threads = threads,
                                       .make =
                                           [=](const Seat &seat) {
                                               return batch_worker(subject, depth, FSYS_WAIT_SOON,
                                                                   seat);
                                           },
                                       .lanes = [=] { return engine->lanes(); },
                                       .subject = true});
    }
    {
        auto tally = std::make_shared<LaneTally>();
        comparison.variants.push_back(
            {.name = "fsys caller driver",
             .threads = threads,
             .make = [=](const Seat &seat) { return caller_worker(target, depth, tally, seat); },
             .lanes = [=] { return tally->text(); },
             .subject = true});
    }
    if (with_fio) {
        for (const bool tuned : {false, true}) {
            const FioJob job{target, depth, threads, tuned};
            comparison.variants.push_back(
                {.name = tuned ? "fio tuned" : "fio default",
                 .threads = threads,
                 .make = {},
                 .external = [=](std::chrono::milliseconds slice) { return run_fio(job, slice); }});
        }
        // fio needs some hundred milliseconds to settle; both sides get the same length.
        comparison.slice_factor = id_of(cell) == id_of(goal_cell) ? 3 : 1;
    }
    return report.run(comparison);
}

}  // namespace

void measure_depth(Report &report, const Files &files) {
    const Settings &settings = report.settings();
    const bool with_fio = settings.with_fio && !fio_version().empty();
    const Outcome *goal = compare(report, files.direct, goal_cell, with_fio);
    const auto against = [](const char *ours, const char *theirs) {
        return [=](const Outcome &o) { return rate_ratios(o.named(ours), o.named(theirs)); };
    };
    const Outcome *goal_fio = with_fio ? goal : nullptr;
    report.add({.number = 5,
                .row = "O_DIRECT 4 KiB random read, depth 32",
                .bound = Bound::at_least,
                .limit = 0.97,
                .unit = "x fio tuned",
                .note = "shared handle, owner thread, completion queue"},
               goal_fio, against("fsys queue", "fio tuned"));
    report.add({.number = 5,
                .row = "O_DIRECT 4 KiB random read, depth 32",
                .bound = Bound::at_least,
                .limit = 1.0,
                .unit = "x liburing",
                .note = "the same; liburing takes completions as they come"},
               goal, against("fsys queue", "liburing"));
    report.add({.number = 5,
                .row = "the same (not a row of its own)",
                .bound = Bound::at_least,
                .limit = 1.0,
                .unit = "x liburing, groups of 4",
                .note = "the best bare loop found"},
               goal, against("fsys queue", "liburing, groups of 4"));
    report.add({.number = 5,
                .row = "the same, caller-driven handle (not a row of its own)",
                .bound = Bound::at_least,
                .limit = 0.97,
                .unit = "x fio tuned",
                .note = "1 thread"},
               goal_fio, against("fsys caller driver", "fio tuned"));
    report.add({.number = 5,
                .row = "the same, caller-driven handle (not a row of its own)",
                .bound = Bound::at_least,
                .limit = 1.0,
                .unit = "x liburing",
                .note = "1 thread"},
               goal, against("fsys caller driver", "liburing"));

    const std::vector<unsigned> depths =
        settings.quick ? std::vector<unsigned>{1, 32} : std::vector<unsigned>{1, 8, 32, 128};
    const std::vector<unsigned> thread_counts =
        settings.quick ? std::vector<unsigned>{1, 4} : std::vector<unsigned>{1, 4, 16};
    for (const Direction direction : {Direction::read, Direction::write}) {
        if (settings.quick && direction == Direction::write)
            continue;
        for (const bool direct : {false, true}) {
            for (const unsigned threads : thread_counts) {
                for (const unsigned depth : depths) {
                    const Cell cell{direction, direct, depth, threads};
                    const bool corner = depth == 1 || depth == 32;
                    // The depths between say what they have to say with one thread; a start of fio
                    // takes as long as several slices.
                    if (id_of(cell) == id_of(goal_cell) || (threads != 1 && !corner))
                        continue;
                    compare(report, direct ? files.direct : files.cached, cell,
                            with_fio && !settings.quick && corner);
                }
            }
        }
    }
    if (with_fio) {
        const Target target = open_target(files.direct, Direction::read, true);
        for (const bool tuned : {false, true})
            report.note("fio " + std::string(tuned ? "tuned" : "default") +
                        " at depth 32: " + fio_command({target, 32, 1, tuned}, settings.slice * 3));
    }
}

}  // namespace bench
