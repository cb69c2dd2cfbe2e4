//! Trials: a server that is believed to be slow gets no requests, so no run would ever show that it
//! has recovered. While it stands idle the gateway paints pictures of its own there.

use dispatch::{Gate, Occupancy, RequestId, RunId, ServerState};
use scheduling::{Model, Seconds, Steps, Time};
use tokio_util::sync::CancellationToken;

use super::{Engine, longest};
use crate::backends::{BackendError, Job};
use crate::config::{Config, Defaults};
use crate::journal::{CompletedRun, Spec};
use crate::metrics;
use crate::speed::SpeedEstimator;
use crate::worker::{Assignment, Task, Trial};

/// The trials of one server.
pub(crate) struct Trials {
    allowed: bool,
    /// Its pictures have the default size: others may take a server out of its stride.
    defaults: Defaults,
    phase: Phase,
    /// How long the server stands idle before the next one.
    pause: Seconds,
    /// Trials so far.
    count: usize,
    /// Those in a row that surprised, the latest one included.
    surprises: u32,
}

enum Phase {
    /// It is not slow, or not idle.
    Off,
    /// The next trial is due then.
    Waiting(Time),
    /// One runs.
    Running(CancellationToken),
}

impl Trials {
    const FIRST: Seconds = Seconds::of(3.0);
    const LONGEST: Seconds = Seconds::of(600.0);
    /// After a surprise, until it is believed: that takes several trials.
    const SOON: Seconds = Seconds::of(0.2);
    /// Surprises in a row that are followed up: a server of no speed at all has more.
    const FOLLOWED: u32 = 16;
    /// Few, and different ones, so that steps and overhead can be told apart.
    const STEPS: [u16; 4] = [4, 12, 8, 16];

    pub(crate) fn new(config: &Config) -> Self {
        Self {
            allowed: config.health.trials,
            defaults: config.defaults.clone(),
            phase: Phase::Off,
            pause: Self::FIRST,
            count: 0,
            surprises: 0,
        }
    }

    /// Other settings hold from the next one on.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        (self.allowed, self.defaults) = (config.health.trials, config.defaults.clone());
    }

    /// A run starts there, or the gateway stops: a trial under way is given up.
    pub(super) fn stop(&mut self) {
        if let Phase::Running(abort) = std::mem::replace(&mut self.phase, Phase::Off) {
            abort.cancel();
        }
    }

    /// Whether a trial is to start. Counts the time that the server is `free` and `slow`.
    fn due(&mut self, now: Time, free: bool, slow: bool) -> bool {
        let slow = slow || self.surprises > 0;
        if !slow {
            self.pause = Self::FIRST;
        }
        match self.phase {
            Phase::Running(_) => false,
            _ if !(self.allowed && free && slow) => {
                self.phase = Phase::Off;
                false
            }
            Phase::Off => {
                self.phase = Phase::Waiting(now + self.pause);
                false
            }
            Phase::Waiting(due) => due <= now,
        }
    }

    /// The next job, which runs from now on.
    fn start(&mut self, model: Option<&str>, abort: CancellationToken) -> Job {
        let steps = Self::STEPS[self.count % Self::STEPS.len()];
        self.count += 1;
        self.phase = Phase::Running(abort);
        self.picture(model, Steps::saturating(f64::from(steps)))
    }

    /// A picture that nobody asked for.
    pub(super) fn picture(&self, model: Option<&str>, steps: Steps) -> Job {
        let request = RequestId(uuid::Uuid::new_v4());
        let spec = Spec {
            prompt: "a red circle on blue".into(),
            negative_prompt: String::new(),
            width: self.defaults.width.get(),
            height: self.defaults.height.get(),
            // Another one every time: some servers answer a repeated job from their cache.
            seed: u64::from_be_bytes(*request.0.as_bytes().first_chunk().expect("16 bytes")) >> 33,
            model: model.map(str::to_string),
        };
        Job { run: RunId { request, attempt: 1 }, spec, steps }
    }

    /// A trial has ended. Those that confirm what is believed, or fail, make the next one rarer.
    fn ended(&mut self, surprising: bool) {
        if matches!(self.phase, Phase::Running(_)) {
            self.phase = Phase::Off;
        }
        self.surprises = if surprising { self.surprises + 1 } else { 0 };
        self.pause = if (1..Self::FOLLOWED).contains(&self.surprises) {
            Self::SOON
        } else {
            self.surprises = 0;
            let longer = (self.pause.seconds() * 2.0).max(Self::FIRST.seconds());
            Seconds::of(longer.min(Self::LONGEST.seconds()))
        };
    }
}

impl Engine {
    /// Starts the trials that are due.
    pub(super) fn try_idle_servers(&mut self, now: Time) {
        let open = self.scheduler.gate() == Gate::Open;
        for (state, attached) in self.scheduler.servers().iter().zip(&mut self.servers) {
            // With what is loaded: a trial drives nothing out.
            let Some(model) = tried_with(state) else { continue };
            let learned = attached.learned.as_mut().map(|learned| &learned.of(model).speed);
            let slow = learned.is_some_and(SpeedEstimator::is_slow);
            if !attached.trials.due(now, open && is_free(state), slow) {
                continue;
            }
            let abort = CancellationToken::new();
            let job = attached.trials.start(self.config.model_name(model), abort.clone());
            let predicted = state.speed_with(model).service_time(job.steps);
            tracing::debug!(server = %attached.name, steps = job.steps.get(), "a trial");
            let limit = longest(&self.config, predicted);
            attached.assign(now, Assignment { job, task: Task::Try, limit, abort });
        }
    }

    /// A trial has ended. Nothing but the speed hears of it: whether the server is healthy is for
    /// probes to say.
    pub(super) fn tried(
        &mut self,
        now: Time,
        server: usize,
        job: &Job,
        result: &Result<Trial, BackendError>,
    ) {
        let attached = &mut self.servers[server];
        attached.busy = now;
        if attached.preload == Some(job.run) {
            return self.preloaded(now, server, job, result);
        }
        let outcome = match result {
            Ok(_) => "completed",
            Err(BackendError::Cancelled) => "given_up",
            Err(error) => {
                tracing::info!(server = %attached.name, %error, "a trial failed");
                "failed"
            }
        };
        let labels = [("server", &*attached.name), ("outcome", outcome)];
        self.metrics.add(metrics::TRIALS, &labels, 1.0);
        let &Ok(Trial { took, timing }) = result else {
            // That it had to give way says nothing about the server.
            if outcome == "failed" {
                attached.trials.ended(false);
            }
            return;
        };
        let took = Seconds::of(took.as_secs_f64());
        let model = model_of(&self.config, job);
        let learned = attached.learned.as_mut().map(|learned| &learned.of(model).speed);
        attached.trials.ended(learned.is_some_and(|e| e.surprises(job.steps, 1.0, took)));
        let pixels = job.spec.width * job.spec.height;
        let run = CompletedRun { steps: job.steps, pixels, load: Seconds::ZERO, took };
        self.timed(now, server, model, run, timing);
    }
}

/// The model that a picture is painted with which nobody asked for.
pub(super) fn model_of(config: &Config, job: &Job) -> Model {
    config.model_or_unknown(job.spec.model.as_deref())
}

/// The model that a trial is made with: the one that was used last, if any is loaded.
fn tried_with(state: &ServerState) -> Option<Model> {
    match state.server.hosting {
        Some(_) => state.loaded().last().copied(),
        None => Some(Model(0)),
    }
}

/// Nothing runs and nothing waits there, and it could take a request.
fn is_free(state: &ServerState) -> bool {
    state.available() && state.occupancy == Occupancy::Idle && state.queue_length() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_come_at_growing_pauses_and_soon_after_a_surprise() {
        let mut trials = Trials::new(&Config::demo());
        let mut now = 0.0;
        let mut wait = |trials: &mut Trials| {
            let start = now;
            while !trials.due(Time::new(now).unwrap(), true, true) {
                now += 0.5;
            }
            trials.start(None, CancellationToken::new());
            now - start
        };
        let mut pauses = Vec::new();
        for _ in 0..10 {
            pauses.push(wait(&mut trials));
            trials.ended(false);
        }
        assert_eq!(pauses, [3.0, 6.0, 12.0, 24.0, 48.0, 96.0, 192.0, 384.0, 600.0, 600.0]);
        wait(&mut trials);
        trials.ended(true);
        assert!(wait(&mut trials) <= 1.0);
        trials.ended(false);
        assert!(wait(&mut trials) <= 3.0, "the pause grows anew");
        // What surprises is followed up, slow or not, and not for ever.
        trials.ended(true);
        assert!(!trials.due(Time::new(1e6).unwrap(), true, false));
        assert!(trials.due(Time::new(1e6 + 1.0).unwrap(), true, false));
        (0..20).for_each(|_| trials.ended(true));
        assert!(trials.pause < Trials::FIRST);
        let mut pauses = Vec::new();
        for _ in 0..16 {
            trials.ended(true);
            pauses.push(trials.pause);
        }
        assert_eq!(pauses.iter().filter(|&&pause| pause == Trials::FIRST).count(), 1);
    }

    #[test]
    fn only_idle_slow_servers_are_tried_and_runs_go_first() {
        let mut trials = Trials::new(&Config::demo());
        let at = |seconds: f64| Time::new(seconds).unwrap();
        for (second, free, slow, due) in [
            (0.0, true, true, false),
            (2.5, false, true, false),
            (3.0, true, true, false),
            (5.5, true, true, false),
            (5.9, true, false, false),
            (6.0, true, true, false),
            (9.0, true, true, true),
        ] {
            assert_eq!(trials.due(at(second), free, slow), due, "at {second}");
        }
        let abort = CancellationToken::new();
        let (first, second) =
            (trials.start(None, abort.clone()), trials.start(None, abort.clone()));
        assert_ne!((first.spec.seed, first.steps), (second.spec.seed, second.steps));
        assert!(!trials.due(at(1e6), true, true), "one at a time");
        trials.stop();
        assert!(abort.is_cancelled());
        let mut config = Config::demo();
        config.health.trials = false;
        let mut never = Trials::new(&config);
        assert!((0..1000).all(|second| !never.due(at(f64::from(second)), true, true)));
    }
}
