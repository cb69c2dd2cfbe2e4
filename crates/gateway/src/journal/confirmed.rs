//! An archive that shows only what was confirmed.
//!
//! A commit that reports an error may have reached the disk all the same. Until the request is taken
//! back there, the store has a request whose requester was told that nothing was accepted, and
//! nobody may be told otherwise.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dispatch::RequestId;
use scheduling::Time;

use super::{
    Accepted, Archive, Clocks, CompletedRun, Entry, Filter, JournalError, Kept, Page,
    StoredPicture, Summary, Unfinished, Window,
};

/// Requests that may be in the store, and of which the journal has not said that they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unconfirmed(Arc<Mutex<Requests>>);

#[derive(Debug, Default)]
struct Requests {
    hidden: HashSet<RequestId>,
    /// Those taken back, the latest last. They are gone from the store, but somebody may still hold
    /// what was read before.
    withdrawn: VecDeque<RequestId>,
}

impl Unconfirmed {
    /// Requests taken back that are remembered: more than any read can outlast.
    const WITHDRAWN: usize = 4096;

    /// An acceptance is about to be written.
    pub(super) fn begin(&self, accepted: &Accepted) {
        self.requests().hidden.insert(accepted.order.id);
    }

    /// It is durable, or was certainly never written.
    pub(super) fn settle(&self, id: RequestId) {
        self.requests().hidden.remove(&id);
    }

    /// It was taken back, durably.
    pub(super) fn withdraw(&self, id: RequestId) {
        let mut requests = self.requests();
        requests.withdrawn.push_back(id);
        if requests.withdrawn.len() > Self::WITHDRAWN
            && let Some(old) = requests.withdrawn.pop_front()
        {
            requests.hidden.remove(&old);
        }
    }

    /// What is in the store from now on is accepted: another one has read it there and goes on with it.
    pub(crate) fn forget(&self) {
        *self.requests() = Requests::default();
    }

    fn contains(&self, id: RequestId) -> bool {
        self.requests().hidden.contains(&id)
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An archive without what is unconfirmed.
pub(crate) struct Confirmed<A> {
    archive: A,
    unconfirmed: Unconfirmed,
}

impl<A: Archive> Confirmed<A> {
    /// Hides from the archive what is unconfirmed.
    pub(crate) fn new(archive: A, unconfirmed: Unconfirmed) -> Self {
        Self { archive, unconfirmed }
    }

    // Asked after the store was read: what a commit brings there is hidden from before it begins.
    fn shows(&self, id: RequestId) -> bool {
        !self.unconfirmed.contains(id)
    }
}

impl<A: Archive> Archive for Confirmed<A> {
    fn find(&self, id: RequestId) -> Result<Option<Entry>, JournalError> {
        Ok(self.archive.find(id)?.filter(|_| self.shows(id)))
    }

    fn picture(&self, id: RequestId) -> Result<Kept, JournalError> {
        let kept = self.archive.picture(id)?;
        Ok(if self.shows(id) { kept } else { Kept::Never })
    }

    fn picture_part(
        &self,
        picture: StoredPicture,
        from: u64,
        most: usize,
    ) -> Result<Bytes, JournalError> {
        self.archive.picture_part(picture, from, most)
    }

    fn list(&self, filter: &Filter) -> Result<Page, JournalError> {
        let mut page = self.archive.list(filter)?;
        page.entries.retain(|entry| self.shows(entry.accepted.order.id));
        Ok(page)
    }

    fn by_key(
        &self,
        owner: &str,
        key: &str,
    ) -> Result<Option<(RequestId, [u8; 32])>, JournalError> {
        Ok(self.archive.by_key(owner, key)?.filter(|(id, _)| self.shows(*id)))
    }

    fn unfinished(&self) -> Result<Vec<Unfinished>, JournalError> {
        let mut unfinished = self.archive.unfinished()?;
        unfinished.retain(|open| self.shows(open.accepted.order.id));
        Ok(unfinished)
    }

    fn completed_runs(
        &self,
        server: &str,
        model: Option<&str>,
        most: u32,
    ) -> Result<Vec<CompletedRun>, JournalError> {
        self.archive.completed_runs(server, model, most)
    }

    fn arrivals(&self, most: u32) -> Result<Vec<Accepted>, JournalError> {
        self.archive.arrivals(most)
    }

    fn summaries(&self, window: &Window) -> Result<Vec<Summary>, JournalError> {
        self.archive.summaries(window)
    }

    fn untold(&self) -> Result<Vec<(RequestId, String)>, JournalError> {
        self.archive.untold()
    }

    fn last(&self) -> Result<Time, JournalError> {
        self.archive.last()
    }

    fn clocks(&self) -> Result<Clocks, JournalError> {
        self.archive.clocks()
    }
}
