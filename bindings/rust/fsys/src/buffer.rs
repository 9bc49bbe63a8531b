// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Aligned memory from the engine's registered arena.
use crate::buf::{IoBuf, IoBufMut};
use crate::engine::{Borrow, EngineInner};
use crate::error::{check, Result};
use fsys_sys as sys;
use std::ops::{Deref, DerefMut};
use std::ptr::null_mut;
use std::sync::Arc;

/// Page-aligned memory, as O_DIRECT needs it, registered with the ring where possible; see
/// [`Engine::buffer`](crate::Engine::buffer).
///
/// It has a length and a fixed capacity, as a vector: a read fills it from the start and sets the
/// length; dereferencing gives the bytes up to the length, at first all of them. The engine cannot
/// be closed while a buffer of it is there.
pub struct Buffer {
    memory: *mut u8,
    length: usize,
    capacity: usize,
    engine: Borrow,
}

// SAFETY: the memory has one owner, this value; fsys_buffer_free() is for any thread.
unsafe impl Send for Buffer {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    pub(crate) fn new(engine: &Arc<EngineInner>, size: usize) -> Result<Buffer> {
        let engine = engine.borrow()?;
        let mut memory = null_mut();
        // SAFETY: the output lives through the call.
        check(unsafe { sys::fsys_buffer_alloc(engine.engine().raw(), size, &mut memory) })?;
        Ok(Buffer { memory: memory.cast(), length: size, capacity: size, engine })
    }

    /// Bytes it has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Sets the length, at most the capacity.
    ///
    /// # Panics
    /// When `length` is more.
    pub fn set_len(&mut self, length: usize) {
        assert!(length <= self.capacity, "length {length} of a buffer of {}", self.capacity);
        self.length = length;
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `capacity` bytes, zeroed by the library when allocated, owned by this value.
        unsafe { std::slice::from_raw_parts(self.memory, self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed uniquely.
        unsafe { std::slice::from_raw_parts_mut(self.memory, self.length) }
    }
}

// SAFETY: library memory that stays until fsys_buffer_free(), all of it initialised.
unsafe impl IoBuf for Buffer {
    fn ptr(&self) -> *const u8 {
        self.memory
    }
    fn len(&self) -> usize {
        self.length
    }
}

// SAFETY: as above; one owner.
unsafe impl IoBufMut for Buffer {
    fn mut_ptr(&mut self) -> *mut u8 {
        self.memory
    }
    fn capacity(&self) -> usize {
        self.capacity
    }
    unsafe fn set_filled(&mut self, count: usize) {
        self.length = count;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated by this engine, which cannot have been closed; ops own their buffers,
        // so none is using it.
        unsafe { sys::fsys_buffer_free(self.engine.engine().raw(), self.memory.cast()) };
    }
}
