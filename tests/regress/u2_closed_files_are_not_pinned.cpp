// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// U2: slots of a file cache kept closed files open (their space was not freed), never gave a slot
// back, and after 16 files silently stopped. Who still holds a file is asked of the kernel: the
// reader of a pipe sees its end exactly when the last writer is gone, and a write lease is granted
// exactly when nobody else has the file open.
#include <poll.h>

#include "regress/support.hpp"

using namespace regress;

namespace {

constexpr std::size_t kBlock = 512;

bool hung_up(int fd) {
    pollfd ready{fd, POLLIN, 0};
    return ::poll(&ready, 1, 0) == 1 && (ready.revents & POLLHUP) != 0;
}

// 1: nobody else has the file open; 0: somebody has; -1: this file system has no leases.
int is_unused(const std::string &path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    const int code = ::fcntl(fd, F_SETLEASE, F_WRLCK);
    const int error = errno;
    ::close(fd);
    return code == 0 ? 1 : error == EAGAIN ? 0 : -1;
}

}  // namespace

TEST_CASE("U2: the end of a pipe is gone when its file is closed") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    const std::uint32_t places = GENERATE(16u, 1024u);
    CAPTURE(backend_name(backend), places);
    fsys_options options = default_options(backend);
    options.registered_files = places;
    Handle handle(options);
    // More than 16, and more than the small table has places.
    constexpr unsigned kPipes = 40;
    unsigned registered = 0;
    for (int round = 0; round < 3; ++round) {
        std::vector<std::unique_ptr<Pipe>> pipes;
        std::vector<fsys_file *> files;
        for (unsigned i = 0; i < kPipes; ++i) {
            pipes.push_back(std::make_unique<Pipe>());
            files.push_back(adopt_fd(handle, pipes[i]->write_end()));
            pipes[i]->close_write();
            for (unsigned n = 0; n < 10; ++n) {  // enough to be given a place in the ring's table
                char byte = static_cast<char>(i);
                fsys_op op = 0;
                fsys_result result{};
                REQUIRE(fsys_submit_write(files[i], &byte, 1, 0, 0, 0, &op) == 0);
                REQUIRE(fsys_wait(handle, op, 30 * kSecond, &result) == 0);
                REQUIRE(result.result == 1);
            }
            fsys_file_details details{};
            details.struct_size = sizeof details;
            REQUIRE(fsys_file_info(files[i], &details) == 0);
            registered += details.registered;
        }
        for (unsigned i = 0; i < kPipes; ++i) {
            char drained[64];
            REQUIRE(::read(pipes[i]->read_end(), drained, sizeof drained) == 10);
            REQUIRE_FALSE(hung_up(pipes[i]->read_end()));
            REQUIRE(fsys_file_close(files[i]) == 0);
            // At once; the 5 s are for kernels that free table entries in deferred work.
            REQUIRE(eventually([&] { return hung_up(pipes[i]->read_end()); }));
        }
    }
    if (backend == FSYS_BACKEND_IO_URING && info_of(handle).registered_files != 0) {
        // In each round: places come back.
        REQUIRE(registered >= 3 * std::min(kPipes, places));
    }
    REQUIRE(handle.close() == 0);
}

TEST_CASE("U2: a closed file is in nobody's hands") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    fsys_options options = default_options(backend);
    options.registered_files = 16;
    Handle handle(options);
    if (is_unused(scratch.make("probe", 1, 0)) != 1) {
        FSYS_SKIP("this file system has no leases");
    }
    constexpr unsigned kFiles = 50;
    std::vector<fsys_file *> files;
    for (unsigned i = 0; i < kFiles; ++i) {
        files.push_back(open_file(handle, scratch.make(std::to_string(i), kBlock, i)));
        // On the queue, so that the ring sees more than what the page cache answers at submit.
        fsys_request batch[12];
        unsigned char bytes[12][kBlock];
        fsys_op ops[12];
        for (unsigned n = 0; n < 12; ++n) {
            batch[n] = request(FSYS_OP_READ, files[i], bytes[n], kBlock);
        }
        REQUIRE(fsys_submit(handle, batch, 12, ops) == 12);
        REQUIRE(fsys_wait_all(handle, ops, 12, 30 * kSecond, nullptr) == 0);
        REQUIRE(is_bytes_of(bytes[11], i, 0, kBlock));
    }
    for (unsigned i = 0; i < kFiles; ++i) {
        const std::string path = scratch / std::to_string(i);
        REQUIRE(is_unused(path) == 0);
        REQUIRE(fsys_file_close(files[i]) == 0);
        REQUIRE(eventually([&] { return is_unused(path) == 1; }));
    }
    REQUIRE(handle.close() == 0);
}
