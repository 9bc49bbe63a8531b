/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A file system of one file whose operations stall or fail on command, for tests: what a dying disk
 * or a hanging network mount does to its callers.
 *
 *   fuse_stall MOUNTPOINT
 *
 * Commands on stdin, one a line: "stall read|write|fsync" (such requests wait), "fail read|write|fsync
 * ERRNO" (they fail; 0: succeed again), "go" (waiting ones go on, nothing stalls any more). Each is
 * answered with "ok". "ready" comes when the mount is there, "stalled" whenever a request begins to
 * wait. The end of stdin unmounts and ends the program. The main thread reads commands; the library's
 * worker threads serve requests.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { KIND_READ, KIND_WRITE, KIND_FSYNC, KINDS };
static const char *const names[KINDS] = {"read", "write", "fsync"};

#define SIZE (1 << 20)
static char bytes[SIZE];
static off_t length = SIZE;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int stalls[KINDS];
static int errors[KINDS];

static void say(const char *text) {
    printf("%s\n", text);
    fflush(stdout);
}

/* Waits or fails as told; 0: go on. */
static int obey(enum kind kind) {
    pthread_mutex_lock(&mutex);
    if (stalls[kind]) {
        say("stalled");
    }
    while (stalls[kind]) {
        pthread_cond_wait(&changed, &mutex);
    }
    const int error = errors[kind];
    pthread_mutex_unlock(&mutex);
    return -error;
}

static int fs_getattr(const char *path, struct stat *st, struct fuse_file_info *info) {
    (void)info;
    memset(st, 0, sizeof *st);
    if (strcmp(path, "/") == 0) {
        st->st_mode = S_IFDIR | 0755;
        st->st_nlink = 2;
        return 0;
    }
    if (strcmp(path, "/data") != 0) {
        return -ENOENT;
    }
    st->st_mode = S_IFREG | 0666;
    st->st_nlink = 1;
    st->st_size = length;
    return 0;
}
static int fs_open(const char *path, struct fuse_file_info *info) {
    (void)info;
    return strcmp(path, "/data") == 0 ? 0 : -ENOENT;
}
static int fs_truncate(const char *path, off_t size, struct fuse_file_info *info) {
    (void)path;
    (void)info;
    length = size < SIZE ? size : SIZE;
    return 0;
}
static int fs_read(const char *path, char *out, size_t size, off_t at, struct fuse_file_info *info) {
    (void)path;
    (void)info;
    const int code = obey(KIND_READ);
    if (code != 0) {
        return code;
    }
    if (at >= length) {
        return 0;
    }
    size = size < (size_t)(length - at) ? size : (size_t)(length - at);
    memcpy(out, bytes + at, size);
    return (int)size;
}
static int fs_write(const char *path, const char *in, size_t size, off_t at,
                    struct fuse_file_info *info) {
    (void)path;
    (void)info;
    const int code = obey(KIND_WRITE);
    if (code != 0) {
        return code;
    }
    if (at + (off_t)size > SIZE) {
        return -EFBIG;
    }
    memcpy(bytes + at, in, size);
    length = length > at + (off_t)size ? length : at + (off_t)size;
    return (int)size;
}
static int fs_fsync(const char *path, int data_only, struct fuse_file_info *info) {
    (void)path;
    (void)data_only;
    (void)info;
    return obey(KIND_FSYNC);
}

static const struct fuse_operations operations = {
    .getattr = fs_getattr,
    .open = fs_open,
    .truncate = fs_truncate,
    .read = fs_read,
    .write = fs_write,
    .fsync = fs_fsync,
};

static void *serve(void *fuse) {
    fuse_loop_mt(fuse, 0);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: fuse_stall MOUNTPOINT\n");
        return 2;
    }
    for (int i = 0; i < SIZE; ++i) {
        bytes[i] = (char)(5 + i / 512 + i);  /* support.hpp: byte_at(5, i) */
    }
    char *fuse_argv[] = {argv[0], NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, fuse_argv);
    struct fuse *fuse = fuse_new(&args, &operations, sizeof operations, NULL);
    if (fuse == NULL || fuse_mount(fuse, argv[1]) != 0) {
        return 1;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, fuse) != 0) {
        fuse_unmount(fuse);
        return 1;
    }
    say("ready");
    char line[128];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char verb[16] = "";
        char name[16] = "";
        int error = 0;
        sscanf(line, "%15s %15s %d", verb, name, &error);
        pthread_mutex_lock(&mutex);
        for (int kind = 0; kind < KINDS; ++kind) {
            if (strcmp(verb, "go") == 0) {
                stalls[kind] = 0;
            } else if (strcmp(name, names[kind]) == 0) {
                stalls[kind] = strcmp(verb, "stall") == 0 ? 1 : stalls[kind];
                errors[kind] = strcmp(verb, "fail") == 0 ? error : errors[kind];
            }
        }
        pthread_cond_broadcast(&changed);
        say("ok");
        pthread_mutex_unlock(&mutex);
    }
    fuse_unmount(fuse);
    _exit(0);  /* closes /dev/fuse: whatever still waits fails */
}
