/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A program compiled against version 1 of the ABI meets today's library: it includes none of
 * today's headers and finds the functions with dlopen. usage: frozen_v1 LIBRARY
 */
#include "frozen_v1.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "check.h"

static v1_api api;

/* A copy of `length` bytes that ends at an inaccessible page: a library that reads or writes beyond
 * what struct_size says dies here. Never freed; the program is short. */
static void *at_page_end(const void *bytes, size_t length) {
    const size_t page = 4096;
    const size_t room = (length + page - 1) / page * page;
    unsigned char *map =
        mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED);
    CHECK(mprotect(map + room, page, PROT_NONE) == 0);
    return memcpy(map + room - length, bytes, length);
}

/* The first `known` bytes, then `tail` bytes of which the last is `last`; struct_size covers all.
 */
static void *longer(const void *bytes, size_t known, size_t tail, unsigned char last) {
    unsigned char *copy = calloc(1, known + tail);
    CHECK(copy != NULL);
    memcpy(copy, bytes, known);
    const uint32_t size = (uint32_t)(known + tail);
    memcpy(copy, &size, sizeof size);
    copy[known + tail - 1] = last;
    void *placed = at_page_end(copy, known + tail);
    free(copy);
    return placed;
}

static void *with_size(const void *bytes, size_t length, uint32_t struct_size) {
    unsigned char *placed = at_page_end(bytes, length);
    memcpy(placed, &struct_size, sizeof struct_size);
    return placed;
}

static void open_options(void) {
    v1_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.max_ops = 64;
    options.max_files = 16;
    v1_handle *handle = NULL;

    EXPECT(api.open(at_page_end(&options, sizeof options), &handle), 0);
    EXPECT(api.close(handle), 0);

    /* Newer callers: 1, 8 and 200 bytes that this library does not know. */
    static const size_t tails[] = {4, 8, 200};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        /* Beyond today's struct, which may have grown since v1, when the tail is long enough. */
        EXPECT(api.open(longer(&options, sizeof options, tails[i], 0), &handle), 0);
        EXPECT(api.close(handle), 0);
    }
    handle = (v1_handle *)(uintptr_t)0x5a5a;
    EXPECT(api.open(longer(&options, sizeof options, 2000, 1), &handle), V1_E_BAD_STRUCT);
    CHECK(handle == (v1_handle *)(uintptr_t)0x5a5a); /* outputs stay untouched on failure */

    /* No size, and sizes smaller than version 1 had. */
    static const uint32_t short_sizes[] = {0, 1, 4, 8, sizeof(v1_options) - 1};
    for (size_t i = 0; i < sizeof short_sizes / sizeof short_sizes[0]; i++) {
        EXPECT(api.open(with_size(&options, sizeof options, short_sizes[i]), &handle),
               V1_E_BAD_STRUCT);
    }
    /* A size that can only be garbage must not be walked to its end. */
    EXPECT(api.open(with_size(&options, sizeof options, UINT32_MAX), &handle), V1_E_BAD_STRUCT);
}

static void file_structs(v1_handle *handle, const char *path) {
    v1_file_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.flags = V1_FILE_READ | V1_FILE_WRITE | V1_FILE_CREATE;
    options.mode = 0600;
    v1_file *file = NULL;

    EXPECT(api.file_open(handle, path, at_page_end(&options, sizeof options), &file), 0);
    EXPECT(api.file_close(file), 0);
    EXPECT(api.file_open(handle, path, longer(&options, sizeof options, 64, 0), &file), 0);
    EXPECT(api.file_open(handle, path, longer(&options, sizeof options, 2000, 7), &file),
           V1_E_BAD_STRUCT);
    EXPECT(api.file_open(handle, path, with_size(&options, sizeof options, 8), &file),
           V1_E_BAD_STRUCT);
    EXPECT(api.file_open(handle, path, with_size(&options, sizeof options, UINT32_MAX), &file),
           V1_E_BAD_STRUCT);

    v1_file_details details;
    memset(&details, 0, sizeof details);
    details.struct_size = sizeof details;
    v1_file_details *placed = at_page_end(&details, sizeof details);
    EXPECT(api.file_info(file, placed), 0);
    EXPECT(placed->size, 0);
    CHECK(memchr(placed->file_system, 0, sizeof placed->file_system) != NULL);
    EXPECT(placed->flags & (V1_FILE_READ | V1_FILE_WRITE), V1_FILE_READ | V1_FILE_WRITE);
    EXPECT(api.file_info(file, longer(&details, sizeof details, 64, 0)), 0);
    EXPECT(api.file_info(file, with_size(&details, sizeof details, 4)), V1_E_BAD_STRUCT);
    EXPECT(api.file_close(file), 0);
}

static void observing(v1_handle *handle) {
    v1_handle_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    v1_handle_info *placed_info = at_page_end(&info, sizeof info);
    EXPECT(api.info(handle, placed_info), 0);
    EXPECT(placed_info->struct_size, sizeof info);
    EXPECT(placed_info->max_ops, 64);
    CHECK(placed_info->backend == V1_BACKEND_IO_URING ||
          placed_info->backend == V1_BACKEND_THREADS);
    EXPECT(api.info(handle, longer(&info, sizeof info, 64, 0)), 0);
    EXPECT(api.info(handle, with_size(&info, sizeof info, sizeof info - 8)), V1_E_BAD_STRUCT);

    static v1_counters counters;
    counters.struct_size = sizeof counters;
    v1_counters *placed = at_page_end(&counters, sizeof counters);
    EXPECT(api.stats(handle, placed), 0);
    EXPECT(placed->in_flight, 0);
    EXPECT(api.stats(handle, longer(&counters, sizeof counters, 64, 0)), 0);
    EXPECT(api.stats(handle, with_size(&counters, sizeof counters, 16)), V1_E_BAD_STRUCT);
}

/* The v1 numbers still mean what they meant: bytes go out, are durable, come back. */
static void round_trip(v1_handle *handle, const char *path) {
    v1_file_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.flags = V1_FILE_READ | V1_FILE_WRITE | V1_FILE_CREATE | V1_FILE_TRUNCATE;
    options.mode = 0600;
    v1_file *file = NULL;
    EXPECT(api.file_open(handle, path, &options, &file), 0);

    static const char text[] = "written by a version 1 program";
    char back[sizeof text] = {0};
    v1_op op = 0;
    v1_result result;
    EXPECT(api.submit_write(file, text, sizeof text, 4096, V1_DURABLE, 77, &op), 0);
    CHECK(op != 0);
    EXPECT(api.wait(handle, op, V1_FOREVER, &result), 0);
    EXPECT(result.result, sizeof text);
    EXPECT(result.bytes_done, sizeof text);
    EXPECT(result.user_data, 77);
    CHECK(result.op == op);
    EXPECT(result.step, 0);
    EXPECT(api.wait(handle, op, 0, &result), V1_E_STALE);

    v1_request requests[2];
    memset(requests, 0, sizeof requests);
    requests[0].opcode = V1_OP_READ;
    requests[0].file = file;
    requests[0].buffer = back;
    requests[0].length = sizeof back;
    requests[0].offset = 4096;
    requests[0].user_data = 1;
    requests[1].opcode = V1_OP_SYNC;
    requests[1].file = file;
    requests[1].user_data = 2;
    EXPECT(api.submit(handle, requests, 2, NULL), 2);
    uint64_t seen = 0;
    for (int taken = 0; taken < 2;) {
        v1_result results[2];
        const int n = api.reap(handle, results, 2, INT64_C(10000000000));
        CHECK(n > 0);
        for (int i = 0; i < n; i++) {
            EXPECT(results[i].op, 0);
            EXPECT(results[i].result, results[i].user_data == 1 ? (long long)sizeof back : 0);
            seen |= results[i].user_data;
        }
        taken += n;
    }
    EXPECT(seen, 3);
    EXPECT(memcmp(text, back, sizeof text), 0);
    EXPECT(api.reap(handle, &result, 1, V1_FOREVER), V1_E_NOTHING);

    memset(back, 0, sizeof back);
    EXPECT(api.read(file, back, sizeof back, 4096, 0), sizeof back);
    EXPECT(memcmp(text, back, sizeof text), 0);
    EXPECT(api.read(file, back, sizeof back, 4096, 0x80000000u), V1_E_BAD_FLAG);
    EXPECT(api.file_close(file), 0);
    EXPECT(api.file_close(file), V1_E_CLOSED);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        FAIL("usage: frozen_v1 LIBRARY");
    }
    alarm(60);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        FAIL("%s", dlerror());
    }
    CHECK(v1_load(library, &api) == 0);
    CHECK(api.version() >= 0x000100);
    EXPECT(strcmp(api.error_name(V1_E_STALE), "FSYS_E_STALE"), 0);
    CHECK(strlen(api.strerror(V1_E_STALE)) > 0);
    CHECK(api.bucket_bound_ns(1) < api.bucket_bound_ns(159));
    CHECK(api.bucket_bound_ns(160) == UINT64_MAX);

    char path[] = "fsys-frozen-v1.XXXXXX";
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);

    open_options();
    static const uint32_t backends[] = {V1_BACKEND_DEFAULT, V1_BACKEND_THREADS};
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        v1_options options;
        memset(&options, 0, sizeof options);
        options.struct_size = sizeof options;
        options.backend = backends[i];
        options.max_ops = 64;
        v1_handle *handle = NULL;
        EXPECT(api.open(&options, &handle), 0);
        file_structs(handle, path);
        observing(handle);
        round_trip(handle, path);
        EXPECT(api.close(handle), 0);
        EXPECT(api.close(handle), V1_E_CLOSED);
        CHECK(truncate(path, 0) == 0);
    }
    unlink(path);
    EXPECT(dlclose(library), 0);
    printf("the version 1 program works with this library\n");
    return 0;
}
