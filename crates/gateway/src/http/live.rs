//! `GET /v1/events`: all that there is to see, as it happens. Whoever comes back is told anew how everything stands,
//! so nothing is missed by a connection that was lost.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use dispatch::RequestId;
use futures_util::{Stream, stream};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::auth::Visitor;
use super::problem::Problem;
use super::requests::told;
use super::servers::Servers;
use super::{Server, answer, sse};
use crate::engine::Change;
use crate::handle::Unavailable;
use crate::journal::Filter;

/// Pause between two looks at the servers.
const LOOK: Duration = Duration::from_millis(500);
/// Changes of a request within this time are one event.
const GATHER: Duration = Duration::from_millis(100);
/// Requests that are told at first.
const LATEST: u32 = 100;

/// `GET /v1/events`
pub(crate) async fn events(
    State(server): State<Server>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let open = visitor.open_stream()?;
    // Before it is looked how everything stands, so that nothing changes unseen in between.
    let changes = server.handle.changes.subscribe();
    let due = VecDeque::new();
    let mut live = Live {
        server,
        visitor,
        changes,
        due,
        servers: String::new(),
        look: Instant::now(),
        _open: open,
    };
    live.begin().await?;
    Ok(sse::answer(live.stream()))
}

struct Live {
    server: Server,
    visitor: Visitor,
    changes: broadcast::Receiver<Change>,
    /// Requests that are to be told.
    due: VecDeque<RequestId>,
    /// The servers as they were told last.
    servers: String,
    /// When they are looked at next.
    look: Instant,
    _open: super::account::Stream,
}

impl Live {
    /// The latest requests are to be told, the oldest of them first.
    async fn begin(&mut self) -> Result<(), Unavailable> {
        let owner = Some(self.visitor.owner.to_string());
        let filter = Filter { owner, limit: LATEST, ..Filter::default() };
        let _turn = self.visitor.turn().await;
        let page = self.server.handle.list(filter).await?;
        self.due = page.entries.iter().rev().map(|entry| entry.accepted.order.id).collect();
        Ok(())
    }

    fn stream(self) -> impl Stream<Item = Result<Bytes, Unavailable>> {
        stream::try_unfold(self, |mut live| async move {
            let event = live.next().await?;
            Ok(event.map(|event| (event, live)))
        })
    }

    /// The next event; none when the gateway stops.
    async fn next(&mut self) -> Result<Option<Bytes>, Unavailable> {
        loop {
            if self.look <= Instant::now() {
                self.look = Instant::now() + LOOK;
                if let Some(event) = self.look_at_servers().await? {
                    return Ok(Some(event));
                }
            }
            if let Some(id) = self.due.pop_front() {
                let handle = &self.server.handle;
                let room =
                    self.visitor.budget.wait(answer::most_bytes_of_a_request(&handle.config)).await;
                if let Some(status) = handle.status(id).await? {
                    return Ok(Some(told(&status, handle, self.visitor.role, room)));
                }
                continue;
            }
            let change = tokio::select! {
                change = self.changes.recv() => change,
                () = tokio::time::sleep_until(self.look) => continue,
            };
            match change {
                Ok(change) => {
                    self.gather(change);
                    tokio::time::sleep(GATHER).await;
                    while let Ok(change) = self.changes.try_recv() {
                        self.gather(change);
                    }
                }
                // It is too far behind to hear of each.
                Err(RecvError::Lagged(_)) => self.begin().await?,
                Err(RecvError::Closed) => return Ok(None),
            }
        }
    }

    fn gather(&mut self, (id, owner): Change) {
        if owner == self.visitor.owner && !self.due.contains(&id) {
            self.due.push_back(id);
        }
    }

    /// The servers, if they have changed.
    async fn look_at_servers(&mut self) -> Result<Option<Bytes>, Unavailable> {
        let views = self.server.handle.servers().await?;
        let text = serde_json::to_string(&Servers::new(views, self.visitor.role));
        let text = text.expect("views are plain data");
        if text == self.servers {
            return Ok(None);
        }
        let room = self.visitor.budget.wait(text.len()).await;
        let event = sse::event("servers", &text);
        self.servers = text;
        Ok(Some(room.carry(event)))
    }
}
