// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commits from several threads that share their flushes, then reads everything back.
//!
//! usage: journal DIRECTORY
use fsys::{Engine, Entry, Journal, Reader};
use std::time::Duration;

const THREADS: usize = 4;
const COMMITS: usize = 25;

fn main() -> std::io::Result<()> {
    let directory = match std::env::args_os().nth(1) {
        Some(directory) => directory,
        None => {
            eprintln!("usage: journal DIRECTORY");
            std::process::exit(1);
        }
    };
    let engine = Engine::new()?;
    let journal = Journal::open(&engine, &directory)?;
    println!("{}", journal.report().text);
    let begin = journal.frontiers()?.reserved;

    std::thread::scope(|scope| -> fsys::Result<()> {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let journal = &journal;
                scope.spawn(move || -> fsys::Result<()> {
                    for number in 0..COMMITS {
                        // On stable storage when it returns.
                        journal.commit(format!("thread {thread}, commit {number}").as_bytes())?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;

    // One record written in place, without a copy.
    let mut ticket = journal.reserve(5)?;
    ticket.copy_from_slice(b"done!");
    let last = ticket.publish()?;
    journal.sync(last)?;

    let stats = journal.stats()?;
    println!("{} commits in {} flushes", THREADS * COMMITS + 1, stats.syncs);
    journal.close()?;

    let (mut reader, _) = Reader::open(&engine, &directory, begin)?;
    let mut records = 0;
    loop {
        match reader.next(Some(Duration::ZERO))? {
            Entry::Record(record) => {
                records += 1;
                if record.lsn == last {
                    assert_eq!(record.data, b"done!");
                }
            }
            Entry::End => break,
            other => {
                return Err(std::io::Error::new(std::io::ErrorKind::Other, format!("{other:?}")))
            }
        }
    }
    assert_eq!(records, THREADS * COMMITS + 1);
    println!("read {records} records back");
    Ok(())
}
