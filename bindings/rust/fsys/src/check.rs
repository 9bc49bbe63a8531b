// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a journal is found to be: reports, positions, segments, pins; without opening it for writing.
use crate::error::{check, from_chars, Error, Result};
use crate::journal::Lsn;
use crate::path_to_c;
use fsys_sys as sys;
use std::mem::{size_of, zeroed};
use std::path::Path;

/// What opening, or a check, came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// There was no journal.
    Fresh,
    /// It ends with a whole record.
    Clean,
    /// It ended with bytes that nobody had been promised: cut.
    Torn,
    /// Acknowledged bytes are not there.
    Damaged,
    /// It could not be read: neither torn nor damaged.
    IoError,
}

/// What opening, or a check, found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// In one word.
    pub verdict: Verdict,
    /// In one sentence.
    pub text: String,
    /// First position that is kept.
    pub first_lsn: Lsn,
    /// New records begin behind this.
    pub end_lsn: Lsn,
    /// The torn tail, empty when there was none.
    pub cut: std::ops::Range<Lsn>,
    /// Position of the first damage.
    pub damage_lsn: Lsn,
    /// In force.
    pub epoch: u64,
    /// Whole records in what was scanned.
    pub records: u64,
    /// File in the journal's directory with the cut bytes, or "".
    pub kept_name: String,
    /// FSYS_JOURNAL_RULE_*: what the verdict rests on.
    pub rule: u32,
    /// Another handle or process had it open for writing, and says this.
    pub writer: bool,
}

impl Report {
    pub(crate) fn empty() -> sys::fsys_journal_report {
        // SAFETY: all-zero is a valid fsys_journal_report.
        let mut report: sys::fsys_journal_report = unsafe { zeroed() };
        report.struct_size = size_of::<sys::fsys_journal_report>() as u32;
        report
    }

    pub(crate) fn from_c(raw: &sys::fsys_journal_report) -> Report {
        Report {
            verdict: match raw.verdict {
                sys::FSYS_JOURNAL_FRESH => Verdict::Fresh,
                sys::FSYS_JOURNAL_CLEAN => Verdict::Clean,
                sys::FSYS_JOURNAL_TORN => Verdict::Torn,
                sys::FSYS_JOURNAL_DAMAGED => Verdict::Damaged,
                _ => Verdict::IoError,
            },
            text: from_chars(&raw.text),
            first_lsn: raw.first_lsn,
            end_lsn: raw.end_lsn,
            cut: raw.cut_from..raw.cut_to,
            damage_lsn: raw.damage_lsn,
            epoch: raw.epoch,
            records: raw.records,
            kept_name: from_chars(&raw.kept_name),
            rule: raw.rule,
            writer: raw.writer != 0,
        }
    }
}

/// Comes to the verdict that opening would, and changes nothing. `deep` reads every frame. A damaged
/// journal is a report, not an error.
pub fn check_journal(path: impl AsRef<Path>, deep: bool) -> Result<Report> {
    let path = path_to_c(path.as_ref())?;
    let mut raw = Report::empty();
    let flags = if deep { sys::FSYS_JOURNAL_DEEP } else { 0 };
    // SAFETY: path and report (which states its size) live through the call.
    let code = unsafe { sys::fsys_journal_check(path.as_ptr(), flags, &mut raw) };
    let report = Report::from_c(&raw);
    if code < 0 && code != sys::FSYS_E_CORRUPT {
        return Err(Error::with_text(code, report.text));
    }
    Ok(report)
}

/// Copies every readable record of a journal that nobody has open into a new journal. How many
/// records were copied, and how many ranges could not be read.
pub fn salvage_journal(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(u64, u64)> {
    let (from, to) = (path_to_c(from.as_ref())?, path_to_c(to.as_ref())?);
    let (mut records, mut lost) = (0, 0);
    // SAFETY: paths and outputs live through the call.
    check(unsafe {
        sys::fsys_journal_salvage(from.as_ptr(), to.as_ptr(), &mut records, &mut lost)
    })?;
    Ok((records, lost))
}

/// Copies a journal that is not open here, also beside a writer in another process, into a new
/// directory, as a clean journal with the same LSNs: what is kept, up to `lsn` (0: all that is
/// durable, or without a writer all that opening would keep). Holds nothing up.
///
/// ENOTEMPTY: `to` holds something. EINVAL: `lsn` is not durable, not kept or not the LSN of a record.
/// EAGAIN: it was trimmed or withdrawn while it was copied; remove `to` and repeat.
/// [`Kind::Corrupt`](crate::Kind::Corrupt). After a failure `to` is no whole journal.
pub fn snapshot_journal(from: impl AsRef<Path>, lsn: Lsn, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (path_to_c(from.as_ref())?, path_to_c(to.as_ref())?);
    // SAFETY: the paths live through the call.
    check(unsafe { sys::fsys_journal_snapshot_path(from.as_ptr(), lsn, to.as_ptr()) }).map(drop)
}

/// A segment file of a journal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Segment {
    /// In the journal's directory.
    pub name: String,
    /// One more than the one before it.
    pub number: u64,
    /// Of all its records.
    pub epoch: u64,
    /// Position of its first byte.
    pub first_lsn: Lsn,
    /// Where its records end; of the active one, where its room ends.
    pub end_lsn: Lsn,
    /// Up to `end_lsn`.
    pub file_bytes: u64,
    /// Immutable from now on.
    pub sealed: bool,
}

/// A named position that keeps what is behind it from being trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pin {
    /// Its name.
    pub name: String,
    /// What lies behind it is kept.
    pub lsn: Lsn,
    /// 0: no limit.
    pub max_bytes: u64,
}

impl Segment {
    pub(crate) fn from_c(raw: &sys::fsys_journal_segment) -> Segment {
        Segment {
            name: from_chars(&raw.name),
            number: raw.number,
            epoch: raw.epoch,
            first_lsn: raw.first_lsn,
            end_lsn: raw.end_lsn,
            file_bytes: raw.file_bytes,
            sealed: raw.sealed != 0,
        }
    }
}

impl Pin {
    pub(crate) fn from_c(raw: &sys::fsys_journal_pinned) -> Pin {
        Pin { name: from_chars(&raw.name), lsn: raw.lsn, max_bytes: raw.max_bytes }
    }
}

/// The segments of a journal that is not open here, oldest first.
pub fn list_segments(path: impl AsRef<Path>) -> Result<Vec<Segment>> {
    let path = path_to_c(path.as_ref())?;
    list(Segment::from_c, |out, max| {
        // SAFETY: the path lives through the call, `out` has room for `max`.
        unsafe { sys::fsys_journal_list_segments(path.as_ptr(), out, max) }
    })
}

/// The pins of a journal that is not open here, by name.
pub fn list_pins(path: impl AsRef<Path>) -> Result<Vec<Pin>> {
    let path = path_to_c(path.as_ref())?;
    list(Pin::from_c, |out, max| {
        // SAFETY: the path lives through the call, `out` has room for `max`.
        unsafe { sys::fsys_journal_list_pins(path.as_ptr(), out, max) }
    })
}

/// What lies at a position of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A whole record.
    Record,
    /// The fill of a block or of a segment's end.
    Pad,
    /// Given up by its owner.
    Trimmed,
    /// Nothing: the log ends before it.
    End,
    /// Bytes that nobody had been promised, which opening cuts.
    Torn,
    /// Bytes that had been durable and cannot be read.
    Damaged,
}

/// What [`explain_journal`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// In one word.
    pub place: Place,
    /// In one sentence: by which rule, and what proves it.
    pub text: String,
    /// FSYS_JOURNAL_RULE_*.
    pub rule: u32,
    /// Position of the first byte of what lies there, and of what is behind it.
    pub range: std::ops::Range<Lsn>,
    /// Through this LSN all had been durable, says the proof; 0: there is none.
    pub proof_durable_lsn: Lsn,
    /// File in the journal's directory, or "".
    pub segment_name: String,
    /// Of the asked position in that file.
    pub file_offset: u64,
}

/// Tells what lies at a position (a record's bytes lie *below* its LSN), by which rule, and what
/// proves it. Changes nothing.
pub fn explain_journal(path: impl AsRef<Path>, position: Lsn) -> Result<Finding> {
    let path = path_to_c(path.as_ref())?;
    // SAFETY: all-zero is a valid fsys_journal_finding.
    let mut raw: sys::fsys_journal_finding = unsafe { zeroed() };
    raw.struct_size = size_of::<sys::fsys_journal_finding>() as u32;
    // SAFETY: path and finding (which states its size) live through the call.
    let code = unsafe { sys::fsys_journal_explain(path.as_ptr(), position, &mut raw) };
    let text = from_chars(&raw.text);
    if code < 0 {
        return Err(Error::with_text(code, text));
    }
    let place = match raw.state {
        sys::FSYS_JOURNAL_AT_RECORD => Place::Record,
        sys::FSYS_JOURNAL_AT_PAD => Place::Pad,
        sys::FSYS_JOURNAL_AT_TRIMMED => Place::Trimmed,
        sys::FSYS_JOURNAL_AT_END => Place::End,
        sys::FSYS_JOURNAL_AT_TORN => Place::Torn,
        sys::FSYS_JOURNAL_AT_DAMAGED => Place::Damaged,
        _ => return Err(Error::with_text(sys::FSYS_E_BAD_FLAG, text)),
    };
    Ok(Finding {
        place,
        text,
        rule: raw.rule,
        range: raw.start..raw.end,
        proof_durable_lsn: raw.proof_durable_lsn,
        segment_name: from_chars(&raw.segment_name),
        file_offset: raw.file_offset,
    })
}

/// Calls until there was room for all: the calls return how many there are.
pub(crate) fn list<C, T>(
    convert: fn(&C) -> T,
    call: impl Fn(*mut C, u32) -> i32,
) -> Result<Vec<T>> {
    let mut items: Vec<C> = Vec::with_capacity(16);
    loop {
        let max = items.capacity();
        let there = check(call(items.as_mut_ptr(), max as u32))? as usize;
        if there <= max {
            // SAFETY: that many have been written.
            unsafe { items.set_len(there) };
            return Ok(items.iter().map(convert).collect());
        }
        items.reserve(there + 8);
    }
}
