//! What the scheduler keeps of a request that has not ended.

use scheduling::{Steps, Time};

use crate::event::Order;
use crate::setback::Setbacks;

/// A request that has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) order: Order,
    pub(crate) ticket: Ticket,
    pub(crate) record: Acceptance,
    pub(crate) place: Place,
    /// Runs started so far.
    pub(crate) attempts: u32,
    /// Runs that failed and count against the attempts.
    pub(crate) failures: u32,
    /// The servers that failed it.
    pub(crate) setbacks: Setbacks,
}

/// Whether the journal has the request yet. Nothing runs before it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acceptance {
    Pending,
    Durable,
}

/// Where a request stands, with what the scheduler itself must know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Queued { server: usize, steps: Steps },
    Unplaced,
    Running { server: usize },
}

/// A time as a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moment(pub(crate) Time);

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.seconds().total_cmp(&other.0.seconds())
    }
}

/// Order of acceptance, which is the order of all that is first come first served.
pub(crate) type Ticket = u64;
