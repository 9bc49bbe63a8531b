// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Journals of the past are read by this version, and journals of this version are read by the
// second implementation (read_journal.py), record for record.

#include <cstdio>

#include "journal/scratch.hpp"
#include "support/catch.hpp"

using namespace journal_test;

namespace {

std::string line(Lsn lsn, const std::string &bytes) {
    char text[80];
    std::snprintf(text, sizeof text, "%llu %zu %08x\n", static_cast<unsigned long long>(lsn),
                  bytes.size(), crc32c(0xffffffffu, bytes.data(), bytes.size()));
    return text;
}

std::string lines(const Read &read) {
    std::string all;
    for (std::size_t i = 0; i < read.records.size(); ++i) {
        all += line(read.lsns[i], read.records[i]);
    }
    return all;
}

std::string second_reader(const std::string &path) {
    const std::string command = "python3 " FSYS_TEST_SOURCE "/read_journal.py " + path;
    std::FILE *pipe = ::popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::string all;
    char piece[4096];
    for (std::size_t n; (n = std::fread(piece, 1, sizeof piece, pipe)) > 0;) {
        all.append(piece, n);
    }
    REQUIRE(::pclose(pipe) == 0);
    return all;
}

}  // namespace

TEST_CASE("golden journals are read, and can be written on", "[journal][golden]") {
    for (const char *name : {"two-records", "segments-512", "direct-4096", "torn-512",
                             "batches-512"}) {
        Scratch dir;
        const std::string golden = std::string(FSYS_TEST_SOURCE "/golden/") + name;
        std::filesystem::create_directory(dir / "j");
        for (const auto &entry : std::filesystem::directory_iterator(golden)) {
            if (entry.path().filename() != "expected") {
                std::filesystem::copy_file(entry.path(),
                                           (dir / "j") + "/" + entry.path().filename().string());
            }
        }
        REQUIRE(lines(read_all(dir / "j")) == slurp(golden + "/expected"));
        auto journal = open_journal(dir / "j", small());
        REQUIRE(journal);
        REQUIRE(journal->commit("more", 4, 0, -1, nullptr) == 0);
        REQUIRE(journal->close() == 0);
        REQUIRE(read_all(dir / "j").records.back() == "more");
    }
}

TEST_CASE("the second reader agrees on rotation, batches, long records, cuts and trimming",
          "[journal][golden]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    std::vector<Lsn> lsns;
    const auto add = [&](std::size_t length) {
        const std::string text = record(lsns.size(), length);
        Lsn lsn = 0;
        REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
        lsns.push_back(lsn);
    };
    for (std::size_t i = 0; i < 80; ++i) {
        add(8 + i * 29 % 900);
        if (i % 6 == 0) {
            REQUIRE(journal->sync(lsns.back(), -1) == 0);
        }
    }
    add(40000);
    std::string a = record(1, 500);
    const iovec batch[] = {{a.data(), 500}, {a.data(), 0}, {a.data(), 77}};
    REQUIRE(journal->append_batch(batch, 3, 0, nullptr, nullptr) == 0);
    REQUIRE(journal->sync(journal->frontier().reserved, -1) == 0);
    REQUIRE(journal->truncate_after(lsns[70]) == 0);
    lsns.resize(71);
    add(300);
    add(20000);
    REQUIRE(journal->sync(lsns.back(), -1) == 0);
    REQUIRE(journal->trim(lsns[30]) == 0);
    journal->abandon();
    journal = open_journal(dir / "j", small(8192));  // another segment size from here on
    REQUIRE(journal);
    add(5000);
    REQUIRE(journal->sync(lsns.back(), -1) == 0);
    add(100);
    REQUIRE(journal->write_out() == 0);
    journal->abandon();
    const Read read = read_all(dir / "j");
    REQUIRE(read.last == Got::end);
    REQUIRE(read.lsns.back() == lsns.back());
    REQUIRE(second_reader(dir / "j") == lines(read));
}
