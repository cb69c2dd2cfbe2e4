//! The journal as an instance: train and evaluate on your own traffic.

use std::path::Path;

use dispatch::Speed;
use scheduling::{Cluster, Instance, InstanceError, Request, Server, Time};
use thiserror::Error;

use crate::config::Config;
use crate::journal::{Archive, JournalError, Reader};
use crate::speed::SpeedEstimator;

/// An instance from a journal, and what it cannot express.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// The requests of the journal on the servers of the configuration, from time 0 on.
    pub instance: Instance,
    /// Requests whose picture was not of the default size: instances know no sizes, so these
    /// count like the others.
    pub other_sizes: usize,
}

/// The journal could not be exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It holds nothing that makes an instance.
    #[error("the journal makes no instance: {0}")]
    Instance(#[from] InstanceError),
}

/// Turns a journal into an instance, with server speeds as learned from its latest runs and as
/// configured where there are too few. Works beside a running gateway.
///
/// # Errors
/// [`ExportError`] if the journal cannot be read or holds no request.
///
/// # Panics
/// If the configuration was put together by hand and has no server.
pub fn export(journal: &Path, config: &Config) -> Result<Exported, ExportError> {
    let reader = Reader::open(journal)?;
    let mut servers = Vec::new();
    for server in &config.servers {
        let prior = Speed { overhead: server.overhead_seconds, rate: server.steps_per_second };
        let mut estimator = SpeedEstimator::new(prior);
        for run in reader.completed_runs(server.name.get_ref(), SpeedEstimator::WINDOW)? {
            let size = f64::from(run.pixels) / f64::from(config.reference_pixels());
            estimator.observe(run.steps, size, run.took);
        }
        let speed = estimator.estimate().filter(|_| server.learn_speed).unwrap_or(prior);
        servers.push(Server::new(server.name.get_ref().clone(), speed.rate, speed.overhead));
    }
    let cluster = Cluster::new(servers).expect("the configuration has at least one server");
    let mut traffic = reader.traffic()?;
    // Accepted in another order than arrived, if at the same moment.
    traffic.sort_by(|a, b| a.0.arrival.seconds().total_cmp(&b.0.arrival.seconds()));
    let other_sizes = traffic.iter().filter(|(_, p)| *p != config.reference_pixels()).count();
    let origin = traffic.first().map_or(Time::ZERO, |(first, _)| first.arrival);
    let since = |time: Time| Time::ZERO + (time - origin).positive_part();
    let requests = (traffic.into_iter())
        .map(|(request, _)| {
            Request::new(since(request.arrival), since(request.due), request.penalty)
        })
        .collect();
    let instance = Instance::new(cluster, requests, config.objective())?;
    Ok(Exported { instance, other_sizes })
}
