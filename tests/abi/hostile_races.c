/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Calls that race with closing the handle and its files, from many threads: every call ends with a
 * code that the header allows, exactly one close wins, nothing crashes or hangs.
 * usage: hostile_races [ROUNDS]
 */
#include <fsys/fsys.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "check.h"

enum { THREADS = 8, ROOM = 4 << 20 };

/* Memory of ops outlives every round: after a close with ops in flight it must. No two ops of a
 * round share bytes that one of them writes, since many completions are never taken. */
static char memory[THREADS][ROOM];
static char source[THREADS * 512];
static char path[] = "fsys-races.XXXXXX";

static fsys *handle;
static fsys_file *_Atomic file;
static atomic_int closes_won;
static atomic_int file_closes_won;
static atomic_bool stop;

/* What any call may say around a close: success, an errno that fits, or closed/stale/nothing. */
static void allowed(int64_t code, const char *call) {
    if (code >= 0 || code == FSYS_E_CLOSED || code == FSYS_E_STALE || code == FSYS_E_NOTHING ||
        code == -EAGAIN || code == -ETIMEDOUT || code == -EALREADY) {
        return;
    }
    FAIL("%s during a close gave %lld (%s)", call, (long long)code, fsys_error_name((int)code));
}

#define ALLOWED(call) allowed(call, #call)

static unsigned next_random(unsigned *state) {
    *state = *state * 1103515245u + 12345u;
    return *state >> 16;
}

static void *caller(void *argument) {
    const unsigned index = (unsigned)(uintptr_t)argument;
    unsigned state = index * 7919u + (unsigned)time(NULL);
    size_t used = 0;
    fsys_op op = 0;
    fsys_result result;
    fsys_op ops[4];
    fsys_result results[4];
    fsys_request requests[4];
    while (!atomic_load(&stop)) {
        fsys_file *current = atomic_load(&file);
        char *mine = memory[index] + used;
        if (used + 4096 < ROOM) {
            used += 2048;
        } else {
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
            continue; /* this thread has read its fill for the round */
        }
        switch (next_random(&state) % 13) {
        case 0:
            if (fsys_submit_read(current, mine, 512, 0, 0, 0, &op) == 0) {
                ALLOWED(fsys_wait(handle, op, FSYS_FOREVER, &result));
            }
            break;
        case 1:
            if (fsys_submit_write(current, source, 512, index * 512, FSYS_WAIT_SOON, 0, &op) == 0) {
                ALLOWED(fsys_wait(handle, op, 1000000, &result));
            }
            break;
        case 2: ALLOWED(fsys_submit_read(current, mine, 512, 0, 0, 1, NULL)); break;
        case 3: ALLOWED(fsys_reap(handle, results, 4, 100000)); break;
        case 4:
            memset(requests, 0, sizeof requests);
            for (int i = 0; i < 4; i++) {
                requests[i].opcode = i == 3 ? FSYS_OP_NOP : FSYS_OP_READ;
                requests[i].file = i == 3 ? NULL : current;
                requests[i].buffer = i == 3 ? NULL : mine + i * 512;
                requests[i].length = i == 3 ? 0 : 512;
                requests[i].flags = FSYS_WAIT_SOON;
                ops[i] = 0;
            }
            ALLOWED(fsys_submit(handle, requests, 4, ops));
            ALLOWED(fsys_wait_all(handle, ops, 4, FSYS_FOREVER, results));
            break;
        case 5: ALLOWED(fsys_read(current, mine, 512, 0, 0)); break;
        case 6: ALLOWED(fsys_write(current, source, 512, index * 512, 0)); break;
        case 7:
            if (fsys_submit_sync(current, 0, 0, FSYS_SYNC_DATA, 0, &op) == 0) {
                ALLOWED(fsys_cancel(handle, op));
                const int asked = fsys_cancel_queued(handle, 1);
                if (asked < 0 && asked != -ENOENT) {
                    ALLOWED(asked);
                }
                uint32_t which = 0;
                ALLOWED(fsys_wait_any(handle, &op, 1, FSYS_FOREVER, &which, &result));
            }
            break;
        case 8: {
            fsys_handle_info info = {.struct_size = sizeof info};
            ALLOWED(fsys_info(handle, &info));
            break;
        }
        case 9: {
            fsys_file *other = NULL;
            if (fsys_file_open(handle, path, NULL, &other) == 0) {
                ALLOWED(fsys_read(other, mine, 16, 0, 0));
                ALLOWED(fsys_file_close(other));
            }
            break;
        }
        case 10: ALLOWED(fsys_event_fd(handle)); break;
        case 11: {
            void *buffer = NULL;
            if (fsys_buffer_alloc(handle, 4096, &buffer) == 0) {
                ALLOWED(fsys_buffer_free(handle, buffer));
            }
            break;
        }
        case 12: {
            char text[32];
            ALLOWED(fsys_cause(handle, text, sizeof text));
            break;
        }
        }
    }
    return NULL;
}

static void *closer(void *argument) {
    (void)argument;
    const int file_code = fsys_file_close(atomic_load(&file));
    if (file_code == 0 || file_code == -ETIMEDOUT) {
        atomic_fetch_add(&file_closes_won, 1);
    } else {
        EXPECT(file_code, FSYS_E_CLOSED);
    }
    const int code = fsys_close(handle);
    if (code == 0) {
        atomic_fetch_add(&closes_won, 1);
    } else {
        EXPECT(code, FSYS_E_CLOSED);
    }
    return NULL;
}

static void one_round(uint32_t backend, unsigned microseconds) {
    const fsys_options options = {
        .struct_size = sizeof options, .backend = backend, .max_ops = 64, .max_files = 64};
    const fsys_file_options file_options = {.struct_size = sizeof file_options,
                                            .flags = FSYS_FILE_READ | FSYS_FILE_WRITE};
    fsys_file *opened = NULL;
    EXPECT(fsys_open(&options, &handle), 0);
    EXPECT(fsys_file_open(handle, path, &file_options, &opened), 0);
    atomic_store(&file, opened);
    atomic_store(&stop, false);
    atomic_store(&closes_won, 0);
    atomic_store(&file_closes_won, 0);
    pthread_t callers[THREADS], closers[3];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&callers[i], NULL, caller, (void *)i) == 0);
    }
    nanosleep(&(struct timespec){.tv_nsec = (long)microseconds * 1000}, NULL);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&closers[i], NULL, closer, NULL) == 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(closers[i], NULL);
    }
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL); /* callers meet a closed handle */
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(callers[i], NULL);
    }
    EXPECT(atomic_load(&closes_won), 1);
    CHECK(atomic_load(&file_closes_won) <= 1); /* 0 when the handle's close came first */
    EXPECT(fsys_close(handle), FSYS_E_CLOSED);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    const int rounds = argc > 1 ? atoi(argv[1]) : 150;
    alarm(280);
    const int fd = mkstemp(path);
    CHECK(fd >= 0 && ftruncate(fd, 65536) == 0);
    close(fd);
    static const uint32_t backends[] = {FSYS_BACKEND_DEFAULT, FSYS_BACKEND_THREADS};
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        for (int round = 0; round < rounds; round++) {
            one_round(backends[i], (unsigned)(round * 37 % 5000));
        }
        printf("backend option %u: %d rounds\n", backends[i], rounds);
    }
    unlink(path);
    return 0;
}
