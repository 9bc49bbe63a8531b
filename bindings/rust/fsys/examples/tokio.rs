// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Durable writes from a thousand tokio tasks. The runtime itself takes the completions: no other
//! thread wakes anything.
//!
//! usage: tokio DIRECTORY
use fsys::{Engine, File};

const TASKS: u64 = 1000;
const BLOCK: usize = 512;

async fn run(directory: std::ffi::OsString) -> std::io::Result<()> {
    let engine = Engine::new()?;
    engine.spawn_on_tokio()?;
    let path = std::path::Path::new(&directory).join("tokio.dat");
    let file = File::create(&engine, &path)?;

    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let file = file.clone();
            tokio::spawn(async move {
                let offset = task * BLOCK as u64;
                let bytes = vec![task as u8; BLOCK];
                let (_, bytes) = file.submit_write(bytes, offset).await?;
                let (count, back) = file.submit_read(Vec::with_capacity(BLOCK), offset).await?;
                assert_eq!((count, back), (BLOCK, bytes));
                Ok::<(), fsys::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic")?;
    }
    file.submit_sync_data().await?;
    println!("{TASKS} tasks wrote, read and compared {BLOCK} bytes each; all durable");
    Ok(())
}

fn main() -> std::io::Result<()> {
    let directory = match std::env::args_os().nth(1) {
        Some(directory) => directory,
        None => {
            eprintln!("usage: tokio DIRECTORY");
            std::process::exit(1);
        }
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build()?;
    runtime.block_on(run(directory))
}
