use super::*;

fn at(seconds: f64) -> Time {
    Time::new(seconds).unwrap()
}

/// What the journal or the scheduler says of a completed request.
fn completed(tardiness: f64, quality: f64, steps: u64, reward: f64) -> Worth {
    let on_time = u64::from(tardiness == 0.0);
    Worth { completed: 1, on_time, tardiness, quality, steps, reward }
}

fn ended(outcome: &Outcome, penalty: TardinessPenalty, worth: Worth) -> Ended<'_> {
    Ended { outcome, penalty, worth }
}

/// The buckets of a scale, with the Unix seconds at which they begin.
fn all(statistics: &Statistics, scale: Scale, now: f64, ahead: f64) -> Vec<(i64, Bucket)> {
    let changed = statistics.since(scale, 0, at(now), ahead);
    changed.buckets.into_iter().map(|(begins, bucket)| (begins, (*bucket).clone())).collect()
}

#[test]
fn ends_are_summed_up_by_penalty_and_owner() {
    use TardinessPenalty::{Linear, Quadratic, SquareRoot};
    let mut statistics = Statistics::new(0.0);
    let [ann, bob]: [Owner; 2] = ["ann".into(), "bob".into()];
    let failed = Outcome::Failed { reason: "no".into() };
    let lost = Worth::default();
    for (time, owner, outcome, penalty, worth) in [
        (0.0, &ann, &Outcome::Completed, Linear, completed(0.0, 40.0, 60, 40.0)),
        (1.0, &ann, &Outcome::Completed, Linear, completed(1e-9, 30.0, 30, 30.0)),
        (4.999, &bob, &Outcome::Completed, SquareRoot, completed(4.0, 20.0, 10, 17.0)),
        (5.0, &bob, &failed, Quadratic, lost),
        (6.0, &bob, &Outcome::Expired, Quadratic, lost),
        (7.0, &ann, &Outcome::Cancelled, Linear, lost),
        (7.0, &ann, &Outcome::Cancelled, Quadratic, lost),
    ] {
        statistics.ended(at(time), owner, &ended(outcome, penalty, worth));
    }
    let linear =
        Worth { completed: 2, on_time: 1, tardiness: 1e-9, quality: 70.0, steps: 90, reward: 70.0 };
    let worth = [linear, Worth::default(), completed(4.0, 20.0, 10, 17.0)];
    let first = Bucket { worth, ..Bucket::default() };
    let second = Bucket { failed: 1, expired: 1, cancelled: 2, ..Bucket::default() };
    let both = Bucket { failed: 1, expired: 1, cancelled: 2, ..first.clone() };
    assert_eq!(all(&statistics, Scale::Recent, 7.0, 0.0), [(0, first), (5, second)]);
    assert_eq!(all(&statistics, Scale::Day, 7.0, 0.0), [(0, both.clone())]);
    assert_eq!((both.completed().completed, both.completed().on_time), (3, 1));
    let tallies = statistics.tallies();
    let counts = |owner| {
        let Tally { accepted, completed, late, .. } = tallies[owner];
        (accepted, completed, late)
    };
    assert_eq!((counts(&ann), counts(&bob)), ((0, 2, 1), (0, 1, 1)));
}

#[test]
fn runs_samples_and_decisions_are_summed_up() {
    let mut statistics = Statistics::new(0.0);
    let a: Arc<str> = "a".into();
    for error in [0.5, -0.25] {
        statistics.ran(at(1.0), &a, error);
    }
    statistics.sampled(at(1.0), 3, &[1.0, 2.0].map(Seconds::of));
    statistics.sampled(at(1.5), 0, &[0.0, 0.0].map(Seconds::of));
    statistics.decided(at(2.0), true, 40.0, 40.0);
    statistics.decided(at(2.0), false, 38.0, 39.5);
    let buckets = all(&statistics, Scale::Recent, 2.0, 0.0);
    let [(0, bucket)] = &*buckets else { panic!("{buckets:?}") };
    assert_eq!(bucket.runs[&a], Runs { count: 2, error: 0.25, absolute_error: 0.75 });
    assert_eq!((bucket.waiting.value(), bucket.backlog.value()), (Some(1.5), Some(0.75)));
    let decisions = Decisions { count: 2, agreed: 1, expected: 78.0, shadow_expected: 79.5 };
    assert_eq!(bucket.decisions, decisions);
    assert_eq!(Bucket::default().waiting.value(), None);
}

#[test]
fn buckets_begin_at_whole_spans_of_the_wall_clock_wherever_time_began() {
    // The time line began at 1000003.5 of the wall clock.
    let ahead = 1_000_003.5;
    let mut statistics = Statistics::new(ahead);
    for time in [0.0, 1.0, 1.5, 296.5] {
        statistics.sampled(at(time), 1, &[]);
    }
    let begins = |scale, ahead| {
        let buckets = all(&statistics, scale, 296.5, ahead);
        buckets.iter().map(|(begins, _)| *begins).collect::<Vec<_>>()
    };
    assert_eq!(begins(Scale::Recent, ahead), [1_000_000, 1_000_005, 1_000_300]);
    assert_eq!(begins(Scale::Day, ahead), [999_900, 1_000_200]);
    // The clock is set a little: the dates stay; then by much, and they follow.
    assert_eq!(begins(Scale::Recent, ahead + 1.7), [1_000_000, 1_000_005, 1_000_300]);
    assert_eq!(begins(Scale::Day, ahead + 3600.0), [1_003_500, 1_003_800]);
}

#[test]
fn what_is_old_is_forgotten() {
    let mut statistics = Statistics::new(0.0);
    for time in [2.0, 898.0, 900.0, 90_000.0] {
        statistics.sampled(at(time), 1, &[]);
        assert!(statistics.recent.buckets.len() <= 2);
    }
    let begins = |scale, now| {
        let buckets = all(&statistics, scale, now, 0.0);
        buckets.iter().map(|(begins, _)| *begins).collect::<Vec<_>>()
    };
    assert_eq!(begins(Scale::Recent, 90_000.0), [90_000]);
    assert_eq!(begins(Scale::Recent, 91_000.0), [] as [i64; 0], "nothing has happened since");
    assert_eq!(begins(Scale::Day, 90_000.0), [90_000]);
    // The first and the last of a quarter of an hour.
    let mut statistics = Statistics::new(0.0);
    for time in [0.0, 5.0, 899.0, 900.0] {
        statistics.sampled(at(time), 1, &[]);
    }
    let recent = all(&statistics, Scale::Recent, 900.0, 0.0);
    assert_eq!(recent.iter().map(|(begins, _)| *begins).collect::<Vec<_>>(), [5, 895, 900]);
}

#[test]
fn only_what_has_changed_since_is_told() {
    let mut statistics = Statistics::new(0.0);
    statistics.sampled(at(1.0), 1, &[]);
    statistics.sampled(at(6.0), 1, &[]);
    let first = statistics.since(Scale::Recent, 0, at(6.0), 0.0);
    assert_eq!(first.buckets.len(), 2);
    assert!(statistics.since(Scale::Recent, first.changes, at(6.0), 0.0).buckets.is_empty());
    statistics.sampled(at(7.0), 5, &[]);
    let next = statistics.since(Scale::Recent, first.changes, at(7.0), 0.0);
    let [(5, bucket)] = &*next.buckets else { panic!("{next:?}") };
    assert_eq!(bucket.waiting.value(), Some(3.0));
    assert_eq!(first.buckets[1].1.waiting.value(), Some(1.0), "who looks has it as it was");
}

#[test]
fn what_the_journal_knows_is_merged_with_what_has_happened_since() {
    let mut statistics = Statistics::new(0.0);
    let (now, penalty) = (at(86_400.0 + 100.0), TardinessPenalty::Quadratic);
    let done = ended(&Outcome::Completed, penalty, completed(0.0, 10.0, 5, 10.0));
    statistics.ended(now, &"ann".into(), &done);
    let summary = |span, outcome, count, worth| Summary { span, penalty, outcome, count, worth };
    let two =
        Worth { completed: 2, on_time: 1, tardiness: 3.0, quality: 60.0, steps: 40, reward: 51.0 };
    statistics.remember(
        now,
        &[
            // More than a day ago by now.
            summary(0, Outcome::Completed, 2, two),
            summary(1, Outcome::Expired, 4, Worth::default()),
            summary(288, Outcome::Completed, 2, two),
        ],
    );
    let buckets = all(&statistics, Scale::Day, now.seconds(), 0.0);
    let [(300, old), (86_400, new)] = &*buckets else { panic!("{buckets:?}") };
    assert_eq!((old.expired, old.completed().completed), (4, 0));
    let all_three =
        Worth { completed: 3, on_time: 2, tardiness: 3.0, quality: 70.0, steps: 45, reward: 61.0 };
    assert_eq!(new.worth[1], all_three);
    assert_eq!(statistics.tallies()["ann"].completed, 1, "since the start");
}
