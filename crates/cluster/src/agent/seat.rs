//! One server of an agent: what it is asked, what runs there, and what is still to be told.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use dispatch::RunId;
use futures_util::{FutureExt as _, StreamExt as _};
use gateway::backends::{Backend, BackendError, Job, Preview, Timing, Watcher, picture};
use scheduling::Seconds;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::keep::{Keep, Kept, Outcome};
use crate::connection::Connection;
use crate::words::{
    Ask, Condition, Confirm, News, Order, PART, Part, Reply, Said, Task, Trouble, read, shown,
    written,
};

/// The place of one server.
pub(super) struct Seat {
    agent: String,
    server: String,
    backend: Arc<dyn Backend>,
    connection: Connection,
    keep: Keep,
    /// The latest epoch that was obeyed.
    epoch: u64,
    /// What runs.
    running: Option<Running>,
    /// What has ended and is not confirmed.
    untold: Vec<Untold>,
    /// Whether something of it is under way.
    telling: bool,
    told: mpsc::UnboundedSender<RunId>,
    was_told: mpsc::UnboundedReceiver<RunId>,
    ended: mpsc::UnboundedSender<(RunId, Outcome)>,
    has_ended: mpsc::UnboundedReceiver<(RunId, Outcome)>,
    /// Steps and seconds of the latest runs.
    latest: VecDeque<(f64, f64)>,
}

/// Something that has ended and is not confirmed.
struct Untold {
    run: RunId,
    outcome: Outcome,
    /// When it is told next, and the pause behind that.
    next: Instant,
    pause: Duration,
}

impl Untold {
    fn new(run: RunId, outcome: Outcome) -> Self {
        Self { run, outcome, next: Instant::now(), pause: Seat::AGAIN }
    }
}

/// How a run is begun.
enum Way {
    Begin,
    /// It was begun before the agent was started, under this name of the server's own.
    Find(Option<String>),
}

struct Running {
    job: Job,
    ticket: Arc<Mutex<Option<String>>>,
    call: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.call.abort();
    }
}

impl Seat {
    /// Pause before what is not confirmed is told again.
    const AGAIN: Duration = Duration::from_secs(2);
    /// The longest such pause.
    const SELDOM: Duration = Duration::from_secs(30);
    /// Longest that a picture may be on its way to the brokers.
    const SLOW: Duration = Duration::from_mins(2);
    /// Bytes of a part of a picture.
    const PART: usize = 1024 * 1024;
    /// Runs whose speed is remembered.
    const LATEST: usize = 16;

    pub(super) fn new(
        agent: &str,
        server: &str,
        backend: Arc<dyn Backend>,
        connection: Connection,
        keep: Keep,
    ) -> Self {
        let (ended, has_ended) = mpsc::unbounded_channel();
        let (told, was_told) = mpsc::unbounded_channel();
        Self {
            agent: agent.into(),
            server: server.into(),
            backend,
            connection,
            keep,
            epoch: 0,
            running: None,
            untold: Vec::new(),
            telling: false,
            told,
            was_told,
            ended,
            has_ended,
            latest: VecDeque::new(),
        }
    }

    /// Does what it is asked, for ever.
    pub(super) async fn run(mut self) -> Result<(), String> {
        let (client, names) = (self.connection.client.clone(), self.connection.names.clone());
        let failed = |error: async_nats::SubscribeError| crate::causes(&error);
        let mut asks = client.subscribe(names.ask(&self.server)).await.map_err(failed)?;
        let mut confirms = client.subscribe(names.confirm(&self.server)).await.map_err(failed)?;
        self.go_on().map_err(|error| error.to_string())?;
        let mut again = tokio::time::interval(Duration::from_millis(250));
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some((run, outcome)) = self.has_ended.recv() => self.ends(run, outcome),
                Some(message) = asks.next() => self.asked(message).await,
                Some(message) = confirms.next() => self.confirmed(&message.payload),
                Some(run) = self.was_told.recv() => self.has_told(run),
                _ = again.tick() => self.tell(),
                else => return Err("the brokers tell nothing more".into()),
            }
        }
    }

    /// Takes up what was there before the start.
    fn go_on(&mut self) -> rusqlite::Result<()> {
        self.epoch = self.keep.epoch(&self.server)?;
        for Kept { order, ticket, outcome } in self.keep.all(&self.server)? {
            match outcome {
                Some(outcome) => self.untold.push(Untold::new(order.run, outcome)),
                // The server may go on with it, or have it.
                None if self.running.is_none() => self.begin(order.job(), Way::Find(ticket)),
                None => self.ends(order.run, Outcome::Failed(Trouble::Unknown)),
            }
        }
        Ok(())
    }

    async fn asked(&mut self, message: Message) {
        let Some(reply) = message.reply else { return };
        let answer = match read::<Ask>(&message.payload) {
            Ok(Ask { task: Task::Probe, .. }) => {
                // It may take a while, in which other things are asked.
                let (backend, client) = (self.backend.clone(), self.connection.client.clone());
                let condition = self.condition();
                tokio::spawn(async move {
                    let answer = written(&Reply::Probe(probe(&*backend, condition).await));
                    client.publish(reply, answer).await
                });
                return;
            }
            Ok(Ask { epoch, task }) => self.obey(epoch, task).await,
            Err(problem) => Reply::Unable(format!("its agent does not understand: {problem}")),
        };
        let _ = self.connection.client.publish(reply, written(&answer)).await;
    }

    async fn obey(&mut self, epoch: u64, task: Task) -> Reply {
        if epoch < self.epoch {
            return Reply::Deposed { epoch: self.epoch };
        }
        if epoch > self.epoch {
            if let Err(error) = self.keep.obey(&self.server, epoch) {
                return unable(&error);
            }
            self.epoch = epoch;
        }
        match task {
            Task::Run(order) => self.take(order).await,
            Task::Find { run } if self.has(run) => {
                // Whoever asks has heard nothing of it.
                for untold in self.untold.iter_mut().filter(|untold| untold.run == run) {
                    (untold.next, untold.pause) = (Instant::now(), Self::AGAIN);
                }
                Reply::Taken
            }
            Task::Cancel { run } => self.cancel(run).await,
            Task::Find { .. } | Task::Probe => Reply::Unknown,
        }
    }

    fn has(&self, run: RunId) -> bool {
        self.running.as_ref().is_some_and(|running| running.job.run == run)
            || self.untold.iter().any(|untold| untold.run == run)
    }

    async fn take(&mut self, order: Order) -> Reply {
        if self.has(order.run) {
            return Reply::Taken;
        }
        // Whoever leads takes the server for free, so nobody wants what runs here any more.
        if let Some(running) = &self.running {
            let run = running.job.run;
            tracing::info!(server = self.server, %run, "a run is given up for another one");
            self.cancel(run).await;
            self.running = None;
            let _ = self.keep.forget(run);
        }
        if let Err(error) = self.keep.take(&self.server, &order) {
            return unable(&error);
        }
        self.begin(order.job(), Way::Begin);
        Reply::Taken
    }

    /// Starts a run, or looks for one that was started before.
    fn begin(&mut self, job: Job, way: Way) {
        let ticket = match &way {
            Way::Begin => None,
            Way::Find(ticket) => ticket.clone(),
        };
        let ticket = Arc::new(Mutex::new(ticket));
        let reporter = Reporter {
            run: job.run,
            ticket: ticket.clone(),
            progress: Mutex::new(None),
            keep: self.keep.clone(),
            connection: self.connection.clone(),
            server: self.server.clone(),
        };
        let (backend, ended, asked) = (self.backend.clone(), self.ended.clone(), job.clone());
        let call = tokio::spawn(async move {
            let start = Instant::now();
            let found_again = matches!(way, Way::Find(_));
            let call = async {
                match way {
                    Way::Find(ticket) => {
                        backend.look_up(&asked, ticket.as_deref(), &reporter).await
                    }
                    Way::Begin => backend.generate(&asked, &reporter).await,
                }
            };
            let painted = AssertUnwindSafe(call).catch_unwind().await;
            let painted = painted.unwrap_or_else(|_| {
                Err(BackendError::Panicked("it is said in the agent's log".into()))
            });
            let took = Seconds::of(start.elapsed().as_secs_f64());
            let outcome = match painted {
                Ok(painted) => {
                    let timing = if found_again { Timing::Delayed } else { painted.timing };
                    checked(painted.png, &asked, timing, took).await
                }
                Err(error) => Err(error),
            };
            let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(Trouble::from(&error)));
            // The seat lives as long as the agent.
            let _ = ended.send((asked.run, outcome));
        });
        self.running = Some(Running { job, ticket, call });
    }

    fn ends(&mut self, run: RunId, outcome: Outcome) {
        if let Some(running) = self.running.take_if(|running| running.job.run == run)
            && let Outcome::Picture { direct: true, took, .. } = &outcome
        {
            if self.latest.len() == Self::LATEST {
                self.latest.pop_front();
            }
            self.latest.push_back((f64::from(running.job.steps.get()), took.seconds()));
        }
        if let Err(error) = self.keep.ended(run, &outcome) {
            // It is told all the same, as long as this agent lives.
            tracing::error!(%error, %run, "what came of a run cannot be written down");
        }
        self.untold.push(Untold::new(run, outcome));
        self.tell();
    }

    async fn cancel(&mut self, run: RunId) -> Reply {
        let Some(running) = self.running.as_ref().filter(|running| running.job.run == run) else {
            // Nobody wants to hear of it any more.
            self.forget(run);
            return Reply::Cancel(Ok(crate::words::Ending::Stopped));
        };
        let ticket = running.ticket.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cancelled = self.backend.cancel(&running.job, ticket.as_deref()).await;
        match cancelled {
            Ok(cancelled) => {
                if cancelled != gateway::backends::Cancelled::Stopping {
                    self.running = None;
                    self.forget(run);
                }
                Reply::Cancel(Ok(cancelled.into()))
            }
            Err(error) => Reply::Cancel(Err(Trouble::from(&error))),
        }
    }

    fn confirmed(&mut self, payload: &[u8]) {
        let Ok(Confirm { epoch, run }) = read(payload) else { return };
        if epoch >= self.epoch {
            self.forget(run);
        }
    }

    fn forget(&mut self, run: RunId) {
        self.untold.retain(|untold| untold.run != run);
        if let Err(error) = self.keep.forget(run) {
            tracing::warn!(%error, %run, "a run is remembered for longer than need be");
        }
    }

    /// Tells what is not confirmed, one after the other: on a slow line each takes a while, and answers are to come
    /// between them.
    fn tell(&mut self) {
        let now = Instant::now();
        let due = self.untold.iter().find(|untold| untold.next <= now);
        let Some(Untold { run, outcome, .. }) = due.filter(|_| !self.telling) else { return };
        self.telling = true;
        let (run, outcome) = (*run, outcome.clone());
        let (connection, server) = (self.connection.clone(), self.server.clone());
        let told = self.told.clone();
        tokio::spawn(async move {
            let tell = async {
                tell(&connection, &server, run, &outcome).await;
                let _ = connection.client.flush().await;
            };
            let _ = timeout(Self::SLOW, tell).await;
            // The seat lives as long as the agent.
            let _ = told.send(run);
        });
    }

    /// Something has left for the brokers. If nothing comes of that it is told again, less and less often.
    fn has_told(&mut self, run: RunId) {
        self.telling = false;
        for untold in self.untold.iter_mut().filter(|untold| untold.run == run) {
            untold.next = Instant::now() + untold.pause;
            untold.pause = (2 * untold.pause).min(Self::SELDOM);
        }
        self.tell();
    }

    fn condition(&self) -> Condition {
        let (steps, seconds) = self
            .latest
            .iter()
            .fold((0.0, 0.0), |(a, b), (steps, seconds)| (a + steps, b + seconds));
        Condition {
            agent: self.agent.clone(),
            speed: (seconds > 0.0).then(|| steps / seconds),
            kept: self.untold.len(),
            ..Condition::default()
        }
    }
}

fn unable(error: &rusqlite::Error) -> Reply {
    Reply::Unable(format!("its agent cannot write down what it is asked: {error}"))
}

async fn probe(backend: &dyn Backend, condition: Condition) -> Result<Condition, Trouble> {
    let probe = AssertUnwindSafe(async {
        backend.probe().await?;
        // That it does not tell these says nothing against it.
        let loaded = backend.loaded().await.ok().flatten();
        let foreign = backend.foreign().await.ok().flatten();
        Ok(Condition { loaded, foreign, ..condition })
    });
    let panicked = || Err(BackendError::Panicked("it is said in the agent's log".into()));
    let probed: Result<_, BackendError> = probe.catch_unwind().await.unwrap_or_else(|_| panicked());
    probed.map_err(|error| Trouble::from(&error))
}

/// A picture, if it is what was asked for.
async fn checked(
    png: Bytes,
    job: &Job,
    timing: Timing,
    took: Seconds,
) -> Result<Outcome, BackendError> {
    let (width, height) = (job.spec.width, job.spec.height);
    let check = tokio::task::spawn_blocking(move || picture::received(png, width, height)).await;
    let png =
        check.unwrap_or_else(|_| Err(BackendError::Panicked("while it was checked".into())))?;
    let (direct, cached) = (timing == Timing::Direct, timing == Timing::Cached);
    Ok(Outcome::Picture { png, direct, cached, took })
}

async fn tell(connection: &Connection, server: &str, run: RunId, outcome: &Outcome) {
    let (client, names) = (&connection.client, &connection.names);
    match outcome {
        Outcome::Failed(trouble) => {
            let said = Said { run, news: News::Failed(trouble.clone()) };
            let _ = client.publish(names.said(server), written(&said)).await;
        }
        Outcome::Picture { png, direct, cached, took } => {
            let of = png.len().div_ceil(Seat::PART).max(1) as u32;
            for index in 0..of {
                let (direct, cached, took) = (*direct, *cached, *took);
                let part = Part { run, index, of, direct, cached, took };
                let head = serde_json::to_string(&part).expect("plain data");
                let mut headers = async_nats::HeaderMap::new();
                headers.insert(PART, head.as_str());
                let from = index as usize * Seat::PART;
                let bytes = png.slice(from..png.len().min(from + Seat::PART));
                let _ = client.publish_with_headers(names.painted(server), headers, bytes).await;
            }
        }
    }
}

/// Tells how a run goes on.
struct Reporter {
    run: RunId,
    ticket: Arc<Mutex<Option<String>>>,
    /// When it was told last how far it is.
    progress: Mutex<Option<Instant>>,
    keep: Keep,
    connection: Connection,
    server: String,
}

impl Reporter {
    /// Between two tellings of progress.
    const OFTEN: Duration = Duration::from_millis(200);

    fn say(&self, news: News) {
        let (client, subject) =
            (self.connection.client.clone(), self.connection.names.said(&self.server));
        let said = written(&Said { run: self.run, news });
        tokio::spawn(async move { client.publish(subject, said).await });
    }
}

impl Watcher for Reporter {
    fn progress(&self, share: f64) {
        let mut told = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= Self::OFTEN) {
            *told = Some(Instant::now());
            self.say(News::Progress(share));
        }
    }

    fn ticket(&self, ticket: &str) {
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticket.into());
        if let Err(error) = self.keep.ticket(self.run, ticket) {
            tracing::warn!(%error, run = %self.run, "the server's name for a run cannot be written down");
        }
        self.say(News::Ticket(ticket.into()));
    }

    fn waits(&self) {
        self.say(News::Waits);
    }

    fn preview(&self, picture: Preview) {
        self.say(shown(&picture));
    }

    fn wants_previews(&self) -> bool {
        true
    }
}
