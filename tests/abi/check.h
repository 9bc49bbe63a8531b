/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Checks for the C test programs: the first thing that is wrong ends the program with a sentence.
 */
#ifndef CHECK_H
#define CHECK_H

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((format(printf, 3, 4), noreturn)) static inline void check_failed(const char *file,
                                                                                int line,
                                                                                const char *format,
                                                                                ...) {
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    fflush(stderr);
    va_end(args);
    _exit(1);
}

#define FAIL(...) check_failed(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(condition)                 \
    do {                                 \
        if (!(condition)) {              \
            FAIL("not so: " #condition); \
        }                                \
    } while (0)

/* An integer expression must have this value. */
#define EXPECT(expression, wanted)                                                            \
    do {                                                                                      \
        long long check_got = (long long)(expression);                                        \
        long long check_wanted = (long long)(wanted);                                         \
        if (check_got != check_wanted) {                                                      \
            FAIL("%s is %lld, not %lld (%s)", #expression, check_got, check_wanted, #wanted); \
        }                                                                                     \
    } while (0)

/* Ends the program as skipped, saying why. */
#define SKIP(...)            \
    do {                     \
        printf("skipped: "); \
        printf(__VA_ARGS__); \
        printf("\n");        \
        exit(77);            \
    } while (0)

/* Entries of a directory, "." and ".." too. */
static inline long count_entries(const char *directory) {
    DIR *dir = opendir(directory);
    CHECK(dir != NULL);
    long count = 0;
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

/* Whether this process can have an io_uring at all, asked of the kernel and not of the library. */
static inline int kernel_has_io_uring(int *ret_errno) {
    unsigned char params[120]; /* struct io_uring_params */
    memset(params, 0, sizeof params);
    long fd = syscall(SYS_io_uring_setup, 4, params);
    if (fd < 0) {
        *ret_errno = errno;
        return 0;
    }
    close((int)fd);
    return 1;
}

#endif
