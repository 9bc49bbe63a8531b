// SPDX-License-Identifier: Apache-2.0 OR MIT
// libfsys under test, through its public header only. An Engine may be shared by threads; a worker
// belongs to the thread that made it.
#pragma once

#include "peers.hpp"

#include <fsys/fsys.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>

namespace bench {

/// Throws Failure with the library's own words when `code` is negative.
std::int64_t check(std::int64_t code, const char *call);

/// Who executed the ops, summed over engines that may be gone already.
class LaneTally {
public:
    void add(const fsys_counters &counters);
    /// "ring 98% inline 2%"; also ops per enter when the ring was used.
    [[nodiscard]] std::string text() const;

private:
    std::array<std::atomic<std::uint64_t>, FSYS_STATS_LANES> ops_{};
    std::atomic<std::uint64_t> enters_{0};
    std::atomic<std::uint64_t> entries_{0};
    std::atomic<std::uint64_t> doorbells_{0};
    std::atomic<std::uint64_t> batches_{0};
};

struct EngineOptions {
    std::uint32_t driver = FSYS_DRIVER_THREAD;
    std::uint32_t max_ops = 0;
    std::uint32_t max_files = 0;
    std::uint64_t arena_bytes = 0;
};

/// A handle, closed with the object; its counters then go to the tally.
class Engine {
public:
    explicit Engine(const EngineOptions &options, std::shared_ptr<LaneTally> tally = nullptr);
    ~Engine();
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;

    [[nodiscard]] fsys *get() const { return handle_; }
    [[nodiscard]] fsys_counters counters() const;
    [[nodiscard]] fsys_handle_info info() const;
    /// The lanes of this engine up to now.
    [[nodiscard]] std::string lanes() const;

private:
    fsys *handle_ = nullptr;
    std::shared_ptr<LaneTally> tally_;
};

/// A file of an engine, opened by path with the direction and directness of a target.
class SubjectFile {
public:
    SubjectFile(std::shared_ptr<Engine> engine, const Target &target);
    ~SubjectFile();
    SubjectFile(const SubjectFile &) = delete;
    SubjectFile &operator=(const SubjectFile &) = delete;
    [[nodiscard]] fsys_file *get() const { return file_; }
    [[nodiscard]] fsys *handle() const { return engine_->get(); }
    [[nodiscard]] Engine &engine() const { return *engine_; }
    [[nodiscard]] const Target &target() const { return target_; }

private:
    std::shared_ptr<Engine> engine_;
    Target target_;
    fsys_file *file_ = nullptr;
};

// subject_single.cpp: one op at a time

enum class Single {
    blocking,  ///< fsys_read or fsys_write
    unhinted,  ///< submit, then wait
    hinted,    ///< the same with FSYS_WAIT_SOON
};
/// `flags` are added to each op (FSYS_DURABLE).
std::unique_ptr<Worker> single_worker(std::shared_ptr<SubjectFile> file, Single kind,
                                      std::uint32_t flags, const Seat &seat);

// subject_batch.cpp: `count` ops at a time, waited for with fsys_wait_all()

std::unique_ptr<Worker> batch_worker(std::shared_ptr<SubjectFile> file, unsigned count,
                                     std::uint32_t flags, const Seat &seat);
std::unique_ptr<Worker> nop_batch_worker(std::shared_ptr<Engine> engine, unsigned count,
                                         const Seat &seat);

// subject_stream.cpp: completion queue, a fixed number of ops always in flight

/// Buffers of all threads that stream through one handle: any thread may take any completion and
/// refills the buffer that it took.
class StreamPool;
std::shared_ptr<StreamPool> make_stream_pool(std::shared_ptr<SubjectFile> file, unsigned threads,
                                             unsigned depth);
std::unique_ptr<Worker> stream_worker(std::shared_ptr<StreamPool> pool, const Seat &seat);
/// A caller-driven handle of the worker's own.
std::unique_ptr<Worker> caller_worker(const Target &target, unsigned depth,
                                      std::shared_ptr<LaneTally> tally, const Seat &seat);
/// Batches of NOPs on a caller-driven handle, or through the completion queue of a shared one.
std::unique_ptr<Worker> caller_nop_worker(unsigned count, std::shared_ptr<LaneTally> tally,
                                          const Seat &seat);
std::unique_ptr<Worker> queue_nop_worker(std::shared_ptr<Engine> engine, unsigned count,
                                         const Seat &seat);

// subject_files.cpp: whole files replaced, in turn over `files` names of a directory

/// One fsys_replace() per step; `keep` as of fsys_replace_options.
std::unique_ptr<Worker> replace_worker(std::shared_ptr<Engine> engine, const std::string &directory,
                                       std::size_t bytes, unsigned files, std::uint32_t keep,
                                       const Seat &seat);
/// All `files` names by one fsys_batch() per step.
std::unique_ptr<Worker> replace_batch_worker(std::shared_ptr<Engine> engine,
                                             const std::string &directory, std::size_t bytes,
                                             unsigned files, const Seat &seat);

}  // namespace bench
