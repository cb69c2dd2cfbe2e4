//! Instances have the right statistics and depend on scenario, seed and episode alone.

use proptest::prelude::*;
use scheduling::{Instance, Request, Seconds, TardinessPenalty};
use simulation::{Drawn, Episode, EpisodeSource, InstanceSource, Scenario, Uniform};

fn paper() -> Scenario {
    Scenario::from_toml(include_str!("../../../scenarios/paper.toml")).unwrap()
}

fn arrivals(instance: &Instance) -> Vec<f64> {
    instance.requests().iter().map(|request| request.arrival.seconds()).collect()
}

proptest! {
    #[test]
    fn each_property_is_the_same_whatever_else_is_drawn(
        seed in any::<u64>(), episode in 0u64..1000, requests in 1usize..50,
    ) {
        let scenario = paper().with(|s| s.requests = requests).unwrap();
        let changed = |change: fn(&mut simulation::Settings)| {
            scenario.with(change).unwrap().instance(seed, Episode::Training(episode))
        };
        let instance = changed(|_| {});
        let longer = changed(|s| s.requests += 7);
        prop_assert_eq!(&longer.requests()[..requests], instance.requests());

        let slack = changed(|s| s.due.slack = Uniform::constant(Seconds::of(3.0)));
        let penalties = changed(|s| s.penalties.linear = 100.0.try_into().unwrap());
        let cluster = changed(|s| s.cluster.drawn = Drawn::PerInstance);
        prop_assert_eq!(arrivals(&slack), arrivals(&instance));
        prop_assert_eq!(arrivals(&penalties), arrivals(&instance));
        prop_assert_eq!(cluster.requests(), instance.requests());
        for (changed, request) in penalties.requests().iter().zip(instance.requests()) {
            prop_assert_eq!(changed.due, request.due);
        }
        for (changed, request) in slack.requests().iter().zip(instance.requests()) {
            prop_assert_eq!(changed.penalty, request.penalty);
        }
    }

    #[test]
    fn requests_are_sorted_and_slack_is_in_range(seed in any::<u64>(), interval in 0.0..50.0) {
        let scenario = paper().with_mean_interval(Seconds::of(interval)).unwrap();
        let instance = scenario.instance(seed, Episode::Evaluation(0));
        prop_assert!(instance.requests().is_sorted_by_key(|request| request.arrival));
        for request in instance.requests() {
            // Taking the difference of two times may round.
            prop_assert!((2.0 - 1e-9..=20.0 + 1e-9).contains(&request.slack().seconds()));
        }
    }

    #[test]
    fn training_never_sees_an_evaluation_instance(seed in any::<u64>(), a in 0u64..1 << 63, b in 0u64..1 << 63) {
        prop_assert_ne!(Episode::Training(a).stream(), Episode::Evaluation(b).stream());
        let scenario = paper().with(|s| s.requests = 2).unwrap();
        let training = scenario.instance(seed, Episode::Training(a));
        for other in [Episode::Evaluation(a), Episode::Evaluation(b)] {
            prop_assert_ne!(arrivals(&training), arrivals(&scenario.instance(seed, other)));
        }
    }

    #[test]
    fn files_hold_instances_exactly(seed in any::<u64>(), requests in 1usize..20) {
        let scenario = paper().with(|s| s.requests = requests).unwrap();
        let instance = scenario.instance(seed, Episode::Evaluation(0));
        prop_assert_eq!(Instance::from_json(&instance.to_json()), Ok(instance));
    }
}

#[test]
fn a_cluster_drawn_once_is_the_same_for_all() {
    let scenario = paper();
    let cluster = scenario.cluster(1, Episode::Training(0));
    assert_eq!(cluster, scenario.cluster(2, Episode::Evaluation(9)));
    let own = scenario.with(|s| s.cluster.drawn = Drawn::PerInstance).unwrap();
    let rate = |seed, episode| own.cluster(seed, episode)[0].step_rate;
    let first = rate(1, Episode::Training(0));
    assert_ne!(first, rate(1, Episode::Training(1)));
    assert_ne!(first, rate(1, Episode::Evaluation(0)));
    assert_ne!(first, rate(2, Episode::Training(0)));
    assert_eq!(first, rate(1, Episode::Training(0)));
}

#[test]
fn servers_come_in_their_groups() {
    for seed in 0..50 {
        let scenario = paper().with(|s| s.cluster.drawn = Drawn::Once { seed }).unwrap();
        let cluster = scenario.cluster(0, Episode::Training(0));
        assert_eq!(cluster.len(), 10);
        for (index, server) in cluster.iter().enumerate() {
            assert_eq!(server.name, format!("s{index}"));
            let range = if index < 6 { 12.0..=18.0 } else { 6.0..=10.0 };
            assert!(
                range.contains(&server.step_rate.steps_per_second()),
                "seed {seed}: {server:?}"
            );
            assert_eq!(server.overhead, Seconds::ZERO);
        }
    }
}

/// 100 instances of 2000 requests: bounds are five standard errors or more.
#[test]
fn the_papers_workload_has_the_papers_statistics() {
    let seed = 11;
    let scenario = paper().with(|s| s.penalties.linear = 2.0.try_into().unwrap()).unwrap();
    let instances: Vec<_> =
        (0..100).map(|episode| scenario.instance(seed, Episode::Training(episode))).collect();
    let mean = |value: &dyn Fn(&Request) -> f64| {
        let requests = instances.iter().flat_map(Instance::requests);
        requests.map(value).sum::<f64>() / 200_000.0
    };
    let check = |what: &str, value: f64, expected: f64, bound: f64| {
        assert!((value - expected).abs() < bound, "seed {seed}: {what} is {value}");
    };

    let intervals = instances.iter().map(|i| i.requests()[1999].arrival.seconds() / 2000.0);
    check("mean interval", intervals.sum::<f64>() / 100.0, 15.0, 0.2);
    // A memoryless process: one interval in e² is longer than twice the mean.
    let long: usize = instances
        .iter()
        .map(|i| {
            i.requests()
                .windows(2)
                .filter(|w| (w[1].arrival - w[0].arrival).seconds() > 30.0)
                .count()
        })
        .sum();
    check("long intervals", long as f64 / 199_900.0, (-2f64).exp(), 0.004);

    check("slack", mean(&|r| r.slack().seconds()), 11.0, 0.06);
    check("spread of slack", mean(&|r| (r.slack().seconds() - 11.0).powi(2)), 27.0, 0.3);
    for (penalty, share) in TardinessPenalty::ALL.into_iter().zip([0.5, 0.25, 0.25]) {
        check("share", mean(&|r| f64::from(r.penalty == penalty)), share, 0.006);
    }
}

/// The numbers are a promise: a scenario and a seed name the same instances for ever.
#[test]
fn known_instance() {
    let instance = paper().with(|s| s.requests = 2).unwrap().instance(1, Episode::Evaluation(0));
    assert_eq!(instance.to_json(), KNOWN);
}

const KNOWN: &str = "{\"servers\":[\
{\"name\":\"s0\",\"steps_per_second\":13.029548986307548},\
{\"name\":\"s1\",\"steps_per_second\":12.397918143307546},\
{\"name\":\"s2\",\"steps_per_second\":17.65836694088447},\
{\"name\":\"s3\",\"steps_per_second\":12.66227511923768},\
{\"name\":\"s4\",\"steps_per_second\":14.259170396119194},\
{\"name\":\"s5\",\"steps_per_second\":17.99896832382762},\
{\"name\":\"s6\",\"steps_per_second\":6.867099141419079},\
{\"name\":\"s7\",\"steps_per_second\":8.445275226228546},\
{\"name\":\"s8\",\"steps_per_second\":7.290923191446813},\
{\"name\":\"s9\",\"steps_per_second\":6.037191122906565}],\
\"requests\":[\
{\"arrival\":7.850663610233151,\"due\":22.270934189598215,\"penalty\":\"quadratic\"},\
{\"arrival\":17.736112511180448,\"due\":37.64049252502054,\"penalty\":\"quadratic\"}],\
\"tardiness_weight\":1.5}\n";
