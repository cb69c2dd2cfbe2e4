//! Where the instances of a point come from: drawn by a scenario, or recorded.

use std::sync::Arc;

use scheduling::{Cluster, Instance};
use simulation::{Episode, EpisodeSource, InstanceSource, Recording, Recordings, Scenario};

/// The source of a point's instances.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A scenario draws them, as many as are asked for.
    Drawn(Arc<Scenario>),
    /// They are given, and counted.
    Recorded(Arc<Traffic>),
}

/// Given instances with the names that their results are filed under.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    names: Vec<String>,
    requests: Vec<u64>,
    recordings: Recordings,
}

impl Setting {
    /// What this scenario draws.
    pub(crate) fn drawn(scenario: Scenario) -> Self {
        Self::Drawn(Arc::new(scenario))
    }

    /// These instances, one or more, under their names.
    pub(crate) fn recorded(instances: Vec<(String, Instance)>) -> Self {
        let names = instances.iter().map(|(name, _)| name.clone()).collect();
        let requests = instances.iter().map(|(_, given)| given.requests().len() as u64).collect();
        let recordings =
            instances.into_iter().map(|(name, instance)| Recording::new(&name, instance));
        let recordings = Recordings::new(recordings.collect());
        Self::Recorded(Arc::new(Traffic { names, requests, recordings }))
    }

    pub(crate) fn source(&self) -> &dyn InstanceSource {
        match self {
            Self::Drawn(scenario) => &**scenario,
            Self::Recorded(traffic) => &traffic.recordings,
        }
    }

    /// The scenario, if one draws the instances.
    pub(crate) fn scenario(&self) -> Option<&Scenario> {
        match self {
            Self::Drawn(scenario) => Some(scenario),
            Self::Recorded(_) => None,
        }
    }

    /// What rows about an evaluation instance call the place that it comes from.
    pub(crate) fn name_of(&self, instance: u64) -> &str {
        match self {
            Self::Drawn(scenario) => &scenario.settings().name,
            Self::Recorded(traffic) => &traffic.names[instance as usize],
        }
    }

    /// A short word for a folder of what is trained here.
    pub(crate) fn folder_name(&self) -> &str {
        match self {
            Self::Drawn(scenario) => &scenario.settings().name,
            Self::Recorded(_) => "recorded",
        }
    }

    /// Evaluation instances, so many of them asked for.
    pub(crate) fn instances(&self, asked: u64) -> u64 {
        self.source().evaluation_instances().unwrap_or(asked)
    }

    /// The evaluation instances 0, 1, … that there are.
    pub(crate) fn evaluation(&self, seed: u64, number: u64) -> Instance {
        self.source().instance(seed, Episode::Evaluation(number))
    }

    /// Requests of the first so many evaluation instances, all together.
    pub(crate) fn requests(&self, instances: u64) -> u64 {
        match self {
            Self::Drawn(scenario) => instances * scenario.settings().requests as u64,
            Self::Recorded(traffic) => traffic.requests.iter().take(instances as usize).sum(),
        }
    }

    /// Requests of a training episode.
    pub(crate) fn training_requests(&self) -> u64 {
        match self {
            Self::Drawn(scenario) => scenario.settings().requests as u64,
            Self::Recorded(traffic) => traffic.recordings.requests() as u64,
        }
    }

    /// Clusters that a policy has to fit: one where all are of one form.
    pub(crate) fn clusters(&self) -> Vec<Cluster> {
        match self {
            Self::Drawn(scenario) => vec![scenario.cluster(0, Episode::Evaluation(0))],
            Self::Recorded(traffic) => {
                let all = 0..traffic.names.len() as u64;
                let cluster = |number| traffic.recordings.cluster(0, Episode::Evaluation(number));
                all.map(cluster).collect()
            }
        }
    }
}
