//! Another configuration while requests wait and run.

use scheduling::{Model, Objective, Policy, Request, Time, Traffic};

use super::event::{Cause, RequestId};
use super::server::{Administration, ServerSpec, ServerState};
use super::setback::Setbacks;
use super::{Limits, Scheduler};

/// What is to hold from now on.
pub struct Reconfiguration<'a, P> {
    /// What becomes of each server, those there are first.
    pub servers: Vec<Fate>,
    /// What decisions are judged by, where the model has no objective of its own.
    pub objective: Objective,
    /// By model.
    pub objectives: Vec<Objective>,
    /// Who decides.
    pub policy: P,
    /// Whose decisions are written down and never carried out.
    pub shadow: Option<Box<dyn Policy>>,
    /// What bounds the scheduler.
    pub limits: Limits,
    /// A live request in the words of the new configuration.
    pub request: &'a dyn Fn(RequestId) -> Request,
    /// The model that one of before is now, if it is still there.
    pub model: &'a dyn Fn(Model) -> Option<Model>,
    /// The latest arrivals, the oldest first, for what they say about those to come.
    pub arrivals: &'a [Request],
}

/// What becomes of a server.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It goes on with what it is doing, under this specification.
    Stays(ServerSpec),
    /// It takes no further requests and leaves when its run has finished.
    Leaves,
    /// Another one takes the place of one that has left, or a new place.
    Comes(ServerSpec),
}

impl<P: Policy> Scheduler<P> {
    /// Puts another configuration in place. What runs is left alone; what waits is decided again, in order of
    /// acceptance, and servers that failed it before may be asked again.
    ///
    /// # Panics
    /// If a server's fate is missing, or another one comes to a place that is not free.
    pub fn reconfigure(&mut self, now: Time, new: Reconfiguration<'_, P>) {
        let Reconfiguration { servers, objective, objectives, policy, shadow, limits, .. } = new;
        assert!(servers.len() >= self.servers.len(), "every server has a fate");
        (self.objective, self.objectives) = (objective, objectives);
        (self.policy, self.shadow, self.limits) = (policy, shadow, limits);
        self.seen = None;
        (0..self.servers.len()).for_each(|server| self.unplace(server));
        for live in self.live.values_mut() {
            live.order.request = (new.request)(live.order.id);
            live.setbacks = Setbacks::default();
        }
        for (index, fate) in servers.into_iter().enumerate() {
            match (self.servers.get_mut(index), fate) {
                (Some(state), Fate::Stays(spec)) => state.respecify(spec, new.model),
                (Some(state), Fate::Leaves) => state.administration = Administration::Removed,
                (Some(state), Fate::Comes(spec)) => {
                    assert!(state.has_left(), "the place is free");
                    *state = ServerState::new(spec);
                }
                (None, Fate::Comes(spec)) => self.servers.push(ServerState::new(spec)),
                (None, Fate::Stays(_) | Fate::Leaves) => unreachable!("it was never there"),
            }
        }
        let there = self.servers.iter().filter(|s| s.administration != Administration::Removed);
        self.traffic = Traffic::to(there.map(|state| &state.server));
        new.arrivals.iter().for_each(|request| self.traffic.arrive(request));
        self.replace_waiting(now, &[], Cause::Reconfigured);
        (0..self.servers.len()).for_each(|server| self.try_out(now, server));
        self.preload(now);
    }
}
