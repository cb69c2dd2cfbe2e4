//! The parts that a gateway cannot do without.
//!
//! A gateway of which one part has ended is worse than none: it may take requests in, or look
//! healthy, and serve nobody. So every such part is watched, and the first that ends before it is
//! told to ends them all.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::threads::said;

/// A part has ended that should not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{part} has ended: {}", why.as_deref().unwrap_or("it had nothing more to do"))]
pub struct PartEnded {
    /// Which.
    pub part: String,
    /// Why, if it was not because another one had ended.
    pub why: Option<String>,
}

/// The parts of one gateway.
pub(crate) struct Parts {
    spawner: Spawner,
    ended: mpsc::UnboundedReceiver<PartEnded>,
}

/// Starts parts.
#[derive(Clone)]
pub(crate) struct Spawner {
    tell: mpsc::UnboundedSender<PartEnded>,
    tasks: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Spawner {
    /// Starts a part that runs until it is told to stop, or fails and says why.
    pub(crate) fn spawn(
        &self,
        part: impl Into<String>,
        work: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> JoinHandle<()> {
        self.spawn_until(part, work, CancellationToken::new())
    }

    /// Starts a part that may end without telling why once it is cancelled, which it must see for itself.
    pub(crate) fn spawn_until(
        &self,
        part: impl Into<String>,
        work: impl Future<Output = Result<(), String>> + Send + 'static,
        cancelled: CancellationToken,
    ) -> JoinHandle<()> {
        let (part, tell) = (part.into(), self.tell.clone());
        let task = tokio::spawn(async move {
            let why = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(result) => result.err(),
                Err(panic) => Some(said(&*panic)),
            };
            if why.is_some() || !cancelled.is_cancelled() {
                // Where it was told to stop, nobody listens any more.
                let _ = tell.send(PartEnded { part, why });
            }
        });
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task.abort_handle());
        task
    }
}

impl Parts {
    /// How long after the first end a better reason may come.
    const REASON: Duration = Duration::from_millis(100);

    pub(crate) fn new() -> Self {
        let (tell, ended) = mpsc::unbounded_channel();
        Self { spawner: Spawner { tell, tasks: Arc::default() }, ended }
    }

    /// To start parts with.
    pub(crate) fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// Resolves when a part has ended. One that broke tears others with it, so the reason counts
    /// more than who was first.
    pub(crate) async fn ended(&mut self) -> PartEnded {
        let first = self.ended.recv().await.expect("this holds a sender");
        if first.why.is_some() {
            return first;
        }
        let reason = async {
            loop {
                if let Some(ended) = self.ended.recv().await
                    && ended.why.is_some()
                {
                    return ended;
                }
            }
        };
        tokio::time::timeout(Self::REASON, reason).await.unwrap_or(first)
    }

    /// Stops them all where they are.
    pub(crate) fn abort(&self) {
        let tasks = self.spawner.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_that_broke_is_named() {
        let (cause, effect) = tokio::sync::oneshot::channel::<()>();
        let mut parts = Parts::new();
        parts.spawner().spawn("the worker", async {
            let _ = effect.await;
            Ok(())
        });
        parts.spawner().spawn("the prober", std::future::pending());
        parts.spawner().spawn("the engine", async move {
            drop(cause);
            tokio::time::sleep(Duration::from_millis(5)).await;
            panic!("at step {}", 3)
        });
        let ended = parts.ended().await.to_string();
        assert_eq!(ended, "the engine has ended: panicked: at step 3");
        let mut parts = Parts::new();
        parts.spawner().spawn("the writer", async { Err("the disk is gone".into()) });
        assert_eq!(parts.ended().await.to_string(), "the writer has ended: the disk is gone");
        parts.spawner().spawn("the worker", async { Ok(()) });
        let ended = parts.ended().await.to_string();
        assert_eq!(ended, "the worker has ended: it had nothing more to do");
    }

    #[tokio::test]
    async fn a_part_that_was_told_to_leave_takes_none_with_it() {
        let mut parts = Parts::new();
        let (leave, never) = (CancellationToken::new(), std::future::pending());
        let until = leave.clone();
        let worker = async move {
            until.run_until_cancelled(never).await.unwrap_or(());
            Ok(())
        };
        let left = parts.spawner().spawn_until("the worker", worker, leave.clone());
        leave.cancel();
        left.await.unwrap();
        parts.spawner().spawn("the writer", async { Err("the disk is gone".into()) });
        assert_eq!(parts.ended().await.part, "the writer");
        parts.spawner().spawn_until("the prober", async { panic!("a bug") }, leave);
        assert_eq!(parts.ended().await.part, "the prober");
    }
}
