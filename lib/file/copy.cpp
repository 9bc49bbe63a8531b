// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Filling a new file with another one's bytes: shared if the file system can, copied by the kernel
// if it will, else read and written. Holes stay holes. One thread at a time per replacement.

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "file/replace.hpp"

namespace libfsys::files {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;
constexpr std::uint64_t kMostRange = std::uint64_t{1} << 30;

// Not here or not between these two, as opposed to failed.
bool is_refusal(std::int64_t code) {
    return code == -EOPNOTSUPP || code == -EXDEV || code == -EINVAL || code == -ENOTTY ||
           code == -ENOSYS || code == -EPERM || code == -ETXTBSY || code == -EBADF;
}

}  // namespace

int Replacement::copy(bool share_only) {
    const auto size = static_cast<std::uint64_t>(source_st_.st_size);
    const int shared = sys_.clone(source_.get(), temp_.get());
    if (shared == 0) {
        struct stat now {};
        const int code = sys_.fstat(temp_.get(), &now);
        report_.method = FSYS_COPY_REFLINK;
        report_.bytes = length_ = static_cast<std::uint64_t>(now.st_size);
        return code < 0 ? fail(code, FSYS_FILE_STEP_WRITE, "looking at the copy") : 0;
    }
    if (!is_refusal(shared)) {
        return fail(shared, FSYS_FILE_STEP_WRITE, "sharing the source's blocks");
    }
    if (share_only) {
        return fail(-EOPNOTSUPP, FSYS_FILE_STEP_WRITE, "sharing the source's blocks");
    }
    if (size == 0) {
        // Empty, or of a kind that does not tell its length (/proc).
        report_.method = FSYS_COPY_BYTES;
        std::uint64_t at = 0;
        return copy_bytes(at, 0, true);
    }
    return copy_ranges(size);
}

int Replacement::copy_ranges(std::uint64_t size) {
    report_.method = FSYS_COPY_KERNEL;
    std::uint64_t at = 0;
    bool ended = false;
    while (at < size && !ended) {
        std::int64_t data = sys_.seek(source_.get(), at, SEEK_DATA);
        if (data == -ENXIO) {
            break;  // a hole up to the end
        }
        std::int64_t hole =
            data < 0 ? data : sys_.seek(source_.get(), static_cast<std::uint64_t>(data), SEEK_HOLE);
        if (data == -EINVAL || hole == -EINVAL) {
            data = static_cast<std::int64_t>(at);  // the file system does not tell
            hole = static_cast<std::int64_t>(size);
        }
        if (data < 0 || hole < 0) {
            return fail(static_cast<int>(std::min(data, hole)), FSYS_FILE_STEP_WRITE,
                        "looking for holes in the source");
        }
        at = static_cast<std::uint64_t>(data);
        const std::uint64_t end = std::min(static_cast<std::uint64_t>(hole), size);
        while (at < end && !ended) {
            if (report_.method == FSYS_COPY_KERNEL) {
                const ssize_t n =
                    sys_.copy_range(source_.get(), at, temp_.get(), at,
                                    static_cast<std::size_t>(std::min(end - at, kMostRange)));
                if (n > 0) {
                    at += static_cast<std::uint64_t>(n);
                    continue;
                }
                if (n == -EINTR) {
                    continue;
                }
                if (n < 0 && !is_refusal(n)) {
                    return fail(static_cast<int>(n), FSYS_FILE_STEP_WRITE, "copying in the kernel");
                }
                report_.method = FSYS_COPY_BYTES;  // 0: some file systems refuse in this way
            }
            const std::uint64_t before = at;
            const int code = copy_bytes(at, end, false);
            if (code < 0) {
                return code;
            }
            ended = at < end || at == before;  // the source has become shorter
        }
    }
    // What is not written is a hole; a source that shrank gives what it has.
    length_ = ended ? at : size;
    report_.bytes = length_;
    const int code = sys_.ftruncate(temp_.get(), length_);
    return code < 0 ? fail(code, FSYS_FILE_STEP_WRITE, "setting the length") : 0;
}

int Replacement::copy_bytes(std::uint64_t &at, std::uint64_t end, bool to_the_end) {
    std::vector<unsigned char> buffer(kPiece);
    while (to_the_end || at < end) {
        const std::size_t want =
            to_the_end ? kPiece
                       : static_cast<std::size_t>(std::min<std::uint64_t>(end - at, kPiece));
        std::size_t got = 0;
        int code = read_fully(sys_, source_.get(), buffer.data(), want, at, got);
        if (code < 0) {
            return fail(code, FSYS_FILE_STEP_WRITE, "reading the source");
        }
        std::size_t done = 0;
        code = write_fully(sys_, temp_.get(), buffer.data(), got, at, 0, done);
        at += done;
        report_.bytes = length_ = at;
        if (code < 0) {
            return fail(code, FSYS_FILE_STEP_WRITE, "writing");
        }
        if (got < want) {
            return 0;
        }
    }
    return 0;
}

}  // namespace libfsys::files
