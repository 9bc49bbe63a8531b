// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// See powerloss.hpp. Everything random comes from one generator, so a seed gives the same run.

#include "journal/powerloss.hpp"

#include <sstream>

namespace journal_test {

void PowerLoss::fail(const std::string &text) {
    if (failure_.empty()) {
        std::ostringstream all;
        all << "seed " << seed_ << ", script " << scripts_ << ", change " << disk_->changes()
            << ": " << text;
        failure_ = all.str();
    }
}

Options PowerLoss::options() {
    Options options = small(random_.chance(50) ? 8192 : 16384,
                            random_.chance(50) ? IoMode::direct : IoMode::buffered);
    options.block_bytes = random_.chance(70) ? 512 : 4096;
    options.strict = random_.chance(10);
    options.spare_segments = static_cast<std::uint32_t>(random_.below(3));
    options.runner = random_.chance(40) ? &runner_ : nullptr;
    options.prealloc = random_.chance(80) ? Prealloc::recycle : Prealloc::extent;
    return options;
}

bool PowerLoss::matches(const History &history, const std::vector<std::string> &records,
                        std::string &why) const {
    const auto &entries = history.entries;
    if (records.empty()) {
        if (history.acked > history.trimmed) {
            why = "nothing is left, but " + std::to_string(history.acked) + " were acknowledged";
            return false;
        }
        return true;
    }
    std::uint64_t id = 0;
    std::memcpy(&id, records[0].data(), 8);
    std::size_t at = 0;
    while (at < entries.size() && entries[at].id != id) {
        ++at;
    }
    if (at == entries.size()) {
        why = "the first record read, " + std::to_string(id) + ", is not one of the log";
        return false;
    }
    if (at > history.trimmed) {
        why = "the log begins at entry " + std::to_string(at) + ", trimmed was " +
              std::to_string(history.trimmed);
        return false;
    }
    for (const auto &text : records) {
        if (at == entries.size()) {
            why = "more records than were ever appended";
            return false;
        }
        if (text != record(entries[at].id, entries[at].length)) {
            why = "entry " + std::to_string(at) + " reads differently";
            return false;
        }
        ++at;
    }
    if (at < history.acked) {
        why = "the log ends with entry " + std::to_string(at) + ", acknowledged were " +
              std::to_string(history.acked);
        return false;
    }
    if (at < entries.size() && at != 0 && entries[at].group == entries[at - 1].group) {
        why = "half a batch";
        return false;
    }
    return true;
}

void PowerLoss::check(sim::Disk &disk, unsigned depth, const std::string &how) {
    // What looks at a state has no thread to be lent: it is abandoned in the middle of a change of the
    // journal under test, whose runner would come back to it.
    Options options = options_;
    options.runner = nullptr;
    if (!ok()) {
        return;
    }
    if (depth < 3 && random_.chance(20)) {
        // Lose power again inside the recovery; how long that is, is measured on a twin.
        auto twin = disk.crash(sim::Loss::none, random_);
        Journal *journal = nullptr;
        const std::uint64_t before = twin->changes();
        if (Journal::open(*twin, "/j", options, nullptr, &journal) == 0) {
            const std::unique_ptr<Journal> owner(journal);
            owner->abandon();
        }
        const std::uint64_t length = twin->changes() - before;
        auto dying = disk.crash(sim::Loss::none, random_);
        dying->die_at = dying->changes() + 1 + random_.below(length);
        journal = nullptr;
        if (Journal::open(*dying, "/j", options, nullptr, &journal) == 0) {
            const std::unique_ptr<Journal> owner(journal);
            owner->abandon();
        }
        const auto loss = static_cast<sim::Loss>(random_.below(sim::kLosses));
        auto after = dying->crash(loss, random_);
        ++nested_;
        check(*after, depth + 1, how + ", again " + std::to_string(static_cast<int>(loss)));
        return;
    }
    RecoveryReport report;
    int code = 0;
    auto journal = open_journal("/j", options, &report, &code, disk);
    if (!journal) {
        fail(how + ": open gave " + std::to_string(code) + ": " + report.text);
        return;
    }
    std::unique_ptr<Reader> reader;
    code = Reader::open(*journal, 0, Bound::durable, reader);
    const Read read = code == 0 ? read_all(*reader) : Read{};
    if (code < 0 || read.last != Got::end) {
        fail(how + ": reading ended with " + std::to_string(static_cast<int>(read.last)));
        return;
    }
    std::string why;
    bool fits = matches(history_, read.records, why);
    for (const History &other : alternatives_) {
        std::string ignored;
        fits = fits || matches(other, read.records, ignored);
    }
    if (!fits) {
        fail(how + ": " + why + " (" + report.text + ")");
        return;
    }
    digest_ = digest_ * 31 + read.records.size();
    // Some bugs show only behind a recovery: append, lose power, recover.
    if (depth < 3 && random_.chance(25)) {
        std::vector<std::string> want = read.records;
        for (int i = 0; i < 3; ++i) {
            const std::string text = record(1'000'000'000 + i, 40 + random_.below(700));
            Lsn lsn = 0;
            code = journal->append(text.data(), text.size(), 0, &lsn);
            code = code == 0 ? journal->sync(lsn, -1) : code;
            if (code != 0) {
                fail(how + ": a commit after the recovery gave " + std::to_string(code) + ": " +
                     journal->cause());
                return;
            }
            want.push_back(text);
        }
        reader.reset();
        auto after = disk.crash(static_cast<sim::Loss>(random_.below(sim::kLosses)), random_);
        journal->abandon();
        auto again = open_journal("/j", options, &report, &code, *after);
        if (!again) {
            fail(how + ": second open gave " + std::to_string(code) + ": " + report.text);
            return;
        }
        if (Reader::open(*again, 0, Bound::durable, reader) < 0 ||
            read_all(*reader).records != want) {
            fail(how + ": recover, append, crash, recover does not give what was there");
        }
        reader.reset();
        again->abandon();
        return;
    }
    reader.reset();
    journal->abandon();
}

void PowerLoss::examine_point() {
    if (!ok()) {
        return;
    }
    // Two states per change.
    for (int i = 0; i < 2; ++i) {
        const auto loss = static_cast<sim::Loss>(random_.below(sim::kLosses));
        auto after = disk_->crash(loss, random_);
        ++points_;
        check(*after, 0, "loss " + std::to_string(static_cast<int>(loss)));
    }
}

void PowerLoss::append(Journal &journal) {
    static constexpr std::size_t kLengths[] = {8, 20, 100, 300, 472, 473, 900, 2500, 7000};
    append(journal, random_.chance(90) ? kLengths[random_.below(7)] : kLengths[random_.below(9)]);
}

// More than half the log buffer without a sync: written behind the appends, over segments whose
// successors have no name yet when they are written to.
void PowerLoss::burst(Journal &journal) {
    for (std::size_t done = 0; done < options_.buffer_bytes * 5 / 8;) {
        const std::size_t length = 3000 + random_.below(4000);
        append(journal, length);
        done += length;
    }
}

void PowerLoss::append(Journal &journal, std::size_t length) {
    const std::string text = record(next_id_, length);
    history_.entries.push_back({next_id_++, length, next_group_++, 0});
    Lsn lsn = 0;
    const int code = journal.append(text.data(), text.size(), 0, &lsn);
    if (code < 0) {
        fail("append gave " + std::to_string(code));
    }
    history_.entries.back().lsn = lsn;
}

void PowerLoss::batch(Journal &journal) {
    const std::size_t count = 2 + random_.below(5);
    std::vector<std::string> texts;
    std::vector<iovec> vecs;
    const std::size_t first = history_.entries.size();
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t length = 8 + random_.below(600);
        texts.push_back(record(next_id_, length));
        history_.entries.push_back({next_id_++, length, next_group_, 0});
    }
    ++next_group_;
    for (auto &text : texts) {
        vecs.push_back({text.data(), text.size()});
    }
    std::vector<Lsn> each(count);
    if (journal.append_batch(vecs.data(), count, 0, nullptr, each.data()) < 0) {
        fail("append_batch failed");
    }
    for (std::size_t i = 0; i < count; ++i) {
        history_.entries[first + i].lsn = each[i];
    }
}

// A segment change may have made more durable than was asked for.
void PowerLoss::acknowledge(const Journal &journal) {
    const Lsn durable = journal.durable();
    while (history_.acked < history_.entries.size() &&
           history_.entries[history_.acked].lsn != 0 &&
           history_.entries[history_.acked].lsn <= durable) {
        ++history_.acked;
    }
}

void PowerLoss::script() {
    ++scripts_;
    options_ = options();
    disk_ = std::make_unique<sim::Disk>();
    history_ = History{};
    next_id_ = scripts_ * 1000 + 1;
    disk_->before_change = [this] { examine_point(); };
    int code = 0;
    auto journal = open_journal("/j", options_, nullptr, &code, *disk_);
    if (!journal) {
        fail("the first open gave " + std::to_string(code));
        return;
    }
    for (int step = 0; step < 40 && ok(); ++step) {
        const std::uint64_t dice = random_.below(100);
        auto &entries = history_.entries;
        if (dice < 38) {
            append(*journal);
        } else if (dice < 40) {
            burst(*journal);
        } else if (dice < 50) {
            batch(*journal);
        } else if (dice < 80) {
            if (!entries.empty() && journal->sync(entries.back().lsn, -1) != 0) {
                fail("sync failed");
            }
        } else if (dice < 84) {
            if (journal->write_out() != 0) {
                fail("write_out failed");
            }
        } else if (dice < 89 && history_.acked > 1) {
            const std::size_t keep = history_.trimmed + random_.below(history_.acked - history_.trimmed);
            history_.trimmed = keep;  // allowed from here on, done or not
            if (keep != 0 && journal->trim(entries[keep - 1].lsn) != 0) {
                fail("trim failed");
            }
        } else if (dice < 92 && history_.acked > history_.trimmed + 1) {
            const std::size_t keep =
                history_.trimmed + 1 + random_.below(history_.acked - history_.trimmed - 1);
            if (keep < entries.size() && entries[keep].group == entries[keep - 1].group) {
                continue;
            }
            History cut = history_;
            cut.entries.resize(keep);
            cut.acked = keep;
            alternatives_.push_back(cut);
            const int cut_code = journal->truncate_after(entries[keep - 1].lsn);
            if (cut_code != 0) {
                fail("truncate gave " + std::to_string(cut_code));
            }
            history_ = cut;
            alternatives_.clear();
        } else if (dice < 95) {
            if (journal->rotate() != 0) {
                fail("rotate failed");
            }
        } else if (dice < 98) {
            if (journal->close() != 0) {
                fail("close failed");
            }
            history_.acked = entries.size();
            journal = open_journal("/j", options_, nullptr, &code, *disk_);
            if (!journal) {
                fail("reopening gave " + std::to_string(code));
                return;
            }
        } else {
            // The process dies; the disk does not.
            journal->abandon();
            journal = open_journal("/j", options_, nullptr, &code, *disk_);
            if (!journal) {
                fail("reopening after a kill gave " + std::to_string(code));
                return;
            }
            std::unique_ptr<Reader> reader;
            if (Reader::open(*journal, 0, Bound::durable, reader) < 0) {
                fail("no reader");
                return;
            }
            const Read read = read_all(*reader);
            std::string why;
            if (!matches(history_, read.records, why)) {
                fail("after a kill: " + why);
                return;
            }
            // What was only in memory is gone.
            std::size_t end = history_.trimmed;
            if (!read.records.empty()) {
                std::uint64_t id = 0;
                std::memcpy(&id, read.records.back().data(), 8);
                for (end = 0; entries[end].id != id;) {
                    ++end;
                }
                ++end;
            }
            entries.resize(std::max(end, history_.acked));
            history_.acked = entries.size();
        }
        if (journal) {
            acknowledge(*journal);
        }
    }
    digest_ = digest_ * 31 + disk_->changes();
    disk_->before_change = nullptr;
    if (journal) {
        journal->abandon();
    }
    journal.reset();
    disk_.reset();
}

}  // namespace journal_test
