//! Simulator and batched environment are two views of one system.

use proptest::prelude::*;
use scheduling::verify::{Order, verify};
use scheduling::{
    Decision, Environment, Generator, Observation, Policy, Purpose, Row, Rule, Seconds, Steps,
};
use simulation::{BatchedEnvironment, Drawn, Episode, InstanceSource, Scenario, Uniform, simulate};

fn scenario(requests: usize, interval: f64, drawn: Drawn, overhead: f64) -> Scenario {
    Scenario::from_toml(include_str!("../../../scenarios/contended.toml"))
        .unwrap()
        .with_mean_interval(Seconds::of(interval))
        .unwrap()
        .with(|settings| {
            settings.requests = requests;
            settings.cluster.drawn = drawn;
            settings.cluster.servers[1].count = 1;
            settings.cluster.servers[1].overhead = Uniform::constant(Seconds::of(overhead));
        })
        .unwrap()
}

fn drawn() -> impl Strategy<Value = Drawn> {
    prop_oneof![any::<u32>().prop_map(|seed| Drawn::Once { seed }), Just(Drawn::PerInstance)]
}

/// Decisions drawn at random, and what the policy saw when it took them.
struct Recorder {
    generator: Generator,
    seen: Vec<(Vec<Seconds>, scheduling::Request, Decision)>,
}

impl Recorder {
    fn new(seed: u64, episode: u64) -> Self {
        Self { generator: Generator::new(seed, Purpose::Policy, episode), seen: Vec::new() }
    }
}

impl Policy for Recorder {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let server = self.generator.below(observation.offers.len());
        let decision = Decision { server, steps: Steps::from_index(self.generator.below(200)) };
        self.seen.push((
            observation.offers.iter().map(|offer| offer.backlog).collect(),
            *observation.request,
            decision,
        ));
        decision
    }
}

/// What one episode looks like in the simulator: observations, decisions, rows.
fn reference(scenario: &Scenario, seed: u64, episode: u64) -> (Recorder, Vec<Row>) {
    let mut recorder = Recorder::new(seed, episode);
    let instance = scenario.instance(seed, Episode::Training(episode));
    let rows = simulate(&instance, &mut recorder);
    (recorder, rows)
}

/// Runs `batch` episodes and compares every observation and reward, bit for bit.
fn compare(
    environment: &mut BatchedEnvironment<&Scenario>,
    scenario: &Scenario,
    seed: u64,
    first: u64,
) {
    let (batch, servers) = (environment.lanes(), environment.servers());
    let lanes: Vec<_> =
        (0..batch).map(|lane| reference(scenario, seed, first + lane as u64)).collect();
    let mut rewards = vec![f64::NAN; batch];
    for step in 0..environment.requests() {
        assert!(!environment.done());
        let mut actions = Vec::new();
        for (lane, (recorder, _)) in lanes.iter().enumerate() {
            let (backlog, request, decision) = &recorder.seen[step];
            let backlog: Vec<_> = backlog.iter().map(|m| m.seconds() as f32).collect();
            assert_eq!(environment.backlog()[lane * servers..][..servers], backlog[..]);
            assert_eq!(environment.slack()[lane], request.slack().seconds() as f32);
            assert_eq!(environment.penalty()[lane], request.penalty);
            actions.push(*decision);
        }
        environment.step(&actions, &mut rewards);
        for (lane, (_, rows)) in lanes.iter().enumerate() {
            let expected = rows[step].reward;
            assert_eq!(rewards[lane].to_bits(), expected.to_bits(), "lane {lane}, step {step}");
        }
    }
    assert!(environment.done());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_environment_is_the_simulator_bit_for_bit(
        seed in any::<u64>(), first in 0u64..1 << 40, batch in 1usize..9, requests in 1usize..80,
        interval in 0.0..15.0, drawn in drawn(), overhead in 0.0..2.0,
    ) {
        let scenario = scenario(requests, interval, drawn, overhead);
        let mut environment = BatchedEnvironment::new(&scenario, seed, batch);
        compare(&mut environment, &scenario, seed, 0);
        environment.reset(first);
        compare(&mut environment, &scenario, seed, first);
    }

    #[test]
    fn every_rule_passes_the_judge(
        seed in any::<u64>(), requests in 1usize..80, interval in 0.0..15.0, drawn in drawn(),
        overhead in 0.0..2.0,
    ) {
        let scenario = scenario(requests, interval, drawn, overhead);
        let instance = scenario.instance(seed, Episode::Evaluation(0));
        for rule in ["random", "greedy", "greedy[ties=fastest]", "fixed[steps=30]", "myopic"] {
            let rule: Rule = rule.parse().unwrap();
            let mut policy = rule.policy(Generator::new(seed, Purpose::Policy, 0));
            let rows = simulate(&instance, &mut *policy);
            prop_assert_eq!(verify(&instance, &rows, Order::FirstComeFirstServed), Ok(()));
        }
    }
}

#[test]
fn long_episodes_agree_to_the_last_request() {
    let scenario = Scenario::from_toml(include_str!("../../../scenarios/contended.toml")).unwrap();
    compare(&mut BatchedEnvironment::new(&scenario, 5, 3), &scenario, 5, 0);
}

#[test]
fn rows_do_not_depend_on_the_number_of_threads() {
    let scenario = scenario(200, 1.0, Drawn::PerInstance, 0.0);
    let run = |episode| scheduling::write_rows(&reference(&scenario, 3, episode).1, &[]);
    let alone: Vec<_> = (0..8).map(run).collect();
    let together = std::thread::scope(|scope| {
        let halves =
            [0..4, 4..8].map(|half| scope.spawn(move || half.map(run).collect::<Vec<_>>()));
        halves.map(|half| half.join().unwrap()).concat()
    });
    assert_eq!(alone, together);
}

struct Astray;

impl Policy for Astray {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        Decision { server: observation.offers.len(), steps: Steps::MIN }
    }
}

#[test]
#[should_panic(expected = "the policy takes offer 7 for request 0: allowed is 0 to 6")]
fn a_policy_that_names_no_server_is_told() {
    let scenario = scenario(3, 1.0, Drawn::PerInstance, 0.0);
    simulate(&scenario.instance(1, Episode::Training(0)), &mut Astray);
}

#[test]
#[should_panic(expected = "lane 1 acts on server 7: allowed is 0 to 6")]
fn an_action_that_names_no_server_is_told() {
    let scenario = scenario(3, 1.0, Drawn::PerInstance, 0.0);
    let mut environment = BatchedEnvironment::new(&scenario, 1, 2);
    let action = |server| Decision { server, steps: Steps::MIN };
    environment.step(&[action(6), action(7)], &mut [0.0; 2]);
}

#[test]
#[should_panic(expected = "the episodes are done after 1 steps")]
fn no_step_after_the_last() {
    let scenario = scenario(1, 1.0, Drawn::PerInstance, 0.0);
    let mut environment = BatchedEnvironment::new(&scenario, 1, 1);
    let actions = [Decision { server: 0, steps: Steps::MIN }];
    environment.step(&actions, &mut [0.0]);
    environment.step(&actions, &mut [0.0]);
}
