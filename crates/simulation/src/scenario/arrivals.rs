//! How requests arrive, as scenario files say it.

use scheduling::Seconds;
use serde::{Deserialize, Serialize};

use super::{ScenarioError, Weight};

/// The arrival process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrivals {
    /// Independent, exponentially distributed times between arrivals.
    Poisson {
        /// 1 / λ; 0 lets all requests arrive at once.
        #[serde(rename = "mean_interval_seconds")]
        mean_interval: Seconds,
    },
    /// Bursts of fast arrivals, and slow ones between.
    Modulated(Modulated),
    /// A rate that follows the time of day.
    Daily(Daily),
    /// Users who come, ask for a few pictures one after the other, and leave.
    Sessions(Sessions),
    /// Arrivals that somebody has recorded.
    Recording(Recorded),
}

/// A Poisson process with two rates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modulated {
    /// Of all requests.
    #[serde(rename = "mean_interval_seconds")]
    pub mean_interval: Seconds,
    /// Rate in a burst, in mean rates; 1 or more.
    pub peak: f64,
    /// Mean number of requests in a burst.
    pub requests_per_burst: f64,
    /// Share of the requests that come in bursts, below 1.
    pub share_in_bursts: f64,
}

/// A Poisson process whose rate is a profile that repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Daily {
    /// Of all requests.
    #[serde(rename = "mean_interval_seconds")]
    pub mean_interval: Seconds,
    /// How long the profile takes before it repeats. An instance begins anywhere in it.
    #[serde(rename = "day_seconds", default = "day")]
    pub day: Seconds,
    /// Rates in equal parts of it, up to a factor.
    pub profile: Vec<Weight>,
}

/// Sessions that begin as a [`Daily`] process, each with requests of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// Of all requests.
    #[serde(rename = "mean_interval_seconds")]
    pub mean_interval: Seconds,
    /// How long the profile takes before it repeats. An instance begins anywhere in it.
    #[serde(rename = "day_seconds", default = "day")]
    pub day: Seconds,
    /// Rates at which sessions begin in equal parts of it, up to a factor.
    pub profile: Vec<Weight>,
    /// Requests of a session.
    pub requests: SessionLength,
    /// Times between the requests of a session: a mixture.
    pub gaps: Vec<Gap>,
    /// No gap is longer.
    #[serde(rename = "longest_gap_seconds")]
    pub longest_gap: Seconds,
}

/// A lognormal number, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionLength {
    /// Mean of the logarithm.
    pub mu: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
    /// No session has more requests.
    pub most: u32,
}

/// A lognormal time in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// How likely it is, against the others.
    pub weight: Weight,
    /// Mean of the logarithm of seconds.
    pub mu: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
}

/// Recorded arrivals, pressed together or stretched until they have a given mean. An instance begins with any of
/// them, and the first follows the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Of all requests, whatever it was in the recording.
    #[serde(rename = "mean_interval_seconds")]
    pub mean_interval: Seconds,
    /// When requests came, in order.
    #[serde(rename = "arrivals_seconds")]
    pub arrivals: Vec<Seconds>,
}

impl Recorded {
    /// From the first to the last.
    pub(crate) fn span(&self) -> f64 {
        let ends = self.arrivals.first().zip(self.arrivals.last());
        ends.map_or(0.0, |(first, last)| (*last - *first).seconds())
    }
}

const fn day() -> Seconds {
    Seconds::of(86_400.0)
}

impl Arrivals {
    /// Mean time between arrivals.
    pub fn mean_interval(&self) -> Seconds {
        match self {
            Self::Poisson { mean_interval }
            | Self::Modulated(Modulated { mean_interval, .. })
            | Self::Daily(Daily { mean_interval, .. })
            | Self::Sessions(Sessions { mean_interval, .. })
            | Self::Recording(Recorded { mean_interval, .. }) => *mean_interval,
        }
    }

    /// The same process with another mean time between arrivals. Days stay as long as they are, and so do
    /// sessions: there are more of them.
    pub(super) fn set_mean_interval(&mut self, interval: Seconds) {
        match self {
            Self::Poisson { mean_interval }
            | Self::Modulated(Modulated { mean_interval, .. })
            | Self::Daily(Daily { mean_interval, .. })
            | Self::Sessions(Sessions { mean_interval, .. })
            | Self::Recording(Recorded { mean_interval, .. }) => *mean_interval = interval,
        }
    }
}

/// Checks the numbers of the process against their ranges.
pub(super) fn check_arrivals(arrivals: &Arrivals) -> Result<(), ScenarioError> {
    let within = |name: &str, value: f64, low: f64, high: f64| {
        if (low..=high).contains(&value) {
            return Ok(());
        }
        let problem = format!("arrivals.{name} is {value}: allowed is {low} to {high}");
        Err(ScenarioError::Arrivals(problem))
    };
    let profile = |kind: &str, day: Seconds, profile: &[Weight]| {
        within(&format!("{kind}.day_seconds"), day.seconds(), 1.0, 1e7)?;
        let rates = profile.iter().filter(|&&weight| f64::from(weight) > 0.0).count();
        if rates > 0 && profile.len() <= 10_000 {
            return Ok(());
        }
        let problem = format!(
            "arrivals.{kind}.profile has {} rates, {rates} of them above 0: allowed is up to 10000, at \
             least one of them above 0",
            profile.len()
        );
        Err(ScenarioError::Arrivals(problem))
    };
    match arrivals {
        Arrivals::Poisson { .. } => Ok(()),
        Arrivals::Modulated(own) => {
            let &Modulated { peak, requests_per_burst, share_in_bursts, .. } = own;
            within("modulated.peak", peak, 1.0, 1000.0)?;
            within("modulated.requests_per_burst", requests_per_burst, 1.0, 1e6)?;
            within("modulated.share_in_bursts", share_in_bursts, 0.0, 0.99)
        }
        Arrivals::Recording(own) => {
            let count = own.arrivals.len();
            if let Some(at) = own.arrivals.windows(2).position(|pair| pair[1] < pair[0]) {
                let problem = format!(
                    "arrivals.recording.arrivals_seconds[{}] is {}, before the one ahead of it: allowed is \
                     {} or later",
                    at + 1,
                    own.arrivals[at + 1].seconds(),
                    own.arrivals[at].seconds()
                );
                return Err(ScenarioError::Arrivals(problem));
            }
            if count <= 1_000_000 && own.span() > 0.0 {
                return Ok(());
            }
            let problem = format!(
                "arrivals.recording.arrivals_seconds has {count} arrivals within {} s: allowed are up to \
                 1000000 at two moments or more",
                own.span()
            );
            Err(ScenarioError::Arrivals(problem))
        }
        Arrivals::Daily(own) => profile("daily", own.day, &own.profile),
        Arrivals::Sessions(own) => {
            profile("sessions", own.day, &own.profile)?;
            let Sessions { requests: SessionLength { mu, sigma, most }, gaps, .. } = own;
            within("sessions.requests.mu", *mu, -10.0, 10.0)?;
            within("sessions.requests.sigma", *sigma, 0.0, 5.0)?;
            within("sessions.requests.most", f64::from(*most), 1.0, 1e4)?;
            within("sessions.longest_gap_seconds", own.longest_gap.seconds(), 1e-3, 1e6)?;
            for (number, gap) in gaps.iter().enumerate() {
                within(&format!("sessions.gaps[{number}].mu"), gap.mu, -10.0, 15.0)?;
                within(&format!("sessions.gaps[{number}].sigma"), gap.sigma, 0.0, 5.0)?;
            }
            if gaps.iter().all(|gap| f64::from(gap.weight) == 0.0) {
                let problem = "arrivals.sessions.gaps has none with a weight above 0: allowed is at \
                               least one";
                return Err(ScenarioError::Arrivals(problem.into()));
            }
            Ok(())
        }
    }
}
