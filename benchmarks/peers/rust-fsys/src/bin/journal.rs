// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The journal of the Rust crate `fsys` 1.1.0 under the same work as libfsys. Run by bench_journal,
//! which gives the work on the command line and reads one line: `operations seconds`.
//!
//! usage: journal FILE commit|append|burst THREADS BYTES MILLISECONDS default|tuned

use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const STOPPED: u8 = 2;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

/// Processor time of this thread: what only computes and copies does not depend on the neighbours.
fn thread_seconds() -> f64 {
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the struct has the layout of the C one on 64-bit Linux, and the call only fills it.
    unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.seconds as f64 + time.nanoseconds as f64 / 1e9
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    if words.len() != 7 {
        return Err("six arguments, see the source".into());
    }
    let path = std::path::PathBuf::from(&words[1]);
    let mode = words[2].as_str();
    let threads: u32 = words[3].parse()?;
    let bytes: usize = words[4].parse()?;
    let slice = Duration::from_millis(words[5].parse()?);
    let _ = std::fs::remove_file(&path);

    let fs = fsys::builder().build()?;
    let mut options = fsys::JournalOptions::new();
    if words[6] == "tuned" {
        // What its documentation says: direct IO and a larger buffer for a busy log, the batch as
        // large as the number of flushers, no window for a lone one.
        options = options.direct(true).log_buffer_kib(1024);
        options = if threads == 1 {
            options.group_commit_window(None)
        } else {
            options.group_commit_max_batch(threads)
        };
    }
    let log = Arc::new(fs.journal_with(&path, options)?);

    if mode == "burst" {
        // Records that are appended and not synced, in bursts; the syncs between are not timed.
        let record = vec![0x61u8; bytes];
        let burst = (8usize << 20) / (bytes + 32);
        let begin = Instant::now();
        let mut spent = 0.0;
        let mut count = 0usize;
        while begin.elapsed() < slice {
            let from = thread_seconds();
            let mut last = log.append(&record)?;
            for _ in 1..burst {
                last = log.append(&record)?;
            }
            spent += thread_seconds() - from;
            count += burst;
            log.sync_through(last)?;
        }
        println!("{} {}", count, spent);
        std::fs::remove_file(&path)?;
        return Ok(());
    }

    let phase = Arc::new(AtomicU8::new(WARMING));
    let total = Arc::new(AtomicU64::new(0));
    let commit = mode == "commit";
    let mut workers = Vec::new();
    for _ in 0..threads {
        let (log, phase, total) = (log.clone(), phase.clone(), total.clone());
        workers.push(std::thread::spawn(move || -> Result<(), fsys::Error> {
            let record = vec![0x63u8; bytes];
            let mut counted = 0u64;
            loop {
                let now = phase.load(Ordering::Relaxed);
                if now == STOPPED {
                    break;
                }
                let lsn = log.append(&record)?;
                if commit {
                    log.sync_through(lsn)?;
                }
                counted += u64::from(now == COUNTING);
            }
            total.fetch_add(counted, Ordering::Relaxed);
            Ok(())
        }));
    }
    std::thread::sleep(slice / 4);
    phase.store(COUNTING, Ordering::Relaxed);
    let begin = Instant::now();
    std::thread::sleep(slice);
    phase.store(STOPPED, Ordering::Relaxed);
    let spent = begin.elapsed();
    for worker in workers {
        worker.join().expect("a worker panicked")?;
    }
    println!("{} {}", total.load(Ordering::Relaxed), spent.as_secs_f64());
    drop(log);
    std::fs::remove_file(&path)?;
    Ok(())
}
