// SPDX-License-Identifier: Apache-2.0 OR MIT
use crate::Scratch;
use fsys::{Batch, Engine, File, Kind, Options};
use std::time::Duration;

#[test]
fn a_batch_larger_than_the_slots_and_the_call() {
    let scratch = Scratch::make();
    let engine = Options::new().max_ops(64).open().unwrap();
    let file = File::create(&engine, scratch.path("file")).unwrap();
    let mut batch = Batch::new(&engine);
    for i in 0..5000_u64 {
        batch.write(&file, i.to_le_bytes().to_vec(), i * 8);
    }
    assert_eq!(batch.len(), 5000);
    for done in batch.run() {
        assert_eq!((done.result, done.buffer.unwrap().len()), (Ok(8), 8));
    }
    let mut batch = Batch::new(&engine);
    for i in 0..5000_u64 {
        batch.read(&file, Vec::with_capacity(8), i * 8);
    }
    for (i, done) in batch.run().into_iter().enumerate() {
        assert_eq!(done.buffer.unwrap(), (i as u64).to_le_bytes());
    }
    assert!(Batch::<Vec<u8>>::new(&engine).run().is_empty());
}

#[test]
fn linked_ops_stop_at_the_first_failure() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let file = File::create(&engine, scratch.path("file")).unwrap();
    let mut batch = Batch::new(&engine);
    batch.write(&file, b"head".to_vec(), 0).linked();
    batch.write_durable(&file, b"body".to_vec(), 4).linked();
    batch.sync_data(&file).linked(); // a link to nothing is none
    let results: Vec<_> = batch.run().into_iter().map(|done| done.result.unwrap()).collect();
    assert_eq!(results, [4, 4, 0]);
    assert_eq!(std::fs::read(scratch.path("file")).unwrap(), b"headbody");

    let mut batch = Batch::new(&engine);
    batch.read(&file, Vec::with_capacity(100), 0).linked(); // ends early
    batch.write(&file, b"never".to_vec(), 0).linked();
    batch.sync_data(&file);
    let done = batch.run();
    assert_eq!(done[0].result.as_ref().unwrap_err().kind(), Kind::Short);
    for done in &done[1..] {
        assert_eq!(done.result.as_ref().unwrap_err().kind(), Kind::Os(125));
    }
    assert_eq!(done[1].buffer.as_deref(), Some(&b"never"[..]));
    assert_eq!(std::fs::read(scratch.path("file")).unwrap(), b"headbody");
}

#[test]
fn what_is_refused_is_told_in_its_place() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let file = File::create(&engine, scratch.path("file")).unwrap();
    let reading = File::open(&engine, scratch.path("file")).unwrap();
    let mut batch = Batch::new(&engine);
    batch.write(&file, b"a".to_vec(), 0);
    batch.write(&reading, b"b".to_vec(), 1).linked();
    batch.write(&file, b"c".to_vec(), 2);
    batch.write(&file, b"d".to_vec(), 3);
    let results: Vec<_> = batch.run().into_iter().map(|done| done.result).collect();
    assert_eq!(results[1].as_ref().unwrap_err().kind(), Kind::Os(9));
    assert_eq!(results[2].as_ref().unwrap_err().kind(), Kind::Os(125));
    assert_eq!((&results[0], &results[3]), (&Ok(1), &Ok(1)));
    assert_eq!(std::fs::read(scratch.path("file")).unwrap(), b"a\0\0d");
}

#[test]
fn a_close_by_another_thread_leaks_rather_than_frees() {
    let engine = Options::new().close_timeout(Duration::from_millis(20)).open().unwrap();
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let file = File::from_fd(&engine, &ours).unwrap();
    let mut batch = Batch::new(&engine);
    batch.read(&file, Vec::with_capacity(16), 0);
    let done = std::thread::scope(|scope| {
        let run = scope.spawn(|| batch.run());
        std::thread::sleep(Duration::from_millis(30));
        engine.close().unwrap();
        run.join().unwrap()
    });
    let kind = done[0].result.as_ref().unwrap_err().kind();
    match done[0].buffer {
        Some(_) => assert_eq!(kind, Kind::Os(125)), // its completion came first
        None => assert_eq!(kind, Kind::Closed),
    }
}
