//! What has come of the requests of the last day.

use super::*;

/// A request that ended at some time, in the gateway's and that lived.
fn end(n: u128, penalty: TardinessPenalty, at_: f64, lived: f64, end: EndEntry) -> [Record; 2] {
    let mut request = (*accepted(n, "x", None)).clone();
    request.order.request.penalty = penalty;
    let end = EndEntry { at: at(at_), ..end };
    let (request, lived) = (Record::Accepted(request.into()), Seconds::of(lived));
    [request, Record::Ended { request: id(n), end, picture: None, lived }]
}

fn entry(outcome: Outcome, tardiness: f64, worth: Option<(u32, f64, f64)>) -> EndEntry {
    EndEntry {
        at: at(0.0),
        outcome,
        server: Some("s0".into()),
        steps: worth.map(|(count, ..)| steps(count)),
        start: Some(at(1.0)),
        attempts: 1,
        tardiness: Seconds::of(tardiness),
        quality: worth.map(|(_, quality, _)| quality),
        reward: worth.map(|(.., reward)| reward),
    }
}

#[test]
fn ends_are_summed_up_by_span_penalty_and_outcome() {
    use TardinessPenalty::{Linear, SquareRoot};
    let Store { mut journal, reader, folder: _folder } = store();
    let done = |tardiness, worth| entry(Outcome::Completed, tardiness, Some(worth));
    let failed = |reason: &str| entry(Outcome::Failed { reason: reason.into() }, 1.0, None);
    for records in [
        // Before the window, by the time lived and by the gateway's.
        end(1, Linear, 150.0, 9.9, done(0.0, (5, 1.0, 1.0))),
        end(2, Linear, 99.0, 10.0, done(0.0, (5, 1.0, 1.0))),
        end(3, Linear, 100.0, 10.0, done(0.0, (10, 30.0, 30.0))),
        end(4, Linear, 104.9, 10.0, done(2.0, (20, 40.0, 37.0))),
        end(5, SquareRoot, 104.9, 10.0, done(0.0, (30, 45.0, 45.0))),
        end(6, Linear, 105.0, 10.0, failed("one reason")),
        end(7, Linear, 106.0, 10.0, failed("another")),
        end(8, Linear, 107.0, 10.0, entry(Outcome::Expired, 9.0, None)),
        // After it.
        end(9, Linear, 200.0, 10.0, done(0.0, (5, 1.0, 1.0))),
    ] {
        journal.append(&records).unwrap();
    }
    let window = Window {
        from: at(100.0),
        until: at(200.0),
        lived: Seconds::of(10.0),
        span: Seconds::of(5.0),
        offset: Seconds::of(0.0),
    };
    let summary =
        |span, penalty, outcome, count, worth| Summary { span, penalty, outcome, count, worth };
    let none = Worth::default();
    let both =
        Worth { completed: 2, on_time: 1, tardiness: 2.0, quality: 70.0, steps: 30, reward: 67.0 };
    let one =
        Worth { completed: 1, on_time: 1, tardiness: 0.0, quality: 45.0, steps: 30, reward: 45.0 };
    let all_failed = Outcome::Failed { reason: String::new() };
    let expected = [
        summary(20, Linear, Outcome::Completed, 2, both),
        summary(20, SquareRoot, Outcome::Completed, 1, one),
        summary(21, Linear, Outcome::Expired, 1, none),
        summary(21, Linear, all_failed, 2, none),
    ];
    assert_eq!(reader.summaries(&window).unwrap(), expected);
    // Spans that begin two seconds before the time line.
    let shifted = Window { offset: Seconds::of(2.0), ..window };
    let spans: Vec<_> = reader.summaries(&shifted).unwrap().iter().map(|s| s.span).collect();
    assert_eq!(spans, [20, 21, 21, 21, 21]);
}
