// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// libFuzzer target: a directory of arbitrary files is read, checked, recovered, written on, and
// salvaged. Nothing may crash, hang or leak; what a reader shows before recovery is what is there
// after it; and a journal that was recovered and closed is clean, with the new record last.
//
// An input is a byte of switches and then files, each: u8 length of the name, name, u32 size, u8
// number of extents, and per extent u32 offset, u16 length, bytes. With the switches the CRCs are
// made right again, since no mutation ever meets a CRC: so what lies behind them is reached.
//
// With FSYS_FUZZ_SEEDS=DIRECTORY it writes seeds (journals made by the library, and the golden ones)
// there and ends. One thread.

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "device/flush.hpp"
#include "journal/scratch.hpp"
#include "sim/sim_disk.hpp"

using namespace journal_test;

// The simulated disk has no device: this keeps the probing of real ones out of the program.
namespace libfsys::device {
FlushOutcome flush_disks(int, std::uint32_t) {
    FlushOutcome outcome{};
    outcome.code = -EOPNOTSUPP;
    return outcome;
}
}  // namespace libfsys::device

namespace {

constexpr std::size_t kMostBytes = 192 << 10;  // of all files
constexpr std::size_t kMostFiles = 12;

struct File {
    std::string name;
    std::string bytes;
};

#define MUST(condition)                                                            \
    do {                                                                           \
        if (!(condition)) {                                                        \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                          \
        }                                                                          \
    } while (0)

// -- the form of an input

class Bytes {
public:
    Bytes(const std::uint8_t *data, std::size_t size) : at_(data), end_(data + size) {}
    bool more() const { return at_ < end_; }
    std::uint32_t number(unsigned bytes) {
        std::uint32_t value = 0;
        for (unsigned i = 0; i < bytes && more(); ++i) {
            value |= std::uint32_t{*at_++} << 8 * i;
        }
        return value;
    }
    std::string text(std::size_t length) {
        const std::size_t n = std::min<std::size_t>(length, static_cast<std::size_t>(end_ - at_));
        std::string text(reinterpret_cast<const char *>(at_), n);
        at_ += n;
        return text;
    }

private:
    const std::uint8_t *at_;
    const std::uint8_t *end_;
};

std::vector<File> unpack(Bytes &in) {
    std::vector<File> files;
    std::size_t total = 0;
    while (in.more() && files.size() < kMostFiles) {
        File file;
        file.name = in.text(in.number(1) & 63);
        const std::size_t size = in.number(4);
        if (file.name.empty() || file.name.find('/') != std::string::npos ||
            file.name.find('\0') != std::string::npos || file.name[0] == '.' ||
            size > kMostBytes - total) {
            break;
        }
        total += size;
        file.bytes.resize(size);
        for (std::uint32_t extents = in.number(1); extents > 0; --extents) {
            const std::size_t offset = in.number(4);
            const std::string bytes = in.text(in.number(2));
            if (offset < size) {
                bytes.copy(file.bytes.data() + offset, std::min(bytes.size(), size - offset));
            }
        }
        files.push_back(std::move(file));
    }
    return files;
}

void put(std::string &out, std::uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) {
        out += static_cast<char>(value >> 8 * i);
    }
}

std::string pack(const std::vector<File> &files, std::uint8_t switches) {
    std::string out(1, static_cast<char>(switches));
    for (const File &file : files) {
        struct Extent {
            std::size_t from, to;
        };
        std::vector<Extent> extents;
        for (std::size_t i = 0; i < file.bytes.size(); ++i) {
            if (file.bytes[i] == 0) {
                continue;
            }
            if (extents.empty() || i > extents.back().to + 64 ||
                i - extents.back().from > 60000) {
                extents.push_back({i, i + 1});
            }
            extents.back().to = i + 1;
        }
        MUST(extents.size() < 256 && file.name.size() < 64);
        put(out, file.name.size(), 1);
        out += file.name;
        put(out, file.bytes.size(), 4);
        put(out, extents.size(), 1);
        for (const Extent &extent : extents) {
            put(out, extent.from, 4);
            put(out, extent.to - extent.from, 2);
            out.append(file.bytes, extent.from, extent.to - extent.from);
        }
    }
    return out;
}

// -- CRCs made right

void seal_segment(std::string &bytes, bool positions) {
    if (bytes.size() < kHeaderBlock) {
        return;
    }
    SegmentHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    header.crc = crc32c(0xffffffffu, bytes.data() + 12, kHeaderBlock - 12);
    std::memcpy(bytes.data(), &header, sizeof header);
    const std::uint32_t key = frame_key(header.uuid, header.epoch);
    for (std::size_t at = kHeaderBlock; at + kFrameHeader <= bytes.size();) {
        FrameHeader frame;
        std::memcpy(&frame, bytes.data() + at, sizeof frame);
        const std::uint64_t total = frame_bytes(frame.length);
        if (frame.magic != kFrameMagic || total > bytes.size() - at) {
            at += kFrameAlign;
            continue;
        }
        if (positions) {
            frame.lsn = header.first_lsn + (at - kHeaderBlock);
        }
        frame.payload_crc = crc32c(crc32c(key, &frame.lsn, sizeof frame.lsn),
                                   bytes.data() + at + kFrameHeader, total - kFrameHeader);
        frame.header_crc = crc32c(key, &frame.magic, kFrameHeader - sizeof frame.header_crc);
        std::memcpy(bytes.data() + at, &frame, sizeof frame);
        at += total;
    }
}

void seal_slots(std::string &bytes) {
    for (std::size_t at = 0; at + 512 <= bytes.size() && at <= kSlotStride; at += kSlotStride) {
        const std::uint32_t crc = crc32c(0xffffffffu, bytes.data() + at + 12, 500);
        std::memcpy(bytes.data() + at + offsetof(Slot, crc), &crc, sizeof crc);
    }
}

// -- one input

void spill(sim::Disk &disk, const std::vector<File> &files) {
    MUST(disk.mkdir(AT_FDCWD, "/j", 0755) == 0);
    for (const File &file : files) {
        const int fd = disk.open(AT_FDCWD, ("/j/" + file.name).c_str(), O_RDWR | O_CREAT, 0644);
        if (fd >= 0) {
            disk.pwrite(fd, file.bytes.data(), file.bytes.size(), 0, 0);
            disk.fsync(fd);
            disk.close(fd);
        }
    }
}

struct Seen {
    std::vector<std::string> records;
    bool whole = false;  // read to the end without damage
};

Seen look(Reader &reader) {
    Seen seen;
    Record record;
    for (int steps = 0; steps < 20000; ++steps) {
        switch (reader.next(record)) {
        case Got::record:
            seen.records.emplace_back(static_cast<const char *>(record.data), record.length);
            break;
        case Got::gap:
        case Got::epoch_changed: break;
        case Got::end: seen.whole = true; return seen;
        case Got::damaged: {
            Lsn from = 0;
            Lsn to = 0;
            if (!reader.skip_damage(&from, &to)) {
                return seen;
            }
            MUST(to > from);
            Seen rest = look(reader);
            rest.whole = false;
            rest.records.insert(rest.records.begin(), seen.records.begin(), seen.records.end());
            return rest;
        }
        case Got::error: return seen;
        }
    }
    std::fprintf(stderr, "a reader does not come to an end\n");
    std::abort();
}

void run(std::uint8_t switches, std::vector<File> files) {
    for (File &file : files) {
        if ((switches & 1) != 0 && file.name == kMarkName) {
            seal_slots(file.bytes);
        }
        if ((switches & 2) != 0 && file.name.size() > 4 &&
            file.name.compare(file.name.size() - 4, 4, ".fsj") == 0) {
            seal_segment(file.bytes, (switches & 4) != 0);
        }
    }
    sim::Disk disk;
    spill(disk, files);
    RecoveryReport dry;
    const int verdict = dry_run(disk, "/j", dry);
    VerifyReport deep;
    verify(disk, "/j", deep);
    Seen before;
    {
        std::unique_ptr<Reader> reader;
        if (Reader::open(disk, "/j", 0, Bound::durable, nullptr, reader) == 0) {
            before = look(*reader);
            reader->seek(dry.end / 2);
            look(*reader);
        }
    }
    Options options = small(8192);
    if ((switches & 8) == 0) {
        SalvageReport report;
        salvage(disk, "/j", "/s", options, report);
    }
    RecoveryReport report;
    int code = 0;
    auto journal = open_journal("/j", options, &report, &code, disk);
    if (!journal) {
        MUST(code < 0);
        MUST(disk.open_files() == 0);
        return;
    }
    MUST(verdict == 0 || verdict == -ENOENT);
    const auto read = [&] {
        std::unique_ptr<Reader> reader;
        MUST(Reader::open(*journal, 0, Bound::durable, reader) == 0);
        return look(*reader);
    };
    const Seen after = read();
    if (before.whole && verdict == 0) {
        MUST(after.whole && after.records == before.records);
    }
    MUST(journal->commit("the last", 8, 0, -1, nullptr) == 0);
    MUST(journal->close() == 0);
    journal = open_journal("/j", options, &report, &code, disk);
    MUST(journal);
    MUST(report.verdict == Verdict::clean);
    const Seen again = read();
    if (std::getenv("FSYS_FUZZ_VERBOSE") != nullptr) {
        std::printf("before %zu%s, after %zu%s, again %zu%s; dry: %d %s\nopen: %s\n",
                    before.records.size(), before.whole ? " whole" : "", after.records.size(),
                    after.whole ? " whole" : "", again.records.size(), again.whole ? " whole" : "",
                    verdict, dry.text.c_str(), report.text.c_str());
        std::fflush(stdout);
    }
    MUST(again.whole == after.whole);
    MUST(!again.whole || (again.records.size() == after.records.size() + 1 &&
                          again.records.back() == "the last"));
    MUST(journal->close() == 0);
    journal.reset();
    MUST(disk.open_files() == 0);
}

// -- seeds

std::vector<File> files_of(sim::Disk &disk) {
    std::vector<File> files;
    for (const std::string &name : disk.names("j")) {
        const auto *bytes = disk.contents("j", name);
        if (bytes != nullptr && name != kLockName) {
            files.push_back({name, std::string(bytes->begin(), bytes->end())});
        }
    }
    return files;
}

void write_seed(const std::string &dir, const std::string &name, const std::vector<File> &files) {
    for (const std::uint8_t switches : {0, 3, 7}) {
        journal_test::spill(dir + "/" + name + "-" + std::to_string(switches),
                            pack(files, switches));
    }
}

std::vector<File> made(std::uint64_t seed) {
    sim::Random random(seed);
    sim::Disk disk;
    Options options = small(4096 << random.below(2));
    options.prealloc = static_cast<Prealloc>(random.below(4));
    options.spare_segments = 0;
    for (int life = 0; life < 2; ++life) {
        auto journal = open_journal("/j", options, nullptr, nullptr, disk);
        MUST(journal);
        Lsn lsn = 0;
        for (std::uint64_t i = 0; i < 4 + random.below(8); ++i) {
            const std::string text = record(i, 8 + random.below(random.chance(10) ? 6000 : 300));
            const iovec batch[] = {{const_cast<char *>(text.data()), text.size()},
                                   {const_cast<char *>(text.data()), 0},
                                   {const_cast<char *>(text.data()), 8}};
            MUST(journal->append_batch(batch, random.chance(30) ? 3 : 1, 0, &lsn, nullptr) == 0);
            if (random.chance(60)) {
                MUST(journal->sync(lsn, -1) == 0);
            }
        }
        if (random.chance(50)) {
            journal->sync(lsn, -1);
            journal->trim(lsn / 2);
            journal->pin("keeper", journal->first(), 0);
        }
        if (random.chance(30)) {
            journal->truncate_after(journal->durable());
        }
        if (random.chance(50)) {
            journal->close();
        } else {
            journal->write_out();
            journal->abandon();
        }
    }
    return files_of(disk);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int *, char ***) {
    const char *dir = std::getenv("FSYS_FUZZ_SEEDS");
    if (dir == nullptr) {
        return 0;
    }
    for (std::uint64_t seed = 1; seed <= 24; ++seed) {
        write_seed(dir, "made-" + std::to_string(seed), made(seed));
    }
    for (const auto &entry : std::filesystem::directory_iterator(FSYS_GOLDEN)) {
        std::vector<File> files;
        for (const auto &file : std::filesystem::directory_iterator(entry.path())) {
            if (file.path().filename() != "expected") {
                files.push_back({file.path().filename().string(), slurp(file.path().string())});
            }
        }
        write_seed(dir, entry.path().filename().string(), files);
    }
    std::exit(0);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    Bytes in(data, size);
    const auto switches = static_cast<std::uint8_t>(in.number(1));
    run(switches, unpack(in));
    return 0;
}
