/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Thread per core: each thread is pinned, opens an engine of its own with FSYS_DRIVER_CALLER and
 * drives it with fsys_poll(). The library starts no thread.
 *
 *     cc thread_per_core.c $(pkg-config --cflags --libs fsys) -pthread -o thread_per_core
 *     ./thread_per_core /tmp
 */
#define _GNU_SOURCE /* CPU_SET, pthread_setaffinity_np */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fsys/fsys.h>

enum { BLOCK = 4096, BLOCKS = 512, WINDOW = 32, MAX_CORES = 64 };

struct core {
    const char *directory;
    int cpu;
    const char *failed; /* the step that failed, or NULL */
    int64_t code;       /* why */
    char memory[WINDOW][BLOCK];
};

static void *stop(struct core *core, const char *step, int64_t code) {
    core->failed = step;
    core->code = code;
    return NULL;
}

/* Starts block `number` in buffer `place`; user_data carries both to the completion. */
static int start(struct core *core, fsys_file *file, int reading, int number, int place) {
    uint64_t offset = (uint64_t)number * BLOCK;
    uint64_t user_data = (uint64_t)(number * WINDOW + place);
    if (reading)
        return fsys_submit_read(file, core->memory[place], BLOCK, offset, 0, user_data, NULL);
    memset(core->memory[place], 'A' + (core->cpu + number) % 26, BLOCK);
    return fsys_submit_write(file, core->memory[place], BLOCK, offset, 0, user_data, NULL);
}

/* Moves every block of the file once, with WINDOW ops in flight. */
static int pass(struct core *core, fsys *engine, fsys_file *file, int reading) {
    int started = 0, finished = 0, code = 0;
    for (; started < WINDOW; started++)
        if ((code = start(core, file, reading, started, started)) < 0)
            return code;
    while (finished < BLOCKS) {
        if ((code = fsys_poll(engine, FSYS_FOREVER)) < 0)
            return code;
        fsys_result results[WINDOW];
        int taken = fsys_reap(engine, results, WINDOW, 0);
        if (taken < 0)
            return taken;
        for (int i = 0; i < taken; i++, finished++) {
            int number = (int)results[i].user_data / WINDOW;
            int place = (int)results[i].user_data % WINDOW;
            const char *block = core->memory[place];
            if (results[i].result < 0)
                return (int)results[i].result;
            if (results[i].result != BLOCK || block[0] != 'A' + (core->cpu + number) % 26 ||
                memcmp(block, block + 1, BLOCK - 1) != 0)
                return FSYS_E_MISMATCH;
            if (started < BLOCKS && (code = start(core, file, reading, started++, place)) < 0)
                return code;
        }
    }
    return 0;
}

static void *run(void *argument) {
    struct core *core = argument;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)core->cpu, &cpus);
    int64_t code = -pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
    if (code < 0)
        return stop(core, "pthread_setaffinity_np", code);

    fsys_options options = {
        .struct_size = sizeof options,
        .driver = FSYS_DRIVER_CALLER, /* this thread opens, drives and closes */
        .root = core->directory,
    };
    fsys *engine = NULL;
    if ((code = fsys_open(&options, &engine)) < 0)
        return stop(core, "fsys_open", code);
    char name[32];
    snprintf(name, sizeof name, "core-%d.dat", core->cpu);
    fsys_file_options how = {
        .struct_size = sizeof how,
        .flags = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE | FSYS_FILE_TRUNCATE,
    };
    fsys_file *file = NULL;
    if ((code = fsys_file_open(engine, name, &how, &file)) < 0)
        return stop(core, "fsys_file_open", code);
    if ((code = pass(core, engine, file, 0)) < 0)
        return stop(core, "writing", code);
    if ((code = fsys_sync(file, FSYS_SYNC_DATA)) < 0)
        return stop(core, "fsys_sync", code);
    if ((code = pass(core, engine, file, 1)) < 0)
        return stop(core, "reading back", code);
    if ((code = fsys_close(engine)) < 0)
        return stop(core, "fsys_close", code);
    return NULL;
}

int main(int argc, char **argv) {
    static struct core cores[MAX_CORES];
    pthread_t threads[MAX_CORES];
    int count = 0, status = EXIT_SUCCESS;
    cpu_set_t allowed;
    if (argc != 2 || sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        fprintf(stderr, "usage: thread_per_core DIRECTORY\n");
        return EXIT_FAILURE;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE && count < MAX_CORES; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &allowed))
            continue;
        cores[count] = (struct core){.directory = argv[1], .cpu = cpu};
        int error = pthread_create(&threads[count], NULL, run, &cores[count]);
        if (error != 0) {
            fprintf(stderr, "thread_per_core: pthread_create: %s\n", strerror(error));
            return EXIT_FAILURE;
        }
        count++;
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        if (cores[i].failed != NULL) {
            fprintf(stderr, "thread_per_core: cpu %d: %s: %s\n", cores[i].cpu, cores[i].failed,
                    fsys_strerror((int)cores[i].code));
            status = EXIT_FAILURE;
        }
    }
    if (status == EXIT_SUCCESS)
        printf("thread_per_core: %d cores, each moved %d blocks twice\n", count, BLOCKS);
    return status;
}
