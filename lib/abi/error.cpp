// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Codes to names and sentences. Static text only; any thread.

#include <cstring>
#include <iterator>

#include "fsys/fsys.h"

namespace {

struct Entry {
    int code;
    const char *name;
    const char *sentence;
};

constexpr Entry kOwn[] = {
    {FSYS_E_CLOSED, "FSYS_E_CLOSED", "the handle or file is closed"},
    {FSYS_E_STALE, "FSYS_E_STALE", "the token names no live op of this handle"},
    {FSYS_E_POISONED, "FSYS_E_POISONED", "an earlier failure makes later results unbelievable"},
    {FSYS_E_DRIVER_DEAD, "FSYS_E_DRIVER_DEAD", "the handle's driver has ended after a failure"},
    {FSYS_E_FORKED, "FSYS_E_FORKED", "the handle belongs to the parent process"},
    {FSYS_E_WRONG_THREAD, "FSYS_E_WRONG_THREAD", "only the handle's driver thread may do this"},
    {FSYS_E_URING_SETUP, "FSYS_E_URING_SETUP", "io_uring cannot be set up in this process"},
    {FSYS_E_MISALIGNED, "FSYS_E_MISALIGNED",
     "buffer, length or offset does not fit the file's direct-IO alignment"},
    {FSYS_E_NOTHING, "FSYS_E_NOTHING", "nothing is outstanding to wait for"},
    {FSYS_E_SHORT, "FSYS_E_SHORT", "the file ended before the exact length was transferred"},
    {FSYS_E_BAD_STRUCT, "FSYS_E_BAD_STRUCT", "struct_size is wrong or an unknown field is set"},
    {FSYS_E_BAD_FLAG, "FSYS_E_BAD_FLAG", "a flag or constant is not known to this version"},
    {FSYS_E_CORRUPT, "FSYS_E_CORRUPT", "durable bytes of the journal are damaged"},
    {FSYS_E_NOT_ATOMIC, "FSYS_E_NOT_ATOMIC", "the storage does not promise an atomic write"},
    {FSYS_E_UNKNOWN, "FSYS_E_UNKNOWN", "whether the bytes are durable is not known"},
    {FSYS_E_LOCKED, "FSYS_E_LOCKED", "another process or handle holds the lock"},
    {FSYS_E_MISMATCH, "FSYS_E_MISMATCH", "the data read differs from what was expected"},
};

const Entry *find(int code) {
    for (const Entry &entry : kOwn) {
        if (entry.code == code) {
            return &entry;
        }
    }
    return nullptr;
}

}  // namespace

const char *fsys_strerror(int code) noexcept {
    if (code >= 0) {
        return "success";
    }
    if (const Entry *entry = find(code)) {
        return entry->sentence;
    }
    // Untranslated and static, unlike strerror(3).
    const char *text = code > -4096 ? ::strerrordesc_np(-code) : nullptr;
    return text != nullptr ? text : "unknown error";
}

const char *fsys_error_name(int code) noexcept {
    if (code >= 0) {
        return "OK";
    }
    if (const Entry *entry = find(code)) {
        return entry->name;
    }
    const char *name = code > -4096 ? ::strerrorname_np(-code) : nullptr;
    return name != nullptr ? name : "?";
}
