//! Group commit: many records, few durable writes.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Fate, Journal, Record};
use crate::scheduler::RequestId;

/// What the writer tells the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The acceptance is durable: it may be acknowledged.
    Accepted(RequestId),
    /// The owner has used the key before: this is not a new request.
    KeyTaken(RequestId),
    /// The acceptance could not be written: it must not be acknowledged.
    Refused(RequestId, String),
    /// The end is durable: it may be told.
    Ended(RequestId),
    /// Writing fails; ends are kept and tried again.
    Failing(String),
    /// Writing works again, and nothing is owed.
    Recovered,
}

/// The way into the journal.
///
/// Records are written in the order in which they were given. Whatever gathers while one commit is
/// under way goes into the next, so the cost of a durable commit is shared by all who wait for it.
#[derive(Clone, Debug)]
pub struct Writer {
    records: mpsc::UnboundedSender<Record>,
}

impl Writer {
    /// Most records of one commit.
    const BATCH: usize = 512;
    /// Pause before what is owed is tried again.
    const RETRY: Duration = Duration::from_millis(500);
    /// How long records that nobody waits for may wait for company.
    const LINGER: Duration = Duration::from_millis(50);

    /// Starts the writer. It ends when all handles are gone and everything is written, or when at
    /// that point writing fails.
    pub fn spawn(
        journal: Box<dyn Journal>,
        report: impl Fn(Report) + Send + 'static,
    ) -> (Self, JoinHandle<()>) {
        let (records, inbox) = mpsc::unbounded_channel();
        (Self { records }, tokio::spawn(write(journal, inbox, report)))
    }

    /// Hands in a record. The channel is bounded by what the scheduler admits.
    pub fn append(&self, record: Record) {
        // A writer that is gone has ended with the gateway.
        let _ = self.records.send(record);
    }
}

async fn write(
    mut journal: Box<dyn Journal>,
    mut inbox: mpsc::UnboundedReceiver<Record>,
    report: impl Fn(Report),
) {
    let mut owed = Vec::new();
    loop {
        let mut batch = std::mem::take(&mut owed);
        let failing = !batch.is_empty();
        let received = if failing {
            let wait = tokio::time::timeout(Writer::RETRY, inbox.recv()).await;
            wait.unwrap_or(None)
        } else {
            inbox.recv().await
        };
        batch.extend(received);
        while batch.len() < Writer::BATCH
            && let Ok(record) = inbox.try_recv()
        {
            batch.push(record);
        }
        if batch.is_empty() {
            return;
        }
        if !failing && !batch.iter().any(Record::is_awaited) {
            let company = async {
                while batch.len() < Writer::BATCH
                    && let Some(record) = inbox.recv().await
                {
                    let awaited = record.is_awaited();
                    batch.push(record);
                    if awaited {
                        break;
                    }
                }
            };
            let _ = tokio::time::timeout(Writer::LINGER, company).await;
        }
        // On a thread that may block; the batch comes back with the outcome.
        let written = tokio::task::spawn_blocking(move || {
            let fates = journal.append(&batch);
            (journal, batch, fates)
        });
        let Ok((returned, batch, fates)) = written.await else { return };
        journal = returned;
        match fates {
            Ok(fates) => {
                batch.iter().zip(fates).filter_map(told).for_each(&report);
                if failing {
                    report(Report::Recovered);
                }
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(%reason, records = batch.len(), "the journal cannot be written");
                report(Report::Failing(reason.clone()));
                owed = refuse(batch, &reason, &report);
                if inbox.is_closed() && inbox.is_empty() {
                    tracing::error!(
                        records = owed.len(),
                        "ends are lost: their requests run again"
                    );
                    return;
                }
            }
        }
    }
}

fn told((record, fate): (&Record, Fate)) -> Option<Report> {
    match (record, fate) {
        (Record::Accepted(a), Fate::Written) => Some(Report::Accepted(a.order.id)),
        (Record::Accepted(a), Fate::KeyTaken) => Some(Report::KeyTaken(a.order.id)),
        (Record::Ended { end, .. }, _) => Some(Report::Ended(end.request)),
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
            // Predictions of the past: not worth memory while the disk is full.
            Record::Decided { .. } | Record::Forget { .. } => {}
            Record::Ended { end, .. } if refused.contains(&end.request) => {}
            _ => owed.push(record),
        }
    }
    owed
}
