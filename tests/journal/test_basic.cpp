// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a journal promises when nothing goes wrong: append, batch, tickets, sync, reopen, read,
// trim, truncate, rotate, pins, snapshot, caps, locks.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/scratch.hpp"
#include "support/catch.hpp"

using namespace journal_test;

TEST_CASE("records come back in order after close and reopen, in both IO modes", "[journal][basic]") {
    for (const IoMode mode : {IoMode::buffered, IoMode::direct, IoMode::automatic}) {
        Scratch dir;
        Options options = small(65536, mode);
        options.block_bytes = 4096;
        std::vector<std::string> want;
        std::vector<Lsn> lsns;
        for (int round = 0; round < 3; ++round) {
            int code = 0;
            RecoveryReport report;
            auto journal = open_journal(dir / "j", options, &report, &code);
            REQUIRE(code == 0);
            REQUIRE(report.verdict == (round == 0 ? Verdict::fresh : Verdict::clean));
            for (int i = 0; i < 100; ++i) {
                want.push_back(record(want.size(), 8 + (want.size() * 37) % 3000));
                Lsn lsn = 0;
                REQUIRE(journal->append(want.back().data(), want.back().size(), 0, &lsn) == 0);
                lsns.push_back(lsn);
                if (i % 7 == 0) {
                    REQUIRE(journal->sync(lsn, -1) == 0);
                    REQUIRE(journal->durable() >= lsn);
                }
            }
            REQUIRE(journal->close() == 0);
        }
        const Read got = read_all(dir / "j");
        REQUIRE(got.last == Got::end);
        REQUIRE(got.records == want);
        REQUIRE(got.lsns == lsns);
        VerifyReport verified;
        verify(real_syscalls(), dir / "j", verified);
        REQUIRE(verified.recovery.verdict == Verdict::clean);
        REQUIRE(verified.records == want.size());
    }
}

TEST_CASE("a record of any size up to the limit, 0 bytes included, spans what it must",
          "[journal][basic]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(65536));
    REQUIRE(journal);
    std::vector<std::string> want;
    for (const std::size_t length : {0, 1, 7, 8, 16000, 16344, 16345, 65536, 70000, 300000, 5}) {
        std::string text = record(want.size(), length + 8).substr(0, length);
        Lsn lsn = 0;
        REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
        REQUIRE(journal->sync(lsn, -1) == 0);
        want.push_back(std::move(text));
    }
    REQUIRE(journal->append(nullptr, kMaxRecord + 1, 0, nullptr) == -EMSGSIZE);
    std::unique_ptr<Reader> reader;
    REQUIRE(Reader::open(*journal, 0, Bound::durable, reader) == 0);
    REQUIRE(read_all(*reader).records == want);
    reader.reset();
    REQUIRE(journal->close() == 0);
    REQUIRE(read_all(dir / "j").records == want);
}

TEST_CASE("vectored append gathers; an atomic batch gives each record its LSN", "[journal][basic]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small());
    REQUIRE(journal);
    char a[] = "ab";
    char b[] = "cdef";
    const iovec pieces[] = {{a, 2}, {nullptr, 0}, {b, 4}};
    Lsn lsn = 0;
    REQUIRE(journal->appendv(pieces, 3, 0, &lsn) == 0);
    std::vector<std::string> want{"abcdef"};
    std::vector<std::string> batch;
    std::vector<iovec> vecs;
    for (int i = 0; i < 50; ++i) {
        batch.push_back(record(i, 100 + i * 40));
    }
    for (auto &text : batch) {
        vecs.push_back({text.data(), text.size()});
        want.push_back(text);
    }
    std::vector<Lsn> each(batch.size());
    Lsn last = 0;
    REQUIRE(journal->append_batch(vecs.data(), vecs.size(), 0, &last, each.data()) == 0);
    REQUIRE(each.back() == last);
    REQUIRE(journal->append_batch(vecs.data(), 0, 0, &last, nullptr) == -EINVAL);
    REQUIRE(journal->sync(last, -1) == 0);
    std::unique_ptr<Reader> reader;
    REQUIRE(Reader::open(*journal, 0, Bound::durable, reader) == 0);
    const Read got = read_all(*reader);
    REQUIRE(got.records == want);
    REQUIRE(std::vector<Lsn>(got.lsns.begin() + 1, got.lsns.end()) == each);
    // Seeking to an LSN gives the record behind it; inside a record, that record.
    reader->seek(each[9]);
    Record found;
    REQUIRE(reader->next(found) == Got::record);
    REQUIRE(found.lsn == each[10]);
    reader->seek(each[9] - 8);
    REQUIRE(reader->next(found) == Got::record);
    REQUIRE(found.lsn == each[9]);
}

TEST_CASE("tickets: publish, abandon, and an old one is seen and does not block what is before it",
          "[journal][basic]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small());
    REQUIRE(journal);
    Lsn before = 0;
    REQUIRE(journal->append("before", 6, 0, &before) == 0);
    Ticket ticket;
    REQUIRE(journal->reserve(11, 0, &ticket) == 0);
    Ticket dropped;
    REQUIRE(journal->reserve(5, 0, &dropped) == 0);
    Lsn after = 0;
    REQUIRE(journal->append("after", 5, 0, &after) == 0);
    REQUIRE(journal->sync(before, -1) == 0);
    REQUIRE(journal->durable() >= before);
    REQUIRE(journal->durable() < after);
    REQUIRE(journal->sync(after, 20'000'000) == -ETIMEDOUT);
    const Stat stat = journal->stat();
    REQUIRE(stat.open_tickets == 2);
    REQUIRE(stat.oldest_ticket_ns >= 20'000'000);
    REQUIRE(journal->rotate() == -EBUSY);
    std::memcpy(ticket.memory, "in between!", 11);
    Lsn lsn = 0;
    REQUIRE(journal->publish(ticket, &lsn) == 0);
    REQUIRE(journal->publish(ticket, &lsn) == kStale);
    REQUIRE(journal->sync(after, 20'000'000) == -ETIMEDOUT);
    REQUIRE(journal->abandon_ticket(dropped) == 0);
    REQUIRE(journal->sync(after, -1) == 0);
    REQUIRE(journal->close() == 0);
    REQUIRE(read_all(dir / "j").records ==
            std::vector<std::string>{"before", "in between!", "after"});
}

TEST_CASE("trim gives whole segments back and the log still begins with a record", "[journal][basic]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    std::vector<Lsn> lsns;
    for (int i = 0; i < 400; ++i) {
        const std::string text = record(i, 300);
        Lsn lsn = 0;
        REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
        lsns.push_back(lsn);
    }
    REQUIRE(journal->trim(lsns.back()) == -EINVAL);  // not durable yet
    REQUIRE(journal->sync(lsns.back(), -1) == 0);
    const std::size_t many = segment_files(dir / "j").size();
    REQUIRE(many > 5);
    REQUIRE(journal->trim(lsns[300]) == 0);
    REQUIRE(segment_files(dir / "j").size() < many - 3);
    REQUIRE(journal->first() <= lsns[300]);
    REQUIRE(journal->stat().spares <= 3);
    std::unique_ptr<Reader> reader;
    REQUIRE(Reader::open(*journal, lsns[0], Bound::durable, reader) == 0);
    Record record;
    REQUIRE(reader->next(record) == Got::gap);
    REQUIRE(record.lsn == journal->first());
    const Read got = read_all(*reader);
    REQUIRE(got.lsns.front() <= lsns[300]);
    REQUIRE(got.lsns.back() == lsns.back());
    const Lsn kept_from = got.lsns.front();
    reader.reset();
    REQUIRE(journal->close() == 0);
    RecoveryReport report;
    journal = open_journal(dir / "j", small(16384), &report);
    REQUIRE(journal);
    REQUIRE(report.verdict == Verdict::clean);
    REQUIRE(read_all(dir / "j").lsns.front() == kept_from);
}

TEST_CASE("segments of an earlier run are recycled like those of this one", "[journal][basic]") {
    Scratch dir;
    Options options = small(16384);
    options.spare_segments = 8;
    std::vector<std::string> want;
    const auto fill = [&](Journal &journal, int from) {
        for (int i = from; i < from + 150; ++i) {
            want.push_back(record(static_cast<std::size_t>(i), 500));
            Lsn lsn = 0;
            REQUIRE(journal.append(want.back().data(), want.back().size(), 0, &lsn) == 0);
            REQUIRE(journal.sync(lsn, -1) == 0);
        }
    };
    auto journal = open_journal(dir / "j", options);
    REQUIRE(journal);
    fill(*journal, 0);
    const std::uint64_t whole = journal->segments().size() - 1;  // the last one is cut by reopening
    REQUIRE(whole >= 4);
    REQUIRE(journal->close() == 0);
    journal = open_journal(dir / "j", options);
    REQUIRE(journal);
    want.clear();
    fill(*journal, 1000);
    const Lsn middle = journal->segments()[whole + 1].first;
    REQUIRE(journal->trim(middle) == 0);
    REQUIRE(journal->stat().recycled == std::min<std::uint64_t>(whole, 8));
    // Used again: what they held before never shows, whatever stops the writer.
    fill(*journal, 2000);
    journal->abandon();
    journal = open_journal(dir / "j", options);
    REQUIRE(journal);
    REQUIRE(read_all(dir / "j").records == want);
    REQUIRE(journal->close() == 0);
}

TEST_CASE("truncate after an LSN: raft's need", "[journal][basic]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    std::vector<std::string> want;
    std::vector<Lsn> lsns;
    const auto add = [&](int count, int tag) {
        for (int i = 0; i < count; ++i) {
            want.push_back(record(tag * 1000 + i, 200));
            Lsn lsn = 0;
            REQUIRE(journal->append(want.back().data(), want.back().size(), 0, &lsn) == 0);
            lsns.push_back(lsn);
        }
        REQUIRE(journal->sync(lsns.back(), -1) == 0);
    };
    add(200, 1);
    std::unique_ptr<Reader> follower;
    REQUIRE(Reader::open(*journal, 0, Bound::durable, follower) == 0);
    REQUIRE(read_all(*follower).records.size() == 200);
    const std::uint64_t epoch = journal->stat().epoch;
    REQUIRE(journal->truncate_after(lsns[120] + 8) == -EINVAL);
    for (const std::size_t keep : {121u, 60u, 60u}) {
        REQUIRE(journal->truncate_after(lsns[keep - 1]) == 0);
        want.resize(keep);
        lsns.resize(keep);
        add(30, static_cast<int>(keep));
    }
    REQUIRE(journal->stat().epoch > epoch);
    Record record;
    REQUIRE(follower->next(record) == Got::epoch_changed);
    REQUIRE(record.lsn <= lsns[121]);
    std::unique_ptr<Reader> reader;
    REQUIRE(Reader::open(*journal, 0, Bound::durable, reader) == 0);
    REQUIRE(read_all(*reader).records == want);
    reader.reset();
    follower.reset();
    REQUIRE(journal->close() == 0);
    REQUIRE(read_all(dir / "j").records == want);
    journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    REQUIRE(journal->truncate_after(lsns[10]) == 0);
    want.resize(11);
    lsns.resize(11);
    add(5, 9);
    REQUIRE(journal->truncate_after(journal->first()) == 0);
    want.clear();
    lsns.clear();
    add(3, 11);
    REQUIRE(journal->close() == 0);
    REQUIRE(read_all(dir / "j").records == want);
}

TEST_CASE("rotate seals at once, and sealed files do not change", "[journal][basic]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small());
    REQUIRE(journal);
    REQUIRE(journal->commit("one", 3, 0, -1, nullptr) == 0);
    REQUIRE(journal->rotate() == 0);
    REQUIRE(journal->rotate() == 0);  // nothing to seal
    const SegmentInfo first = journal->segments().front();
    REQUIRE(first.sealed);
    const std::string sealed = slurp((dir / "j") + "/" + first.name);
    REQUIRE(sealed.size() == first.file_bytes);
    REQUIRE(journal->commit("two", 3, 0, -1, nullptr) == 0);
    REQUIRE(slurp((dir / "j") + "/" + first.name) == sealed);
    REQUIRE(journal->segments().size() == 2);
    REQUIRE(journal->close() == 0);
    REQUIRE(read_all(dir / "j").records == std::vector<std::string>{"one", "two"});
}

TEST_CASE("pins hold segments, survive reopening, and give way at their byte cap", "[journal][basic]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    std::vector<Lsn> lsns;
    const auto add = [&](int count) {
        for (int i = 0; i < count; ++i) {
            const std::string text = record(i, 300);
            Lsn lsn = 0;
            REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
            lsns.push_back(lsn);
        }
        REQUIRE(journal->sync(lsns.back(), -1) == 0);
    };
    add(200);
    REQUIRE(journal->pin("a name", lsns[5], 0) == -EINVAL);
    REQUIRE(journal->pin("replica", lsns[5], 100'000) == 0);
    REQUIRE(journal->trim(lsns[190]) == 0);
    REQUIRE(journal->first() <= lsns[5]);
    REQUIRE(journal->close() == 0);
    journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    REQUIRE(journal->pins().at("replica").lsn == lsns[5]);
    REQUIRE(journal->trim(lsns[190]) == 0);
    REQUIRE(journal->first() <= lsns[5]);
    add(300);
    REQUIRE(journal->trim(lsns[190]) == 0);  // now over the cap: the pin is dropped
    REQUIRE(journal->first() > lsns[5]);
    REQUIRE(journal->pins().empty());
    REQUIRE(journal->stat().pins_dropped == 1);
    REQUIRE(journal->unpin("replica") == -ENOENT);
}

TEST_CASE("a cap on disk use: ENOSPC before any harm, the reserve for emergencies, trim frees",
          "[journal][basic]") {
    Scratch dir;
    Options options = small(16384);
    options.max_bytes = 5 * options.segment_bytes;
    options.reserve_segments = 1;
    auto journal = open_journal(dir / "j", options);
    REQUIRE(journal);
    const std::string text = record(1, 1000);
    Lsn last = 0;
    int code = 0;
    int count = 0;
    while ((code = journal->append(text.data(), text.size(), 0, &last)) == 0) {
        REQUIRE(++count < 1000);
    }
    REQUIRE(code == -ENOSPC);
    REQUIRE(journal->sync(last, -1) == 0);
    REQUIRE(journal->stat().poisoned == false);
    REQUIRE(journal->append(text.data(), text.size(), 0, nullptr) == -ENOSPC);
    Lsn emergency = 0;
    REQUIRE(journal->append(text.data(), text.size(), kAppendEmergency, &emergency) == 0);
    REQUIRE(journal->sync(emergency, -1) == 0);
    REQUIRE(journal->stat().bytes_on_disk <= options.max_bytes);
    REQUIRE(journal->trim(last) == 0);
    REQUIRE(journal->commit(text.data(), text.size(), 0, -1, nullptr) == 0);
    REQUIRE(journal->close() == 0);
    REQUIRE(read_all(dir / "j").last == Got::end);
}

TEST_CASE("a snapshot of a busy journal is a clean journal", "[journal][basic]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    std::atomic<bool> stop{false};
    std::vector<std::thread> writers;
    for (int t = 0; t < 3; ++t) {
        writers.emplace_back([&, t] {
            for (std::uint64_t i = 0; !stop; ++i) {
                const std::string text = record(i * 3 + t, 200);
                journal->commit(text.data(), text.size(), 0, -1, nullptr);
            }
        });
    }
    for (int i = 0; i < 5; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        const Lsn durable = journal->durable();
        const std::string to = dir / ("copy" + std::to_string(i));
        REQUIRE(journal->snapshot(0, to) == 0);
        VerifyReport report;
        verify(real_syscalls(), to, report);
        REQUIRE(report.recovery.verdict == Verdict::clean);
        REQUIRE(report.recovery.end >= durable);
        REQUIRE(journal->snapshot(0, to) == -ENOTEMPTY);
    }
    stop = true;
    for (auto &writer : writers) {
        writer.join();
    }
    int code = 0;
    auto copy = open_journal(dir / "copy4", small(16384), nullptr, &code);
    REQUIRE(code == 0);
    REQUIRE(copy->commit("more", 4, 0, -1, nullptr) == 0);
}

TEST_CASE("names: only what the journal writes is a segment", "[journal][basic]") {
    Lsn first = 0;
    std::uint64_t number = 0;
    for (const std::uint64_t n : {std::uint64_t{1}, std::uint64_t{0xffffffff},
                                  std::uint64_t{0x100000000}, ~std::uint64_t{0}}) {
        REQUIRE(parse_segment_name(segment_name(0xabcdef0123456789, n).text, first, number));
        REQUIRE((first == 0xabcdef0123456789 && number == n));
    }
    for (const char *name :
         {"00000000000000a0-000000001.fsj", "00000000000000a0-0000001.fsj",
          "00000000000000A0-00000001.fsj", "00000000000000a0_00000001.fsj",
          "00000000000000a0-0000000x.fsj", "00000000000000a0-00000001.fsk",
          "00000000000000a0-11112222333344445.fsj"})
        REQUIRE_FALSE(parse_segment_name(name, first, number));
}

TEST_CASE("places that cannot hold a journal give clear errors", "[journal][basic]") {
    Scratch dir;
    RecoveryReport report;
    int code = 0;
    std::filesystem::create_directory(dir / "foreign");
    spill(dir / "foreign/notes.txt", "mine");
    open_journal(dir / "foreign", small(), &report, &code);
    REQUIRE(code == -ENOTEMPTY);
    REQUIRE_THAT(report.text, Catch::Matchers::ContainsSubstring("notes.txt"));
    REQUIRE(slurp(dir / "foreign/notes.txt") == "mine");
    REQUIRE(std::distance(std::filesystem::directory_iterator(dir / "foreign"),
                          std::filesystem::directory_iterator{}) == 1);
    Options absent = small();
    absent.create = false;
    open_journal(dir / "none", absent, &report, &code);
    REQUIRE(code == -ENOENT);
    open_journal(dir / "none/deeper", small(), &report, &code);
    REQUIRE(code == -ENOENT);
    spill(dir / "file", "x");
    open_journal(dir / "file", small(), &report, &code);
    REQUIRE(code == -ENOTDIR);
    Options odd = small();
    odd.buffer_bytes = 65537;
    open_journal(dir / "j", odd, &report, &code);
    REQUIRE(code == -EINVAL);
    // A journal with foreign files beside it is opened, and they stay.
    REQUIRE(open_journal(dir / "j", small())->close() == 0);
    spill(dir / "j/notes.txt", "mine");
    REQUIRE(open_journal(dir / "j", small()));
    REQUIRE(slurp(dir / "j/notes.txt") == "mine");
    if (::geteuid() != 0) {
        std::filesystem::create_directory(dir / "ro");
        ::chmod((dir / "ro").c_str(), 0555);
        open_journal(dir / "ro", small(), &report, &code);
        REQUIRE(code == -EACCES);
    }
}

TEST_CASE("salvage copies what is readable and names what is not", "[journal][basic]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small(16384));
    REQUIRE(journal);
    std::vector<Lsn> lsns;
    std::vector<std::string> all;
    for (int i = 0; i < 200; ++i) {
        all.push_back(record(i, 250));
        Lsn lsn = 0;
        REQUIRE(journal->commit(all.back().data(), all.back().size(), 0, -1, &lsn) == 0);
        lsns.push_back(lsn);
    }
    REQUIRE(journal->close() == 0);
    const auto files = segment_files(dir / "j");
    std::string bytes = slurp(files[1]);
    std::size_t at_record = std::string::npos;
    for (int i = 0; at_record == std::string::npos; ++i) {
        at_record = bytes.find(all[i]);
    }
    bytes[at_record] = static_cast<char>(bytes[at_record] ^ 1);
    spill(files[1], bytes);
    VerifyReport verified;
    verify(real_syscalls(), dir / "j", verified);
    REQUIRE(verified.recovery.verdict == Verdict::damaged);
    const std::string before = slurp(files[1]);
    SalvageReport report;
    REQUIRE(salvage(real_syscalls(), dir / "j", dir / "saved", small(16384), report) == 0);
    REQUIRE(report.lost.size() == 1);
    REQUIRE(report.records >= 195);
    REQUIRE(report.records < 200);
    REQUIRE(slurp(files[1]) == before);
    const Read got = read_all(dir / "saved");
    REQUIRE(got.last == Got::end);
    std::size_t at = 0;
    for (const auto &text : got.records) {
        while (at < all.size() && all[at] != text) {
            ++at;
        }
        REQUIRE(at < all.size());
    }
}

// The scan reads in windows: what lies across their edges must not be read twice or left out.
TEST_CASE("a long segment is recovered record by record, and damage in it is found where it is",
          "[journal][basic]") {
    Scratch dir;
    Options options = small(std::uint64_t{24} << 20);
    options.buffer_bytes = std::uint64_t{8} << 20;
    options.block_bytes = 4096;
    auto journal = open_journal(dir / "j", options);
    REQUIRE(journal);
    std::vector<std::pair<Lsn, Lsn>> frames;
    std::uint64_t seed = 1;
    while (frames.empty() || frames.back().second < (std::uint64_t{22} << 20)) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const std::uint64_t kind = seed >> 60;
        const std::string text(kind == 0   ? (1u << 20) - 100
                               : kind < 4 ? 1000 + (seed >> 40) % 200'000
                                          : (seed >> 40) % 3000,
                               static_cast<char>('a' + frames.size() % 26));
        Lsn lsn = 0;
        REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
        frames.emplace_back(lsn - frame_bytes(text.size()), lsn);
    }
    REQUIRE(journal->sync(frames.back().second, -1) == 0);
    REQUIRE(journal->segments().size() == 1);
    const Lsn first = journal->first();
    REQUIRE(journal->close() == 0);
    RecoveryReport report;
    REQUIRE(dry_run(real_syscalls(), dir / "j", report) == 0);
    REQUIRE(report.verdict == Verdict::clean);
    REQUIRE(report.records_in_tail == frames.size());
    REQUIRE(report.end >= frames.back().second);
    const std::string file = segment_files(dir / "j").front();
    const int fd = ::open(file.c_str(), O_RDWR);
    REQUIRE(fd >= 0);
    for (Lsn at = std::uint64_t{1} << 20; at < (std::uint64_t{21} << 20); at += 1'777'777) {
        const off_t offset = static_cast<off_t>(kHeaderBlock + at);
        char byte = 0;
        REQUIRE(::pread(fd, &byte, 1, offset) == 1);
        byte = static_cast<char>(byte ^ 1);
        REQUIRE(::pwrite(fd, &byte, 1, offset) == 1);
        REQUIRE(dry_run(real_syscalls(), dir / "j", report) == kCorrupt);
        const auto hit = std::find_if(frames.begin(), frames.end(), [&](const auto &frame) {
            return first + at < frame.second;
        });
        CAPTURE(at);
        REQUIRE(report.damage_lsn == hit->first);
        byte = static_cast<char>(byte ^ 1);
        REQUIRE(::pwrite(fd, &byte, 1, offset) == 1);
    }
    ::close(fd);
    REQUIRE(dry_run(real_syscalls(), dir / "j", report) == 0);
}
