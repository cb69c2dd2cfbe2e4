//! One task per server: runs one job after the other and reports.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch::RunId;
use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::backends::{
    Backend, BackendError, Cancelled, Job, Painted, Preview, Timing, Watcher, picture,
};
use crate::health::Rhythm;
use crate::journal::Png;
use crate::previews::{Easel, Gallery, Previews};
use crate::threads::aside;

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
    LookUp {
        ticket: Option<String>,
    },
    /// Paint it for its time alone.
    Try,
}

/// How a server is reached, and how often it is asked whether it answers. Another one may take its place: what
/// runs ends as it began.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) backend: Arc<dyn Backend>,
    /// Between two probes.
    pub(crate) interval: Duration,
    /// Longest that a probe may take.
    pub(crate) limit: Duration,
}

/// What a worker or a prober tells.
#[derive(Debug)]
pub(crate) enum Notice {
    Progress {
        run: RunId,
        share: f64,
    },
    Ticket {
        run: RunId,
        ticket: String,
    },
    Finished {
        run: RunId,
        result: Result<Finished, BackendError>,
    },
    Tried {
        job: Job,
        result: Result<Trial, BackendError>,
    },
    Probed {
        result: Result<(), BackendError>,
    },
    Loaded {
        models: Vec<String>,
        took: Duration,
    },
    /// Jobs of others are before ours there.
    Foreign {
        jobs: usize,
    },
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finished {
    /// Checked to be what was wanted, and kept.
    pub(crate) png: Png,
    pub(crate) timing: Timing,
}

/// What a trial showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trial {
    pub(crate) took: Duration,
    pub(crate) timing: Timing,
}

/// Time that a backend has to confirm a cancellation.
const CONFIRM: Duration = Duration::from_secs(3);
/// Pause before a backend whose job goes on is asked again to cancel it.
const AGAIN: Duration = Duration::from_secs(2);
/// Longest time for which a job may stand behind others before its own time counts all the same.
const PATIENCE: Duration = Duration::from_hours(1);
/// Time that a job has to stop after its time limit.
const GRACE: Duration = Duration::from_secs(10);

/// Works off the inbox until it closes. Dropping the task drops the call to the backend.
pub(crate) async fn work<N>(
    connection: watch::Receiver<Connection>,
    mut inbox: mpsc::UnboundedReceiver<Assignment>,
    gallery: Gallery,
    notify: N,
) where
    N: Fn(Notice) + Send + Sync + 'static,
{
    let mut before = Before::Settled;
    while let Some(assignment) = inbox.recv().await {
        let Assignment { job, task, limit, abort } = assignment;
        let backend = connection.borrow().backend.clone();
        let trial = matches!(task, Task::Try);
        let start = Instant::now();
        let looked_up = matches!(task, Task::LookUp { .. });
        let (mut result, after) = if abort.is_cancelled() && !looked_up {
            // Given up while the run before was stopping: the server never hears of it.
            (Err(BackendError::Cancelled), before)
        } else {
            let previews = &gallery.previews;
            let abort = abort.clone();
            let run = Run { backend: &*backend, job: &job, previews, limit, abort, trial };
            // A panic in an adapter costs its run, not the server.
            let ended = AssertUnwindSafe(run.to_its_end(task, &notify)).catch_unwind().await;
            ended.unwrap_or_else(|panic| (Err(panicked(&*panic)), Before::Unsettled))
        };
        if let (Ok(painted), Before::Unsettled) = (&mut result, before) {
            painted.timing = Timing::Delayed;
        }
        before = after;
        notify(if trial {
            let took = start.elapsed();
            let result = result.map(|painted| Trial { took, timing: painted.timing });
            Notice::Tried { job, result }
        } else {
            let result = match result {
                Ok(painted) => gallery.keep(job.run, painted, &abort).await,
                Err(error) => Err(error),
            };
            Notice::Finished { run: job.run, result }
        });
    }
}

/// Whether the server was certainly done with the run before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Settled,
    /// It may go on with it unseen, and let the next one wait.
    Unsettled,
}

struct Run<'a> {
    backend: &'a dyn Backend,
    job: &'a Job,
    previews: &'a Previews,
    limit: Duration,
    abort: CancellationToken,
    trial: bool,
}

impl Run<'_> {
    async fn to_its_end(
        &self,
        task: Task,
        notify: &(dyn Fn(Notice) + Send + Sync),
    ) -> (Result<Painted, BackendError>, Before) {
        let given = match &task {
            Task::Generate | Task::Try => None,
            Task::LookUp { ticket } => ticket.clone(),
        };
        let told = if self.trial { None } else { Some(notify) };
        let (ticket, begun) = (Mutex::new(given.clone()), Mutex::new(Instant::now()));
        let easel = told.map(|_| self.previews.of_run(self.job.run));
        let watcher = Reporter { run: self.job.run, ticket, begun, told, easel };
        let found_again = matches!(task, Task::LookUp { .. });
        let mut call = match task {
            Task::Generate | Task::Try => self.backend.generate(self.job, &watcher),
            Task::LookUp { .. } => self.backend.look_up(self.job, given.as_deref(), &watcher),
        };
        let (stopped, patience) = tokio::select! {
            // A picture that is there counts, even if the cancellation came at the same moment.
            biased;
            result = &mut call => {
                drop(call);
                let result = match result {
                    Ok(painted) => checked(painted, self.job, found_again).await,
                    Err(error) => Err(error),
                };
                return (result, Before::Settled);
            }
            () = self.abort.cancelled() => {
                (BackendError::Cancelled, watcher.begun() + self.limit)
            }
            () = watcher.used_up(self.limit) => {
                (BackendError::TimedOut(self.limit), Instant::now() + GRACE)
            }
        };
        // What waits for the end of a trial does not wait for long.
        let patience = if self.trial { Instant::now() + AGAIN } else { patience };
        let ticket = watcher.ticket.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (Err(stopped), self.stop(ticket.as_deref(), call, patience).await)
    }

    /// Has the backend stop the job. A job that goes on keeps its worker, and with it the server,
    /// until it ends or patience does; a backend that does not answer keeps nothing.
    async fn stop(
        &self,
        ticket: Option<&str>,
        mut call: impl Future<Output = Result<Painted, BackendError>> + Unpin,
        patience: Instant,
    ) -> Before {
        let run = self.job.run;
        loop {
            match timeout(CONFIRM, self.backend.cancel(self.job, ticket)).await {
                Ok(Ok(Cancelled::Stopped)) => return Before::Settled,
                Ok(Ok(Cancelled::Abandoned)) => return Before::Unsettled,
                Ok(Ok(Cancelled::Stopping)) => {
                    let again = patience.min(Instant::now() + AGAIN);
                    if tokio::time::timeout_at(again, &mut call).await.is_ok() {
                        return Before::Settled;
                    }
                    if again == patience {
                        return Before::Unsettled;
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(%run, %error, "a run could not be cancelled");
                    return Before::Unsettled;
                }
                Err(_) => {
                    tracing::warn!(%run, "cancelling a run took too long");
                    return Before::Unsettled;
                }
            }
        }
    }
}

async fn checked(painted: Painted, job: &Job, found_again: bool) -> Result<Painted, BackendError> {
    let (width, height) = (job.spec.width, job.spec.height);
    let timing = if found_again { Timing::Delayed } else { painted.timing };
    let check =
        move || picture::received(painted.png, width, height).map(|png| Painted { png, timing });
    let checked = aside(check).await;
    checked.unwrap_or_else(|said| Err(BackendError::Panicked(said.into())))
}

fn panicked(panic: &(dyn Any + Send)) -> BackendError {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
    BackendError::Panicked(message.unwrap_or("it does not say why").into())
}

struct Reporter<'a> {
    run: RunId,
    ticket: Mutex<Option<String>>,
    /// When its own time began, as far as is known.
    begun: Mutex<Instant>,
    /// None if nobody waits for the picture.
    told: Option<&'a (dyn Fn(Notice) + Send + Sync)>,
    /// Where previews are seen, as long as it runs.
    easel: Option<Easel>,
}

impl Reporter<'_> {
    fn begun(&self) -> Instant {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when a run has taken so long, without the time for which it stood behind others.
    async fn used_up(&self, limit: Duration) {
        let last = Instant::now() + PATIENCE + limit;
        loop {
            let deadline = last.min(self.begun() + limit);
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

impl Watcher for Reporter<'_> {
    fn waits(&self) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn preview(&self, picture: Preview) {
        if let Some(easel) = &self.easel {
            easel.show(picture);
        }
    }

    fn wants_previews(&self) -> bool {
        self.easel.is_some()
    }

    fn progress(&self, share: f64) {
        if let Some(tell) = self.told {
            tell(Notice::Progress { run: self.run, share });
        }
    }

    fn ticket(&self, ticket: &str) {
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticket.into());
        if let Some(tell) = self.told {
            tell(Notice::Ticket { run: self.run, ticket: ticket.into() });
        }
    }
}

/// Asks a backend once whether it answers. A panic in its adapter is no answer.
async fn probe(backend: &dyn Backend, limit: Duration) -> Result<(), BackendError> {
    let probed = timeout(limit, AssertUnwindSafe(backend.probe()).catch_unwind()).await;
    match probed {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(panicked(&*panic)),
        Err(_) => Err(BackendError::TimedOut(limit)),
    }
}

/// What a backend tells beside its health, if it does.
async fn told<T>(
    limit: Duration,
    answer: impl Future<Output = Result<Option<T>, BackendError>>,
) -> Option<T> {
    let asked = timeout(limit, AssertUnwindSafe(answer).catch_unwind()).await;
    asked.ok()?.ok()?.ok()?
}

/// Asks again and again, and at once when somebody doubts that the server answers or it is reached otherwise.
pub(crate) async fn keep_probing(
    mut connection: watch::Receiver<Connection>,
    doubt: Arc<Notify>,
    notify: impl Fn(Notice) + Send,
) {
    let mut rhythm = Rhythm::new(connection.borrow().interval);
    loop {
        let Connection { backend, limit, .. } = connection.borrow_and_update().clone();
        let result = probe(&*backend, limit).await;
        let (pause, answers) = (rhythm.pause_after(result.is_ok()), result.is_ok());
        notify(Notice::Probed { result });
        let asked = Instant::now();
        // That it does not tell, or not in time, says nothing against it.
        if answers && let Some(models) = told(limit, backend.loaded()).await {
            notify(Notice::Loaded { models, took: asked.elapsed() });
        }
        if answers && let Some(jobs) = told(limit, backend.foreign()).await {
            notify(Notice::Foreign { jobs });
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = doubt.notified() => rhythm.start_anew(),
            changed = connection.changed() => match changed {
                Ok(()) => rhythm = Rhythm::new(connection.borrow().interval),
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
