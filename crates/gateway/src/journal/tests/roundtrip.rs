//! Whatever is written is read back equal.

use proptest::option;
use proptest::prelude::*;

use super::*;

/// Any number that a time may be, the odd ones among them.
fn moment() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(0.1 + 0.2),
        Just(f64::MIN_POSITIVE),
        Just(1e6 / 3.0),
        0.0..1e9,
        (0u32..1000).prop_map(f64::from),
    ]
}

fn time() -> impl Strategy<Value = Time> {
    moment().prop_map(at)
}

fn seconds() -> impl Strategy<Value = Seconds> {
    moment().prop_map(Seconds::of)
}

/// Letters, quotes, line breaks, what is no ASCII, NUL.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,40}", "['\"\\\\\\n\u{0}a-z]{0,10}", Just(String::new())]
}

fn name() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Arc::from)
}

fn any_steps() -> impl Strategy<Value = Steps> {
    (1u32..=200).prop_map(steps)
}

fn any_accepted() -> impl Strategy<Value = Arc<Accepted>> {
    let penalty = prop_oneof![
        Just(TardinessPenalty::Linear),
        Just(TardinessPenalty::Quadratic),
        Just(TardinessPenalty::SquareRoot),
    ];
    let key = option::of((text(), any::<[u8; 32]>()));
    let order = (name(), time(), time(), time(), penalty, any_steps(), any_steps());
    let texts = (text(), text(), option::of(text()));
    let callback = option::of(text());
    (order, texts, 1u32..3000, 1u32..3000, any::<u64>(), key, callback).prop_map(
        |(order, (prompt, negative_prompt, model), width, height, seed, key, callback)| {
            let (owner, arrival, due, expires, penalty, one, other) = order;
            let bounds = StepBounds { min: one.min(other), max: one.max(other) };
            let request = Request { bounds, ..Request::new(arrival, due, penalty) };
            let order = Order { id: id(1), owner, request, pixels: width * height, expires };
            let spec = Spec { prompt, negative_prompt, width, height, seed, model };
            let key = key.map(|(key, fingerprint)| IdempotencyKey { key, fingerprint });
            Arc::new(Accepted { order, spec, key, callback })
        },
    )
}

fn any_decision() -> impl Strategy<Value = DecisionEntry> {
    let cause = prop::sample::select(vec![
        Cause::Arrival,
        Cause::ServerUp,
        Cause::ServerDown,
        Cause::ServerSlower,
        Cause::Drained,
        Cause::Retry,
        Cause::Abandoned,
        Cause::ServerResting,
        Cause::ServerFree,
        Cause::Restart,
        Cause::Reconfigured,
    ]);
    let shadow = option::of((name(), any_steps()));
    (time(), cause, name(), any_steps(), time(), time(), name(), shadow).prop_map(
        |(at, cause, server, steps, start, finish, policy, shadow)| {
            let shadow = shadow.map(|(server, steps)| Shadow { server, steps });
            DecisionEntry { at, cause, server, steps, start, finish, policy, shadow }
        },
    )
}

fn any_run() -> impl Strategy<Value = OpenRun> {
    let run = (name(), any_steps(), time(), seconds(), seconds(), option::of(text()));
    run.prop_map(|(server, steps, start, load, service, ticket)| OpenRun {
        server,
        steps,
        start,
        load,
        service,
        ticket,
    })
}

fn any_end() -> impl Strategy<Value = EndEntry> {
    let outcome = prop_oneof![
        Just(Outcome::Completed),
        Just(Outcome::Cancelled),
        Just(Outcome::Expired),
        text().prop_map(|reason| Outcome::Failed { reason }),
    ];
    let run = (option::of(name()), option::of(any_steps()), option::of(time()), any::<u32>());
    let worth = (seconds(), option::of(moment()), option::of(-1e9..1e9));
    (time(), outcome, run, worth).prop_map(|(at, outcome, run, worth)| {
        let (server, steps, start, attempts) = run;
        let (tardiness, quality, reward) = worth;
        EndEntry { at, outcome, server, steps, start, attempts, tardiness, quality, reward }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_are_read_back_equal(
        accepted in any_accepted(),
        decisions in prop::collection::vec(any_decision(), 0..3),
        open in option::of(any_run()),
        end in option::of(any_end()),
    ) {
        let Store { mut journal, reader, folder: _folder } = store();
        let request = id(1);
        let mut batch = vec![Record::Accepted(accepted.clone())];
        for decision in decisions.clone() {
            batch.push(Record::Decided { request, decision });
        }
        if let Some(run) = open.clone() {
            batch.push(Record::Started { id: RunId { request, attempt: 1 }, run });
        }
        journal.append(&batch).unwrap();
        let attempts = u32::from(open.is_some());
        let expected = Unfinished { accepted: (*accepted).clone(), attempts, failures: 0, open };
        prop_assert_eq!(reader.unfinished().unwrap(), [expected]);
        if let Some(end) = end.clone() {
            journal.append(&[Record::Ended { request, end, picture: None, lived: Seconds::ZERO }]).unwrap();
            prop_assert_eq!(reader.unfinished().unwrap(), []);
        }
        let entry = reader.find(request).unwrap().unwrap();
        let expected = Entry {
            position: entry.position,
            accepted: (*accepted).clone(),
            decision: decisions.last().cloned(),
            end,
        };
        prop_assert_eq!(entry, expected);
    }
}
