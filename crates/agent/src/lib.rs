//! Deep reinforcement learning for scheduling: the paper's actor-critic (§III).
//!
//! [`algorithm1`] is the training loop, to be read beside the paper. [`Agent`] is what comes out: a
//! [`scheduling::Policy`] that runs in the simulator and in the live gateway alike. A [`checkpoint`]
//! keeps it, and the training itself, on disk.

mod actor;
mod adam;
mod features;
mod kernels;
mod network;
mod policy;

pub mod algorithm1;
pub mod checkpoint;
pub mod universal;

pub use actor::{Actor, Update};
pub use adam::Adam;
pub use algorithm1::{ActorCritic, CurvePoint, Hyperparameters};
pub use checkpoint::{Checkpoint, CheckpointError, Metadata, Origin};
pub use features::FEATURE_VERSION;
pub use network::{Activations, Mlp, parameter_count};
pub use policy::{Agent, PolicyError, Recipe};
pub use universal::{PriceHyperparameters, PriceTraining, UniversalAgent, UniversalCheckpoint};
