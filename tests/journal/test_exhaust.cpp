// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Recovery by exhaustion: a small journal, damaged in every place in every simple way. The result
// is an exact prefix of what was written that holds everything that the remaining bytes prove to
// have been acknowledged, or FSYS_E_CORRUPT with the LSN; never an altered, invented, reordered or
// silently skipped record.

#include <fcntl.h>

#include "journal/powerloss.hpp"
#include "support/catch.hpp"

using namespace journal_test;

namespace {

struct Golden {
    std::unique_ptr<sim::Disk> disk;
    Options options;
    std::vector<std::string> records;
    std::vector<Lsn> lsns;
    std::vector<std::string> segments;
};

// `clean`: closed in order, so that the watermark covers the end.
Golden make(int commits, int per_commit, bool clean, std::uint64_t data = 8192,
            std::size_t length = 100) {
    Golden golden;
    golden.disk = std::make_unique<sim::Disk>();
    golden.options = small(data);
    golden.options.spare_segments = 1;
    auto journal = open_journal("/j", golden.options, nullptr, nullptr, *golden.disk);
    REQUIRE(journal);
    for (int c = 0; c < commits; ++c) {
        for (int i = 0; i < per_commit; ++i) {
            golden.records.push_back(record(golden.records.size(), length + (golden.records.size() * 13) % 90));
            Lsn lsn = 0;
            REQUIRE(journal->append(golden.records.back().data(), golden.records.back().size(), 0,
                                    &lsn) == 0);
            golden.lsns.push_back(lsn);
        }
        REQUIRE(journal->sync(golden.lsns.back(), -1) == 0);
    }
    if (clean) {
        REQUIRE(journal->close() == 0);
    } else {
        journal->abandon();
    }
    for (const auto &name : golden.disk->names("j")) {
        if (name.size() > 4 && name.substr(name.size() - 4) == ".fsj") {
            golden.segments.push_back(name);
        }
    }
    return golden;
}

std::unique_ptr<sim::Disk> copy(const sim::Disk &disk) {
    sim::Random random(1);
    return disk.crash(sim::Loss::none, random);
}

struct Outcome {
    bool corrupt = false;
    std::size_t records = 0;
    Lsn damage = 0;
};

// Opens for write. Anything but an exact prefix or kCorrupt fails the test. The result of a
// journal that is opened a second time is the same.
Outcome open_damaged(sim::Disk &disk, const Golden &golden) {
    Outcome outcome;
    RecoveryReport report;
    int code = 0;
    auto journal = open_journal("/j", golden.options, &report, &code, disk);
    if (!journal) {
        if (code != kCorrupt) {
            FAIL("open gave " << code << ": " << report.text);
        }
        outcome.corrupt = true;
        outcome.damage = report.damage_lsn;
        return outcome;
    }
    std::unique_ptr<Reader> reader;
    if (Reader::open(*journal, 0, Bound::durable, reader) != 0) {
        FAIL("no reader");
    }
    const Read read = read_all(*reader);
    if (read.last == Got::damaged) {
        outcome.corrupt = true;  // inside: found by the reader, with its LSN
        outcome.damage = read.damage;
    } else if (read.last != Got::end) {
        FAIL("reading ended with " << static_cast<int>(read.last));
    }
    if (read.records.size() > golden.records.size()) {
        FAIL("more records than were written");
    }
    for (std::size_t i = 0; i < read.records.size(); ++i) {
        if (read.records[i] != golden.records[i]) {
            FAIL("record " << i << " is altered or out of place");
        }
    }
    outcome.records = read.records.size();
    reader.reset();
    journal->abandon();
    return outcome;
}

}  // namespace

TEST_CASE("R8: truncation at every byte gives an exact prefix or names the damage",
          "[journal][exhaust]") {
    const Golden golden = make(12, 2, false);
    REQUIRE(golden.segments.size() >= 1);
    const std::string last = golden.segments.back();
    const std::size_t size = golden.disk->contents("j", last)->size();
    std::size_t prefixes = 0;
    std::size_t torn_records_max = 0;
    for (std::size_t at = 0; at < size; at += sweep_step()) {
        auto disk = copy(*golden.disk);
        disk->contents("j", last)->resize(at);
        const Outcome outcome = open_damaged(*disk, golden);
        if (!outcome.corrupt) {
            ++prefixes;
            torn_records_max = std::max(torn_records_max, outcome.records);
        } else {
            // The hot watermark says what had been durable; only below it may it be damage.
            REQUIRE(outcome.damage <= golden.lsns.back());
        }
    }
    // Cuts behind the last record keep all of them.
    REQUIRE(prefixes > 0);
    REQUIRE(torn_records_max == golden.records.size());
    // Without the watermark's knowledge (its hot slot lost) every cut is a torn tail: nothing
    // later is left to prove anything. All that lies before the cut must be there.
    for (std::size_t at = kHeaderBlock; at < size; at += sweep_step()) {
        auto disk = copy(*golden.disk);
        disk->contents("j", last)->resize(at);
        std::fill_n(disk->contents("j", kMarkName)->begin(), 512, std::uint8_t{0});
        const Outcome outcome = open_damaged(*disk, golden);
        REQUIRE_FALSE(outcome.corrupt);
        Lsn first = 0;
        std::uint64_t number = 0;
        REQUIRE(parse_segment_name(last, first, number));
        const Lsn cut = first + (at - kHeaderBlock);
        std::size_t must = 0;
        while (must < golden.lsns.size() && golden.lsns[must] <= cut) {
            ++must;
        }
        REQUIRE(outcome.records == must);
    }
}

TEST_CASE("R7: every single bit flip is detected, or lies in no acknowledged byte",
          "[journal][exhaust]") {
    const Golden golden = make(8, 2, true, 5120, 60);
    std::size_t detected = 0;
    std::size_t harmless = 0;
    for (const auto &name : golden.segments) {
        const std::size_t size = golden.disk->contents("j", name)->size();
        for (std::size_t bit = 0; bit < size * 8; bit += sweep_step()) {
            auto disk = copy(*golden.disk);
            (*disk->contents("j", name))[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
            const Outcome outcome = open_damaged(*disk, golden);
            if (outcome.corrupt) {
                ++detected;
            } else {
                // Closed in order: the watermark proves every record, so none may be missing.
                REQUIRE(outcome.records == golden.records.size());
                ++harmless;
            }
        }
    }
    INFO(detected << " detected, " << harmless << " harmless");
    REQUIRE(detected > golden.records.size() * 100 * 8 / sweep_step());
    REQUIRE(harmless > 0);
}

TEST_CASE("R7: a flipped bit in the watermark costs at most its newer slot",
          "[journal][exhaust]") {
    const Golden golden = make(4, 1, true, 4096, 60);
    for (std::size_t bit = 0; bit < 2 * kSlotStride * 8;
         bit += sweep_step() * (bit < 1024 * 8 ? 1 : 7)) {
        auto disk = copy(*golden.disk);
        (*disk->contents("j", kMarkName))[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
        const Outcome outcome = open_damaged(*disk, golden);
        REQUIRE_FALSE(outcome.corrupt);
        REQUIRE(outcome.records == golden.records.size());
    }
}

TEST_CASE("R9: zeroed, swapped and stale sectors below the watermark are damage",
          "[journal][exhaust]") {
    const Golden golden = make(10, 2, true);
    for (const auto &name : golden.segments) {
        const auto &good = *golden.disk->contents("j", name);
        const std::size_t sectors = good.size() / 512;
        const auto run = [&](const std::vector<std::uint8_t> &bytes) {
            auto disk = copy(*golden.disk);
            *disk->contents("j", name) = bytes;
            const Outcome outcome = open_damaged(*disk, golden);
            if (bytes == good || !outcome.corrupt) {
                REQUIRE(outcome.records == golden.records.size());
            }
        };
        for (std::size_t a = 0; a < sectors; ++a) {
            auto bytes = good;
            std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(a * 512), 512,
                        std::uint8_t{0});
            run(bytes);
            for (std::size_t b = 0; b < sectors; ++b) {
                bytes = good;
                const auto at_a = bytes.begin() + static_cast<std::ptrdiff_t>(a * 512);
                const auto at_b = bytes.begin() + static_cast<std::ptrdiff_t>(b * 512);
                if (a < b) {
                    std::swap_ranges(at_a, at_a + 512, at_b);
                } else if (a > b) {
                    std::copy(at_b, at_b + 512, at_a);  // a stale copy of an earlier sector
                } else {
                    continue;
                }
                run(bytes);
            }
        }
    }
}

TEST_CASE("dropped, duplicated and swapped segments are damage", "[journal][exhaust]") {
    const Golden golden = make(60, 2, true);
    REQUIRE(golden.segments.size() >= 4);
    const auto verdict = [&](sim::Disk &disk) {
        const Outcome outcome = open_damaged(disk, golden);
        REQUIRE(outcome.corrupt);
        REQUIRE(outcome.damage >= kFirstLsn);
        REQUIRE(outcome.damage <= golden.lsns.back() + 4096);
    };
    for (std::size_t i = 0; i < golden.segments.size(); ++i) {
        auto dropped = copy(*golden.disk);
        REQUIRE(dropped->unlink(AT_FDCWD, ("/j/" + golden.segments[i]).c_str()) == 0);
        verdict(*dropped);
        for (std::size_t k = 0; k < golden.segments.size(); ++k) {
            if (k == i) {
                continue;
            }
            // The bytes of one under the name of another.
            auto doubled = copy(*golden.disk);
            *doubled->contents("j", golden.segments[i]) =
                *golden.disk->contents("j", golden.segments[k]);
            verdict(*doubled);
        }
        // A copy under the next free name.
        Lsn first = 0;
        std::uint64_t number = 0;
        REQUIRE(parse_segment_name(golden.segments.back(), first, number));
        auto more = copy(*golden.disk);
        const int fd = more->open(AT_FDCWD, ("/j/" + segment_name(first + 8192, number + 1)).c_str(),
                                  O_RDWR | O_CREAT, 0666);
        REQUIRE(fd >= 0);
        const auto &bytes = *golden.disk->contents("j", golden.segments[i]);
        REQUIRE(more->pwrite(fd, bytes.data(), bytes.size(), 0, 0) ==
                static_cast<ssize_t>(bytes.size()));
        more->close(fd);
        verdict(*more);
    }
    auto no_mark = copy(*golden.disk);
    REQUIRE(no_mark->unlink(AT_FDCWD, "/j/watermark") == 0);
    verdict(*no_mark);
}

TEST_CASE("R11: stale bytes of recycled segments are never replayed", "[journal][exhaust]") {
    // Identical record lengths make every frame of the old use lie exactly where one of the new
    // use goes: the worst case.
    sim::Disk disk;
    Options options = small(4096);
    options.spare_segments = 2;
    auto journal = open_journal("/j", options, nullptr, nullptr, disk);
    REQUIRE(journal);
    std::vector<std::string> kept;
    std::vector<Lsn> lsns;
    for (int round = 0; round < 3000; ++round) {
        const std::string text = record(round, 88);  // 128 bytes with its header
        Lsn lsn = 0;
        REQUIRE(journal->append(text.data(), text.size(), 0, &lsn) == 0);
        kept.push_back(text);
        lsns.push_back(lsn);
        if (round % 5 == 4) {
            REQUIRE(journal->sync(lsn, -1) == 0);
        }
        if (round % 40 == 39) {
            REQUIRE(journal->trim(lsns[lsns.size() - 10]) == 0);
        }
        if (round % 30 == 29) {
            // Kill and reopen at every fill level of a recycled segment.
            journal->abandon();
            RecoveryReport report;
            journal = open_journal("/j", options, &report, nullptr, disk);
            REQUIRE(journal);
            std::unique_ptr<Reader> reader;
            REQUIRE(Reader::open(*journal, 0, Bound::durable, reader) == 0);
            const Read read = read_all(*reader);
            REQUIRE(read.last == Got::end);
            REQUIRE(read.records.back() == kept.back());
            REQUIRE(std::equal(read.records.rbegin(), read.records.rend(), kept.rbegin()));
        }
    }
    REQUIRE(journal->stat().recycled + 1 > 0);
    // Without reopening, recycling really happens and the pool stays bounded.
    std::uint64_t most = 0;
    for (int round = 0; round < 500; ++round) {
        const std::string text = record(round, 88);
        Lsn lsn = 0;
        REQUIRE(journal->commit(text.data(), text.size(), 0, -1, &lsn) == 0);
        if (round % 20 == 19) {
            REQUIRE(journal->trim(lsn) == 0);
        }
        most = std::max(most, journal->stat().spares);
    }
    REQUIRE(journal->stat().recycled > 20);
    REQUIRE(most <= 3);
}

TEST_CASE("a read error is neither torn nor damaged: reported, nothing touched",
          "[journal][exhaust]") {
    const Golden golden = make(6, 2, false);
    auto measure = copy(*golden.disk);
    const std::uint64_t before = measure->calls();
    open_journal("/j", golden.options, nullptr, nullptr, *measure);
    const std::uint64_t calls = measure->calls() - before;
    std::size_t failed = 0;
    for (std::uint64_t k = 0; k < calls; ++k) {
        auto disk = copy(*golden.disk);
        disk->set_fault({disk->calls() + k, -EIO, false, 0});
        RecoveryReport report;
        int code = 0;
        auto journal = open_journal("/j", golden.options, &report, &code, *disk);
        REQUIRE(code != kCorrupt);
        failed += code != 0;
        if (journal) {
            journal->abandon();
        }
        disk->set_fault({});
        const Outcome outcome = open_damaged(*disk, golden);
        REQUIRE_FALSE(outcome.corrupt);
        REQUIRE(outcome.records == golden.records.size());
    }
    REQUIRE(failed > calls / 2);
}

// Found by tests/fuzz: a watermark whose CRC is right and that no writer writes. Believed, its trim
// point hid every record, also those committed afterwards.
TEST_CASE("a watermark that contradicts itself is damage", "[journal][exhaust]") {
    Scratch dir;
    auto journal = open_journal(dir / "j", small());
    REQUIRE(journal);
    REQUIRE(journal->commit("one", 3, 0, -1, nullptr) == 0);
    REQUIRE(journal->close() == 0);
    const std::string mark = dir / "j/watermark";
    const std::string good = slurp(mark);
    const auto damaged_by = [&](auto change) {
        std::string bytes = good;
        for (std::size_t i = 0; i < 2; ++i) {
            Slot slot;
            REQUIRE(decode_slot(bytes.data() + i * kSlotStride, slot));
            change(slot);
            encode_slot(slot, bytes.data() + i * kSlotStride);
        }
        spill(mark, bytes);
        RecoveryReport report;
        int code = 0;
        REQUIRE_FALSE(open_journal(dir / "j", small(), &report, &code));
        REQUIRE(report.text.find("contradicts itself") != std::string::npos);
        return code;
    };
    REQUIRE(damaged_by([](Slot &s) { s.trim_lsn = s.durable_lsn + 4096; }) == kCorrupt);
    REQUIRE(damaged_by([](Slot &s) { s.trim_lsn = 0; }) == kCorrupt);
    REQUIRE(damaged_by([](Slot &s) { s.trim_lsn += 4; }) == kCorrupt);
    REQUIRE(damaged_by([](Slot &s) { s.durable_lsn = ~std::uint64_t{7}; }) == kCorrupt);
    REQUIRE(damaged_by([](Slot &s) { s.durable_lsn += 4; }) == kCorrupt);
    REQUIRE(damaged_by([](Slot &s) { s.cut_epoch = s.epoch; }) == kCorrupt);
    REQUIRE(damaged_by([](Slot &s) {
                s.epoch = 2;
                s.cut_epoch = 1;
                s.cut_lsn = s.durable_lsn + 8;
            }) == kCorrupt);
    spill(mark, good);
    REQUIRE(open_journal(dir / "j", small()));
}
