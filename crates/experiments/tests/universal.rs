//! The committed universal agent keeps its promises, on few instances: no timing, no randomness.
//! `examples/universal.rs` has the whole comparison with intervals.

use experiments::{Questions, evaluate};
use scheduling::Seconds;
use simulation::{Drawn, Scenario};

const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/universal");
const SEED: u64 = 21;

/// Rewards per request on three unseen instances, in the order of the names.
fn rewards(scenario: &Scenario, names: &[String]) -> Vec<f64> {
    let load = |name: &String| agent::Recipe::load(&name.parse().unwrap()).unwrap();
    let recipes: Vec<_> = names.iter().map(load).collect();
    let evaluation = evaluate(scenario, &recipes, 3, SEED, &Questions::NONE, || ()).unwrap();
    evaluation.policies.iter().map(|policy| policy.summary.reward.mean).collect()
}

fn names(others: &[&str]) -> Vec<String> {
    let mut names = vec![format!("agent[{AGENT}]")];
    names.extend(others.iter().map(ToString::to_string));
    names
}

fn contended(interval: f64) -> Scenario {
    Scenario::from_toml(include_str!("../../../scenarios/contended.toml"))
        .and_then(|scenario| scenario.with_mean_interval(Seconds::of(interval)))
        .unwrap()
}

#[test]
fn it_beats_the_rules_under_contention() {
    // The prices that `atelier tune` finds for these very scenarios.
    for (interval, priced) in [
        (1.0, "priced[base=0.6497,slope=0.8503,power=0.6195]"),
        (1.5, "priced[base=0.3053,slope=0.8376,power=0.3467]"),
        (2.0, "priced[base=0.3324,slope=0.7053,power=0.2591]"),
    ] {
        let rewards = rewards(&contended(interval), &names(&["greedy", "myopic", priced]));
        let [universal, greedy, myopic, priced] = rewards[..] else { panic!("four policies") };
        assert!(universal > 1.14 * greedy, "interval {interval}: {rewards:?}");
        assert!(
            universal > myopic && universal > 1.006 * priced,
            "interval {interval}: {rewards:?}"
        );
    }
}

#[test]
fn it_is_as_good_as_the_rules_anywhere() {
    for (strong, weak, interval) in [(6, 4, 15.0), (1, 0, 20.0), (2, 1, 4.0), (24, 16, 0.5)] {
        let scenario = contended(interval)
            .with(|settings| {
                settings.cluster.drawn = Drawn::PerInstance;
                settings.cluster.servers[0].count = strong;
                settings.cluster.servers[1].count = weak;
                settings.requests = 1000;
            })
            .unwrap();
        let rules = ["greedy", "greedy[ties=fastest]", "fixed[steps=100]", "myopic", "priced"];
        let rewards = rewards(&scenario, &names(&rules));
        let best = rewards[1..].iter().copied().fold(f64::MIN, f64::max);
        assert!(rewards[0] > best - 0.05, "{strong} + {weak}, {interval} s: {rewards:?}");
    }
}

#[test]
fn it_beats_tuned_prices_in_fleets() {
    // The prices that `atelier tune` finds for these very scenarios.
    for (resident, interval, least, priced) in [
        (1, 1.0, 1.01, "priced[base=1.1539,slope=0.8259,power=0.2001,load=1.6415]"),
        (2, 1.0, 1.01, "priced[base=0.4744,slope=0.7921,power=0.5577,load=1.6292]"),
        (1, 2.0, 1.01, "priced[base=0.4976,slope=0.2453,power=0.5272,load=0.4945]"),
    ] {
        let scenario = Scenario::from_toml(include_str!("../../../scenarios/fleet.toml"))
            .and_then(|scenario| scenario.with_mean_interval(Seconds::of(interval)))
            .and_then(|scenario| {
                scenario.with(|settings| settings.models.as_mut().unwrap().resident = resident)
            })
            .unwrap();
        let rewards = rewards(&scenario, &names(&["greedy", priced]));
        let [universal, greedy, priced] = rewards[..] else { panic!("three policies") };
        assert!(
            universal > least * priced && universal > 1.1 * greedy,
            "room for {resident}, {interval} s: {rewards:?}"
        );
    }
}

#[test]
fn a_cap_bounds_the_worst_tardiness() {
    let name = format!("agent[{AGENT},cap=20]").parse().unwrap();
    let capped = agent::Recipe::load(&name).unwrap();
    let evaluation =
        evaluate(&contended(1.0), &[capped], 3, SEED, &Questions::NONE, || ()).unwrap();
    for metrics in &evaluation.policies[0].instances {
        assert!(metrics.tardiness_worst <= 20.0 + 1e-9, "{metrics:?}");
    }
}
