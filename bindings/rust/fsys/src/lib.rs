// SPDX-License-Identifier: Apache-2.0 OR MIT
//! File IO for programs that must know when their bytes are safe: a safe interface to libfsys.
//!
//! * [`Engine`] and [`File`]: blocking calls at the cost of the bare system call, and ops as futures
//!   on io_uring (or a thread pool where there is none) that work with any executor.
//! * [`Journal`] and [`Reader`]: a write-ahead log with group commit.
//! * [`replace`] and [`ReplaceOptions`]: whole files, all old or all new at any time; [`PathOptions`]:
//!   names and directories, durable.
//! * [`probe`]: what lies underneath a file and what it promises; [`device_flush`].
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = std::env::temp_dir().join(format!("fsys-doc-lib-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! let engine = fsys::Engine::new()?;
//! let journal = fsys::Journal::open(&engine, dir.join("journal"))?;
//! let lsn = journal.commit(b"paid")?; // survives power loss from here on
//!
//! let mut reader = journal.reader(0)?;
//! while let fsys::Entry::Record(record) = reader.next(Some(std::time::Duration::ZERO))? {
//!     println!("{}: {:?}", record.lsn, record.data);
//!     assert_eq!((record.lsn, record.data), (lsn, &b"paid"[..]));
//! }
//! # drop(reader);
//! journal.close()?;
//! # std::fs::remove_dir_all(&dir)
//! # }
//! ```
//!
//! # Memory
//!
//! An op owns its buffer ([`IoBuf`], [`IoBufMut`]) until its completion, and gives it back with the
//! outcome. Dropping or forgetting a future, closing, a dying engine: none frees memory that the
//! kernel may still use. Where the kernel will not let go the memory is leaked.
//!
//! # Threads
//!
//! `Engine`, `File` and `Journal` are `Send` and `Sync`: the C library says "any thread" of their
//! calls. A [`Reader`] is `Send`: one thread at a time. [`LocalEngine`] is neither.
#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]

mod batch;
mod buf;
mod buffer;
mod check;
mod completion;
mod device;
mod engine;
mod error;
mod file;
mod journal;
mod names;
mod op;
mod reader;
mod replace;
#[cfg(feature = "tokio")]
mod tokio;

pub use batch::{Batch, Done};
pub use buf::{IoBuf, IoBufMut, Slice};
pub use buffer::Buffer;
pub use check::{
    check_journal, explain_journal, list_pins, list_segments, salvage_journal, snapshot_journal,
    Finding, Pin, Place, Report, Segment, Verdict,
};
pub use device::{
    device_flush, device_flush_fd, probe, probe_fd, Answer, Device, DeviceKind, Flushed, Probe,
};
pub use engine::{Backend, Engine, Info, LocalEngine, Options};
pub use error::{Error, Kind, Result};
pub use file::{File, FileInfo, OpenOptions};
pub use fsys_sys as sys;
pub use journal::{
    Committing, Frontiers, Journal, JournalOptions, Lsn, Mode, Preallocate, Sealing, Ticket,
};
pub use names::{Advice, EntryKind, Lifetime, PathOptions, Scan, ScanEntry};
pub use op::{block_on, Op, OpError, OpResult, Payload, Reading, Syncing, Writing};
pub use reader::{Entry, Reader, Record};
pub use replace::{
    replace, Batching, CommittingFile, Durability, FileError, FileItem, FileReport, FileResult,
    ReplaceOptions, Replacement, Replacing,
};

/// The guide's program, compiled with the doc tests. (Not there in a package outside of the C tree.)
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/rust.md")]
struct Guide;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The version of the library that is loaded, 0x00MMmmpp; [`sys::FSYS_VERSION`] is that of the
/// headers.
pub fn version() -> u32 {
    // SAFETY: no arguments, no state.
    unsafe { sys::fsys_version() }
}

/// The same as text, for people.
pub fn version_string() -> &'static str {
    // SAFETY: a string of the library's, which is not unloaded.
    let text = unsafe { std::ffi::CStr::from_ptr(sys::fsys_version_string()) };
    text.to_str().unwrap_or("?")
}

/// Lower bound of a bucket of `fsys_counters::latency`, in nanoseconds.
pub fn bucket_bound_ns(bucket: u32) -> u64 {
    // SAFETY: no memory is passed.
    unsafe { sys::fsys_bucket_bound_ns(bucket) }
}

fn path_to_c(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::with_text(-error::EINVAL, "the path holds a NUL byte"))
}
