/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Version 1 of the ABI as a program compiled against it sees it: own copies of the structs,
 * constants and function types, under own names. FROZEN: never edit this to make a test pass. A
 * later version of the library gets a frozen_v2.h beside it, and this one stays.
 */
#ifndef FROZEN_V1_H
#define FROZEN_V1_H

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct v1_handle v1_handle;
typedef struct v1_file v1_file;
typedef uint64_t v1_op;

enum {
    V1_BACKEND_DEFAULT = 0,
    V1_BACKEND_IO_URING = 1,
    V1_BACKEND_THREADS = 2,
    V1_FILE_READ = 0x0001,
    V1_FILE_WRITE = 0x0002,
    V1_FILE_CREATE = 0x0004,
    V1_FILE_TRUNCATE = 0x0010,
    V1_OP_NOP = 0,
    V1_OP_READ = 1,
    V1_OP_WRITE = 2,
    V1_OP_SYNC = 5,
    V1_WAIT_SOON = 0x0001,
    V1_DURABLE = 0x0002,
    V1_LINK = 0x0010,
    V1_LANE_RING = 2,
    V1_E_CLOSED = -4097,
    V1_E_STALE = -4098,
    V1_E_URING_SETUP = -4103,
    V1_E_NOTHING = -4105,
    V1_E_BAD_STRUCT = -4107,
    V1_E_BAD_FLAG = -4108
};
#define V1_FOREVER ((int64_t)-1)

typedef struct v1_options {
    uint32_t struct_size;
    uint32_t flags;
    uint32_t backend;
    uint32_t driver;
    uint32_t max_ops;
    uint32_t max_files;
    uint32_t pool_threads;
    uint32_t registered_files;
    uint64_t close_timeout_ns;
    uint64_t submit_timeout_ns;
    uint64_t arena_bytes;
    const char *root;
    char *error_text;
    size_t error_text_size;
} v1_options;

typedef struct v1_file_options {
    uint32_t struct_size;
    uint32_t flags;
    uint32_t mode;
    uint32_t reserved;
    char *error_text;
    size_t error_text_size;
} v1_file_options;

typedef struct v1_file_details {
    uint32_t struct_size;
    uint32_t flags;
    uint64_t size;
    uint32_t direct_mem_align;
    uint32_t direct_offset_align;
    uint32_t read_lane;
    uint32_t write_lane;
    uint32_t sync_lane;
    uint32_t registered;
    char file_system[16];
} v1_file_details;

typedef struct v1_iovec {
    void *base;
    size_t length;
} v1_iovec;

typedef struct v1_request {
    uint32_t opcode;
    uint32_t flags;
    v1_file *file;
    void *buffer;
    uint64_t length;
    uint64_t offset;
    uint64_t user_data;
    uint64_t reserved[2];
} v1_request;

typedef struct v1_result {
    uint64_t user_data;
    v1_op op;
    int64_t result;
    uint64_t bytes_done;
    uint32_t step;
    uint32_t lane;
} v1_result;

typedef struct v1_handle_info {
    uint32_t struct_size;
    uint32_t backend;
    uint32_t backend_reason;
    int32_t backend_errno;
    uint32_t driver;
    uint32_t driver_running;
    uint32_t ring_flags;
    uint32_t ring_features;
    uint32_t sq_entries;
    uint32_t cq_entries;
    uint32_t registered_files;
    uint32_t registered_buffers;
    uint32_t max_ops;
    uint32_t max_files;
    uint32_t pool_threads;
    uint32_t poisoned;
    uint64_t memory_bytes;
    char reason_text[192];
} v1_handle_info;

typedef struct v1_counters {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t ops[4][8];
    uint64_t failed;
    uint64_t bytes_read;
    uint64_t bytes_written;
    uint64_t enters;
    uint64_t entries;
    uint64_t doorbells;
    uint64_t pool_wakes;
    uint64_t futex_waits;
    uint64_t futex_wakes;
    uint64_t event_signals;
    uint64_t nowait_hits;
    uint64_t nowait_misses;
    uint64_t batch_enters;
    uint64_t iowq_punts;
    uint64_t short_ios;
    uint64_t retries;
    uint64_t splits;
    uint64_t cancels;
    uint64_t slot_waits;
    uint64_t in_flight;
    uint64_t latency[3][160];
} v1_counters;

typedef int v1_fn_open(const v1_options *options, v1_handle **ret_handle);
typedef int v1_fn_close(v1_handle *handle);
typedef int v1_fn_file_open(v1_handle *handle, const char *path, const v1_file_options *options,
        v1_file **ret_file);
typedef int v1_fn_file_from_fd(v1_handle *handle, int fd, const v1_file_options *options, v1_file
        **ret_file);
typedef int v1_fn_file_close(v1_file *file);
typedef int v1_fn_file_info(v1_file *file, v1_file_details *ret_info);
typedef int v1_fn_submit_read(v1_file *file, void *buffer, size_t length, uint64_t offset,
        uint32_t flags, uint64_t user_data, v1_op *ret_op);
typedef int v1_fn_submit_write(v1_file *file, const void *buffer, size_t length, uint64_t offset,
        uint32_t flags, uint64_t user_data, v1_op *ret_op);
typedef int v1_fn_submit_sync(v1_file *file, uint64_t length, uint64_t offset, uint32_t flags,
        uint64_t user_data, v1_op *ret_op);
typedef int v1_fn_submit(v1_handle *handle, const v1_request *requests, uint32_t count, v1_op
        *ret_ops);
typedef int v1_fn_cancel(v1_handle *handle, v1_op op);
typedef int v1_fn_wait(v1_handle *handle, v1_op op, int64_t timeout_ns, v1_result *ret_result);
typedef int v1_fn_try(v1_handle *handle, v1_op op, v1_result *ret_result);
typedef int v1_fn_wait_any(v1_handle *handle, const v1_op *ops, uint32_t count, int64_t
        timeout_ns, uint32_t *ret_index, v1_result *ret_result);
typedef int v1_fn_wait_all(v1_handle *handle, const v1_op *ops, uint32_t count, int64_t
        timeout_ns, v1_result *ret_results);
typedef int v1_fn_reap(v1_handle *handle, v1_result *ret_results, uint32_t max, int64_t
        timeout_ns);
typedef int v1_fn_event_fd(v1_handle *handle);
typedef int v1_fn_poll(v1_handle *handle, int64_t timeout_ns);
typedef int64_t v1_fn_read(v1_file *file, void *buffer, size_t length, uint64_t offset, uint32_t
        flags);
typedef int64_t v1_fn_write(v1_file *file, const void *buffer, size_t length, uint64_t offset,
        uint32_t flags);
typedef int v1_fn_sync(v1_file *file, uint32_t flags);
typedef int v1_fn_buffer_alloc(v1_handle *handle, size_t size, void **ret_buffer);
typedef int v1_fn_buffer_free(v1_handle *handle, void *buffer);
typedef int v1_fn_info(v1_handle *handle, v1_handle_info *ret_info);
typedef int v1_fn_stats(v1_handle *handle, v1_counters *ret_counters);
typedef uint64_t v1_fn_bucket_bound_ns(uint32_t bucket);
typedef int v1_fn_cause(const void *object, char *ret_text, size_t size);
typedef const char *v1_fn_strerror(int code);
typedef const char *v1_fn_error_name(int code);
typedef uint32_t v1_fn_version(void);
typedef const char *v1_fn_version_string(void);

#define V1_FUNCTIONS(X) X(open) X(close) X(file_open) X(file_from_fd) X(file_close) X(file_info) \
    X(submit_read) X(submit_write) X(submit_sync) X(submit) X(cancel) X(wait) X(try) X(wait_any) \
    X(wait_all) X(reap) X(event_fd) X(poll) X(read) X(write) X(sync) X(buffer_alloc) \
    X(buffer_free) X(info) X(stats) X(bucket_bound_ns) X(cause) X(strerror) X(error_name) \
    X(version) X(version_string)

/* Every v1 function, found by name in a library that was opened with dlopen. */
typedef struct v1_api {
#define V1_MEMBER(name) v1_fn_##name *name;
    V1_FUNCTIONS(V1_MEMBER)
#undef V1_MEMBER
} v1_api;

/* 0, or -1 after printing the name that is missing. */
static inline int v1_load(void *library, v1_api *api) {
    void *symbol;
/* dlsym gives an object pointer; POSIX lets it be copied into a function pointer. */
#define V1_LOAD(name)                                                      \
    symbol = dlsym(library, "fsys_" #name);                                \
    if (symbol == NULL) {                                                  \
        fprintf(stderr, "fsys_" #name " is not in the library any more\n"); \
        return -1;                                                         \
    }                                                                      \
    memcpy(&api->name, &symbol, sizeof symbol);
    V1_FUNCTIONS(V1_LOAD)
#undef V1_LOAD
    return 0;
}

#endif
