use std::fmt;
use std::str::FromStr;

use crate::message::excerpt;
use crate::offer::Offer;
use crate::policies::maximum::best_decision;
use crate::policy::{Decision, Observation, Policy};
use crate::units::OutOfRange;

/// The exact maximum of this request's reward, eq. (5), minus a price for the server time that it
/// takes from the requests still to come.
///
/// A second on a server whose queue is m seconds long costs `base + slope · m^power`: the longer the
/// queue, the more requests wait behind this one. A second of loading a model costs `load` more, since
/// the model that it drives out will have to be loaded again. At price 0 this is [`super::Myopic`]. The
/// price that is best depends on cluster and load: `atelier tune` finds it.
#[derive(Clone, Copy, Debug)]
pub struct Priced {
    /// What server time costs.
    pub price: Price,
}

/// Reward per second of server time, as a function of the backlog.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    base: f64,
    slope: f64,
    power: f64,
    load: f64,
}

// None of the numbers is NaN.
impl Eq for Price {}

impl Price {
    /// Tuned for one request per second on ten servers of the paper (`scenarios/contended.toml`).
    pub const CONTENDED: Self = Self { base: 0.65, slope: 0.85, power: 0.62, load: 0.0 };

    /// A price `base + slope · m^power`, with m in seconds, and none for loading.
    ///
    /// # Errors
    /// [`OutOfRange`] unless `base` and `slope` are in `0..=1e6` and `power` is in `0..=8`.
    pub fn new(base: f64, slope: f64, power: f64) -> Result<Self, OutOfRange> {
        let per_second = "0 to 1e6 per second";
        for (what, value, highest, allowed) in [
            ("a base price", base, 1e6, per_second),
            ("a slope of the price", slope, 1e6, per_second),
            ("a power of the backlog", power, 8.0, "0 to 8"),
        ] {
            if !(0.0..=highest).contains(&value) {
                return Err(OutOfRange { what, value, allowed });
            }
        }
        Ok(Self { base, slope, power, load: 0.0 })
    }

    /// The same price where a second of loading costs `load` more.
    ///
    /// # Errors
    /// [`OutOfRange`] unless `load` is in `0..=1e6`.
    pub fn with_load(self, load: f64) -> Result<Self, OutOfRange> {
        if (0.0..=1e6).contains(&load) {
            return Ok(Self { load, ..self });
        }
        let (what, allowed) = ("a price of loading", "0 to 1e6 per second");
        Err(OutOfRange { what, value: load, allowed })
    }

    /// Price of one second on a server with this backlog.
    pub fn at(&self, backlog: f64) -> f64 {
        // A backlog of nothing costs nothing, whatever the power.
        let growth = if backlog > 0.0 { libm::pow(backlog, self.power) } else { 0.0 };
        self.base + self.slope * growth
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "base={},slope={},power={}", self.base, self.slope, self.power)?;
        // Names from before models stay what they were.
        if self.load > 0.0 { write!(f, ",load={}", self.load) } else { Ok(()) }
    }
}

impl FromStr for Price {
    type Err = String;
    /// Reads `base=1,slope=0.2,power=1,load=0.5` in any order; what is not given is 0, but for the power,
    /// which is 1.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut given = [None; 4];
        for option in text.split(',') {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let position =
                ["base", "slope", "power", "load"].iter().position(|&known| known == name);
            let value: Option<f64> = value.parse().ok();
            match (position, value) {
                (Some(position), Some(value)) if given[position].is_none() => {
                    given[position] = Some(value);
                }
                _ => return Err(format!("\"{}\" is given", excerpt(option))),
            }
        }
        let [base, slope, power, load] = given;
        Self::new(base.unwrap_or(0.0), slope.unwrap_or(0.0), power.unwrap_or(1.0))
            .and_then(|price| price.with_load(load.unwrap_or(0.0)))
            .map_err(|error| error.to_string())
    }
}

impl Policy for Priced {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let mut last = (usize::MAX, 0.0, 0.0);
        let cost = |server: usize, service: crate::Seconds| {
            if server != last.0 {
                let Offer { backlog, load, .. } = observation.offers[server];
                let price = self.price.at(backlog.seconds());
                last = (server, price, self.price.load * load.seconds());
            }
            last.1 * service.seconds() + last.2
        };
        best_decision(observation, cost).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TardinessPenalty::Linear;
    use crate::policies::Myopic;
    use crate::policies::tests::decide;

    fn priced(base: f64, slope: f64, power: f64) -> Priced {
        Priced { price: Price::new(base, slope, power).unwrap() }
    }

    #[test]
    fn server_time_is_dear() {
        let steps = |base| decide(&mut priced(base, 0.0, 1.0), &[(10.0, 0.0)], 20.0, Linear).steps;
        // Q'(s) = 3.5 q (1 − q) with q the sigmoid: a step of 0.1 s is taken while Q' is above a
        // tenth of the price. At price 1 this ends where q = 0.9705: 0.1 s − 9 = 3.49.
        assert_eq!([0.0, 1.0, 100.0].map(|base| steps(base).get()), [200, 125, 1]);
    }

    #[test]
    fn loading_costs_more_than_its_time() {
        use crate::{Cluster, HostedModel, Hosting, Loaded, Model, Objective, Queues, Request};
        use crate::{Seconds, Server, StepBounds, StepRate, Time};
        let step_rate = StepRate::new(10.0).unwrap();
        let host = |name: &str, loaded: &[u16]| {
            let hosted = |model| HostedModel {
                model: Model(model),
                step_rate,
                overhead: Seconds::ZERO,
                load: Seconds::of(4.0),
                bounds: StepBounds::ALL,
            };
            let loaded = Loaded::new(loaded.iter().copied().map(Model).collect());
            let models = [0, 1].map(hosted).to_vec();
            let hosting = Some(Hosting { resident: 1, models, loaded });
            Server { hosting, ..Server::new(name, step_rate, Seconds::ZERO) }
        };
        let mut queues =
            Queues::new(&Cluster::new(vec![host("a", &[0]), host("b", &[1])]).unwrap());
        // The server that has the model is busy for 6 s, the other one would load it in 4 s.
        queues.set_free_at(0, Time::new(6.0).unwrap());
        let request = Request::new(Time::ZERO, Time::new(14.0).unwrap(), Linear);
        let objective = Objective::default();
        let mut server = |load: f64| {
            let price = Price::new(0.0, 0.0, 1.0).unwrap().with_load(load).unwrap();
            Priced { price }.decide(&queues.observe(Time::ZERO, &request, &objective)).server
        };
        // Loading gains two seconds, each worth 1.5 points, and takes four.
        assert_eq!([0.0, 0.7, 0.8, 2.0].map(&mut server), [1, 1, 0, 0]);
    }

    #[test]
    fn a_long_queue_costs_more() {
        let servers = [(12.0, 4.0), (10.0, 3.0)];
        assert_eq!(decide(&mut Myopic, &servers, 60.0, Linear).server, 0);
        assert_eq!(decide(&mut priced(0.0, 0.1, 2.0), &servers, 60.0, Linear).server, 1);
        assert_eq!(priced(2.0, 3.0, 2.0).price.at(4.0), 50.0);
        assert_eq!(priced(2.0, 3.0, 0.0).price.at(0.0), 2.0);
    }
}
