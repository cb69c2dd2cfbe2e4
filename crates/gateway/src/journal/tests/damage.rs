//! A journal that is not as it was written: an error, never a panic, and never a wrong request.

use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::*;

/// A journal with some of everything in it.
fn filled() -> Store {
    let mut store = store();
    let records = |n: u128| {
        let key = n.to_string();
        [Record::Accepted(accepted(n, "x", Some(&key))), decided(n), started(n, 1)]
    };
    store.journal.append(&(1..20).flat_map(records).collect::<Vec<_>>()).unwrap();
    let reason = "status 500".to_string();
    let failed = Record::RunFailed { run: run(3, 1), at: at(2.0), reason };
    store
        .journal
        .append(&[failed, ended(7, Outcome::Completed), ended(8, Outcome::Expired)])
        .unwrap();
    store
}

/// Reads everything that can be read.
fn read_all(reader: &Reader) -> Result<(), JournalError> {
    let unfinished = reader.unfinished()?;
    reader.last()?;
    reader.clocks()?;
    reader.arrivals(50)?;
    reader.traffic()?;
    reader.completed_runs("s0", None, 48)?;
    let list = reader.list(&Filter { limit: 50, ..Filter::default() })?;
    let requests = list.entries.iter().map(|entry| &entry.accepted);
    for accepted in requests.chain(unfinished.iter().map(|open| &open.accepted)) {
        // What a backend would be asked for.
        assert_eq!(accepted.spec.width * accepted.spec.height, accepted.order.pixels);
        assert!(accepted.order.request.bounds.min <= accepted.order.request.bounds.max);
    }
    for n in 1..20 {
        reader.find(id(n))?;
        if let Kept::Here(stored) = reader.picture(id(n))? {
            reader.picture_part(stored, 0, usize::MAX)?;
        }
        reader.by_key("ann", &n.to_string())?;
    }
    Ok(())
}

/// Something that SQLite takes in some column.
fn cell() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        (-2..300i64).prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Real),
        "\\PC{0,20}".prop_map(Value::Text),
        "completed|failed|linear|arrival|s0".prop_map(Value::Text),
        r#"\{"prompt":"x","negative_prompt":"","width":[0-9]{1,10},"height":[0-9]{1,10},"seed":1\}"#
            .prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Blob),
    ]
}

#[test]
fn an_undamaged_journal_is_read_whole() {
    read_all(&filled().reader).unwrap();
}

#[test]
fn a_cell_that_makes_no_sense_is_named() {
    for (change, parts) in [
        ("UPDATE requests SET penalty = 'cubic' WHERE position = 5", ["penalty", "square_root"]),
        ("UPDATE requests SET max_steps = 201 WHERE position = 5", ["max_steps", "1 to 200"]),
        ("UPDATE requests SET min_steps = 91 WHERE position = 5", ["min_steps", "1 to 90"]),
        ("UPDATE requests SET due = -7 WHERE position = 5", ["due = -7", "0 to 1e9"]),
        ("UPDATE requests SET pixels = 1 WHERE position = 5", ["pixels", "64"]),
    ] {
        let Store { reader, folder, .. } = filled();
        let raw = Connection::open(folder.path().join("journal.db")).unwrap();
        assert_eq!(raw.execute(change, []).unwrap(), 1);
        let message = reader.unfinished().unwrap_err().to_string();
        assert!(message.contains("request 5"), "{message}");
        for part in parts {
            assert!(message.contains(part), "{message}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever stands in a few cells, reading never panics.
    #[test]
    fn damaged_cells_are_errors(
        damage in prop::collection::vec((any::<prop::sample::Index>(), 1..20i64, cell()), 1..4),
    ) {
        let Store { reader, folder, .. } = filled();
        let raw = Connection::open(folder.path().join("journal.db")).unwrap();
        let columns: Vec<(String, String)> = raw
            .prepare("SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c
                      WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'")
            .unwrap()
            .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        for (place, row, value) in damage {
            let (table, column) = place.get(&columns);
            let change = format!("UPDATE {table} SET {column} = ?1 WHERE rowid = ?2");
            // Types and keys of the tables refuse most of it.
            let _ = raw.execute(&change, rusqlite::params![value, row]);
        }
        let _ = read_all(&reader);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    /// Whatever bytes stand where the journal should be, opening and reading it never panics.
    #[test]
    fn a_damaged_file_is_an_error(
        damage in prop::collection::vec((0.0..1.0f64, any::<u8>()), 1..200),
    ) {
        let Store { journal, folder, .. } = filled();
        drop(journal);
        let path = folder.path().join("journal.db");
        let mut bytes = std::fs::read(&path).unwrap();
        for (place, value) in damage {
            let place = (place * bytes.len() as f64) as usize;
            bytes[place] = value;
        }
        std::fs::write(&path, bytes).unwrap();
        if Sqlite::open(&path, 0.0).is_ok() && let Ok(reader) = Reader::open(&path) {
            let _ = read_all(&reader);
        }
    }
}
