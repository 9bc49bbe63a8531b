# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What the library tells, as data. Numbers are bytes, nanoseconds or counts, as named."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Tuple


@dataclass(frozen=True)
class HandleInfo:
    """What a handle really uses: Handle.info()."""

    backend: str  #: 'io_uring' or 'threads'
    backend_reason: str  #: why not io_uring: 'none', 'asked', 'enosys', 'sysctl', 'seccomp' ...
    backend_errno: int  #: the errno behind the reason, or 0
    driver_running: bool  #: whether the ring exists
    ring_flags: int  #: IORING_SETUP_* bits that were granted
    ring_features: int  #: IORING_FEAT_* bits
    sq_entries: int  #: of the ring; 0 while there is none
    cq_entries: int  #: of the ring
    registered_files: int  #: places in the ring's file table
    registered_buffers: bool  #: whether the memory of Buffers is registered with the ring
    max_ops: int  #: as in force
    max_files: int  #: as in force
    pool_threads: int  #: most pool threads
    poisoned: bool  #: after a sticky failure of the handle
    memory_bytes: int  #: upper bound of what the handle allocates
    reason: str  #: the reason as a sentence


@dataclass(frozen=True)
class Counters:
    """Counters since the handle was opened: Handle.stats(). Each is exact, the set is not one
    instant."""

    ops: Dict[str, Dict[str, int]]  #: completed ops by lane ('inline', 'ring', 'pool') and kind
    latency_ns: Dict[str, List[Tuple[int, int]]]  #: by lane: (lower bound of bucket, ops sampled)
    failed: int  #: completed ops with an error
    bytes_read: int
    bytes_written: int
    enters: int  #: io_uring_enter calls
    entries: int  #: entries submitted by them
    doorbells: int  #: times the driver thread was woken
    pool_wakes: int
    futex_waits: int
    futex_wakes: int
    event_signals: int  #: writes to the event descriptor
    nowait_hits: int  #: reads satisfied from the page cache when submitted
    nowait_misses: int
    batch_enters: int  #: batches executed by their waiter on a private ring
    iowq_punts: int  #: ring ops that the kernel gave to its worker threads
    short_ios: int  #: transfers continued from a short point
    retries: int
    splits: int
    cancels: int
    slot_waits: int  #: submits that had to wait for a free slot
    in_flight: int  #: ops accepted and not yet completed, now


@dataclass(frozen=True)
class FileInfo:
    """What is known of an open file: File.info()."""

    size: int  #: bytes, at the time of the call
    readable: bool
    writable: bool
    direct: bool  #: O_DIRECT
    direct_mem_align: int  #: buffer alignment for O_DIRECT; 0: none possible
    direct_offset_align: int  #: offset and length alignment for O_DIRECT
    read_lane: str  #: who executes an unattended read: 'inline', 'ring', 'pool'
    write_lane: str
    sync_lane: str
    registered: bool  #: has a place in the ring's file table
    file_system: str  #: 'ext4', 'xfs' ...; '?' when unknown


class RecordKind(enum.IntEnum):
    """What a Reader found."""

    RECORD = 0  #: a record
    GAP = 2  #: [start, lsn) was trimmed; the next call goes on at lsn
    DAMAGE = 3  #: at start; the next call finds the same, see Reader.skip_damage()
    EPOCH_CHANGED = 4  #: records behind lsn that were read have been withdrawn


RECORD_KINDS = {int(kind): kind for kind in RecordKind}


class Record(NamedTuple):
    """What Reader.next() gives."""

    kind: RecordKind
    lsn: int  #: just past the record
    start: int  #: position of its first byte
    epoch: int  #: it was written in
    data: bytes


class Frontiers(NamedTuple):
    """How far a journal is: each is at most the one named before it."""

    reserved: int  #: positions handed out
    published: int  #: complete in memory, as the last flush saw it
    written: int  #: given to the kernel
    durable: int  #: safe
    unknown_lo: int  #: after a failure: what lies in (unknown_lo, unknown_hi] may be there
    unknown_hi: int  #: 0 while there was no failure


class Pin(NamedTuple):
    """A retention pin: Journal.pins()."""

    name: str
    lsn: int  #: what lies behind it is kept
    max_bytes: int  #: 0: no limit


@dataclass(frozen=True)
class JournalReport:
    """What opening, or checking, a journal found."""

    verdict: str  #: 'fresh', 'clean', 'torn', 'damaged' or 'io_error'
    first_lsn: int  #: first position that is kept
    end_lsn: int  #: new records begin behind this
    cut_from: int  #: bytes cut from a torn tail: [cut_from, cut_to)
    cut_to: int
    damage_lsn: int  #: position of the first damage
    proof_lsn: int  #: the frame that proves it had been acknowledged; 0: the watermark
    epoch: int  #: now in force
    records: int  #: whole records in what was scanned
    scanned_bytes: int
    kept_name: str  #: file in the journal's directory with the cut bytes, or ''
    text: str  #: the finding as a sentence
    rule: str  #: what the verdict rests on: 'none', 'end', 'unproved', 'group', 'frame', 'watermark',
    #: 'successor', 'structure', 'trimmed', 'writer'
    writer: bool  #: somebody had it open for writing; end_lsn is then its durable frontier
    proof_durable_lsn: int  #: of damage: through this LSN all had been durable, says the proof
    written_lsn: int  #: end_lsn, or the writer's written frontier


@dataclass(frozen=True)
class JournalFinding:
    """What lies at a position of a journal: explain_journal()."""

    state: str  #: 'record', 'pad', 'trimmed', 'end' (nothing there), 'torn' (nobody had been promised
    #: it), 'damaged' (had been durable and cannot be read)
    rule: str  #: why so, see JournalReport.rule
    writer: bool  #: a writer has the journal open
    start: int  #: position of the first byte of what lies there
    end: int  #: behind its last one: of a record, its LSN
    length: int  #: bytes of the record
    epoch: int  #: of the segment; 0: there is none
    file_offset: int  #: of the asked position in the segment file
    proof_lsn: int  #: position of what proves it; else 0
    proof_durable_lsn: int  #: through this LSN all had been durable, says the proof; else 0
    segment_name: str  #: file in the journal's directory, or ''
    text: str  #: the finding as a sentence


@dataclass(frozen=True)
class Segment:
    """A segment file of a journal. Sealed ones never change."""

    name: str  #: in the journal's directory
    number: int
    epoch: int  #: of all its records
    first_lsn: int
    end_lsn: int  #: where its records end; of the active one, where its room ends
    file_bytes: int
    sealed: bool


@dataclass(frozen=True)
class JournalStats:
    """Counters of a journal since it was opened: Journal.stats()."""

    direct: bool  #: O_DIRECT with RWF_DSYNC, else write and fdatasync
    poisoned: bool
    first_lsn: int
    epoch: int
    segments: int
    spares: int
    bytes_on_disk: int
    syncs: int  #: flushes made durable
    sync_ns: int  #: spent in them
    flushed_bytes: int
    frames: int
    commits: int  #: blocking syncs that had to wait
    led: int  #: flushes led for them
    gathers: int
    gather_misses: int
    rotations: int
    recycled: int
    space_waits: int  #: times an append had to wait for room in the log buffer
    open_tickets: int
    oldest_ticket_ns: int
    async_pending: int
    pins_dropped: int


@dataclass(frozen=True)
class FileReport:
    """What Handle.replace() or Handle.copy() did, also when it failed."""

    step: str  #: that failed: 'none', 'directory', 'inspect', 'create', 'write', 'metadata', 'sync',
    #: 'rename', 'sync_directory', 'sync_device'
    visible: bool  #: whoever opens the name finds the new bytes
    durability: str  #: that was reached: 'none', 'data', 'full', 'device'
    not_kept: Tuple[str, ...]  #: metadata that could not be kept, which was no failure
    method: str  #: of a copy: 'reflink', 'kernel', 'bytes'
    bytes: int  #: length of the new file, as far as it was written
    other_links: int  #: hard links that still show the old bytes


@dataclass(frozen=True)
class BatchResult:
    """What became of one file: Handle.replace_many()."""

    path: Any  #: as it was given
    error: Optional[OSError]  #: None: it is done
    step: str  #: that failed, see FileReport.step
    visible: bool  #: done, as others see it
    not_kept: Tuple[str, ...]  #: metadata that could not be kept, which was no failure
    other_links: int  #: hard links that still show the old bytes


class ScanEntry(NamedTuple):
    """A name that was found: Handle.scan()."""

    path: Any  #: relative to where the scan began: bytes when that was given as bytes, else str
    type: str  #: 'file', 'directory', 'symlink' or 'other' (device, FIFO, socket)
    size: int  #: bytes
    inode: int
    modified_ns: int  #: modification time, since 1970
    mode: int  #: permission bits
    depth: int  #: 0 in the directory where the scan began
    links: int  #: hard links
    error: Optional[OSError]  #: why it could not be entered or looked at; None


@dataclass(frozen=True)
class FlushReport:
    """What device_flush() did, also when it failed."""

    way: str  #: how the last device was flushed, or what was last tried: 'ioctl', 'uring' (NVMe Flush),
    #: 'block' (fsync of the block device) or 'none'
    reason: str  #: 'done', or why not: 'no_commit', 'no_device', 'not_nvme', 'permission', 'no_node',
    #: 'no_way', 'refused', 'error', 'multipath'
    committed: bool  #: the file system's own commit succeeded
    devices: int  #: disks underneath
    flushed: int  #: of those, how many have answered a flush with success
    nvme_status: int  #: of the refused command; 0: none
    nsid: int  #: NVMe namespace last tried; 0: not NVMe
    paths: int  #: controllers that lead to it; 0: not NVMe
    partition: bool  #: the file lies on a partition; the flush covers the whole disk
    device: str  #: disk last tried, 'nvme0n1'; '' none
    text: str  #: the outcome as a sentence


@dataclass(frozen=True)
class ProbeDevice:
    """A block device underneath a file. None: nobody says. Numbers that are not known are 0."""

    name: str  #: the kernel's: 'nvme0n1p2', 'dm-0'
    label: str  #: model, name of a mapping, backing file
    kind: str  #: 'partition', 'mapper', 'md', 'loop', 'nvme', 'scsi', 'virtio', 'memory', 'other'
    scheduler: str
    above: int  #: index of the device that lies on this one; -1: the file system
    bytes: int
    logical_block: int
    physical_block: int
    volatile_cache: Optional[bool]
    fua: Optional[bool]  #: Force Unit Access
    rotational: Optional[bool]
    power_loss_protection: Optional[bool]
    atomic_unit_max: int
    atomic_power_fail: int
    identified: bool  #: NVMe Identify was answered
    evidence: str  #: what the answers rest on


@dataclass(frozen=True)
class ProbeReport:
    """What lies underneath a file: probe(). None: nobody says. Numbers that are not known are 0."""

    file_system: str
    complete: Optional[bool]  #: all devices that hold the bytes were found
    logical_block: int
    physical_block: int
    volatile_cache: Optional[bool]
    flush_reaches: Optional[bool]  #: a flush gets through to every volatile cache
    fua: Optional[bool]
    rotational: Optional[bool]
    power_loss_protection: Optional[bool]
    direct: Optional[bool]  #: O_DIRECT is possible
    direct_mem_align: int
    direct_offset_align: int
    atomic: Optional[bool]  #: RWF_ATOMIC writes are possible
    atomic_min: int
    atomic_max: int
    passthrough: Optional[bool]  #: this process may send the disks an NVMe flush
    sync_text: str  #: what sync() really does here
    datasync_text: str
    flush_text: str
    power_text: str
    devices: List[ProbeDevice]  #: from the file system downwards
