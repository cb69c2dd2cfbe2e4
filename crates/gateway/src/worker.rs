//! One task per server: runs one job after the other and reports.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backends::{Backend, BackendError, Cancelled, Job, Watcher, picture};
use crate::scheduler::RunId;

/// A job for a worker.
pub(crate) struct Assignment {
    pub(crate) job: Job,
    pub(crate) task: Task,
    /// Longest the run may take.
    pub(crate) limit: Duration,
    pub(crate) abort: CancellationToken,
}

/// What to do about a job.
pub(crate) enum Task {
    Generate,
    LookUp { ticket: Option<String> },
}

/// What a worker or a prober tells.
#[derive(Debug)]
pub(crate) enum Notice {
    Progress { run: RunId, share: f64 },
    Ticket { run: RunId, ticket: String },
    Finished { server: usize, run: RunId, result: Result<Bytes, BackendError> },
    Probed { server: usize, result: Result<(), BackendError> },
}

/// Time that a backend has to confirm a cancellation, and a cancelled job to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Works off the inbox until it closes. Dropping the task drops the call to the backend.
pub(crate) async fn work<N>(
    server: usize,
    backend: Arc<dyn Backend>,
    mut inbox: mpsc::UnboundedReceiver<Assignment>,
    notify: N,
) where
    N: Fn(Notice) + Send + Sync + 'static,
{
    while let Some(assignment) = inbox.recv().await {
        let run = assignment.job.run;
        // A panic in an adapter costs its run, not the server.
        let result = AssertUnwindSafe(run_one(&*backend, assignment, &notify)).catch_unwind().await;
        let result = result.unwrap_or_else(|_| Err(BackendError::JobFailed("panic".into())));
        notify(Notice::Finished { server, run, result });
    }
}

async fn run_one(
    backend: &dyn Backend,
    assignment: Assignment,
    notify: &(dyn Fn(Notice) + Send + Sync),
) -> Result<Bytes, BackendError> {
    let Assignment { job, task, limit, abort } = assignment;
    let given = match &task {
        Task::Generate => None,
        Task::LookUp { ticket } => ticket.clone(),
    };
    let watcher = Reporter { run: job.run, ticket: Mutex::new(given.clone()), notify };
    let mut call = match task {
        Task::Generate => backend.generate(&job, &watcher),
        Task::LookUp { .. } => backend.look_up(&job, given.as_deref(), &watcher),
    };
    let stopped = tokio::select! {
        // A picture that is there counts, even if the cancellation came at the same moment.
        biased;
        result = &mut call => {
            drop(call);
            return checked(result?, &job).await;
        }
        () = abort.cancelled() => BackendError::Cancelled,
        () = tokio::time::sleep(limit) => BackendError::TimedOut(limit),
    };
    let ticket = watcher.ticket.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let cancel = backend.cancel(&job, ticket.as_deref());
    match tokio::time::timeout(GRACE, cancel).await {
        Ok(Ok(Cancelled::Stopping)) => {
            let _ = tokio::time::timeout(GRACE, call).await;
        }
        Ok(Ok(Cancelled::Stopped)) => {}
        Ok(Err(error)) => tracing::warn!(run = %job.run, %error, "a run could not be cancelled"),
        Err(_) => tracing::warn!(run = %job.run, "cancelling a run took too long"),
    }
    Err(stopped)
}

async fn checked(bytes: Bytes, job: &Job) -> Result<Bytes, BackendError> {
    let (width, height) = (job.spec.width, job.spec.height);
    let check = move || picture::check(&bytes, width, height).map(|()| bytes);
    let checked = tokio::task::spawn_blocking(check).await;
    checked.unwrap_or_else(|e| Err(BackendError::WrongPicture(e.to_string())))
}

struct Reporter<'a> {
    run: RunId,
    ticket: Mutex<Option<String>>,
    notify: &'a (dyn Fn(Notice) + Send + Sync),
}

impl Watcher for Reporter<'_> {
    fn progress(&self, share: f64) {
        (self.notify)(Notice::Progress { run: self.run, share });
    }

    fn ticket(&self, ticket: &str) {
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticket.into());
        (self.notify)(Notice::Ticket { run: self.run, ticket: ticket.into() });
    }
}

/// Asks a backend once whether it answers.
pub(crate) async fn probe(backend: &dyn Backend, limit: Duration) -> Result<(), BackendError> {
    let probed = tokio::time::timeout(limit, backend.probe()).await;
    probed.unwrap_or(Err(BackendError::TimedOut(limit)))
}

/// Asks again and again.
pub(crate) async fn keep_probing(
    server: usize,
    backend: Arc<dyn Backend>,
    interval: Duration,
    limit: Duration,
    notify: impl Fn(Notice) + Send,
) {
    loop {
        tokio::time::sleep(interval).await;
        let result = probe(&*backend, limit).await;
        notify(Notice::Probed { server, result });
    }
}
