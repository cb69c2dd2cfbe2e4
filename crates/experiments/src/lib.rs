//! Comparing policies: the same instances for all of them, statistics, and tables to read.
//!
//! This is the one room where the simulator, the agents and the baselines meet.

mod evaluation;
mod table;
mod tune;

pub use evaluation::{Evaluation, PolicyResult, evaluate};
pub use table::table;
pub use tune::{TRIALS, Tuned, tune};
