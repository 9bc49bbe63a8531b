// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// fsys_batch() promised to sync its new files all at once, and left every sync to the thread that
// waited for them: one after the other. And with the syncs on the pool, a batch that itself runs on
// the only thread of the pool must not wait for syncs that nobody is left to do.

#include <fsys/files.h>

#include "regress/fakes.hpp"
#include "regress/support.hpp"

using namespace regress;

namespace {

// Whether two syncs were ever inside at the same time; the first waits a while for a second.
class MeetingSyncs final : public libfsys::Syscalls {
public:
    explicit MeetingSyncs(int patience) : patience_(patience) {}
    int fsync(int) override {
        std::unique_lock lock(mutex_);
        met_ |= ++inside_ > 1;
        changed_.notify_all();
        changed_.wait_for(lock, std::chrono::seconds(patience_), [this] { return met_; });
        patience_ = 0;
        --inside_;
        return 0;
    }
    bool met() {
        const std::lock_guard lock(mutex_);
        return met_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int inside_ = 0;
    int patience_;  // seconds
    bool met_ = false;
};

}  // namespace

TEST_CASE("the syncs of a batch overlap, and end on a pool of one thread") {
    const Watchdog watchdog(120);
    const bool submitted = GENERATE(false, true);
    MeetingSyncs syscalls(submitted ? 0 : 20);
    libfsys::EngineConfig config;
    config.uring = false;
    config.pool_threads = submitted ? 1 : 4;
    config.syscalls = &syscalls;
    fsys *handle = nullptr;
    REQUIRE(libfsys::open_engine_for_test(config, &handle) == 0);
    char folder[] = "batch_syncs_XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    constexpr unsigned kCount = 8;
    std::string names[kCount];
    fsys_batch_item items[kCount]{};
    for (unsigned i = 0; i < kCount; ++i) {
        names[i] = std::string(folder) + "/" + std::to_string(i);
        items[i].path = names[i].c_str();
        items[i].data = "new";
        items[i].length = 3;
    }
    if (submitted) {
        fsys_op op = 0;
        fsys_result result{};
        REQUIRE(fsys_submit_batch(handle, items, kCount, nullptr, 0, &op) == 0);
        // A wait with a limit executes nothing itself: all of it is the pool's one thread's.
        REQUIRE(fsys_wait(handle, op, 100 * kSecond, &result) == 0);
        CHECK(result.result == 0);
    } else {
        REQUIRE(fsys_batch(handle, items, kCount, nullptr) == 0);
        CHECK(syscalls.met());
    }
    for (const fsys_batch_item &item : items) {
        CHECK(item.result == 0);
    }
    REQUIRE(fsys_close(handle) == 0);
    std::filesystem::remove_all(folder);
}
