/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Blocking use: write so that the bytes are safe when the call returns, and read them back.
 *
 *     cc blocking.c $(pkg-config --cflags --libs fsys) -o blocking && ./blocking /tmp
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fsys/fsys.h>

static int fail(const char *step, int64_t code) {
    fprintf(stderr, "blocking: %s: %s (%s)\n", step, fsys_strerror((int)code),
            fsys_error_name((int)code));
    return EXIT_FAILURE;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: blocking DIRECTORY\n");
        return EXIT_FAILURE;
    }
    char why[256] = "";
    fsys_options options = {
        .struct_size = sizeof options,
        .root = argv[1], /* every path below is opened beneath this directory */
        .error_text = why,
        .error_text_size = sizeof why,
    };
    fsys *engine = NULL;
    int code = fsys_open(&options, &engine);
    if (code < 0) {
        fprintf(stderr, "blocking: %s\n", why);
        return fail("fsys_open", code);
    }

    fsys_file_options how = {
        .struct_size = sizeof how,
        .flags = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE | FSYS_FILE_TRUNCATE,
        .mode = 0644,
    };
    fsys_file *file = NULL;
    code = fsys_file_open(engine, "blocking.dat", &how, &file);
    if (code < 0)
        return fail("fsys_file_open", code);

    /* The name is part of the file: a new file is found after a crash only when the directory
     * that lists it is on stable storage too. */
    fsys_file *directory = NULL;
    code = fsys_file_open(engine, ".", NULL, &directory);
    if (code < 0)
        return fail("fsys_file_open of the directory", code);
    code = fsys_sync(directory, 0);
    if (code < 0)
        return fail("fsys_sync of the directory", code);

    static const char text[] = "These bytes are on stable storage.\n";
    const size_t size = sizeof text - 1;
    int64_t done = fsys_write(file, text, size, 0, FSYS_DURABLE);
    if (done != (int64_t)size)
        return fail("fsys_write", done);

    /* Many writes, one sync: cheaper than a durable write each. */
    for (uint64_t line = 1; line < 100; line++) {
        done = fsys_write(file, text, size, line * size, 0);
        if (done != (int64_t)size)
            return fail("fsys_write", done);
    }
    code = fsys_sync(file, FSYS_SYNC_DATA);
    if (code < 0)
        return fail("fsys_sync", code);

    char back[sizeof text];
    for (uint64_t line = 0; line < 100; line++) {
        done = fsys_read(file, back, size, line * size, FSYS_EXACT);
        if (done != (int64_t)size)
            return fail("fsys_read", done);
        if (memcmp(back, text, size) != 0) {
            fprintf(stderr, "blocking: line %d differs\n", (int)line);
            return EXIT_FAILURE;
        }
    }

    fsys_file_details details = {.struct_size = sizeof details};
    code = fsys_file_info(file, &details);
    if (code < 0 || details.size != 100 * size)
        return fail("fsys_file_info", code);
    printf("blocking: %d bytes written, synced and read back on %s\n", (int)details.size,
           details.file_system);

    if ((code = fsys_file_close(directory)) < 0 || (code = fsys_file_close(file)) < 0)
        return fail("fsys_file_close", code);
    if ((code = fsys_close(engine)) < 0)
        return fail("fsys_close", code);
    return EXIT_SUCCESS;
}
