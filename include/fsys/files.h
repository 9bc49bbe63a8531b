/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/**
 * @file files.h
 * @brief Whole files and names: replaced, appended, copied, renamed, removed, and known to be safe.
 *
 * The conventions of fsys.h hold, with these additions:
 *
 * - **Durability** is chosen per call (::FSYS_DURABILITY_FULL unless said otherwise) and names what
 *   has reached stable storage when the call returns 0. A directory is part of it: a new name is
 *   not safe before its directory was synced (fsync(2)), so every call that makes or removes a name
 *   syncs the directory, *and returns the error of doing so*.
 * - **After a failure** the error text tells path and step; a sync that failed is never repeated.
 *   If not said otherwise, a call that fails before its last step has changed nothing that has a
 *   name. When only the last step failed, the sync of a directory or device, then the change is
 *   visible and whether it is durable is not known.
 * - **Paths** are relative to `dir` of the options, a directory opened with fsys_file_open();
 *   without it to fsys_options::root; without that to the working directory. In the first two cases
 *   no part of the path may lead out (openat2(2) RESOLVE_BENEATH, Linux 5.6): absolute paths, `..`
 *   above the start and symbolic links that leave are -EXDEV, also when somebody renames meanwhile.
 *   The last component must be a name: empty, `.`, `..` or with a slash behind it is -EINVAL where
 *   a file is meant.
 * - **Threads.** These calls block, on the calling thread, for as long as the disk takes, unless
 *   their name says submit. Two calls on one path are each atomic by themselves; the last wins.
 * - **Memory** given to a submit, the report and the error text included, belongs to the library
 *   until the completion has been taken. Paths and option structs are copied.
 * - All of them may return FSYS_E_CLOSED, FSYS_E_FORKED, FSYS_E_BAD_STRUCT, FSYS_E_BAD_FLAG,
 *   -EINVAL (NULL or out of range), -ENOMEM, -EMFILE and the errno of walking to the path (-ENOENT,
 *   -ENOTDIR, -EACCES, -ELOOP, -ENAMETOOLONG, -EXDEV); listed below is what is particular.
 *
 * docs/durability.md has the table of what each call promises, and what is proven by test.
 */
#ifndef FSYS_FILES_H
#define FSYS_FILES_H

#include <fsys/fsys.h>

#ifdef __cplusplus
extern "C" {
#endif

/** @defgroup replace Replacing files
 *  @{ */

/** @name Durability classes
 *  Each includes the one above it.
 *  @{ */
#define FSYS_DURABILITY_DEFAULT 0u /**< FULL */
#define FSYS_DURABILITY_NONE 1u    /**< nothing is synced: survives the process, not power loss. A
                                        replaced file may then even be empty on some file systems */
#define FSYS_DURABILITY_DATA 2u    /**< the bytes, and what is needed to find them: length, extents,
                                        name (fdatasync(2), and fsync(2) of the directory) */
#define FSYS_DURABILITY_FULL 3u    /**< mode, owner, attributes and times too (fsync(2)) */
#define FSYS_DURABILITY_DEVICE 4u  /**< FULL, then each disk underneath is flushed by a command of
                                        its own and the status checked, as fsys_device_flush()
                                        does, with its errors */
/** @} */

/** @name Metadata to keep, fsys_replace_options::keep
 *  What the new file takes over from the one it replaces (fsys_copy(): from the source), set before
 *  the sync, so that it is as durable as the bytes.
 *  @{ */
#define FSYS_KEEP_DEFAULT 0x00u /**< MODE, OWNER and ACL; an owner that may not be given away
                                     (EPERM) is reported in fsys_file_report::not_kept and is no
                                     failure */
#define FSYS_KEEP_MODE 0x01u    /**< permission bits. Without ACL, the group bits of a file that has
                                     an ACL are cut to what its owning group had */
#define FSYS_KEEP_OWNER 0x02u   /**< user and group */
#define FSYS_KEEP_XATTRS 0x04u  /**< extended attributes user.*, trusted.* and security.* */
#define FSYS_KEEP_ACL 0x08u     /**< POSIX ACL (attribute system.posix_acl_access) */
#define FSYS_KEEP_TIMES 0x10u   /**< access and modification time */
#define FSYS_KEEP_ALL 0x1fu     /**< all of them */
#define FSYS_KEEP_NOTHING 0x80000000u /**< as a new file: mode of the options, own user and group */
/** @} */

/** @name Flags of fsys_replace_options::flags
 *  @{ */
#define FSYS_REPLACE_NEW 0x01u       /**< -EEXIST when the name is taken, decided by the rename
                                          itself (RENAME_NOREPLACE, -EINVAL where the file system
                                          has none) */
#define FSYS_REPLACE_EXISTING 0x02u  /**< -ENOENT when there is no file to replace */
#define FSYS_REPLACE_NOFOLLOW 0x04u  /**< -ELOOP when the last component is a symbolic link.
                                          Default: the file it leads to is replaced, the link
                                          stays */
#define FSYS_REPLACE_ONE_LINK 0x08u  /**< -EMLINK when the file has other hard links. Default: those
                                          keep the old bytes, see fsys_file_report::other_links */
#define FSYS_REPLACE_KEEP_TRY 0x10u  /**< metadata of `keep` that cannot be set are reported in
                                          fsys_file_report::not_kept. Default: that is a failure */
#define FSYS_REPLACE_NO_DIRECTORY_SYNC 0x20u /**< the directory is not synced: after power loss all
                                          old or all new as ever, but perhaps old. For callers that
                                          sync the directory themselves, later */
#define FSYS_REPLACE_STOP 0x40u      /**< batch: after the first failure the items behind it are not
                                          done (-ECANCELED). Default: each is tried */
#define FSYS_REPLACE_REFLINK 0x80u   /**< copy: share blocks or fail with -EOPNOTSUPP */
/** @} */

/** How to replace or copy a file. Zero means the default. */
typedef struct fsys_replace_options {
    uint32_t struct_size;   /**< sizeof(fsys_replace_options) */
    uint32_t flags;         /**< FSYS_REPLACE_* */
    uint32_t durability;    /**< FSYS_DURABILITY_* */
    uint32_t keep;          /**< FSYS_KEEP_*, when there is a file to keep them from */
    uint32_t mode;          /**< permission bits of a file that is new; default 0666, cut by the
                                 umask */
    uint32_t lifetime;      /**< FSYS_LIFETIME_* of the new file's blocks */
    fsys_file *dir;         /**< directory beneath which paths are resolved, or NULL */
    char *error_text;       /**< receives a sentence on failure (path, step, reason), or NULL */
    size_t error_text_size; /**< size of `error_text` */
} fsys_replace_options;

/** @name Steps, fsys_file_report::step and fsys_batch_item::step
 *  @{ */
#define FSYS_FILE_STEP_NONE 0u           /**< it did not fail */
#define FSYS_FILE_STEP_DIRECTORY 1u      /**< opening the directory of the name */
#define FSYS_FILE_STEP_INSPECT 2u        /**< looking at what has the name, or at the source */
#define FSYS_FILE_STEP_CREATE 3u         /**< creating the temporary file */
#define FSYS_FILE_STEP_WRITE 4u          /**< writing, or copying */
#define FSYS_FILE_STEP_METADATA 5u       /**< taking over mode, owner, attributes, times */
#define FSYS_FILE_STEP_SYNC 6u           /**< syncing the new file */
#define FSYS_FILE_STEP_RENAME 7u         /**< giving it its name, or removing a name */
#define FSYS_FILE_STEP_SYNC_DIRECTORY 8u /**< syncing the directory: the change is visible */
#define FSYS_FILE_STEP_SYNC_DEVICE 9u    /**< flushing the device: the change is visible */
/** @} */

/** @name How a copy was made, fsys_file_report::method
 *  @{ */
#define FSYS_COPY_NONE 0u    /**< not a copy */
#define FSYS_COPY_REFLINK 1u /**< the files share their blocks (FICLONE) */
#define FSYS_COPY_KERNEL 2u  /**< copy_file_range(2): bytes copied, or blocks shared, by the file
                                  system, which does not tell */
#define FSYS_COPY_BYTES 3u   /**< read and written by this process */
/** @} */

/** What a call did, also when it failed. */
typedef struct fsys_file_report {
    uint32_t struct_size;  /**< set by the caller to sizeof(fsys_file_report) */
    uint32_t step;         /**< FSYS_FILE_STEP_* that failed */
    uint32_t visible;      /**< 1: whoever opens the name finds the new bytes */
    uint32_t durability;   /**< FSYS_DURABILITY_* that was reached */
    uint32_t not_kept;     /**< FSYS_KEEP_* that were wanted and could not be, as no failure */
    uint32_t method;       /**< FSYS_COPY_* */
    uint64_t bytes;        /**< length of the new file, as far as it was written */
    uint64_t other_links;  /**< hard links that still show the old bytes */
} fsys_file_report;

/**
 * Replaces a file, or creates it: whoever opens the name gets all old bytes or all new ones, at any
 * time and after any power loss, and once this has returned 0 the new ones. Any thread.
 *
 * A temporary file `.fsys-tmp.PID.RANDOM` is made in the same directory, written, given its
 * metadata and synced; then it is renamed to the name and the directory is synced. On failure it is
 * removed. One that a killed process left behind is removed by fsys_sweep(). The target may be a
 * regular file or a symbolic link that leads to one, or to nothing yet.
 *
 * @param data  `length` bytes; may be NULL when `length` is 0
 * @param ret_report  filled also on failure; may be NULL
 * @retval 0 replaced, with the durability asked for
 * @retval -EISDIR  a directory has the name
 * @retval -EINVAL  a device, FIFO or socket has the name
 * @retval -EPERM  something to keep may not be set (see FSYS_REPLACE_KEEP_TRY), or the old file is
 *         immutable
 * @retval -ENOSPC, -EDQUOT, -EFBIG, -EROFS, -EIO  of the step in the report. Unless that step is
 *         SYNC_DIRECTORY or SYNC_DEVICE the old file is as it was.
 */
FSYS_API int fsys_replace(fsys *handle, const char *path, const void *data, size_t length,
                          const fsys_replace_options *options,
                          fsys_file_report *ret_report) FSYS_NOEXCEPT;
/**
 * fsys_replace() as an op, on a pool thread: its completion has the result, and is taken with
 * fsys_wait() and its kin or, when `ret_op` is NULL, with fsys_reap(). It cannot be cancelled. Any
 * thread.
 *
 * @retval 0 accepted: exactly one completion will come
 * @retval -EAGAIN  no op slot free (see fsys_options::submit_timeout_ns)
 * @retval -EOPNOTSUPP  the handle is caller-driven: it has no thread for this
 */
FSYS_API int fsys_submit_replace(fsys *handle, const char *path, const void *data, size_t length,
                                 const fsys_replace_options *options, fsys_file_report *ret_report,
                                 uint64_t user_data, fsys_op *ret_op) FSYS_NOEXCEPT;

/** A file being replaced piece by piece. */
typedef struct fsys_replacement fsys_replacement;

/**
 * Begins to replace a file: opens the directory, looks at the target, makes the temporary file. To
 * be ended by fsys_replace_commit() or fsys_replace_abort(); fsys_close() aborts what is left. At
 * most 1024 journals, readers, scans and replacements are open per handle (-EMFILE). One thread at
 * a time per replacement; another one gets -EBUSY. Errors as of fsys_replace().
 */
FSYS_API int fsys_replace_begin(fsys *handle, const char *path, const fsys_replace_options *options,
                                fsys_replacement **ret_replacement) FSYS_NOEXCEPT;
/** Adds `length` bytes at the end. After a failure only fsys_replace_abort() is left
 *  (::FSYS_E_POISONED). One thread at a time. */
FSYS_API int fsys_replace_write(fsys_replacement *replacement, const void *data,
                                size_t length) FSYS_NOEXCEPT;
/** Puts the new file in the old one's place, as fsys_replace() does, and ends the replacement, also
 *  on failure: the temporary file is gone then. The error text goes where the options of
 *  fsys_replace_begin() said, which must still be there. */
FSYS_API int fsys_replace_commit(fsys_replacement *replacement,
                                 fsys_file_report *ret_report) FSYS_NOEXCEPT;
/** fsys_replace_commit() as an op, see fsys_submit_replace(). When it was accepted the replacement
 *  has ended for the caller; when not, it is as before. */
FSYS_API int fsys_submit_replace_commit(fsys_replacement *replacement, fsys_file_report *ret_report,
                                        uint64_t user_data, fsys_op *ret_op) FSYS_NOEXCEPT;
/** Gives a replacement up and removes its temporary file. The old file is as it was. @return 0, or
 *  the errno of removing it */
FSYS_API int fsys_replace_abort(fsys_replacement *replacement) FSYS_NOEXCEPT;

/** @name What to do, fsys_batch_item::verb
 *  @{ */
#define FSYS_BATCH_REPLACE 0u /**< as fsys_replace() */
#define FSYS_BATCH_UNLINK 1u  /**< as fsys_unlink(); a name that is not there is no failure */
/** @} */

/** One file of a batch. */
typedef struct fsys_batch_item {
    uint32_t verb;        /**< FSYS_BATCH_* */
    int32_t result;       /**< out: 0 or a code */
    const char *path;     /**< as in fsys_replace() */
    const void *data;     /**< of a REPLACE */
    uint64_t length;      /**< of `data` */
    uint32_t step;        /**< out: FSYS_FILE_STEP_* that failed */
    uint32_t visible;     /**< out: 1: done, as others see it */
    uint32_t not_kept;    /**< out: as fsys_file_report::not_kept */
    uint32_t reserved;    /**< must be 0 */
    uint64_t other_links; /**< out: as fsys_file_report::other_links */
} fsys_batch_item;

/**
 * Replaces and removes `count` (0..65536) files with one wait for the disk instead of many: the new
 * files are written, then synced all at once on the engine, renamed one after the other, and each
 * directory is synced once. Any thread.
 *
 * Order: names change in the order of the array, so whoever sees one item done finds those before
 * it done (those that did not fail). Before the call returns, power loss may leave any of them old
 * and any new, each whole. When it has returned every item with result 0 is durable. Items are
 * independent: it is not all or nothing (for that use a journal). Large batches are done in runs of
 * 128 files.
 *
 * @param options  for all items
 * @return 0 when each item's result is 0, else the result of the first that failed. An error of
 *         syncing a directory is the result of each item in it.
 */
FSYS_API int fsys_batch(fsys *handle, fsys_batch_item *items, uint32_t count,
                        const fsys_replace_options *options) FSYS_NOEXCEPT;
/** fsys_batch() as an op, see fsys_submit_replace(). The array, its paths and data must stay until
 *  the completion, whose result is what fsys_batch() returns. */
FSYS_API int fsys_submit_batch(fsys *handle, fsys_batch_item *items, uint32_t count,
                               const fsys_replace_options *options, uint64_t user_data,
                               fsys_op *ret_op) FSYS_NOEXCEPT;

/**
 * Copies a file's bytes, shared or copied by the kernel where it can, holes left holes, into a file
 * that replaces `to` as fsys_replace() does. Both paths are resolved as the options say. The
 * default of `keep` is MODE, of the source. Any thread.
 *
 * @retval -EINVAL  the source is not a regular file
 * @retval -EOPNOTSUPP  FSYS_REPLACE_REFLINK, and the blocks cannot be shared
 * @return as fsys_replace(); how it was copied is in fsys_file_report::method
 */
FSYS_API int fsys_copy(fsys *handle, const char *from, const char *to,
                       const fsys_replace_options *options,
                       fsys_file_report *ret_report) FSYS_NOEXCEPT;

/** @} */

/** @defgroup names Names and directories
 *  @{ */

/** @name Flags of fsys_path_options::flags; each call says which it takes
 *  @{ */
#define FSYS_PATH_NEW 0x01u        /**< rename: -EEXIST when the new name is taken */
#define FSYS_PATH_EXCHANGE 0x02u   /**< rename: both names exist and change places */
#define FSYS_PATH_PARENTS 0x04u    /**< mkdir: missing parents too; an existing directory is fine */
#define FSYS_PATH_MISSING_OK 0x08u /**< unlink, rmdir: a name that is not there is no failure */
#define FSYS_PATH_SYNC_PARENT 0x10u /**< append, sync: the directory that holds the name is synced
                                         too, whoever made the name */
#define FSYS_PATH_FILE_SYSTEM 0x20u /**< sync: all of the file system that holds the path:
                                         syncfs(2), which tells errors since Linux 5.8 */
#define FSYS_PATH_NOFOLLOW 0x40u   /**< append, read, sync: -ELOOP for a symbolic link */
#define FSYS_PATH_RECURSIVE 0x80u  /**< scan: into subdirectories, symbolic links not followed */
#define FSYS_PATH_ONE_FILE_SYSTEM 0x100u /**< scan: not into directories where another file system
                                         begins */
/** @} */

/** Where and how, for calls on names. Zero means the default. */
typedef struct fsys_path_options {
    uint32_t struct_size;   /**< sizeof(fsys_path_options) */
    uint32_t flags;         /**< FSYS_PATH_* */
    uint32_t durability;    /**< FSYS_DURABILITY_* */
    uint32_t mode;          /**< permission bits of what is created; default 0666, directories 0777,
                                 cut by the umask */
    fsys_file *dir;         /**< directory beneath which paths are resolved, or NULL */
    char *error_text;       /**< receives a sentence on failure (path, step, reason), or NULL */
    size_t error_text_size; /**< size of `error_text` */
} fsys_path_options;

/**
 * Appends to a file (O_APPEND: pieces of several appenders do not mix unless the disk is full),
 * creating it when absent; the directory is synced when this call created it, or with
 * FSYS_PATH_SYNC_PARENT. Takes also FSYS_PATH_NOFOLLOW. Any thread.
 *
 * Not atomic: power loss before it returns may leave a part, in any pieces of it (records need a
 * journal). After a failure a part may be in the file.
 *
 * @param ret_offset  where the bytes begin; may be NULL; written once any byte was, also on failure
 * @retval 0 all `length` bytes are in the file with the durability asked for
 */
FSYS_API int fsys_append(fsys *handle, const char *path, const void *data, size_t length,
                         const fsys_path_options *options, uint64_t *ret_offset) FSYS_NOEXCEPT;

/**
 * Reads a whole file, also one without a known length as in /proc. Takes FSYS_PATH_NOFOLLOW. Any
 * thread.
 *
 * @param max_bytes  -EFBIG when there are more; 0: no limit
 * @param ret_data  the bytes and a NUL behind them, to be freed with fsys_free()
 * @param ret_length  without that NUL
 */
FSYS_API int fsys_read_file(fsys *handle, const char *path, uint64_t max_bytes,
                            const fsys_path_options *options, void **ret_data,
                            size_t *ret_length) FSYS_NOEXCEPT;
/** Frees what fsys_read_file() gave; NULL is allowed. Needs no handle. Any thread. */
FSYS_API void fsys_free(void *data) FSYS_NOEXCEPT;

/**
 * Renames a file or directory. A regular file is itself synced before (durability DATA and above),
 * for a durable name of lost bytes is worth nothing; then the directory of the new name is synced
 * and, if it is another one, that of the old name. Takes FSYS_PATH_NEW, FSYS_PATH_EXCHANGE. A
 * symbolic link is renamed, not what it points to. Any thread.
 *
 * @return 0, or an errno of renameat2(2): -EXDEV between file systems, -ENOTEMPTY, -EINVAL (into
 *         itself, or a flag that the file system has not)
 */
FSYS_API int fsys_rename(fsys *handle, const char *from, const char *to,
                         const fsys_path_options *options) FSYS_NOEXCEPT;
/** Gives a file a second name. The file is synced before and the new name's directory after.
 *  -EEXIST when the name is taken. A symbolic link is linked itself. Any thread. */
FSYS_API int fsys_link(fsys *handle, const char *existing, const char *path,
                       const fsys_path_options *options) FSYS_NOEXCEPT;
/** Removes the name of a file and syncs its directory. Takes FSYS_PATH_MISSING_OK. A symbolic link
 *  is removed itself. -EISDIR for a directory. Any thread. */
FSYS_API int fsys_unlink(fsys *handle, const char *path,
                         const fsys_path_options *options) FSYS_NOEXCEPT;
/**
 * Makes a directory, syncs it and the one it is in. With FSYS_PATH_PARENTS each missing one above
 * it is made the same way, outermost first; on failure those made so far stay. Those that existed
 * are not synced: if their maker did not, use fsys_sync_path() on them. Any thread.
 *
 * @retval -EEXIST  the name is taken (with PARENTS: by something that is no directory)
 */
FSYS_API int fsys_mkdir(fsys *handle, const char *path,
                        const fsys_path_options *options) FSYS_NOEXCEPT;
/** Removes an empty directory and syncs the one it was in. Takes FSYS_PATH_MISSING_OK. Any
 *  thread. */
FSYS_API int fsys_rmdir(fsys *handle, const char *path,
                        const fsys_path_options *options) FSYS_NOEXCEPT;

/**
 * Makes durable what others wrote to a file or directory: DATA is fdatasync(2), FULL fsync(2),
 * DEVICE flushes the device besides, NONE is -EINVAL. Takes FSYS_PATH_SYNC_PARENT,
 * FSYS_PATH_FILE_SYSTEM, FSYS_PATH_NOFOLLOW. Never creates anything. Any thread.
 *
 * The sync goes through a new descriptor: it covers the bytes whoever wrote them, but a write-back
 * error that another descriptor has already been told of is not told again (Linux 4.17). A writer
 * should therefore rather sync its own descriptor with fsys_sync().
 */
FSYS_API int fsys_sync_path(fsys *handle, const char *path,
                            const fsys_path_options *options) FSYS_NOEXCEPT;

/**
 * Removes temporary files of fsys_replace() and its kin in one directory that nobody writes any
 * more: the writer holds a lock on its temporary file (an open file description lock, fcntl(2)),
 * which ends with the process. The directory is synced when something was removed. Any thread.
 *
 * @param path  of the directory
 * @param min_age_ns  younger ones are left, by their change time (st_ctim); 0: the default of 60 s,
 *                    which is far more than creating and locking takes
 * @param ret_removed  how many were removed, also on failure; may be NULL
 * @retval 0 done; what others still write was left
 */
FSYS_API int fsys_sweep(fsys *handle, const char *path, uint64_t min_age_ns,
                        const fsys_path_options *options, uint32_t *ret_removed) FSYS_NOEXCEPT;

/** A walk through a directory or a tree. */
typedef struct fsys_scan fsys_scan;

/** @name What an entry is, fsys_scan_entry::type
 *  @{ */
#define FSYS_TYPE_OTHER 0u     /**< device, FIFO, socket */
#define FSYS_TYPE_FILE 1u      /**< regular file */
#define FSYS_TYPE_DIRECTORY 2u /**< directory */
#define FSYS_TYPE_SYMLINK 3u   /**< symbolic link */
/** @} */

/** A name that was found. */
typedef struct fsys_scan_entry {
    uint32_t struct_size;    /**< set by the caller to sizeof(fsys_scan_entry) */
    uint32_t type;           /**< FSYS_TYPE_* */
    const char *path;        /**< relative to where the scan began; until the next call on it */
    uint64_t size;           /**< bytes */
    uint64_t inode;          /**< number */
    int64_t modified_ns;     /**< modification time, ns since 1970 */
    uint32_t mode;           /**< permission bits */
    uint32_t depth;          /**< 0 in the directory where the scan began */
    uint64_t links;          /**< hard links */
    int32_t error;           /**< 0; or why this directory could not be entered, or this name could
                                  not be looked at: it is then an entry of its own, once */
    uint32_t reserved;       /**< 0 */
} fsys_scan_entry;

/** Begins to list a directory or, with FSYS_PATH_RECURSIVE, all beneath it. Takes also
 *  FSYS_PATH_ONE_FILE_SYSTEM. Counts as an object of the handle, see fsys_replace_begin(). */
FSYS_API int fsys_scan_open(fsys *handle, const char *path, const fsys_path_options *options,
                            fsys_scan **ret_scan) FSYS_NOEXCEPT;
/**
 * Gives the next name: those of a directory in byte order, a directory before what is in it. `.`
 * and `..` are left out. What is removed meanwhile is left out, what is added may be. One thread at
 * a time per scan; another one gets -EBUSY.
 *
 * @retval 0 an entry
 * @retval FSYS_E_NOTHING  that was all
 */
FSYS_API int fsys_scan_next(fsys_scan *scan, fsys_scan_entry *ret_entry) FSYS_NOEXCEPT;
/** Ends a scan. Any thread. */
FSYS_API int fsys_scan_close(fsys_scan *scan) FSYS_NOEXCEPT;

/** @} */

/** @defgroup ranges Ranges and advice
 *  On open files; `durability` is an FSYS_DURABILITY_* of the change. After a failed sync the file
 *  is poisoned as by fsys_sync().
 *  @{ */

/** Cuts or extends (with zeros) a file to `length` bytes: ftruncate(2). Any thread. */
FSYS_API int fsys_truncate(fsys_file *file, uint64_t length, uint32_t durability) FSYS_NOEXCEPT;
/** Allocates [offset, offset + length), so that writing there cannot meet a full disk:
 *  fallocate(2). `flags`: 0 or ::FSYS_KEEP_SIZE. -EOPNOTSUPP where the file system cannot; nothing
 *  is written instead. Any thread. */
FSYS_API int fsys_preallocate(fsys_file *file, uint64_t offset, uint64_t length, uint32_t flags,
                              uint32_t durability) FSYS_NOEXCEPT;
/** Gives the whole blocks in [offset, offset + length) back to the file system; all of it reads as
 *  zeros, the file's length stays: FALLOC_FL_PUNCH_HOLE. -EOPNOTSUPP where it cannot. Any
 *  thread. */
FSYS_API int fsys_punch_hole(fsys_file *file, uint64_t offset, uint64_t length,
                             uint32_t durability) FSYS_NOEXCEPT;
/** Makes [offset, offset + length) zeros that are allocated, by FALLOC_FL_ZERO_RANGE or, where the
 *  file system has none, by writing them. `flags`: 0 (the file grows to hold the range) or
 *  ::FSYS_KEEP_SIZE (what is beyond the end is left out). Any thread. */
FSYS_API int fsys_zero_range(fsys_file *file, uint64_t offset, uint64_t length, uint32_t flags,
                             uint32_t durability) FSYS_NOEXCEPT;

/** @name How long blocks will live, see fcntl(2) F_SET_RW_HINT
 *  @{ */
#define FSYS_LIFETIME_UNSET 0u   /**< not set, as a new file's */
#define FSYS_LIFETIME_NONE 1u    /**< no hint */
#define FSYS_LIFETIME_SHORT 2u   /**< overwritten soon */
#define FSYS_LIFETIME_MEDIUM 3u  /**< between the two */
#define FSYS_LIFETIME_LONG 4u    /**< kept long */
#define FSYS_LIFETIME_EXTREME 5u /**< kept as good as for ever */
/** @} */
/** Tells how long the file's blocks will live, so that a device with streams can keep them apart.
 *  The hint belongs to the inode in memory. -EINVAL where the kernel has none (before 4.13). Any
 *  thread. */
FSYS_API int fsys_set_lifetime(fsys_file *file, uint32_t lifetime) FSYS_NOEXCEPT;

/** @name Access patterns, see posix_fadvise(2)
 *  @{ */
#define FSYS_ADVICE_NORMAL 0u     /**< no particular one */
#define FSYS_ADVICE_RANDOM 1u     /**< no read-ahead */
#define FSYS_ADVICE_SEQUENTIAL 2u /**< more read-ahead */
#define FSYS_ADVICE_WILL_NEED 3u  /**< begin reading now */
#define FSYS_ADVICE_DONT_NEED 4u  /**< drop clean pages from the cache */
#define FSYS_ADVICE_ONCE 5u       /**< read once (POSIX_FADV_NOREUSE) */
/** @} */
/** Gives advice for [offset, offset + length); `length` 0: to the end. -ESPIPE for pipes. Any
 *  thread. */
FSYS_API int fsys_advise(fsys_file *file, uint64_t offset, uint64_t length,
                         uint32_t advice) FSYS_NOEXCEPT;

/** @} */

#ifdef __cplusplus
}
#endif

#endif
