use super::*;

const STUDY: &str = r#"
title = "t"
figure = "sweep"
instances = 50
seed = 1
policies = ["greedy", "myopic"]
[quick]
instances = 5
episodes = 7
[[learned]]
name = "agent"
trained_in = "point"
seeds = [1, 2]
episodes = 30
[[panels]]
name = "p"
title = "p"
scenario = "paper.toml"
sweep = { strong_servers = [2, 8] }
[[claims]]
claim = "agent > greedy"
"#;

const INSTANCE: &str = r#"{"servers": [{"name": "s0", "steps_per_second": 15.2}],
 "requests": [{"arrival": 0.0, "due": 12.5, "penalty": "linear"}], "tardiness_weight": 1.5}"#;

fn parse(text: &str, effort: Effort) -> Result<Study, String> {
    let paper = include_str!("../../../../scenarios/paper.toml");
    Study::parse("s", text, effort, |path| match path.to_str() {
        Some("paper.toml") => Ok(paper.into()),
        Some("wrong.toml") => Ok(paper.replace("count = 6", "count = 6\ncolour = 1")),
        Some("a.json" | "b.json") => Ok(INSTANCE.into()),
        Some("wrong.json") => Ok(INSTANCE.replace("12.5", "-1")),
        _ => Err("no such file".into()),
    })
}

fn swept(sweep: &str) -> Result<Study, String> {
    parse(&STUDY.replace("sweep = { strong_servers = [2, 8] }", sweep), Effort::Full)
}

/// The points of each panel: x, label and a number of the scenario there.
fn points(study: &Study, of: impl Fn(&Scenario) -> f64) -> Vec<Vec<(f64, &str, f64)>> {
    let mut all = Vec::new();
    for panel in &study.panels {
        let point = |at: &'_ Point| (at.x.unwrap(), of(at.setting.scenario().unwrap()));
        let points = panel.points.iter().map(|at| (point(at).0, at.label.as_str(), point(at).1));
        all.push(points.collect());
    }
    all
}

#[test]
fn sweeps_and_quick_numbers_are_applied() {
    let study = parse(STUDY, Effort::Full).unwrap();
    let weak = |scenario: &Scenario| scenario.settings().cluster.servers[1].count as f64;
    assert_eq!(points(&study, weak), [[(2.0, "2", 8.0), (8.0, "8", 2.0)]]);
    assert_eq!(study.panels[0].axis, "strong servers of 10");
    assert_eq!((study.file.instances, study.file.learned[0].episodes), (Some(50), 30));
    let study = parse(STUDY, Effort::Quick).unwrap();
    assert_eq!((study.file.instances, study.file.learned[0].episodes), (Some(5), 7));
}

#[test]
fn any_field_can_be_swept() {
    let slack = |scenario: &Scenario| scenario.settings().due.slack.mean();
    let study = swept(r#"sweep = { "due.slack_seconds" = [8, 4.5] }"#).unwrap();
    assert_eq!(points(&study, slack), [[(4.5, "4.5", 4.5), (8.0, "8", 8.0)]]);
    // What is no number stands at its place.
    let study = swept(r#"sweep = { "due.slack_seconds" = [[2, 20], [2, 40]] }"#).unwrap();
    assert_eq!(points(&study, slack), [[(1.0, "[2, 20]", 11.0), (2.0, "[2, 40]", 21.0)]]);
    // By index, into a table that is not there, and with what is set besides.
    let weak = |scenario: &Scenario| scenario.settings().cluster.servers[1].count as f64;
    let study = swept(r#"sweep = { "cluster.servers.1.count" = [0, 3] }"#).unwrap();
    assert_eq!(points(&study, weak), [[(0.0, "0", 0.0), (3.0, "3", 3.0)]]);
    let noise =
        |scenario: &Scenario| scenario.settings().noise.map_or(0.0, |noise| noise.sigma.into());
    let study = swept("set = { requests = 7 }\nsweep = { \"noise.sigma\" = [0, 0.5] }\n");
    // The paper's agent cannot be trained there, which a plan finds; a study may say it.
    assert_eq!(points(&study.unwrap(), noise), [[(0.0, "0", 0.0), (0.5, "0.5", 0.5)]]);
}

#[test]
fn two_fields_give_all_pairs_one_panel_for_each_value_of_the_second() {
    let product = |scenario: &Scenario| {
        scenario.settings().requests as f64 * scenario.settings().due.slack.mean()
    };
    // In the order of the file, whatever the alphabet says.
    let sweep = r#"sweep = { requests = [10, 20], "due.slack_seconds" = [3, 5] }"#;
    let text = STUDY.replace("sweep = { strong_servers = [2, 8] }", sweep);
    let text = text.replace("episodes = 30", "episodes = 30\npanels = [\"p\"]");
    let study = parse(&text, Effort::Full).unwrap();
    let names: Vec<_> = study.file.panels.iter().map(|panel| &*panel.name).collect();
    assert_eq!(names, ["p, due.slack_seconds = 3", "p, due.slack_seconds = 5"]);
    assert_eq!(
        points(&study, product),
        [[(10.0, "10", 30.0), (20.0, "20", 60.0)], [(10.0, "10", 50.0), (20.0, "20", 100.0)]]
    );
    assert_eq!(study.places(&study.file.claims[0]).len(), 2);
    // Values that are allowed only together.
    let together = r#"sweep = { "failures.mean_up_seconds" = [500], "failures.mean_down_seconds" = [60, 90] }"#;
    assert_eq!(swept(together).unwrap().panels.len(), 2);
}

#[test]
fn instances_take_the_place_of_a_scenario() {
    let text = STUDY
        .replace("\"sweep\"", "\"instances\"")
        .replace("sweep = { strong_servers = [2, 8] }", "")
        .replace("instances = 50\n", "")
        .replace("scenario = \"paper.toml\"", "instances = [\"a.json\", \"b.json\"]");
    let study = parse(&text, Effort::Full).unwrap();
    let setting = &study.panels[0].points[0].setting;
    assert_eq!((setting.instances(50), setting.requests(2)), (2, 2));
    assert_eq!((setting.name_of(0), setting.name_of(1)), ("a", "b"));
}

#[test]
fn bad_studies_are_refused_in_one_line() {
    let check = |from: &str, to: &str, parts: &[&str]| {
        assert!(STUDY.contains(from), "{from}");
        let error = parse(&STUDY.replacen(from, to, 1), Effort::Full).unwrap_err();
        assert_eq!(error.lines().count(), 1, "{error:?}");
        for part in parts {
            assert!(error.contains(part), "{error:?} does not contain {part:?}");
        }
    };
    check("seed = 1", "seed = 1\ncolour = 2", &["line 6", "unknown field", "colour"]);
    check("seed = 1", "seed = ", &["line 5"]);
    check("\"greedy\"", "\"best\"", &["line 6", "no such policy", "valid are"]);
    check("\"greedy\"", "\"myopic\"", &["two policies are named \"myopic\""]);
    check("name = \"agent\"", "name = \"myopic\"", &["two policies are named \"myopic\""]);
    check(
        "name = \"agent\"",
        "name = \"clairvoyant\"",
        &["two policies are named \"clairvoyant\""],
    );
    check("instances = 50", "instances = 0", &["instances is 0", "1 to 100000"]);
    check("instances = 50", "", &["instances is missing", "1 to 100000"]);
    check(
        "instances = 50",
        "instances = 50\nclairvoyant = { instances = 60, rounds = 1 }",
        &["clairvoyant.instances is 60", "1 to the study's 50"],
    );
    check("\"sweep\"", "\"pie\"", &["line 3", "pie", "learning_curve"]);
    check("\"sweep\"", "\"instances\"", &["panel \"p\"", "only with it"]);
    check("paper.toml", "none.toml", &["panel \"p\"", "none.toml", "no such file"]);
    check("paper.toml", "wrong.toml", &["panel \"p\"", "wrong.toml", "line 32", "colour"]);
    check("seeds = [1, 2]", "seeds = []", &["agent", "seeds"]);
    check("seeds = [1, 2]", "seeds = [1, 1]", &["agent", "seed 1 stands twice"]);
    check(
        "episodes = 30",
        "episodes = 30\npanels = [\"q\"]",
        &["agent", "no panel \"q\"", "are p"],
    );
    check("\"point\"", "\"none.toml\"", &["agent", "trained_in", "none.toml", "no such file"]);
    let instances = "instances = [\"a.json\"]";
    check("scenario = \"paper.toml\"", instances, &["panel \"p\"", "no fields to sweep"]);
    check("title = \"p\"", "title = \"p\"\ninstances = [\"a.json\"]", &["panel \"p\"", "either"]);
    check(
        "title = \"p\"",
        "title = \"p\"\nset = { requests = 0 }",
        &["p", "requests = 0", "1 to 1e6"],
    );
    check(
        "title = \"p\"",
        "title = \"p\"\nset = { reqests = 1 }",
        &["reqests = 1", "unknown field"],
    );
}

#[test]
fn bad_sweeps_are_refused_in_one_line() {
    let check = |sweep: &str, parts: &[&str]| {
        let error = swept(&format!("sweep = {{ {sweep} }}")).unwrap_err();
        assert_eq!(error.lines().count(), 1, "{error:?}");
        for part in parts {
            assert!(error.contains(part), "{error:?} does not contain {part:?}");
        }
    };
    check("strong_servers = [2, 11]", &["panel \"p\"", "strong_servers = 11", "11 of 10"]);
    check("strong_servers = [2.5]", &["strong_servers = 2.5", "whole number"]);
    check("mean_interval_seconds = [-1]", &["mean_interval_seconds = -1", "0 to 1e9"]);
    check(
        "mean_interval_seconds = [\"x\"]",
        &["mean_interval_seconds = \"x\"", "number of seconds"],
    );
    check("resident = [1]", &["resident = 1", "[models]"]);
    check("\"due.slak\" = [1]", &["panel \"p\"", "due.slak = 1", "unknown field", "slack_seconds"]);
    check("\"dew.slack\" = [1]", &["dew.slack = 1", "unknown field", "dew", "requests"]);
    check("\"due.slack_seconds\" = [\"x\"]", &["due.slack_seconds = \"x\"", "a number or a range"]);
    check("\"due.slack_seconds\" = [[3, 2]]", &["due.slack_seconds = [3, 2]", "low ≤ high"]);
    check("requests = [5, 0]", &["requests = 0", "1 to 1e6"]);
    check("\"requests.x\" = [5]", &["requests.x = 5", "requests is 2000 and has no field x"]);
    check("\"cluster.servers.2.count\" = [5]", &["cluster.servers has no entry 2", "0 to 1"]);
    check("\"cluster.servers.1.count\" = [2000]", &["count = 2000", "1 to 1000"]);
    check("\"arrivals.modulated.peak\" = [2]", &["modulated.peak = 2", "arrivals has poisson"]);
    check("requests = []", &["line", "requests has no values"]);
    check("requests = [5, 5.0]", &["line", "requests has 5.0 twice"]);
    check("requests = 5", &["line", "sequence"]);
    check("", &["line", "0 fields", "one, or two"]);
    check("requests = [1], resident = [1], strong_servers = [1]", &["3 fields", "one, or two"]);
    let deep = format!("\"{}x\" = [1]", "x.".repeat(100_000));
    check(&deep, &["16 names or fewer"]);
}

#[test]
fn bad_claims_are_refused_in_one_line() {
    let check = |claim: &str, parts: &[&str]| {
        let error = parse(&STUDY.replace("claim = \"agent > greedy\"", claim), Effort::Full);
        let error = error.unwrap_err();
        assert_eq!(error.lines().count(), 1, "{error:?}");
        for part in parts {
            assert!(error.contains(part), "{error:?} does not contain {part:?}");
        }
    };
    for form in ["agent beats greedy", "agent >", "1 > 2", "rises", "a > b < c", "agent - rises"] {
        check(&format!("claim = \"{form}\""), &["line 21", form, "A > B, A < B, A rises"]);
    }
    check("claim = \"agnet > greedy\"", &["no policy \"agnet\"", "greedy; myopic; agent"]);
    check("claim = \"agent > greedy\"\nfigure = \"speed\"", &["line", "speed", "late_fraction"]);
    check("claim = \"agent > greedy\"\npanel = \"q\"", &["no panel", "are the panels p"]);
    check("claim = \"agent > greedy\"\nat = 3", &["at 3", "no panel", "at 2, 8"]);
    check("claim = \"agent rises\"\nat = 2", &["without at"]);
    check("claim = \"agent > greedy\"\nby = \"much\"", &["line", "by is \"much\"", "per cent"]);
    check("claim = \"agent < 3\"\nby = \"3 %\"", &["per cent", "between two policies"]);
}

#[test]
fn the_committed_studies_can_be_used() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../studies"));
    for (effort, fewest) in [(Effort::Full, 5), (Effort::Quick, 1)] {
        for study in Study::load_folder(folder, effort).unwrap() {
            for learned in &study.file.learned {
                assert!(learned.seeds.len() >= fewest, "{}: {}", study.name, learned.name);
            }
        }
    }
}
