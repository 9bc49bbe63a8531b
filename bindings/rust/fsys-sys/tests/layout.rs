// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Compares the bindings, line by line, with the table that a C program prints of the headers.
//!
//! FSYS_LAYOUT_PROGRAM is that program (tests/abi/make_layout.py makes it); without it the table
//! committed in the C tree is used, and outside of that tree there is nothing to compare with.
#![warn(clippy::undocumented_unsafe_blocks)]
use fsys_sys::*;
use std::collections::BTreeSet;
use std::mem::{align_of, size_of, MaybeUninit};

/// Size of the field that `_get` would borrow; it is never called.
fn size_of_field<S, F>(_get: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layout {
    ($rows:ident, $name:ident, $($field:ident),*) => {
        $rows.push(format!("struct {}: size {} align {}", stringify!($name),
            size_of::<$name>(), align_of::<$name>()));
        $({
            let place = MaybeUninit::<$name>::uninit();
            let base = place.as_ptr();
            // SAFETY: only an address inside `place` is formed, nothing is read.
            let offset = unsafe { std::ptr::addr_of!((*base).$field) } as usize - base as usize;
            $rows.push(format!("{}.{}: offset {} size {}", stringify!($name),
                stringify!($field).trim_end_matches('_'), offset,
                size_of_field(|s: &$name| &s.$field)));
        })*
    };
}

macro_rules! constant {
    ($rows:ident, $name:ident) => {
        $rows.push(format!("{} = {}", stringify!($name), $name))
    };
}

#[rustfmt::skip]
#[path = "layout/table.rs"]
mod table;

fn c_table() -> Option<String> {
    if let Some(program) = std::env::var_os("FSYS_LAYOUT_PROGRAM") {
        let output = std::process::Command::new(program).output().expect("the layout program runs");
        assert!(output.status.success());
        return Some(String::from_utf8(output.stdout).unwrap());
    }
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/abi/layout.txt"))
        .ok()
}

#[test]
fn the_bindings_have_the_layout_of_c() {
    let text = match c_table() {
        Some(text) => text,
        None => return println!("skipped: neither FSYS_LAYOUT_PROGRAM nor the C tree is here"),
    };
    let rust: BTreeSet<String> = table::rows().into_iter().collect();
    let c: BTreeSet<String> =
        text.lines().filter(|line| !line.starts_with("pointer ")).map(String::from).collect();
    assert!(c.len() > 250, "the table of C has only {} rows", c.len());
    let only_c: Vec<_> = c.difference(&rust).collect();
    let only_rust: Vec<_> = rust.difference(&c).collect();
    assert!(
        only_c.is_empty() && only_rust.is_empty(),
        "only in C: {only_c:#?}\nonly in Rust: {only_rust:#?}"
    );
}

#[test]
fn the_loaded_library_is_of_the_headers_version() {
    // SAFETY: no arguments, no state.
    let version = unsafe { fsys_version() };
    assert_eq!(version, FSYS_VERSION);
    let crate_version = format!("{FSYS_VERSION_MAJOR}.{FSYS_VERSION_MINOR}.{FSYS_VERSION_PATCH}");
    assert_eq!(env!("CARGO_PKG_VERSION"), crate_version);
}
