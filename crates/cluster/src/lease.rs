//! Who may lead: a key that vanishes unless it is renewed. It decides who tries; what is safe the log decides.

use std::time::Duration;

use async_nats::jetstream::kv::{CreateErrorKind, Store, UpdateErrorKind};
use tokio::time::{Instant, timeout};

use crate::connection::Connection;

/// The lease of one cell, as one node sees it.
pub(crate) struct Lease {
    bucket: Store,
    /// Name of this node.
    name: String,
    /// Of the latest renewal, while this node holds it.
    revision: Option<u64>,
    /// How long it lasts.
    lasts: Duration,
    /// When it was taken or renewed last, at the earliest.
    renewed: Instant,
}

/// What came of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewed {
    /// It goes on.
    Held,
    /// Another node holds it.
    Lost,
    /// The brokers cannot say.
    Unknown,
}

impl Lease {
    const KEY: &str = "leader";

    pub(crate) fn new(bucket: Store, name: &str, lasts: Duration) -> Self {
        Self { bucket, name: name.into(), revision: None, lasts, renewed: Instant::now() }
    }

    /// Whoever holds it, if anybody does and the brokers can say.
    pub(crate) async fn holder(&self) -> Result<Option<String>, String> {
        let value = timeout(Connection::PATIENCE, self.bucket.get(Self::KEY)).await;
        let value = value.map_err(|_| "the brokers did not answer in time".to_string())?;
        let value = value.map_err(|error| crate::causes(&error))?;
        Ok(value.map(|name| String::from_utf8_lossy(&name).into_owned()))
    }

    /// Takes it if nobody has it.
    pub(crate) async fn take(&mut self) -> bool {
        let begun = Instant::now();
        let create = self.bucket.create(Self::KEY, self.name.clone().into());
        match timeout(Connection::PATIENCE, create).await {
            Ok(Ok(revision)) => {
                (self.revision, self.renewed) = (Some(revision), begun);
                true
            }
            Ok(Err(error)) if error.kind() == CreateErrorKind::AlreadyExists => false,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the lease cannot be taken");
                false
            }
            Err(_) => false,
        }
    }

    /// Until when nobody else can have it.
    pub(crate) fn until(&self) -> Instant {
        self.renewed + self.lasts
    }

    /// Holds on to it.
    pub(crate) async fn renew(&mut self, patience: Duration) -> Renewed {
        let Some(revision) = self.revision else { return Renewed::Lost };
        let begun = Instant::now();
        let update = self.bucket.update(Self::KEY, self.name.clone().into(), revision);
        match timeout(patience, update).await {
            Ok(Ok(revision)) => {
                (self.revision, self.renewed) = (Some(revision), begun);
                Renewed::Held
            }
            // It may have run out, or an earlier renewal have come through unheard.
            Ok(Err(error)) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                self.revise().await
            }
            _ => Renewed::Unknown,
        }
    }

    async fn revise(&mut self) -> Renewed {
        let entry = timeout(Connection::PATIENCE, self.bucket.entry(Self::KEY)).await;
        match entry {
            Ok(Ok(Some(entry))) if entry.value == self.name.as_bytes() => {
                self.revision = Some(entry.revision);
                Renewed::Held
            }
            Ok(Ok(Some(entry))) if !entry.value.is_empty() => {
                self.revision = None;
                Renewed::Lost
            }
            Ok(Ok(_)) => {
                if self.take().await {
                    return Renewed::Held;
                }
                Renewed::Unknown
            }
            _ => Renewed::Unknown,
        }
    }

    /// Gives it back, so that another node need not wait.
    pub(crate) async fn release(&mut self) {
        if let Some(revision) = self.revision.take() {
            let purge = self.bucket.purge_expect_revision(Self::KEY, Some(revision));
            if !matches!(timeout(Connection::PATIENCE, purge).await, Ok(Ok(()))) {
                tracing::debug!("the lease was not given back: it runs out");
            }
        }
    }
}
