//! What the arrivals so far say about those to come.

use std::sync::Arc;

use crate::cluster::{Request, Server};
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
    /// Mean times between arrivals over [`Traffic::BURST`] and over [`Traffic::LONG`].
    burst: f64,
    long: f64,
    /// Of the logarithm of the former: mean over [`Traffic::LONG`], and mean square.
    pace: [f64; 2],
    mean_slack: f64,
    mean_work: f64,
    penalties: [f64; 3],
    fleet: Option<ToFleet>,
}

/// What is known besides where servers load models.
#[derive(Clone, Debug, Default, PartialEq)]
struct ToFleet {
    /// Of each model up to the highest that was asked for.
    shares: Vec<f64>,
    /// Seconds that a step of each takes, on the mean of the servers that draw with it.
    step_times: Arc<[f64]>,
}

impl ToFleet {
    /// Takes note of a request, which counts with this weight.
    #[inline(never)]
    fn arrive(&mut self, request: &Request, weight: f64) {
        let asked = request.model.index();
        self.shares.resize(self.shares.len().max(asked + 1), 0.0);
        for (model, share) in self.shares.iter_mut().enumerate() {
            *share += weight * (f64::from(model == asked) - *share);
        }
    }
}

impl Traffic {
    /// How many requests the means remember.
    pub const WINDOW: u64 = 200;
    /// How many the mean does that tells of a burst.
    pub const BURST: u64 = 12;
    /// How many the means do that tell how bursty the traffic has been.
    pub const LONG: u64 = 3000;

    /// Nothing has arrived yet. Which models are asked for is counted if any of these servers loads
    /// models; otherwise nobody needs to know.
    pub fn to<'a>(servers: impl Iterator<Item = &'a Server>) -> Self {
        let mut times = Vec::<(f64, f64)>::new();
        for hosted in servers.filter_map(|server| server.hosting.as_ref()).flat_map(|h| &h.models) {
            let models = times.len().max(hosted.model.index() + 1);
            times.resize(models, (0.0, 0.0));
            let (sum, count) = &mut times[hosted.model.index()];
            *sum += 1.0 / hosted.step_rate.steps_per_second();
            *count += 1.0;
        }
        if times.is_empty() {
            return Self::default();
        }
        let step_times = times.into_iter().map(|(sum, count)| sum / f64::max(count, 1.0)).collect();
        Self { fleet: Some(ToFleet { step_times, ..ToFleet::default() }), ..Self::default() }
    }

    /// Takes note of a request, in order of arrival.
    pub fn arrive(&mut self, request: &Request) {
        let weight = |samples: u64| 1.0 / samples.clamp(1, Self::WINDOW) as f64;
        let interval = (request.arrival - self.last).positive_part().seconds();
        if self.arrivals > 0 {
            self.mean_interval += weight(self.arrivals) * (interval - self.mean_interval);
            self.burst += (interval - self.burst) / self.arrivals.min(Self::BURST) as f64;
            let weight = 1.0 / self.arrivals.min(Self::LONG) as f64;
            self.long += weight * (interval - self.long);
            // Clocks that are coarse give intervals of nothing.
            let pace = libm::log(self.burst.max(1e-3 * self.long).max(1e-9));
            self.pace[0] += weight * (pace - self.pace[0]);
            self.pace[1] += weight * (pace * pace - self.pace[1]);
        }
        self.arrivals += 1;
        let weight = weight(self.arrivals);
        if let Some(fleet) = &mut self.fleet {
            fleet.arrive(request, weight);
        }
        self.mean_slack += weight * (request.slack().seconds() - self.mean_slack);
        self.mean_work += weight * (self.work(request) - self.mean_work);
        // Written so that it takes no branch for the penalty, which nobody can predict.
        let asked = request.penalty as usize;
        let share = self.penalties[asked] + weight * (1.0 - self.penalties[asked]);
        self.penalties.iter_mut().for_each(|share| *share -= weight * *share);
        self.penalties[asked] = share;
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

    /// Mean time between the last dozen arrivals, known from the second request on.
    pub fn burst_interval(&self) -> Option<Seconds> {
        (self.arrivals > 1).then(|| Seconds::of(self.burst))
    }

    /// Mean time between the last thousands of arrivals, known from the second request on.
    pub fn long_interval(&self) -> Option<Seconds> {
        (self.arrivals > 1).then(|| Seconds::of(self.long))
    }

    /// The time between arrivals that a typical request finds, nights and pauses aside: the geometric mean of
    /// the [burst intervals](Self::burst_interval) of the last thousands. Known from the second request on.
    pub fn typical_interval(&self) -> Option<Seconds> {
        (self.arrivals > 1).then(|| Seconds::of(libm::exp(self.pace[0])))
    }

    /// How bursty the last thousands of arrivals were: the standard deviation of the logarithm of the burst
    /// interval. It is about 0.3 for Poisson arrivals. Known from the second request on.
    pub fn burstiness(&self) -> Option<f64> {
        let [mean, square] = self.pace;
        (self.arrivals > 1).then(|| (square - mean * mean).max(0.0).sqrt())
    }

    /// How much longer a step of this request takes than one of the requests before it: by its size, and
    /// by its model where those are counted.
    pub fn relative_work(&self, request: &Request) -> f64 {
        let relative = self.work(request) / self.mean_work;
        if relative.is_finite() && relative > 0.0 { relative } else { 1.0 }
    }

    /// Proportional to the mean time of a step over the servers.
    fn work(&self, request: &Request) -> f64 {
        let step_times = self.fleet.as_ref().map_or(&[][..], |fleet| &fleet.step_times);
        let of_model = step_times.get(request.model.index()).copied();
        request.size.get() * of_model.unwrap_or(1.0)
    }

    /// Mean of o_t = d − r, known from the first request on.
    pub fn mean_slack(&self) -> Option<Seconds> {
        (self.arrivals > 0).then(|| Seconds::of(self.mean_slack))
    }

    /// Shares of the penalties in the order of [`ALL`](crate::TardinessPenalty::ALL), known from the first
    /// request on.
    pub fn penalties(&self) -> Option<[f64; 3]> {
        (self.arrivals > 0).then_some(self.penalties)
    }

    /// Share of the requests that asked for each model up to the highest so far; empty where they are
    /// not counted.
    pub fn models(&self) -> &[f64] {
        self.fleet.as_ref().map_or(&[], |fleet| &fleet.shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Generator, HostedModel, Hosting, Loaded, Model, Purpose, Size, StepRate, TardinessPenalty,
    };

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

    /// A server that draws with models of these steps per second.
    fn host(rates: &[f64]) -> Server {
        let server = Server::new("s", StepRate::new(1.0).unwrap(), Seconds::ZERO);
        let hosted = |(model, &rate): (u16, &f64)| {
            let step_rate = StepRate::new(rate).unwrap();
            HostedModel { step_rate, ..HostedModel::on(&server, Model(model), Seconds::ZERO) }
        };
        let models = (0..).zip(rates).map(hosted).collect();
        let hosting = Some(Hosting { resident: 1, models, loaded: Loaded::default() });
        Server { hosting, ..server }
    }

    #[test]
    fn bursts_are_told_from_steady_arrivals() {
        let mut draw = Generator::new(4, Purpose::Arrival, 0);
        let mut arrive = |intervals: [f64; 2], pause: f64| {
            let mut traffic = Traffic::default();
            let mut now = 0.0;
            for number in 0..6000 {
                // A hundred requests at the one interval, then a hundred at the other, then a pause.
                now += draw.exponential(intervals[number / 100 % 2]);
                now += if number % 200 == 199 { pause } else { 0.0 };
                traffic.arrive(&request(now, 5.0, TardinessPenalty::Linear));
            }
            let of = |interval: Option<Seconds>| interval.unwrap().seconds();
            let (long, typical) = (of(traffic.long_interval()), of(traffic.typical_interval()));
            (long, typical, traffic.burstiness().unwrap())
        };
        let (long, typical, burstiness) = arrive([2.0, 2.0], 0.0);
        assert!((1.8..2.2).contains(&long) && (1.7..2.1).contains(&typical), "{long} {typical}");
        assert!((0.2..0.4).contains(&burstiness), "{burstiness}");
        // Half of the logarithms are of 0.2 s and half of 3.8 s: 0.87 s, and 1.47 apart on either side.
        let (long, typical, burstiness) = arrive([3.8, 0.2], 0.0);
        assert!((1.8..2.2).contains(&long) && (0.7..1.2).contains(&typical), "{long} {typical}");
        assert!((1.1..1.5).contains(&burstiness), "{burstiness}");
        // Pauses make the mean ten times as long, and far less of what a typical request finds.
        let (long, typical, _) = arrive([2.0, 2.0], 3600.0);
        assert!((18.0..22.0).contains(&long) && (1.8..6.0).contains(&typical), "{long} {typical}");
        assert_eq!(Traffic::default().burstiness(), None);
    }

    #[test]
    fn a_step_takes_longer_by_size_and_by_model() {
        let of = |size: f64, model: u16| Request {
            size: Size::new(size).unwrap(),
            model: Model(model),
            ..request(1.0, 4.0, TardinessPenalty::Linear)
        };
        let mut traffic = Traffic::default();
        assert_eq!(traffic.relative_work(&of(8.0, 0)), 1.0, "nothing is known yet");
        (0..10).for_each(|_| traffic.arrive(&of(1.0, 0)));
        assert_eq!(traffic.relative_work(&of(1.0, 0)), 1.0);
        assert_eq!(traffic.relative_work(&of(8.0, 3)), 8.0);
        (0..10).for_each(|_| traffic.arrive(&of(3.0, 0)));
        assert!((traffic.relative_work(&of(8.0, 0)) - 4.0).abs() < 1e-12);
        // Steps of the second model take 0.2 s on one server and 0.1 s on the other.
        let servers = [host(&[10.0, 5.0]), host(&[10.0, 10.0])];
        let mut traffic = Traffic::to(servers.iter());
        traffic.arrive(&of(1.0, 0));
        assert!((traffic.relative_work(&of(2.0, 1)) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn models_have_their_shares_where_they_are_counted() {
        let asked = |model: u16| Request {
            model: Model(model),
            ..request(50.0, 4.0, TardinessPenalty::Linear)
        };
        let mut traffic = Traffic::to([host(&[10.0])].iter());
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
