// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Failures that stick: of a file after a lost sync, of a handle whose driver has died.

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "contract/harness.hpp"

using namespace libfsys::test;

namespace {

constexpr std::uint32_t kNew = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE;

std::string cause(const void *object) {
    char text[300] = "";
    const int length = fsys_cause(object, text, sizeof text);
    REQUIRE(length == static_cast<int>(std::strlen(text)));
    return text;
}

// The system calls that fail belong to the pool and the inline lane; a ring executes its own.
bool can_fail_calls() { return !(variant().ring() && variant().caller()); }

}  // namespace

TEST_CASE("poison: a failed sync sticks to the file, reads go on") {
    if (!can_fail_calls()) {
        FSYS_SKIP("the ring executes syncs of a caller-driven handle; the fake variants cover it");
    }
    TempDir dir;
    FakeSyscalls sys;
    Setup setup;
    setup.syscalls = &sys;
    setup.queue = quiet();
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", kNew);
    fsys_file *other = rig.file(dir / "g", kNew);
    CHECK(fsys_write(file, "abc", 3, 0, 0) == 3);
    CHECK(cause(file).empty());
    const int how = GENERATE(0, 1, 2, 3);
    const int error = GENERATE(EIO, ENOSPC);
    fsys_op op = 0;
    if (how == 0) {
        sys.fail(SysCall::kFsync, error);
        CHECK(fsys_sync(file, 0) == -error);
    } else if (how == 1) {
        sys.fail(SysCall::kFdatasync, error);
        REQUIRE(fsys_submit_sync(file, 0, 0, FSYS_SYNC_DATA, 0, &op) == 0);
        const fsys_result result = rig.wait(op);
        CHECK(result.result == -error);
        CHECK(result.step == FSYS_STEP_SYNC);
    } else if (how == 2) {
        sys.fail(SysCall::kFsync, error);
        REQUIRE(fsys_submit_sync(file, 0, 0, FSYS_WAIT_SOON, 0, &op) == 0);
        CHECK(rig.wait(op, FSYS_FOREVER).result == -error);
    } else {
        sys.fail(SysCall::kPwrite, error);
        CHECK(fsys_write(file, "abc", 3, 0, FSYS_DURABLE) == -error);
    }
    // No later sync of this file is believed.
    CHECK(fsys_sync(file, 0) == FSYS_E_POISONED);
    CHECK(fsys_sync(file, FSYS_SYNC_DATA) == FSYS_E_POISONED);
    CHECK(fsys_submit_sync(file, 0, 0, 0, 0, &op) == FSYS_E_POISONED);
    CHECK(fsys_write(file, "abc", 3, 0, FSYS_DURABLE) == FSYS_E_POISONED);
    CHECK(fsys_submit_write(file, "abc", 3, 0, FSYS_DURABLE, 0, &op) == FSYS_E_POISONED);
    INFO(cause(file));
    CHECK(cause(file).find(std::strerror(error)) != std::string::npos);
    CHECK(cause(file).find(how == 3 ? "durable write" : "sync") != std::string::npos);
    char small[10];
    CHECK(fsys_cause(file, small, sizeof small) == static_cast<int>(cause(file).size()));
    CHECK(std::strlen(small) == 9);
    // The bytes can still be read and plainly written; other files and the handle are well.
    char bytes[3];
    CHECK(fsys_read(file, bytes, 3, 0, 0) == 3);
    CHECK(fsys_write(file, "abc", 3, 0, 0) == 3);
    REQUIRE(fsys_submit_read(file, bytes, 3, 0, 0, 0, &op) == 0);
    CHECK(rig.wait(op).result == 3);
    CHECK(fsys_sync(other, 0) == 0);
    CHECK(cause(other).empty());
    CHECK(cause(rig.handle()).empty());
    CHECK(rig.info().poisoned == 0);
    // A new opening starts afresh, also in the same place.
    CHECK(fsys_file_close(file) == 0);
    file = rig.file(dir / "f", kNew);
    CHECK(fsys_sync(file, 0) == 0);
    CHECK(cause(file).empty());
}

TEST_CASE("poison: a refusal is no lost page") {
    if (!can_fail_calls()) {
        FSYS_SKIP("the ring executes syncs of a caller-driven handle; the fake variants cover it");
    }
    TempDir dir;
    FakeSyscalls sys;
    Setup setup;
    setup.syscalls = &sys;
    setup.queue = quiet();
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", kNew);
    for (const int error : {EINVAL, EOPNOTSUPP}) {
        sys.fail(SysCall::kFsync, error);
        CHECK(fsys_sync(file, 0) == -error);
        CHECK(fsys_sync(file, 0) == 0);
    }
    // A plain write that fails promised nothing.
    sys.fail(SysCall::kPwrite, EIO);
    CHECK(fsys_write(file, "x", 1, 0, 0) == -EIO);
    CHECK(fsys_sync(file, 0) == 0);
    // Interrupted is tried again, not failed.
    sys.fail(SysCall::kFsync, EINTR);
    CHECK(fsys_sync(file, 0) == 0);
    CHECK(cause(file).empty());
}

TEST_CASE("errors of single calls reach exactly their op") {
    if (!can_fail_calls()) {
        FSYS_SKIP("the ring executes the ops of a caller-driven handle");
    }
    TempDir dir;
    write_whole(dir / "f", pattern(10'000));
    FakeSyscalls sys;
    Setup setup;
    setup.syscalls = &sys;
    setup.queue = quiet();
    Rig rig(setup);
    fsys_file *file = rig.file(dir / "f", FSYS_FILE_READ | FSYS_FILE_WRITE);
    char bytes[10'000];
    fsys_op op = 0;
    for (const int error : {EIO, ENOSPC, EDQUOT, EROFS}) {
        CAPTURE(error);
        sys.fail(SysCall::kPwrite, error);
        REQUIRE(fsys_submit_write(file, bytes, 100, 0, FSYS_WAIT_SOON, 4, &op) == 0);
        const fsys_result result = rig.wait(op, FSYS_FOREVER);
        CHECK(result.result == -error);
        CHECK(result.step == FSYS_STEP_TRANSFER);
        CHECK(result.bytes_done == 0);
        CHECK(result.user_data == 4);
        REQUIRE(fsys_submit_write(file, bytes, 100, 0, 0, 5, &op) == 0);
        CHECK(rig.wait(op).result == 100);
    }
    CHECK(rig.stats().failed == 4);
    // close(2) reports late; the file is gone all the same.
    sys.fail(SysCall::kClose, EIO);
    CHECK(fsys_file_close(file) == -EIO);
    CHECK(fsys_file_close(file) == FSYS_E_CLOSED);
}

TEST_CASE("poison: a broken driver is told to everybody", "[fake]") {
    if (!variant().fake) {
        FSYS_SKIP("needs a queue that breaks");
    }
    // The driver thread of a broken handle may be leaked with what it holds: so is the rig.
    const bool throws = GENERATE(false, true);
    const bool caller = variant().caller();
    if (throws && caller) {
        // The caller's own call meets the exception, and tells; nothing has died.
        Setup quiet_setup;
        quiet_setup.queue = quiet();
        Rig alive(quiet_setup);
        CHECK(fsys_poll(alive, 0) == 0);
        fsys_request r{};
        fsys_op op = 0;
        REQUIRE(fsys_submit(alive, &r, 1, &op) == 1);
        alive.queue()->run_out_of_memory();
        CHECK(fsys_poll(alive, 0) == -ENOMEM);
        CHECK(alive.wait(op).result == 0);
        CHECK(alive.info().poisoned == 0);
        CHECK(alive.close() == 0);
        return;
    }
    Setup setup;
    setup.queue = quiet();
    setup.close_timeout_ns = 100 * kMs;
    setup.max_ops = 64;
    auto *rig = new Rig(setup);
    fsys *handle = *rig;
    FakeQueueControl &queue = *rig->queue();
    auto *pipe = new Pipe;
    // In reach of the leak checker, also after static destruction: this leak is meant.
    static auto &kept = *new std::vector<Pipe *>;
    kept.push_back(pipe);
    fsys_file *file = rig->from_fd(pipe->read_end);
    static char bytes[8];
    fsys_op ops[4];
    for (unsigned i = 0; i < 4; ++i) {
        REQUIRE(fsys_submit_read(file, &bytes[i], 1, 0, 0, i, &ops[i]) == 0);
    }
    REQUIRE(fsys_submit_read(file, &bytes[4], 1, 0, 0, 4, nullptr) == 0);
    CHECK(fsys_wait(handle, ops[0], 20 * kMs, nullptr) == -ETIMEDOUT);
    Checks checks;
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
        const int code = fsys_wait(handle, ops[0], FSYS_FOREVER, nullptr);
        checks.expect(code == FSYS_E_DRIVER_DEAD, "wait " + std::to_string(code));
    });
    threads.emplace_back([&] {
        std::uint32_t index = 0;
        const int code = fsys_wait_any(handle, ops, 2, FSYS_FOREVER, &index, nullptr);
        checks.expect(code == FSYS_E_DRIVER_DEAD, "wait_any " + std::to_string(code));
    });
    threads.emplace_back([&] {
        const int code = fsys_wait_all(handle, ops + 2, 2, FSYS_FOREVER, nullptr);
        checks.expect(code == FSYS_E_DRIVER_DEAD, "wait_all " + std::to_string(code));
    });
    threads.emplace_back([&] {
        fsys_result results[4];
        const int code = fsys_reap(handle, results, 4, FSYS_FOREVER);
        checks.expect(code == FSYS_E_DRIVER_DEAD, "reap " + std::to_string(code));
    });
    threads.emplace_back([&] {
        for (unsigned i = 0; i < 100'000'000; ++i) {
            fsys_request r{};
            fsys_op op = 0;
            int code = fsys_submit(handle, &r, 1, &op);
            if (code == 1) {
                code = fsys_wait(handle, op, 20 * kSecond, nullptr);
                checks.expect(code == 0 || code == FSYS_E_DRIVER_DEAD, "op " + std::to_string(code));
            } else {
                checks.expect(code == FSYS_E_DRIVER_DEAD || code == -EAGAIN,
                              "submit " + std::to_string(code));
            }
            if (code != 0) {
                break;
            }
        }
    });
    if (caller) {
        rig->until([] { return false; }, 20 * kMs);
    } else {
        sleep_ms(20);
    }
    throws ? queue.run_out_of_memory() : queue.break_down();
    if (caller) {
        CHECK(fsys_poll(handle, kSecond) == FSYS_E_DRIVER_DEAD);
        CHECK(fsys_poll(handle, 0) == FSYS_E_DRIVER_DEAD);
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    checks.require();
    CHECK(rig->info().poisoned == 1);
    CHECK(cause(handle).size() > 10);
    fsys_request r{};
    fsys_op op = 0;
    CHECK(fsys_submit(handle, &r, 1, &op) == FSYS_E_DRIVER_DEAD);
    CHECK(fsys_read(file, bytes, 1, 0, 0) == FSYS_E_DRIVER_DEAD);
    CHECK(fsys_try(handle, ops[1], nullptr) == FSYS_E_DRIVER_DEAD);
    const std::int64_t started = now_ns();
    // The queue still has the reads: their memory may be written to.
    CHECK(rig->close() == -ETIMEDOUT);
    CHECK(now_ns() - started < 5 * kSecond);
    CHECK(fsys_close(handle) == FSYS_E_CLOSED);
}

TEST_CASE("poison: a broken driver with nothing in flight closes clean", "[fake]") {
    if (!variant().fake) {
        FSYS_SKIP("needs a queue that breaks");
    }
    Setup setup;
    setup.queue = quiet();
    Rig rig(setup);
    fsys_request r{};
    fsys_op op = 0;
    REQUIRE(fsys_submit(rig, &r, 1, &op) == 1);
    rig.wait(op);
    rig.queue()->break_down();
    REQUIRE(rig.until([&] { return rig.info().poisoned == 1; }));
    CHECK(fsys_submit(rig, &r, 1, &op) == FSYS_E_DRIVER_DEAD);
    CHECK(rig.close() == 0);
}

TEST_CASE("a queue that cannot be made is told", "[fake]") {
    if (!variant().fake) {
        FSYS_SKIP("needs a queue that does not open");
    }
    Setup setup;
    setup.queue = quiet();
    setup.queue.open_error = ENOMEM;
    Rig rig(setup);  // io_uring is insisted on
    fsys_request r{};
    fsys_op op = 0;
    CHECK(fsys_submit(rig, &r, 1, &op) == FSYS_E_URING_SETUP);
    TempDir dir;
    fsys_file *file = rig.file(dir / "f", kNew);
    CHECK(fsys_write(file, "abc", 3, 0, 0) == 3);  // blocking calls need no queue
    CHECK(rig.close() == 0);
}
