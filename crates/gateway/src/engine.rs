//! The engine: one task that feeds the scheduler and carries out what it says.
//!
//! Everything that happens comes to it as a [`Message`], one after the other. It keeps, for each
//! request that has not durably ended, what others may see of it; ended ones are read from the
//! journal.

mod effects;
mod gauges;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use scheduling::{Policy, Seconds, Time};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::backends::BackendError;
use crate::config::Config;
use crate::health::{HealthCounter, Turn};
use crate::journal::{Accepted, CompletedRun, EndEntry, Record, Report, Unfinished, Writer};
use crate::metrics::{self, Metrics};
use crate::scheduler::{
    Administration, Gate, Order, Quote, Rejection, RequestId, Run, RunId, Scheduler, Speed,
    Standing,
};
use crate::speed::SpeedEstimator;
use crate::status::{Phase, Refusal, ServerView, Status};
use crate::timeline::Timeline;
use crate::worker::{Assignment, Notice};

/// What requesters and operators ask.
pub(crate) enum Message {
    Submit { accepted: Arc<Accepted>, reply: oneshot::Sender<Result<Status, Refusal>> },
    Quote { order: Order, reply: oneshot::Sender<Result<(Quote, Arc<str>), Rejection>> },
    Status { id: RequestId, reply: oneshot::Sender<Option<Status>> },
    Watch { id: RequestId, reply: oneshot::Sender<Option<watch::Receiver<Status>>> },
    Cancel { id: RequestId, reply: oneshot::Sender<bool> },
    Servers { reply: oneshot::Sender<Vec<ServerView>> },
    Administer { server: String, state: Administration, reply: oneshot::Sender<bool> },
    Policy { name: Arc<str>, policy: Box<dyn Policy>, reply: oneshot::Sender<()> },
    Gauges { reply: oneshot::Sender<()> },
    Close { reply: oneshot::Sender<()> },
}

/// What workers, probers and the journal tell.
pub(crate) enum Event {
    Notice(Notice),
    Report(Report),
}

/// A server and what the engine keeps for it.
pub(crate) struct Attached {
    pub(crate) name: Arc<str>,
    pub(crate) worker: mpsc::UnboundedSender<Assignment>,
    pub(crate) health: HealthCounter,
    /// None if the configured speed is to be kept.
    pub(crate) estimator: Option<SpeedEstimator>,
    pub(crate) trouble: Option<String>,
}

/// A request that has not durably ended.
struct Tracked {
    view: watch::Sender<Status>,
    /// Who waits for the acknowledgement.
    reply: Option<oneshot::Sender<Result<Status, Refusal>>>,
    /// Its end, while it is being written down.
    ending: Option<EndEntry>,
}

/// The task's state.
pub(crate) struct Engine {
    scheduler: Scheduler,
    timeline: Timeline,
    origin: f64,
    policy: Arc<str>,
    shadow_policy: Option<Arc<str>>,
    servers: Vec<Attached>,
    live: HashMap<RequestId, Tracked>,
    keys: HashMap<(Arc<str>, String), RequestId>,
    aborts: HashMap<RunId, CancellationToken>,
    /// Names that backends gave to runs before a restart.
    tickets: HashMap<RunId, String>,
    /// The picture of the run that has just completed.
    picture: Option<Bytes>,
    writer: Writer,
    metrics: Arc<Metrics>,
    run_limit: Duration,
    keep: Seconds,
    remember: Seconds,
    reference_pixels: u32,
    closing: Vec<oneshot::Sender<()>>,
    ticks: u32,
}

impl Engine {
    const TICK: Duration = Duration::from_millis(500);
    /// Ticks between two deletions of what is old.
    const FORGET: u32 = 10;

    pub(crate) fn new(
        config: &Config,
        scheduler: Scheduler,
        (timeline, origin): (Timeline, f64),
        servers: Vec<Attached>,
        writer: Writer,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            scheduler,
            timeline,
            origin,
            policy: config.policy.to_string().into(),
            shadow_policy: config.shadow_policy.as_ref().map(|name| name.to_string().into()),
            servers,
            live: HashMap::new(),
            keys: HashMap::new(),
            aborts: HashMap::new(),
            tickets: HashMap::new(),
            picture: None,
            writer,
            metrics,
            run_limit: config.limits.run_seconds.duration(),
            keep: Seconds::of(config.limits.keep_seconds.seconds()),
            remember: Seconds::of(config.limits.remember_seconds.seconds()),
            reference_pixels: config.reference_pixels(),
            closing: Vec::new(),
            ticks: 0,
        }
    }

    /// Takes back what the journal holds unfinished. A run that was under way is looked up.
    pub(crate) fn restore(&mut self, unfinished: Vec<Unfinished>) {
        let now = self.timeline.now();
        for Unfinished { accepted, attempts, failures, open } in unfinished {
            let order = accepted.order.clone();
            self.track(Arc::new(accepted), None);
            let server = open
                .as_ref()
                .and_then(|run| self.servers.iter().position(|server| server.name == run.server));
            let (Some(open), Some(server)) = (open, server) else {
                self.scheduler.restore(order, attempts, failures);
                continue;
            };
            let id = RunId { request: order.id, attempt: attempts };
            let run =
                Run { id, server, steps: open.steps, start: open.start, service: open.service };
            self.tickets.extend(open.ticket.map(|ticket| (id, ticket)));
            self.scheduler.restore_running(now, order, run, failures);
        }
        self.carry_out();
    }

    /// Learns from runs before the start.
    pub(crate) fn relearn(&mut self, server: usize, runs: Vec<CompletedRun>) {
        let reference = f64::from(self.reference_pixels);
        let Some(estimator) = &mut self.servers[server].estimator else { return };
        for run in runs {
            estimator.observe(run.steps, f64::from(run.pixels) / reference, run.took);
        }
        if let Some(learned) = estimator.estimate() {
            self.scheduler.server_speed(self.timeline.now(), server, learned);
        }
    }

    /// Runs until closed and everything that must be written is.
    pub(crate) async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut events: mpsc::UnboundedReceiver<Event>,
    ) {
        let mut tick = tokio::time::interval(Self::TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Completions before arrivals, as everywhere.
                biased;
                Some(event) = events.recv() => self.event(event),
                Some(message) = messages.recv() => self.message(message),
                _ = tick.tick() => self.tick(),
            }
            self.carry_out();
            if !self.closing.is_empty() && self.at_rest() {
                return;
            }
        }
    }

    /// Nothing runs and nothing waits for the journal.
    fn at_rest(&self) -> bool {
        let running = self.scheduler.servers().iter().any(|s| s.occupancy.run().is_some());
        let owed = self.live.values().any(|t| t.ending.is_some() || t.reply.is_some());
        !running && !owed
    }

    fn tick(&mut self) {
        let now = self.timeline.now();
        self.scheduler.tick(now);
        self.ticks += 1;
        if self.ticks.is_multiple_of(Self::FORGET) {
            let old = Seconds::of(now.seconds()) - self.keep - self.remember;
            let ended = Time::new(old.seconds()).ok();
            self.writer.append(Record::Forget { now, ended });
        }
    }

    fn message(&mut self, message: Message) {
        let now = self.timeline.now();
        // Whoever asked may have gone away: that its answer finds nobody is no error.
        match message {
            Message::Submit { accepted, reply } => self.submit(now, accepted, reply),
            Message::Quote { order, reply } => {
                let quote = self.scheduler.quote(now, &order);
                let _ = reply.send(quote.map(|quote| (quote, self.policy.clone())));
            }
            Message::Status { id, reply } => {
                let _ = reply.send(self.status(id));
            }
            Message::Watch { id, reply } => {
                let _ = reply.send(self.live.get(&id).map(|tracked| tracked.view.subscribe()));
            }
            Message::Cancel { id, reply } => {
                let _ = reply.send(self.scheduler.cancel(now, id));
            }
            Message::Servers { reply } => {
                let _ = reply.send(self.views(now));
            }
            Message::Administer { server, state, reply } => {
                let index = self.servers.iter().position(|s| *s.name == *server);
                if let Some(index) = index {
                    self.scheduler.administer(now, index, state);
                }
                let _ = reply.send(index.is_some());
            }
            Message::Policy { name, policy, reply } => {
                tracing::info!(policy = %name, "another policy decides from now on");
                self.scheduler.set_policy(policy);
                self.policy = name;
                let _ = reply.send(());
            }
            Message::Gauges { reply } => {
                self.gauges(now);
                let _ = reply.send(());
            }
            Message::Close { reply } => {
                self.scheduler.set_gate(now, Gate::Closing);
                self.closing.push(reply);
            }
        }
    }

    fn submit(
        &mut self,
        now: Time,
        accepted: Arc<Accepted>,
        reply: oneshot::Sender<Result<Status, Refusal>>,
    ) {
        let order = accepted.order.clone();
        let key = accepted.key.as_ref().map(|k| (order.owner.clone(), k.key.clone()));
        if let Some(&id) = key.as_ref().and_then(|key| self.keys.get(key)) {
            let view = self.live[&id].view.borrow();
            let fingerprint = view.accepted.key.as_ref().map_or([0; 32], |k| k.fingerprint);
            let _ = reply.send(Err(Refusal::KeyTaken(Some((id, fingerprint)))));
            return;
        }
        if let Err(rejection) = self.scheduler.submit(now, order) {
            let _ = reply.send(Err(Refusal::Rejected(rejection)));
        } else {
            self.writer.append(Record::Accepted(accepted.clone()));
            self.track(accepted, Some(reply));
        }
    }

    fn track(
        &mut self,
        accepted: Arc<Accepted>,
        reply: Option<oneshot::Sender<Result<Status, Refusal>>>,
    ) {
        let id = accepted.order.id;
        if let Some(key) = &accepted.key {
            self.keys.insert((accepted.order.owner.clone(), key.key.clone()), id);
        }
        let status = Status { accepted, decision: None, phase: Phase::Unplaced };
        let (view, _) = watch::channel(status);
        self.live.insert(id, Tracked { view, reply, ending: None });
    }

    fn untrack(&mut self, id: RequestId) -> Option<Tracked> {
        let tracked = self.live.remove(&id)?;
        let accepted = tracked.view.borrow().accepted.clone();
        if let Some(key) = &accepted.key {
            self.keys.remove(&(accepted.order.owner.clone(), key.key.clone()));
        }
        Some(tracked)
    }

    fn status(&self, id: RequestId) -> Option<Status> {
        let tracked = self.live.get(&id)?;
        let mut status = tracked.view.borrow().clone();
        if let Some(Standing::Waiting { ahead, .. }) = self.scheduler.standing(id) {
            status.phase = Phase::Waiting { ahead };
        }
        Some(status)
    }

    fn event(&mut self, event: Event) {
        let now = self.timeline.now();
        match event {
            Event::Notice(Notice::Progress { run, share }) => {
                self.scheduler.progressed(now, run, share);
                self.change(run.request, |status| {
                    if let Phase::Running { progress, .. } = &mut status.phase {
                        *progress = Some(share.clamp(0.0, 1.0));
                    }
                });
            }
            Event::Notice(Notice::Ticket { run, ticket }) => {
                self.writer.append(Record::Ticket { run, ticket });
            }
            Event::Notice(Notice::Finished { server, run, result }) => {
                self.finished(now, server, run, result);
            }
            Event::Notice(Notice::Probed { server, result }) => {
                self.health(now, server, result.as_ref().err());
            }
            Event::Report(report) => self.report(now, report),
        }
    }

    fn finished(
        &mut self,
        now: Time,
        server: usize,
        id: RunId,
        result: Result<Bytes, BackendError>,
    ) {
        self.aborts.remove(&id);
        let run = self.scheduler.servers()[server].occupancy.run().filter(|r| r.id == id).copied();
        match result {
            Ok(png) => {
                self.health(now, server, None);
                if let Some(run) = run {
                    self.learn(now, run);
                }
                self.picture = Some(png);
                self.scheduler.completed(now, id);
                self.carry_out();
                self.picture = None;
            }
            Err(BackendError::Unknown) => self.scheduler.lost(now, id),
            Err(BackendError::Cancelled) => self.scheduler.failed(now, id, "cancelled"),
            Err(error) => {
                let name = self.servers[server].name.clone();
                let reason = format!("server {name} {error}");
                tracing::warn!(run = %id, server = %name, %error, "a run failed");
                self.metrics.add(metrics::RUN_FAILURES, &[("server", &name)], 1.0);
                self.writer.append(Record::RunFailed { run: id, at: now, reason: reason.clone() });
                // The server goes first, so that the request is not sent back to it.
                if error.blames_server() {
                    self.health(now, server, Some(&error));
                }
                self.scheduler.failed(now, id, &reason);
            }
        }
    }

    /// A probe or a run says something about a server's health.
    fn health(&mut self, now: Time, server: usize, error: Option<&BackendError>) {
        let attached = &mut self.servers[server];
        let turn = match error {
            None => attached.health.succeeded(),
            Some(error) => attached.health.failed(error.is_unreachable()),
        };
        attached.trouble = error.map(ToString::to_string);
        match turn {
            Some(Turn::Up) => {
                tracing::info!(server = %attached.name, "the server is healthy");
                self.scheduler.server_up(now, server);
            }
            Some(Turn::Down) => {
                let why = attached.trouble.as_deref().unwrap_or("");
                tracing::warn!(server = %attached.name, why, "the server is unhealthy");
                self.scheduler.server_down(now, server);
            }
            None => {}
        }
    }

    /// Compares a completed run with its prediction and corrects the server's speed.
    fn learn(&mut self, now: Time, run: Run) {
        let attached = &mut self.servers[run.server];
        let labels = [("server", &*attached.name)];
        let took = now - run.start;
        self.metrics.observe(metrics::SERVICE, &labels, took.seconds());
        if run.service > Seconds::ZERO {
            let error = took.seconds() / run.service.seconds() - 1.0;
            self.metrics.observe(metrics::PREDICTION_ERROR, &labels, error);
        }
        let Some(tracked) = self.live.get(&run.id.request) else { return };
        let pixels = tracked.view.borrow().accepted.order.pixels;
        let size = f64::from(pixels) / f64::from(self.reference_pixels);
        let learned = attached.estimator.as_mut().and_then(|e| e.observe(run.steps, size, took));
        let current = self.scheduler.servers()[run.server].speed;
        if let Some(learned) = learned
            && differs(learned, current)
        {
            self.scheduler.server_speed(now, run.server, learned);
        }
    }

    fn report(&mut self, now: Time, report: Report) {
        match report {
            Report::Accepted(id) => {
                self.metrics.add(metrics::ACCEPTED, &[], 1.0);
                self.scheduler.recorded(now, id);
                self.carry_out();
                let status = self.status(id);
                let reply = self.live.get_mut(&id).and_then(|tracked| tracked.reply.take());
                if let (Some(reply), Some(status)) = (reply, status) {
                    let _ = reply.send(Ok(status));
                }
            }
            Report::KeyTaken(id) => self.refuse(now, id, Refusal::KeyTaken(None)),
            Report::Refused(id, why) => self.refuse(now, id, Refusal::Journal(why)),
            Report::Ended(id) => {
                if let Some(tracked) = self.untrack(id) {
                    let end = tracked.ending.expect("what is reported was handed in");
                    tracked.view.send_modify(|status| status.phase = Phase::Ended(end));
                }
            }
            Report::Failing(_) => {
                self.metrics.set(metrics::JOURNAL_FAILING, &[], 1.0);
                self.scheduler.set_gate(now, Gate::Holding);
            }
            Report::Recovered => {
                self.metrics.set(metrics::JOURNAL_FAILING, &[], 0.0);
                self.scheduler.set_gate(now, Gate::Open);
            }
        }
    }

    fn refuse(&mut self, now: Time, id: RequestId, refusal: Refusal) {
        self.scheduler.withdraw(now, id);
        if let Some(Tracked { reply: Some(reply), .. }) = self.untrack(id) {
            let _ = reply.send(Err(refusal));
        }
    }

    /// Changes what is seen of a request, and tells those who watch.
    fn change(&self, id: RequestId, change: impl FnOnce(&mut Status)) {
        if let Some(tracked) = self.live.get(&id) {
            tracked.view.send_modify(change);
        }
    }
}

/// Whether a change of speed is worth mentioning.
fn differs(a: Speed, b: Speed) -> bool {
    let typical = Config::typical_steps();
    let [a, b] = [a, b].map(|speed| speed.service_time(typical, 1.0).seconds());
    (a / b - 1.0).abs() > 0.02
}
