//! Group commit: many records, few durable writes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use dispatch::{RequestId, RunId};
use tokio::sync::mpsc;

use super::guard::{Damage, Guard};
use super::{Fate, Journal, Record, Unconfirmed};
use crate::engine::Starts;
use crate::threads::Threads;

/// What the writer tells the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The acceptance is durable: it may be acknowledged.
    Accepted(RequestId),
    /// The owner has used the key before: this is not a new request.
    KeyTaken(RequestId),
    /// The acceptance could not be written: it must not be acknowledged.
    Refused(RequestId, String),
    /// The start is durable: the run may be dispatched.
    Started(RunId),
    /// The end is durable: it may be told.
    Ended(RequestId),
    /// Writing fails; ends are kept and tried again.
    Failing(String),
    /// Writing works again, and nothing is owed.
    Recovered,
    /// The files are not those of the journal any more: nothing will be written again.
    Lost(String),
}

/// The way into the journal.
///
/// Records are written in the order in which they were given. Whatever gathers while one commit is
/// under way goes into the next, so the cost of a durable commit is shared by all who wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    records: mpsc::UnboundedSender<Record>,
}

impl Writer {
    /// Most records of one commit.
    const BATCH: usize = 512;
    /// Pause before what is owed is tried again.
    const RETRY: Duration = Duration::from_millis(100);
    /// How long records that nobody waits for may wait for company.
    const LINGER: Duration = Duration::from_millis(50);

    /// Starts the writer on a thread of its own, and says what has to be run for it. That ends when
    /// all handles are gone and everything is written, or when at that point writing fails. What it
    /// may have written without saying so is in `unconfirmed`.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn start(
        journal: Box<dyn Journal>,
        guard: Arc<Guard>,
        unconfirmed: Unconfirmed,
        starts: Starts,
        report: impl Fn(Report) + Send + 'static,
    ) -> std::io::Result<(Self, impl Future<Output = Result<(), String>> + Send)> {
        let (records, inbox) = mpsc::unbounded_channel();
        let journal = Threads::spawn("journal-writer", vec![journal])?;
        let commit = move |journal: &mut Box<dyn Journal>, batch: &[Record]| match guard
            .commit(|| journal.append(batch))
        {
            Ok(Ok(fates)) => Ok(fates),
            Ok(Err(error)) => Err(Damage::Unseen(error.to_string())),
            Err(damage) => Err(damage),
        };
        Ok((Self { records }, write(journal, commit, inbox, unconfirmed, starts, report)))
    }

    /// Hands in a record. The channel is bounded by what the scheduler admits.
    pub(crate) fn append(&self, record: Record) {
        // A writer that is gone has ended with the gateway.
        let _ = self.records.send(record);
    }
}

async fn write(
    journal: Threads<Box<dyn Journal>>,
    commit: impl Fn(&mut Box<dyn Journal>, &[Record]) -> Result<Vec<Fate>, Damage>
    + Clone
    + Send
    + 'static,
    mut inbox: mpsc::UnboundedReceiver<Record>,
    unconfirmed: Unconfirmed,
    starts: Starts,
    report: impl Fn(Report) + Send,
) -> Result<(), String> {
    let mut owed = Vec::new();
    let mut failing = false;
    loop {
        let mut batch = std::mem::take(&mut owed);
        gather(&mut batch, &mut inbox, starts, failing).await;
        if batch.is_empty() && inbox.is_closed() && inbox.is_empty() {
            journal.finish().await;
            return Ok(());
        }
        for record in &batch {
            if let Record::Accepted(accepted) = record {
                unconfirmed.begin(accepted);
            }
        }
        let commit = commit.clone();
        // The batch comes back with the outcome.
        let written = journal.call(move |journal| (commit(journal, &batch), batch)).await?;
        match written {
            (Ok(fates), batch) => {
                for (record, fate) in batch.iter().zip(fates) {
                    match record {
                        Record::Accepted(accepted) => unconfirmed.settle(accepted.order.id),
                        Record::Withdrawn(id) => unconfirmed.withdraw(*id),
                        _ => {}
                    }
                    told(record, fate).into_iter().for_each(&report);
                }
                if std::mem::take(&mut failing) {
                    tracing::info!("the journal can be written again");
                    report(Report::Recovered);
                }
            }
            (Err(Damage::Unseen(reason)), batch) => {
                if !failing {
                    tracing::error!(%reason, records = batch.len(), "the journal cannot be written");
                }
                failing = true;
                report(Report::Failing(reason.clone()));
                owed = refuse(batch, &reason, &report);
                if inbox.is_closed() && inbox.is_empty() {
                    if !owed.is_empty() {
                        tracing::error!(
                            records = owed.len(),
                            "ends are lost: their requests run again"
                        );
                    }
                    journal.finish().await;
                    return Ok(());
                }
            }
            (Err(Damage::Lost(reason)), batch) => {
                report(Report::Lost(reason.clone()));
                refuse(batch, &reason, &report);
                // What has been accepted is not forgotten: whoever asks is told that the journal
                // is lost, until somebody starts the gateway again.
                while let Some(record) = inbox.recv().await {
                    refuse(vec![record], &reason, &report);
                }
                journal.finish().await;
                return Ok(());
            }
        }
    }
}

/// Waits for records and takes what is there, but no longer than is good for those who wait.
async fn gather(
    batch: &mut Vec<Record>,
    inbox: &mut mpsc::UnboundedReceiver<Record>,
    starts: Starts,
    failing: bool,
) {
    let received = if failing {
        tokio::time::timeout(Writer::RETRY, inbox.recv()).await.unwrap_or(None)
    } else {
        inbox.recv().await
    };
    batch.extend(received);
    while batch.len() < Writer::BATCH
        && let Ok(record) = inbox.try_recv()
    {
        batch.push(record);
    }
    if failing || batch.is_empty() || batch.iter().any(|record| record.is_awaited(starts)) {
        return;
    }
    let company = async {
        while batch.len() < Writer::BATCH
            && let Some(record) = inbox.recv().await
        {
            let awaited = record.is_awaited(starts);
            batch.push(record);
            if awaited {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Writer::LINGER, company).await;
}

fn told(record: &Record, fate: Fate) -> Option<Report> {
    match (record, fate) {
        (Record::Accepted(a), Fate::Written) => Some(Report::Accepted(a.order.id)),
        (Record::Accepted(a), Fate::KeyTaken) => Some(Report::KeyTaken(a.order.id)),
        (Record::Started { id, .. }, _) => Some(Report::Started(*id)),
        (Record::Ended { request, .. }, _) => Some(Report::Ended(*request)),
        _ => None,
    }
}

/// Takes the acceptances out of a batch that failed; the rest is owed. Whether the failed commit
/// reached the disk is not known, so refused acceptances are also taken back.
fn refuse(batch: Vec<Record>, reason: &str, report: &impl Fn(Report)) -> Vec<Record> {
    let mut refused = HashSet::new();
    let mut owed = Vec::new();
    for record in batch {
        match &record {
            Record::Accepted(accepted) => {
                refused.insert(accepted.order.id);
                report(Report::Refused(accepted.order.id, reason.into()));
                owed.push(Record::Withdrawn(accepted.order.id));
            }
            // Predictions of the past, and what comes again: not worth memory while the disk is full.
            Record::Decided { .. } | Record::Clock(_) | Record::Forget { .. } => {}
            Record::Ended { request, .. } if refused.contains(request) => {}
            _ => owed.push(record),
        }
    }
    owed
}
