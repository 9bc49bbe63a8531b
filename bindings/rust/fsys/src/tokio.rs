// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Completions taken by a tokio runtime instead of a thread of this crate.
#![allow(clippy::incompatible_msrv)] // tokio itself needs a newer Rust
use crate::completion::{Core, BATCH};
use crate::engine::Engine;
use std::future::poll_fn;
use std::io;
use std::os::unix::io::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::Interest;
use tokio::task::JoinHandle;

/// Batches taken before other tasks get their turn.
const ROUNDS: u32 = 8;

impl Engine {
    /// Spawns a task on the current tokio runtime that takes this engine's completions when its
    /// event descriptor is readable, so that futures are woken on the runtime's own threads. To be
    /// called before the first `submit_*` call, which would start a thread for that.
    ///
    /// The task ends when the engine closes; it does not keep the engine open. When the runtime is
    /// shut down before, ops in flight end when someone calls [`Engine::dispatch`], or at close.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its IO driver enabled.
    pub fn spawn_on_tokio(&self) -> io::Result<JoinHandle<()>> {
        // Newer tokio prefers register_with_interest(), because a type's descriptor could change or be
        // closed behind its back; an OwnedFd's cannot, and older tokio has only this.
        #[allow(deprecated)]
        let fd = AsyncFd::with_interest(self.event_fd()?, Interest::READABLE)?;
        self.inner().taken_elsewhere();
        let core = self.inner().core.clone();
        Ok(tokio::spawn(async move { poll_fn(|context| poll(&core, &fd, context)).await }))
    }
}

fn poll(core: &Arc<Core>, fd: &AsyncFd<OwnedFd>, context: &mut Context<'_>) -> Poll<()> {
    for _ in 0..ROUNDS {
        if core.closed(context.waker()) {
            return Poll::Ready(());
        }
        let mut guard = match fd.poll_read_ready(context) {
            Poll::Ready(Ok(guard)) => guard,
            Poll::Ready(Err(_)) => return Poll::Ready(()), // the runtime is shutting down
            Poll::Pending => return Poll::Pending,
        };
        match core.dispatch_batch(Some(Duration::ZERO)) {
            // The queue was seen empty, which reset the descriptor. What came since makes it
            // readable again, and tokio keeps a readiness that is newer than the guard.
            Ok(count) if count < BATCH => guard.clear_ready(),
            Ok(_) => guard.retain_ready(),
            Err(_) => return Poll::Ready(()),
        }
    }
    context.waker().wake_by_ref();
    Poll::Pending
}
