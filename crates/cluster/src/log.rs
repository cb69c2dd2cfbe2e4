//! The log in a stream of the brokers: appended behind a fence, and followed.

use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, State, Stream};
use futures_util::StreamExt as _;
use gateway::journal::{Log, LogError};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::connection::Connection;

/// The log, for whoever leads. Its calls block; they belong on a thread that may.
pub(crate) struct NatsLog {
    connection: Connection,
    stream: Stream,
    runtime: Handle,
}

impl NatsLog {
    /// Longest that an append or a read may take. The brokers choose a new leader of the log in a few seconds;
    /// asking again meanwhile is safe.
    const PATIENCE: Duration = Duration::from_millis(700);
    /// Pause after a refusal that came at once.
    const PAUSE: Duration = Duration::from_millis(50);

    /// Within a runtime.
    pub(crate) fn new(connection: Connection, stream: Stream) -> Self {
        Self { connection, stream, runtime: Handle::current() }
    }

    async fn publish(&self, last: u64, message: &[u8]) -> Result<u64, LogError> {
        let publish = PublishMessage::build().payload(message.to_vec().into());
        let fenced = cfg!(not(feature = "unfenced"));
        let publish = if fenced { publish.expected_last_sequence(last) } else { publish };
        let subject = self.connection.names.append();
        let sent = async { self.connection.streams.send_publish(subject, publish).await?.await };
        match timeout(Self::PATIENCE, sent).await {
            // Without its fence the log takes everything, and whoever appends believes that nobody else does.
            Ok(Ok(_)) if !fenced => Ok(last + 1),
            Ok(Ok(ack)) => Ok(ack.sequence),
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => {
                Err(LogError::Taken)
            }
            Ok(Err(error)) => {
                tokio::time::sleep(Self::PAUSE).await;
                Err(LogError::Unknown(crate::causes(&error)))
            }
            Err(_) => Err(LogError::Unknown("the brokers did not answer in time".into())),
        }
    }
}

impl Log for NatsLog {
    fn append(&mut self, last: u64, message: &[u8]) -> Result<u64, LogError> {
        self.runtime.block_on(self.publish(last, message))
    }

    fn read(&mut self, sequence: u64) -> Result<Option<Vec<u8>>, String> {
        self.runtime.block_on(async {
            let read = timeout(Self::PATIENCE, self.stream.get_raw_message(sequence)).await;
            let result = match read {
                Ok(Ok(message)) => Ok(Some(message.payload.to_vec())),
                Ok(Err(error)) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                    Ok(None)
                }
                Ok(Err(error)) => Err(crate::causes(&error)),
                Err(_) => Err("the brokers did not answer in time".into()),
            };
            // What is not there yet may be in a moment.
            if !matches!(result, Ok(Some(_))) {
                tokio::time::sleep(Self::PAUSE).await;
            }
            result
        })
    }
}

/// Sequence and content of messages of the log.
pub(crate) type Messages = Vec<(u64, Vec<u8>)>;

/// What the log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The earliest sequence that is still there, or would be.
    pub(crate) first: u64,
    /// The latest.
    pub(crate) last: u64,
}

impl Extent {
    pub(crate) fn of(state: &State) -> Self {
        Self { first: state.first_sequence, last: state.last_sequence }
    }
}

/// How far the log goes.
pub(crate) async fn extent(stream: &Stream) -> Result<Extent, String> {
    let info = timeout(Connection::PATIENCE, stream.get_info()).await;
    let info = info.map_err(|_| "the brokers did not answer in time".to_string())?;
    let info = info.map_err(|error| crate::causes(&error))?;
    Ok(Extent::of(&info.state))
}

/// The messages from a sequence on, as many as there are and so many at most.
pub(crate) async fn behind(
    stream: &Stream,
    from: u64,
    to: u64,
    most: usize,
) -> Result<Messages, String> {
    let mut messages = Vec::new();
    if from > to {
        return Ok(messages);
    }
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
        ..pull::OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|e| crate::causes(&e))?;
    let mut found = consumer.messages().await.map_err(|e| crate::causes(&e))?;
    while messages.len() < most {
        let next = timeout(2 * Connection::PATIENCE, found.next()).await;
        let next = next.map_err(|_| "the brokers did not go on in time".to_string())?;
        let Some(next) = next else { break };
        let next = next.map_err(|error| crate::causes(&error))?;
        let sequence = next.info().map_err(|error| error.to_string())?.stream_sequence;
        // The client makes a reader anew when it hears nothing: from the beginning, if it has had no message yet.
        if sequence < from {
            return Err(format!("the brokers began with message {sequence}, not {from}"));
        }
        messages.push((sequence, next.payload.to_vec()));
        if sequence >= to {
            break;
        }
    }
    Ok(messages)
}
