//! The servers: they answer, refuse, lie, hang, are slow, go down and come back.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::checker::Begun;
use super::nature::{Nature, State, now};
use crate::backends::{Backend, BackendError, Cancelled, Job, Painted, Timing, Watcher, picture};

/// The state of a server, which no kill of the gateway changes.
#[derive(Default)]
pub(super) struct Server {
    pub(super) condition: Condition,
    /// It obeys nobody who began to lead earlier, as agents do.
    obeys: u64,
    /// Counts how often it went down: what ran then is gone.
    pub(super) downs: u64,
    /// What it really works at, whether somebody waits for it or not.
    work: Option<Work>,
    /// Pictures that can be looked up, by the server's own names.
    done: HashMap<String, Bytes>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Condition {
    #[default]
    Sound,
    /// It takes several times as long.
    Slow,
    /// Some runs go wrong in any way.
    Flaky,
    /// It says that it cannot now.
    Busy,
    /// It takes requests, and never answers.
    Hanging,
    /// Nobody answers.
    Down,
}

struct Work {
    ticket: String,
    begun: f64,
    until: f64,
    picture: Bytes,
    /// Whether it was told to stop, and said that it would; nobody waits for trials.
    stopping: bool,
}

/// What goes wrong with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Status(u16),
    JobFailed,
    Garbage,
    CutOff,
    WrongSize,
    Truncated,
    Behind,
    Flipped,
    NotPng,
    Hang,
}

const FAULTS: [Fault; 14] = [
    Fault::Status(500),
    Fault::Status(503),
    Fault::Status(429),
    Fault::Status(404),
    Fault::JobFailed,
    Fault::Garbage,
    Fault::CutOff,
    Fault::WrongSize,
    Fault::Truncated,
    Fault::Truncated,
    Fault::Behind,
    Fault::Flipped,
    Fault::NotPng,
    Fault::Hang,
];

/// The way to a server.
pub(super) struct Machine {
    pub(super) index: usize,
    pub(super) nature: Nature,
    /// When whoever asks began to lead.
    pub(super) epoch: u64,
}

/// A call that the gateway makes. The checker hears of its end, even if it is just dropped.
struct Call<'a> {
    machine: &'a Machine,
    number: u64,
    ticket: String,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut state = self.machine.nature.state();
        if state.dead {
            return;
        }
        state.checker.ends(self.number);
        state.note(&format!("s{} is left by {}", self.machine.index, self.ticket));
    }
}

/// The server's own name for a job.
fn ticket(job: &Job) -> String {
    job.run.to_string()
}

/// A job that the gateway made up itself, to see how fast a server is.
fn is_trial(job: &Job) -> bool {
    !job.spec.prompt.starts_with("picture ")
}

impl Machine {
    fn begins(&self, job: &Job, again: bool) -> Call<'_> {
        let mut state = self.nature.state();
        let most = state.plan.run_seconds;
        let work = state.servers[self.index].work.as_ref();
        let stopping = work.is_some_and(|work| {
            let time = now();
            work.stopping && time < work.until && time - work.begun < most
        });
        let request = job.run.request.to_string();
        // Trials have names that nobody has seen before.
        let ticket = if is_trial(job) { "a trial".into() } else { ticket(job) };
        let steps = job.steps.get();
        state.note(&format!("s{} begins {ticket}: {steps} steps, again {again}", self.index));
        let number = if is_trial(job) {
            0
        } else {
            let attempt = job.run.attempt;
            let begun = Begun { server: self.index, request: &request, attempt, stopping, again };
            state.checker.begins(&begun)
        };
        Call { machine: self, number, ticket }
    }

    fn obeys(&self) -> Result<(), BackendError> {
        let server = &mut self.nature.state().servers[self.index];
        if self.epoch < server.obeys {
            return Err(unreachable());
        }
        server.obeys = self.epoch;
        Ok(())
    }

    /// Waits until the server has come to the end of its present work.
    async fn until_free(&self) {
        loop {
            let left = {
                let state = self.nature.state();
                let work = state.servers[self.index].work.as_ref();
                work.map_or(0.0, |work| work.until - now())
            };
            if left <= 0.0 {
                return;
            }
            pause(left).await;
        }
    }

    /// Paints, and returns what comes over the line.
    async fn paint(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
        pause(0.002).await;
        let (fault, retry_after) = {
            let mut state = self.nature.state();
            match state.servers[self.index].condition {
                Condition::Down => return Err(unreachable()),
                Condition::Hanging => (Some(Fault::Hang), None),
                Condition::Busy => {
                    let after = [None, Some(1), Some(5), Some(30)][state.dice.below(4)];
                    (Some(Fault::Status(503)), after.map(Duration::from_secs))
                }
                condition => {
                    let share = if condition == Condition::Flaky { 0.5 } else { 0.01 };
                    let fault = state.fault(share).then(|| FAULTS[state.dice.below(FAULTS.len())]);
                    (fault, None)
                }
            }
        };
        match fault {
            Some(Fault::Status(status)) => {
                let message = "says the server".into();
                return Err(BackendError::Status { status, message, retry_after });
            }
            Some(Fault::Hang) => return std::future::pending().await,
            _ => {}
        }
        self.until_free().await;
        let (until, downs) = self.works_at(job);
        if self.nature.state().plan.servers[self.index].tickets {
            watcher.ticket(&ticket(job));
        }
        self.comes_along(until, watcher).await;
        let mut state = self.nature.state();
        if state.servers[self.index].downs != downs {
            return Err(BackendError::CutOff("connection reset".into()));
        }
        state.finishes(self.index);
        match fault {
            None => {
                let png = drawing(self.index, job);
                if !is_trial(job) {
                    state.checker.gives(&job.run.request.to_string(), &png);
                }
                Ok(Painted { png, timing: Timing::Direct })
            }
            Some(Fault::JobFailed) => Err(BackendError::JobFailed("out of memory".into())),
            Some(Fault::Garbage) => Err(BackendError::Garbage("{".into())),
            Some(Fault::CutOff) => Err(BackendError::CutOff("connection reset".into())),
            Some(fault) => Ok(Painted { png: state.lie(job, fault), timing: Timing::Direct }),
        }
    }

    /// Takes up a job. Returns when it will be done, and how often the server was down before.
    fn works_at(&self, job: &Job) -> (f64, u64) {
        let mut state = self.nature.state();
        let luck = (0.2 * state.dice.normal()).exp();
        let picture = drawing(self.index, job);
        let machine = &state.plan.servers[self.index];
        let size = f64::from(job.spec.width * job.spec.height) / 256.0;
        let steps = f64::from(job.steps.get()) * size / machine.rate;
        let server = &state.servers[self.index];
        let slow = if server.condition == Condition::Slow { 4.0 } else { 1.0 };
        let begun = now();
        let until = begun + (machine.overhead + steps) * luck * slow;
        let downs = server.downs;
        let ticket = ticket(job);
        let work = Work { ticket, begun, until, picture, stopping: false };
        state.servers[self.index].work = Some(work);
        (until, downs)
    }

    /// Waits until then, and tells how it goes on.
    async fn comes_along(&self, until: f64, watcher: &dyn Watcher) {
        let begun = now();
        let tells = self.nature.state().plan.servers[self.index].progress;
        let parts: &[f64] = if tells { &[0.25, 0.5, 0.75, 1.0] } else { &[1.0] };
        for part in parts {
            pause(begun + part * (until - begun) - now()).await;
            if tells {
                watcher.progress(*part);
            }
        }
    }

    async fn found_again(&self, name: &str) -> Result<Painted, BackendError> {
        pause(0.002).await;
        let (until, downs) = {
            let state = self.nature.state();
            let server = &state.servers[self.index];
            match server.condition {
                Condition::Down => return Err(unreachable()),
                Condition::Hanging => (None, 0),
                _ => match &server.work {
                    Some(work) if work.ticket == name => (Some(work.until), server.downs),
                    _ if server.done.contains_key(name) => (Some(0.0), server.downs),
                    _ => return Err(BackendError::Unknown),
                },
            }
        };
        let Some(until) = until else { return std::future::pending().await };
        pause(until - now()).await;
        let mut state = self.nature.state();
        if state.servers[self.index].downs != downs {
            return Err(BackendError::CutOff("connection reset".into()));
        }
        state.finishes(self.index);
        let found = state.servers[self.index].done.get(name).cloned();
        let png = found.ok_or(BackendError::Unknown)?;
        Ok(Painted { png, timing: Timing::Delayed })
    }
}

#[async_trait]
impl Backend for Machine {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
        self.obeys()?;
        let call = self.begins(job, false);
        let result = self.paint(job, watcher).await;
        self.nature.note(&format!("s{} answers {}: {}", self.index, call.ticket, brief(&result)));
        result
    }

    async fn look_up(
        &self,
        job: &Job,
        given: Option<&str>,
        _watcher: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        self.obeys()?;
        let call = self.begins(job, true);
        let tickets = self.nature.state().plan.servers[self.index].tickets;
        let result = match given.filter(|_| tickets) {
            Some(name) => self.found_again(name).await,
            None => Err(BackendError::Unknown),
        };
        if let Ok(painted) = &result {
            let mut state = self.nature.state();
            state.checker.gives(&job.run.request.to_string(), &painted.png);
        }
        self.nature.note(&format!("s{} finds {}: {}", self.index, call.ticket, brief(&result)));
        result
    }

    async fn cancel(&self, job: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        self.obeys()?;
        let answer = {
            let mut state = self.nature.state();
            state.checker.gives_up(self.index, &job.run.request.to_string());
            state.note(&format!("s{} is to stop", self.index));
            let drawn = state.dice.below(3);
            let server = &mut state.servers[self.index];
            match server.condition {
                Condition::Down => Err(unreachable()),
                Condition::Hanging => Ok(None),
                _ => Ok(Some(match server.work.as_mut() {
                    Some(work) if work.ticket == ticket(job) && drawn == 0 => {
                        work.stopping = !is_trial(job);
                        Cancelled::Stopping
                    }
                    Some(work) if drawn == 1 => {
                        work.stopping = false;
                        Cancelled::Abandoned
                    }
                    Some(work) if work.ticket == ticket(job) => {
                        server.work = None;
                        Cancelled::Stopped
                    }
                    _ => Cancelled::Stopped,
                })),
            }
        };
        pause(0.002).await;
        match answer? {
            Some(cancelled) => Ok(cancelled),
            None => std::future::pending().await,
        }
    }

    async fn probe(&self) -> Result<(), BackendError> {
        pause(0.001).await;
        let condition = self.nature.state().servers[self.index].condition;
        match condition {
            Condition::Down => Err(unreachable()),
            Condition::Hanging => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

impl State {
    /// The server's work is done, if its time has come.
    fn finishes(&mut self, index: usize) {
        let server = &mut self.servers[index];
        if let Some(work) = server.work.take_if(|work| work.until <= now() + 1e-9) {
            server.done.insert(work.ticket, work.picture);
        }
    }

    /// The weather of a server changes.
    pub(super) fn turns(&mut self, index: usize, condition: Condition) {
        self.note(&format!("s{index} is {condition:?}"));
        let server = &mut self.servers[index];
        if condition == Condition::Down && server.condition != Condition::Down {
            server.downs += 1;
            server.work = None;
            server.done.clear();
        }
        server.condition = condition;
    }

    /// Something else in place of the picture.
    fn lie(&mut self, job: &Job, fault: Fault) -> Bytes {
        let mut png = drawing(7, job).to_vec();
        let length = png.len();
        match fault {
            Fault::WrongSize => {
                let side = job.spec.width * 2;
                return picture::encode(&vec![0; (3 * side * side) as usize], side, side).into();
            }
            Fault::Truncated => png.truncate(self.dice.below(length)),
            Fault::Behind => png.extend_from_slice(b"and more"),
            Fault::Flipped => {
                let bit = self.dice.below(8 * length);
                png[bit / 8] ^= 1 << (bit % 8);
            }
            _ => return Bytes::from_static(b"\xff\xd8\xff\xe0, a JPEG"),
        }
        png.into()
    }
}

/// The picture of a run: another one for every run.
fn drawing(index: usize, job: &Job) -> Bytes {
    let (width, height) = (job.spec.width, job.spec.height);
    let mut rgb = vec![index as u8; (3 * width * height) as usize];
    // Trials draw a seed that the world's does not decide.
    let seed = if is_trial(job) { 0 } else { job.spec.seed as u32 };
    rgb[..4].copy_from_slice(&seed.to_le_bytes());
    rgb[4..8].copy_from_slice(&job.run.attempt.to_le_bytes());
    picture::encode(&rgb, width, height).into()
}

fn unreachable() -> BackendError {
    BackendError::Unreachable("connection refused".into())
}

fn brief(result: &Result<Painted, BackendError>) -> String {
    match result {
        Ok(painted) => format!("{} bytes", painted.png.len()),
        Err(error) => error.to_string(),
    }
}

/// Lets seconds pass.
pub(super) async fn pause(seconds: f64) {
    if seconds > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(seconds.min(1e6))).await;
    }
}
