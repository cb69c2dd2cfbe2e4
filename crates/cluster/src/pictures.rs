//! Pictures in a stream of the brokers, each in parts under a name of its own.

use std::time::Duration;

use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;
use gateway::journal::Pictures;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::connection::Connection;

/// The store.
pub(crate) struct NatsPictures {
    connection: Connection,
    stream: Stream,
    runtime: Handle,
}

impl NatsPictures {
    /// Bytes of a part.
    const PART: usize = 512 * 1024;
    /// Longest that a picture may take in or out.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Within a runtime.
    pub(crate) fn new(connection: Connection, stream: Stream) -> Self {
        Self { connection, stream, runtime: Handle::current() }
    }

    async fn put(&self, name: &str, png: Bytes) -> Result<(), String> {
        let parts = (0..png.len()).step_by(Self::PART).enumerate().map(|(index, from)| {
            let part = png.slice(from..png.len().min(from + Self::PART));
            let subject = self.connection.names.picture(name, index as u64);
            async move {
                let sent = self.connection.streams.publish(subject, part).await;
                sent.map_err(|e| crate::causes(&e))?.await.map_err(|e| crate::causes(&e))
            }
        });
        try_join_all(parts).await.map(drop)
    }
}

#[async_trait]
impl Pictures for NatsPictures {
    async fn keep(&self, name: &str, png: Bytes) -> Result<(), String> {
        let kept = timeout(Self::PATIENCE, self.put(name, png)).await;
        kept.unwrap_or_else(|_| Err("the brokers did not take it in time".into()))
    }

    fn part(&self, name: &str, from: u64, most: usize) -> Result<Option<Bytes>, String> {
        let (index, within) = (from / Self::PART as u64, (from % Self::PART as u64) as usize);
        let subject = self.connection.names.picture(name, index);
        let get = async {
            timeout(Self::PATIENCE, self.stream.direct_get_last_for_subject(subject)).await
        };
        match self.runtime.block_on(get) {
            Ok(Ok(found)) => {
                let part = found.payload;
                let from = within.min(part.len());
                Ok(Some(part.slice(from..part.len().min(from.saturating_add(most)))))
            }
            Ok(Err(error)) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Ok(Err(error)) => Err(crate::causes(&error)),
            Err(_) => Err("the brokers did not answer in time".into()),
        }
    }
}
