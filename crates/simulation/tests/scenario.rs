//! Scenario files: what is read back, and what is refused with which message.

use scheduling::{QualityCurve, Seconds, StepRate, Steps, TardinessPenalty};
use simulation::{
    Arrivals, Drawn, Episode, EpisodeSource, InstanceSource, Scenario, Settings, Uniform,
};

const PAPER: &str = include_str!("../../../scenarios/paper.toml");
const CONTENDED: &str = include_str!("../../../scenarios/contended.toml");

#[test]
fn the_papers_scenario() {
    let scenario = Scenario::from_toml(PAPER).unwrap();
    let settings = scenario.settings();
    assert_eq!((settings.requests, scenario.servers()), (2000, 10));
    assert_eq!(*scenario.objective(), scheduling::Objective::default());
    let second = |s| Seconds::new(s).unwrap();
    assert_eq!(settings.arrivals, Arrivals::Poisson { mean_interval: second(15.0) });
    assert_eq!(settings.due.slack, Uniform::new(second(2.0), second(20.0)).unwrap());
    assert_eq!(settings.penalties.weights(), [1.0; 3]);
    let rates = [(12.0, 18.0), (6.0, 10.0)].map(|(low, high)| {
        Uniform::new(StepRate::new(low).unwrap(), StepRate::new(high).unwrap()).unwrap()
    });
    for (group, (count, rate)) in settings.cluster.servers.iter().zip([6, 4].into_iter().zip(rates))
    {
        assert_eq!((group.count, group.step_rate), (count, rate));
    }
}

#[test]
fn the_contended_scenario_differs_in_its_arrivals_alone() {
    let paper = Scenario::from_toml(PAPER).unwrap();
    let contended = paper
        .with(|settings| {
            settings.name = "contended".into();
            settings.arrivals = Arrivals::Poisson { mean_interval: Seconds::of(1.0) };
        })
        .unwrap();
    assert_eq!(Scenario::from_toml(CONTENDED), Ok(contended));
}

#[test]
fn files_round_trip() {
    let paper = Scenario::from_toml(PAPER).unwrap();
    let changed = paper
        .with(|settings| {
            settings.name = "a \"quoted\" name".into();
            settings.tardiness_weight = 0.1 + 0.2;
            let point = |steps, quality| (Steps::new(steps).unwrap(), quality);
            settings.quality = QualityCurve::Table(vec![point(10, 1.0 / 3.0), point(20, 2.0)]);
            settings.due.slack = Uniform::constant(Seconds::of(7.0));
            settings.penalties.quadratic = 0.0.try_into().unwrap();
            settings.cluster.drawn = Drawn::PerInstance;
            settings.cluster.servers[1].count = 0;
            settings.cluster.servers[0].overhead = Uniform::constant(Seconds::of(0.25));
        })
        .unwrap();
    for scenario in [paper, changed] {
        assert_eq!(Scenario::from_toml(&scenario.to_toml()), Ok(scenario));
    }
}

#[test]
fn a_missing_weight_is_zero_and_whole_numbers_are_numbers() {
    let text = PAPER
        .replace("linear = 1.0\nquadratic = 1.0\nsquare_root = 1.0", "square_root = 3")
        .replace("slack_seconds = [2.0, 20.0]", "slack_seconds = 5");
    let scenario = Scenario::from_toml(&text).unwrap();
    let instance = scenario.instance(1, Episode::Evaluation(0));
    for request in instance.requests() {
        assert_eq!(request.penalty, TardinessPenalty::SquareRoot);
        assert!((request.slack().seconds() - 5.0).abs() < 1e-9);
    }
}

/// Replaces a line of the paper's scenario and expects a message that names the new line and says
/// `part`.
#[track_caller]
fn check(line: &str, replacement: &str, part: &str) {
    let number = PAPER.lines().position(|other| other == line).expect("the line exists") + 1;
    let text = PAPER.replacen(line, replacement, 1);
    let message = Scenario::from_toml(&text).unwrap_err().to_string();
    assert!(message.contains(&format!("line {number}, column")), "{message}");
    assert!(message.contains(part), "{message}");
    let shown = replacement.lines().next().unwrap_or_default();
    assert!(message.contains(shown), "the line itself is not shown: {message}");
}

#[test]
fn bad_values_are_refused_with_line_and_range() {
    check("requests = 2000", "requests = 0", "requests is 0: allowed is 1 to 1e6");
    check("requests = 2000", "requests = 1000001", "allowed is 1 to 1e6");
    check("requests = 2000", "requests = -1", "integer `-1`");
    check("requests = 2000", "requests = 2.5", "expected usize");
    check("requests = 2000", "reqests = 2000", "unknown field `reqests`");

    let weight = "tardiness_weight = 1.5";
    check(weight, "tardiness_weight = -1.5", "tardiness_weight is -1.5: allowed is 0 to 1e6");
    check(weight, "tardiness_weight = nan", "tardiness_weight is NaN: allowed is 0 to 1e6");
    check(weight, "tardiness_weight = \"1\"", "expected f64");

    let arrivals = "poisson = { mean_interval_seconds = 15.0 }";
    for value in ["-1.0", "nan", "inf", "1e10"] {
        let line = format!("poisson = {{ mean_interval_seconds = {value} }}");
        check(arrivals, &line, "is not a span of time: allowed is 0 to 1e9 seconds");
    }
    check(arrivals, "poison = { mean_interval_seconds = 15.0 }", "unknown variant `poison`");
    check(arrivals, "poisson = { mean = 15.0 }", "unexpected keys in table: mean");

    let slack = "slack_seconds = [2.0, 20.0]";
    check(slack, "slack_seconds = [-2.0, 20.0]", "-2 is not a span of time: allowed is 0 to 1e9");
    check(slack, "slack_seconds = [2.0, nan]", "NaN is not a span of time");
    check(slack, "slack_seconds = -2", "-2 is not a span of time");
    check(slack, "slack_seconds = [20.0, 2.0]", "allowed is low ≤ high");
    check(slack, "slack_seconds = [20.0]", "a number or a range [low, high]");
    check(slack, "slack_seconds = [1.0, 2.0, 3.0]", "a number or a range [low, high]");
    check(slack, "slack_seconds = \"2\"", "a number or a range [low, high]");

    check("linear = 1.0", "linear = -1.0", "-1 is not a weight: allowed is 0 to 1e6");
    check("linear = 1.0", "cubic = 1.0", "unknown field `cubic`");

    let drawn = "drawn = { once = { seed = 1 } }";
    check(drawn, "drawn = \"sometimes\"", "unknown variant `sometimes`");
    check(drawn, "drawn = { once = { seed = -1 } }", "u32");
    check(drawn, "drawn = { once = { sead = 1 } }", "unexpected keys in table: sead");

    let rate = "steps_per_second = [12.0, 18.0]";
    check(rate, "steps_per_second = [0.0, 18.0]", "0 is not a step rate: allowed is 0.001 to 1e6");
    check(rate, "steps_per_second = inf", "inf is not a step rate");
    check("count = 6", "overhead = 1.0\ncount = 6", "unknown field `overhead`");
    check("count = 6", "count = -6", "integer `-6`");
}

#[test]
fn settings_that_contradict_one_another_are_refused() {
    let check = |change: fn(&mut Settings), part: &str| {
        let message = Scenario::from_toml(PAPER).unwrap().with(change).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    check(|s| s.requests = 0, "requests is 0");
    check(|s| s.tardiness_weight = f64::NAN, "tardiness_weight is NaN");
    check(|s| s.quality = QualityCurve::Table(vec![]), "quality.table is empty");
    check(|s| s.penalties = simulation::PenaltyMix::default(), "penalties has no weight above 0");
    check(|s| s.cluster.servers.clear(), "0 servers in all: allowed is 1 to 1000");
    check(|s| s.cluster.servers[0].count = usize::MAX, "allowed is 1 to 1000");
    check(|s| s.requests = 1_000_000, "allowed is requests × mean interval + slack up to 1e7 s");
}

#[test]
fn checks_of_a_whole_section_show_its_head() {
    let text = PAPER.replace("linear = 1.0\nquadratic = 1.0\nsquare_root = 1.0\n", "");
    let message = Scenario::from_toml(&text).unwrap_err().to_string();
    assert!(message.contains("[penalties]") && message.contains("above 0"), "{message}");
    let message =
        Scenario::from_toml(&PAPER.replace("count = 6", "count = 1000")).unwrap_err().to_string();
    assert!(message.contains("[cluster]"), "{message}");
    assert!(message.contains("has 1004 servers in all: allowed is 1 to 1000"), "{message}");
    let (start, _) = PAPER.split_once("# Like a Tesla").unwrap();
    let message = Scenario::from_toml(&format!("{start}servers = []\n")).unwrap_err().to_string();
    assert!(message.contains("[cluster]") && message.contains("0 servers"), "{message}");
}

#[test]
fn quality_curves_are_checked_where_they_stand() {
    let with = |curve: &str| {
        let text = PAPER.replace("requests = 2000", &format!("requests = 2000\nquality = {curve}"));
        Scenario::from_toml(&text)
    };
    assert!(with("{ sigmoid = { floor = 30, range = 35, slope = 0.1, offset = 9 } }").is_ok());
    for (curve, part) in [
        ("{ sigmoid = { floor = nan, range = 35, slope = 0.1, offset = 9 } }", "is NaN"),
        ("{ table = [[5, 1.0], [5, 2.0]] }", "quality.table[1]"),
        ("{ table = [[0, 1.0]] }", "0 is not a number of steps: allowed is 1 to 200"),
        ("{ line = 3 }", "unknown variant `line`"),
    ] {
        let message = with(curve).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains("quality = "), "{message}");
    }
}

#[test]
fn a_byte_order_mark_is_no_fault() {
    let marked = Scenario::from_toml(&format!("\u{feff}{PAPER}")).unwrap();
    assert_eq!(marked, Scenario::from_toml(PAPER).unwrap());
}

#[test]
fn messages_do_not_repeat_a_whole_file() {
    let (long, digits) = ("x".repeat(100_000), "1".repeat(300));
    for (from, to) in [
        ("requests = 2000", format!("requests = \"{long}\"")),
        ("requests = 2000", format!("{long} = 1")),
        ("tardiness_weight = 1.5", format!("tardiness_weight = {digits}.0")),
        ("tardiness_weight = 1.5", format!("tardiness_weight = {digits}")),
        ("steps_per_second = [12.0, 18.0]", format!("steps_per_second = {digits}.0")),
        ("linear = 1.0", format!("linear = {digits}.0")),
    ] {
        assert!(PAPER.contains(from), "{from}");
        let message = Scenario::from_toml(&PAPER.replace(from, &to)).unwrap_err().to_string();
        assert!(message.len() < 1500 && !message.contains(&"1".repeat(150)), "{message}");
    }
}
