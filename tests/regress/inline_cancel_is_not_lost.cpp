// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A caller-driven handle without io_uring forgot a cancel when its request was behind more results
// than one turn takes (256): the request, on a stream, then never ended.
#include "regress/support.hpp"

using namespace regress;

TEST_CASE("a cancel survives a turn that does not reach its request") {
    const Watchdog watchdog(60);
    fsys_options options = default_options(FSYS_BACKEND_THREADS);
    options.driver = FSYS_DRIVER_CALLER;
    Handle handle(options);
    Pipe pipe;
    fsys_file *stream = adopt_fd(handle, pipe.read_end());
    const std::vector<fsys_request> nops(600, request(FSYS_OP_NOP, nullptr));
    REQUIRE(fsys_submit(handle, nops.data(), 600, nullptr) == 600);
    char byte = 0;
    fsys_op op = 0;
    REQUIRE(fsys_submit_read(stream, &byte, 1, 0, 0, 0, &op) == 0);
    // The first turn takes everything over and ends 256 of it; the second carries the cancel and
    // ends as many again, still not reaching the read.
    REQUIRE(fsys_poll(handle, 0) > 0);
    REQUIRE(fsys_cancel(handle, op) == 0);
    fsys_result result{};
    REQUIRE(fsys_wait(handle, op, 10 * kSecond, &result) == 0);
    CHECK(result.result == -ECANCELED);
    CHECK(handle.close() == 0);
}
