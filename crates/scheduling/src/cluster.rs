//! Requests and the servers that run them.

use thiserror::Error;

use crate::bounds::StepBounds;
use crate::objective::TardinessPenalty;
use crate::offer::Offer;
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
    /// p_ij of eq. (1), at the reference size.
    pub fn service_time(&self, steps: Steps) -> Seconds {
        self.offer(Seconds::ZERO, StepBounds::ALL).service_time(steps)
    }

    /// What it offers a request that may have so many steps, at the reference size.
    pub fn offer(&self, backlog: Seconds, bounds: StepBounds) -> Offer {
        Offer { backlog, overhead: self.overhead, step_rate: self.step_rate, bounds }
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
