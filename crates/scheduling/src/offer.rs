//! What servers offer a request.

use serde::{Deserialize, Serialize};

use crate::bounds::StepBounds;
use crate::objective::TardinessPenalty;
use crate::spread::Spread;
use crate::units::{Seconds, StepRate, Steps};

/// What one server offers one request: all that a policy may know of that server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// m_j: time until the server will be free.
    pub backlog: Seconds,
    /// Time to load the model of the request; 0 if it will be loaded when the run begins.
    pub load: Seconds,
    /// Time of a run that does not depend on its steps; the paper has none.
    pub overhead: Seconds,
    /// c_j with the model of the request and at its size.
    pub step_rate: StepRate,
    /// Steps that may be chosen there.
    pub bounds: StepBounds,
    /// How far its runs stray from their predictions.
    pub spread: Spread,
    /// How far the backlog may stray: its variance, in s².
    pub backlog_variance: f64,
}

impl Offer {
    /// p_ij = load + overhead + steps / rate: eq. (1), with c in steps per second.
    pub fn service_time(&self, steps: Steps) -> Seconds {
        self.load + self.overhead + steps / self.step_rate
    }

    /// Time from now until a run of so many steps would be finished.
    pub fn time_to_finish(&self, steps: Steps) -> Seconds {
        self.backlog + self.service_time(steps)
    }

    /// E g(τ): what the tardiness of a run of so many seconds costs on average, if it is due in
    /// `time_to_due`. It never falls as the run grows.
    #[inline]
    pub fn expected_penalty(
        &self,
        penalty: TardinessPenalty,
        service: Seconds,
        time_to_due: Seconds,
    ) -> f64 {
        let late = self.backlog + service - time_to_due;
        if self.spread.is_none() {
            return penalty.at(late);
        }
        self.spread.penalty(penalty, late.seconds(), self.finish_variance(service))
    }

    /// By how much two such costs that are equal may differ as they are computed, where runs stray.
    pub(crate) fn error_of_penalty(
        &self,
        penalty: TardinessPenalty,
        service: Seconds,
        time_to_due: Seconds,
    ) -> f64 {
        let late = self.backlog + service - time_to_due;
        self.spread.error(penalty, late.seconds(), self.finish_variance(service))
    }

    /// Variance of the time at which a run of so many seconds is finished, in s².
    fn finish_variance(&self, service: Seconds) -> f64 {
        self.backlog_variance + self.spread.variance(service)
    }

    /// The most steps that fit into `available`, if at least one does, whatever the bounds.
    ///
    /// The result is exact in floating point: `service_time(result) ≤ available`, and one step
    /// more, where allowed, would not fit.
    pub fn most_steps_within(&self, available: Seconds) -> Option<Steps> {
        let fits = |steps| self.service_time(steps) <= available;
        // Rounding may put the quotient one step off on either side.
        let near = Steps::saturating((available - (self.load + self.overhead)) * self.step_rate);
        let above = Steps::saturating(f64::from(near.get()) + 1.0);
        let below = Steps::saturating(f64::from(near.get()) - 1.0);
        [above, near, below].into_iter().find(|&steps| fits(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offer(rate: f64, overhead: f64) -> Offer {
        Offer {
            backlog: Seconds::of(2.0),
            load: Seconds::ZERO,
            overhead: Seconds::new(overhead).unwrap(),
            step_rate: StepRate::new(rate).unwrap(),
            bounds: StepBounds::ALL,
            spread: Spread::default(),
            backlog_variance: 0.0,
        }
    }

    #[test]
    fn service_time_is_overhead_plus_steps_over_rate() {
        let steps = Steps::new(40).unwrap();
        assert_eq!(offer(16.0, 0.5).service_time(steps), Seconds::of(3.0));
        assert_eq!(offer(16.0, 0.5).time_to_finish(steps), Seconds::of(5.0));
        let loading = Offer { load: Seconds::of(9.0), ..offer(16.0, 0.5) };
        assert_eq!(loading.service_time(steps), Seconds::of(12.0));
    }

    #[test]
    fn most_steps_within_a_table_of_spans() {
        let offer = offer(10.0, 1.0);
        for (available, expected) in
            [(0.0, None), (1.0, None), (1.1, Some(1)), (4.0, Some(30)), (1e6, Some(200))]
        {
            let steps = offer.most_steps_within(Seconds::of(available)).map(Steps::get);
            assert_eq!(steps, expected, "within {available} s");
        }
    }

    proptest! {
        #[test]
        fn most_steps_within_is_exact(
            rate in 0.1..50.0, overhead in 0.0..3.0, load in 0.0..60.0, s in 1u32..=200,
        ) {
            let offer = Offer { load: Seconds::of(load), ..offer(rate, overhead) };
            // The span that some number of steps takes to the last bit is the hard case.
            let available = offer.service_time(Steps::new(s).unwrap());
            prop_assert_eq!(offer.most_steps_within(available).map(Steps::get), Some(s));
        }
    }
}
