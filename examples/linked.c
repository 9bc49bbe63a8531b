/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Linked requests: a write and the sync that must follow it go out in one submit. The sync starts
 * only after the write has moved every byte; when it did not, the sync does not run at all.
 *
 *     cc linked.c $(pkg-config --cflags --libs fsys) -o linked && ./linked /tmp
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fsys/fsys.h>

static int fail(const char *step, int64_t code) {
    fprintf(stderr, "linked: %s: %s (%s)\n", step, fsys_strerror((int)code),
            fsys_error_name((int)code));
    return EXIT_FAILURE;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: linked DIRECTORY\n");
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
    code = fsys_file_open(engine, "linked.dat", &how, &file);
    if (code < 0)
        return fail("fsys_file_open", code);

    char record[512], back[2 * sizeof record];
    memset(record, 'r', sizeof record);
    fsys_op ops[2];
    fsys_result results[2];

    /* Linked requests are accepted together or not at all: the return is 2 or a code. */
    const fsys_request commit[2] = {
        {.opcode = FSYS_OP_WRITE,
         .flags = FSYS_LINK | FSYS_WAIT_SOON,
         .file = file,
         .buffer = record,
         .length = sizeof record},
        {.opcode = FSYS_OP_SYNC, .flags = FSYS_SYNC_DATA | FSYS_WAIT_SOON, .file = file},
    };
    code = fsys_submit(engine, commit, 2, ops);
    if (code != 2)
        return fail("fsys_submit", code);
    code = fsys_wait_all(engine, ops, 2, FSYS_FOREVER, results);
    if (code < 0)
        return fail("fsys_wait_all", code);
    if (results[0].result != (int64_t)sizeof record)
        return fail("write", results[0].result);
    if (results[1].result != 0)
        return fail("sync", results[1].result);
    printf("linked: %d bytes written, then synced\n", (int)results[0].result);

    /* A first link that cannot move its exact length: the file is shorter than this read. */
    const fsys_request broken[2] = {
        {.opcode = FSYS_OP_READ,
         .flags = FSYS_LINK,
         .file = file,
         .buffer = back,
         .length = sizeof back},
        {.opcode = FSYS_OP_SYNC, .file = file},
    };
    code = fsys_submit(engine, broken, 2, ops);
    if (code != 2)
        return fail("fsys_submit", code);
    code = fsys_wait_all(engine, ops, 2, FSYS_FOREVER, results);
    if (code < 0)
        return fail("fsys_wait_all", code);
    if (results[0].result != FSYS_E_SHORT || results[0].bytes_done != sizeof record)
        return fail("a short read should be FSYS_E_SHORT, not", results[0].result);
    if (memcmp(back, record, sizeof record) != 0)
        return fail("comparing", FSYS_E_MISMATCH);
    if (results[1].result != -ECANCELED || results[1].step != FSYS_STEP_QUEUE)
        return fail("the op behind it should be -ECANCELED, not", results[1].result);
    printf("linked: the read ended after %d bytes, so the op behind it never ran\n",
           (int)results[0].bytes_done);

    if ((code = fsys_close(engine)) < 0)
        return fail("fsys_close", code);
    return EXIT_SUCCESS;
}
