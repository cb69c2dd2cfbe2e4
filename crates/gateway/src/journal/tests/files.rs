//! The journal's files: whose they are, who may read them, and what becomes of them while they are
//! in use.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::engine::Starts;

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

#[test]
fn a_second_writer_is_refused_with_the_process_that_has_the_journal() {
    let Store { journal, folder, .. } = store();
    let path = folder.path().join("journal.db");
    let refused = |path: &Path| Sqlite::open(path, 0.0).err().unwrap().to_string();
    let holder = format!("in use by process {}:", std::process::id());
    assert!(refused(&path).contains(&holder), "{}", refused(&path));
    #[cfg(unix)]
    {
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink("journal.db", &link).unwrap();
        assert!(refused(&link).contains(&holder), "by another name it is the same");
        let hard = folder.path().join("hard.db");
        fs::hard_link(&path, &hard).unwrap();
        assert!(refused(&hard).contains("2 names"), "{}", refused(&hard));
        fs::remove_file(hard).unwrap();
    }
    // Reading beside the writer is no harm, and the lock is given back.
    Reader::open(&path).unwrap();
    drop(journal);
    Sqlite::open(&path, 0.0).unwrap();
}

#[test]
fn what_is_no_journal_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.db");
    for wal in [false, true] {
        let _ = fs::remove_file(&path);
        let other = rusqlite::Connection::open(&path).unwrap();
        if wal {
            other.pragma_update(None, "journal_mode", "WAL").unwrap();
        }
        other.execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES ('x')").unwrap();
        drop(other);
        let before = fs::read(&path).unwrap();
        let refused = Sqlite::open(&path, 0.0).err().unwrap().to_string();
        assert!(refused.contains("database of another program"), "{refused}");
        assert!(fs::read(&path).unwrap() == before);
    }
    // One that has our table names in it, and much else, is not ours by its mark.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE requests (x)").unwrap();
    other.pragma_update(None, "application_id", 7).unwrap();
    drop(other);
    assert!(Sqlite::open(&path, 0.0).is_err());
    for (name, part) in [(".", "regular file"), ("no/journal.db", "folder"), ("..", "regular")] {
        let refused = Sqlite::open(&folder.path().join(name), 0.0).err().unwrap().to_string();
        assert!(refused.contains(part), "{refused}");
    }
    #[cfg(unix)]
    {
        let link = folder.path().join("dangling.db");
        std::os::unix::fs::symlink("nothing.db", &link).unwrap();
        let refused = Sqlite::open(&link, 0.0).err().unwrap().to_string();
        assert!(refused.contains("link to a file that is not there"), "{refused}");
    }
}

#[test]
fn a_log_without_its_file_is_not_thrown_away() {
    let Store { mut journal, folder, reader } = store();
    journal.append(&[Record::Accepted(accepted(1, "", None))]).unwrap();
    let path = folder.path().join("journal.db");
    let log = fs::read(folder.path().join("journal.db-wal")).unwrap();
    drop((journal, reader));
    for emptied in [true, false] {
        fs::write(folder.path().join("journal.db-wal"), &log).unwrap();
        if emptied {
            fs::write(&path, "").unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let refused = Sqlite::open(&path, 0.0).err().unwrap().to_string();
        assert!(refused.contains("empty or gone"), "{refused}");
        assert!(fs::read(folder.path().join("journal.db-wal")).unwrap() == log);
    }
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let modes = |folder: &Path| -> Vec<(String, u32)> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let mut modes: Vec<_> = entries
            .map(|entry| {
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                (entry.file_name().into_string().unwrap(), mode)
            })
            .collect();
        modes.sort();
        modes
    };
    let expected: Vec<_> = ["", "-shm", "-wal", ".lock"]
        .iter()
        .map(|ending| (format!("journal.db{ending}"), 0o600))
        .collect();
    let Store { mut journal, folder, reader } = store();
    journal.append(&[Record::Accepted(accepted(1, "", None))]).unwrap();
    assert_eq!(modes(folder.path()), expected);
    // Files from before are tightened; a reader keeps the log from being removed.
    reader.last().unwrap();
    drop(journal);
    for (name, _) in &expected {
        let open = fs::Permissions::from_mode(0o644);
        fs::set_permissions(folder.path().join(name), open).unwrap();
    }
    let _journal = Sqlite::open(&folder.path().join("journal.db"), 0.0).unwrap();
    assert_eq!(modes(folder.path()), expected);
    drop(reader);
}

/// What can happen to the files under a running gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Unlink(&'static str),
    Move(&'static str),
    Replace(&'static str),
    Truncate(&'static str),
    Overwrite,
    CopyOver,
    UnlinkFolder,
}

impl Mishap {
    const ALL: [Self; 14] = [
        Self::Unlink(""),
        Self::Unlink("-wal"),
        Self::Unlink("-shm"),
        Self::Unlink(".lock"),
        Self::Move(""),
        Self::Move("-wal"),
        Self::Replace(""),
        Self::Replace("-wal"),
        Self::Replace(".lock"),
        Self::Truncate(""),
        Self::Truncate("-wal"),
        Self::Overwrite,
        Self::CopyOver,
        Self::UnlinkFolder,
    ];

    fn happen(self, database: &Path) {
        let name = |ending: &str| -> PathBuf { file::beside(database, ending) };
        let before = fs::read(database).unwrap();
        match self {
            Self::Unlink(ending) => fs::remove_file(name(ending)).unwrap(),
            Self::Move(ending) => fs::rename(name(ending), name(".old")).unwrap(),
            Self::Replace(ending) => {
                fs::copy(name(ending), name(".new")).unwrap();
                fs::rename(name(".new"), name(ending)).unwrap();
            }
            Self::Truncate(ending) => {
                fs::OpenOptions::new().write(true).open(name(ending)).unwrap().set_len(0).unwrap();
            }
            // The same length and all; only when it was changed tells.
            Self::Overwrite => fs::write(database, vec![7; before.len()]).unwrap(),
            Self::CopyOver => fs::write(database, before).unwrap(),
            Self::UnlinkFolder => fs::remove_dir_all(database.parent().unwrap()).unwrap(),
        }
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_once_the_files_are_not_those_that_were_opened() {
    for mishap in Mishap::ALL {
        let Store { journal, folder, reader: _reader } = store();
        let checkpointer = Checkpointer::new(&journal).unwrap();
        let (reports, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let report = move |report| drop(reports.send(report));
        let (guard, journal) = (journal.guard(), Box::new(journal));
        let (writer, write) =
            Writer::start(journal, guard, Unconfirmed::default(), Starts::AtOnce, report).unwrap();
        tokio::spawn(write);
        for n in 1..4 {
            writer.append(Record::Accepted(accepted(n, "", None)));
            assert_eq!(inbox.recv().await, Some(Report::Accepted(id(n))));
            checkpointer.run().unwrap();
            assert_eq!(checkpointer.check(), Ok(()), "our own work is no damage");
        }
        // The clock of the file system is coarse.
        std::thread::sleep(std::time::Duration::from_millis(15));
        mishap.happen(&folder.path().join("journal.db"));
        writer.append(Record::Accepted(accepted(9, "", None)));
        assert!(matches!(inbox.recv().await, Some(Report::Lost(_))), "{mishap:?}");
        assert!(matches!(inbox.recv().await, Some(Report::Refused(..))), "{mishap:?}");
        assert!(matches!(checkpointer.check(), Err(Damage::Lost(_))), "{mishap:?}");
        assert!(checkpointer.run().is_err(), "{mishap:?}");
        // For good, whatever is put back.
        writer.append(Record::Accepted(accepted(10, "", None)));
        assert!(matches!(inbox.recv().await, Some(Report::Refused(..))), "{mishap:?}");
    }
}

#[test]
fn a_long_log_that_is_moved_by_the_writer_itself_is_no_damage() {
    let Store { mut journal, folder: _folder, .. } = store();
    let guard = journal.guard();
    let lines = "long ".repeat(600_000);
    for n in 1..=40 {
        let batch = [Record::Accepted(accepted(n, &lines, None))];
        guard.commit(|| journal.append(&batch).unwrap()).unwrap();
        guard.check().unwrap();
    }
}
