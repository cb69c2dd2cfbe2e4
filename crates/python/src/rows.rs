//! What environments show and allow: observations as rows of numbers, and the decision nearest to an action.

use scheduling::{Decision, Observation, Offer, TardinessPenalty};

/// What is observed, as a row of numbers:
/// - `paper`: m_1, …, m_J in seconds, o_t in seconds, and o_p, the state of §III-A;
/// - `offers`: seconds to the due time, one 1 among three penalties, size, mean seconds between arrivals (0 before
///   the second), then for each of J offers: 1 if there is one, backlog, load, overhead, steps per second, fewest and
///   most steps, and sigma.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Paper,
    Offers,
}

/// Numbers of a request, and of each offer.
const OF_REQUEST: usize = 6;
const OF_OFFER: usize = 8;

impl Kind {
    /// Numbers in a row, with so many servers.
    pub(crate) fn width(self, servers: usize) -> usize {
        match self {
            Self::Paper => servers + 2,
            Self::Offers => OF_REQUEST + OF_OFFER * servers,
        }
    }

    /// Writes a row; where a server offers nothing, the last numbers stay as they are.
    pub(crate) fn write(self, observation: &Observation<'_>, row: &mut [f32]) {
        match self {
            Self::Paper => {
                let backlog = observation.offers.iter().map(|offer| offer.backlog.seconds() as f32);
                let slack = observation.time_to_due().seconds() as f32;
                paper(backlog, slack, observation.request.penalty, row);
            }
            Self::Offers => offers(observation, row),
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "paper" => Ok(Self::Paper),
            "offers" => Ok(Self::Offers),
            other => Err(format!("observation is \"{other}\": allowed is \"paper\" or \"offers\"")),
        }
    }
}

/// Writes the paper's state: the backlogs, the slack, and how urgent the penalty is.
pub(crate) fn paper(
    backlog: impl Iterator<Item = f32>,
    slack: f32,
    penalty: TardinessPenalty,
    row: &mut [f32],
) {
    for (number, seen) in row.iter_mut().zip(backlog.chain([slack, penalty.urgency() as f32])) {
        *number = seen;
    }
}

fn offers(observation: &Observation<'_>, row: &mut [f32]) {
    let (of_request, of_offers) = row.split_at_mut(OF_REQUEST);
    let asked = observation.request;
    of_request[0] = observation.time_to_due().seconds() as f32;
    for (number, penalty) in of_request[1..4].iter_mut().zip(TardinessPenalty::ALL) {
        *number = f32::from(u8::from(asked.penalty == penalty));
    }
    of_request[4] = asked.size.get() as f32;
    of_request[5] = observation.traffic.mean_interval().map_or(0.0, |mean| mean.seconds() as f32);
    for (row, offer) in of_offers.chunks_exact_mut(OF_OFFER).zip(observation.offers) {
        row.copy_from_slice(&[
            1.0,
            offer.backlog.seconds() as f32,
            offer.load.seconds() as f32,
            offer.overhead.seconds() as f32,
            offer.step_rate.steps_per_second() as f32,
            offer.bounds.min.get() as f32,
            offer.bounds.max.get() as f32,
            f64::from(offer.spread.sigma()) as f32,
        ]);
    }
}

/// The decision, or the nearest that there is: an offer that there is not becomes the one that would be finished
/// first, and steps outside its bounds the nearest within.
pub(crate) fn nearest(observation: &Observation<'_>, decision: Decision) -> Decision {
    let bounded = |offer: &Offer| offer.bounds.clamp(decision.steps);
    let server = if decision.server < observation.offers.len() {
        decision.server
    } else {
        let finish = |offer: usize| {
            let offer = &observation.offers[offer];
            offer.time_to_finish(bounded(offer)).seconds()
        };
        let all = 0..observation.offers.len();
        all.min_by(|&a, &b| finish(a).total_cmp(&finish(b))).expect("there is at least one offer")
    };
    Decision { server, steps: bounded(&observation.offers[server]) }
}
