// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The C handles of <fsys/fsys.h> with C++ lifetimes. An Engine outlives its Files and Buffers.
#include "engine.hpp"

#include "units.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <utility>

namespace cli {

Engine::Engine(const EngineSettings &settings)
{
    std::array<char, 512> text{};
    fsys_options options{};
    options.struct_size = sizeof options;
    options.backend = settings.backend == "io_uring"  ? FSYS_BACKEND_IO_URING
                      : settings.backend == "threads" ? FSYS_BACKEND_THREADS
                                                      : FSYS_BACKEND_DEFAULT;
    options.max_ops = settings.max_ops;
    options.arena_bytes = settings.arena_bytes;
    options.error_text = text.data();
    options.error_text_size = text.size();
    const int code = fsys_open(&options, &handle_);
    if (code != 0) {
        Failure failure("cannot open an engine", "", code);
        if (text[0] != 0) {
            failure.hint(text.data());
        }
        throw failure;
    }
}

Engine::~Engine()
{
    fsys_close(handle_);
}

fsys_handle_info Engine::info() const
{
    fsys_handle_info info{};
    info.struct_size = sizeof info;
    const int code = fsys_info(handle_, &info);
    if (code != 0) {
        throw Failure("cannot read the engine's facts", "", code);
    }
    return info;
}

fsys_counters Engine::counters() const
{
    fsys_counters counters{};
    counters.struct_size = sizeof counters;
    const int code = fsys_stats(handle_, &counters);
    if (code != 0) {
        throw Failure("cannot read the engine's counters", "", code);
    }
    return counters;
}

Buffer::Buffer(Engine &engine, std::size_t size) : engine_(&engine)
{
    const int code = fsys_buffer_alloc(engine.handle(), size, &memory_);
    if (code != 0) {
        throw Failure(fmt::format("cannot allocate {} of buffers", human_bytes(size)), "", code);
    }
}

Buffer::Buffer(Buffer &&other) noexcept
    : engine_(other.engine_), memory_(std::exchange(other.memory_, nullptr))
{
}

Buffer &Buffer::operator=(Buffer &&other) noexcept
{
    std::swap(engine_, other.engine_);
    std::swap(memory_, other.memory_);
    return *this;
}

Buffer::~Buffer()
{
    if (memory_ != nullptr && !engine_->broken()) {
        fsys_buffer_free(engine_->handle(), memory_);
    }
}

File &File::operator=(File &&other) noexcept
{
    std::swap(file_, other.file_);
    return *this;
}

File File::open(Engine &engine, const std::string &path, std::uint32_t flags, std::uint32_t mode)
{
    std::array<char, 512> text{};
    fsys_file_options options{};
    options.struct_size = sizeof options;
    options.flags = flags;
    options.mode = mode;
    options.error_text = text.data();
    options.error_text_size = text.size();
    File file;
    const int code = fsys_file_open(engine.handle(), path.c_str(), &options, &file.file_);
    if (code != 0) {
        throw Failure("cannot open", path, code);
    }
    return file;
}

File File::from_fd(Engine &engine, int fd, const std::string &path)
{
    File file;
    const int code = fsys_file_from_fd(engine.handle(), fd, nullptr, &file.file_);
    if (code != 0) {
        throw Failure("cannot give the engine", path, code);
    }
    return file;
}

int File::close()
{
    return file_ == nullptr ? 0 : fsys_file_close(std::exchange(file_, nullptr));
}

fsys_file_details File::details() const
{
    fsys_file_details details{};
    details.struct_size = sizeof details;
    const int code = fsys_file_info(file_, &details);
    if (code != 0) {
        throw Failure("cannot read what is known of an open file", "", code);
    }
    return details;
}

Fd &Fd::operator=(Fd &&other) noexcept
{
    std::swap(fd_, other.fd_);
    return *this;
}

void Fd::reset()
{
    if (fd_ >= 0) {
        ::close(std::exchange(fd_, -1));
    }
}

void check_wait(Engine &engine, int code)
{
    if (code >= 0) {
        return;
    }
    engine.mark_broken();
    std::array<char, 512> cause{};
    fsys_cause(engine.handle(), cause.data(), cause.size());
    Failure failure("the engine failed", "", code);
    if (cause[0] != 0) {
        failure.hint(cause.data());
    }
    throw failure;
}

void run_batch(Engine &engine, std::span<const fsys_request> requests,
               std::vector<fsys_result> &results)
{
    const auto count = static_cast<std::uint32_t>(requests.size());
    std::vector<fsys_op> ops(count);
    results.assign(count, fsys_result{});
    for (std::uint32_t done = 0; done < count;) {
        const int accepted =
            fsys_submit(engine.handle(), requests.data() + done, count - done, ops.data());
        if (accepted < 0) {
            results[done].result = accepted;
            results[done].step = FSYS_STEP_QUEUE;
            ++done;
            continue;
        }
        check_wait(engine, fsys_wait_all(engine.handle(), ops.data(),
                                         static_cast<std::uint32_t>(accepted), FSYS_FOREVER,
                                         results.data() + done));
        done += static_cast<std::uint32_t>(accepted);
    }
}

std::int64_t complete_read(fsys_file *file, const fsys_request &request, std::int64_t got,
                           std::uint64_t expected)
{
    const auto length = static_cast<std::uint64_t>(got);
    if (got < 0 || length == expected || length == request.length ||
        (request.flags & FSYS_PARTIAL) == 0) {
        return got;
    }
    const std::int64_t more = fsys_read(file, static_cast<std::byte *>(request.buffer) + length,
                                        request.length - length, request.offset + length, 0);
    return more < 0 ? more : got + more;
}

const char *backend_name(std::uint32_t backend)
{
    return backend == FSYS_BACKEND_IO_URING ? "io_uring" : "threads";
}

const char *lane_name(std::uint32_t lane)
{
    constexpr std::array<const char *, 4> names{"none", "inline", "ring", "pool"};
    return lane < names.size() ? names[lane] : "?";
}

const char *op_name(std::uint32_t opcode)
{
    constexpr std::array<const char *, 7> names{"nop",    "read", "write",   "readv",
                                                "writev", "sync", "allocate"};
    return opcode < names.size() ? names[opcode] : "?";
}

std::uint64_t lane_ops(const fsys_counters &counters, std::uint32_t lane)
{
    std::uint64_t sum = 0;
    for (std::uint32_t opcode = FSYS_OP_READ; opcode <= FSYS_OP_ALLOCATE; ++opcode) {
        sum += counters.ops[lane][opcode];
    }
    return sum;
}

fsys_counters difference(const fsys_counters &after, const fsys_counters &before)
{
    // Behind the first eight bytes every field is a 64-bit counter.
    using Words = std::array<std::uint64_t, sizeof(fsys_counters) / sizeof(std::uint64_t)>;
    static_assert(sizeof(Words) == sizeof(fsys_counters) && offsetof(fsys_counters, ops) == 8);
    auto left = std::bit_cast<Words>(after);
    const auto right = std::bit_cast<Words>(before);
    for (std::size_t at = 1; at < left.size(); ++at) {
        left[at] -= right[at];
    }
    return std::bit_cast<fsys_counters>(left);
}

double ops_per_enter(const fsys_counters &counters)
{
    return counters.enters == 0
               ? 0.0
               : static_cast<double>(counters.entries) / static_cast<double>(counters.enters);
}

nlohmann::json counters_json(const fsys_counters &counters)
{
    nlohmann::json lanes = nlohmann::json::object();
    for (std::uint32_t lane = FSYS_LANE_NONE; lane <= FSYS_LANE_POOL; ++lane) {
        nlohmann::json &kinds = lanes[lane_name(lane)] = nlohmann::json::object();
        for (std::uint32_t opcode = FSYS_OP_NOP; opcode <= FSYS_OP_ALLOCATE; ++opcode) {
            kinds[op_name(opcode)] = counters.ops[lane][opcode];
        }
    }
    return {
        {"ops", lanes},
        {"failed", counters.failed},
        {"bytes_read", counters.bytes_read},
        {"bytes_written", counters.bytes_written},
        {"enters", counters.enters},
        {"entries", counters.entries},
        {"entries_per_enter", ops_per_enter(counters)},
        {"doorbells", counters.doorbells},
        {"pool_wakes", counters.pool_wakes},
        {"futex_waits", counters.futex_waits},
        {"futex_wakes", counters.futex_wakes},
        {"event_signals", counters.event_signals},
        {"nowait_hits", counters.nowait_hits},
        {"nowait_misses", counters.nowait_misses},
        {"batch_enters", counters.batch_enters},
        {"iowq_punts", counters.iowq_punts},
        {"short_ios", counters.short_ios},
        {"retries", counters.retries},
        {"splits", counters.splits},
        {"cancels", counters.cancels},
        {"slot_waits", counters.slot_waits},
    };
}

std::string counters_text(const fsys_counters &counters)
{
    std::string out = fmt::format("  {:<10}{:>12}{:>12}{:>12}\n", "ops", "inline", "ring", "pool");
    for (std::uint32_t opcode = FSYS_OP_NOP; opcode <= FSYS_OP_ALLOCATE; ++opcode) {
        const std::uint64_t in_line = counters.ops[FSYS_LANE_INLINE][opcode];
        const std::uint64_t ring = counters.ops[FSYS_LANE_RING][opcode];
        const std::uint64_t pool = counters.ops[FSYS_LANE_POOL][opcode];
        if (in_line + ring + pool != 0) {
            out += fmt::format("  {:<10}{:>12}{:>12}{:>12}\n", op_name(opcode),
                               human_count(in_line), human_count(ring), human_count(pool));
        }
    }
    const auto line = [&out](const char *name, std::uint64_t value, const char *meaning) {
        if (value != 0) {
            out += fmt::format("  {:<16}{:>14}{}{}\n", name, human_count(value),
                               *meaning == 0 ? "" : "  ", meaning);
        }
    };
    line("failed", counters.failed, "ops with a negative result");
    line("bytes read", counters.bytes_read, "");
    line("bytes written", counters.bytes_written, "");
    line("enters", counters.enters, "io_uring_enter calls");
    line("entries", counters.entries, "submission entries in them");
    line("batch enters", counters.batch_enters, "batches run by their waiter on its own ring");
    line("doorbells", counters.doorbells, "wake-ups of the ring's thread");
    line("pool wakes", counters.pool_wakes, "wake-ups of pool threads");
    line("futex waits", counters.futex_waits, "times a waiter slept");
    line("futex wakes", counters.futex_wakes, "times a completion woke waiters");
    line("nowait hits", counters.nowait_hits, "reads served from the page cache at submit");
    line("nowait misses", counters.nowait_misses, "such tries that had to be queued");
    line("io-wq punts", counters.iowq_punts, "ring ops of a kind that kernel workers execute");
    line("short IOs", counters.short_ios, "transfers continued from a short point");
    line("retries", counters.retries, "EINTR and EAGAIN retried");
    line("splits", counters.splits, "pieces cut at the 2 GiB limit of a syscall");
    line("cancels", counters.cancels, "cancel requests");
    line("slot waits", counters.slot_waits, "submits that waited for a free slot");
    return out;
}

std::string lanes_text(const fsys_counters &counters)
{
    std::string out = fmt::format("inline {}, ring {}, pool {}",
                                  human_count(lane_ops(counters, FSYS_LANE_INLINE)),
                                  human_count(lane_ops(counters, FSYS_LANE_RING)),
                                  human_count(lane_ops(counters, FSYS_LANE_POOL)));
    if (counters.enters != 0) {
        out += fmt::format("; {}, {:.1f} ops per enter, {}",
                           plural(counters.enters, "enter", "enters"), ops_per_enter(counters),
                           plural(counters.doorbells, "doorbell", "doorbells"));
    }
    return out;
}

std::string json_text(const nlohmann::json &document)
{
    return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace cli
