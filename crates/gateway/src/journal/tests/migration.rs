//! Journals of version 1 go on as they are.

use rusqlite::Connection;

use super::*;

/// The tables of version 1, with three requests: a completed one, a running one, a failed run.
const VERSION_1: &str = include_str!("version_1.sql");

fn version_1(version: i32) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let raw = Connection::open(&path).unwrap();
    raw.pragma_update(None, "journal_mode", "WAL").unwrap();
    raw.execute_batch(VERSION_1).unwrap();
    raw.pragma_update(None, "user_version", version).unwrap();
    (folder, path)
}

#[test]
fn a_journal_of_version_1_goes_on_with_all_that_is_in_it() {
    // Version 1 was written after the tables, so a crash could leave 0.
    for version in [1, 0] {
        let (_folder, path) = version_1(version);
        let mut journal = Sqlite::open(&path, 5e8).unwrap();
        assert_eq!(journal.origin(), 1000.0);
        let reader = Reader::open(&path).unwrap();
        let list = |state: Option<&str>| -> Vec<u128> {
            let state = state.map(Into::into);
            let filter = Filter { state, owner: Some("ann".into()), limit: 9, ..Filter::default() };
            let page = reader.list(&filter).unwrap();
            page.entries.iter().map(|e| e.accepted.order.id.0.as_u128()).collect()
        };
        assert_eq!(list(None), [3, 2, 1]);
        assert_eq!(list(Some("completed")), [1]);
        assert_eq!(list(Some("live")), [3, 2]);
        assert_eq!(reader.unfinished().unwrap().len(), 2);
        assert_eq!(reader.last().unwrap(), at(77.5), "a failed run is the latest record");
        // By its clocks it stands where the latest record is.
        let latest = Moment { time: at(77.5), wall: 1077.5 };
        let clocks = Clocks { latest, furthest: latest, lived: Seconds::of(77.5) };
        assert_eq!(reader.clocks().unwrap(), clocks);
        // The picture is kept until 90, the request for 20 after its end at 40.
        let mut forget = |lived| {
            let (lived, age) = (Seconds::of(lived), Seconds::of(20.0));
            journal.append(&[Record::Forget { lived, age }]).unwrap();
            matches!(reader.picture(id(1)).unwrap(), Kept::Here(_))
        };
        assert!(forget(89.0));
        assert!(!forget(91.0));
        assert_eq!(list(None), [3, 2]);
        // Started once more, it is as any other.
        drop(journal);
        Sqlite::open(&path, 5e8).unwrap();
    }
}

#[test]
fn time_never_goes_back_behind_any_record() {
    for (change, last) in [
        ("UPDATE runs SET start = 500 WHERE request = 2", 500.0),
        ("UPDATE runs SET failed_at = 501 WHERE request = 3", 501.0),
        ("UPDATE requests SET arrival = 502 WHERE position = 1", 502.0),
        ("UPDATE decisions SET at = 503", 503.0),
        ("UPDATE ends SET at = 504", 504.0),
    ] {
        // Whether it was so before the tables were brought up to date, or came about since.
        for since in [false, true] {
            let (_folder, path) = version_1(1);
            if since {
                drop(Sqlite::open(&path, 0.0).unwrap());
            }
            Connection::open(&path).unwrap().execute_batch(change).unwrap();
            drop(Sqlite::open(&path, 0.0).unwrap());
            assert_eq!(Reader::open(&path).unwrap().last().unwrap(), at(last), "{change}");
        }
    }
}

#[test]
fn a_journal_of_an_earlier_version_is_not_read_before_it_is_brought_up() {
    let (_folder, path) = version_1(1);
    let Err(error) = Reader::open(&path) else { panic!("it is of version 1") };
    let message = error.to_string();
    assert!(message.contains("has version 1") && message.contains("`atelier serve`"), "{message}");
    drop(Sqlite::open(&path, 5e8).unwrap());
    Reader::open(&path).unwrap();
}

/// A journal of today without what an earlier version did not have.
fn taken_back(version: i32, without: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let (folder, path) = version_1(1);
    drop(Sqlite::open(&path, 5e8).unwrap());
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(without).unwrap();
    raw.pragma_update(None, "user_version", version).unwrap();
    (folder, path)
}

/// What version 5 brought.
const LOG: &str = "ALTER TABLE pictures DROP COLUMN stored; ALTER TABLE pictures DROP COLUMN length; \
                   DROP TABLE log";

/// Version 4 had the tables of today without logs and stores of pictures.
#[test]
fn a_journal_of_version_4_learns_of_logs() {
    let (_folder, path) = taken_back(4, LOG);
    let before = Reader::open(&path).err().unwrap().to_string();
    assert!(before.contains("has version 4"), "{before}");
    let journal = Sqlite::open(&path, 5e8).unwrap();
    let reader = Reader::open(&path).unwrap();
    let Kept::Here(stored) = reader.picture(id(1)).unwrap() else { panic!("it is kept") };
    assert_eq!(reader.picture_part(stored.clone(), 0, 99).unwrap().len() as u64, stored.length);
    assert!(journal.alone().is_ok(), "it follows no log");
}

/// Version 2 had the tables of today without the time of a load.
#[test]
fn a_journal_of_version_2_learns_of_loads() {
    let (_folder, path) =
        taken_back(2, &format!("ALTER TABLE runs DROP COLUMN load; DROP TABLE callbacks; {LOG}"));
    let mut journal = Sqlite::open(&path, 5e8).unwrap();
    let reader = Reader::open(&path).unwrap();
    let before = reader.unfinished().unwrap();
    assert!(
        before
            .iter()
            .filter_map(|unfinished| unfinished.open.as_ref())
            .all(|run| run.load == Seconds::ZERO)
    );
    let run =
        OpenRun { load: Seconds::of(9.0), ..before.iter().find_map(|u| u.open.clone()).unwrap() };
    let id = RunId { request: id(3), attempt: 9 };
    journal.append(&[Record::Started { id, run: run.clone() }]).unwrap();
    let after = reader.unfinished().unwrap();
    assert!(after.iter().any(|unfinished| unfinished.open.as_ref() == Some(&run)), "{after:?}");
}

/// Version 3 had the tables of today without callbacks.
#[test]
fn a_journal_of_version_3_learns_of_callbacks() {
    let (_folder, path) = taken_back(3, &format!("DROP TABLE callbacks; {LOG}"));
    drop(Sqlite::open(&path, 5e8).unwrap());
    assert_eq!(Reader::open(&path).unwrap().untold().unwrap(), []);
}
