// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The C handles of <fsys/fsys.h> with C++ lifetimes, and the two ways in which this program waits
// for many ops. Everything here may be used by any thread; destruction by one.
#pragma once

#include "failure.hpp"

#include <fsys/fsys.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace cli {

struct EngineSettings {
    std::string backend = "auto";   // auto, io_uring, threads
    std::uint32_t max_ops = 0;      // 0: the library's default
    std::uint64_t arena_bytes = 0;  // 0: the library's default
};

class Engine {
public:
    explicit Engine(const EngineSettings &settings);
    ~Engine();
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;

    fsys *handle() const { return handle_; }
    fsys_handle_info info() const;
    fsys_counters counters() const;

    // After this the kernel may hold buffers of ops whose completions were never seen: they are
    // leaked rather than freed (convention 4 of fsys.h).
    void mark_broken() { broken_ = true; }
    bool broken() const { return broken_; }

private:
    fsys *handle_ = nullptr;
    std::atomic<bool> broken_{false};
};

// Page-aligned memory from the handle's registered arena.
class Buffer {
public:
    Buffer() = default;
    Buffer(Engine &engine, std::size_t size);
    Buffer(Buffer &&other) noexcept;
    Buffer &operator=(Buffer &&other) noexcept;
    ~Buffer();

    std::byte *data() const { return static_cast<std::byte *>(memory_); }

private:
    Engine *engine_ = nullptr;
    void *memory_ = nullptr;
};

class File {
public:
    File() = default;
    File(File &&other) noexcept : file_(std::exchange(other.file_, nullptr)) {}
    File &operator=(File &&other) noexcept;
    ~File() { close(); }

    // Both throw Failure with `path`. `from_fd` duplicates: the caller keeps its descriptor.
    static File open(Engine &engine, const std::string &path, std::uint32_t flags,
                     std::uint32_t mode = 0600);
    static File from_fd(Engine &engine, int fd, const std::string &path);

    int close();  // 0 or what close(2) reported, which for a written file matters
    fsys_file *get() const { return file_; }
    fsys_file_details details() const;

private:
    fsys_file *file_ = nullptr;
};

// A plain descriptor that is closed.
class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd &operator=(Fd &&other) noexcept;
    ~Fd() { reset(); }

    void reset();
    int get() const { return fd_; }
    bool valid() const { return fd_ >= 0; }

private:
    int fd_ = -1;
};

// Submits `requests` and waits for all of them; a request that submit refuses gets its code as its
// result. Reads results by index. Throws Failure when the handle itself has failed.
void run_batch(Engine &engine, std::span<const fsys_request> requests,
               std::vector<fsys_result> &results);

// A read that asked for more than the `expected` bytes, with FSYS_PARTIAL so that a file that ends
// where it should costs one read and not two, gave `got`. When it ended anywhere else (it grew,
// shrank, or has no size, as in /proc) reads on to the end of the file or of the buffer.
std::int64_t complete_read(fsys_file *file, const fsys_request &request, std::int64_t got,
                           std::uint64_t expected);

// Takes what a wait call returned for a live token: anything but success means that the handle is
// lost.
void check_wait(Engine &engine, int code);

const char *backend_name(std::uint32_t backend);
const char *lane_name(std::uint32_t lane);
const char *op_name(std::uint32_t opcode);

std::uint64_t lane_ops(const fsys_counters &counters, std::uint32_t lane);  // without NOP
fsys_counters difference(const fsys_counters &after, const fsys_counters &before);
double ops_per_enter(const fsys_counters &counters);
nlohmann::json counters_json(const fsys_counters &counters);
std::string counters_text(const fsys_counters &counters);  // the table behind --stats
std::string lanes_text(const fsys_counters &counters);     // one line

// Invalid UTF-8 (file names are bytes) becomes U+FFFD: the document is always valid JSON.
std::string json_text(const nlohmann::json &document);

}  // namespace cli
