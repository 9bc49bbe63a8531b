// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys journal ...`, as main.cpp sees it.
#pragma once

#include <cstdint>
#include <string>

namespace cli {

struct JournalOptions {
    std::string path;
    std::string target;  // of salvage
    std::string commit = "end";  // append: each or end
    std::uint64_t from = 0;      // cat: records above this LSN
    bool follow = false;
    bool written = false;
    bool json = false;
};
// Exit 0 clean or empty, 1 a torn tail, 2 damaged, 3 cannot be read.
int run_journal_verify(const JournalOptions &options);
int run_journal_cat(const JournalOptions &options);
int run_journal_append(const JournalOptions &options);
int run_journal_salvage(const JournalOptions &options);

}  // namespace cli
