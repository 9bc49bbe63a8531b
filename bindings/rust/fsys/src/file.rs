// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files of an engine.
use crate::buf::{IoBuf, IoBufMut};
use crate::engine::{Engine, EngineInner};
use crate::error::{cause, check, check_count, check_with_text, from_chars, Result};
use crate::op::{Op, Reading, Syncing, Writing};
use crate::path_to_c;
use fsys_sys as sys;
use std::fmt;
use std::mem::{size_of, zeroed};
use std::os::raw::c_void;
use std::os::unix::io::{AsFd, AsRawFd};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// How to open a file; as [`std::fs::OpenOptions`], with what this library adds.
///
/// Without [`read`](Self::read) and [`write`](Self::write) a file is opened for reading.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    flags: u32,
    mode: u32,
}

impl OpenOptions {
    /// Nothing set.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }
    fn set(mut self, flag: u32, on: bool) -> OpenOptions {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
        self
    }
    /// For reading.
    pub fn read(self, on: bool) -> OpenOptions {
        self.set(sys::FSYS_FILE_READ, on)
    }
    /// For writing.
    pub fn write(self, on: bool) -> OpenOptions {
        self.set(sys::FSYS_FILE_WRITE, on)
    }
    /// Created when absent.
    pub fn create(self, on: bool) -> OpenOptions {
        self.set(sys::FSYS_FILE_CREATE, on)
    }
    /// Created, and EEXIST when present.
    pub fn create_new(self, on: bool) -> OpenOptions {
        self.set(sys::FSYS_FILE_CREATE | sys::FSYS_FILE_EXCLUSIVE, on)
    }
    /// Cut to length 0.
    pub fn truncate(self, on: bool) -> OpenOptions {
        self.set(sys::FSYS_FILE_TRUNCATE, on)
    }
    /// O_DIRECT: buffers, lengths and offsets must be aligned ([`FileInfo`] says to what), see
    /// [`Engine::buffer`]. EINVAL where the file system has none; never replaced in silence.
    pub fn direct(self, on: bool) -> OpenOptions {
        self.set(sys::FSYS_FILE_DIRECT, on)
    }
    /// With [`direct`](Self::direct): misaligned blocking reads go through a bounce buffer.
    pub fn bounce(self, on: bool) -> OpenOptions {
        self.set(sys::FSYS_FILE_BOUNCE, on)
    }
    /// ELOOP when the last component is a symlink.
    pub fn nofollow(self, on: bool) -> OpenOptions {
        self.set(sys::FSYS_FILE_NOFOLLOW, on)
    }
    /// Permission bits of a created file, cut by the umask; default 0666.
    pub fn mode(mut self, mode: u32) -> OpenOptions {
        self.mode = mode;
        self
    }
    /// Opens the file; beneath the engine's root when it has one.
    pub fn open(&self, engine: &Engine, path: impl AsRef<Path>) -> Result<File> {
        let path = path_to_c(path.as_ref())?;
        let mut raw = null_mut();
        check_with_text(|text, size| {
            // SAFETY: all-zero is a valid fsys_file_options.
            let mut options: sys::fsys_file_options = unsafe { zeroed() };
            options.struct_size = size_of::<sys::fsys_file_options>() as u32;
            options.flags = self.flags;
            options.mode = self.mode;
            options.error_text = text;
            options.error_text_size = size;
            // SAFETY: path, options and output live through the call.
            unsafe { sys::fsys_file_open(engine.raw(), path.as_ptr(), &options, &mut raw) }
        })?;
        Ok(File::new(engine, raw))
    }
}

/// What [`File::info`] tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileInfo {
    /// Bytes, at the time of the call.
    pub size: u64,
    /// Opened with O_DIRECT.
    pub direct: bool,
    /// Buffer alignment for O_DIRECT, bytes; 0: none possible.
    pub direct_mem_align: u32,
    /// Offset and length alignment for O_DIRECT, bytes.
    pub direct_offset_align: u32,
    /// "ext4", "xfs", ...; "?" when unknown.
    pub file_system: String,
}

pub(crate) struct FileInner {
    pub(crate) raw: *mut sys::fsys_file,
    closed: AtomicBool,
    pub(crate) engine: Arc<EngineInner>,
}

// SAFETY: `raw` is an id that the library looks up; every call made with it is documented as "Any
// thread."
unsafe impl Send for FileInner {}
// SAFETY: as above.
unsafe impl Sync for FileInner {}

impl Drop for FileInner {
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            // Ops hold this value, so none is in flight and nothing is waited for.
            // SAFETY: an open file, or FSYS_E_CLOSED after its engine.
            unsafe { sys::fsys_file_close(self.raw) };
        }
    }
}

/// An open file. Clones are the same file; the last one, and the last op in flight, closes it.
///
/// `*_at` calls run on the calling thread, as [`FileExt`](std::os::unix::fs::FileExt)'s do, and
/// continue short transfers. `submit_*` calls start an op and return its future at once.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let dir = std::env::temp_dir().join(format!("fsys-doc-file-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let engine = fsys::Engine::new()?;
/// let options = fsys::OpenOptions::new().read(true).write(true).create(true);
/// let file = options.open(&engine, dir.join("ledger"))?;
///
/// file.write_durable_at(b"paid\n", 0)?; // on stable storage when this returns
///
/// let read = file.submit_read(Vec::with_capacity(100), 0); // runs beside this thread
/// let (count, bytes) = read.wait()?; // or: read.await?
/// assert_eq!((count, &bytes[..]), (5, &b"paid\n"[..]));
/// # std::fs::remove_dir_all(&dir)
/// # }
/// ```
#[derive(Clone)]
pub struct File {
    inner: Arc<FileInner>,
}

impl File {
    fn new(engine: &Engine, raw: *mut sys::fsys_file) -> File {
        let engine = engine.inner().clone();
        File { inner: Arc::new(FileInner { raw, closed: AtomicBool::new(false), engine }) }
    }

    pub(crate) fn raw(&self) -> *mut sys::fsys_file {
        self.inner.raw
    }

    pub(crate) fn inner(&self) -> &Arc<FileInner> {
        &self.inner
    }

    /// Opens for reading.
    pub fn open(engine: &Engine, path: impl AsRef<Path>) -> Result<File> {
        OpenOptions::new().read(true).open(engine, path)
    }

    /// Opens for writing and reading, created when absent, cut to length 0.
    pub fn create(engine: &Engine, path: impl AsRef<Path>) -> Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(engine, path)
    }

    /// Takes a duplicate of a descriptor, whose access and O_DIRECT it keeps. EINVAL when it was
    /// opened with O_APPEND. Pipes and sockets are allowed: their offsets are ignored, and an op
    /// on one can take for ever.
    pub fn from_fd(engine: &Engine, fd: impl AsFd) -> Result<File> {
        let fd = fd.as_fd().as_raw_fd();
        let mut raw = null_mut();
        check_with_text(|text, size| {
            // SAFETY: all-zero is a valid fsys_file_options.
            let mut options: sys::fsys_file_options = unsafe { zeroed() };
            options.struct_size = size_of::<sys::fsys_file_options>() as u32;
            options.error_text = text;
            options.error_text_size = size;
            // SAFETY: the descriptor is borrowed for the call; options and output live through it.
            unsafe { sys::fsys_file_from_fd(engine.raw(), fd, &options, &mut raw) }
        })?;
        Ok(File::new(engine, raw))
    }

    /// Reads until the buffer is full or the file ends. How many bytes.
    #[inline]
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.read_with(buffer, offset, 0)
    }
    /// Fills the buffer, or [`Kind::Short`](crate::Kind::Short) (UnexpectedEof).
    #[inline]
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.read_with(buffer, offset, sys::FSYS_EXACT).map(drop)
    }
    #[inline]
    fn read_with(&self, buffer: &mut [u8], offset: u64, flags: u32) -> Result<usize> {
        let memory = buffer.as_mut_ptr().cast::<c_void>();
        // SAFETY: the slice is borrowed through the call, and a blocking call leaves nothing in
        // flight.
        let count = unsafe { sys::fsys_read(self.inner.raw, memory, buffer.len(), offset, flags) };
        check_count(count)
    }
    /// Writes all of `bytes`.
    #[inline]
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.write_with(bytes, offset, 0)
    }
    /// Writes all of `bytes`; they are on stable storage when this returns. (The name of a new file
    /// is not, until its directory has been synced.)
    #[inline]
    pub fn write_durable_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.write_with(bytes, offset, sys::FSYS_DURABLE)
    }
    /// As [`write_durable_at`](Self::write_durable_at), and after a power cut all of the bytes are there
    /// or none (RWF_ATOMIC, Linux 6.11). [`Kind::NotAtomic`](crate::Kind::NotAtomic), and nothing was
    /// written, where that is not promised: the file must be [`direct`](OpenOptions::direct), the length
    /// a power of two within the limits of [`probe`](Self::probe), the offset a multiple of it.
    pub fn write_atomic_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.write_with(bytes, offset, sys::FSYS_DURABLE | sys::FSYS_ATOMIC)
    }
    #[inline]
    fn write_with(&self, bytes: &[u8], offset: u64, flags: u32) -> Result<()> {
        let memory = bytes.as_ptr().cast::<c_void>();
        // SAFETY: as in read_with().
        let count = unsafe { sys::fsys_write(self.inner.raw, memory, bytes.len(), offset, flags) };
        check_count(count).map(drop)
    }
    /// fsync(2). After a failure the file is poisoned: it refuses further syncs with
    /// [`Kind::Poisoned`](crate::Kind::Poisoned), since a second one could succeed over lost pages.
    pub fn sync(&self) -> Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_sync(self.inner.raw, 0) }).map(drop)
    }
    /// fdatasync(2). See [`sync`](Self::sync).
    pub fn sync_data(&self) -> Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { sys::fsys_sync(self.inner.raw, sys::FSYS_SYNC_DATA) }).map(drop)
    }

    /// Starts a read of `buffer.capacity()` bytes; fewer come only at end of file. The buffer comes
    /// back with the outcome.
    pub fn submit_read<B: IoBufMut>(&self, buffer: B, offset: u64) -> Op<Reading<B>> {
        let file = self.inner.clone();
        self.start(Reading { file, buffer, offset, flags: 0 })
    }
    /// Starts a write of the whole buffer.
    pub fn submit_write<B: IoBuf>(&self, buffer: B, offset: u64) -> Op<Writing<B>> {
        let file = self.inner.clone();
        self.start(Writing { file, buffer, offset, flags: 0 })
    }
    /// Starts a write of the whole buffer whose success means on stable storage.
    pub fn submit_write_durable<B: IoBuf>(&self, buffer: B, offset: u64) -> Op<Writing<B>> {
        let file = self.inner.clone();
        self.start(Writing { file, buffer, offset, flags: sys::FSYS_DURABLE })
    }
    /// Starts a [`write_atomic_at`](Self::write_atomic_at).
    pub fn submit_write_atomic<B: IoBuf>(&self, buffer: B, offset: u64) -> Op<Writing<B>> {
        let file = self.inner.clone();
        let flags = sys::FSYS_DURABLE | sys::FSYS_ATOMIC;
        self.start(Writing { file, buffer, offset, flags })
    }
    /// Starts an fsync, of the writes whose outcomes were seen before.
    pub fn submit_sync(&self) -> Op<Syncing> {
        self.start(Syncing { file: self.inner.clone(), flags: 0 })
    }
    /// Starts an fdatasync, of the writes whose outcomes were seen before.
    pub fn submit_sync_data(&self) -> Op<Syncing> {
        self.start(Syncing { file: self.inner.clone(), flags: sys::FSYS_SYNC_DATA })
    }
    fn start<P: crate::op::Payload>(&self, payload: P) -> Op<P> {
        self.inner.engine.start(payload)
    }

    /// Size, alignment, file system.
    pub fn info(&self) -> Result<FileInfo> {
        // SAFETY: all-zero is a valid fsys_file_details.
        let mut raw: sys::fsys_file_details = unsafe { zeroed() };
        raw.struct_size = size_of::<sys::fsys_file_details>() as u32;
        // SAFETY: the struct states its size.
        check(unsafe { sys::fsys_file_info(self.inner.raw, &mut raw) })?;
        Ok(FileInfo {
            size: raw.size,
            direct: raw.flags & sys::FSYS_FILE_DIRECT != 0,
            direct_mem_align: raw.direct_mem_align,
            direct_offset_align: raw.direct_offset_align,
            file_system: from_chars(&raw.file_system),
        })
    }

    /// The sentence behind a sticky failure, or None.
    pub fn cause(&self) -> Option<String> {
        // SAFETY: an open or closed file; the library writes at most `size` bytes.
        cause(|text, size| unsafe { sys::fsys_cause(self.inner.raw.cast(), text, size) })
    }

    /// Closes the file for all its clones, waiting for ops in flight, and tells what close(2)
    /// reported. Dropping the last clone closes as well.
    pub fn close(self) -> Result<()> {
        if self.inner.closed.swap(true, Ordering::Relaxed) {
            return Err(crate::Error::new(sys::FSYS_E_CLOSED));
        }
        // SAFETY: an open file, or FSYS_E_CLOSED after its engine.
        check(unsafe { sys::fsys_file_close(self.inner.raw) }).map(drop)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.inner.raw).finish()
    }
}
