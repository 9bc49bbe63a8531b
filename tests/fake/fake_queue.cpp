// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The misbehaving queue: requests are executed through the Syscalls by the turns that follow their
// put. It checks what a kernel would: places, the arena's bounds, credits.

#include "fake/fake_queue.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <new>
#include <thread>

#include "fsys/fsys.h"

namespace libfsys::test {





std::function<std::unique_ptr<libfsys::AsyncQueue>()> FakeQueueControl::maker() {
    return [this] { return std::make_unique<FakeQueue>(*this); };
}

void FakeQueueControl::hold(std::uint32_t opcode, bool deaf) {
    deaf_.store(deaf);
    hold_.store(opcode);
}

void FakeQueueControl::release() {
    hold_.store(kNone);
    deaf_.store(false);
    wake();
}

bool FakeQueueControl::await_held(std::uint32_t count) {
    for (int i = 0; i < 2000 && held_.load() < count; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return held_.load() >= count;
}

void FakeQueueControl::break_down() {
    broken_.store(true);
    wake();
}

void FakeQueueControl::run_out_of_memory() {
    exhausted_.store(true);
    wake();
}

void FakeQueueControl::wake() {
    const std::lock_guard lock(mutex_);
    if (queue_ != nullptr) {
        queue_->wake();
    }
}

FakeQueue::FakeQueue(FakeQueueControl &control) : control_(control) {
    random_.seed(control.behaviour.seed);
    files_.assign(control.behaviour.file_places, -1);
}

FakeQueue::~FakeQueue() {
    {
        const std::lock_guard lock(control_.mutex_);
        control_.queue_ = nullptr;
    }
    files_.push_back(wake_fd_);
    files_.push_back(busy_fd_);
    for (const int fd : files_) {
        if (fd >= 0) {
            ::close(fd);
        }
    }
}

int FakeQueue::open() {
    if (control_.behaviour.open_error != 0) {
        return -control_.behaviour.open_error;
    }
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    busy_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0 || busy_fd_ < 0) {
        return -errno;
    }
    const std::lock_guard lock(control_.mutex_);
    control_.queue_ = this;
    return 0;
}

bool FakeQueue::put(const AsyncRequest &request) {
    full_ = full_ || chance(control_.behaviour.full);
    if (full_ || items_.size() >= control_.behaviour.max_in_flight) {
        control_.refused_.fetch_add(1);
        return false;
    }
    Item item;
    item.request = request;
    if (chance(control_.behaviour.delayed)) {
        item.turns_left = 1 + static_cast<unsigned>(random_() % 4);
    }
    items_.push_back(item);
    control_.puts_.fetch_add(1);
    control_.registered_file_puts_.fetch_add(request.registered_file >= 0 ? 1 : 0);
    control_.registered_buffer_puts_.fetch_add(request.registered_buffer ? 1 : 0);
    ++counters_.entries;
    return true;
}

bool FakeQueue::put_cancel(std::uint64_t cookie) {
    if (full_) {
        return false;
    }
    for (Item &item : items_) {
        if (item.request.cookie == cookie && !(is_held(item) && control_.deaf_.load())) {
            item.cancelled = true;
        }
    }
    return true;
}

void FakeQueue::wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(wake_fd_, &one, sizeof one);
}

void FakeQueue::tell_outer_loop() {
    std::uint64_t value = 1;
    [[maybe_unused]] const ssize_t n = items_.empty() ? ::read(busy_fd_, &value, sizeof value)
                                                      : ::write(busy_fd_, &value, sizeof value);
}

bool FakeQueue::is_held(const Item &item) const {
    const std::uint32_t hold = control_.hold_.load();
    return hold == FakeQueueControl::kAny || hold == item.request.opcode;
}

std::int32_t FakeQueue::execute(const AsyncRequest &r) {
    const bool transfer = r.opcode >= FSYS_OP_READ && r.opcode <= FSYS_OP_WRITEV;
    const bool stream = transfer && r.offset == kStreamOffset;
    if (chance(control_.behaviour.interrupted)) {
        return -EINTR;
    }
    struct stat st{};
    const bool regular = r.opcode != FSYS_OP_NOP && ::fstat(r.fd, &st) == 0 && S_ISREG(st.st_mode);
    if (regular && chance(control_.behaviour.again)) {
        return -EAGAIN;
    }
    if (regular && chance(control_.behaviour.cancelled)) {
        return -ECANCELED;
    }
    int fd = r.fd;
    if (r.registered_file >= 0) {
        if (static_cast<std::size_t>(r.registered_file) >= files_.size() ||
            files_[static_cast<std::size_t>(r.registered_file)] < 0) {
            return -EBADF;  // as the kernel says of an empty place
        }
        fd = files_[static_cast<std::size_t>(r.registered_file)];
    }
    std::size_t length = r.length;
    if (r.registered_buffer) {
        const char *start = static_cast<const char *>(r.buffer);
        if (arena_ == nullptr || start < arena_ || start + length > arena_ + arena_size_) {
            return -EFAULT;
        }
    }
    auto &sys = control_.sys;
    const auto *iov = static_cast<const iovec *>(r.buffer);
    if ((r.opcode == FSYS_OP_READ || r.opcode == FSYS_OP_WRITE) && length > 1 &&
        chance(control_.behaviour.short_transfer)) {
        length = 1 + random_() % (length - 1);
    }
    const std::size_t stream_most = PIPE_BUF;  // what POLLOUT promises room for
    switch (r.opcode) {
    case FSYS_OP_READ:
        return static_cast<std::int32_t>(
            sys.pread(fd, const_cast<void *>(r.buffer), length, r.offset, r.rwf));
    case FSYS_OP_WRITE:
        return static_cast<std::int32_t>(sys.pwrite(
            fd, r.buffer, stream ? std::min(length, stream_most) : length, r.offset, r.rwf));
    case FSYS_OP_READV:
        return static_cast<std::int32_t>(
            sys.preadv(fd, iov, static_cast<int>(length), r.offset, r.rwf));
    case FSYS_OP_WRITEV:
        return static_cast<std::int32_t>(
            stream ? sys.pwrite(fd, iov->iov_base, std::min(iov->iov_len, stream_most), r.offset, 0)
                   : sys.pwritev(fd, iov, static_cast<int>(length), r.offset, r.rwf));
    case FSYS_OP_SYNC:
        return r.data_only ? sys.fdatasync(fd) : sys.fsync(fd);
    case FSYS_OP_ALLOCATE:
        return sys.fallocate(fd, r.mode, r.offset, r.sync_length);
    default:
        return 0;
    }
}

unsigned FakeQueue::run(AsyncResult *results, unsigned max) {
    if (control_.behaviour.reorder) {
        std::shuffle(items_.begin(), items_.end(), random_);
    }
    unsigned count = 0;
    std::uint32_t held = 0;
    std::vector<Item> kept;
    for (Item &item : items_) {
        const AsyncRequest &r = item.request;
        const bool transfer = r.opcode >= FSYS_OP_READ && r.opcode <= FSYS_OP_WRITEV;
        if (count == max) {
            kept.push_back(item);
            continue;
        }
        if (item.cancelled) {
            results[count++] = {r.cookie, -ECANCELED};
            continue;
        }
        if (is_held(item)) {
            ++held;
            kept.push_back(item);
            continue;
        }
        if (item.turns_left != 0) {
            --item.turns_left;
            kept.push_back(item);
            continue;
        }
        if (transfer && r.offset == kStreamOffset) {
            const bool write = r.opcode == FSYS_OP_WRITE || r.opcode == FSYS_OP_WRITEV;
            pollfd ready{r.fd, static_cast<short>(write ? POLLOUT : POLLIN), 0};
            if (::poll(&ready, 1, 0) == 0) {
                kept.push_back(item);
                continue;
            }
        }
        results[count++] = {r.cookie, execute(r)};
    }
    items_.swap(kept);
    control_.held_.store(held);
    return count;
}

int FakeQueue::turn(AsyncResult *results, unsigned max, std::int64_t wait_ns) {
    ++counters_.enters;
    full_ = false;
    const auto started = std::chrono::steady_clock::now();
    for (;;) {
        if (control_.exhausted_.exchange(false)) {
            throw std::bad_alloc();
        }
        if (control_.broken_.load()) {
            return -EBADR;
        }
        const unsigned count = run(results, max);
        tell_outer_loop();
        std::uint64_t drained;
        const bool woken = ::read(wake_fd_, &drained, sizeof drained) == sizeof drained;
        const std::int64_t passed = std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now() - started)
                                        .count();
        if (count != 0 || woken || wait_ns == 0 || (wait_ns > 0 && passed >= wait_ns)) {
            return static_cast<int>(count);
        }
        // Delayed requests and streams become ready without a wake.
        pollfd sleep{wake_fd_, POLLIN, 0};
        const bool idle = items_.empty() || control_.held_.load() == items_.size();
        const std::int64_t left_ms = wait_ns < 0 ? 1000 : (wait_ns - passed) / 1'000'000 + 1;
        ::poll(&sleep, 1, static_cast<int>(std::min<std::int64_t>(left_ms, idle ? 1000 : 1)));
    }
}

int FakeQueue::register_file(std::uint32_t place, int fd) {
    if (place >= files_.size()) {
        return -EINVAL;
    }
    if (files_[place] >= 0) {
        return -EBUSY;  // stricter than the kernel: the engine must not overwrite a live place
    }
    // The kernel's table holds a reference of its own.
    files_[place] = ::dup(fd);
    const std::uint32_t now = control_.files_registered_.fetch_add(1) + 1;
    if (now > control_.most_files_registered_.load()) {
        control_.most_files_registered_.store(now);
    }
    return files_[place] < 0 ? -errno : 0;
}

void FakeQueue::unregister_file(std::uint32_t place) {
    if (place < files_.size() && files_[place] >= 0) {
        ::close(files_[place]);
        files_[place] = -1;
        control_.files_registered_.fetch_sub(1);
    }
}

int FakeQueue::register_arena(void *base, std::size_t size) {
    if (!control_.behaviour.arena) {
        return -ENOMEM;
    }
    arena_ = static_cast<char *>(base);
    arena_size_ = size;
    return 0;
}

libfsys::AsyncFacts FakeQueue::facts() const {
    libfsys::AsyncFacts facts;
    facts.sq_entries = 512;
    facts.cq_entries = control_.behaviour.max_in_flight;
    facts.registered_files = control_.behaviour.file_places;
    facts.registered_arena = arena_ != nullptr;
    return facts;
}

}  // namespace libfsys::test
