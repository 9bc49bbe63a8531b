// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Owned buffers: what an asynchronous op may read from or write into.
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

/// Memory that an op may read while nobody looks after it.
///
/// # Safety
///
/// The bytes `ptr() .. ptr() + len()` stay where they are, initialised and unchanged, for as long
/// as the value exists, wherever the value itself is moved: they live on the heap or are static,
/// not inside the value. `ptr` and `len` return the same each time until a `&mut` call changes
/// them.
pub unsafe trait IoBuf: Send + 'static {
    /// Start of the bytes.
    fn ptr(&self) -> *const u8;
    /// How many there are.
    fn len(&self) -> usize;
    /// No byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// A part of the buffer as a buffer; [`Slice::into_inner`] gives the whole back.
    ///
    /// # Panics
    /// When the range does not lie within `len()`.
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        let length = self.len();
        Slice::new(self, range, length)
    }
}

/// Memory that an op may write into while nobody looks after it.
///
/// # Safety
///
/// As [`IoBuf`], for `mut_ptr() .. mut_ptr() + capacity()` (which need not be initialised), and no
/// other value refers to these bytes.
pub unsafe trait IoBufMut: Send + 'static {
    /// Start of the memory.
    fn mut_ptr(&mut self) -> *mut u8;
    /// Its size: a read asks for this many bytes.
    fn capacity(&self) -> usize;
    /// Tells that the first `count` bytes have been written.
    ///
    /// # Safety
    /// They have, and `count <= capacity()`.
    unsafe fn set_filled(&mut self, count: usize);
}

// SAFETY: a Vec's bytes are on the heap; `len` of them are initialised.
unsafe impl IoBuf for Vec<u8> {
    fn ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn len(&self) -> usize {
        Vec::len(self)
    }
}

/// A read fills the vector from its start up to its *capacity*, and sets the length to what came.
// SAFETY: a Vec owns its heap memory, up to the capacity.
unsafe impl IoBufMut for Vec<u8> {
    fn mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn capacity(&self) -> usize {
        Vec::capacity(self)
    }
    unsafe fn set_filled(&mut self, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.set_len(count) };
    }
}

// SAFETY: the bytes are on the heap, all initialised.
unsafe impl IoBuf for Box<[u8]> {
    fn ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
}

// SAFETY: owned heap memory; its length never changes.
unsafe impl IoBufMut for Box<[u8]> {
    fn mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn capacity(&self) -> usize {
        <[u8]>::len(self)
    }
    unsafe fn set_filled(&mut self, _count: usize) {}
}

// SAFETY: on the heap, and shared bytes do not change.
unsafe impl IoBuf for Arc<[u8]> {
    fn ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
}

// SAFETY: static.
unsafe impl IoBuf for &'static [u8] {
    fn ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
}

// SAFETY: static.
unsafe impl IoBuf for &'static str {
    fn ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn len(&self) -> usize {
        str::len(self)
    }
}

/// A part of a buffer, see [`IoBuf::slice`].
#[derive(Debug)]
pub struct Slice<B> {
    inner: B,
    start: usize,
    length: usize,
}

impl<B> Slice<B> {
    fn new(inner: B, range: impl RangeBounds<usize>, length: usize) -> Slice<B> {
        let start = match range.start_bound() {
            Bound::Included(&n) => n,
            Bound::Excluded(&n) => n + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&n) => n + 1,
            Bound::Excluded(&n) => n,
            Bound::Unbounded => length,
        };
        assert!(start <= end && end <= length, "range {start}..{end} of a buffer of {length}");
        Slice { inner, start, length: end - start }
    }

    /// The whole buffer.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

// SAFETY: a part of what `inner` promises; the range was checked against its length, which does not
// change while nobody else has `inner`.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn ptr(&self) -> *const u8 {
        self.inner.ptr().wrapping_add(self.start)
    }
    fn len(&self) -> usize {
        self.length
    }
}

// SAFETY: as above. Only initialised bytes are in the range (`slice` is of IoBuf's length), so a read
// that fills less leaves nothing uninitialised and the inner length stays.
unsafe impl<B: IoBuf + IoBufMut> IoBufMut for Slice<B> {
    fn mut_ptr(&mut self) -> *mut u8 {
        self.inner.mut_ptr().wrapping_add(self.start)
    }
    fn capacity(&self) -> usize {
        self.length
    }
    unsafe fn set_filled(&mut self, _count: usize) {}
}

impl<B: IoBuf> Deref for Slice<B> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: IoBuf promises that these bytes are initialised and stay.
        unsafe { std::slice::from_raw_parts(self.ptr(), self.length) }
    }
}
