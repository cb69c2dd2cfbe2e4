//! Virtual time: from a scenario file to what a policy is worth.
//!
//! An [`InstanceSource`] gives instances: a [`Scenario`] or a [`Domain`] draws them, [`Recordings`]
//! are traffic that happened. [`simulate`] runs a policy on one and [`Metrics`] condense the rows.
//! [`BatchedEnvironment`] runs many episodes side by side for training, on the very same instances
//! and with the very same rewards.
//!
//! ```
//! use scheduling::{Generator, Purpose, Rule};
//! use simulation::{Episode, InstanceSource, Metrics, Scenario, simulate};
//!
//! let scenario = Scenario::from_toml(include_str!("../../../scenarios/paper.toml"))?;
//! let episode = Episode::Evaluation(0);
//! let instance = scenario.instance(7, episode);
//! let generator = Generator::new(7, Purpose::Policy, episode.stream());
//! let mut policy = Rule::Myopic.policy(generator);
//! let metrics = Metrics::of(&simulate(&instance, &mut *policy));
//! assert!(metrics.reward > 60.0);
//! # Ok::<(), simulation::ScenarioError>(())
//! ```
//!
//! Nothing here reads a clock, a file or entropy: scenarios arrive as text, seeds as numbers.

mod arrivals;
mod domain;
mod environment;
mod event;
mod metrics;
mod play;
mod recording;
mod scenario;
mod simulator;
mod source;
mod uniform;
mod virtual_time;
mod workload;

pub use dispatch::Preloading;
pub use domain::{BurstDomain, Domain, DomainError, FleetDomain, PauseDomain, RequestCount, Wide};
pub use environment::BatchedEnvironment;
pub use event::{Event, EventKind, events};
pub use metrics::{
    Estimate, Figures, Metrics, RESAMPLES, Summary, difference, estimate, summarise,
};
pub use play::Play;
pub use recording::{Recording, Recordings};
pub use scenario::{
    Arrivals, ClusterModel, Daily, Drawn, Due, Factor, Failures, Gap, Models, Modulated, Noise,
    OutageSpan, PenaltyMix, Popularity, Recorded, Scenario, ScenarioError, ServerGroup,
    SessionLength, Sessions, Settings, Sizes, Weight,
};
pub use simulator::simulate;
pub use source::{Episode, EpisodeSource, InstanceSource, UnequalEpisodes, Workload};
pub use uniform::Uniform;
pub use virtual_time::{simulate_by_events, simulate_preloading};
