/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/**
 * @file fsys.h
 * @brief libfsys: file IO for programs that must know when their bytes are safe.
 *
 * Conventions, numbered so that the rest of the text can point here:
 *
 * 1. **Handles are looked up, not dereferenced.** `fsys *` and `fsys_file *` are opaque ids that
 *    look like pointers. Every call checks them: NULL, garbage that was once a handle, a handle
 *    closed before or being closed by another thread give ::FSYS_E_CLOSED, never a crash. Close
 *    therefore takes the handle by value and does not null the caller's variable. At most 1023
 *    handles are open in a process at a time.
 * 2. **Returns.** See error.h. Success outputs come last in the argument list, are named `ret_*`,
 *    and are not written on failure.
 * 3. **Threads.** Each function says one of: "Any thread." (no external locking, may race with
 *    every other call, close included) or "Driver thread only." (the thread that opened a handle
 *    with ::FSYS_DRIVER_CALLER).
 * 4. **Memory.** A buffer given to a submit belongs to the kernel until the op's completion has
 *    been taken by fsys_wait(), fsys_try(), fsys_wait_any(), fsys_wait_all() or fsys_reap():
 *    also after a timeout, after fsys_cancel(), and after any error of those calls other than the
 *    completion itself. Arrays of requests, tokens and iovecs may be reused when submit returns.
 * 5. **Completions.** Every accepted op gives exactly one. An op submitted with a place for its
 *    token (`ret_op` not NULL) is taken by a wait on that token, once; one submitted without
 *    (`ret_op` NULL) is taken from the completion queue by fsys_reap().
 * 6. **Option structs** start with `struct_size = sizeof(the struct)` as the caller compiled it.
 *    Zero means the default in every field. A shorter struct of an older version is accepted; a
 *    longer one is accepted when the part this library does not know is zero
 *    (else ::FSYS_E_BAD_STRUCT).
 * 7. **Time** is in nanoseconds, relative, CLOCK_MONOTONIC. ::FSYS_FOREVER waits without limit.
 * 8. **fork.** A handle belongs to the process that opened it. In a fork child every call on it
 *    is ::FSYS_E_FORKED; fsys_close() there gives up the child's descriptors and returns the same.
 * 9. The library never prints, exits, aborts, installs signal handlers, runs caller code on its
 *    threads, or lets a C++ exception out.
 */
#ifndef FSYS_FSYS_H
#define FSYS_FSYS_H

#include <stddef.h>
#include <stdint.h>

#include <fsys/error.h>
#include <fsys/version.h>

/** @cond */
#ifdef __cplusplus
#define FSYS_NOEXCEPT noexcept
extern "C" {
#else
#define FSYS_NOEXCEPT
#endif

#if defined(__GNUC__)
#define FSYS_API __attribute__((visibility("default")))
#else
#define FSYS_API
#endif
/** @endcond */

/** @defgroup handle Handles
 *  Opening and closing an engine. */
/** @defgroup file Files
 *  Opening, closing and describing the files of an engine. */
/** @defgroup submit Submitting
 *  Starting ops, one by one or as an array, and asking for their end. */
/** @defgroup complete Completions
 *  Taking completions, by token or from the queue, and driving a handle without a thread. */
/** @defgroup blocking Blocking calls
 *  Read, write and sync on the calling thread. */
/** @defgroup buffer Buffers
 *  Aligned memory, registered with the ring. Caller memory is allowed everywhere too. */
/** @defgroup observe Observing
 *  What a handle uses, what it did, why it failed, and which library this is. */

/** An engine: op slots, a ring or a thread pool, a completion queue. */
typedef struct fsys fsys;
/** An open file of one engine. */
typedef struct fsys_file fsys_file;
/** Token of a submitted op. 0 is never a token. */
typedef uint64_t fsys_op;

/** Timeout that never ends (any negative number does the same). */
#define FSYS_FOREVER ((int64_t)-1)

/* ------------------------------------------------------------------ handle */

/** @addtogroup handle
 *  @{ */

/** @name Backends, for fsys_options::backend and fsys_handle_info::backend
 *  @{ */
#define FSYS_BACKEND_DEFAULT 0u  /**< io_uring where it works, otherwise threads */
#define FSYS_BACKEND_IO_URING 1u /**< io_uring, or fail with ::FSYS_E_URING_SETUP */
#define FSYS_BACKEND_THREADS 2u  /**< plain syscalls on a small pool */
/** @} */

/** @name Drivers, for fsys_options::driver
 *  @{ */
#define FSYS_DRIVER_THREAD 0u /**< a library thread, started by the first op that needs it */
#define FSYS_DRIVER_CALLER 1u /**< no thread: the opening thread drives with fsys_poll() */
/** @} */

/** How to open a handle. Zero-initialise, set `struct_size`, then what matters to you. */
typedef struct fsys_options {
    uint32_t struct_size;      /**< sizeof(fsys_options) */
    uint32_t flags;            /**< must be 0 */
    uint32_t backend;          /**< FSYS_BACKEND_*. The environment variable FSYS_BACKEND
                                    (`io_uring` or `threads`) overrides DEFAULT, for tests. */
    uint32_t driver;           /**< FSYS_DRIVER_* */
    uint32_t max_ops;          /**< op slots: 1..32768, default 4096 */
    uint32_t max_files;        /**< open files: 1..1048576, default 65536 */
    uint32_t pool_threads;     /**< most pool threads, 1..64, default 4 (8 for the threads backend) */
    uint32_t registered_files; /**< places in the ring's file table, default 1024;
                                    UINT32_MAX: none */
    uint64_t close_timeout_ns; /**< patience of fsys_close() and fsys_file_close() with ops in
                                    flight before cancelling them; default 5 s */
    uint64_t submit_timeout_ns; /**< longest a submit waits for a free slot before -EAGAIN;
                                     default 10 s */
    uint64_t arena_bytes;      /**< size of the registered buffer arena: default 8 MiB, reserved at
                                    the first fsys_buffer_alloc() */
    const char *root;          /**< directory beneath which all paths are opened (openat2
                                    RESOLVE_BENEATH, Linux 5.6), or NULL */
    char *error_text;          /**< receives a sentence when opening fails (step, path, likely
                                    cause), NUL-terminated, or NULL */
    size_t error_text_size;    /**< size of `error_text`, 0 with NULL; 256 is plenty */
} fsys_options;

/**
 * Opens an engine.
 *
 * An idle handle has no thread and no ring; both come with the first op that needs them.
 * Any thread.
 *
 * @param options  NULL for all defaults
 * @param ret_handle  the new handle; close it with fsys_close()
 * @retval 0 success
 * @retval -EINVAL  a number out of range, or `ret_handle` is NULL
 * @retval FSYS_E_BAD_STRUCT  see convention 6
 * @retval FSYS_E_BAD_FLAG  unknown backend, driver or flag
 * @retval FSYS_E_URING_SETUP  FSYS_BACKEND_IO_URING and no ring can be made: ENOSYS (kernel older
 *         than 5.1, or seccomp), EPERM (sysctl kernel.io_uring_disabled, or seccomp), ENOMEM
 *         (RLIMIT_MEMLOCK on kernels before 5.12), EMFILE; `error_text` says which
 * @retval -ENOMEM, -EMFILE  no memory; more than 1023 handles or no descriptor
 * @return another negative errno of opening `root`
 */
FSYS_API int fsys_open(const fsys_options *options, fsys **ret_handle) FSYS_NOEXCEPT;

/**
 * Closes an engine: no new op is admitted (::FSYS_E_CLOSED), ops in flight may finish for
 * `close_timeout_ns`, then are cancelled, then the kernel has one more second to let go. Files
 * still open are closed too. Completions not taken are dropped.
 *
 * Any thread; exactly one of several racing calls does it, the others get ::FSYS_E_CLOSED.
 *
 * @retval 0 everything is released
 * @retval -ETIMEDOUT  the kernel, or a thread inside a blocking call, still uses memory or a file
 *         of the handle. The handle is closed all the same and what is still used is kept
 *         (leaked) rather than freed: caller buffers of those ops must stay alive.
 * @retval FSYS_E_CLOSED  not an open handle
 * @retval FSYS_E_FORKED  see convention 8
 * @retval FSYS_E_WRONG_THREAD  a caller-driven handle is closed by its driver thread only
 */
FSYS_API int fsys_close(fsys *handle) FSYS_NOEXCEPT;

/** @} */

/* -------------------------------------------------------------------- file */

/** @addtogroup file
 *  @{ */

/** @name Flags for fsys_file_options::flags
 *  @{ */
#define FSYS_FILE_READ 0x0001u      /**< open for reading (the default when neither is given) */
#define FSYS_FILE_WRITE 0x0002u     /**< open for writing */
#define FSYS_FILE_CREATE 0x0004u    /**< create when absent */
#define FSYS_FILE_EXCLUSIVE 0x0008u /**< with CREATE: fail with -EEXIST when present */
#define FSYS_FILE_TRUNCATE 0x0010u  /**< cut to length 0 */
#define FSYS_FILE_DIRECT 0x0020u    /**< O_DIRECT; refused (-EINVAL) where the file system has none,
                                         never replaced by buffered IO in silence */
#define FSYS_FILE_BOUNCE 0x0040u    /**< with DIRECT: misaligned buffers, lengths and offsets of
                                         blocking calls go through an aligned bounce buffer (reads
                                         only) instead of ::FSYS_E_MISALIGNED */
#define FSYS_FILE_NOFOLLOW 0x0080u  /**< fail with -ELOOP when the last component is a symlink */
#define FSYS_FILE_BLOCKING_FD 0x0100u /**< fsys_file_from_fd(): the descriptor may block for ever
                                         (set by itself for pipes, sockets and terminals) */
/** @} */

/** How to open a file. */
typedef struct fsys_file_options {
    uint32_t struct_size;   /**< sizeof(fsys_file_options) */
    uint32_t flags;         /**< FSYS_FILE_* */
    uint32_t mode;          /**< permission bits for CREATE; default 0666, cut by the umask */
    uint32_t reserved;      /**< must be 0 */
    char *error_text;       /**< receives a sentence on failure, or NULL */
    size_t error_text_size; /**< size of `error_text` */
} fsys_file_options;

/** What fsys_file_info() tells. */
typedef struct fsys_file_details {
    uint32_t struct_size;       /**< set by the caller to sizeof(fsys_file_details) */
    uint32_t flags;             /**< FSYS_FILE_READ, _WRITE, _DIRECT as in force */
    uint64_t size;              /**< bytes, at the time of the call */
    uint32_t direct_mem_align;  /**< buffer alignment for O_DIRECT, bytes; 0: none possible */
    uint32_t direct_offset_align; /**< offset and length alignment for O_DIRECT, bytes */
    uint32_t read_lane;         /**< FSYS_LANE_* an unattended read takes */
    uint32_t write_lane;        /**< FSYS_LANE_* an unattended write takes */
    uint32_t sync_lane;         /**< FSYS_LANE_* an unattended sync takes */
    uint32_t registered;        /**< 1 when the file has a place in the ring's file table */
    char file_system[16];       /**< "ext4", "xfs", ...; "?" when unknown */
} fsys_file_details;

/**
 * Opens a file by path; beneath fsys_options::root when the handle has one (an absolute path, or
 * one that leaves the root, is then -EXDEV). O_CLOEXEC always. Any thread.
 *
 * @param options  NULL: open for reading
 * @retval 0 success; `*ret_file` is closed by fsys_file_close() or fsys_close()
 * @retval -EMFILE  no descriptor, or `max_files` are open
 * @retval -EINVAL  NULL path or output, contradictory flags, O_DIRECT refused
 * @return FSYS_E_CLOSED, FSYS_E_BAD_FLAG, FSYS_E_BAD_STRUCT or a negative errno of open(2)
 */
FSYS_API int fsys_file_open(fsys *handle, const char *path, const fsys_file_options *options,
                            fsys_file **ret_file) FSYS_NOEXCEPT;

/**
 * Takes a duplicate of a descriptor (F_DUPFD_CLOEXEC), so that the caller's number may be closed
 * and reused at once. Access and O_DIRECT are what the descriptor has; of `options` only
 * FSYS_FILE_BOUNCE and FSYS_FILE_BLOCKING_FD count. Pipes, sockets and terminals are allowed:
 * their offsets are ignored. A file opened O_APPEND is refused (-EINVAL): pwrite(2) would ignore
 * the offset. Any thread.
 */
FSYS_API int fsys_file_from_fd(fsys *handle, int fd, const fsys_file_options *options,
                               fsys_file **ret_file) FSYS_NOEXCEPT;

/**
 * Closes a file: new ops on it are ::FSYS_E_CLOSED at once; waits for its ops in flight as
 * fsys_close() does for all. Any thread.
 *
 * @retval 0 closed
 * @retval -ETIMEDOUT  ops are still in flight; the descriptor is closed when the last one ends
 * @return FSYS_E_CLOSED, FSYS_E_FORKED, or what close(2) reported (the descriptor is gone then)
 */
FSYS_API int fsys_file_close(fsys_file *file) FSYS_NOEXCEPT;

/** Tells what is known of an open file. Any thread. */
FSYS_API int fsys_file_info(fsys_file *file, fsys_file_details *ret_info) FSYS_NOEXCEPT;

/** @} */

/* ------------------------------------------------------------------ submit */

/** @addtogroup submit
 *  @{ */

/** @name Operations, for fsys_request::opcode
 *  @{ */
#define FSYS_OP_NOP 0u      /**< completes with 0; `file` may be NULL */
#define FSYS_OP_READ 1u     /**< pread(2) */
#define FSYS_OP_WRITE 2u    /**< pwrite(2) */
#define FSYS_OP_READV 3u    /**< preadv(2): `buffer` is `const fsys_iovec *`, `length` their count */
#define FSYS_OP_WRITEV 4u   /**< pwritev(2) */
#define FSYS_OP_SYNC 5u     /**< fsync(2), fdatasync(2) with FSYS_SYNC_DATA */
#define FSYS_OP_ALLOCATE 6u /**< fallocate(2) of [offset, offset + length) */
/** @} */

/** @name Flags of an op
 *  @{ */
#define FSYS_WAIT_SOON 0x0001u  /**< the caller will wait for this op (or its batch) at once: no
                                     wake-up is paid for, the waiter executes it if it waits with
                                     FSYS_FOREVER. Left alone it still starts, within some
                                     milliseconds. */
#define FSYS_DURABLE 0x0002u    /**< write: the completion means on stable storage (RWF_DSYNC) */
#define FSYS_PARTIAL 0x0004u    /**< do not continue a short transfer; for pipes and sockets */
#define FSYS_NONBLOCK 0x0008u   /**< submit returns -EAGAIN instead of waiting for a slot */
#define FSYS_LINK 0x0010u       /**< array submit: the next request starts only after this one has
                                     transferred its exact length; otherwise it and all that are
                                     linked behind it complete with -ECANCELED */
#define FSYS_EXACT 0x0020u      /**< end of file before `length` is ::FSYS_E_SHORT (implied by
                                     LINK) */
#define FSYS_ATOMIC 0x0040u     /**< write: after a power cut all of its bytes are there or none
                                     (RWF_ATOMIC, Linux 6.11); ::FSYS_E_NOT_ATOMIC where that is not
                                     promised, never a plain write instead. The file must be
                                     ::FSYS_FILE_DIRECT, the length a power of two within the limits
                                     of the file (fsys_probe_file(): `atomic_min`, `atomic_max`), the
                                     offset a multiple of the length. Says nothing of when: add
                                     ::FSYS_DURABLE. */
#define FSYS_SYNC_DATA 0x0100u  /**< sync: data and what is needed to read it back (fdatasync) */
#define FSYS_SYNC_RANGE 0x0200u /**< sync: at least [offset, offset + length) becomes durable, the
                                     rest may; never less than fdatasync gives for the range */
#define FSYS_KEEP_SIZE 0x0400u  /**< allocate: FALLOC_FL_KEEP_SIZE */
#define FSYS_CACHED 0x0800u     /**< fsys_read() only: -EAGAIN instead of waiting for the device
                                     (RWF_NOWAIT). For event loops, which then submit the read. */
/** @} */

/** A buffer of a vectored op; same layout as struct iovec. */
typedef struct fsys_iovec {
    void *base;    /**< start */
    size_t length; /**< bytes */
} fsys_iovec;

/** One request of an array submit. Unused fields must be 0. */
typedef struct fsys_request {
    uint32_t opcode;    /**< FSYS_OP_* */
    uint32_t flags;     /**< FSYS_* flags above */
    fsys_file *file;    /**< of the handle that is submitted to */
    void *buffer;       /**< bytes, or iovecs (copied at submit, at most 1024) */
    uint64_t length;    /**< bytes, or number of iovecs; any length: above 2 GiB it is split */
    uint64_t offset;    /**< file offset, at most INT64_MAX - length */
    uint64_t user_data; /**< echoed in the completion */
    uint64_t reserved[2]; /**< must be 0 */
} fsys_request;

/**
 * Submits one op each. `ret_op` NULL sends the completion to the queue (fsys_reap()).
 *
 * The op starts without anyone waiting for it; see ::FSYS_WAIT_SOON for how to make the common
 * submit-then-wait as cheap as the bare syscall. (A small buffered write that comes alone, where
 * a thread would have to be woken for it, starts some milliseconds later unless it is waited for,
 * as if it had that flag.) Ops of one file may run in any order and at the
 * same time, unless linked. Any thread.
 *
 * @retval 0 accepted: exactly one completion will come
 * @retval -EAGAIN  no free slot (at once with FSYS_NONBLOCK, else after `submit_timeout_ns`)
 * @retval -EINVAL  NULL buffer with a length, offset + length beyond INT64_MAX, a flag that does
 *         not belong to the op
 * @retval -EBADF  the file is not open for this direction
 * @return FSYS_E_CLOSED, FSYS_E_FORKED, FSYS_E_POISONED (a sync or durable write of a poisoned
 *         file; anything on a poisoned handle), FSYS_E_DRIVER_DEAD, FSYS_E_MISALIGNED,
 *         FSYS_E_BAD_FLAG, FSYS_E_NOT_ATOMIC (see ::FSYS_ATOMIC). No completion comes then.
 */
FSYS_API int fsys_submit_read(fsys_file *file, void *buffer, size_t length, uint64_t offset,
                              uint32_t flags, uint64_t user_data, fsys_op *ret_op) FSYS_NOEXCEPT;
/** See fsys_submit_read(). The bytes must not change until the completion. */
FSYS_API int fsys_submit_write(fsys_file *file, const void *buffer, size_t length, uint64_t offset,
                               uint32_t flags, uint64_t user_data, fsys_op *ret_op) FSYS_NOEXCEPT;
/** See fsys_submit_read(). `length` and `offset` count only with ::FSYS_SYNC_RANGE. Covers the
 *  writes whose completions were seen before this call. */
FSYS_API int fsys_submit_sync(fsys_file *file, uint64_t length, uint64_t offset, uint32_t flags,
                              uint64_t user_data, fsys_op *ret_op) FSYS_NOEXCEPT;

/**
 * Submits an array with one push and one wake-up for each 128. Requests are accepted in order until
 * one is refused; linked requests are accepted together or not at all. With tokens, it waits for op
 * slots (without FSYS_NONBLOCK) only before it has accepted any: later ones it would wait for might
 * be those that it has just filled. Any thread.
 *
 * @param ret_ops  receives the tokens of the accepted ones, or NULL to use the completion queue
 * @return how many were accepted (1..count), 0 when `count` is 0, or the code that the first
 *         request was refused with, as in fsys_submit_read()
 */
FSYS_API int fsys_submit(fsys *handle, const fsys_request *requests, uint32_t count,
                         fsys_op *ret_ops) FSYS_NOEXCEPT;

/**
 * Asks for an op to be ended. The op's own completion tells the outcome: -ECANCELED, or its result
 * when it could not be recalled (block IO that the device has cannot). Of a journal, ops that wait can
 * be cancelled too: see fsys_journal_submit_sync(). Any thread.
 *
 * @retval 0 the request was made
 * @retval -EALREADY  a thread is executing it in a plain syscall, or it has completed
 * @return FSYS_E_STALE, FSYS_E_CLOSED, FSYS_E_FORKED
 */
FSYS_API int fsys_cancel(fsys *handle, fsys_op op) FSYS_NOEXCEPT;

/**
 * Asks for ops without a token to be ended: all those of the handle's completion queue that were
 * submitted with this `user_data` and have not completed. Each still gives its completion, as after
 * fsys_cancel(), and its buffer is in use until that was taken. Ops with a token are left alone, and
 * so is what is submitted with the same `user_data` after the call began.
 *
 * What io_uring_prep_cancel64(3) with IORING_ASYNC_CANCEL_ALL is to a ring, with the backends and
 * ops of this library. It looks at every op slot that was ever used, a nanosecond or so for each: no
 * other call pays for it. Any thread.
 *
 * @return how many were asked to end (1 or more). Ops linked behind one of them end with it, and may
 *         or may not be counted.
 * @retval -ENOENT  none: not submitted, or completed (and perhaps not yet taken)
 * @retval -EALREADY  there were some, but threads are executing all of them in plain syscalls, or
 *         they completed just now
 * @return FSYS_E_CLOSED, FSYS_E_FORKED
 */
FSYS_API int fsys_cancel_queued(fsys *handle, uint64_t user_data) FSYS_NOEXCEPT;

/** @} */

/* ---------------------------------------------------------------- complete */

/** @addtogroup complete
 *  @{ */

/** @name Who executed an op, fsys_result::lane
 *  @{ */
#define FSYS_LANE_NONE 0u   /**< never started (cancelled, linked behind a failure) */
#define FSYS_LANE_INLINE 1u /**< a plain syscall on the waiting or submitting thread */
#define FSYS_LANE_RING 2u   /**< io_uring */
#define FSYS_LANE_POOL 3u   /**< a plain syscall on a pool thread */
/** @} */

/** @name Where an op failed, fsys_result::step
 *  @{ */
#define FSYS_STEP_NONE 0u     /**< it did not fail */
#define FSYS_STEP_TRANSFER 1u /**< reading, writing or allocating */
#define FSYS_STEP_SYNC 2u     /**< making it durable */
#define FSYS_STEP_QUEUE 3u    /**< before it started: cancelled, or linked behind a failure */
/** @} */

/** A completion. */
typedef struct fsys_result {
    uint64_t user_data;  /**< of the request */
    fsys_op op;          /**< its token (0 from the completion queue) */
    int64_t result;      /**< bytes transferred, 0 for ops that move none, or a negative code */
    uint64_t bytes_done; /**< bytes transferred before it ended, also after a failure */
    uint32_t step;       /**< FSYS_STEP_* of a failure */
    uint32_t lane;       /**< FSYS_LANE_* that finished it */
} fsys_result;

/**
 * Waits for one op and takes its completion. Any thread; a token is taken once.
 *
 * @retval 0 `*ret_result` (may be NULL) holds the completion; the op's own failure is in there
 * @retval -ETIMEDOUT  not done yet: the token and the buffer stay in use
 * @retval FSYS_E_STALE  taken before, or not a token of this handle
 * @retval FSYS_E_NOTHING  never returned for a live token
 * @retval FSYS_E_DRIVER_DEAD, FSYS_E_POISONED  the handle failed and the kernel may still hold the
 *         op: its buffer must stay alive until fsys_close() returned 0
 * @return FSYS_E_CLOSED, FSYS_E_FORKED
 */
FSYS_API int fsys_wait(fsys *handle, fsys_op op, int64_t timeout_ns,
                       fsys_result *ret_result) FSYS_NOEXCEPT;

/** As fsys_wait() without waiting or executing: -EAGAIN when the op is not done. Any thread. */
FSYS_API int fsys_try(fsys *handle, fsys_op op, fsys_result *ret_result) FSYS_NOEXCEPT;

/**
 * Waits until one of `count` (1..4096) ops is done and takes it. Tokens equal to 0 are skipped, so
 * that a caller can zero what it has taken. Any thread.
 *
 * @param ret_index  which one
 * @return 0 or as fsys_wait(); FSYS_E_STALE when any token is stale (`*ret_index` names it);
 *         FSYS_E_NOTHING when all are 0
 */
FSYS_API int fsys_wait_any(fsys *handle, const fsys_op *ops, uint32_t count, int64_t timeout_ns,
                           uint32_t *ret_index, fsys_result *ret_result) FSYS_NOEXCEPT;

/**
 * Waits until all of `count` (at most 4096) ops are done, then takes them all; on -ETIMEDOUT none
 * is taken.
 * Tokens equal to 0 are skipped. Ops submitted with ::FSYS_WAIT_SOON are executed here as one
 * batch. Any thread.
 *
 * @param ret_results  `count` completions in the order of `ops`, or NULL
 * @return 0 or as fsys_wait(). FSYS_E_STALE: at least one token was stale; the others are not
 *         taken.
 */
FSYS_API int fsys_wait_all(fsys *handle, const fsys_op *ops, uint32_t count, int64_t timeout_ns,
                           fsys_result *ret_results) FSYS_NOEXCEPT;

/**
 * Takes completions of ops submitted without a token, oldest first. Any thread, also several.
 *
 * @param max  room in `ret_results`; 0 only waits
 * @param timeout_ns  0: take what is there. Otherwise wait for the first one.
 * @return how many were taken; 0 when none came in time
 * @retval FSYS_E_NOTHING  FSYS_FOREVER with no such op outstanding
 * @return FSYS_E_CLOSED, FSYS_E_FORKED; FSYS_E_POISONED or FSYS_E_DRIVER_DEAD once nothing more
 *         will come
 */
FSYS_API int fsys_reap(fsys *handle, fsys_result *ret_results, uint32_t max,
                       int64_t timeout_ns) FSYS_NOEXCEPT;

/**
 * A descriptor for epoll, poll or select that is readable while fsys_reap() would return
 * something (with ::FSYS_DRIVER_CALLER: while fsys_poll() has work). Level-triggered in meaning;
 * with edge-triggered epoll reap until 0. Owned by the handle: never read, write or close it; it
 * is reset by the fsys_reap() or fsys_poll() that empties the queue. Any thread.
 *
 * @return the descriptor or a negative code
 */
FSYS_API int fsys_event_fd(fsys *handle) FSYS_NOEXCEPT;

/**
 * Drives a ::FSYS_DRIVER_CALLER handle: submits what is listed, takes what the kernel finished,
 * and waits up to `timeout_ns` for the first completion. Driver thread only.
 *
 * @return how many ops completed; 0 when none did in time
 * @retval FSYS_E_WRONG_THREAD  another thread's call, or the handle has its own thread
 */
FSYS_API int fsys_poll(fsys *handle, int64_t timeout_ns) FSYS_NOEXCEPT;

/** @} */

/* ---------------------------------------------------------------- blocking */

/** @addtogroup blocking
 *  @{ */

/**
 * Reads at `offset` on the calling thread: pread(2) plus some tens of nanoseconds. Continues short
 * reads (unless FSYS_PARTIAL), retries EINTR. Allowed flags: FSYS_PARTIAL, FSYS_EXACT, FSYS_CACHED.
 * Any thread.
 *
 * @return bytes read, fewer than `length` only at end of file (or with FSYS_PARTIAL); or a code.
 *         A failure after some bytes is returned as the failure.
 * @retval -EAGAIN  with ::FSYS_CACHED: the page cache does not have all of it; what is in the buffer is
 *         then unspecified. Also for a file that has no page cache (FSYS_FILE_DIRECT, pipes and
 *         sockets), where the file system cannot tell (RWF_NOWAIT on a regular file: preadv2(2), Linux
 *         4.14), and unasked while most such reads of the file have lately failed; one in 32 then asks
 *         again. Counted in `nowait_hits` and `nowait_misses` of fsys_stats().
 */
FSYS_API int64_t fsys_read(fsys_file *file, void *buffer, size_t length, uint64_t offset,
                           uint32_t flags) FSYS_NOEXCEPT;
/** Writes at `offset` on the calling thread. Allowed flags: FSYS_DURABLE, FSYS_PARTIAL, FSYS_ATOMIC
 *  (not both of the last two). Any thread. @return bytes written, or a code; a code leaves unknown
 *  which bytes were written, except FSYS_E_NOT_ATOMIC: none. */
FSYS_API int64_t fsys_write(fsys_file *file, const void *buffer, size_t length, uint64_t offset,
                            uint32_t flags) FSYS_NOEXCEPT;
/** Makes the file's completed writes durable, on the calling thread. Allowed flags: 0 (fsync) or
 *  FSYS_SYNC_DATA. Any thread. @return 0 or a code. After a failure the file is poisoned: a second
 *  sync could succeed without the lost pages, so it is refused with ::FSYS_E_POISONED. */
FSYS_API int fsys_sync(fsys_file *file, uint32_t flags) FSYS_NOEXCEPT;

/** @} */

/* ------------------------------------------------------------------ buffer */

/** @addtogroup buffer
 *  @{ */

/**
 * Allocates page-aligned memory, from the handle's registered arena while it has room (fixed-buffer
 * opcodes are then used by address), else from ordinary memory. Zeroed. Any thread.
 *
 * @param size  1 byte .. 1 GiB, rounded up to whole pages
 * @retval 0 success; free with fsys_buffer_free() before fsys_close(), which frees the arena
 */
FSYS_API int fsys_buffer_alloc(fsys *handle, size_t size, void **ret_buffer) FSYS_NOEXCEPT;
/** Frees such a buffer; NULL is allowed. No op may be using it. Any thread.
 *  @retval -EINVAL not a buffer of this handle */
FSYS_API int fsys_buffer_free(fsys *handle, void *buffer) FSYS_NOEXCEPT;

/** @} */

/* ----------------------------------------------------------------- observe */

/** @addtogroup observe
 *  @{ */

/** @name Why a handle does not use io_uring, fsys_handle_info::backend_reason
 *  @{ */
#define FSYS_REASON_NONE 0u     /**< it does */
#define FSYS_REASON_ASKED 1u    /**< threads were asked for (option or environment) */
#define FSYS_REASON_ENOSYS 2u   /**< no such syscall: kernel before 5.1, or a seccomp filter */
#define FSYS_REASON_SYSCTL 3u   /**< EPERM, and kernel.io_uring_disabled is not 0 */
#define FSYS_REASON_SECCOMP 4u  /**< EPERM although the sysctl allows it: seccomp or an LSM */
#define FSYS_REASON_MEMLOCK 5u  /**< ENOMEM: RLIMIT_MEMLOCK */
#define FSYS_REASON_FD_LIMIT 6u /**< EMFILE or ENFILE */
#define FSYS_REASON_OLD 7u      /**< a ring works but lacks what the library needs (before 5.11) */
#define FSYS_REASON_OTHER 8u    /**< another errno, see backend_errno */
/** @} */

/** What fsys_info() tells of a handle. */
typedef struct fsys_handle_info {
    uint32_t struct_size;     /**< set by the caller to sizeof(fsys_handle_info) */
    uint32_t backend;         /**< FSYS_BACKEND_IO_URING or _THREADS */
    uint32_t backend_reason;  /**< FSYS_REASON_* */
    int32_t backend_errno;    /**< the errno (positive) behind the reason, or 0 */
    uint32_t driver;          /**< FSYS_DRIVER_* */
    uint32_t driver_running;  /**< 1 once the ring exists */
    uint32_t ring_flags;      /**< the kernel's IORING_SETUP_* bits that were granted (after
                                   stripping what is unknown), see io_uring_setup(2) */
    uint32_t ring_features;   /**< the kernel's IORING_FEAT_* bits */
    uint32_t sq_entries;      /**< of the ring; 0 while there is none */
    uint32_t cq_entries;      /**< of the ring */
    uint32_t registered_files; /**< places in the ring's file table; 0 when refused or not yet */
    uint32_t registered_buffers; /**< 1 when the arena is registered with the ring */
    uint32_t max_ops;         /**< as in force */
    uint32_t max_files;       /**< as in force */
    uint32_t pool_threads;    /**< most pool threads */
    uint32_t poisoned;        /**< 1 after a sticky failure of the handle */
    uint64_t memory_bytes;    /**< upper bound of what the handle allocates, arena excluded */
    char reason_text[192];    /**< the reason as a sentence, NUL-terminated */
} fsys_handle_info;

/** Tells what a handle really uses. Starts nothing. Any thread. */
FSYS_API int fsys_info(fsys *handle, fsys_handle_info *ret_info) FSYS_NOEXCEPT;

/** @name Dimensions of the arrays of fsys_counters
 *  @{ */
#define FSYS_STATS_LANES 4u   /**< index: FSYS_LANE_* */
#define FSYS_STATS_OPS 8u     /**< index: FSYS_OP_* (7 is unused) */
#define FSYS_STATS_BUCKETS 160u /**< see fsys_bucket_bound_ns() */
/** @} */

/** Counters since the handle was opened. Read without locking: each number is exact, the set is
 *  not one instant. */
typedef struct fsys_counters {
    uint32_t struct_size;  /**< set by the caller to sizeof(fsys_counters) */
    uint32_t reserved;     /**< 0 */
    uint64_t ops[4][8];    /**< completed ops by lane and opcode (blocking calls: lane INLINE) */
    uint64_t failed;       /**< of those, with a negative result */
    uint64_t bytes_read;   /**< transferred */
    uint64_t bytes_written; /**< transferred */
    uint64_t enters;       /**< io_uring_enter calls */
    uint64_t entries;      /**< SQEs submitted; entries / enters is the batching reached */
    uint64_t doorbells;    /**< eventfd writes to wake the driver */
    uint64_t pool_wakes;   /**< futex wakes of pool threads */
    uint64_t futex_waits;  /**< times a waiter went to sleep */
    uint64_t futex_wakes;  /**< times a completion woke waiters */
    uint64_t event_signals; /**< writes to the event descriptor */
    uint64_t nowait_hits;  /**< reads satisfied at submit from the page cache (RWF_NOWAIT) */
    uint64_t nowait_misses; /**< such tries that went on to be queued */
    uint64_t batch_enters; /**< batches executed by their waiter on a private ring */
    uint64_t iowq_punts;   /**< ring ops of a kind that the kernel hands to its worker threads */
    uint64_t short_ios;    /**< transfers continued from a short point */
    uint64_t retries;      /**< EINTR and EAGAIN retried */
    uint64_t splits;       /**< pieces cut because of the 2 GiB limit of a syscall */
    uint64_t cancels;      /**< cancel requests made */
    uint64_t slot_waits;   /**< submits that had to wait for a free slot */
    uint64_t in_flight;    /**< ops accepted and not yet completed, now */
    uint64_t latency[3][160]; /**< submit-to-completion times by lane - 1 (INLINE, RING, POOL), of
                                   every 64th op; bucket bounds by fsys_bucket_bound_ns() */
} fsys_counters;

/** Copies the counters. Cheap (some hundred loads). Any thread. */
FSYS_API int fsys_stats(fsys *handle, fsys_counters *ret_counters) FSYS_NOEXCEPT;

/** The smallest latency, ns, that counts in bucket `bucket` (0..159): four buckets per power of
 *  two. UINT64_MAX for a larger index. Any thread. */
FSYS_API uint64_t fsys_bucket_bound_ns(uint32_t bucket) FSYS_NOEXCEPT;

/**
 * The sentence behind a sticky failure of a handle or file (or journal). Any thread.
 *
 * @param object  an `fsys *` or `fsys_file *`
 * @param ret_text  receives the NUL-terminated sentence, cut to `size`
 * @return its full length; 0 and an empty string when there is no failure; or a code
 */
FSYS_API int fsys_cause(const void *object, char *ret_text, size_t size) FSYS_NOEXCEPT;

/** A static sentence for a code of the library or a negative errno. Never NULL. Any thread. */
FSYS_API const char *fsys_strerror(int code) FSYS_NOEXCEPT;
/** The name of a code: "FSYS_E_STALE", "ENOSPC", "OK", "?". Static. Any thread. */
FSYS_API const char *fsys_error_name(int code) FSYS_NOEXCEPT;

/** The version of the library that is loaded, to compare with ::FSYS_VERSION. Any thread. */
FSYS_API uint32_t fsys_version(void) FSYS_NOEXCEPT;
/** The same as text, "0.1.0". Static. Any thread. */
FSYS_API const char *fsys_version_string(void) FSYS_NOEXCEPT;

/** @} */

#ifdef __cplusplus
}
#endif

#endif
