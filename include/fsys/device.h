/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/**
 * @file device.h
 * @brief The device underneath a file: what it promises, and its own flush.
 *
 * The conventions of fsys.h hold. These calls need no engine handle; they make plain system calls
 * on the calling thread and keep nothing open.
 *
 * - An answer is yes, no or **unknown** (::FSYS_ANSWER_UNKNOWN, 0). Unknown is the answer whenever
 *   the kernel, the file system or the device does not say, or this process may not ask. A number
 *   that is not known is 0. Nothing is guessed from a name or a model.
 * - The answers are for *one file*, not for the machine: the file's file system, and the chain of
 *   block devices below it through partitions, device-mapper, md, loop devices and btrfs.
 * - An answer for the file is the weakest of the devices that hold its bytes: the volatile cache of
 *   one mirror half is a volatile cache.
 * - What a device says of itself (its Identify pages) is remembered in the process, by boot id,
 *   device number and disk sequence number (`diskseq`, Linux 5.15), and asked for anew when one of
 *   them differs, or where the kernel tells no disk sequence number. What an administrator can
 *   change (caching mode, scheduler) is read every time.
 * - All of it is the word of the kernel and of the device. A device that lies is believed.
 */
#ifndef FSYS_DEVICE_H
#define FSYS_DEVICE_H

#include <fsys/fsys.h>

#ifdef __cplusplus
extern "C" {
#endif

/** @defgroup device Devices
 *  What lies underneath a file, and flushing it.
 *  @{ */

/** @name Answers
 *  @{ */
#define FSYS_ANSWER_UNKNOWN 0u /**< nobody says, or this process may not ask */
#define FSYS_ANSWER_NO 1u      /**< no */
#define FSYS_ANSWER_YES 2u     /**< yes */
/** @} */

/** @name Kinds of block devices, fsys_probe_device::kind
 *  @{ */
#define FSYS_DEVICE_UNKNOWN 0u   /**< none of the following */
#define FSYS_DEVICE_PARTITION 1u /**< a part of the device below it */
#define FSYS_DEVICE_MAPPER 2u    /**< device-mapper: LVM, dm-crypt, multipath ... */
#define FSYS_DEVICE_MD 3u        /**< Linux software RAID */
#define FSYS_DEVICE_LOOP 4u      /**< a file as a block device; what holds the file follows */
#define FSYS_DEVICE_NVME 5u      /**< an NVMe namespace */
#define FSYS_DEVICE_SCSI 6u      /**< SCSI, SAS, SATA or USB: all that the SCSI layer drives */
#define FSYS_DEVICE_VIRTIO 7u    /**< a virtual disk: what it promises is up to its host */
#define FSYS_DEVICE_MEMORY 8u    /**< zram, RAM disk: gone with the power */
#define FSYS_DEVICE_OTHER 9u     /**< another disk: MMC, network block device, Xen ... */
/** @} */

/** One block device underneath a file. */
typedef struct fsys_probe_device {
    char name[32];             /**< the kernel's: "nvme0n1p2", "dm-0", "md127" */
    char label[64];            /**< model of a disk; name of a mapping; backing file of a loop
                                    device; "" when there is none */
    char scheduler[16];        /**< IO scheduler in force: "none", "mq-deadline"; "" unknown */
    uint32_t kind;             /**< FSYS_DEVICE_* */
    uint32_t major_number;     /**< of its device number */
    uint32_t minor_number;     /**< of its device number */
    int32_t above;             /**< index of the (first) listed device that lies on this one; -1:
                                    the file system does */
    uint32_t logical_block;    /**< smallest unit that can be addressed, bytes */
    uint32_t physical_block;   /**< smallest unit that is written without reading first, bytes */
    uint32_t volatile_cache;   /**< answer: the kernel treats the cache as volatile ("write back")
                                    and sends flushes */
    uint32_t fua;              /**< answer: can write through its cache (Force Unit Access) */
    uint32_t rotational;       /**< answer: has the seek times of a spinning disk */
    uint32_t power_loss_protection; /**< answer: what it has acknowledged survives a power cut
                                    without a flush; see `evidence` */
    uint32_t atomic_unit_max;  /**< longest write the kernel passes to it atomically
                                    (RWF_ATOMIC, Linux 6.11), bytes */
    uint32_t atomic_power_fail; /**< NVMe: longest aligned write that a power cut leaves whole,
                                    bytes: NAWUPF where the namespace defines it (NSFEAT bit 1),
                                    else AWUPF of the controller */
    uint32_t atomic_normal;    /**< NVMe: the same against concurrent reads and writes (NAWUN or
                                    AWUN), bytes */
    uint32_t atomic_boundary;  /**< NVMe: such a write must not cross a multiple of this (NABSPF),
                                    bytes; 0: no boundary, or unknown with `atomic_power_fail` 0 */
    uint32_t atomic_boundary_offset; /**< NVMe: where the first boundary lies (NABO), bytes */
    uint32_t nsid;             /**< NVMe namespace id; 0 otherwise */
    uint32_t paths;            /**< NVMe: controllers that lead to the namespace; 0 otherwise */
    uint32_t identified;       /**< NVMe: 1 when Identify was answered (now or for an earlier call),
                                    0 when not: see `evidence` */
    uint64_t diskseq;          /**< sequence number of the disk since boot; 0 unknown */
    uint64_t bytes;            /**< size */
    char evidence[160];        /**< what `power_loss_protection` and the atomic units rest on, or
                                    why they are unknown, as a sentence */
    uint32_t reserved[8];      /**< 0 */
} fsys_probe_device;

/** Devices that a report has room for. */
#define FSYS_PROBE_DEVICES 32u

/** What fsys_probe() tells of a file. */
typedef struct fsys_probe_report {
    uint32_t struct_size;      /**< set by the caller to sizeof(fsys_probe_report) */
    uint32_t device_count;     /**< block devices underneath, each once; may exceed
                                    FSYS_PROBE_DEVICES, only that many are listed */
    char file_system[16];      /**< "ext4", "xfs", "btrfs", "tmpfs" ...; "?" when unknown; "" for a
                                    block device itself */
    char boot_id[40];          /**< of the running kernel; "" unknown. Keep answers no longer than
                                    this and `diskseq` stay the same. */
    uint32_t major_number;     /**< st_dev of the file; st_rdev of a block device */
    uint32_t minor_number;     /**< the same */
    uint32_t complete;         /**< answer: all devices that hold the file's bytes were found. NO:
                                    some could not be followed. UNKNOWN: the file system does not
                                    tell (network, FUSE, overlay, ZFS ...) */
    uint32_t logical_block;    /**< largest of the devices that the file system lies on, bytes */
    uint32_t physical_block;   /**< the same */
    uint32_t volatile_cache;   /**< answer: a device that holds its bytes has a volatile cache */
    uint32_t flush_reaches;    /**< answer: a flush of the file system gets through to every
                                    volatile cache; NO when a layer in between drops it */
    uint32_t fua;              /**< answer: all disks can write through their cache */
    uint32_t rotational;       /**< answer: a disk spins */
    uint32_t power_loss_protection; /**< answer: what the disks have acknowledged survives a power
                                    cut without a flush */
    uint32_t direct_mem_align; /**< O_DIRECT: alignment of buffers, bytes (statx STATX_DIOALIGN,
                                    Linux 6.1) */
    uint32_t direct_offset_align; /**< O_DIRECT: alignment of offsets and lengths, bytes */
    uint32_t direct;           /**< answer: O_DIRECT is possible on this file */
    uint32_t atomic;           /**< answer: ::FSYS_ATOMIC writes are possible on this file, opened
                                    with O_DIRECT (statx STATX_WRITE_ATOMIC, Linux 6.11) */
    uint32_t atomic_min;       /**< shortest, bytes: a power of two */
    uint32_t atomic_max;       /**< longest, bytes: a power of two */
    uint32_t atomic_max_fast;  /**< longest that the device does by itself, bytes (Linux 6.16); the
                                    file system does longer ones by copying; 0 unknown */
    uint32_t atomic_segments;  /**< most buffers of a vectored one */
    uint32_t passthrough;      /**< answer: all disks are NVMe namespaces and this process may send
                                    them a flush */
    uint32_t reserved[15];     /**< 0 */
    char sync_text[256];       /**< what fsys_sync() really does here, as a sentence */
    char datasync_text[256];   /**< the same of ::FSYS_SYNC_DATA and ::FSYS_DURABLE */
    char flush_text[256];      /**< the same of fsys_device_flush() */
    char power_text[256];      /**< evidence for `power_loss_protection` */
    fsys_probe_device devices[FSYS_PROBE_DEVICES]; /**< from the file system downwards, each before
                                    those that it lies on */
} fsys_probe_report;

/**
 * Tells what lies underneath the file, directory or block device at `path`. Opens it without
 * reading or writing it (a directory, FIFO or socket is not entered), asks sysfs, and asks NVMe
 * namespaces for their Identify pages. That needs a readable device node and, before Linux 6.2,
 * CAP_SYS_ADMIN; without them the answers are unknown, not wrong. Any thread. Some hundred
 * microseconds.
 *
 * @param path  relative to the working directory
 * @param flags  must be 0
 * @param ret_report  `struct_size` set by the caller
 * @retval 0 filled; what could not be found out is unknown in it
 * @retval -EINVAL  NULL path or report
 * @retval FSYS_E_BAD_FLAG  an unknown flag
 * @retval FSYS_E_BAD_STRUCT  see convention 6
 * @retval -ENOMEM  no memory
 * @return another negative errno of finding the file: -ENOENT, -EACCES, -ENOTDIR, -ELOOP ...
 */
FSYS_API int fsys_probe(const char *path, uint32_t flags, fsys_probe_report *ret_report)
    FSYS_NOEXCEPT;
/** fsys_probe() of the file that a descriptor names, which stays the caller's. Any thread.
 *  @return as fsys_probe(); -EBADF not a descriptor */
FSYS_API int fsys_probe_fd(int fd, uint32_t flags, fsys_probe_report *ret_report) FSYS_NOEXCEPT;
/** fsys_probe() of a file of an engine. Any thread.
 *  @return as fsys_probe(); FSYS_E_CLOSED, FSYS_E_FORKED */
FSYS_API int fsys_probe_file(fsys_file *file, uint32_t flags, fsys_probe_report *ret_report)
    FSYS_NOEXCEPT;

/** @name Ways to flush a device, for `ways` of fsys_device_flush() and fsys_flush_report::way
 *  @{ */
#define FSYS_FLUSH_IOCTL 1u /**< NVMe Flush by NVME_IOCTL_IO_CMD on the namespace's block device */
#define FSYS_FLUSH_URING 2u /**< NVMe Flush by io_uring IORING_OP_URING_CMD on the namespace's
                                 generic character device /dev/ngXnY (Linux 5.19) */
#define FSYS_FLUSH_BLOCK 4u /**< fsync(2) of the disk's block device: the block layer sends a flush
                                 to a disk it knows as "write back", and nothing to another */
/** @} */

/** @name Why a device was not flushed, fsys_flush_report::reason
 *  @{ */
#define FSYS_FLUSH_DONE 0u       /**< it was */
#define FSYS_FLUSH_NO_COMMIT 1u  /**< the file could not be opened, or the file system's own commit
                                      failed; no device was tried */
#define FSYS_FLUSH_NO_DEVICE 2u  /**< no block device is known underneath: tmpfs, FUSE, network */
#define FSYS_FLUSH_NOT_NVME 3u   /**< passthrough was asked for and the disk is not NVMe */
#define FSYS_FLUSH_PERMISSION 4u /**< the device node may not be opened, or the command not be sent
                                      (CAP_SYS_ADMIN, or from Linux 6.2 on a node open to this
                                      user) */
#define FSYS_FLUSH_NO_NODE 5u    /**< there is no device node, or it is that of another device
                                      (container) */
#define FSYS_FLUSH_NO_WAY 6u     /**< the kernel has no such way: no generic device, no io_uring, no
                                      URING_CMD */
#define FSYS_FLUSH_REFUSED 7u    /**< the device answered with an error status: see `nvme_status` */
#define FSYS_FLUSH_ERROR 8u      /**< a system call failed: see the code that was returned */
#define FSYS_FLUSH_MULTIPATH 9u  /**< several controllers lead to the namespace and have volatile
                                      caches (or do not say): the kernel chose one, which took the
                                      flush; the others are not known to have flushed */
/** @} */

/** What fsys_device_flush() did. */
typedef struct fsys_flush_report {
    uint32_t struct_size;  /**< set by the caller to sizeof(fsys_flush_report) */
    uint32_t way;          /**< FSYS_FLUSH_IOCTL, _URING or _BLOCK: how the last device was flushed,
                                or the way last tried; 0: none */
    uint32_t reason;       /**< FSYS_FLUSH_DONE, or why not, of the first device that failed */
    uint32_t committed;    /**< 1 when the file system's own commit succeeded */
    uint32_t devices;      /**< disks underneath the file */
    uint32_t flushed;      /**< of those, how many have answered a flush with success */
    uint32_t nvme_status;  /**< status field of the refused command: bits 7:0 status code, 10:8
                                status code type, 14 do not retry; 0: none */
    uint32_t nsid;         /**< namespace last tried; 0: not NVMe */
    uint32_t paths;        /**< controllers that lead to it; 0: not NVMe */
    uint32_t partition;    /**< 1: the file lies on a partition; the flush covers the whole disk */
    uint32_t reserved[6];  /**< 0 */
    char device[32];       /**< disk last tried, "nvme0n1"; "" none */
    char text[256];        /**< the outcome as a sentence */
} fsys_flush_report;

/**
 * Makes a file durable down to the device's own flush: fsync(2) of the file first, then a flush of
 * each disk underneath it. The first makes the file system hand down data and metadata; the second
 * goes past every layer in between, to disks whose cache the kernel takes for non-volatile as well.
 * The device flush is never instead of the file system's commit, and is not sent when that fails.
 * Any thread.
 *
 * On a partition, and through device-mapper or md, the flush goes to the whole namespace below.
 *
 * @param path  a file, directory or block device
 * @param ways  FSYS_FLUSH_* bits that may be used, tried in the order IOCTL, URING, BLOCK for each
 *        disk until one is possible; a way that was carried out and failed is not followed by
 *        another. 0: all. Without _BLOCK, a disk that is not NVMe is -EOPNOTSUPP.
 * @param ret_report  `struct_size` set by the caller; or NULL
 * @retval 0 the commit and every flush succeeded
 * @retval -EINVAL  NULL path, or neither a file, a directory nor a block device
 * @retval -EIO  a device refused the flush (FSYS_FLUSH_REFUSED), or the commit failed with EIO
 * @retval -ENODEV  FSYS_FLUSH_NO_DEVICE; the commit succeeded
 * @retval -EOPNOTSUPP  FSYS_FLUSH_NOT_NVME or _NO_WAY; the commit succeeded
 * @retval -EACCES  FSYS_FLUSH_PERMISSION; the commit succeeded
 * @retval -ENXIO  FSYS_FLUSH_NO_NODE; the commit succeeded
 * @retval FSYS_E_UNKNOWN  FSYS_FLUSH_MULTIPATH, or the disks underneath could not all be found;
 *         the commit succeeded
 * @retval FSYS_E_BAD_FLAG  an unknown way
 * @retval FSYS_E_BAD_STRUCT  see convention 6
 * @return another negative errno, of opening the file, of its fsync(2), or of the flush
 */
FSYS_API int fsys_device_flush(const char *path, uint32_t ways, fsys_flush_report *ret_report)
    FSYS_NOEXCEPT;
/** fsys_device_flush() of the file that a descriptor names, which stays the caller's and need not
 *  be open for writing. Any thread. @return as fsys_device_flush(); -EBADF not a descriptor */
FSYS_API int fsys_device_flush_fd(int fd, uint32_t ways, fsys_flush_report *ret_report)
    FSYS_NOEXCEPT;
/** fsys_device_flush() of a file of an engine: the commit is fsys_sync(), so a failure poisons the
 *  file and a poisoned file is refused. Covers the writes that have completed. Any thread.
 *  @return as fsys_device_flush(); FSYS_E_CLOSED, FSYS_E_FORKED, FSYS_E_POISONED */
FSYS_API int fsys_device_flush_file(fsys_file *file, uint32_t ways, fsys_flush_report *ret_report)
    FSYS_NOEXCEPT;

/** @} */

#ifdef __cplusplus
}
#endif

#endif
