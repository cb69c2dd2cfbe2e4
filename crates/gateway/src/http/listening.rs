//! What streams of events have in common: what they look at every so often, and changes that they hear of.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::auth::Visitor;
use super::servers::Servers;
use super::sse;
use crate::engine::Change;
use crate::handle::{Handle, Unavailable};

/// Something that is done every so often.
pub(super) struct Pace {
    every: Duration,
    next: Instant,
}

impl Pace {
    /// It is done at once, and then at this pace.
    pub(super) fn every(every: Duration) -> Self {
        Self { every, next: Instant::now() }
    }

    /// When it is done next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Whether it is time, which is then used.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.next <= now;
        if due {
            self.next = now + self.every;
        }
        due
    }
}

/// What is told, as it is sent.
pub(super) fn json(view: &impl Serialize) -> String {
    serde_json::to_string(view).expect("views are plain data")
}

/// Something that is looked at every so often, and told when it says something else than it did.
pub(super) struct Look {
    pub(super) pace: Pace,
    told: String,
}

impl Look {
    /// It is looked at at once, and then at this pace.
    pub(super) fn every(every: Duration) -> Self {
        Self { pace: Pace::every(every), told: String::new() }
    }

    /// Whether this is not what was told last. Then it is from now on.
    pub(super) fn differs(&mut self, text: &str) -> bool {
        let differs = self.told != text;
        if differs {
            text.clone_into(&mut self.told);
        }
        differs
    }

    /// The servers, if they have changed.
    pub(super) async fn at_servers(
        &mut self,
        handle: &Handle,
        visitor: &Visitor,
    ) -> Result<Option<Bytes>, Unavailable> {
        let views = handle.servers().await?;
        let text = json(&Servers::new(views, visitor.role));
        Ok(if self.differs(&text) { Some(event(visitor, "servers", &text).await) } else { None })
    }
}

/// An event, as soon as there is room for it.
pub(super) async fn event(visitor: &Visitor, name: &str, data: &str) -> Bytes {
    let room = visitor.budget.wait(data.len()).await;
    room.carry(sse::event(name, data))
}

/// Somebody who hears of changes.
pub(super) struct Ear {
    changes: broadcast::Receiver<Change>,
    missed: watch::Receiver<()>,
    gather: Duration,
}

/// What was heard.
pub(super) enum Heard {
    /// These, in order.
    Changes(Vec<Change>),
    /// Nothing until then.
    Nothing,
    /// More than could be told one by one.
    TooMuch,
    /// The gateway stops.
    End,
}

impl Ear {
    /// Changes from now on. Those that come within so much time after one are heard together with it.
    pub(super) fn new(handle: &Handle, gather: Duration) -> Self {
        let mut missed = handle.missed.clone();
        missed.mark_unchanged();
        Self { changes: handle.changes.subscribe(), missed, gather }
    }

    /// Listens until something changes, but no longer than until then.
    pub(super) async fn until(&mut self, then: Instant) -> Heard {
        let first = tokio::select! {
            first = self.changes.recv() => first,
            // Where nobody ever tells, none are missed.
            Ok(()) = self.missed.changed() => return Heard::TooMuch,
            () = tokio::time::sleep_until(then) => return Heard::Nothing,
        };
        let mut changes = match first {
            Ok(change) => vec![change],
            Err(RecvError::Lagged(_)) => return Heard::TooMuch,
            Err(RecvError::Closed) => return Heard::End,
        };
        tokio::time::sleep(self.gather).await;
        loop {
            match self.changes.try_recv() {
                Ok(change) => changes.push(change),
                Err(TryRecvError::Lagged(_)) => return Heard::TooMuch,
                // If the gateway stops, that is heard next.
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Heard::Changes(changes),
            }
        }
    }
}
