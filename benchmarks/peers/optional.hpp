// SPDX-License-Identifier: Apache-2.0 OR MIT
// Peers that come from other libraries and may be absent. Each says why it is; its worker does the
// same work as those of engine/peers.hpp, the way its own documentation recommends.
#pragma once

#include "peers.hpp"

#include <memory>
#include <string>

namespace bench {

/// How a write is made safe.
enum class Safety {
    none,
    durable,  ///< on stable storage before the op counts as done
};

// asio.cpp: asio::random_access_file, one io_context per thread, its files on io_uring.

/// Empty when the peer was built in, else the reason.
std::string asio_missing();
/// Durable: the file is opened with asio::file_base::sync_all_on_write (O_SYNC).
std::unique_ptr<Worker> asio_worker(const Target &target, unsigned depth, Safety safety,
                                    const Seat &seat);

// libuv.cpp: uv_fs_read, uv_fs_write and uv_fs_fdatasync, one loop per thread.

std::string libuv_missing();
/// How libuv executes them, for the notes: threads of its pool, or io_uring.
std::string libuv_how();
/// Threads of the pool that all loops of the process share. Before the first worker.
void libuv_pool(unsigned threads);
std::unique_ptr<Worker> libuv_worker(const Target &target, unsigned depth, Safety safety,
                                     const Seat &seat);

// rust_fsys.cpp: the Rust crate fsys, in its own process (rust-fsys/src/bin/io.rs).

struct CrateJob {
    std::string program;     ///< path of the built peer
    std::string op;          ///< as of io.rs
    std::string path;        ///< the file, or the directory of the files that are replaced
    std::uint64_t span = 0;  ///< bytes from the start of the file that are read or written
    std::size_t bytes = block_size;
    unsigned depth = 1;
};
Sample run_crate(const CrateJob &job, std::chrono::milliseconds slice);

// by_hand.cpp

/// Replaces files of `bytes` in the directory, in turn over `files` names: open, write, fsync,
/// rename, fsync of the directory. All of it checked.
std::unique_ptr<Worker> replace_by_hand_worker(const std::string &directory, std::size_t bytes,
                                               unsigned files, const Seat &seat);

}  // namespace bench
