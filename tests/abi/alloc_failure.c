/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Fails the k-th allocation, for k = 1, 2, ... until a whole life (open, file, ops of every lane,
 * close) meets no failure; once with only the k-th failing, once with all from the k-th on. Every
 * call must end with a code: no exception, crash, hang, descriptor, thread or mapping left.
 *
 * How: alloc_hook.h.
 * usage: alloc_failure io_uring|threads
 */
#include "alloc_hook.h"

#include <fsys/files.h>

#include <fcntl.h>
#include <time.h>

static char path[] = "fsys-alloc.XXXXXX";
static char memory[8][512];
static char second[] = "fsys-alloc-2.XXXXXX";
static char third[] = "fsys-alloc-3.XXXXXX";
static char folder[] = "fsys-alloc-d.XXXXXX";
static uint32_t backend;

/* A refusal must be one for want of memory, or follow from one. Returns the code. */
static int64_t attempt(int64_t code, const char *call) {
    switch (code) {
    case -ENOMEM:
    case -EAGAIN: /* no thread: pthread_create says so when it finds no memory */
    case -ENFILE:
    case -EMFILE:
    case -ECANCELED:
    case FSYS_E_URING_SETUP:
    case FSYS_E_DRIVER_DEAD:
    case FSYS_E_POISONED:
    case FSYS_E_NOTHING: /* nothing was accepted before */ return code;
    default:
        if (code < 0) {
            FAIL("%s without memory gave %lld (%s: %s)", call, (long long)code,
                 fsys_error_name((int)code), fsys_strerror((int)code));
        }
        return code;
    }
}

#define TRY(call) attempt((call), #call)

/* Whole files and names. Returns whether all of it succeeded. */
static bool whole_files(fsys *handle) {
    bool good = true;
    const fsys_replace_options replacing = {.struct_size = sizeof replacing,
                                            .durability = FSYS_DURABILITY_NONE};
    /* Only a batch allocates for its syncs. */
    const fsys_replace_options syncing = {.struct_size = sizeof syncing,
                                          .durability = FSYS_DURABILITY_DATA};
    const fsys_path_options named = {.struct_size = sizeof named,
                                     .durability = FSYS_DURABILITY_NONE};
    good = TRY(fsys_replace(handle, second, memory[0], 512, &replacing, NULL)) == 0 && good;
    fsys_batch_item items[2] = {{.path = second, .data = memory[1], .length = 512},
                                {.path = third, .data = memory[2], .length = 512}};
    good = TRY(fsys_batch(handle, items, 2, &syncing)) == 0 && good;
    fsys_op op = 0;
    fsys_result result;
    if (TRY(fsys_submit_replace(handle, third, memory[3], 512, &replacing, NULL, 0, &op)) == 0 &&
        TRY(fsys_wait(handle, op, FSYS_FOREVER, &result)) == 0) {
        good = TRY(result.result) == 0 && good;
    } else {
        good = false;
    }
    fsys_replacement *replacement = NULL;
    if (TRY(fsys_replace_begin(handle, third, &replacing, &replacement)) == 0) {
        good = TRY(fsys_replace_write(replacement, memory[4], 512)) == 0 && good;
        EXPECT(fsys_replace_abort(replacement), 0);
    } else {
        good = false;
    }
    good = TRY(fsys_copy(handle, second, third, &replacing, NULL)) == 0 && good;
    good = TRY(fsys_append(handle, third, memory[5], 512, &named, NULL)) == 0 && good;
    void *data = NULL;
    size_t length = 0;
    if (TRY(fsys_read_file(handle, third, 0, &named, &data, &length)) == 0) {
        fsys_free(data);
    } else {
        good = false;
    }
    fsys_scan *scan = NULL;
    if (TRY(fsys_scan_open(handle, folder, &named, &scan)) == 0) {
        fsys_scan_entry entry = {.struct_size = sizeof entry};
        good = TRY(fsys_scan_next(scan, &entry)) == FSYS_E_NOTHING && good;
        EXPECT(fsys_scan_close(scan), 0);
    } else {
        good = false;
    }
    return good;
}

/* Everything that could allocate. Returns whether all of it succeeded. */
static bool life(void) {
    bool good = true;
    char text[256];
    const fsys_options options = {.struct_size = sizeof options,
                                  .backend = backend,
                                  .max_ops = 32,
                                  .max_files = 16,
                                  .error_text = text,
                                  .error_text_size = sizeof text};
    const fsys_file_options file_options = {.struct_size = sizeof file_options,
                                            .flags = FSYS_FILE_READ | FSYS_FILE_WRITE};
    fsys *handle = NULL;
    fsys_file *file = NULL;
    if (TRY(fsys_open(&options, &handle)) < 0) {
        return false;
    }
    if (TRY(fsys_file_open(handle, path, &file_options, &file)) < 0) {
        EXPECT(fsys_close(handle), 0);
        return false;
    }
    fsys_op op = 0;
    fsys_result result;
    if (TRY(fsys_submit_write(file, memory[0], 512, 0, FSYS_DURABLE, 0, &op)) == 0) {
        if (TRY(fsys_wait(handle, op, FSYS_FOREVER, &result)) == 0) {
            good = TRY(result.result) == 512 && good;
        } else {
            good = false;
        }
    } else {
        good = false;
    }

    int outstanding = 0;
    const fsys_request nop = {.opcode = FSYS_OP_NOP};
    if (TRY(fsys_submit(handle, &nop, 1, NULL)) == 1) {
        outstanding++;
    }
    if (TRY(fsys_submit_sync(file, 0, 0, 0, 0, NULL)) == 0) {
        outstanding++;
    }
    good = good && outstanding == 2;
    while (outstanding > 0) {
        /* Ten seconds: an op that never completes is a hang, and said so. */
        const int64_t taken = TRY(fsys_reap(handle, &result, 1, INT64_C(10000000000)));
        if (taken < 0) {
            good = false;
            break;
        }
        if (taken == 0) {
            FAIL("an accepted op did not complete in 10 s");
        }
        if (TRY(result.result) < 0) {
            good = false;
        }
        outstanding--;
    }

    fsys_request requests[8];
    fsys_op ops[8] = {0};
    fsys_result results[8];
    memset(requests, 0, sizeof requests);
    fsys_iovec pieces[8][2];
    for (int i = 0; i < 8; i++) {
        pieces[i][0] = (fsys_iovec){memory[i], 256};
        pieces[i][1] = (fsys_iovec){memory[i] + 256, 256};
        requests[i].opcode = FSYS_OP_READV;
        requests[i].flags = i % 2 == 0 ? FSYS_WAIT_SOON : 0;
        requests[i].file = file;
        requests[i].buffer = pieces[i];
        requests[i].length = 2;
    }
    const int64_t accepted = TRY(fsys_submit(handle, requests, 8, ops));
    good = good && accepted == 8;
    if (accepted > 0) {
        if (TRY(fsys_wait_all(handle, ops, (uint32_t)accepted, FSYS_FOREVER, results)) == 0) {
            for (int i = 0; i < accepted; i++) {
                good = TRY(results[i].result) == 512 && good;
            }
        } else {
            good = false;
        }
    }

    void *buffer = NULL;
    if (TRY(fsys_buffer_alloc(handle, 8192, &buffer)) == 0) {
        good = TRY(fsys_read(file, buffer, 512, 0, 0)) == 512 && good;
        EXPECT(fsys_buffer_free(handle, buffer), 0);
    } else {
        good = false;
    }
    good = TRY(fsys_event_fd(handle)) >= 0 && good;
    good = TRY(fsys_write(file, memory[0], 512, 0, 0)) == 512 && good;
    EXPECT(fsys_file_close(file), 0);
    good = whole_files(handle) && good;
    EXPECT(fsys_close(handle), 0);
    return good;
}

/* Arrays of any size need no memory: submitting and waiting work when none is to be had. */
static void big_arrays_need_no_memory(void) {
    enum { COUNT = 1000 };
    static fsys_request requests[COUNT];
    static fsys_op ops[COUNT];
    static fsys_result results[COUNT];
    const fsys_options options = {
        .struct_size = sizeof options, .backend = backend, .max_ops = COUNT};
    fsys *handle = NULL;
    EXPECT(fsys_open(&options, &handle), 0);
    for (int round = 0; round < 2; round++) { /* the first starts the driver */
        uint32_t index = COUNT;
        if (round == 1) {
            arm(1, true);
        }
        const int accepted = fsys_submit(handle, requests, COUNT, ops);
        const int any = fsys_wait_any(handle, ops, COUNT, FSYS_FOREVER, &index, &results[0]);
        if (index < COUNT) {
            ops[index] = 0;
        }
        const int all = fsys_wait_all(handle, ops, COUNT, FSYS_FOREVER, results);
        disarm();
        EXPECT(accepted, COUNT);
        EXPECT(any, 0);
        EXPECT(all, 0);
        EXPECT(atomic_load(&failures), 0);
    }
    EXPECT(fsys_close(handle), 0);
}

static void sweep(bool later_too) {
    const char *what = later_too ? "all from the k-th" : "only the k-th";
    long k = 1;
    for (;; k++) {
        if (k > 5000) {
            FAIL("a life of the library makes more than 5000 allocations");
        }
        /* The heap's bookkeeping and libstdc++ may map memory once; descriptors and threads of the
         * library may not stay. */
        const long descriptors = count_entries("/proc/self/fd");
        alarm(60);
        arm(k, later_too);
        const bool good = life();
        disarm();
        alarm(0);
        EXPECT(count_entries("/proc/self/fd"), descriptors);
        long threads = count_entries("/proc/self/task");
        for (int i = 0; i < 500 && threads != 3; i++) { /* ".", ".." and this thread */
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
            threads = count_entries("/proc/self/task");
        }
        EXPECT(threads, 3);
        if (atomic_load(&failures) == 0) {
            if (!good) {
                FAIL("with no allocation failing (k = %ld) a call failed", k);
            }
            break;
        }
    }
    printf("%s allocation failing: %ld places survived\n", what, k - 1);
    if (k < 4) {
        FAIL("so few allocations: the replacement of malloc does not reach the library");
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 2) {
        FAIL("usage: alloc_failure io_uring|threads");
    }
    backend = FSYS_BACKEND_THREADS;
    if (strcmp(argv[1], "io_uring") == 0) {
        int error = 0;
        if (!kernel_has_io_uring(&error)) {
            SKIP("this machine gives no io_uring: %s", strerror(error));
        }
        backend = FSYS_BACKEND_IO_URING;
    }
    const int fd = mkstemp(path);
    CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
    close(fd);
    const int others[2] = {mkstemp(second), mkstemp(third)};
    CHECK(others[0] >= 0 && others[1] >= 0 && mkdtemp(folder) != NULL);
    close(others[0]);
    close(others[1]);
    CHECK(life()); /* what is set up once per process is not the sweep's subject */
    big_arrays_need_no_memory();
    sweep(false);
    sweep(true);
    CHECK(life());
    unlink(path);
    unlink(second);
    unlink(third);
    rmdir(folder);
    return 0;
}
