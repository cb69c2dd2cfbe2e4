//! The seam between the problem and those who solve it online.

use serde::{Deserialize, Serialize};

use crate::cluster::Request;
use crate::model::Residency;
use crate::objective::Objective;
use crate::offer::Offer;
use crate::traffic::Traffic;
use crate::units::{Seconds, Steps, Time};

/// Decides, for each request as it arrives, where it runs and with how many steps.
///
/// The same policy runs in the simulator and in the live gateway. Policies that draw random numbers
/// own a seeded [`crate::Generator`].
///
/// ```
/// use scheduling::{Decision, Observation, Policy, Steps};
///
/// /// Always the first server, always 50 steps or what comes nearest.
/// struct Stubborn;
///
/// impl Policy for Stubborn {
///     fn decide(&mut self, observation: &Observation<'_>) -> Decision {
///         let bounds = observation.offers[0].bounds;
///         Decision { server: 0, steps: bounds.clamp(Steps::saturating(50.0)) }
///     }
/// }
/// ```
pub trait Policy: Send {
    /// Decides for `observation.request`: one of `observation.offers`, and steps within its bounds.
    fn decide(&mut self, observation: &Observation<'_>) -> Decision;

    /// How many of its decisions were on what it has never met in training, and what was strange in the last of
    /// them. Rules meet nothing that they were not made for.
    fn unfamiliar(&self) -> (u64, Option<&'static str>) {
        (0, None)
    }

    /// Why it can decide no longer, once that is so: what it has decided since is worth nothing. A rule always can; a
    /// policy that runs elsewhere may come to grief.
    fn failure(&self) -> Option<&str> {
        None
    }
}

impl<P: Policy + ?Sized> Policy for Box<P> {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        (**self).decide(observation)
    }

    fn unfamiliar(&self) -> (u64, Option<&'static str>) {
        (**self).unfamiliar()
    }

    fn failure(&self) -> Option<&str> {
        (**self).failure()
    }
}

impl<P: Policy + ?Sized> Policy for &mut P {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        (**self).decide(observation)
    }

    fn unfamiliar(&self) -> (u64, Option<&'static str>) {
        (**self).unfamiliar()
    }

    fn failure(&self) -> Option<&str> {
        (**self).failure()
    }
}

/// Action a_t: where a request runs and how many steps it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Index of the server, from 0. What a policy decides is the index of its offer.
    pub server: usize,
    /// s_i
    pub steps: Steps,
}

/// State s_t: all that a policy may know. The future and true service times are not in here.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The present, which is the arrival of the request unless it is decided again.
    pub now: Time,
    /// The request to be decided.
    pub request: &'a Request,
    /// What the servers that can run it offer, at least one.
    pub offers: &'a [Offer],
    /// What the decision will be judged by.
    pub objective: &'a Objective,
    /// What the server behind each offer will have loaded; empty where none of them loads models.
    pub residencies: &'a [Residency],
    /// What is known of the arrivals so far, that of the request included.
    pub traffic: &'a Traffic,
}

impl Observation<'_> {
    /// Time from now to the due time; negative once it has passed.
    pub fn time_to_due(&self) -> Seconds {
        self.request.due - self.now
    }

    /// Time from now until the request would be finished under `decision`.
    pub fn time_to_finish(&self, decision: Decision) -> Seconds {
        self.offers[decision.server].time_to_finish(decision.steps)
    }

    /// r_t of eq. (5) under `decision`: known at the time of the decision where runs take what they are
    /// predicted to, and its expectation where they stray.
    pub fn reward(&self, decision: Decision) -> f64 {
        let offer = &self.offers[decision.server];
        let service = offer.service_time(decision.steps);
        let penalty = offer.expected_penalty(self.request.penalty, service, self.time_to_due());
        self.objective.quality(decision.steps)
            - self.objective.tardiness_weight() * penalty
            - self.waiting_cost(decision)
    }

    /// The decision for this offer with so many steps, from whoever may name what there is not.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn decision(&self, offer: i64, steps: i64) -> Result<Decision, String> {
        let offers = self.offers.len();
        let server = usize::try_from(offer).ok().filter(|&server| server < offers);
        let server = server
            .ok_or_else(|| format!("offer {offer} is taken: allowed is 0 to {}", offers - 1))?;
        let bounds = self.offers[server].bounds;
        let within = u32::try_from(steps).ok().and_then(|steps| Steps::new(steps).ok());
        let steps = within.filter(|&steps| bounds.contains(steps)).ok_or_else(|| {
            let (min, max) = (bounds.min.get(), bounds.max.get());
            format!("{steps} steps are taken of offer {server}: allowed is {min} to {max}")
        })?;
        Ok(Decision { server, steps })
    }

    /// What the time from arrival to finish costs under `decision`; nothing in the paper.
    pub fn waiting_cost(&self, decision: Decision) -> f64 {
        if self.objective.waiting_weight() == 0.0 {
            return 0.0;
        }
        let waited = self.now - self.request.arrival;
        self.objective.waiting_cost(waited + self.time_to_finish(decision))
    }
}
