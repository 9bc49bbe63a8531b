// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names and directories, durable; ranges of files, and advice.
use crate::engine::{Borrow, Engine};
use crate::error::{check, Error, Result};
use crate::file::File;
use crate::path_to_c;
use crate::replace::{Durability, Text};
use fsys_sys as sys;
use std::ffi::{CStr, OsStr};
use std::fmt;
use std::mem::{size_of, zeroed};
use std::ops::Range;
use std::os::raw::c_int;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::time::Duration;

/// Where and how, for calls on names. Every call that makes or removes a name syncs its directory, and
/// returns the error of doing so.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let dir = std::env::temp_dir().join(format!("fsys-doc-names-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// use fsys::PathOptions;
/// let engine = fsys::Engine::new()?;
/// PathOptions::new().parents(true).mkdir(&engine, dir.join("a/b"))?;
/// PathOptions::new().append(&engine, dir.join("a/b/log"), b"one line\n")?;
/// PathOptions::new().rename(&engine, dir.join("a/b/log"), dir.join("a/log"))?;
/// assert_eq!(PathOptions::new().read_file(&engine, dir.join("a/log"), 0)?, b"one line\n");
/// # std::fs::remove_dir_all(&dir)
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct PathOptions {
    flags: u32,
    durability: u32,
    mode: u32,
    dir: Option<File>,
}

impl PathOptions {
    /// All defaults: fully durable.
    pub fn new() -> PathOptions {
        PathOptions::default()
    }
    fn set(mut self, flag: u32, on: bool) -> PathOptions {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
        self
    }
    /// Default: [`Durability::Full`].
    pub fn durability(mut self, durability: Durability) -> PathOptions {
        self.durability = durability.to_c();
        self
    }
    /// Permission bits of what is created; default 0666, directories 0777, cut by the umask.
    pub fn mode(mut self, mode: u32) -> PathOptions {
        self.mode = mode;
        self
    }
    /// A directory, opened as a [`File`], beneath which paths are resolved.
    pub fn dir(mut self, dir: &File) -> PathOptions {
        self.dir = Some(dir.clone());
        self
    }
    /// Rename: EEXIST when the new name is taken.
    pub fn create_new(self, on: bool) -> PathOptions {
        self.set(sys::FSYS_PATH_NEW, on)
    }
    /// Rename: both names exist and change places.
    pub fn exchange(self, on: bool) -> PathOptions {
        self.set(sys::FSYS_PATH_EXCHANGE, on)
    }
    /// Mkdir: missing parents too; an existing directory is fine.
    pub fn parents(self, on: bool) -> PathOptions {
        self.set(sys::FSYS_PATH_PARENTS, on)
    }
    /// Unlink, rmdir: a name that is not there is no failure.
    pub fn missing_ok(self, on: bool) -> PathOptions {
        self.set(sys::FSYS_PATH_MISSING_OK, on)
    }
    /// Append, sync: the directory that holds the name is synced too, whoever made the name.
    pub fn sync_parent(self, on: bool) -> PathOptions {
        self.set(sys::FSYS_PATH_SYNC_PARENT, on)
    }
    /// Sync: all of the file system that holds the path.
    pub fn file_system(self, on: bool) -> PathOptions {
        self.set(sys::FSYS_PATH_FILE_SYSTEM, on)
    }
    /// Append, read, sync: ELOOP for a symbolic link.
    pub fn nofollow(self, on: bool) -> PathOptions {
        self.set(sys::FSYS_PATH_NOFOLLOW, on)
    }
    /// Scan: into subdirectories, symbolic links not followed.
    pub fn recursive(self, on: bool) -> PathOptions {
        self.set(sys::FSYS_PATH_RECURSIVE, on)
    }
    /// Scan: not into directories where another file system begins.
    pub fn one_file_system(self, on: bool) -> PathOptions {
        self.set(sys::FSYS_PATH_ONE_FILE_SYSTEM, on)
    }

    fn call(&self, call: impl FnOnce(*const sys::fsys_path_options) -> c_int) -> Result<()> {
        let mut text = Text::new();
        // SAFETY: all-zero is a valid fsys_path_options.
        let mut options: sys::fsys_path_options = unsafe { zeroed() };
        options.struct_size = size_of::<sys::fsys_path_options>() as u32;
        options.flags = self.flags;
        options.durability = self.durability;
        options.mode = self.mode;
        options.dir = self.dir.as_ref().map_or(null_mut(), File::raw);
        options.error_text = text.memory();
        options.error_text_size = text.size();
        let code = call(&options);
        if code < 0 {
            return Err(text.error(code));
        }
        Ok(())
    }

    /// Appends to a file, creating it when absent; where the bytes begin. Not atomic: power loss
    /// before it returns may leave a part.
    pub fn append(&self, engine: &Engine, path: impl AsRef<Path>, data: &[u8]) -> Result<u64> {
        let path = path_to_c(path.as_ref())?;
        let mut offset = 0;
        // SAFETY: everything lives through the call.
        self.call(|options| unsafe {
            let data = (data.as_ptr().cast(), data.len());
            sys::fsys_append(engine.raw(), path.as_ptr(), data.0, data.1, options, &mut offset)
        })?;
        Ok(offset)
    }
    /// Reads a whole file. EFBIG when it has more than `max_bytes` (0: no limit).
    pub fn read_file(
        &self,
        engine: &Engine,
        path: impl AsRef<Path>,
        max_bytes: u64,
    ) -> Result<Vec<u8>> {
        let path = path_to_c(path.as_ref())?;
        let (mut data, mut length) = (null_mut(), 0);
        // SAFETY: everything lives through the call.
        self.call(|options| unsafe {
            let out = (&mut data, &mut length);
            sys::fsys_read_file(engine.raw(), path.as_ptr(), max_bytes, options, out.0, out.1)
        })?;
        // SAFETY: on success `data` is `length` bytes of the library's, copied and given back.
        unsafe {
            let bytes = std::slice::from_raw_parts(data.cast::<u8>(), length).to_vec();
            sys::fsys_free(data);
            Ok(bytes)
        }
    }
    /// Renames a file or directory. A regular file is itself synced before.
    pub fn rename(
        &self,
        engine: &Engine,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> Result<()> {
        let (from, to) = (path_to_c(from.as_ref())?, path_to_c(to.as_ref())?);
        // SAFETY: everything lives through the call.
        self.call(|options| unsafe {
            sys::fsys_rename(engine.raw(), from.as_ptr(), to.as_ptr(), options)
        })
    }
    /// Gives a file a second name.
    pub fn link(
        &self,
        engine: &Engine,
        existing: impl AsRef<Path>,
        path: impl AsRef<Path>,
    ) -> Result<()> {
        let (existing, path) = (path_to_c(existing.as_ref())?, path_to_c(path.as_ref())?);
        // SAFETY: everything lives through the call.
        self.call(|options| unsafe {
            sys::fsys_link(engine.raw(), existing.as_ptr(), path.as_ptr(), options)
        })
    }
    /// Removes the name of a file.
    pub fn unlink(&self, engine: &Engine, path: impl AsRef<Path>) -> Result<()> {
        let path = path_to_c(path.as_ref())?;
        // SAFETY: everything lives through the call.
        self.call(|options| unsafe { sys::fsys_unlink(engine.raw(), path.as_ptr(), options) })
    }
    /// Makes a directory.
    pub fn mkdir(&self, engine: &Engine, path: impl AsRef<Path>) -> Result<()> {
        let path = path_to_c(path.as_ref())?;
        // SAFETY: everything lives through the call.
        self.call(|options| unsafe { sys::fsys_mkdir(engine.raw(), path.as_ptr(), options) })
    }
    /// Removes an empty directory.
    pub fn rmdir(&self, engine: &Engine, path: impl AsRef<Path>) -> Result<()> {
        let path = path_to_c(path.as_ref())?;
        // SAFETY: everything lives through the call.
        self.call(|options| unsafe { sys::fsys_rmdir(engine.raw(), path.as_ptr(), options) })
    }
    /// Makes durable what others wrote to a file or directory. A writer should rather sync its own
    /// file: a write-back error that another descriptor was told of is not told again.
    pub fn sync(&self, engine: &Engine, path: impl AsRef<Path>) -> Result<()> {
        let path = path_to_c(path.as_ref())?;
        // SAFETY: everything lives through the call.
        self.call(|options| unsafe { sys::fsys_sync_path(engine.raw(), path.as_ptr(), options) })
    }
    /// Removes temporary files of replacing in a directory that nobody writes any more and that are
    /// at least `min_age` old (0: a minute). How many.
    pub fn sweep(&self, engine: &Engine, path: impl AsRef<Path>, min_age: Duration) -> Result<u32> {
        let path = path_to_c(path.as_ref())?;
        let age = crate::completion::nanoseconds(Some(min_age)) as u64;
        let mut removed = 0;
        // SAFETY: everything lives through the call.
        self.call(|options| unsafe {
            sys::fsys_sweep(engine.raw(), path.as_ptr(), age, options, &mut removed)
        })?;
        Ok(removed)
    }
    /// Lists a directory or, [`recursive`](Self::recursive), all beneath it, in byte order.
    pub fn scan(&self, engine: &Engine, path: impl AsRef<Path>) -> Result<Scan> {
        let path = path_to_c(path.as_ref())?;
        let engine = engine.inner().borrow()?;
        let handle = engine.engine().raw();
        let mut raw = null_mut();
        // SAFETY: everything lives through the call.
        self.call(|options| unsafe {
            sys::fsys_scan_open(handle, path.as_ptr(), options, &mut raw)
        })?;
        Ok(Scan { raw, _engine: engine })
    }
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Device, FIFO, socket.
    Other,
}

/// A name that a [`Scan`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScanEntry {
    /// Relative to where the scan began.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// Inode number.
    pub inode: u64,
    /// Modification time, ns since 1970.
    pub modified_ns: i64,
    /// Permission bits.
    pub mode: u32,
    /// 0 in the directory where the scan began.
    pub depth: u32,
    /// Hard links.
    pub links: u64,
    /// Why this directory could not be entered, or this name not be looked at.
    pub error: Option<Error>,
}

/// A walk through a directory or a tree.
pub struct Scan {
    raw: *mut sys::fsys_scan,
    _engine: Borrow,
}

// SAFETY: the C text allows any thread, one at a time; next() takes &mut self.
unsafe impl Send for Scan {}

impl Iterator for Scan {
    type Item = Result<ScanEntry>;

    fn next(&mut self) -> Option<Result<ScanEntry>> {
        // SAFETY: all-zero is a valid fsys_scan_entry.
        let mut entry: sys::fsys_scan_entry = unsafe { zeroed() };
        entry.struct_size = size_of::<sys::fsys_scan_entry>() as u32;
        // SAFETY: an open scan; the struct states its size.
        match unsafe { sys::fsys_scan_next(self.raw, &mut entry) } {
            0 => {}
            sys::FSYS_E_NOTHING => return None,
            code => return Some(Err(Error::new(code))),
        }
        // SAFETY: NUL-terminated, the library's until the next call; copied here.
        let path = unsafe { CStr::from_ptr(entry.path) };
        Some(Ok(ScanEntry {
            path: OsStr::from_bytes(path.to_bytes()).into(),
            kind: match entry.type_ {
                sys::FSYS_TYPE_FILE => EntryKind::File,
                sys::FSYS_TYPE_DIRECTORY => EntryKind::Directory,
                sys::FSYS_TYPE_SYMLINK => EntryKind::Symlink,
                _ => EntryKind::Other,
            },
            size: entry.size,
            inode: entry.inode,
            modified_ns: entry.modified_ns,
            mode: entry.mode,
            depth: entry.depth,
            links: entry.links,
            error: if entry.error == 0 { None } else { Some(Error::new(entry.error)) },
        }))
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        // SAFETY: an open scan.
        unsafe { sys::fsys_scan_close(self.raw) };
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scan").field(&self.raw).finish()
    }
}

/// How long blocks will live, see fcntl(2) F_SET_RW_HINT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifetime {
    /// No hint.
    None,
    /// Overwritten soon.
    Short,
    /// Between the two.
    Medium,
    /// Kept long.
    Long,
    /// Kept as good as for ever.
    Extreme,
}

impl Lifetime {
    pub(crate) fn to_c(self) -> u32 {
        match self {
            Lifetime::None => sys::FSYS_LIFETIME_NONE,
            Lifetime::Short => sys::FSYS_LIFETIME_SHORT,
            Lifetime::Medium => sys::FSYS_LIFETIME_MEDIUM,
            Lifetime::Long => sys::FSYS_LIFETIME_LONG,
            Lifetime::Extreme => sys::FSYS_LIFETIME_EXTREME,
        }
    }
}

/// How a range will be read, see posix_fadvise(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// No particular way.
    Normal,
    /// No read-ahead.
    Random,
    /// More read-ahead.
    Sequential,
    /// Begin reading now.
    WillNeed,
    /// Drop clean pages from the cache.
    DontNeed,
    /// Read once.
    Once,
}

impl File {
    /// Cuts or extends (with zeros) the file to `length` bytes.
    pub fn truncate(&self, length: u64, durability: Durability) -> Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_truncate(self.raw(), length, durability.to_c()) }).map(drop)
    }
    /// Allocates a range, so that writing there cannot meet a full disk. The file grows to hold it,
    /// unless `keep_size`.
    pub fn preallocate(
        &self,
        range: Range<u64>,
        keep_size: bool,
        durability: Durability,
    ) -> Result<()> {
        let flags = if keep_size { sys::FSYS_KEEP_SIZE } else { 0 };
        let length = range.end.saturating_sub(range.start);
        let durability = durability.to_c();
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_preallocate(self.raw(), range.start, length, flags, durability) })
            .map(drop)
    }
    /// Gives the whole blocks of a range back; all of it reads as zeros.
    pub fn punch_hole(&self, range: Range<u64>, durability: Durability) -> Result<()> {
        let length = range.end.saturating_sub(range.start);
        let durability = durability.to_c();
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_punch_hole(self.raw(), range.start, length, durability) })
            .map(drop)
    }
    /// Makes a range zeros that are allocated. The file grows to hold it, unless `keep_size`.
    pub fn zero_range(
        &self,
        range: Range<u64>,
        keep_size: bool,
        durability: Durability,
    ) -> Result<()> {
        let flags = if keep_size { sys::FSYS_KEEP_SIZE } else { 0 };
        let length = range.end.saturating_sub(range.start);
        let durability = durability.to_c();
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_zero_range(self.raw(), range.start, length, flags, durability) })
            .map(drop)
    }
    /// Tells how long the file's blocks will live.
    pub fn set_lifetime(&self, lifetime: Lifetime) -> Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_set_lifetime(self.raw(), lifetime.to_c()) }).map(drop)
    }
    /// Gives advice for `length` bytes at `offset`; 0: to the end.
    pub fn advise(&self, offset: u64, length: u64, advice: Advice) -> Result<()> {
        let advice = match advice {
            Advice::Normal => sys::FSYS_ADVICE_NORMAL,
            Advice::Random => sys::FSYS_ADVICE_RANDOM,
            Advice::Sequential => sys::FSYS_ADVICE_SEQUENTIAL,
            Advice::WillNeed => sys::FSYS_ADVICE_WILL_NEED,
            Advice::DontNeed => sys::FSYS_ADVICE_DONT_NEED,
            Advice::Once => sys::FSYS_ADVICE_ONCE,
        };
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_advise(self.raw(), offset, length, advice) }).map(drop)
    }
}
