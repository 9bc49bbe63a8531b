// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Completions taken by a tokio runtime.
use fsys::{Engine, File, Journal};
use std::sync::Arc;

fn scratch(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("fsys-rust-tokio-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn no_completion_thread() -> bool {
    !std::fs::read_dir("/proc/self/task").unwrap().any(|entry| {
        std::fs::read_to_string(entry.unwrap().path().join("comm"))
            .map_or(false, |name| name.starts_with("fsys-complete"))
    })
}

async fn work(path: std::path::PathBuf) {
    let engine = Engine::new().unwrap();
    let driver = engine.spawn_on_tokio().unwrap();
    let file = File::create(&engine, path.join("file")).unwrap();
    let journal = Arc::new(Journal::open(&engine, path.join("journal")).unwrap());
    let tasks: Vec<_> = (0..5000u64)
        .map(|i| {
            let (file, journal) = (file.clone(), journal.clone());
            tokio::spawn(async move {
                if i % 10 == 0 {
                    return journal.submit_commit(&i.to_le_bytes()).unwrap().await.map(drop);
                }
                let (_, bytes) = file.submit_write(i.to_le_bytes().to_vec(), i * 8).await?;
                let (_, back) = file.submit_read(Vec::with_capacity(8), i * 8).await?;
                assert_eq!(bytes, back);
                Ok::<(), fsys::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(no_completion_thread());
    drop((file, journal));
    engine.close().unwrap();
    driver.await.unwrap(); // the task ends with the engine
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn both_kinds_of_runtime_take_completions() {
    let current = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    current.block_on(work(scratch("current")));
    let multi =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap();
    multi.block_on(async { tokio::spawn(work(scratch("multi"))).await.unwrap() });
}
