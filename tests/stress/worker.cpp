// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The accounts of a worker: ops, the units they touch, what their results must be. Entered by the
// worker's own thread, but for deliver(), which any thread calls that took a completion.

#include "worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace stress {

namespace {

constexpr std::uint32_t kSlotBits = 12;

std::uint8_t *aligned_memory(std::size_t size) {
    void *memory = nullptr;
    if (::posix_memalign(&memory, 4096, size) != 0) {
        fail("no memory");
    }
    return static_cast<std::uint8_t *>(memory);
}

const char *opcode_name(std::uint32_t opcode) {
    static const char *const names[] = {"nop", "read", "write", "readv", "writev", "sync", "allocate"};
    return opcode < 7 ? names[opcode] : "?";
}

bool is_write(std::uint32_t opcode) {
    return opcode == FSYS_OP_WRITE || opcode == FSYS_OP_WRITEV;
}
bool is_read(std::uint32_t opcode) { return opcode == FSYS_OP_READ || opcode == FSYS_OP_READV; }

}  // namespace

Pending &pending_of(Round &round, const fsys_result &result) {
    const std::uint64_t slot = result.user_data & ((1u << kSlotBits) - 1);
    const std::uint64_t worker = slot / kPending;
    if (worker >= round.workers->size()) {
        fail("a completion has user data %#" PRIx64 ", which no op had", result.user_data);
    }
    Pending &p = (*round.workers)[worker]->pending(static_cast<std::uint32_t>(slot % kPending));
    if (p.serial.load() != result.user_data >> kSlotBits) {
        fail("a completion of op %" PRIu64 " came when its entry had gone on to op %" PRIu64,
             result.user_data >> kSlotBits, p.serial.load());
    }
    return p;
}

void deliver(Round &round, const fsys_result &result, bool from_queue) {
    Pending &p = pending_of(round, result);
    if (from_queue != (result.op == 0)) {
        fail("a completion from the %s has token %" PRIx64, from_queue ? "queue" : "token",
             result.op);
    }
    int expected = Pending::kFlying;
    p.result = result;
    if (!p.state.compare_exchange_strong(expected, Pending::kDelivered)) {
        fail("op %" PRIu64 " completed in state %d", result.user_data >> kSlotBits, expected);
    }
}

bool reap_some(Round &round, std::uint32_t max, std::int64_t timeout_ns, int *ret_count) {
    fsys_result results[32];
    const int n = fsys_reap(round.handle, results, max, timeout_ns);
    if (ret_count != nullptr) {
        *ret_count = n;
    }
    if (n == FSYS_E_CLOSED && round.closing.load()) {
        return false;
    }
    if (n < 0 && !(n == FSYS_E_NOTHING && timeout_ns < 0)) {
        fail("fsys_reap gave %d (%s)", n, fsys_error_name(n));
    }
    for (int i = 0; i < n; ++i) {
        deliver(round, results[i], true);
    }
    return true;
}

Worker::Worker(std::uint32_t index, std::uint64_t seed, const std::string &directory, bool direct,
               Activity &activity)
    : index_(index),
      random_(mix(seed + index)),
      activity_(activity),
      pending_(kPending),
      memory_(aligned_memory(std::size_t{kBufferBytes} * kPending), std::free),
      scratch_(aligned_memory(4096 * kUnitsEach), std::free) {
    own_.path = directory + "/own." + std::to_string(index);
    own_.number = 100 + index;
    own_.direct = direct;
    own_.unit = direct ? 4096 : 512;
    own_.units.resize(kUnitsEach);
    const int fd = ::open(own_.path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(own_.size())) != 0) {
        fail("creating %s: errno %d", own_.path.c_str(), errno);
    }
    ::close(fd);
    for (std::uint32_t i = 0; i < kPending; ++i) {
        pending_[i].memory = memory_.get() + std::size_t{kBufferBytes} * i;
    }
}

Worker::~Worker() = default;

bool Worker::closed(int code) const {
    return code == FSYS_E_CLOSED && round_->closing.load();
}

Pending *Worker::idle() {
    const std::uint64_t start = random_.below(kPending);
    for (std::uint32_t i = 0; i < kPending; ++i) {
        Pending &p = pending_[(start + i) % kPending];
        if (p.state.load() == Pending::kIdle) {
            return &p;
        }
    }
    return nullptr;
}

std::int64_t Worker::random_timeout(bool may_be_endless) {
    switch (random_.below(may_be_endless ? 6 : 3)) {
    case 0:
        return 0;
    case 1:
        return static_cast<std::int64_t>(random_.below(50'000));
    case 2:
        return static_cast<std::int64_t>(random_.below(5'000'000));
    default:
        return FSYS_FOREVER;
    }
}

TestFile &Worker::random_file() {
    const std::uint64_t n = round_->shared->size();
    const std::uint64_t i = random_.below(n + 1);
    return i == n ? own_ : (*round_->shared)[i];
}

// A run of this thread's units that no op in flight forbids.
bool Worker::pick_units(TestFile &file, bool write, std::uint32_t &first, std::uint32_t &count) {
    const std::uint32_t base = file.owners == 1 ? 0 : index_ * kUnitsEach;
    const std::uint32_t most = kBufferBytes / file.unit < kMostUnits ? kBufferBytes / file.unit
                                                                      : kMostUnits;
    for (int tries = 0; tries < 4; ++tries) {
        count = 1 + static_cast<std::uint32_t>(random_.below(most));
        first = base + static_cast<std::uint32_t>(random_.below(kUnitsEach - count + 1));
        bool free = true;
        for (std::uint32_t i = first; i < first + count; ++i) {
            free = free && !file.units[i].writer && (!write || file.units[i].readers == 0);
        }
        if (free) {
            return true;
        }
    }
    return false;
}

Pending *Worker::make_transfer(fsys_request &request, bool write, TestFile &file,
                               std::uint32_t first, std::uint32_t count,
                               const std::uint32_t *expected) {
    Pending *entry = idle();
    if (entry == nullptr) {
        return nullptr;
    }
    Pending &p = *entry;
    p.file = &file;
    p.first = first;
    p.count = count;
    p.length = std::uint64_t{file.unit} * count;
    p.buffer = p.arena != nullptr && random_.one_in(2) ? p.arena : p.memory;
    p.pipe = false;
    p.past_end = false;
    for (std::uint32_t i = 0; i < count; ++i) {
        Unit &unit = file.units[first + i];
        if (write) {
            unit.writer = true;
        } else {
            ++unit.readers;
            p.expected[i] = expected != nullptr ? expected[i] : unit.version;
        }
    }
    if (write) {
        p.version = ++version_;
        for (std::uint32_t i = 0; i < count; ++i) {
            file.fill(p.buffer + std::size_t{file.unit} * i, first + i, p.version);
        }
    } else {
        std::memset(p.buffer, 0xee, p.length);
    }
    request = fsys_request{};
    request.file = file.handle;
    request.offset = std::uint64_t{file.unit} * first;
    if (random_.one_in(3)) {
        // Vectored: the run cut into up to eight pieces of whole units.
        p.opcode = write ? FSYS_OP_WRITEV : FSYS_OP_READV;
        std::uint32_t at = 0;
        std::uint32_t pieces = 0;
        while (at < count) {
            const std::uint32_t n =
                pieces == 7 ? count - at
                            : 1 + static_cast<std::uint32_t>(random_.below(count - at));
            p.iov[pieces++] = {p.buffer + std::size_t{file.unit} * at, std::size_t{file.unit} * n};
            at += n;
        }
        request.buffer = p.iov;
        request.length = pieces;
    } else {
        p.opcode = write ? FSYS_OP_WRITE : FSYS_OP_READ;
        request.buffer = p.buffer;
        request.length = p.length;
    }
    request.opcode = p.opcode;
    return entry;
}

Pending *Worker::make(fsys_request &request, std::uint32_t most_flags) {
    Pending *entry = nullptr;
    std::uint32_t flags = 0;
    const std::uint64_t kind = random_.below(100);
    if (kind < 78) {
        const bool write = kind >= 45;
        TestFile &file = random_file();
        std::uint32_t first = 0;
        std::uint32_t count = 0;
        if (!pick_units(file, write, first, count)) {
            return nullptr;
        }
        entry = make_transfer(request, write, file, first, count, nullptr);
        if (entry == nullptr) {
            return nullptr;
        }
        if (write && random_.one_in(60)) {
            flags |= FSYS_DURABLE;
        }
        if (random_.one_in(10)) {
            flags |= random_.one_in(2) ? FSYS_EXACT : FSYS_PARTIAL;
        }
    } else {
        entry = idle();
        if (entry == nullptr) {
            return nullptr;
        }
        Pending &p = *entry;
        p.pipe = false;
        p.past_end = false;
        p.count = 0;
        p.length = 0;
        p.file = &random_file();
        request = fsys_request{};
        request.file = p.file->handle;
        if (kind < 88) {
            p.opcode = FSYS_OP_NOP;
            p.file = nullptr;
            request.file = nullptr;
        } else if (kind < 91) {
            p.opcode = FSYS_OP_SYNC;
            flags |= random_.one_in(2) ? FSYS_SYNC_DATA : 0;
            if (random_.one_in(2)) {
                flags |= FSYS_SYNC_RANGE;
                request.length = p.file->size();
            }
        } else if (kind < 95) {
            p.opcode = FSYS_OP_ALLOCATE;
            flags |= FSYS_KEEP_SIZE;
            request.offset = random_.below(p.file->size());
            request.length = 1 + random_.below(65536);
        } else {
            // A read that runs over the end of the file.
            p.opcode = FSYS_OP_READ;
            p.past_end = true;
            p.length = p.file->unit;
            flags |= random_.one_in(2) ? FSYS_EXACT : 0;
            p.buffer = p.memory;
            request.buffer = p.buffer;
            request.length = 2u * p.file->unit;
            request.offset = p.file->size() - p.file->unit;
        }
        request.opcode = p.opcode;
    }
    flags |= random_.one_in(3) ? FSYS_WAIT_SOON : 0;
    flags |= random_.one_in(4) ? FSYS_NONBLOCK : 0;
    request.flags = entry->flags = flags & most_flags;
    return entry;
}

// Everything that a deliverer needs, before the op is submitted.
void Worker::launch(Pending &p, std::uint64_t &user_data) {
    const auto slot = index_ * kPending + static_cast<std::uint32_t>(&p - pending_.data());
    p.serial.store(++serial_);
    p.cancel_asked.store(false);
    p.chain = 0;
    p.shared = false;
    p.state.store(Pending::kFlying);
    user_data = serial_ << kSlotBits | slot;
}

void Worker::settle(Pending &p, bool known) {
    if (p.file == nullptr || p.past_end || p.pipe) {
        return;
    }
    for (std::uint32_t i = 0; i < p.count; ++i) {
        Unit &unit = p.file->units[p.first + i];
        if (is_write(p.opcode)) {
            unit.writer = false;
            if (!known) {
                unit.version = kUnknown;
            }
        } else {
            --unit.readers;
        }
    }
}

// The op was refused: nothing has happened.
void Worker::undo(Pending &p) {
    settle(p, true);
    p.state.store(Pending::kIdle);
}

void Worker::collect(Pending &p) {
    const fsys_result r = p.result;
    ++finished_;
    if (!p.queued) {
        last_taken_ = p.token;
        if (r.op != p.token) {
            fail("token %" PRIx64 " gave a completion that names %" PRIx64, p.token, r.op);
        }
    }
    const auto wrong = [&](const char *why) {
        fail("%s of %s, unit %u + %u, flags %#x, %s: result %" PRId64 " (%s), %" PRIu64
             " bytes done, step %u, lane %u%s: %s",
             opcode_name(p.opcode), p.file != nullptr ? p.file->path.c_str() : "nothing", p.first,
             p.count, p.flags, p.queued ? "queued" : "by token", r.result,
             r.result < 0 ? fsys_error_name(static_cast<int>(r.result)) : "bytes", r.bytes_done,
             r.step, r.lane, p.cancel_asked.load() ? ", cancel asked" : "", why);
    };
    if (r.lane > FSYS_LANE_POOL || r.step > FSYS_STEP_QUEUE) {
        wrong("lane or step is not one");
    }
    if (&p == pipe_read_) {
        if (pipe_fed_ && r.result < 0) {
            // What a cancelled read did not take is still there.
            std::uint8_t bytes[64];
            pollfd ready{pipe_[0], POLLIN, 0};
            if (::poll(&ready, 1, 0) != 1 || ::read(pipe_[0], bytes, sizeof bytes) != sizeof bytes) {
                wrong("it has taken bytes from the pipe all the same");
            }
        }
        pipe_read_ = nullptr;
        pipe_fed_ = false;
    }
    if (r.result == -ECANCELED) {
        if (!p.cancel_asked.load() && !round_->closing.load()) {
            wrong("nobody asked to cancel it");
        }
        // Never started: what the file held still stands.
        settle(p, r.lane == FSYS_LANE_NONE && r.bytes_done == 0);
        p.state.store(Pending::kIdle);
        return;
    }
    if (p.past_end) {
        if (r.result != ((p.flags & FSYS_EXACT) != 0 ? FSYS_E_SHORT
                                                     : static_cast<std::int64_t>(p.length)) ||
            r.bytes_done != p.length) {
            wrong("a read over the end of the file");
        }
    } else if (p.pipe) {
        if (r.result != 64 || r.bytes_done != 64) {
            wrong("a read of a pipe that 64 bytes were written to");
        }
        for (unsigned i = 0; i < 64; ++i) {
            if (p.buffer[i] != static_cast<std::uint8_t>(i + index_)) {
                wrong("wrong bytes from the pipe");
            }
        }
    } else if (is_read(p.opcode) || is_write(p.opcode)) {
        const bool partial = (p.flags & FSYS_PARTIAL) != 0;
        if (r.result < 0 || (r.result != static_cast<std::int64_t>(p.length) && !partial) ||
            static_cast<std::uint64_t>(r.result) > p.length ||
            r.bytes_done != static_cast<std::uint64_t>(r.result)) {
            wrong("not what was asked for");
        }
        const bool whole = r.result == static_cast<std::int64_t>(p.length);
        if (is_write(p.opcode)) {
            for (std::uint32_t i = 0; i < p.count; ++i) {
                p.file->units[p.first + i].version = p.version;
            }
            settle(p, whole);
        } else {
            const auto units = static_cast<std::uint32_t>(r.result) / p.file->unit;
            for (std::uint32_t i = 0; i < units; ++i) {
                if (p.expected[i] == kUnknown) {
                    continue;
                }
                const std::uint32_t at = p.file->mismatch(
                    p.buffer + std::size_t{p.file->unit} * i, p.first + i, p.expected[i]);
                if (at != p.file->unit) {
                    std::fprintf(stderr, "unit %u, byte %u, version %u expected\n", p.first + i, at,
                                 p.expected[i]);
                    wrong("wrong bytes");
                }
            }
            settle(p, true);
        }
    } else if (r.result != 0) {
        wrong("should have succeeded");
    }
    p.state.store(Pending::kIdle);
}

void Worker::collect_delivered() {
    for (Pending &p : pending_) {
        if (p.state.load() == Pending::kDelivered) {
            collect(p);
        }
    }
}

// Waits for one op by token, and collects it if it is done in time. False once the handle is closed.
bool Worker::take(Pending &p, std::int64_t timeout_ns) {
    fsys_result r{};
    const int code = fsys_wait(round_->handle, p.token, timeout_ns, &r);
    if (code == 0) {
        deliver(*round_, r, false);
        collect(p);
        return true;
    }
    if (closed(code)) {
        return false;
    }
    if (code == FSYS_E_STALE && p.shared) {
        // Another thread took it and is about to say so.
        while (p.state.load() != Pending::kDelivered) {
            std::this_thread::yield();
        }
        collect(p);
        return true;
    }
    if (code != -ETIMEDOUT || timeout_ns < 0) {
        fail("fsys_wait of a live token gave %d (%s)", code, fsys_error_name(code));
    }
    return true;
}

void Worker::begin(Round &round) {
    round_ = &round;
    last_taken_ = 0;
    fsys_file_options options{};
    options.struct_size = sizeof options;
    options.flags = FSYS_FILE_READ | FSYS_FILE_WRITE | (own_.direct ? FSYS_FILE_DIRECT : 0);
    int code = fsys_file_open(round.handle, own_.path.c_str(), &options, &own_.handle);
    if (code != 0) {
        fail("opening %s gave %d", own_.path.c_str(), code);
    }
    for (Pending &p : pending_) {
        p.arena = nullptr;
        if (random_.one_in(2)) {
            void *memory = nullptr;
            code = fsys_buffer_alloc(round.handle, kBufferBytes, &memory);
            if (code != 0) {
                fail("fsys_buffer_alloc gave %d", code);
            }
            p.arena = static_cast<std::uint8_t *>(memory);
        }
    }
    if (!open_pipe()) {
        fail("the handle was closed before the round began");
    }
}

void Worker::end(bool abandon) {
    activity_.now("collecting at the end");
    if (pipe_read_ != nullptr && pipe_read_->state.load() == Pending::kFlying && !pipe_fed_) {
        feed_pipe();
    }
    for (Pending &p : pending_) {
        while (p.state.load() == Pending::kFlying && !(abandon && random_.one_in(3))) {
            activity_.now(p.queued ? "reaping at the end" : "waiting at the end", p.token);
            if (p.queued && round_->own_reaper) {
                std::this_thread::yield();
            } else if (!(p.queued ? reap_some(*round_, 8, 1'000'000) : take(p, FSYS_FOREVER))) {
                return;
            }
        }
        if (p.state.load() == Pending::kDelivered) {
            collect(p);
        }
        if (p.state.load() == Pending::kIdle && p.arena != nullptr) {
            const int code = fsys_buffer_free(round_->handle, p.arena);
            if (code != 0 && !closed(code)) {
                fail("fsys_buffer_free gave %d", code);
            }
            p.arena = nullptr;
        }
    }
    activity_.now("ended");
}

void Worker::forget() {
    for (Pending &p : pending_) {
        // The arena has gone with the handle, and what was read into it.
        const bool gone = p.buffer == p.arena && p.arena != nullptr;
        if (p.state.load() == Pending::kDelivered && !gone) {
            collect(p);
        }
        if (p.state.load() != Pending::kIdle) {
            settle(p, false);
            p.state.store(Pending::kIdle);
        }
        p.arena = nullptr;
    }
    for (int &fd : pipe_) {
        if (fd >= 0) {
            ::close(fd);
        }
        fd = -1;
    }
    pipe_read_ = nullptr;
    pipe_fed_ = false;
    pipe_file_ = nullptr;
}

void Worker::verify_on_disk(TestFile &file, bool whole) {
    const int fd = ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
    const std::uint32_t base = file.owners == 1 ? 0 : index_ * kUnitsEach;
    const std::size_t bytes = std::size_t{file.unit} * kUnitsEach;
    if (fd < 0 || ::pread(fd, scratch_.get(), bytes, static_cast<off_t>(file.unit) * base) !=
                      static_cast<ssize_t>(bytes)) {
        fail("reading %s back: errno %d", file.path.c_str(), errno);
    }
    ::close(fd);
    for (std::uint32_t i = 0; i < kUnitsEach; ++i) {
        const Unit &unit = file.units[base + i];
        if (whole && (unit.writer || unit.readers != 0)) {
            fail("unit %u of %s is still in use by the program itself", base + i, file.path.c_str());
        }
        if (unit.writer || unit.version == kUnknown) {
            continue;
        }
        const std::uint32_t at =
            file.mismatch(scratch_.get() + std::size_t{file.unit} * i, base + i, unit.version);
        if (at != file.unit) {
            fail("%s, unit %u, byte %u: version %u is not what the file holds", file.path.c_str(),
                 base + i, at, unit.version);
        }
    }
}

}  // namespace stress
