//! `GET /v1/workshop`: what every server is doing and what comes of every request, as it happens, for the page.
//!
//! What is told of a request comes with its change, so that nobody is asked for it: neither the engine nor the journal.
//! Whoever comes back is told anew how everything stands.

mod brief;
mod figures;
mod site;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use dispatch::RequestId;
use futures_util::{Stream, stream};
use indexmap::IndexMap;
use serde::Serialize;
use tokio::time::Instant;

use self::brief::Brief;
use self::figures::Figures;
use self::site::Site;
use super::account::Role;
use super::auth::Visitor;
use super::keys::Keys;
use super::listening::{Ear, Heard, Look, Pace, event, json};
use super::problem::Problem;
use super::{Server, answer, sse};
use crate::engine::Scale;
use crate::handle::Unavailable;
use crate::journal::{Entry, Filter};
use crate::status::{Phase, Status};

/// Pause between two looks at the servers, and at what is in force.
const LOOK: Duration = Duration::from_millis(500);
/// Pause between two looks at the statistics.
const FIGURES: Duration = Duration::from_secs(5);
/// Pause between two looks at the keys.
const KEYS: Duration = Duration::from_secs(2);
/// Changes of a request within this time are one.
const GATHER: Duration = Duration::from_millis(200);
/// Requests in one event.
const AT_ONCE: usize = 250;
/// Requests that have ended which are told at first.
const LATEST: u32 = 500;
/// Of which so many are in memory with their prompts.
const PAGE: u32 = 50;

/// `GET /v1/workshop`
pub(crate) async fn open(
    State(server): State<Server>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let open = visitor.open_stream()?;
    // Before it is looked how everything stands, so that nothing changes unseen in between.
    let ear = Ear::new(&server.handle, GATHER);
    let (site, servers) = (Look::every(LOOK), Look::every(LOOK));
    let operating = (visitor.role == Role::Operator).then(Operating::begin);
    let due = IndexMap::new();
    let mut workshop =
        Workshop { server, visitor, ear, due, site, servers, operating, _open: open };
    workshop.begin().await?;
    Ok(sse::answer(workshop.stream()))
}

/// Somebody who looks on.
struct Workshop {
    server: Server,
    visitor: Visitor,
    ear: Ear,
    /// Requests that are to be told, as they stood when they were last heard of.
    due: IndexMap<RequestId, Arc<Status>>,
    site: Look,
    servers: Look,
    /// What only operators see.
    operating: Option<Operating>,
    _open: super::account::Stream,
}

/// What operators see beside requests.
struct Operating {
    recent: Series,
    day: Series,
    keys: Look,
}

impl Operating {
    fn begin() -> Self {
        let series = |scale| Series { scale, told: 0, pace: Pace::every(FIGURES) };
        let (recent, day) = (series(Scale::Recent), series(Scale::Day));
        Self { recent, day, keys: Look::every(KEYS) }
    }

    /// When something of it is looked at next.
    fn next(&self) -> Instant {
        let keys = self.keys.pace.next();
        self.recent.pace.next().min(self.day.pace.next()).min(keys)
    }

    /// What is new of it, if anything.
    async fn look(
        &mut self,
        server: &Server,
        visitor: &Visitor,
    ) -> Result<Option<Bytes>, Unavailable> {
        for series in [&mut self.recent, &mut self.day] {
            if series.pace.is_due()
                && let Some(figures) = series.look(server).await?
            {
                return Ok(Some(event(visitor, "statistics", &json(&figures)).await));
            }
        }
        if self.keys.pace.is_due() {
            let text = json(&Keys::of(server).await?);
            if self.keys.differs(&text) {
                return Ok(Some(event(visitor, "keys", &text).await));
            }
        }
        Ok(None)
    }
}

/// Statistics of one scale.
struct Series {
    scale: Scale,
    /// Changes that have been told.
    told: u64,
    pace: Pace,
}

impl Series {
    /// What has changed, if anything.
    async fn look(&mut self, server: &Server) -> Result<Option<Figures>, Unavailable> {
        let changed = server.handle.statistics(self.scale, self.told).await?;
        self.told = changed.changes;
        Ok(Figures::new(self.scale, &changed))
    }
}

/// What came of looking at something.
enum Seen {
    /// Something to be told.
    Event(Bytes),
    /// Nothing new.
    Same,
    /// Another configuration is in force, by which this stream may not be allowed any more.
    Superseded,
}

impl Workshop {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Unavailable>> {
        stream::try_unfold(self, |mut workshop| async move {
            let event = workshop.next().await?;
            Ok(event.map(|event| (event, workshop)))
        })
    }

    /// All that has not ended is to be told, and what has ended last.
    async fn begin(&mut self) -> Result<(), Unavailable> {
        self.due.clear();
        for status in self.server.handle.standing(self.only()).await? {
            self.due.insert(status.accepted.order.id, Arc::new(status));
        }
        // What ends meanwhile has ended here.
        self.recall().await
    }

    /// Whose requests are seen, if not everybody's.
    fn only(&self) -> Option<dispatch::Owner> {
        (self.visitor.role == Role::Requester).then(|| self.visitor.owner.clone())
    }

    /// Looks up what has ended last.
    async fn recall(&mut self) -> Result<(), Unavailable> {
        let handle = &self.server.handle;
        let owner = self.only().map(|owner| owner.to_string());
        let (mut left, mut before) = (LATEST, None);
        while left > 0 {
            let most = PAGE as usize * answer::most_bytes_of_a_request(&handle.config);
            let _room = self.visitor.budget.wait(most).await;
            let _turn = self.visitor.turn().await;
            let filter = Filter {
                owner: owner.clone(),
                state: Some("ended".into()),
                before,
                limit: left.min(PAGE),
                ..Filter::default()
            };
            let page = handle.list(filter).await?;
            left = left.saturating_sub(page.entries.len() as u32);
            for entry in page.entries {
                self.due.insert(entry.accepted.order.id, Arc::new(bare(entry)));
            }
            if page.next.is_none() {
                break;
            }
            before = page.next;
        }
        Ok(())
    }

    /// The next event; none when the gateway stops, another configuration is in force, or too much has been missed.
    async fn next(&mut self) -> Result<Option<Bytes>, Unavailable> {
        loop {
            match self.look_at_site().await? {
                Seen::Event(event) => return Ok(Some(event)),
                Seen::Superseded => return Ok(None),
                Seen::Same => {}
            }
            if self.servers.pace.is_due()
                && let Some(event) =
                    self.servers.at_servers(&self.server.handle, &self.visitor).await?
            {
                return Ok(Some(event));
            }
            if !self.due.is_empty() {
                return Ok(Some(self.requests().await));
            }
            if let Some(operating) = &mut self.operating
                && let Some(event) = operating.look(&self.server, &self.visitor).await?
            {
                return Ok(Some(event));
            }
            match self.ear.until(self.next_look()).await {
                Heard::Changes(changes) => changes.into_iter().for_each(|now| self.gather(now)),
                Heard::Nothing => {}
                // Whoever is too far behind to hear of each comes back and is told how everything stands.
                Heard::TooMuch | Heard::End => return Ok(None),
            }
        }
    }

    fn next_look(&self) -> Instant {
        let next = self.site.pace.next().min(self.servers.pace.next());
        self.operating.as_ref().map_or(next, |operating| next.min(operating.next()))
    }

    async fn look_at_site(&mut self) -> Result<Seen, Unavailable> {
        if !self.site.pace.is_due() {
            return Ok(Seen::Same);
        }
        let handle = &self.server.handle;
        let in_force = handle.in_force().await?;
        if !Arc::ptr_eq(&in_force.config, &handle.config) {
            return Ok(Seen::Superseded);
        }
        let mut site = Site::new(&in_force, &self.visitor);
        if !self.site.differs(&json(&site)) {
            return Ok(Seen::Same);
        }
        site.now = Some(handle.date(handle.timeline.now()));
        Ok(Seen::Event(event(&self.visitor, "site", &json(&site)).await))
    }

    /// A request has changed: what was to be told of it is not news any more.
    fn gather(&mut self, now: Arc<Status>) {
        let order = &now.accepted.order;
        let seen = self.visitor.role == Role::Operator || order.owner == self.visitor.owner;
        // What was heard of it before its end may come after the end was looked up.
        let ended = |status: &Arc<Status>| matches!(status.phase, Phase::Ended(_));
        if seen && (ended(&now) || !self.due.get(&order.id).is_some_and(ended)) {
            self.due.insert(order.id, now);
        }
    }

    /// The requests that have waited longest for being told.
    async fn requests(&mut self) -> Bytes {
        #[derive(Serialize)]
        struct Requests<'a> {
            requests: Vec<Brief<'a>>,
        }
        let now: Vec<_> = self.due.drain(..AT_ONCE.min(self.due.len())).collect();
        let brief = |status| Brief::new(status, &self.server.handle, &self.visitor);
        let requests = now.iter().map(|(_, status)| brief(status)).collect();
        let text = json(&Requests { requests });
        drop(now);
        event(&self.visitor, "requests", &text).await
    }
}

/// What has come of a request, without its prompts.
fn bare(mut entry: Entry) -> Status {
    entry.accepted.spec.prompt = String::new();
    entry.accepted.spec.negative_prompt = String::new();
    entry.into()
}
