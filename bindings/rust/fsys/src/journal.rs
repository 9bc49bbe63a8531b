// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The write-ahead journal.
use crate::check::{list, Pin, Report, Segment};
use crate::completion::nanoseconds;
use crate::engine::{Borrow, Engine, EngineInner};
use crate::error::{cause, check, check_count, check_with_text, Error, Result, ECANCELED, EINVAL};
use crate::op::{Op, Payload, Submit};
use crate::path_to_c;
use crate::reader::Reader;
use fsys_sys as sys;
use std::ffi::CString;
use std::fmt;
use std::io::IoSlice;
use std::mem::{size_of, zeroed};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// A position in a journal's byte stream. A record's LSN is the position just past it, so that
/// "durable through x" is one comparison. 0 means none.
pub type Lsn = u64;

/// How a journal writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Measured when it is opened.
    Auto,
    /// O_DIRECT with RWF_DSYNC; EINVAL where there is none.
    Direct,
    /// write and fdatasync.
    Buffered,
}

/// How segment files get their space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preallocate {
    /// Written with zeros, and used again after a trim: the fastest.
    Recycle,
    /// Written with zeros, removed after a trim.
    Zero,
    /// fallocate(2) only.
    Extent,
    /// Not at all: a full disk is then met by a commit, and poisons.
    None,
}

/// How to open a journal. What is not set has the library's default.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    mode: Mode,
    preallocate: Preallocate,
    flags: u32,
    segment_bytes: u64,
    buffer_bytes: u64,
    max_bytes: u64,
    block_bytes: u32,
    reserve_segments: u32,
    spare_segments: u32,
    append_timeout_ns: u64,
}

impl Default for JournalOptions {
    fn default() -> JournalOptions {
        JournalOptions {
            mode: Mode::Auto,
            preallocate: Preallocate::Recycle,
            flags: 0,
            segment_bytes: 0,
            buffer_bytes: 0,
            max_bytes: 0,
            block_bytes: 0,
            reserve_segments: 0,
            spare_segments: 0,
            append_timeout_ns: 0,
        }
    }
}

impl JournalOptions {
    /// All defaults.
    pub fn new() -> JournalOptions {
        JournalOptions::default()
    }
    /// Default: measured.
    pub fn mode(mut self, mode: Mode) -> JournalOptions {
        self.mode = mode;
        self
    }
    /// Default: recycle.
    pub fn preallocate(mut self, how: Preallocate) -> JournalOptions {
        self.preallocate = how;
        self
    }
    /// ENOENT when there is no journal, instead of a new one.
    pub fn existing(mut self, on: bool) -> JournalOptions {
        self.set(sys::FSYS_JOURNAL_EXISTING, on);
        self
    }
    /// A durable watermark before each acknowledgement: closes the blind spot of the last flush,
    /// costs a second flush.
    pub fn strict(mut self, on: bool) -> JournalOptions {
        self.set(sys::FSYS_JOURNAL_STRICT, on);
        self
    }
    fn set(&mut self, flag: u32, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
    }
    /// Room for records in a segment file: a multiple of 4096, at least 8192; default 64 MiB.
    pub fn segment_bytes(mut self, bytes: u64) -> JournalOptions {
        self.segment_bytes = bytes;
        self
    }
    /// Log buffer: a power of two, 64 KiB to 4 GiB; default 8 MiB.
    pub fn buffer_bytes(mut self, bytes: u64) -> JournalOptions {
        self.buffer_bytes = bytes;
        self
    }
    /// Cap on segment files; default none. An append beyond it is ENOSPC, and nothing happened.
    pub fn max_bytes(mut self, bytes: u64) -> JournalOptions {
        self.max_bytes = bytes;
        self
    }
    /// Spare segments that only [`Journal::append_emergency`] may use; default 0.
    pub fn reserve_segments(mut self, count: u32) -> JournalOptions {
        self.reserve_segments = count;
        self
    }

    /// Most spare segments kept besides; default 2.
    pub fn spare_segments(mut self, count: u32) -> JournalOptions {
        self.spare_segments = if count == 0 { u32::MAX } else { count };
        self
    }
    /// Flushes are padded to this: a power of two, 512 to 65536; default 4096, no less than the
    /// device's physical sector.
    pub fn block_bytes(mut self, bytes: u32) -> JournalOptions {
        self.block_bytes = bytes;
        self
    }
    /// Longest wait of an append for room in the log buffer (ETIMEDOUT); default 30 s.
    pub fn append_timeout(mut self, time: Duration) -> JournalOptions {
        self.append_timeout_ns = time.as_nanos().clamp(1, i64::MAX as u128) as u64;
        self
    }

    /// Opens a journal for writing: recovers it, cuts a torn tail, begins a new segment. The
    /// directory is created when absent.
    ///
    /// [`Kind::Corrupt`](crate::Kind::Corrupt): acknowledged bytes are missing; nothing was changed,
    /// see [`check_journal`] and [`salvage_journal`]. [`Kind::Locked`](crate::Kind::Locked): somebody
    /// has it open.
    pub fn open(&self, engine: &Engine, path: impl AsRef<Path>) -> Result<Journal> {
        let path = path_to_c(path.as_ref())?;
        let engine = engine.inner().borrow()?;
        let mut raw = null_mut();
        let mut report = Report::empty();
        check_with_text(|text, size| {
            // SAFETY: all-zero is a valid fsys_journal_options.
            let mut options: sys::fsys_journal_options = unsafe { zeroed() };
            options.struct_size = size_of::<sys::fsys_journal_options>() as u32;
            options.flags = self.flags;
            options.mode = match self.mode {
                Mode::Auto => sys::FSYS_JOURNAL_MODE_AUTO,
                Mode::Direct => sys::FSYS_JOURNAL_MODE_DIRECT,
                Mode::Buffered => sys::FSYS_JOURNAL_MODE_BUFFERED,
            };
            options.preallocate = match self.preallocate {
                Preallocate::Recycle => sys::FSYS_JOURNAL_RECYCLE,
                Preallocate::Zero => sys::FSYS_JOURNAL_ZERO,
                Preallocate::Extent => sys::FSYS_JOURNAL_EXTENT,
                Preallocate::None => sys::FSYS_JOURNAL_NONE,
            };
            options.segment_bytes = self.segment_bytes;
            options.buffer_bytes = self.buffer_bytes;
            options.max_bytes = self.max_bytes;
            options.block_bytes = self.block_bytes;
            options.reserve_segments = self.reserve_segments;
            options.spare_segments = self.spare_segments;
            options.append_timeout_ns = self.append_timeout_ns;
            options.error_text = text;
            options.error_text_size = size;
            let handle = engine.engine().raw();
            // SAFETY: path, options, report (which states its size) and output live through the
            // call.
            unsafe {
                sys::fsys_journal_open(handle, path.as_ptr(), &options, &mut report, &mut raw)
            }
        })?;
        let report = Report::from_c(&report);
        Ok(Journal {
            inner: Arc::new(JournalInner { raw, closed: AtomicBool::new(false), engine }),
            report,
        })
    }
}

pub(crate) struct JournalInner {
    pub(crate) raw: *mut sys::fsys_journal,
    closed: AtomicBool,
    engine: Borrow,
}

// SAFETY: `raw` is an id that the library looks up; every call made with it is documented as "Any
// thread."
unsafe impl Send for JournalInner {}
// SAFETY: as above.
unsafe impl Sync for JournalInner {}

impl JournalInner {
    pub(crate) fn engine(&self) -> &Arc<EngineInner> {
        self.engine.engine()
    }
}

impl Drop for JournalInner {
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            // SAFETY: open; tickets borrow the Journal, so none is left.
            unsafe { sys::fsys_journal_close(self.raw) };
        }
    }
}

/// How far a journal is. Each is at most the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frontiers {
    /// Positions handed out.
    pub reserved: Lsn,
    /// Complete in memory, as the last flush saw it.
    pub published: Lsn,
    /// Given to the kernel.
    pub written: Lsn,
    /// Safe.
    pub durable: Lsn,
    /// After a failure: what lies in (start, end] may be there.
    pub unknown: Option<(Lsn, Lsn)>,
}

/// A write-ahead journal, open for writing. Share it by reference or in an `Arc`; threads that
/// commit at the same time share their flushes.
///
/// **Three outcomes of a commit.** `Ok`: durable. [`Kind::Poisoned`](crate::Kind::Poisoned): failed,
/// and not there. [`Kind::Unknown`](crate::Kind::Unknown): failed, and perhaps there; opening again
/// tells. A failure is sticky.
pub struct Journal {
    inner: Arc<JournalInner>,
    report: Report,
}

impl Journal {
    /// Opens with all defaults, see [`JournalOptions::open`].
    pub fn open(engine: &Engine, path: impl AsRef<Path>) -> Result<Journal> {
        JournalOptions::new().open(engine, path)
    }

    /// What recovery found when the journal was opened.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Appends a record (its bytes are copied); nothing is durable yet. ENOSPC: nothing happened,
    /// trim and go on.
    pub fn append(&self, record: &[u8]) -> Result<Lsn> {
        self.append_with(record, 0)
    }
    /// As [`append`](Self::append), but EAGAIN instead of waiting for room in the log buffer.
    pub fn try_append(&self, record: &[u8]) -> Result<Lsn> {
        self.append_with(record, sys::FSYS_JOURNAL_NONBLOCK)
    }
    /// As [`append`](Self::append), into the reserve segments too.
    pub fn append_emergency(&self, record: &[u8]) -> Result<Lsn> {
        self.append_with(record, sys::FSYS_JOURNAL_EMERGENCY)
    }
    fn append_with(&self, record: &[u8], flags: u32) -> Result<Lsn> {
        let mut lsn = 0;
        // SAFETY: the bytes are copied within the call.
        check(unsafe {
            sys::fsys_journal_append(
                self.inner.raw,
                record.as_ptr().cast(),
                record.len(),
                flags,
                &mut lsn,
            )
        })?;
        Ok(lsn)
    }
    /// Appends one record gathered from at most 1024 pieces.
    pub fn append_vectored(&self, pieces: &[IoSlice<'_>]) -> Result<Lsn> {
        let mut lsn = 0;
        // SAFETY: IoSlice has the layout of struct iovec, as fsys_iovec; copied within the call.
        check(unsafe {
            sys::fsys_journal_appendv(
                self.inner.raw,
                pieces.as_ptr().cast(),
                count(pieces.len())?,
                0,
                &mut lsn,
            )
        })?;
        Ok(lsn)
    }
    /// Appends 1 to 65536 records that are all there after a crash, or none. The last one's LSN.
    pub fn append_batch(&self, records: &[IoSlice<'_>]) -> Result<Lsn> {
        let mut lsn = 0;
        // SAFETY: as in append_vectored().
        check(unsafe {
            sys::fsys_journal_append_batch(
                self.inner.raw,
                records.as_ptr().cast(),
                count(records.len())?,
                0,
                &mut lsn,
                null_mut(),
            )
        })?;
        Ok(lsn)
    }
    /// Reserves the place of a record, to be written without a copy: at most 1 MiB, a quarter of the
    /// log buffer and half a segment (EMSGSIZE).
    pub fn reserve(&self, length: usize) -> Result<Ticket<'_>> {
        // SAFETY: all-zero is a valid fsys_journal_ticket.
        let mut raw: sys::fsys_journal_ticket = unsafe { zeroed() };
        // SAFETY: the output lives through the call.
        check(unsafe { sys::fsys_journal_reserve(self.inner.raw, length, 0, &mut raw) })?;
        Ok(Ticket { raw, journal: self, open: true })
    }

    /// Waits until everything through `lsn` is durable.
    pub fn sync(&self, lsn: Lsn) -> Result<()> {
        self.sync_timeout(lsn, None)
    }
    /// As [`sync`](Self::sync); ETIMEDOUT: not yet, it may still become durable.
    pub fn sync_timeout(&self, lsn: Lsn, timeout: Option<Duration>) -> Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_journal_sync(self.inner.raw, lsn, nanoseconds(timeout)) })
            .map(drop)
    }
    /// Appends and waits until durable.
    pub fn commit(&self, record: &[u8]) -> Result<Lsn> {
        let mut lsn = 0;
        // SAFETY: the bytes are copied within the call.
        check(unsafe {
            sys::fsys_journal_commit(
                self.inner.raw,
                record.as_ptr().cast(),
                record.len(),
                0,
                sys::FSYS_FOREVER,
                &mut lsn,
            )
        })?;
        Ok(lsn)
    }
    /// Asks for everything through `lsn` to become durable. Not on a [`LocalEngine`](crate::LocalEngine)
    /// (EOPNOTSUPP).
    pub fn submit_sync(&self, lsn: Lsn) -> Op<Committing> {
        self.inner.engine().start(Committing { journal: self.inner.clone(), lsn })
    }
    /// Appends now, and gives a future that has the LSN once it is durable.
    pub fn submit_commit(&self, record: &[u8]) -> Result<Op<Committing>> {
        Ok(self.submit_sync(self.append(record)?))
    }
    /// Gives everything published to the kernel: it then survives this process, not power loss.
    pub fn write_out(&self) -> Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_journal_write_out(self.inner.raw) }).map(drop)
    }

    /// How far things are, read without a lock.
    pub fn frontiers(&self) -> Result<Frontiers> {
        // SAFETY: all-zero is a valid fsys_journal_frontiers.
        let mut raw: sys::fsys_journal_frontiers = unsafe { zeroed() };
        // SAFETY: the output lives through the call.
        check(unsafe { sys::fsys_journal_frontier(self.inner.raw, &mut raw) })?;
        Ok(Frontiers {
            reserved: raw.reserved,
            published: raw.published,
            written: raw.written,
            durable: raw.durable,
            unknown: if raw.unknown_hi == 0 {
                None
            } else {
                Some((raw.unknown_lo, raw.unknown_hi))
            },
        })
    }
    /// Gives up records at or below `lsn` (at most the durable frontier), in whole segments and no
    /// further than the pins allow.
    pub fn trim(&self, lsn: Lsn) -> Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_journal_trim(self.inner.raw, lsn) }).map(drop)
    }
    /// Withdraws all records behind `lsn`, the LSN of a record or of a batch's last. EBUSY while a
    /// ticket is open.
    pub fn truncate(&self, lsn: Lsn) -> Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_journal_truncate(self.inner.raw, lsn) }).map(drop)
    }
    /// Makes everything durable and seals the active segment. EBUSY while a ticket is open.
    pub fn rotate(&self) -> Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_journal_rotate(self.inner.raw) }).map(drop)
    }
    /// A future of the number of the oldest sealed segment that is numbered above `after`, at once or
    /// as soon as there is one; [`segments`](Self::segments) tells its name. Who ships files begins
    /// with 0 and asks again with each number that came: none is missed but those that were trimmed
    /// meanwhile.
    ///
    /// [`Kind::Stale`](crate::Kind::Stale): a truncation withdrew segment `after`, or it is not
    /// sealed. [`Kind::Closed`](crate::Kind::Closed): the journal was closed, which such a future does
    /// not prevent.
    pub fn submit_sealed(&self, after: u64) -> Op<Sealing> {
        self.inner.engine().start(Sealing { raw: self.inner.raw, after })
    }
    /// Keeps what is behind `lsn` from being trimmed, also after reopening. A pin that would hold
    /// back more than `max_bytes` (0: no limit) is dropped.
    pub fn pin(&self, name: &str, lsn: Lsn, max_bytes: u64) -> Result<()> {
        let name = pin_name(name)?;
        // SAFETY: the name lives through the call.
        check(unsafe { sys::fsys_journal_pin(self.inner.raw, name.as_ptr(), lsn, max_bytes) })
            .map(drop)
    }
    /// Removes a pin. ENOENT: none of this name.
    pub fn unpin(&self, name: &str) -> Result<()> {
        let name = pin_name(name)?;
        // SAFETY: the name lives through the call.
        check(unsafe { sys::fsys_journal_unpin(self.inner.raw, name.as_ptr()) }).map(drop)
    }
    /// The pins, by name.
    pub fn pins(&self) -> Result<Vec<Pin>> {
        list(Pin::from_c, |out, max| {
            // SAFETY: `out` has room for `max`.
            unsafe { sys::fsys_journal_pins(self.inner.raw, out, max) }
        })
    }
    /// The segment files, oldest first. Sealed ones never change.
    pub fn segments(&self) -> Result<Vec<Segment>> {
        list(Segment::from_c, |out, max| {
            // SAFETY: `out` has room for `max`.
            unsafe { sys::fsys_journal_segments(self.inner.raw, out, max) }
        })
    }
    /// Copies what is kept, up to `lsn` (0: all that is durable), into a new directory, as a clean
    /// journal. Commits go on meanwhile.
    pub fn snapshot(&self, lsn: Lsn, path: impl AsRef<Path>) -> Result<()> {
        let path = path_to_c(path.as_ref())?;
        // SAFETY: the path lives through the call.
        check(unsafe { sys::fsys_journal_snapshot(self.inner.raw, lsn, path.as_ptr()) }).map(drop)
    }
    /// Counters since the journal was opened: `fsys_journal_stats` of `fsys/journal.h`.
    pub fn stats(&self) -> Result<sys::fsys_journal_stats> {
        // SAFETY: all-zero is a valid fsys_journal_stats.
        let mut raw: sys::fsys_journal_stats = unsafe { zeroed() };
        raw.struct_size = size_of::<sys::fsys_journal_stats>() as u32;
        // SAFETY: the struct states its size.
        check(unsafe { sys::fsys_journal_stat(self.inner.raw, &mut raw) })?;
        Ok(raw)
    }
    /// The sentence behind a failure, or None.
    pub fn cause(&self) -> Option<String> {
        // SAFETY: the library writes at most `size` bytes.
        cause(|text, size| unsafe { sys::fsys_journal_cause(self.inner.raw, text, size) })
    }

    /// A reader of durable records, from the first whose LSN is above `from`; 0: the oldest kept.
    /// The journal stays open until its readers are dropped.
    pub fn reader(&self, from: Lsn) -> Result<Reader> {
        Reader::of_journal(&self.inner, from, 0)
    }
    /// As [`reader`](Self::reader), up to the written frontier: power loss may still take such
    /// records back.
    pub fn reader_of_written(&self, from: Lsn) -> Result<Reader> {
        Reader::of_journal(&self.inner, from, sys::FSYS_JOURNAL_READ_WRITTEN)
    }

    /// Makes everything durable and closes in order. EBUSY while a reader made from it is there; it
    /// then closes when the last one is dropped. Dropping a journal closes too, but tells nobody of a
    /// failure.
    pub fn close(self) -> Result<()> {
        // SAFETY: open; tickets borrow the Journal, so none is left.
        let code = unsafe { sys::fsys_journal_close(self.inner.raw) };
        if code != -crate::error::EBUSY {
            self.inner.closed.store(true, Ordering::Relaxed);
        }
        check(code).map(drop)
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Journal").field(&self.inner.raw).finish()
    }
}

fn count(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| Error::with_text(-EINVAL, "too many pieces"))
}

fn pin_name(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| Error::with_text(-EINVAL, "the name holds a NUL byte"))
}

/// A place for a record in the log buffer. Write to it, then [`publish`](Ticket::publish); dropping
/// abandons it. What it holds at first is unspecified.
///
/// Until then nothing behind it becomes durable, so be quick.
pub struct Ticket<'a> {
    raw: sys::fsys_journal_ticket,
    journal: &'a Journal,
    open: bool,
}

// SAFETY: publish and abandon are for any thread; the memory is this value's alone.
unsafe impl Send for Ticket<'_> {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for Ticket<'_> {}

impl Ticket<'_> {
    /// Makes the bytes a record; its LSN.
    pub fn publish(mut self) -> Result<Lsn> {
        self.open = false;
        let mut lsn = 0;
        // SAFETY: an open ticket of an open journal; nobody writes to its memory any more.
        check(unsafe { sys::fsys_journal_publish(self.journal.inner.raw, &self.raw, &mut lsn) })?;
        Ok(lsn)
    }
}

impl Deref for Ticket<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        if self.raw.length == 0 {
            return &[];
        }
        // SAFETY: `length` bytes of the mapped log buffer that are this ticket's until it is
        // published or abandoned, which takes or drops it; the journal, borrowed, stays open.
        unsafe { std::slice::from_raw_parts(self.raw.memory.cast(), self.raw.length as usize) }
    }
}

impl DerefMut for Ticket<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        if self.raw.length == 0 {
            return &mut [];
        }
        // SAFETY: as above, borrowed uniquely.
        unsafe { std::slice::from_raw_parts_mut(self.raw.memory.cast(), self.raw.length as usize) }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.open {
            // SAFETY: an open ticket of an open journal.
            unsafe { sys::fsys_journal_abandon(self.journal.inner.raw, &self.raw) };
        }
    }
}

/// Payload of [`Journal::submit_sync`] and [`Journal::submit_commit`]: gives the LSN through which
/// everything is durable.
pub struct Committing {
    journal: Arc<JournalInner>,
    lsn: Lsn,
}

impl Submit for Committing {
    fn submit(&mut self, key: u64, _flags: u32) -> i32 {
        // SAFETY: no memory is passed.
        unsafe { sys::fsys_journal_submit_sync(self.journal.raw, self.lsn, key, null_mut()) }
    }
}

impl Payload for Committing {
    type Output = Result<Lsn>;
    fn finish(self, result: &sys::fsys_result) -> Result<Lsn> {
        check_count(result.result).map(|_| self.lsn)
    }
    fn refused(self, code: i32) -> Result<Lsn> {
        Err(Error::new(code))
    }
    fn lost(code: i32) -> Result<Lsn> {
        Err(Error::new(code))
    }
}

impl Op<Committing> {
    /// The LSN that is waited for.
    pub fn lsn(&self) -> Lsn {
        self.with_payload(|payload| payload.lsn)
    }
}

/// Payload of [`Journal::submit_sealed`]: gives the number of a segment.
pub struct Sealing {
    // Not an owner: closing the journal is what ends a wait for a segment that never comes.
    raw: *mut sys::fsys_journal,
    after: u64,
}

// SAFETY: `raw` is an id that the library looks up, also of a journal that is closed.
unsafe impl Send for Sealing {}

impl Submit for Sealing {
    fn submit(&mut self, key: u64, _flags: u32) -> i32 {
        // SAFETY: no memory is passed.
        unsafe { sys::fsys_journal_submit_sealed(self.raw, self.after, key, null_mut()) }
    }
}

impl Payload for Sealing {
    type Output = Result<u64>;
    fn finish(self, result: &sys::fsys_result) -> Result<u64> {
        if result.result == -i64::from(ECANCELED) {
            return Err(Error::new(sys::FSYS_E_CLOSED)); // but for its drop nothing else cancels it
        }
        check_count(result.result).map(|number| number as u64)
    }
    fn refused(self, code: i32) -> Result<u64> {
        Err(Error::new(code))
    }
    fn lost(code: i32) -> Result<u64> {
        Err(Error::new(code))
    }
}
