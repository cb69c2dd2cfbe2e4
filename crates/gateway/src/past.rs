//! What the journal knows from before, for what it says about what is to come.

use scheduling::{Model, Traffic};

use crate::config::Config;
use crate::journal::{Accepted, Archive, CompletedRun, JournalError};
use crate::speed::{Learned, SpeedEstimator};

/// Runs and arrivals.
pub(crate) struct Past {
    /// The latest runs of each server, in the order of the configuration, with each of its models.
    pub(crate) runs: Vec<(usize, Model, Vec<CompletedRun>)>,
    /// The latest requests accepted, the oldest first.
    pub(crate) arrivals: Vec<Accepted>,
}

impl Past {
    /// Requests that say what traffic to expect: ten times what the means remember.
    const ARRIVALS: u32 = 10 * Traffic::WINDOW as u32;

    pub(crate) fn read(archive: &dyn Archive, config: &Config) -> Result<Self, JournalError> {
        let mut runs = Vec::new();
        for (index, server) in config.servers.iter().enumerate() {
            for model in Learned::new(&config.server(server)).models() {
                let (name, most) = (server.name.get_ref(), SpeedEstimator::WINDOW);
                let latest = archive.completed_runs(name, config.model_name(model), most)?;
                runs.push((index, model, latest));
            }
        }
        Ok(Self { runs, arrivals: archive.arrivals(Self::ARRIVALS)? })
    }
}
