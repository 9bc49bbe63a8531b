// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One regular file on its way: both ends open, and the promise that the target is either finished
// or gone. An existing file is replaced by rename, so that it stays whole until then.
#pragma once

#include "copy.hpp"

#include <atomic>
#include <string>

namespace cli {

class OpenPair {
public:
    // Opens the source and creates the target; throws Failure.
    OpenPair(Engine &engine, const CopyOptions &options, const CopyPlan &plan, const Entry &entry);
    // Removes the target unless finish() has returned.
    ~OpenPair();
    OpenPair(const OpenPair &) = delete;
    OpenPair &operator=(const OpenPair &) = delete;

    fsys_file *source() const { return source_file_.get(); }
    fsys_file *target() const { return target_file_.get(); }
    const Entry &entry() const { return entry_; }
    std::string source_path() const { return plan_.source_path(entry_); }
    std::string target_path() const { return plan_.target_path(entry_); }

    // How many bytes to write for `length` bytes read at the end of a file: O_DIRECT writes whole
    // units, and finish() cuts the file to its length.
    std::size_t write_length(std::size_t length) const;

    // Bytes up to `end` have been written. Any thread.
    void written(std::uint64_t end);
    std::uint64_t end() const { return end_; }

    // The last block read came back full, so the file has grown: copies the rest, one block at a
    // time, until its end. `from` is a multiple of the block size. Returns the bytes.
    std::uint64_t copy_tail(std::byte *buffer, std::size_t block, std::uint64_t from);

    // Length, permissions and times. After that, with --durable, a sync; then publish().
    void set_attributes();
    // Closes, gives the file its final name and keeps it.
    void publish();

private:
    int target_parent_open(int flags, const std::string &name);
    [[noreturn]] void fail_target(const char *what, int code) const;

    const CopyOptions &options_;
    const CopyPlan &plan_;
    const Entry &entry_;
    Fd target_fd_;  // for what the engine has no op for: length, mode, times
    File source_file_;
    File target_file_;
    std::string name_;       // final, below the target root
    std::string temporary_;  // the name being written; equal to name_ for a new file
    std::size_t unit_ = 1;   // of O_DIRECT lengths in the target
    std::atomic<std::uint64_t> end_{0};
    bool kept_ = false;
};

// A name in the directory of `name` that nothing else uses.
std::string temporary_beside(const std::string &name);

}  // namespace cli
