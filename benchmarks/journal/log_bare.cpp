// SPDX-License-Identifier: Apache-2.0 OR MIT
// The bare system calls: what a log costs that has no code. Any thread writes; positions are handed
// out by one atomic counter.
#include "files.hpp"
#include "logs.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <atomic>

namespace bench {

namespace {

class BareLog final : public Log {
public:
    explicit BareLog(const LogPlan &plan)
        : place_(plan.directory, "bare"),
          path_(place_.path() + "/log"),
          file_(path_, O_RDWR | O_CREAT) {
        const Pages zeros(1U << 20);
        for (std::uint64_t at = 0; at < room; at += 1U << 20) {
            if (pwrite(file_.get(), zeros.at(0), 1U << 20, static_cast<off_t>(at)) < 0)
                fail_with_errno("write", path_);
        }
        if (fsync(file_.get()) != 0)
            fail_with_errno("fsync", path_);
    }

    void commit(const char *, std::size_t length) override {
        thread_local const Pages block(std::size_t{1} << 18);
        write(block.at(0), (length + 4095) / 4096 * 4096);
        if (fdatasync(file_.get()) != 0)
            fail_with_errno("fdatasync", path_);
    }

    void append(const char *data, std::size_t length) override { write(data, length); }

private:
    static constexpr std::uint64_t room = 64U << 20;

    void write(const char *data, std::size_t length) {
        std::uint64_t at = next_.fetch_add(length, std::memory_order_relaxed) % room;
        if (at + length > room)
            at = 0;
        if (pwrite(file_.get(), data, length, static_cast<off_t>(at)) !=
            static_cast<ssize_t>(length))
            fail_with_errno("write", path_);
    }

    Place place_;
    std::string path_;
    Descriptor file_;
    std::atomic<std::uint64_t> next_{0};
};

}  // namespace

std::unique_ptr<Log> make_bare_log(const LogPlan &plan) { return std::make_unique<BareLog>(plan); }

}  // namespace bench
