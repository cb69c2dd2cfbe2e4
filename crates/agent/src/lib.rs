//! Deep reinforcement learning for scheduling: the paper's actor-critic (§III).
//!
//! [`algorithm1`] is the training loop, to be read beside the paper. [`Agent`] is what comes out: a
//! [`scheduling::Policy`] that runs in the simulator and in the live gateway alike. A [`checkpoint`]
//! keeps it, and the training itself, on disk.

mod actor;
mod actor_critic;
mod adam;
mod built_in;
mod features;
mod file;
mod kernels;
mod network;
mod policy;
mod training;

pub mod algorithm1;
pub mod checkpoint;
pub mod universal;

pub use actor::{Actor, Update};
pub use adam::Adam;
pub use algorithm1::{ActorCritic, CurvePoint, Hyperparameters};
pub use built_in::{UNIVERSAL, UNIVERSAL_FILES};
pub use checkpoint::{Checkpoint, CheckpointError, Origin, has_checkpoint};
pub use network::{Activations, Mlp, parameter_count};
pub use policy::{Agent, Maker, PolicyError, Recipe};
pub use training::{Ended, Saving, Train, Training, Watch, train};
pub use universal::{PriceHyperparameters, PriceTraining, UniversalAgent};
