//! A server that nobody can ask from here.

use async_trait::async_trait;

use super::{Backend, BackendError, Cancelled, Job, Painted, Watcher};

/// Stands for the server of an agent where only the configuration is looked at.
pub(crate) struct Nowhere;

#[async_trait]
impl Backend for Nowhere {
    async fn generate(&self, _: &Job, _: &dyn Watcher) -> Result<Painted, BackendError> {
        Err(nobody())
    }

    async fn cancel(&self, _: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        Err(nobody())
    }

    async fn probe(&self) -> Result<(), BackendError> {
        Err(nobody())
    }
}

fn nobody() -> BackendError {
    BackendError::Unreachable("its agent is not asked from here".into())
}
