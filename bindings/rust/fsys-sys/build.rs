// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finds libfsys: FSYS_LIB_DIR first, else pkg-config, called directly to have no dependencies.

use std::env;
use std::process::{exit, Command};

const VARIABLES: &[&str] = &[
    "FSYS_LIB_DIR",
    "FSYS_INCLUDE_DIR",
    "PKG_CONFIG",
    "PKG_CONFIG_PATH",
    "PKG_CONFIG_LIBDIR",
    "PKG_CONFIG_SYSROOT_DIR",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in VARIABLES {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if env::var_os("DOCS_RS").is_some() {
        return; // documentation is made without the library
    }
    if let Ok(include) = env::var("FSYS_INCLUDE_DIR") {
        println!("cargo:include={include}");
    }
    if let Ok(folder) = env::var("FSYS_LIB_DIR") {
        println!("cargo:rustc-link-search=native={folder}");
        println!("cargo:rustc-link-lib=dylib=fsys");
        return;
    }
    let cross = env::var("HOST") != env::var("TARGET");
    if cross && env::var_os("PKG_CONFIG").is_none() && env::var_os("PKG_CONFIG_LIBDIR").is_none() {
        fail("cross-compiling: set FSYS_LIB_DIR, or PKG_CONFIG to the target's pkg-config");
    }
    for flag in pkg_config().split_whitespace() {
        if let Some(folder) = flag.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={folder}");
        } else if let Some(name) = flag.strip_prefix("-l") {
            println!("cargo:rustc-link-lib=dylib={name}");
        } else if let Some(folder) = flag.strip_prefix("-I") {
            if env::var_os("FSYS_INCLUDE_DIR").is_none() {
                println!("cargo:include={folder}");
            }
        }
    }
}

fn pkg_config() -> String {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    // The crate's own version is that of the oldest library with all the functions it declares.
    let wanted = format!("fsys >= {}", env!("CARGO_PKG_VERSION"));
    let run = Command::new(&program)
        .env("PKG_CONFIG_ALLOW_SYSTEM_CFLAGS", "1")
        .args(["--cflags", "--libs", &wanted])
        .output();
    match run {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Ok(output) => fail(&format!(
            "`{program} --libs '{wanted}'` did not find it:\n{}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        )),
        Err(error) => fail(&format!("cannot run {program}: {error}")),
    }
}

fn fail(reason: &str) -> ! {
    eprintln!(
        "libfsys-sys needs the C library libfsys. {reason}\n\
         Install it, or put the folder of fsys.pc into PKG_CONFIG_PATH, or set FSYS_LIB_DIR to the \
         folder of libfsys.so."
    );
    exit(1);
}
