// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Futures of ops.
use crate::buf::{IoBuf, IoBufMut};
use crate::completion::{lock, Core, Pending};
use crate::error::{Error, Result};
use crate::file::FileInner;
use fsys_sys as sys;
use std::fmt;
use std::future::Future;
use std::os::raw::c_void;
use std::pin::Pin;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// An op that was submitted; a future of its outcome.
///
/// The op runs whether the future is polled or not. **Dropping the future cancels the op**, as far as
/// that can be done: what has not started does not start, a read of a pipe or socket that waits ends,
/// and so does waiting for a journal. What a thread or the device is executing goes on to its end, so
/// a dropped write may have been done, not at all or in part. In any case the buffer is freed only
/// when the completion has been taken, by whichever thread takes it; where none is taken (the engine
/// died) it is kept. [`detach`](Op::detach) lets the op go on. Futures may be polled by any executor on
/// any thread.
#[must_use = "dropping it cancels the op"]
pub struct Op<P: Payload> {
    state: Arc<State<P>>,
    /// Where to cancel it, with the place in the table. None: nothing is to be cancelled any more.
    core: Option<Arc<Core>>,
    key: usize,
}

/// What an op carries; implemented by this crate only.
pub trait Payload: sealed::Payload {
    /// What awaiting the op gives.
    type Output;
    #[doc(hidden)]
    fn finish(self, result: &sys::fsys_result) -> Self::Output;
    #[doc(hidden)]
    fn refused(self, code: i32) -> Self::Output;
    #[doc(hidden)]
    fn lost(code: i32) -> Self::Output;
}

mod sealed {
    pub trait Payload: Send + 'static {
        fn submit(&mut self, key: u64, flags: u32) -> i32;
    }
}
pub(crate) use sealed::Payload as Submit;

enum Stage {
    Waiting(Option<Waker>),
    Done(sys::fsys_result),
    /// No completion came. The flag: the payload may be given back.
    Failed(i32, bool),
    Taken,
}

struct Slot<P> {
    /// Set from the submission on: the payload does not move while the kernel has its pointers.
    payload: Option<P>,
    stage: Stage,
}

struct State<P> {
    slot: Mutex<Slot<P>>,
}

impl<P: Payload> Op<P> {
    pub(crate) fn start(core: &Arc<Core>, payload: P) -> Op<P> {
        let slot = Slot { payload: Some(payload), stage: Stage::Waiting(None) };
        let state = Arc::new(State { slot: Mutex::new(slot) });
        let key = core.start(state.clone());
        Op { state, core: Some(core.clone()), key }
    }

    /// One that never got as far as the table.
    pub(crate) fn refused(payload: P, code: i32) -> Op<P> {
        let slot = Slot { payload: Some(payload), stage: Stage::Failed(code, true) };
        Op { state: Arc::new(State { slot: Mutex::new(slot) }), core: None, key: 0 }
    }

    /// Waits for the outcome on this thread. Needs another thread that takes completions, as the
    /// engine's own does; see [`Engine::dispatch`](crate::Engine::dispatch) for engines without.
    pub fn wait(self) -> P::Output {
        block_on(self)
    }

    /// Gives up the outcome without cancelling the op: it goes on to its end, and its failure goes
    /// unseen. The buffer is freed then.
    pub fn detach(mut self) {
        self.core = None;
    }

    /// # Panics
    /// When the outcome has been taken.
    pub(crate) fn with_payload<T>(&self, look: impl FnOnce(&P) -> T) -> T {
        look(lock(&self.state.slot).payload.as_ref().expect("kept until taken"))
    }

    /// Whether the outcome is there.
    pub fn is_done(&self) -> bool {
        !matches!(lock(&self.state.slot).stage, Stage::Waiting(_))
    }
}

impl<P: Payload> Drop for Op<P> {
    fn drop(&mut self) {
        let core = match self.core.take() {
            Some(core) => core,
            None => return,
        };
        // Not waiting for the lock: in a fork child its holder may be gone.
        let waiting = match self.state.slot.try_lock() {
            Ok(slot) => matches!(slot.stage, Stage::Waiting(_)),
            Err(_) => true,
        };
        if waiting {
            let op: Arc<dyn Pending> = self.state.clone();
            core.cancel(self.key, &op);
        }
    }
}

impl<P: Payload> State<P> {
    fn end(&self, stage: Stage) {
        let waker = {
            let mut slot = lock(&self.slot);
            match &mut slot.stage {
                Stage::Waiting(waker) => {
                    let waker = waker.take();
                    slot.stage = stage;
                    waker
                }
                // Lost when the engine died, and now close has made sure of the buffer.
                Stage::Failed(_, free @ false) => {
                    *free = matches!(stage, Stage::Failed(_, true));
                    None
                }
                _ => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<P: Payload> Pending for State<P> {
    fn submit(&self, key: u64, flags: u32) -> i32 {
        match lock(&self.slot).payload.as_mut() {
            Some(payload) => payload.submit(key, flags),
            None => sys::FSYS_E_STALE,
        }
    }

    fn complete(&self, result: &sys::fsys_result) {
        self.end(Stage::Done(*result));
    }

    fn fail(&self, code: i32, buffer_is_free: bool) {
        self.end(Stage::Failed(code, buffer_is_free));
    }
}

impl<P: Payload> Future for Op<P> {
    type Output = P::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<P::Output> {
        let op = self.get_mut();
        let mut slot = lock(&op.state.slot);
        if let Stage::Waiting(waker) = &mut slot.stage {
            match waker {
                Some(old) if old.will_wake(context.waker()) => {}
                _ => *waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        op.core = None;
        let stage = std::mem::replace(&mut slot.stage, Stage::Taken);
        Poll::Ready(match stage {
            Stage::Done(result) => {
                let payload = slot.payload.take();
                drop(slot);
                payload.expect("kept until taken").finish(&result)
            }
            Stage::Failed(code, true) => {
                let payload = slot.payload.take();
                drop(slot);
                payload.expect("kept until taken").refused(code)
            }
            Stage::Failed(code, false) => P::lost(code),
            Stage::Waiting(_) | Stage::Taken => {
                panic!("an Op was polled after it gave its outcome")
            }
        })
    }
}

impl<P: Payload> fmt::Debug for Op<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Op").field("done", &self.is_done()).finish()
    }
}

/// Failure of an op that carried a buffer.
///
/// The buffer comes back, except when the engine died or was closed with the op in flight: then the
/// kernel may still be using the memory, and it is kept from being freed.
pub struct OpError<B> {
    /// Why.
    pub error: Error,
    /// Bytes transferred before the failure.
    pub bytes_done: u64,
    /// The buffer, unless the kernel may still be using it.
    pub buffer: Option<B>,
}

impl<B> fmt::Debug for OpError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("OpError");
        debug.field("error", &self.error).field("bytes_done", &self.bytes_done);
        debug.field("buffer", &self.buffer.is_some()).finish()
    }
}

impl<B> fmt::Display for OpError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<B> std::error::Error for OpError<B> {}

impl<B> From<OpError<B>> for Error {
    fn from(failure: OpError<B>) -> Error {
        failure.error
    }
}

impl<B> From<OpError<B>> for std::io::Error {
    fn from(failure: OpError<B>) -> std::io::Error {
        failure.error.into()
    }
}

/// Outcome of an op that carried a buffer: the count of bytes and the buffer, or the failure.
pub type OpResult<B> = std::result::Result<(usize, B), OpError<B>>;

fn transfer<B>(result: &sys::fsys_result, buffer: B) -> OpResult<B> {
    if result.result >= 0 {
        return Ok((result.result as usize, buffer));
    }
    let error = Error::new(result.result as i32);
    Err(OpError { error, bytes_done: result.bytes_done, buffer: Some(buffer) })
}

/// Payload of [`File::submit_read`](crate::File::submit_read).
pub struct Reading<B> {
    pub(crate) file: Arc<FileInner>,
    pub(crate) buffer: B,
    pub(crate) offset: u64,
    pub(crate) flags: u32,
}

impl<B: IoBufMut> Submit for Reading<B> {
    fn submit(&mut self, key: u64, flags: u32) -> i32 {
        let memory = self.buffer.mut_ptr().cast::<c_void>();
        // SAFETY: IoBufMut promises `capacity` bytes that stay; the in-flight table keeps the
        // buffer until the completion.
        unsafe {
            sys::fsys_submit_read(
                self.file.raw,
                memory,
                self.buffer.capacity(),
                self.offset,
                self.flags | flags,
                key,
                null_mut(),
            )
        }
    }
}

impl<B: IoBufMut> Payload for Reading<B> {
    type Output = OpResult<B>;
    fn finish(mut self, result: &sys::fsys_result) -> OpResult<B> {
        if result.result >= 0 {
            // SAFETY: the library wrote that many bytes, at most what was asked for.
            unsafe { self.buffer.set_filled(result.result as usize) };
        }
        transfer(result, self.buffer)
    }
    fn refused(self, code: i32) -> OpResult<B> {
        Err(OpError { error: Error::new(code), bytes_done: 0, buffer: Some(self.buffer) })
    }
    fn lost(code: i32) -> OpResult<B> {
        Err(OpError { error: Error::new(code), bytes_done: 0, buffer: None })
    }
}

/// Payload of [`File::submit_write`](crate::File::submit_write).
pub struct Writing<B> {
    pub(crate) file: Arc<FileInner>,
    pub(crate) buffer: B,
    pub(crate) offset: u64,
    pub(crate) flags: u32,
}

impl<B: IoBuf> Submit for Writing<B> {
    fn submit(&mut self, key: u64, flags: u32) -> i32 {
        // SAFETY: IoBuf promises `len` bytes that stay unchanged; the in-flight table keeps the
        // buffer until the completion.
        unsafe {
            sys::fsys_submit_write(
                self.file.raw,
                self.buffer.ptr().cast::<c_void>(),
                self.buffer.len(),
                self.offset,
                self.flags | flags,
                key,
                null_mut(),
            )
        }
    }
}

impl<B: IoBuf> Payload for Writing<B> {
    type Output = OpResult<B>;
    fn finish(self, result: &sys::fsys_result) -> OpResult<B> {
        transfer(result, self.buffer)
    }
    fn refused(self, code: i32) -> OpResult<B> {
        Err(OpError { error: Error::new(code), bytes_done: 0, buffer: Some(self.buffer) })
    }
    fn lost(code: i32) -> OpResult<B> {
        Err(OpError { error: Error::new(code), bytes_done: 0, buffer: None })
    }
}

/// Payload of [`File::submit_sync`](crate::File::submit_sync).
pub struct Syncing {
    pub(crate) file: Arc<FileInner>,
    pub(crate) flags: u32,
}

impl Submit for Syncing {
    fn submit(&mut self, key: u64, flags: u32) -> i32 {
        // SAFETY: no memory is passed.
        unsafe { sys::fsys_submit_sync(self.file.raw, 0, 0, self.flags | flags, key, null_mut()) }
    }
}

impl Payload for Syncing {
    type Output = Result<()>;
    fn finish(self, result: &sys::fsys_result) -> Result<()> {
        crate::error::check_count(result.result).map(drop)
    }
    fn refused(self, code: i32) -> Result<()> {
        Err(Error::new(code))
    }
    fn lost(code: i32) -> Result<()> {
        Err(Error::new(code))
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread: an executor of the smallest kind, for programs without one.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}
