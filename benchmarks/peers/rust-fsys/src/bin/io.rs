// SPDX-License-Identifier: Apache-2.0 OR MIT
//! File IO of the crate `fsys` for one slice of time; one line of JSON at the end.
//!
//! usage: io --op OP --path PATH [--span BYTES] [--bytes N] [--depth N] [--ms N] [--warm-up MS]
//!
//! OP: read-at, write-at, sync-at (write-at, then sync of the path), replace (write), replace-batch
//! (write_batch of `depth` files); read-at, write-at and replace also with -async, through tokio's
//! multi-threaded runtime, `depth` tasks in flight. PATH is the file, for replace the directory. The handle is `builder().build()`, its method is what it chooses.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Any = Box<dyn std::error::Error + Send + Sync>;

struct Job {
    op: String,
    path: PathBuf,
    span: u64,
    bytes: usize,
    depth: u64,
}

/// The same offsets as the other peers draw: xorshift64*, whole blocks.
struct Offsets {
    state: u64,
    blocks: u64,
    bytes: u64,
}

impl Offsets {
    fn new(seed: u64, span: u64, bytes: usize) -> Offsets {
        Offsets {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            blocks: (span / bytes as u64).max(1),
            bytes: bytes as u64,
        }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let high = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        ((high * self.blocks) >> 32) * self.bytes
    }
}

#[derive(Clone, Copy)]
struct Usage {
    cpu_ns: u64,
    switches: u64,
}

fn usage() -> Usage {
    let mut raw: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: raw is a valid rusage; RUSAGE_SELF cannot fail with it.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut raw) };
    let ns = |t: libc::timeval| t.tv_sec as u64 * 1_000_000_000 + t.tv_usec as u64 * 1000;
    Usage {
        cpu_ns: ns(raw.ru_utime) + ns(raw.ru_stime),
        switches: (raw.ru_nvcsw + raw.ru_nivcsw) as u64,
    }
}

fn replaced(directory: &std::path::Path, lane: u64, turn: u64) -> PathBuf {
    directory.join(format!("crate-{lane}-{}", turn % 16))
}

fn batched(directory: &std::path::Path, index: u64) -> PathBuf {
    directory.join(format!("crate-batch-{index}"))
}

fn blocking(job: &Job, warm_up: Duration, slice: Duration) -> Result<(u64, Duration, Usage), Any> {
    let fs = fsys::builder().build()?;
    let mut offsets = Offsets::new(1, job.span, job.bytes);
    let data = vec![b'r'; job.bytes];
    let mut turn = 0;
    let mut one = || -> Result<(), Any> {
        turn += 1;
        match job.op.as_str() {
            "read-at" => {
                let got = fs.read_at(&job.path, offsets.next(), job.bytes)?;
                if got.len() != job.bytes {
                    return Err("short read".into());
                }
            }
            "write-at" => fs.write_at(&job.path, offsets.next(), &data)?,
            "sync-at" => {
                fs.write_at(&job.path, offsets.next(), &data)?;
                fs.sync(&job.path)?;
            }
            "replace" => fs.write(replaced(&job.path, 0, turn), &data)?,
            "replace-batch" => {
                let paths: Vec<PathBuf> = (0..job.depth).map(|i| batched(&job.path, i)).collect();
                let items: Vec<(&PathBuf, &[u8])> =
                    paths.iter().map(|path| (path, data.as_slice())).collect();
                fs.write_batch(&items).map_err(|error| format!("{error:?}"))?;
            }
            other => return Err(format!("unknown op {other}").into()),
        }
        Ok(())
    };
    let begin = Instant::now();
    while begin.elapsed() < warm_up {
        one()?;
    }
    let before = usage();
    let begin = Instant::now();
    let mut ops = 0;
    while begin.elapsed() < slice {
        // A clock read per 16 ops: it would be a visible part of a cached read.
        let group = if job.op.starts_with("read") || job.op == "write-at" { 16 } else { 1 };
        for _ in 0..group {
            one()?;
        }
        ops += group * if job.op == "replace-batch" { job.depth } else { 1 };
    }
    Ok((ops, begin.elapsed(), spent(before)))
}

fn spent(before: Usage) -> Usage {
    let after = usage();
    Usage {
        cpu_ns: after.cpu_ns - before.cpu_ns,
        switches: after.switches - before.switches,
    }
}

async fn one_async(
    fs: &Arc<fsys::Handle>,
    job: &Job,
    lane: u64,
    turn: u64,
    at: u64,
    data: &[u8],
) -> Result<(), Any> {
    match job.op.as_str() {
        "read-at-async" => {
            let got = fs.clone().read_at_async(&job.path, at, job.bytes).await?;
            if got.len() != job.bytes {
                return Err("short read".into());
            }
        }
        "write-at-async" => fs.clone().write_at_async(&job.path, at, data.to_vec()).await?,
        "replace-async" => {
            let path = replaced(&job.path, lane, turn);
            fs.clone().write_async(path, data.to_vec()).await?
        }
        other => return Err(format!("unknown op {other}").into()),
    }
    Ok(())
}

fn asynchronous(
    job: Job,
    warm_up: Duration,
    slice: Duration,
) -> Result<(u64, Duration, Usage), Any> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let fs = Arc::new(fsys::builder().build()?);
    let job = Arc::new(job);
    let counting = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let ops = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for lane in 0..job.depth {
            let (fs, job) = (fs.clone(), job.clone());
            let (counting, stop, ops) = (counting.clone(), stop.clone(), ops.clone());
            tasks.push(tokio::spawn(async move {
                let mut offsets = Offsets::new(lane + 1, job.span, job.bytes);
                let data = vec![b'r'; job.bytes];
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    one_async(&fs, &job, lane, turn, offsets.next(), &data).await?;
                    if counting.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
                        ops.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok::<(), Any>(())
            }));
        }
        tokio::time::sleep(warm_up).await;
        let before = usage();
        let begin = Instant::now();
        counting.store(true, Ordering::Relaxed);
        tokio::time::sleep(slice).await;
        stop.store(true, Ordering::Relaxed);
        let elapsed = begin.elapsed();
        let used = spent(before);
        for task in tasks {
            task.await??;
        }
        Ok((ops.load(Ordering::Relaxed), elapsed, used))
    })
}

fn main() -> Result<(), Any> {
    let mut values: HashMap<String, String> = HashMap::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        values.insert(word, value);
    }
    let text = |key: &str| values.get(key).cloned().ok_or_else(|| format!("{key} is missing"));
    let number = |key: &str, otherwise: u64| -> Result<u64, Any> {
        values.get(key).map_or(Ok(otherwise), |value| Ok(value.parse()?))
    };
    let job = Job {
        op: text("--op")?,
        path: PathBuf::from(text("--path")?),
        span: number("--span", 0)?,
        bytes: number("--bytes", 4096)? as usize,
        depth: number("--depth", 1)?,
    };
    let slice = Duration::from_millis(number("--ms", 100)?);
    let warm_up = Duration::from_millis(number("--warm-up", 20)?);
    let (ops, elapsed, used) = if job.op.ends_with("-async") {
        asynchronous(job, warm_up, slice)?
    } else {
        blocking(&job, warm_up, slice)?
    };
    println!(
        "{{\"ops\": {ops}, \"elapsed_ns\": {}, \"cpu_ns\": {}, \"switches\": {}}}",
        elapsed.as_nanos(),
        used.cpu_ns,
        used.switches
    );
    Ok(())
}
