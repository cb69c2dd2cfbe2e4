//! A journal that is a replica of a log, of which several machines have one: the one that leads appends,
//! the others follow.
//!
//! The log is a row of messages, each with a sequence. Whoever appends says behind which message, and the log
//! takes nothing where another one is there already: that is the fence. Whoever leads has said so in a message
//! ([`Says::Leads`]), whose sequence is its epoch. From then on whoever led before can append nothing any more,
//! however long it slept and whatever it believes.
//!
//! Every message holds the hash of the one before it, so that a replica and a log that are not of one piece are
//! found out ([`ReplicaError`]). What became of an append that nobody answered is read from the log itself.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::{OptionalExtension as _, Transaction, params};
use scheduling::message::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::guard::Damage;
use super::{Clock, Fate, Journal, JournalError, Record, Sqlite};

/// Where messages are kept for all replicas. Calls block for about a second at most.
pub trait Log: Send + 'static {
    /// Appends a message behind the one at `last`, if that is the latest, and says at which sequence it is.
    ///
    /// # Errors
    /// [`LogError`]
    fn append(&mut self, last: u64, message: &[u8]) -> Result<u64, LogError>;

    /// The message at a sequence; none if the log ends before it.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&mut self, sequence: u64) -> Result<Option<Vec<u8>>, String>;
}

/// Why a message was not appended, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogError {
    /// Another message is the latest.
    #[error("another message is behind it")]
    Taken,
    /// It may have been appended, or may still be.
    #[error("{0}")]
    Unknown(String),
}

/// A message of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Its own name, by which its author knows it again.
    pub id: Uuid,
    /// Hash of the message before.
    pub previous: String,
    /// Sequence at which its author began to lead; 0 of a message that says so itself.
    pub epoch: u64,
    /// What it says.
    pub says: Says,
}

/// What a message says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// Its author leads from here on.
    Leads {
        /// Its name.
        name: String,
        /// Its clocks.
        clock: Clock,
    },
    /// This has happened.
    Records(Vec<Record>),
}

impl Message {
    fn bytes(&self) -> Result<Vec<u8>, JournalError> {
        serde_json::to_vec(self).map_err(|error| JournalError(error.to_string()))
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

/// Whether somebody else leads; copies share it.
pub type Deposed = CancellationToken;

/// The log and the replica do not go together.
#[derive(Debug, Error)]
pub enum ReplicaError {
    /// The replica cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A message is not what must be there.
    #[error(
        "the log does not go on from this journal: message {sequence} {problem}; see `atelier cluster repair`"
    )]
    Broken {
        /// Of the message.
        sequence: u64,
        /// What is wrong with it.
        problem: String,
    },
}

/// A journal in SQLite that follows a log.
pub struct Replica {
    sqlite: Sqlite,
    place: Place,
}

/// How far a replica has followed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    sequence: u64,
    hash: [u8; 32],
    epoch: u64,
}

impl Replica {
    /// Opens the journal at `path` to follow a log, or starts one.
    ///
    /// # Errors
    /// [`JournalError`], also if it holds requests that are of no log.
    pub fn open(path: &Path, now: f64) -> Result<Self, JournalError> {
        let sqlite = Sqlite::open(path, now)?;
        // What a power loss takes of it the log still has; whoever leads opens it with full synchronisation.
        sqlite.connection.pragma_update(None, "synchronous", "NORMAL")?;
        Self::of(sqlite)
    }

    /// An open journal as a replica.
    ///
    /// # Errors
    /// [`JournalError`] as for [`Replica::open`].
    pub fn of(sqlite: Sqlite) -> Result<Self, JournalError> {
        let place = place(&sqlite)?;
        let empty = || -> rusqlite::Result<bool> {
            sqlite
                .connection
                .query_row("SELECT NOT EXISTS (SELECT * FROM requests)", [], |r| r.get(0))
        };
        if place.is_none() && !empty()? {
            return Err(JournalError(format!(
                "{} has requests of a gateway that stood alone: a cluster needs a journal of its own, so write \
                 another path as `journal`",
                sqlite.path().display()
            )));
        }
        let place = place.unwrap_or(Place { sequence: 0, hash: [0; 32], epoch: 0 });
        Ok(Self { sqlite, place })
    }

    /// Sequence of the latest message that is in it.
    pub fn sequence(&self) -> u64 {
        self.place.sequence
    }

    /// Sequence at which the latest leader began that it knows of.
    pub fn epoch(&self) -> u64 {
        self.place.epoch
    }

    /// Whether this is the latest message that is in it.
    pub fn ends_with(&self, message: &[u8]) -> bool {
        self.place.hash == <[u8; 32]>::from(Sha256::digest(message))
    }

    /// Takes in messages of the log that follow one another, all of them or none, and says what became of their
    /// records.
    ///
    /// # Errors
    /// [`ReplicaError`]
    pub fn apply(&mut self, messages: &[(u64, Vec<u8>)]) -> Result<Vec<Fate>, ReplicaError> {
        let (mut place, mut records, mut first) = (self.place.clone(), Vec::new(), None);
        for (sequence, bytes) in messages {
            let broken = |problem| ReplicaError::Broken { sequence: *sequence, problem };
            let message = place.follow(*sequence, bytes).map_err(broken)?;
            match message.says {
                Says::Records(said) => records.extend(said),
                Says::Leads { clock, .. } => {
                    // All replicas reckon from the first moment of the log.
                    first = first.or((*sequence == 1).then_some(clock));
                    records.push(Record::Clock(clock));
                }
            }
        }
        let guard = self.sqlite.guard();
        let written = guard.commit(|| {
            self.sqlite.commit(&records, |transaction| {
                first.iter().try_for_each(|clock| begin(transaction, clock))?;
                place.write(transaction)
            })
        });
        let fates = written.map_err(|damage| match damage {
            Damage::Unseen(why) | Damage::Lost(why) => JournalError(why),
        })??;
        self.place = place;
        Ok(fates)
    }

    /// Says that this one leads from here on. False if the log has gone on meanwhile, or nobody knows: then it is
    /// to be followed before this is tried again.
    ///
    /// # Errors
    /// [`ReplicaError`]
    pub fn lead(
        &mut self,
        log: &mut dyn Log,
        name: &str,
        clock: Clock,
    ) -> Result<bool, ReplicaError> {
        let says = Says::Leads { name: name.into(), clock };
        let message = self.place.message(0, says).bytes()?;
        match log.append(self.place.sequence, &message) {
            Ok(sequence) => self.apply(&[(sequence, message)]).map(|_| true),
            // Should it be there all the same, the next one that leads follows it.
            Err(LogError::Taken | LogError::Unknown(_)) => Ok(false),
        }
    }
}

impl Place {
    fn message(&self, epoch: u64, says: Says) -> Message {
        Message { id: Uuid::new_v4(), previous: hex(&self.hash), epoch, says }
    }

    /// Goes one message on, if that is one that may follow.
    fn follow(&mut self, sequence: u64, bytes: &[u8]) -> Result<Message, String> {
        if sequence != self.sequence + 1 {
            return Err(format!("is the next one, and {} is the latest in here", self.sequence));
        }
        let message = Message::read(bytes).map_err(|e| format!("is not understood: {e}"))?;
        if message.previous != hex(&self.hash) {
            return Err("does not have the hash of the one before".into());
        }
        let epoch = match message.says {
            Says::Leads { .. } => sequence,
            Says::Records(_) if message.epoch == self.epoch => self.epoch,
            Says::Records(_) => {
                let (wrote, leads) = (message.epoch, self.epoch);
                return Err(format!("is of epoch {wrote}, and {leads} leads"));
            }
        };
        *self = Self { sequence, hash: Sha256::digest(bytes).into(), epoch };
        Ok(message)
    }

    fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO log VALUES (1, ?1, ?2, ?3)")?
            .execute(params![self.sequence.cast_signed(), self.hash, self.epoch.cast_signed()])
            .map(drop)
    }
}

/// How far a journal has followed; none if it follows no log.
fn place(sqlite: &Sqlite) -> Result<Option<Place>, JournalError> {
    let row = sqlite
        .connection
        .query_row("SELECT sequence, hash, epoch FROM log", [], |r| {
            let whole = |column| r.get(column).map(i64::cast_unsigned);
            Ok(Place { sequence: whole(0)?, hash: r.get(1)?, epoch: whole(2)? })
        })
        .optional()?;
    Ok(row)
}

/// Time begins with the first message of the log.
fn begin(transaction: &Transaction<'_>, clock: &Clock) -> rusqlite::Result<()> {
    let moment = clock.moment;
    for (key, value) in [
        ("origin", moment.wall - moment.time.seconds()),
        ("furthest_time", moment.time.seconds()),
        ("furthest_wall", moment.wall),
    ] {
        transaction.execute("UPDATE gateway SET value = ?2 WHERE key = ?1", params![key, value])?;
    }
    Ok(())
}

impl Sqlite {
    /// As the journal of a gateway that stands alone.
    ///
    /// # Errors
    /// [`JournalError`] if it follows a log: what was written here would be nowhere else.
    pub fn alone(self) -> Result<Self, JournalError> {
        match place(&self)? {
            None => Ok(self),
            Some(_) => Err(JournalError(format!(
                "{} is the journal of a cluster: start it with the [cluster] of the configuration, or write \
                 another path as `journal`",
                self.path().display()
            ))),
        }
    }
}

/// Copies a replica as it stands, while others write it, and says how far the copy is.
///
/// # Errors
/// [`JournalError`], also if there is something at `into` already.
pub fn snapshot(journal: &Path, into: &Path) -> Result<u64, JournalError> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = super::open::connect(journal, flags)?;
    connection.execute("VACUUM INTO ?1", [into.to_string_lossy()])?;
    let copy = super::open::connect(into, flags)?;
    let sequence =
        copy.query_row("SELECT sequence FROM log", [], |r| r.get(0).map(i64::cast_unsigned));
    Ok(sequence?)
}

/// The journal of the gateway that leads: first the log, then the replica.
pub struct Replicated<L> {
    replica: Replica,
    log: L,
    /// Messages of which nobody knows whether they are in the log.
    doubtful: HashSet<Uuid>,
    deposed: Deposed,
    /// Tells the sequence of the latest message that is in the replica.
    reached: watch::Sender<u64>,
}

/// What came of an append.
enum Appended {
    Done(Vec<Fate>),
    Unknown(String),
    Deposed,
}

impl<L: Log> Replicated<L> {
    /// Most bytes of records in one message, unless a single record has more.
    const MOST: usize = 500_000;
    /// Most bytes of one message: the brokers take no more, however often it is tried.
    const LONGEST: usize = 7_500_000;
    /// How often an append is tried whose answer is not known.
    const TRIES: u32 = 4;

    /// Of a replica that leads. Says when it does not any more, and how far it is.
    pub fn new(replica: Replica, log: L, deposed: Deposed, reached: watch::Sender<u64>) -> Self {
        Self { replica, log, doubtful: HashSet::new(), deposed, reached }
    }

    /// Appends a message, and finds out what became of that.
    fn commit(&mut self, records: &[Record]) -> Result<Appended, ReplicaError> {
        let mut why = String::new();
        let mut message = match self.message(records) {
            Ok(message) => message,
            Err(JournalError(why)) => return Ok(Appended::Unknown(why)),
        };
        for _ in 0..Self::TRIES {
            let last = self.replica.place.sequence;
            match self.log.append(last, &message) {
                Ok(sequence) => return self.applied(sequence, message).map(Appended::Done),
                Err(error) => why = error.to_string(),
            }
            match self.log.read(last + 1) {
                Ok(Some(found)) if found == message => {
                    return self.applied(last + 1, found).map(Appended::Done);
                }
                Ok(Some(found)) if self.is_doubtful(&found) => {
                    // What it accepted was taken back, which a later message says.
                    self.replica.apply(&[(last + 1, found)])?;
                    message = self.message(records)?;
                }
                Ok(Some(_)) => return Ok(Appended::Deposed),
                Ok(None) => {}
                Err(error) => why = error,
            }
        }
        Ok(Appended::Unknown(why))
    }

    /// The next message, of which nobody knows for now whether it will be in the log.
    fn message(&mut self, records: &[Record]) -> Result<Vec<u8>, JournalError> {
        let place = &self.replica.place;
        let message = place.message(place.epoch, Says::Records(records.to_vec()));
        let bytes = message.bytes()?;
        if bytes.len() > Self::LONGEST {
            let (length, most) = (bytes.len(), Self::LONGEST);
            return Err(JournalError(format!("a record of {length} bytes: allowed is {most}")));
        }
        self.doubtful.insert(message.id);
        Ok(bytes)
    }

    fn is_doubtful(&self, found: &[u8]) -> bool {
        Message::read(found).is_ok_and(|message| self.doubtful.contains(&message.id))
    }

    fn applied(&mut self, at: u64, message: Vec<u8>) -> Result<Vec<Fate>, ReplicaError> {
        let fates = self.replica.apply(&[(at, message)])?;
        // All others were to stand where something else stands now.
        self.doubtful.clear();
        self.reached.send_replace(at);
        Ok(fates)
    }
}

impl<L: Log> Journal for Replicated<L> {
    fn append(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError> {
        let mut fates = Vec::with_capacity(batch.len());
        for part in parts(batch, Self::MOST) {
            let no_more = |why: String| JournalError(format!("the log of the cluster: {why}"));
            if self.deposed.is_cancelled() {
                return Err(no_more("another one leads".into()));
            }
            match self.commit(part) {
                Ok(Appended::Done(done)) => fates.extend(done),
                Ok(Appended::Unknown(why)) => return Err(no_more(why)),
                Ok(Appended::Deposed) => {
                    self.deposed.cancel();
                    return Err(no_more("another one leads".into()));
                }
                Err(ReplicaError::Journal(error)) => {
                    // It is in the log and not in here: only following the log anew puts that right.
                    self.deposed.cancel();
                    return Err(error);
                }
                Err(error @ ReplicaError::Broken { .. }) => {
                    tracing::error!(%error, "this one leads no more");
                    self.deposed.cancel();
                    return Err(no_more(error.to_string()));
                }
            }
        }
        Ok(fates)
    }
}

/// A batch in parts of so many bytes at most; a record that has more is a part of its own. One part at least.
fn parts(batch: &[Record], most: usize) -> Vec<&[Record]> {
    let mut parts = Vec::new();
    let (mut begin, mut held) = (0, 0);
    for (index, record) in batch.iter().enumerate() {
        let bytes = serde_json::to_vec(record).map_or(0, |json| json.len());
        if index > begin && held + bytes > most {
            parts.push(&batch[begin..index]);
            (begin, held) = (index, 0);
        }
        held += bytes;
    }
    parts.push(&batch[begin..]);
    parts
}
