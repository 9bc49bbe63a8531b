// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Transfers through the seam. Stateless; any thread.

#include "backend/transfer.hpp"

#include <cerrno>

#include "platform/planted.hpp"

namespace libfsys {
int write_fully(Syscalls &sys, int fd, const void *data, std::size_t length, std::uint64_t offset,
                int rwf, std::size_t &done) {
    const auto *bytes = static_cast<const unsigned char *>(data);
    done = 0;
    for (int idle = 0; done < length;) {
        const ssize_t n = sys.pwrite(fd, bytes + done, length - done, offset + done, rwf);
        if (n > 0) {
            done += static_cast<std::size_t>(n);
            idle = 0;
            if (planted(Bug::ignore_short_write)) {
                return 0;
            }
        } else if (n != 0 && n != -EINTR) {
            return static_cast<int>(n);
        } else if (++idle > kMaxInterrupts) {
            return n == 0 ? -EIO : -EINTR;
        }
    }
    return 0;
}

int read_fully(Syscalls &sys, int fd, void *data, std::size_t length, std::uint64_t offset,
               std::size_t &done) {
    auto *bytes = static_cast<unsigned char *>(data);
    done = 0;
    for (int idle = 0; done < length;) {
        const ssize_t n = sys.pread(fd, bytes + done, length - done, offset + done, 0);
        // An O_DIRECT read ends off the alignment only at the end of the file; asking again from
        // there is EINVAL. A buffered one may end anywhere, and is asked again.
        if (n == 0 || (n == -EINVAL && done % 512 != 0)) {
            return 0;
        }
        if (n > 0) {
            done += static_cast<std::size_t>(n);
            idle = 0;
        } else if (n != -EINTR || ++idle > kMaxInterrupts) {
            return static_cast<int>(n);
        }
    }
    return 0;
}

}  // namespace libfsys
