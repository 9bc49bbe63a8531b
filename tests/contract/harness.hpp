// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the contract tests share: the backend and driver under test, an engine opened on them, files,
// and a time limit on each test case.
//
// One program holds all tests; the environment variable FSYS_CONTRACT names the variant that they
// run on (meson.build registers the program once for each). The time limit is a listener's: a test
// case that hangs prints its name and ends the program.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "abi/handles.hpp"
#include "fake/fake_queue.hpp"
#include "fake/fake_syscalls.hpp"
#include "fsys/fsys.h"
#include "support/catch.hpp"
#include "support/request.hpp"

namespace libfsys::test {

inline constexpr std::int64_t kMs = 1'000'000;
inline constexpr std::int64_t kSecond = 1'000'000'000;

struct Variant {
    const char *name;
    std::uint32_t backend;  // FSYS_BACKEND_*
    std::uint32_t driver;   // FSYS_DRIVER_*
    bool fake;              // a FakeQueue in the ring's place
    bool caller() const { return driver == FSYS_DRIVER_CALLER; }
    bool ring() const { return backend == FSYS_BACKEND_IO_URING && !fake; }
    bool threads() const { return backend == FSYS_BACKEND_THREADS; }
};

// The variant of this run.
const Variant &variant();

// A directory for one test, removed with all that is in it.
class TempDir {
public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir &) = delete;
    TempDir &operator=(const TempDir &) = delete;
    const std::string &path() const { return path_; }
    std::string operator/(const std::string &name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

// A behaviour of the fake that the library must hide from its caller entirely.
FakeQueueBehaviour lively();
// None, for tests that count or that use direct IO, whose short transfers keep to blocks.
inline FakeQueueBehaviour quiet() { return {}; }

// How to open the engine of a test.
struct Setup {
    std::uint32_t max_ops = 256;
    std::uint32_t max_files = 256;
    std::uint32_t pool_threads = 4;
    std::uint32_t registered_files = 64;
    std::int64_t close_timeout_ns = 2 * kSecond;
    std::int64_t submit_timeout_ns = 5 * kSecond;
    std::uint64_t arena_bytes = 1u << 20;
    FakeSyscalls *syscalls = nullptr;
    // For the fake variants; the others have a real queue.
    FakeQueueBehaviour queue = lively();
    // A FakeQueue even where the variant has a real queue.
    bool force_fake_queue = false;
};

// An engine on this variant. Fails the test when it cannot be opened, or when io_uring should be
// used and is not.
class Rig {
public:
    explicit Rig(const Setup &setup = {});
    ~Rig();
    Rig(const Rig &) = delete;
    Rig &operator=(const Rig &) = delete;

    operator fsys *() const { return handle_; }
    fsys *handle() const { return handle_; }
    FakeQueueControl *queue() { return control_.get(); }
    // Closes now and returns what fsys_close() did.
    int close();
    // The test has closed the handle itself.
    void forget() { handle_ = nullptr; }

    fsys_handle_info info() const;
    fsys_counters stats() const;

    // Opens or creates a file; REQUIREs success.
    fsys_file *file(const std::string &path, std::uint32_t flags) const;
    fsys_file *from_fd(int fd, std::uint32_t flags = 0) const;

    // Until `done` is true: drives a caller-driven handle, sleeps otherwise. False after `limit_ns`.
    bool until(const std::function<bool()> &done, std::int64_t limit_ns = 10 * kSecond) const;
    // Runs the functions on threads of their own, drives meanwhile, and joins.
    void run(const std::vector<std::function<void()>> &threads) const;
    // `count` threads of one function, which gets its number.
    void run(unsigned count, const std::function<void(unsigned)> &thread) const;

    fsys_result wait(fsys_op op, std::int64_t timeout_ns = 10 * kSecond) const;

private:
    fsys *handle_ = nullptr;
    FakeSyscalls quiet_;
    FakeSyscalls lively_;
    std::unique_ptr<FakeQueueControl> control_;
};

struct Pipe {
    Pipe();
    ~Pipe();
    Pipe(const Pipe &) = delete;
    Pipe &operator=(const Pipe &) = delete;
    void close_read();
    void close_write();
    int read_end = -1;
    int write_end = -1;
};

struct SocketPair {
    SocketPair();
    ~SocketPair();
    SocketPair(const SocketPair &) = delete;
    SocketPair &operator=(const SocketPair &) = delete;
    int fds[2] = {-1, -1};
};

// Bytes that differ from place to place.
std::vector<unsigned char> pattern(std::size_t size, std::uint64_t seed = 1);
void write_whole(const std::string &path, const std::vector<unsigned char> &bytes);
std::vector<unsigned char> read_whole(const std::string &path);

std::int64_t now_ns();
void sleep_ms(unsigned ms);
// Fills a pipe or socket until it takes no more; returns how many bytes it took.
std::size_t fill(int fd);

// Assertions of other threads: Catch2 2's own are for one thread at a time.
class Checks {
public:
    void expect(bool ok, const std::string &what);
    // REQUIREs that none failed. On the main thread.
    void require() const;

private:
    mutable std::mutex mutex_;
    std::vector<std::string> failures_;
};

}  // namespace libfsys::test
