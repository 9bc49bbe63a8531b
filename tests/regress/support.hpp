// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the regression tests share: a watchdog, a scratch directory, handles of both backends, checks
// that other threads may make, and child processes.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <fsys/fsys.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/request.hpp"

#if defined(__SANITIZE_THREAD__)
#define REGRESS_TSAN 1
#else
#define REGRESS_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__) || REGRESS_TSAN
#define REGRESS_SANITIZED 1
#else
#define REGRESS_SANITIZED 0
#endif

namespace regress {

inline constexpr std::int64_t kMs = 1'000'000;
inline constexpr std::int64_t kSecond = 1'000'000'000;
inline constexpr bool kSanitized = REGRESS_SANITIZED != 0;

inline std::int64_t now_ns() {
    timespec ts{};
    ::clock_gettime(CLOCK_MONOTONIC, &ts);
    return std::int64_t{ts.tv_sec} * kSecond + ts.tv_nsec;
}

// A test that hangs is a failure with a name. Instrumented programs get four times as long.
class Watchdog {
public:
    explicit Watchdog(unsigned seconds) {
        struct sigaction action{};
        action.sa_handler = [](int) {
            constexpr char text[] = "watchdog: the test case hangs\n";
            [[maybe_unused]] const ssize_t n = ::write(2, text, sizeof text - 1);
            std::abort();
        };
        ::sigaction(SIGALRM, &action, nullptr);
        ::alarm(kSanitized ? seconds * 4 : seconds);
    }
    Watchdog(const Watchdog &) = delete;
    Watchdog &operator=(const Watchdog &) = delete;
    ~Watchdog() { ::alarm(0); }
};

// Catch2's assertions belong to the main thread. Others note what is wrong; the main thread then
// requires text() to be empty.
class Problems {
public:
    bool check(bool ok, const char *what, const char *file, int line, long long value = 0) {
        if (!ok) {
            const std::lock_guard lock(mutex_);
            if (++count_ <= 10) {
                text_ += std::string(file) + ":" + std::to_string(line) + ": not so: " + what +
                         " (" + std::to_string(value) + ")\n";
            }
        }
        return ok;
    }
    std::string text() const {
        const std::lock_guard lock(mutex_);
        return text_;
    }

private:
    mutable std::mutex mutex_;
    unsigned count_ = 0;
    std::string text_;
};

#define NOTE_CHECK(problems, condition) (problems).check((condition), #condition, __FILE__, __LINE__)
// The value of an integer expression, and what it must be.
#define NOTE_EQUAL(problems, expression, wanted)                                              \
    ([&](long long noted) {                                                                   \
        return (problems).check(noted == static_cast<long long>(wanted),                      \
                                #expression " == " #wanted, __FILE__, __LINE__, noted);       \
    }(static_cast<long long>(expression)))

// In the working directory (the build tree), not /tmp: that is often a tmpfs without O_DIRECT.
class Scratch {
public:
    Scratch() {
        std::string name = (std::filesystem::current_path() / "regress-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) {
            std::perror("mkdtemp");
            std::abort();
        }
        path_ = name;
    }
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::string operator/(const std::string &name) const { return path_ + "/" + name; }
    const std::string &path() const { return path_; }

    // A file with `size` bytes, byte i being seed + i / 512 + i.
    std::string make(const std::string &name, std::size_t size, unsigned seed) const;

private:
    std::string path_;
};

inline unsigned char byte_at(unsigned seed, std::uint64_t at) {
    return static_cast<unsigned char>(seed + at / 512 + at);
}
inline std::vector<unsigned char> bytes_of(unsigned seed, std::uint64_t from, std::size_t size) {
    std::vector<unsigned char> bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = byte_at(seed, from + i);
    }
    return bytes;
}
inline bool is_bytes_of(const void *memory, unsigned seed, std::uint64_t from, std::size_t size) {
    const auto *bytes = static_cast<const unsigned char *>(memory);
    for (std::size_t i = 0; i < size; ++i) {
        if (bytes[i] != byte_at(seed, from + i)) {
            return false;
        }
    }
    return true;
}

inline std::string Scratch::make(const std::string &name, std::size_t size, unsigned seed) const {
    const std::string path = path_ + "/" + name;
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const auto bytes = bytes_of(seed, 0, size);
    if (fd < 0 || ::pwrite(fd, bytes.data(), size, 0) != static_cast<ssize_t>(size)) {
        std::perror(path.c_str());
        std::abort();
    }
    ::close(fd);
    return path;
}

// Bytes of a buffer that an op in flight owns, which a program must not look at; a test that asks
// whether the kernel kept away from it does, out of ThreadSanitizer's sight.
__attribute__((noinline, no_sanitize_thread)) inline unsigned char peek(const void *at) {
    return *static_cast<const volatile unsigned char *>(at);
}

struct Pipe {
    int ends[2] = {-1, -1};
    Pipe() {
        if (::pipe2(ends, O_CLOEXEC) != 0) {
            std::perror("pipe2");
            std::abort();
        }
    }
    Pipe(const Pipe &) = delete;
    Pipe &operator=(const Pipe &) = delete;
    ~Pipe() {
        close_read();
        close_write();
    }
    void close_read() { close_end(0); }
    void close_write() { close_end(1); }
    int read_end() const { return ends[0]; }
    int write_end() const { return ends[1]; }

private:
    void close_end(int end) {
        if (ends[end] >= 0) {
            ::close(ends[end]);
            ends[end] = -1;
        }
    }
};

// Whether this process can have an io_uring: asked of the kernel, not of the library.
inline int kernel_io_uring_errno() {
    alignas(8) unsigned char params[120] = {};  // struct io_uring_params
    const long fd = ::syscall(SYS_io_uring_setup, 4, params);
    if (fd < 0) {
        return errno;
    }
    ::close(static_cast<int>(fd));
    return 0;
}

// The backends that this machine can run; says so when one of the two is missing. Where the kernel
// has io_uring, a library that does not use it fails in Handle.
inline std::vector<std::uint32_t> backends() {
    const int error = kernel_io_uring_errno();
    if (error != 0) {
        std::printf("skipped: the io_uring half of this test: io_uring_setup: %s\n",
                    std::strerror(error));
        return {FSYS_BACKEND_THREADS};
    }
    return {FSYS_BACKEND_IO_URING, FSYS_BACKEND_THREADS};
}

inline const char *backend_name(std::uint32_t backend) {
    return backend == FSYS_BACKEND_IO_URING ? "io_uring" : "threads";
}

inline fsys_options default_options(std::uint32_t backend) {
    fsys_options options{};
    options.struct_size = sizeof options;
    options.backend = backend;
    return options;
}

class Handle {
public:
    explicit Handle(std::uint32_t backend) { open(default_options(backend)); }
    explicit Handle(const fsys_options &options) { open(options); }
    struct Adopt {
        fsys *handle;
    };
    explicit Handle(Adopt adopted) : handle_(adopted.handle) {}
    Handle(const Handle &) = delete;
    Handle &operator=(const Handle &) = delete;
    ~Handle() {
        if (handle_ != nullptr) {
            fsys_close(handle_);
        }
    }
    operator fsys *() const { return handle_; }
    int close() {
        const int code = fsys_close(handle_);
        handle_ = nullptr;
        return code;
    }
    // Somebody else closes it.
    fsys *release() {
        fsys *handle = handle_;
        handle_ = nullptr;
        return handle;
    }

private:
    void open(fsys_options options) {
        char text[256] = "";
        options.error_text = text;
        options.error_text_size = sizeof text;
        const int code = fsys_open(&options, &handle_);
        INFO(text);
        REQUIRE(code == 0);
        if (options.backend != FSYS_BACKEND_DEFAULT) {
            fsys_handle_info info{};
            info.struct_size = sizeof info;
            REQUIRE(fsys_info(handle_, &info) == 0);
            REQUIRE(info.backend == options.backend);
        }
    }
    fsys *handle_ = nullptr;
};

inline fsys_handle_info info_of(fsys *handle) {
    fsys_handle_info info{};
    info.struct_size = sizeof info;
    REQUIRE(fsys_info(handle, &info) == 0);
    return info;
}
inline fsys_counters stats_of(fsys *handle) {
    fsys_counters counters{};
    counters.struct_size = sizeof counters;
    REQUIRE(fsys_stats(handle, &counters) == 0);
    return counters;
}

inline int try_open(fsys *handle, const std::string &path, std::uint32_t flags, fsys_file **file) {
    fsys_file_options options{};
    options.struct_size = sizeof options;
    options.flags = flags;
    return fsys_file_open(handle, path.c_str(), &options, file);
}
inline fsys_file *open_file(fsys *handle, const std::string &path,
                            std::uint32_t flags = FSYS_FILE_READ) {
    fsys_file *file = nullptr;
    INFO(path);
    const int code = try_open(handle, path, flags, &file);
    REQUIRE(code == 0);
    return file;
}
inline fsys_file *adopt_fd(fsys *handle, int fd) {
    fsys_file *file = nullptr;
    const int code = fsys_file_from_fd(handle, fd, nullptr, &file);
    REQUIRE(code == 0);
    return file;
}
inline constexpr std::uint32_t kReadWriteCreate =
    FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE;

using libfsys::test::request;

// Page-aligned memory, for direct IO.
class Pages {
public:
    explicit Pages(std::size_t size) : size_(size) {
        memory_ = static_cast<unsigned char *>(std::aligned_alloc(4096, (size + 4095) / 4096 * 4096));
        std::memset(memory_, 0, size);
    }
    Pages(const Pages &) = delete;
    Pages &operator=(const Pages &) = delete;
    ~Pages() { std::free(memory_); }
    unsigned char *data() { return memory_; }
    std::size_t size() const { return size_; }

private:
    unsigned char *memory_;
    std::size_t size_;
};

inline unsigned entries_of(const char *directory) {
    unsigned count = 0;
    DIR *dir = ::opendir(directory);
    while (dirent *entry = ::readdir(dir)) {
        count += entry->d_name[0] != '.' ? 1 : 0;
    }
    ::closedir(dir);
    return count;
}
inline unsigned thread_count() { return entries_of("/proc/self/task"); }
inline unsigned descriptor_count() { return entries_of("/proc/self/fd"); }  // one is the listing's

// Waits for what has no event of its own (the kernel's deferred work, another process); the
// condition is looked at every millisecond.
template <class Condition>
bool eventually(Condition &&condition, std::int64_t limit_ns = 5 * kSecond) {
    const std::int64_t end = now_ns() + (kSanitized ? limit_ns * 4 : limit_ns);
    while (!condition()) {
        if (now_ns() > end) {
            return false;
        }
        const timespec brief{0, 1'000'000};
        ::nanosleep(&brief, nullptr);
    }
    return true;
}

// Runs `body` in a child process and tells how it ended: 0 when it returned, or its exit code, or
// 128 + the signal. For what a process cannot undo: seccomp filters, limits. REQUIRE works in it
// (its report appears in the output); CHECK does not.
inline int in_child(unsigned seconds, const std::function<void()> &body) {
    std::fflush(nullptr);
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        const Watchdog watchdog(seconds);
        int code = 0;
        try {
            body();
        } catch (...) {
            code = 1;
        }
        std::fflush(nullptr);
        ::_exit(code);
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Lets threads start together.
class Gate {
public:
    void open() {
        const std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    void wait() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return open_; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool open_ = false;
};

inline void run_threads(unsigned count, const std::function<void(unsigned)> &body) {
    std::vector<std::thread> threads;
    Gate gate;
    for (unsigned i = 0; i < count; ++i) {
        threads.emplace_back([&, i] {
            gate.wait();
            body(i);
        });
    }
    gate.open();
    for (std::thread &thread : threads) {
        thread.join();
    }
}

}  // namespace regress
