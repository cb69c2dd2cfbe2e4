//! Pictures on their way: the latest preview of each run, in memory, for as long as it runs, and what is finished
//! into the store, where there is one.
//!
//! A worker runs one job at a time, so there are never more of them than servers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatch::{RequestId, RunId};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::backends::{BackendError, Painted, Preview};
use crate::journal::{Pictures, Png, Stored};
use crate::worker::Finished;

/// Where pictures of one gateway are seen before and after they are finished.
#[derive(Clone, Default)]
pub(crate) struct Gallery {
    pub(crate) previews: Previews,
    /// None where the journal itself keeps pictures.
    pub(crate) pictures: Option<Arc<dyn Pictures>>,
}

impl Gallery {
    /// Between two tries to keep a picture.
    const AGAIN: Duration = Duration::from_millis(500);

    /// Has a finished picture kept. Its server waits for that, as it would be painted in vain otherwise.
    pub(crate) async fn keep(
        &self,
        run: RunId,
        painted: Painted,
        abort: &CancellationToken,
    ) -> Result<Finished, BackendError> {
        let Painted { png, timing } = painted;
        let Some(pictures) = &self.pictures else {
            return Ok(Finished { png: Png::Here(png), timing });
        };
        // No other picture has this name, not even one of the same run.
        let unique = Uuid::new_v4().simple();
        let name: Arc<str> = format!("{}.{}-{unique}", run.request, run.attempt).into();
        let mut told = false;
        let kept = async {
            while let Err(why) = pictures.keep(&name, png.clone()).await {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%run, why, "a picture cannot be kept yet");
                }
                tokio::time::sleep(Self::AGAIN).await;
            }
        };
        if abort.run_until_cancelled(kept).await.is_none() {
            return Err(BackendError::Cancelled);
        }
        let length = png.len() as u64;
        Ok(Finished { png: Png::Stored(Stored { name, length }), timing })
    }
}

/// The latest previews. Copies share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Previews(Arc<Mutex<HashMap<RequestId, (u32, Preview)>>>);

impl Previews {
    /// A place for those of a run.
    pub(crate) fn of_run(&self, run: RunId) -> Easel {
        Easel { run, previews: self.clone() }
    }

    /// The latest one of a request that runs.
    pub(crate) fn latest(&self, request: RequestId) -> Option<Preview> {
        self.all().get(&request).map(|(_, preview)| preview.clone())
    }

    fn all(&self) -> MutexGuard<'_, HashMap<RequestId, (u32, Preview)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where previews of one run stand. They are gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Easel {
    run: RunId,
    previews: Previews,
}

impl Easel {
    /// Puts one in place of the one before. What an earlier attempt still sends stays behind a later one's.
    pub(crate) fn show(&self, preview: Preview) {
        let RunId { request, attempt } = self.run;
        match self.previews.all().entry(request) {
            Entry::Occupied(other) if other.get().0 > attempt => {}
            Entry::Occupied(mut shown) => drop(shown.insert((attempt, preview))),
            Entry::Vacant(empty) => drop(empty.insert((attempt, preview))),
        }
    }
}

impl Drop for Easel {
    fn drop(&mut self) {
        let RunId { request, attempt } = self.run;
        let mut all = self.previews.all();
        if all.get(&request).is_some_and(|(shown, _)| *shown == attempt) {
            all.remove(&request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(attempt: u32) -> RunId {
        RunId { request: RequestId(uuid::Uuid::nil()), attempt }
    }

    fn preview(last: u8) -> Preview {
        Preview::of(vec![0xff, 0xd8, 0xff, last].into()).unwrap()
    }

    #[test]
    fn the_latest_stays_until_its_run_ends() {
        let previews = Previews::default();
        let latest = || previews.latest(run(1).request);
        let first = previews.of_run(run(1));
        assert_eq!(latest(), None);
        first.show(preview(1));
        first.show(preview(2));
        assert_eq!(latest(), Some(preview(2)));
        let second = previews.of_run(run(2));
        second.show(preview(3));
        // The first attempt has not stopped yet.
        first.show(preview(4));
        assert_eq!(latest(), Some(preview(3)));
        drop(first);
        assert_eq!(latest(), Some(preview(3)));
        drop(second);
        assert_eq!(latest(), None);
        assert!(previews.all().is_empty());
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let previews = Previews::default();
        let shown = std::panic::catch_unwind(|| {
            let easel = previews.of_run(run(1));
            easel.show(preview(1));
            panic!("in an adapter");
        });
        assert!(shown.is_err());
        assert_eq!(previews.latest(run(1).request), None);
    }
}
