// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The command line of `fsys journal`: its commands, their options and their help. Main thread only.
#include "journal.hpp"

#include "options.hpp"

#include <fmt/format.h>

namespace cli {

namespace {

constexpr const char *kText =
    R"(Looks at, fills, checks and saves journals (write-ahead logs) of the library.

A JOURNAL is a directory. Commands that only look take no lock, change nothing, and work beside a
running writer; so does snapshot. append, trim, pins add and pins remove open the journal for
writing: they fail while another has it open, recover it as any opening does, and begin a new
segment.)";

constexpr const char *kExamples = R"(
Examples:
  fsys journal append /var/lib/app/wal --commit each
  fsys journal tail -f /var/lib/app/wal
  fsys journal verify /var/lib/app/wal
  fsys journal explain /var/lib/app/wal 8192
  fsys journal salvage /var/lib/app/wal /var/lib/app/saved

`fsys journal COMMAND --help` tells more.)";

constexpr const char *kCheckExits = R"(
Exit status: 0 sound, 1 a torn tail, 2 damaged or an unusable command line (then nothing is on
standard output), 3 cannot be read, 128 + n stopped by signal n.)";

std::string each_end_or_number(const std::string &text)
{
    return text == "each" || text == "end" ||
                   between<std::uint64_t>(1, 1'000'000'000)(text).empty()
               ? std::string()
               : fmt::format("'{}' is not each, end or a number of records", text);
}

// `name` with dashes, or a positional argument, which is required.
void add_lsn(CLI::App &app, const char *name, std::uint64_t &value, const char *description)
{
    const bool positional = name[0] != '-';
    app.add_option(name, value, description)
        ->type_name(positional ? "" : "LSN")
        ->required(positional)
        ->take_last()
        ->check([](const std::string &text) {
            // The parser of numbers takes -5 for a very large one.
            return text.find_first_not_of("0123456789") == std::string::npos
                       ? std::string()
                       : fmt::format("'{}' is not an LSN", text);
        });
}

}  // namespace

CLI::App *JournalCommands::add(CLI::App &parent, const char *name, const char *description,
                               int (*run)(const JournalOptions &), const char *text,
                               const char *examples)
{
    CLI::App *app = parent.add_subcommand(name, description);
    app->set_help_flag("-h,--help", "print this help and exit");
    app->add_option("JOURNAL", options_.path, "its directory")->required();
    app->add_flag("--json", options_.json, "JSON on standard output");
    const bool checks = run == &run_journal_verify || run == &run_journal_explain;
    app->footer(std::string("\nExamples:\n") + examples + "\n" +
                (checks ? kCheckExits : kExitCodes));
    const std::string above = &parent == journal_ ? "" : parent.get_name() + " ";
    commands_.push_back({app, "journal " + above + name, run, text});
    return app;
}

JournalCommands::JournalCommands(CLI::App &app)
    : journal_(app.add_subcommand("journal", "look at, fill, check and save journals"))
{
    journal_->require_subcommand(1);
    journal_->group("Commands");
    journal_->set_help_flag("-h,--help", "print this help and exit");
    journal_->footer(std::string(kExamples) + "\n" + kExitCodes);

    CLI::App *append = add(*journal_, "append", "lines of a file or of standard input, as records",
                           &run_journal_append,
                           "Appends each line of INPUT as a record, without its newline. The "
                           "journal is made when absent.\n\nWith several threads the lines are "
                           "appended in any order. At the end, and after an\ninterrupt, all that "
                           "was appended is made durable.",
                           R"(  fsys journal append wal --commit each < orders.txt
  fsys journal append wal access.log --threads 8 --commit 100
  tail -f app.log | fsys journal append wal --commit each)");
    append->add_option("INPUT", options_.input, "the file (default: standard input)");
    add_number(*append, "--threads", options_.threads, 1u, 256u, "threads that append (default 1)");
    append->add_option("--commit", options_.commit,
                       "after each record, after N of a thread, or at the end (default)")
        ->type_name("WHEN")
        ->take_last()
        ->check(each_end_or_number);
    add_size(*append, "--segment", options_.segment, "room of a new segment (default 64M)");
    add_progress(*append, options_.progress);

    const auto add_bounds = [this](CLI::App *command) {
        add_lsn(*command, "--from", options_.from, "only records above this LSN");
        command->add_flag("--written", options_.written,
                          "beside a writer: also what is not yet durable");
    };
    add_bounds(add(*journal_, "cat", "print the records", &run_journal_cat,
                   "Prints the records, a newline behind each; with --json one document a line.\n"
                   "Damage ends it with an error, after all records before it.",
                   R"(  fsys journal cat wal
  fsys journal cat wal --from 8192 --json)"));
    CLI::App *tail = add(*journal_, "tail", "print the last records, and follow", &run_journal_tail,
                         "Prints the last records. With -f it goes on with what is appended: woken "
                         "by the writer,\nwhatever process that is, and waiting for one when there "
                         "is none.",
                         R"(  fsys journal tail wal -n 100
  fsys journal tail -f --written wal)");
    add_number(*tail, "-n,--lines", options_.lines, std::uint64_t{0}, std::uint64_t{1} << 40,
               "records (default 10)");
    tail->add_flag("-f,--follow", options_.follow, "go on until interrupted");
    tail->add_flag("--durable", options_.durable, "what survives power loss (default)");
    tail->add_flag("--written", options_.written, "also what is written and not yet durable");
    CLI::App *dump = add(*journal_, "dump", "print records in hexadecimal", &run_journal_dump,
                         "Prints the records of a range of LSNs in hexadecimal, with their "
                         "positions. Ranges that cannot\nbe read are named and skipped; the exit "
                         "status is then 1.",
                         R"(  fsys journal dump wal
  fsys journal dump wal --from 8192 --to 12288)");
    add_bounds(dump);
    add_lsn(*dump, "--to", options_.to, "only records up to this LSN");

    add(*journal_, "ls", "list the segments", &run_journal_ls,
        "Lists the segment files, oldest first. Sealed ones never change.",
        R"(  fsys journal ls wal)");
    add(*journal_, "stat", "extent, writer, pins, disk space", &run_journal_stat,
        "Tells how far the journal goes, whether a writer has it open, what pins hold it, and what "
        "it takes.",
        R"(  fsys journal stat wal
  fsys journal stat wal --json | jq .end_lsn)");

    add(*journal_, "verify", "check every frame", &run_journal_verify,
        "Reads every frame and changes nothing. Beside a writer it checks what is durable.\n\n"
        "A torn tail is bytes that were never acknowledged: opening cuts it. Damage is acknowledged "
        "bytes\nthat are missing or altered: opening refuses the journal.",
        R"(  fsys journal verify wal && echo sound)");
    add_lsn(*add(*journal_, "explain", "what lies at an LSN, by which rule, proved by what",
        &run_journal_explain,
        "Tells what lies at a position, which rule of recovery says so, and the frame that proves "
        "it.\n\nA record's LSN is the position just past it, damage is named by the position where "
        "it begins;\nso what ends at LSN is told of too, when that is a record or bad.",
        R"(  fsys journal explain wal 8192)"),
            "LSN", options_.lsn, "the position");

    add_lsn(*add(*journal_, "trim", "give up old records", &run_journal_trim,
        "Gives up records up to LSN: whole segments, no further than the pins allow.",
        R"(  fsys journal trim wal 1048576)"),
            "LSN", options_.lsn, "at most the end");
    CLI::App *pins = journal_->add_subcommand("pins", "list, add and remove pins");
    pins->require_subcommand(1);
    pins->set_help_flag("-h,--help", "print this help and exit");
    pins->footer(std::string("\nExamples:\n  fsys journal pins list wal\n") + kExitCodes);
    add(*pins, "list", "what is kept for whom", &run_journal_pins_list,
        "Lists the pins: LSN, limit and name.", R"(  fsys journal pins list wal)");
    CLI::App *pin = add(*pins, "add", "keep what lies behind an LSN", &run_journal_pins_add,
                        "Keeps everything behind LSN from being trimmed. A pin of the same name is "
                        "moved.",
                        R"(  fsys journal pins add wal backup 8192 --max-bytes 10G)");
    pin->add_option("NAME", options_.name, "1 to 255 bytes without white space")->required();
    add_lsn(*pin, "LSN", options_.lsn, "a position that is kept");
    add_size(*pin, "--max-bytes", options_.max_bytes,
             "drop the pin rather than hold back more (default: no limit)");
    add(*pins, "remove", "give a pin up", &run_journal_pins_remove, "Removes a pin.",
        R"(  fsys journal pins remove wal backup)")
        ->add_option("NAME", options_.name, "the pin")
        ->required();

    CLI::App *snapshot =
        add(*journal_, "snapshot", "copy to a new, clean journal", &run_journal_snapshot,
            "Copies the journal, up to a record, into TARGET, and checks the copy. JOURNAL is not "
            "changed, and a\nwriter is not held up: what it trims meanwhile is not in the copy.",
            R"(  fsys journal snapshot wal /backup/wal
  fsys journal snapshot wal /backup/wal --to 8192)");
    snapshot->add_option("TARGET", options_.target, "absent or empty directory")->required();
    add_lsn(*snapshot, "--to", options_.lsn, "LSN of the last record to copy (default: all)");
    add(*journal_, "salvage", "copy what can be read to a new journal", &run_journal_salvage,
        "Copies every readable record of a damaged journal into TARGET, with new LSNs. JOURNAL "
        "is\nnot changed.",
        R"(  fsys journal salvage wal saved)")
        ->add_option("TARGET", options_.target, "absent or empty directory")
        ->required();
}

void JournalCommands::describe() const
{
    if (!journal_->parsed()) {
        return;
    }
    journal_->description(kText);
    for (const Command &command : commands_) {
        if (command.app->parsed()) {
            command.app->description(command.text);
        }
    }
}

std::string JournalCommands::name() const
{
    for (const Command &command : commands_) {
        if (command.app->parsed()) {
            return command.name;
        }
    }
    return "journal";
}

int JournalCommands::run() const
{
    for (const Command &command : commands_) {
        if (command.app->parsed()) {
            return command.run(options_);
        }
    }
    return 2;  // not reached: the parser asks for a command
}

}  // namespace cli
