//! Servers with several models, requests of several sizes and bounds: the fast path and the events agree,
//! and the judge, who reckons loads anew, accepts both and nothing else.

mod reality;

use proptest::prelude::*;
use reality::{RULES, rows, under};
use scheduling::verify::{Order, Violation, verify};
use scheduling::{
    Cluster, Decision, Generator, HostedModel, Hosting, Instance, Loaded, Model, Objective,
    Observation, Policy, Purpose, Request, Row, Seconds, Server, Size, StepBounds, StepRate, Steps,
    TardinessPenalty, Time, read_rows, write_rows,
};
use simulation::{Episode, InstanceSource, Scenario, ScenarioError, simulate, simulate_by_events};

/// Servers that host some of three models, the first all of them and one, perhaps, without a say; requests
/// of every model.
fn fleet(seed: u64, servers: usize, requests: usize, interval: f64) -> Instance {
    let mut draw = Generator::new(seed, Purpose::Search, 0);
    let models = ["sd15", "sdxl", "flux, dev"].map(str::to_owned).to_vec();
    let servers: Vec<_> = (0..servers).map(|index| server(&mut draw, index)).collect();
    let mut now = Time::ZERO;
    let requests = (0..requests).map(|_| {
        if draw.below(4) > 0 {
            now += Seconds::of(draw.exponential(interval));
        }
        let due = now + Seconds::of(draw.between(0.0, 40.0));
        let fewest = Steps::new(1 + draw.below(40) as u32).unwrap();
        Request {
            size: Size::new([1.0, draw.between(0.2, 8.0)][draw.below(2)]).unwrap(),
            bounds: [StepBounds::ALL, StepBounds { min: fewest, max: Steps::MAX }][draw.below(2)],
            model: Model(draw.below(3) as u16),
            ..Request::new(now, due, TardinessPenalty::ALL[draw.below(3)])
        }
    });
    let requests = requests.collect();
    let cluster = Cluster::with_models(servers, models).unwrap();
    Instance::new(cluster, requests, Objective::default()).unwrap()
}

fn server(draw: &mut Generator, index: usize) -> Server {
    let rate = StepRate::new(draw.between(4.0, 20.0)).unwrap();
    let server = Server::new(format!("s{index}"), rate, Seconds::of(draw.between(0.0, 1.0)));
    if index > 0 && draw.below(4) == 0 {
        return server;
    }
    let models: Vec<_> = (0..3).filter(|_| index == 0 || draw.below(3) > 0).collect();
    let hosted: Vec<_> = models
        .into_iter()
        .map(|model| HostedModel {
            model: Model(model),
            step_rate: [rate, StepRate::new(draw.between(1.0, 20.0)).unwrap()][draw.below(2)],
            overhead: Seconds::of([0.0, draw.between(0.0, 2.0)][draw.below(2)]),
            load: Seconds::of([0.0, 9.0, draw.between(1.0, 30.0)][draw.below(3)]),
            bounds: StepBounds {
                min: Steps::MIN,
                max: Steps::new(100 + draw.below(101) as u32).unwrap(),
            },
        })
        .collect();
    if hosted.is_empty() {
        return server;
    }
    let resident = 1 + draw.below(2);
    let loaded = hosted.iter().map(|hosted| hosted.model).take(draw.below(resident + 1)).collect();
    let hosting = Hosting { resident, models: hosted, loaded: Loaded::new(loaded) };
    Server { hosting: Some(hosting), ..server }
}

/// Decides by all that a policy sees of models, so that another view makes another schedule.
struct Watcher;

impl Policy for Watcher {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let Observation { offers, residencies, traffic, .. } = observation;
        let seen = format!("{residencies:?} {traffic:?} {offers:?}");
        let digest = seen.bytes().fold(17_u64, |sum, byte| {
            sum.wrapping_mul(0x100_0000_01b3).wrapping_add(u64::from(byte))
        });
        let server = (digest >> 32) as usize % offers.len();
        let steps = Steps::from_index((digest % Steps::COUNT as u64) as usize);
        Decision { server, steps: offers[server].bounds.clamp(steps) }
    }
}

proptest! {
    #[test]
    fn a_policy_sees_the_same_of_models_in_both(
        seed in any::<u64>(), servers in 1usize..6, requests in 1usize..80, interval in 0.05..20.0,
    ) {
        let fleet = fleet(seed, servers, requests, interval);
        let [fast, events] = [simulate, simulate_by_events].map(|run| run(&fleet, &mut Watcher));
        prop_assert_eq!(fast, events);
    }

    #[test]
    fn events_change_nothing_where_predictions_come_true(
        seed in any::<u64>(), servers in 1usize..6, requests in 1usize..80, interval in 0.05..20.0,
    ) {
        let fleet = fleet(seed, servers, requests, interval);
        prop_assert_eq!(&Instance::from_json(&fleet.to_json()).unwrap(), &fleet);
        let models = fleet.cluster().models();
        for rule in RULES {
            let [fast, events] = [simulate, simulate_by_events].map(|run| rows(run, &fleet, rule));
            prop_assert_eq!(&fast, &events, "{}", rule);
            prop_assert_eq!(verify(&fleet, &fast, Order::FirstComeFirstServed), Ok(()), "{}", rule);
            let text = write_rows(&fast, models);
            prop_assert_eq!(read_rows(&text, models).unwrap(), fast);
        }
    }

    #[test]
    fn luck_and_failures_give_schedules_that_the_judge_accepts(
        seed in any::<u64>(), servers in 1usize..5, requests in 1usize..60, interval in 0.05..10.0,
        sigma in 0.0..1.5, outages in 0usize..6,
    ) {
        let fleet = under(fleet(seed, servers, requests, interval), seed, sigma, outages);
        prop_assert_eq!(&Instance::from_json(&fleet.to_json()).unwrap(), &fleet);
        for rule in RULES {
            let rows = rows(simulate, &fleet, rule);
            prop_assert_eq!(verify(&fleet, &rows, Order::FirstComeFirstServed), Ok(()), "{}", rule);
        }
    }
}

/// One request for each model in turn, on two servers that have room for one model.
fn turns() -> Instance {
    let json = r#"{
      "models": ["a", "b"],
      "servers": [
        {"name": "s0", "steps_per_second": 10, "models": {"a": {"load_seconds": 9}}, "loaded": ["a"]},
        {"name": "s1", "steps_per_second": 10, "max_steps": 90,
         "models": {"a": {"load_seconds": 9}, "b": {"steps_per_second": 5, "load_seconds": 6}}}],
      "requests": [
        {"arrival": 0, "due": 20, "penalty": "linear", "model": "a"},
        {"arrival": 1, "due": 20, "penalty": "linear", "model": "b", "size": 2.0},
        {"arrival": 40, "due": 60, "penalty": "linear", "model": "b", "min_steps": 10, "max_steps": 20},
        {"arrival": 41, "due": 80, "penalty": "linear", "model": "a"}],
      "tardiness_weight": 1}"#;
    Instance::from_json(json).unwrap()
}

#[test]
fn rows_tell_what_was_loaded() {
    let fleet = turns();
    let rows = rows(simulate, &fleet, "fixed[steps=30]");
    let csv = write_rows(&rows, fleet.cluster().models());
    let cells = |line: &str, columns: &[usize]| {
        let cells: Vec<_> = line.split(',').collect();
        columns.iter().map(|&column| cells[column].to_owned()).collect::<Vec<_>>().join(" ")
    };
    // Server, steps, start, finish; model, size, load, attempts, outcome.
    let found: Vec<_> =
        csv.lines().skip(1).map(|line| cells(line, &[1, 2, 4, 5, 11, 12, 13, 14, 15])).collect();
    assert_eq!(
        found,
        [
            "0 30 0.0 3.0 a 1.0 0.0 1 completed",
            "1 30 1.0 19.0 b 2.0 6.0 1 completed",
            "1 20 40.0 44.0 b 1.0 0.0 1 completed",
            "0 30 41.0 44.0 a 1.0 0.0 1 completed",
        ]
    );
}

#[test]
fn what_is_said_of_models_is_judged() {
    fn said(row: &mut Row) -> &mut scheduling::Beyond {
        row.beyond.as_mut().unwrap()
    }
    type Damage = fn(&mut [Row]);
    let fleet = turns();
    let judge = |rows: &[Row]| verify(&fleet, rows, Order::FirstComeFirstServed);
    let honest = rows(simulate, &fleet, "fixed[steps=30]");
    assert_eq!(judge(&honest), Ok(()));
    let damages: [(&str, Damage); 8] = [
        ("request 1: load is 0, but 6 follows", |rows| said(&mut rows[1]).load = 0.0),
        ("request 2: load is 6, but 0 follows", |rows| said(&mut rows[2]).load = 6.0),
        ("request 1: size is 1, but 2 follows", |rows| said(&mut rows[1]).size = 1.0),
        ("request 1: model is 0, but 1", |rows| said(&mut rows[1]).model = Model(0)),
        ("request 1: finish is 13, but 19 follows", |rows| rows[1].finish -= 6.0),
        ("request 2 runs on server 0, which does not host", |rows| rows[2].server = 0),
        ("request 2 has 30 steps: accepted are 10 to 20", |rows| rows[2].steps = 30),
        ("the columns from model on stand", |rows| rows[3].beyond = None),
    ];
    for (text, damage) in damages {
        let mut rows = honest.clone();
        damage(&mut rows);
        let violations = judge(&rows).unwrap_err();
        let named = violations.iter().map(Violation::to_string).any(|said| said.contains(text));
        assert!(named, "{text:?} is not among {violations:?}");
    }
    let papers = Instance::from_json(
        r#"{"servers": [{"name": "s0", "steps_per_second": 10}], "tardiness_weight": 1,
            "requests": [{"arrival": 0, "due": 20, "penalty": "linear"}]}"#,
    );
    let plain = rows(simulate, &papers.unwrap(), "greedy");
    assert_eq!(plain[0].beyond, None);
}

fn scenario(more: &str) -> Result<Scenario, ScenarioError> {
    let paper = include_str!("../../../scenarios/paper.toml");
    Scenario::from_toml(&paper.replace("[cluster]", &format!("{more}\n[cluster]")))
}

const SIX: &str = "number = 6\nload_seconds = 9.0\nresident = 1\n";

#[test]
fn committed_fleets_draw_what_they_say() {
    let read = |text| Scenario::from_toml(text).unwrap();
    let fleet = read(include_str!("../../../scenarios/fleet.toml"));
    let mixed = read(include_str!("../../../scenarios/fleet-mixed.toml"));
    for (scenario, shares) in [
        (&fleet, [1.0, 1.0 / 2.0, 1.0 / 3.0, 1.0 / 4.0, 1.0 / 5.0, 1.0 / 6.0]),
        (&mixed, [30.7, 13.0, 9.6, 8.0, 6.3, 4.7]),
    ] {
        assert_eq!(&Scenario::from_toml(&scenario.to_toml()).unwrap(), scenario);
        assert!(!scenario.is_plain());
        let instance = scenario.instance(7, Episode::Evaluation(0));
        assert_eq!(instance.cluster().models(), ["m0", "m1", "m2", "m3", "m4", "m5"]);
        let sum: f64 = shares.iter().sum();
        for (model, share) in (0..).zip(shares) {
            let named = instance.requests().iter().filter(|request| request.model == Model(model));
            let found = named.count() as f64 / instance.requests().len() as f64;
            assert!((found - share / sum).abs() < 0.04, "m{model}: {found}");
        }
    }
    let instance = mixed.instance(7, Episode::Evaluation(0));
    let rooms: Vec<_> =
        instance.cluster().iter().map(|s| s.hosting.as_ref().unwrap().resident).collect();
    assert_eq!(rooms, [2, 2, 2, 2, 1, 1, 1, 1]);
    let loads =
        instance.cluster().iter().flat_map(|server| &server.hosting.as_ref().unwrap().models);
    assert!(loads.clone().all(|hosted| (5.0..13.0).contains(&hosted.load.seconds())));
    let ratio = |index: usize, model: usize| {
        let server = &instance.cluster()[index];
        let rate = server.hosting.as_ref().unwrap().models[model].step_rate.steps_per_second();
        rate / server.step_rate.steps_per_second()
    };
    for model in 0..6 {
        let [one, other] = [ratio(0, model), ratio(7, model)];
        assert!(
            (one - other).abs() < 1e-12 && (0.25..1.0).contains(&one),
            "m{model}: {one} {other}"
        );
    }
    let mean: f64 = instance.requests().iter().map(|r| f64::from(r.size)).sum::<f64>() / 2000.0;
    assert!((mean - 2.64).abs() < 0.2, "{mean}");
}

/// Models shift nothing that is drawn without them.
#[test]
fn a_fleet_meets_the_same_traffic_as_the_scenario_without_models() {
    let fleet = format!("[models]\n{SIX}popularity = {{ zipf = {{ exponent = 1.0 }} }}\n");
    let [plain, fleet] = ["", &fleet].map(|more| scenario(more).unwrap());
    let [plain, fleet] = [plain, fleet].map(|s| s.instance(3, Episode::Training(2)));
    for (plain, fleet) in plain.requests().iter().zip(fleet.requests()) {
        assert_eq!(&Request { model: Model(0), ..*fleet }, plain);
    }
    for (plain, fleet) in plain.cluster().iter().zip(fleet.cluster().iter()) {
        assert_eq!(&Server { hosting: None, ..fleet.clone() }, plain);
    }
}

#[test]
fn bad_fleets_are_refused_with_their_place() {
    let zipf = "popularity = { zipf = { exponent = 1.0 } }";
    for (more, parts) in [
        (format!("[models]\n{SIX}"), ["models", "missing field `popularity`"]),
        (
            format!("[models]\n{SIX}{zipf}").replace("= 6", "= 0"),
            ["models.number is 0", "1 to 1000"],
        ),
        (
            format!("[models]\n{SIX}{zipf}").replace("resident = 1", "resident = 0"),
            ["models.resident is 0", "1 or more"],
        ),
        (
            format!("[models]\n{SIX}{zipf}").replace("9.0", "-9.0"),
            ["-9 is not a span of time", "0 to 1e9"],
        ),
        (
            format!("[models]\n{SIX}{zipf}").replace("1.0 }", "11.0 }"),
            ["exponent is 11", "0 to 10"],
        ),
        (
            format!("[models]\n{SIX}{zipf}\nrelative_speed = 0.0"),
            ["0 is not a ratio of speeds", "0.01 to 100"],
        ),
        (
            format!("[models]\n{SIX}popularity = {{ weights = [1.0, 2.0] }}"),
            ["has 2 weights for 6 models", "one for each"],
        ),
        (
            format!("[models]\n{SIX}popularity = {{ weights = [0, 0, 0, 0, 0, 0] }}"),
            ["no weight above 0", "at least one"],
        ),
        (format!("[models]\n{SIX}{zipf}\ncolour = 1"), ["unknown field", "colour"]),
        ("[size]\nchoices = []".into(), ["size.choices has no weight", "at least one"]),
        ("[size]\nchoices = [[0.0, 1.0]]".into(), ["0 is not a size", "1e-6 to 1e6"]),
        ("[size]\nchoices = [[1.0, -1.0]]".into(), ["-1 is not a weight", "0 to 1e6"]),
    ] {
        let message = scenario(&more).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{message:?} does not contain {part:?}");
        }
    }
    let roomy = |more: &str, resident| {
        scenario(more)?.with(|settings| settings.cluster.servers[1].resident = resident)
    };
    let models = format!("[models]\n{SIX}{zipf}\n");
    let message = |more, resident| roomy(more, resident).unwrap_err().to_string();
    assert!(message(&models, Some(0)).contains("cluster.servers[1].resident is 0: allowed is 1"));
    assert!(message("", Some(2)).contains("allowed beside [models] only"));
    assert!(roomy(&models, Some(2)).is_ok());
}
