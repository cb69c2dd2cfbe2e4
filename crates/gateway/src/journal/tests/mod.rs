mod damage;
mod files;
mod lists;
mod migration;
mod replicated;
mod roundtrip;
mod summary;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use dispatch::{Cause, Order, Outcome, RunId, StepBounds};
use scheduling::{Request, Seconds, Steps, TardinessPenalty};

use super::*;

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
                bounds: StepBounds { min: steps(3), max: steps(90) },
                ..Request::new(at(0.1 + 0.2), at(12.5), TardinessPenalty::SquareRoot)
            },
            pixels: 64 * 64,
            expires: at(1e6 / 3.0),
        },
        spec: Spec {
            prompt: prompt.into(),
            negative_prompt: String::new(),
            width: 64,
            height: 64,
            seed: u64::MAX,
            model: None,
        },
        key: key.map(|key| IdempotencyKey { key: key.into(), fingerprint: [7; 32] }),
        callback: None,
    })
}

fn run(n: u128, attempt: u32) -> RunId {
    RunId { request: id(n), attempt }
}

fn started(n: u128, attempt: u32) -> Record {
    let open = OpenRun {
        server: "s0".into(),
        steps: steps(30),
        start: at(1.0),
        load: Seconds::ZERO,
        service: Seconds::of(3.0),
        ticket: None,
    };
    Record::Started { id: run(n, attempt), run: open }
}

fn ended(n: u128, outcome: Outcome) -> Record {
    let end = EndEntry {
        at: at(4.0),
        outcome,
        server: Some("s0".into()),
        steps: Some(steps(30)),
        start: Some(at(1.0)),
        attempts: 1,
        tardiness: Seconds::ZERO,
        quality: Some(30.5),
        reward: Some(30.5),
    };
    let picture =
        Picture { png: Png::Here(Bytes::from_static(b"png")), kept_until: Seconds::of(60.0) };
    let picture = (end.outcome == Outcome::Completed).then_some(picture);
    Record::Ended { request: id(n), end, picture, lived: Seconds::of(54.0) }
}

fn decided(n: u128) -> Record {
    let decision = DecisionEntry {
        at: at(0.5),
        cause: Cause::ServerDown,
        server: "s0".into(),
        steps: steps(30),
        start: at(1.0),
        finish: at(4.0),
        policy: "greedy".into(),
        shadow: Some(Shadow { server: "s1".into(), steps: steps(77) }),
    };
    Record::Decided { request: id(n), decision }
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
    let mut forget = |lived| {
        let (lived, age) = (Seconds::of(lived), Seconds::of(1e6));
        journal.append(&[Record::Forget { lived, age }]).unwrap();
    };
    forget(59.9);
    let Kept::Here(stored) = reader.picture(id(1)).unwrap() else { panic!("it is kept") };
    assert_eq!(
        reader.picture_part(stored.clone(), 0, usize::MAX).unwrap(),
        Bytes::from_static(b"png")
    );
    forget(60.0);
    let gone = reader.picture_part(stored.clone(), 0, 1).unwrap_err();
    assert!(gone.to_string().contains("time is over"), "{gone}");
    assert_eq!(reader.picture(id(1)).unwrap(), Kept::Gone);
    assert_eq!(reader.picture(id(2)).unwrap(), Kept::Never);
}

#[test]
fn what_had_not_ended_is_found_with_its_run() {
    let Store { mut journal, reader, folder: _folder } = store();
    let reason = "status 500".to_string();
    let failed = Record::RunFailed { run: run(3, 1), at: at(2.0), reason };
    let ticket = Record::Ticket { run: run(4, 1), ticket: "job-9".into() };
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
    let completed = CompletedRun {
        steps: steps(30),
        pixels: 64 * 64,
        load: Seconds::ZERO,
        took: Seconds::of(3.0),
    };
    assert_eq!(reader.completed_runs("s0", None, 9).unwrap(), [completed]);
    assert_eq!(reader.completed_runs("s1", None, 9).unwrap(), []);
    assert_eq!(
        found,
        [(id(2), 0, 0, None), (id(3), 1, 1, None), (id(4), 1, 0, Some(Some("job-9".into()))),]
    );
    // Its time was not the server's own.
    journal.append(&[Record::Untimed { run: run(1, 1) }]).unwrap();
    assert_eq!(reader.completed_runs("s0", None, 9).unwrap(), []);
}

#[test]
fn what_ended_long_ago_is_forgotten_and_nothing_else() {
    let Store { mut journal, reader, folder: _folder } = store();
    let old =
        |n| [Record::Accepted(accepted(n, "x", Some(&n.to_string()))), decided(n), started(n, 1)];
    for n in 1..=3 {
        journal.append(&old(n)).unwrap();
    }
    // Both end at 54 of the time lived; the picture of the second is kept until 60; the third has
    // not ended.
    journal.append(&[ended(1, Outcome::Expired), ended(2, Outcome::Completed)]).unwrap();
    let mut remaining = |lived: f64, age: f64| {
        let (lived, age) = (Seconds::of(lived), Seconds::of(age));
        journal.append(&[Record::Forget { lived, age }]).unwrap();
        let list = reader.list(&Filter { limit: 9, ..Filter::default() }).unwrap();
        list.entries.iter().map(|entry| entry.accepted.order.id).collect::<Vec<_>>()
    };
    assert_eq!(remaining(55.0, 1.1), [id(3), id(2), id(1)]);
    assert_eq!(remaining(55.0, 1.0), [id(3), id(2)], "its picture is still kept");
    assert_eq!(remaining(60.0, 6.0), [id(3)], "both at once");
    assert_eq!(reader.picture(id(2)).unwrap(), Kept::Never);
    assert_eq!(reader.by_key("ann", "1").unwrap(), None);
    assert_eq!(reader.unfinished().unwrap().len(), 1);
    // Nothing of them is left behind, and their keys are free again.
    assert_eq!(reader.completed_runs("s0", None, 9).unwrap(), []);
    assert_eq!(journal.append(&old(1)).unwrap()[0], Fate::Written);
}

#[test]
fn the_furthest_date_of_the_wall_clock_is_kept() {
    let Store { mut journal, reader, folder: _folder } = store();
    for (time, wall, furthest) in [(1.0, 2000.0, 1.0), (2.0, 50.0, 1.0), (3.0, 2001.0, 3.0)] {
        let moment = Moment { time: at(time), wall };
        let lived = Seconds::of(10.0 * time);
        journal.append(&[Record::Clock(Clock { moment, lived })]).unwrap();
        let clocks = reader.clocks().unwrap();
        assert_eq!((clocks.latest, clocks.lived), (moment, lived));
        assert_eq!(clocks.furthest.time, at(furthest));
        assert_eq!(reader.last().unwrap(), at(time));
    }
}
