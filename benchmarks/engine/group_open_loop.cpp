// SPDX-License-Identifier: Apache-2.0 OR MIT
// Random reads that arrive by a schedule: latency at 50 % and 80 % of what the slowest of the rows can
// do, counted from the moment an op was due. One driving thread where ops are queued, a pool of
// threads where a call blocks.
#include "groups.hpp"
#include "subject.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>

namespace bench {

namespace {

constexpr unsigned depth = 256;
constexpr unsigned pool = 32;

/// What queue_loop() needs: one read per slot.
class ScheduledReads {
public:
    ScheduledReads(SubjectFile &file, char *memory, std::uint64_t seed)
        : file_(file),
          memory_(memory),
          offsets_(seed, file.target().bytes),
          requests_(depth),
          results_(depth) {}
    void put(unsigned slot) {
        fsys_request &request = requests_[waiting_++];
        request = {};
        request.opcode = FSYS_OP_READ;
        request.file = file_.get();
        request.buffer = memory_ + slot * block_size;
        request.length = block_size;
        request.offset = offsets_.next();
        request.user_data = slot;
    }
    void flush() {
        unsigned accepted = 0;
        while (accepted < waiting_)
            accepted += static_cast<unsigned>(check(
                fsys_submit(file_.handle(), requests_.data() + accepted, waiting_ - accepted,
                            nullptr),
                "fsys_submit"));
        waiting_ = 0;
    }
    unsigned take(unsigned *slots, std::int64_t patience) {
        const auto got = check(fsys_reap(file_.handle(), results_.data(), depth, patience),
                               "fsys_reap");
        for (std::int64_t i = 0; i < got; ++i) {
            const fsys_result &one = results_[static_cast<std::size_t>(i)];
            if (check(one.result, "completion") != static_cast<std::int64_t>(block_size))
                throw Failure("short transfer");
            slots[i] = static_cast<unsigned>(one.user_data);
        }
        return static_cast<unsigned>(got);
    }

private:
    SubjectFile &file_;
    char *memory_;
    Offsets offsets_;
    std::vector<fsys_request> requests_;
    std::vector<fsys_result> results_;
    unsigned waiting_ = 0;
};

OpenVariant queue_variant(const Target &target) {
    auto engine = std::make_shared<Engine>(EngineOptions{});
    auto file = std::make_shared<SubjectFile>(engine, target);
    void *start = nullptr;
    check(fsys_buffer_alloc(engine->get(), depth * block_size, &start), "fsys_buffer_alloc");
    const std::shared_ptr<char> memory(static_cast<char *>(start), [engine](char *pages) {
        fsys_buffer_free(engine->get(), pages);
    });
    return {"fsys queue", [=](const Schedule &schedule, Histogram &histogram) {
                ScheduledReads reads(*file, memory.get(), schedule.begin_ns);
                return queue_loop(schedule, depth, reads, histogram);
            }};
}

/// The handle is made anew in each slice: it belongs to the thread that drives it.
OpenVariant caller_variant(const Target &target) {
    return {"fsys caller driver", [=](const Schedule &schedule, Histogram &histogram) {
                auto engine = std::make_shared<Engine>(
                    EngineOptions{.driver = FSYS_DRIVER_CALLER});
                SubjectFile file(engine, target);
                void *start = nullptr;
                check(fsys_buffer_alloc(engine->get(), depth * block_size, &start),
                      "fsys_buffer_alloc");
                ScheduledReads reads(file, static_cast<char *>(start), schedule.begin_ns);
                // The first op makes the ring, which is not to be waited for by the first that are due.
                reads.put(0);
                reads.flush();
                for (unsigned slot = 0; reads.take(&slot, 100'000'000) == 0;) {
                }
                const std::uint64_t done = queue_loop(schedule, depth, reads, histogram);
                fsys_buffer_free(engine->get(), start);
                return done;
            }};
}

/// Threads that read a block at a time with `read(buffer, offset)`.
template <typename Read>
OpenVariant pool_variant(const std::string &name, const Target &target, Read read) {
    return {name, [=](const Schedule &schedule, Histogram &histogram) {
                return pool_loop(
                    schedule, pool,
                    [&](unsigned thread) -> std::function<void()> {
                        auto pages = std::make_shared<Pages>(block_size);
                        auto offsets = std::make_shared<Offsets>(schedule.begin_ns + thread,
                                                                 target.bytes);
                        return [=] { read(pages->at(0), offsets->next()); };
                    },
                    histogram);
            }};
}

void measure(Report &report, const TestFile &file, bool direct) {
    const std::string id =
        fmt::format("open-loop/{}-read", direct ? "direct" : "cached");
    const std::string title =
        fmt::format("4 KiB random reads that arrive at a fixed rate, {}, up to {} in flight, or {} "
                    "threads",
                    direct ? "O_DIRECT" : "page cache", depth, pool);
    if (!report.settings().wants(id))
        return;
    if (report.settings().list) {
        fmt::print("{:<32} {}\n", id, title);
        return;
    }
    const Target target = open_target(file, Direction::read, direct);
    std::vector<OpenVariant> variants{uring_open_loop("liburing", target, depth)};
    variants.push_back(pool_variant(fmt::format("pread, {} threads", pool), target,
                                    [target](char *buffer, std::uint64_t at) {
                                        if (pread(target.descriptor->get(), buffer, block_size,
                                                  static_cast<off_t>(at)) !=
                                            static_cast<ssize_t>(block_size))
                                            fail_with_errno("pread", target.path);
                                    }));
    variants.push_back(queue_variant(target));
    variants.push_back(caller_variant(target));
    auto blocking =
        std::make_shared<SubjectFile>(std::make_shared<Engine>(EngineOptions{}), target);
    variants.push_back(pool_variant(fmt::format("fsys blocking, {} threads", pool), target,
                                    [blocking](char *buffer, std::uint64_t at) {
                                        check(fsys_read(blocking->get(), buffer, block_size, at, 0),
                                              "fsys_read");
                                    }));
    run_open_loop(report, id, title, variants);
}

}  // namespace

void measure_open_loop(Report &report, const Files &files) {
    measure(report, files.direct, true);
    if (!report.settings().quick)
        measure(report, files.cached, false);
}

}  // namespace bench
