//! What the arrivals so far say about those to come.

use crate::cluster::Request;
use crate::objective::TardinessPenalty;
use crate::units::{Seconds, Time};

/// Running means over the requests that arrived: how fast they come and what they ask for.
///
/// Plain means over the first [`Traffic::WINDOW`] requests, exponentially weighted ones with that
/// window afterwards. Whoever drives a policy tells every arrival to it once; asking for a decision
/// changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    arrivals: u64,
    last: Time,
    mean_interval: f64,
    mean_slack: f64,
    penalties: [f64; 3],
    /// Of each model up to the highest that was asked for, where they are counted.
    models: Option<Vec<f64>>,
}

impl Traffic {
    /// How many requests the means remember.
    pub const WINDOW: u64 = 200;

    /// Nothing has arrived yet, and it counts which models are asked for. Where no server loads models
    /// nobody needs to know.
    pub fn counting_models() -> Self {
        Self { models: Some(Vec::new()), ..Self::default() }
    }

    /// Takes note of a request, in order of arrival.
    pub fn arrive(&mut self, request: &Request) {
        let weight = |samples: u64| 1.0 / samples.clamp(1, Self::WINDOW) as f64;
        if self.arrivals > 0 {
            let interval = (request.arrival - self.last).positive_part().seconds();
            self.mean_interval += weight(self.arrivals) * (interval - self.mean_interval);
        }
        self.arrivals += 1;
        let weight = weight(self.arrivals);
        self.mean_slack += weight * (request.slack().seconds() - self.mean_slack);
        for (share, penalty) in self.penalties.iter_mut().zip(TardinessPenalty::ALL) {
            *share += weight * (f64::from(penalty == request.penalty) - *share);
        }
        if let Some(models) = &mut self.models {
            let asked = request.model.index();
            models.resize(models.len().max(asked + 1), 0.0);
            for (model, share) in models.iter_mut().enumerate() {
                *share += weight * (f64::from(model == asked) - *share);
            }
        }
        self.last = self.last.max(request.arrival);
    }

    /// Requests seen so far.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Mean time between arrivals, known from the second request on.
    pub fn mean_interval(&self) -> Option<Seconds> {
        (self.arrivals > 1).then(|| Seconds::of(self.mean_interval))
    }

    /// Mean of o_t = d − r, known from the first request on.
    pub fn mean_slack(&self) -> Option<Seconds> {
        (self.arrivals > 0).then(|| Seconds::of(self.mean_slack))
    }

    /// Shares of the penalties in the order of [`TardinessPenalty::ALL`], known from the first
    /// request on.
    pub fn penalties(&self) -> Option<[f64; 3]> {
        (self.arrivals > 0).then_some(self.penalties)
    }

    /// Share of the requests that asked for each model up to the highest so far; empty where they are
    /// not counted.
    pub fn models(&self) -> &[f64] {
        self.models.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generator, Model, Purpose};

    fn request(arrival: f64, slack: f64, penalty: TardinessPenalty) -> Request {
        let arrival = Time::new(arrival).unwrap();
        Request::new(arrival, arrival + Seconds::of(slack), penalty)
    }

    #[test]
    fn the_first_requests_are_averaged() {
        let mut traffic = Traffic::default();
        assert_eq!((traffic.mean_interval(), traffic.mean_slack()), (None, None));
        traffic.arrive(&request(50.0, 4.0, TardinessPenalty::Linear));
        assert_eq!((traffic.mean_interval(), traffic.penalties()), (None, Some([1.0, 0.0, 0.0])));
        traffic.arrive(&request(51.0, 8.0, TardinessPenalty::SquareRoot));
        traffic.arrive(&request(54.0, 3.0, TardinessPenalty::SquareRoot));
        assert_eq!(traffic.mean_interval(), Some(Seconds::of(2.0)));
        assert_eq!(traffic.mean_slack(), Some(Seconds::of(5.0)));
        let [linear, quadratic, root] = traffic.penalties().unwrap();
        assert_eq!(quadratic, 0.0);
        assert!((linear - 1.0 / 3.0).abs() < 1e-12 && (root - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(traffic.arrivals(), 3);
    }

    #[test]
    fn models_have_their_shares_where_they_are_counted() {
        let asked = |model: u16| Request {
            model: Model(model),
            ..request(50.0, 4.0, TardinessPenalty::Linear)
        };
        let mut traffic = Traffic::counting_models();
        assert_eq!(traffic.models(), [0.0; 0]);
        for model in [2, 0, 2, 2] {
            traffic.arrive(&asked(model));
        }
        assert_eq!(traffic.models(), [0.25, 0.0, 0.75]);
        let mut uncounted = Traffic::default();
        uncounted.arrive(&asked(2));
        assert_eq!(uncounted.models(), [0.0; 0]);
    }

    #[test]
    fn the_means_follow_a_change() {
        let mut traffic = Traffic::default();
        let mut draw = Generator::new(3, Purpose::Arrival, 0);
        let mut now = 0.0;
        for mean in [15.0, 0.5] {
            for _ in 0..10 * Traffic::WINDOW {
                now += draw.exponential(mean);
                traffic.arrive(&request(now, 5.0, TardinessPenalty::Linear));
            }
            let seen = traffic.mean_interval().unwrap().seconds();
            assert!((0.75..1.33).contains(&(seen / mean)), "{seen} for {mean}");
        }
    }
}
