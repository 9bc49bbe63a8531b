// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who keeps what alive; fork; Send and Sync.
use crate::{eventually, Scratch};
use fsys::{Engine, File, Journal, Kind, Op, Reader, Ticket};

#[test]
fn what_the_c_text_allows_to_threads() {
    fn send_sync<T: Send + Sync>() {}
    fn send<T: Send>() {}
    send_sync::<Engine>();
    send_sync::<File>();
    send_sync::<Journal>();
    send_sync::<Ticket<'static>>();
    send_sync::<fsys::Buffer>();
    send_sync::<fsys::Error>();
    send_sync::<Op<fsys::Reading<Vec<u8>>>>();
    send::<Reader>(); // one thread at a time; LocalEngine is neither, see its documentation
}

#[test]
fn a_file_outlives_the_engine_value() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let file = File::create(&engine, scratch.path("file")).unwrap();
    drop(engine);
    let op = file.submit_write(b"abc".to_vec(), 0);
    drop(file);
    assert_eq!(op.wait().unwrap().0, 3);
    assert_eq!(std::fs::read(scratch.path("file")).unwrap(), b"abc");
}

#[test]
fn an_engine_that_nobody_has_closes() {
    let scratch = Scratch::make();
    let threads = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("comm")).ok())
            .filter(|name| name.starts_with("fsys-complete"))
            .count()
    };
    for _ in 0..20 {
        let engine = Engine::new().unwrap();
        let file = File::create(&engine, scratch.path("file")).unwrap();
        // The last reference goes on the completion thread itself.
        drop((file.submit_write(vec![1; 100], 0), file, engine));
    }
    // Other tests have at most a few engines at a time.
    eventually("the threads are gone", || threads() < 10);
}

#[test]
fn library_memory_keeps_the_engine_from_closing() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let buffer = engine.buffer(100).unwrap();
    assert_eq!((buffer.len(), buffer.as_ptr() as usize % 4096), (100, 0));
    assert_eq!(engine.close().unwrap_err().kind(), Kind::Os(16));
    let journal = Journal::open(&engine, scratch.path("journal")).unwrap();
    drop(buffer);
    assert_eq!(engine.close().unwrap_err().kind(), Kind::Os(16));
    journal.close().unwrap();
    engine.close().unwrap();
    assert_eq!(engine.buffer(100).unwrap_err_kind(), Kind::Closed);
    let error = Journal::open(&engine, scratch.path("journal")).unwrap_err();
    assert_eq!(error.kind(), Kind::Closed);
}

trait ErrorKindOf {
    fn unwrap_err_kind(self) -> Kind;
}

impl<T> ErrorKindOf for fsys::Result<T> {
    fn unwrap_err_kind(self) -> Kind {
        self.err().unwrap().kind()
    }
}

#[test]
fn a_fork_child_gets_a_code_and_does_not_hang() {
    extern "C" {
        fn fork() -> i32;
        fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
        fn _exit(code: i32) -> !;
        fn alarm(seconds: u32) -> u32;
    }
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let file = File::create(&engine, scratch.path("file")).unwrap();
    file.submit_write(vec![1; 100], 0).wait().unwrap(); // the completion thread runs
                                                        // SAFETY: the child only calls the library and _exit().
    let pid = unsafe { fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: a child that hangs is killed, and seen.
        unsafe { alarm(20) };
        let read = file.read_at(&mut [0; 4], 0).err().map(|error| error.kind());
        let op = file.submit_write(vec![1], 0).wait().err().map(|f| f.error.kind());
        let close = engine.close().err().map(|error| error.kind());
        drop((file, engine));
        let forked = Some(Kind::Forked);
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { _exit(i32::from(read != forked || op != forked || close != forked)) };
    }
    let mut status = 0;
    // SAFETY: the child's own id.
    assert_eq!(unsafe { waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0, "the child failed or hung");
    let (count, _) = file.submit_read(Vec::with_capacity(100), 0).wait().unwrap();
    assert_eq!(count, 100);
}
