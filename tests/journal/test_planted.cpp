// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The rigs prove themselves: each planted bug makes one of them fail, within a bounded number of
// seeds. The core in this program is compiled with FSYS_PLANTED_BUGS and is not the one that ships.

#include <cstdio>

#include "platform/planted.hpp"
#include "journal/powerloss.hpp"
#include "support/catch.hpp"

using namespace journal_test;
using libfsys::Bug;
using libfsys::planted_bug;

namespace {

// Power loss, 1,000 seeds at most. The seed that caught it, or 0.
std::uint64_t seed_that_catches(std::uint64_t most) {
    for (std::uint64_t seed = 1; seed <= most; ++seed) {
        PowerLoss run(seed);
        run.script();
        if (!run.ok()) {
            return seed;
        }
    }
    return 0;
}

// A failed sync must not be believed on a second try, and nothing after it acknowledged.
bool sync_error_catches() {
    sim::Disk disk;
    auto journal = open_journal("/j", small(65536), nullptr, nullptr, disk);
    Lsn lsn = 0;
    journal->append("x", 1, 0, &lsn);
    disk.set_fault({disk.calls() + 1, -EIO, false, 0});
    const int code = journal->sync(lsn, 1'000'000'000);
    const bool caught = code == 0 || disk.syncs_after_fault() != 0;
    journal->abandon();
    return caught;
}

// Every short write is continued.
bool short_write_catches() {
    sim::Disk disk;
    auto journal = open_journal("/j", small(65536), nullptr, nullptr, disk);
    const std::string text = record(1, 3000);
    Lsn lsn = 0;
    journal->append(text.data(), text.size(), 0, &lsn);
    disk.set_fault({disk.calls(), 0, false, 1024});
    const bool acked = journal->sync(lsn, 1'000'000'000) == 0;
    journal->abandon();
    disk.set_fault({});
    auto again = open_journal("/j", small(65536), nullptr, nullptr, disk);
    if (!again) {
        return true;
    }
    std::unique_ptr<Reader> reader;
    Reader::open(*again, 0, Bound::durable, reader);
    const bool there = read_all(*reader).records.size() == 1;
    reader.reset();
    again->abandon();
    return acked && !there;
}

// The bit-flip rig: a damaged acknowledged record is never returned and never cut in silence.
bool bit_flip_catches() {
    sim::Disk disk;
    const Options options = small(8192);
    auto journal = open_journal("/j", options, nullptr, nullptr, disk);
    std::vector<std::string> texts;
    for (std::uint64_t i = 0; i < 6; ++i) {
        texts.push_back(record(i, 100));
        journal->commit(texts.back().data(), texts.back().size(), 0, -1, nullptr);
    }
    const std::string name = journal->segments()[0].name;
    journal->close();
    sim::Random random(1);
    for (std::size_t bit = 4096 * 8; bit < (4096 + 5 * 512) * 8; bit += 3) {
        auto copy = disk.crash(sim::Loss::none, random);
        (*copy->contents("j", name))[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
        auto again = open_journal("/j", options, nullptr, nullptr, *copy);
        if (!again) {
            continue;  // refused: right
        }
        std::unique_ptr<Reader> reader;
        Reader::open(*again, 0, Bound::durable, reader);
        const Read read = read_all(*reader);
        reader.reset();
        again->abandon();
        if (read.records != texts) {
            return true;
        }
    }
    return false;
}

// A frame that is reserved and not published holds the frontier.
bool ticket_catches() {
    sim::Disk disk;
    auto journal = open_journal("/j", small(65536), nullptr, nullptr, disk);
    Ticket ticket;
    journal->reserve(100, 0, &ticket);
    Lsn lsn = 0;
    journal->append("behind", 6, 0, &lsn);
    const int code = journal->sync(lsn, 5'000'000);
    const bool caught = code != -ETIMEDOUT;
    journal->abandon();
    return caught;
}

// The frames of a configuration must carry a durable_lsn that moves.
bool durable_lsn_catches() {
    sim::Disk disk;
    const Options options = small(65536);
    auto journal = open_journal("/j", options, nullptr, nullptr, disk);
    for (int i = 0; i < 5; ++i) {
        journal->commit("0123456789", 10, 0, -1, nullptr);
    }
    const std::string name = journal->segments()[0].name;
    journal->abandon();
    // The only witness against a hole is the frame behind it, once the watermark is set back.
    std::fill_n(disk.contents("j", kMarkName)->begin(), 512, std::uint8_t{0});
    std::fill_n(disk.contents("j", name)->begin() + 4096 + 512, 512, std::uint8_t{0});
    auto again = open_journal("/j", options, nullptr, nullptr, disk);
    const bool caught = again != nullptr;
    if (again) {
        again->abandon();
    }
    return caught;
}

}  // namespace

TEST_CASE("without a planted bug the same rigs find nothing", "[journal][planted]") {
    planted_bug = Bug::none;
    REQUIRE(seed_that_catches(60) == 0);
    REQUIRE_FALSE(sync_error_catches());
    REQUIRE_FALSE(short_write_catches());
    REQUIRE_FALSE(bit_flip_catches());
    REQUIRE_FALSE(ticket_catches());
    REQUIRE_FALSE(durable_lsn_catches());
}

TEST_CASE("every planted bug is caught", "[journal][planted]") {
    struct Case {
        Bug bug;
        const char *name;
        bool (*rig)();  // null: power loss
    };
    const Case cases[] = {
        {Bug::no_sync, "no sync", nullptr},
        {Bug::no_header_sync, "header not synced before its name", nullptr},
        {Bug::no_directory_sync, "no directory sync", nullptr},
        {Bug::early_frontier, "frontier published before the sync", nullptr},
        {Bug::epoch_not_raised, "epoch not raised", nullptr},
        {Bug::no_recovery_sync, "recovered bytes not synced", nullptr},
        {Bug::trim_before_mark, "trimmed before the watermark says so", nullptr},
        {Bug::group_not_checked, "half a batch kept", nullptr},
        {Bug::rotate_before_sync, "successor named before its predecessor is durable", nullptr},
        {Bug::flight_ignored, "synced while writes are in flight", nullptr},
        {Bug::sync_retried, "failed sync retried", sync_error_catches},
        {Bug::ignore_short_write, "short write ignored", short_write_catches},
        {Bug::crc_skipped, "payload CRC skipped", bit_flip_catches},
        {Bug::length_before_crc, "length believed before its CRC", bit_flip_catches},
        {Bug::damage_is_torn, "proof of damage ignored", bit_flip_catches},
        {Bug::frontier_over_hole, "frontier steps over a hole", ticket_catches},
        {Bug::stale_durable_lsn, "durable_lsn never moves", durable_lsn_catches},
    };
    for (const Case &one : cases) {
        planted_bug = one.bug;
        const std::uint64_t seed = one.rig == nullptr ? seed_that_catches(1000) : one.rig();
        planted_bug = Bug::none;
        std::printf("planted: %-52s %s\n", one.name,
                    seed == 0 ? "NOT CAUGHT" : one.rig != nullptr ? "caught" : ("seed " + std::to_string(seed)).c_str());
        CHECK(seed != 0);
    }
}
