// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many ops in one call, waited for together by the calling thread.
use crate::buf::{IoBuf, IoBufMut};
use crate::completion::nanoseconds;
use crate::engine::{Engine, EngineInner};
use crate::error::{Error, Result};
use crate::file::{File, FileInner};
use fsys_sys as sys;
use std::fmt;
use std::mem::zeroed;
use std::sync::Arc;

/// Ops that fsys_wait_all() takes at a time.
const MOST: usize = 4096;
const ECANCELED: i32 = 125;

/// What became of one op of a [`Batch`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Done<B> {
    /// Bytes transferred (0 for a sync), or why not.
    pub result: Result<usize>,
    /// The buffer of a read or write; None when the kernel may still be using it (the engine died or
    /// was closed).
    pub buffer: Option<B>,
}

struct Item<B> {
    file: Arc<FileInner>,
    opcode: u32,
    flags: u32,
    offset: u64,
    buffer: Option<B>,
}

/// Reads, writes and syncs that are submitted in one call and executed, where that is cheapest, as one
/// batch by the thread that waits: no completion thread, no wake-up.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("fsys-doc-batch-{}", std::process::id()));
/// # let engine = fsys::Engine::new()?;
/// # let file = fsys::File::create(&engine, &path)?;
/// let mut batch = fsys::Batch::new(&engine);
/// batch.write(&file, b"head".to_vec(), 0).linked(); // the next one only when this went well
/// batch.sync_data(&file);
/// for done in batch.run() {
///     done.result?;
/// }
/// # std::fs::remove_file(path)
/// # }
/// ```
#[must_use = "a batch does nothing until it is run"]
pub struct Batch<B> {
    engine: Arc<EngineInner>,
    items: Vec<Item<B>>,
}

impl<B: IoBuf + IoBufMut> Batch<B> {
    /// An empty one, for files of this engine.
    pub fn new(engine: &Engine) -> Batch<B> {
        Batch { engine: engine.inner().clone(), items: Vec::new() }
    }

    fn add(
        &mut self,
        file: &File,
        opcode: u32,
        flags: u32,
        offset: u64,
        buffer: Option<B>,
    ) -> &mut Self {
        self.items.push(Item { file: file.inner().clone(), opcode, flags, offset, buffer });
        self
    }

    /// Reads `buffer.capacity()` bytes, fewer at end of file.
    pub fn read(&mut self, file: &File, buffer: B, offset: u64) -> &mut Self {
        self.add(file, sys::FSYS_OP_READ, 0, offset, Some(buffer))
    }
    /// Writes the whole buffer.
    pub fn write(&mut self, file: &File, buffer: B, offset: u64) -> &mut Self {
        self.add(file, sys::FSYS_OP_WRITE, 0, offset, Some(buffer))
    }
    /// Writes the whole buffer; success means on stable storage.
    pub fn write_durable(&mut self, file: &File, buffer: B, offset: u64) -> &mut Self {
        self.add(file, sys::FSYS_OP_WRITE, sys::FSYS_DURABLE, offset, Some(buffer))
    }
    /// fdatasync(2), of what has been written before: link it behind writes of this batch.
    pub fn sync_data(&mut self, file: &File) -> &mut Self {
        self.add(file, sys::FSYS_OP_SYNC, sys::FSYS_SYNC_DATA, 0, None)
    }
    /// The op that is added next starts only after the last one has transferred its exact length;
    /// otherwise it, and all linked behind it, end with ECANCELED.
    pub fn linked(&mut self) -> &mut Self {
        if let Some(item) = self.items.last_mut() {
            item.flags |= sys::FSYS_LINK;
        }
        self
    }
    /// How many ops there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Runs them and waits for all. The outcomes are in the order of adding.
    pub fn run(mut self) -> Vec<Done<B>> {
        if let Some(last) = self.items.last_mut() {
            last.flags &= !sys::FSYS_LINK; // to nothing
        }
        let mut requests: Vec<_> = self.items.iter_mut().map(request).collect();
        let mut results: Vec<Result<sys::fsys_result>> = Vec::with_capacity(requests.len());
        while results.len() < requests.len() {
            let rest = &mut requests[results.len()..];
            // Not through a chain, unless it alone is longer (which the library then refuses).
            let links = |end: &usize| rest[end - 1].flags & sys::FSYS_LINK != 0;
            let most = rest.len().min(MOST);
            let end = (1..=most).rev().find(|end| !links(end)).unwrap_or(most);
            self.run_some(&mut rest[..end], &mut results);
        }
        let outcomes = self.items.into_iter().zip(results);
        outcomes.map(|(item, result)| finish(item, result)).collect()
    }

    /// Submits as many as are accepted, waits for them, and adds at least one result.
    fn run_some(
        &self,
        requests: &mut [sys::fsys_request],
        results: &mut Vec<Result<sys::fsys_result>>,
    ) {
        // Only the first (with what is linked to it) waits for a slot: the others might wait for those
        // that these very requests hold until they are taken below.
        for request in requests.iter_mut() {
            request.flags &= !sys::FSYS_NONBLOCK;
            if request.flags & sys::FSYS_LINK == 0 {
                break;
            }
        }
        let mut tokens = vec![0; requests.len()];
        // SAFETY: the array lives through the call; the buffers in it are the items', which run()
        // keeps, or leaks, until their completions have been taken.
        let accepted = unsafe {
            sys::fsys_submit(
                self.engine.raw(),
                requests.as_ptr(),
                requests.len() as u32,
                tokens.as_mut_ptr(),
            )
        };
        if accepted <= 0 {
            // The first was refused, and with it what is linked behind.
            let mut code = accepted;
            for request in requests.iter() {
                results.push(Err(Error::new(code)));
                if request.flags & sys::FSYS_LINK == 0 {
                    break;
                }
                code = -ECANCELED;
            }
            return;
        }
        tokens.truncate(accepted as usize);
        // SAFETY: all-zero is a valid fsys_result.
        let mut done: Vec<sys::fsys_result> = vec![unsafe { zeroed() }; tokens.len()];
        // SAFETY: `done` has room for as many results as there are tokens.
        let code = unsafe {
            sys::fsys_wait_all(
                self.engine.raw(),
                tokens.as_ptr(),
                tokens.len() as u32,
                nanoseconds(None),
                done.as_mut_ptr(),
            )
        };
        if code == 0 {
            results.extend(done.into_iter().map(Ok));
        } else {
            // The engine died or was closed: LOST marks buffers that must not be freed.
            results.extend(tokens.iter().map(|_| Ok(sys::fsys_result { op: LOST, ..lost(code) })));
        }
    }
}

/// Not a token that an op could have: a completion that never came.
const LOST: u64 = u64::MAX;

fn lost(code: i32) -> sys::fsys_result {
    sys::fsys_result {
        user_data: 0,
        op: 0,
        result: i64::from(code),
        bytes_done: 0,
        step: 0,
        lane: 0,
    }
}

fn request<B: IoBuf + IoBufMut>(item: &mut Item<B>) -> sys::fsys_request {
    // SAFETY: all-zero is a valid fsys_request.
    let mut request: sys::fsys_request = unsafe { zeroed() };
    request.opcode = item.opcode;
    request.flags = item.flags | sys::FSYS_WAIT_SOON | sys::FSYS_NONBLOCK;
    request.file = item.file.raw;
    request.offset = item.offset;
    if let Some(buffer) = item.buffer.as_mut() {
        let reads = item.opcode == sys::FSYS_OP_READ;
        request.length = if reads { buffer.capacity() as u64 } else { buffer.len() as u64 };
        request.buffer = buffer.mut_ptr().cast();
    }
    request
}

fn finish<B: IoBufMut>(item: Item<B>, result: Result<sys::fsys_result>) -> Done<B> {
    let result = match result {
        Ok(result) => result,
        Err(error) => return Done { result: Err(error), buffer: item.buffer },
    };
    if result.op == LOST {
        // The kernel may still be using it.
        std::mem::forget(item.buffer);
        return Done { result: Err(Error::new(result.result as i32)), buffer: None };
    }
    let mut buffer = item.buffer;
    if result.result < 0 {
        return Done { result: Err(Error::new(result.result as i32)), buffer };
    }
    if let (sys::FSYS_OP_READ, Some(buffer)) = (item.opcode, buffer.as_mut()) {
        // SAFETY: the library wrote that many bytes, at most the capacity.
        unsafe { buffer.set_filled(result.result as usize) };
    }
    Done { result: Ok(result.result as usize), buffer }
}

impl<B> fmt::Debug for Batch<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("len", &self.items.len()).finish()
    }
}
