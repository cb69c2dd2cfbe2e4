//! Comparing policies: the same instances for all of them, statistics, and tables to read.
//!
//! This is the one room where the simulator, the agents and the baselines meet.

mod evaluation;
mod table;

pub use evaluation::{
    AgainstClairvoyant, Clairvoyant, Evaluation, Hindsight, PolicyResult, Possible, evaluate,
};
pub use table::table;
