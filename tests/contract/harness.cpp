// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The shared parts of the contract tests. The watchdog is a thread of its own; everything else is
// called by the test's threads.

#include "contract/harness.hpp"

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>

#include "backend/uring/probe.hpp"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define FSYS_TEST_SLOW 1
#else
#define FSYS_TEST_SLOW 0
#endif

namespace libfsys::test {
namespace {

constexpr Variant kVariants[] = {
    {"io_uring", FSYS_BACKEND_IO_URING, FSYS_DRIVER_THREAD, false},
    {"io_uring-caller", FSYS_BACKEND_IO_URING, FSYS_DRIVER_CALLER, false},
    {"threads", FSYS_BACKEND_THREADS, FSYS_DRIVER_THREAD, false},
    {"threads-caller", FSYS_BACKEND_THREADS, FSYS_DRIVER_CALLER, false},
    {"fake", FSYS_BACKEND_IO_URING, FSYS_DRIVER_THREAD, true},
    {"fake-caller", FSYS_BACKEND_IO_URING, FSYS_DRIVER_CALLER, true},
};

// ------------------------------------------------------------------ the time limit

constexpr std::int64_t kLimitSeconds = FSYS_TEST_SLOW ? 180 : 60;

class Watchdog {
public:
    void arm(const std::string &name) {
        {
            const std::lock_guard lock(mutex_);
            name_ = name;
            deadline_ = now_ns() + kLimitSeconds * kSecond;
        }
        std::call_once(once_, [this] { std::thread([this] { watch(); }).detach(); });
    }
    void disarm() {
        const std::lock_guard lock(mutex_);
        deadline_ = 0;
    }

private:
    void watch() {
        for (;;) {
            std::this_thread::sleep_for(std::chrono::milliseconds(200));
            const std::lock_guard lock(mutex_);
            if (deadline_ != 0 && now_ns() > deadline_) {
                std::fprintf(stderr, "TIME LIMIT: test case '%s' on %s hangs for more than %lld s\n",
                             name_.c_str(), variant().name,
                             static_cast<long long>(kLimitSeconds));
                std::fflush(nullptr);
                std::abort();  // a core or an attached debugger shows where
            }
        }
    }
    std::once_flag once_;
    std::mutex mutex_;
    std::string name_;
    std::int64_t deadline_ = 0;
};

Watchdog &watchdog() {
    static auto *instance = new Watchdog;  // outlives the detached thread's last look
    return *instance;
}

#if __has_include(<catch2/catch_all.hpp>)
using ListenerBase = Catch::EventListenerBase;
#else
using ListenerBase = Catch::TestEventListenerBase;
#endif

class TimeLimit : public ListenerBase {
public:
    using ListenerBase::ListenerBase;
    void testCaseStarting(const Catch::TestCaseInfo &info) override { watchdog().arm(info.name); }
    void testCaseEnded(const Catch::TestCaseStats &) override { watchdog().disarm(); }
};

int remove_entry(const char *path, const struct stat *, int, FTW *) { return ::remove(path); }

}  // namespace

const Variant &variant() {
    static const Variant &chosen = [&]() -> const Variant & {
        const char *wanted = std::getenv("FSYS_CONTRACT");
        if (wanted == nullptr) {
            return kVariants[0];
        }
        for (const Variant &v : kVariants) {
            if (std::strcmp(v.name, wanted) == 0) {
                return v;
            }
        }
        std::fprintf(stderr, "FSYS_CONTRACT=%s names no variant; there are:", wanted);
        for (const Variant &v : kVariants) {
            std::fprintf(stderr, " %s", v.name);
        }
        std::fprintf(stderr, "\n");
        std::exit(2);
    }();
    return chosen;
}

// In the working directory, which for Meson is the build directory: a real file system, where /tmp
// may be memory and know no direct IO.
TempDir::TempDir() {
    char name[] = "contract-XXXXXX";
    if (::mkdtemp(name) == nullptr) {
        FAIL("mkdtemp: " << std::strerror(errno));
    }
    char *absolute = ::realpath(name, nullptr);
    path_ = absolute;
    std::free(absolute);
}

TempDir::~TempDir() { ::nftw(path_.c_str(), remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

FakeQueueBehaviour lively() {
    FakeQueueBehaviour b;
    b.seed = 20261124;
    b.full = 20;
    b.short_transfer = 200;
    b.interrupted = 50;
    b.again = 30;
    b.delayed = 200;
    b.reorder = true;
    // On a caller-driven handle nobody else could take over.
    b.cancelled = variant().caller() ? 0 : 20;
    return b;
}

Rig::Rig(const Setup &setup) : lively_(Mischief{7, 100, 30, 20, 50}) {
    const Variant &v = variant();
    INFO("variant: " << v.name);
    if (v.fake || setup.syscalls != nullptr || setup.force_fake_queue) {
        libfsys::EngineConfig config;
        config.uring = v.backend == FSYS_BACKEND_IO_URING || setup.force_fake_queue;
        config.uring_required = config.uring;
        config.caller_driven = v.caller();
        config.max_ops = setup.max_ops;
        config.max_files = setup.max_files;
        config.pool_threads = setup.pool_threads;
        config.file_places = setup.registered_files == UINT32_MAX ? 0 : setup.registered_files;
        config.close_timeout_ns = setup.close_timeout_ns;
        config.submit_timeout_ns = setup.submit_timeout_ns;
        config.arena_bytes = setup.arena_bytes;
        config.syscalls = setup.syscalls != nullptr ? setup.syscalls 
                          : setup.queue.short_transfer != 0 ? &lively_
                                                            : &quiet_;
        if (v.fake || setup.force_fake_queue) {
            FakeQueueBehaviour behaviour = setup.queue;
            if (setup.registered_files != UINT32_MAX) {
                behaviour.file_places = setup.registered_files;
            }
            control_ = std::make_unique<FakeQueueControl>(*config.syscalls, behaviour);
            config.make_queue = control_->maker();
        } else if (config.uring) {
            config.verdict = libfsys::probe_uring();
        }
        REQUIRE(libfsys::open_engine_for_test(config, &handle_) == 0);
    } else {
        char text[256] = "";
        fsys_options o{};
        o.struct_size = sizeof o;
        o.backend = v.backend;
        o.driver = v.driver;
        o.max_ops = setup.max_ops;
        o.max_files = setup.max_files;
        o.pool_threads = setup.pool_threads;
        o.registered_files = setup.registered_files;
        o.close_timeout_ns = static_cast<std::uint64_t>(setup.close_timeout_ns);
        o.submit_timeout_ns = static_cast<std::uint64_t>(setup.submit_timeout_ns);
        o.arena_bytes = setup.arena_bytes;
        o.error_text = text;
        o.error_text_size = sizeof text;
        const int code = fsys_open(&o, &handle_);
        INFO("fsys_open: " << text);
        REQUIRE(code == 0);
    }
    const fsys_handle_info facts = info();
    INFO("backend reason: " << facts.reason_text);
    REQUIRE(facts.backend == v.backend);
}

Rig::~Rig() {
    if (control_) {
        control_->release();
    }
    if (handle_ != nullptr) {
        fsys_close(handle_);
    }
}

int Rig::close() {
    fsys *handle = handle_;
    handle_ = nullptr;
    return fsys_close(handle);
}

fsys_handle_info Rig::info() const {
    fsys_handle_info info{};
    info.struct_size = sizeof info;
    REQUIRE(fsys_info(handle_, &info) == 0);
    return info;
}

fsys_counters Rig::stats() const {
    fsys_counters counters{};
    counters.struct_size = sizeof counters;
    REQUIRE(fsys_stats(handle_, &counters) == 0);
    return counters;
}

fsys_file *Rig::file(const std::string &path, std::uint32_t flags) const {
    char text[256] = "";
    fsys_file_options o{};
    o.struct_size = sizeof o;
    o.flags = flags;
    o.error_text = text;
    o.error_text_size = sizeof text;
    fsys_file *file = nullptr;
    const int code = fsys_file_open(handle_, path.c_str(), &o, &file);
    INFO("opening " << path << ": " << text);
    REQUIRE(code == 0);
    return file;
}

fsys_file *Rig::from_fd(int fd, std::uint32_t flags) const {
    fsys_file_options o{};
    o.struct_size = sizeof o;
    o.flags = flags;
    fsys_file *file = nullptr;
    REQUIRE(fsys_file_from_fd(handle_, fd, &o, &file) == 0);
    return file;
}

bool Rig::until(const std::function<bool()> &done, std::int64_t limit_ns) const {
    const std::int64_t deadline = now_ns() + limit_ns;
    while (!done()) {
        if (now_ns() > deadline) {
            return false;
        }
        if (variant().caller() && handle_ != nullptr) {
            fsys_poll(handle_, kMs);
        }
        std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return true;
}

void Rig::run(const std::vector<std::function<void()>> &functions) const {
    std::atomic<std::size_t> ended{0};
    std::vector<std::thread> threads;
    threads.reserve(functions.size());
    for (const auto &function : functions) {
        threads.emplace_back([&function, &ended] {
            function();
            ended.fetch_add(1);
        });
    }
    while (variant().caller() && ended.load() < functions.size()) {
        if (fsys_poll(handle_, kMs) <= 0) {
            std::this_thread::yield();
        }
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
}

void Rig::run(unsigned count, const std::function<void(unsigned)> &thread) const {
    std::vector<std::function<void()>> functions;
    for (unsigned i = 0; i < count; ++i) {
        functions.emplace_back([i, &thread] { thread(i); });
    }
    run(functions);
}

fsys_result Rig::wait(fsys_op op, std::int64_t timeout_ns) const {
    fsys_result result{};
    REQUIRE(fsys_wait(handle_, op, timeout_ns, &result) == 0);
    REQUIRE(result.op == op);
    return result;
}

Pipe::Pipe() {
    int fds[2];
    REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
    read_end = fds[0];
    write_end = fds[1];
}

Pipe::~Pipe() {
    close_read();
    close_write();
}

void Pipe::close_read() {
    if (read_end >= 0) {
        ::close(read_end);
        read_end = -1;
    }
}

void Pipe::close_write() {
    if (write_end >= 0) {
        ::close(write_end);
        write_end = -1;
    }
}

SocketPair::SocketPair() {
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
}

SocketPair::~SocketPair() {
    for (const int fd : fds) {
        if (fd >= 0) {
            ::close(fd);
        }
    }
}

std::vector<unsigned char> pattern(std::size_t size, std::uint64_t seed) {
    std::vector<unsigned char> bytes(size);
    std::uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    for (unsigned char &byte : bytes) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        byte = static_cast<unsigned char>(x >> 32);
    }
    return bytes;
}

void write_whole(const std::string &path, const std::vector<unsigned char> &bytes) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char *>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    REQUIRE(out.good());
}

std::vector<unsigned char> read_whole(const std::string &path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::int64_t now_ns() {
    timespec ts{};
    ::clock_gettime(CLOCK_MONOTONIC, &ts);
    return std::int64_t{ts.tv_sec} * kSecond + ts.tv_nsec;
}

void sleep_ms(unsigned ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

std::size_t fill(int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    const std::vector<char> block(4096, 'f');
    std::size_t total = 0;
    for (std::size_t size = block.size(); size != 0;) {
        const ssize_t n = ::write(fd, block.data(), size);
        if (n > 0) {
            total += static_cast<std::size_t>(n);
        } else {
            size /= 2;
        }
    }
    ::fcntl(fd, F_SETFL, flags);
    return total;
}

void Checks::expect(bool ok, const std::string &what) {
    if (!ok) {
        const std::lock_guard lock(mutex_);
        failures_.push_back(what);
    }
}

void Checks::require() const {
    const std::lock_guard lock(mutex_);
    for (const std::string &failure : failures_) {
        UNSCOPED_INFO(failure);
    }
    REQUIRE(failures_.empty());
}

CATCH_REGISTER_LISTENER(TimeLimit)

}  // namespace libfsys::test
