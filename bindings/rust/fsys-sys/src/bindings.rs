// SPDX-License-Identifier: Apache-2.0 OR MIT
// Made by generate.py from the public headers; do not edit.

use std::os::raw::{c_char, c_int, c_void};

/// Token of a submitted op. 0 is never one.
#[allow(non_camel_case_types)]
pub type fsys_op = u64;

pub const FSYS_ANSWER_UNKNOWN: u32 = 0;
pub const FSYS_ANSWER_NO: u32 = 1;
pub const FSYS_ANSWER_YES: u32 = 2;
pub const FSYS_DEVICE_UNKNOWN: u32 = 0;
pub const FSYS_DEVICE_PARTITION: u32 = 1;
pub const FSYS_DEVICE_MAPPER: u32 = 2;
pub const FSYS_DEVICE_MD: u32 = 3;
pub const FSYS_DEVICE_LOOP: u32 = 4;
pub const FSYS_DEVICE_NVME: u32 = 5;
pub const FSYS_DEVICE_SCSI: u32 = 6;
pub const FSYS_DEVICE_VIRTIO: u32 = 7;
pub const FSYS_DEVICE_MEMORY: u32 = 8;
pub const FSYS_DEVICE_OTHER: u32 = 9;
pub const FSYS_PROBE_DEVICES: u32 = 32;
pub const FSYS_FLUSH_IOCTL: u32 = 1;
pub const FSYS_FLUSH_URING: u32 = 2;
pub const FSYS_FLUSH_BLOCK: u32 = 4;
pub const FSYS_FLUSH_DONE: u32 = 0;
pub const FSYS_FLUSH_NO_COMMIT: u32 = 1;
pub const FSYS_FLUSH_NO_DEVICE: u32 = 2;
pub const FSYS_FLUSH_NOT_NVME: u32 = 3;
pub const FSYS_FLUSH_PERMISSION: u32 = 4;
pub const FSYS_FLUSH_NO_NODE: u32 = 5;
pub const FSYS_FLUSH_NO_WAY: u32 = 6;
pub const FSYS_FLUSH_REFUSED: u32 = 7;
pub const FSYS_FLUSH_ERROR: u32 = 8;
pub const FSYS_FLUSH_MULTIPATH: u32 = 9;
pub const FSYS_E_CLOSED: c_int = -4097;
pub const FSYS_E_STALE: c_int = -4098;
pub const FSYS_E_POISONED: c_int = -4099;
pub const FSYS_E_DRIVER_DEAD: c_int = -4100;
pub const FSYS_E_FORKED: c_int = -4101;
pub const FSYS_E_WRONG_THREAD: c_int = -4102;
pub const FSYS_E_URING_SETUP: c_int = -4103;
pub const FSYS_E_MISALIGNED: c_int = -4104;
pub const FSYS_E_NOTHING: c_int = -4105;
pub const FSYS_E_SHORT: c_int = -4106;
pub const FSYS_E_BAD_STRUCT: c_int = -4107;
pub const FSYS_E_BAD_FLAG: c_int = -4108;
pub const FSYS_E_CORRUPT: c_int = -4109;
pub const FSYS_E_NOT_ATOMIC: c_int = -4110;
pub const FSYS_E_UNKNOWN: c_int = -4111;
pub const FSYS_E_LOCKED: c_int = -4112;
pub const FSYS_E_MISMATCH: c_int = -4113;
pub const FSYS_DURABILITY_DEFAULT: u32 = 0;
pub const FSYS_DURABILITY_NONE: u32 = 1;
pub const FSYS_DURABILITY_DATA: u32 = 2;
pub const FSYS_DURABILITY_FULL: u32 = 3;
pub const FSYS_DURABILITY_DEVICE: u32 = 4;
pub const FSYS_KEEP_DEFAULT: u32 = 0x00;
pub const FSYS_KEEP_MODE: u32 = 0x01;
pub const FSYS_KEEP_OWNER: u32 = 0x02;
pub const FSYS_KEEP_XATTRS: u32 = 0x04;
pub const FSYS_KEEP_ACL: u32 = 0x08;
pub const FSYS_KEEP_TIMES: u32 = 0x10;
pub const FSYS_KEEP_ALL: u32 = 0x1f;
pub const FSYS_KEEP_NOTHING: u32 = 0x80000000;
pub const FSYS_REPLACE_NEW: u32 = 0x01;
pub const FSYS_REPLACE_EXISTING: u32 = 0x02;
pub const FSYS_REPLACE_NOFOLLOW: u32 = 0x04;
pub const FSYS_REPLACE_ONE_LINK: u32 = 0x08;
pub const FSYS_REPLACE_KEEP_TRY: u32 = 0x10;
pub const FSYS_REPLACE_NO_DIRECTORY_SYNC: u32 = 0x20;
pub const FSYS_REPLACE_STOP: u32 = 0x40;
pub const FSYS_REPLACE_REFLINK: u32 = 0x80;
pub const FSYS_FILE_STEP_NONE: u32 = 0;
pub const FSYS_FILE_STEP_DIRECTORY: u32 = 1;
pub const FSYS_FILE_STEP_INSPECT: u32 = 2;
pub const FSYS_FILE_STEP_CREATE: u32 = 3;
pub const FSYS_FILE_STEP_WRITE: u32 = 4;
pub const FSYS_FILE_STEP_METADATA: u32 = 5;
pub const FSYS_FILE_STEP_SYNC: u32 = 6;
pub const FSYS_FILE_STEP_RENAME: u32 = 7;
pub const FSYS_FILE_STEP_SYNC_DIRECTORY: u32 = 8;
pub const FSYS_FILE_STEP_SYNC_DEVICE: u32 = 9;
pub const FSYS_COPY_NONE: u32 = 0;
pub const FSYS_COPY_REFLINK: u32 = 1;
pub const FSYS_COPY_KERNEL: u32 = 2;
pub const FSYS_COPY_BYTES: u32 = 3;
pub const FSYS_BATCH_REPLACE: u32 = 0;
pub const FSYS_BATCH_UNLINK: u32 = 1;
pub const FSYS_PATH_NEW: u32 = 0x01;
pub const FSYS_PATH_EXCHANGE: u32 = 0x02;
pub const FSYS_PATH_PARENTS: u32 = 0x04;
pub const FSYS_PATH_MISSING_OK: u32 = 0x08;
pub const FSYS_PATH_SYNC_PARENT: u32 = 0x10;
pub const FSYS_PATH_FILE_SYSTEM: u32 = 0x20;
pub const FSYS_PATH_NOFOLLOW: u32 = 0x40;
pub const FSYS_PATH_RECURSIVE: u32 = 0x80;
pub const FSYS_PATH_ONE_FILE_SYSTEM: u32 = 0x100;
pub const FSYS_TYPE_OTHER: u32 = 0;
pub const FSYS_TYPE_FILE: u32 = 1;
pub const FSYS_TYPE_DIRECTORY: u32 = 2;
pub const FSYS_TYPE_SYMLINK: u32 = 3;
pub const FSYS_LIFETIME_UNSET: u32 = 0;
pub const FSYS_LIFETIME_NONE: u32 = 1;
pub const FSYS_LIFETIME_SHORT: u32 = 2;
pub const FSYS_LIFETIME_MEDIUM: u32 = 3;
pub const FSYS_LIFETIME_LONG: u32 = 4;
pub const FSYS_LIFETIME_EXTREME: u32 = 5;
pub const FSYS_ADVICE_NORMAL: u32 = 0;
pub const FSYS_ADVICE_RANDOM: u32 = 1;
pub const FSYS_ADVICE_SEQUENTIAL: u32 = 2;
pub const FSYS_ADVICE_WILL_NEED: u32 = 3;
pub const FSYS_ADVICE_DONT_NEED: u32 = 4;
pub const FSYS_ADVICE_ONCE: u32 = 5;
pub const FSYS_FOREVER: i64 = -1;
pub const FSYS_BACKEND_DEFAULT: u32 = 0;
pub const FSYS_BACKEND_IO_URING: u32 = 1;
pub const FSYS_BACKEND_THREADS: u32 = 2;
pub const FSYS_DRIVER_THREAD: u32 = 0;
pub const FSYS_DRIVER_CALLER: u32 = 1;
pub const FSYS_FILE_READ: u32 = 0x0001;
pub const FSYS_FILE_WRITE: u32 = 0x0002;
pub const FSYS_FILE_CREATE: u32 = 0x0004;
pub const FSYS_FILE_EXCLUSIVE: u32 = 0x0008;
pub const FSYS_FILE_TRUNCATE: u32 = 0x0010;
pub const FSYS_FILE_DIRECT: u32 = 0x0020;
pub const FSYS_FILE_BOUNCE: u32 = 0x0040;
pub const FSYS_FILE_NOFOLLOW: u32 = 0x0080;
pub const FSYS_FILE_BLOCKING_FD: u32 = 0x0100;
pub const FSYS_OP_NOP: u32 = 0;
pub const FSYS_OP_READ: u32 = 1;
pub const FSYS_OP_WRITE: u32 = 2;
pub const FSYS_OP_READV: u32 = 3;
pub const FSYS_OP_WRITEV: u32 = 4;
pub const FSYS_OP_SYNC: u32 = 5;
pub const FSYS_OP_ALLOCATE: u32 = 6;
pub const FSYS_WAIT_SOON: u32 = 0x0001;
pub const FSYS_DURABLE: u32 = 0x0002;
pub const FSYS_PARTIAL: u32 = 0x0004;
pub const FSYS_NONBLOCK: u32 = 0x0008;
pub const FSYS_LINK: u32 = 0x0010;
pub const FSYS_EXACT: u32 = 0x0020;
pub const FSYS_ATOMIC: u32 = 0x0040;
pub const FSYS_SYNC_DATA: u32 = 0x0100;
pub const FSYS_SYNC_RANGE: u32 = 0x0200;
pub const FSYS_KEEP_SIZE: u32 = 0x0400;
pub const FSYS_CACHED: u32 = 0x0800;
pub const FSYS_LANE_NONE: u32 = 0;
pub const FSYS_LANE_INLINE: u32 = 1;
pub const FSYS_LANE_RING: u32 = 2;
pub const FSYS_LANE_POOL: u32 = 3;
pub const FSYS_STEP_NONE: u32 = 0;
pub const FSYS_STEP_TRANSFER: u32 = 1;
pub const FSYS_STEP_SYNC: u32 = 2;
pub const FSYS_STEP_QUEUE: u32 = 3;
pub const FSYS_REASON_NONE: u32 = 0;
pub const FSYS_REASON_ASKED: u32 = 1;
pub const FSYS_REASON_ENOSYS: u32 = 2;
pub const FSYS_REASON_SYSCTL: u32 = 3;
pub const FSYS_REASON_SECCOMP: u32 = 4;
pub const FSYS_REASON_MEMLOCK: u32 = 5;
pub const FSYS_REASON_FD_LIMIT: u32 = 6;
pub const FSYS_REASON_OLD: u32 = 7;
pub const FSYS_REASON_OTHER: u32 = 8;
pub const FSYS_STATS_LANES: u32 = 4;
pub const FSYS_STATS_OPS: u32 = 8;
pub const FSYS_STATS_BUCKETS: u32 = 160;
pub const FSYS_JOURNAL_MODE_AUTO: u32 = 0;
pub const FSYS_JOURNAL_MODE_DIRECT: u32 = 1;
pub const FSYS_JOURNAL_MODE_BUFFERED: u32 = 2;
pub const FSYS_JOURNAL_RECYCLE: u32 = 0;
pub const FSYS_JOURNAL_ZERO: u32 = 1;
pub const FSYS_JOURNAL_EXTENT: u32 = 2;
pub const FSYS_JOURNAL_NONE: u32 = 3;
pub const FSYS_JOURNAL_EXISTING: u32 = 0x1;
pub const FSYS_JOURNAL_STRICT: u32 = 0x2;
pub const FSYS_JOURNAL_FRESH: u32 = 0;
pub const FSYS_JOURNAL_CLEAN: u32 = 1;
pub const FSYS_JOURNAL_TORN: u32 = 2;
pub const FSYS_JOURNAL_DAMAGED: u32 = 3;
pub const FSYS_JOURNAL_IO_ERROR: u32 = 4;
pub const FSYS_JOURNAL_RULE_NONE: u32 = 0;
pub const FSYS_JOURNAL_RULE_END: u32 = 1;
pub const FSYS_JOURNAL_RULE_UNPROVED: u32 = 2;
pub const FSYS_JOURNAL_RULE_GROUP: u32 = 3;
pub const FSYS_JOURNAL_RULE_FRAME: u32 = 4;
pub const FSYS_JOURNAL_RULE_WATERMARK: u32 = 5;
pub const FSYS_JOURNAL_RULE_SUCCESSOR: u32 = 6;
pub const FSYS_JOURNAL_RULE_STRUCTURE: u32 = 7;
pub const FSYS_JOURNAL_RULE_TRIMMED: u32 = 8;
pub const FSYS_JOURNAL_RULE_WRITER: u32 = 9;
pub const FSYS_JOURNAL_NONBLOCK: u32 = 0x1;
pub const FSYS_JOURNAL_EMERGENCY: u32 = 0x2;
pub const FSYS_JOURNAL_READ_WRITTEN: u32 = 0x1;
pub const FSYS_JOURNAL_RECORD: u32 = 0;
pub const FSYS_JOURNAL_END: u32 = 1;
pub const FSYS_JOURNAL_GAP: u32 = 2;
pub const FSYS_JOURNAL_DAMAGE: u32 = 3;
pub const FSYS_JOURNAL_EPOCH_CHANGED: u32 = 4;
pub const FSYS_JOURNAL_DEEP: u32 = 0x1;
pub const FSYS_JOURNAL_AT_RECORD: u32 = 1;
pub const FSYS_JOURNAL_AT_PAD: u32 = 2;
pub const FSYS_JOURNAL_AT_TRIMMED: u32 = 3;
pub const FSYS_JOURNAL_AT_END: u32 = 4;
pub const FSYS_JOURNAL_AT_TORN: u32 = 5;
pub const FSYS_JOURNAL_AT_DAMAGED: u32 = 6;
pub const FSYS_VERSION_MAJOR: u32 = 0;
pub const FSYS_VERSION_MINOR: u32 = 1;
pub const FSYS_VERSION_PATCH: u32 = 0;
pub const FSYS_ABI_MAJOR: u32 = 1;
/// The headers' version as one comparable number: 0x00MMmmpp.
pub const FSYS_VERSION: u32 =
    (FSYS_VERSION_MAJOR << 16) | (FSYS_VERSION_MINOR << 8) | FSYS_VERSION_PATCH;

#[repr(C)]
pub struct fsys {
    _opaque: [u8; 0],
    _not_send_sync_unpin:
        core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}
#[repr(C)]
pub struct fsys_file {
    _opaque: [u8; 0],
    _not_send_sync_unpin:
        core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}
#[repr(C)]
pub struct fsys_journal {
    _opaque: [u8; 0],
    _not_send_sync_unpin:
        core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}
#[repr(C)]
pub struct fsys_journal_reader {
    _opaque: [u8; 0],
    _not_send_sync_unpin:
        core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}
#[repr(C)]
pub struct fsys_replacement {
    _opaque: [u8; 0],
    _not_send_sync_unpin:
        core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}
#[repr(C)]
pub struct fsys_scan {
    _opaque: [u8; 0],
    _not_send_sync_unpin:
        core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_batch_item {
    pub verb: u32,
    pub result: i32,
    pub path: *const c_char,
    pub data: *const c_void,
    pub length: u64,
    pub step: u32,
    pub visible: u32,
    pub not_kept: u32,
    pub reserved: u32,
    pub other_links: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_counters {
    pub struct_size: u32,
    pub reserved: u32,
    pub ops: [[u64; 8]; 4],
    pub failed: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub enters: u64,
    pub entries: u64,
    pub doorbells: u64,
    pub pool_wakes: u64,
    pub futex_waits: u64,
    pub futex_wakes: u64,
    pub event_signals: u64,
    pub nowait_hits: u64,
    pub nowait_misses: u64,
    pub batch_enters: u64,
    pub iowq_punts: u64,
    pub short_ios: u64,
    pub retries: u64,
    pub splits: u64,
    pub cancels: u64,
    pub slot_waits: u64,
    pub in_flight: u64,
    pub latency: [[u64; 160]; 3],
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_file_details {
    pub struct_size: u32,
    pub flags: u32,
    pub size: u64,
    pub direct_mem_align: u32,
    pub direct_offset_align: u32,
    pub read_lane: u32,
    pub write_lane: u32,
    pub sync_lane: u32,
    pub registered: u32,
    pub file_system: [c_char; 16],
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_file_options {
    pub struct_size: u32,
    pub flags: u32,
    pub mode: u32,
    pub reserved: u32,
    pub error_text: *mut c_char,
    pub error_text_size: usize,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_file_report {
    pub struct_size: u32,
    pub step: u32,
    pub visible: u32,
    pub durability: u32,
    pub not_kept: u32,
    pub method: u32,
    pub bytes: u64,
    pub other_links: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_flush_report {
    pub struct_size: u32,
    pub way: u32,
    pub reason: u32,
    pub committed: u32,
    pub devices: u32,
    pub flushed: u32,
    pub nvme_status: u32,
    pub nsid: u32,
    pub paths: u32,
    pub partition: u32,
    pub reserved: [u32; 6],
    pub device: [c_char; 32],
    pub text: [c_char; 256],
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_handle_info {
    pub struct_size: u32,
    pub backend: u32,
    pub backend_reason: u32,
    pub backend_errno: i32,
    pub driver: u32,
    pub driver_running: u32,
    pub ring_flags: u32,
    pub ring_features: u32,
    pub sq_entries: u32,
    pub cq_entries: u32,
    pub registered_files: u32,
    pub registered_buffers: u32,
    pub max_ops: u32,
    pub max_files: u32,
    pub pool_threads: u32,
    pub poisoned: u32,
    pub memory_bytes: u64,
    pub reason_text: [c_char; 192],
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_iovec {
    pub base: *mut c_void,
    pub length: usize,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_journal_finding {
    pub struct_size: u32,
    pub state: u32,
    pub rule: u32,
    pub writer: u32,
    pub start: u64,
    pub end: u64,
    pub length: u64,
    pub epoch: u64,
    pub file_offset: u64,
    pub proof_lsn: u64,
    pub proof_durable_lsn: u64,
    pub segment_name: [c_char; 48],
    pub text: [c_char; 256],
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_journal_frontiers {
    pub reserved: u64,
    pub published: u64,
    pub written: u64,
    pub durable: u64,
    pub unknown_lo: u64,
    pub unknown_hi: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_journal_options {
    pub struct_size: u32,
    pub flags: u32,
    pub mode: u32,
    pub preallocate: u32,
    pub segment_bytes: u64,
    pub buffer_bytes: u64,
    pub block_bytes: u32,
    pub reserve_segments: u32,
    pub spare_segments: u32,
    pub reserved: u32,
    pub max_bytes: u64,
    pub append_timeout_ns: u64,
    pub error_text: *mut c_char,
    pub error_text_size: usize,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_journal_pinned {
    pub name: [c_char; 256],
    pub lsn: u64,
    pub max_bytes: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_journal_record {
    pub kind: u32,
    pub reserved: u32,
    pub start: u64,
    pub lsn: u64,
    pub epoch: u64,
    pub data: *const c_void,
    pub length: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_journal_report {
    pub struct_size: u32,
    pub verdict: u32,
    pub first_lsn: u64,
    pub end_lsn: u64,
    pub cut_from: u64,
    pub cut_to: u64,
    pub damage_lsn: u64,
    pub proof_lsn: u64,
    pub epoch: u64,
    pub records: u64,
    pub scanned_bytes: u64,
    pub kept_name: [c_char; 64],
    pub text: [c_char; 256],
    pub rule: u32,
    pub writer: u32,
    pub proof_durable_lsn: u64,
    pub written_lsn: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_journal_segment {
    pub name: [c_char; 48],
    pub number: u64,
    pub epoch: u64,
    pub first_lsn: u64,
    pub end_lsn: u64,
    pub file_bytes: u64,
    pub sealed: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_journal_stats {
    pub struct_size: u32,
    pub direct: u32,
    pub poisoned: u64,
    pub first_lsn: u64,
    pub epoch: u64,
    pub segments: u64,
    pub spares: u64,
    pub bytes_on_disk: u64,
    pub syncs: u64,
    pub sync_ns: u64,
    pub flushed_bytes: u64,
    pub frames: u64,
    pub commits: u64,
    pub led: u64,
    pub gathers: u64,
    pub gather_misses: u64,
    pub rotations: u64,
    pub recycled: u64,
    pub space_waits: u64,
    pub open_tickets: u64,
    pub oldest_ticket_ns: u64,
    pub async_pending: u64,
    pub pins_dropped: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_journal_ticket {
    pub id: u64,
    pub memory: *mut c_void,
    pub length: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_options {
    pub struct_size: u32,
    pub flags: u32,
    pub backend: u32,
    pub driver: u32,
    pub max_ops: u32,
    pub max_files: u32,
    pub pool_threads: u32,
    pub registered_files: u32,
    pub close_timeout_ns: u64,
    pub submit_timeout_ns: u64,
    pub arena_bytes: u64,
    pub root: *const c_char,
    pub error_text: *mut c_char,
    pub error_text_size: usize,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_path_options {
    pub struct_size: u32,
    pub flags: u32,
    pub durability: u32,
    pub mode: u32,
    pub dir: *mut fsys_file,
    pub error_text: *mut c_char,
    pub error_text_size: usize,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_probe_device {
    pub name: [c_char; 32],
    pub label: [c_char; 64],
    pub scheduler: [c_char; 16],
    pub kind: u32,
    pub major_number: u32,
    pub minor_number: u32,
    pub above: i32,
    pub logical_block: u32,
    pub physical_block: u32,
    pub volatile_cache: u32,
    pub fua: u32,
    pub rotational: u32,
    pub power_loss_protection: u32,
    pub atomic_unit_max: u32,
    pub atomic_power_fail: u32,
    pub atomic_normal: u32,
    pub atomic_boundary: u32,
    pub atomic_boundary_offset: u32,
    pub nsid: u32,
    pub paths: u32,
    pub identified: u32,
    pub diskseq: u64,
    pub bytes: u64,
    pub evidence: [c_char; 160],
    pub reserved: [u32; 8],
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_probe_report {
    pub struct_size: u32,
    pub device_count: u32,
    pub file_system: [c_char; 16],
    pub boot_id: [c_char; 40],
    pub major_number: u32,
    pub minor_number: u32,
    pub complete: u32,
    pub logical_block: u32,
    pub physical_block: u32,
    pub volatile_cache: u32,
    pub flush_reaches: u32,
    pub fua: u32,
    pub rotational: u32,
    pub power_loss_protection: u32,
    pub direct_mem_align: u32,
    pub direct_offset_align: u32,
    pub direct: u32,
    pub atomic: u32,
    pub atomic_min: u32,
    pub atomic_max: u32,
    pub atomic_max_fast: u32,
    pub atomic_segments: u32,
    pub passthrough: u32,
    pub reserved: [u32; 15],
    pub sync_text: [c_char; 256],
    pub datasync_text: [c_char; 256],
    pub flush_text: [c_char; 256],
    pub power_text: [c_char; 256],
    pub devices: [fsys_probe_device; FSYS_PROBE_DEVICES as usize],
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_replace_options {
    pub struct_size: u32,
    pub flags: u32,
    pub durability: u32,
    pub keep: u32,
    pub mode: u32,
    pub lifetime: u32,
    pub dir: *mut fsys_file,
    pub error_text: *mut c_char,
    pub error_text_size: usize,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_request {
    pub opcode: u32,
    pub flags: u32,
    pub file: *mut fsys_file,
    pub buffer: *mut c_void,
    pub length: u64,
    pub offset: u64,
    pub user_data: u64,
    pub reserved: [u64; 2],
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_result {
    pub user_data: u64,
    pub op: fsys_op,
    pub result: i64,
    pub bytes_done: u64,
    pub step: u32,
    pub lane: u32,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsys_scan_entry {
    pub struct_size: u32,
    pub type_: u32,
    pub path: *const c_char,
    pub size: u64,
    pub inode: u64,
    pub modified_ns: i64,
    pub mode: u32,
    pub depth: u32,
    pub links: u64,
    pub error: i32,
    pub reserved: u32,
}

extern "C" {
    pub fn fsys_probe(path: *const c_char, flags: u32, ret_report: *mut fsys_probe_report) -> c_int;
    pub fn fsys_probe_fd(fd: c_int, flags: u32, ret_report: *mut fsys_probe_report) -> c_int;
    pub fn fsys_probe_file(
        file: *mut fsys_file,
        flags: u32,
        ret_report: *mut fsys_probe_report,
    ) -> c_int;
    pub fn fsys_device_flush(
        path: *const c_char,
        ways: u32,
        ret_report: *mut fsys_flush_report,
    ) -> c_int;
    pub fn fsys_device_flush_fd(fd: c_int, ways: u32, ret_report: *mut fsys_flush_report) -> c_int;
    pub fn fsys_device_flush_file(
        file: *mut fsys_file,
        ways: u32,
        ret_report: *mut fsys_flush_report,
    ) -> c_int;
    pub fn fsys_replace(
        handle: *mut fsys,
        path: *const c_char,
        data: *const c_void,
        length: usize,
        options: *const fsys_replace_options,
        ret_report: *mut fsys_file_report,
    ) -> c_int;
    pub fn fsys_submit_replace(
        handle: *mut fsys,
        path: *const c_char,
        data: *const c_void,
        length: usize,
        options: *const fsys_replace_options,
        ret_report: *mut fsys_file_report,
        user_data: u64,
        ret_op: *mut fsys_op,
    ) -> c_int;
    pub fn fsys_replace_begin(
        handle: *mut fsys,
        path: *const c_char,
        options: *const fsys_replace_options,
        ret_replacement: *mut *mut fsys_replacement,
    ) -> c_int;
    pub fn fsys_replace_write(
        replacement: *mut fsys_replacement,
        data: *const c_void,
        length: usize,
    ) -> c_int;
    pub fn fsys_replace_commit(
        replacement: *mut fsys_replacement,
        ret_report: *mut fsys_file_report,
    ) -> c_int;
    pub fn fsys_submit_replace_commit(
        replacement: *mut fsys_replacement,
        ret_report: *mut fsys_file_report,
        user_data: u64,
        ret_op: *mut fsys_op,
    ) -> c_int;
    pub fn fsys_replace_abort(replacement: *mut fsys_replacement) -> c_int;
    pub fn fsys_batch(
        handle: *mut fsys,
        items: *mut fsys_batch_item,
        count: u32,
        options: *const fsys_replace_options,
    ) -> c_int;
    pub fn fsys_submit_batch(
        handle: *mut fsys,
        items: *mut fsys_batch_item,
        count: u32,
        options: *const fsys_replace_options,
        user_data: u64,
        ret_op: *mut fsys_op,
    ) -> c_int;
    pub fn fsys_copy(
        handle: *mut fsys,
        from: *const c_char,
        to: *const c_char,
        options: *const fsys_replace_options,
        ret_report: *mut fsys_file_report,
    ) -> c_int;
    pub fn fsys_append(
        handle: *mut fsys,
        path: *const c_char,
        data: *const c_void,
        length: usize,
        options: *const fsys_path_options,
        ret_offset: *mut u64,
    ) -> c_int;
    pub fn fsys_read_file(
        handle: *mut fsys,
        path: *const c_char,
        max_bytes: u64,
        options: *const fsys_path_options,
        ret_data: *mut *mut c_void,
        ret_length: *mut usize,
    ) -> c_int;
    pub fn fsys_free(data: *mut c_void);
    pub fn fsys_rename(
        handle: *mut fsys,
        from: *const c_char,
        to: *const c_char,
        options: *const fsys_path_options,
    ) -> c_int;
    pub fn fsys_link(
        handle: *mut fsys,
        existing: *const c_char,
        path: *const c_char,
        options: *const fsys_path_options,
    ) -> c_int;
    pub fn fsys_unlink(
        handle: *mut fsys,
        path: *const c_char,
        options: *const fsys_path_options,
    ) -> c_int;
    pub fn fsys_mkdir(
        handle: *mut fsys,
        path: *const c_char,
        options: *const fsys_path_options,
    ) -> c_int;
    pub fn fsys_rmdir(
        handle: *mut fsys,
        path: *const c_char,
        options: *const fsys_path_options,
    ) -> c_int;
    pub fn fsys_sync_path(
        handle: *mut fsys,
        path: *const c_char,
        options: *const fsys_path_options,
    ) -> c_int;
    pub fn fsys_sweep(
        handle: *mut fsys,
        path: *const c_char,
        min_age_ns: u64,
        options: *const fsys_path_options,
        ret_removed: *mut u32,
    ) -> c_int;
    pub fn fsys_scan_open(
        handle: *mut fsys,
        path: *const c_char,
        options: *const fsys_path_options,
        ret_scan: *mut *mut fsys_scan,
    ) -> c_int;
    pub fn fsys_scan_next(scan: *mut fsys_scan, ret_entry: *mut fsys_scan_entry) -> c_int;
    pub fn fsys_scan_close(scan: *mut fsys_scan) -> c_int;
    pub fn fsys_truncate(file: *mut fsys_file, length: u64, durability: u32) -> c_int;
    pub fn fsys_preallocate(
        file: *mut fsys_file,
        offset: u64,
        length: u64,
        flags: u32,
        durability: u32,
    ) -> c_int;
    pub fn fsys_punch_hole(
        file: *mut fsys_file,
        offset: u64,
        length: u64,
        durability: u32,
    ) -> c_int;
    pub fn fsys_zero_range(
        file: *mut fsys_file,
        offset: u64,
        length: u64,
        flags: u32,
        durability: u32,
    ) -> c_int;
    pub fn fsys_set_lifetime(file: *mut fsys_file, lifetime: u32) -> c_int;
    pub fn fsys_advise(file: *mut fsys_file, offset: u64, length: u64, advice: u32) -> c_int;
    pub fn fsys_open(options: *const fsys_options, ret_handle: *mut *mut fsys) -> c_int;
    pub fn fsys_close(handle: *mut fsys) -> c_int;
    pub fn fsys_file_open(
        handle: *mut fsys,
        path: *const c_char,
        options: *const fsys_file_options,
        ret_file: *mut *mut fsys_file,
    ) -> c_int;
    pub fn fsys_file_from_fd(
        handle: *mut fsys,
        fd: c_int,
        options: *const fsys_file_options,
        ret_file: *mut *mut fsys_file,
    ) -> c_int;
    pub fn fsys_file_close(file: *mut fsys_file) -> c_int;
    pub fn fsys_file_info(file: *mut fsys_file, ret_info: *mut fsys_file_details) -> c_int;
    pub fn fsys_submit_read(
        file: *mut fsys_file,
        buffer: *mut c_void,
        length: usize,
        offset: u64,
        flags: u32,
        user_data: u64,
        ret_op: *mut fsys_op,
    ) -> c_int;
    pub fn fsys_submit_write(
        file: *mut fsys_file,
        buffer: *const c_void,
        length: usize,
        offset: u64,
        flags: u32,
        user_data: u64,
        ret_op: *mut fsys_op,
    ) -> c_int;
    pub fn fsys_submit_sync(
        file: *mut fsys_file,
        length: u64,
        offset: u64,
        flags: u32,
        user_data: u64,
        ret_op: *mut fsys_op,
    ) -> c_int;
    pub fn fsys_submit(
        handle: *mut fsys,
        requests: *const fsys_request,
        count: u32,
        ret_ops: *mut fsys_op,
    ) -> c_int;
    pub fn fsys_cancel(handle: *mut fsys, op: fsys_op) -> c_int;
    pub fn fsys_cancel_queued(handle: *mut fsys, user_data: u64) -> c_int;
    pub fn fsys_wait(
        handle: *mut fsys,
        op: fsys_op,
        timeout_ns: i64,
        ret_result: *mut fsys_result,
    ) -> c_int;
    pub fn fsys_try(handle: *mut fsys, op: fsys_op, ret_result: *mut fsys_result) -> c_int;
    pub fn fsys_wait_any(
        handle: *mut fsys,
        ops: *const fsys_op,
        count: u32,
        timeout_ns: i64,
        ret_index: *mut u32,
        ret_result: *mut fsys_result,
    ) -> c_int;
    pub fn fsys_wait_all(
        handle: *mut fsys,
        ops: *const fsys_op,
        count: u32,
        timeout_ns: i64,
        ret_results: *mut fsys_result,
    ) -> c_int;
    pub fn fsys_reap(
        handle: *mut fsys,
        ret_results: *mut fsys_result,
        max: u32,
        timeout_ns: i64,
    ) -> c_int;
    pub fn fsys_event_fd(handle: *mut fsys) -> c_int;
    pub fn fsys_poll(handle: *mut fsys, timeout_ns: i64) -> c_int;
    pub fn fsys_read(
        file: *mut fsys_file,
        buffer: *mut c_void,
        length: usize,
        offset: u64,
        flags: u32,
    ) -> i64;
    pub fn fsys_write(
        file: *mut fsys_file,
        buffer: *const c_void,
        length: usize,
        offset: u64,
        flags: u32,
    ) -> i64;
    pub fn fsys_sync(file: *mut fsys_file, flags: u32) -> c_int;
    pub fn fsys_buffer_alloc(handle: *mut fsys, size: usize, ret_buffer: *mut *mut c_void) -> c_int;
    pub fn fsys_buffer_free(handle: *mut fsys, buffer: *mut c_void) -> c_int;
    pub fn fsys_info(handle: *mut fsys, ret_info: *mut fsys_handle_info) -> c_int;
    pub fn fsys_stats(handle: *mut fsys, ret_counters: *mut fsys_counters) -> c_int;
    pub fn fsys_bucket_bound_ns(bucket: u32) -> u64;
    pub fn fsys_cause(object: *const c_void, ret_text: *mut c_char, size: usize) -> c_int;
    pub fn fsys_strerror(code: c_int) -> *const c_char;
    pub fn fsys_error_name(code: c_int) -> *const c_char;
    pub fn fsys_version() -> u32;
    pub fn fsys_version_string() -> *const c_char;
    pub fn fsys_journal_open(
        handle: *mut fsys,
        path: *const c_char,
        options: *const fsys_journal_options,
        ret_report: *mut fsys_journal_report,
        ret_journal: *mut *mut fsys_journal,
    ) -> c_int;
    pub fn fsys_journal_close(journal: *mut fsys_journal) -> c_int;
    pub fn fsys_journal_append(
        journal: *mut fsys_journal,
        data: *const c_void,
        length: usize,
        flags: u32,
        ret_lsn: *mut u64,
    ) -> c_int;
    pub fn fsys_journal_appendv(
        journal: *mut fsys_journal,
        pieces: *const fsys_iovec,
        count: u32,
        flags: u32,
        ret_lsn: *mut u64,
    ) -> c_int;
    pub fn fsys_journal_append_batch(
        journal: *mut fsys_journal,
        records: *const fsys_iovec,
        count: u32,
        flags: u32,
        ret_last: *mut u64,
        ret_each: *mut u64,
    ) -> c_int;
    pub fn fsys_journal_reserve(
        journal: *mut fsys_journal,
        length: usize,
        flags: u32,
        ret_ticket: *mut fsys_journal_ticket,
    ) -> c_int;
    pub fn fsys_journal_publish(
        journal: *mut fsys_journal,
        ticket: *const fsys_journal_ticket,
        ret_lsn: *mut u64,
    ) -> c_int;
    pub fn fsys_journal_abandon(
        journal: *mut fsys_journal,
        ticket: *const fsys_journal_ticket,
    ) -> c_int;
    pub fn fsys_journal_sync(journal: *mut fsys_journal, lsn: u64, timeout_ns: i64) -> c_int;
    pub fn fsys_journal_commit(
        journal: *mut fsys_journal,
        data: *const c_void,
        length: usize,
        flags: u32,
        timeout_ns: i64,
        ret_lsn: *mut u64,
    ) -> c_int;
    pub fn fsys_journal_submit_sync(
        journal: *mut fsys_journal,
        lsn: u64,
        user_data: u64,
        ret_op: *mut fsys_op,
    ) -> c_int;
    pub fn fsys_journal_submit_commit(
        journal: *mut fsys_journal,
        data: *const c_void,
        length: usize,
        flags: u32,
        user_data: u64,
        ret_lsn: *mut u64,
        ret_op: *mut fsys_op,
    ) -> c_int;
    pub fn fsys_journal_write_out(journal: *mut fsys_journal) -> c_int;
    pub fn fsys_journal_frontier(
        journal: *mut fsys_journal,
        ret_frontiers: *mut fsys_journal_frontiers,
    ) -> c_int;
    pub fn fsys_journal_trim(journal: *mut fsys_journal, lsn: u64) -> c_int;
    pub fn fsys_journal_truncate(journal: *mut fsys_journal, lsn: u64) -> c_int;
    pub fn fsys_journal_rotate(journal: *mut fsys_journal) -> c_int;
    pub fn fsys_journal_pin(
        journal: *mut fsys_journal,
        name: *const c_char,
        lsn: u64,
        max_bytes: u64,
    ) -> c_int;
    pub fn fsys_journal_unpin(journal: *mut fsys_journal, name: *const c_char) -> c_int;
    pub fn fsys_journal_pins(
        journal: *mut fsys_journal,
        ret_pins: *mut fsys_journal_pinned,
        max: u32,
    ) -> c_int;
    pub fn fsys_journal_snapshot(
        journal: *mut fsys_journal,
        lsn: u64,
        path: *const c_char,
    ) -> c_int;
    pub fn fsys_journal_segments(
        journal: *mut fsys_journal,
        ret_segments: *mut fsys_journal_segment,
        max: u32,
    ) -> c_int;
    pub fn fsys_journal_submit_sealed(
        journal: *mut fsys_journal,
        after: u64,
        user_data: u64,
        ret_op: *mut fsys_op,
    ) -> c_int;
    pub fn fsys_journal_stat(
        journal: *mut fsys_journal,
        ret_stats: *mut fsys_journal_stats,
    ) -> c_int;
    pub fn fsys_journal_cause(
        journal: *mut fsys_journal,
        ret_text: *mut c_char,
        size: usize,
    ) -> c_int;
    pub fn fsys_journal_reader_open(
        journal: *mut fsys_journal,
        from: u64,
        flags: u32,
        ret_reader: *mut *mut fsys_journal_reader,
    ) -> c_int;
    pub fn fsys_journal_reader_open_path(
        handle: *mut fsys,
        path: *const c_char,
        from: u64,
        flags: u32,
        ret_report: *mut fsys_journal_report,
        ret_reader: *mut *mut fsys_journal_reader,
    ) -> c_int;
    pub fn fsys_journal_reader_next(
        reader: *mut fsys_journal_reader,
        timeout_ns: i64,
        ret_record: *mut fsys_journal_record,
    ) -> c_int;
    pub fn fsys_journal_reader_seek(reader: *mut fsys_journal_reader, from: u64) -> c_int;
    pub fn fsys_journal_reader_skip_damage(
        reader: *mut fsys_journal_reader,
        ret_from: *mut u64,
        ret_to: *mut u64,
    ) -> c_int;
    pub fn fsys_journal_reader_close(reader: *mut fsys_journal_reader) -> c_int;
    pub fn fsys_journal_check(
        path: *const c_char,
        flags: u32,
        ret_report: *mut fsys_journal_report,
    ) -> c_int;
    pub fn fsys_journal_salvage(
        from: *const c_char,
        to: *const c_char,
        ret_records: *mut u64,
        ret_lost: *mut u64,
    ) -> c_int;
    pub fn fsys_journal_snapshot_path(from: *const c_char, lsn: u64, to: *const c_char) -> c_int;
    pub fn fsys_journal_explain(
        path: *const c_char,
        position: u64,
        ret_finding: *mut fsys_journal_finding,
    ) -> c_int;
    pub fn fsys_journal_list_segments(
        path: *const c_char,
        ret_segments: *mut fsys_journal_segment,
        max: u32,
    ) -> c_int;
    pub fn fsys_journal_list_pins(
        path: *const c_char,
        ret_pins: *mut fsys_journal_pinned,
        max: u32,
    ) -> c_int;
    pub fn fsys_journal_check_at(
        handle: *mut fsys,
        path: *const c_char,
        flags: u32,
        ret_report: *mut fsys_journal_report,
    ) -> c_int;
    pub fn fsys_journal_salvage_at(
        handle: *mut fsys,
        from: *const c_char,
        to: *const c_char,
        ret_records: *mut u64,
        ret_lost: *mut u64,
    ) -> c_int;
    pub fn fsys_journal_snapshot_at(
        handle: *mut fsys,
        from: *const c_char,
        lsn: u64,
        to: *const c_char,
    ) -> c_int;
    pub fn fsys_journal_explain_at(
        handle: *mut fsys,
        path: *const c_char,
        position: u64,
        ret_finding: *mut fsys_journal_finding,
    ) -> c_int;
    pub fn fsys_journal_list_segments_at(
        handle: *mut fsys,
        path: *const c_char,
        ret_segments: *mut fsys_journal_segment,
        max: u32,
    ) -> c_int;
    pub fn fsys_journal_list_pins_at(
        handle: *mut fsys,
        path: *const c_char,
        ret_pins: *mut fsys_journal_pinned,
        max: u32,
    ) -> c_int;
}
