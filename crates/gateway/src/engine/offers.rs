//! What decisions were chosen from, kept for a while for those who ask why.

use std::collections::{HashMap, VecDeque};
use std::slice::from_ref;
use std::sync::Arc;

use dispatch::{Offered, RequestId, Unasked};
use scheduling::{Decision, Objective, Observation, Offer, Request, Steps, Time, Traffic};
use serde::{Deserialize, Serialize};

use super::Engine;

/// What the latest decision of a request was chosen from.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Explained {
    /// When.
    pub(crate) at: Time,
    /// Each server, with what it offered or why it was not asked.
    pub(crate) servers: Vec<(Arc<str>, Result<Offer, Unasked>)>,
}

impl Explained {
    /// What a server offered, if it was asked.
    pub(crate) fn offer(&self, server: &str) -> Option<&Offer> {
        let (_, offered) = self.servers.iter().find(|(name, _)| **name == *server)?;
        offered.as_ref().ok()
    }

    /// The reward that was to be expected of so many steps there.
    pub(super) fn expected(
        &self,
        server: &str,
        steps: Steps,
        request: &Request,
        objective: &Objective,
    ) -> Option<f64> {
        let (offer, traffic) = (self.offer(server)?, Traffic::default());
        let observation = self.alone(offer, request, objective, &traffic);
        Some(observation.reward(Decision { server: 0, steps }))
    }

    /// What there would be to see if this had been the only offer.
    pub(crate) fn alone<'a>(
        &self,
        offer: &'a Offer,
        request: &'a Request,
        objective: &'a Objective,
        traffic: &'a Traffic,
    ) -> Observation<'a> {
        let offers = from_ref(offer);
        Observation { now: self.at, request, offers, objective, residencies: &[], traffic }
    }
}

/// Of the latest requests.
#[derive(Debug, Default)]
pub(super) struct Explanations {
    of: HashMap<RequestId, Arc<Explained>>,
    /// In the order in which they were first decided.
    order: VecDeque<RequestId>,
    /// Servers in all of them.
    held: usize,
}

impl Explanations {
    /// Servers in all of them, at most: some ten megabytes.
    const MOST: usize = 100_000;

    pub(super) fn of(&self, id: RequestId) -> Option<Arc<Explained>> {
        self.of.get(&id).cloned()
    }

    fn keep(&mut self, id: RequestId, explained: Explained) {
        self.held += explained.servers.len();
        match self.of.insert(id, explained.into()) {
            Some(before) => self.held -= before.servers.len(),
            None => self.order.push_back(id),
        }
        while self.held > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            let gone = self.of.remove(&oldest);
            self.held -= gone.map_or(0, |gone| gone.servers.len());
        }
    }
}

impl Engine {
    pub(super) fn offered(&mut self, Offered { request, at, servers }: Offered) {
        let named = |(server, offer): (usize, _)| (self.servers[server].name.clone(), offer);
        let servers = servers.into_iter().map(named).collect();
        self.explanations.keep(request, Explained { at, servers });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_who_is_decided_again_is_kept_once() {
        let mut explanations = Explanations::default();
        let id = |number| RequestId(uuid::Uuid::from_u128(number));
        let explained = |servers: usize| Explained {
            at: Time::ZERO,
            servers: vec![("a".into(), Err(Unasked::Unhealthy)); servers],
        };
        for number in 0..30 {
            explanations.keep(id(number), explained(9_000));
            explanations.keep(id(number), explained(10_000));
        }
        assert_eq!(
            (explanations.held, explanations.of.len(), explanations.order.len()),
            (100_000, 10, 10)
        );
        assert!(explanations.of(id(19)).is_none() && explanations.of(id(20)).is_some());
    }
}
