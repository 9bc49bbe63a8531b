// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A9: "asynchronous" calls opened, wrote and synced on the calling thread. Here the file system
// stalls, and submitting returns all the same; only then does the request reach the file system's
// end of the line.
#include "regress/fuse.hpp"

using namespace regress;

TEST_CASE("A9: submit returns while the file system does not answer") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    const unsigned kind = GENERATE(0u, 1u, 2u);
    constexpr const char *names[] = {"read", "write", "fsync"};
    CAPTURE(backend_name(backend), names[kind]);
    StallingFile stalling;
    if (!stalling.missing().empty()) {
        FSYS_SKIP(stalling.missing());
    }
    Handle handle(backend);
    fsys_file *file = open_file(handle, stalling.path(), FSYS_FILE_READ | FSYS_FILE_WRITE);
    stalling.command(std::string("stall ") + names[kind]);
    unsigned char bytes[4096] = {};
    fsys_op ops[3];
    for (unsigned i = 0; i < 3; ++i) {  // one op each, one array, one with a hint
        const std::uint64_t at = i * 65536;
        fsys_request one[1] = {
            request(kind == 0   ? FSYS_OP_READ
                    : kind == 1 ? FSYS_OP_WRITE
                                : FSYS_OP_SYNC,
                    file, kind == 2 ? nullptr : bytes + i * 512, kind == 2 ? 0 : 512,
                    kind == 2 ? 0 : at, i == 2 ? FSYS_WAIT_SOON : 0u, i)};
        int code = 0;
        if (i == 1 || kind == 2) {
            code = fsys_submit(handle, one, 1, &ops[i]) - 1;
        } else if (kind == 0) {
            code = fsys_submit_read(file, bytes + i * 512, 512, at, one[0].flags, i, &ops[i]);
        } else {
            code = fsys_submit_write(file, bytes + i * 512, 512, at, one[0].flags, i, &ops[i]);
        }
        REQUIRE(code == 0);  // got here: nothing blocked (or the watchdog would bite)
    }
    stalling.wait_stalled();  // the op was started without anybody waiting for it
    REQUIRE(fsys_try(handle, ops[0], nullptr) == -EAGAIN);
    REQUIRE(fsys_wait(handle, ops[0], 10 * kMs, nullptr) == -ETIMEDOUT);
    stalling.command("go");
    fsys_result results[3];
    REQUIRE(fsys_wait_all(handle, ops, 3, 30 * kSecond, results) == 0);
    for (unsigned i = 0; i < 3; ++i) {
        REQUIRE(results[i].result == (kind == 2 ? 0 : 512));
        REQUIRE(results[i].user_data == i);
        if (kind == 0) {
            REQUIRE(is_bytes_of(bytes + i * 512, 5, i * 65536, 512));
        }
    }
    REQUIRE(handle.close() == 0);
}
