//! The writer: few commits, and what it says when they fail.

use std::sync::Mutex;

use super::*;
use crate::engine::Starts;

/// A real disk that fills up: SQLite itself refuses to grow the file.
struct Disk(Arc<Mutex<Option<Sqlite>>>);

impl Journal for Disk {
    fn append(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError> {
        self.0.lock().unwrap().as_mut().unwrap().append(batch)
    }
}

#[tokio::test]
async fn a_full_disk_refuses_new_requests_and_keeps_the_ends() {
    let Store { journal, reader, folder: _folder } = store();
    let disk = Arc::new(Mutex::new(None));
    let limit =
        |pages| disk.lock().unwrap().as_ref().map(|d: &Sqlite| d.limit_pages(pages)).unwrap();
    let (reports, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let guard = journal.guard();
    *disk.lock().unwrap() = Some(journal);
    let journal = Box::new(Disk(disk.clone()));
    let report = move |report| drop(reports.send(report));
    let (writer, write) =
        Writer::start(journal, guard, Unconfirmed::default(), Starts::AtOnce, report).unwrap();
    tokio::spawn(write);
    writer.append(Record::Accepted(accepted(1, "", None)));
    assert_eq!(inbox.recv().await, Some(Report::Accepted(id(1))));

    limit(1).unwrap();
    writer.append(Record::Accepted(accepted(2, &"long ".repeat(100_000), None)));
    assert!(matches!(inbox.recv().await, Some(Report::Failing(why)) if why.contains("full")));
    assert!(matches!(inbox.recv().await, Some(Report::Refused(r, _)) if r == id(2)));
    writer.append(ended(1, Outcome::Completed));
    writer.append(Record::Accepted(accepted(3, &"long ".repeat(100_000), None)));
    while !matches!(inbox.recv().await, Some(Report::Refused(r, _)) if r == id(3)) {}
    assert_eq!(reader.find(id(1)).unwrap().unwrap().end, None, "not durable, so not told");

    limit(1_000_000).unwrap();
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
    let Store { journal, folder: _folder, .. } = store();
    let (wrapped, unconfirmed) = (counting.clone(), Unconfirmed::default());
    let guard = journal.guard();
    let (writer, write) =
        Writer::start(Box::new(wrapped), guard, unconfirmed, Starts::AtOnce, |_| ()).unwrap();
    (0..1000).for_each(|n| writer.append(Record::Accepted(accepted(n, "", None))));
    drop(writer);
    write.await.unwrap();
    assert_eq!(*counting.0.lock().unwrap(), [512, 488]);
}

#[tokio::test]
async fn a_failure_that_leaves_nothing_owed_is_recovered_from_all_the_same() {
    let Store { journal, folder: _folder, .. } = store();
    let (reports, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let disk = Arc::new(Mutex::new(None));
    let limit =
        |pages| disk.lock().unwrap().as_ref().map(|d: &Sqlite| d.limit_pages(pages)).unwrap();
    let guard = journal.guard();
    *disk.lock().unwrap() = Some(journal);
    let journal = Box::new(Disk(disk.clone()));
    let report = move |report| drop(reports.send(report));
    let (writer, write) =
        Writer::start(journal, guard, Unconfirmed::default(), Starts::AtOnce, report).unwrap();
    tokio::spawn(write);
    limit(1).unwrap();
    // A prediction is not worth keeping, so nothing is tried again but the disk itself.
    let prediction = |n| {
        let Record::Decided { request, decision } = decided(n) else { unreachable!() };
        let policy = "long ".repeat(100_000).into();
        Record::Decided { request, decision: DecisionEntry { policy, ..decision } }
    };
    writer.append(Record::Accepted(accepted(1, "", None)));
    assert_eq!(inbox.recv().await, Some(Report::Accepted(id(1))));
    writer.append(prediction(1));
    assert!(matches!(inbox.recv().await, Some(Report::Failing(_))));
    while inbox.recv().await != Some(Report::Recovered) {}
}

/// A commit that reaches the disk and reports an error, as one whose fsync fails.
struct Doubtful(Sqlite, Arc<std::sync::atomic::AtomicBool>);

impl Journal for Doubtful {
    fn append(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError> {
        let fates = self.0.append(batch)?;
        if self.1.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(JournalError("input/output error".into()));
        }
        Ok(fates)
    }
}

#[tokio::test]
async fn what_was_refused_is_hidden_until_it_is_taken_back() {
    let Store { journal, reader, folder } = store();
    let unconfirmed = Unconfirmed::default();
    let raw = Reader::open(&folder.path().join("journal.db")).unwrap();
    let archive = Confirmed::new(reader, unconfirmed.clone());
    let (reports, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let failing = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let doubtful = failing.clone();
    let guard = journal.guard();
    let journal = Box::new(Doubtful(journal, doubtful));
    let report = move |report| drop(reports.send(report));
    let (writer, write) =
        Writer::start(journal, guard, unconfirmed, Starts::AtOnce, report).unwrap();
    tokio::spawn(write);
    writer.append(Record::Accepted(accepted(1, "", Some("k"))));
    while !matches!(inbox.recv().await, Some(Report::Refused(refused, _)) if refused == id(1)) {}
    assert!(raw.find(id(1)).unwrap().is_some(), "the commit has reached the disk");
    let all = Filter { limit: 9, ..Filter::default() };
    let seen = || {
        let by_key = archive.by_key("ann", "k").unwrap();
        (archive.find(id(1)).unwrap(), by_key, archive.list(&all).unwrap().entries)
    };
    assert_eq!(seen(), (None, None, Vec::new()));
    failing.store(false, std::sync::atomic::Ordering::SeqCst);
    while inbox.recv().await != Some(Report::Recovered) {}
    assert_eq!(raw.find(id(1)).unwrap(), None, "taken back");
    assert_eq!(seen(), (None, None, Vec::new()));
    // The key makes a request again, and that one is seen.
    writer.append(Record::Accepted(accepted(2, "", Some("k"))));
    assert_eq!(inbox.recv().await, Some(Report::Accepted(id(2))));
    assert_eq!(archive.by_key("ann", "k").unwrap(), Some((id(2), [7; 32])));
}
