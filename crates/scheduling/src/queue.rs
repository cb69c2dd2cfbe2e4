//! The queue model: when each server will be free. Simulator and gateway both drive this one.

use crate::bounds::StepBounds;
use crate::cluster::{Cluster, Request, Server};
use crate::objective::Objective;
use crate::offer::Offer;
use crate::policy::{Decision, Observation};
use crate::traffic::Traffic;
use crate::units::{Seconds, Time};

/// The queues of a cluster, one per server, first come first served without preemption.
///
/// A server that works off its queue in order is described by one number: the time at which it will
/// have finished everything dispatched to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Queues {
    free_at: Vec<Time>,
    /// What the servers offered at the time of the last observation.
    offers: Vec<Offer>,
    traffic: Traffic,
}

/// When a request runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Execution {
    /// Start of the run.
    pub start: Time,
    /// t_fin: end of the run.
    pub finish: Time,
}

impl Queues {
    /// Empty queues of these servers. Every number of steps is accepted, as in the paper.
    pub fn new(cluster: &Cluster) -> Self {
        let offer = |server: &Server| server.offer(Seconds::ZERO, StepBounds::ALL);
        Self {
            free_at: vec![Time::ZERO; cluster.len()],
            offers: cluster.iter().map(offer).collect(),
            traffic: Traffic::default(),
        }
    }

    /// Takes note of an arrival, once for each request and before it is decided. Without it,
    /// policies see [`Traffic`] that is still unknown.
    pub fn arrive(&mut self, request: &Request) {
        self.traffic.arrive(request);
    }

    /// Sets what policies know of the arrivals, where it is kept elsewhere.
    pub fn set_traffic(&mut self, traffic: Traffic) {
        self.traffic = traffic;
    }

    /// What policies know of the arrivals.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What a policy may know when `request` is to be decided at `now`.
    pub fn observe<'a>(
        &'a mut self,
        now: Time,
        request: &'a Request,
        objective: &'a Objective,
    ) -> Observation<'a> {
        for (offer, &free_at) in self.offers.iter_mut().zip(&self.free_at) {
            offer.backlog = (free_at - now).positive_part();
        }
        Observation { now, request, offers: &self.offers, objective, traffic: &self.traffic }
    }

    /// Appends a request to the chosen server's queue and says when it will run.
    pub fn dispatch(&mut self, now: Time, decision: Decision) -> Execution {
        let start = self.free_at[decision.server].max(now);
        let finish = start + self.offers[decision.server].service_time(decision.steps);
        self.free_at[decision.server] = finish;
        Execution { start, finish }
    }

    /// Corrects the time at which `server` will be free, when a run turned out shorter or longer.
    pub fn set_free_at(&mut self, server: usize, free_at: Time) {
        self.free_at[server] = free_at;
    }

    /// Sets the steps that the next request accepts.
    pub fn set_bounds(&mut self, bounds: StepBounds) {
        self.offers.iter_mut().for_each(|offer| offer.bounds = bounds);
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
        let server = |name: &str| Server {
            name: name.into(),
            step_rate: StepRate::new(10.0).unwrap(),
            overhead: Seconds::ZERO,
        };
        let cluster = Cluster::new(vec![server("a"), server("b")]).unwrap();
        let at = |t| Time::new(t).unwrap();
        let mut queues = Queues::new(&cluster);
        let mut run = |now, server, steps| {
            let decision = Decision { server, steps: Steps::new(steps).unwrap() };
            let run = queues.dispatch(at(now), decision);
            (run.start.seconds(), run.finish.seconds())
        };
        assert_eq!(run(1.0, 0, 50), (1.0, 6.0));
        assert_eq!(run(2.0, 0, 10), (6.0, 7.0));
        assert_eq!(run(2.0, 1, 10), (2.0, 3.0));
        assert_eq!(run(9.0, 0, 10), (9.0, 10.0));
        let request =
            Request { arrival: at(9.5), due: at(12.0), penalty: TardinessPenalty::Linear };
        let objective = Objective::default();
        let observation = queues.observe(at(9.5), &request, &objective);
        let backlogs: Vec<_> = observation.offers.iter().map(|offer| offer.backlog).collect();
        assert_eq!(backlogs, [Seconds::of(0.5), Seconds::ZERO]);
    }
}
