// SPDX-License-Identifier: Apache-2.0 OR MIT
// Replacing a file safely with nothing but system calls: what careful programs write themselves.
#include "optional.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace bench {

namespace {

class ByHand final : public Worker {
public:
    ByHand(const std::string &directory, std::size_t bytes, unsigned files, const Seat &seat)
        : directory_(directory, O_RDONLY | O_DIRECTORY),
          data_(bytes, 'r'),
          files_(files),
          prefix_("hand-" + std::to_string(seat.thread) + "-") {}

    std::uint64_t step() override {
        const std::string name = prefix_ + std::to_string(next_++ % files_);
        const std::string temporary = name + ".tmp";
        const int at = directory_.get();
        const int fd = openat(at, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0)
            fail("openat");
        std::size_t done = 0;
        while (done < data_.size()) {
            const ssize_t wrote = write(fd, data_.data() + done, data_.size() - done);
            if (wrote < 0)
                fail("write");
            done += static_cast<std::size_t>(wrote);
        }
        if (fsync(fd) != 0)
            fail("fsync");
        if (close(fd) != 0)
            fail("close");
        if (renameat(at, temporary.c_str(), at, name.c_str()) != 0)
            fail("renameat");
        if (fsync(at) != 0)
            fail("fsync of the directory");
        return 1;
    }

private:
    [[noreturn]] static void fail(const char *what) {
        throw Failure(std::string("replace by hand: ") + what + ": " + std::strerror(errno));
    }

    Descriptor directory_;
    std::string data_;
    unsigned files_;
    std::string prefix_;
    unsigned next_ = 0;
};

}  // namespace

std::unique_ptr<Worker> replace_by_hand_worker(const std::string &directory, std::size_t bytes,
                                               unsigned files, const Seat &seat) {
    return std::make_unique<ByHand>(directory, bytes, files, seat);
}

}  // namespace bench
