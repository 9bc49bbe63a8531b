/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Every exported function on good handles with bad arguments: NULL, zero and absurd lengths and
 * offsets, unknown flags and constants, bad struct sizes. Each gives the code that the header
 * names, on both backends, and the handle works afterwards.
 */
#include <fsys/fsys.h>

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "check.h"

#define UNKNOWN_FLAG 0x80000000u

static fsys *handle;
static fsys_file *file; /* read and write, ten bytes long */
static char path[] = "fsys-hostile.XXXXXX";
static char memory[4096];

static void expect_not_open(const fsys_options *options, int wanted, const char *what) {
    fsys *opened = (fsys *)(uintptr_t)42;
    const int code = fsys_open(options, &opened);
    if (code != wanted) {
        FAIL("fsys_open with %s gave %d (%s), not %d", what, code, fsys_error_name(code), wanted);
    }
    CHECK(opened == (fsys *)(uintptr_t)42);
}

static void opening(void) {
    EXPECT(fsys_open(NULL, NULL), -EINVAL);
    const fsys_options good = {.struct_size = sizeof good};
    EXPECT(fsys_open(&good, NULL), -EINVAL);
    fsys_options options = good;
#define BAD(member, value, wanted) \
    options = good;                \
    options.member = value;        \
    expect_not_open(&options, wanted, #member " = " #value)
    BAD(struct_size, 0, FSYS_E_BAD_STRUCT);
    BAD(struct_size, 3, FSYS_E_BAD_STRUCT);
    BAD(struct_size, sizeof options - 1, FSYS_E_BAD_STRUCT);
    BAD(struct_size, UINT32_MAX, FSYS_E_BAD_STRUCT);
    BAD(flags, 1, FSYS_E_BAD_FLAG);
    BAD(flags, UNKNOWN_FLAG, FSYS_E_BAD_FLAG);
    BAD(backend, 3, FSYS_E_BAD_FLAG);
    BAD(backend, UINT32_MAX, FSYS_E_BAD_FLAG);
    BAD(driver, 2, FSYS_E_BAD_FLAG);
    BAD(max_ops, 32769, -EINVAL);
    BAD(max_ops, UINT32_MAX, -EINVAL);
    BAD(max_files, 1048577, -EINVAL);
    BAD(pool_threads, 65, -EINVAL);
    BAD(root, "", -ENOENT);
    BAD(root, "/nonexistent/folder", -ENOENT);
    BAD(root, path, -ENOTDIR);
#undef BAD
    /* The sentence is cut to its buffer, always ends, and does not touch the byte behind. */
    for (size_t size = 0; size < 40; size++) {
        char text[41];
        memset(text, 'x', sizeof text);
        options = good;
        options.root = "/nonexistent/folder";
        options.error_text = size == 0 ? NULL : text;
        options.error_text_size = size;
        expect_not_open(&options, -ENOENT, "an error_text");
        CHECK(size == 0 || memchr(text, 0, size) != NULL);
        CHECK(text[size] == 'x');
    }
    /* Absurd but not forbidden: either it opens and closes, or says why not. */
    fsys *opened = NULL;
    options = good;
    options.arena_bytes = UINT64_MAX;
    options.close_timeout_ns = UINT64_MAX;
    options.submit_timeout_ns = UINT64_MAX;
    options.registered_files = UINT32_MAX - 1;
    const int code = fsys_open(&options, &opened);
    if (code == 0) {
        void *buffer = NULL;
        EXPECT(fsys_buffer_alloc(opened, 4096, &buffer) <= 0, 1);
        EXPECT(fsys_buffer_free(opened, buffer), 0);
        EXPECT(fsys_close(opened), 0);
    } else {
        CHECK(code == -EINVAL || code == -ENOMEM);
    }
}

static void files(void) {
    fsys_file *opened = NULL;
    fsys_file_options options = {.struct_size = sizeof options, .flags = FSYS_FILE_READ};
    static char long_name[PATH_MAX + 10];
    memset(long_name, 'a', sizeof long_name - 1);
    EXPECT(fsys_file_open(handle, NULL, NULL, &opened), -EINVAL);
    EXPECT(fsys_file_open(handle, path, NULL, NULL), -EINVAL);
    EXPECT(fsys_file_open(handle, "", NULL, &opened), -ENOENT);
    EXPECT(fsys_file_open(handle, long_name, NULL, &opened), -ENAMETOOLONG);
    options.flags = FSYS_FILE_READ | UNKNOWN_FLAG;
    EXPECT(fsys_file_open(handle, path, &options, &opened), FSYS_E_BAD_FLAG);
    options.flags = FSYS_FILE_READ;
    options.struct_size = 0;
    EXPECT(fsys_file_open(handle, path, &options, &opened), FSYS_E_BAD_STRUCT);
    EXPECT(fsys_file_from_fd(handle, 0, &options, &opened), FSYS_E_BAD_STRUCT);
    options.struct_size = sizeof options;
    options.reserved = 1;
    CHECK(fsys_file_open(handle, path, &options, &opened) < 0);
    options.reserved = 0;
    EXPECT(fsys_file_from_fd(handle, -1, NULL, &opened), -EBADF);
    EXPECT(fsys_file_from_fd(handle, INT_MIN, NULL, &opened), -EBADF);
    EXPECT(fsys_file_from_fd(handle, INT_MAX, NULL, &opened), -EBADF);
    const int append = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK(append >= 0);
    EXPECT(fsys_file_from_fd(handle, append, NULL, &opened), -EINVAL);
    EXPECT(fsys_file_from_fd(handle, append, NULL, NULL), -EINVAL);
    close(append);
    CHECK(opened == NULL);
    EXPECT(fsys_file_info(file, NULL), -EINVAL);
    fsys_file_details details = {.struct_size = 4};
    EXPECT(fsys_file_info(file, &details), FSYS_E_BAD_STRUCT);
}

static void refused(fsys_request request, int wanted, const char *what) {
    fsys_op op = 0;
    int code = fsys_submit(handle, &request, 1, &op);
    if (code == wanted) {
        code = fsys_submit(handle, &request, 1, NULL);
    }
    if (code != wanted || op != 0) {
        FAIL("a request with %s gave %d (%s), not %d", what, code, fsys_error_name(code), wanted);
    }
}

static void requests(void) {
    fsys_op op = 0;
    EXPECT(fsys_submit(handle, NULL, 0, NULL), 0);
    EXPECT(fsys_submit(handle, NULL, 1, NULL), -EINVAL);
    EXPECT(fsys_submit(handle, NULL, UINT32_MAX, NULL), -EINVAL);

    const fsys_request good = {
        .opcode = FSYS_OP_READ, .file = file, .buffer = memory, .length = 10};
    fsys_request bad = good;
#define BAD(what, wanted, ...) \
    bad = good;                \
    __VA_ARGS__;               \
    refused(bad, wanted, what)
    BAD("an unknown opcode", FSYS_E_BAD_FLAG, bad.opcode = 7);
    BAD("an absurd opcode", FSYS_E_BAD_FLAG, bad.opcode = UINT32_MAX);
    BAD("an unknown flag", FSYS_E_BAD_FLAG, bad.flags = UNKNOWN_FLAG);
    BAD("a flag of another op", -EINVAL, bad.flags = FSYS_SYNC_DATA);
    BAD("no file", FSYS_E_CLOSED, bad.file = NULL);
    BAD("no buffer", -EINVAL, bad.buffer = NULL);
    BAD("an absurd length", -EINVAL, bad.length = UINT64_MAX);
    BAD("a length beyond INT64_MAX", -EINVAL, bad.length = (uint64_t)INT64_MAX + 1);
    BAD("an absurd offset", -EINVAL, bad.offset = UINT64_MAX);
    BAD("an offset just too large", -EINVAL, bad.offset = INT64_MAX - 9);
    BAD("reserved[0]", -EINVAL, bad.reserved[0] = 1);
    BAD("reserved[1]", -EINVAL, bad.reserved[1] = UINT64_MAX);
    fsys_iovec pieces[2] = {{memory, 5}, {memory + 5, 5}};
    BAD("1025 iovecs", -EINVAL, bad.opcode = FSYS_OP_READV; bad.buffer = pieces; bad.length = 1025);
    BAD("absurdly many iovecs", -EINVAL, bad.opcode = FSYS_OP_WRITEV; bad.buffer = pieces;
        bad.length = UINT64_MAX);
    BAD("iovecs at NULL", -EINVAL, bad.opcode = FSYS_OP_READV; bad.buffer = NULL; bad.length = 2);
    pieces[1].length = SIZE_MAX;
    BAD("iovecs that overflow", -EINVAL, bad.opcode = FSYS_OP_READV; bad.buffer = pieces;
        bad.length = 2);
    pieces[1] = (fsys_iovec){NULL, 5};
    BAD("an iovec at NULL", -EINVAL, bad.opcode = FSYS_OP_READV; bad.buffer = pieces;
        bad.length = 2);
    BAD("an absurd allocation", -EINVAL, bad.opcode = FSYS_OP_ALLOCATE; bad.buffer = NULL;
        bad.offset = UINT64_MAX);
#undef BAD

    EXPECT(fsys_submit_read(file, NULL, 1, 0, 0, 0, &op), -EINVAL);
    EXPECT(fsys_submit_read(file, memory, SIZE_MAX, 0, 0, 0, &op), -EINVAL);
    EXPECT(fsys_submit_read(file, memory, 1, UINT64_MAX, 0, 0, &op), -EINVAL);
    EXPECT(fsys_submit_read(file, memory, 1, 0, UNKNOWN_FLAG, 0, &op), FSYS_E_BAD_FLAG);
    EXPECT(fsys_submit_write(file, NULL, 1, 0, 0, 0, &op), -EINVAL);
    EXPECT(fsys_submit_write(file, memory, SIZE_MAX, 1, 0, 0, &op), -EINVAL);
    EXPECT(fsys_submit_write(file, memory, 1, 0, UINT32_MAX, 0, &op), FSYS_E_BAD_FLAG);
    EXPECT(fsys_submit_sync(file, UINT64_MAX, UINT64_MAX, FSYS_SYNC_RANGE, 0, &op), -EINVAL);
    EXPECT(fsys_submit_sync(file, 0, 0, UNKNOWN_FLAG, 0, &op), FSYS_E_BAD_FLAG);
    EXPECT(op, 0);

    /* Legal: nothing to do, and more room than the file has bytes. */
    fsys_result result;
    EXPECT(fsys_submit_read(file, NULL, 0, 0, 0, 0, &op), 0);
    EXPECT(fsys_wait(handle, op, FSYS_FOREVER, &result), 0);
    EXPECT(result.result, 0);
    EXPECT(fsys_submit_write(file, NULL, 0, 0, 0, 0, &op), 0);
    EXPECT(fsys_wait(handle, op, FSYS_FOREVER, NULL), 0);
    EXPECT(fsys_submit_read(file, memory, 10, INT64_MAX - 10, 0, 0, &op), 0);
    EXPECT(fsys_wait(handle, op, FSYS_FOREVER, &result), 0);
    EXPECT(result.result, 0);
    EXPECT(fsys_submit_read(file, memory, sizeof memory, 0, 0, 0, &op), 0);
    EXPECT(fsys_wait(handle, op, FSYS_FOREVER, &result), 0);
    EXPECT(result.result, 10);

    /* A buffer that is not memory is the op's failure, on every lane. */
    static const uint32_t ways[] = {0, FSYS_WAIT_SOON};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        EXPECT(fsys_submit_read(file, (void *)(uintptr_t)64, 8, 0, ways[i], 0, &op), 0);
        EXPECT(fsys_wait(handle, op, FSYS_FOREVER, &result), 0);
        EXPECT(result.result, -EFAULT);
        EXPECT(fsys_submit_write(file, (void *)(uintptr_t)64, 8, 0, ways[i], 0, &op), 0);
        EXPECT(fsys_wait(handle, op, FSYS_FOREVER, &result), 0);
        EXPECT(result.result, -EFAULT);
    }
    EXPECT(fsys_submit_read(file, (void *)(uintptr_t)64, 8, 0, 0, 9, NULL), 0);
    EXPECT(fsys_reap(handle, &result, 1, FSYS_FOREVER), 1);
    EXPECT(result.result, -EFAULT);
    EXPECT(result.user_data, 9);
}

static void completions(void) {
    fsys_result result;
    fsys_result *no_results = NULL;
    uint32_t index = 0;
    static fsys_op ops[4097];
    EXPECT(fsys_wait(handle, 0, FSYS_FOREVER, &result), FSYS_E_STALE);
    EXPECT(fsys_wait(handle, UINT64_MAX, INT64_MIN, &result), FSYS_E_STALE);
    EXPECT(fsys_try(handle, 0, &result), FSYS_E_STALE);
    EXPECT(fsys_cancel(handle, 0), FSYS_E_STALE);
    EXPECT(fsys_cancel(handle, UINT64_MAX), FSYS_E_STALE);
    EXPECT(fsys_cancel_queued(handle, 0), -ENOENT);
    EXPECT(fsys_cancel_queued(handle, UINT64_MAX), -ENOENT);
    EXPECT(fsys_wait_any(handle, NULL, 1, 0, &index, &result), -EINVAL);
    EXPECT(fsys_wait_any(handle, ops, 4097, 0, &index, &result), -EINVAL);
    EXPECT(fsys_wait_any(handle, ops, UINT32_MAX, 0, &index, &result), -EINVAL);
    const int empty = fsys_wait_any(handle, ops, 0, 0, &index, &result);
    CHECK(empty == -EINVAL || empty == FSYS_E_NOTHING);
    EXPECT(fsys_wait_any(handle, ops, 4096, FSYS_FOREVER, &index, &result), FSYS_E_NOTHING);
    EXPECT(fsys_wait_all(handle, NULL, 1, 0, no_results), -EINVAL);
    CHECK(fsys_wait_all(handle, ops, 4096, FSYS_FOREVER, no_results) <= 0);
    EXPECT(fsys_reap(handle, NULL, 1, 0), -EINVAL);
    EXPECT(fsys_reap(handle, NULL, UINT32_MAX, 0), -EINVAL);
    EXPECT(fsys_reap(handle, NULL, 0, 0), 0);
    EXPECT(fsys_reap(handle, &result, 1, 0), 0);
    EXPECT(fsys_reap(handle, &result, 1, 1), 0);
    EXPECT(fsys_reap(handle, &result, 1, FSYS_FOREVER), FSYS_E_NOTHING);
    EXPECT(fsys_reap(handle, &result, 1, INT64_MIN), FSYS_E_NOTHING);
    EXPECT(fsys_poll(handle, 0), FSYS_E_WRONG_THREAD);
    EXPECT(fsys_poll(handle, INT64_MIN), FSYS_E_WRONG_THREAD);

    /* NULL where the results go is allowed for a wait. */
    fsys_op op = 0;
    EXPECT(fsys_submit_read(file, memory, 1, 0, 0, 0, &op), 0);
    EXPECT(fsys_wait_any(handle, &op, 1, FSYS_FOREVER, NULL, NULL) <= 0, 1);
    (void)fsys_wait(handle, op, FSYS_FOREVER, NULL);
}

static void blocking(void) {
    EXPECT(fsys_read(file, NULL, 1, 0, 0), -EINVAL);
    EXPECT(fsys_read(file, NULL, 0, 0, 0), 0);
    EXPECT(fsys_read(file, memory, SIZE_MAX, 0, 0), -EINVAL);
    EXPECT(fsys_read(file, memory, 1, UINT64_MAX, 0), -EINVAL);
    EXPECT(fsys_read(file, memory, 1, INT64_MAX, 0), -EINVAL);
    EXPECT(fsys_read(file, memory, 1, 0, UNKNOWN_FLAG), FSYS_E_BAD_FLAG);
    EXPECT(fsys_read(file, memory, 1, 0, FSYS_DURABLE), FSYS_E_BAD_FLAG); /* another call's flag */
    EXPECT(fsys_read(file, memory, INT64_MAX, 0, 0), 10); /* more room is claimed than there is */
    EXPECT(fsys_read(file, memory, 100, 0, FSYS_EXACT), FSYS_E_SHORT);
    EXPECT(fsys_read(file, (void *)(uintptr_t)64, 8, 0, 0), -EFAULT);
    EXPECT(fsys_write(file, NULL, 1, 0, 0), -EINVAL);
    EXPECT(fsys_write(file, NULL, 0, 0, 0), 0);
    EXPECT(fsys_write(file, memory, SIZE_MAX, 0, 0), -EINVAL);
    EXPECT(fsys_write(file, memory, 1, UINT64_MAX, 0), -EINVAL);
    EXPECT(fsys_write(file, memory, 1, 0, UNKNOWN_FLAG), FSYS_E_BAD_FLAG);
    EXPECT(fsys_write(file, (void *)(uintptr_t)64, 8, 0, 0), -EFAULT);
    EXPECT(fsys_sync(file, UNKNOWN_FLAG), FSYS_E_BAD_FLAG);

    fsys_file *read_only = NULL;
    EXPECT(fsys_file_open(handle, path, NULL, &read_only), 0);
    EXPECT(fsys_write(read_only, memory, 1, 0, 0), -EBADF);
    fsys_op op = 0;
    EXPECT(fsys_submit_write(read_only, memory, 1, 0, 0, 0, &op), -EBADF);
    EXPECT(fsys_file_close(read_only), 0);
    EXPECT(fsys_file_close(read_only), FSYS_E_CLOSED);
}

static void buffers(void) {
    void *buffer = NULL;
    EXPECT(fsys_buffer_alloc(handle, 0, &buffer), -EINVAL);
    EXPECT(fsys_buffer_alloc(handle, ((size_t)1 << 30) + 1, &buffer), -EINVAL);
    EXPECT(fsys_buffer_alloc(handle, SIZE_MAX, &buffer), -EINVAL);
    EXPECT(fsys_buffer_alloc(handle, 1, NULL), -EINVAL);
    CHECK(buffer == NULL);
    EXPECT(fsys_buffer_free(handle, NULL), 0);
    EXPECT(fsys_buffer_free(handle, memory), -EINVAL);
    EXPECT(fsys_buffer_free(handle, (void *)(uintptr_t)1), -EINVAL);
    EXPECT(fsys_buffer_alloc(handle, 1, &buffer), 0);
    EXPECT((uintptr_t)buffer % 4096, 0);
    EXPECT(fsys_buffer_free(handle, (char *)buffer + 1), -EINVAL);
    EXPECT(fsys_buffer_free(handle, buffer), 0);
    EXPECT(fsys_buffer_free(handle, buffer), -EINVAL);
}

static void observing(void) {
    EXPECT(fsys_info(handle, NULL), -EINVAL);
    EXPECT(fsys_stats(handle, NULL), -EINVAL);
    fsys_handle_info info = {.struct_size = 8};
    EXPECT(fsys_info(handle, &info), FSYS_E_BAD_STRUCT);
    static fsys_counters counters;
    EXPECT(fsys_stats(handle, &counters), FSYS_E_BAD_STRUCT);
    char text[4] = "xyz";
    EXPECT(fsys_cause(handle, text, sizeof text), 0);
    EXPECT(text[0], 0);
    EXPECT(fsys_cause(handle, NULL, 0) == 0 || fsys_cause(handle, NULL, 0) == -EINVAL, 1);
    EXPECT(fsys_cause(handle, NULL, 100), 0);  /* only its length is asked for */
    for (int code = -5000; code < 5000; code++) {
        CHECK(fsys_strerror(code) != NULL && fsys_strerror(code)[0] != 0);
        CHECK(fsys_error_name(code) != NULL && fsys_error_name(code)[0] != 0);
    }
    CHECK(fsys_strerror(INT_MIN) != NULL && fsys_strerror(INT_MAX) != NULL);
    EXPECT(strcmp(fsys_error_name(INT_MIN), "?"), 0);
    EXPECT(strcmp(fsys_error_name(0), "OK"), 0);
    EXPECT(strcmp(fsys_error_name(-ENOSPC), "ENOSPC"), 0);
    EXPECT(strcmp(fsys_error_name(FSYS_E_BAD_FLAG), "FSYS_E_BAD_FLAG"), 0);
    CHECK(fsys_bucket_bound_ns(160) == UINT64_MAX &&
          fsys_bucket_bound_ns(UINT32_MAX) == UINT64_MAX);
    for (uint32_t bucket = 1; bucket < 160; bucket++) {
        CHECK(fsys_bucket_bound_ns(bucket - 1) <= fsys_bucket_bound_ns(bucket));
    }
    EXPECT(fsys_version(), FSYS_VERSION);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(120);
    const int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, "0123456789", 10) == 10);
    close(fd);
    static const uint32_t backends[] = {FSYS_BACKEND_DEFAULT, FSYS_BACKEND_THREADS};
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        const fsys_options options = {.struct_size = sizeof options, .backend = backends[i]};
        const fsys_file_options file_options = {.struct_size = sizeof file_options,
                                                .flags = FSYS_FILE_READ | FSYS_FILE_WRITE};
        EXPECT(fsys_open(&options, &handle), 0);
        EXPECT(fsys_file_open(handle, path, &file_options, &file), 0);
        fsys_handle_info info = {.struct_size = sizeof info};
        EXPECT(fsys_info(handle, &info), 0);
        printf("backend %u\n", info.backend);
        struct {
            const char *name;
            void (*run)(void);
        } groups[] = {{"opening", opening},         {"files", files},       {"requests", requests},
                      {"completions", completions}, {"blocking", blocking}, {"buffers", buffers},
                      {"observing", observing}};
        for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
            printf("  %s\n", groups[g].name);
            groups[g].run();
        }
        EXPECT(fsys_read(file, memory, sizeof memory, 0, 0), 10);
        EXPECT(memcmp(memory, "0123456789", 10), 0);
        EXPECT(fsys_file_close(file), 0);
        EXPECT(fsys_close(handle), 0);
    }
    unlink(path);
    printf("every bad argument was refused with its code\n");
    return 0;
}
