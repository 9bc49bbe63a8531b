// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys probe`: gathers what this kernel, file system and handle really use by using them on a
// scratch file that has no name any more. Main thread only.
#include "probe.hpp"

#include "commands.hpp"
#include "interrupt.hpp"
#include "terminal.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <cstring>
#include <utility>

namespace cli {

namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::uint32_t kBatch = 32;
constexpr int kRepeats = 8;  // the first of a kind pays for threads and the ring

std::uint64_t now_ns()
{
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

std::uint64_t other_threads()
{
    std::uint64_t count = 0;
    if (DIR *dir = opendir("/proc/self/task")) {
        while (const dirent *entry = readdir(dir)) {
            count += entry->d_name[0] != '.' ? 1 : 0;
        }
        closedir(dir);
    }
    return count > 0 ? count - 1 : 0;
}

class Prober {
public:
    Prober(Engine &engine, ProbeFacts &facts)
        : engine_(engine), facts_(facts), memory_(engine, kBlock * kBatch)
    {
        // Not zeros: some devices and file systems treat those as nothing.
        for (std::size_t at = 0; at < kBlock * kBatch; ++at) {
            memory_.data()[at] = static_cast<std::byte>(at * 131 >> 3);
        }
    }

    void try_file(const File &file, const std::string &path, bool direct)
    {
        file_ = file.get();
        path_ = path;
        direct_ = direct;
        using Asked = std::uint32_t;
        for (const Asked hint : {Asked{0}, Asked{FSYS_WAIT_SOON}}) {
            const char *asked = hint == 0 ? "left alone" : "waited for";
            one("write", asked, [&](int at) { return submit(FSYS_OP_WRITE, hint, at); });
            if (!direct) {
                one("sync", asked, [&](int at) {
                    // With something to make durable, and outside the measured time.
                    fsys_write(file_, memory_.data(), kBlock, block_offset(at), 0);
                    return submit(FSYS_OP_SYNC, hint, at);
                });
                one("read, not cached", asked, [&](int at) {
                    drop_cache_();
                    return submit(FSYS_OP_READ, hint, at);
                });
            }
            one(direct ? "read" : "read, cached", asked,
                [&](int at) { return submit(FSYS_OP_READ, hint, at); });
        }
        batch(direct ? "read" : "read, cached");
    }

    void set_drop_cache(std::function<void()> drop) { drop_cache_ = std::move(drop); }

private:
    static std::uint64_t block_offset(int at) { return static_cast<std::uint64_t>(at) * kBlock; }

    // Asked for without a token when nobody is to wait for it: the queue then wakes the taker.
    std::pair<fsys_result, std::uint64_t> submit(std::uint32_t opcode, std::uint32_t hint, int at)
    {
        fsys_request request{};
        request.opcode = opcode;
        request.flags = hint;
        request.file = file_;
        if (opcode != FSYS_OP_SYNC) {
            request.buffer = memory_.data();
            request.length = kBlock;
            request.offset = block_offset(at);
        }
        fsys_op op = 0;
        fsys_result result{};
        const std::uint64_t start = now_ns();
        const int code = fsys_submit(engine_.handle(), &request, 1, hint == 0 ? nullptr : &op);
        if (code < 0) {
            throw Failure(fmt::format("cannot submit a {} to the scratch file in",
                                      op_name(opcode)),
                          path_, code);
        }
        check_wait(engine_, hint == 0
                                ? fsys_reap(engine_.handle(), &result, 1, FSYS_FOREVER)
                                : fsys_wait(engine_.handle(), op, FSYS_FOREVER, &result));
        const std::uint64_t taken = now_ns() - start;
        if (result.result < 0) {
            throw Failure(fmt::format("a {} failed on the scratch file in", op_name(opcode)),
                          path_, static_cast<int>(result.result),
                          static_cast<std::int64_t>(request.offset));
        }
        return {result, taken};
    }

    template <typename Submit>
    void one(const char *operation, const char *asked, Submit &&submit_it)
    {
        Trial trial{operation, asked, direct_, FSYS_LANE_NONE, UINT64_MAX};
        for (int at = 0; at < kRepeats && interrupted() == 0; ++at) {
            const auto [result, taken] = submit_it(at);
            trial.lane = result.lane;
            trial.nanoseconds = std::min(trial.nanoseconds, taken);
        }
        facts_.trials.push_back(trial);
    }

    void batch(const char *operation)
    {
        std::vector<fsys_request> requests(kBatch);
        for (std::uint32_t at = 0; at < kBatch; ++at) {
            requests[at].opcode = FSYS_OP_READ;
            requests[at].flags = FSYS_WAIT_SOON;
            requests[at].file = file_;
            requests[at].buffer = memory_.data() + at * kBlock;
            requests[at].length = kBlock;
            requests[at].offset = at * kBlock;
        }
        Trial trial{operation, fmt::format("batch of {}", kBatch), direct_, FSYS_LANE_NONE,
                    UINT64_MAX};
        std::vector<fsys_result> results;
        for (int at = 0; at < kRepeats && interrupted() == 0; ++at) {
            const std::uint64_t start = now_ns();
            run_batch(engine_, requests, results);
            trial.nanoseconds = std::min(trial.nanoseconds, (now_ns() - start) / kBatch);
            for (const fsys_result &result : results) {
                if (result.result < 0) {
                    throw Failure("a batch of reads failed on the scratch file in", path_,
                                  static_cast<int>(result.result));
                }
                trial.lane = result.lane;
            }
        }
        facts_.trials.push_back(trial);
    }

    Engine &engine_;
    ProbeFacts &facts_;
    Buffer memory_;
    fsys_file *file_ = nullptr;
    std::string path_;
    bool direct_ = false;
    std::function<void()> drop_cache_;
};

std::string directory_of(const std::string &path)
{
    struct stat facts {};
    if (stat(path.c_str(), &facts) != 0) {
        throw Failure("cannot probe", path, -errno);
    }
    if (S_ISDIR(facts.st_mode)) {
        return path;
    }
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

struct Unlink {
    std::string path;
    ~Unlink() { unlink(path.c_str()); }
};

void gather(const ProbeOptions &options, ProbeFacts &facts)
{
    utsname name{};
    uname(&name);
    facts.kernel = fmt::format("{} {}", name.sysname, name.release);
    facts.machine = name.machine;
    facts.processors = sysconf(_SC_NPROCESSORS_ONLN);
    facts.directory = directory_of(options.path);
    facts.path = options.path;
    facts.storage = probe_storage(options.path);

    EngineSettings settings;
    settings.backend = options.backend;
    Engine engine(settings);
    facts.idle = engine.info();
    facts.idle_threads = other_threads();

    const std::string path =
        (facts.directory.back() == '/' ? facts.directory : facts.directory + "/") +
        fmt::format(".fsys-probe-{}", getpid());
    File buffered;
    try {
        buffered = File::open(engine, path,
                              FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE |
                                  FSYS_FILE_EXCLUSIVE);
    } catch (const Failure &failure) {
        throw Failure("cannot create a scratch file in", facts.directory, failure.code())
            .hint("give a directory that may be written to");
    }
    const Unlink unlink_at_end{path};
    // The library hands out no descriptors; dropping cached pages needs one.
    const Fd plain(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    facts.buffered = buffered.details();

    File direct;
    try {
        direct = File::open(engine, path, FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_DIRECT);
        facts.direct = direct.details();
    } catch (const Failure &failure) {
        facts.direct_code = failure.code();
        if (options.direct) {
            throw Failure("no O_DIRECT in", facts.directory, failure.code())
                .hint(fmt::format("its file system is {}", facts.buffered.file_system));
        }
    }

    Prober prober(engine, facts);
    prober.set_drop_cache([&plain] {
        fdatasync(plain.get());
        posix_fadvise(plain.get(), 0, 0, POSIX_FADV_DONTNEED);
    });
    std::vector<std::byte> filling(kBlock * kBatch, std::byte{0x5a});
    if (const std::int64_t put = fsys_write(buffered.get(), filling.data(), filling.size(), 0, 0);
        put != static_cast<std::int64_t>(filling.size())) {
        throw Failure("cannot fill the scratch file in", facts.directory,
                      put < 0 ? static_cast<int>(put) : FSYS_E_SHORT, 0);
    }
    prober.try_file(buffered, facts.directory, false);
    if (direct.get() != nullptr) {
        prober.try_file(direct, facts.directory, true);
    }
    if (const int signal = interrupted(); signal != 0) {
        throw Interrupted{signal, "the scratch file was removed"};
    }
    facts.running = engine.info();
    facts.running_threads = other_threads();
    facts.counters = engine.counters();
    // A place in the ring's file table is given once there is a ring.
    facts.buffered.registered = buffered.details().registered;
    if (direct.get() != nullptr) {
        facts.direct.registered = direct.details().registered;
    }
}

}  // namespace

int run_probe(const ProbeOptions &options)
{
    if (options.storage) {
        const fsys_probe_report report = probe_storage(options.path);
        if (options.json) {
            fmt::print("{}\n", json_text({{"command", "probe"},
                                          {"ok", true},
                                          {"storage", storage_json(report, options.path)}}));
        } else {
            fmt::print("{}", storage_text(report, options.path, colours(STDOUT_FILENO)).substr(1));
        }
        return kOk;
    }
    ProbeFacts facts;
    gather(options, facts);
    if (options.json) {
        fmt::print("{}\n", json_text(probe_json(facts)));
    } else {
        fmt::print("{}", probe_text(facts));
    }
    return kOk;
}

}  // namespace cli
