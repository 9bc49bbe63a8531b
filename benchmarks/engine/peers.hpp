// SPDX-License-Identifier: Apache-2.0 OR MIT
// What libfsys is measured against. Each function gives a worker that lives on one thread and does
// 4 KiB IO at random block offsets of one open file.
#pragma once

#include "open_loop.hpp"
#include "runner.hpp"
#include "testfile.hpp"

#include <memory>
#include <string>

namespace bench {

enum class Direction { read, write };

/// The file as the peers see it: their own descriptor of the same path.
struct Target {
    std::shared_ptr<Descriptor> descriptor;
    std::string path;
    std::uint64_t bytes = 0;
    Direction direction = Direction::read;
    bool direct = false;
};

Target open_target(const TestFile &file, Direction direction, bool direct);

// peer_syscall.cpp

enum class Call {
    plain,      ///< pread or pwrite
    vectored,   ///< preadv2 or pwritev2
    dsync,      ///< pwritev2 with RWF_DSYNC
    fdatasync,  ///< pwrite, then fdatasync
};
std::unique_ptr<Worker> syscall_worker(const Target &target, Call call, const Seat &seat);

// peer_uring.cpp: a private ring per thread with SINGLE_ISSUER | DEFER_TASKRUN, registered ring
// descriptor, registered file and fixed buffers.

/// How a stream talks to the kernel.
struct UringTurn {
    unsigned wait = 1;   ///< completions to wait for before taking all that are there
    unsigned group = 0;  ///< enter the kernel after so many submissions; 0: once for all of them
};
/// Keeps `depth` ops in flight: submits what is free, waits, takes what is there.
std::unique_ptr<Worker> uring_worker(const Target &target, unsigned depth, const UringTurn &turn,
                                     const Seat &seat);
/// Ops by a schedule through a private ring of `depth` entries, from the calling thread.
OpenVariant uring_open_loop(const std::string &name, const Target &target, unsigned depth);
/// Batches of `batch` NOPs.
std::unique_ptr<Worker> uring_nop_worker(unsigned batch, const Seat &seat);

// peer_owner.cpp: one thread owns the only ring and does everything; callers queue and sleep.

class OwnerRing;
std::shared_ptr<OwnerRing> make_owner_ring();
std::unique_ptr<Worker> owner_worker(std::shared_ptr<OwnerRing> owner, const Target &target,
                                     const Seat &seat);

// peer_fio.cpp

struct FioJob {
    Target target;
    unsigned depth = 1;
    unsigned threads = 1;
    bool tuned = false;
    bool psync = false;      ///< pread and pwrite instead of io_uring; depth is then 1
    bool fdatasync = false;  ///< after each write
};
/// The first line of `fio --version`, or an empty string when there is no fio.
std::string fio_version();
/// The command line, as printed and as run.
std::string fio_command(const FioJob &job, std::chrono::milliseconds runtime);
Sample run_fio(const FioJob &job, std::chrono::milliseconds runtime);

}  // namespace bench
