//! `GET /v1/events`: all that there is to see, as it happens. Whoever comes back is told anew how everything stands,
//! so nothing is missed by a connection that was lost.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use dispatch::RequestId;
use futures_util::{Stream, stream};

use super::auth::Visitor;
use super::listening::{Ear, Heard, Look};
use super::problem::Problem;
use super::requests::told;
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
    let ear = Ear::new(&server.handle, GATHER);
    let (due, servers) = (VecDeque::new(), Look::every(LOOK));
    let mut live = Live { server, visitor, ear, due, servers, _open: open };
    live.begin().await?;
    Ok(sse::answer(live.stream()))
}

struct Live {
    server: Server,
    visitor: Visitor,
    ear: Ear,
    /// Requests that are to be told.
    due: VecDeque<RequestId>,
    servers: Look,
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
            if self.servers.is_due()
                && let Some(event) =
                    self.servers.at_servers(&self.server.handle, &self.visitor).await?
            {
                return Ok(Some(event));
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
            match self.ear.until(self.servers.next()).await {
                Heard::Changes(changes) => changes.iter().for_each(|change| self.gather(change)),
                Heard::Nothing => {}
                // It is too far behind to hear of each.
                Heard::TooMuch => self.begin().await?,
                Heard::End => return Ok(None),
            }
        }
    }

    fn gather(&mut self, change: &Change) {
        let order = &change.accepted.order;
        if order.owner == self.visitor.owner && !self.due.contains(&order.id) {
            self.due.push_back(order.id);
        }
    }
}
