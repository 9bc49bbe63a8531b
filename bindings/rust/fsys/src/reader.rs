// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Readers of a journal.
use crate::check::Report;
use crate::completion::nanoseconds;
use crate::engine::{Borrow, Engine};
use crate::error::{check, Error, Result};
use crate::journal::{JournalInner, Lsn};
use crate::path_to_c;
use fsys_sys as sys;
use std::fmt;
use std::mem::zeroed;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

/// A record that a reader found, in the library's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// Position just past the record.
    pub lsn: Lsn,
    /// Position of its first byte.
    pub start: Lsn,
    /// It was written in.
    pub epoch: u64,
    /// The record's bytes.
    pub data: &'a [u8],
}

/// What [`Reader::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// A record.
    Record(Record<'a>),
    /// Nothing more within the bound and the timeout.
    End,
    /// What lay in `from..to` was trimmed; the next call goes on at `to`.
    Gap {
        /// First position that is gone.
        from: Lsn,
        /// First position that is there.
        to: Lsn,
    },
    /// Damage; the next call finds the same, see [`Reader::skip_damage`].
    Damage {
        /// Where.
        at: Lsn,
    },
    /// Records behind `lsn` that were read have been withdrawn.
    EpochChanged {
        /// The last LSN that still holds.
        lsn: Lsn,
    },
}

/// Reads a journal forward, and follows it as it grows.
///
/// `Send`, but for one thread at a time.
pub struct Reader {
    raw: *mut sys::fsys_journal_reader,
    // Dropped in this order after the reader itself is closed: first the journal, then the engine.
    _journal: Option<Arc<JournalInner>>,
    _engine: Borrow,
}

// SAFETY: the C text allows any thread, one at a time; every method that reads takes &mut self.
unsafe impl Send for Reader {}

impl Reader {
    pub(crate) fn of_journal(journal: &Arc<JournalInner>, from: Lsn, flags: u32) -> Result<Reader> {
        let engine = journal.engine().borrow()?;
        let mut raw = null_mut();
        // SAFETY: the output lives through the call.
        check(unsafe { sys::fsys_journal_reader_open(journal.raw, from, flags, &mut raw) })?;
        Ok(Reader { raw, _journal: Some(journal.clone()), _engine: engine })
    }

    /// Opens a reader on a journal's directory: beside a writer in another process it follows that
    /// one, without a writer it reads up to what recovery would keep. Takes no lock and changes
    /// nothing.
    ///
    /// `from`: the first record is the one whose LSN is above; 0: the oldest kept.
    pub fn open(engine: &Engine, path: impl AsRef<Path>, from: Lsn) -> Result<(Reader, Report)> {
        let path = path_to_c(path.as_ref())?;
        let engine = engine.inner().borrow()?;
        let mut raw = null_mut();
        let mut report = Report::empty();
        // SAFETY: path, report (which states its size) and output live through the call.
        let code = unsafe {
            sys::fsys_journal_reader_open_path(
                engine.engine().raw(),
                path.as_ptr(),
                from,
                0,
                &mut report,
                &mut raw,
            )
        };
        let report = Report::from_c(&report);
        if code < 0 {
            return Err(Error::with_text(code, report.text));
        }
        Ok((Reader { raw, _journal: None, _engine: engine }, report))
    }

    /// The next record, waiting up to `timeout` (None: without limit) for one. A record's bytes are
    /// valid until the next call.
    #[allow(clippy::should_implement_trait)] // it lends, which Iterator cannot
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Entry<'_>> {
        // SAFETY: all-zero is a valid fsys_journal_record.
        let mut found: sys::fsys_journal_record = unsafe { zeroed() };
        // SAFETY: the output lives through the call.
        check(unsafe {
            sys::fsys_journal_reader_next(self.raw, nanoseconds(timeout), &mut found)
        })?;
        Ok(match found.kind {
            sys::FSYS_JOURNAL_RECORD => {
                let data = if found.length == 0 {
                    &[][..]
                } else {
                    // SAFETY: the library's memory, `length` bytes that stay until the next call on
                    // the reader: &mut self is borrowed till then, and the engine and the journal
                    // cannot close while this reader exists.
                    unsafe {
                        std::slice::from_raw_parts(found.data.cast::<u8>(), found.length as usize)
                    }
                };
                Entry::Record(Record {
                    lsn: found.lsn,
                    start: found.start,
                    epoch: found.epoch,
                    data,
                })
            }
            sys::FSYS_JOURNAL_END => Entry::End,
            sys::FSYS_JOURNAL_GAP => Entry::Gap { from: found.start, to: found.lsn },
            sys::FSYS_JOURNAL_DAMAGE => Entry::Damage { at: found.start },
            sys::FSYS_JOURNAL_EPOCH_CHANGED => Entry::EpochChanged { lsn: found.lsn },
            _ => return Err(Error::with_text(sys::FSYS_E_BAD_FLAG, "a kind of entry not known")),
        })
    }

    /// Goes to the first record whose LSN is above `from`.
    pub fn seek(&mut self, from: Lsn) -> Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_journal_reader_seek(self.raw, from) }).map(drop)
    }

    /// After [`Entry::Damage`]: goes to the next readable frame. What lies in the returned range is
    /// lost. [`Kind::Nothing`](crate::Kind::Nothing) when nothing readable is behind it.
    pub fn skip_damage(&mut self) -> Result<std::ops::Range<Lsn>> {
        let (mut from, mut to) = (0, 0);
        // SAFETY: the outputs live through the call.
        check(unsafe { sys::fsys_journal_reader_skip_damage(self.raw, &mut from, &mut to) })?;
        Ok(from..to)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: open; nobody borrows its memory any more.
        unsafe { sys::fsys_journal_reader_close(self.raw) };
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.raw).finish()
    }
}
