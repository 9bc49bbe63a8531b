// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// fsys_journal_explain(), the rules in the report, and the lists by path: each rule is provoked,
// and what is said of a position is compared with what the journal was made of.

#include <atomic>
#include <cstddef>
#include <deque>

#include "fsys/journal.h"

#include "journal/scratch.hpp"
#include "support/catch.hpp"

using namespace journal_test;

namespace {

fsys_journal_finding explain(const std::string &path, std::uint64_t at) {
    fsys_journal_finding found{};
    found.struct_size = sizeof found;
    INFO("position " << at);
    REQUIRE(fsys_journal_explain(path.c_str(), at, &found) == 0);
    INFO(found.text);
    REQUIRE(found.start <= at);
    REQUIRE(at < found.end);
    REQUIRE(found.text[0] != '\0');
    return found;
}

fsys_journal_report check(const std::string &path, std::uint32_t flags = 0) {
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    const int code = fsys_journal_check(path.c_str(), flags, &report);
    INFO(report.text);
    REQUIRE(code == (report.verdict == FSYS_JOURNAL_DAMAGED ? FSYS_E_CORRUPT : 0));
    return report;
}

struct Made {
    std::vector<Lsn> lsns;
    std::vector<std::size_t> lengths;
};

// `count` commits of different lengths, closed in order or left as by a killed process.
Made make(const std::string &path, std::uint64_t count, bool close = true) {
    auto journal = open_journal(path, small());
    REQUIRE(journal != nullptr);
    Made made;
    for (std::uint64_t n = 0; n < count; ++n) {
        const std::string text = record(n, 8 + n * 61);
        Lsn lsn = 0;
        REQUIRE(journal->commit(text.data(), text.size(), 0, -1, &lsn) == 0);
        made.lsns.push_back(lsn);
        made.lengths.push_back(text.size());
    }
    if (close) {
        REQUIRE(journal->close() == 0);
    } else {
        journal->abandon();
    }
    return made;
}

// Changes the byte of position `at`, which lies in the `index`th segment file.
void flip(const std::string &path, std::size_t index, Lsn at) {
    const std::string name = segment_files(path).at(index);
    std::string bytes = slurp(name);
    Lsn first = 0;
    std::uint64_t number = 0;
    REQUIRE(parse_segment_name(name.substr(name.rfind('/') + 1), first, number));
    bytes.at(4096 + at - first) ^= 1;
    spill(name, bytes);
}

}  // namespace

TEST_CASE("explain: every position of a sound journal", "[journal][abi][explain]") {
    Scratch dir;
    const std::string path = dir / "j";
    const Made made = make(path, 12);
    const fsys_journal_report report = check(path);
    REQUIRE(report.rule == FSYS_JOURNAL_RULE_END);
    REQUIRE(report.writer == 0);
    REQUIRE(report.written_lsn == report.end_lsn);
    std::size_t next = 0;
    for (Lsn at = report.first_lsn; at < report.end_lsn;) {
        const auto found = explain(path, at);
        REQUIRE(found.start == at);
        REQUIRE(found.epoch == 1);
        REQUIRE(found.segment_name == segment_files(path)[0].substr(path.size() + 1));
        REQUIRE(found.file_offset == 4096 + at - 4096);
        // All was acknowledged, and the close was an orderly one.
        REQUIRE(
            (found.rule == FSYS_JOURNAL_RULE_FRAME || found.rule == FSYS_JOURNAL_RULE_WATERMARK));
        REQUIRE(found.proof_durable_lsn >= found.end);
        if (found.state == FSYS_JOURNAL_AT_RECORD) {
            REQUIRE(found.end == made.lsns.at(next));
            REQUIRE(found.length == made.lengths.at(next));
            const auto last_byte = explain(path, found.end - 1);
            REQUIRE(last_byte.start == found.start);
            ++next;
        } else {
            REQUIRE(found.state == FSYS_JOURNAL_AT_PAD);
        }
        at = found.end;
    }
    REQUIRE(next == made.lsns.size());
    for (const Lsn at : {report.end_lsn, report.end_lsn + 1000, ~Lsn{0} - 1}) {
        const auto behind = explain(path, at);
        REQUIRE(behind.state == FSYS_JOURNAL_AT_END);
        REQUIRE(behind.rule == FSYS_JOURNAL_RULE_END);
    }
    const auto below = explain(path, 0);
    REQUIRE(below.state == FSYS_JOURNAL_AT_TRIMMED);
    REQUIRE(below.end == report.first_lsn);
}

TEST_CASE("explain: a later frame proves damage", "[journal][abi][explain]") {
    Scratch dir;
    const std::string path = dir / "j";
    const Made made = make(path, 12, false);
    flip(path, 0, made.lsns[4] - 9);
    const auto report = check(path);
    REQUIRE(report.verdict == FSYS_JOURNAL_DAMAGED);
    REQUIRE(report.rule == FSYS_JOURNAL_RULE_FRAME);
    REQUIRE(report.proof_lsn > report.damage_lsn);
    REQUIRE(report.proof_durable_lsn > report.damage_lsn);
    REQUIRE(check(path, FSYS_JOURNAL_DEEP).rule == FSYS_JOURNAL_RULE_FRAME);
    const auto found = explain(path, report.damage_lsn);
    REQUIRE(found.state == FSYS_JOURNAL_AT_DAMAGED);
    REQUIRE(found.rule == FSYS_JOURNAL_RULE_FRAME);
    REQUIRE(found.start == report.damage_lsn);
    REQUIRE(found.proof_lsn == report.proof_lsn);
    REQUIRE(found.proof_durable_lsn == report.proof_durable_lsn);
    REQUIRE(explain(path, made.lsns[3] - 1).state == FSYS_JOURNAL_AT_RECORD);
    const auto behind = explain(path, made.lsns[6] - 1);
    REQUIRE(behind.state == FSYS_JOURNAL_AT_RECORD);
    REQUIRE(std::string(behind.text).find("behind the damage") != std::string::npos);
    // Of the zeros behind the last frame nothing is proved.
    const auto tail = explain(path, made.lsns.back() + 4096);
    REQUIRE(tail.state == FSYS_JOURNAL_AT_TORN);
    REQUIRE(tail.rule == FSYS_JOURNAL_RULE_UNPROVED);
}

TEST_CASE("explain: the watermark proves damage", "[journal][abi][explain]") {
    Scratch dir;
    const std::string path = dir / "j";
    const Made made = make(path, 3);
    const Lsn at = explain(path, made.lsns.back() - 1).start;
    // Header of the last record and of the pad behind it: no frame is left to prove anything.
    flip(path, 0, at + 8);
    flip(path, 0, made.lsns.back() + 8);
    const auto report = check(path);
    REQUIRE(report.rule == FSYS_JOURNAL_RULE_WATERMARK);
    REQUIRE(report.proof_lsn == 0);
    REQUIRE(report.proof_durable_lsn >= made.lsns.back());
    const auto found = explain(path, at);
    REQUIRE(found.state == FSYS_JOURNAL_AT_DAMAGED);
    REQUIRE(found.rule == FSYS_JOURNAL_RULE_WATERMARK);
    REQUIRE(found.proof_durable_lsn == report.proof_durable_lsn);
}

// Rewrites both slots of the watermark with right CRCs.
template <class F>
static void change_slots(const std::string &path, F &&change) {
    std::string bytes = slurp(path + "/watermark");
    for (std::size_t i = 0; i < 2; ++i) {
        Slot slot;
        REQUIRE(decode_slot(bytes.data() + i * kSlotStride, slot));
        change(slot);
        encode_slot(slot, bytes.data() + i * kSlotStride);
    }
    spill(path + "/watermark", bytes);
}

TEST_CASE("explain: a watermark that contradicts itself or the segments proves nothing",
          "[journal][abi][explain]") {
    Scratch dir;
    const std::string path = dir / "j";
    const Made made = make(path, 3);
    const Lsn last = explain(path, made.lsns.back() - 1).start;
    const std::string good_mark = slurp(path + "/watermark");
    const std::string good = slurp(segment_files(path)[0]);
    const auto nothing_proved = [&] {
        const auto report = check(path);
        INFO(report.text);
        REQUIRE(report.verdict == FSYS_JOURNAL_DAMAGED);
        REQUIRE(report.rule == FSYS_JOURNAL_RULE_STRUCTURE);
        REQUIRE(report.proof_durable_lsn == 0);
        // The records are told of nevertheless: the pad behind the last one proves it, and of the
        // pad itself nothing does.
        const auto record = explain(path, last);
        REQUIRE(record.state == FSYS_JOURNAL_AT_RECORD);
        REQUIRE(record.end == made.lsns.back());
        const auto pad = explain(path, made.lsns.back());
        INFO(pad.text);
        REQUIRE(pad.state == FSYS_JOURNAL_AT_PAD);
        REQUIRE(pad.rule == FSYS_JOURNAL_RULE_NONE);
        REQUIRE(pad.proof_durable_lsn == 0);
        // Without any later frame the damage is not proved.
        flip(path, 0, last + 8);
        flip(path, 0, made.lsns.back() + 8);
        const auto bad = explain(path, last);
        INFO(bad.text);
        REQUIRE(bad.state == FSYS_JOURNAL_AT_TORN);
        REQUIRE(bad.rule == FSYS_JOURNAL_RULE_UNPROVED);
        REQUIRE(bad.proof_durable_lsn == 0);
        spill(path + "/watermark", good_mark);
        REQUIRE(explain(path, last).rule == FSYS_JOURNAL_RULE_WATERMARK);
        spill(segment_files(path)[0], good);
        REQUIRE(explain(path, made.lsns.back()).rule == FSYS_JOURNAL_RULE_WATERMARK);
    };
    change_slots(path, [](Slot &s) { s.durable_lsn = ~std::uint64_t{7}; });
    nothing_proved();
    change_slots(path, [](Slot &s) { s.trim_lsn = s.durable_lsn + 8; });
    nothing_proved();
    change_slots(path, [](Slot &s) { s.cut_lsn = kFirstLsn, s.cut_epoch = s.epoch; });
    nothing_proved();
    change_slots(path, [](Slot &s) { s.uuid[3] ^= 1; });  // another journal's
    nothing_proved();
    change_slots(path, [](Slot &s) { s.epoch = 0; });  // a copy from before this segment
    nothing_proved();
}

TEST_CASE("explain: a segment of another journal proves nothing for the one before it",
          "[journal][abi][explain]") {
    Scratch dir;
    const std::string path = dir / "j";
    const Made made = make(path, 3, false);
    const std::string other = dir / "other";
    make(other, 3);
    // As the second segment, from behind what the watermark knows; its header checks.
    SegmentHeader header;
    std::string bytes = slurp(segment_files(other)[0]);
    REQUIRE(decode_segment_header(bytes.data(), header));
    header.number = 2;
    header.first_lsn = made.lsns.back() + 4096;
    encode_segment_header(header, bytes.data());
    spill(path + "/" + segment_name(header.first_lsn, 2), bytes);
    change_slots(path, [](Slot &s) { s.durable_lsn = kFirstLsn; });
    REQUIRE(check(path).rule == FSYS_JOURNAL_RULE_STRUCTURE);
    const auto found = explain(path, made.lsns.back() - 1);
    INFO(found.text);
    REQUIRE(found.state == FSYS_JOURNAL_AT_RECORD);
    REQUIRE(found.rule != FSYS_JOURNAL_RULE_SUCCESSOR);
}

TEST_CASE("explain: a torn frame and a torn group", "[journal][abi][explain]") {
    Scratch dir;
    const std::string torn = dir / "torn";
    make(torn, 3);
    const Lsn end = check(torn).end_lsn;
    // Bytes that claim their position and do not check.
    std::string bytes = slurp(segment_files(torn)[0]);
    std::memcpy(&bytes.at(end + offsetof(FrameHeader, lsn)), &end, sizeof end);
    spill(segment_files(torn)[0], bytes);
    auto report = check(torn);
    REQUIRE(report.verdict == FSYS_JOURNAL_TORN);
    REQUIRE(report.rule == FSYS_JOURNAL_RULE_UNPROVED);
    REQUIRE(report.cut_from == end);
    auto found = explain(torn, end + 5);
    REQUIRE(found.state == FSYS_JOURNAL_AT_TORN);
    REQUIRE(found.rule == FSYS_JOURNAL_RULE_UNPROVED);
    REQUIRE(found.end == report.cut_to);
    REQUIRE(explain(torn, report.cut_to).state == FSYS_JOURNAL_AT_END);

    const std::string group = dir / "group";
    std::vector<Lsn> lsns(3);
    {
        auto journal = open_journal(group, small());
        const std::string text = record(1, 100);
        Lsn first = 0;
        REQUIRE(journal->commit(text.data(), text.size(), 0, -1, &first) == 0);
        const std::vector<iovec> three(3, iovec{const_cast<char *>(text.data()), text.size()});
        Lsn last = 0;
        REQUIRE(journal->append_batch(three.data(), 3, 0, &last, lsns.data()) == 0);
        REQUIRE(journal->write_out() == 0);
        journal->abandon();
    }
    bytes = slurp(segment_files(group)[0]);
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(lsns[1]), bytes.end(), '\0');
    spill(segment_files(group)[0], bytes);
    report = check(group);
    REQUIRE(report.verdict == FSYS_JOURNAL_TORN);
    REQUIRE(report.rule == FSYS_JOURNAL_RULE_GROUP);
    found = explain(group, lsns[0] - 1);  // a good frame of it
    REQUIRE(found.state == FSYS_JOURNAL_AT_TORN);
    REQUIRE(found.rule == FSYS_JOURNAL_RULE_GROUP);
}

TEST_CASE("explain: records over segments, successors, structure, trim",
          "[journal][abi][explain]") {
    Scratch dir;
    const std::string path = dir / "j";
    std::vector<Lsn> lsns;
    {
        auto journal = open_journal(path, small(8192));
        for (std::uint64_t n = 0; n < 4; ++n) {
            const std::string text = record(n, n == 2 ? 30'000 : 3000);
            Lsn lsn = 0;
            REQUIRE(journal->commit(text.data(), text.size(), 0, -1, &lsn) == 0);
            lsns.push_back(lsn);
        }
        REQUIRE(journal->pin("reader", lsns[0], 0) == 0);
        REQUIRE(journal->close() == 0);
    }
    // Found from any of its bytes, in any of its segments.
    const auto whole = explain(path, lsns[2] - 1);
    REQUIRE(whole.length == 30'000);
    REQUIRE(whole.end == lsns[2]);
    REQUIRE(whole.start >= lsns[1]);
    for (Lsn at = whole.start; at < whole.end; at += 1000) {
        const auto found = explain(path, at);
        if (found.state == FSYS_JOURNAL_AT_RECORD) {
            REQUIRE(found.start == whole.start);
            REQUIRE(found.end == whole.end);
            REQUIRE(found.length == 30'000);
        } else {
            REQUIRE(found.state == FSYS_JOURNAL_AT_PAD);
        }
    }
    // The lists by path, beside what the names say.
    const auto files = segment_files(path);
    REQUIRE(files.size() >= 4);
    std::vector<fsys_journal_segment> segments(files.size());
    REQUIRE(fsys_journal_list_segments(path.c_str(), segments.data(), 2) ==
            static_cast<int>(files.size()));
    REQUIRE(fsys_journal_list_segments(path.c_str(), segments.data(),
                                       static_cast<std::uint32_t>(segments.size())) ==
            static_cast<int>(files.size()));
    for (std::size_t i = 0; i < files.size(); ++i) {
        REQUIRE(path + "/" + segments[i].name == files[i]);
        REQUIRE(segments[i].number == i + 1);
        REQUIRE(segments[i].epoch == 1);
        REQUIRE(segments[i].sealed == (i + 1 < files.size() ? 1u : 0u));
        REQUIRE(segments[i].end_lsn ==
                (i + 1 < files.size() ? segments[i + 1].first_lsn : check(path).end_lsn));
    }
    fsys_journal_pinned pin{};
    REQUIRE(fsys_journal_list_pins(path.c_str(), &pin, 1) == 1);
    REQUIRE(std::string(pin.name) == "reader");
    REQUIRE(pin.lsn == lsns[0]);

    // The last frame of a sealed segment: only its successor can speak for it.
    const Lsn last = segments[1].first_lsn - 1;
    const auto at_end = explain(path, last);
    REQUIRE(at_end.rule == FSYS_JOURNAL_RULE_SUCCESSOR);
    REQUIRE(at_end.proof_lsn == segments[1].first_lsn);
    const std::string saved = slurp(files[0]);
    flip(path, 0, last);
    REQUIRE(check(path).verdict == FSYS_JOURNAL_CLEAN);  // opening needs only the last segment
    const auto deep = check(path, FSYS_JOURNAL_DEEP);
    REQUIRE(deep.verdict == FSYS_JOURNAL_DAMAGED);
    REQUIRE(deep.rule == FSYS_JOURNAL_RULE_SUCCESSOR);
    const auto found = explain(path, last);
    REQUIRE(found.state == FSYS_JOURNAL_AT_DAMAGED);
    REQUIRE(found.rule == FSYS_JOURNAL_RULE_SUCCESSOR);
    spill(files[0], saved);

    std::string header = slurp(files[1]);
    header[20] ^= 1;
    const std::string good = slurp(files[1]);
    spill(files[1], header);
    REQUIRE(explain(path, segments[1].first_lsn).rule == FSYS_JOURNAL_RULE_STRUCTURE);
    REQUIRE(explain(path, lsns[0] - 1).state == FSYS_JOURNAL_AT_RECORD);
    REQUIRE(fsys_journal_list_segments(path.c_str(), nullptr, 0) == FSYS_E_CORRUPT);
    spill(files[1], good);

    std::filesystem::remove(path + "/watermark");
    const auto lost = check(path);
    REQUIRE(lost.rule == FSYS_JOURNAL_RULE_STRUCTURE);
    // The records can be told of nevertheless.
    REQUIRE(explain(path, lsns[2] - 1).state == FSYS_JOURNAL_AT_RECORD);
}

TEST_CASE("explain: beside a writer, and below its trim point", "[journal][abi][explain]") {
    Scratch dir;
    const std::string path = dir / "j";
    auto journal = open_journal(path, small(8192));
    std::vector<Lsn> lsns;
    for (std::uint64_t n = 0; n < 30; ++n) {
        const std::string text = record(n, 1000);
        Lsn lsn = 0;
        REQUIRE(journal->commit(text.data(), text.size(), 0, -1, &lsn) == 0);
        lsns.push_back(lsn);
    }
    REQUIRE(journal->trim(lsns[20]) == 0);
    const auto report = check(path);
    REQUIRE(report.writer == 1);
    REQUIRE(report.rule == FSYS_JOURNAL_RULE_WRITER);
    REQUIRE(report.first_lsn == journal->first());
    REQUIRE(report.end_lsn == journal->durable());
    REQUIRE(report.written_lsn == journal->written());
    const auto deep = check(path, FSYS_JOURNAL_DEEP);
    REQUIRE(deep.verdict == FSYS_JOURNAL_CLEAN);
    REQUIRE(deep.records < 30);
    REQUIRE(deep.records >= 9);
    const auto trimmed = explain(path, lsns[2]);
    REQUIRE(trimmed.state == FSYS_JOURNAL_AT_TRIMMED);
    REQUIRE(trimmed.rule == FSYS_JOURNAL_RULE_TRIMMED);
    const auto last = explain(path, lsns.back() - 1);
    REQUIRE(last.writer == 1);
    REQUIRE(last.state == FSYS_JOURNAL_AT_RECORD);
    REQUIRE(last.end == lsns.back());
    REQUIRE(last.rule == FSYS_JOURNAL_RULE_WRITER);
    const auto ahead = explain(path, journal->written() + 100);
    REQUIRE(ahead.state == FSYS_JOURNAL_AT_END);
    REQUIRE(ahead.rule == FSYS_JOURNAL_RULE_WRITER);
    REQUIRE(fsys_journal_list_segments(path.c_str(), nullptr, 0) ==
            static_cast<int>(journal->segments().size()));
    // Damage below the writer's frontier is found beside it.
    flip(path, 0, journal->first() + 50);
    REQUIRE(check(path, FSYS_JOURNAL_DEEP).verdict == FSYS_JOURNAL_DAMAGED);
    REQUIRE(explain(path, journal->first() + 50).state == FSYS_JOURNAL_AT_DAMAGED);
}

TEST_CASE("explain: whatever byte is changed, it agrees with the check",
          "[journal][abi][explain]") {
    Scratch dir;
    const std::string path = dir / "j";
    const Made made = make(path, 4, false);
    const std::string name = segment_files(path)[0];
    const std::string sound = slurp(name);
    const Lsn end = made.lsns.back() + 512;
    unsigned damaged = 0;
    unsigned torn = 0;
    for (std::size_t at = 4096; at < end; at += 7) {
        std::string bytes = sound;
        bytes[at] ^= 0x10;
        spill(name, bytes);
        const auto report = check(path);
        damaged += report.verdict == FSYS_JOURNAL_DAMAGED;
        torn += report.verdict == FSYS_JOURNAL_TORN;
        const Lsn where = report.verdict == FSYS_JOURNAL_DAMAGED ? report.damage_lsn
                          : report.verdict == FSYS_JOURNAL_TORN  ? report.cut_from
                                                                 : report.end_lsn;
        const auto found = explain(path, where);
        const std::uint32_t expected = report.verdict == FSYS_JOURNAL_DAMAGED
                                           ? FSYS_JOURNAL_AT_DAMAGED
                                       : report.verdict == FSYS_JOURNAL_TORN ? FSYS_JOURNAL_AT_TORN
                                                                             : FSYS_JOURNAL_AT_END;
        INFO("byte " << at << ": " << report.text << " / " << found.text);
        REQUIRE(found.state == expected);
        REQUIRE(found.rule == report.rule);
        REQUIRE(found.proof_lsn == report.proof_lsn);
    }
    REQUIRE(damaged > 50);
    REQUIRE(damaged + torn > 100);
}

TEST_CASE("beside a writer that is just making its watermark file nothing is there yet",
          "[journal][abi][explain]") {
    Scratch dir;
    const std::string path = dir / "j";
    std::filesystem::create_directory(path);
    Store writer(real_syscalls());
    REQUIRE(writer.open_dir(path, false) == 0);
    REQUIRE(writer.lock() == 0);
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{4096}, kMarkBytes}) {
        spill(path + "/watermark", std::string(bytes, '\0'));
        const auto report = check(path, FSYS_JOURNAL_DEEP);
        REQUIRE(report.writer == 1);
        REQUIRE(report.verdict == FSYS_JOURNAL_CLEAN);
        REQUIRE(report.records == 0);
        REQUIRE(explain(path, 5000).state == FSYS_JOURNAL_AT_END);
        REQUIRE(fsys_journal_list_segments(path.c_str(), nullptr, 0) == 0);
        std::unique_ptr<Reader> reader;
        REQUIRE(Reader::open(real_syscalls(), path, 0, Bound::durable, nullptr, reader) == 0);
        Record found;
        REQUIRE(reader->next(found) == Got::end);
    }
    writer.unlock();
}

TEST_CASE("snapshot by path: beside a writer that commits, trims and recycles",
          "[journal][abi][explain]") {
    Scratch dir;
    const std::string path = dir / "j";
    auto journal = open_journal(path, small(8192));
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> committed{0};
    std::thread writer([&] {
        std::deque<Lsn> lsns;
        for (std::uint64_t n = 0; !stop; ++n) {
            const std::string text = record(n, 700);
            Lsn lsn = 0;
            if (journal->commit(text.data(), text.size(), 0, -1, &lsn) != 0) {
                return;
            }
            ++committed;
            lsns.push_back(lsn);
            if (lsns.size() > 60) {
                if (n % 8 == 0 && journal->trim(lsns[20]) != 0) {
                    return;
                }
                lsns.pop_front();
            }
        }
    });
    unsigned made = 0;
    unsigned trimmed = 0;
    for (int round = 0; made < 8 && round < 400; ++round) {
        const std::string copy = dir / ("copy" + std::to_string(round));
        const int code = fsys_journal_snapshot_path(path.c_str(), 0, copy.c_str());
        if (code == -EAGAIN) {
            ++trimmed;
            continue;
        }
        INFO("round " << round);
        REQUIRE(code == 0);
        ++made;
        const auto report = check(copy, FSYS_JOURNAL_DEEP);
        INFO(report.text);
        REQUIRE(report.verdict == FSYS_JOURNAL_CLEAN);
        REQUIRE(report.end_lsn <= journal->durable());
        // Consecutive records, each as it was written.
        const Read all = read_all(copy);
        REQUIRE(all.last == Got::end);
        REQUIRE(all.records.size() == report.records);
        std::uint64_t expected = 0;
        for (std::size_t i = 0; i < all.records.size(); ++i) {
            std::uint64_t n = 0;
            std::memcpy(&n, all.records[i].data(), sizeof n);
            REQUIRE((i == 0 || n == expected));
            REQUIRE(all.records[i] == record(n, 700));
            expected = n + 1;
        }
        std::filesystem::remove_all(copy);
    }
    stop = true;
    writer.join();
    REQUIRE(made == 8);
    REQUIRE(committed > 0);
    REQUIRE(journal->cause().empty());
    REQUIRE(journal->close() == 0);
}

TEST_CASE("snapshot by path: up to a record, without a writer, refusals",
          "[journal][abi][explain]") {
    Scratch dir;
    const std::string path = dir / "j";
    const Made made = make(path, 12, false);
    const auto source = check(path);
    const std::string before = slurp(segment_files(path)[0]);
    const std::string half = dir / "half";
    REQUIRE(fsys_journal_snapshot_path(path.c_str(), made.lsns[5], half.c_str()) == 0);
    REQUIRE(check(half, FSYS_JOURNAL_DEEP).records == 6);
    REQUIRE(check(half).end_lsn == made.lsns[5]);
    REQUIRE(fsys_journal_snapshot_path(path.c_str(), 0, half.c_str()) == -ENOTEMPTY);
    const std::string all = dir / "all";
    REQUIRE(fsys_journal_snapshot_path(path.c_str(), 0, all.c_str()) == 0);
    REQUIRE(read_all(all).lsns == made.lsns);
    // It is a journal: it goes on.
    auto journal = open_journal(all, small());
    REQUIRE(journal != nullptr);
    Lsn lsn = 0;
    REQUIRE(journal->commit("more", 4, 0, -1, &lsn) == 0);
    REQUIRE(journal->close() == 0);
    REQUIRE(read_all(all).records.size() == 13);
    for (const Lsn wrong : {made.lsns[5] + 8, made.lsns[5] - 8, source.end_lsn + 512}) {
        const std::string no = dir / ("no" + std::to_string(wrong));
        REQUIRE(fsys_journal_snapshot_path(path.c_str(), wrong, no.c_str()) == -EINVAL);
        REQUIRE_FALSE(std::filesystem::exists(no));
    }
    REQUIRE(slurp(segment_files(path)[0]) == before);
    REQUIRE(fsys_journal_snapshot_path((dir / "none").c_str(), 0, (dir / "x").c_str()) == -ENOENT);
    REQUIRE(fsys_journal_snapshot_path(nullptr, 0, "x") == -EINVAL);
    flip(path, 0, made.lsns[4] - 9);
    REQUIRE(fsys_journal_snapshot_path(path.c_str(), 0, (dir / "x").c_str()) == FSYS_E_CORRUPT);
}

TEST_CASE("explain and lists: refusals, and a caller of the first version",
          "[journal][abi][explain]") {
    Scratch dir;
    fsys_journal_finding found{};
    found.struct_size = sizeof found;
    std::filesystem::create_directory(dir / "empty");
    for (const std::string &path : {dir / "none", dir / "empty"}) {
        REQUIRE(fsys_journal_explain(path.c_str(), 0, &found) == -ENOENT);
        REQUIRE(fsys_journal_list_segments(path.c_str(), nullptr, 0) == -ENOENT);
        REQUIRE(fsys_journal_list_pins(path.c_str(), nullptr, 0) == -ENOENT);
    }
    const std::string path = dir / "j";
    make(path, 1);
    REQUIRE(fsys_journal_explain(nullptr, 0, &found) == -EINVAL);
    REQUIRE(fsys_journal_explain(path.c_str(), 0, nullptr) == -EINVAL);
    REQUIRE(fsys_journal_list_segments(path.c_str(), nullptr, 1) == -EINVAL);
    REQUIRE(fsys_journal_list_pins(path.c_str(), nullptr, 1) == -EINVAL);
    REQUIRE(fsys_journal_list_pins(path.c_str(), nullptr, 0) == 0);
    found.struct_size = 12;
    REQUIRE(fsys_journal_explain(path.c_str(), 0, &found) == FSYS_E_BAD_STRUCT);
    spill(path + "/pins", "backup 4096 0\ncrc 1\n");
    REQUIRE(fsys_journal_list_pins(path.c_str(), nullptr, 0) == FSYS_E_CORRUPT);

    // Built before `rule` was there: its report ends with `text`, and nothing is written behind.
    fsys_journal_report report;
    std::memset(&report, 0x5a, sizeof report);
    report.struct_size = offsetof(fsys_journal_report, rule);
    REQUIRE(fsys_journal_check(path.c_str(), 0, &report) == 0);
    REQUIRE(report.verdict == FSYS_JOURNAL_CLEAN);
    REQUIRE(report.rule == 0x5a5a5a5au);
    REQUIRE(report.written_lsn == 0x5a5a5a5a5a5a5a5au);
}
