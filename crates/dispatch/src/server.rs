//! One server as the scheduler sees it: health, speed, what runs and what waits.

use std::collections::VecDeque;

use scheduling::{Seconds, Server, StepRate, Steps, Time};

use super::event::{Owner, RequestId, Run};
use super::rest::Rest;

/// A server as configured.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// Unique name.
    pub name: String,
    /// Speed to begin with.
    pub speed: Speed,
    /// Largest picture it takes, as width times height.
    pub max_pixels: u32,
}

/// What a run costs on a server: `overhead + steps · size / rate`, with the size relative to the
/// reference size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Time of a run that does not depend on its steps.
    pub overhead: Seconds,
    /// Steps per second at the reference size.
    pub rate: StepRate,
}

impl Speed {
    /// p_ij for a picture `size` times the reference size.
    pub fn service_time(self, steps: Steps, size: f64) -> Seconds {
        self.overhead + steps / self.rate_at(size)
    }

    /// Steps per second for a picture `size` times the reference size, within the allowed rates.
    pub(crate) fn rate_at(self, size: f64) -> StepRate {
        let rate = self.rate.steps_per_second() / size;
        StepRate::new(rate.clamp(1e-3, 1e6)).expect("clamped into the range")
    }
}

/// Whether the server answers. Found out by probing, and apart from [`Administration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Healthy,
    /// It does not, or was never asked.
    Unhealthy,
}

/// Whether the operator wants it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Administration {
    /// Takes requests.
    Enabled,
    /// Takes no further requests; what runs finishes.
    Draining,
}

/// What the server is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Occupancy {
    /// Nothing.
    Idle,
    /// A run.
    Running {
        /// Which.
        run: Run,
        /// When it should finish, by the latest progress.
        expected: Time,
        /// From when on it counts as overdue.
        overdue: Time,
    },
    /// Still a run, which nobody waits for any more. Not every backend can stop one.
    Stopping {
        /// Which.
        run: Run,
        /// When it should finish by itself.
        expected: Time,
    },
}

impl Occupancy {
    /// The run, wanted or not.
    pub fn run(&self) -> Option<&Run> {
        match self {
            Self::Idle => None,
            Self::Running { run, .. } | Self::Stopping { run, .. } => Some(run),
        }
    }
}

/// A request in a queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Waiting {
    pub(super) id: RequestId,
    pub(super) steps: Steps,
    pub(super) size: f64,
    pub(super) service: Seconds,
}

/// A server and its queue.
#[derive(Clone, Debug)]
pub struct ServerState {
    /// As configured; the speed in here is the one to begin with.
    pub spec: ServerSpec,
    /// The speed that decisions are made with.
    pub speed: Speed,
    /// Whether it answers.
    pub health: Health,
    /// Whether it is to be used.
    pub administration: Administration,
    /// What it is doing.
    pub occupancy: Occupancy,
    /// Whether jobs get done there.
    pub rest: Rest,
    pub(super) waiting: VecDeque<Waiting>,
}

impl ServerState {
    pub(super) fn new(spec: ServerSpec) -> Self {
        Self {
            speed: spec.speed,
            spec,
            health: Health::Unhealthy,
            administration: Administration::Enabled,
            occupancy: Occupancy::Idle,
            rest: Rest::default(),
            waiting: VecDeque::new(),
        }
    }

    /// Healthy and enabled.
    pub fn available(&self) -> bool {
        self.health == Health::Healthy && self.administration == Administration::Enabled
    }

    /// Whether it takes this owner's requests at the moment: available, and not resting for them.
    pub(super) fn open_to(&self, now: Time, owner: &Owner) -> bool {
        self.available() && !self.rest.keeps_away(now, owner, !self.vacant())
    }

    /// Nothing runs and nothing waits there.
    pub(super) fn vacant(&self) -> bool {
        self.occupancy == Occupancy::Idle && self.waiting.is_empty()
    }

    /// Requests in its queue, without the running one.
    pub fn queue_length(&self) -> usize {
        self.waiting.len()
    }

    /// The server as a policy sees it, for a picture `size` times the reference size.
    pub(super) fn seen(&self, size: f64) -> Server {
        Server {
            name: self.spec.name.clone(),
            step_rate: self.speed.rate_at(size),
            overhead: self.speed.overhead,
        }
    }

    /// When everything dispatched to it will have finished.
    pub(super) fn free_at(&self, now: Time) -> Time {
        self.waiting.iter().fold(self.vacant_at(now), |free, waiting| free + waiting.service)
    }

    /// When the present run will have finished. An overdue one is expected to take as long again
    /// as it is overdue: the longer it hangs, the longer it will.
    pub(super) fn vacant_at(&self, now: Time) -> Time {
        match &self.occupancy {
            Occupancy::Running { expected, .. } | Occupancy::Stopping { expected, .. } => {
                if *expected >= now {
                    *expected
                } else {
                    now + (now - *expected)
                }
            }
            Occupancy::Idle => now,
        }
    }

    pub(super) fn occupy(&mut self, now: Time, run: Run) {
        let expected = now + run.service;
        let overdue = expected + run.service * 0.5 + Seconds::of(1.0);
        self.occupancy = Occupancy::Running { run, expected, overdue };
    }

    /// Marks the run as unwanted, if there is one that is not yet.
    pub(super) fn stop(&mut self) -> Option<Run> {
        let Occupancy::Running { run, expected, .. } = self.occupancy else { return None };
        self.occupancy = Occupancy::Stopping { run, expected };
        Some(run)
    }

    pub(super) fn progressed(&mut self, now: Time, share: f64) {
        if let Occupancy::Running { run, expected, overdue } = &mut self.occupancy {
            // The first tenth is dominated by the overhead and says little.
            if (0.1..=1.0).contains(&share) {
                let elapsed = now - run.start;
                *expected = now + elapsed * ((1.0 - share) / share);
                *overdue = overdue.max(*expected + Seconds::of(1.0));
            }
        }
    }

    /// When the run counts as overdue next.
    pub(super) fn overdue_at(&self) -> Option<Time> {
        match self.occupancy {
            Occupancy::Running { overdue, .. } => Some(overdue),
            _ => None,
        }
    }

    /// Whether the run has become overdue, once per doubling of its delay.
    pub(super) fn overdue(&mut self, now: Time) -> bool {
        match &mut self.occupancy {
            Occupancy::Running { expected, overdue, .. } if *overdue <= now => {
                *overdue = now + Seconds::of((now - *expected).seconds().max(1.0));
                true
            }
            _ => false,
        }
    }

    pub(super) fn ahead_of(&self, id: RequestId) -> usize {
        let running = usize::from(self.occupancy != Occupancy::Idle);
        running + self.waiting.iter().take_while(|waiting| waiting.id != id).count()
    }
}
