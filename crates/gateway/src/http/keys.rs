//! `GET /v1/keys`: who uses the gateway, and how much.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Server;
use super::account::{Account, Role};
use super::auth::Visitor;
use super::problem::Problem;
use crate::engine::Usage;
use crate::handle::Unavailable;

/// All keys, in the order of the configuration.
#[derive(Serialize)]
pub(super) struct Keys {
    keys: Vec<KeyView>,
}

/// A key; what is counted of it is counted since the gateway was started.
#[derive(Serialize)]
struct KeyView {
    name: String,
    operator: bool,
    requests_per_minute: Option<u32>,
    left_this_minute: Option<u32>,
    streams: usize,
    waiting_or_running: usize,
    accepted: u64,
    completed: u64,
    late: u64,
    server_seconds: f64,
}

/// `GET /v1/keys`
pub(crate) async fn list(
    State(server): State<Server>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    visitor.operate()?;
    Ok(Json(Keys::of(&server).await?).into_response())
}

impl Keys {
    /// As they stand.
    pub(super) async fn of(server: &Server) -> Result<Self, Unavailable> {
        let holders: Vec<_> = server.door.holders().collect();
        let owners = holders.iter().map(|holder| holder.owner.clone()).collect();
        let usage = server.handle.usage(owners).await?;
        let now = server.handle.timeline.now();
        let view = |(holder, usage): (&&Visitor, _)| KeyView::new(holder, usage, now);
        Ok(Self { keys: holders.iter().zip(usage).map(view).collect() })
    }
}

impl KeyView {
    fn new(account: &Account, usage: Usage, now: scheduling::Time) -> Self {
        let Usage { tally, held } = usage;
        Self {
            name: account.owner.to_string(),
            operator: account.role == Role::Operator,
            requests_per_minute: account.rate.per_minute(),
            left_this_minute: account.rate.left(now),
            streams: account.streams_held(),
            waiting_or_running: held,
            accepted: tally.accepted,
            completed: tally.completed,
            late: tally.late,
            server_seconds: tally.served.seconds(),
        }
    }
}
