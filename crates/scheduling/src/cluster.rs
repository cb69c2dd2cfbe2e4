//! Requests and the servers that run them.

use thiserror::Error;

use crate::objective::TardinessPenalty;
use crate::units::{Seconds, StepRate, Steps, Time};

/// Request i: what the requester tells the scheduler on arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// r_i
    pub arrival: Time,
    /// d_i; never before the arrival.
    pub due: Time,
    /// g_i
    pub penalty: TardinessPenalty,
}

impl Request {
    /// o_t = d_i − r_i, the processing time that the requester expects.
    pub fn slack(&self) -> Seconds {
        self.due - self.arrival
    }
}

/// Server j: runs one request at a time, first come first served.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Unique in its cluster.
    pub name: String,
    /// c_j
    pub step_rate: StepRate,
    /// Time of a run that does not depend on its steps; the paper has none.
    pub overhead: Seconds,
}

impl Server {
    /// p_ij = overhead + steps / rate: eq. (1), with c in steps per second.
    pub fn service_time(&self, steps: Steps) -> Seconds {
        self.overhead + steps / self.step_rate
    }

    /// The most steps that fit into `available`, if at least one does.
    ///
    /// The result is exact in floating point: `service_time(result) ≤ available`, and one step
    /// more, where allowed, would not fit.
    pub fn most_steps_within(&self, available: Seconds) -> Option<Steps> {
        let fits = |steps| self.service_time(steps) <= available;
        // Rounding may put the quotient one step off on either side.
        let near = Steps::saturating((available - self.overhead) * self.step_rate);
        let above = Steps::saturating(f64::from(near.get()) + 1.0);
        let below = Steps::saturating(f64::from(near.get()) - 1.0);
        [above, near, below].into_iter().find(|&steps| fits(steps))
    }
}

/// The servers: at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster(Vec<Server>);

/// A cluster needs at least one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there are 0 servers: allowed is 1 or more")]
pub struct EmptyCluster;

impl Cluster {
    /// # Errors
    /// [`EmptyCluster`] if there is no server.
    pub fn new(servers: Vec<Server>) -> Result<Self, EmptyCluster> {
        if servers.is_empty() { Err(EmptyCluster) } else { Ok(Self(servers)) }
    }
}

impl std::ops::Deref for Cluster {
    type Target = [Server];
    fn deref(&self) -> &[Server] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server(rate: f64, overhead: f64) -> Server {
        Server {
            name: "s0".into(),
            step_rate: StepRate::new(rate).unwrap(),
            overhead: Seconds::new(overhead).unwrap(),
        }
    }

    #[test]
    fn service_time_is_overhead_plus_steps_over_rate() {
        let s = server(16.0, 0.5);
        assert_eq!(s.service_time(Steps::new(40).unwrap()), Seconds::of(3.0));
    }

    #[test]
    fn most_steps_within_a_table_of_spans() {
        let s = server(10.0, 1.0);
        for (available, expected) in
            [(0.0, None), (1.0, None), (1.1, Some(1)), (4.0, Some(30)), (1e6, Some(200))]
        {
            let steps = s.most_steps_within(Seconds::of(available)).map(Steps::get);
            assert_eq!(steps, expected, "within {available} s");
        }
    }

    proptest! {
        #[test]
        fn most_steps_within_is_exact(rate in 0.1..50.0, overhead in 0.0..3.0, s in 1u32..=200) {
            let server = server(rate, overhead);
            // The span that some number of steps takes to the last bit is the hard case.
            let available = server.service_time(Steps::new(s).unwrap());
            prop_assert_eq!(server.most_steps_within(available).map(Steps::get), Some(s));
        }
    }
}
