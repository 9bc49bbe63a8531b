// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys journal ...`, as main.cpp sees it, and what its files share.
#pragma once

#include "progress.hpp"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

struct JournalOptions {
    std::string path;
    bool json = false;

    // append
    std::string input;           // "": standard input
    std::string commit = "end";  // each, end, or a number of records
    std::uint32_t threads = 1;
    std::uint64_t segment = 0;  // 0: the library's default
    ProgressMode progress = ProgressMode::kAuto;

    // cat, tail, dump, explain, trim, pins, snapshot
    std::uint64_t from = 0;  // records above this LSN
    std::uint64_t to = UINT64_MAX;
    std::uint64_t lines = 10;
    bool follow = false;
    bool durable = false;
    bool written = false;
    std::uint64_t lsn = 0;
    std::string name;
    std::uint64_t max_bytes = 0;

    std::string target;  // of salvage, snapshot
};

// The commands below `fsys journal`.
class JournalCommands {
public:
    explicit JournalCommands(CLI::App &app);

    bool parsed() const { return journal_->parsed(); }
    bool json() const { return options_.json; }
    std::string name() const;  // "journal verify"
    int run() const;
    // The long texts, once a help is asked for.
    void describe() const;

private:
    struct Command {
        CLI::App *app;
        std::string name;
        int (*run)(const JournalOptions &);
        std::string text;
    };
    CLI::App *add(CLI::App &parent, const char *name, const char *description,
                  int (*run)(const JournalOptions &), const char *text, const char *examples);

    JournalOptions options_;
    CLI::App *journal_;
    std::vector<Command> commands_;
};

int run_journal_append(const JournalOptions &options);
int run_journal_cat(const JournalOptions &options);
int run_journal_tail(const JournalOptions &options);
int run_journal_dump(const JournalOptions &options);
int run_journal_ls(const JournalOptions &options);
int run_journal_stat(const JournalOptions &options);
// Exit 0 sound, 1 torn, 2 damaged, 3 cannot be read.
int run_journal_verify(const JournalOptions &options);
int run_journal_explain(const JournalOptions &options);
int run_journal_trim(const JournalOptions &options);
int run_journal_pins_list(const JournalOptions &options);
int run_journal_pins_add(const JournalOptions &options);
int run_journal_pins_remove(const JournalOptions &options);
int run_journal_snapshot(const JournalOptions &options);
int run_journal_salvage(const JournalOptions &options);

// To standard output; throws Failure where that fails.
void put(std::string_view bytes);

}  // namespace cli
