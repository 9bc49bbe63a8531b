// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Why io_uring cannot be had is told apart: no such call, a seccomp filter, the sysctl, no
// descriptor. The default goes on with threads and names the reason; io_uring asked for by name
// fails with a sentence. Each in a child process, where the limit stays.
#include "regress/seccomp.hpp"
#include "regress/support.hpp"

using namespace regress;

namespace {

// What must be so in a process that cannot have io_uring for this reason.
void expect_reason(std::uint32_t reason, int error, const char *word) {
    ::unsetenv("FSYS_BACKEND");
    const Scratch scratch;
    Handle handle(default_options(FSYS_BACKEND_DEFAULT));
    const fsys_handle_info info = info_of(handle);
    INFO(info.reason_text);
    REQUIRE(info.backend == FSYS_BACKEND_THREADS);
    REQUIRE(info.backend_reason == reason);
    REQUIRE(info.backend_errno == error);
    REQUIRE_THAT(std::string(info.reason_text), Catch::Matchers::ContainsSubstring(word));

    fsys_options options = default_options(FSYS_BACKEND_IO_URING);
    char text[256] = "";
    options.error_text = text;
    options.error_text_size = sizeof text;
    fsys *none = nullptr;
    REQUIRE(fsys_open(&options, &none) == FSYS_E_URING_SETUP);
    REQUIRE(none == nullptr);
    REQUIRE_THAT(std::string(text), Catch::Matchers::ContainsSubstring(word));
    REQUIRE_THAT(std::string(text), Catch::Matchers::ContainsSubstring("io_uring_setup"));
    REQUIRE(handle.close() == 0);
}

// The handle works: ops, waits, queue.
void expect_works() {
    const Scratch scratch;
    Handle handle(default_options(FSYS_BACKEND_DEFAULT));
    fsys_file *file = open_file(handle, scratch / "data", kReadWriteCreate);
    char bytes[512] = "works";
    char back[512] = "";
    const fsys_request chain[3] = {
        request(FSYS_OP_WRITE, file, bytes, sizeof bytes, 0, FSYS_LINK, 1),
        request(FSYS_OP_SYNC, file, nullptr, 0, 0, FSYS_LINK, 2),
        request(FSYS_OP_READ, file, back, sizeof back, 0, 0, 3),
    };
    REQUIRE(fsys_submit(handle, chain, 3, nullptr) == 3);
    unsigned taken = 0;
    while (taken < 3) {
        fsys_result results[3];
        const int n = fsys_reap(handle, results, 3, 30 * kSecond);
        REQUIRE(n > 0);
        for (int i = 0; i < n; ++i) {
            REQUIRE(results[i].result >= 0);
        }
        taken += static_cast<unsigned>(n);
    }
    REQUIRE(std::memcmp(bytes, back, sizeof bytes) == 0);
    REQUIRE(handle.close() == 0);
}

}  // namespace

TEST_CASE("setup: ENOSYS is an old kernel or a filter") {
    const Watchdog watchdog(60);
    REQUIRE(in_child(30, [] {
                REQUIRE(deny_syscall(SYS_io_uring_setup, ENOSYS) == 0);
                expect_reason(FSYS_REASON_ENOSYS, ENOSYS, "5.1");
                if (REGRESS_TSAN == 0) {
                    expect_works();
                }
            }) == 0);
}

TEST_CASE("setup: EPERM with the sysctl at 0 is a seccomp filter") {
    const Watchdog watchdog(60);
    int disabled = 0;
    if (FILE *sysctl = std::fopen("/proc/sys/kernel/io_uring_disabled", "r")) {
        [[maybe_unused]] const int n = std::fscanf(sysctl, "%d", &disabled);
        std::fclose(sysctl);
    }
    if (disabled != 0) {
        FSYS_SKIP("kernel.io_uring_disabled is not 0 on this machine");
    }
    REQUIRE(in_child(30, [] {
                REQUIRE(deny_syscall(SYS_io_uring_setup, EPERM) == 0);
                expect_reason(FSYS_REASON_SECCOMP, EPERM, "seccomp");
                if (REGRESS_TSAN == 0) {
                    expect_works();
                }
            }) == 0);
}

TEST_CASE("setup: a filter on io_uring_enter alone is found out at open") {
    const Watchdog watchdog(60);
    if (kernel_io_uring_errno() != 0) {
        FSYS_SKIP("no io_uring: " + std::string(std::strerror(kernel_io_uring_errno())));
    }
    REQUIRE(in_child(30, [] {
                REQUIRE(deny_syscall(SYS_io_uring_enter, ENOSYS) == 0);
                expect_reason(FSYS_REASON_ENOSYS, ENOSYS, "io_uring_enter");
            }) == 0);
}

TEST_CASE("setup: the sysctl is named") {
    const Watchdog watchdog(60);
    const char *path = "/proc/sys/kernel/io_uring_disabled";
    const int fd = ::open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        FSYS_SKIP(std::string("cannot set kernel.io_uring_disabled: ") + std::strerror(errno));
    }
    ::close(fd);
    // Other programs of this machine, other tests among them, would lose their rings meanwhile.
    if (std::getenv("FSYS_TEST_SYSCTL") == nullptr) {
        FSYS_SKIP("would disable io_uring on the whole machine; FSYS_TEST_SYSCTL=1 allows it");
    }
    const auto set = [path](char value) {
        const int out = ::open(path, O_WRONLY | O_CLOEXEC);
        const bool ok = ::write(out, &value, 1) == 1;
        ::close(out);
        return ok;
    };
    REQUIRE(set('2'));
    const int code = in_child(30, [] { expect_reason(FSYS_REASON_SYSCTL, EPERM, "sysctl"); });
    REQUIRE(set('0'));
    REQUIRE(code == 0);
}

TEST_CASE("setup: no descriptor is named, and is not remembered") {
    const Watchdog watchdog(60);
    if (kernel_io_uring_errno() != 0) {
        FSYS_SKIP("no io_uring: " + std::string(std::strerror(kernel_io_uring_errno())));
    }
    REQUIRE(in_child(30, [] {
                rlimit before{};
                ::getrlimit(RLIMIT_NOFILE, &before);
                const int next = ::dup(0);
                ::close(next);
                const rlimit none{static_cast<rlim_t>(next), before.rlim_max};
                ::unsetenv("FSYS_BACKEND");
                ::setrlimit(RLIMIT_NOFILE, &none);
                fsys_options options = default_options(FSYS_BACKEND_DEFAULT);
                fsys *handle = nullptr;
                const int code = fsys_open(&options, &handle);
                char text[256] = "";
                fsys_options named = default_options(FSYS_BACKEND_IO_URING);
                named.error_text = text;
                named.error_text_size = sizeof text;
                fsys *other = nullptr;
                const int refused = fsys_open(&named, &other);
                ::setrlimit(RLIMIT_NOFILE, &before);
                REQUIRE(code == 0);
                REQUIRE(info_of(handle).backend == FSYS_BACKEND_THREADS);
                REQUIRE(info_of(handle).backend_reason == FSYS_REASON_FD_LIMIT);
                REQUIRE(info_of(handle).backend_errno == EMFILE);
                REQUIRE(refused == FSYS_E_URING_SETUP);
                REQUIRE_THAT(std::string(text),
                             Catch::Matchers::ContainsSubstring("RLIMIT_NOFILE"));
                REQUIRE(fsys_close(handle) == 0);
                Handle again(FSYS_BACKEND_IO_URING);  // the condition has passed
                REQUIRE(again.close() == 0);
            }) == 0);
}

TEST_CASE("setup: RLIMIT_MEMLOCK of 0 is no obstacle, or is named") {
    const Watchdog watchdog(60);
    if (kernel_io_uring_errno() != 0) {
        FSYS_SKIP("no io_uring: " + std::string(std::strerror(kernel_io_uring_errno())));
    }
    REQUIRE(in_child(30, [] {
                ::unsetenv("FSYS_BACKEND");
                const rlimit none{0, 0};
                ::setrlimit(RLIMIT_MEMLOCK, &none);
                Handle handle(default_options(FSYS_BACKEND_DEFAULT));
                const fsys_handle_info info = info_of(handle);
                // Since 5.12 rings do not count; before, the reason must be this limit.
                REQUIRE((info.backend_reason == FSYS_REASON_NONE ||
                         info.backend_reason == FSYS_REASON_MEMLOCK));
                // The arena does count: then it is ordinary memory.
                void *memory = nullptr;
                REQUIRE(fsys_buffer_alloc(handle, 1 << 20, &memory) == 0);
                std::memset(memory, 1, 1 << 20);
                REQUIRE(fsys_buffer_free(handle, memory) == 0);
                REQUIRE(handle.close() == 0);
                if (REGRESS_TSAN == 0) {
                    expect_works();
                }
            }) == 0);
}

TEST_CASE("setup: FSYS_BACKEND overrides the default only") {
    const Watchdog watchdog(60);
    REQUIRE(in_child(30, [] {
                ::setenv("FSYS_BACKEND", "threads", 1);
                {
                    Handle handle(default_options(FSYS_BACKEND_DEFAULT));
                    REQUIRE(info_of(handle).backend == FSYS_BACKEND_THREADS);
                    REQUIRE(info_of(handle).backend_reason == FSYS_REASON_ASKED);
                }
                for (const std::uint32_t backend : backends()) {
                    Handle handle(backend);  // checks that it is the one
                    REQUIRE(handle.close() == 0);
                }
                ::setenv("FSYS_BACKEND", "io_uring", 1);
                fsys_options options = default_options(FSYS_BACKEND_DEFAULT);
                fsys *handle = nullptr;
                const int code = fsys_open(&options, &handle);
                if (kernel_io_uring_errno() == 0) {
                    REQUIRE(code == 0);
                    REQUIRE(info_of(handle).backend == FSYS_BACKEND_IO_URING);
                    REQUIRE(fsys_close(handle) == 0);
                } else {
                    REQUIRE(code == FSYS_E_URING_SETUP);
                }
                ::setenv("FSYS_BACKEND", "nonsense", 1);
                Handle ignored(default_options(FSYS_BACKEND_DEFAULT));
                REQUIRE(ignored.close() == 0);
            }) == 0);
}
