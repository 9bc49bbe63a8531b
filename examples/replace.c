/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Whole files: replaced at once, piece by piece, many with one wait, and found again.
 *
 *     cc replace.c $(pkg-config --cflags --libs fsys) -o replace && ./replace /tmp
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fsys/files.h>

static int fail(const char *text, int code) {
    fprintf(stderr, "replace: %s (%s)\n", text, fsys_error_name(code));
    return EXIT_FAILURE;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: replace DIRECTORY\n");
        return EXIT_FAILURE;
    }
    /* Everything below stays beneath this directory. */
    fsys_options options = {.struct_size = sizeof options, .root = argv[1]};
    fsys *engine = NULL;
    int code = fsys_open(&options, &engine);
    if (code < 0)
        return fail(fsys_strerror(code), code);

    char text[256] = "";
    fsys_path_options path = {
        .struct_size = sizeof path, .flags = FSYS_PATH_PARENTS,
        .error_text = text, .error_text_size = sizeof text,
    };
    code = fsys_mkdir(engine, "app/state", &path);
    if (code < 0)
        return fail(text, code);

    /* One call. After it returns 0 a power cut finds the new bytes; before, old or new. */
    fsys_replace_options how = {
        .struct_size = sizeof how, .error_text = text, .error_text_size = sizeof text,
    };
    fsys_file_report report = {.struct_size = sizeof report};
    code = fsys_replace(engine, "app/state/config", "level = 3\n", 10, &how, &report);
    if (code < 0)
        return fail(text, code);
    printf("config: %llu bytes, durable\n", (unsigned long long)report.bytes);

    /* Piece by piece, for what does not fit in memory or is not there yet. */
    fsys_replacement *replacement = NULL;
    code = fsys_replace_begin(engine, "app/state/log", &how, &replacement);
    for (int i = 0; code == 0 && i < 1000; i++) {
        char line[32];
        int n = snprintf(line, sizeof line, "line %d\n", i);
        code = fsys_replace_write(replacement, line, (size_t)n);
    }
    if (code == 0)
        code = fsys_replace_commit(replacement, &report);
    else if (replacement != NULL)
        fsys_replace_abort(replacement); /* the old file is as it was */
    if (code < 0)
        return fail(text, code);

    /* Many files, one wait for the disk: each all old or all new, in this order for readers. */
    enum { FILES = 20 };
    char names[FILES][32];
    fsys_batch_item items[FILES];
    memset(items, 0, sizeof items);
    for (int i = 0; i < FILES; i++) {
        snprintf(names[i], sizeof names[i], "app/state/part-%02d", i);
        items[i].path = names[i];
        items[i].data = names[i];
        items[i].length = strlen(names[i]);
    }
    code = fsys_batch(engine, items, FILES, &how);
    if (code < 0)
        return fail(text, code);

    void *data = NULL;
    size_t length = 0;
    path.flags = 0;
    code = fsys_read_file(engine, "app/state/config", 1 << 20, &path, &data, &length);
    if (code < 0)
        return fail(text, code);
    int same = length == 10 && memcmp(data, "level = 3\n", 10) == 0;
    fsys_free(data);

    fsys_scan *scan = NULL;
    path.flags = FSYS_PATH_RECURSIVE;
    code = fsys_scan_open(engine, "app", &path, &scan);
    if (code < 0)
        return fail(text, code);
    unsigned files = 0;
    fsys_scan_entry entry = {.struct_size = sizeof entry};
    while ((code = fsys_scan_next(scan, &entry)) == 0)
        files += entry.type == FSYS_TYPE_FILE;
    fsys_scan_close(scan);
    if (code != FSYS_E_NOTHING)
        return fail(fsys_strerror(code), code);
    printf("%u files\n", files);

    code = fsys_close(engine);
    return same && files == FILES + 2 && code == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
