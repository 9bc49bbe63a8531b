// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One file being replaced: a temporary beside the target, and the steps that put it in its place.
#pragma once

#include <memory>
#include <string>

#include "file/keep.hpp"
#include "file/where.hpp"
#include "fsys/files.h"

namespace libfsys::files {

// Temporary files are recognised by this, by fsys_sweep() and by people.
inline constexpr const char *kTempPrefix = ".fsys-tmp.";
bool is_temp_name(const std::string &name);
std::string temp_name();

// An fsys_replace_options, checked.
struct ReplaceSettings {
    std::uint32_t flags = 0;
    std::uint32_t durability = FSYS_DURABILITY_FULL;
    KeepPolicy keep;
    std::uint32_t mode = 0666;
    std::uint32_t lifetime = FSYS_LIFETIME_UNSET;

    bool syncs_file() const { return durability >= FSYS_DURABILITY_DATA; }
    bool syncs_directory() const {
        return syncs_file() && (flags & FSYS_REPLACE_NO_DIRECTORY_SYNC) == 0;
    }
    bool flushes_device() const { return durability == FSYS_DURABILITY_DEVICE; }
};

// The steps are called in the order in which they stand here. Each returns 0 or a code, with step
// and sentence noted; after a failure, or when it is dropped, the temporary file is removed unless
// it has its name already. One thread at a time.
class Replacement {
public:
    Replacement(Syscalls &sys, const ReplaceSettings &settings, Detail detail)
        : sys_(sys), settings_(settings), detail_(detail) {}
    Replacement(const Replacement &) = delete;
    Replacement &operator=(const Replacement &) = delete;
    ~Replacement() { abort(); }

    // Metadata (and a copy's bytes) come from this file, not from the target.
    void keep_from(Fd source, const struct stat &st);
    int begin(const Where &where, const std::string &path);
    int write(const void *data, std::size_t length);
    // All bytes of the file of keep_from(); `method` of the report tells how.
    int copy(bool share_only);
    int apply_metadata();
    int sync_file();
    int rename();
    int sync_directory();
    int flush_device();

    // All steps behind the writing.
    int commit();
    int abort();
    // In a fork child: the descriptors are this process's, the temporary file is the parent's.
    void close_in_child();

    // For syncing several at once: the new file, and how.
    int fd() const { return temp_.get(); }
    bool data_only() const { return settings_.durability == FSYS_DURABILITY_DATA && !changed_; }
    // Where later sentences go.
    void say_to(Detail detail) { detail_ = detail; }
    // Notes the outcome of what was done from outside.
    int note_sync(int code) {
        return code < 0 ? fail(code, FSYS_FILE_STEP_SYNC, "syncing the new file") : 0;
    }
    int note_directory_sync(int code);
    const Directory &directory() const { return found_.directory; }
    const fsys_file_report &report() const { return report_; }
    bool failed() const { return report_.step != FSYS_FILE_STEP_NONE; }

private:
    int fail(int code, std::uint32_t step, const char *what);
    int create();
    int copy_ranges(std::uint64_t size);
    int copy_bytes(std::uint64_t &at, std::uint64_t end, bool to_the_end);

    Syscalls &sys_;
    const ReplaceSettings settings_;
    Detail detail_;
    std::string path_;
    Found found_;
    Fd source_;  // metadata come from it: O_PATH of the target, or a copy's source
    struct stat source_st_ {};
    Fd temp_;
    std::string temp_name_;  // "" once it is renamed or removed
    bool changed_ = false;   // metadata were set
    std::uint64_t length_ = 0;
    fsys_file_report report_{};
};

}  // namespace libfsys::files
