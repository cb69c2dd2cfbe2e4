//! The scheduling problem and its online rules.
//!
//! Diffusion servers of different speed share a stream of text-to-image requests. For each arriving
//! [`Request`] a [`Policy`] sees an [`Observation`] and takes a [`Decision`]: the server that runs
//! it and the number of denoising steps it gets. What that is worth is the [`Objective`].
//!
//! Nothing here reads a clock, a file, a socket or entropy: the present is an argument and random
//! generators arrive seeded.

mod bounds;
mod cluster;
mod environment;
mod fate;
mod instance;
mod luck;
mod model;
mod objective;
mod offer;
mod policy;
mod queue;
mod random;
mod row;
mod spread;
mod traffic;
mod units;

pub mod message;
pub mod policies;
pub mod verify;

pub use bounds::StepBounds;
pub use cluster::{Cluster, EmptyCluster, Request, Server};
pub use environment::Environment;
pub use fate::{Down, Fate, FateError, ServerFate};
pub use instance::{Instance, InstanceError};
pub use luck::{Luck, Sigma};
pub use model::{HostedModel, Hosting, Loaded, Model, Residency};
pub use objective::{
    FullService, Logistic, Objective, ObjectiveError, PowerLaw, QualityCurve, Sigmoid,
    TardinessPenalty,
};
pub use offer::Offer;
pub use policies::{AgentName, Cap, OwnName, PolicyName, PolicyNameError, Rule};
pub use policy::{Decision, Observation, Policy};
pub use queue::{Dispatched, Execution, Queues};
pub use random::{Generator, Purpose};
pub use row::{
    Beyond, Row, RowError, RowOutcome, models_in_rows, read_rows, rows_in_parts, write_rows,
};
pub use spread::Spread;
pub use traffic::Traffic;
pub use units::{OutOfRange, Seconds, Size, StepRate, Steps, Time};
