//! The gateway's scheduler in virtual time: the paper's world to the last bit, and luck and failures as
//! the judge allows them.

mod reality;

use proptest::prelude::*;
use reality::{RULES, rows, under};
use scheduling::policies::Myopic;
use scheduling::verify::{Order, Violation, verify};
use scheduling::{
    Cluster, Decision, Down, Fate, Generator, Instance, Luck, Objective, Observation, Offer,
    Policy, Purpose, Request, Row, Seconds, Server, ServerFate, Sigma, Spread, StepRate,
    TardinessPenalty, Time,
};
use simulation::{
    Episode, InstanceSource, Recording, Recordings, Scenario, simulate, simulate_by_events,
};

fn at(seconds: f64) -> Time {
    Time::ZERO + Seconds::of(seconds)
}

/// Requests of which every fourth arrives with the one before, on servers of which some are alike.
fn instance(seed: u64, servers: usize, requests: usize, interval: f64) -> Instance {
    let mut draw = Generator::new(seed, Purpose::Search, 0);
    let servers = (0..servers).map(|index| {
        Server::new(
            format!("s{index}"),
            StepRate::new([4.0, 8.0, draw.between(4.0, 20.0)][draw.below(3)]).unwrap(),
            Seconds::of([0.0, draw.between(0.0, 1.0)][draw.below(2)]),
        )
    });
    let cluster = Cluster::new(servers.collect()).unwrap();
    let mut now = Time::ZERO;
    let requests = (0..requests).map(|_| {
        if draw.below(4) > 0 {
            now += Seconds::of(draw.exponential(interval));
        }
        let due = now + Seconds::of(draw.between(0.0, 20.0));
        Request::new(now, due, TardinessPenalty::ALL[draw.below(3)])
    });
    Instance::new(cluster, requests.collect(), Objective::default()).unwrap()
}

proptest! {
    /// One scheduler, two ways to drive it: where nothing goes wrong, not one bit differs.
    #[test]
    fn events_change_nothing_in_the_papers_world(
        seed in any::<u64>(), servers in 1usize..6, requests in 1usize..120, interval in 0.05..20.0,
    ) {
        let instance = instance(seed, servers, requests, interval);
        for rule in RULES {
            let [fast, events] = [simulate, simulate_by_events].map(|run| rows(run, &instance, rule));
            prop_assert_eq!(fast, events, "{}", rule);
        }
    }

    #[test]
    fn luck_and_failures_give_schedules_that_the_judge_accepts(
        seed in any::<u64>(), servers in 1usize..5, requests in 1usize..80, interval in 0.05..10.0,
        sigma in 0.0..1.5, outages in 0usize..6,
    ) {
        let instance = under(instance(seed, servers, requests, interval), seed, sigma, outages);
        let read = Instance::from_json(&instance.to_json()).unwrap();
        prop_assert_eq!(&read, &instance);
        for rule in RULES {
            let rows = rows(simulate, &instance, rule);
            prop_assert_eq!(verify(&instance, &rows, Order::FirstComeFirstServed), Ok(()), "{}", rule);
            let text = scheduling::write_rows(&rows, &[]);
            prop_assert_eq!(scheduling::read_rows(&text, &[]).unwrap(), rows);
        }
    }
}

fn one_server(down: Vec<Down>, sigma: f64, luck: &[f64]) -> Instance {
    let server = Server::new("only", StepRate::new(10.0).unwrap(), Seconds::ZERO);
    let requests = (0..luck.len()).map(|index| {
        let arrival = at(index as f64);
        Request::new(arrival, at(99.0), TardinessPenalty::Linear)
    });
    let cluster = Cluster::new(vec![server]).unwrap();
    let instance = Instance::new(cluster, requests.collect(), Objective::default()).unwrap();
    let servers = vec![ServerFate { sigma: Sigma::new(sigma).unwrap(), down }];
    let luck = luck.iter().map(|&luck| Some(Luck::new(luck).unwrap())).collect();
    instance.under(Some(Fate { servers, luck })).unwrap()
}

/// Start, finish and runs of each request, two seconds being predicted for each.
fn course(instance: &Instance) -> Vec<(f64, f64, u32)> {
    let rows = rows(simulate, instance, "fixed[steps=20]");
    assert_eq!(verify(instance, &rows, Order::FirstComeFirstServed), Ok(()));
    rows.iter().map(|row| (row.start, row.finish, row.beyond.unwrap().attempts)).collect()
}

#[test]
fn runs_take_what_their_luck_makes_of_the_prediction() {
    let two = 2.0_f64;
    let luck = [0.5 + two.ln(), 0.5]; // twice the prediction, and just the prediction
    let found = course(&one_server(Vec::new(), 1.0, &luck));
    assert!((found[0].1 - 4.0).abs() < 1e-12 && (found[1].1 - 6.0).abs() < 1e-12, "{found:?}");
}

#[test]
fn what_runs_and_waits_on_a_server_that_goes_down_is_decided_again() {
    let down = |from, to| Down { from: at(from), to: at(to) };
    let found = course(&one_server(vec![down(1.5, 5.0)], 0.0, &[0.0; 3]));
    // The first run is lost; the third request arrives while nothing is up.
    assert_eq!(found, [(5.0, 7.0, 2), (7.0, 9.0, 1), (9.0, 11.0, 1)]);
    // A run that ends as its server goes down has ended, and the next one is lost as it starts.
    let found = course(&one_server(vec![down(2.0, 3.0)], 0.0, &[0.0; 2]));
    assert_eq!(found, [(0.0, 2.0, 1), (3.0, 5.0, 2)]);
    // Down from the beginning.
    let found = course(&one_server(vec![down(0.0, 3.0)], 0.0, &[0.0; 1]));
    assert_eq!(found, [(3.0, 5.0, 1)]);
}

#[test]
fn the_judge_names_what_cannot_have_been() {
    let instance = one_server(vec![Down { from: at(1.5), to: at(5.0) }], 0.5, &[0.2; 3]);
    let good = rows(simulate, &instance, "fixed[steps=20]");
    let judge = |change: &dyn Fn(&mut Row)| {
        let mut rows = good.clone();
        change(&mut rows[0]);
        verify(&instance, &rows, Order::FirstComeFirstServed).unwrap_err()
    };
    let beyond = |change: fn(&mut scheduling::Beyond)| {
        judge(&|row: &mut Row| change(row.beyond.as_mut().unwrap()))
    };
    let shown = |violations: Vec<Violation>| {
        violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (violations, part) in [
        (judge(&|row| row.start = 4.0), "runs request 0 though it is down from 1.5 s to 5 s"),
        (judge(&|row| row.finish += 1e-3), "finish is"),
        (judge(&|row| row.beyond = None), "the columns from model on"),
        (beyond(|beyond| beyond.attempts = 3), "took 3 runs: allowed is 1 to 2"),
        (beyond(|beyond| beyond.attempts = 0), "took 0 runs"),
        (beyond(|beyond| beyond.attempts = u32::MAX), "took 4294967295 runs"),
        (beyond(|beyond| beyond.load = 1.0), "load is 1, but 0 follows"),
        (beyond(|beyond| beyond.size = 2.0), "size is 2, but 1 follows"),
    ] {
        let shown = shown(violations);
        assert!(shown.contains(part), "{shown:?} does not contain {part:?}");
    }
}

const PAPER: &str = include_str!("../../../scenarios/paper.toml");

fn scenario(more: &str) -> Scenario {
    Scenario::from_toml(&format!("{PAPER}\n{more}")).unwrap()
}

#[test]
fn a_scenario_draws_luck_and_outages_and_nothing_else_changes() {
    let (noise, failures) =
        ("[noise]\nsigma = 0.3\n", "[failures]\nmean_up_seconds = 900\nmean_down_seconds = 100\n");
    let real = scenario(&format!("{noise}{failures}"));
    assert_eq!(Scenario::from_toml(&real.to_toml()).unwrap(), real);
    assert!(!real.is_plain() && scenario("").is_plain());
    let episode = Episode::Evaluation(3);
    let [ideal, drawn] = [&scenario(""), &real].map(|scenario| scenario.instance(7, episode));
    assert_eq!((drawn.requests(), drawn.cluster()), (ideal.requests(), ideal.cluster()));
    assert_eq!(drawn, real.instance(7, episode), "the same every time");
    assert_ne!(drawn, real.instance(8, episode));
    // Each table alone draws what both draw together.
    let fate = drawn.fate().unwrap();
    let alone = scenario(noise).instance(7, episode);
    assert_eq!(alone.fate().unwrap().luck, fate.luck);
    let alone = scenario(failures).instance(7, episode);
    for (alone, both) in alone.fate().unwrap().servers.iter().zip(&fate.servers) {
        assert_eq!(alone.down, both.down);
    }
    let luck: Vec<f64> = fate.luck.iter().map(|luck| f64::from(luck.unwrap())).collect();
    let mean = luck.iter().sum::<f64>() / luck.len() as f64;
    let square = luck.iter().map(|luck| luck * luck).sum::<f64>() / luck.len() as f64;
    assert!(mean.abs() < 0.1 && (square - 1.0).abs() < 0.15, "{mean}, {square}");
    let end = drawn.requests().last().unwrap().arrival;
    let spans = fate.servers.iter().flat_map(|server| &server.down);
    let down: f64 = spans.map(|down| (down.to - down.from).seconds()).sum();
    let share = down / (end.seconds() * fate.servers.len() as f64);
    assert!((0.07..0.13).contains(&share), "down for {share} of the time");
}

#[test]
fn bad_tables_are_refused_with_their_place_and_range() {
    for (more, parts) in [
        ("[noise]\nsigma = -0.1", ["sigma", "-0.1", "0 to 3"]),
        ("[noise]\nsigma = 3.5", ["sigma", "3.5", "0 to 3"]),
        ("[noise]\nsigma = nan", ["sigma", "NaN", "0 to 3"]),
        ("[noise]\ndeviation = 1", ["deviation", "unknown field", "sigma"]),
        ("[failures]\nmean_up_seconds = 9", ["failures", "missing field", "mean_down_seconds"]),
        (
            "[failures]\nmean_up_seconds = 0\nmean_down_seconds = 9",
            ["mean_up_seconds", "0 is not", "1 to 1e6"],
        ),
    ] {
        let error = Scenario::from_toml(&format!("{PAPER}\n{more}")).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{error:?} does not contain {part:?}");
        }
    }
    let often = "[failures]\nmean_up_seconds = 1\nmean_down_seconds = 1";
    let often = Scenario::from_toml(&format!("{PAPER}\n{often}")).unwrap();
    let error = often
        .with(|settings| (settings.requests, settings.cluster.servers[0].count) = (600_000, 990))
        .unwrap_err();
    assert!(error.to_string().contains("allowed is up to 1e6"), "{error}");
}

#[test]
fn resampled_recordings_stray_and_fail_as_they_did() {
    let recorded = under(instance(3, 2, 60, 2.0), 3, 0.5, 2);
    let recordings = Recordings::new(vec![Recording::new("monday", recorded.clone())]);
    assert!(!recordings.is_plain());
    assert_eq!(recordings.instance(1, Episode::Evaluation(0)), recorded);
    let [one, two] = [0, 1].map(|number| recordings.instance(1, Episode::Training(number)));
    assert_eq!(one.fate().unwrap().servers, recorded.fate().unwrap().servers);
    assert_ne!(one.fate().unwrap().luck, two.fate().unwrap().luck);
}

/// A policy that does not know that runs stray.
struct Trusting<P>(P);

impl<P: Policy> Policy for Trusting<P> {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let certain = |offer: &Offer| Offer { spread: Spread::default(), ..*offer };
        let offers: Vec<_> = observation.offers.iter().map(certain).collect();
        self.0.decide(&Observation { offers: &offers, ..*observation })
    }
}

#[test]
fn who_knows_how_far_runs_stray_earns_more() {
    let scenario = scenario("[noise]\nsigma = 0.34\n");
    let mean = |policy: &mut dyn Policy| {
        let instances = (0..3).map(|n| scenario.instance(4, Episode::Evaluation(n)));
        let rows: Vec<_> = instances.flat_map(|instance| simulate(&instance, policy)).collect();
        rows.iter().map(|row| row.reward).sum::<f64>() / rows.len() as f64
    };
    let (knowing, trusting) = (mean(&mut Myopic), mean(&mut Trusting(Myopic)));
    assert!(knowing > trusting + 1.0, "{knowing} against {trusting}");
}
