// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A1: the result of pushing to a full submission queue was ignored; the op was registered, never
// sent, and its caller waited for ever. Here far more ops arrive at once than the queue takes per
// turn: a real ring whose SQ is smaller, and a queue that takes very few.
#include "regress/fakes.hpp"

using namespace regress;

TEST_CASE("A1: more ops at once than the ring has entries") {
    const Watchdog watchdog(60);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    fsys_options options = default_options(backend);
    options.max_ops = 4096;
    Handle handle(options);
    const Scratch scratch;
    fsys_file *file = open_file(handle, scratch.make("data", 1 << 16, 3));
    constexpr unsigned kOps = 4096;
    std::vector<fsys_request> batch;
    std::vector<unsigned char> bytes(kOps * 16);
    for (unsigned i = 0; i < kOps; ++i) {
        batch.push_back(i % 4 == 0 ? request(FSYS_OP_NOP, nullptr, nullptr, 0, 0, 0, i)
                                   : request(FSYS_OP_READ, file, &bytes[i * 16], 16, i * 16, 0, i));
    }
    std::vector<fsys_op> ops(kOps);
    std::vector<fsys_result> results(kOps);
    REQUIRE(fsys_submit(handle, batch.data(), kOps, ops.data()) == kOps);
    REQUIRE(fsys_wait_all(handle, ops.data(), kOps, 30 * kSecond, results.data()) == 0);
    for (unsigned i = 0; i < kOps; ++i) {
        CAPTURE(i);
        REQUIRE(results[i].user_data == i);
        REQUIRE(results[i].result == (i % 4 == 0 ? 0 : 16));
        REQUIRE((i % 4 == 0 || is_bytes_of(&bytes[i * 16], 3, i * 16, 16)));
    }
    if (backend == FSYS_BACKEND_IO_URING) {
        REQUIRE(info_of(handle).sq_entries < kOps);  // or the test has shown nothing
    }
    REQUIRE(handle.close() == 0);
}

TEST_CASE("A1: a queue that refuses most of the time loses nothing and keeps the order") {
    const Watchdog watchdog(60);
    const std::uint32_t capacity = GENERATE(1u, 3u);
    const std::uint32_t in_flight = GENERATE(1u, 2u, 1024u);
    CAPTURE(capacity, in_flight);
    const auto script = std::make_shared<Script>();
    script->capacity = capacity;
    script->in_flight = in_flight;
    std::vector<std::uint64_t> order;
    script->answer = [&order](const libfsys::AsyncRequest &r) -> std::optional<std::int32_t> {
        order.push_back(r.offset);  // by the driver thread; read after all have completed
        return 1;
    };
    const Scratch scratch;
    Handle handle(Handle::Adopt{open_scripted(scripted(script))});
    fsys_file *file = open_file(handle, scratch / "data", kReadWriteCreate | FSYS_FILE_DIRECT);
    Pages pages(4096);
    constexpr unsigned kOps = 500;
    std::vector<fsys_request> batch;
    for (unsigned i = 0; i < kOps; ++i) {
        batch.push_back(request(FSYS_OP_WRITE, file, pages.data(), 4096, i * 4096, FSYS_PARTIAL, i));
    }
    std::vector<fsys_op> ops(kOps);
    REQUIRE(fsys_submit(handle, batch.data(), kOps, ops.data()) == kOps);
    REQUIRE(fsys_wait_all(handle, ops.data(), kOps, 30 * kSecond, nullptr) == 0);
    REQUIRE(order.size() == kOps);
    REQUIRE(std::is_sorted(order.begin(), order.end()));
    if (in_flight > capacity) {
        REQUIRE(script->refused > 0);
    }
    REQUIRE(handle.close() == 0);
}
