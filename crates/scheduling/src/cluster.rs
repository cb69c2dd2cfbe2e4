//! Requests and the servers that run them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bounds::StepBounds;
use crate::model::{Hosting, Loaded, Model};
use crate::objective::TardinessPenalty;
use crate::offer::Offer;
use crate::spread::Spread;
use crate::units::{Seconds, Size, StepRate, Steps, Time};

/// Request i: what the requester tells the scheduler on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// r_i
    pub arrival: Time,
    /// d_i; never before the arrival.
    pub due: Time,
    /// Relative to the reference size.
    pub size: Size,
    /// Steps that the requester accepts.
    pub bounds: StepBounds,
    /// What it is to be drawn with.
    pub model: Model,
    /// g_i
    pub penalty: TardinessPenalty,
}

impl Request {
    /// A request of the paper: one model, the reference size, every number of steps.
    pub const fn new(arrival: Time, due: Time, penalty: TardinessPenalty) -> Self {
        Self { arrival, due, size: Size::ONE, bounds: StepBounds::ALL, model: Model(0), penalty }
    }

    /// o_t = d_i − r_i, the processing time that the requester expects.
    pub fn slack(&self) -> Seconds {
        self.due - self.arrival
    }

    /// Whether it asks for nothing that the paper's requests do not.
    pub fn is_plain(&self) -> bool {
        *self == Self::new(self.arrival, self.due, self.penalty)
    }
}

/// Server j: runs one request at a time, first come first served.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Unique in its cluster.
    pub name: String,
    /// c_j
    pub step_rate: StepRate,
    /// Time of a run that does not depend on its steps; the paper has none.
    pub overhead: Seconds,
    /// Steps that it may be given.
    pub bounds: StepBounds,
    /// How far its runs are known to stray from their predictions.
    pub spread: Spread,
    /// Its models; where there is nothing it draws with all of them alike and loads none.
    pub hosting: Option<Hosting>,
}

impl Server {
    /// A server that draws with every model and any number of steps.
    pub fn new(name: impl Into<String>, step_rate: StepRate, overhead: Seconds) -> Self {
        let (bounds, spread) = (StepBounds::ALL, Spread::default());
        Self { name: name.into(), step_rate, overhead, bounds, spread, hosting: None }
    }

    /// Whether it has nothing that the paper's servers have not.
    pub fn is_plain(&self) -> bool {
        self.bounds == StepBounds::ALL && self.hosting.is_none()
    }

    /// p_ij of eq. (1) for a request of the paper.
    pub fn service_time(&self, steps: Steps) -> Seconds {
        self.overhead + steps / self.step_rate
    }

    /// What it offers a request, with these models loaded before it: nothing if it does not draw with
    /// the model, or with no number of steps that is accepted.
    #[inline]
    pub fn offer(&self, request: &Request, backlog: Seconds, loaded: &Loaded) -> Option<Offer> {
        let alike = Offer {
            backlog,
            load: Seconds::ZERO,
            overhead: self.overhead,
            step_rate: self.step_rate / request.size,
            bounds: self.bounds.and(request.bounds)?,
            spread: self.spread,
            backlog_variance: 0.0,
        };
        let Some(hosting) = &self.hosting else { return Some(alike) };
        let hosted = hosting.hosted(request.model)?;
        Some(Offer {
            load: if loaded.contains(request.model) { Seconds::ZERO } else { hosted.load },
            overhead: hosted.overhead,
            step_rate: hosted.step_rate / request.size,
            bounds: alike.bounds.and(hosted.bounds)?,
            ..alike
        })
    }

    /// Whether it can run the request at all.
    #[inline]
    pub fn takes(&self, request: &Request) -> bool {
        let bounds = self.bounds.and(request.bounds);
        bounds.is_some_and(|bounds| match &self.hosting {
            Some(hosting) => {
                hosting.hosted(request.model).is_some_and(|own| bounds.and(own.bounds).is_some())
            }
            None => true,
        })
    }

    /// Whether it draws with a model.
    pub fn hosts(&self, model: Model) -> bool {
        self.hosting.as_ref().is_none_or(|hosting| hosting.hosted(model).is_some())
    }

    /// How many models it can have loaded at once; where it loads none they are all there.
    pub fn resident(&self) -> usize {
        self.hosting.as_ref().map_or(usize::MAX, |hosting| hosting.resident)
    }

    /// What it has loaded at first.
    pub fn loaded(&self) -> Loaded {
        self.hosting.as_ref().map(|hosting| hosting.loaded.clone()).unwrap_or_default()
    }

    /// A run with the model begins, and it has these loaded.
    #[inline]
    pub fn run(&self, model: Model, loaded: &mut Loaded) {
        if let Some(hosting) = &self.hosting {
            loaded.run(model, hosting.resident);
        }
    }
}

/// The servers, at least one, and the names of the models, which may be none. Copies share them.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    servers: Arc<[Server]>,
    models: Arc<[String]>,
}

/// A cluster needs at least one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there are 0 servers: allowed is 1 or more")]
pub struct EmptyCluster;

impl Cluster {
    /// Servers that draw with one model, which has no name.
    ///
    /// # Errors
    /// [`EmptyCluster`] if there is no server.
    pub fn new(servers: Vec<Server>) -> Result<Self, EmptyCluster> {
        Self::with_models(servers, Vec::new())
    }

    /// Servers that draw with models of these names.
    ///
    /// # Errors
    /// [`EmptyCluster`] if there is no server.
    pub fn with_models(servers: Vec<Server>, models: Vec<String>) -> Result<Self, EmptyCluster> {
        if servers.is_empty() {
            return Err(EmptyCluster);
        }
        Ok(Self { servers: servers.into(), models: models.into() })
    }

    /// Names of the models.
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// Whether any of its servers loads models.
    pub fn loads_models(&self) -> bool {
        self.servers.iter().any(|server| server.hosting.is_some())
    }

    /// Whether it has nothing that the paper's clusters have not.
    pub fn is_plain(&self) -> bool {
        self.models.is_empty() && self.servers.iter().all(Server::is_plain)
    }
}

impl std::ops::Deref for Cluster {
    type Target = [Server];
    fn deref(&self) -> &[Server] {
        &self.servers
    }
}
