//! Reading beside everything else, on threads that nothing but reading can fill.

use std::io;
use std::sync::Arc;

use super::{Archive, JournalError, Verdict};
use crate::threads::Threads;

/// What is read. Those who wait for one kind never wait for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// A row or two, which others wait for: how a request stands, who has used a key.
    Lookups,
    /// Parts of pictures.
    Pictures,
    /// Many rows.
    Lists,
}

/// The way to the archive.
pub(crate) struct Reads {
    lookups: Threads<Arc<dyn Archive>>,
    pictures: Threads<Arc<dyn Archive>>,
    lists: Threads<Arc<dyn Archive>>,
    verdict: Verdict,
}

impl Reads {
    /// Threads of each lane.
    const THREADS: usize = 2;

    pub(crate) fn new(archive: &Arc<dyn Archive>, verdict: Verdict) -> io::Result<Self> {
        let lane = || Threads::spawn("journal-reader", vec![archive.clone(); Self::THREADS]);
        Ok(Self { lookups: lane()?, pictures: lane()?, lists: lane()?, verdict })
    }

    /// Reads in a lane.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read or what it says is worth nothing.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        lane: Lane,
        read: impl FnOnce(&dyn Archive) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let threads = match lane {
            Lane::Lookups => &self.lookups,
            Lane::Pictures => &self.pictures,
            Lane::Lists => &self.lists,
        };
        let result = threads.call(move |archive| read(&**archive)).await.map_err(JournalError)?;
        match self.verdict.lost() {
            // Not there is what a file that was put in its place would say, too.
            Some(why) => Err(JournalError(why.into())),
            None => result.inspect_err(|error| tracing::warn!(%error, "a read failed")),
        }
    }
}
