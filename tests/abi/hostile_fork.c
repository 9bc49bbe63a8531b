/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A fork child calls every function on its parent's handle, while other threads of the parent are
 * inside the library (so that the child inherits whatever they held): each call is FSYS_E_FORKED at
 * once, a new handle of the child works, and the parent goes on undisturbed.
 */
#include <fsys/fsys.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static char path[] = "fsys-fork.XXXXXX";
static char memory[4][4096];
static fsys *handle;
static fsys_file *file;
static atomic_bool stop;

static void *busy(void *argument) {
    char *mine = argument;
    while (!atomic_load(&stop)) {
        fsys_op op = 0;
        fsys_result result;
        EXPECT(fsys_submit_write(file, mine, 512, 0, FSYS_DURABLE, 0, &op), 0);
        EXPECT(fsys_wait(handle, op, FSYS_FOREVER, &result), 0);
        EXPECT(result.result, 512);
        EXPECT(fsys_read(file, mine, 512, 0, 0), 512);
        EXPECT(fsys_submit_read(file, mine, 512, 0, 0, 1, NULL), 0);
        /* Another thread may take it, then nothing is outstanding. */
        const int reaped = fsys_reap(handle, &result, 1, FSYS_FOREVER);
        CHECK(reaped == 1 || reaped == 0 || reaped == FSYS_E_NOTHING);
    }
    return NULL;
}

static void child(void) {
    alarm(20); /* a lock that a parent's thread held would hang us */
    char bytes[64];
    fsys_op op = 0;
    const fsys_op token = UINT64_C(0x0000000100000001);
    uint32_t index = 0;
    fsys_result result;
    void *buffer = NULL;
    fsys_file *opened = NULL;
    fsys_handle_info info = {.struct_size = sizeof info};
    static fsys_counters counters;
    counters.struct_size = sizeof counters;
    fsys_file_details details = {.struct_size = sizeof details};
    const fsys_request request = {.opcode = FSYS_OP_NOP};
    char text[32];
    EXPECT(fsys_file_open(handle, path, NULL, &opened), FSYS_E_FORKED);
    EXPECT(fsys_file_from_fd(handle, 0, NULL, &opened), FSYS_E_FORKED);
    EXPECT(fsys_submit(handle, &request, 1, &op), FSYS_E_FORKED);
    EXPECT(fsys_submit_read(file, bytes, 1, 0, 0, 0, &op), FSYS_E_FORKED);
    EXPECT(fsys_submit_write(file, bytes, 1, 0, 0, 0, &op), FSYS_E_FORKED);
    EXPECT(fsys_submit_sync(file, 0, 0, 0, 0, &op), FSYS_E_FORKED);
    EXPECT(fsys_cancel(handle, token), FSYS_E_FORKED);
    EXPECT(fsys_cancel_queued(handle, 0), FSYS_E_FORKED);
    EXPECT(fsys_wait(handle, token, FSYS_FOREVER, &result), FSYS_E_FORKED);
    EXPECT(fsys_try(handle, token, &result), FSYS_E_FORKED);
    EXPECT(fsys_wait_any(handle, &token, 1, FSYS_FOREVER, &index, &result), FSYS_E_FORKED);
    EXPECT(fsys_wait_all(handle, &token, 1, FSYS_FOREVER, &result), FSYS_E_FORKED);
    EXPECT(fsys_reap(handle, &result, 1, FSYS_FOREVER), FSYS_E_FORKED);
    EXPECT(fsys_event_fd(handle), FSYS_E_FORKED);
    EXPECT(fsys_poll(handle, 0), FSYS_E_FORKED);
    EXPECT(fsys_read(file, bytes, 1, 0, 0), FSYS_E_FORKED);
    EXPECT(fsys_write(file, bytes, 1, 0, 0), FSYS_E_FORKED);
    EXPECT(fsys_sync(file, 0), FSYS_E_FORKED);
    EXPECT(fsys_buffer_alloc(handle, 64, &buffer), FSYS_E_FORKED);
    EXPECT(fsys_buffer_free(handle, bytes), FSYS_E_FORKED);
    EXPECT(fsys_info(handle, &info), FSYS_E_FORKED);
    EXPECT(fsys_stats(handle, &counters), FSYS_E_FORKED);
    EXPECT(fsys_file_info(file, &details), FSYS_E_FORKED);
    EXPECT(fsys_cause(handle, text, sizeof text), FSYS_E_FORKED);
    EXPECT(fsys_file_close(file), FSYS_E_FORKED);
    EXPECT(fsys_close(handle), FSYS_E_FORKED);

    /* The child may use the library for itself. */
    fsys *own = NULL;
    EXPECT(fsys_open(NULL, &own), 0);
    EXPECT(fsys_file_open(own, path, NULL, &opened), 0);
    EXPECT(fsys_submit_read(opened, bytes, 64, 0, 0, 0, &op), 0);
    EXPECT(fsys_wait(own, op, FSYS_FOREVER, &result), 0);
    EXPECT(result.result, 64);
    EXPECT(fsys_submit(own, &request, 1, NULL), 1);
    EXPECT(fsys_reap(own, &result, 1, FSYS_FOREVER), 1);
    EXPECT(fsys_close(own), 0);
    _exit(0);
}

static void parent(uint32_t backend) {
    const fsys_options options = {.struct_size = sizeof options, .backend = backend};
    const fsys_file_options file_options = {.struct_size = sizeof file_options,
                                            .flags = FSYS_FILE_READ | FSYS_FILE_WRITE};
    EXPECT(fsys_open(&options, &handle), 0);
    EXPECT(fsys_file_open(handle, path, &file_options, &file), 0);
    atomic_store(&stop, false);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&threads[i], NULL, busy, memory[i]) == 0);
    }
    for (int i = 0; i < 40; i++) {
        nanosleep(&(struct timespec){.tv_nsec = (i * 7919 % 3000) * 1000L}, NULL);
        const pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            child();
        }
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            FAIL("the fork child ended with status 0x%x%s", (unsigned)status,
                 WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hung" : "");
        }
        EXPECT(fsys_read(file, memory[3], 64, 0, 0), 64);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    EXPECT(fsys_file_close(file), 0);
    EXPECT(fsys_close(handle), 0);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(180);
    const int fd = mkstemp(path);
    CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
    close(fd);
    parent(FSYS_BACKEND_DEFAULT);
    printf("default backend: 40 children\n");
    parent(FSYS_BACKEND_THREADS);
    printf("threads backend: 40 children\n");
    unlink(path);
    return 0;
}
