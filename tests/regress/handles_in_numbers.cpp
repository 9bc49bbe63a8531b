// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Limits: 1023 handles, 10 000 open files on one handle.
#include "regress/support.hpp"

using namespace regress;

TEST_CASE("1023 handles can be open; the next is refused with a sentence; places come back") {
    const Watchdog watchdog(120);
    std::thread([] {}).join();  // with the first thread ThreadSanitizer starts one of its own
    const unsigned threads = thread_count();
    const unsigned descriptors = descriptor_count();
    for (int round = 0; round < 2; ++round) {
        std::vector<fsys *> handles(1023);
        fsys_options options = default_options(FSYS_BACKEND_DEFAULT);
        for (fsys *&handle : handles) {
            REQUIRE(fsys_open(&options, &handle) == 0);
        }
        char text[256] = "";
        options.error_text = text;
        options.error_text_size = sizeof text;
        fsys *extra = nullptr;
        REQUIRE(fsys_open(&options, &extra) == -EMFILE);
        REQUIRE(extra == nullptr);
        REQUIRE_THAT(std::string(text), Catch::Matchers::ContainsSubstring("1023"));
        REQUIRE(thread_count() == threads);
        REQUIRE(descriptor_count() == descriptors);
        // The last is as good as the first.
        for (fsys *handle : {handles.front(), handles.back()}) {
            const fsys_request nop = request(FSYS_OP_NOP, nullptr);
            fsys_op op = 0;
            REQUIRE(fsys_submit(handle, &nop, 1, &op) == 1);
            REQUIRE(fsys_wait(handle, op, 30 * kSecond, nullptr) == 0);
            REQUIRE(fsys_wait(handles[500], op, 0, nullptr) == FSYS_E_STALE);
        }
        REQUIRE(fsys_close(handles[7]) == 0);
        REQUIRE(fsys_open(&options, &extra) == 0);
        REQUIRE(fsys_close(handles[7]) == FSYS_E_CLOSED);  // the old id of a place that is taken again
        handles[7] = extra;
        for (fsys *handle : handles) {
            REQUIRE(fsys_close(handle) == 0);
        }
    }
}

TEST_CASE("10 000 files on one handle, each with its own bytes") {
    const Watchdog watchdog(300);
    const std::uint32_t backend = GENERATE(from_range(backends()));
    CAPTURE(backend_name(backend));
    constexpr unsigned kFiles = 10'000;
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < kFiles + 200) {
        FSYS_SKIP("RLIMIT_NOFILE is at most " + std::to_string(limit.rlim_max));
    }
    const rlimit raised{std::max<rlim_t>(limit.rlim_cur, kFiles + 200), limit.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &raised) == 0);
    const Scratch scratch;
    Handle handle(backend);
    std::vector<fsys_file *> files(kFiles);
    for (unsigned i = 0; i < kFiles; ++i) {
        files[i] = open_file(handle, scratch / std::to_string(i), kReadWriteCreate);
    }
    std::vector<std::uint64_t> values(kFiles);
    std::vector<std::uint64_t> back(kFiles);
    for (const std::uint32_t opcode : {FSYS_OP_WRITE, FSYS_OP_READ}) {
        for (unsigned at = 0; at < kFiles; at += 1000) {
            std::vector<fsys_request> batch;
            std::vector<fsys_op> ops(1000);
            std::vector<fsys_result> results(1000);
            for (unsigned i = at; i < at + 1000; ++i) {
                values[i] = i * 0x9e3779b97f4a7c15u;
                batch.push_back(request(opcode, files[i],
                                        opcode == FSYS_OP_WRITE ? &values[i] : &back[i], 8, 0, 0, i));
            }
            REQUIRE(fsys_submit(handle, batch.data(), 1000, ops.data()) == 1000);
            REQUIRE(fsys_wait_all(handle, ops.data(), 1000, 60 * kSecond, results.data()) == 0);
            for (unsigned i = 0; i < 1000; ++i) {
                REQUIRE(results[i].result == 8);
            }
        }
    }
    REQUIRE(values == back);
    for (unsigned i = 0; i < kFiles; i += 2) {
        REQUIRE(fsys_file_close(files[i]) == 0);
    }
    const unsigned open_now = descriptor_count();
    REQUIRE(handle.close() == 0);
    REQUIRE(descriptor_count() + kFiles / 2 <= open_now);  // the other half went with the handle
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

TEST_CASE("max_files is a limit, and places of closed files come back") {
    const Watchdog watchdog(60);
    fsys_options options = default_options(FSYS_BACKEND_DEFAULT);
    options.max_files = 3;
    Handle handle(options);
    for (int round = 0; round < 10; ++round) {
        fsys_file *files[3];
        for (fsys_file *&file : files) {
            file = open_file(handle, "/dev/null");
        }
        fsys_file *extra = nullptr;
        REQUIRE(try_open(handle, "/dev/null", FSYS_FILE_READ, &extra) == -EMFILE);
        for (fsys_file *file : files) {
            REQUIRE(fsys_file_close(file) == 0);
        }
        char byte = 0;
        REQUIRE(fsys_read(files[0], &byte, 1, 0, 0) == FSYS_E_CLOSED);
    }
    REQUIRE(handle.close() == 0);
}
