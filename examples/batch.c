/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A batch: submit an array of requests in one call, wait for all of them in one call.
 *
 *     cc batch.c $(pkg-config --cflags --libs fsys) -o batch && ./batch /tmp
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fsys/fsys.h>

enum { BLOCK = 4096, COUNT = 64 };

static int fail(const char *step, int64_t code) {
    fprintf(stderr, "batch: %s: %s (%s)\n", step, fsys_strerror((int)code),
            fsys_error_name((int)code));
    return EXIT_FAILURE;
}

/* Submits `requests` and waits until each has moved its whole block. */
static int run_batch(fsys *engine, const fsys_request *requests) {
    fsys_op ops[COUNT];
    fsys_result results[COUNT];
    uint32_t accepted = 0;
    /* An array may be accepted in part, for example when every op slot is taken. */
    while (accepted < COUNT) {
        int n = fsys_submit(engine, requests + accepted, COUNT - accepted, ops + accepted);
        if (n < 0)
            return n;
        accepted += (uint32_t)n;
    }
    int code = fsys_wait_all(engine, ops, COUNT, FSYS_FOREVER, results);
    if (code < 0)
        return code;
    for (int i = 0; i < COUNT; i++) {
        if (results[i].result < 0)
            return (int)results[i].result;
        if (results[i].result != BLOCK || results[i].user_data != (uint64_t)i)
            return FSYS_E_MISMATCH;
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: batch DIRECTORY\n");
        return EXIT_FAILURE;
    }
    fsys_options options = {.struct_size = sizeof options, .root = argv[1]};
    fsys *engine = NULL;
    int code = fsys_open(&options, &engine);
    if (code < 0)
        return fail("fsys_open", code);
    fsys_file_options how = {
        .struct_size = sizeof how,
        .flags = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE | FSYS_FILE_TRUNCATE,
    };
    fsys_file *file = NULL;
    code = fsys_file_open(engine, "batch.dat", &how, &file);
    if (code < 0)
        return fail("fsys_file_open", code);

    /* One page-aligned buffer, cut into blocks; the first half is written, the second read into. */
    void *memory = NULL;
    code = fsys_buffer_alloc(engine, 2 * (size_t)COUNT * BLOCK, &memory);
    if (code < 0)
        return fail("fsys_buffer_alloc", code);
    char *out = memory;
    char *in = out + COUNT * BLOCK;

    fsys_request requests[COUNT];
    memset(requests, 0, sizeof requests); /* unused fields must be 0 */
    for (int i = 0; i < COUNT; i++) {
        memset(out + i * BLOCK, 'a' + i % 26, BLOCK);
        requests[i].opcode = FSYS_OP_WRITE;
        requests[i].flags = FSYS_WAIT_SOON; /* run_batch() waits at once */
        requests[i].file = file;
        requests[i].buffer = out + i * BLOCK;
        requests[i].length = BLOCK;
        requests[i].offset = (uint64_t)i * BLOCK;
        requests[i].user_data = (uint64_t)i;
    }
    code = run_batch(engine, requests);
    if (code < 0)
        return fail("writing", code);
    code = fsys_sync(file, FSYS_SYNC_DATA);
    if (code < 0)
        return fail("fsys_sync", code);

    for (int i = 0; i < COUNT; i++) {
        requests[i].opcode = FSYS_OP_READ;
        requests[i].buffer = in + i * BLOCK;
    }
    code = run_batch(engine, requests);
    if (code < 0)
        return fail("reading", code);
    if (memcmp(in, out, (size_t)COUNT * BLOCK) != 0)
        return fail("comparing", FSYS_E_MISMATCH);

    fsys_counters counters = {.struct_size = sizeof counters};
    if ((code = fsys_stats(engine, &counters)) < 0)
        return fail("fsys_stats", code);
    printf("batch: %llu bytes written, %llu read, %llu batches on a private ring\n",
           (unsigned long long)counters.bytes_written, (unsigned long long)counters.bytes_read,
           (unsigned long long)counters.batch_enters);

    if ((code = fsys_buffer_free(engine, memory)) < 0)
        return fail("fsys_buffer_free", code);
    if ((code = fsys_close(engine)) < 0) /* closes the file too */
        return fail("fsys_close", code);
    return EXIT_SUCCESS;
}
