//! What belongs to one key: who it is, and how much it may have under way.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use dispatch::Owner;
use scheduling::Seconds;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::{Budget, Purse};
use super::problem::Problem;
use super::rate::Rate;
use crate::config::{Config, LimitsConfig};

/// What somebody may do and see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Runs the place: may change it, and sees what servers say.
    Operator,
    /// Makes requests.
    Requester,
}

/// Somebody with a key, or everybody where there are none.
pub(crate) struct Account {
    pub(crate) owner: Owner,
    pub(crate) role: Role,
    pub(crate) rate: Rate,
    pub(crate) budget: Budget,
    /// Reads of the journal that may wait for it at once.
    turns: Semaphore,
    /// Answers that may be held open.
    streams: Arc<Semaphore>,
    most_streams: usize,
}

impl Account {
    /// Reads of the journal at once; each is short, and with so few nobody fills the queue.
    const TURNS: usize = 2;
    /// Longest time that an answer waits for its first read.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// An account whose bytes are taken from those of all as well.
    pub(crate) fn new(
        owner: Owner,
        role: Role,
        per_minute: Option<u32>,
        config: &Config,
        all: Purse,
    ) -> Self {
        let limits = &config.limits;
        let own = Purse::new(limits.bytes_under_way_per_key.min(limits.bytes_under_way));
        let most_streams = limits.streams_of_a_key(config.keys.len());
        Self {
            owner,
            role,
            rate: Rate::new(per_minute),
            budget: Budget::new(own, all),
            turns: Semaphore::new(Self::TURNS),
            streams: Arc::new(Semaphore::new(most_streams)),
            most_streams,
        }
    }

    /// Whether it is the same somebody.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        self.owner == other.owner
    }

    /// Whether the same is allowed.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.role == other.role
            && self.rate.is_like(&other.rate)
            && self.budget.is_like(&other.budget)
            && self.most_streams == other.most_streams
    }

    /// Only for those who run the place.
    pub(crate) fn operate(&self) -> Result<(), Problem> {
        if self.role == Role::Operator {
            return Ok(());
        }
        let detail = "this key may not operate servers: its configuration has no `operator = true`";
        Err(Problem::new(StatusCode::FORBIDDEN, "not_an_operator", detail))
    }

    /// Waits for its turn to read the journal, before an answer has begun.
    ///
    /// # Errors
    /// 429 if too many of the key's reads are before it.
    pub(crate) async fn first_turn(&self) -> Result<Turn<'_>, Problem> {
        let turn = tokio::time::timeout(Self::PATIENCE, self.turn()).await;
        turn.map_err(|_| {
            let detail = "too many of this key's requests and lists are being read at once";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_reads", detail);
            problem.after(Seconds::of(1.0))
        })
    }

    /// Waits for its turn to read the journal.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn { _permit: self.turns.acquire().await.expect("it is never closed") }
    }

    /// Answers that are held open.
    pub(crate) fn streams_held(&self) -> usize {
        self.most_streams.saturating_sub(self.streams.available_permits())
    }

    /// An answer that is held open: events, or the end of a request.
    ///
    /// # Errors
    /// 429 if the key has too many of them.
    pub(crate) fn open_stream(&self) -> Result<Stream, Problem> {
        let permit = self.streams.clone().try_acquire_owned();
        permit.map(|permit| Stream { _permit: permit }).map_err(|_| {
            let most = self.most_streams;
            let detail = format!("this key has {most} answers held open, and more is not allowed");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", detail);
            problem.after(Seconds::of(5.0))
        })
    }
}

/// Somebody's turn to read the journal.
#[must_use]
pub(crate) struct Turn<'a> {
    _permit: tokio::sync::SemaphorePermit<'a>,
}

/// An answer that is held open.
#[must_use]
pub(crate) struct Stream {
    _permit: OwnedSemaphorePermit,
}

impl LimitsConfig {
    /// Connections that one key may have in use, of so many keys.
    pub(crate) fn connections_of_a_key(&self, keys: usize) -> usize {
        let unless_told = if keys > 1 { self.connections / 4 } else { self.connections };
        self.connections_per_key.unwrap_or(unless_told).clamp(1, self.connections) as usize
    }

    /// Answers that one key may hold open: half of its connections, so that it can still ask.
    fn streams_of_a_key(&self, keys: usize) -> usize {
        let unless_told = (self.connections_of_a_key(keys) / 2).max(1);
        self.streams_per_key.map_or(unless_told, |streams| streams as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(extra: &str) -> Account {
        let text = format!(
            "[[server]]\nname = \"a\"\nsteps_per_second = 1.0\nbackend = {{ kind = \"demo\" }}\n{extra}"
        );
        let config = Config::parse("x.toml", &text).unwrap();
        Account::new("ann".into(), Role::Requester, None, &config, Purse::new(u32::MAX))
    }

    #[test]
    fn a_key_among_others_has_a_quarter_of_the_connections_and_half_of_that_for_streams() {
        let limits = LimitsConfig::default();
        assert_eq!((limits.connections_of_a_key(0), limits.streams_of_a_key(0)), (1024, 512));
        assert_eq!((limits.connections_of_a_key(1), limits.streams_of_a_key(1)), (1024, 512));
        assert_eq!((limits.connections_of_a_key(2), limits.streams_of_a_key(2)), (256, 128));
        let few = LimitsConfig { connections: 2, ..limits };
        assert_eq!((few.connections_of_a_key(9), few.streams_of_a_key(9)), (1, 1));
    }

    #[test]
    fn streams_are_bounded_and_come_free_again() {
        let account = account("[limits]\nstreams_per_key = 2\n");
        let open = [account.open_stream().unwrap(), account.open_stream().unwrap()];
        let refused = account.open_stream().err().unwrap();
        assert_eq!((refused.status.as_u16(), refused.reason), (429, "too_many_streams"));
        assert!(refused.detail.contains('2') && refused.retry_after.is_some());
        drop(open);
        drop(account.open_stream().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn reads_take_turns_and_say_so_when_there_are_too_many() {
        let account = account("");
        let first = account.first_turn().await.unwrap();
        let second = account.turn().await;
        let refused = account.first_turn().await.err().unwrap();
        assert_eq!((refused.status.as_u16(), refused.reason), (429, "too_many_reads"));
        drop(first);
        drop((account.first_turn().await.unwrap(), second));
    }
}
