// SPDX-License-Identifier: Apache-2.0 OR MIT
// What an open handle holds before its first op, and after. Runs before any other handle exists, so
// that what the library keeps per process is seen as well. Goal: the row of the idle handle.
#include "groups.hpp"
#include "process.hpp"
#include "subject.hpp"

#include <fmt/format.h>

namespace bench {

namespace {

std::vector<std::string> row(const std::string &what, const Footprint &before,
                             const Footprint &after, unsigned handles) {
    const auto per = [&](auto a, auto b) {
        return fmt::format("{:.2f}", (static_cast<double>(b) - static_cast<double>(a)) / handles);
    };
    return {what,
            per(before.threads, after.threads),
            per(before.rings, after.rings),
            per(before.descriptors, after.descriptors),
            per(before.resident_bytes / 1024, after.resident_bytes / 1024),
            per(before.dirty_bytes / 1024, after.dirty_bytes / 1024)};
}

void first_op(const Engine &engine) {
    fsys_request request{};
    fsys_op op = 0;
    check(fsys_submit(engine.get(), &request, 1, &op), "fsys_submit");
    check(fsys_wait(engine.get(), op, FSYS_FOREVER, nullptr), "fsys_wait");
}

}  // namespace

void measure_idle(Report &report) {
    if (!report.settings().wants("idle"))
        return;
    if (report.settings().list) {
        fmt::print("{:<32} {}\n", "idle",
                   "threads, rings and memory of a handle before its first op");
        return;
    }
    constexpr unsigned more = 32;
    const Footprint nothing = footprint();
    std::vector<std::unique_ptr<Engine>> engines;
    engines.reserve(more + 1);
    engines.push_back(std::make_unique<Engine>(EngineOptions{}));
    const Footprint one = footprint();
    const std::uint64_t promised = engines.front()->info().memory_bytes;
    for (unsigned i = 0; i < more; ++i)
        engines.push_back(std::make_unique<Engine>(EngineOptions{}));
    const Footprint many = footprint();
    first_op(*engines.front());
    const Footprint running = footprint();
    for (auto &engine : engines)
        engine.reset();
    engines.clear();
    const Footprint closed = footprint();

    report.add(Table{"A handle with default options",
                     {"what", "threads", "rings", "descriptors", "resident KiB", "dirty KiB"},
                     {row("the first idle handle", nothing, one, 1),
                      row(fmt::format("each of {} more", more), one, many, more),
                      row("the first op of one of them", many, running, 1),
                      row("left after closing all", nothing, closed, 1)}});
    const auto add = [&](const char *what, double limit, const char *unit, double value,
                         std::string how) {
        Goal goal{.number = 13,
                  .row = std::string("an idle handle: ") + what,
                  .bound = Bound::at_most,
                  .limit = limit,
                  .unit = unit,
                  .note = std::move(how)};
        goal.value = spread_of({value});
        goal.measured = true;
        goal.id = "idle";
        report.add(std::move(goal));
    };
    add("threads", 0, "", static_cast<double>(one.threads) - nothing.threads, "/proc/self/task");
    add("rings", 0, "", static_cast<double>(one.rings) - nothing.rings, "/proc/self/fd");
    add("memory", 512, "KiB",
        (static_cast<double>(one.dirty_bytes) - static_cast<double>(nothing.dirty_bytes)) /
            1024,
        fmt::format("growth of dirty memory by the first handle, code not counted; fsys_info says at "
                    "most {} KiB in use",
                    promised / 1024));
}

}  // namespace bench
