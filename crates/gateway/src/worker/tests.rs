//! Workers and probers against backends that hang, go on, and panic.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use dispatch::RequestId;
use scheduling::Steps;

use super::*;
use crate::journal::Spec;

/// What a backend does when a run is asked for, and when it is to be cancelled.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// Ends after so many seconds.
    Ends(u64),
    /// Ends after so many seconds, through which it stands behind others.
    Waits(u64),
    Hangs,
    Panics,
}

#[derive(Clone, Copy, Debug)]
enum Cancel {
    Says(Cancelled),
    Hangs,
    Panics,
}

struct Stubborn {
    call: Call,
    cancel: Cancel,
    cancels: AtomicU32,
}

#[async_trait]
impl Backend for Stubborn {
    async fn generate(&self, _: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
        watcher.progress(0.5);
        watcher.preview(Preview::of(Bytes::from_static(b"\xff\xd8\xff")).unwrap());
        match self.call {
            Call::Ends(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            Call::Waits(seconds) => {
                for _ in 0..seconds {
                    watcher.waits();
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            Call::Hangs => std::future::pending().await,
            Call::Panics => panic!("a bug\nin it"),
        }
        let png = picture::encode(&[1; 3 * 8 * 8], 8, 8);
        Ok(Painted { png: Bytes::from(png), timing: Timing::Direct })
    }

    async fn look_up(
        &self,
        job: &Job,
        _: Option<&str>,
        watcher: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        self.generate(job, watcher).await
    }

    async fn cancel(&self, _: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        self.cancels.fetch_add(1, Ordering::SeqCst);
        match self.cancel {
            Cancel::Says(said) => Ok(said),
            Cancel::Hangs => std::future::pending().await,
            Cancel::Panics => panic!("another"),
        }
    }

    async fn probe(&self) -> Result<(), BackendError> {
        match self.call {
            Call::Ends(_) | Call::Waits(_) => Ok(()),
            Call::Hangs => std::future::pending().await,
            Call::Panics => panic!("a bug"),
        }
    }
}

fn job(attempt: u32) -> Job {
    let spec = Spec {
        prompt: String::new(),
        negative_prompt: String::new(),
        width: 8,
        height: 8,
        seed: 1,
        model: None,
    };
    let run = RunId { request: RequestId(uuid::Uuid::nil()), attempt };
    Job { run, spec, steps: Steps::MIN }
}

/// A worker with the given backend and what it tells.
fn worker(
    call: Call,
    cancel: Cancel,
) -> (mpsc::UnboundedSender<Assignment>, mpsc::UnboundedReceiver<Notice>, Arc<Stubborn>) {
    worker_seen(call, cancel, &Previews::default())
}

fn gallery(previews: &Previews) -> Gallery {
    Gallery { previews: previews.clone(), pictures: None }
}

/// The same, whose previews are seen here.
fn worker_seen(
    call: Call,
    cancel: Cancel,
    previews: &Previews,
) -> (mpsc::UnboundedSender<Assignment>, mpsc::UnboundedReceiver<Notice>, Arc<Stubborn>) {
    let backend = Arc::new(Stubborn { call, cancel, cancels: AtomicU32::new(0) });
    let (assign, inbox) = mpsc::unbounded_channel();
    let (tell, told) = mpsc::unbounded_channel();
    let notify = move |notice| {
        let _ = tell.send(notice);
    };
    tokio::spawn(work(connection(backend.clone()), inbox, gallery(previews), notify));
    (assign, told, backend)
}

const LIMIT: Duration = Duration::from_mins(1);

/// To a backend that is probed every five seconds.
fn connection(backend: Arc<dyn Backend>) -> watch::Receiver<Connection> {
    let connection = Connection { backend, interval: Duration::from_secs(5), limit: LIMIT };
    // It stays as long as the test.
    Box::leak(Box::new(watch::channel(connection))).1.clone()
}

fn assignment(attempt: u32, task: Task, abort: &CancellationToken) -> Assignment {
    Assignment { job: job(attempt), task, limit: LIMIT, abort: abort.clone() }
}

/// The end of the next run.
async fn end(told: &mut mpsc::UnboundedReceiver<Notice>) -> Result<Timing, BackendError> {
    loop {
        match told.recv().await.expect("the worker lives") {
            Notice::Finished { result, .. } => return result.map(|painted| painted.timing),
            Notice::Tried { result, .. } => return result.map(|trial| trial.timing),
            _ => {}
        }
    }
}

/// Seconds from the abort of a run, three seconds after its start, until the worker reports.
async fn seconds_until_reported(call: Call, cancel: Cancel, task: Task) -> (u64, u32) {
    let (assign, mut told, backend) = worker(call, cancel);
    let abort = CancellationToken::new();
    assign.send(assignment(1, task, &abort)).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let start = Instant::now();
    abort.cancel();
    let result = end(&mut told).await;
    assert!(matches!(result, Err(BackendError::Cancelled | BackendError::Panicked(_))));
    (start.elapsed().as_secs(), backend.cancels.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_keeps_its_server_only_while_it_goes_on_there() {
    let says = Cancel::Says;
    for (call, cancel, expected) in [
        (Call::Hangs, says(Cancelled::Stopped), (0, 1)),
        (Call::Hangs, says(Cancelled::Abandoned), (0, 1)),
        // It goes on unseen and is asked for all that time.
        (Call::Ends(33), says(Cancelled::Stopping), (30, 15)),
        // Its time limit is over.
        (Call::Hangs, says(Cancelled::Stopping), (57, 29)),
        // Nobody answers there.
        (Call::Hangs, Cancel::Hangs, (3, 1)),
        (Call::Hangs, Cancel::Panics, (0, 1)),
    ] {
        let seen = seconds_until_reported(call, cancel, Task::Generate).await;
        assert_eq!(seen, expected, "{call:?} {cancel:?}");
    }
    // A run that waits for the end of a trial waits for two seconds.
    let going_on = (Call::Hangs, says(Cancelled::Stopping));
    assert_eq!(seconds_until_reported(going_on.0, going_on.1, Task::Try).await, (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_run_over_its_limit_is_given_up() {
    let (assign, mut told, _) = worker(Call::Hangs, Cancel::Says(Cancelled::Stopping));
    let start = Instant::now();
    assign.send(assignment(1, Task::Generate, &CancellationToken::new())).unwrap();
    assert_eq!(end(&mut told).await, Err(BackendError::TimedOut(LIMIT)));
    assert_eq!(start.elapsed(), LIMIT + GRACE);
}

#[tokio::test(start_paused = true)]
async fn times_of_runs_that_may_have_waited_teach_nothing() {
    let never = CancellationToken::new();
    for (cancel, next) in [
        (Cancel::Says(Cancelled::Stopped), Timing::Direct),
        (Cancel::Says(Cancelled::Abandoned), Timing::Delayed),
        (Cancel::Hangs, Timing::Delayed),
    ] {
        let (assign, mut told, _) = worker(Call::Ends(5), cancel);
        let abort = CancellationToken::new();
        assign.send(assignment(1, Task::Generate, &abort)).unwrap();
        assign.send(assignment(2, Task::Generate, &never)).unwrap();
        assign.send(assignment(3, Task::Generate, &never)).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        abort.cancel();
        assert_eq!(end(&mut told).await, Err(BackendError::Cancelled));
        assert_eq!(end(&mut told).await, Ok(next), "{cancel:?}");
        assert_eq!(end(&mut told).await, Ok(Timing::Direct), "{cancel:?}");
    }
    let (assign, mut told, _) = worker(Call::Ends(5), Cancel::Hangs);
    assign.send(assignment(1, Task::LookUp { ticket: None }, &never)).unwrap();
    assert_eq!(end(&mut told).await, Ok(Timing::Delayed), "it ran before the start");
}

#[tokio::test(start_paused = true)]
async fn a_trial_tells_nothing_but_its_time() {
    let (assign, mut told, _) = worker(Call::Ends(5), Cancel::Hangs);
    assign.send(assignment(1, Task::Try, &CancellationToken::new())).unwrap();
    let Some(Notice::Tried { result, .. }) = told.recv().await else { panic!("no other notice") };
    let took = Duration::from_secs(5);
    assert_eq!(result, Ok(Trial { took, timing: Timing::Direct }));
}

#[tokio::test(start_paused = true)]
async fn previews_are_seen_while_a_run_lasts_and_none_of_trials() {
    let abort = CancellationToken::new();
    let request = job(1).run.request;
    for (call, task, seen) in [
        (Call::Ends(5), Task::Generate, true),
        (Call::Ends(5), Task::LookUp { ticket: None }, true),
        (Call::Hangs, Task::Generate, true),
        (Call::Panics, Task::Generate, false),
        (Call::Ends(5), Task::Try, false),
    ] {
        let previews = Previews::default();
        let cancel = Cancel::Says(Cancelled::Stopped);
        let (assign, mut told, _) = worker_seen(call, cancel, &previews);
        assign.send(assignment(1, task, &abort)).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(previews.latest(request).is_some(), seen, "{call:?}");
        let _ = end(&mut told).await;
        assert_eq!(previews.latest(request), None, "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_dropped_leaves_no_preview() {
    let previews = Previews::default();
    let backend: Arc<dyn Backend> =
        Arc::new(Stubborn { call: Call::Hangs, cancel: Cancel::Hangs, cancels: AtomicU32::new(0) });
    let (assign, inbox) = mpsc::unbounded_channel();
    let working = tokio::spawn(work(connection(backend), inbox, gallery(&previews), |_| ()));
    assign.send(assignment(1, Task::Generate, &CancellationToken::new())).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(previews.latest(job(1).run.request).is_some());
    working.abort();
    assert!(working.await.unwrap_err().is_cancelled());
    assert_eq!(previews.latest(job(1).run.request), None);
}

#[tokio::test(start_paused = true)]
async fn panics_in_an_adapter_cost_a_run_or_a_probe() {
    let (assign, mut told, backend) = worker(Call::Panics, Cancel::Panics);
    for attempt in 1..3 {
        assign.send(assignment(attempt, Task::Generate, &CancellationToken::new())).unwrap();
        let error = end(&mut told).await.unwrap_err();
        assert_eq!(error, BackendError::Panicked("a bug in it".into()));
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let notify = move |notice| {
        let _ = tell.send(notice);
    };
    tokio::spawn(keep_probing(connection(backend), Arc::default(), notify));
    for _ in 0..3 {
        let Some(Notice::Probed { result, .. }) = told.recv().await else { panic!("it lives on") };
        assert_eq!(result, Err(BackendError::Panicked("a bug".into())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_doubted_or_reached_otherwise_is_asked_at_once() {
    let backend =
        Stubborn { call: Call::Ends(0), cancel: Cancel::Hangs, cancels: AtomicU32::new(0) };
    let (tell, mut told) = mpsc::unbounded_channel();
    let notify = move |notice| {
        let _ = tell.send((Instant::now(), notice));
    };
    let doubt = Arc::new(Notify::new());
    let backend: Arc<dyn Backend> = Arc::new(backend);
    let connection = Connection { backend, interval: Duration::from_secs(100), limit: LIMIT };
    let (connect, connection) = watch::channel(connection);
    tokio::spawn(keep_probing(connection, doubt.clone(), notify));
    let doubted = || doubt.notify_one();
    let reached_otherwise = || connect.send_modify(|_| ());
    for anew in [&doubted as &dyn Fn(), &reached_otherwise] {
        // 0.1 + 0.2 + … + 51.2 s of growing pauses, and then 100.
        tokio::time::sleep(Duration::from_secs(150)).await;
        while told.try_recv().is_ok() {}
        let start = Instant::now();
        anew();
        for milliseconds in [0, 100, 300, 700] {
            let (at, _) = told.recv().await.unwrap();
            assert_eq!((at - start).as_millis(), milliseconds);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_run_begins_when_it_does_not_stand_behind_others_any_more() {
    for (call, ends) in [
        (Call::Ends(61), false),
        (Call::Waits(1_000), true),
        (Call::Waits(3_500), true),
        // Not for ever.
        (Call::Waits(10_000), false),
    ] {
        let (assign, mut told, _) = worker(call, Cancel::Says(Cancelled::Stopped));
        assign.send(assignment(1, Task::Generate, &CancellationToken::new())).unwrap();
        let ended = end(&mut told).await;
        assert_eq!(ended.is_ok(), ends, "{call:?}: {ended:?}");
        assert!(ends || ended == Err(BackendError::TimedOut(LIMIT)), "{call:?}: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_given_up_before_its_turn_is_never_begun() {
    let (assign, mut told, _) = worker(Call::Ends(5), Cancel::Says(Cancelled::Stopping));
    let [first, second] = [0, 1].map(|_| CancellationToken::new());
    assign.send(assignment(1, Task::Generate, &first)).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.cancel();
    assign.send(assignment(2, Task::Generate, &second)).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    second.cancel();
    drop(assign);
    let mut seen = Vec::new();
    while let Some(notice) = told.recv().await {
        seen.push(match notice {
            Notice::Progress { run, .. } => (run.attempt, "begun"),
            Notice::Finished { run, result: Err(BackendError::Cancelled), .. } => {
                (run.attempt, "cancelled")
            }
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, [(1, "begun"), (1, "cancelled"), (2, "cancelled")]);
}
