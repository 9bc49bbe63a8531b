// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Closing while every other call runs, closing twice at once, closing with completions that nobody
// took, and what is left in the process afterwards.
#include "regress/support.hpp"

using namespace regress;

namespace {

bool is_end(std::int64_t code) { return code == FSYS_E_CLOSED; }

}  // namespace

TEST_CASE("close races with every call from many threads") {
    const Watchdog watchdog(240);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    const std::string path = scratch.make("data", 65536, 1);
    const unsigned descriptors = descriptor_count();
    std::thread([] {}).join();  // a sanitizer starts its own with the first
    const unsigned threads = thread_count();
    constexpr unsigned kRounds = kSanitized ? 15 : 60;
    for (unsigned round = 0; round < kRounds; ++round) {
        CAPTURE(round);
        Handle owner(backend);
        fsys *handle = owner.release();
        fsys_file *file = open_file(handle, path, kReadWriteCreate);
        Problems problems;
        std::atomic<unsigned> calls{0};
        // Buffers outlive the handle: close may drop completions that nobody takes.
        std::vector<std::vector<unsigned char>> buffers(8, std::vector<unsigned char>(4096));
        run_threads(9, [&](unsigned thread) {
            if (thread == 8) {
                while (calls < 50 + round * 20) {
                    std::this_thread::yield();
                }
                NOTE_EQUAL(problems, fsys_close(handle), 0);
                return;
            }
            unsigned char *bytes = buffers[thread].data();
            for (;;) {
                calls.fetch_add(1);
                std::int64_t code = 0;
                fsys_op op = 0;
                fsys_result result{};
                switch (thread) {
                case 0:
                    code = fsys_read(file, bytes, 64, 0, 0);
                    break;
                case 1:
                    code = fsys_submit_read(file, bytes, 64, 0, 0, 0, &op);
                    code = code == 0 ? fsys_wait(handle, op, FSYS_FOREVER, &result) : code;
                    break;
                case 2:
                    code = fsys_submit_write(file, bytes, 64, 0, FSYS_WAIT_SOON, 0, &op);
                    code = code == 0 ? fsys_wait(handle, op, kSecond, &result) : code;
                    break;
                case 3: {
                    fsys_request batch[4];
                    fsys_op ops[4];
                    for (unsigned i = 0; i < 4; ++i) {
                        batch[i] = request(FSYS_OP_READ, file, bytes + i * 64, 64, 0,
                                           i == 0 ? FSYS_LINK : 0u);
                    }
                    code = fsys_submit(handle, batch, 4, ops);
                    code = code > 0 ? fsys_wait_all(handle, ops, 4, FSYS_FOREVER, nullptr) : code;
                    break;
                }
                case 4:
                    code = fsys_submit_read(file, bytes, 64, 0, FSYS_NONBLOCK, 0, nullptr);
                    code = code == -EAGAIN ? 0 : code;
                    code = code == 0 ? fsys_reap(handle, &result, 1, kSecond) : code;
                    break;
                case 5: {
                    fsys_file *other = nullptr;
                    code = try_open(handle, path, FSYS_FILE_READ, &other);
                    code = code == 0 ? fsys_file_close(other) : code;
                    break;
                }
                case 6: {
                    fsys_handle_info info{};
                    info.struct_size = sizeof info;
                    fsys_counters counters{};
                    counters.struct_size = sizeof counters;
                    char text[64];
                    code = fsys_info(handle, &info);
                    code = code == 0 ? fsys_stats(handle, &counters) : code;
                    code = code == 0 ? fsys_cause(handle, text, sizeof text) : code;
                    code = code >= 0 ? fsys_event_fd(handle) : code;
                    break;
                }
                default: {
                    void *memory = nullptr;
                    code = fsys_submit_sync(file, 0, 0, FSYS_SYNC_DATA, 0, &op);
                    if (code == 0) {
                        fsys_cancel(handle, op);
                        std::uint32_t index = 0;
                        code = fsys_wait_any(handle, &op, 1, FSYS_FOREVER, &index, &result);
                    }
                    code = code == 0 ? fsys_buffer_alloc(handle, 4096, &memory) : code;
                    code = code == 0 ? fsys_buffer_free(handle, memory) : code;
                    break;
                }
                }
                if (code < 0) {
                    NOTE_CHECK(problems, is_end(code));
                    return;
                }
            }
        });
        REQUIRE(problems.text() == "");
    }
    REQUIRE(descriptor_count() == descriptors);
    REQUIRE(eventually([&] { return thread_count() == threads; }));
}

TEST_CASE("two threads close a handle: exactly one does it") {
    const Watchdog watchdog(120);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    for (unsigned round = 0; round < (kSanitized ? 50u : 300u); ++round) {
        Handle owner(backend);
        fsys *handle = owner.release();
        fsys_file *file = open_file(handle, "/dev/null", FSYS_FILE_WRITE);
        if (round % 2 == 0) {
            const fsys_request nop = request(FSYS_OP_NOP, nullptr);
            REQUIRE(fsys_submit(handle, &nop, 1, nullptr) == 1);
        }
        std::atomic<unsigned> closed{0};
        std::atomic<unsigned> refused{0};
        std::atomic<unsigned> files{0};
        run_threads(4, [&](unsigned thread) {
            if (thread < 2) {
                const int code = fsys_close(handle);
                closed += code == 0 ? 1 : 0;
                refused += code == FSYS_E_CLOSED ? 1 : 0;
            } else {
                files += fsys_file_close(file) == 0 ? 1 : 0;
            }
        });
        REQUIRE(closed == 1);
        REQUIRE(refused == 1);
        REQUIRE(files <= 1);
    }
}

TEST_CASE("completions that nobody took are dropped by close; nothing is left in the process") {
    const Watchdog watchdog(120);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    const Scratch scratch;
    const std::string path = scratch.make("data", 65536, 1);
    std::thread([] {}).join();  // a sanitizer starts its own with the first
    const unsigned threads = thread_count();
    const unsigned descriptors = descriptor_count();
    for (unsigned round = 0; round < 30; ++round) {
        Handle handle(backend);
        fsys_file *file = open_file(handle, path, kReadWriteCreate);
        std::vector<std::vector<unsigned char>> buffers(64, std::vector<unsigned char>(64));
        std::vector<fsys_iovec> many(40);  // more than a slot holds: allocated by the op
        unsigned char part[40];
        for (unsigned i = 0; i < 40; ++i) {
            many[i] = {&part[i], 1};
        }
        for (unsigned i = 0; i < 64; ++i) {
            fsys_op op = 0;
            const fsys_request r =
                i % 8 == 0 ? request(FSYS_OP_READV, file, many.data(), many.size())
                           : request(FSYS_OP_READ, file, buffers[i].data(), 64, 0,
                                     i % 3 == 0 ? FSYS_WAIT_SOON : 0u);
            REQUIRE(fsys_submit(handle, &r, 1, i % 2 == 0 ? &op : nullptr) == 1);
        }
        void *memory = nullptr;
        REQUIRE(fsys_buffer_alloc(handle, 4096, &memory) == 0);
        REQUIRE(fsys_event_fd(handle) >= 0);
        REQUIRE(handle.close() == 0);
    }
    REQUIRE(descriptor_count() == descriptors);
    REQUIRE(eventually([&] { return thread_count() == threads; }));
}
