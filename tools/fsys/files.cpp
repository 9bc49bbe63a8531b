// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys put`: a whole file from standard input or another file, all or nothing. `fsys sync`: what
// others wrote, made durable. One thread.
#include "files.hpp"

#include "engine.hpp"
#include "failure.hpp"
#include "interrupt.hpp"
#include "options.hpp"
#include "units.hpp"

#include <fcntl.h>
#include <fsys/files.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace cli {

namespace {

constexpr const char *kPutText =
    R"(Writes standard input, or a source file, to FILE so that FILE has all of its old content or
all of the new, at any time and after a power cut; when the command succeeds, the new, durably.

The bytes go to a temporary file beside FILE, which is synced, renamed to FILE, and whose directory
is synced. After a failure FILE is as it was. A symbolic link is followed: the file it leads to is
replaced. Other hard links keep the old content.)";

constexpr const char *kPutExamples = R"(
--durability: none (nothing is synced), data (bytes and name), full (mode, owner and attributes too;
the default), device (the disk's cache is flushed by a command of its own besides).
--keep, separated by commas: mode, owner, xattrs, acl, times, all, nothing; what cannot be kept is a
failure. By default mode, owner and access list are kept, an owner if it may be given.

Examples:
  make-config | fsys put /etc/app.conf
  fsys put --from new.json --keep all state.json
  fsys put --new --mode 600 secret.key < key
  fsys put --durability device --json ledger < ledger.new)";

constexpr const char *kSyncText =
    R"(Makes durable what any program wrote to each PATH, a file or directory, and the directory that
holds its name. Creates nothing. The first failure is reported and ends the command.)";

constexpr const char *kSyncExamples = R"(
A write-back error that the kernel has already reported to another program is not reported again:
success says that nothing is left to be written.

Examples:
  fsys sync report.pdf
  fsys sync --data --no-parent *.log
  fsys sync --file-system /mnt/backup    all of that file system
  fsys sync --device database.db         down to the disk's own cache)";

struct Word {
    const char *name;
    std::uint32_t value;
};
constexpr Word kDurabilities[] = {{"none", FSYS_DURABILITY_NONE},
                                  {"data", FSYS_DURABILITY_DATA},
                                  {"full", FSYS_DURABILITY_FULL},
                                  {"device", FSYS_DURABILITY_DEVICE}};
constexpr Word kKeeps[] = {{"mode", FSYS_KEEP_MODE}, {"owner", FSYS_KEEP_OWNER},
                           {"xattrs", FSYS_KEEP_XATTRS}, {"acl", FSYS_KEEP_ACL},
                           {"times", FSYS_KEEP_TIMES}, {"all", FSYS_KEEP_ALL},
                           {"nothing", FSYS_KEEP_NOTHING}};

template <std::size_t N>
std::uint32_t value_of(const Word (&words)[N], const std::string &name)
{
    for (const Word &word : words) {
        if (name == word.name) {
            return word.value;
        }
    }
    throw Usage(fmt::format("'{}' is not known", name));
}

const char *durability_name(std::uint32_t value)
{
    for (const Word &word : kDurabilities) {
        if (value == word.value) {
            return word.name;
        }
    }
    return "none";
}

std::uint32_t mode_of(const std::string &text)
{
    std::uint32_t mode = 0;
    for (const char c : text) {
        mode = mode * 8 + static_cast<std::uint32_t>(c - '0');
    }
    return mode;
}

// Not while it blocks: so that a signal ends the command although no input comes.
std::size_t read_some(int fd, std::byte *buffer, std::size_t size, const std::string &name)
{
    for (;;) {
        if (const int signal = interrupted()) {
            throw Interrupted{signal, "the file is as it was"};
        }
        pollfd wait{fd, POLLIN, 0};
        if (::poll(&wait, 1, 100) <= 0) {
            continue;
        }
        const ssize_t n = ::read(fd, buffer, size);
        if (n >= 0) {
            return static_cast<std::size_t>(n);
        }
        if (errno != EINTR && errno != EAGAIN) {
            throw Failure("cannot read", name, -errno);
        }
    }
}

// Aborts unless it was committed.
class Replacement {
public:
    Replacement(Engine &engine, const std::string &path, const fsys_replace_options &options)
        : path_(path), options_(options)
    {
        const int code = fsys_replace_begin(engine.handle(), path.c_str(), &options, &handle_);
        if (code != 0) {
            throw Failure::told(options.error_text, path, code);
        }
    }
    ~Replacement()
    {
        if (handle_ != nullptr) {
            fsys_replace_abort(handle_);
        }
    }
    Replacement(const Replacement &) = delete;
    Replacement &operator=(const Replacement &) = delete;

    void write(const std::byte *bytes, std::size_t size)
    {
        const int code = fsys_replace_write(handle_, bytes, size);
        if (code != 0) {
            throw Failure::told(options_.error_text, path_, code);
        }
    }
    fsys_file_report commit()
    {
        fsys_file_report report{};
        report.struct_size = sizeof report;
        const int code = fsys_replace_commit(std::exchange(handle_, nullptr), &report);
        if (code != 0) {
            throw Failure::told(options_.error_text, path_, code);
        }
        return report;
    }

private:
    const std::string &path_;
    const fsys_replace_options &options_;
    fsys_replacement *handle_ = nullptr;
};

int run_put(const PutOptions &put)
{
    if (put.fresh && put.existing) {
        throw Usage("--new and --existing exclude each other");
    }
    char text[512] = "";
    fsys_replace_options options{};
    options.struct_size = sizeof options;
    options.error_text = text;
    options.error_text_size = sizeof text;
    options.flags = (put.fresh ? FSYS_REPLACE_NEW : 0) |
                    (put.existing ? FSYS_REPLACE_EXISTING : 0) |
                    (put.nofollow ? FSYS_REPLACE_NOFOLLOW : 0);
    options.durability = value_of(kDurabilities, put.durability);
    for (const std::string &word : put.keep) {
        options.keep |= value_of(kKeeps, word);
    }
    if ((options.keep & FSYS_KEEP_NOTHING) != 0 && options.keep != FSYS_KEEP_NOTHING) {
        throw Usage("--keep nothing keeps nothing else");
    }
    options.mode = mode_of(put.mode);

    const std::string name = put.source.empty() ? "standard input" : put.source;
    Fd source;
    if (!put.source.empty()) {
        source = Fd(::open(put.source.c_str(), O_RDONLY | O_CLOEXEC));
        if (!source.valid()) {
            throw Failure("cannot open", put.source, -errno);
        }
    }
    Engine engine{EngineSettings{}};
    Replacement replacement(engine, put.path, options);
    std::vector<std::byte> buffer(std::size_t{1} << 20);
    while (const std::size_t n = read_some(source.valid() ? source.get() : STDIN_FILENO,
                                           buffer.data(), buffer.size(), name)) {
        replacement.write(buffer.data(), n);
    }
    const fsys_file_report report = replacement.commit();
    nlohmann::json not_kept = nlohmann::json::array();
    std::string missing;
    for (const Word &word : kKeeps) {
        if (word.value < FSYS_KEEP_ALL && (report.not_kept & word.value) != 0) {
            not_kept.push_back(word.name);
            missing += (missing.empty() ? "" : ", ") + std::string(word.name);
        }
    }
    if (!missing.empty()) {
        fmt::print(stderr, "fsys: warning: '{}': not kept: {}\n", printable(put.path), missing);
    }
    if (report.other_links != 0) {
        fmt::print(stderr, "fsys: warning: '{}': {} other hard link(s) keep the old content\n",
                   printable(put.path), report.other_links);
    }
    if (put.json) {
        fmt::print("{}\n", json_text({{"command", "put"},
                                      {"ok", true},
                                      {"path", put.path},
                                      {"bytes", report.bytes},
                                      {"durability", durability_name(report.durability)},
                                      {"not_kept", not_kept},
                                      {"other_links", report.other_links}}));
    }
    return kOk;
}

int run_sync(const SyncOptions &sync)
{
    char text[512] = "";
    fsys_path_options options{};
    options.struct_size = sizeof options;
    options.error_text = text;
    options.error_text_size = sizeof text;
    options.flags = (sync.no_parent || sync.file_system ? 0 : FSYS_PATH_SYNC_PARENT) |
                    (sync.file_system ? FSYS_PATH_FILE_SYSTEM : 0);
    options.durability = sync.device ? FSYS_DURABILITY_DEVICE
                         : sync.data ? FSYS_DURABILITY_DATA
                                     : FSYS_DURABILITY_FULL;
    if (sync.data && (sync.device || sync.file_system)) {
        throw Usage("--data is less than --device or --file-system");
    }
    Engine engine{EngineSettings{}};
    for (const std::string &path : sync.paths) {
        if (const int signal = interrupted()) {
            throw Interrupted{signal, ""};
        }
        const int code = fsys_sync_path(engine.handle(), path.c_str(), &options);
        if (code != 0) {
            throw Failure::told(text, path, code);
        }
    }
    if (sync.json) {
        fmt::print("{}\n", json_text({{"command", "sync"},
                                      {"ok", true},
                                      {"paths", sync.paths},
                                      {"durability", durability_name(options.durability)},
                                      {"file_system", sync.file_system},
                                      {"parents", (options.flags & FSYS_PATH_SYNC_PARENT) != 0}}));
    }
    return kOk;
}

}  // namespace

FileCommands::FileCommands(CLI::App &app)
    : put_(app.add_subcommand("put", "replace a file, all or nothing, durably")),
      sync_(app.add_subcommand("sync", "make durable what others wrote"))
{
    put_->add_option("FILE", put_options_.path, "the file to replace or make")->required();
    put_->add_option("--from", put_options_.source, "read this file (default: standard input)")
        ->type_name("SRC")
        ->take_last();
    put_->add_option("--durability", put_options_.durability, "none, data, full or device")
        ->type_name("CLASS")
        ->take_last()
        ->check(one_of({"none", "data", "full", "device"}));
    put_->add_option("--keep", put_options_.keep, "what the new file takes over from the old one")
        ->type_name("LIST")
        ->delimiter(',')
        ->take_all()
        ->check(one_of({"mode", "owner", "xattrs", "acl", "times", "all", "nothing"}));
    put_->add_option("--mode", put_options_.mode, "permissions of a file that is new (default 666)")
        ->type_name("OCTAL")
        ->take_last()
        ->check([](const std::string &text) {
            return text.empty() || text.size() > 4 ||
                           text.find_first_not_of("01234567") != std::string::npos
                       ? fmt::format("takes one to four octal digits, not '{}'", text)
                       : std::string();
        });
    put_->add_flag("--new", put_options_.fresh, "fail when FILE is there");
    put_->add_flag("--existing", put_options_.existing, "fail when FILE is not there");
    put_->add_flag("--nofollow", put_options_.nofollow, "fail when FILE is a symbolic link");
    put_->add_flag("--json", put_options_.json, "one JSON document on standard output");

    sync_->add_option("PATH", sync_options_.paths, "files or directories")->required();
    sync_->add_flag("--data", sync_options_.data, "not times, mode and owner (fdatasync)");
    sync_->add_flag("--device", sync_options_.device, "flush the disk's own cache besides");
    sync_->add_flag("--file-system", sync_options_.file_system,
                    "all of the file system that holds PATH");
    sync_->add_flag("--no-parent", sync_options_.no_parent, "not the directory that holds PATH");
    sync_->add_flag("--json", sync_options_.json, "one JSON document on standard output");

    for (CLI::App *command : {put_, sync_}) {
        command->group("Commands");
        command->set_help_flag("-h,--help", "print this help and exit");
        command->footer(std::string(command == put_ ? kPutExamples : kSyncExamples) + "\n" +
                        kExitCodes);
    }
}

void FileCommands::describe() const
{
    if (put_->parsed()) {
        put_->description(kPutText);
    }
    if (sync_->parsed()) {
        sync_->description(kSyncText);
    }
}

int FileCommands::run() const
{
    return put_->parsed() ? run_put(put_options_) : run_sync(sync_options_);
}

}  // namespace cli
