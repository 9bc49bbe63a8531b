/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Loads the library, uses it and unloads it a thousand times: no descriptor, thread, mapping or
 * heap byte may be left behind, and the library must really be unmapped each time.
 * usage: dlopen_cycle LIBRARY io_uring|threads
 */
#include "frozen_v1.h"

#include <fcntl.h>
#include <malloc.h>
#include <time.h>

#include "check.h"

enum { WARM_UP = 20, CYCLES = 1000, BATCH = 8, BLOCK = 512 };

typedef struct usage {
    long descriptors;
    long threads;
    long mappings;
    long mapped_kib;
    size_t heap_bytes;
} usage;

static usage measure(void) {
    usage now;
    memset(&now, 0, sizeof now);
    now.descriptors = count_entries("/proc/self/fd");
    now.threads = count_entries("/proc/self/task");
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps != NULL);
    char line[512];
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from = 0, to = 0;
        if (sscanf(line, "%lx-%lx", &from, &to) == 2) {
            now.mappings++;
            now.mapped_kib += (long)((to - from) / 1024);
            if (strstr(line, "libfsys") != NULL) {
                FAIL("still mapped: %s", line);
            }
        }
    }
    fclose(maps);
    now.heap_bytes = mallinfo2().uordblks;
    return now;
}

/* Less than before is no leak: what the warm-up gave back may still have been on its way out. */
static int nothing_more(const usage *now, const usage *before) {
    return now->descriptors <= before->descriptors && now->threads <= before->threads &&
           now->mappings <= before->mappings && now->mapped_kib <= before->mapped_kib &&
           now->heap_bytes <= before->heap_bytes;
}

/* A joined thread leaves /proc/self/task a little later, so what differs is measured again. */
static usage settle(const usage *wanted) {
    usage now = measure();
    for (int i = 0; i < 200 && wanted != NULL && !nothing_more(&now, wanted); i++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        now = measure();
    }
    return now;
}

static void use(const v1_api *api, uint32_t backend, const char *path) {
    v1_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.backend = backend;
    v1_handle *handle = NULL;
    EXPECT(api->open(&options, &handle), 0);

    v1_file_options file_options;
    memset(&file_options, 0, sizeof file_options);
    file_options.struct_size = sizeof file_options;
    file_options.flags = V1_FILE_READ | V1_FILE_WRITE;
    v1_file *file = NULL;
    EXPECT(api->file_open(handle, path, &file_options, &file), 0);

    static unsigned char out[BATCH][BLOCK], in[BATCH][BLOCK];
    memset(out, 0xa5, sizeof out);
    memset(in, 0, sizeof in);

    /* The inline lane, then the lanes that need a thread, then a batch run by its waiter. */
    v1_op op = 0;
    v1_result result;
    EXPECT(api->submit_write(file, out, sizeof out, 0, V1_DURABLE, 1, &op), 0);
    EXPECT(api->wait(handle, op, V1_FOREVER, &result), 0);
    EXPECT(result.result, sizeof out);

    v1_request request;
    memset(&request, 0, sizeof request);
    request.opcode = V1_OP_NOP;
    EXPECT(api->submit(handle, &request, 1, NULL), 1);
    EXPECT(api->submit_sync(file, 0, 0, 0, 2, NULL), 0);
    for (int taken = 0; taken < 2;) {
        v1_result results[2];
        const int n = api->reap(handle, results, 2, V1_FOREVER);
        CHECK(n > 0);
        for (int i = 0; i < n; i++) {
            EXPECT(results[i].result, 0);
        }
        taken += n;
    }

    v1_request requests[BATCH];
    v1_op ops[BATCH];
    v1_result results[BATCH];
    memset(requests, 0, sizeof requests);
    for (int i = 0; i < BATCH; i++) {
        requests[i].opcode = V1_OP_READ;
        requests[i].flags = V1_WAIT_SOON;
        requests[i].file = file;
        requests[i].buffer = in[i];
        requests[i].length = BLOCK;
        requests[i].offset = (uint64_t)i * BLOCK;
    }
    EXPECT(api->submit(handle, requests, BATCH, ops), BATCH);
    EXPECT(api->wait_all(handle, ops, BATCH, V1_FOREVER, results), 0);
    for (int i = 0; i < BATCH; i++) {
        EXPECT(results[i].result, BLOCK);
    }
    EXPECT(memcmp(in, out, sizeof out), 0);

    void *buffer = NULL;
    EXPECT(api->buffer_alloc(handle, BLOCK, &buffer), 0);
    EXPECT(api->submit_read(file, buffer, BLOCK, 0, 0, 3, &op), 0);
    EXPECT(api->wait(handle, op, V1_FOREVER, &result), 0);
    EXPECT(result.result, BLOCK);
    EXPECT(api->buffer_free(handle, buffer), 0);
    CHECK(api->event_fd(handle) >= 0);

    if (backend == V1_BACKEND_IO_URING) {
        v1_handle_info info;
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        EXPECT(api->info(handle, &info), 0);
        EXPECT(info.backend, V1_BACKEND_IO_URING);
        if (info.driver_running == 0 || info.sq_entries == 0) {
            FAIL("the machine has io_uring and the library did not use it");
        }
    }
    EXPECT(api->file_close(file), 0);
    EXPECT(api->close(handle), 0);
}

static void cycle(const char *library_path, uint32_t backend, const char *path) {
    void *library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        FAIL("%s", dlerror());
    }
    v1_api api;
    CHECK(v1_load(library, &api) == 0);
    use(&api, backend, path);
    EXPECT(dlclose(library), 0);
    if (dlopen(library_path, RTLD_NOW | RTLD_NOLOAD) != NULL) {
        FAIL("the library is still loaded after dlclose");
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        FAIL("usage: dlopen_cycle LIBRARY io_uring|threads");
    }
    uint32_t backend = V1_BACKEND_THREADS;
    if (strcmp(argv[2], "io_uring") == 0) {
        int error = 0;
        if (!kernel_has_io_uring(&error)) {
            SKIP("this machine gives no io_uring: %s", strerror(error));
        }
        backend = V1_BACKEND_IO_URING;
    }
    /* glibc keeps stacks of ended threads, as many as ever ran at the same time, and counts what a
     * thread freed but keeps for itself as in use: both depend on chance, so both are turned off.
     */
    static const char wanted[] = "glibc.pthread.stack_cache_size=0:glibc.malloc.tcache_count=0";
    const char *tunables = getenv("GLIBC_TUNABLES");
    if (tunables == NULL || strcmp(tunables, wanted) != 0) {
        CHECK(setenv("GLIBC_TUNABLES", wanted, 1) == 0);
        execv("/proc/self/exe", argv);
        FAIL("cannot start anew: %s", strerror(errno));
    }
    /* One heap for all threads, so that mallinfo2 sees every byte and no arena comes and goes. */
    mallopt(M_ARENA_MAX, 1);

    char path[] = "fsys-dlopen.XXXXXX";
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);

    /* What loads once and stays is none of the library's: libstdc++, whose symbols pin it, and its
     * emergency pool. */
    for (int i = 0; i < WARM_UP; i++) {
        cycle(argv[1], backend, path);
    }
    const usage before = settle(NULL);
    for (int i = 0; i < CYCLES; i++) {
        cycle(argv[1], backend, path);
    }
    const usage after = settle(&before);
    unlink(path);
    printf(
        "%d cycles: descriptors %ld -> %ld, threads %ld -> %ld, mappings %ld -> %ld (%ld -> %ld "
        "KiB), heap %zu -> %zu bytes\n",
        CYCLES, before.descriptors, after.descriptors, before.threads, after.threads,
        before.mappings, after.mappings, before.mapped_kib, after.mapped_kib, before.heap_bytes,
        after.heap_bytes);
    if (!nothing_more(&after, &before)) {
        FAIL("something is left behind");
    }
    return 0;
}
