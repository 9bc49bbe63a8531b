/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Late binding: not linked with the library, finds libfsys.so.1 at run time, and makes durable
 * asynchronous writes to one file from several threads.
 *
 *     cc dlopen.c -ldl -pthread -o dlopen && ./dlopen /tmp
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fsys/fsys.h>

enum { THREADS = 4, BLOCK = 4096, PER_THREAD = 16 };

/* The functions in use. The types come from the header, so that a mistake does not compile. */
#define FUNCTIONS(X) \
    X(fsys_open) X(fsys_close) X(fsys_file_open) X(fsys_file_close) X(fsys_submit_write) \
    X(fsys_wait_all) X(fsys_read) X(fsys_strerror) X(fsys_version_string)

#define DECLARE(name) __typeof__(name) *name;
static struct api {
    FUNCTIONS(DECLARE)
} api;

static int load(void *library) {
    const char *missing = NULL;
    /* POSIX lets the object pointer of dlsym() be stored into a function pointer this way. */
#define LOAD(name) \
    *(void **)&api.name = dlsym(library, #name); \
    if (api.name == NULL) missing = #name;
    FUNCTIONS(LOAD)
    if (missing != NULL)
        fprintf(stderr, "dlopen: the library has no %s\n", missing);
    return missing == NULL;
}

struct job {
    fsys *engine;
    fsys_file *file;
    int number;
    int64_t code; /* 0, or why it failed */
};

static void *write_blocks(void *argument) {
    struct job *job = argument;
    char blocks[PER_THREAD][BLOCK];
    fsys_op ops[PER_THREAD];
    fsys_result results[PER_THREAD];
    memset(blocks, 'a' + job->number, sizeof blocks);
    for (int i = 0; i < PER_THREAD; i++) {
        uint64_t offset = (uint64_t)(job->number * PER_THREAD + i) * BLOCK;
        job->code = api.fsys_submit_write(job->file, blocks[i], BLOCK, offset, FSYS_DURABLE,
                                          (uint64_t)i, &ops[i]);
        if (job->code < 0)
            abort(); /* `blocks` may be in use by the kernel: it must not go out of scope */
    }
    job->code = api.fsys_wait_all(job->engine, ops, PER_THREAD, FSYS_FOREVER, results);
    if (job->code < 0)
        abort(); /* as above */
    for (int i = 0; i < PER_THREAD; i++)
        if (results[i].result != BLOCK)
            job->code = results[i].result < 0 ? results[i].result : FSYS_E_SHORT;
    return NULL;
}

static int fail(const char *step, int64_t code) {
    fprintf(stderr, "dlopen: %s: %s\n", step, api.fsys_strerror((int)code));
    return EXIT_FAILURE;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: dlopen DIRECTORY\n");
        return EXIT_FAILURE;
    }
    void *library = dlopen("libfsys.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "dlopen: %s\n", dlerror());
        return EXIT_FAILURE;
    }
    if (!load(library))
        return EXIT_FAILURE;

    fsys_options options = {.struct_size = sizeof options, .root = argv[1]};
    fsys *engine = NULL;
    int code = api.fsys_open(&options, &engine);
    if (code < 0)
        return fail("fsys_open", code);
    fsys_file_options how = {
        .struct_size = sizeof how,
        .flags = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE | FSYS_FILE_TRUNCATE,
    };
    fsys_file *file = NULL;
    code = api.fsys_file_open(engine, "dlopen.dat", &how, &file);
    if (code < 0)
        return fail("fsys_file_open", code);

    pthread_t threads[THREADS];
    struct job jobs[THREADS];
    for (int t = 0; t < THREADS; t++) {
        jobs[t] = (struct job){.engine = engine, .file = file, .number = t};
        int error = pthread_create(&threads[t], NULL, write_blocks, &jobs[t]);
        if (error != 0)
            return fail("pthread_create", -error);
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        if (jobs[t].code < 0)
            return fail("durable write", jobs[t].code);
    }

    for (int i = 0; i < THREADS * PER_THREAD; i++) {
        char back[BLOCK], expected[BLOCK];
        memset(expected, 'a' + i / PER_THREAD, BLOCK);
        int64_t done = api.fsys_read(file, back, BLOCK, (uint64_t)i * BLOCK, FSYS_EXACT);
        if (done != BLOCK)
            return fail("fsys_read", done);
        if (memcmp(back, expected, BLOCK) != 0)
            return fail("comparing", FSYS_E_MISMATCH);
    }
    printf("dlopen: libfsys %s, %d threads, %d durable blocks read back\n",
           api.fsys_version_string(), THREADS, THREADS * PER_THREAD);
    if ((code = api.fsys_file_close(file)) < 0 || (code = api.fsys_close(engine)) < 0)
        return fail("closing", code);
    if (dlclose(library) != 0) {
        fprintf(stderr, "dlopen: %s\n", dlerror());
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
