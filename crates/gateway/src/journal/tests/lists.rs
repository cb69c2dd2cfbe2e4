//! Lists: what they show, and that they look at nothing else.

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;

#[test]
fn lists_are_filtered_and_paged() {
    let Store { mut journal, reader, folder: _folder } = store();
    for n in 1..=5 {
        journal.append(&[Record::Accepted(accepted(n, "", None)), decided(n)]).unwrap();
    }
    journal.append(&[ended(2, Outcome::Completed), ended(4, Outcome::Expired)]).unwrap();
    let reason = "status 500".to_string();
    let failed = Record::RunFailed { run: run(5, 1), at: at(2.0), reason };
    journal.append(&[started(3, 1), started(5, 1), failed]).unwrap();
    let list = |filter: Filter| -> Vec<u128> {
        let page = reader.list(&Filter { limit: 3, ..filter }).unwrap();
        page.entries.iter().map(|e| e.accepted.order.id.0.as_u128()).collect()
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

/// The rows of a filter over pages, and the number of pages.
fn pages(reader: &Reader, filter: &Filter) -> (Vec<u128>, usize) {
    let (mut found, mut pages, mut filter) = (Vec::new(), 0, filter.clone());
    loop {
        let page = reader.list(&filter).unwrap();
        assert!(page.entries.len() <= filter.limit as usize);
        found.extend(page.entries.iter().map(|e| e.accepted.order.id.0.as_u128()));
        pages += 1;
        match page.next {
            Some(next) => filter.before = Some(next),
            None => return (found, pages),
        }
    }
}

#[test]
fn a_filter_that_fits_little_comes_in_pages_that_may_be_empty() {
    let Store { mut journal, reader, folder: _folder } = store();
    let rows: u128 = 5_000;
    let record = |n| Record::Accepted(accepted(n, "", None));
    journal.append(&(1..=rows).map(record).collect::<Vec<_>>()).unwrap();
    journal.append(&[decided(3), decided(7)]).unwrap();
    let filter = Filter { server: Some("s0".into()), limit: 10, ..Filter::default() };
    let (found, pages) = pages(&reader, &filter);
    assert_eq!(found, [7, 3]);
    assert_eq!(pages, 3, "2010 rows at a time");
}

#[test]
fn lists_of_one_owner_read_only_its_rows_and_in_order() {
    let Store { folder, .. } = store();
    let raw = Connection::open(folder.path().join("journal.db")).unwrap();
    for (state, index) in [
        ("", "requests_by_owner (owner=? AND rowid<?)"),
        (" AND ended IS NULL", "requests_live (owner=? AND rowid<?)"),
        (" AND ended = ?3", "requests_ended (owner=? AND ended=? AND rowid<?)"),
    ] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT spec FROM requests
             WHERE position < ?1 AND owner = ?2{state} ORDER BY position DESC"
        );
        let mut statement = raw.prepare(&sql).unwrap();
        let values = ["9", "ann", "failed"];
        let values = rusqlite::params_from_iter(&values[..statement.parameter_count()]);
        let plan: Vec<String> =
            statement.query_map(values, |r| r.get(3)).unwrap().map(Result::unwrap).collect();
        assert_eq!(plan, [format!("SEARCH requests USING INDEX {index}")], "{state}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Page by page, a list is what a plain look at every request gives.
    #[test]
    fn pages_are_what_a_plain_look_gives(
        fates in prop::collection::vec((0..5usize, any::<bool>(), 0..3usize), 1..40),
        limit in 1..7u32,
        state in prop::option::of(0..7usize),
        mine in any::<bool>(),
        on_server in any::<bool>(),
    ) {
        let states = ["live", "waiting", "running", "completed", "failed", "cancelled", "expired"];
        let Store { mut journal, reader, folder: _folder } = store();
        let mut plain = Vec::new();
        for (n, (fate, is_mine, decisions)) in fates.iter().enumerate() {
            let n = n as u128 + 1;
            let mut request = (*accepted(n, "", None)).clone();
            request.order.owner = if *is_mine { "ann".into() } else { "bob".into() };
            journal.append(&[Record::Accepted(request.into())]).unwrap();
            let decisions = (0..*decisions).map(|_| decided(n)).collect::<Vec<_>>();
            journal.append(&decisions).unwrap();
            let outcome = match fate {
                0 => None,
                1 => { journal.append(&[started(n, 1)]).unwrap(); None }
                2 => Some(Outcome::Completed),
                3 => Some(Outcome::Failed { reason: "it broke".into() }),
                _ => Some(Outcome::Expired),
            };
            let name = ["waiting", "running", "completed", "failed", "expired"][*fate];
            if let Some(outcome) = outcome {
                journal.append(&[ended(n, outcome)]).unwrap();
            }
            plain.push((n, name, *is_mine, !decisions.is_empty()));
        }
        let state = state.map(|state| states[state]);
        let filter = Filter {
            owner: mine.then(|| "ann".into()),
            state: state.map(Into::into),
            server: on_server.then(|| "s0".into()),
            limit,
            ..Filter::default()
        };
        let fits = |(_, name, is_mine, decided): &&(u128, &str, bool, bool)| {
            let live = matches!(*name, "waiting" | "running");
            state.is_none_or(|state| state == *name || (state == "live" && live))
                && (!mine || *is_mine)
                && (!on_server || *decided)
        };
        let expected: Vec<u128> = plain.iter().rev().filter(fits).map(|row| row.0).collect();
        prop_assert_eq!(pages(&reader, &filter).0, expected);
    }
}

#[test]
fn a_picture_is_read_in_parts() {
    let Store { mut journal, reader, folder: _folder } = store();
    let png: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let Record::Ended { request, end, lived, .. } = ended(1, Outcome::Completed) else {
        unreachable!()
    };
    let picture = Picture { png: Png::Here(png.clone().into()), kept_until: Seconds::of(1e6) };
    let ended = Record::Ended { request, end, lived, picture: Some(picture) };
    journal.append(&[Record::Accepted(accepted(1, "", None)), ended]).unwrap();
    let Kept::Here(stored) = reader.picture(id(1)).unwrap() else { panic!("it is kept") };
    assert_eq!(stored.length, 300_000);
    let mut read = Vec::new();
    loop {
        let part = reader.picture_part(stored.clone(), read.len() as u64, 65_536).unwrap();
        if part.is_empty() {
            break;
        }
        read.extend_from_slice(&part);
    }
    assert!(read == png);
    assert_eq!(reader.picture_part(stored.clone(), u64::MAX, 9).unwrap().len(), 0);
}
