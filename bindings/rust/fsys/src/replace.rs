// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Replacing whole files, one or many, at once or piece by piece; copying.
use crate::buf::IoBuf;
use crate::engine::{Borrow, Engine, EngineInner};
use crate::error::{check, from_chars, Error, Result};
use crate::file::File;
use crate::names::Lifetime;
use crate::op::{Op, Payload, Submit};
use crate::path_to_c;
use fsys_sys as sys;
use std::ffi::{CStr, CString};
use std::mem::{size_of, zeroed};
use std::os::raw::{c_char, c_int};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::{fmt, io};

/// What has reached stable storage when a call returns success. Each includes the one above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing is synced: survives the process, not power loss.
    None,
    /// The bytes, and what is needed to find them: length, extents, name.
    Data,
    /// Mode, owner, attributes and times too. The default.
    Full,
    /// Full, then the cache of the device is flushed by a command of its own.
    Device,
}

impl Durability {
    pub(crate) fn to_c(self) -> u32 {
        match self {
            Durability::None => sys::FSYS_DURABILITY_NONE,
            Durability::Data => sys::FSYS_DURABILITY_DATA,
            Durability::Full => sys::FSYS_DURABILITY_FULL,
            Durability::Device => sys::FSYS_DURABILITY_DEVICE,
        }
    }

    fn from_c(raw: u32) -> Durability {
        match raw {
            sys::FSYS_DURABILITY_DATA => Durability::Data,
            sys::FSYS_DURABILITY_FULL => Durability::Full,
            sys::FSYS_DURABILITY_DEVICE => Durability::Device,
            _ => Durability::None,
        }
    }
}

const TEXT: usize = 512;

/// Room for the library's sentence, at a place that does not move. A raw pointer, since the library
/// keeps a copy of it for as long as a replacement or an op lives.
pub(crate) struct Text(*mut [c_char; TEXT]);

// SAFETY: one owner; the library writes only within calls and ops of whoever owns it.
unsafe impl Send for Text {}

impl Text {
    pub(crate) fn new() -> Text {
        Text(Box::into_raw(Box::new([0; TEXT])))
    }
    pub(crate) fn memory(&mut self) -> *mut c_char {
        self.0.cast()
    }
    pub(crate) fn size(&self) -> usize {
        TEXT
    }
    /// Of a call or an op that has ended.
    pub(crate) fn error(&self, code: c_int) -> Error {
        // SAFETY: from Box::into_raw; nobody writes to it now.
        let text: &[c_char; TEXT] = unsafe { &*self.0 };
        Error::with_text(code, from_chars(text))
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // SAFETY: from Box::into_raw, and the call or op has ended.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// What a call did, also when it failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileReport {
    /// Whoever opens the name finds the new bytes.
    pub visible: bool,
    /// What was reached.
    pub durability: Durability,
    /// Length of the new file, as far as it was written.
    pub bytes: u64,
    /// Hard links that still show the old bytes.
    pub other_links: u64,
    /// FSYS_KEEP_* that were wanted and could not be, which was no failure.
    pub not_kept: u32,
    /// FSYS_FILE_STEP_* that failed.
    pub step: u32,
    /// FSYS_COPY_*: how a copy was made.
    pub method: u32,
}

fn empty_report() -> sys::fsys_file_report {
    // SAFETY: all-zero is a valid fsys_file_report.
    let mut report: sys::fsys_file_report = unsafe { zeroed() };
    report.struct_size = size_of::<sys::fsys_file_report>() as u32;
    report
}

impl FileReport {
    fn from_c(raw: &sys::fsys_file_report) -> FileReport {
        FileReport {
            visible: raw.visible != 0,
            durability: Durability::from_c(raw.durability),
            bytes: raw.bytes,
            other_links: raw.other_links,
            not_kept: raw.not_kept,
            step: raw.step,
            method: raw.method,
        }
    }
}

/// A failure, and how far the call had come. `report.visible` with a failure: the new bytes are
/// there, and whether they are durable is not known.
pub struct FileError<B = ()> {
    /// Why.
    pub error: Error,
    /// How far.
    pub report: FileReport,
    /// Of an asynchronous call: the buffer, unless the library may still be using it.
    pub buffer: Option<B>,
}

impl<B> fmt::Debug for FileError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileError")
            .field("error", &self.error)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl<B> fmt::Display for FileError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<B> std::error::Error for FileError<B> {}

impl<B> From<FileError<B>> for Error {
    fn from(failure: FileError<B>) -> Error {
        failure.error
    }
}

impl<B> From<FileError<B>> for io::Error {
    fn from(failure: FileError<B>) -> io::Error {
        failure.error.into()
    }
}

/// Result of a call that replaces a file.
pub type FileResult = std::result::Result<FileReport, FileError>;

fn early(error: Error) -> FileError {
    FileError { error, report: FileReport::from_c(&empty_report()), buffer: None }
}

/// How to replace or copy a file. By default: fully durable; mode, owner and ACL of the old file are
/// kept.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let dir = std::env::temp_dir().join(format!("fsys-doc-replace-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let path = dir.join("config");
/// let engine = fsys::Engine::new()?;
/// // At any time, and after any power loss, all old bytes or all new ones.
/// fsys::ReplaceOptions::new().mode(0o600).replace(&engine, &path, b"all new")?;
/// assert_eq!(std::fs::read(&path)?, b"all new");
/// # std::fs::remove_dir_all(&dir)
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReplaceOptions {
    flags: u32,
    durability: u32,
    keep: u32,
    mode: u32,
    lifetime: u32,
    dir: Option<File>,
}

impl ReplaceOptions {
    /// All defaults.
    pub fn new() -> ReplaceOptions {
        ReplaceOptions::default()
    }
    fn set(mut self, flag: u32, on: bool) -> ReplaceOptions {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
        self
    }
    /// Default: [`Durability::Full`].
    pub fn durability(mut self, durability: Durability) -> ReplaceOptions {
        self.durability = durability.to_c();
        self
    }
    /// Metadata to take over from the old file (a copy: from the source): `sys::FSYS_KEEP_*`, or-ed.
    pub fn keep(mut self, what: u32) -> ReplaceOptions {
        self.keep = what;
        self
    }
    /// Permission bits of a file that is new; default 0666, cut by the umask.
    pub fn mode(mut self, mode: u32) -> ReplaceOptions {
        self.mode = mode;
        self
    }
    /// How long the new file's blocks will live.
    pub fn lifetime(mut self, lifetime: Lifetime) -> ReplaceOptions {
        self.lifetime = lifetime.to_c();
        self
    }
    /// A directory, opened as a [`File`], beneath which paths are resolved.
    pub fn dir(mut self, dir: &File) -> ReplaceOptions {
        self.dir = Some(dir.clone());
        self
    }
    /// EEXIST when the name is taken.
    pub fn create_new(self, on: bool) -> ReplaceOptions {
        self.set(sys::FSYS_REPLACE_NEW, on)
    }
    /// ENOENT when there is no file to replace.
    pub fn existing(self, on: bool) -> ReplaceOptions {
        self.set(sys::FSYS_REPLACE_EXISTING, on)
    }
    /// ELOOP when the name is a symbolic link. Default: what it points to is replaced.
    pub fn nofollow(self, on: bool) -> ReplaceOptions {
        self.set(sys::FSYS_REPLACE_NOFOLLOW, on)
    }
    /// EMLINK when the file has other hard links. Default: those keep the old bytes.
    pub fn one_link(self, on: bool) -> ReplaceOptions {
        self.set(sys::FSYS_REPLACE_ONE_LINK, on)
    }
    /// False: the directory is not synced; until the caller does, power loss may bring the old file
    /// back, whole. Default: true.
    pub fn sync_directory(self, on: bool) -> ReplaceOptions {
        self.set(sys::FSYS_REPLACE_NO_DIRECTORY_SYNC, !on)
    }
    /// Metadata that cannot be set are reported, and no failure.
    pub fn keep_try(self, on: bool) -> ReplaceOptions {
        self.set(sys::FSYS_REPLACE_KEEP_TRY, on)
    }
    /// [`batch`](Self::batch): after the first failure the items behind it are not done (ECANCELED).
    pub fn stop(self, on: bool) -> ReplaceOptions {
        self.set(sys::FSYS_REPLACE_STOP, on)
    }
    /// [`copy`](Self::copy): share blocks, or fail with EOPNOTSUPP.
    pub fn reflink(self, on: bool) -> ReplaceOptions {
        self.set(sys::FSYS_REPLACE_REFLINK, on)
    }

    fn to_c(&self, text: &mut Text) -> sys::fsys_replace_options {
        // SAFETY: all-zero is a valid fsys_replace_options.
        let mut options: sys::fsys_replace_options = unsafe { zeroed() };
        options.struct_size = size_of::<sys::fsys_replace_options>() as u32;
        options.flags = self.flags;
        options.durability = self.durability;
        options.keep = self.keep;
        options.mode = self.mode;
        options.lifetime = self.lifetime;
        options.dir = self.dir.as_ref().map_or(null_mut(), File::raw);
        options.error_text = text.memory();
        options.error_text_size = text.size();
        options
    }

    fn call(
        &self,
        call: impl FnOnce(*const sys::fsys_replace_options, *mut sys::fsys_file_report) -> c_int,
    ) -> FileResult {
        let mut text = Text::new();
        let mut raw = empty_report();
        let code = call(&self.to_c(&mut text), &mut raw);
        let report = FileReport::from_c(&raw);
        if code < 0 {
            return Err(FileError { error: text.error(code), report, buffer: None });
        }
        Ok(report)
    }

    /// Replaces a file, or creates it.
    pub fn replace(&self, engine: &Engine, path: impl AsRef<Path>, data: &[u8]) -> FileResult {
        let path = path_to_c(path.as_ref()).map_err(early)?;
        // SAFETY: everything lives through the call.
        self.call(|options, report| unsafe {
            let data = (data.as_ptr().cast(), data.len());
            sys::fsys_replace(engine.raw(), path.as_ptr(), data.0, data.1, options, report)
        })
    }

    /// Starts to replace a file on a pool thread of the engine. Not on a
    /// [`LocalEngine`](crate::LocalEngine) (EOPNOTSUPP).
    pub fn submit_replace<B: IoBuf>(
        &self,
        engine: &Engine,
        path: impl AsRef<Path>,
        data: B,
    ) -> Result<Op<Replacing<B>>> {
        let path = path_to_c(path.as_ref())?;
        let inner = engine.inner();
        Ok(inner.start(Replacing {
            engine: inner.clone(),
            options: self.clone(),
            path,
            data,
            report: Box::new(empty_report()),
            text: Text::new(),
        }))
    }

    /// Begins to replace a file piece by piece.
    pub fn begin(&self, engine: &Engine, path: impl AsRef<Path>) -> Result<Replacement> {
        let path = path_to_c(path.as_ref())?;
        let engine = engine.inner().borrow()?;
        let mut text = Text::new();
        let mut raw = null_mut();
        // SAFETY: path, options and output live through the call, the text until the end of the
        // replacement.
        let code = unsafe {
            let options = self.to_c(&mut text);
            sys::fsys_replace_begin(engine.engine().raw(), path.as_ptr(), &options, &mut raw)
        };
        if code < 0 {
            return Err(text.error(code));
        }
        Ok(Replacement { raw, text, engine })
    }

    /// Copies a file's bytes, shared or copied by the kernel where it can, into a file that replaces
    /// `to`.
    pub fn copy(
        &self,
        engine: &Engine,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> FileResult {
        let from = path_to_c(from.as_ref()).map_err(early)?;
        let to = path_to_c(to.as_ref()).map_err(early)?;
        // SAFETY: everything lives through the call.
        self.call(|options, report| unsafe {
            sys::fsys_copy(engine.raw(), from.as_ptr(), to.as_ptr(), options, report)
        })
    }

    /// Replaces and removes many files with one wait for the disk. Names change in the order of the
    /// items; each is old or new as a whole, but together they are not all or nothing. A result for
    /// each item.
    pub fn batch(&self, engine: &Engine, items: &[FileItem<'_>]) -> Result<Vec<Result<()>>> {
        let paths = items.iter().map(|item| match item {
            FileItem::Replace(path, _) | FileItem::Unlink(path) => path_to_c(path),
        });
        let paths: Vec<CString> = paths.collect::<Result<_>>()?;
        let mut raw: Vec<sys::fsys_batch_item> =
            items.iter().zip(&paths).map(|(item, path)| item.to_c(path)).collect();
        let mut text = Text::new();
        let count = u32::try_from(raw.len()).map_err(|_| Error::new(-crate::error::EINVAL))?;
        let options = self.to_c(&mut text);
        // SAFETY: items, paths, data, options and text live through the call.
        let code = unsafe { sys::fsys_batch(engine.raw(), raw.as_mut_ptr(), count, &options) };
        results(code, &raw, &text)
    }

    /// Starts a [`batch`](Self::batch) on a pool thread of the engine: a path with bytes is replaced,
    /// one with None goes away. Not on a [`LocalEngine`](crate::LocalEngine) (EOPNOTSUPP).
    pub fn submit_batch<B: IoBuf>(
        &self,
        engine: &Engine,
        items: Vec<(PathBuf, Option<B>)>,
    ) -> Result<Op<Batching<B>>> {
        let paths = items.iter().map(|(path, _)| path_to_c(path)).collect::<Result<_>>()?;
        let data = items.into_iter().map(|(_, data)| data).collect();
        let inner = engine.inner();
        Ok(inner.start(Batching {
            engine: inner.clone(),
            options: self.clone(),
            paths,
            data,
            raw: Vec::new(),
            text: Text::new(),
        }))
    }
}

fn results(code: c_int, raw: &[sys::fsys_batch_item], text: &Text) -> Result<Vec<Result<()>>> {
    if code < 0 && raw.iter().all(|item| item.result == 0) {
        return Err(text.error(code)); // none was looked at
    }
    Ok(raw.iter().map(|item| check(item.result).map(drop)).collect())
}

/// Replaces a file, or creates it, with all defaults: fully durable, mode, owner and ACL kept.
pub fn replace(engine: &Engine, path: impl AsRef<Path>, data: &[u8]) -> FileResult {
    ReplaceOptions::new().replace(engine, path, data)
}

/// One file of [`ReplaceOptions::batch`].
#[derive(Clone, Copy, Debug)]
pub enum FileItem<'a> {
    /// Gets these bytes.
    Replace(&'a Path, &'a [u8]),
    /// Goes away; a name that is not there is no failure.
    Unlink(&'a Path),
}

impl FileItem<'_> {
    fn to_c(self, path: &CStr) -> sys::fsys_batch_item {
        match self {
            FileItem::Replace(_, data) => batch_item(path, Some((data.as_ptr(), data.len()))),
            FileItem::Unlink(_) => batch_item(path, None),
        }
    }
}

fn batch_item(path: &CStr, data: Option<(*const u8, usize)>) -> sys::fsys_batch_item {
    let verb = if data.is_some() { sys::FSYS_BATCH_REPLACE } else { sys::FSYS_BATCH_UNLINK };
    let (memory, length) = data.filter(|data| data.1 != 0).unwrap_or((null(), 0));
    // SAFETY: all-zero is a valid fsys_batch_item.
    let zero: sys::fsys_batch_item = unsafe { zeroed() };
    let (data, length) = (memory.cast(), length as u64);
    sys::fsys_batch_item { verb, path: path.as_ptr(), data, length, ..zero }
}

/// A file being replaced piece by piece: write to it, then [`commit`](Replacement::commit). Dropping
/// gives it up: the old file is as it was.
pub struct Replacement {
    raw: *mut sys::fsys_replacement,
    text: Text,
    engine: Borrow,
}

// SAFETY: the C text allows any thread, one at a time; every method takes &mut self or self.
unsafe impl Send for Replacement {}

impl Replacement {
    /// Puts the new file in the old one's place, durable.
    pub fn commit(mut self) -> FileResult {
        let raw = std::mem::replace(&mut self.raw, null_mut());
        let mut report = empty_report();
        // SAFETY: an open replacement; report and text live through the call.
        let code = unsafe { sys::fsys_replace_commit(raw, &mut report) };
        let report = FileReport::from_c(&report);
        if code < 0 {
            return Err(FileError { error: self.text.error(code), report, buffer: None });
        }
        Ok(report)
    }
    /// [`commit`](Self::commit) as an op on a pool thread of the engine. When it is refused (as on a
    /// [`LocalEngine`](crate::LocalEngine), EOPNOTSUPP) the replacement is given up.
    pub fn submit_commit(self) -> Op<CommittingFile> {
        let engine = self.engine.engine().clone();
        engine.start(CommittingFile { replacement: self, report: Box::new(empty_report()) })
    }
    /// Gives it up, and tells when the temporary file could not be removed.
    pub fn abort(mut self) -> Result<()> {
        let raw = std::mem::replace(&mut self.raw, null_mut());
        // SAFETY: an open replacement.
        check(unsafe { sys::fsys_replace_abort(raw) }).map(drop)
    }
}

impl io::Write for Replacement {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // SAFETY: an open replacement; the bytes are written within the call.
        check(unsafe { sys::fsys_replace_write(self.raw, data.as_ptr().cast(), data.len()) })?;
        Ok(data.len())
    }
    /// Nothing is durable before commit.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: an open replacement.
            unsafe { sys::fsys_replace_abort(self.raw) };
        }
    }
}

impl fmt::Debug for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Replacement").field(&self.raw).finish()
    }
}

/// Payload of [`ReplaceOptions::submit_replace`].
pub struct Replacing<B> {
    engine: Arc<EngineInner>,
    options: ReplaceOptions,
    path: CString,
    data: B,
    // The library writes to both until the completion.
    report: Box<sys::fsys_file_report>,
    text: Text,
}

impl<B: IoBuf> Submit for Replacing<B> {
    fn submit(&mut self, key: u64, _flags: u32) -> i32 {
        let options = self.options.to_c(&mut self.text);
        // SAFETY: path and options are copied; data, report and text stay in the in-flight table's
        // op until the completion.
        unsafe {
            sys::fsys_submit_replace(
                self.engine.raw(),
                self.path.as_ptr(),
                self.data.ptr().cast(),
                self.data.len(),
                &options,
                &mut *self.report,
                key,
                null_mut(),
            )
        }
    }
}

impl<B: IoBuf> Payload for Replacing<B> {
    type Output = std::result::Result<(FileReport, B), FileError<B>>;
    fn finish(self, result: &sys::fsys_result) -> Self::Output {
        let report = FileReport::from_c(&self.report);
        if result.result < 0 {
            let error = self.text.error(result.result as i32);
            return Err(FileError { error, report, buffer: Some(self.data) });
        }
        Ok((report, self.data))
    }
    fn refused(self, code: i32) -> Self::Output {
        let error = self.text.error(code);
        Err(FileError { error, report: early(Error::new(code)).report, buffer: Some(self.data) })
    }
    fn lost(code: i32) -> Self::Output {
        let FileError { error, report, .. } = early(Error::new(code));
        Err(FileError { error, report, buffer: None })
    }
}

/// Payload of [`Replacement::submit_commit`].
pub struct CommittingFile {
    replacement: Replacement,
    report: Box<sys::fsys_file_report>,
}

impl Submit for CommittingFile {
    fn submit(&mut self, key: u64, _flags: u32) -> i32 {
        let raw = self.replacement.raw;
        // SAFETY: an open replacement; its text and the report stay in the in-flight table's op until
        // the completion.
        let code =
            unsafe { sys::fsys_submit_replace_commit(raw, &mut *self.report, key, null_mut()) };
        if code == 0 {
            self.replacement.raw = null_mut(); // it has ended for the caller
        }
        code
    }
}

impl Payload for CommittingFile {
    type Output = FileResult;
    fn finish(self, result: &sys::fsys_result) -> FileResult {
        let report = FileReport::from_c(&self.report);
        if result.result < 0 {
            let error = self.replacement.text.error(result.result as i32);
            return Err(FileError { error, report, buffer: None });
        }
        Ok(report)
    }
    fn refused(self, code: i32) -> FileResult {
        Err(early(Error::new(code)))
    }
    fn lost(code: i32) -> FileResult {
        Err(early(Error::new(code)))
    }
}

/// Payload of [`ReplaceOptions::submit_batch`]: gives a result for each item.
pub struct Batching<B> {
    engine: Arc<EngineInner>,
    options: ReplaceOptions,
    // The library reads from these and writes to the items and the text until the completion.
    paths: Vec<CString>,
    data: Vec<Option<B>>,
    raw: Vec<sys::fsys_batch_item>,
    text: Text,
}

// SAFETY: the pointers in `raw` are into `paths` and `data`, which go along.
unsafe impl<B: Send> Send for Batching<B> {}

impl<B: IoBuf> Submit for Batching<B> {
    fn submit(&mut self, key: u64, _flags: u32) -> i32 {
        let data = self.data.iter().map(|data| data.as_ref().map(|data| (data.ptr(), data.len())));
        self.raw = self.paths.iter().zip(data).map(|(path, data)| batch_item(path, data)).collect();
        let count = match u32::try_from(self.raw.len()) {
            Ok(count) => count,
            Err(_) => return -crate::error::EINVAL,
        };
        let options = self.options.to_c(&mut self.text);
        let items = self.raw.as_mut_ptr();
        // SAFETY: options are copied; items, paths, data and text stay in the in-flight table's op
        // until the completion.
        unsafe {
            sys::fsys_submit_batch(self.engine.raw(), items, count, &options, key, null_mut())
        }
    }
}

impl<B: IoBuf> Payload for Batching<B> {
    type Output = Result<Vec<Result<()>>>;
    fn finish(self, result: &sys::fsys_result) -> Self::Output {
        results(result.result as i32, &self.raw, &self.text)
    }
    fn refused(self, code: i32) -> Self::Output {
        Err(self.text.error(code))
    }
    fn lost(code: i32) -> Self::Output {
        Err(Error::new(code))
    }
}
