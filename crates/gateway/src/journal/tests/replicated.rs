//! Journals that follow a log, and the one that leads.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;

use rusqlite::types::ValueRef;
use tokio::sync::watch;

use super::*;
use crate::journal::shelf::{Luck, Shelf};

/// Machines of a cluster, each with a journal of its own.
struct Machines {
    folder: tempfile::TempDir,
    shelf: Shelf,
}

fn machines(luck: &[Luck]) -> Machines {
    let mut luck: VecDeque<_> = luck.iter().copied().collect();
    let shelf = Shelf::new(move || luck.pop_front().unwrap_or(Luck::Good));
    Machines { folder: tempfile::tempdir().unwrap(), shelf }
}

fn clock(time: f64) -> Clock {
    let moment = Moment { time: at(time), wall: 1e9 + time };
    Clock { moment, lived: Seconds::of(time) }
}

impl Machines {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn replica(&self, name: &str) -> Replica {
        Replica::open(&self.path(name), 2e9).unwrap()
    }

    fn follow(&self, name: &str) -> Result<Replica, ReplicaError> {
        let mut replica = self.replica(name);
        let behind = self.shelf.behind(replica.sequence());
        replica.apply(&behind)?;
        Ok(replica)
    }

    fn lead(&self, name: &str) -> (Replicated<Shelf>, Deposed, watch::Receiver<u64>) {
        let mut replica = self.follow(name).unwrap();
        let mut log = self.shelf.clone();
        let mut tries = 0;
        while !replica.lead(&mut log, name, clock(0.5)).unwrap() {
            tries += 1;
            assert!(tries < 9);
            let behind = self.shelf.behind(replica.sequence());
            replica.apply(&behind).unwrap();
        }
        let (deposed, (reached, seen)) = (Deposed::new(), watch::channel(0));
        (Replicated::new(replica, log, deposed.clone(), reached), deposed, seen)
    }

    /// Everything that is in a journal.
    fn dump(&self, name: &str) -> String {
        dump(&self.path(name))
    }
}

fn dump(path: &Path) -> String {
    let raw = rusqlite::Connection::open(path).unwrap();
    let mut text = String::new();
    for table in
        ["requests", "decisions", "runs", "ends", "pictures", "callbacks", "gateway", "log"]
    {
        let mut rows = raw.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                let cell = match row.get_ref(column).unwrap() {
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    other => format!("{other:?}"),
                };
                let _ = write!(text, "{table} {cell};");
            }
            text += "\n";
        }
    }
    text
}

/// A record of every kind, as a cluster writes them.
fn everything() -> Vec<Record> {
    let mut end = ended(1, Outcome::Completed);
    if let Record::Ended { picture, .. } = &mut end {
        let stored = Stored { name: "1.1-x".into(), length: 7 };
        *picture = Some(Picture { png: Png::Stored(stored), kept_until: Seconds::of(60.0) });
    }
    vec![
        Record::Accepted(accepted(1, "a ring, \"red\"\n", Some("k"))),
        decided(1),
        started(1, 1),
        Record::Ticket { run: run(1, 1), ticket: "job".into() },
        Record::Untimed { run: run(1, 1) },
        end,
        Record::Accepted(accepted(2, "b", None)),
        started(2, 1),
        Record::RunFailed { run: run(2, 1), at: at(3.0), reason: "no".into() },
        ended(2, Outcome::Failed { reason: "no".into() }),
        Record::Accepted(accepted(3, "c", None)),
        Record::Withdrawn(id(3)),
        Record::CalledBack(id(1)),
        Record::Clock(clock(9.0)),
        Record::Forget { lived: Seconds::of(54.0), age: Seconds::of(20.0) },
    ]
}

#[test]
fn whoever_follows_has_what_the_leader_has_bit_for_bit() {
    let machines = machines(&[]);
    let (mut leader, deposed, reached) = machines.lead("a");
    for record in everything() {
        assert_eq!(leader.append(&[record]).unwrap(), [Fate::Written]);
    }
    let again = [Record::Accepted(accepted(9, "d", Some("k")))];
    assert_eq!(leader.append(&again).unwrap(), [Fate::KeyTaken]);
    assert_eq!((*reached.borrow(), deposed.is_cancelled()), (17, false));
    // All at once, or one after the other.
    machines.follow("b").unwrap();
    let mut slow = machines.replica("c");
    for message in machines.shelf.behind(0) {
        slow.apply(&[message]).unwrap();
    }
    drop((leader, slow));
    let expected = machines.dump("a");
    assert!(expected.contains("1.1-x") && expected.contains("a ring"), "{expected}");
    assert_eq!(machines.dump("b"), expected);
    assert_eq!(machines.dump("c"), expected);
    // Time began with the first message, whenever the journals were made.
    assert!(expected.contains("origin;gateway Real(1000000000.0)"), "{expected}");
    let copy = machines.path("copy");
    assert_eq!(snapshot(&machines.path("a"), &copy).unwrap(), 17);
    assert_eq!(machines.dump("copy"), expected);
}

#[test]
fn what_nobody_answered_is_found_out() {
    use Luck::{CutOff, Good, Late, Lost, Unheard};
    for (luck, outcomes) in [
        // Said to have been written, or not, in three batches.
        (&[Good, Unheard][..], "www"),
        (&[Good, Lost, Unheard], "www"),
        (&[Good, Late, Good], "www"),
        (&[Good, CutOff, CutOff, CutOff, CutOff, Good], "-ww"),
        (&[Good, Lost, Lost, Lost, Lost], "-ww"),
        // Under way while nobody answered, it lands when the next batch comes.
        (&[Good, CutOff, CutOff, CutOff, Late, Good], "-ww"),
        (&[Unheard, Good], "www"),
    ] {
        let machines = machines(luck);
        let (mut leader, deposed, _) = machines.lead("a");
        let written: String = (1..=3)
            .map(|n| match leader.append(&[Record::Accepted(accepted(n, "a", None))]) {
                Ok(fates) if fates == [Fate::Written] => 'w',
                Ok(fates) => panic!("{luck:?}: {fates:?}"),
                Err(_) => '-',
            })
            .collect();
        assert_eq!(written, outcomes, "{luck:?}");
        assert!(!deposed.is_cancelled(), "{luck:?}");
        machines.follow("b").unwrap();
        drop(leader);
        assert_eq!(machines.dump("b"), machines.dump("a"), "{luck:?}");
        let requests = machines.dump("b").lines().filter(|l| l.starts_with("requests")).count();
        assert!(requests >= outcomes.matches('w').count(), "{luck:?}");
    }
}

#[test]
fn a_leader_that_slept_writes_nothing_more() {
    let machines = machines(&[]);
    let (mut first, deposed, _) = machines.lead("a");
    first.append(&[Record::Accepted(accepted(1, "a", None))]).unwrap();
    let (mut second, still, _) = machines.lead("b");
    let error = first.append(&[ended(1, Outcome::Cancelled)]).unwrap_err().to_string();
    assert!(error.contains("another one leads") && deposed.is_cancelled(), "{error}");
    assert!(first.append(&[]).is_err(), "for good");
    second.append(&[Record::Accepted(accepted(2, "b", None))]).unwrap();
    assert!(!still.is_cancelled());
    drop((first, second));
    machines.follow("a").unwrap();
    assert_eq!(machines.dump("a"), machines.dump("b"));
    // It may lead again.
    let (mut again, deposed, _) = machines.lead("a");
    again.append(&[ended(1, Outcome::Cancelled)]).unwrap();
    assert!(!deposed.is_cancelled());
}

#[test]
fn without_the_fence_two_lead_and_that_is_found_out() {
    let mut machines = machines(&[]);
    machines.shelf = machines.shelf.unfenced();
    let (mut first, deposed, _) = machines.lead("a");
    let (mut second, ..) = machines.lead("b");
    first.append(&[Record::Accepted(accepted(1, "a", None))]).unwrap();
    second.append(&[Record::Accepted(accepted(2, "b", None))]).unwrap();
    assert!(!deposed.is_cancelled());
    let error = machines.follow("c").err().expect("it is not of one piece").to_string();
    assert!(error.contains("message 3") && error.contains("atelier cluster repair"), "{error}");
}

#[test]
fn messages_that_cannot_follow_are_refused() {
    let machines = machines(&[]);
    let (mut leader, ..) = machines.lead("a");
    leader.append(&[Record::Accepted(accepted(1, "a", None))]).unwrap();
    leader.append(&[ended(1, Outcome::Cancelled)]).unwrap();
    let messages = machines.shelf.behind(0);
    let text = String::from_utf8(messages[2].1.clone()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        vec![messages[0].clone(), messages[1].clone(), (3, text.replace(from, to).into_bytes())]
    };
    for (messages, problem) in [
        (vec![messages[1].clone()], "is the next one"),
        (vec![messages[0].clone(), messages[2].clone()], "is the next one"),
        (vec![messages[0].clone(), (2, messages[2].1.clone())], "does not have the hash"),
        (changed("\"epoch\":1", "\"epoch\":7"), "is of epoch 7, and 1 leads"),
        (changed("cancelled", "exploded"), "is not understood"),
        (changed("\"says\"", "\"sings\""), "is not understood"),
    ] {
        let mut replica = machines.replica("b");
        let error = replica.apply(&messages).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
        assert_eq!(replica.sequence(), 0, "all of them or none");
    }
}

#[test]
fn a_journal_follows_a_log_or_stands_alone() {
    let machines = machines(&[]);
    machines.lead("a").0.append(&[Record::Accepted(accepted(1, "a", None))]).unwrap();
    let alone = Sqlite::open(&machines.path("a"), 2e9).unwrap().alone().err().unwrap();
    assert!(alone.to_string().contains("is the journal of a cluster"), "{alone}");
    let mut own = Sqlite::open(&machines.path("b"), 2e9).unwrap().alone().unwrap();
    own.append(&[Record::Accepted(accepted(1, "a", None))]).unwrap();
    drop(own);
    let replica = Replica::open(&machines.path("b"), 2e9).err().unwrap();
    assert!(replica.to_string().contains("a gateway that stood alone"), "{replica}");
}

#[test]
fn long_batches_are_several_messages_and_pictures_are_in_none() {
    let machines = machines(&[]);
    let (mut leader, ..) = machines.lead("a");
    let long = "x".repeat(200_000);
    let batch: Vec<_> = (1..=5).map(|n| Record::Accepted(accepted(n, &long, None))).collect();
    assert_eq!(leader.append(&batch).unwrap(), [Fate::Written; 5]);
    let messages = machines.shelf.behind(1);
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|(_, message)| message.len() < 600_000));
    assert!(leader.append(&[ended(1, Outcome::Completed)]).is_err(), "it was to be kept first");
}
