/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/**
 * @file journal.h
 * @brief The write-ahead journal: append records, learn when they are safe, find them again.
 *
 * The conventions of fsys.h hold, with these additions:
 *
 * - An **LSN** is a position in the journal's byte stream. A record's LSN is the position just past
 *   it, so "durable through LSN x" is one comparison. LSN order is append order. 0 means none.
 * - **Levels.** A record is *published* (in memory), then *written* (given to the kernel: survives
 *   the process), then *durable* (survives power loss). Append promises only the first.
 * - **Three outcomes of a sync.** 0: durable. ::FSYS_E_POISONED: the journal failed before these
 *   bytes were given to the kernel, they are not there. ::FSYS_E_UNKNOWN: they lie in the range
 *   whose fate only opening again can tell. A failure is sticky, and no sync is ever repeated.
 * - After a crash exactly a prefix of what was appended is there, and it contains all that was
 *   acknowledged as durable; batches are there whole or not at all. Records after the last
 *   acknowledged one may be there too.
 * - Journals and readers belong to an engine handle, at most 1024 together per handle; fsys_close()
 *   closes them first, readers before journals, and returns the first failure of doing so.
 * - Handles of journals and readers are looked up like all others (convention 1). In a fork child
 *   every call on them is ::FSYS_E_FORKED.
 * - Paths are relative to the working directory, with fsys_options::root to that directory, which
 *   they then cannot leave (Linux 5.6, else -ENOSYS). The calls that only look, from
 *   fsys_journal_check() on, have no handle and know of no root; those ending in `_at` have both.
 *
 * Not promised: help against a device that lies about flushes, a second writer on a file system
 * without locks, or rot in the very last flush (docs/journal-design.md).
 */
#ifndef FSYS_JOURNAL_H
#define FSYS_JOURNAL_H

#include <fsys/fsys.h>

#ifdef __cplusplus
extern "C" {
#endif

/** @defgroup journal Journals
 *  @{ */

/** A journal open for writing. */
typedef struct fsys_journal fsys_journal;
/** A reader of a journal. */
typedef struct fsys_journal_reader fsys_journal_reader;

/** @name Values of fsys_journal_options::mode
 *  @{ */
#define FSYS_JOURNAL_MODE_AUTO 0u     /**< measured when the journal is opened */
#define FSYS_JOURNAL_MODE_DIRECT 1u   /**< O_DIRECT with RWF_DSYNC; -EINVAL where there is none */
#define FSYS_JOURNAL_MODE_BUFFERED 2u /**< write and fdatasync */
/** @} */

/** @name Values of fsys_journal_options::preallocate
 *  @{ */
#define FSYS_JOURNAL_RECYCLE 0u /**< written with zeros, trimmed segments are used again: commits
                                     are overwrites, the fastest */
#define FSYS_JOURNAL_ZERO 1u    /**< written with zeros, trimmed segments are removed */
#define FSYS_JOURNAL_EXTENT 2u  /**< fallocate(2) only */
#define FSYS_JOURNAL_NONE 3u    /**< nothing; a full disk is then met by a commit and poisons */
/** @} */

/** @name Flags of fsys_journal_options::flags
 *  @{ */
#define FSYS_JOURNAL_EXISTING 0x1u /**< do not create: -ENOENT when there is no journal */
#define FSYS_JOURNAL_STRICT 0x2u   /**< a durable watermark before each acknowledgement: closes the
                                        blind spot of the last flush, costs a second flush */
/** @} */

/** How to open a journal. Zero means the default. */
typedef struct fsys_journal_options {
    uint32_t struct_size;       /**< sizeof(fsys_journal_options) */
    uint32_t flags;             /**< FSYS_JOURNAL_EXISTING, FSYS_JOURNAL_STRICT */
    uint32_t mode;              /**< FSYS_JOURNAL_MODE_* */
    uint32_t preallocate;       /**< FSYS_JOURNAL_RECYCLE ... */
    uint64_t segment_bytes;     /**< room for records in a segment file: a multiple of
                                     `block_bytes`, at least two blocks; default 64 MiB */
    uint64_t buffer_bytes;      /**< log buffer: a power of two, 64 KiB .. 4 GiB, default 8 MiB */
    uint32_t block_bytes;       /**< flushes are padded to this: a power of two, 512 .. 65536,
                                     default 4096 (no less than the device's physical sector) */
    uint32_t reserve_segments;  /**< spares that only ::FSYS_JOURNAL_EMERGENCY may use; default 0 */
    uint32_t spare_segments;    /**< most spares kept besides; default 2; UINT32_MAX: none */
    uint32_t reserved;          /**< must be 0 */
    uint64_t max_bytes;         /**< cap on segment files and spares together; default none */
    uint64_t append_timeout_ns; /**< longest wait of an append for room in the log buffer before
                                     -ETIMEDOUT; default 30 s */
    char *error_text;           /**< receives a sentence on failure, or NULL */
    size_t error_text_size;     /**< size of `error_text` */
} fsys_journal_options;

/** @name Verdicts, fsys_journal_report::verdict
 *  @{ */
#define FSYS_JOURNAL_FRESH 0u    /**< there was no journal */
#define FSYS_JOURNAL_CLEAN 1u    /**< it ends with a whole record */
#define FSYS_JOURNAL_TORN 2u     /**< it ended with bytes that nobody had been promised: cut */
#define FSYS_JOURNAL_DAMAGED 3u  /**< acknowledged bytes are not there (::FSYS_E_CORRUPT) */
#define FSYS_JOURNAL_IO_ERROR 4u /**< it could not be read: neither torn nor damaged */
/** @} */

/** @name Rules, fsys_journal_report::rule and fsys_journal_finding::rule: what a verdict rests on
 *  @{ */
#define FSYS_JOURNAL_RULE_NONE 0u      /**< nothing to judge, or nothing that proves */
#define FSYS_JOURNAL_RULE_END 1u       /**< no frame of this epoch lies behind the end */
#define FSYS_JOURNAL_RULE_UNPROVED 2u  /**< a bad frame, and nothing proves that it had been durable:
                                            torn */
#define FSYS_JOURNAL_RULE_GROUP 3u     /**< an atomic group without its last frame: torn */
#define FSYS_JOURNAL_RULE_FRAME 4u     /**< a later frame says that the position had been durable */
#define FSYS_JOURNAL_RULE_WATERMARK 5u /**< the watermark says that it had been durable */
#define FSYS_JOURNAL_RULE_SUCCESSOR 6u /**< its segment has a successor, and is durable before that
                                            gets a name */
#define FSYS_JOURNAL_RULE_STRUCTURE 7u /**< a header block, a name, the order of the segments or the
                                            watermark file does not check */
#define FSYS_JOURNAL_RULE_TRIMMED 8u   /**< below the first position that is kept */
#define FSYS_JOURNAL_RULE_WRITER 9u    /**< the writer that has it open says so */
/** @} */

/** What opening, or a check, found. */
typedef struct fsys_journal_report {
    uint32_t struct_size;    /**< set by the caller */
    uint32_t verdict;        /**< FSYS_JOURNAL_FRESH ... */
    uint64_t first_lsn;      /**< first position that is kept */
    uint64_t end_lsn;        /**< new records begin behind this */
    uint64_t cut_from;       /**< bytes cut from a torn tail: [cut_from, cut_to) */
    uint64_t cut_to;         /**< equal to `cut_from` when none */
    uint64_t damage_lsn;     /**< position of the first damage */
    uint64_t proof_lsn;      /**< the frame that proves it had been acknowledged; 0: the watermark */
    uint64_t epoch;          /**< now in force */
    uint64_t records;        /**< whole records in what was scanned */
    uint64_t scanned_bytes;  /**< read to come to the verdict */
    char kept_name[64];      /**< file in the journal's directory with the cut bytes, or "" */
    char text[256];          /**< the finding as a sentence */
    uint32_t rule;           /**< FSYS_JOURNAL_RULE_*: what the verdict rests on */
    uint32_t writer;         /**< 1: another handle or process had it open for writing; the report
                                  is what that one says, `end_lsn` its durable frontier */
    uint64_t proof_durable_lsn; /**< of damage: through this LSN all had been durable, says the proof */
    uint64_t written_lsn;    /**< `end_lsn`, or the writer's written frontier */
} fsys_journal_report;

/**
 * Opens a journal for writing: recovers it, cuts a torn tail (keeping a copy), raises its epoch and
 * begins a new segment. Any thread.
 *
 * Records go to the device once half the log buffer is full, without being asked for. A journal with
 * direct IO has one context of Linux AIO for that (io_setup(2), counted by fs.aio-max-nr) from the first
 * time on; when there is none to be had a thread of the handle writes.
 *
 * @param handle  an engine: gives the pool threads, and the completion queue of asynchronous syncs
 * @param path  a directory; created when absent (its parent must exist)
 * @param options  NULL for all defaults
 * @param ret_report  filled on success and with FSYS_E_CORRUPT; may be NULL
 * @param ret_journal  close it with fsys_journal_close()
 * @retval 0 success
 * @retval FSYS_E_CORRUPT  acknowledged bytes are missing or altered: see the report. Nothing was
 *         changed. fsys_journal_salvage() copies what can be read.
 * @retval FSYS_E_LOCKED  another handle or process has it open for writing
 * @retval -ENOTEMPTY  no journal there, but foreign files
 * @retval -ENOENT  FSYS_JOURNAL_EXISTING and no journal, or no parent directory
 * @retval -ENOSPC  no room for the first segment
 * @retval -EINVAL  a number out of range, or direct mode where the file system has none
 * @retval -EMFILE  1024 journals and readers are open on this handle, or no descriptor
 * @retval -EXDEV  the path leads out of fsys_options::root
 * @return FSYS_E_CLOSED, FSYS_E_BAD_FLAG, FSYS_E_BAD_STRUCT or another errno of a system call
 */
FSYS_API int fsys_journal_open(fsys *handle, const char *path, const fsys_journal_options *options,
                               fsys_journal_report *ret_report,
                               fsys_journal **ret_journal) FSYS_NOEXCEPT;

/**
 * Makes everything durable, marks the journal as closed in order, and lets it go. Waits for calls
 * in other threads to return; open tickets are abandoned, so nobody may be writing to their memory.
 * Readers made from it must be closed before. Any thread; exactly one of several racing calls does
 * it. Takes some 30 ms where records were written by Linux AIO, see fsys_journal_open(): the kernel waits
 * for an RCU grace period in io_destroy(2).
 *
 * @retval 0 all is durable
 * @retval FSYS_E_POISONED  closed, but it had failed
 * @retval -ETIMEDOUT  a call was still inside after fsys_options::close_timeout_ns (a device that
 *         hangs): nobody enters any more, but lock and memory are kept until the process ends
 * @retval -EBUSY  a reader made from it is open; the journal stays open
 * @return FSYS_E_CLOSED, FSYS_E_FORKED; or the errno of marking it closed: all is durable nevertheless,
 *         and the journal is closed
 */
FSYS_API int fsys_journal_close(fsys_journal *journal) FSYS_NOEXCEPT;

/** @name Flags of an append
 *  @{ */
#define FSYS_JOURNAL_NONBLOCK 0x1u  /**< -EAGAIN instead of waiting for room in the log buffer */
#define FSYS_JOURNAL_EMERGENCY 0x2u /**< may use the reserve segments */
/** @} */

/**
 * Appends one record of 0 bytes to 1 GiB. The bytes are copied; nothing is durable yet. Any thread.
 *
 * @param ret_lsn  the record's LSN; may be NULL
 * @retval 0 appended
 * @retval -ENOSPC  disk, or `max_bytes`, full: nothing happened, trim and go on
 * @retval -EAGAIN, -ETIMEDOUT  no room in the log buffer (see the flags and `append_timeout_ns`)
 * @retval -EMSGSIZE  more than 1 GiB
 * @return FSYS_E_POISONED, FSYS_E_CLOSED, FSYS_E_FORKED, FSYS_E_BAD_FLAG, -EINVAL
 */
FSYS_API int fsys_journal_append(fsys_journal *journal, const void *data, size_t length,
                                 uint32_t flags, uint64_t *ret_lsn) FSYS_NOEXCEPT;
/** One record gathered from `count` (0..1024) pieces. See fsys_journal_append(). */
FSYS_API int fsys_journal_appendv(fsys_journal *journal, const fsys_iovec *pieces, uint32_t count,
                                  uint32_t flags, uint64_t *ret_lsn) FSYS_NOEXCEPT;
/**
 * `count` (1..65536) records, 1 GiB together at most, that are all there after a crash or none.
 * See fsys_journal_append().
 *
 * @param ret_last  LSN of the last one: the batch is durable when that is; may be NULL
 * @param ret_each  `count` LSNs, or NULL
 */
FSYS_API int fsys_journal_append_batch(fsys_journal *journal, const fsys_iovec *records,
                                       uint32_t count, uint32_t flags, uint64_t *ret_last,
                                       uint64_t *ret_each) FSYS_NOEXCEPT;

/** A place for a record in the log buffer itself. */
typedef struct fsys_journal_ticket {
    uint64_t id;     /**< of the ticket */
    void *memory;    /**< `length` bytes to be written by the caller until publish or abandon */
    uint64_t length; /**< as asked for */
} fsys_journal_ticket;

/**
 * Reserves the place of a record, to be written without a copy. Until it is published or abandoned
 * nothing behind it becomes durable: syncs of later records wait or time out, and
 * fsys_journal_stat() shows its age. Any thread.
 *
 * @param length  at most what fits a quarter of the log buffer, half a segment and 1 MiB
 *                (-EMSGSIZE)
 * @return as fsys_journal_append()
 */
FSYS_API int fsys_journal_reserve(fsys_journal *journal, size_t length, uint32_t flags,
                                  fsys_journal_ticket *ret_ticket) FSYS_NOEXCEPT;
/** Publishes a ticket's bytes as a record. Any thread, once. FSYS_E_STALE: not an open ticket. */
FSYS_API int fsys_journal_publish(fsys_journal *journal, const fsys_journal_ticket *ticket,
                                  uint64_t *ret_lsn) FSYS_NOEXCEPT;
/** Gives a ticket up. Any thread, once. FSYS_E_STALE: not an open ticket. */
FSYS_API int fsys_journal_abandon(fsys_journal *journal,
                                  const fsys_journal_ticket *ticket) FSYS_NOEXCEPT;

/**
 * Waits until everything through `lsn` is durable, sharing the sync with whoever else waits. A lone
 * caller never waits for company. Any thread.
 *
 * @retval 0 durable
 * @retval -ETIMEDOUT  not yet; it may still become durable
 * @retval -EINVAL  `lsn` lies beyond what was appended
 * @retval FSYS_E_POISONED  failed, and not there
 * @retval FSYS_E_UNKNOWN  failed, and perhaps there: open again to learn
 * @return FSYS_E_CLOSED, FSYS_E_FORKED
 */
FSYS_API int fsys_journal_sync(fsys_journal *journal, uint64_t lsn,
                               int64_t timeout_ns) FSYS_NOEXCEPT;
/** fsys_journal_append() and fsys_journal_sync(). `*ret_lsn` is written once appended, also when
 *  the sync then fails. Any thread. */
FSYS_API int fsys_journal_commit(fsys_journal *journal, const void *data, size_t length,
                                 uint32_t flags, int64_t timeout_ns,
                                 uint64_t *ret_lsn) FSYS_NOEXCEPT;
/**
 * Asks for everything through `lsn` to become durable, as an op of the engine: its completion has
 * the results of fsys_journal_sync() (0, ::FSYS_E_POISONED, ::FSYS_E_UNKNOWN) and is taken with
 * fsys_wait() and its kin, or, when `ret_op` is NULL, with fsys_reap() and the event descriptor.
 * Such syncs share flushes with each other and with blocking ones. fsys_cancel() and
 * fsys_cancel_queued() end one that waits, with -ECANCELED: nobody is told any more, but what was
 * appended stays, and becomes durable with what others ask for. Any thread. On a caller-driven handle the driver thread leads the flush, inside fsys_poll() or a wait,
 * which then takes as long as the disk does.
 *
 * @retval 0 accepted: exactly one completion will come
 * @retval -EINVAL  `lsn` lies beyond what was appended
 * @retval -EAGAIN  no op slot free (see fsys_options::submit_timeout_ns)
 * @return FSYS_E_POISONED, FSYS_E_UNKNOWN, FSYS_E_CLOSED, FSYS_E_FORKED. No completion comes then.
 */
FSYS_API int fsys_journal_submit_sync(fsys_journal *journal, uint64_t lsn, uint64_t user_data,
                                      fsys_op *ret_op) FSYS_NOEXCEPT;
/** fsys_journal_append() and fsys_journal_submit_sync(). `*ret_lsn` (may be NULL) is written once
 *  the record is appended, also when the sync is then refused. Any thread. */
FSYS_API int fsys_journal_submit_commit(fsys_journal *journal, const void *data, size_t length,
                                        uint32_t flags, uint64_t user_data, uint64_t *ret_lsn,
                                        fsys_op *ret_op) FSYS_NOEXCEPT;
/** Gives everything published to the kernel: it then survives this process, not power loss. Any
 *  thread. */
FSYS_API int fsys_journal_write_out(fsys_journal *journal) FSYS_NOEXCEPT;

/** How far things are. */
typedef struct fsys_journal_frontiers {
    uint64_t reserved;   /**< positions handed out */
    uint64_t published;  /**< complete in memory, as the last flush saw it */
    uint64_t written;    /**< given to the kernel */
    uint64_t durable;    /**< safe */
    uint64_t unknown_lo; /**< after a failure: what lies in (unknown_lo, unknown_hi] may be there */
    uint64_t unknown_hi; /**< 0 while there was no failure */
} fsys_journal_frontiers;
/** Reads the frontiers without a lock. Each is at most the one named before it. Any thread. */
FSYS_API int fsys_journal_frontier(fsys_journal *journal,
                                   fsys_journal_frontiers *ret_frontiers) FSYS_NOEXCEPT;

/**
 * Gives up records with LSNs at or below `lsn`, in whole segments and no further than the pins
 * allow. Any thread.
 *
 * @param lsn  at most the durable frontier (-EINVAL)
 * @retval 0 done; something below `lsn` may still be kept
 */
FSYS_API int fsys_journal_trim(fsys_journal *journal, uint64_t lsn) FSYS_NOEXCEPT;
/**
 * Withdraws all records behind `lsn`, which must be the LSN of a record, or of a batch's last, that
 * is still kept (-EINVAL). Raises the epoch, so that no LSN means two things within one. Appends
 * of other threads wait meanwhile. Any thread. @retval -EBUSY a ticket is open
 */
FSYS_API int fsys_journal_truncate(fsys_journal *journal, uint64_t lsn) FSYS_NOEXCEPT;
/** Makes everything durable and seals the active segment, for whoever ships files. Any thread.
 *  @retval -EBUSY a ticket is open */
FSYS_API int fsys_journal_rotate(fsys_journal *journal) FSYS_NOEXCEPT;
/**
 * Keeps everything behind `lsn` from being trimmed, also after reopening. A pin of the same name is
 * moved. Any thread.
 *
 * @param name  1 to 255 bytes without white space
 * @param max_bytes  when more than this is held back the pin is dropped rather than the disk
 *                   filled (counted in fsys_journal_stats::pins_dropped); 0: no limit
 * @retval -ERANGE  `lsn` is not kept, or not yet there
 */
FSYS_API int fsys_journal_pin(fsys_journal *journal, const char *name, uint64_t lsn,
                              uint64_t max_bytes) FSYS_NOEXCEPT;
/** Removes a pin. -ENOENT: there is none of this name. Any thread. */
FSYS_API int fsys_journal_unpin(fsys_journal *journal, const char *name) FSYS_NOEXCEPT;
/** A pin, see fsys_journal_pin(). */
typedef struct fsys_journal_pinned {
    char name[256];     /**< NUL-terminated */
    uint64_t lsn;       /**< what lies behind it is kept */
    uint64_t max_bytes; /**< 0: no limit */
} fsys_journal_pinned;
/** Lists the pins by name. Any thread. @return how many there are, also when more than `max` */
FSYS_API int fsys_journal_pins(fsys_journal *journal, fsys_journal_pinned *ret_pins,
                               uint32_t max) FSYS_NOEXCEPT;
/**
 * Copies what is kept, up to `lsn` (0: all that is durable), into a new directory, as a clean
 * journal. Commits go on; trimming waits. Any thread.
 * @retval -ENOTEMPTY the directory holds something
 * @retval -EINVAL `lsn` is not durable, or not the LSN of a record
 */
FSYS_API int fsys_journal_snapshot(fsys_journal *journal, uint64_t lsn,
                                   const char *path) FSYS_NOEXCEPT;

/** A segment file. Sealed ones never change. */
typedef struct fsys_journal_segment {
    char name[48];       /**< in the journal's directory */
    uint64_t number;     /**< one more than the one before it */
    uint64_t epoch;      /**< of all its records */
    uint64_t first_lsn;  /**< position of its first byte */
    uint64_t end_lsn;    /**< where its records end; of the active one, where its room ends */
    uint64_t file_bytes; /**< up to `end_lsn` */
    uint64_t sealed;     /**< 1: immutable from now on */
} fsys_journal_segment;
/** Lists the segments, oldest first. Any thread. @return how many there are, also when more than `max` */
FSYS_API int fsys_journal_segments(fsys_journal *journal, fsys_journal_segment *ret_segments,
                                   uint32_t max) FSYS_NOEXCEPT;

/**
 * Asks for the next sealed segment, as an op of the engine that is taken like any other (see
 * fsys_journal_submit_sync()). It completes with the number of the oldest segment that is sealed and
 * numbered above `after`, at once or as soon as there is one. Who ships files begins with 0 and asks
 * again with each number that came: none is missed, however late it asks, but for those that were
 * trimmed meanwhile. Cancelling it (fsys_cancel(), fsys_cancel_queued()) ends it, and so does closing
 * the journal. Any thread.
 *
 * A segment that was filled without a sync is sealed, with direct IO, at the latest by the next sync or
 * commit: nobody waits for its last write otherwise, but an append that writes more behind it takes it.
 *
 * Results of the completion: the number (positive); ::FSYS_E_STALE: a truncation withdrew segment
 * `after` or cut it short, list the segments anew; ::FSYS_E_POISONED: the journal failed, none will
 * be sealed; -ECANCELED: it was cancelled, or the journal closed.
 *
 * @param after  0, or the number of a segment that was sealed
 * @retval 0 accepted: exactly one completion will come
 * @retval FSYS_E_STALE  segment `after` is not sealed
 * @retval -EAGAIN  no op slot free (see fsys_options::submit_timeout_ns)
 * @return FSYS_E_POISONED, FSYS_E_CLOSED, FSYS_E_FORKED. No completion comes then.
 */
FSYS_API int fsys_journal_submit_sealed(fsys_journal *journal, uint64_t after, uint64_t user_data,
                                        fsys_op *ret_op) FSYS_NOEXCEPT;

/** Counters and facts since the journal was opened. */
typedef struct fsys_journal_stats {
    uint32_t struct_size;      /**< set by the caller */
    uint32_t direct;           /**< 1: O_DIRECT with RWF_DSYNC, 0: write and fdatasync */
    uint64_t poisoned;         /**< 1 after a failure */
    uint64_t first_lsn;        /**< first position kept */
    uint64_t epoch;            /**< now in force */
    uint64_t segments;         /**< files */
    uint64_t spares;           /**< files */
    uint64_t bytes_on_disk;    /**< of both */
    uint64_t syncs;            /**< flushes made durable */
    uint64_t sync_ns;          /**< spent in them */
    uint64_t flushed_bytes;    /**< written, pads included */
    uint64_t frames;           /**< flushed, pads included */
    uint64_t commits;          /**< blocking syncs that had to wait */
    uint64_t led;              /**< flushes led for them: commits / led is the batching reached */
    uint64_t gathers;          /**< of those, that waited for expected company */
    uint64_t gather_misses;    /**< of those, whose company did not come */
    uint64_t rotations;        /**< segments begun */
    uint64_t recycled;         /**< segments used again */
    uint64_t space_waits;      /**< times an append had to wait for room in the log buffer */
    uint64_t open_tickets;     /**< now */
    uint64_t oldest_ticket_ns; /**< its age */
    uint64_t async_pending;    /**< asynchronous syncs not yet completed, now */
    uint64_t pins_dropped;     /**< at their byte limit */
} fsys_journal_stats;
/** Copies the counters. Any thread. */
FSYS_API int fsys_journal_stat(fsys_journal *journal, fsys_journal_stats *ret_stats) FSYS_NOEXCEPT;
/** The sentence behind a failure; the same as fsys_cause() of the journal. Any thread. */
FSYS_API int fsys_journal_cause(fsys_journal *journal, char *ret_text, size_t size) FSYS_NOEXCEPT;

/** @} */

/** @defgroup reader Readers
 *  @{ */

/** @name Flags of a reader
 *  @{ */
#define FSYS_JOURNAL_READ_WRITTEN 0x1u /**< follow the written frontier: records that power loss may
                                            still take back. Default: only durable ones */
/** @} */

/**
 * Opens a reader on a journal of this process. Any thread.
 * @param from  the first record is the one whose LSN is above; 0: the oldest kept
 */
FSYS_API int fsys_journal_reader_open(fsys_journal *journal, uint64_t from, uint32_t flags,
                                      fsys_journal_reader **ret_reader) FSYS_NOEXCEPT;
/**
 * Opens a reader on a directory: beside a writer in another process it follows that one, without a
 * writer it reads up to what recovery would keep. Takes no lock and changes nothing. Any thread.
 * @param ret_report  the verdict, or NULL
 * @retval -ENOENT  no journal there
 */
FSYS_API int fsys_journal_reader_open_path(fsys *handle, const char *path, uint64_t from,
                                           uint32_t flags, fsys_journal_report *ret_report,
                                           fsys_journal_reader **ret_reader) FSYS_NOEXCEPT;

/** @name Results, fsys_journal_record::kind
 *  @{ */
#define FSYS_JOURNAL_RECORD 0u        /**< a record */
#define FSYS_JOURNAL_END 1u           /**< nothing more within the bound and the timeout */
#define FSYS_JOURNAL_GAP 2u           /**< [start, lsn) was trimmed; the next call goes on at `lsn` */
#define FSYS_JOURNAL_DAMAGE 3u        /**< at `start`; the next call finds the same, see
                                           fsys_journal_reader_skip_damage() */
#define FSYS_JOURNAL_EPOCH_CHANGED 4u /**< records behind `lsn` that were read have been withdrawn */
/** @} */

/** What a reader found. */
typedef struct fsys_journal_record {
    uint32_t kind;     /**< FSYS_JOURNAL_RECORD ... */
    uint32_t reserved; /**< 0 */
    uint64_t start;    /**< position of its first byte */
    uint64_t lsn;      /**< the record's LSN */
    uint64_t epoch;    /**< it was written in */
    const void *data;  /**< the library's memory, until the next call on the reader */
    uint64_t length;   /**< bytes */
} fsys_journal_record;

/**
 * Reads the next record, sleeping up to `timeout_ns` for one: woken by the writer, in other
 * processes too (where the writer's memory is out of reach, being another user's or another
 * IPC namespace's, the reader looks every 10 ms instead).
 * Without a writer when the reader was opened nothing is waited for. One thread at a time per
 * reader; another one gets -EBUSY.
 * @return 0 (see `kind`), FSYS_E_CLOSED (also when it was closed meanwhile), FSYS_E_FORKED, -EBUSY,
 *         or the errno of reading
 */
FSYS_API int fsys_journal_reader_next(fsys_journal_reader *reader, int64_t timeout_ns,
                                      fsys_journal_record *ret_record) FSYS_NOEXCEPT;
/** Goes to the first record whose LSN is above `from`. One thread at a time per reader. */
FSYS_API int fsys_journal_reader_seek(fsys_journal_reader *reader, uint64_t from) FSYS_NOEXCEPT;
/** After ::FSYS_JOURNAL_DAMAGE: goes to the next readable frame; [`*ret_from`, `*ret_to`) is lost.
 *  One thread at a time per reader. @retval FSYS_E_NOTHING nothing readable is behind it */
FSYS_API int fsys_journal_reader_skip_damage(fsys_journal_reader *reader, uint64_t *ret_from,
                                             uint64_t *ret_to) FSYS_NOEXCEPT;
/** Closes a reader, and wakes a thread that sleeps in fsys_journal_reader_next(). Any thread.
 *  @retval -ETIMEDOUT  as fsys_journal_close() */
FSYS_API int fsys_journal_reader_close(fsys_journal_reader *reader) FSYS_NOEXCEPT;

/** @} */

/** @defgroup check Checking
 *  @{ */

#define FSYS_JOURNAL_DEEP 0x1u /**< read every frame of every segment, not only what opening needs */

/**
 * Comes to the verdict that opening would, and changes nothing. Beside a writer (see
 * fsys_journal_report::writer) ::FSYS_JOURNAL_DEEP reads what was durable when the check began, and
 * without it nothing is read. Any thread.
 * @retval 0 fresh, clean or torn, see the report
 * @return FSYS_E_CORRUPT, or the errno of reading; the report is filled in each case
 */
FSYS_API int fsys_journal_check(const char *path, uint32_t flags,
                                fsys_journal_report *ret_report) FSYS_NOEXCEPT;
/**
 * Copies every readable record of a journal that nobody has open into a new journal, with new LSNs
 * and default options. Never writes to `from`. Any thread.
 * @param ret_records  how many were copied; may be NULL
 * @param ret_lost  how many ranges could not be read; may be NULL
 */
FSYS_API int fsys_journal_salvage(const char *from, const char *to, uint64_t *ret_records,
                                  uint64_t *ret_lost) FSYS_NOEXCEPT;

/**
 * Copies a journal that is not open here, also beside a writer in another process, into a new
 * directory, as a clean journal with the same LSNs: what is kept, up to `lsn` (0: all that is
 * durable, or without a writer all that opening would keep). Never writes to `from`, and holds
 * nothing up: what its writer trims meanwhile is not in the copy. Any thread.
 *
 * @retval 0 copied and durable
 * @retval -ENOTEMPTY  `to` holds something
 * @retval -EINVAL  `lsn` is not durable, not kept, or not the LSN of a record
 * @retval -EAGAIN  all of it was trimmed, or some withdrawn, while it was copied: remove `to`, repeat
 * @retval FSYS_E_CORRUPT  `from` is damaged
 * @return -ENOENT, or the errno of reading or writing. After a failure `to` is no whole journal.
 */
FSYS_API int fsys_journal_snapshot_path(const char *from, uint64_t lsn,
                                        const char *to) FSYS_NOEXCEPT;

/** @name What lies at a position, fsys_journal_finding::state
 *  @{ */
#define FSYS_JOURNAL_AT_RECORD 1u  /**< a whole record; `rule` tells what proves that it had been
                                        durable, ::FSYS_JOURNAL_RULE_NONE: nothing, it is kept
                                        nevertheless */
#define FSYS_JOURNAL_AT_PAD 2u     /**< the fill of a block or of a segment's end; `rule` likewise */
#define FSYS_JOURNAL_AT_TRIMMED 3u /**< given up by its owner */
#define FSYS_JOURNAL_AT_END 4u     /**< nothing: the log ends before it */
#define FSYS_JOURNAL_AT_TORN 5u    /**< bytes that nobody had been promised, which opening cuts */
#define FSYS_JOURNAL_AT_DAMAGED 6u /**< bytes that had been durable and cannot be read */
/** @} */

/** What fsys_journal_explain() found. */
typedef struct fsys_journal_finding {
    uint32_t struct_size;  /**< set by the caller */
    uint32_t state;        /**< FSYS_JOURNAL_AT_* */
    uint32_t rule;         /**< FSYS_JOURNAL_RULE_*, why so */
    uint32_t writer;       /**< 1: a writer has the journal open */
    uint64_t start;        /**< position of the first byte of what lies there ... */
    uint64_t end;          /**< ... and behind its last one: of a record, its LSN */
    uint64_t length;       /**< bytes of the record */
    uint64_t epoch;        /**< of the segment, 0: there is none */
    uint64_t file_offset;  /**< of the asked position in the segment file */
    uint64_t proof_lsn;    /**< position of the frame, or of the successor, that proves; else 0 */
    uint64_t proof_durable_lsn; /**< through this LSN all had been durable, says the proof; else 0 */
    char segment_name[48]; /**< file in the journal's directory, or "" */
    char text[256];        /**< the finding as a sentence */
} fsys_journal_finding;

/**
 * Tells what lies at a position (a byte of the log: a record's bytes lie *below* its LSN), by which
 * rule, and what proves it. Reads one segment, or two. Changes nothing; beside a writer it judges
 * what is written. Any thread.
 *
 * @retval 0 found out, also that it is torn or damaged
 * @retval -ENOENT  no journal there
 * @return -EINVAL, FSYS_E_BAD_STRUCT, or the errno of reading
 */
FSYS_API int fsys_journal_explain(const char *path, uint64_t position,
                                  fsys_journal_finding *ret_finding) FSYS_NOEXCEPT;
/**
 * Lists the segments of a journal that is not open here, oldest first, without what opening would
 * remove. The last one's `end_lsn` is where its records end. Any thread.
 * @return how many there are, also when more than `max`; -ENOENT; FSYS_E_CORRUPT: a header does not
 *         check; or the errno of reading
 */
FSYS_API int fsys_journal_list_segments(const char *path, fsys_journal_segment *ret_segments,
                                        uint32_t max) FSYS_NOEXCEPT;
/**
 * Lists the pins of a journal that is not open here, by name. Any thread.
 * @return how many there are, also when more than `max`; -ENOENT; FSYS_E_CORRUPT: the file does not
 *         check; or the errno of reading
 */
FSYS_API int fsys_journal_list_pins(const char *path, fsys_journal_pinned *ret_pins,
                                    uint32_t max) FSYS_NOEXCEPT;

/** @name The same by the paths of a handle
 *  Where fsys_journal_open() of `handle` would find them: with fsys_options::root beneath that
 *  directory, which no path leaves, neither by `..` nor by a symbolic link (-EXDEV, also of an absolute
 *  path; -ENOSYS before Linux 5.6). Everything else is as without `_at`, with FSYS_E_CLOSED and
 *  FSYS_E_FORKED besides; fsys_close() waits for these calls as for all others. Any thread.
 *  @{ */
/** See fsys_journal_check(). */
FSYS_API int fsys_journal_check_at(fsys *handle, const char *path, uint32_t flags,
                                   fsys_journal_report *ret_report) FSYS_NOEXCEPT;
/** See fsys_journal_salvage(). Both paths are those of the handle. */
FSYS_API int fsys_journal_salvage_at(fsys *handle, const char *from, const char *to,
                                     uint64_t *ret_records, uint64_t *ret_lost) FSYS_NOEXCEPT;
/** See fsys_journal_snapshot_path(). Both paths are those of the handle. */
FSYS_API int fsys_journal_snapshot_at(fsys *handle, const char *from, uint64_t lsn,
                                      const char *to) FSYS_NOEXCEPT;
/** See fsys_journal_explain(). */
FSYS_API int fsys_journal_explain_at(fsys *handle, const char *path, uint64_t position,
                                     fsys_journal_finding *ret_finding) FSYS_NOEXCEPT;
/** See fsys_journal_list_segments(). */
FSYS_API int fsys_journal_list_segments_at(fsys *handle, const char *path,
                                           fsys_journal_segment *ret_segments,
                                           uint32_t max) FSYS_NOEXCEPT;
/** See fsys_journal_list_pins(). */
FSYS_API int fsys_journal_list_pins_at(fsys *handle, const char *path,
                                       fsys_journal_pinned *ret_pins, uint32_t max) FSYS_NOEXCEPT;
/** @} */

/** @} */

#ifdef __cplusplus
}
#endif

#endif
