use proptest::prelude::*;
use scheduling::{Generator, Purpose};

use super::*;

fn speed(overhead: f64, rate: f64) -> Speed {
    Speed { overhead: Seconds::of(overhead), rate: StepRate::new(rate).unwrap() }
}

fn steps(number: u32) -> Steps {
    Steps::new(number).unwrap()
}

fn estimate(runs: &[(u32, f64, f64)]) -> Option<Speed> {
    let mut estimator = SpeedEstimator::new(speed(0.5, 10.0));
    for &(number, size, took) in runs {
        estimator.observe(steps(number), size, Seconds::of(took));
    }
    estimator.estimate()
}

/// Largest share by which a prediction for any number of steps from 20 to 100 is wrong.
fn error(found: Speed, true_speed: Speed) -> f64 {
    let off = |number: u32| {
        let [found, right] = [found, true_speed].map(|s| s.service_time(steps(number)).seconds());
        (found / right - 1.0).abs()
    };
    (20..=100).map(off).fold(0.0, f64::max)
}

#[test]
fn few_runs_say_nothing() {
    assert_eq!(estimate(&[(20, 1.0, 2.0); 4]), None);
}

#[test]
fn equal_runs_leave_the_overhead_as_configured() {
    let found = estimate(&[(20, 1.0, 4.5); 6]).unwrap();
    assert!((found.overhead.seconds() - 0.5).abs() < 1e-9);
    assert!((found.rate.steps_per_second() - 5.0).abs() < 1e-9);
    // Ten times as fast as configured, so its overhead is ten times as short.
    let found = estimate(&[(20, 1.0, 0.25); 6]).unwrap();
    assert!((found.overhead.seconds() - 0.05).abs() < 1e-9);
    assert!((found.rate.steps_per_second() - 100.0).abs() < 1e-9);
}

#[test]
fn a_flat_line_is_a_speed() {
    for noise in [0.0, 0.01] {
        let runs: Vec<_> =
            (0..30u32).map(|i| (1 + i * 37 % 200, 1.0, 0.2 + noise * f64::from(i % 3))).collect();
        let found = estimate(&runs).unwrap();
        assert!((found.overhead.seconds() - 0.2).abs() < 0.03, "{found:?}");
        assert!(found.rate.steps_per_second() > 1e4, "{found:?}");
    }
}

#[test]
fn slow_runs_of_one_kind_are_forgotten_after_a_few_others() {
    let mut runs = vec![(2, 1.0, 5.0); 5];
    runs.extend([1, 60, 200, 20, 120, 1, 60, 200].map(|number| (number, 1.0, 0.2)));
    let found = estimate(&runs).unwrap();
    assert!((found.service_time(steps(200)).seconds() - 0.2).abs() < 0.01, "{found:?}");
}

#[test]
fn a_line_that_falls_is_a_change_and_no_flat_line() {
    let mut runs = vec![(2, 1.0, 2.0); 6];
    for number in [4, 12, 8] {
        runs.push((number, 1.0, f64::from(number) / 10.0));
        let found = estimate(&runs).unwrap();
        assert!(found.rate.steps_per_second() < 2.0, "{found:?}");
    }
    runs.extend([16, 4].map(|number| (number, 1.0, f64::from(number) / 10.0)));
    let found = estimate(&runs).unwrap();
    assert!((found.rate.steps_per_second() - 10.0).abs() < 0.5, "{found:?}");
}

#[test]
fn a_server_is_slow_against_the_best_that_was_known_of_it() {
    let mut estimator = SpeedEstimator::new(speed(0.0, 10.0));
    let mut observe = |rate: f64, times: u32| {
        for i in 0..times {
            let number = 4 + 4 * (i % 4);
            estimator.observe(steps(number), 1.0, Seconds::of(f64::from(number) / rate));
        }
        (estimator.is_slow(), estimator.surprises(steps(10), 1.0, Seconds::of(0.5)))
    };
    assert_eq!(observe(10.0, 10), (false, true));
    assert_eq!(observe(5.0, 10), (true, true));
    assert_eq!(observe(20.0, 10), (false, false));
    assert_eq!(observe(10.0, 10), (true, true));
}

/// Which run of every five has to load a model first.
fn loads(g: &mut Generator, runs: usize) -> Vec<bool> {
    let block = |g: &mut Generator| {
        let which = g.below(5);
        (0..5).map(move |i| i == which)
    };
    (0..runs.div_ceil(5)).flat_map(|_| block(g)).take(runs).collect()
}

/// A run of a server whose speed is `true_speed`, with 2 % of noise.
fn draw(g: &mut Generator, true_speed: Speed, loads: bool) -> (u32, f64) {
    let number = 1 + g.below(100) as u32;
    let ideal = true_speed.service_time(steps(number)).seconds() * (1.0 + 0.02 * g.normal());
    let load = if loads { g.between(5.0, 60.0) } else { 0.0 };
    (number, ideal + load)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn finds_the_speed_in_spite_of_model_loads_and_hiccups(
        seed in 0..1000u64, overhead in 0.0..2.0f64, rate in 1.0..40.0f64,
    ) {
        let mut g = Generator::new(seed, Purpose::Search, 0);
        let runs: Vec<_> = (0..48).map(|i| {
            let (number, size) = (1 + g.below(100) as u32, [0.5, 1.0, 2.0][g.below(3)]);
            let noise = 1.0 + 0.02 * g.normal();
            let ideal = (overhead + f64::from(number) * size / rate) * noise;
            let load = if i % 5 == 0 { g.between(5.0, 60.0) } else { 0.0 };
            (number, size, ideal + load)
        }).collect();
        let found = estimate(&runs).unwrap();
        let error: f64 = found.rate.steps_per_second() / rate - 1.0;
        prop_assert!(error.abs() < 0.15, "{found:?}");
        let off: f64 = (found.overhead.seconds() - overhead).abs();
        prop_assert!(off < 0.2 + 10.0 / rate, "{found:?}");
    }

    /// However many runs lie before it.
    #[test]
    fn a_change_is_noticed_within_eight_runs(
        seed in 0..1000u64, overhead in 0.0..2.0f64, rate in 1.0..40.0f64, factor in 2.0..50.0f64,
        faster in any::<bool>(), before in 5..80usize,
    ) {
        let mut g = Generator::new(seed, Purpose::Search, 0);
        let factor = if faster { factor } else { 1.0 / factor };
        let after = speed(overhead / factor, rate * factor);
        let mut estimator = SpeedEstimator::new(speed(0.5, 10.0));
        for i in 0..before + 8 {
            let (number, took) = draw(&mut g, if i < before { speed(overhead, rate) } else { after }, false);
            estimator.observe(steps(number), 1.0, Seconds::of(took));
        }
        let found = estimator.estimate().unwrap();
        prop_assert!(error(found, after) < 0.25, "{found:?} for {after:?}");
    }

    /// Outliers among the runs before and after it delay that, and no more.
    #[test]
    fn a_change_is_noticed_among_outliers(
        seed in 0..1000u64, overhead in 0.0..1.0f64, rate in 10.0..40.0f64, factor in 2.0..50.0f64,
        faster in any::<bool>(),
    ) {
        let mut g = Generator::new(seed, Purpose::Search, 0);
        let factor = if faster { factor } else { 1.0 / factor };
        let after = speed(overhead / factor, rate * factor);
        let mut estimator = SpeedEstimator::new(speed(0.5, 10.0));
        for (i, load) in loads(&mut g, 40 + 24).into_iter().enumerate() {
            let now = if i < 40 { speed(overhead, rate) } else { after };
            let (number, took) = draw(&mut g, now, load);
            estimator.observe(steps(number), 1.0, Seconds::of(took));
        }
        let found = estimator.estimate().unwrap();
        prop_assert!(error(found, after) < 0.25, "{found:?} for {after:?}");
    }

    /// A server whose speed does not change keeps its estimate, outliers or not.
    #[test]
    fn outliers_are_no_change(seed in 0..1000u64, overhead in 0.0..1.0f64, rate in 5.0..40.0f64) {
        let mut g = Generator::new(seed, Purpose::Search, 0);
        let mut estimator = SpeedEstimator::new(speed(0.5, 10.0));
        for (i, load) in loads(&mut g, 110).into_iter().enumerate() {
            let (number, took) = draw(&mut g, speed(overhead, rate), load);
            estimator.observe(steps(number), 1.0, Seconds::of(took));
            if i >= 30 {
                let found = estimator.estimate().unwrap();
                prop_assert!(error(found, speed(overhead, rate)) < 0.3, "{found:?} after {i}");
            }
        }
    }

    #[test]
    fn any_runs_give_a_speed_in_range(
        runs in prop::collection::vec((1..200u32, 0.01..16.0, 0.0..1e6), 0..60),
    ) {
        if let Some(found) = estimate(&runs) {
            prop_assert!(found.overhead.seconds() >= 0.0);
        }
    }
}

/// Over many servers: the median of what 48 runs say of the deviation, and of the mean time of a run.
#[test]
fn how_far_runs_stray_is_learned_in_spite_of_outliers() {
    let true_speed = speed(0.3, 12.0);
    for (sigma, outliers) in [(0.0, true), (0.1, false), (0.1, true), (0.34, false), (0.34, true)] {
        let learn = |seed| {
            let mut g = Generator::new(seed, Purpose::Search, 0);
            let mut estimator = SpeedEstimator::new(true_speed);
            for run in 0..SpeedEstimator::WINDOW {
                let number = 10 + g.below(90) as u32;
                let stretch = (sigma * g.normal() - sigma * sigma / 2.0).exp();
                let load = if outliers && run % 5 == 0 { 20.0 } else { 0.0 };
                let took = true_speed.service_time(steps(number)) * stretch + Seconds::of(load);
                estimator.observe(steps(number), 1.0, took);
                if run < 14 {
                    assert_eq!(estimator.sigma(), Sigma::default(), "few runs say nothing");
                }
            }
            estimator
        };
        let learned: Vec<_> = (0..60).map(learn).collect();
        let median = |value: &dyn Fn(&SpeedEstimator) -> f64| {
            let mut values: Vec<_> = learned.iter().map(value).collect();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let found = median(&|own| own.sigma().into());
        let mean = median(&|own| typical(own.estimate().unwrap()) / typical(true_speed));
        // A fifth of the runs move the median to what five eighths of the others take at most.
        let (most, longer) = if outliers { (1.3, 0.25) } else { (1.1, 0.03) };
        assert!((0.85 * sigma..=most * sigma).contains(&found), "{found} for {sigma}");
        assert!((mean - 1.0).abs() <= longer, "{mean} for {sigma}");
    }
}
