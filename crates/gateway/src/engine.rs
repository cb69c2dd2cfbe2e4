//! The engine: one task that feeds the scheduler and carries out what it says.
//!
//! Everything that happens comes to it as a [`Message`], one after the other. It keeps, for each
//! request that has not durably ended, what others may see of it; ended ones are read from the
//! journal.

mod counting;
mod effects;
mod gauges;
mod offers;
mod opening;
mod preloads;
mod questions;
mod reconfigure;
mod requests;
mod restart;
mod runs;
mod shadow;
mod statistics;
mod trials;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dispatch::{Administration, Gate, Order, Quote, Rejection, RequestId, Run, RunId, Scheduler};
use indexmap::IndexMap;
use scheduling::{Policy, Seconds, Time};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::attach::{Foreman, Stay};
use crate::config::Config;
use crate::health::HealthCounter;
use crate::journal::{Accepted, Record, Report, Summary, Writer};
use crate::metrics::{self, Metrics};
use crate::node::Set;
use crate::speed::Learned;
use crate::status::{Phase, Refusal, Status};
use crate::timeline::Timeline;
use crate::worker::{Assignment, Connection, Notice};

use self::counting::ahead;
pub(crate) use self::offers::Explained;
use self::offers::Explanations;
use self::opening::Opening;
pub(crate) use self::questions::{InForce, Question, Usage};
pub(crate) use self::reconfigure::{Changes, New};
use self::requests::{Acceptance, Reply, Tracked};
pub(crate) use self::shadow::ShadowPolicy;
use self::shadow::ShadowWorld;
use self::statistics::Statistics;
pub(crate) use self::statistics::{Bucket, Changed, Decisions, Runs, Scale};
pub(crate) use self::trials::Trials;

/// What requesters and operators ask.
pub(crate) enum Message {
    Submit { accepted: Arc<Accepted>, reply: Reply },
    Quote { order: Order, reply: oneshot::Sender<Result<(Quote, Arc<str>), Rejection>> },
    Status { id: RequestId, reply: oneshot::Sender<Option<Status>> },
    Watch { id: RequestId, reply: oneshot::Sender<Option<watch::Receiver<Status>>> },
    Cancel { id: RequestId, reply: oneshot::Sender<bool> },
    Ask(Question),
    Administer { server: String, state: Administration, reply: oneshot::Sender<bool> },
    Policy { name: Arc<str>, policy: Box<dyn Policy>, reply: oneshot::Sender<()> },
    Reconfigure { new: Box<New>, reply: oneshot::Sender<Changes> },
    CalledBack { id: RequestId },
    Remember { past: Vec<Summary> },
    Gauges { reply: oneshot::Sender<()> },
    Close { runs: Running, reply: oneshot::Sender<()> },
}

/// What becomes of runs when the engine closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    /// They may finish.
    Finishes,
    /// They go on where they are, for the next one that looks for them.
    GoesOn,
}

/// When a run is dispatched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Starts {
    /// At once. A start that the journal does not have yet is forgotten by a kill, with the run.
    #[default]
    AtOnce,
    /// When the journal has its start: the run outlives whoever started it.
    Durable,
}

/// What workers, probers and the journal tell.
pub(crate) enum Event {
    Notice(Stay, Notice),
    Report(Report),
}

/// A server and what the engine keeps for it.
pub(crate) struct Attached {
    pub(crate) name: Arc<str>,
    /// None once it has left: its place is free.
    pub(crate) stay: Option<Stay>,
    /// Ends its prober, and lets its worker end.
    pub(crate) leave: CancellationToken,
    /// Has its next run, and its prober, reach it otherwise.
    pub(crate) connect: watch::Sender<Connection>,
    pub(crate) worker: mpsc::UnboundedSender<Assignment>,
    pub(crate) health: HealthCounter,
    /// Has the server asked at once whether it answers.
    pub(crate) doubt: Arc<Notify>,
    /// None if the configured speeds are to be kept.
    pub(crate) learned: Option<Learned>,
    pub(crate) trials: Trials,
    /// When the latest run or trial began or ended there.
    pub(crate) busy: Time,
    /// Why the latest probe or run says that it does not answer, if so.
    pub(crate) trouble: Option<String>,
    /// Why its latest job failed, if so. That it answers probes says nothing against it.
    pub(crate) failure: Option<String>,
    /// The job that loads a model there before anybody asks for it, while it runs.
    pub(crate) preload: Option<RunId>,
}

impl Attached {
    /// Gives its worker something to do.
    fn assign(&mut self, now: Time, assignment: Assignment) {
        self.busy = now;
        // The worker lives as long as the engine.
        let _ = self.worker.send(assignment);
    }
}

/// The longest that a run with this prediction may take.
fn longest(config: &Config, predicted: Seconds) -> Duration {
    let limit = config.limits.run_seconds.duration();
    limit + Duration::from_secs_f64(4.0 * predicted.seconds().max(0.0))
}

/// The task's state.
pub(crate) struct Engine {
    scheduler: Scheduler,
    timeline: Timeline,
    origin: f64,
    policy: Arc<str>,
    /// Decisions of the policy on what it has never met in training, as far as they are counted.
    unfamiliar: u64,
    shadow_policy: Option<Arc<str>>,
    servers: Vec<Attached>,
    foreman: Foreman,
    /// Ends that are to be told somewhere, and where.
    ended: mpsc::UnboundedSender<(RequestId, String)>,
    /// In an order that does not depend on their random names, in which whoever waits is told when all ends.
    live: IndexMap<RequestId, Tracked>,
    keys: HashMap<(Arc<str>, String), RequestId>,
    aborts: HashMap<RunId, CancellationToken>,
    starts: Starts,
    /// Runs that the journal does not have yet.
    starting: HashMap<RunId, Run>,
    /// Names that backends gave to runs before a restart.
    tickets: HashMap<RunId, String>,
    writer: Writer,
    metrics: Arc<Metrics>,
    config: Arc<Config>,
    opening: Opening,
    explanations: Explanations,
    statistics: Statistics,
    /// What the shadow policy makes of the same requests.
    shadow: Option<ShadowWorld>,
    /// Tells how accepted requests stand whenever they change.
    changes: broadcast::Sender<Change>,
    /// Where it is told what operators set, if anybody wants to know.
    sets: Option<mpsc::UnboundedSender<Set>>,
    closing: Vec<(Running, oneshot::Sender<()>)>,
    ticks: u32,
    /// Whether the journal is lost, for good.
    lost: bool,
}

/// How an accepted request stands that has changed. It is kept until all who listen have heard it, or are so many
/// changes behind that they begin anew.
pub(crate) type Change = Arc<Status>;

impl Engine {
    /// Changes that somebody who listens may be behind.
    const CHANGES: usize = 4096;
    const TICK: Duration = Duration::from_millis(500);
    /// Ticks between two deletions of what is old.
    const FORGET: u32 = 10;

    pub(crate) fn new(
        config: &Arc<Config>,
        scheduler: Scheduler,
        (timeline, origin): (Timeline, f64),
        (servers, foreman): (Vec<Attached>, Foreman),
        ended: mpsc::UnboundedSender<(RequestId, String)>,
        (writer, starts): (Writer, Starts),
        metrics: Arc<Metrics>,
    ) -> Self {
        let opening = Opening::new(timeline.now(), config.limits.waiting as usize);
        let statistics = Statistics::new(ahead(&timeline));
        Self {
            scheduler,
            timeline,
            origin,
            policy: config.policy.to_string().into(),
            unfamiliar: 0,
            shadow_policy: config.shadow_policy.as_ref().map(|name| name.to_string().into()),
            servers,
            foreman,
            ended,
            live: IndexMap::new(),
            keys: HashMap::new(),
            aborts: HashMap::new(),
            starts,
            starting: HashMap::new(),
            tickets: HashMap::new(),
            writer,
            metrics,
            config: config.clone(),
            opening,
            explanations: Explanations::default(),
            statistics,
            shadow: None,
            changes: broadcast::channel(Self::CHANGES).0,
            sets: None,
            closing: Vec::new(),
            ticks: 0,
            lost: false,
        }
    }

    /// Where changes of accepted requests are told.
    pub(crate) fn changes(&self) -> broadcast::Sender<Change> {
        self.changes.clone()
    }

    /// From now on it is told what operators set.
    pub(crate) fn tell_sets(&mut self, sets: Option<mpsc::UnboundedSender<Set>>) {
        self.sets = sets;
    }

    fn set(&self, set: Set) {
        if let Some(sets) = &self.sets {
            let _ = sets.send(set);
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
                () = tokio::time::sleep(self.until_wakeup()) => {
                    self.scheduler.tick(self.timeline.now());
                }
                _ = tick.tick() => self.tick(),
            }
            self.carry_out(None);
            if !self.closing.is_empty() && self.at_rest() {
                return;
            }
        }
    }

    /// Until the scheduler has something to do by itself.
    fn until_wakeup(&self) -> Duration {
        let wait = self.scheduler.next_wakeup().map(|time| time - self.timeline.now());
        let seconds = wait.map_or(3600.0, |wait| wait.seconds().clamp(0.0, 3600.0));
        // A timer's tick later, so that rounding never wakes it just before.
        Duration::from_secs_f64(seconds) + Duration::from_millis(1)
    }

    /// Nothing runs and nothing waits for the journal.
    fn at_rest(&self) -> bool {
        let goes_on = self.closing.iter().all(|(runs, _)| *runs == Running::GoesOn);
        let running =
            !goes_on && self.scheduler.servers().iter().any(|s| s.occupancy.run().is_some());
        let pending = |t: &Tracked| matches!(t.acceptance, Acceptance::Pending { .. });
        let owed = self.live.values().any(|t| t.ending.is_some() || pending(t));
        // What a lost journal is owed it will never get.
        !running && (!owed || self.lost)
    }

    fn tick(&mut self) {
        let now = self.timeline.now();
        self.scheduler.tick(now);
        self.tick_opening(now);
        self.try_idle_servers(now);
        self.see_off();
        self.sample(now);
        self.shadow_advance(now);
        self.ticks += 1;
        if self.ticks.is_multiple_of(Self::FORGET) {
            let clock = self.timeline.clock();
            self.writer.append(Record::Clock(clock));
            let limits = &self.config.limits;
            let age = limits.keep_seconds.seconds() + limits.remember_seconds.seconds();
            let age = Seconds::of(age);
            self.writer.append(Record::Forget { lived: clock.lived, age });
        }
    }

    fn message(&mut self, message: Message) {
        let now = self.timeline.now();
        let Some(message) = self.wait_for_a_server(now, message) else { return };
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
                self.shadow_cancel(now, id);
                let _ = reply.send(self.scheduler.cancel(now, id));
            }
            Message::Ask(question) => self.answer(now, question),
            Message::Administer { server, state, reply } => {
                // One that leaves is nobody's to administer any more.
                let states = self.scheduler.servers().iter();
                let index = states.zip(&self.servers).position(|(at, own)| {
                    *own.name == *server && at.administration != Administration::Removed
                });
                if let Some(index) = index {
                    self.scheduler.administer(now, index, state);
                    self.set(Set::Server { name: server, state });
                }
                let _ = reply.send(index.is_some());
            }
            Message::Policy { name, policy, reply } => {
                tracing::info!(policy = %name, "another policy decides from now on");
                self.scheduler.set_policy(policy);
                self.policy = name;
                self.set(Set::Policy(self.policy.to_string()));
                let _ = reply.send(());
            }
            Message::Reconfigure { new, reply } => {
                let _ = reply.send(self.reconfigure(now, *new));
            }
            Message::Remember { past } => self.statistics.remember(now, &past),
            Message::CalledBack { id } => self.writer.append(Record::CalledBack(id)),
            Message::Gauges { reply } => {
                self.gauges(now);
                let _ = reply.send(());
            }
            Message::Close { runs, reply } => {
                self.scheduler.set_gate(now, Gate::Closing);
                self.servers.iter_mut().for_each(|server| server.trials.stop());
                self.writer.append(Record::Clock(self.timeline.clock()));
                self.closing.push((runs, reply));
                self.end_opening();
            }
        }
    }

    fn event(&mut self, event: Event) {
        let now = self.timeline.now();
        match event {
            Event::Notice(stay, notice) => {
                let server = self.servers.iter().position(|server| server.stay == Some(stay));
                // Of one that has left nothing is of interest any more.
                if let Some(server) = server {
                    self.notice(now, server, notice);
                }
            }
            Event::Report(report) => self.report(now, report),
        }
    }

    fn notice(&mut self, now: Time, server: usize, notice: Notice) {
        match notice {
            Notice::Progress { run, share } => {
                self.scheduler.progressed(now, run, share);
                self.change(run.request, |status| {
                    if let Phase::Running { progress, .. } = &mut status.phase {
                        *progress = Some(share.clamp(0.0, 1.0));
                    }
                });
            }
            Notice::Ticket { run, ticket } => {
                self.writer.append(Record::Ticket { run, ticket });
            }
            Notice::Finished { run, result } => self.finished(now, server, run, result),
            Notice::Tried { job, result } => self.tried(now, server, &job, &result),
            Notice::Probed { result } => self.health(now, server, result.as_ref().err()),
            Notice::Foreign { jobs } => self.scheduler.server_held(now, server, jobs),
            Notice::Loaded { models, took } => {
                // What was asked before a run says nothing about what is there after it.
                if now - self.servers[server].busy > Seconds::of(took.as_secs_f64()) {
                    let known = models.iter().filter_map(|name| self.config.model(name));
                    self.scheduler.server_loaded(server, &known.collect::<Vec<_>>());
                }
            }
        }
    }

    fn report(&mut self, now: Time, report: Report) {
        match report {
            Report::Accepted(id) => self.acknowledge(now, id),
            Report::KeyTaken(id) => self.refuse(now, id, &Refusal::KeyTaken(None)),
            Report::Refused(id, why) => self.refuse(now, id, &Refusal::Journal(why)),
            Report::Started(run) => self.started(run),
            Report::Ended(id) => {
                if let Some(mut tracked) = self.untrack(id) {
                    let end = tracked.ending.take().expect("what is reported was handed in");
                    tracked.view.send_modify(|status| status.phase = Phase::Ended(end));
                    self.tell(&tracked);
                    if let Some(url) = tracked.view.borrow().accepted.callback.clone() {
                        // Whoever tells it lives as long as the engine.
                        let _ = self.ended.send((id, url));
                    }
                }
            }
            Report::Failing(_) => {
                self.metrics.set(metrics::JOURNAL_FAILING, &[], 1.0);
                self.scheduler.set_gate(now, Gate::Holding);
            }
            Report::Recovered => {
                self.metrics.set(metrics::JOURNAL_FAILING, &[], 0.0);
                if !self.lost {
                    self.scheduler.set_gate(now, Gate::Open);
                }
            }
            Report::Lost(why) => {
                if !std::mem::replace(&mut self.lost, true) {
                    tracing::error!(%why, "the journal is lost");
                }
                self.metrics.set(metrics::JOURNAL_FAILING, &[], 1.0);
                self.scheduler.set_gate(now, Gate::Holding);
            }
        }
    }
}
