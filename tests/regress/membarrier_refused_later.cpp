// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A process that puts a seccomp filter on membarrier(2) after the library has registered for it:
// closing must still see every call that is inside, those of threads that count without a fence
// included.
#include <sys/syscall.h>

#include "regress/seccomp.hpp"
#include "regress/support.hpp"

using namespace regress;

TEST_CASE("closing waits for calls inside although membarrier is refused") {
    const Watchdog watchdog(60);
    for (const std::uint32_t backend : backends()) {
        INFO(backend_name(backend));
        REQUIRE(in_child(40, [backend] {
                    const Scratch scratch;
                    Handle first(default_options(backend));  // registers
                    REQUIRE(deny_syscall(SYS_membarrier, EPERM) == 0);
                    const std::string path = scratch.make("data", 4096, 1);
                    for (int round = 0; round < 5; ++round) {
                        Handle handle(default_options(backend));
                        fsys_file *file = open_file(handle, path, FSYS_FILE_READ);
                        Problems problems;
                        std::vector<std::thread> readers;
                        for (int i = 0; i < 3; ++i) {
                            readers.emplace_back([&] {
                                char back[4096];
                                std::int64_t n;
                                while ((n = fsys_read(file, back, sizeof back, 0, 0)) ==
                                       static_cast<std::int64_t>(sizeof back)) {
                                    problems.check(is_bytes_of(back, 1, 0, sizeof back), "bytes",
                                                   __FILE__, __LINE__);
                                }
                                problems.check(n == FSYS_E_CLOSED, "code", __FILE__, __LINE__, n);
                            });
                        }
                        std::this_thread::sleep_for(std::chrono::milliseconds(20));
                        REQUIRE((round % 2 == 0 ? fsys_file_close(file) : handle.close()) == 0);
                        for (std::thread &reader : readers) {
                            reader.join();
                        }
                        REQUIRE(problems.text().empty());
                        REQUIRE((round % 2 != 0 || handle.close() == 0));
                    }
                    REQUIRE(first.close() == 0);
                }) == 0);
    }
}
