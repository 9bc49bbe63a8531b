// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys bench`: fills in defaults, prepares the file, runs rounds of both sides in turn. Main
// thread only; the threads of a round are in bench_worker.cpp.
#include "bench.hpp"

#include "interrupt.hpp"
#include "progress.hpp"
#include "units.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

namespace cli {

namespace {

constexpr int kRounds = 5;

struct Defaults {
    const char *name;
    Kind kind;
    std::uint64_t block;
    std::uint32_t depth;
    std::uint64_t size;
};
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::array<Defaults, 7> kDefaults{{
    {"nop", Kind::kNop, 8, 32, 8},
    {"read", Kind::kRead, 64 * 1024, 1, 256 * kMiB},
    {"randread", Kind::kRandRead, 4096, 32, 256 * kMiB},
    {"write", Kind::kWrite, 64 * 1024, 1, 256 * kMiB},
    {"randwrite", Kind::kRandWrite, 4096, 32, 256 * kMiB},
    {"append", Kind::kAppend, 4096, 1, 1024 * kMiB},
    {"sync", Kind::kSync, 4096, 1, 16 * kMiB},
}};

Workload resolve(const BenchOptions &options)
{
    const Defaults *defaults =
        std::find_if(kDefaults.begin(), kDefaults.end(),
                     [&](const Defaults &entry) { return options.workload == entry.name; });
    Workload workload{};
    workload.kind = defaults->kind;
    workload.name = defaults->name;
    workload.block = options.block != 0 ? options.block : defaults->block;
    workload.size = options.size != 0 ? options.size : defaults->size;
    workload.threads = options.threads;
    workload.rate = options.rate;
    workload.direct = options.direct;

    const bool single = options.mode == "blocking" || options.mode == "wait";
    if (options.depth > 1 && single) {
        throw Usage("--mode " + options.mode + " has one operation in flight: --depth must be 1");
    }
    if (options.rate != 0 && (options.depth > 1 || options.mode == "batch" ||
                              options.mode == "pipeline")) {
        throw Usage("--rate starts operations one at a time: use --depth 1 and more --threads");
    }
    workload.depth = options.depth != 0                 ? options.depth
                     : single || options.rate != 0      ? 1
                     : options.mode == "auto"           ? defaults->depth
                                                        : std::max(defaults->depth, 32u);
    workload.mode = options.mode == "blocking"   ? Mode::kBlocking
                    : options.mode == "wait"     ? Mode::kWait
                    : options.mode == "batch"    ? Mode::kBatch
                    : options.mode == "pipeline" ? Mode::kPipeline
                    : workload.depth == 1        ? Mode::kWait
                    : workload.direct            ? Mode::kPipeline
                                                 : Mode::kBatch;
    if (workload.kind == Kind::kNop) {
        if (!options.file.empty() || options.direct) {
            throw Usage("--workload nop does no IO: it takes neither FILE nor --direct");
        }
        if (workload.mode == Mode::kBlocking) {
            throw Usage("there is no blocking nop: use --mode wait");
        }
        workload.block = defaults->block;
        workload.size = defaults->size;
    }
    if (workload.block == 0 || workload.block > 1024 * kMiB) {
        throw Usage("--block takes 1 byte to 1G");
    }
    if (options.size != 0 && options.size < workload.block) {
        throw Usage("--size must be at least one --block");
    }
    if (workload.block * workload.depth > 1024 * kMiB) {
        throw Usage("--depth x --block is more than 1G of buffers per thread");
    }
    if (options.overwrite && !workload.writes()) {
        throw Usage("--overwrite means nothing for a workload that only reads");
    }
    return workload;
}

// Writes the file full of something that no device takes for nothing, and syncs it, so that no
// write-back disturbs the rounds.
void fill_file(const Workload &workload, Subject &subject, const File &file, Progress &progress)
{
    std::vector<std::uint64_t> chunk(kMiB / 8);
    std::uint64_t random = 88172645463325252u;
    progress.phase("preparing", workload.size, 1);
    for (std::uint64_t at = 0; at < workload.size;) {
        for (std::uint64_t &word : chunk) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            word = random;
        }
        const std::uint64_t length = std::min(kMiB, workload.size - at);
        const std::int64_t put = fsys_write(file.get(), chunk.data(), length, at, 0);
        if (put < 0) {
            throw Failure("cannot write", subject.path, static_cast<int>(put),
                          static_cast<std::int64_t>(at));
        }
        at += length;
        progress.draw(at, 0);
        if (const int signal = interrupted(); signal != 0) {
            throw Interrupted{signal, "no result"};
        }
    }
    if (const int code = fsys_sync(file.get(), 0); code != 0) {
        throw Failure("cannot make durable", subject.path, code);
    }
    progress.clear();
}

// Removes a file that this run created. It goes as soon as both sides have it open, so that not
// even a kill leaves it behind.
struct Remove {
    std::string path;
    void now()
    {
        if (!path.empty()) {
            unlink(path.c_str());
            path.clear();
        }
    }
    ~Remove() { now(); }
};

Subject prepare(Engine &engine, const BenchOptions &options, Workload &workload,
                Progress &progress)
{
    Subject subject;
    if (workload.kind == Kind::kNop) {
        return subject;
    }
    subject.path =
        options.file.empty() ? fmt::format("fsys-bench-{}.tmp", getpid()) : options.file;
    Remove remove;
    struct stat facts {};
    const bool exists = stat(subject.path.c_str(), &facts) == 0;
    if (!exists && errno != ENOENT) {
        throw Failure("cannot read the attributes of", subject.path, -errno);
    }
    if (exists) {
        if (options.file.empty()) {
            throw Failure("exists already:", subject.path);
        }
        if (!S_ISREG(facts.st_mode) && !S_ISBLK(facts.st_mode)) {
            throw Failure("is neither a file nor a block device:", subject.path);
        }
        if (workload.writes() && !options.overwrite) {
            throw Failure("exists already:", subject.path)
                .hint("--overwrite lets the benchmark destroy it");
        }
        if (S_ISBLK(facts.st_mode) && workload.kind == Kind::kAppend) {
            throw Failure("a block device does not grow:", subject.path);
        }
    }
    if (!exists || (workload.writes() && workload.kind != Kind::kAppend && S_ISREG(facts.st_mode))) {
        const File file = File::open(engine, subject.path,
                                     FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE |
                                         (exists ? 0 : FSYS_FILE_EXCLUSIVE),
                                     0600);
        if (!exists) {
            remove.path = subject.path;
            subject.scratch = true;
        }
        if (workload.kind != Kind::kAppend) {
            fill_file(workload, subject, file, progress);
        }
    }
    const std::uint32_t access =
        FSYS_FILE_READ | (workload.writes() ? FSYS_FILE_WRITE : 0u);
    try {
        subject.engine_file = File::open(engine, subject.path,
                                         access | (workload.direct ? FSYS_FILE_DIRECT : 0u));
    } catch (Failure &failure) {
        if (workload.direct && failure.code() == -EINVAL) {
            failure.hint("this file system has no O_DIRECT");
        }
        throw;
    }
    subject.plain = Fd(::open(subject.path.c_str(), (workload.writes() ? O_RDWR : O_RDONLY) |
                                                        O_CLOEXEC |
                                                        (workload.direct ? O_DIRECT : 0)));
    if (!subject.plain.valid()) {
        throw Failure("cannot open", subject.path, -errno);
    }
    remove.now();

    const fsys_file_details details = subject.engine_file.details();
    subject.file_system = details.file_system;
    if (exists && workload.reads()) {
        const off_t end = lseek(subject.plain.get(), 0, SEEK_END);
        const auto length = static_cast<std::uint64_t>(std::max<off_t>(end, 0));
        workload.size = options.size == 0 ? length : std::min(options.size, length);
    }
    workload.size -= workload.size % workload.block;
    if (workload.size == 0) {
        throw Failure("is smaller than one block:", subject.path);
    }
    if (workload.direct && workload.block % std::max(details.direct_offset_align, 1u) != 0) {
        throw Failure(fmt::format("--block must be a multiple of {} for O_DIRECT on",
                                  details.direct_offset_align),
                      subject.path);
    }
    if (exists && workload.reads() && !workload.direct) {
        // What is measured is the cached read; the first pass would be the disk's.
        progress.phase("reading", workload.size, 1);
        std::vector<std::byte> chunk(kMiB);
        for (std::uint64_t at = 0; at < workload.size && interrupted() == 0; at += kMiB) {
            const std::int64_t got =
                fsys_read(subject.engine_file.get(), chunk.data(), chunk.size(), at, 0);
            if (got < 0) {
                throw Failure("cannot read", subject.path, static_cast<int>(got),
                              static_cast<std::int64_t>(at));
            }
            progress.draw(at, 0);
        }
        progress.clear();
    }
    return subject;
}

}  // namespace

const char *mode_name(Mode mode)
{
    switch (mode) {
    case Mode::kBlocking: return "blocking";
    case Mode::kWait: return "wait";
    case Mode::kBatch: return "batch";
    default: return "pipeline";
    }
}

int run_bench(const BenchOptions &options)
{
    Workload workload = resolve(options);
    Progress progress(options.progress ? ProgressMode::kAlways : ProgressMode::kNever);
    EngineSettings settings;
    settings.backend = options.backend;
    settings.max_ops = std::clamp(workload.threads * workload.depth * 2 + 64, 256u, 32768u);
    settings.arena_bytes = std::clamp<std::uint64_t>(
        workload.threads * (workload.depth * workload.block + 4096), 8 * kMiB, 64 * kMiB);
    Engine engine(settings);
    const Subject subject = prepare(engine, options, workload, progress);

    BenchResult result;
    result.file_system = subject.file_system;
    result.file = subject.scratch ? "" : subject.path;
    const bool compare = workload.kind != Kind::kNop;
    const double length = options.seconds / (compare ? 2 * kRounds : kRounds);
    {
        // Threads, ring, page tables, processor frequency: not part of any round.
        Histogram unused;
        run_round(engine, workload, subject, Side::kEngine, std::min(0.1, length), unused);
        if (compare) {
            run_round(engine, workload, subject, Side::kPlain, std::min(0.1, length), unused);
        }
    }
    const fsys_counters before = engine.counters();
    for (int round = 0; round < kRounds; ++round) {
        progress.note(fmt::format("{}: round {} of {}", workload.name, round + 1, kRounds));
        // Who goes first alternates too.
        for (const bool first : {true, false}) {
            if (first == (round % 2 == 0)) {
                result.engine_rounds.push_back(run_round(engine, workload, subject, Side::kEngine,
                                                         length, result.engine_latency));
            } else if (compare) {
                result.plain_rounds.push_back(run_round(engine, workload, subject, Side::kPlain,
                                                        length, result.plain_latency));
            }
        }
    }
    progress.clear();
    result.info = engine.info();
    result.counters = difference(engine.counters(), before);
    fmt::print("{}", options.json ? json_text(bench_json(workload, result)) + "\n"
                                  : bench_text(workload, result));
    return kOk;
}

}  // namespace cli
