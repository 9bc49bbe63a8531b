/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* libfsys from C without linking to it: header at compile time, dlopen(3) at run time.
 *
 *   cc dlopen.c $(pkg-config --cflags fsys) -ldl -o dlopen && ./dlopen DIRECTORY
 */
#include <dlfcn.h>
#include <errno.h>
#include <fsys/fsys.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The functions in use, as pointers of the header's own types. */
#define FUNCTIONS(X) \
    X(fsys_version) X(fsys_open) X(fsys_close) X(fsys_file_open) X(fsys_file_close) \
    X(fsys_submit_write) X(fsys_submit_read) X(fsys_wait) X(fsys_event_fd) X(fsys_reap) \
    X(fsys_error_name) X(fsys_strerror)

static struct {
#define POINTER(name) __typeof__(&name) name;
    FUNCTIONS(POINTER)
} api;

static void load(void) {
    void *library = dlopen("libfsys.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
#define LOOK_UP(name) \
    if ((*(void **)&api.name = dlsym(library, #name)) == NULL) { \
        fprintf(stderr, "%s\n", dlerror()); \
        exit(1); \
    }
    FUNCTIONS(LOOK_UP)
}

/* A negative code ends the program. */
static int64_t must(const char *what, int64_t code) {
    if (code < 0) {
        fprintf(stderr, "%s: %s\n", what, api.fsys_strerror((int)code));
        exit(1);
    }
    return code;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: dlopen DIRECTORY\n");
        return 1;
    }
    load();
    /* struct_size is the size compiled here; the library knows older and newer ones. */
    fsys_options options = {.struct_size = sizeof options, .root = argv[1]};
    fsys *engine = NULL;
    must("fsys_open", api.fsys_open(&options, &engine));
    fsys_file_options how = {
        .struct_size = sizeof how,
        .flags = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE | FSYS_FILE_TRUNCATE,
    };
    fsys_file *file = NULL;
    must("fsys_file_open", api.fsys_file_open(engine, "ffi.dat", &how, &file));

    /* With a token: waited for by name. The buffer is the library's until the wait returns 0. */
    static const char text[] = "safe at last";
    fsys_op op = 0;
    fsys_result result;
    must("fsys_submit_write",
         api.fsys_submit_write(file, text, sizeof text, 0, FSYS_DURABLE, 0, &op));
    must("fsys_wait", api.fsys_wait(engine, op, FSYS_FOREVER, &result));
    must("durable write", result.result);

    /* Without: the completion comes to the queue, and the event descriptor tells. */
    static char back[sizeof text];
    must("fsys_submit_read", api.fsys_submit_read(file, back, sizeof back, 0, 0, 42, NULL));
    struct pollfd ready = {.fd = (int)must("fsys_event_fd", api.fsys_event_fd(engine)),
                           .events = POLLIN};
    while (must("fsys_reap", api.fsys_reap(engine, &result, 1, 0)) == 0)
        if (poll(&ready, 1, 10000) != 1)
            return fprintf(stderr, "no event\n"), 1;
    if (result.user_data != 42 || result.result != sizeof text || strcmp(back, text) != 0)
        return fprintf(stderr, "read something else\n"), 1;

    /* An error is a negative errno, or a code of the library below -4096. */
    char why[256];
    fsys_file_options absent = {
        .struct_size = sizeof absent, .error_text = why, .error_text_size = sizeof why};
    fsys_file *none = NULL;
    int code = api.fsys_file_open(engine, "absent", &absent, &none);
    if (code != -ENOENT)
        return fprintf(stderr, "opened what is not there\n"), 1;
    printf("expected: %s (%s)\n", why, api.fsys_error_name(code));

    must("fsys_file_close", api.fsys_file_close(file));
    must("fsys_close", api.fsys_close(engine));
    if (api.fsys_close(engine) != FSYS_E_CLOSED)
        return fprintf(stderr, "closed twice\n"), 1;
    printf("C: libfsys %u.%u, %lld bytes written durable and read back\n",
           api.fsys_version() >> 16, api.fsys_version() >> 8 & 255, (long long)result.result);
    return 0;
}
