//! What reality makes of the predictions: how long runs really take, and when servers are down.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::luck::{Luck, Sigma};
use crate::random::{Generator, Purpose};
use crate::spread::Spread;
use crate::units::Time;

/// What the paper's world leaves out, for one instance; no policy sees more of it than how far runs stray.
///
/// It belongs to the instance, so that every policy meets the same: the first run of a request has the
/// same luck wherever and whenever it takes place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fate {
    /// One for each server.
    pub servers: Vec<ServerFate>,
    /// Of the first run of each request; drawn where it is not given.
    pub luck: Vec<Option<Luck>>,
}

/// What happens to one server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerFate {
    /// How far its service times stray from their prediction.
    pub sigma: Sigma,
    /// When it is down, in order.
    pub down: Vec<Down>,
}

/// A span of time in which a server is down: from its first moment on, up to its last, at which the
/// server is up again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(Time, Time)", into = "(Time, Time)")]
pub struct Down {
    /// When it goes down.
    pub from: Time,
    /// When it comes back; the end of time, 1e9 s, if it does not.
    pub to: Time,
}

impl Fate {
    /// How many times as long as predicted attempt number `attempt` of a request takes on a server:
    /// exp(σ · luck − σ²/2), which is 1 on average.
    pub fn stretch(&self, server: usize, request: usize, attempt: u32) -> f64 {
        let sigma = f64::from(self.servers[server].sigma);
        if sigma == 0.0 {
            return 1.0;
        }
        libm::exp(sigma * self.luck(request, attempt) - sigma * sigma / 2.0)
    }

    /// How far the runs of a server stray: of all this, the one thing that policies know.
    pub fn spread(&self, server: usize) -> Spread {
        self.servers[server].sigma.into()
    }

    /// The standard normal draw of attempt number `attempt`, from 1, of a request. What the instance does
    /// not give is drawn from a stream that the luck it gives and both numbers decide.
    pub fn luck(&self, request: usize, attempt: u32) -> f64 {
        let given = self.luck[request].map(f64::from);
        if let (Some(luck), 1) = (given, attempt) {
            return luck;
        }
        let seed = given.unwrap_or(0.0).to_bits();
        // A stream for each attempt: rows from anywhere may name any number.
        let index = (u64::from(attempt) << 32) ^ request as u64;
        Generator::new(seed, Purpose::Luck, index).normal()
    }

    /// Whether it says nothing that the paper's world does not.
    pub fn is_ideal(&self) -> bool {
        let ideal = |server: &ServerFate| *server == ServerFate::default();
        self.servers.iter().all(ideal) && self.luck.iter().all(Option::is_none)
    }

    /// Checks the spans against each other.
    ///
    /// # Errors
    /// [`FateError`] with the place of the span.
    pub(crate) fn check(&self) -> Result<(), FateError> {
        for (server, fate) in self.servers.iter().enumerate() {
            let mut before = Time::ZERO;
            for (span, down) in fate.down.iter().enumerate() {
                let [from, to] = [down.from, down.to].map(Time::seconds);
                if to <= from {
                    return Err(FateError::Backward { server, span, from, to });
                }
                if down.from < before {
                    let before = before.seconds();
                    return Err(FateError::Overlapping { server, span, from, before });
                }
                before = down.to;
            }
        }
        let gone = |fate: &ServerFate| {
            fate.down.last().filter(|down| down.to == Time::MAX).map(|down| down.from.seconds())
        };
        let gone: Option<Vec<f64>> = self.servers.iter().map(gone).collect();
        match gone {
            Some(gone) => {
                Err(FateError::DownForEver { from: gone.into_iter().fold(0.0, f64::max) })
            }
            None => Ok(()),
        }
    }
}

/// A fate that cannot be.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum FateError {
    /// A server comes back before it goes down.
    #[error(
        "servers[{server}].down[{span}]: [{from}, {to}] ends where it begins or before: allowed is \
         a span of time in seconds, first its begin, then its end"
    )]
    Backward {
        /// Position of the server.
        server: usize,
        /// Position of the span.
        span: usize,
        /// Its begin.
        from: f64,
        /// Its end.
        to: f64,
    },
    /// A server goes down while it is down.
    #[error(
        "servers[{server}].down[{span}]: it begins at {from} s, before the end of the span ahead of \
         it: allowed is {before} s or later, as spans are sorted and do not overlap"
    )]
    Overlapping {
        /// Position of the server.
        server: usize,
        /// Position of the span.
        span: usize,
        /// Its begin.
        from: f64,
        /// End of the span ahead.
        before: f64,
    },
    /// No server comes back, so that requests may wait for ever.
    #[error(
        "servers: all are down for ever from {from} s on, and requests would wait without end: \
         allowed is a last span that ends before 1e9 s on one of them at least"
    )]
    DownForEver {
        /// From when on.
        from: f64,
    },
}

impl From<(Time, Time)> for Down {
    fn from((from, to): (Time, Time)) -> Self {
        Self { from, to }
    }
}

impl From<Down> for (Time, Time) {
    fn from(down: Down) -> Self {
        (down.from, down.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(sigma: f64, luck: Option<f64>) -> Fate {
        let server = ServerFate { sigma: Sigma::new(sigma).unwrap(), down: Vec::new() };
        Fate { servers: vec![server], luck: vec![luck.map(|luck| Luck::new(luck).unwrap()); 3] }
    }

    #[test]
    fn a_run_takes_its_prediction_times_the_exponential_of_its_luck() {
        for (sigma, luck, expected) in [
            (0.0, Some(2.0), 1.0),
            (0.5, Some(0.0), (-0.125_f64).exp()),
            (0.5, Some(1.0), 0.375_f64.exp()),
            (3.0, Some(-40.0), (-124.5_f64).exp()),
        ] {
            let found = fate(sigma, luck).stretch(0, 1, 1);
            assert!((found / expected - 1.0).abs() < 1e-12, "{sigma}, {luck:?}: {found}");
        }
        assert_eq!(fate(0.0, None).stretch(0, 2, 1), 1.0);
    }

    #[test]
    fn what_is_not_given_is_drawn_and_the_same_every_time() {
        let [given, drawn] = [Some(0.3), None].map(|luck| fate(1.0, luck));
        assert_eq!(given.luck(1, 1), 0.3);
        let all = [drawn.luck(1, 1), drawn.luck(2, 1), drawn.luck(1, 2), given.luck(1, 2)];
        for (index, luck) in all.iter().enumerate() {
            assert!(luck.abs() < 6.0 && !all[..index].contains(luck), "{all:?}");
        }
        assert_eq!(all, [drawn.luck(1, 1), drawn.luck(2, 1), drawn.luck(1, 2), given.luck(1, 2)]);
        let mean = (0..20_000).map(|request| {
            let one = Fate { luck: vec![None; request + 1], ..fate(0.5, None) };
            one.stretch(0, request, 1)
        });
        let mean = mean.sum::<f64>() / 20_000.0;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }
}
