// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys demo`: the parent. It has one thread and no engine, so that it may fork; it lists the input,
// starts a child per phase, kills the first writer in the middle, and reports.
#include "demo.hpp"

#include "engine.hpp"
#include "failure.hpp"
#include "interrupt.hpp"
#include "journal_handle.hpp"
#include "terminal.hpp"
#include "units.hpp"

#include <fsys/journal.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>

namespace cli {

namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kPiece = 16 * 1024;
constexpr std::uint64_t kMostBytes = std::uint64_t{256} << 20;

std::uint64_t now_ns()
{
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

void add_file(DemoInput &input, const std::string &path, std::uint64_t limit)
{
    struct stat facts{};
    if (stat(path.c_str(), &facts) != 0 || !S_ISREG(facts.st_mode) ||
        access(path.c_str(), R_OK) != 0) {
        return;
    }
    input.files.push_back(
        {path, facts.st_mtim.tv_sec * std::int64_t{1'000'000'000} + facts.st_mtim.tv_nsec});
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    std::uint64_t at = 0;
    do {
        if (input.pieces.size() == limit || input.bytes >= kMostBytes) {
            return;
        }
        const auto length = static_cast<std::uint32_t>(std::min<std::uint64_t>(kPiece, size - at));
        input.pieces.push_back({static_cast<std::uint32_t>(input.files.size() - 1), length, at});
        input.bytes += length;
        at += length;
    } while (at < size);
}

DemoInput list_input(const DemoOptions &options, std::vector<std::string> &sources)
{
    DemoInput input;
    sources = options.sources;
    if (sources.empty()) {
        // Minimal containers have no documents: any tree of real files does.
        for (const char *candidate : {"/usr/share/doc", "/usr/include", "/usr/share", "/usr/lib"}) {
            std::error_code error;
            if (sources.empty() && fs::is_directory(candidate, error) &&
                !fs::is_empty(candidate, error)) {
                sources.emplace_back(candidate);
            }
        }
    }
    const auto full = [&] {
        return input.pieces.size() >= options.limit || input.bytes >= kMostBytes;
    };
    for (const std::string &source : sources) {
        std::error_code error;
        const fs::file_status status = fs::status(source, error);
        if (error || !fs::exists(status)) {
            throw Failure("cannot read", source, error ? -error.value() : -ENOENT);
        }
        if (!fs::is_directory(status)) {
            add_file(input, source, options.limit);
            continue;
        }
        fs::recursive_directory_iterator walk(
            source, fs::directory_options::skip_permission_denied, error);
        for (; !error && walk != fs::recursive_directory_iterator() && !full() &&
               interrupted() == 0;
             walk.increment(error)) {
            std::error_code ignored;
            if (walk->is_regular_file(ignored) && !walk->is_symlink(ignored)) {
                add_file(input, walk->path().string(), options.limit);
            }
        }
    }
    if (input.pieces.empty()) {
        throw Failure("found no readable regular file in", sources.empty() ? "" : sources.front());
    }
    return input;
}

// The journal's directory: given, or one that goes away.
class Place {
public:
    explicit Place(const DemoOptions &options) : keep_(options.keep || !options.directory.empty())
    {
        if (!options.directory.empty()) {
            path_ = options.directory;
            return;
        }
        const char *set = std::getenv("TMPDIR");
        // Not /tmp: that is often a tmpfs, where nothing is durable.
        std::string name =
            std::string(set != nullptr && *set != '\0' ? set : "/var/tmp") + "/fsys-demo-XXXXXX";
        if (mkdtemp(name.data()) == nullptr) {
            throw Failure("cannot make a directory for the journal", name, -errno)
                .hint("give one with --dir");
        }
        path_ = root_ = name;
        path_ += "/journal";
    }
    ~Place()
    {
        if (!keep_ && !root_.empty()) {
            std::error_code ignored;
            fs::remove_all(root_, ignored);
        }
    }
    Place(const Place &) = delete;
    Place &operator=(const Place &) = delete;

    const std::string &path() const { return path_; }

private:
    bool keep_;
    std::string root_;
    std::string path_;
};

// A child process that runs one phase. Killed when the parent gives up.
class Child {
public:
    Child(DemoShared &shared, const std::function<void()> &body)
    {
        std::fflush(nullptr);
        pid_ = fork();
        if (pid_ < 0) {
            throw Failure("cannot start a process", "", -errno);
        }
        if (pid_ != 0) {
            return;
        }
        int status = 0;
        try {
            body();
        } catch (const Failure &failure) {
            std::strncpy(shared.error, failure.what(), sizeof shared.error - 1);
            shared.code.store(failure.code() != 0 ? failure.code() : -EIO);
            status = 1;
        } catch (const std::exception &error) {
            std::strncpy(shared.error, error.what(), sizeof shared.error - 1);
            shared.code.store(-EIO);
            status = 1;
        }
        _exit(status);
    }
    ~Child() { kill(); }
    Child(const Child &) = delete;
    Child &operator=(const Child &) = delete;

    // True once it has ended.
    bool ended()
    {
        if (pid_ > 0 && waitpid(pid_, &status_, WNOHANG) == pid_) {
            pid_ = -1;
        }
        return pid_ < 0;
    }
    void kill()
    {
        if (!ended()) {
            ::kill(pid_, SIGKILL);
            while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
            }
            pid_ = -1;
        }
    }
    bool failed() const { return !WIFEXITED(status_) || WEXITSTATUS(status_) != 0; }

private:
    pid_t pid_;
    int status_ = 0;
};

struct Writing {
    std::uint64_t commits = 0;
    std::uint64_t ns = 0;
    std::uint64_t syncs = 0;
};
struct Checking {
    std::uint64_t verdict = 0, cut_bytes = 0, open_ns = 0, recovered = 0, unacknowledged = 0,
                  changed = 0;
};

class Demo {
public:
    explicit Demo(const DemoOptions &options)
        : options_(options), input_(list_input(options, sources_)), place_(options),
          memory_(input_.pieces.size()), progress_(options.progress)
    {
    }

    void run()
    {
        std::random_device dice;
        const std::uint64_t all = input_.pieces.size();
        const std::uint64_t kill_at = all * (35 + dice() % 31) / 100;
        const auto write = [&] { demo_write(place_.path(), input_, memory_, options_.threads); };
        const auto check = [&] { demo_check(place_.path(), input_, memory_); };
        killed_ = phase("committing", all, write, kill_at, &first_);
        phase("checking", promised(), check, UINT64_MAX, nullptr);
        after_kill_ = checked();
        memory_->next.store(0);
        phase("committing", all - after_kill_.recovered, write, UINT64_MAX, &second_);
        phase("checking", all, check, UINT64_MAX, nullptr);
        at_end_ = checked();
        progress_.clear();
        if (at_end_.recovered != all) {
            throw Failure(fmt::format("{} of {} records are in the journal", at_end_.recovered, all),
                          place_.path(), FSYS_E_CORRUPT);
        }
    }

    std::string text() const;
    nlohmann::json json() const;

private:
    // Runs a child; kills it when `kill_at` commits are acknowledged. True when it was killed.
    bool phase(const char *name, std::uint64_t total, const std::function<void()> &body,
               std::uint64_t kill_at, Writing *writing)
    {
        const std::uint64_t before = promised();
        memory_->progress.store(0);
        progress_.phase(name, 0, total, "records");
        Child child(*memory_.operator->(), body);
        while (!child.ended()) {
            if (memory_->acknowledged.load() >= kill_at) {
                child.kill();
                break;
            }
            if (const int signal = interrupted(); signal != 0) {
                child.kill();
                progress_.clear();
                throw Interrupted{signal, "the writer was stopped"};
            }
            progress_.draw(0, memory_->progress.load());
            usleep(kill_at == UINT64_MAX ? 10'000 : 500);
        }
        const bool was_killed = memory_->acknowledged.load() >= kill_at && child.failed();
        if (child.failed() && !was_killed) {
            progress_.clear();
            throw Failure(memory_->error[0] != '\0' ? memory_->error
                                                    : "a phase of the demo ended unexpectedly",
                          "");
        }
        if (writing != nullptr) {
            writing->ns = now_ns() - memory_->started_ns.load();
            writing->commits = promised() - before;
            writing->syncs = memory_->syncs.load();
        }
        return was_killed;
    }

    // By the table and not the counter, which a SIGKILL may leave behind it.
    std::uint64_t promised() const
    {
        std::uint64_t count = 0;
        for (std::size_t at = 0; at < input_.pieces.size(); ++at) {
            count += memory_.lsn(at).load() != 0 ? 1 : 0;
        }
        return count;
    }
    Checking checked() const
    {
        return {memory_->verdict,   memory_->cut_bytes,      memory_->open_ns,
                memory_->recovered, memory_->unacknowledged, memory_->changed};
    }
    Histogram latency() const
    {
        Histogram all;
        for (std::uint32_t i = 0; i < options_.threads; ++i) {
            all.merge(memory_->latency[i]);
        }
        return all;
    }
    double commits_per_second() const
    {
        return static_cast<double>(first_.commits + second_.commits) * 1e9 /
               static_cast<double>(std::max<std::uint64_t>(first_.ns + second_.ns, 1));
    }
    // Of the second writer: the first one's last counters were lost with it.
    double commits_per_sync() const
    {
        const Writing &whole = killed_ ? second_ : first_;
        return static_cast<double>(whole.commits) /
               static_cast<double>(std::max<std::uint64_t>(whole.syncs, 1));
    }
    const char *primitive() const
    {
        return memory_->direct.load() != 0 ? "O_DIRECT writes with RWF_DSYNC"
                                           : "buffered writes and fdatasync";
    }

    const DemoOptions &options_;
    std::vector<std::string> sources_;
    DemoInput input_;
    Place place_;
    DemoMemory memory_;
    Progress progress_;
    bool killed_ = false;
    Writing first_, second_;
    Checking after_kill_, at_end_;
};

std::string Demo::text() const
{
    const bool on = colours(STDOUT_FILENO);
    std::string out;
    const auto line = [&](const char *label, const std::string &words) {
        out += fmt::format("{}{}\n", bold(fmt::format("{:<12}", label), on), words);
    };
    std::string names;
    for (const std::string &source : sources_) {
        names += (names.empty() ? "" : ", ") + printable(source);
    }
    line("input", fmt::format("{}: {} in {}, {}", names,
                              plural(input_.pieces.size(), "record", "records"),
                              plural(input_.files.size(), "file", "files"),
                              human_bytes(input_.bytes)));
    line("journal", printable(place_.path()));
    out += "\n";
    line("1 commit", fmt::format("{} by {} in {}, each durable before it was acknowledged",
                                 plural(first_.commits, "record", "records"),
                                 plural(options_.threads, "thread", "threads"),
                                 human_seconds(static_cast<double>(first_.ns) / 1e9)));
    line("2 kill", killed_ ? "the writer, by " + yellow("SIGKILL", on) + ", in the middle of it"
                           : std::string("not done: the writer had finished before"));
    line("3 recover",
         fmt::format("in {}: {}", human_ns(static_cast<double>(after_kill_.open_ns)),
                     after_kill_.verdict == FSYS_JOURNAL_TORN
                         ? fmt::format("a torn tail, cut; {} of it kept aside",
                                       human_bytes(after_kill_.cut_bytes))
                         : std::string("the log ends with a whole record")));
    line("4 compare",
         fmt::format("{} of {} acknowledged records {}, byte for byte as in the source",
                     human_count(after_kill_.recovered - after_kill_.unacknowledged),
                     human_count(first_.commits), green("are there", on)));
    if (after_kill_.unacknowledged != 0) {
        line("", fmt::format("and {} that had got there before their acknowledgement",
                             human_count(after_kill_.unacknowledged)));
    }
    line("5 go on", fmt::format("a second writer: {} in {}",
                                plural(second_.commits, "record", "records"),
                                human_seconds(static_cast<double>(second_.ns) / 1e9)));
    line("6 compare", fmt::format("{} records, {}, each once and in order",
                                  human_count(at_end_.recovered), green("complete", on)));
    if (at_end_.changed != 0) {
        line("", fmt::format("{} of source files that changed meanwhile: not compared",
                             plural(at_end_.changed, "record", "records")));
    }
    const Histogram times = latency();
    out += "\n";
    line("commits/s", human_count(static_cast<std::uint64_t>(commits_per_second())));
    line("per sync", fmt::format("{:.1f} commits", commits_per_sync()));
    line("latency", fmt::format("p50 {}, p99 {}",
                                human_ns(static_cast<double>(times.percentile(50))),
                                human_ns(static_cast<double>(times.percentile(99)))));
    line("durable by", fmt::format("{}, chosen when the journal was opened", primitive()));
    out += "\n" + green("Nothing that was acknowledged was lost.", on) + "\n";
    return out;
}

nlohmann::json Demo::json() const
{
    const Histogram times = latency();
    return {{"command", "demo"},
            {"ok", true},
            {"sources", sources_},
            {"files", input_.files.size()},
            {"records", input_.pieces.size()},
            {"bytes", input_.bytes},
            {"threads", options_.threads},
            {"journal", place_.path()},
            {"direct", memory_->direct.load() != 0},
            {"primitive", primitive()},
            {"killed", killed_},
            {"acknowledged_before_kill", first_.commits},
            {"recovered", after_kill_.recovered},
            {"recovered_unacknowledged", after_kill_.unacknowledged},
            {"recovery_verdict", verdict_name(static_cast<std::uint32_t>(after_kill_.verdict))},
            {"recovery_seconds", static_cast<double>(after_kill_.open_ns) / 1e9},
            {"committed_after", second_.commits},
            {"records_at_end", at_end_.recovered},
            {"source_changed", at_end_.changed},
            {"commits_per_second", commits_per_second()},
            {"commits_per_sync", commits_per_sync()},
            {"p50_ns", times.percentile(50)},
            {"p99_ns", times.percentile(99)}};
}

}  // namespace

int run_demo(const DemoOptions &options)
{
    Demo demo(options);
    demo.run();
    fmt::print("{}", options.json ? json_text(demo.json()) + "\n" : demo.text());
    return kOk;
}

}  // namespace cli
