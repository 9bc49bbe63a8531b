// SPDX-License-Identifier: Apache-2.0 OR MIT
// Does the cost of one op grow with the ops done, the files open, the ops in flight, or the
// threads? Each size is compared with a peer that has the same number of descriptors, ops or
// threads, so that what the processor's caches and the scheduler do to both is not blamed on the
// library. Goal: the last row (threads are none: the design states a goal for 16 of them).
#include "groups.hpp"
#include "process.hpp"
#include "subject.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <algorithm>
#include <filesystem>

namespace bench {

namespace {

constexpr double flat = 1.10;

/// How the cost against the peer changes from the smallest to each larger size; the worst of them.
struct Growth {
    Curve curve;
    bool goal = true;

    void add(double size, const Outcome &outcome, const char *ours, const char *peer) {
        curve.points.push_back(
            {.x = size,
             .ours = cost_of(outcome.named(ours)),
             .peer = cost_of(outcome.named(peer)),
             .ratio = spread_of(cost_ratios(outcome.named(ours), outcome.named(peer)))});
    }

    void report_to(Report &report) const {
        if (curve.points.empty())
            return;
        const Curve::Point &first = curve.points.front();
        Table table{curve.title,
                    {curve.x, "fsys ns/op", "x " + curve.peer, "quartiles", "growth of the ratio"},
                    {}};
        double worst = 0;
        double where = 0;
        for (const Curve::Point &point : curve.points) {
            const double growth = point.ratio.median / first.ratio.median;
            if (&point != &first && growth > worst) {
                worst = growth;
                where = point.x;
            }
            table.rows.push_back({fmt::format("{:.0f}", point.x),
                                  fmt::format("{:.0f}", point.ours.median),
                                  fmt::format("{:.3f}", point.ratio.median),
                                  fmt::format("{:.3f}..{:.3f}", point.ratio.q1, point.ratio.q3),
                                  fmt::format("{:.3f}", growth)});
        }
        report.add(std::move(table));
        report.add(curve);
        if (!goal || curve.points.size() < 2)
            return;
        Goal row{
            .number = 14,
            .row = "cost per op as work grows: " + curve.x,
            .bound = Bound::at_most,
            .limit = flat,
            .unit = "x",
            .note = fmt::format("worst growth against the peer's, at {:.0f} (first size {:.0f})",
                                where, first.x)};
        row.value = spread_of({worst});
        row.measured = true;
        row.id = curve.id;
        report.add(std::move(row));
    }

private:
    static Spread cost_of(const Series &series) {
        std::vector<double> costs;
        for (const Sample &sample : series.samples)
            costs.push_back(sample.ns_per_op());
        return spread_of(costs);
    }
};

void measure_in_flight(Report &report) {
    Growth growth{.curve = {.id = "growth/in-flight",
                            .title = "NOPs in flight, completion queue, max_ops 32768",
                            .x = "ops in flight",
                            .unit = "ns/op",
                            .peer = "a bare ring of that size"}};
    const std::uint32_t most = 32768;
    for (const unsigned count : {1U, 8U, 32U, 256U, 4096U, most}) {
        Comparison comparison;
        comparison.id = fmt::format("growth/in-flight/{}", count);
        comparison.title = fmt::format("{} NOPs in flight, completion queue, 1 thread", count);
        if (!report.settings().wants(comparison.id))
            continue;
        auto engine = std::make_shared<Engine>(EngineOptions{.max_ops = most});
        comparison.variants.push_back({.name = "liburing", .make = [=](const Seat &seat) {
                                           return uring_nop_worker(count, seat);
                                       }});
        comparison.variants.push_back(
            {.name = "fsys",
             .make = [=](const Seat &seat) { return queue_nop_worker(engine, count, seat); },
             .lanes = [=] { return engine->lanes(); },
             .subject = true});
        if (const Outcome *outcome = report.run(comparison))
            growth.add(count, *outcome, "fsys", "liburing");
    }
    growth.report_to(report);
}

/// Reads through many files in random order.
class ManyWorker final : public Worker {
public:
    ManyWorker(std::function<void(std::uint64_t index, char *buffer, std::uint64_t at)> read,
               std::uint64_t files, const Seat &seat, std::uint64_t bytes)
        : read_(std::move(read)),
          pick_(seat.seed + 7, files * block_size),
          offsets_(seat.seed, bytes),
          pages_(block_size) {}
    std::uint64_t step() override {
        read_(pick_.next() / block_size, pages_.at(0), offsets_.next());
        return 1;
    }

private:
    std::function<void(std::uint64_t, char *, std::uint64_t)> read_;
    Offsets pick_;
    Offsets offsets_;
    Pages pages_;
};

/// The open descriptors of a path but one: pread uses the library's own, so that both sides have as
/// many and RLIMIT_NOFILE allows 10^4.
std::vector<int> descriptors_of(const std::string &path, int but) {
    std::vector<int> found;
    const std::filesystem::path wanted = std::filesystem::canonical(path);
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;  // the directory's own
        const int fd = std::stoi(entry.path().filename().string());
        if (fd != but && std::filesystem::read_symlink(entry.path(), gone) == wanted)
            found.push_back(fd);
    }
    std::sort(found.begin(), found.end());
    return found;
}

void measure_files(Report &report, const TestFile &file) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const rlimit before = limit;
    // With CAP_SYS_RESOURCE the hard limit can be raised, too.
    const rlimit wide{std::max<rlim_t>(limit.rlim_max, 32768),
                      std::max<rlim_t>(limit.rlim_max, 32768)};
    if (setrlimit(RLIMIT_NOFILE, &wide) == 0) {
        limit = wide;
    } else {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }

    Growth growth{.curve = {.id = "growth/files",
                            .title = "Cached reads through open files, submit + wait, WAIT_SOON",
                            .x = "open files",
                            .unit = "ns/op",
                            .peer = "pread of as many descriptors"}};
    const std::vector<unsigned> counts = report.settings().quick
                                             ? std::vector<unsigned>{1, 100, 10000}
                                             : std::vector<unsigned>{1, 10, 100, 1000, 10000};
    for (const unsigned wished : counts) {
        // One descriptor per file, and some for the rest of the program.
        const auto most = static_cast<unsigned>(std::min<rlim_t>(limit.rlim_cur - 200, 1U << 20));
        const unsigned count = std::min(wished, most);
        Comparison comparison;
        comparison.id = fmt::format("growth/files/{}", wished);
        comparison.title = fmt::format("cached reads through {} open files in random order", count);
        if (!report.settings().wants(comparison.id))
            continue;
        if (count != wished)
            report.note(fmt::format("{}: {} files only, because the hard limit of RLIMIT_NOFILE is {}", comparison.id,
                                    count, limit.rlim_cur));
        if (report.settings().list) {
            report.run(comparison);
            continue;
        }
        const Target target = open_target(file, Direction::read, false);
        auto engine = std::make_shared<Engine>(EngineOptions{});
        auto files = std::make_shared<std::vector<std::unique_ptr<SubjectFile>>>();
        for (unsigned i = 0; i < count; ++i)
            files->push_back(std::make_unique<SubjectFile>(engine, target));
        const auto descriptors = std::make_shared<std::vector<int>>(
            descriptors_of(file.path(), target.descriptor->get()));
        if (descriptors->size() != count) {
            report.note(fmt::format("{}: not run: {} descriptors for {} files", comparison.id,
                                    descriptors->size(), count));
            continue;
        }
        const auto many = [=](auto read) {
            return [=](const Seat &seat) -> std::unique_ptr<Worker> {
                return std::make_unique<ManyWorker>(read, count, seat, target.bytes);
            };
        };
        comparison.variants.push_back(
            {.name = "pread",
             .make = many([=](std::uint64_t index, char *buffer, std::uint64_t at) {
                 if (pread((*descriptors)[index], buffer, block_size,
                           static_cast<off_t>(at)) != static_cast<ssize_t>(block_size))
                     throw Failure("pread");
             })});
        comparison.variants.push_back(
            {.name = "fsys blocking",
             .make = many([=](std::uint64_t index, char *buffer, std::uint64_t at) {
                 check(fsys_read((*files)[index]->get(), buffer, block_size, at, 0), "fsys_read");
             }),
             .subject = true});
        comparison.variants.push_back(
            {.name = "fsys submit+wait",
             .make = many([=](std::uint64_t index, char *buffer, std::uint64_t at) {
                 fsys_op op = 0;
                 check(fsys_submit_read((*files)[index]->get(), buffer, block_size, at,
                                        FSYS_WAIT_SOON, 0, &op),
                       "fsys_submit_read");
                 fsys_result result;
                 check(fsys_wait(engine->get(), op, FSYS_FOREVER, &result), "fsys_wait");
                 check(result.result, "completion");
             }),
             .lanes = [=] { return engine->lanes(); },
             .subject = true});
        if (const Outcome *outcome = report.run(comparison))
            growth.add(count, *outcome, "fsys submit+wait", "pread");
    }
    growth.report_to(report);
    setrlimit(RLIMIT_NOFILE, &before);
}

double time_ops(Worker &worker, std::uint64_t ops) {
    const std::uint64_t begin = now_ns();
    std::uint64_t done = 0;
    while (done < ops)
        done += worker.step();
    return static_cast<double>(now_ns() - begin) / static_cast<double>(done);
}

/// One handle from its first op on: windows end at 10^3, 10^4, ... ops of its life.
void measure_life(Report &report) {
    const std::string id = "growth/ops";
    if (!report.settings().wants(id))
        return;
    if (report.settings().list) {
        fmt::print("{:<32} {}\n", id, "cost per NOP as one handle ages, 10^3 to 10^7 ops");
        return;
    }
    fmt::print(stderr, "  {} ...\n", id);
    constexpr unsigned batch = 32;
    const std::uint64_t last = report.settings().quick ? 1'000'000 : 10'000'000;
    const unsigned rounds = report.settings().quick ? 3 : 10;
    std::vector<double> sizes;
    std::vector<std::vector<double>> ours;
    std::vector<std::vector<double>> theirs;
    std::vector<std::vector<double>> ratios;
    for (unsigned round = 0; round < rounds; ++round) {
        // Caller-driven: with an owner thread two wake-ups of an idle processor make up 9/10 of such a
        // batch, and their cost changes from second to second by more than what is looked for.
        const std::unique_ptr<Worker> subject = caller_nop_worker(batch, nullptr, {});
        const std::unique_ptr<Worker> peer = uring_nop_worker(batch, {});
        // Start of the ring: a cost per handle, not per op.
        time_ops(*subject, batch);
        time_ops(*peer, batch);
        std::uint64_t done = 0;
        std::size_t at = 0;
        for (std::uint64_t until = 1000; until <= last; until *= 10, ++at) {
            if (round == 0) {
                sizes.push_back(static_cast<double>(until));
                ours.emplace_back();
                theirs.emplace_back();
                ratios.emplace_back();
            }
            ours[at].push_back(time_ops(*subject, until - done));
            theirs[at].push_back(time_ops(*peer, until - done));
            ratios[at].push_back(ours[at].back() / theirs[at].back());
            done = until;
        }
    }
    Growth growth{.curve = {.id = id,
                            .title = "Age of a handle: NOPs, batch 32, caller driver",
                            .x = "ops done by a handle",
                            .unit = "ns/op",
                            .peer = "an equally old ring"}};
    for (std::size_t i = 0; i < sizes.size(); ++i)
        growth.curve.points.push_back(
            {sizes[i], spread_of(ours[i]), spread_of(theirs[i]), spread_of(ratios[i])});
    growth.report_to(report);
}

/// Threads that each read one block at a time through one shared handle and file.
void measure_threads(Report &report, const TestFile &file) {
    Growth growth{.curve = {.id = "growth/threads",
                            .title = "Cached reads, one at a time per thread, one shared handle",
                            .x = "threads",
                            .unit = "ns/op",
                            .peer = "pread from as many threads"},
                  .goal = false};
    const std::vector<unsigned> counts =
        report.settings().quick ? std::vector<unsigned>{1, 16, 256}
                                : std::vector<unsigned>{1, 2, 4, 8, 16, 32, 64, 128, 256};
    const Target target = open_target(file, Direction::read, false);
    for (const unsigned count : counts) {
        Comparison comparison;
        comparison.id = fmt::format("growth/threads/{}", count);
        comparison.title = fmt::format("cached reads from {} threads, one at a time each", count);
        if (!report.settings().wants(comparison.id))
            continue;
        comparison.variants.push_back(
            {.name = "pread", .threads = count, .make = [=](const Seat &seat) {
                 return syscall_worker(target, Call::plain, seat);
             }});
        auto engine = std::make_shared<Engine>(EngineOptions{});
        auto subject = std::make_shared<SubjectFile>(engine, target);
        comparison.variants.push_back({.name = "fsys submit+wait",
                                       .threads = count,
                                       .make =
                                           [=](const Seat &seat) {
                                               return single_worker(subject, Single::unhinted, 0,
                                                                    seat);
                                           },
                                       .lanes = [=] { return engine->lanes(); },
                                       .subject = true});
        if (const Outcome *outcome = report.run(comparison))
            growth.add(count, *outcome, "fsys submit+wait", "pread");
    }
    growth.report_to(report);
}

}  // namespace

void measure_growth(Report &report, const Files &files) {
    measure_life(report);
    measure_files(report, files.cached);
    measure_in_flight(report);
    measure_threads(report, files.cached);
}

}  // namespace bench
