// SPDX-License-Identifier: Apache-2.0 OR MIT
use crate::{eventually, Scratch};
use fsys::{block_on, Engine, File, IoBuf, IoBufMut, Kind, Options};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn buffers_come_back() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let file = File::create(&engine, scratch.path("file")).unwrap();
    block_on(async {
        let (count, bytes) = file.submit_write(b"0123456789".to_vec(), 0).await?;
        assert_eq!((count, bytes.len()), (10, 10));
        file.submit_write("static", 10).await?;
        let shared: Arc<[u8]> = Arc::from(&b"shared"[..]);
        file.submit_write(shared.clone(), 16).await?;
        file.submit_write_durable(bytes.slice(2..=4), 22).await?;
        file.submit_sync().await?;
        file.submit_sync_data().await?;

        // A vector is filled up to its capacity and gets the length of what came.
        let (count, all) = file.submit_read(Vec::with_capacity(100), 0).await?;
        assert_eq!((count, &all[..]), (25, &b"0123456789staticshared234"[..]));
        // A boxed slice keeps its length, whatever came.
        let (count, boxed) = file.submit_read(vec![b'-'; 4].into_boxed_slice(), 23).await?;
        assert_eq!((count, &boxed[..]), (2, &b"34--"[..]));
        // Only a part of the buffer.
        let (_, part) = file.submit_read(vec![b'-'; 6].slice(2..4), 0).await?;
        assert_eq!(part.into_inner(), b"--01--");
        Ok::<(), fsys::Error>(())
    })
    .unwrap();

    let reading = File::open(&engine, scratch.path("file")).unwrap();
    let failure = reading.submit_write(vec![1, 2, 3], 0).wait().unwrap_err();
    assert_eq!(failure.error.kind(), Kind::Os(9));
    assert_eq!(failure.buffer, Some(vec![1, 2, 3]));
}

#[test]
#[should_panic(expected = "range 2..9")]
fn a_slice_lies_within_its_buffer() {
    let _ = vec![0; 8].slice(2..9);
}

#[test]
fn more_ops_than_slots_wait_their_turn() {
    let scratch = Scratch::make();
    std::fs::write(scratch.path("file"), vec![9; 4096]).unwrap();
    let engine = Options::new().max_ops(8).open().unwrap();
    let file = File::open(&engine, scratch.path("file")).unwrap();
    let ops: Vec<_> =
        (0..2000).map(|i| file.submit_read(Vec::with_capacity(2), i % 4000)).collect();
    for op in ops {
        assert_eq!(op.wait().unwrap().1, [9, 9]);
    }
    // And when the file closes under those that wait: each ends, with its buffer.
    let ops: Vec<_> =
        (0..2000).map(|i| file.submit_read(Vec::with_capacity(2), i % 4000)).collect();
    file.close().unwrap();
    let mut closed = 0;
    for op in ops {
        match op.wait() {
            Ok((count, _)) => assert_eq!(count, 2),
            Err(failure) => {
                assert_eq!(failure.error.kind(), Kind::Closed);
                assert!(failure.buffer.is_some());
                closed += 1;
            }
        }
    }
    println!("{closed} of 2000 met the close");
}

/// A buffer that tells when it is freed.
struct Counted {
    bytes: Vec<u8>,
    freed: Arc<AtomicUsize>,
    panics: bool,
}

// SAFETY: that of Vec.
unsafe impl IoBufMut for Counted {
    fn mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }
    fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
    unsafe fn set_filled(&mut self, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.bytes.set_len(count) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.freed.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics || std::thread::panicking(), "a drop that panics");
    }
}

fn counted(freed: &Arc<AtomicUsize>) -> Counted {
    Counted { bytes: Vec::with_capacity(16), freed: freed.clone(), panics: false }
}

#[test]
fn a_dropped_future_frees_its_buffer_only_when_the_op_has_ended() {
    let engine = Engine::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let file = File::from_fd(&engine, &ours).unwrap();
    let freed = Arc::new(AtomicUsize::new(0));

    // Detached and forgotten ones go on, and hold their buffers.
    let op = file.submit_read(counted(&freed), 0);
    std::thread::sleep(Duration::from_millis(20)); // the kernel has it by now
    assert!(!op.is_done());
    op.detach();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(freed.load(Ordering::SeqCst), 0, "freed while the kernel may write into it");
    theirs.write_all(b"sixteen bytes...").unwrap();
    eventually("the buffer is freed", || freed.load(Ordering::SeqCst) == 1);
    std::mem::forget(file.submit_read(counted(&freed), 0));
    theirs.write_all(b"sixteen bytes...").unwrap();
    eventually("the op of a forgotten future ends", || engine.stats().unwrap().in_flight == 0);
}

#[test]
fn a_dropped_future_cancels_its_op() {
    let engine = Options::new().max_ops(8).open().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let file = File::from_fd(&engine, &ours).unwrap();
    let freed = Arc::new(AtomicUsize::new(0));
    for wait in [0, 5] {
        let op = file.submit_read(counted(&freed), 0);
        std::thread::sleep(Duration::from_millis(wait));
        drop(op);
        eventually("the op ends", || engine.stats().unwrap().in_flight == 0);
    }
    eventually("the buffers are freed", || freed.load(Ordering::SeqCst) == 2);
    // Those that wait for a slot never get one. What was dropped takes nothing from the stream.
    let ops: Vec<_> = (0..20).map(|_| file.submit_read(counted(&freed), 0)).collect();
    let kept = file.submit_read(counted(&freed), 0);
    drop(ops);
    eventually("all but one are freed", || freed.load(Ordering::SeqCst) == 22);
    theirs.write_all(b"sixteen bytes...").unwrap();
    assert_eq!(kept.wait().unwrap().1.bytes, b"sixteen bytes...");
    // The slots are free for others.
    let (count, _) = file.submit_write("text", 0).wait().unwrap();
    assert_eq!(count, 4);
}

#[test]
fn futures_dropped_on_their_way_cancel_no_other() {
    let engine = Options::new().max_ops(8).open().unwrap();
    let scratch = Scratch::make();
    std::fs::write(scratch.path("file"), vec![9; 4096]).unwrap();
    let file = File::open(&engine, scratch.path("file")).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let stream = File::from_fd(&engine, &ours).unwrap();
    let freed = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (file, stream, freed) = (&file, &stream, &freed);
            scope.spawn(move || {
                for i in 0..200 {
                    let endless = stream.submit_read(counted(freed), 0);
                    let wanted = file.submit_read(counted(freed), (i * 4 + thread) % 4000);
                    drop(endless);
                    assert_eq!(wanted.wait().unwrap().1.bytes, [9; 16]);
                }
            });
        }
    });
    eventually("all are freed, once", || freed.load(Ordering::SeqCst) == 1600);
    eventually("all have ended", || engine.stats().unwrap().in_flight == 0);
}

#[test]
fn a_panicking_drop_ends_nothing_else() {
    let engine = Engine::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let file = File::from_fd(&engine, &ours).unwrap();
    let freed = Arc::new(AtomicUsize::new(0));
    let mut buffer = counted(&freed);
    buffer.panics = true;
    file.submit_read(buffer, 0).detach();
    theirs.write_all(b"sixteen bytes...").unwrap();
    eventually("it was freed, and panicked", || freed.load(Ordering::SeqCst) == 1);
    let op = file.submit_read(Vec::with_capacity(16), 0);
    theirs.write_all(b"sixteen bytes...").unwrap();
    assert_eq!(op.wait().unwrap().1, b"sixteen bytes...");
}

#[test]
fn close_ends_what_is_in_flight_and_gives_the_buffers_back() {
    let engine = Options::new().close_timeout(Duration::from_millis(30)).open().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let file = File::from_fd(&engine, &ours).unwrap();
    let freed = Arc::new(AtomicUsize::new(0));
    let op = file.submit_read(counted(&freed), 0);
    engine.close().unwrap();
    let failure = op.wait().err().unwrap();
    assert_eq!(failure.error.kind(), Kind::Closed);
    assert_eq!(freed.load(Ordering::SeqCst), 0);
    drop(failure);
    assert_eq!(freed.load(Ordering::SeqCst), 1);

    let late = file.submit_read(Vec::with_capacity(1), 0).wait().unwrap_err();
    assert_eq!(late.error.kind(), Kind::Closed);
    assert_eq!(engine.close().unwrap_err().kind(), Kind::Closed);
}

#[test]
fn a_program_may_take_the_completions_itself() {
    extern "C" {
        fn poll(fds: *mut PollFd, count: std::os::raw::c_ulong, timeout: i32) -> i32;
    }
    #[repr(C)]
    struct PollFd {
        fd: i32,
        events: i16,
        revents: i16,
    }
    use std::os::unix::io::AsRawFd;

    let scratch = Scratch::make();
    std::fs::write(scratch.path("file"), vec![9; 4096]).unwrap();
    let engine = Options::new().manual_completions(true).open().unwrap();
    let file = File::open(&engine, scratch.path("file")).unwrap();
    let fd = engine.event_fd().unwrap();
    for round in 0..20 {
        let ops: Vec<_> =
            (0..10).map(|i| file.submit_read(Vec::with_capacity(3), round + i)).collect();
        let mut taken = 0;
        while taken < 10 {
            let mut fds = PollFd { fd: fd.as_raw_fd(), events: 1, revents: 0 };
            // SAFETY: one valid pollfd.
            assert_eq!(unsafe { poll(&mut fds, 1, 10_000) }, 1);
            taken += engine.dispatch(Some(Duration::ZERO)).unwrap();
        }
        for op in ops {
            assert!(op.is_done());
            assert_eq!(op.wait().unwrap().1, [9, 9, 9]);
        }
    }
    assert_eq!(engine.dispatch(Some(Duration::ZERO)).unwrap(), 0);
}

#[test]
fn a_local_engine_has_no_thread() {
    let scratch = Scratch::make();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    // Other tests come and go in this process, so only this thread's view counts: the ops end
    // although nobody but this thread could have driven them.
    let _ = threads();
    let engine = Options::new().open_local().unwrap();
    let file = File::create(&engine, scratch.path("file")).unwrap();
    let file_later = file.clone();
    let total = engine.block_on(async {
        let mut total = 0;
        for i in 0..50 {
            file.submit_write_durable(vec![i; 10], u64::from(i) * 10).await?;
            let (count, back) = file.submit_read(Vec::with_capacity(10), u64::from(i) * 10).await?;
            assert_eq!(back, vec![i; 10]);
            total += count;
        }
        Ok::<usize, fsys::Error>(total)
    });
    assert_eq!(total.unwrap(), 500);
    assert_eq!(engine.stats().unwrap().in_flight, 0);
    // Another thread may submit, and is woken while this one drives.
    let (sender, receiver) = std::sync::mpsc::channel();
    let submitter = std::thread::spawn(move || {
        let read = file.submit_read(Vec::with_capacity(10), 0).wait();
        sender.send(()).unwrap();
        read.unwrap().0
    });
    while receiver.try_recv().is_err() {
        engine.poll(Some(Duration::from_millis(1))).unwrap();
    }
    assert_eq!(submitter.join().unwrap(), 10);
    drop(engine);
    assert_eq!(file_later.read_at(&mut [0], 0).unwrap_err().kind(), Kind::Closed);
}

#[test]
fn a_local_engine_closes_over_an_op_in_flight() {
    let options = Options::new().close_timeout(Duration::from_millis(30));
    let engine = options.open_local().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let file = File::from_fd(&engine, &ours).unwrap();
    let freed = Arc::new(AtomicUsize::new(0));
    let op = file.submit_read(counted(&freed), 0);
    engine.poll(Some(Duration::from_millis(5))).unwrap();
    assert!(!op.is_done());
    drop(engine);
    let failure = op.wait().err().unwrap();
    assert_eq!(failure.error.kind(), Kind::Closed);
    assert!(failure.buffer.is_some());
    drop(failure);
    assert_eq!(freed.load(Ordering::SeqCst), 1);
}

#[test]
fn many_threads_submit_drop_and_close() {
    let scratch = Scratch::make();
    std::fs::write(scratch.path("file"), vec![9; 4096]).unwrap();
    let freed = Arc::new(AtomicUsize::new(0));
    let mut started = 0;
    for round in 0..10 {
        let engine = Options::new().max_ops(16).open().unwrap();
        let file = File::open(&engine, scratch.path("file")).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (file, freed) = (file.clone(), &freed);
                scope.spawn(move || {
                    for i in 0..200_u64 {
                        let op = file.submit_read(counted(freed), i % 4000);
                        if (i + thread) % 3 != 0 {
                            if let Ok((count, buffer)) = op.wait() {
                                assert_eq!((count, &buffer.bytes[..]), (16, &[9; 16][..]));
                            }
                        }
                    }
                });
            }
            if round % 2 == 1 {
                engine.close().unwrap(); // in the middle of it
            }
        });
        started += 800;
        drop((file, engine));
        eventually("each buffer was freed, once", || freed.load(Ordering::SeqCst) == started);
    }
}
