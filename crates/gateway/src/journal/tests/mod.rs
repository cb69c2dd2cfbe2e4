mod damage;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use scheduling::{Decision, Execution, Request, Seconds, Steps, TardinessPenalty};

use super::*;
use crate::scheduler::{Cause, Decided, End, Order, Outcome, Quote, Run, RunId, StepBounds};

fn at(seconds: f64) -> Time {
    Time::new(seconds).unwrap()
}

fn id(n: u128) -> RequestId {
    RequestId(uuid::Uuid::from_u128(n))
}

fn steps(n: u32) -> Steps {
    Steps::new(n).unwrap()
}

fn accepted(n: u128, prompt: &str, key: Option<&str>) -> Arc<Accepted> {
    Arc::new(Accepted {
        order: Order {
            id: id(n),
            owner: "ann".into(),
            request: Request {
                arrival: at(0.1 + 0.2),
                due: at(12.5),
                penalty: TardinessPenalty::SquareRoot,
            },
            pixels: 64 * 64,
            bounds: StepBounds { min: steps(3), max: steps(90) },
            expires: at(1e6 / 3.0),
        },
        spec: Spec {
            prompt: prompt.into(),
            negative_prompt: String::new(),
            width: 64,
            height: 64,
            seed: u64::MAX,
        },
        key: key.map(|key| IdempotencyKey { key: key.into(), fingerprint: [7; 32] }),
    })
}

fn run(n: u128, attempt: u32) -> Run {
    Run {
        id: RunId { request: id(n), attempt },
        server: 0,
        steps: steps(30),
        start: at(1.0),
        service: Seconds::of(3.0),
    }
}

fn started(n: u128, attempt: u32) -> Record {
    Record::Started { run: run(n, attempt), server: "s0".into() }
}

fn ended(n: u128, outcome: Outcome) -> Record {
    let end = End {
        request: id(n),
        at: at(4.0),
        outcome,
        run: Some(run(n, 1)),
        attempts: 1,
        tardiness: Seconds::ZERO,
        quality: Some(30.5),
        reward: Some(30.5),
    };
    let picture = Picture { png: Bytes::from_static(b"png"), kept_until: at(10.0) };
    let picture = (end.outcome == Outcome::Completed).then_some(picture);
    Record::Ended { end, server: Some("s0".into()), picture }
}

fn decided(n: u128) -> Record {
    Record::Decided {
        decided: Decided {
            request: id(n),
            at: at(0.5),
            cause: Cause::ServerDown,
            quote: Quote {
                decision: Decision { server: 0, steps: steps(30) },
                execution: Execution { start: at(1.0), finish: at(4.0) },
                shadow: None,
            },
        },
        server: "s0".into(),
        policy: "greedy".into(),
        shadow: Some(Shadow { server: "s1".into(), steps: steps(77) }),
    }
}

struct Store {
    journal: Sqlite,
    reader: Reader,
    folder: tempfile::TempDir,
}

fn store() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = Sqlite::open(&path, 1000.0).unwrap();
    Store { journal, reader: Reader::open(&path).unwrap(), folder }
}

#[test]
fn what_was_written_is_read_back_after_opening_again() {
    let Store { mut journal, folder, .. } = store();
    let first = accepted(1, "a red circle", Some("k"));
    journal.append(&[Record::Accepted(first.clone()), decided(1)]).unwrap();
    drop(journal);
    let path = folder.path().join("journal.db");
    assert_eq!(Sqlite::open(&path, 2000.0).unwrap().origin(), 1000.0, "the first start");
    let reader = Reader::open(&path).unwrap();
    let entry = reader.find(id(1)).unwrap().unwrap();
    assert_eq!(entry.accepted, *first);
    let decision = entry.decision.unwrap();
    assert_eq!((&*decision.server, decision.cause), ("s0", Cause::ServerDown));
    assert_eq!(&*decision.policy, "greedy");
    assert_eq!(reader.by_key("ann", "k").unwrap(), Some((id(1), [7; 32])));
    assert_eq!(reader.by_key("bob", "k").unwrap(), None, "keys belong to their owner");
    assert_eq!(reader.find(id(2)).unwrap(), None);
    assert_eq!(reader.last().unwrap(), at(0.5));
}

#[test]
fn a_request_ends_once_whatever_is_appended() {
    let Store { mut journal, reader, folder: _folder } = store();
    let batch = [Record::Accepted(accepted(1, "", None)), ended(1, Outcome::Cancelled)];
    journal.append(&batch).unwrap();
    journal.append(&[ended(1, Outcome::Completed)]).unwrap();
    let end = reader.find(id(1)).unwrap().unwrap().end.unwrap();
    assert_eq!(end.outcome, Outcome::Cancelled);
    assert_eq!(reader.picture(id(1)).unwrap(), Kept::Never);
}

#[test]
fn a_key_makes_one_request() {
    let Store { mut journal, reader, folder: _folder } = store();
    let batch = [1, 2].map(|n| Record::Accepted(accepted(n, "", Some("same"))));
    assert_eq!(journal.append(&batch).unwrap(), [Fate::Written, Fate::KeyTaken]);
    journal.append(&[decided(2), started(2, 1), ended(2, Outcome::Completed)]).unwrap();
    assert_eq!(reader.find(id(2)).unwrap(), None);
}

#[test]
fn pictures_are_kept_for_their_time() {
    let Store { mut journal, reader, folder: _folder } = store();
    let batch = [Record::Accepted(accepted(1, "", None)), ended(1, Outcome::Completed)];
    journal.append(&batch).unwrap();
    journal.append(&[Record::Forget { now: at(9.9), ended: None }]).unwrap();
    assert_eq!(reader.picture(id(1)).unwrap(), Kept::Here(Bytes::from_static(b"png")));
    journal.append(&[Record::Forget { now: at(10.0), ended: None }]).unwrap();
    assert_eq!(reader.picture(id(1)).unwrap(), Kept::Gone);
    assert_eq!(reader.picture(id(2)).unwrap(), Kept::Never);
}

#[test]
fn what_had_not_ended_is_found_with_its_run() {
    let Store { mut journal, reader, folder: _folder } = store();
    let reason = "status 500".to_string();
    let failed = Record::RunFailed { run: run(3, 1).id, at: at(2.0), reason };
    let ticket = Record::Ticket { run: run(4, 1).id, ticket: "job-9".into() };
    for n in 1..=4 {
        journal.append(&[Record::Accepted(accepted(n, "", None))]).unwrap();
    }
    journal.append(&[started(1, 1), ended(1, Outcome::Completed)]).unwrap();
    journal.append(&[started(3, 1), failed, started(4, 1), ticket]).unwrap();
    let unfinished = reader.unfinished().unwrap();
    let found: Vec<_> = (unfinished.iter())
        .map(|u| {
            let ticket = u.open.as_ref().map(|run| run.ticket.clone());
            (u.accepted.order.id, u.attempts, u.failures, ticket)
        })
        .collect();
    let completed = CompletedRun { steps: steps(30), pixels: 64 * 64, took: Seconds::of(3.0) };
    assert_eq!(reader.completed_runs("s0", 9).unwrap(), [completed]);
    assert_eq!(reader.completed_runs("s1", 9).unwrap(), []);
    assert_eq!(
        found,
        [(id(2), 0, 0, None), (id(3), 1, 1, None), (id(4), 1, 0, Some(Some("job-9".into()))),]
    );
}

#[test]
fn what_ended_long_ago_is_forgotten_and_nothing_else() {
    let Store { mut journal, reader, folder: _folder } = store();
    let old =
        |n| [Record::Accepted(accepted(n, "x", Some(&n.to_string()))), decided(n), started(n, 1)];
    for n in 1..=3 {
        journal.append(&old(n)).unwrap();
    }
    // Both end at 4; the picture of the second is kept until 10; the third has not ended.
    journal.append(&[ended(1, Outcome::Expired), ended(2, Outcome::Completed)]).unwrap();
    let mut remaining = |now: f64, old: f64| {
        journal.append(&[Record::Forget { now: at(now), ended: Some(at(old)) }]).unwrap();
        let list = reader.list(&Filter { limit: 9, ..Filter::default() }).unwrap();
        list.iter().map(|entry| entry.accepted.order.id).collect::<Vec<_>>()
    };
    assert_eq!(remaining(5.0, 3.9), [id(3), id(2), id(1)]);
    assert_eq!(remaining(5.0, 4.0), [id(3), id(2)], "its picture is still kept");
    assert_eq!(remaining(11.0, 4.0), [id(3)], "both at once");
    assert_eq!(reader.picture(id(2)).unwrap(), Kept::Never);
    assert_eq!(reader.by_key("ann", "1").unwrap(), None);
    assert_eq!(reader.unfinished().unwrap().len(), 1);
    // Nothing of them is left behind, and their keys are free again.
    assert_eq!(reader.completed_runs("s0", 9).unwrap(), []);
    assert_eq!(journal.append(&old(1)).unwrap()[0], Fate::Written);
}

#[test]
fn lists_are_filtered_and_paged() {
    let Store { mut journal, reader, folder: _folder } = store();
    for n in 1..=5 {
        journal.append(&[Record::Accepted(accepted(n, "", None)), decided(n)]).unwrap();
    }
    journal.append(&[ended(2, Outcome::Completed), ended(4, Outcome::Expired)]).unwrap();
    let reason = "status 500".to_string();
    let failed = Record::RunFailed { run: run(5, 1).id, at: at(2.0), reason };
    journal.append(&[started(3, 1), started(5, 1), failed]).unwrap();
    let list = |filter: Filter| -> Vec<u128> {
        let entries = reader.list(&Filter { limit: 3, ..filter }).unwrap();
        entries.iter().map(|e| e.accepted.order.id.0.as_u128()).collect()
    };
    let some = |s: &str| Some(s.to_string());
    assert_eq!(list(Filter::default()), [5, 4, 3]);
    assert_eq!(list(Filter { before: Some(3), ..Filter::default() }), [2, 1]);
    assert_eq!(list(Filter { state: some("live"), ..Filter::default() }), [5, 3, 1]);
    assert_eq!(list(Filter { state: some("running"), ..Filter::default() }), [3]);
    assert_eq!(list(Filter { state: some("waiting"), ..Filter::default() }), [5, 1]);
    assert_eq!(list(Filter { state: some("expired"), ..Filter::default() }), [4]);
    assert_eq!(list(Filter { server: some("s0"), ..Filter::default() }), [5, 4, 3]);
    assert_eq!(list(Filter { server: some("s9"), ..Filter::default() }), []);
    assert_eq!(list(Filter { owner: some("bob"), ..Filter::default() }), []);
    let penalty = Some(TardinessPenalty::Linear);
    assert_eq!(list(Filter { penalty, ..Filter::default() }), []);
}

#[test]
fn a_journal_of_another_version_or_another_kind_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    std::fs::write(&path, "these are not the tables you are looking for".repeat(100)).unwrap();
    assert!(Sqlite::open(&path, 0.0).err().unwrap().to_string().contains("not a database"));
    std::fs::remove_file(&path).unwrap();
    drop(Sqlite::open(&path, 0.0).unwrap());
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 9).unwrap();
    drop(raw);
    assert!(Sqlite::open(&path, 0.0).err().unwrap().to_string().contains("version 9"));
}

/// A real disk that fills up: SQLite itself refuses to grow the file.
struct Disk(Arc<Mutex<Sqlite>>);

impl Journal for Disk {
    fn append(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError> {
        self.0.lock().unwrap().append(batch)
    }
}

#[tokio::test]
async fn a_full_disk_refuses_new_requests_and_keeps_the_ends() {
    let Store { journal, reader, folder: _folder } = store();
    let disk = Arc::new(Mutex::new(journal));
    let (reports, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let (writer, _) = Writer::spawn(Box::new(Disk(disk.clone())), move |r| {
        let _ = reports.send(r);
    });
    writer.append(Record::Accepted(accepted(1, "", None)));
    assert_eq!(inbox.recv().await, Some(Report::Accepted(id(1))));

    disk.lock().unwrap().limit_pages(1).unwrap();
    writer.append(Record::Accepted(accepted(2, &"long ".repeat(100_000), None)));
    assert!(matches!(inbox.recv().await, Some(Report::Failing(why)) if why.contains("full")));
    assert!(matches!(inbox.recv().await, Some(Report::Refused(r, _)) if r == id(2)));
    writer.append(ended(1, Outcome::Completed));
    writer.append(Record::Accepted(accepted(3, &"long ".repeat(100_000), None)));
    while !matches!(inbox.recv().await, Some(Report::Refused(r, _)) if r == id(3)) {}
    assert_eq!(reader.find(id(1)).unwrap().unwrap().end, None, "not durable, so not told");

    disk.lock().unwrap().limit_pages(1_000_000).unwrap();
    while inbox.recv().await != Some(Report::Ended(id(1))) {}
    assert_eq!(inbox.recv().await, Some(Report::Recovered));
    let end = reader.find(id(1)).unwrap().unwrap().end.unwrap();
    assert_eq!(end.outcome, Outcome::Completed);
    assert_eq!(reader.find(id(2)).unwrap(), None);
    assert_eq!(reader.find(id(3)).unwrap(), None);
}

#[tokio::test]
async fn many_records_share_a_commit() {
    #[derive(Clone, Default)]
    struct Counting(Arc<Mutex<Vec<usize>>>);
    impl Journal for Counting {
        fn append(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError> {
            self.0.lock().unwrap().push(batch.len());
            Ok(vec![Fate::Written; batch.len()])
        }
    }
    let counting = Counting::default();
    let (writer, done) = Writer::spawn(Box::new(counting.clone()), |_| ());
    (0..1000).for_each(|n| writer.append(Record::Accepted(accepted(n, "", None))));
    drop(writer);
    done.await.unwrap();
    assert_eq!(*counting.0.lock().unwrap(), [512, 488]);
}
