// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// RLIMIT_FSIZE: the part that fits is written and told, the rest is EFBIG; the arguments were at
// fault, so nothing is poisoned.

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "filesystems/support.hpp"

using namespace filesystems;

namespace {

// The limit, and no signal for exceeding it: the plain calls raise SIGXFSZ, io_uring does not.
class SizeLimit {
public:
    explicit SizeLimit(rlim_t bytes) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        rlimit now = before_;
        now.rlim_cur = bytes;
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &now) == 0);
        handler_ = ::signal(SIGXFSZ, SIG_IGN);
    }
    ~SizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        ::signal(SIGXFSZ, handler_);
    }

private:
    rlimit before_{};
    void (*handler_)(int) = nullptr;
};

}  // namespace

TEST_CASE("size limit: EFBIG, with the bytes that fitted", "[size-limit]") {
    for (const std::uint32_t backend : backends()) {
        INFO("backend " << backend);
        const std::string path = "size-limit.dat";
        Engine engine(backend);
        fsys_file *file = engine.file(path);
        const auto bytes = block(8192, 3);
        {
            const SizeLimit limit(10000);
            CHECK(fsys_write(file, bytes.data(), 8192, 0, FSYS_DURABLE) == 8192);
            const fsys_result result = engine.submit_write(file, bytes, 8192, FSYS_DURABLE);
            CHECK(result.result == -EFBIG);
            CHECK(result.bytes_done == 10000 - 8192);
            CHECK(result.step == FSYS_STEP_TRANSFER);
            CHECK(fsys_write(file, bytes.data(), 8192, 16384, 0) == -EFBIG);
            CHECK(fsys_sync(file, 0) == 0);
        }
        CHECK(std::filesystem::file_size(path) == 10000);
        CHECK(read_back(file, 8192, 0) == bytes);
        // Not poisoned: without the limit it goes on.
        CHECK(fsys_write(file, bytes.data(), 8192, 8192, FSYS_DURABLE) == 8192);
        CHECK(read_back(file, 8192, 8192) == bytes);
        CHECK(fsys_file_close(file) == 0);
        ::unlink(path.c_str());
    }
}
