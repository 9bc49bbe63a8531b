// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Engines: opening, closing, who takes the completions.
use crate::buffer::Buffer;
use crate::completion::{lock, Core};
use crate::error::{cause, check, check_with_text, from_chars, Error, Result, EAGAIN, EBUSY};
use crate::op::{Op, Payload};
use crate::path_to_c;
use fsys_sys as sys;
use std::ffi::CString;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{size_of, zeroed};
use std::ops::Deref;
use std::os::unix::io::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How ops are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// io_uring where it works, otherwise threads.
    Default,
    /// io_uring, or fail with [`Kind::UringSetup`](crate::Kind::UringSetup).
    IoUring,
    /// Plain system calls on a small pool.
    Threads,
}

/// How to open an engine. What is not set has the library's default.
#[derive(Clone, Debug)]
pub struct Options {
    backend: Backend,
    max_ops: u32,
    max_files: u32,
    pool_threads: u32,
    close_timeout: Duration,
    arena_bytes: u64,
    root: Option<CString>,
    bad_root: bool,
    manual: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            backend: Backend::Default,
            max_ops: 0,
            max_files: 0,
            pool_threads: 0,
            close_timeout: Duration::from_secs(5),
            arena_bytes: 0,
            root: None,
            bad_root: false,
            manual: false,
        }
    }
}

impl Options {
    /// All defaults.
    pub fn new() -> Options {
        Options::default()
    }
    /// Default: [`Backend::Default`].
    pub fn backend(mut self, backend: Backend) -> Options {
        self.backend = backend;
        self
    }
    /// Op slots, 1..=32768; default 4096. More ops than that may be submitted: they wait their turn.
    pub fn max_ops(mut self, count: u32) -> Options {
        self.max_ops = count;
        self
    }
    /// Open files, 1..=1048576; default 65536.
    pub fn max_files(mut self, count: u32) -> Options {
        self.max_files = count;
        self
    }
    /// Most pool threads, 1..=64; default 4 (8 for the threads backend).
    pub fn pool_threads(mut self, count: u32) -> Options {
        self.pool_threads = count;
        self
    }
    /// How long closing lets ops in flight go on before it cancels them; default 5 s.
    pub fn close_timeout(mut self, time: Duration) -> Options {
        self.close_timeout = time;
        self
    }
    /// Size of the arena of [`Engine::buffer`]; default 8 MiB.
    pub fn arena_bytes(mut self, bytes: u64) -> Options {
        self.arena_bytes = bytes;
        self
    }
    /// A directory beneath which all paths are opened (openat2(2) RESOLVE_BENEATH, Linux 5.6).
    pub fn root(mut self, path: impl AsRef<Path>) -> Options {
        match path_to_c(path.as_ref()) {
            Ok(path) => self.root = Some(path),
            Err(_) => self.bad_root = true,
        }
        self
    }
    /// No thread of this crate takes completions: [`Engine::dispatch`] does, or a tokio runtime.
    pub fn manual_completions(mut self, on: bool) -> Options {
        self.manual = on;
        self
    }
    /// Opens an engine that any thread may use.
    pub fn open(self) -> Result<Engine> {
        self.open_with(sys::FSYS_DRIVER_THREAD)
    }
    /// Opens an engine with no thread at all: this thread drives it. See [`LocalEngine`].
    pub fn open_local(mut self) -> Result<LocalEngine> {
        self.manual = true;
        let engine = self.open_with(sys::FSYS_DRIVER_CALLER)?;
        Ok(LocalEngine { engine, this_thread: PhantomData })
    }

    fn open_with(self, driver: u32) -> Result<Engine> {
        if self.bad_root {
            return Err(Error::with_text(-crate::error::EINVAL, "the root path holds a NUL byte"));
        }
        let mut raw = null_mut();
        check_with_text(|text, size| {
            // SAFETY: all-zero is a valid fsys_options.
            let mut options: sys::fsys_options = unsafe { zeroed() };
            options.struct_size = size_of::<sys::fsys_options>() as u32;
            options.backend = match self.backend {
                Backend::Default => sys::FSYS_BACKEND_DEFAULT,
                Backend::IoUring => sys::FSYS_BACKEND_IO_URING,
                Backend::Threads => sys::FSYS_BACKEND_THREADS,
            };
            options.driver = driver;
            options.max_ops = self.max_ops;
            options.max_files = self.max_files;
            options.pool_threads = self.pool_threads;
            // 0 would be the default.
            options.close_timeout_ns =
                crate::completion::nanoseconds(Some(self.close_timeout)).max(1) as u64;
            options.arena_bytes = self.arena_bytes;
            options.root = self.root.as_ref().map_or(null(), |path| path.as_ptr());
            options.error_text = text;
            options.error_text_size = size;
            // SAFETY: options, root and output live through the call.
            unsafe { sys::fsys_open(&options, &mut raw) }
        })?;
        let max_ops = info(raw).map_or(1, |info| info.max_ops);
        Ok(Engine {
            inner: Arc::new(EngineInner {
                core: Arc::new(Core::new(raw, max_ops)),
                close_timeout: self.close_timeout,
                taken: AtomicBool::new(self.manual),
                thread: Mutex::new(None),
                life: Mutex::new(Life { borrowed: 0, closed: false }),
            }),
        })
    }
}

struct Life {
    /// Journals, readers and buffers: they lend library memory to Rust references.
    borrowed: usize,
    closed: bool,
}

pub(crate) struct EngineInner {
    pub(crate) core: Arc<Core>,
    close_timeout: Duration,
    /// Somebody takes completions: the thread below, or the program.
    taken: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    life: Mutex<Life>,
}

impl EngineInner {
    pub(crate) fn raw(&self) -> *mut sys::fsys {
        self.core.raw
    }

    pub(crate) fn start<P: Payload>(&self, payload: P) -> Op<P> {
        if !self.taken.load(Ordering::Acquire) && !self.start_thread() {
            return Op::refused(payload, -EAGAIN);
        }
        Op::start(&self.core, payload)
    }

    #[cold]
    fn start_thread(&self) -> bool {
        let mut thread = lock(&self.thread);
        if self.taken.load(Ordering::Acquire) {
            return true;
        }
        // The thread keeps the table, not the engine: an engine that nobody has any more closes,
        // and that ends the thread.
        let core = self.core.clone();
        let body = move || {
            // A finite wait, because an endless one ends when nothing is outstanding.
            while core.dispatch(Some(Duration::from_secs(3600))).is_ok() {}
        };
        let spawned = std::thread::Builder::new().name("fsys-complete".into()).spawn(body);
        *thread = spawned.ok();
        self.taken.store(thread.is_some(), Ordering::Release);
        thread.is_some()
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn taken_elsewhere(&self) {
        self.taken.store(true, Ordering::Release);
    }

    /// Counts what lends library memory; close refuses while the count is not 0.
    pub(crate) fn borrow(self: &Arc<Self>) -> Result<Borrow> {
        let mut life = lock(&self.life);
        if life.closed {
            return Err(Error::new(sys::FSYS_E_CLOSED));
        }
        life.borrowed += 1;
        Ok(Borrow(self.clone()))
    }

    fn forked(&self) -> bool {
        matches!(info(self.raw()), Err(error) if error.code() == sys::FSYS_E_FORKED)
    }

    fn close(&self) -> Result<()> {
        if self.forked() {
            // Locks may be held by threads that are not here.
            return Err(Error::new(sys::FSYS_E_FORKED));
        }
        {
            let mut life = lock(&self.life);
            if life.closed {
                return Err(Error::new(sys::FSYS_E_CLOSED));
            }
            if life.borrowed > 0 {
                let text = "a journal, reader or buffer of the engine is still there";
                return Err(Error::with_text(-EBUSY, text));
            }
            life.closed = true;
        }
        // fsys_close() drops completions that were not taken: take them first.
        let deadline = Instant::now() + self.close_timeout;
        while self.core.pending() > 0 && Instant::now() < deadline {
            if self.core.dispatch(Some(Duration::from_millis(5))).is_err() {
                break;
            }
        }
        // SAFETY: nothing of Rust borrows library memory (`borrowed` is 0), and what the kernel may
        // still use is kept below unless this returns 0.
        let code = unsafe { sys::fsys_close(self.raw()) };
        if code == sys::FSYS_E_WRONG_THREAD {
            lock(&self.life).closed = false; // still open
            return Err(Error::new(code));
        }
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
        self.core.close(code != -crate::error::ETIMEDOUT);
        check(code).map(drop)
    }
}

impl Drop for EngineInner {
    fn drop(&mut self) {
        if self.forked() {
            // SAFETY: gives up this child's copies of the descriptors.
            unsafe { sys::fsys_close(self.raw()) };
            // Neither the thread nor the ops in the table are of this process.
            if let Ok(thread) = self.thread.get_mut() {
                std::mem::forget(thread.take());
            }
            std::mem::forget(self.core.clone());
            return;
        }
        let _ = self.close();
    }
}

/// While it exists the engine cannot be closed.
pub(crate) struct Borrow(Arc<EngineInner>);

impl Borrow {
    pub(crate) fn engine(&self) -> &Arc<EngineInner> {
        &self.0
    }
}

impl Drop for Borrow {
    fn drop(&mut self) {
        lock(&self.0.life).borrowed -= 1;
    }
}

/// An engine: op slots, a ring or a thread pool, a completion queue. Clones are the same engine.
///
/// Any thread may use it. It closes when the last clone, file, journal and op in flight is gone, or
/// by [`close`](Engine::close). One engine serves a whole process.
///
/// The outcomes of `submit_*` calls are taken from the completion queue by a thread of this crate
/// that the first such call starts; or, with [`Options::manual_completions`], by whoever calls
/// [`dispatch`](Engine::dispatch) when [`event_fd`](Engine::event_fd) is readable.
///
/// In a fork child all calls on an engine of the parent are [`Kind::Forked`](crate::Kind::Forked).
#[derive(Clone)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

impl Engine {
    /// Opens one with all defaults.
    pub fn new() -> Result<Engine> {
        Options::new().open()
    }

    pub(crate) fn inner(&self) -> &Arc<EngineInner> {
        &self.inner
    }

    pub(crate) fn raw(&self) -> *mut sys::fsys {
        self.inner.raw()
    }

    /// Takes the completions that are there, waiting up to `timeout` (None: without limit) for the
    /// first, and wakes their futures. How many there were. Any thread, also several.
    pub fn dispatch(&self, timeout: Option<Duration>) -> Result<usize> {
        self.inner.core.dispatch(timeout)
    }

    /// A duplicate of the descriptor that is readable while [`dispatch`](Engine::dispatch) would
    /// find something. For epoll, poll or select; never read or write it.
    pub fn event_fd(&self) -> Result<OwnedFd> {
        // SAFETY: any thread; no memory is passed.
        let fd = check(unsafe { sys::fsys_event_fd(self.raw()) })?;
        // SAFETY: the handle's own descriptor, open unless another thread closes the engine right
        // now; borrowed only to be duplicated.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd as i32) };
        borrowed
            .try_clone_to_owned()
            .map_err(|error| Error::new(-error.raw_os_error().unwrap_or(crate::error::EINVAL)))
    }

    /// Page-aligned memory, zeroed, from the arena that is registered with the ring while that has
    /// room. At most 1 GiB.
    pub fn buffer(&self, size: usize) -> Result<Buffer> {
        Buffer::new(&self.inner, size)
    }

    /// What the engine really uses.
    pub fn info(&self) -> Result<Info> {
        let raw = info(self.raw())?;
        Ok(Info {
            backend: match raw.backend {
                sys::FSYS_BACKEND_IO_URING => Backend::IoUring,
                _ => Backend::Threads,
            },
            reason: from_chars(&raw.reason_text),
            max_ops: raw.max_ops,
            max_files: raw.max_files,
            pool_threads: raw.pool_threads,
            poisoned: raw.poisoned != 0,
            memory_bytes: raw.memory_bytes,
        })
    }

    /// Counters since the engine was opened: `fsys_counters` of `fsys/fsys.h`.
    pub fn stats(&self) -> Result<Box<sys::fsys_counters>> {
        // SAFETY: all-zero is a valid fsys_counters.
        let mut raw: Box<sys::fsys_counters> = Box::new(unsafe { zeroed() });
        raw.struct_size = size_of::<sys::fsys_counters>() as u32;
        // SAFETY: the struct states its size.
        check(unsafe { sys::fsys_stats(self.raw(), &mut *raw) })?;
        Ok(raw)
    }

    /// The sentence behind a sticky failure, or None.
    pub fn cause(&self) -> Option<String> {
        // SAFETY: an open or closed handle; the library writes at most `size` bytes.
        cause(|text, size| unsafe { sys::fsys_cause(self.raw().cast(), text, size) })
    }

    /// Closes the engine for all its clones and files: lets ops in flight end, for the close
    /// timeout, then cancels them. Dropping everything closes as well.
    ///
    /// EBUSY while a journal, reader or buffer of it is there. ETIMEDOUT when the kernel would not
    /// let go: the engine is closed, and the buffers of those ops are leaked rather than freed.
    pub fn close(&self) -> Result<()> {
        self.inner.close()
    }

    /// For calls of [`sys`] that this crate does not wrap. The completion queue
    /// belongs to this crate: ops of your own must be submitted with a place for their token.
    pub fn as_raw(&self) -> *mut sys::fsys {
        self.raw()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.raw()).finish()
    }
}

fn info(raw: *mut sys::fsys) -> Result<sys::fsys_handle_info> {
    // SAFETY: all-zero is a valid fsys_handle_info.
    let mut result: sys::fsys_handle_info = unsafe { zeroed() };
    result.struct_size = size_of::<sys::fsys_handle_info>() as u32;
    // SAFETY: the struct states its size.
    check(unsafe { sys::fsys_info(raw, &mut result) })?;
    Ok(result)
}

/// What [`Engine::info`] tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
    /// In force.
    pub backend: Backend,
    /// Why io_uring is not used, as a sentence; empty when it is.
    pub reason: String,
    /// In force.
    pub max_ops: u32,
    /// In force.
    pub max_files: u32,
    /// Most pool threads.
    pub pool_threads: u32,
    /// After a sticky failure.
    pub poisoned: bool,
    /// Upper bound of what the handle allocates, arena excluded.
    pub memory_bytes: u64,
}

/// An engine without threads: the thread that opened it drives it and closes it. For
/// thread-per-core programs.
///
/// It dereferences to its [`Engine`], clones of which may be used by other threads to submit; but
/// nothing moves unless this thread is inside [`poll`](LocalEngine::poll) or
/// [`block_on`](LocalEngine::block_on). Neither `Send` nor `Sync`:
///
/// ```compile_fail
/// let engine = fsys::Options::new().open_local().unwrap();
/// std::thread::spawn(move || engine.poll(None));
/// ```
pub struct LocalEngine {
    engine: Engine,
    this_thread: PhantomData<*mut ()>,
}

impl LocalEngine {
    /// Submits what is listed, waits up to `timeout` (None: without limit) for the first completion,
    /// and wakes the futures of all that came. How many.
    pub fn poll(&self, timeout: Option<Duration>) -> Result<usize> {
        // SAFETY: this type stays on the thread that opened the handle.
        let code =
            unsafe { sys::fsys_poll(self.engine.raw(), crate::completion::nanoseconds(timeout)) };
        check(code)?;
        self.engine.inner.core.dispatch(Some(Duration::ZERO))
    }

    /// Runs a future on this thread while driving the engine. A wake that comes from another thread
    /// is noticed within 10 ms.
    pub fn block_on<F: std::future::Future>(&self, future: F) -> F::Output {
        use std::task::{Context, Poll, Wake, Waker};
        struct Flag(AtomicBool);
        impl Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Release);
            }
        }
        let mut future = Box::pin(future);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(flag.clone());
        loop {
            if flag.0.swap(false, Ordering::Acquire) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    return output;
                }
            }
            let patience = Duration::from_millis(10);
            // A dead engine has failed its ops, which set the flag; others may still be waited for.
            if !flag.0.load(Ordering::Acquire) && self.poll(Some(patience)).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Deref for LocalEngine {
    type Target = Engine;
    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for LocalEngine {
    fn drop(&mut self) {
        // Here and not where the last clone goes, which may be on another thread.
        let _ = self.engine.close();
    }
}
