// SPDX-License-Identifier: Apache-2.0 OR MIT
// The same work through other libraries: Asio's io_uring files, libuv, the Rust crate fsys, fio
// with plain system calls. A peer that is not there is named with the reason and has no row. No
// goals: the design's goals are stated against pread, liburing and fio.
#include "groups.hpp"
#include "subject.hpp"

#include "optional.hpp"

#include <fsys/files.h>

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

namespace bench {

namespace {

/// Ops in flight of the rows that keep many; libuv gets as many threads.
constexpr unsigned many = 32;

/// What there is on this machine; each absence is noted once.
struct Present {
    bool asio = false;
    bool libuv = false;
    bool fio = false;
    std::string crate;  ///< program, or empty
};

Present look(Report &report) {
    const Settings &settings = report.settings();
    Present present;
    const auto there = [&](const char *name, const std::string &missing) {
        if (!missing.empty())
            report.note(fmt::format("peer {}: not run: {}", name, missing));
        return missing.empty();
    };
    present.asio = there("Asio", asio_missing());
    present.libuv = there("libuv", libuv_missing());
    present.fio = there("fio psync",
                        settings.with_fio && !fio_version().empty() ? "" : "no fio, or --no-fio");
    if (there("crate fsys 1.1.0", settings.crate.empty() ? "--crate was not given" : ""))
        present.crate = settings.crate;
    if (present.libuv) {
        libuv_pool(many);
        report.note(fmt::format("{}, {} threads (UV_THREADPOOL_SIZE; the default is 4)",
                                libuv_how(), many));
    }
    return present;
}

struct Cell {
    Direction direction;
    bool direct;
    unsigned depth;
    Safety safety;
};

std::string id_of(const Cell &cell) {
    return fmt::format("peers/{}-{}{}/d{}", cell.direct ? "direct" : "cached",
                       cell.safety == Safety::durable ? "durable-" : "",
                       cell.direction == Direction::read ? "read" : "write", cell.depth);
}

Variant crate_variant(const Present &present, const Target &target, const std::string &name,
                      const std::string &op, unsigned depth) {
    const CrateJob job{.program = present.crate,
                       .op = op,
                       .path = target.path,
                       .span = target.bytes,
                       .depth = depth};
    return {.name = name, .make = {}, .external = [=](std::chrono::milliseconds slice) {
                return run_crate(job, slice);
            }};
}

Variant fio_variant(const Target &target, unsigned threads, Safety safety) {
    FioJob job{.target = target, .threads = threads};
    job.psync = true;
    job.fdatasync = safety == Safety::durable;
    return {.name = threads == 1 ? "fio psync" : fmt::format("fio psync, {} threads", threads),
            .threads = threads,
            .make = {},
            .external = [=](std::chrono::milliseconds slice) { return run_fio(job, slice); }};
}

Variant subject_variant(const std::string &name, const Target &target, Single kind,
                        std::uint32_t flags) {
    auto engine = std::make_shared<Engine>(EngineOptions{});
    auto file = std::make_shared<SubjectFile>(engine, target);
    return {.name = name,
            .make = [=](const Seat &seat) { return single_worker(file, kind, flags, seat); },
            .lanes = [=] { return engine->lanes(); },
            .subject = true};
}

/// Other libraries' rows, the same in every cell.
void add_libraries(Comparison &comparison, const Present &present, const Target &target,
                   const Cell &cell) {
    const unsigned depth = cell.depth;
    const Safety safety = cell.safety;
    // Asio cannot open with O_DIRECT and O_SYNC, and has no fdatasync.
    if (present.asio && !(cell.direct && safety == Safety::durable))
        comparison.variants.push_back(
            {.name = safety == Safety::durable ? "Asio, O_SYNC" : "Asio",
             .make = [=](const Seat &seat) { return asio_worker(target, depth, safety, seat); }});
    if (present.libuv)
        comparison.variants.push_back(
            {.name = safety == Safety::durable ? "libuv write, fdatasync" : "libuv",
             .make = [=](const Seat &seat) { return libuv_worker(target, depth, safety, seat); }});
    // Its positioned calls are buffered only and take a path: each opens the file and closes it.
    if (!present.crate.empty() && !cell.direct) {
        const bool reads = cell.direction == Direction::read;
        if (safety == Safety::durable) {
            comparison.variants.push_back(
                crate_variant(present, target, "crate fsys write_at, sync", "sync-at", depth));
            return;
        }
        const std::string name = reads ? "read" : "write";
        if (depth == 1)
            comparison.variants.push_back(
                crate_variant(present, target, "crate fsys " + name + "_at", name + "-at", depth));
        comparison.variants.push_back(crate_variant(
            present, target, "crate fsys " + name + "_at_async", name + "-at-async", depth));
    }
}

void compare_one(Report &report, const Present &present, const TestFile &file, const Cell &cell) {
    if (!report.settings().wants(id_of(cell)))
        return;
    const Target target = open_target(file, cell.direction, cell.direct);
    const bool reads = cell.direction == Direction::read;
    const bool durable = cell.safety == Safety::durable;
    Comparison comparison;
    comparison.id = id_of(cell);
    comparison.title = fmt::format("{} 4 KiB random {}, {}, one at a time, through other libraries",
                                   durable ? "durable" : "plain", reads ? "reads" : "overwrites",
                                   cell.direct ? "O_DIRECT" : "page cache");
    comparison.latency = true;
    comparison.slice_factor = durable && !report.settings().quick ? 4 : 1;
    const std::string plain = reads ? "pread" : "pwrite";
    comparison.variants.push_back(
        {.name = durable ? "pwrite, fdatasync" : plain, .make = [=](const Seat &seat) {
             return syscall_worker(target, durable ? Call::fdatasync : Call::plain, seat);
         }});
    const std::uint32_t flags = durable ? FSYS_DURABLE : 0U;
    comparison.variants.push_back(subject_variant(durable ? "fsys_write DURABLE" : "fsys blocking",
                                                  target, Single::blocking, flags));
    comparison.variants.push_back(
        subject_variant("fsys submit+wait WAIT_SOON", target, Single::hinted, flags));
    add_libraries(comparison, present, target, cell);
    if (present.fio)
        comparison.variants.push_back(fio_variant(target, 1, cell.safety));
    report.run(comparison);
}

void compare_many(Report &report, const Present &present, const TestFile &file, const Cell &cell) {
    if (!report.settings().wants(id_of(cell)))
        return;
    const Target target = open_target(file, cell.direction, cell.direct);
    const unsigned depth = cell.depth;
    Comparison comparison;
    comparison.id = id_of(cell);
    comparison.title = fmt::format("4 KiB random {}, {}, {} in flight, through other libraries",
                                   cell.direction == Direction::read ? "reads" : "overwrites",
                                   cell.direct ? "O_DIRECT" : "page cache", depth);
    comparison.latency = true;
    comparison.variants.push_back({.name = "liburing, groups of 4", .make = [=](const Seat &seat) {
                                       return uring_worker(target, depth, {.wait = 1, .group = 4},
                                                           seat);
                                   }});
    auto engine = std::make_shared<Engine>(EngineOptions{});
    auto subject = std::make_shared<SubjectFile>(engine, target);
    auto pool = make_stream_pool(subject, 1, depth);
    comparison.variants.push_back(
        {.name = "fsys queue",
         .make = [=](const Seat &seat) { return stream_worker(pool, seat); },
         .lanes = [=] { return engine->lanes(); },
         .subject = true});
    add_libraries(comparison, present, target, cell);
    if (present.fio) {
        const FioJob tuned{.target = target, .depth = depth, .tuned = true};
        comparison.variants.push_back(
            {.name = "fio io_uring, tuned",
             .make = {},
             .external = [=](std::chrono::milliseconds slice) { return run_fio(tuned, slice); }});
        comparison.variants.push_back(fio_variant(target, depth, Safety::none));
        // fio needs some hundred milliseconds to settle; all sides get the same length.
        comparison.slice_factor = report.settings().quick ? 1 : 3;
    }
    report.run(comparison);
}

/// A directory for the files that are replaced, removed with what is in it.
class Scratch {
public:
    explicit Scratch(const std::string &parent) : path_(parent + "/bench_engine.replace") {
        std::filesystem::create_directory(path_);
    }
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;
    [[nodiscard]] const std::string &path() const { return path_; }

private:
    std::string path_;
};

/// Names that are replaced in turn, and files of one batch.
constexpr unsigned names = 16;
constexpr unsigned batch_files = 64;

struct Replace {
    std::string id;
    std::size_t bytes;
    bool batch;
};

Variant replace_variant(
    const std::string &name,
    const std::function<std::unique_ptr<Worker>(std::shared_ptr<Engine>, const Seat &)> &make) {
    auto engine = std::make_shared<Engine>(EngineOptions{});
    // Not a subject: paths are copied, so the goal of no allocations does not hold for whole files.
    return {.name = name, .make = [=](const Seat &seat) { return make(engine, seat); }};
}

void compare_replace(Report &report, const Present &present, const Replace &plan) {
    if (!report.settings().wants(plan.id))
        return;
    const std::size_t bytes = plan.bytes;
    const unsigned files = plan.batch ? batch_files : names;
    Comparison comparison;
    comparison.id = plan.id;
    comparison.title =
        plan.batch ? fmt::format("{} files of {} KiB replaced safely, one thread, per file", files,
                                 bytes >> 10)
                   : fmt::format("a {} KiB file replaced safely, in turn over {} names, one thread",
                                 bytes >> 10, files);
    comparison.latency = !plan.batch;
    comparison.slice_factor = report.settings().quick ? 2 : 4;
    const Scratch scratch(report.settings().directory);
    const std::string directory = scratch.path();
    comparison.variants.push_back(
        {.name = "by hand (fsync, rename, fsync dir)", .make = [=](const Seat &seat) {
             return replace_by_hand_worker(directory, bytes, files, seat);
         }});
    comparison.variants.push_back(replace_variant(
        "fsys_replace KEEP_NOTHING", [=](std::shared_ptr<Engine> engine, const Seat &seat) {
            return replace_worker(std::move(engine), directory, bytes, files, FSYS_KEEP_NOTHING,
                                  seat);
        }));
    if (plan.batch)
        comparison.variants.push_back(
            replace_variant("fsys_batch", [=](std::shared_ptr<Engine> engine, const Seat &seat) {
                return replace_batch_worker(std::move(engine), directory, bytes, files, seat);
            }));
    else
        comparison.variants.push_back(
            replace_variant("fsys_replace (keeps mode, owner, ACL)",
                            [=](std::shared_ptr<Engine> engine, const Seat &seat) {
                                return replace_worker(std::move(engine), directory, bytes, files,
                                                      FSYS_KEEP_DEFAULT, seat);
                            }));
    const auto crate = [&](const std::string &name, const std::string &op) {
        const CrateJob job{.program = present.crate,
                           .op = op,
                           .path = directory,
                           .span = bytes,
                           .bytes = bytes,
                           .depth = plan.batch ? files : 1};
        comparison.variants.push_back(
            {.name = name, .make = {}, .external = [=](std::chrono::milliseconds slice) {
                 return run_crate(job, slice);
             }});
    };
    // The crate does not report errors of syncing the directory; it makes the sync.
    if (!present.crate.empty() && plan.batch) {
        crate("crate fsys write_batch", "replace-batch");
        crate("crate fsys write_async, all at once", "replace-async");
    } else if (!present.crate.empty()) {
        crate("crate fsys write", "replace");
        crate("crate fsys write_async", "replace-async");
    }
    report.run(comparison);
}

}  // namespace

void measure_peers(Report &report, const Files &files) {
    constexpr Safety none = Safety::none;
    const Settings &settings = report.settings();
    const std::vector<Cell> singles{{Direction::read, false, 1, none},
                                    {Direction::write, false, 1, none},
                                    {Direction::read, true, 1, none},
                                    {Direction::write, false, 1, Safety::durable},
                                    {Direction::write, true, 1, Safety::durable}};
    std::vector<Cell> streams{{Direction::read, true, many, none},
                              {Direction::read, false, many, none}};
    if (!settings.quick)
        streams.push_back({Direction::write, true, many, none});
    const std::vector<Replace> replaces{{"peers/replace/4k", 4096, false},
                                        {"peers/replace/1024k", 1U << 20, false},
                                        {"peers/replace/4k-batch", 4096, true}};

    // Looking at the peers makes notes, which would be odd in a report without their rows.
    const auto wanted = [&](const Cell &cell) { return settings.wants(id_of(cell)); };
    if (std::none_of(singles.begin(), singles.end(), wanted) &&
        std::none_of(streams.begin(), streams.end(), wanted) &&
        std::none_of(replaces.begin(), replaces.end(),
                     [&](const Replace &one) { return settings.wants(one.id); }))
        return;
    const Present present = look(report);
    for (const Cell &cell : singles)
        compare_one(report, present, cell.direct ? files.direct : files.cached, cell);
    for (const Cell &cell : streams)
        compare_many(report, present, cell.direct ? files.direct : files.cached, cell);
    for (const Replace &plan : replaces)
        compare_replace(report, present, plan);
}

}  // namespace bench
