//! One server as the scheduler sees it: health, speed, what runs and what waits.

use std::collections::VecDeque;

use scheduling::{
    HostedModel, Loaded, Model, Offer, Request, Seconds, Server, StepRate, Steps, Time,
};
use serde::{Deserialize, Serialize};

use super::event::{Order, Owner, RequestId, Run, Unasked};
use super::rest::Rest;

/// A server as configured.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// Its name, the speeds to begin with, what it draws with and what is loaded at first.
    pub server: Server,
    /// Largest picture it takes, as width times height.
    pub max_pixels: u32,
}

/// What a run costs on a server, at the reference size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Time of a run that does not depend on its steps.
    pub overhead: Seconds,
    /// Steps per second.
    pub rate: StepRate,
}

impl Speed {
    /// p_ij of eq. (1).
    pub fn service_time(self, steps: Steps) -> Seconds {
        Server::new("", self.rate, self.overhead).service_time(steps)
    }
}

/// Whether the server answers. Found out by probing, and apart from [`Administration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// It answers.
    Healthy,
    /// It does not, or was never asked.
    Unhealthy,
}

/// Whether the operator wants it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Administration {
    /// Takes requests.
    Enabled,
    /// Takes no further requests; what runs finishes.
    Draining,
    /// The same, and it leaves when it has finished.
    Removed,
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
    /// A model is loaded that no request has asked for yet.
    Loading {
        /// Which.
        model: Model,
        /// When it should be there.
        expected: Time,
    },
}

impl Occupancy {
    /// The run, wanted or not.
    pub fn run(&self) -> Option<&Run> {
        match self {
            Self::Idle | Self::Loading { .. } => None,
            Self::Running { run, .. } | Self::Stopping { run, .. } => Some(run),
        }
    }

    /// The model that is loaded before anybody asks for it.
    pub fn preload(&self) -> Option<Model> {
        match *self {
            Self::Loading { model, .. } => Some(model),
            _ => None,
        }
    }
}

/// A request in a queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Waiting {
    pub(super) id: RequestId,
    pub(super) request: Request,
    pub(super) steps: Steps,
    /// How long its run is predicted to load the model, after those ahead of it.
    pub(super) load: Seconds,
    /// How long its run is predicted to take, the load included.
    pub(super) service: Seconds,
}

/// A server and its queue.
#[derive(Clone, Debug)]
pub struct ServerState {
    /// With the speeds that decisions are made with.
    pub server: Server,
    /// Largest picture it takes, as width times height.
    pub max_pixels: u32,
    /// Whether it answers.
    pub health: Health,
    /// Whether it is to be used.
    pub administration: Administration,
    /// What it is doing.
    pub occupancy: Occupancy,
    /// Whether jobs get done there.
    pub rest: Rest,
    /// Until when it loads nothing that nobody has asked for.
    pub(super) no_preload_before: Time,
    /// Until when jobs of others are expected to take it.
    pub(super) held_until: Time,
    waiting: VecDeque<Waiting>,
    /// What is loaded while the present run lasts.
    loaded: Loaded,
    /// What will be loaded at the end of the queue.
    last: Loaded,
}

impl ServerState {
    pub(super) fn new(ServerSpec { server, max_pixels }: ServerSpec) -> Self {
        Self {
            loaded: server.loaded(),
            last: server.loaded(),
            server,
            max_pixels,
            health: Health::Unhealthy,
            administration: Administration::Enabled,
            occupancy: Occupancy::Idle,
            rest: Rest::default(),
            no_preload_before: Time::ZERO,
            held_until: Time::ZERO,
            waiting: VecDeque::new(),
        }
    }

    /// Gives it another specification while nothing waits there. It goes on with what it is doing, and what
    /// it has loaded is under new names what it was under old ones.
    pub(super) fn respecify(&mut self, spec: ServerSpec, renamed: &dyn Fn(Model) -> Option<Model>) {
        let ServerSpec { server, max_pixels } = spec;
        let hosted =
            |model: &Model| server.hosting.as_ref().is_some_and(|h| h.hosted(*model).is_some());
        let loaded =
            self.loaded.iter().filter_map(|model| renamed(*model)).filter(hosted).collect();
        self.loaded =
            if self.server.hosting.is_some() { Loaded::new(loaded) } else { server.loaded() };
        if let Occupancy::Loading { model, .. } = &mut self.occupancy {
            *model = renamed(*model).unwrap_or(Model::UNKNOWN);
        }
        (self.server, self.max_pixels) = (server, max_pixels);
        self.predict_all();
        if self.administration == Administration::Removed {
            self.administration = Administration::Enabled;
        }
    }

    /// It was to leave, and has finished.
    pub fn has_left(&self) -> bool {
        self.administration == Administration::Removed && self.is_vacant()
    }

    /// Healthy and enabled.
    pub fn available(&self) -> bool {
        self.health == Health::Healthy && self.administration == Administration::Enabled
    }

    /// Whether it takes this owner's requests at the moment: available, and not resting for them.
    pub(super) fn open_to(&self, now: Time, owner: &Owner) -> bool {
        self.available() && !self.rest.keeps_away(now, owner, !self.is_vacant())
    }

    /// Why it is not asked for what it offers; nothing is to be said of one that has left.
    pub(super) fn unasked(&self, now: Time, order: &Order) -> Option<Unasked> {
        Some(match self.administration {
            Administration::Removed if self.is_vacant() => return None,
            Administration::Removed | Administration::Draining => Unasked::Draining,
            Administration::Enabled if self.health == Health::Unhealthy => Unasked::Unhealthy,
            Administration::Enabled if !self.takes(order) => Unasked::Unable,
            Administration::Enabled if !self.open_to(now, &order.owner) => Unasked::Resting,
            Administration::Enabled => Unasked::Failed,
        })
    }

    /// Nothing runs and nothing waits there.
    pub(super) fn is_vacant(&self) -> bool {
        self.occupancy == Occupancy::Idle && self.waiting.is_empty()
    }

    /// Requests in its queue, without the running one.
    pub fn queue_length(&self) -> usize {
        self.waiting.len()
    }

    /// The speed that decisions are made with, with models that do not have their own.
    pub fn speed(&self) -> Speed {
        Speed { overhead: self.server.overhead, rate: self.server.step_rate }
    }

    /// The speed that decisions are made with for a model.
    pub fn speed_with(&self, model: Model) -> Speed {
        self.hosted(model)
            .map_or(self.speed(), |own| Speed { overhead: own.overhead, rate: own.step_rate })
    }

    /// The time that decisions take it for a model to be loaded.
    pub fn load_of(&self, model: Model) -> Seconds {
        self.hosted(model).map_or(Seconds::ZERO, |own| own.load)
    }

    /// Whether it draws with a model; where it names none, with any.
    pub fn hosts(&self, model: Model) -> bool {
        self.server.hosting.is_none() || self.hosted(model).is_some()
    }

    fn hosted(&self, model: Model) -> Option<&HostedModel> {
        self.server.hosting.as_ref()?.hosted(model)
    }

    /// The models that are loaded, the least recently used first.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The models that will be loaded when everything dispatched to it will have finished.
    pub(super) fn loaded_at_last(&self) -> &Loaded {
        &self.last
    }

    /// Whether it can run what is ordered, available or not.
    #[inline]
    pub(super) fn takes(&self, order: &Order) -> bool {
        order.pixels <= self.max_pixels && self.server.takes(&order.request)
    }

    /// What it offers a request behind its queue.
    pub(super) fn offer(&self, request: &Request) -> Option<Offer> {
        self.server.offer(request, Seconds::ZERO, &self.last)
    }

    /// The requests in its queue.
    pub(super) fn waiting(&self) -> &VecDeque<Waiting> {
        &self.waiting
    }

    /// Puts a request behind the queue.
    pub(super) fn push(&mut self, id: RequestId, request: Request, steps: Steps) {
        let waiting = Waiting { id, request, steps, load: Seconds::ZERO, service: Seconds::ZERO };
        self.waiting.push_back(waiting);
        self.predict(self.waiting.len() - 1);
    }

    /// Puts a request back where it waited.
    pub(super) fn insert(&mut self, position: usize, waiting: Waiting) {
        self.waiting.insert(position, waiting);
        self.predict_all();
    }

    /// Takes a request out of the queue, and says where it waited.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<(usize, Waiting)> {
        let position = self.waiting.iter().position(|waiting| waiting.id == id)?;
        let waiting = self.waiting.remove(position)?;
        self.predict_all();
        Some((position, waiting))
    }

    /// Takes the head off the queue, which begins to run.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let head = self.waiting.pop_front()?;
        self.server.run(head.request.model, &mut self.loaded);
        Some(head)
    }

    /// Takes all requests out of the queue.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Waiting> {
        let waiting = std::mem::take(&mut self.waiting);
        self.last.clone_from(&self.loaded);
        waiting
    }

    /// It went down, and has nothing loaded when it comes back.
    pub(super) fn unload(&mut self) {
        self.loaded.clear();
        self.predict_all();
    }

    /// While it stands idle, it says that it has these loaded, the most recently used last. Where it
    /// has room for more than it tells of, what it had before may be there still.
    pub(super) fn found_loaded(&mut self, models: &[Model]) {
        if models.is_empty() {
            return self.unload();
        }
        for &model in models {
            self.server.run(model, &mut self.loaded);
        }
        self.predict_all();
    }

    /// It has another speed with a model; with all of them where it loads none.
    pub(super) fn set_speed(&mut self, model: Model, speed: Speed) {
        if let Some(hosting) = &mut self.server.hosting {
            if let Some(own) = hosting.hosted_mut(model) {
                (own.overhead, own.step_rate) = (speed.overhead, speed.rate);
            }
        } else {
            (self.server.overhead, self.server.step_rate) = (speed.overhead, speed.rate);
        }
        self.predict_all();
    }

    /// It takes another time to load a model.
    pub(super) fn set_load(&mut self, model: Model, load: Seconds) {
        let hosting = self.server.hosting.as_mut();
        if let Some(own) = hosting.and_then(|hosting| hosting.hosted_mut(model)) {
            own.load = load;
        }
        self.predict_all();
    }

    /// Brings the predictions of the queue in line with what is ahead of it.
    fn predict_all(&mut self) {
        self.last.clone_from(&self.loaded);
        (0..self.waiting.len()).for_each(|position| self.predict(position));
    }

    /// Predicts the request at a position after those ahead of it, the last of which is predicted.
    fn predict(&mut self, position: usize) {
        let Waiting { request, steps, .. } = self.waiting[position];
        let offer = self.offer(&request).expect("only what the server takes waits there");
        let waiting = &mut self.waiting[position];
        (waiting.load, waiting.service) = (offer.load, offer.service_time(steps));
        self.server.run(request.model, &mut self.last);
    }

    /// When everything dispatched to it will have finished.
    pub(super) fn free_at(&self, now: Time) -> Time {
        self.free(now).0
    }

    /// The same, and how far it may stray: its variance in s².
    pub(super) fn free(&self, now: Time) -> (Time, f64) {
        self.waiting.iter().fold(self.vacant(now), |(free, variance), waiting| {
            (free + waiting.service, variance + self.server.spread.variance(waiting.service))
        })
    }

    /// When the present run will have finished.
    pub(super) fn vacant_at(&self, now: Time) -> Time {
        self.vacant(now).0
    }

    /// The same, and how far it may stray. Where runs are known to, one that has taken long is expected to
    /// take longer than was predicted; where they are not, an overdue one as long again as it is overdue: the
    /// longer it hangs, the longer it will.
    fn vacant(&self, now: Time) -> (Time, f64) {
        let spread = &self.server.spread;
        match &self.occupancy {
            Occupancy::Running { run, expected, .. } if !spread.is_none() => {
                // What the server tells of its progress is worth more than how long it has taken.
                let (service, elapsed) = if *expected == run.start + run.service {
                    (run.service, now - run.start)
                } else {
                    (overdue_at_last(*expected, now) - now, Seconds::ZERO)
                };
                let (remaining, variance) = spread.remaining(service, elapsed);
                (now + remaining, variance)
            }
            Occupancy::Running { expected, .. }
            | Occupancy::Stopping { expected, .. }
            | Occupancy::Loading { expected, .. } => (overdue_at_last(*expected, now), 0.0),
            Occupancy::Idle => (if self.held_until > now { self.held_until } else { now }, 0.0),
        }
    }

    pub(super) fn occupy(&mut self, now: Time, run: Run) {
        let expected = self.vacant_at(now) + run.service;
        self.held_until = Time::ZERO;
        let overdue = expected + run.service * 0.5 + Seconds::of(1.0);
        self.occupancy = Occupancy::Running { run, expected, overdue };
    }

    /// Begins to load a model that nobody has asked for yet.
    pub(super) fn preload(&mut self, now: Time, model: Model) {
        self.occupancy = Occupancy::Loading { model, expected: now + self.load_of(model) };
        self.server.run(model, &mut self.loaded);
        self.predict_all();
    }

    /// Takes back a run that was under way, and so has its model loaded.
    pub(super) fn restore(&mut self, now: Time, run: Run, model: Model) {
        self.occupy(now, run);
        self.server.run(model, &mut self.loaded);
        self.predict_all();
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
        let running = usize::from(self.occupancy.run().is_some());
        running + self.waiting.iter().take_while(|waiting| waiting.id != id).count()
    }
}

/// When what was expected for `expected` is expected to end.
fn overdue_at_last(expected: Time, now: Time) -> Time {
    if expected >= now { expected } else { now + (now - expected) }
}
