//! Where instances come from, whoever makes them.

use std::fmt::Debug;
use std::sync::Arc;

use scheduling::{Cluster, Instance, Objective, Request};
use thiserror::Error;

/// Which of a source's instances. Under one seed no training instance is an evaluation instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Episode {
    /// To learn from.
    Training(u64),
    /// To judge by.
    Evaluation(u64),
}

impl Episode {
    /// Index of the episode's random streams: even for training, odd for evaluation.
    ///
    /// Give a policy that draws random numbers [`scheduling::Generator::new`] with this index, and
    /// its choices on an instance depend on nothing else that runs.
    ///
    /// # Panics
    /// If the number of the episode is 2⁶³ or more.
    pub const fn stream(self) -> u64 {
        let (number, odd) = match self {
            Self::Training(number) => (number, 0),
            Self::Evaluation(number) => (number, 1),
        };
        assert!(number < 1 << 63, "episodes are numbered below 2^63");
        2 * number + odd
    }
}

/// Where instances come from: drawn by a [`crate::Scenario`] or a [`crate::Domain`], or taken from
/// [`crate::Recordings`].
pub trait InstanceSource: Debug + Send + Sync {
    /// What results are filed under.
    fn name(&self) -> String;

    /// The instance of `episode` under `seed`: these two and the source decide it alone.
    fn instance(&self, seed: u64, episode: Episode) -> Instance;

    /// How many evaluation instances there are; `None` if they do not end.
    fn evaluation_instances(&self) -> Option<u64> {
        None
    }

    /// Whether all of its instances are of the paper's world, as [`Instance::is_plain`] has it.
    fn is_plain(&self) -> bool;

    /// Whether servers load models on any of its instances.
    fn loads_models(&self) -> bool;

    /// What a checkpoint keeps of the source: equal descriptions mean equal instances.
    fn description(&self) -> serde_json::Value;

    /// The training episodes request by request, for many episodes side by side.
    ///
    /// # Errors
    /// [`UnequalEpisodes`] if they do not all have the same number of servers and one objective.
    fn episodes(&self) -> Result<&dyn EpisodeSource, UnequalEpisodes>;
}

/// Training episodes of one form, whose requests are drawn one at a time.
///
/// An episode's cluster and its first requests are those of the training instance of its number.
pub trait EpisodeSource: Debug + Send + Sync {
    /// J: number of servers in each episode.
    fn servers(&self) -> usize;

    /// I: requests of each episode.
    fn requests(&self) -> usize;

    /// What the decisions of all episodes are judged by.
    fn objective(&self) -> &Objective;

    /// The cluster of `episode` under `seed`.
    fn cluster(&self, seed: u64, episode: Episode) -> Cluster;

    /// Whether all episodes have the same cluster, so that one copy of it does.
    fn shares_cluster(&self) -> bool;

    /// The requests of `episode` under `seed`, one after the other and without end.
    fn workload(&self, seed: u64, episode: Episode) -> Workload;
}

/// Requests in order of arrival, drawn one at a time; they outlive the source that they are of.
pub type Workload = Box<dyn Iterator<Item = Request> + Send + Sync>;

/// Who only refers to a source, alone or with others, is one.
macro_rules! refers_to_a_source {
    ($($pointer:ty),*) => {
        $(impl<S: EpisodeSource + ?Sized> EpisodeSource for $pointer {
            fn servers(&self) -> usize {
                (**self).servers()
            }

            fn requests(&self) -> usize {
                (**self).requests()
            }

            fn objective(&self) -> &Objective {
                (**self).objective()
            }

            fn cluster(&self, seed: u64, episode: Episode) -> Cluster {
                (**self).cluster(seed, episode)
            }

            fn shares_cluster(&self) -> bool {
                (**self).shares_cluster()
            }

            fn workload(&self, seed: u64, episode: Episode) -> Workload {
                (**self).workload(seed, episode)
            }
        })*
    };
}

refers_to_a_source!(&S, Arc<S>);

/// Instances that cannot be run side by side, one step at a time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{source_name}: {problem}: allowed are instances that all have the same number of servers \
         and one objective"
)]
pub struct UnequalEpisodes {
    /// Name of the source.
    pub source_name: String,
    /// In what they differ.
    pub problem: String,
}
