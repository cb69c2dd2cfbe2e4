//! One set of weights for any cluster: learned prices of server time, and the exact maximum of the
//! reward minus the price.
//!
//! [`PriceNetwork`] says what time on each server costs the requests still to come, from what it sees
//! of backlogs, speeds and traffic; [`UniversalAgent`] takes the decision that is best under these
//! prices; [`PriceTraining`] learns the weights over randomised clusters, from what other decisions would
//! have cost (`alternative`). The same network prices every server, so the agent neither knows nor cares how
//! many there are or how they are numbered.
//! `docs/universal-agent.md` has the equations and what it is worth.

mod alternative;
mod chance;
mod checkpoint;
mod familiar;
mod features;
mod fleet;
mod policy;
mod prices;
mod samples;
mod training;

pub use chance::Chance;
pub use policy::{PriceNetworks, UniversalAgent};
pub use prices::{Clusters, PriceNetwork};
pub use training::{PriceHyperparameters, PriceLearner, PriceTraining, RoundPoint, Stage};

/// Changes whenever the network's input changes its meaning; a checkpoint of another version is
/// refused.
pub(crate) const UNIVERSAL_FEATURE_VERSION: u32 = 6;
