/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * An event loop: durable writes complete through the completion queue, announced on a descriptor
 * that epoll watches beside the program's other sources (here: a timer).
 *
 *     cc epoll_loop.c $(pkg-config --cflags --libs fsys) -o epoll_loop && ./epoll_loop /tmp
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <fsys/fsys.h>

enum { BLOCK = 4096, BLOCKS = 64, WINDOW = 8, REAP = 16 };

static char blocks[WINDOW][BLOCK]; /* a block belongs to the kernel until its completion is taken */

static int fail(const char *step, int64_t code) {
    fprintf(stderr, "epoll_loop: %s: %s (%s)\n", step, fsys_strerror((int)code),
            fsys_error_name((int)code));
    return EXIT_FAILURE;
}

/* Starts the write of block `number` from buffer `place`. The token place is NULL, so that the
 * completion goes to the queue; user_data brings back which buffer is free again. */
static int start_write(fsys_file *file, int number, int place) {
    memset(blocks[place], 'A' + number % 26, BLOCK);
    return fsys_submit_write(file, blocks[place], BLOCK, (uint64_t)number * BLOCK, FSYS_DURABLE,
                             (uint64_t)place, NULL);
}

static int watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: epoll_loop DIRECTORY\n");
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
    code = fsys_file_open(engine, "epoll_loop.dat", &how, &file);
    if (code < 0)
        return fail("fsys_file_open", code);

    int completions = fsys_event_fd(engine); /* owned by the engine: only ever watched */
    if (completions < 0)
        return fail("fsys_event_fd", completions);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct itimerspec every_ms = {{0, 1000000}, {0, 1000000}};
    if (timer < 0 || epoll < 0 || timerfd_settime(timer, 0, &every_ms, NULL) < 0 ||
        watch(epoll, completions) < 0 || watch(epoll, timer) < 0)
        return fail("setting up epoll", -errno);

    int started = 0, finished = 0;
    uint64_t ticks = 0;
    for (; started < WINDOW; started++)
        if ((code = start_write(file, started, started)) < 0)
            return fail("fsys_submit_write", code);

    while (finished < BLOCKS) {
        struct epoll_event event;
        int ready = epoll_wait(epoll, &event, 1, 10000);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return fail("epoll_wait", ready < 0 ? -errno : -ETIMEDOUT);
        if (event.data.fd == timer) { /* the program's other work */
            uint64_t expired = 0;
            if (read(timer, &expired, sizeof expired) == (ssize_t)sizeof expired)
                ticks += expired;
            continue;
        }
        fsys_result results[REAP];
        int taken = fsys_reap(engine, results, REAP, 0);
        if (taken < 0)
            return fail("fsys_reap", taken);
        for (int i = 0; i < taken; i++) {
            if (results[i].result != BLOCK)
                return fail("durable write", results[i].result);
            finished++;
            if (started < BLOCKS &&
                (code = start_write(file, started++, (int)results[i].user_data)) < 0)
                return fail("fsys_submit_write", code);
        }
    }

    for (int number = 0; number < BLOCKS; number++) {
        char back[BLOCK], expected[BLOCK];
        memset(expected, 'A' + number % 26, BLOCK);
        int64_t done = fsys_read(file, back, BLOCK, (uint64_t)number * BLOCK, FSYS_EXACT);
        if (done != BLOCK)
            return fail("fsys_read", done);
        if (memcmp(back, expected, BLOCK) != 0)
            return fail("comparing", FSYS_E_MISMATCH);
    }
    printf("epoll_loop: %d durable blocks, %llu timer ticks served meanwhile\n", finished,
           (unsigned long long)ticks);
    if (close(epoll) < 0 || close(timer) < 0)
        return fail("close", -errno);
    if ((code = fsys_close(engine)) < 0)
        return fail("fsys_close", code);
    return EXIT_SUCCESS;
}
