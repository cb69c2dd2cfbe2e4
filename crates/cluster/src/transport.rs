//! Messages between nodes.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use gateway::node::{Answers, Transport};
use scheduling::{Seconds, Time};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::connection::Connection;

/// The way to whoever leads.
pub(crate) struct ToLeader(pub(crate) Connection);

#[async_trait]
impl Transport for ToLeader {
    async fn ask(&self, call: Bytes) -> Result<Bytes, String> {
        let (client, subject) = (&self.0.client, self.0.names.calls());
        let answer = client.request(subject, call).await.map_err(|error| crate::causes(&error))?;
        // Nothing is what it says where it cannot answer.
        if answer.payload.is_empty() { Err("it cannot tell".into()) } else { Ok(answer.payload) }
    }
}

/// Answers the other nodes, each call beside the others.
pub(crate) async fn answer(connection: Connection, answers: Answers) -> Result<(), String> {
    let subscribed = connection.client.subscribe(connection.names.calls()).await;
    let mut calls = subscribed.map_err(|error| crate::causes(&error))?;
    while let Some(call) = calls.next().await {
        let Some(reply) = call.reply else { continue };
        let (answers, client) = (answers.clone(), connection.client.clone());
        tokio::spawn(async move {
            let mut answer = answers.answer(call.payload).await.unwrap_or_default();
            let most = client.server_info().max_payload;
            if answer.len() > most {
                tracing::warn!(bytes = answer.len(), most, "an answer to another node is too long");
                answer.clear();
            }
            client.publish(reply, answer).await
        });
    }
    Err("the brokers tell nothing more".into())
}

/// What whoever leads says of itself, again and again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pulse {
    /// Its name.
    pub(crate) leader: String,
    pub(crate) epoch: u64,
    /// Its time.
    pub(crate) now: Time,
    /// The time lived there.
    pub(crate) lived: Seconds,
}

/// Between two pulses.
pub(crate) const PULSE: Duration = Duration::from_millis(500);

/// What a node says when it is asked how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Present {
    pub(crate) node: String,
    pub(crate) role: String,
    pub(crate) leads: bool,
    pub(crate) epoch: u64,
    /// How far it has followed the log.
    pub(crate) sequence: u64,
    /// Of what it runs by: nodes of a cell should have the same.
    pub(crate) configuration: String,
    pub(crate) version: String,
}

/// Who is there: the nodes that answer, until nobody has for a moment.
pub(crate) async fn roll_call(
    connection: &Connection,
    moment: Duration,
) -> Result<Vec<Present>, String> {
    let client = &connection.client;
    let inbox = client.new_inbox();
    let subscribed = client.subscribe(inbox.clone()).await;
    let mut answers = subscribed.map_err(|error| crate::causes(&error))?;
    let subject = connection.names.roll_call();
    let asked = client.publish_with_reply(subject, inbox, Bytes::new()).await;
    asked.map_err(|error| crate::causes(&error))?;
    let mut nodes = Vec::new();
    while let Ok(Some(answer)) = timeout(moment, answers.next()).await {
        nodes.extend(serde_json::from_slice::<Present>(&answer.payload).ok());
    }
    Ok(nodes)
}
