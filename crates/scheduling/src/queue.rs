//! The queue model: when each server will be free. Simulator and gateway both drive this one.

use serde::{Deserialize, Serialize};

use crate::bounds::StepBounds;
use crate::cluster::{Cluster, Request, Server};
use crate::model::{Loaded, Model, Residency};
use crate::objective::Objective;
use crate::offer::Offer;
use crate::policy::{Decision, Observation};
use crate::traffic::Traffic;
use crate::units::{Seconds, Size, Time};

/// The queues of a cluster, one per server, first come first served without preemption.
///
/// A server that works off its queue in order is described by the time at which it will have finished
/// everything dispatched to it, and by the models that it will have loaded then.
#[derive(Clone, Debug, PartialEq)]
pub struct Queues {
    cluster: Cluster,
    free_at: Vec<Time>,
    /// How far that may stray, as a variance in s²; empty where no runs stray.
    free_variance: Vec<f64>,
    /// One for each server; empty where none loads models.
    loaded: Vec<Loaded>,
    asked: Asked,
    /// What was offered to what was asked last, without the backlogs since.
    offers: Vec<Offer>,
    /// The server behind each offer.
    offering: Vec<usize>,
    /// What it will have loaded; empty where none of them loads models.
    residencies: Vec<Residency>,
    traffic: Traffic,
}

/// What offers depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Asked {
    model: Model,
    size: Size,
    bounds: StepBounds,
}

impl Asked {
    const fn by(request: &Request) -> Self {
        let &Request { model, size, bounds, .. } = request;
        Self { model, size, bounds }
    }
}

/// When a request runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// Start of the run.
    pub start: Time,
    /// t_fin: end of the run.
    pub finish: Time,
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dispatched {
    /// The server behind the offer that was chosen, by its position in the cluster.
    pub server: usize,
    /// How long it loads the model before it begins to draw.
    pub load: Seconds,
    /// When it runs.
    pub execution: Execution,
}

impl Queues {
    /// Empty queues of these servers.
    pub fn new(cluster: &Cluster) -> Self {
        let loads = cluster.loads_models();
        let strays = cluster.iter().any(|server| !server.spread.is_none());
        let plain = Request::new(Time::ZERO, Time::ZERO, crate::TardinessPenalty::Linear);
        let mut queues = Self {
            free_at: vec![Time::ZERO; cluster.len()],
            free_variance: if strays { vec![0.0; cluster.len()] } else { Vec::new() },
            loaded: if loads { cluster.iter().map(Server::loaded).collect() } else { Vec::new() },
            asked: Asked::by(&plain),
            offers: Vec::with_capacity(cluster.len()),
            offering: Vec::with_capacity(cluster.len()),
            residencies: Vec::new(),
            traffic: Traffic::to(cluster.iter()),
            cluster: cluster.clone(),
        };
        queues.ask(Time::ZERO, &plain);
        queues
    }

    /// Takes note of an arrival, once for each request and before it is decided. Without it,
    /// policies see [`Traffic`] that is still unknown.
    pub fn arrive(&mut self, request: &Request) {
        self.traffic.arrive(request);
    }

    /// Sets what policies know of the arrivals, where it is kept elsewhere.
    pub fn set_traffic(&mut self, traffic: &Traffic) {
        self.traffic.clone_from(traffic);
    }

    /// What policies know of the arrivals.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What a policy may know when `request` is to be decided at `now`.
    #[inline]
    pub fn observe<'a>(
        &'a mut self,
        now: Time,
        request: &'a Request,
        objective: &'a Objective,
    ) -> Observation<'a> {
        // What is loaded changes with every run, and not all servers may have made an offer.
        let all = self.offers.len() == self.free_at.len();
        if all && self.loaded.is_empty() && self.asked == Asked::by(request) {
            for (offer, &free_at) in self.offers.iter_mut().zip(&self.free_at) {
                offer.backlog = (free_at - now).positive_part();
            }
            for (offer, &variance) in self.offers.iter_mut().zip(&self.free_variance) {
                offer.backlog_variance = variance;
            }
        } else {
            self.ask(now, request);
        }
        Observation {
            now,
            request,
            offers: &self.offers,
            objective,
            residencies: &self.residencies,
            traffic: &self.traffic,
        }
    }

    /// Asks all servers for their offers anew.
    #[inline(never)]
    fn ask(&mut self, now: Time, request: &Request) {
        self.asked = Asked::by(request);
        self.offers.clear();
        self.offering.clear();
        let nothing = Loaded::default();
        for (index, server) in self.cluster.iter().enumerate() {
            let backlog = (self.free_at[index] - now).positive_part();
            let loaded = self.loaded.get(index).unwrap_or(&nothing);
            if let Some(offer) = server.offer(request, backlog, loaded) {
                let backlog_variance = self.free_variance.get(index).copied().unwrap_or_default();
                self.offers.push(Offer { backlog_variance, ..offer });
                self.offering.push(index);
            }
        }
        // Servers that cannot take the request are as if there were none.
        let loading = |&server: &usize| self.cluster[server].hosting.is_some();
        if self.offering.iter().any(loading) {
            self.residencies.resize_with(self.offering.len(), Residency::default);
            for (residency, &server) in self.residencies.iter_mut().zip(&self.offering) {
                residency.resident = self.cluster[server].resident();
                residency.loaded.clone_from(&self.loaded[server]);
            }
        } else {
            self.residencies.clear();
        }
    }

    /// Appends the request of the last observation to the queue of the chosen offer's server.
    #[inline]
    pub fn dispatch(&mut self, now: Time, decision: Decision) -> Dispatched {
        let (server, offer) = (self.offering[decision.server], &self.offers[decision.server]);
        let start = self.free_at[server].max(now);
        let finish = start + offer.service_time(decision.steps);
        let (load, execution) = (offer.load, Execution { start, finish });
        self.free_at[server] = finish;
        if let Some(variance) = self.free_variance.get_mut(server) {
            let ahead = if start > now { *variance } else { 0.0 };
            *variance = ahead + offer.spread.variance(offer.service_time(decision.steps));
        }
        if !self.loaded.is_empty() {
            self.cluster[server].run(self.asked.model, &mut self.loaded[server]);
        }
        Dispatched { server, load, execution }
    }

    /// Corrects the time at which `server` will be free, when a run turned out shorter or longer.
    #[inline]
    pub fn set_free_at(&mut self, server: usize, free_at: Time) {
        self.free_at[server] = free_at;
    }

    /// Says how far that may stray: its variance in s². Of no effect where no runs stray.
    #[inline]
    pub fn set_free_variance(&mut self, server: usize, variance: f64) {
        if let Some(own) = self.free_variance.get_mut(server) {
            *own = variance;
        }
    }

    /// Corrects what `server` will have loaded when it is free.
    #[inline]
    pub fn set_loaded(&mut self, server: usize, loaded: &Loaded) {
        if let Some(own) = self.loaded.get_mut(server) {
            own.clone_from(loaded);
        }
    }

    /// The server behind each offer of the last observation.
    pub fn offering(&self) -> &[usize] {
        &self.offering
    }

    /// What each server will have loaded then; empty where none loads models.
    pub fn loaded(&self) -> &[Loaded] {
        &self.loaded
    }

    /// When each server will have finished everything dispatched to it.
    pub fn free_at(&self) -> &[Time] {
        &self.free_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Server, StepRate, Steps, TardinessPenalty};

    #[test]
    fn requests_wait_for_those_ahead_and_idle_time_is_lost() {
        let rate = StepRate::new(10.0).unwrap();
        let server = |name: &str| Server::new(name, rate, Seconds::ZERO);
        let cluster = Cluster::new(vec![server("a"), server("b")]).unwrap();
        let at = |t| Time::new(t).unwrap();
        let mut queues = Queues::new(&cluster);
        let mut run = |now, server, steps| {
            let decision = Decision { server, steps: Steps::new(steps).unwrap() };
            let run = queues.dispatch(at(now), decision).execution;
            (run.start.seconds(), run.finish.seconds())
        };
        assert_eq!(run(1.0, 0, 50), (1.0, 6.0));
        assert_eq!(run(2.0, 0, 10), (6.0, 7.0));
        assert_eq!(run(2.0, 1, 10), (2.0, 3.0));
        assert_eq!(run(9.0, 0, 10), (9.0, 10.0));
        let request = Request::new(at(9.5), at(12.0), TardinessPenalty::Linear);
        let objective = Objective::default();
        let observation = queues.observe(at(9.5), &request, &objective);
        let backlogs: Vec<_> = observation.offers.iter().map(|offer| offer.backlog).collect();
        assert_eq!(backlogs, [Seconds::of(0.5), Seconds::ZERO]);
    }
}
