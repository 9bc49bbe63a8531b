// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What `fsys copy` was asked to do, and the plan that its parts share.
#pragma once

#include "engine.hpp"
#include "progress.hpp"
#include "tree.hpp"

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace cli {

struct CopyOptions {
    std::string source;
    std::string destination;
    std::uint32_t threads = 0;  // 0: as many as processors, 2..8
    std::uint32_t depth = 16;
    std::uint32_t group_files = 32;  // most small files that a worker has open at a time
    std::uint64_t block = 256 * 1024;
    bool direct = false;
    bool durable = false;
    bool verify = false;
    bool verify_only = false;
    bool force = false;
    bool stats = false;
    bool json = false;
    std::string backend = "auto";
    ProgressMode progress = ProgressMode::kAuto;
};

// Where from, where to, and what. Read-only once built; names of entries are relative to both
// roots, except that a single file may get another name.
struct CopyPlan {
    Fd source_root;
    Fd target_root;
    std::string source_display;  // of source_root
    std::string target_display;
    std::string target_name;  // single file: its name below target_root; "" for a tree
    bool is_tree = false;
    Tree tree;
    std::set<std::string> created;  // directories that this copy made, "" the target itself

    const std::string &name_in_target(const Entry &entry) const
    {
        return is_tree ? entry.name : target_name;
    }
    std::string source_path(const Entry &entry) const { return join(source_display, entry.name); }
    std::string target_path(const Entry &entry) const
    {
        return join(target_display, name_in_target(entry));
    }
};

// What the workers of one phase share: counters for the progress bar, and the first failure, which
// stops the others between two ops.
class Crew {
public:
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::uint64_t> files{0};

    // Runs `work(thread index)` on `threads` threads and draws progress until all have returned.
    // Rethrows the first failure; throws Interrupted when a signal stopped them.
    void run(std::uint32_t threads, Progress &progress,
             const std::function<void(std::uint32_t)> &work);

    bool stopping() const noexcept;
    void stop(std::exception_ptr failure);

private:
    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    std::exception_ptr failure_;
};

// A piece of work: either some files of one block each (`blocks` 0), or `blocks` blocks of one
// file from `first` on. Every file has size / block + 1 blocks: the last one, shorter than a block
// and perhaps empty, is what notices that a file has grown since it was listed.
struct Piece {
    std::vector<std::size_t> entries;  // indices into Tree::entries
    std::uint64_t first = 0;
    std::uint64_t blocks = 0;
};
// In the order of the tree: small files in groups of at most `group_files`, big ones in segments.
std::vector<Piece> cut_in_pieces(const Tree &tree, std::uint64_t block, std::uint32_t group_files,
                                 std::uint64_t segment_blocks);

// Copies the regular files of the plan and returns the bytes, which are more than the plan's when
// files have grown. On failure or interruption no partial file is left.
std::uint64_t copy_files(Engine &engine, const CopyOptions &options, const CopyPlan &plan,
                         Progress &progress);
// Reads both sides and compares; throws Failure with the path and offset of the first difference.
void verify_files(Engine &engine, const CopyOptions &options, const CopyPlan &plan,
                  Progress &progress);

int run_copy(const CopyOptions &options);

}  // namespace cli
