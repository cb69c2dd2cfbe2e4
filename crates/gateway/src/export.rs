//! The journal as an instance: train and evaluate on your own traffic.

use std::path::Path;

use scheduling::{Cluster, Instance, InstanceError, Request, Server, Time};
use thiserror::Error;

use crate::config::{Config, ServerConfig};
use crate::journal::{Accepted, Archive, JournalError, Reader};
use crate::speed::{Learned, SpeedEstimator};

/// An instance from a journal, and what it cannot express.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// The requests of the journal on the servers of the configuration, from time 0 on.
    pub instance: Instance,
    /// Requests that are left out, as no server of the configuration takes them: their model is not
    /// hosted any more, or not with their steps.
    pub untaken: usize,
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
        servers.push(learned(&reader, config, server)?);
    }
    let models = config.models.iter().map(|model| model.name.get_ref().clone()).collect();
    let cluster = Cluster::with_models(servers, models);
    let cluster = cluster.expect("the configuration has at least one server");
    let mut traffic = reader.traffic()?;
    // Accepted in another order than arrived, if at the same moment.
    let arrival = |accepted: &Accepted| accepted.order.request.arrival;
    traffic.sort_by(|a, b| arrival(a).seconds().total_cmp(&arrival(b).seconds()));
    let origin = traffic.first().map_or(Time::ZERO, arrival);
    let since = |time: Time| Time::ZERO + (time - origin).positive_part();
    let requests = (traffic.iter()).map(|accepted| config.request(accepted)).map(|request| {
        Request { arrival: since(request.arrival), due: since(request.due), ..request }
    });
    let (taken, untaken): (Vec<_>, Vec<_>) =
        requests.partition(|request| cluster.iter().any(|server| server.takes(request)));
    let instance = Instance::new(cluster, taken, config.objective())?;
    Ok(Exported { instance, untaken: untaken.len() })
}

/// A server with what its latest runs say of it.
fn learned(
    reader: &Reader,
    config: &Config,
    server: &ServerConfig,
) -> Result<Server, JournalError> {
    let mut own = config.server(server);
    if !server.learn_speed {
        return Ok(own);
    }
    let mut learned = Learned::new(&own);
    for model in learned.models().collect::<Vec<_>>() {
        let (name, most) = (server.name.get_ref(), SpeedEstimator::WINDOW);
        let learned = learned.of(model);
        for run in reader.completed_runs(name, config.model_name(model), most)? {
            learned.observe(config.size(run.pixels).into(), &run);
        }
        let speed = learned.speed.estimate();
        let hosted = own.hosting.as_mut().and_then(|hosting| hosting.hosted_mut(model));
        match (speed, hosted) {
            (Some(speed), None) => (own.overhead, own.step_rate) = (speed.overhead, speed.rate),
            (speed, Some(hosted)) => {
                if let Some(speed) = speed {
                    (hosted.overhead, hosted.step_rate) = (speed.overhead, speed.rate);
                }
                hosted.load = learned.load.estimate().unwrap_or(hosted.load);
            }
            (None, None) => {}
        }
    }
    Ok(own)
}
