// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The in-flight table and the taking of completions.
//!
//! Every asynchronous op is submitted to the engine's completion queue with its place in this table
//! as `user_data`. The table owns a reference to the op, and with it the buffer, until the
//! completion has been taken: whatever becomes of the future, the memory outlives the kernel's use.
//! Any thread may take completions (fsys_reap); which one does is the `Engine`'s business.
use crate::error::{check, Result, EAGAIN, ECANCELED};
use fsys_sys as sys;
use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

/// An op as the table sees it.
pub(crate) trait Pending: Send + Sync {
    /// Hands it to the library; the result of the submit call. `flags` is 0 or FSYS_NONBLOCK.
    fn submit(&self, key: u64, flags: u32) -> i32;
    /// The completion came.
    fn complete(&self, result: &sys::fsys_result);
    /// No completion will come. The buffer goes back to the caller only when the kernel cannot be
    /// using it.
    fn fail(&self, code: i32, buffer_is_free: bool);
}

struct Entry {
    op: Arc<dyn Pending>,
    submitted: bool,
    /// Nobody waits for it any more.
    dropped: bool,
}

impl Entry {
    fn is(&self, op: &Arc<dyn Pending>) -> bool {
        // Without the vtables, of which there may be several for one type.
        std::ptr::eq(Arc::as_ptr(&self.op).cast::<()>(), Arc::as_ptr(op).cast::<()>())
    }
}

#[derive(Default)]
struct Table {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// Accepted by the library and not yet taken.
    submitted: usize,
    /// Waiting for one of those to end, oldest first. Not empty only while `submitted` > 0.
    backlog: VecDeque<usize>,
    /// Set by close and by a handle's death: nothing is entered any more.
    refused_with: i32,
}

impl Table {
    fn insert(&mut self, op: Arc<dyn Pending>) -> usize {
        let entry = Some(Entry { op, submitted: false, dropped: false });
        match self.free.pop() {
            Some(key) => {
                self.entries[key] = entry;
                key
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        }
    }

    fn remove(&mut self, key: usize) -> Option<Entry> {
        let entry = self.entries.get_mut(key)?.take()?;
        self.free.push(key);
        if entry.submitted {
            self.submitted -= 1;
        }
        Some(entry)
    }

    /// The entry of this very op: its key may be another's by now.
    fn find(&mut self, key: usize, op: &Arc<dyn Pending>) -> Option<&mut Entry> {
        self.entries.get_mut(key)?.as_mut().filter(|entry| entry.is(op))
    }

    fn set_submitted(&mut self, key: usize, now: bool) -> Option<Arc<dyn Pending>> {
        let entry = self.entries.get_mut(key)?.as_mut()?;
        if entry.submitted != now {
            entry.submitted = now;
            self.submitted = if now { self.submitted + 1 } else { self.submitted - 1 };
        }
        Some(entry.op.clone())
    }
}

#[derive(PartialEq)]
enum Outcome {
    Accepted,
    /// In the backlog.
    Waiting,
    /// It has been failed.
    Refused,
}

pub(crate) struct Core {
    pub(crate) raw: *mut sys::fsys,
    table: Mutex<Table>,
    /// Most ops handed to the library at a time: some slots are left to blocking callers.
    limit: usize,
    closed: AtomicBool,
    /// Of a task that takes completions elsewhere and must learn that the engine closed.
    close_waker: Mutex<Option<Waker>>,
}

// SAFETY: `raw` is an id that the library looks up; every call made with it here is documented as
// "Any thread."
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

/// Completions taken in one call.
pub(crate) const BATCH: usize = 64;
const NO_RESULT: sys::fsys_result =
    sys::fsys_result { user_data: 0, op: 0, result: 0, bytes_done: 0, step: 0, lane: 0 };

impl Core {
    pub(crate) fn new(raw: *mut sys::fsys, max_ops: u32) -> Core {
        let max_ops = max_ops as usize;
        Core {
            raw,
            table: Mutex::default(),
            limit: std::cmp::max(1, max_ops - max_ops / 8),
            closed: AtomicBool::new(false),
            close_waker: Mutex::new(None),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Submits an op now, or as soon as one that is in flight has ended. Gives its place in the
    /// table, which is another op's once this one has ended.
    pub(crate) fn start(&self, op: Arc<dyn Pending>) -> usize {
        let key = {
            let mut table = self.table();
            if table.refused_with != 0 {
                let code = table.refused_with;
                drop(table);
                op.fail(code, true);
                return usize::MAX;
            }
            let key = table.insert(op.clone());
            if table.submitted >= self.limit {
                table.backlog.push_back(key);
                return key;
            }
            // Counted before the call: its completion may be taken by another thread at once.
            table.set_submitted(key, true);
            key
        };
        if self.submit(key, &*op) == Outcome::Refused {
            self.pump();
        }
        key
    }

    /// Ends an op whose future was dropped, if it has not ended: at once while it waits its turn,
    /// otherwise by asking the library. Its buffer stays until the completion was taken.
    pub(crate) fn cancel(&self, key: usize, op: &Arc<dyn Pending>) {
        // SAFETY: no memory is passed. Asked before the lock, which in a fork child may be held by a
        // thread that is not there.
        if unsafe { sys::fsys_try(self.raw, 0, std::ptr::null_mut()) } == sys::FSYS_E_FORKED {
            return;
        }
        let mut table = self.table();
        match table.find(key, op) {
            None => {}
            Some(entry) if entry.submitted => {
                entry.dropped = true;
                self.ask_to_end(key);
            }
            Some(_) => {
                table.backlog.retain(|&waiting| waiting != key);
                let entry = table.remove(key);
                drop(table);
                if entry.is_some() {
                    op.fail(-ECANCELED, true);
                }
            }
        }
    }

    /// Under the table's lock: so long `key` is no other op's.
    fn ask_to_end(&self, key: usize) {
        // SAFETY: no memory is passed. What it returns changes nothing: the completion will come.
        unsafe { sys::fsys_cancel_queued(self.raw, key as u64) };
    }

    /// Hands an op that is counted as submitted to the library. Whoever makes `submitted` smaller,
    /// by a refusal as by a completion, has to call pump() then.
    fn submit(&self, key: usize, op: &dyn Pending) -> Outcome {
        let mut code = op.submit(key as u64, sys::FSYS_NONBLOCK);
        if code == -EAGAIN {
            let mut table = self.table();
            if table.set_submitted(key, false).is_none() {
                return Outcome::Accepted; // failed by close meanwhile
            }
            if table.submitted > 0 {
                table.backlog.push_front(key);
                return Outcome::Waiting;
            }
            // All slots are held by others, so no completion of ours will come to send this op on.
            table.set_submitted(key, true);
            drop(table);
            code = op.submit(key as u64, 0);
        }
        if code >= 0 {
            return Outcome::Accepted;
        }
        let entry = self.table().remove(key);
        if entry.is_some() {
            op.fail(code, true);
        }
        Outcome::Refused
    }

    /// Submits from the backlog while there is room.
    fn pump(&self) {
        loop {
            let next = {
                let mut table = self.table();
                if table.submitted >= self.limit {
                    return;
                }
                match table.backlog.pop_front() {
                    Some(key) => table.set_submitted(key, true).map(|op| (key, op)),
                    None => return,
                }
            };
            if let Some((key, op)) = next {
                match self.submit(key, &*op) {
                    Outcome::Waiting => return,
                    Outcome::Refused => {}
                    // Dropped while it was on its way, where the library could not find it?
                    Outcome::Accepted => {
                        if self.table().find(key, &op).map_or(false, |entry| entry.dropped) {
                            self.cancel(key, &op);
                        }
                    }
                }
            }
        }
    }

    /// Takes completions until the queue is empty, waiting up to `timeout` for the first, and
    /// wakes their futures. How many there were.
    pub(crate) fn dispatch(&self, timeout: Option<Duration>) -> Result<usize> {
        let mut total = 0;
        let mut wait = timeout;
        loop {
            let count = self.dispatch_batch(wait)?;
            total += count;
            if count < BATCH {
                return Ok(total);
            }
            wait = Some(Duration::ZERO);
        }
    }

    /// As dispatch(), but no more than BATCH; fewer mean that the queue was seen empty.
    pub(crate) fn dispatch_batch(&self, timeout: Option<Duration>) -> Result<usize> {
        let mut results = [NO_RESULT; BATCH];
        // SAFETY: `results` has room for BATCH completions.
        let code = unsafe {
            sys::fsys_reap(self.raw, results.as_mut_ptr(), BATCH as u32, nanoseconds(timeout))
        };
        if code == sys::FSYS_E_POISONED || code == sys::FSYS_E_DRIVER_DEAD {
            self.abandon(code);
        }
        let count = check(code)? as usize;
        self.complete(&results[..count]);
        Ok(count)
    }

    fn complete(&self, results: &[sys::fsys_result]) {
        let mut done: [Option<Entry>; BATCH] = [(); BATCH].map(|()| None);
        {
            let mut table = self.table();
            for (place, result) in done.iter_mut().zip(results) {
                // Nothing is there after close has failed the op already.
                *place = table.remove(result.user_data as usize);
            }
        }
        self.pump();
        for (entry, result) in done.iter().zip(results) {
            if let Some(entry) = entry {
                // A waker or a buffer's drop that panics must not end the thread for the others.
                let _ = catch_unwind(AssertUnwindSafe(|| entry.op.complete(result)));
            }
        }
        for entry in done {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(entry)));
        }
    }

    /// After the handle's death: tells the futures, and keeps the buffers that the kernel may still
    /// be using, in the table, until close has succeeded.
    fn abandon(&self, code: i32) {
        let mut waiting = Vec::new();
        let mut free = Vec::new();
        {
            let mut table = self.table();
            table.refused_with = code;
            table.backlog.clear();
            for key in 0..table.entries.len() {
                match &table.entries[key] {
                    Some(entry) if entry.submitted => waiting.push(entry.op.clone()),
                    Some(_) => free.extend(table.remove(key)),
                    None => {}
                }
            }
        }
        for op in waiting {
            let _ = catch_unwind(AssertUnwindSafe(|| op.fail(code, false)));
        }
        for entry in free {
            let _ = catch_unwind(AssertUnwindSafe(|| entry.op.fail(code, true)));
        }
    }

    /// Ops that have not ended.
    pub(crate) fn pending(&self) -> usize {
        let table = self.table();
        table.submitted + table.backlog.len()
    }

    /// After fsys_close() returned: fails what is left. `released` tells that the kernel uses none
    /// of it any more; otherwise the memory is leaked.
    pub(crate) fn close(&self, released: bool) {
        let entries: Vec<Entry> = {
            let mut table = self.table();
            table.refused_with = sys::FSYS_E_CLOSED;
            table.backlog.clear();
            table.submitted = 0;
            table.entries.drain(..).flatten().collect()
        };
        for entry in entries {
            let free = released || !entry.submitted;
            let _ = catch_unwind(AssertUnwindSafe(|| entry.op.fail(sys::FSYS_E_CLOSED, free)));
            if !free {
                std::mem::forget(entry);
            }
        }
        self.closed.store(true, Ordering::Release);
        if let Some(waker) = lock(&self.close_waker).take() {
            waker.wake();
        }
    }

    /// From now on `waker` is woken when the engine closes; true when it has.
    #[cfg(feature = "tokio")]
    pub(crate) fn closed(&self, waker: &Waker) -> bool {
        *lock(&self.close_waker) = Some(waker.clone());
        self.closed.load(Ordering::Acquire)
    }
}

/// The lock guards no invariant that a panic could break: it is only held over this file's code.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// None is FSYS_FOREVER.
pub(crate) fn nanoseconds(timeout: Option<Duration>) -> i64 {
    match timeout {
        Some(time) => i64::try_from(time.as_nanos()).unwrap_or(i64::MAX),
        None => sys::FSYS_FOREVER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null_mut;

    /// Counts what it is told; accepted or refused as `answers` say, 0 when there are no more.
    #[derive(Default)]
    struct Fake {
        answers: Mutex<Vec<i32>>,
        submits: Mutex<Vec<u64>>,
        fails: Mutex<Vec<(i32, bool)>>,
        completions: Mutex<usize>,
    }

    impl Pending for Fake {
        fn submit(&self, key: u64, _flags: u32) -> i32 {
            lock(&self.submits).push(key);
            lock(&self.answers).pop().unwrap_or(0)
        }
        fn complete(&self, _result: &sys::fsys_result) {
            *lock(&self.completions) += 1;
        }
        fn fail(&self, code: i32, buffer_is_free: bool) {
            lock(&self.fails).push((code, buffer_is_free));
        }
    }

    fn started(core: &Core) -> Arc<Fake> {
        let op = Arc::new(Fake::default());
        core.start(op.clone());
        op
    }

    #[test]
    fn a_dead_handle_keeps_the_buffers_of_what_the_kernel_holds() {
        let core = Core::new(null_mut(), 1);
        let held = started(&core);
        let waiting = started(&core); // one slot only
        core.abandon(sys::FSYS_E_DRIVER_DEAD);
        assert_eq!(*lock(&held.fails), [(sys::FSYS_E_DRIVER_DEAD, false)]);
        assert_eq!(*lock(&waiting.fails), [(sys::FSYS_E_DRIVER_DEAD, true)]);
        assert_eq!((Arc::strong_count(&held), Arc::strong_count(&waiting)), (2, 1));
        let late = started(&core);
        assert_eq!(*lock(&late.fails), [(sys::FSYS_E_DRIVER_DEAD, true)]);
        core.close(true);
        assert_eq!(lock(&held.fails).last(), Some(&(sys::FSYS_E_CLOSED, true)));
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_close_that_timed_out_leaks_what_is_held() {
        let core = Core::new(null_mut(), 1);
        let held = started(&core);
        let waiting = started(&core);
        core.close(false);
        assert_eq!(*lock(&held.fails), [(sys::FSYS_E_CLOSED, false)]);
        assert_eq!(*lock(&waiting.fails), [(sys::FSYS_E_CLOSED, true)]);
        drop(core);
        assert_eq!((Arc::strong_count(&held), Arc::strong_count(&waiting)), (2, 1));
        // A completion that was taken before, but comes here after: nobody is there for it.
        let core = Core::new(null_mut(), 8);
        core.close(true);
        core.complete(&[sys::fsys_result { user_data: 5, ..NO_RESULT }]);
    }

    #[test]
    fn the_backlog_goes_on_after_completions_and_after_refusals() {
        let core = Core::new(null_mut(), 1);
        let first = started(&core);
        let ops: Vec<_> = (0..3000).map(|_| started(&core)).collect();
        // Each in the backlog is refused when its turn comes: no recursion, none left behind.
        ops[..2999].iter().for_each(|op| lock(&op.answers).push(-22));
        let key = lock(&first.submits)[0];
        core.complete(&[sys::fsys_result { user_data: key, ..NO_RESULT }]);
        assert_eq!(*lock(&first.completions), 1);
        assert!(ops[..2999].iter().all(|op| *lock(&op.fails) == [(-22, true)]));
        assert_eq!((lock(&ops[2999].submits).len(), core.pending()), (1, 1));

        // No slot free, and none of ours in flight: asked again, to wait.
        let core = Core::new(null_mut(), 4);
        let op = Arc::new(Fake::default());
        lock(&op.answers).push(-EAGAIN);
        core.start(op.clone());
        assert_eq!((lock(&op.submits).len(), core.pending()), (2, 1));
    }
}
