// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the safe interface costs over the C calls: `cargo bench` (options behind `--`).
//!
//! usage: overhead [--rounds N] [--dir DIR]
//!
//! 4 KiB reads and writes of cached pages, one thread, the same buffer and offsets for every
//! variant. Each round runs every variant for a slice, in turn; a difference is taken within its
//! round, and the median of those is printed with its quartiles. The fastest tenth says more than the
//! median on a machine that does other things besides. Not a test: nothing here fails.
#![warn(clippy::undocumented_unsafe_blocks)]
use fsys::{sys, Engine, File};
use std::cell::RefCell;
use std::os::raw::c_void;
use std::os::unix::fs::FileExt;
use std::os::unix::io::AsRawFd;
use std::time::Instant;

const BLOCK: usize = 4096;
const BLOCKS: u64 = 256;
const OPS: u32 = 2000;

fn slice(mut op: impl FnMut(u64)) -> f64 {
    let mut state = 88172645463325252_u64;
    let begin = Instant::now();
    for _ in 0..OPS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        op(state % BLOCKS * BLOCK as u64);
    }
    begin.elapsed().as_nanos() as f64 / f64::from(OPS)
}

/// The tenth part, and the quartiles.
fn spread(mut values: Vec<f64>) -> [f64; 4] {
    values.sort_by(f64::total_cmp);
    let at = |part: usize| values[(values.len() - 1) * part / 20];
    [at(2), at(5), at(10), at(15)]
}

fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name)?;
    arguments.next()
}

fn main() -> std::io::Result<()> {
    let rounds: usize = option("--rounds").and_then(|text| text.parse().ok()).unwrap_or(301);
    let directory = option("--dir").map_or_else(std::env::temp_dir, Into::into);
    let path = directory.join(format!("fsys-overhead-{}", std::process::id()));
    std::fs::write(&path, vec![1; BLOCK * BLOCKS as usize])?;

    let engine = Engine::new()?;
    let file = fsys::OpenOptions::new().read(true).write(true).open(&engine, &path)?;
    let plain = std::fs::OpenOptions::new().read(true).write(true).open(&path)?;
    // The same calls without the wrapper, on a file of the same engine.
    let mut raw = std::ptr::null_mut();
    // SAFETY: the descriptor is open, the output lives through the call, no options.
    let code = unsafe {
        sys::fsys_file_from_fd(engine.as_raw(), plain.as_raw_fd(), std::ptr::null(), &mut raw)
    };
    assert_eq!(code, 0);

    let buffer = RefCell::new(vec![0_u8; BLOCK]);
    let report = |what: &str, variants: &mut [(&str, &mut dyn FnMut(u64))]| {
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); variants.len()];
        for round in 0..=rounds {
            for turn in 0..variants.len() {
                let which = (round + turn) % variants.len();
                let time = slice(&mut *variants[which].1);
                if round > 0 {
                    times[which].push(time);
                }
            }
        }
        println!("{what}, cached, ns per op; median (quartiles), fastest tenth of {rounds} rounds");
        let fastest_c = spread(times[0].clone())[0];
        for ((name, _), time) in variants.iter().zip(&times) {
            let over: Vec<f64> = time.iter().zip(&times[0]).map(|(a, b)| a - b).collect();
            let ([t, a, b, c], [_, d, e, f]) = (spread(time.clone()), spread(over));
            println!(
                "  {name:22} {b:7.1} ({a:.1} .. {c:.1}), {t:.1}   over C {e:+6.1} ({d:+.1} .. {f:+.1}), {:+.1}",
                t - fastest_c
            );
        }
    };

    report(
        "read of 0 bytes",
        &mut [
            ("fsys_read (C)", &mut |offset| {
                let memory = buffer.borrow_mut().as_mut_ptr().cast::<c_void>();
                // SAFETY: no byte is touched.
                assert!(unsafe { sys::fsys_read(raw, memory, 0, offset, 0) } == 0);
            }),
            ("File::read_at", &mut |offset| {
                assert!(file.read_at(&mut buffer.borrow_mut()[..0], offset).unwrap() == 0);
            }),
        ],
    );
    report(
        "read of 4096 bytes",
        &mut [
            ("fsys_read (C)", &mut |offset| {
                let memory = buffer.borrow_mut().as_mut_ptr().cast::<c_void>();
                // SAFETY: BLOCK bytes that nobody else uses meanwhile.
                assert!(unsafe { sys::fsys_read(raw, memory, BLOCK, offset, 0) } > 0);
            }),
            ("File::read_at", &mut |offset| {
                file.read_at(&mut buffer.borrow_mut(), offset).unwrap();
            }),
            ("std FileExt::read_at", &mut |offset| {
                plain.read_at(&mut buffer.borrow_mut(), offset).unwrap();
            }),
        ],
    );
    report(
        "write of 4096 bytes",
        &mut [
            ("fsys_write (C)", &mut |offset| {
                let memory = buffer.borrow().as_ptr().cast::<c_void>();
                // SAFETY: BLOCK bytes that nobody changes meanwhile.
                assert!(unsafe { sys::fsys_write(raw, memory, BLOCK, offset, 0) } > 0);
            }),
            ("File::write_at", &mut |offset| {
                file.write_at(&buffer.borrow(), offset).unwrap();
            }),
            ("std FileExt::write_at", &mut |offset| {
                plain.write_at(&buffer.borrow(), offset).unwrap();
            }),
        ],
    );
    // SAFETY: opened above.
    unsafe { sys::fsys_file_close(raw) };
    asynchronous(&engine, &file)?;
    std::fs::remove_file(&path)
}

/// For orientation: what a future costs, alone and with 64 in flight.
fn asynchronous(engine: &Engine, file: &File) -> std::io::Result<()> {
    const COUNT: u64 = 20_000;
    for depth in [1, 64] {
        let begin = Instant::now();
        let mut flying = std::collections::VecDeque::new();
        for i in 0..COUNT {
            if flying.len() == depth {
                let op: fsys::Op<fsys::Reading<Vec<u8>>> = flying.pop_front().expect("full");
                op.wait()?;
            }
            flying
                .push_back(file.submit_read(Vec::with_capacity(BLOCK), i % BLOCKS * BLOCK as u64));
        }
        flying.into_iter().try_for_each(|op| op.wait().map(drop))?;
        let each = begin.elapsed().as_nanos() as u64 / COUNT;
        println!("submit_read + wait, {depth} in flight: {each} ns per op");
    }
    println!("backend: {:?}", engine.info()?.backend);
    Ok(())
}
