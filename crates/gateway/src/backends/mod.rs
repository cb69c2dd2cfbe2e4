//! Diffusion servers behind one trait. None knows the configuration: [`crate::config::connect`] turns
//! it into backends.

pub(crate) mod automatic1111;
mod checkpoints;
mod client;
pub(crate) mod comfyui;
pub mod demo;
mod embedded;
mod error;
mod excerpt;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod nowhere;
pub(crate) mod openai;
pub mod picture;
mod preview;
pub(crate) mod sdcpp;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod tls;

use async_trait::async_trait;
use bytes::Bytes;
use dispatch::RunId;
use scheduling::Steps;

pub(crate) use self::checkpoints::Checkpoints;
pub(crate) use self::client::{Client, check_url};
pub use self::error::BackendError;
pub use self::excerpt::Excerpt;
pub(crate) use self::nowhere::Nowhere;
pub use self::preview::Preview;
pub use self::tls::check_authorities;

use crate::journal::Spec;

/// A run as a backend is asked for it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which run.
    pub run: RunId,
    /// The picture.
    pub spec: Spec,
    /// Denoising steps.
    pub steps: Steps,
}

impl Job {
    /// A UUID of the run, the same after a restart and different for every attempt.
    pub fn uuid(&self) -> uuid::Uuid {
        let mut bytes = self.run.request.0.into_bytes();
        for (byte, attempt) in bytes[10..14].iter_mut().zip(self.run.attempt.to_be_bytes()) {
            *byte ^= attempt;
        }
        uuid::Uuid::from_bytes(bytes)
    }
}

/// Where a backend tells how a run goes on.
pub trait Watcher: Send + Sync {
    /// It has come so far, as a share of 0 to 1.
    fn progress(&self, share: f64);
    /// The backend has a name of its own for it, by which it can be looked up after a restart.
    fn ticket(&self, ticket: &str);
    /// It stands behind something else there, so its own time has not begun.
    fn waits(&self) {}
    /// It looks like this at the moment.
    fn preview(&self, _picture: Preview) {}
    /// Whether somebody may look at previews: where nobody can, none need be made.
    fn wants_previews(&self) -> bool {
        false
    }
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Painted {
    /// The picture, not yet checked.
    pub png: Bytes,
    /// What its time says.
    pub timing: Timing,
}

/// How the time of a run is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// The server began at once: the time of the run is what the server takes.
    Direct,
    /// It came out of the server's cache.
    Cached,
    /// It waited behind something else there, or was found again after a restart.
    Delayed,
}

/// What a cancelled run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It has stopped, or stops when the call that runs it is dropped.
    Stopped,
    /// It goes on for now; the call that runs it returns when it ends, and asking again may help.
    Stopping,
    /// The call that runs it may be dropped, but the server cannot tell whether it then stops.
    Abandoned,
}

/// A diffusion server, which runs one job at a time.
///
/// The caller limits the time of every call by dropping it, so implementations need no time limits
/// of their own. Answers are untrusted: implementations limit their size and check their form; that
/// the bytes are a whole PNG of the wanted size is checked by the caller.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Runs a job.
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError>;

    /// Waits for a job that was started before a restart.
    ///
    /// # Errors
    /// [`BackendError::Unknown`] if it cannot be found, which most backends cannot tell.
    async fn look_up(
        &self,
        _job: &Job,
        _ticket: Option<&str>,
        _watcher: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        Err(BackendError::Unknown)
    }

    /// Stops this job and no other.
    async fn cancel(&self, job: &Job, ticket: Option<&str>) -> Result<Cancelled, BackendError>;

    /// Asks whether the server answers.
    async fn probe(&self) -> Result<(), BackendError>;

    /// Asks how many jobs of others it has to do before ours; none where it does not tell.
    async fn foreign(&self) -> Result<Option<usize>, BackendError> {
        Ok(None)
    }

    /// Asks which models it has loaded, the most recently used last, by the names that the
    /// configuration has for them; none where it does not tell.
    async fn loaded(&self) -> Result<Option<Vec<String>>, BackendError> {
        Ok(None)
    }
}
