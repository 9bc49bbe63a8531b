// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Raw bindings to libfsys, `libfsys.so.1`: every function, struct and constant of its public
//! headers under its C name. What they promise is written in those headers (`fsys/fsys.h`,
//! `fsys/journal.h`, ...); a safe interface is the crate `libfsys`.
//!
//! Handles (`fsys`, `fsys_file`, ...) are ids that look like pointers: they are never dereferenced,
//! on either side. Each option struct starts with `struct_size`; set it to
//! `core::mem::size_of::<T>()` as compiled here, and zero the rest.
#![allow(non_camel_case_types)]

#[rustfmt::skip]
mod bindings;
pub use bindings::*;
