// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Copies a file: eight reads and writes of 128 KiB in flight, then one sync.
//!
//! usage: copy FROM TO
use fsys::{block_on, Engine, File, IoBuf, OpenOptions, Result};

const PIECE: usize = 128 << 10;
const WORKERS: u64 = 8;

/// Every eighth piece, beginning with number `first`.
async fn copy_pieces(from: File, to: File, first: u64) -> Result<u64> {
    let mut buffer: Vec<u8> = Vec::with_capacity(PIECE);
    let mut offset = first * PIECE as u64;
    let mut copied = 0;
    loop {
        let (count, filled) = from.submit_read(buffer, offset).await?;
        if count == 0 {
            return Ok(copied);
        }
        let (_, written) = to.submit_write(filled.slice(..count), offset).await?;
        buffer = written.into_inner();
        copied += count as u64;
        offset += WORKERS * PIECE as u64;
    }
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments.len() != 3 {
        eprintln!("usage: copy FROM TO");
        std::process::exit(1);
    }
    let engine = Engine::new()?;
    let from = File::open(&engine, &arguments[1])?;
    let to =
        OpenOptions::new().write(true).create(true).truncate(true).open(&engine, &arguments[2])?;
    // Any executor does; here one small thread each, to need none.
    let workers: Vec<_> = (0..WORKERS)
        .map(|first| {
            let (from, to) = (from.clone(), to.clone());
            std::thread::spawn(move || block_on(copy_pieces(from, to, first)))
        })
        .collect();
    let mut copied = 0;
    for worker in workers {
        copied += worker.join().expect("no panic")?;
    }
    to.sync()?;
    println!("copied {copied} bytes, durable");
    Ok(())
}
