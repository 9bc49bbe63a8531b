// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The fsys program: command line, exit codes, messages. stdout carries nothing but the result of a
// command; exit 0 is success, 1 a failure, 2 a command line that cannot be meant, 128 + n a stop by
// signal n.
#include "commands.hpp"
#include "copy.hpp"
#include "demo.hpp"
#include "failure.hpp"
#include "files.hpp"
#include "interrupt.hpp"
#include "journal.hpp"
#include "options.hpp"
#include "terminal.hpp"
#include "units.hpp"

#include <CLI/CLI.hpp>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <new>
#include <string_view>

namespace cli {

namespace {

constexpr const char *kMainExamples = R"(
Examples:
  fsys demo                           durable commits, SIGKILL, recovery, on real files
  fsys probe                          what the engine can use here, and why
  make-config | fsys put /etc/app.conf
  fsys copy --verify /usr/share/doc /tmp/doc
  fsys bench --workload randread --direct

`fsys COMMAND --help` tells more.)";

constexpr const char *kProbeText =
    R"(Tells what lies underneath PATH (file system, devices, caches, power-loss protection) and
what this kernel and an engine handle really use. Runs a few operations on a scratch file beside
PATH, so that the facts are those of a running ring; with --storage none, and nothing is written.)";

constexpr const char *kProbeExamples = R"(
Examples:
  fsys probe                     the current directory's file system
  fsys probe /var/lib --json     for scripts
  fsys probe --storage /dev/sda  a device, or a place that must not be written to
  fsys probe --backend io_uring  fail, with the reason, where io_uring cannot be had
  fsys probe --direct            fail where O_DIRECT cannot be had)";

constexpr const char *kCopyText =
    R"(Copies a file or a directory tree through the engine, many operations at a time.

DST is the copy, or an existing directory that receives it, as with cp -R. Regular files,
directories and symbolic links are copied, with permissions and times; sockets, FIFOs and
devices are skipped with a warning. Not kept: owners, extended attributes and ACLs, hard links
between the copied files, holes of sparse files. SRC itself may be a symbolic link to what is
meant; links inside a tree are recreated, not followed.

Existing files are replaced with --force only, each by rename: it has its old content until the
new one is complete. A failure or ^C ends the copy; finished files stay, a partial one never.)";

constexpr const char *kCopyExamples = R"(
--verify reads both sides again and compares. It reads through the page cache unless --direct
is given; with --durable what the cache holds of the files is dropped first.

Examples:
  fsys copy --verify /usr/share/doc /tmp/doc
  fsys copy --durable --direct --verify disk.img /mnt/backup/
  fsys copy --verify-only /usr/share/doc /tmp/doc    check an earlier copy
  fsys copy --threads 8 --depth 32 --block 1M --stats big.tar /mnt/
  fsys copy --json a b | jq .bytes_per_second)";

constexpr const char *kBenchText =
    R"(Runs a workload through the engine and, in alternating rounds of the same run, through plain
pread(2)/pwrite(2) with as many threads, and prints both and their ratio.

Workloads (default block and depth):
  nop        the engine alone, no IO                              -, 32
  read       sequential reads, each thread in its part            64K, 1
  randread   random reads (the default workload)                  4K, 32
  write      sequential overwrites                                64K, 1
  randwrite  random overwrites                                    4K, 32
  append     writes at the end of a growing file                  4K, 1
  sync       overwrite + fdatasync, the pair in order             4K, 1

Modes (what one thread does; `auto` is `wait` at depth 1, else `batch`, with O_DIRECT `pipeline`):
  blocking   fsys_read/fsys_write, depth 1
  wait       submit, then fsys_wait, depth 1
  batch      submit DEPTH in one call, wait for all
  pipeline   keep DEPTH in flight, resubmit as they complete)";

constexpr const char *kBenchExamples = R"(
Latency is from submit until the thread has the completion. Without --rate every thread issues
the next operation when one ends (closed loop), so that a stall delays few operations and hardly
shows in the percentiles; with --rate operations are due at fixed times and latency counts from
then (open loop).

Without FILE a scratch file in the current directory is used, which has no name while the
benchmark runs. FILE is created when absent and removed afterwards; an existing one is only read,
or overwritten when --overwrite says so.

Examples:
  fsys bench
  fsys bench --workload randread --direct --depth 64 --seconds 10
  fsys bench --workload sync --threads 4 --json
  fsys bench --workload randread --depth 1 --rate 20000
  fsys bench --workload read --block 1M /data/some.file)";

constexpr const char *kDemoText =
    R"(Puts real files into a journal, kills the writer, and shows that nothing that was promised
is lost.

The files below the given paths (default /usr/share/doc) are cut into records of up to 16 KiB.
Several threads commit them; each commit is durable before it is acknowledged. In the middle the
writer is killed with SIGKILL. The journal is recovered, every acknowledged record is compared
with its source, a second writer commits the rest, and everything is compared again.)";

constexpr const char *kDemoExamples = R"(
The journal is made in TMPDIR, else /var/tmp, and removed at the end; with --dir it stays. SIGKILL
ends a process, not the power: what the kernel had been given may survive unacknowledged, too.

Examples:
  fsys demo
  fsys demo --threads 4 /usr/include
  fsys demo --dir /mnt/disk/journal ~/mail
  fsys demo --json | jq .commits_per_second)";

// Usage first, then what it is, then the options; one blank line between.
class HelpFormatter : public CLI::Formatter {
public:
    HelpFormatter()
    {
        column_width(26);
        label("REQUIRED", "");
        label("TEXT", "");
        label("Positionals", "Arguments");
        label("SUBCOMMAND", "COMMAND");
    }

    std::string make_help(const CLI::App *app, std::string name,
                          CLI::AppFormatMode mode) const override
    {
        if (mode == CLI::AppFormatMode::Sub) {
            return make_expanded(app);
        }
        std::string out = make_usage(app, name);
        while (out.back() == '\n') {
            out.pop_back();
        }
        out += "\n\n" + app->get_description() + "\n" + make_positionals(app);
        return out + make_groups(app, mode) + make_subcommands(app, mode) + app->get_footer();
    }
};

std::string version_text()
{
    return fmt::format("fsys {}.{}.{} (library {})", FSYS_VERSION_MAJOR, FSYS_VERSION_MINOR,
                       FSYS_VERSION_PATCH, fsys_version_string());
}

nlohmann::json version_json()
{
    return {{"command", "version"},
            {"ok", true},
            {"header", fmt::format("{}.{}.{}", FSYS_VERSION_MAJOR, FSYS_VERSION_MINOR,
                                   FSYS_VERSION_PATCH)},
            {"library", fsys_version_string()}};
}

// Progress and colours go to stderr, so the result of a redirected stdout stays clean; a result
// that could not be written is a failure like any other.
int finish(int code)
{
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
        fmt::print(stderr, "fsys: cannot write the result to standard output\n");
        return kFailed;
    }
    return code;
}

void print_error(const std::string &text)
{
    fmt::print(stderr, "fsys: {} {}\n", red("error:", colours(STDERR_FILENO)), text);
}

int run(const std::function<int()> &command, const std::string &name, bool json)
{
    nlohmann::json error;
    int exit_code = kFailed;
    try {
        return finish(command());
    } catch (const Usage &usage) {
        print_error(usage.what());
        fmt::print(stderr, "Try 'fsys {} --help'.\n", name);
        return kUsage;
    } catch (const Failure &failure) {
        print_error(failure.what());
        error = {{"message", failure.what()}};
        if (!failure.path().empty()) {
            error["path"] = failure.path();
        }
        if (failure.offset() >= 0) {
            error["offset"] = failure.offset();
        }
        if (failure.code() != 0) {
            error["code"] = failure.code();
            error["name"] = fsys_error_name(failure.code());
        }
    } catch (const Interrupted &stop) {
        const std::string text =
            "interrupted" + (stop.text.empty() ? std::string() : "; " + stop.text);
        print_error(text);
        error = {{"message", text}, {"signal", stop.signal}};
        exit_code = 128 + stop.signal;
    } catch (const std::bad_alloc &) {
        print_error("out of memory");
        error = {{"message", "out of memory"}};
    } catch (const std::exception &other) {
        print_error(other.what());
        error = {{"message", other.what()}};
    }
    if (json) {
        fmt::print("{}\n", json_text({{"command", name}, {"ok", false}, {"error", error}}));
    }
    const int written = finish(exit_code);
    return written == kOk ? exit_code : written;
}

void refuse_contradictions(const CopyOptions &options)
{
    if (options.block == 0 || options.block > (std::uint64_t{64} << 20)) {
        throw Usage("--block takes 1 byte to 64M");
    }
    if (options.direct && options.block % 512 != 0) {
        throw Usage("--direct needs a --block that is a multiple of 512");
    }
    if (options.depth * std::uint64_t{options.threads == 0 ? 8 : options.threads} * options.block >
        (std::uint64_t{8} << 30)) {
        throw Usage("--threads x --depth x --block is more than 8G of buffers");
    }
    if (options.verify_only && options.force) {
        throw Usage("--verify-only writes nothing: --force means nothing");
    }
}

int command_line(int argc, char **argv)
{
    CLI::App app("File IO for programs that must know when their bytes are safe: look at, copy and "
                 "measure\nthrough libfsys.",
                 "fsys");
    app.formatter(std::make_shared<HelpFormatter>());
    app.require_subcommand(0, 1);
    app.set_help_flag("-h,--help", "print this help and exit");
    bool version = false;
    bool version_as_json = false;
    app.add_flag("--version", version, "print the versions of program and library and exit");
    app.add_flag("--json", version_as_json, "with --version: one JSON document");
    app.footer(std::string(kMainExamples) + kExitCodes);

    ProbeOptions probe_options;
    CLI::App *probe = app.add_subcommand("probe", "what kernel, file system and engine really use");
    probe->add_option("PATH", probe_options.path,
                      "file, directory or block device (default .)");
    add_backend(*probe, probe_options.backend);
    probe->add_flag("--storage", probe_options.storage,
                    "only what lies underneath PATH: no scratch file, no engine");
    probe->add_flag("--direct", probe_options.direct, "fail where O_DIRECT cannot be had");
    probe->add_flag("--json", probe_options.json, "one JSON document on standard output");

    CopyOptions copy_options;
    CLI::App *copy = app.add_subcommand("copy", "copy a file or a tree through the engine");
    copy->add_option("SRC", copy_options.source, "file or directory")->required();
    copy->add_option("DST", copy_options.destination, "the copy, or a directory to put it in")
        ->required();
    add_number(*copy, "--threads", copy_options.threads, 1u, 256u,
               "worker threads (default: processors, 2..8)");
    add_number(*copy, "--depth", copy_options.depth, 1u, 1024u,
               "operations in flight per worker (default 16)");
    add_size(*copy, "--block", copy_options.block, "bytes per operation (default 256K)");
    copy->add_flag("--direct", copy_options.direct, "O_DIRECT on both sides, past the page cache");
    copy->add_flag("--durable", copy_options.durable, "sync every file and directory");
    copy->add_flag("--verify", copy_options.verify, "then read both sides and compare every byte");
    copy->add_flag("--verify-only", copy_options.verify_only, "compare with an earlier copy");
    copy->add_flag("--force", copy_options.force, "replace existing files");
    add_backend(*copy, copy_options.backend);
    copy->add_flag("--stats", copy_options.stats, "print the engine's counters");
    add_progress(*copy, copy_options.progress);
    copy->add_flag("--json", copy_options.json, "one JSON document on standard output");

    BenchOptions bench_options;
    ProgressMode bench_progress = ProgressMode::kAuto;
    CLI::App *bench = app.add_subcommand("bench", "measure a workload against pread and pwrite");
    bench->add_option("FILE", bench_options.file, "the file to use (default: a scratch file)");
    bench->add_option("--workload", bench_options.workload, "see above")
        ->type_name("NAME")
        ->take_last()
        ->check(one_of({"nop", "read", "randread", "write", "randwrite", "append", "sync"}));
    bench->add_option("--mode", bench_options.mode, "see above")
        ->type_name("NAME")
        ->take_last()
        ->check(one_of({"auto", "blocking", "wait", "batch", "pipeline"}));
    bench->add_flag("--direct", bench_options.direct, "O_DIRECT, past the page cache");
    add_size(*bench, "--size", bench_options.size,
             "size of the file (default 256M, or what FILE has)");
    add_size(*bench, "--block", bench_options.block, "bytes per operation");
    add_number(*bench, "--depth", bench_options.depth, 1u, 1024u,
               "operations in flight per thread");
    add_number(*bench, "--threads", bench_options.threads, 1u, 256u, "threads (default 1)");
    add_number(*bench, "--seconds", bench_options.seconds, 0.1, 3600.0,
               "measured time, both sides together (default 4)");
    bench->add_option("--rate", bench_options.rate,
                      "operations per second of all threads (default: no limit)")
        ->type_name("N")
        ->take_last();
    bench->add_flag("--overwrite", bench_options.overwrite, "let a write workload destroy FILE");
    add_backend(*bench, bench_options.backend);
    add_progress(*bench, bench_progress);
    bench->add_flag("--json", bench_options.json, "one JSON document on standard output");

    DemoOptions demo_options;
    CLI::App *demo = app.add_subcommand("demo", "durable commits, SIGKILL, recovery, on real files");
    demo->add_option("PATH", demo_options.sources,
                     "files or directories to ingest (default /usr/share/doc)");
    demo->add_option("--dir", demo_options.directory,
                     "the journal's directory, absent or empty; stays (default: a temporary one)")
        ->type_name("PATH")
        ->take_last()
        ->check([](const std::string &text) {
            return text.starts_with("--")
                       ? fmt::format("'{}' looks like an option; a directory is ./{}", text, text)
                       : std::string();
        });
    add_number(*demo, "--threads", demo_options.threads, 1u, DemoShared::kMostThreads,
               "threads that commit (default 16)");
    add_number(*demo, "--records", demo_options.limit, std::uint64_t{1}, std::uint64_t{10'000'000},
               "most records (default 20000)");
    demo->add_flag("--keep", demo_options.keep, "leave the temporary journal");
    add_progress(*demo, demo_options.progress);
    demo->add_flag("--json", demo_options.json, "one JSON document on standard output");

    const JournalCommands journal(app);
    const FileCommands files(app);

    struct Texts {
        CLI::App *command;
        const char *description;
        const char *examples;
    };
    for (const Texts &texts : {Texts{probe, kProbeText, kProbeExamples},
                               Texts{copy, kCopyText, kCopyExamples},
                               Texts{bench, kBenchText, kBenchExamples},
                               Texts{demo, kDemoText, kDemoExamples}}) {
        texts.command->group("Commands");
        texts.command->set_help_flag("-h,--help", "print this help and exit");
        texts.command->footer(std::string(texts.examples) + "\n" + kExitCodes);
    }

    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp &) {
        for (const Texts &texts : {Texts{probe, kProbeText, kProbeExamples},
                                   Texts{copy, kCopyText, kCopyExamples},
                                   Texts{bench, kBenchText, kBenchExamples},
                                   Texts{demo, kDemoText, kDemoExamples}}) {
            if (texts.command->parsed()) {
                texts.command->description(texts.description);
            }
        }
        journal.describe();
        files.describe();
        fmt::print("{}\n", app.help());
        return finish(kOk);
    } catch (const CLI::ParseError &error) {
        print_error(error.what());
        std::string name;
        for (const CLI::App *command : app.get_subcommands()) {
            name = " " + command->get_name();
        }
        fmt::print(stderr, "Try 'fsys{} --help'.\n", name);
        return kUsage;
    }
    if (version) {
        fmt::print("{}\n", version_as_json ? json_text(version_json()) : version_text());
        return finish(kOk);
    }

    catch_interrupts();
    if (probe->parsed()) {
        return run([&] { return run_probe(probe_options); }, "probe", probe_options.json);
    }
    if (copy->parsed()) {
        return run(
            [&] {
                refuse_contradictions(copy_options);
                return run_copy(copy_options);
            },
            "copy", copy_options.json);
    }
    if (bench->parsed()) {
        bench_options.progress = bench_progress == ProgressMode::kAlways ||
                                 (bench_progress == ProgressMode::kAuto &&
                                  is_terminal(STDERR_FILENO));
        return run([&] { return run_bench(bench_options); }, "bench", bench_options.json);
    }
    if (demo->parsed()) {
        return run([&] { return run_demo(demo_options); }, "demo", demo_options.json);
    }
    if (journal.parsed()) {
        return run([&] { return journal.run(); }, journal.name(), journal.json());
    }
    if (files.parsed()) {
        return run([&] { return files.run(); }, files.name(), files.json());
    }
    print_error("a command is needed: demo, journal, put, sync, probe, copy or bench");
    fmt::print(stderr, "Try 'fsys --help'.\n");
    return kUsage;
}

}  // namespace

}  // namespace cli

int main(int argc, char **argv)
{
    return cli::command_line(argc, argv);
}
