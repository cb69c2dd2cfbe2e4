//! The arithmetic by hand.

use std::time::Duration;

use crate::drive::{Cost, Drive, time};
use crate::report::{number, parts, percent, report};
use crate::units::{FLEETS, PUT_3, SPLIT};
use crate::workload::{Division, Part, Replicas, Workload, crossing};

fn near(value: f64, expected: f64, off: f64) {
    assert!((value - expected).abs() <= off, "{value} is not {expected} within {off}");
}

/// With decisions of no weight, so that only what is on paper counts.
fn costs(decision: f64) -> Vec<Cost> {
    let cost =
        |&servers: &usize| Cost { servers, decision, mean: decision, report: 0.0, decided: 1.0 };
    FLEETS.iter().map(cost).collect()
}

#[test]
fn a_fleet_needs_what_the_page_says() {
    let load = Workload::default().load(1000.0);
    near(load.requests, 333.0, 0.5);
    near(load.records, 1332.0, 1.5);
    let cell = Workload::default().load(250.0);
    near(cell.picture_bytes, 125e6, 1.0);
    near(cell.picture_bytes * 86_400.0, 10.8e12, 1e6);
}

#[test]
fn pictures_are_full_where_the_page_says() {
    let workload = Workload::default();
    near(PUT_3.value / workload.picture_bytes, 44.0, 1e-9);
    near(workload.servers_at(Part::PicturesIn, 1.0, &costs(1e-9)), 132.0, 1e-6);
    near(workload.servers_at(Part::PicturesIn, SPLIT, &costs(1e-9)), 92.4, 1e-6);
    assert_eq!(workload.first(&Part::ALL, &costs(1e-9)).0, Part::PicturesIn);
    assert_eq!(workload.first(&Part::WITHOUT_PICTURES, &costs(1e-9)).0, Part::Log);
    assert_eq!(workload.first(&Part::ALL, &costs(0.1)).0, Part::Decisions);
}

#[test]
fn the_log_is_not_the_limit() {
    let workload = Workload::default();
    near(workload.utilisation(Part::Log, 1000.0, &costs(1e-9)[0]), 1332.0 / 24_000.0, 1e-4);
    near(workload.servers_at(Part::Log, 1.0, &costs(1e-9)), 18_000.0, 1e-6);
    let one = Workload { replicas: Replicas::One, ..workload };
    near(one.servers_at(Part::Log, 1.0, &costs(1e-9)), 31_875.0, 1e-6);
    near(one.servers_at(Part::PicturesIn, 1.0, &costs(1e-9)), 352.0, 1e-6);
}

#[test]
fn messages_are_counted() {
    // 15 reports of two messages each, two parts, and ten more.
    let workload = Workload::default();
    near(workload.messages_per_request(), 42.0, 0.0);
    near(workload.load(300.0).messages, 4200.0 + 120.0, 1e-9);
    let small = Workload { seconds_per_picture: 0.1, picture_bytes: 1.0, ..workload };
    near(small.messages_per_request(), 11.0, 0.0);
}

#[test]
fn what_is_kept_follows_its_time_and_its_copies() {
    let workload = Workload::default();
    near(workload.kept_bytes(250.0), 32.4e12, 1e6);
    let hour = Workload { keep_seconds: 3600.0, replicas: Replicas::One, ..workload };
    near(hour.kept_bytes(250.0), 0.45e12, 1e6);
}

#[test]
fn fleets_are_divided_as_the_page_says() {
    for (servers, most, replicas, cells, brokers) in [
        (4000, 250.0, Replicas::Three, 16, 12),
        (10, 250.0, Replicas::Three, 1, 3),
        (250, 250.0, Replicas::Three, 1, 3),
        (251, 250.0, Replicas::Three, 2, 3),
        (3000, 250.0, Replicas::Three, 12, 9),
        (10_000, 92.4, Replicas::Three, 109, 82),
        (4000, 250.0, Replicas::One, 16, 4),
        (10, 0.3, Replicas::One, 10, 3),
    ] {
        let division = Division::of(servers, most, replicas);
        assert_eq!(division, Division { cells, brokers }, "{servers} in {most}");
    }
}

#[test]
fn curves_are_crossed_between_and_beyond_their_points() {
    let square = [(1.0, 1.0), (10.0, 100.0), (100.0, 10_000.0)];
    for (height, x) in
        [(1.0, 1.0), (25.0, 5.0), (100.0, 10.0), (400.0, 20.0), (1e6, 1e3), (0.01, 0.1)]
    {
        near(crossing(&square, height), x, 1e-9 * x);
    }
}

#[test]
fn options_are_read_or_refused_in_one_line() {
    let read = |line: &str| Workload::read(line.split_whitespace().map(String::from));
    let standard = Workload::default();
    let other = Workload {
        seconds_per_picture: 0.5,
        picture_bytes: 9.0,
        replicas: Replicas::One,
        keep_seconds: 60.0,
    };
    assert_eq!(read(""), Ok(Some(standard)));
    assert_eq!(read("--replicas 3 --help"), Ok(None));
    let line = "--seconds-per-picture 0.5 --picture-bytes=9 --replicas 1 --keep-seconds 60";
    assert_eq!(read(line), Ok(Some(other)));
    for (line, said) in [
        ("--replicas 2", "--replicas is \"2\"; allowed: 1 or 3"),
        ("--replicas", "--replicas is nothing; allowed: 1 or 3"),
        ("--seconds-per-picture 0", "0.01 to 3600"),
        ("--seconds-per-picture NaN", "0.01 to 3600"),
        ("--picture-bytes 1.5", "a whole number of 1 to 1000000000"),
        ("--keep-seconds -1", "1 to 31536000"),
        ("--keep_seconds 1", "allowed: --seconds-per-picture"),
        ("3", "\"3\" is no option"),
    ] {
        let problem = read(line).expect_err(line);
        assert!(problem.contains(said) && !problem.contains('\n'), "{line}: {problem}");
    }
    let long = read(&"x".repeat(1000)).expect_err("no option");
    assert!(long.len() < 200, "{long}");
}

#[test]
fn numbers_are_easy_to_read() {
    for (value, text) in [
        (0.0, "0"),
        (0.25, "0.25"),
        (12.34, "12.3"),
        (250.0, "250"),
        (1332.4, "1,332"),
        (1e6, "1,000,000"),
    ] {
        assert_eq!(number(value), text);
    }
    assert_eq!([percent(0.0555), percent(1.894), percent(75.76)], ["5.5%", "189%", "7,576%"]);
}

#[test]
fn a_scheduler_stays_as_full_as_it_was() {
    let drive = Drive::filled(20, 3.0);
    assert!(drive.ends.len() > 10 && drive.ends.len() <= 20, "{} run", drive.ends.len());
    let cost = drive.time(Duration::ZERO);
    assert!(cost.decided >= 1.0 && cost.decision > 0.0 && cost.report > 0.0, "{cost:?}");
}
