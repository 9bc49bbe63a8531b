// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Replacing a file. Entered by the caller's thread, or by a pool thread for a submit; one thread at
// a time per object, which owns the temporary file and its descriptor.
//
// O_TMPFILE would leave no name behind after a crash, but linkat(2) cannot take the place of a name
// that exists, so a temporary name would be needed all the same just before the rename, and several
// file systems have no O_TMPFILE. The named temporary file is locked while it is written, which
// tells a sweep that somebody still works on it.

#include "file/replace.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace libfsys::files {
namespace {

constexpr std::size_t kMostPiece = std::size_t{1} << 30;

std::uint64_t random_number() {
    std::uint64_t value = 0;
    if (::getrandom(&value, sizeof value, GRND_NONBLOCK) == sizeof value) {
        return value;
    }
    // Early at boot. The exclusive create makes a collision harmless; it need only be unlikely.
    static std::atomic<std::uint64_t> counter{0};
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    value = static_cast<std::uint64_t>(now.tv_nsec) << 32 ^ static_cast<std::uint64_t>(now.tv_sec) ^
            counter.fetch_add(0x9e3779b97f4a7c15u, std::memory_order_relaxed);
    return value * 0xbf58476d1ce4e5b9u;
}

}  // namespace

std::string temp_name() {
    char name[64];
    std::snprintf(name, sizeof name, "%s%d.%016llx", kTempPrefix, static_cast<int>(::getpid()),
                  static_cast<unsigned long long>(random_number()));
    return name;
}

bool is_temp_name(const std::string &name) {
    const std::size_t prefix = std::strlen(kTempPrefix);
    const std::size_t dot = name.rfind('.');
    return name.compare(0, prefix, kTempPrefix) == 0 && dot != std::string::npos && dot > prefix &&
           name.size() - dot - 1 == 16 && name.find_first_not_of("0123456789", prefix) == dot &&
           name.find_first_not_of("0123456789abcdef", dot + 1) == std::string::npos;
}

int Replacement::fail(int code, std::uint32_t step, const char *what) {
    const bool first = !failed();
    if (first) {
        report_.step = step;
    }
    const std::string temp = temp_name_;
    const int removed = report_.visible == 0 ? abort() : 0;
    if (!first) {
        return code;
    }
    const char *reason = fsys_strerror(code);
    if (removed < 0) {
        return detail_.say(code, "replacing '%s': %s: %s (and removing the temporary file %s: %s)",
                           path_.c_str(), what, reason, temp.c_str(), fsys_strerror(removed));
    }
    return detail_.say(
        code, "replacing '%s': %s: %s%s", path_.c_str(), what, reason,
        report_.visible != 0 ? " (the new file is visible, perhaps not durable)" : "");
}

int Replacement::begin(const Where &where, const std::string &path) {
    path_ = path;
    bool at_directory = false;
    int code = find_file(sys_, where, path, (settings_.flags & FSYS_REPLACE_NOFOLLOW) != 0,
                         !settings_.syncs_directory(), found_, at_directory);
    if (code < 0) {
        return fail(code, at_directory ? FSYS_FILE_STEP_DIRECTORY : FSYS_FILE_STEP_INSPECT,
                    at_directory ? "opening its directory" : "looking at what is there");
    }
    if (found_.exists && (settings_.flags & FSYS_REPLACE_NEW) != 0) {
        return fail(-EEXIST, FSYS_FILE_STEP_INSPECT, "it must be new");
    }
    if (!found_.exists && (settings_.flags & FSYS_REPLACE_EXISTING) != 0) {
        return fail(-ENOENT, FSYS_FILE_STEP_INSPECT, "it must exist");
    }
    if (found_.exists) {
        report_.other_links = found_.st.st_nlink > 1 ? found_.st.st_nlink - 1 : 0;
        if (report_.other_links != 0 && (settings_.flags & FSYS_REPLACE_ONE_LINK) != 0) {
            return fail(-EMLINK, FSYS_FILE_STEP_INSPECT, "it has other hard links");
        }
        if (settings_.keep.keep != 0 && !source_) {
            source_ = Fd(sys_, sys_.open(found_.directory.fd.get(), found_.leaf.c_str(),
                                         O_PATH | O_NOFOLLOW, 0));
            code = !source_ ? source_.get() : sys_.fstat(source_.get(), &source_st_);
            if (code == 0 && !S_ISREG(source_st_.st_mode)) {
                code = -EINVAL;  // replaced by something else since it was looked at
            }
            if (code < 0) {
                return fail(code, FSYS_FILE_STEP_INSPECT, "opening the old file");
            }
        }
    }
    return create();
}

int Replacement::create() {
    // Nobody else may read it before it has the mode that it is to keep.
    const bool kept_mode = source_ && (settings_.keep.keep & FSYS_KEEP_MODE) != 0;
    const mode_t mode = kept_mode ? 0600 : settings_.mode;
    constexpr int kMostTries = 8;
    int fd = -EEXIST;
    for (int i = 0; fd == -EEXIST && i < kMostTries; ++i) {
        temp_name_ = temp_name();
        fd = sys_.open(found_.directory.fd.get(), temp_name_.c_str(),
                       O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    }
    if (fd < 0) {
        temp_name_.clear();
        return fail(fd, FSYS_FILE_STEP_CREATE, "creating a temporary file beside it");
    }
    temp_ = Fd(sys_, fd);
    const int code = sys_.lock_exclusive(fd);
    // Where there are no locks a sweep removes nothing.
    if (code < 0 && code != -EOPNOTSUPP && code != -ENOLCK && code != -EINVAL && code != -ENOSYS) {
        return fail(code, FSYS_FILE_STEP_CREATE, "locking the temporary file");
    }
    if (settings_.lifetime != FSYS_LIFETIME_UNSET) {
        sys_.set_lifetime(fd, settings_.lifetime);  // a hint: who has none ignores it
    }
    return 0;
}

void Replacement::keep_from(Fd source, const struct stat &st) {
    source_ = std::move(source);
    source_st_ = st;
}

int Replacement::write(const void *data, std::size_t length) {
    const auto *bytes = static_cast<const unsigned char *>(data);
    for (std::size_t at = 0; at < length;) {
        std::size_t done = 0;
        const int code = write_fully(sys_, temp_.get(), bytes + at,
                                     std::min(length - at, kMostPiece), length_, 0, done);
        at += done;
        length_ += done;
        report_.bytes = length_;
        if (code < 0) {
            return fail(code, FSYS_FILE_STEP_WRITE, "writing");
        }
    }
    return 0;
}

int Replacement::apply_metadata() {
    if (!source_ || settings_.keep.keep == 0) {
        return 0;
    }
    std::string what;
    const int code = keep_metadata(sys_, settings_.keep, source_.get(), source_st_, temp_.get(),
                                   report_.not_kept, changed_, what);
    source_.reset();
    return code < 0 ? fail(code, FSYS_FILE_STEP_METADATA, ("keeping " + what).c_str()) : 0;
}

int Replacement::sync_file() {
    if (!settings_.syncs_file()) {
        return 0;
    }
    // Also what made its length and metadata: there is no later change to the file.
    return note_sync(libfsys::sync_file(sys_, temp_.get(), data_only()));
}

int Replacement::rename() {
    const int dir = found_.directory.fd.get();
    const int code =
        (settings_.flags & FSYS_REPLACE_NEW) != 0
            ? sys_.rename_with(dir, temp_name_.c_str(), dir, found_.leaf.c_str(), RENAME_NOREPLACE)
            : sys_.rename(dir, temp_name_.c_str(), dir, found_.leaf.c_str());
    if (code < 0) {
        return fail(code, FSYS_FILE_STEP_RENAME, "giving the new file its name");
    }
    report_.visible = 1;
    report_.durability = FSYS_DURABILITY_NONE;
    temp_name_.clear();
    return 0;
}

int Replacement::note_directory_sync(int code) {
    if (code < 0) {
        return fail(code, FSYS_FILE_STEP_SYNC_DIRECTORY, "syncing its directory");
    }
    report_.durability = std::min(settings_.durability, FSYS_DURABILITY_FULL);
    return 0;
}

int Replacement::sync_directory() {
    return settings_.syncs_directory() ? note_directory_sync(sys_.fsync(found_.directory.fd.get()))
                                       : 0;
}

int Replacement::flush_device() {
    if (!settings_.flushes_device()) {
        return 0;
    }
    std::string text;
    const int code = sys_.flush_device(temp_.get(), text);
    if (code < 0) {
        return fail(code, FSYS_FILE_STEP_SYNC_DEVICE, ("flushing the device: " + text).c_str());
    }
    report_.durability = FSYS_DURABILITY_DEVICE;
    return 0;
}

int Replacement::commit() {
    int code = apply_metadata();
    code = code < 0 ? code : sync_file();
    code = code < 0 ? code : rename();
    code = code < 0 ? code : sync_directory();
    code = code < 0 ? code : flush_device();
    temp_.reset();  // and with it the lock
    return code;
}

int Replacement::abort() {
    int code = 0;
    if (!temp_name_.empty()) {
        code = sys_.unlink(found_.directory.fd.get(), temp_name_.c_str());
        temp_name_.clear();
    }
    temp_.reset();
    source_.reset();
    return code == -ENOENT ? 0 : code;
}

void Replacement::close_in_child() {
    temp_name_.clear();
    temp_.reset();
    source_.reset();
    found_.directory.fd.reset();
}

}  // namespace libfsys::files
