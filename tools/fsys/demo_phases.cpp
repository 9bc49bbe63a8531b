// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the children of `fsys demo` do: commit, and check. Each runs in a process of its own, which
// owns its engine and journal; the writer's threads share the mapping with the parent.
#include "demo.hpp"
#include "engine.hpp"
#include "interrupt.hpp"
#include "journal_handle.hpp"

#include <fsys/journal.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

namespace cli {

namespace {

std::uint64_t now_ns()
{
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

// Small segments, so that the demo crosses from one to the next.
fsys_journal_options demo_journal()
{
    fsys_journal_options options{};
    options.segment_bytes = std::uint64_t{8} << 20;
    return options;
}

// Bytes of a piece of a source file as they are now; fewer when the file has become shorter.
std::size_t read_piece(const DemoFile &file, const DemoPiece &piece, char *to)
{
    const Fd fd(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) {
        if (errno == ENOENT) {
            return 0;
        }
        throw Failure("cannot open", file.path, -errno);
    }
    std::size_t done = 0;
    while (done < piece.length) {
        const ssize_t n = pread(fd.get(), to + done, piece.length - done,
                                static_cast<off_t>(piece.offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            throw Failure("cannot read", file.path, -errno);
        }
        if (n == 0) {
            break;
        }
        done += static_cast<std::size_t>(n);
    }
    return done;
}

bool is_changed(const DemoFile &file)
{
    struct stat facts{};
    return stat(file.path.c_str(), &facts) != 0 ||
           facts.st_mtim.tv_sec * std::int64_t{1'000'000'000} + facts.st_mtim.tv_nsec !=
               file.modified_ns;
}

void note_counters(fsys_journal *journal, DemoShared &shared)
{
    fsys_journal_stats stats{};
    stats.struct_size = sizeof stats;
    if (fsys_journal_stat(journal, &stats) == 0) {
        shared.syncs.store(stats.syncs);
        shared.direct.store(stats.direct);
        shared.segments.store(stats.segments);
    }
}

}  // namespace

DemoMemory::DemoMemory(std::size_t pieces)
    : size_(sizeof(DemoShared) + pieces * (sizeof(std::uint64_t) + 1))
{
    void *memory =
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::bad_alloc();
    }
    shared_ = new (memory) DemoShared{};
    // Zero pages are zero atomics.
    lsns_ = reinterpret_cast<std::atomic<std::uint64_t> *>(shared_ + 1);
    found_ = reinterpret_cast<std::uint8_t *>(lsns_ + pieces);
}

DemoMemory::~DemoMemory()
{
    munmap(shared_, size_);
}

void demo_write(const std::string &path, const DemoInput &input, const DemoMemory &memory,
                std::uint32_t threads)
{
    Engine engine({});
    JournalHandle journal(engine, path, demo_journal());
    note_counters(journal.get(), *memory.operator->());
    memory->started_ns.store(now_ns());

    std::mutex mutex;
    std::exception_ptr failure;
    const auto work = [&](std::uint32_t index) {
        std::vector<char> record;
        for (std::uint64_t done = 0; interrupted() == 0; ++done) {
            const std::uint64_t at = memory->next.fetch_add(1);
            if (at >= input.pieces.size()) {
                return;
            }
            if (memory.found(at) != 0) {
                continue;
            }
            const DemoPiece &piece = input.pieces[at];
            record.resize(sizeof(DemoHeader) + piece.length);
            DemoHeader header{at, 0};
            header.length =
                read_piece(input.files[piece.file], piece, record.data() + sizeof header);
            std::memcpy(record.data(), &header, sizeof header);
            const std::uint64_t start = now_ns();
            std::uint64_t lsn = 0;
            const int code =
                fsys_journal_commit(journal.get(), record.data(), sizeof header + header.length, 0,
                                    FSYS_FOREVER, &lsn);
            if (code < 0) {
                throw Failure("cannot commit to the journal", path, code);
            }
            // From here on the record was promised: whatever happens to this process, it is there.
            memory.lsn(at).store(lsn);
            memory->acknowledged.fetch_add(1);
            memory->progress.fetch_add(1);
            memory->latency[index].record(now_ns() - start);
            if (index == 0 && done % 16 == 0) {
                note_counters(journal.get(), *memory.operator->());
            }
        }
    };
    std::vector<std::thread> crew;
    for (std::uint32_t index = 0; index < threads; ++index) {
        crew.emplace_back([&, index] {
            try {
                work(index);
            } catch (...) {
                const std::lock_guard lock(mutex);
                failure = std::current_exception();
                memory->next.store(input.pieces.size());
            }
        });
    }
    for (std::thread &thread : crew) {
        thread.join();
    }
    if (failure != nullptr) {
        std::rethrow_exception(failure);
    }
    note_counters(journal.get(), *memory.operator->());
    if (const int code = journal.close(); code < 0) {
        throw Failure("cannot close the journal", path, code);
    }
}

void demo_check(const std::string &path, const DemoInput &input, const DemoMemory &memory)
{
    Engine engine({});
    DemoShared &shared = *memory.operator->();
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    const std::uint64_t start = now_ns();
    JournalHandle journal(engine, path, demo_journal(), &report);
    shared.open_ns = now_ns() - start;
    shared.verdict = report.verdict;
    shared.cut_bytes = report.cut_to - report.cut_from;
    shared.recovered = shared.unacknowledged = shared.changed = 0;
    for (std::size_t at = 0; at < input.pieces.size(); ++at) {
        memory.found(at) = 0;
    }

    fsys_journal_reader *reader = nullptr;
    if (const int code = fsys_journal_reader_open(journal.get(), 0, 0, &reader); code < 0) {
        throw Failure("cannot read the journal", path, code);
    }
    const auto wrong = [&](const std::string &what, std::uint64_t lsn) {
        return Failure(fmt::format("the record at LSN {} {}: journal", lsn, what), path);
    };
    std::vector<char> source;
    std::uint64_t before = 0;
    for (;;) {
        fsys_journal_record record{};
        if (const int code = fsys_journal_reader_next(reader, 0, &record); code < 0) {
            throw Failure("cannot read the journal", path, code);
        }
        if (record.kind == FSYS_JOURNAL_END) {
            break;
        }
        if (record.kind != FSYS_JOURNAL_RECORD) {
            throw wrong("is missing or damaged", record.start);
        }
        DemoHeader header{};
        if (record.length < sizeof header || record.lsn <= before) {
            throw wrong("was never written", record.lsn);
        }
        before = record.lsn;
        std::memcpy(&header, record.data, sizeof header);
        if (header.piece >= input.pieces.size() ||
            header.length != record.length - sizeof header ||
            header.length > input.pieces[header.piece].length) {
            throw wrong("was never written", record.lsn);
        }
        if (memory.found(header.piece)++ != 0) {
            throw wrong("is there twice", record.lsn);
        }
        const std::uint64_t promised = memory.lsn(header.piece).load();
        if (promised != 0 && promised != record.lsn) {
            throw wrong(fmt::format("was acknowledged as LSN {}", promised), record.lsn);
        }
        if (promised == 0) {
            ++shared.unacknowledged;
            memory.lsn(header.piece).store(record.lsn);  // recovered: from here on it must stay
        }
        const DemoPiece &piece = input.pieces[header.piece];
        const DemoFile &file = input.files[piece.file];
        source.resize(piece.length);
        if (read_piece(file, piece, source.data()) != header.length ||
            std::memcmp(source.data(), static_cast<const char *>(record.data) + sizeof header,
                        header.length) != 0) {
            if (!is_changed(file)) {
                throw wrong(fmt::format("differs from '{}'", printable(file.path)), record.lsn);
            }
            ++shared.changed;
        }
        ++shared.recovered;
        shared.progress.fetch_add(1);
    }
    fsys_journal_reader_close(reader);
    for (std::size_t at = 0; at < input.pieces.size(); ++at) {
        if (memory.lsn(at).load() != 0 && memory.found(at) == 0) {
            throw Failure(fmt::format("the commit of LSN {} was acknowledged and is lost: journal",
                                      memory.lsn(at).load()),
                          path, FSYS_E_CORRUPT);
        }
    }
    if (const int code = journal.close(); code < 0) {
        throw Failure("cannot close the journal", path, code);
    }
}

}  // namespace cli
