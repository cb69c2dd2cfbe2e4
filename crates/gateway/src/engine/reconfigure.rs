//! Another configuration: servers stay, come and leave while requests wait and run.

use std::sync::Arc;

use dispatch::{Fate, Reconfiguration, RequestId, ServerState};
use scheduling::{Model, Policy, Time};
use serde::Serialize;

use super::{Engine, ShadowPolicy};
use crate::backends::Backend;
use crate::config::Config;
use crate::past::Past;

/// What is to hold from now on.
pub(crate) struct New {
    pub(crate) config: Arc<Config>,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) shadow: Option<ShadowPolicy>,
    /// In the order of the configuration.
    pub(crate) backends: Vec<Arc<dyn Backend>>,
    pub(crate) past: Past,
}

/// What has become of the servers, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Changes {
    /// They are new.
    pub(crate) added: Vec<String>,
    /// They were there before.
    pub(crate) kept: Vec<String>,
    /// They take no further requests, and leave when what runs there has finished.
    pub(crate) removed: Vec<String>,
}

impl Engine {
    /// Puts another configuration in place. What runs is left alone, what waits is decided again.
    pub(super) fn reconfigure(&mut self, now: Time, new: New) -> Changes {
        let New { config, policy, shadow, backends, past } = new;
        let before = std::mem::replace(&mut self.config, config);
        let config = self.config.clone();
        let places = self.places(&config);
        let (beside, alone) = shadow.map(|shadow| (shadow.beside, shadow.alone)).unzip();
        self.seat(now, &before, &places, (policy, beside), &past);
        let mut changes = Changes::default();
        for ((&place, server), backend) in places.iter().zip(&config.servers).zip(backends) {
            let name = server.name.get_ref().clone();
            let there = self.servers.get_mut(place).filter(|attached| attached.stay.is_some());
            if let Some(attached) = there {
                attached.connect.send_replace(config.connection(backend));
                attached.health.expect(config.health.failures, config.health.successes);
                attached.learned = config.learned(server);
                attached.trials.reconfigure(&config);
                changes.kept.push(name);
                continue;
            }
            let attached = self.foreman.attach(&config, server, backend);
            match self.servers.get_mut(place) {
                Some(free) => *free = attached,
                None => self.servers.push(attached),
            }
            changes.added.push(name);
        }
        for (place, attached) in self.servers.iter_mut().enumerate() {
            if attached.stay.is_some() && !places.contains(&place) {
                attached.trials.stop();
                changes.removed.push(attached.name.to_string());
            }
        }
        for (server, model, runs) in past.runs {
            self.relearn(places[server], model, &runs);
        }
        self.take_over(&config);
        // None of those that are new has answered yet.
        if !self.scheduler.servers().iter().any(ServerState::available) {
            self.opening.again(now);
        }
        self.shadowed_by(alone);
        self.see_off();
        changes
    }

    /// Where each server of the configuration has its place, in their order: where it was, where one has
    /// left, or behind all others.
    fn places(&self, config: &Config) -> Vec<usize> {
        let there = |name: &str| {
            self.servers.iter().position(|other| *other.name == *name && other.stay.is_some())
        };
        let mut free =
            (0..).filter(|&place| self.servers.get(place).is_none_or(|a| a.stay.is_none()));
        let place =
            |name: &str| there(name).or_else(|| free.next()).expect("there is always one more");
        config.servers.iter().map(|server| server.name.get_ref().as_str()).map(place).collect()
    }

    /// Tells the scheduler.
    fn seat(
        &mut self,
        now: Time,
        before: &Config,
        places: &[usize],
        (policy, shadow): (Box<dyn Policy>, Option<Box<dyn Policy>>),
        past: &Past,
    ) {
        let config = &self.config;
        let all = places.iter().map(|place| place + 1).max().unwrap_or(0).max(self.servers.len());
        let fate = |place: usize| {
            let there = self.servers.get(place).is_some_and(|attached| attached.stay.is_some());
            let server = places.iter().position(|&other| other == place);
            match server.map(|position| config.spec(&config.servers[position])) {
                Some(spec) if there => Fate::Stays(spec),
                Some(spec) => Fate::Comes(spec),
                None => Fate::Leaves,
            }
        };
        let live = &self.live;
        let request = |id: RequestId| config.request(&live[&id].view.borrow().accepted);
        let renamed = |model: Model| match before.model_name(model) {
            Some(name) => config.model(name),
            None => config.models.is_empty().then_some(model),
        };
        let arrivals: Vec<_> =
            past.arrivals.iter().map(|accepted| config.request(accepted)).collect();
        self.scheduler.reconfigure(
            now,
            Reconfiguration {
                servers: (0..all).map(fate).collect(),
                objective: config.objective(),
                objectives: config.objectives(),
                policy,
                shadow,
                limits: config.bounds(),
                request: &request,
                model: &renamed,
                arrivals: &arrivals,
            },
        );
        self.scheduler.set_preloading(config.preloading());
    }

    /// What the engine itself takes from the configuration.
    fn take_over(&mut self, config: &Config) {
        self.policy = config.policy.to_string().into();
        self.shadow_policy = config.shadow_policy.as_ref().map(|name| name.to_string().into());
        self.unfamiliar = 0;
        self.opening.holds(config.limits.waiting as usize);
    }

    /// Lets go of the servers that were to leave and have finished.
    pub(super) fn see_off(&mut self) {
        for (state, attached) in self.scheduler.servers().iter().zip(&mut self.servers) {
            if attached.stay.is_some() && state.has_left() {
                tracing::info!(server = %attached.name, "the server has left");
                attached.stay = None;
                attached.leave.cancel();
                // What it still has to do, if anything, is a trial that nobody waits for; then it ends.
                attached.worker = tokio::sync::mpsc::unbounded_channel().0;
                self.metrics.forget(("server", &attached.name));
            }
        }
    }
}
