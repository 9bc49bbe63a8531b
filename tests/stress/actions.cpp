// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The things that a worker does, one of them per step, chosen at random. Entered by the worker's own
// thread.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>

#include "worker.hpp"

namespace stress {

namespace {

constexpr std::uint32_t kAnyFlag = ~0u;

#if defined(__SANITIZE_THREAD__)
constexpr bool kCanFork = false;  // TSan's runtime may hold a lock of its own across the fork
#else
constexpr bool kCanFork = true;
#endif

}  // namespace

bool Worker::step() {
    bool open = true;
    const std::uint64_t what = random_.below(1000);
    const auto run = [&](const char *name, bool (Worker::*action)()) {
        activity_.now(name);
        open = (this->*action)();
    };
    if (what < 300) {
        run("submitting one", &Worker::submit_one);
    } else if (what < 400) {
        run("submitting an array", &Worker::submit_many);
    } else if (what < 440) {
        run("submitting a chain", &Worker::submit_chain);
    } else if (what < 600) {
        run("waiting for one", &Worker::wait_one);
    } else if (what < 700) {
        run("waiting for any", &Worker::wait_any);
    } else if (what < 790) {
        run("waiting for all", &Worker::wait_all);
    } else if (what < 850) {
        run("cancelling", &Worker::cancel_one);
    } else if (what < 870) {
        run("using a stale token", &Worker::stale_token);
    } else if (what < 920) {
        run("a blocking call", &Worker::blocking);
    } else if (what < 955) {
        run("helping another", &Worker::help);
    } else if (what < 985) {
        run("the pipe", &Worker::pipe_step);
    } else if (what < 990) {
        run("reopening its file", &Worker::reopen);
    } else if (what < 999) {
        run("observing", &Worker::observe);
    } else {
        run("forking", &Worker::fork_step);
    }
    if (open && !round_->own_reaper && random_.one_in(4)) {
        activity_.now("reaping");
        open = reap_some(*round_, static_cast<std::uint32_t>(random_.below(9)),
                         random_timeout(false));
    }
    collect_delivered();
    return open;
}

bool Worker::submit_one() {
    fsys_request r{};
    Pending *entry = make(r, kAnyFlag);
    if (entry == nullptr) {
        return wait_one();
    }
    Pending &p = *entry;
    p.queued = random_.one_in(3);
    launch(p, r.user_data);
    fsys_op *ret_op = p.queued ? nullptr : &p.token;
    int code = 0;
    // Sometimes as an array of one.
    if (r.opcode == FSYS_OP_READ && !random_.one_in(4)) {
        code = fsys_submit_read(r.file, r.buffer, r.length, r.offset, r.flags, r.user_data, ret_op);
    } else if (r.opcode == FSYS_OP_WRITE && !random_.one_in(4)) {
        code = fsys_submit_write(r.file, r.buffer, r.length, r.offset, r.flags, r.user_data, ret_op);
    } else if (r.opcode == FSYS_OP_SYNC && !random_.one_in(4)) {
        code = fsys_submit_sync(r.file, r.length, r.offset, r.flags, r.user_data, ret_op);
    } else {
        code = fsys_submit(round_->handle, &r, 1, ret_op);
        code = code == 1 ? 0 : code;
    }
    if (code != 0) {
        undo(p);
        if (closed(code)) {
            return false;
        }
        if (code != -EAGAIN) {
            fail("submitting opcode %u with flags %#x gave %d (%s)", r.opcode, r.flags, code,
                 fsys_error_name(code));
        }
        return wait_one();
    }
    if (!p.queued && random_.one_in(8)) {
        Round::Offer &offer = round_->offers[random_.below(round_->offers.size())];
        if (offer.token.load() == 0) {
            p.shared = true;
            p.cancel_asked.store(true);
            offer.user_data.store(r.user_data);
            offer.token.store(p.token);
        }
    }
    return true;
}

bool Worker::submit_many() {
    constexpr std::uint32_t kMost = 24;
    fsys_request requests[kMost];
    Pending *entries[kMost];
    fsys_op tokens[kMost];
    const auto wanted = 1 + static_cast<std::uint32_t>(random_.below(kMost));
    const bool queued = random_.one_in(3);
    // The flag counts for the whole batch as callers use it.
    const std::uint32_t soon = random_.one_in(2) ? FSYS_WAIT_SOON : 0;
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < wanted; ++i) {
        Pending *entry = make(requests[count], kAnyFlag & ~std::uint32_t{FSYS_WAIT_SOON});
        if (entry == nullptr) {
            break;
        }
        requests[count].flags |= soon;
        entry->flags |= soon;
        entry->queued = queued;
        launch(*entry, requests[count].user_data);
        entries[count++] = entry;
    }
    if (count == 0) {
        return wait_all();
    }
    const int code = fsys_submit(round_->handle, requests, count, queued ? nullptr : tokens);
    const std::uint32_t accepted = code > 0 ? static_cast<std::uint32_t>(code) : 0;
    if (accepted > count || (code < 0 && code != -EAGAIN && !closed(code))) {
        fail("submitting %u requests gave %d (%s)", count, code, fsys_error_name(code));
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        if (i < accepted) {
            entries[i]->token = queued ? 0 : tokens[i];
        } else {
            undo(*entries[i]);
        }
    }
    if (closed(code)) {
        return false;
    }
    return accepted == count ? true : wait_one();
}

// A write, perhaps a sync, and a read of the same units that must find what the write wrote.
bool Worker::submit_chain() {
    fsys_request requests[3];
    Pending *entries[3];
    fsys_op tokens[3];
    TestFile &file = random_file();
    std::uint32_t first = 0;
    std::uint32_t units = 0;
    if (!pick_units(file, true, first, units)) {
        return wait_one();
    }
    std::uint32_t count = 0;
    const bool queued = random_.one_in(3);
    Pending *write = make_transfer(requests[0], true, file, first, units, nullptr);
    if (write == nullptr) {
        return wait_one();
    }
    write->queued = queued;
    launch(*write, requests[0].user_data);
    entries[count++] = write;
    if (random_.one_in(12)) {
        Pending *sync = idle();
        if (sync != nullptr) {
            requests[1] = fsys_request{};
            requests[1].opcode = sync->opcode = FSYS_OP_SYNC;
            requests[1].file = file.handle;
            requests[1].flags = FSYS_SYNC_DATA;
            sync->file = &file;
            sync->pipe = sync->past_end = false;
            sync->count = 0;
            sync->queued = queued;
            launch(*sync, requests[1].user_data);
            entries[count++] = sync;
        }
    }
    std::uint32_t expected[kMostUnits];
    std::fill(expected, expected + units, write->version);
    Pending *read = make_transfer(requests[count], false, file, first, units, expected);
    if (read != nullptr) {
        read->queued = queued;
        launch(*read, requests[count].user_data);
        entries[count++] = read;
    }
    ++chain_;
    for (std::uint32_t i = 0; i < count; ++i) {
        entries[i]->chain = chain_;
        if (i + 1 < count) {
            requests[i].flags |= FSYS_LINK;
        }
        entries[i]->flags = requests[i].flags;
    }
    const int code = fsys_submit(round_->handle, requests, count, queued ? nullptr : tokens);
    if (code == static_cast<int>(count)) {
        for (std::uint32_t i = 0; i < count; ++i) {
            entries[i]->token = queued ? 0 : tokens[i];
        }
        return true;
    }
    if (code != -EAGAIN && !closed(code)) {
        fail("submitting a chain of %u gave %d (%s)", count, code, fsys_error_name(code));
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        undo(*entries[i]);
    }
    return closed(code) ? false : wait_one();
}

// Ops in flight that have tokens, in random order.
std::uint32_t Worker::choose(Pending **chosen, std::uint32_t most, bool with_pipe,
                             bool with_shared) {
    std::uint32_t count = 0;
    const std::uint64_t start = random_.below(kPending);
    for (std::uint32_t i = 0; i < kPending && count < most; ++i) {
        Pending &p = pending_[(start + i * 7) % kPending];
        if (p.state.load() == Pending::kFlying && !p.queued && (with_shared || !p.shared) &&
            (with_pipe || &p != pipe_read_ || pipe_fed_)) {
            chosen[count++] = &p;
        }
    }
    return count;
}

bool Worker::wait_one() {
    Pending *p = nullptr;
    if (choose(&p, 1, false, true) == 0) {
        return round_->own_reaper ? true : reap_some(*round_, 8, random_timeout(false));
    }
    if (random_.one_in(5)) {
        fsys_result r{};
        const int code = fsys_try(round_->handle, p->token, &r);
        if (code == 0) {
            deliver(*round_, r, false);
            collect(*p);
        } else if (closed(code)) {
            return false;
        } else if (code != -EAGAIN && !(code == FSYS_E_STALE && p->shared)) {
            fail("fsys_try of a live token gave %d (%s)", code, fsys_error_name(code));
        }
        return true;
    }
    const std::int64_t timeout = random_timeout(true);
    activity_.now("waiting for one", p->token);
    return take(*p, timeout);
}

bool Worker::wait_any() {
    constexpr std::uint32_t kMost = 12;
    Pending *chosen[kMost];
    fsys_op tokens[kMost] = {};
    const std::uint32_t count =
        choose(chosen, 1 + static_cast<std::uint32_t>(random_.below(kMost)), true, true);
    if (count == 0) {
        return true;
    }
    bool endless = false;  // something here must end without help
    for (std::uint32_t i = 0; i < count; ++i) {
        tokens[i] = random_.one_in(8) ? 0 : chosen[i]->token;
        endless = endless || (tokens[i] != 0 && (chosen[i] != pipe_read_ || pipe_fed_));
    }
    const std::int64_t timeout = random_timeout(endless);
    activity_.now(timeout < 0 ? "waiting for any, endless" : "waiting for any", count);
    std::uint32_t at = kMost;
    fsys_result r{};
    const int code = fsys_wait_any(round_->handle, tokens, count, timeout, &at, &r);
    if (code == 0) {
        if (at >= count || tokens[at] == 0 || r.op != tokens[at]) {
            fail("fsys_wait_any names op %u of %u", at, count);
        }
        deliver(*round_, r, false);
        collect(*chosen[at]);
        return true;
    }
    if (closed(code)) {
        return false;
    }
    const bool nothing = std::all_of(tokens, tokens + count, [](fsys_op op) { return op == 0; });
    if (code == FSYS_E_NOTHING ? !nothing
        : code == FSYS_E_STALE ? at >= count || !chosen[at]->shared
                               : code != -ETIMEDOUT || timeout < 0) {
        fail("fsys_wait_any of %u live tokens gave %d (%s)", count, code, fsys_error_name(code));
    }
    return true;
}

bool Worker::wait_all() {
    Pending *chosen[kPending];
    fsys_op tokens[kPending];
    fsys_result results[kPending];
    const std::uint32_t count =
        choose(chosen, 1 + static_cast<std::uint32_t>(random_.below(kPending)), false, false);
    if (count == 0) {
        return true;
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        tokens[i] = random_.one_in(10) ? 0 : chosen[i]->token;
    }
    const std::int64_t timeout = random_timeout(true);
    activity_.now(timeout < 0 ? "waiting for all, endless" : "waiting for all", count);
    const int code = fsys_wait_all(round_->handle, tokens, count, timeout, results);
    if (code == 0) {
        for (std::uint32_t i = 0; i < count; ++i) {
            if (tokens[i] != 0) {
                deliver(*round_, results[i], false);
                collect(*chosen[i]);
            }
        }
        return true;
    }
    if (closed(code)) {
        return false;
    }
    if (code != -ETIMEDOUT || timeout < 0) {
        fail("fsys_wait_all of %u live tokens gave %d (%s)", count, code, fsys_error_name(code));
    }
    return true;
}

bool Worker::cancel_one() {
    Pending *p = nullptr;
    if (choose(&p, 1, true, true) == 0) {
        return true;
    }
    // Whatever is linked to it may end the same way.
    for (Pending &other : pending_) {
        if (&other == p || (p->chain != 0 && other.chain == p->chain)) {
            other.cancel_asked.store(true);
        }
    }
    const int code = fsys_cancel(round_->handle, p->token);
    if (closed(code)) {
        return false;
    }
    if (code != 0 && code != -EALREADY && !(code == FSYS_E_STALE && p->shared)) {
        fail("fsys_cancel of a live token gave %d (%s)", code, fsys_error_name(code));
    }
    return true;
}

bool Worker::stale_token() {
    if (last_taken_ == 0) {
        return true;
    }
    fsys_result r{};
    int code = 0;
    switch (random_.below(4)) {
    case 0:
        code = fsys_wait(round_->handle, last_taken_, random_timeout(true), &r);
        break;
    case 1:
        code = fsys_try(round_->handle, last_taken_, &r);
        break;
    case 2:
        code = fsys_cancel(round_->handle, last_taken_);
        break;
    default:
        code = fsys_wait_all(round_->handle, &last_taken_, 1, random_timeout(true), &r);
        break;
    }
    if (closed(code)) {
        return false;
    }
    if (code != FSYS_E_STALE) {
        fail("a token that was taken gave %d (%s)", code, fsys_error_name(code));
    }
    return true;
}

bool Worker::blocking() {
    TestFile &file = random_file();
    const bool write = random_.one_in(2);
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    if (random_.one_in(40)) {
        const int code = fsys_sync(file.handle, FSYS_SYNC_DATA);
        if (code != 0 && !closed(code)) {
            fail("fsys_sync gave %d (%s)", code, fsys_error_name(code));
        }
        return code == 0;
    }
    if (!pick_units(file, write, first, count)) {
        return true;
    }
    const std::uint64_t length = std::uint64_t{file.unit} * count;
    const std::uint64_t offset = std::uint64_t{file.unit} * first;
    std::uint8_t *buffer = scratch_.get();
    std::int64_t n = 0;
    if (write) {
        ++version_;
        for (std::uint32_t i = 0; i < count; ++i) {
            file.fill(buffer + std::size_t{file.unit} * i, first + i, version_);
        }
        n = fsys_write(file.handle, buffer, length, offset, 0);
    } else {
        n = fsys_read(file.handle, buffer, length, offset, random_.one_in(2) ? FSYS_EXACT : 0);
    }
    if (closed(static_cast<int>(n))) {
        return false;
    }
    if (n != static_cast<std::int64_t>(length)) {
        fail("a blocking %s of %" PRIu64 " bytes gave %" PRId64, write ? "write" : "read", length, n);
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        Unit &unit = file.units[first + i];
        if (write) {
            unit.version = version_;
        } else if (unit.version != kUnknown) {
            const std::uint32_t at =
                file.mismatch(buffer + std::size_t{file.unit} * i, first + i, unit.version);
            if (at != file.unit) {
                fail("a blocking read of %s, unit %u, byte %u: not version %u", file.path.c_str(),
                     first + i, at, unit.version);
            }
        }
    }
    return true;
}

// Waits for, or cancels, what another thread (or this one) has offered.
bool Worker::help() {
    Round::Offer &offer = round_->offers[random_.below(round_->offers.size())];
    const fsys_op token = offer.token.exchange(0);
    if (token == 0) {
        return true;
    }
    fsys_result r{};
    r.user_data = offer.user_data.load();
    if (random_.one_in(4)) {
        const int code = fsys_cancel(round_->handle, token);
        if (code == 0 || code == -EALREADY || code == FSYS_E_STALE) {
            return true;
        }
        return closed(code) ? false : (fail("cancelling another's op gave %d", code), false);
    }
    const int code = fsys_wait(round_->handle, token, random_timeout(true), &r);
    if (code == 0) {
        deliver(*round_, r, false);
    } else if (closed(code)) {
        return false;
    } else if (code != -ETIMEDOUT && code != FSYS_E_STALE) {
        fail("waiting for another's op gave %d (%s)", code, fsys_error_name(code));
    }
    return true;
}

bool Worker::reopen() {
    // Ops in flight end before the close returns; they may be cancelled when they do not end soon.
    for (Pending &p : pending_) {
        if (p.file == &own_) {
            p.cancel_asked.store(true);
        }
    }
    // A chain of which one part is on this file.
    for (Pending &p : pending_) {
        for (const Pending &q : pending_) {
            if (q.chain != 0 && q.chain == p.chain && q.cancel_asked.load()) {
                p.cancel_asked.store(true);
            }
        }
    }
    fsys_file *old = own_.handle;
    int code = fsys_file_close(old);
    if (closed(code)) {
        return false;
    }
    if (code != 0) {
        fail("fsys_file_close gave %d (%s)", code, fsys_error_name(code));
    }
    for (int i = 0; i < 2; ++i) {
        code = i == 0 ? fsys_file_close(old)
                      : fsys_submit_sync(old, 0, 0, 0, 0, nullptr);
        if (code != FSYS_E_CLOSED) {
            fail("a closed file answers %d (%s)", code, fsys_error_name(code));
        }
    }
    fsys_file_options options{};
    options.struct_size = sizeof options;
    options.flags = FSYS_FILE_READ | FSYS_FILE_WRITE | (own_.direct ? FSYS_FILE_DIRECT : 0);
    code = fsys_file_open(round_->handle, own_.path.c_str(), &options, &own_.handle);
    if (closed(code)) {
        return false;
    }
    if (code != 0) {
        fail("reopening %s gave %d (%s)", own_.path.c_str(), code, fsys_error_name(code));
    }
    verify_on_disk(own_, false);
    return true;
}

bool Worker::open_pipe() {
    if (::pipe2(pipe_, O_CLOEXEC) != 0) {
        fail("pipe2: errno %d", errno);
    }
    const int code = fsys_file_from_fd(round_->handle, pipe_[0], nullptr, &pipe_file_);
    if (code != 0 && !closed(code)) {
        fail("fsys_file_from_fd of a pipe gave %d (%s)", code, fsys_error_name(code));
    }
    return code == 0;
}

void Worker::feed_pipe() {
    std::uint8_t bytes[64];
    for (unsigned i = 0; i < 64; ++i) {
        bytes[i] = static_cast<std::uint8_t>(i + index_);
    }
    if (::write(pipe_[1], bytes, sizeof bytes) != sizeof bytes) {
        fail("writing to the pipe: errno %d", errno);
    }
    pipe_fed_ = true;
}

// A read that waits until this thread writes, or is cancelled.
bool Worker::pipe_step() {
    if (pipe_read_ != nullptr) {
        if (!pipe_fed_) {
            feed_pipe();
        }
        return true;
    }
    Pending *entry = idle();
    if (entry == nullptr) {
        return true;
    }
    Pending &p = *entry;
    p.opcode = FSYS_OP_READ;
    p.flags = random_.one_in(2) ? FSYS_PARTIAL : 0;
    p.file = nullptr;
    p.pipe = true;
    p.past_end = false;
    p.count = 0;
    p.queued = false;
    p.length = 64;
    p.buffer = p.memory;
    std::uint64_t user_data = 0;
    launch(p, user_data);
    const int code = fsys_submit_read(pipe_file_, p.buffer, p.length, 0,
                                      p.flags | FSYS_NONBLOCK, user_data, &p.token);
    if (code != 0) {
        undo(p);
        if (code != -EAGAIN && !closed(code)) {
            fail("submitting a read of a pipe gave %d (%s)", code, fsys_error_name(code));
        }
        return code == -EAGAIN;
    }
    pipe_read_ = entry;
    pipe_fed_ = false;
    return true;
}

bool Worker::observe() {
    fsys_handle_info info{};
    info.struct_size = sizeof info;
    fsys_counters counters{};
    counters.struct_size = sizeof counters;
    int code = fsys_info(round_->handle, &info);
    if (code == 0 && info.poisoned != 0) {
        char text[256];
        fsys_cause(round_->handle, text, sizeof text);
        fail("the handle is poisoned: %s", text);
    }
    code = code == 0 ? fsys_stats(round_->handle, &counters) : code;
    fsys_file_details details{};
    details.struct_size = sizeof details;
    code = code == 0 ? fsys_file_info(own_.handle, &details) : code;
    if (code == 0 && details.size != own_.size()) {
        fail("%s is %" PRIu64 " bytes long, not %" PRIu64, own_.path.c_str(), details.size,
             own_.size());
    }
    if (code != 0 && !closed(code)) {
        fail("observing gave %d (%s)", code, fsys_error_name(code));
    }
    return code == 0;
}

bool Worker::fork_step() {
    if (!kCanFork || !random_.one_in(10)) {
        return true;
    }
    const pid_t child = ::fork();
    if (child == 0) {
        // Only calls of the library: nothing here may allocate.
        fsys_result r;
        char byte;
        const bool right = fsys_wait(round_->handle, 1, FSYS_FOREVER, &r) == FSYS_E_FORKED &&
                           fsys_read(own_.handle, &byte, 1, 0, 0) == FSYS_E_FORKED &&
                           fsys_close(round_->handle) == FSYS_E_FORKED;
        ::_exit(right ? 0 : 1);
    }
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child) {
        fail("fork: errno %d", errno);
    }
    // A child that forked while the handle was being closed may be told so instead.
    if (status != 0 && !round_->closing.load()) {
        fail("a fork child was not told FSYS_E_FORKED everywhere: status %#x", status);
    }
    return true;
}

}  // namespace stress
