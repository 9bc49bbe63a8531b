/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Every exported function with handles that are none: NULL, garbage, closed, of the wrong kind.
 * Handles are looked up, so any 64-bit value must give FSYS_E_CLOSED and never a crash.
 */
#include <fsys/fsys.h>

#include <stdint.h>

#include "check.h"

static char memory[4096];

/* Every function that takes a handle or file, on `bad`, with arguments that would be right. */
static void all_calls(uintptr_t bad, int wanted) {
    fsys *handle = (fsys *)bad;
    fsys_file *file = (fsys_file *)bad;
    fsys_op op = 0;
    fsys_result result;
    uint32_t index = 0;
    void *buffer = NULL;
    fsys_file *opened = NULL;
    fsys_handle_info info = {.struct_size = sizeof info};
    static fsys_counters counters;
    counters.struct_size = sizeof counters;
    fsys_file_details details = {.struct_size = sizeof details};
    fsys_request request = {.opcode = FSYS_OP_NOP};
    const fsys_op token = UINT64_C(0x0000000100000001);
    char text[64];

    EXPECT(fsys_file_open(handle, "/dev/null", NULL, &opened), wanted);
    EXPECT(fsys_file_from_fd(handle, 0, NULL, &opened), wanted);
    EXPECT(fsys_submit(handle, &request, 1, &op), wanted);
    EXPECT(fsys_submit(handle, &request, 1, NULL), wanted);
    EXPECT(fsys_cancel(handle, token), wanted);
    EXPECT(fsys_cancel_queued(handle, 0), wanted);
    EXPECT(fsys_wait(handle, token, 0, &result), wanted);
    EXPECT(fsys_wait(handle, token, FSYS_FOREVER, &result), wanted);
    EXPECT(fsys_try(handle, token, &result), wanted);
    EXPECT(fsys_wait_any(handle, &token, 1, FSYS_FOREVER, &index, &result), wanted);
    EXPECT(fsys_wait_all(handle, &token, 1, FSYS_FOREVER, &result), wanted);
    EXPECT(fsys_reap(handle, &result, 1, FSYS_FOREVER), wanted);
    EXPECT(fsys_event_fd(handle), wanted);
    EXPECT(fsys_poll(handle, 0), wanted);
    EXPECT(fsys_buffer_alloc(handle, 4096, &buffer), wanted);
    EXPECT(fsys_buffer_free(handle, memory), wanted);
    EXPECT(fsys_info(handle, &info), wanted);
    EXPECT(fsys_stats(handle, &counters), wanted);
    EXPECT(fsys_cause(handle, text, sizeof text), wanted);

    EXPECT(fsys_file_info(file, &details), wanted);
    EXPECT(fsys_submit_read(file, memory, 1, 0, 0, 0, &op), wanted);
    EXPECT(fsys_submit_write(file, memory, 1, 0, 0, 0, &op), wanted);
    EXPECT(fsys_submit_sync(file, 0, 0, 0, 0, &op), wanted);
    EXPECT(fsys_read(file, memory, 1, 0, 0), wanted);
    EXPECT(fsys_write(file, memory, 1, 0, 0), wanted);
    EXPECT(fsys_sync(file, 0), wanted);
    request.opcode = FSYS_OP_READ;
    request.file = file;
    request.buffer = memory;
    request.length = 1;
    EXPECT(fsys_submit(handle, &request, 1, NULL), wanted);

    EXPECT(fsys_file_close(file), wanted);
    EXPECT(fsys_close(handle), wanted);
    CHECK(op == 0 && index == 0 && buffer == NULL && opened == NULL); /* outputs untouched */
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static fsys *open_handle(void) {
    fsys *handle = NULL;
    fsys_options options = {.struct_size = sizeof options, .max_ops = 16, .max_files = 16};
    EXPECT(fsys_open(&options, &handle), 0);
    CHECK(handle != NULL);
    return handle;
}

static fsys_file *open_file(fsys *handle) {
    fsys_file *file = NULL;
    fsys_file_options options = {.struct_size = sizeof options,
                                 .flags = FSYS_FILE_READ | FSYS_FILE_WRITE};
    EXPECT(fsys_file_open(handle, "/dev/null", &options, &file), 0);
    CHECK(file != NULL);
    return file;
}

/* A value one bit away from a live handle or file must not work as it. */
static void near_misses(void) {
    fsys *handle = open_handle();
    fsys_file *file = open_file(handle);
    for (int bit = 0; bit < 64; bit++) {
        const uintptr_t flip = (uintptr_t)1 << bit;
        if (((uintptr_t)handle ^ flip) != (uintptr_t)file) { /* else it is an open file: fine */
            all_calls((uintptr_t)handle ^ flip, FSYS_E_CLOSED);
            all_calls((uintptr_t)file ^ flip, FSYS_E_CLOSED);
        }
    }
    EXPECT(fsys_sync(file, 0) <= 0, 1);
    EXPECT(fsys_file_close(file), 0);
    EXPECT(fsys_close(handle), 0);
}

/* A handle where a file is wanted and the other way round. */
static void wrong_kind(void) {
    fsys *handle = open_handle();
    fsys_file *file = open_file(handle);
    fsys *file_as_handle = (fsys *)(void *)file;
    fsys_file *handle_as_file = (fsys_file *)(void *)handle;
    fsys_op op = 0;
    EXPECT(fsys_submit_read(handle_as_file, memory, 1, 0, 0, 0, &op), FSYS_E_CLOSED);
    EXPECT(fsys_write(handle_as_file, memory, 1, 0, 0), FSYS_E_CLOSED);
    EXPECT(fsys_file_close(handle_as_file), FSYS_E_CLOSED);
    EXPECT(fsys_event_fd(file_as_handle), FSYS_E_CLOSED);
    EXPECT(fsys_reap(file_as_handle, NULL, 0, 0), FSYS_E_CLOSED);
    EXPECT(fsys_close(file_as_handle), FSYS_E_CLOSED);
    EXPECT(fsys_cause(handle, NULL, 0) >= 0 || fsys_cause(handle, NULL, 0) == -EINVAL, 1);
    char text[8] = "x";
    EXPECT(fsys_cause(file, text, sizeof text), 0);
    EXPECT(text[0], 0);
    EXPECT(fsys_file_close(file), 0);
    EXPECT(fsys_close(handle), 0);
}

static void closed_stays_closed(void) {
    fsys *handle = open_handle();
    fsys_file *file = open_file(handle);
    EXPECT(fsys_file_close(file), 0);
    all_calls((uintptr_t)file, FSYS_E_CLOSED);
    fsys_file *later = open_file(handle);
    all_calls((uintptr_t)file, FSYS_E_CLOSED); /* also when its place is in use again */
    CHECK(later != file);
    EXPECT(fsys_close(handle), 0);
    all_calls((uintptr_t)handle, FSYS_E_CLOSED);
    all_calls((uintptr_t)later, FSYS_E_CLOSED); /* closed with its handle */
    /* Ten thousand handles later the first value is still not one. */
    for (int i = 0; i < 10000; i++) {
        fsys *other = open_handle();
        CHECK(other != handle);
        if (i % 1000 == 0) {
            all_calls((uintptr_t)handle, FSYS_E_CLOSED);
        }
        EXPECT(fsys_close(other), 0);
    }
}

/* A file and a token of one handle given to another. */
static void foreign(void) {
    fsys *one = open_handle();
    fsys *two = open_handle();
    fsys_file *file = open_file(one);
    fsys_op op = 0;
    fsys_result result;
    fsys_request request = {.opcode = FSYS_OP_WRITE, .file = file, .buffer = memory, .length = 1};
    const int refused = fsys_submit(two, &request, 1, &op);
    CHECK(refused == FSYS_E_CLOSED || refused == -EINVAL);
    EXPECT(op, 0);

    EXPECT(fsys_submit_write(file, memory, 1, 0, 0, 0, &op), 0);
    EXPECT(fsys_wait(two, op, 0, &result), FSYS_E_STALE);
    EXPECT(fsys_try(two, op, &result), FSYS_E_STALE);
    EXPECT(fsys_cancel(two, op), FSYS_E_STALE);
    uint32_t index = 99;
    EXPECT(fsys_wait_any(two, &op, 1, 0, &index, &result), FSYS_E_STALE);
    EXPECT(fsys_wait_all(two, &op, 1, 0, &result), FSYS_E_STALE);
    EXPECT(fsys_wait(one, op, FSYS_FOREVER, &result), 0);
    EXPECT(result.result, 1);
    EXPECT(fsys_wait(one, op, 0, &result), FSYS_E_STALE);
    EXPECT(fsys_cancel(one, op), FSYS_E_STALE);
    EXPECT(fsys_close(one), 0);
    EXPECT(fsys_close(two), 0);
}

static void handle_limit(void) {
    static fsys *handles[1100];
    int count = 0;
    int code = 0;
    while (count < 1100 && (code = fsys_open(NULL, &handles[count])) == 0) {
        count++;
    }
    EXPECT(code, -EMFILE);
    EXPECT(count, 1023);
    for (int i = 0; i < count; i++) {
        EXPECT(fsys_close(handles[i]), 0);
    }
    EXPECT(fsys_close(open_handle()), 0);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(240);
    static const uintptr_t bad[] = {
        0,
        1,
        2,
        3,
        4,
        7,
        8,
        15,
        16,
        63,
        64,
        255,
        256,
        1023,
        1024,
        4095,
        4096,
        65535,
        65536,
        0x7fffffff,
        0x80000000u,
        0xffffffffu,
        UINT64_C(0x100000000),
        UINT64_C(0x0000ffffffffffff),
        UINT64_C(0x7fffffffffffffff),
        UINT64_C(0x8000000000000000),
        UINT64_MAX,
        UINT64_MAX - 1,
        UINT64_C(0xdeadbeefdeadbeef),
        UINT64_C(0x5555555555555555),
        UINT64_C(0xaaaaaaaaaaaaaaaa),
    };
    printf("no handle open: garbage\n");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        all_calls(bad[i], FSYS_E_CLOSED);
    }
    int local = 0;
    void *heap = malloc(64);
    all_calls((uintptr_t)&local, FSYS_E_CLOSED);
    all_calls((uintptr_t)heap, FSYS_E_CLOSED);
    all_calls((uintptr_t)&fsys_open, FSYS_E_CLOSED);
    free(heap);

    printf("random values\n");
    fsys *handle = open_handle();
    uint64_t state = UINT64_C(88172645463325252);
    for (int i = 0; i < 20000; i++) {
        const uint64_t value = next_random(&state) >> (i % 60);
        if (value != (uintptr_t)handle) {
            all_calls((uintptr_t)value, FSYS_E_CLOSED);
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (bad[i] != (uintptr_t)handle) {
            all_calls(bad[i], FSYS_E_CLOSED);
        }
    }
    printf("stale, foreign and random tokens\n");
    fsys_result result;
    for (int i = 0; i < 100000; i++) {
        const uint64_t token = next_random(&state) >> (i % 60);
        EXPECT(fsys_try(handle, token, &result), FSYS_E_STALE);
        EXPECT(fsys_wait(handle, token, FSYS_FOREVER, &result), FSYS_E_STALE);
        EXPECT(fsys_cancel(handle, token), FSYS_E_STALE);
    }
    EXPECT(fsys_close(handle), 0);

    near_misses();
    wrong_kind();
    printf("closed stays closed\n");
    closed_stays_closed();
    foreign();
    printf("handle limit\n");
    handle_limit();
    printf("every bad handle was refused\n");
    return 0;
}
