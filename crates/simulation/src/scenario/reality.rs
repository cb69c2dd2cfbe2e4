//! The tables of a scenario that lead out of the paper's world.

use scheduling::{OutOfRange, Sigma};
use serde::{Deserialize, Serialize};

use super::{ScenarioError, Settings};

/// Lognormal service times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Of every server.
    pub sigma: Sigma,
}

/// Servers that go down and come back, each on its own, until the last request has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failures {
    /// Mean of the exponentially distributed time until a server goes down.
    #[serde(rename = "mean_up_seconds")]
    pub mean_up: OutageSpan,
    /// Mean of the exponentially distributed time until it is up again.
    #[serde(rename = "mean_down_seconds")]
    pub mean_down: OutageSpan,
}

/// The mean time that a server is up or down: 1 to 1e6 s.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct OutageSpan(f64);

impl TryFrom<f64> for OutageSpan {
    type Error = OutOfRange;
    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        if (1.0..=1e6).contains(&value) {
            Ok(Self(value))
        } else {
            let what = "a mean time between outages";
            Err(OutOfRange { what, value, allowed: "1 to 1e6 seconds" })
        }
    }
}

impl From<OutageSpan> for f64 {
    fn from(span: OutageSpan) -> Self {
        span.0
    }
}

/// All outages are listed in an instance: there must not be too many.
pub(super) fn check_failures(settings: &Settings) -> Result<(), ScenarioError> {
    let Some(Failures { mean_up, mean_down }) = settings.failures else { return Ok(()) };
    let duration = settings.requests as f64 * settings.arrivals.mean_interval().seconds();
    let servers: usize = settings.cluster.servers.iter().map(|group| group.count).sum();
    let outages = servers as f64 * duration / (f64::from(mean_up) + f64::from(mean_down));
    if outages <= 1e6 { Ok(()) } else { Err(ScenarioError::Outages { outages }) }
}
