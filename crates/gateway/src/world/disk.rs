//! The disk under the journal: slow, full, or failing between write and sync. A kill takes what was
//! not synced, and may leave behind what had been reported as failed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::nature::{Nature, wall};
use crate::journal::{Fate, Journal, JournalError, Record, Sqlite};
use crate::threads::simulated::Moment;

/// What can be wrong with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Sound,
    /// Commits take seconds.
    Slow,
    /// No space is left.
    Full,
    /// Some writes fail to be synced.
    Failing,
}

/// A disk that is broken on purpose, to see whether the checker finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// It says that it has synced, and syncs later.
    Early,
    /// It also says so to the checker.
    Hidden,
}

/// The state of the disk.
pub(super) struct Drive {
    pub(super) condition: Condition,
    pub(super) lie: Option<Lie>,
    /// Whether the process dies in some commits.
    pub(super) deadly: bool,
    folder: PathBuf,
    /// Written, reported as failed, and not overwritten since.
    ghost: Option<Vec<Record>>,
    /// Commits since the last sync of a disk that lies.
    unsynced: Vec<Vec<Record>>,
}

/// What becomes of a commit.
enum Commit {
    Done,
    Full,
    /// Nothing of it is on the disk, or it is there and not seen before a restart.
    NotSynced {
        ghost: bool,
    },
    /// It is on the disk, and an error is reported all the same.
    Doubtful,
    /// The process dies before it, or while it is synced, or before anybody hears of it.
    Killed {
        written: bool,
        synced: bool,
    },
}

impl Drive {
    /// Commits after which a disk that lies syncs.
    const LATE: usize = 8;

    pub(super) fn new(folder: PathBuf) -> Self {
        let condition = Condition::Sound;
        Self { condition, lie: None, deadly: false, folder, ghost: None, unsynced: Vec::new() }
    }

    fn journal(&self) -> PathBuf {
        self.folder.join("journal.db")
    }

    fn copies(&self) -> [(PathBuf, PathBuf); 2] {
        ["journal.db", "journal.db-wal"].map(|name| {
            let copy = format!("synced-{name}");
            (self.folder.join(name), self.folder.join(copy))
        })
    }
}

/// How long a call to the journal's threads takes.
pub(super) fn delay(nature: &Nature, threads: &str, moment: Moment) -> Duration {
    /// For ever, as lives go.
    const NEVER: Duration = Duration::from_secs(1_000_000);
    let mut state = nature.state();
    if state.dead {
        return NEVER;
    }
    let writes = threads == "journal-writer";
    if state.peace || !(writes || state.chance(0.02)) {
        return Duration::ZERO;
    }
    let slow = state.drive.condition == Condition::Slow;
    let most = if writes && slow { 4_000.0 } else { 20.0 };
    let milliseconds = state.dice.between(0.0, most) as u64;
    // A kill finds commits at every moment of theirs.
    if writes && moment == Moment::After && state.drive.deadly && state.fault(0.01) {
        state.die();
        return NEVER;
    }
    Duration::from_millis(milliseconds)
}

/// The journal on this disk.
pub(super) struct Disk {
    pub(super) sqlite: Sqlite,
    pub(super) nature: Nature,
}

impl Journal for Disk {
    fn append(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError> {
        let error = |what: &str| Err(JournalError(what.into()));
        let commit = self.draw(batch);
        match commit {
            Commit::Done => {
                self.nature.state().drive.ghost = None;
                self.write(batch)
            }
            Commit::Full => error("no space left on the device"),
            Commit::NotSynced { ghost } => {
                self.nature.state().drive.ghost = ghost.then(|| batch.to_vec());
                error("input/output error")
            }
            Commit::Doubtful => {
                self.nature.state().drive.ghost = None;
                self.write(batch)?;
                let mut state = self.nature.state();
                for record in batch {
                    if let Record::Accepted(accepted) = record {
                        state.checker.doubtful(&accepted.order.id.to_string());
                    }
                }
                error("input/output error")
            }
            Commit::Killed { written, synced } => {
                if synced {
                    self.write(batch)?;
                }
                let mut state = self.nature.state();
                state.drive.ghost = (written && !synced).then(|| batch.to_vec());
                state.die();
                drop(state);
                error("nobody hears this")
            }
        }
    }
}

impl Disk {
    fn draw(&self, batch: &[Record]) -> Commit {
        let mut state = self.nature.state();
        if state.dead {
            return Commit::Full;
        }
        for record in batch {
            if let Record::Ended { request, .. } = record {
                state.checker.end_written(&request.to_string());
            }
        }
        let records = batch.len();
        if state.drive.deadly && state.fault(0.01) {
            let (written, synced) =
                [(false, false), (true, false), (true, true)][state.dice.below(3)];
            state.note(&format!("killed in a commit of {records}: {written} {synced}"));
            return Commit::Killed { written, synced };
        }
        let commit = match state.drive.condition {
            Condition::Sound | Condition::Slow => Commit::Done,
            Condition::Full => Commit::Full,
            Condition::Failing => match state.dice.below(4) {
                0 => Commit::Done,
                1 => Commit::NotSynced { ghost: false },
                2 => Commit::NotSynced { ghost: true },
                _ => Commit::Doubtful,
            },
        };
        let kind = match commit {
            Commit::Done => "done",
            Commit::Full => "full",
            Commit::Doubtful => "doubtful",
            _ => "not synced",
        };
        state.note(&format!("commit of {records}: {kind}"));
        commit
    }

    /// Writes and, if the disk is honest, syncs.
    fn write(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError> {
        let lie = self.nature.state().drive.lie;
        if lie.is_some() && self.nature.state().drive.unsynced.is_empty() {
            for (file, copy) in self.nature.state().drive.copies() {
                std::fs::copy(file, copy).map_err(|e| JournalError(e.to_string()))?;
            }
        }
        let fates = self.sqlite.append(batch)?;
        let mut state = self.nature.state();
        if lie.is_some() {
            state.drive.unsynced.push(batch.to_vec());
            if state.drive.unsynced.len() >= Drive::LATE {
                for batch in std::mem::take(&mut state.drive.unsynced) {
                    tell(&mut state, &batch);
                }
            }
        }
        if lie != Some(Lie::Early) {
            let written = batch.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Written);
            let written: Vec<_> = written.map(|(record, _)| record.clone()).collect();
            tell(&mut state, &written);
        }
        Ok(fates)
    }
}

/// Tells the checker what is synced.
fn tell(state: &mut super::nature::State, batch: &[Record]) {
    for record in batch {
        match record {
            Record::Accepted(accepted) => state.checker.synced(&accepted.order.id.to_string()),
            Record::Withdrawn(id) => state.checker.withdrawn(&id.to_string()),
            Record::Ended { request, .. } => state.checker.end_synced(&request.to_string()),
            _ => {}
        }
    }
}

/// The process is gone: what was not synced is lost, and what had failed may be there.
pub(super) fn after_a_kill(nature: &Nature) {
    let mut state = nature.state();
    if !std::mem::take(&mut state.drive.unsynced).is_empty() {
        for (file, copy) in state.drive.copies() {
            std::fs::copy(copy, file).expect("the disk of the test works");
        }
        let _ = std::fs::remove_file(beside(&state.drive.journal(), "-shm"));
    }
    let ghost = state.drive.ghost.take();
    let Some(ghost) = ghost.filter(|_| state.chance(0.5)) else { return };
    let mut sqlite = Sqlite::open(&state.drive.journal(), wall()).expect("it was closed");
    let fates = sqlite.append(&ghost).expect("the disk of the test works");
    for (record, fate) in ghost.iter().zip(fates) {
        if let (Record::Accepted(accepted), Fate::Written) = (record, fate) {
            state.checker.resurrected(&accepted.order.id.to_string());
        }
    }
    tell(&mut state, &ghost);
    state.note("what had failed is there");
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
