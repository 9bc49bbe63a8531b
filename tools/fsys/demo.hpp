// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys demo`: ingests real files into a journal as durable commits, kills the writer, recovers,
// checks, goes on. Each phase is a child process; what they share is one anonymous mapping, which
// outlives a SIGKILL.
#pragma once

#include "histogram.hpp"
#include "progress.hpp"

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace cli {

struct DemoOptions {
    std::vector<std::string> sources;  // empty: /usr/share/doc, or what is there instead
    std::string directory;             // of the journal; "": one of its own, removed at the end
    std::uint32_t threads = 16;
    std::uint64_t limit = 20'000;      // most records
    bool keep = false;
    bool json = false;
    ProgressMode progress = ProgressMode::kAuto;
};
int run_demo(const DemoOptions &options);

// A piece of a source file: one record.
struct DemoPiece {
    std::uint32_t file;
    std::uint32_t length;
    std::uint64_t offset;
};
struct DemoFile {
    std::string path;
    std::int64_t modified_ns;
};
struct DemoInput {
    std::vector<DemoFile> files;
    std::vector<DemoPiece> pieces;
    std::uint64_t bytes = 0;
};

// What precedes the bytes in a record.
struct DemoHeader {
    std::uint64_t piece;
    std::uint64_t length;
};

struct DemoShared {
    static constexpr std::uint32_t kMostThreads = 64;

    std::atomic<std::uint64_t> next{0};          // piece to be taken by a writer thread
    std::atomic<std::uint64_t> acknowledged{0};  // commits that returned 0
    std::atomic<std::uint64_t> progress{0};      // records done in this phase
    std::atomic<std::uint64_t> started_ns{0};    // when the first commit began
    std::atomic<std::uint64_t> syncs{0};         // of the running writer, as last seen
    std::atomic<std::uint64_t> direct{0};
    std::atomic<std::uint64_t> segments{0};
    std::atomic<int> code{0};  // of the child's failure
    char error[512];
    // Of the last check.
    std::uint64_t verdict, cut_bytes, open_ns, recovered, unacknowledged, changed, segments_read;
    Histogram latency[kMostThreads];  // one writer thread each
    // Behind it: per piece the LSN that was acknowledged, or 0; then the number of times it was
    // found by the last check.
};

class DemoMemory {
public:
    explicit DemoMemory(std::size_t pieces);
    ~DemoMemory();
    DemoMemory(const DemoMemory &) = delete;
    DemoMemory &operator=(const DemoMemory &) = delete;

    DemoShared *operator->() const { return shared_; }
    std::atomic<std::uint64_t> &lsn(std::size_t piece) const { return lsns_[piece]; }
    std::uint8_t &found(std::size_t piece) const { return found_[piece]; }

private:
    std::size_t size_;
    DemoShared *shared_;
    std::atomic<std::uint64_t> *lsns_;
    std::uint8_t *found_;
};

// The children's work; both throw Failure. The writer commits every piece not yet found.
void demo_write(const std::string &journal, const DemoInput &input, const DemoMemory &memory,
                std::uint32_t threads);
// Recovers, then compares each record with its source and what was acknowledged with what is there.
void demo_check(const std::string &journal, const DemoInput &input, const DemoMemory &memory);

}  // namespace cli
