//! The commands as a user types them: what they write, what they refuse, and with which exit code.

use std::fs;
use std::process::Command;

use scheduling::verify::{Order, verify};
use scheduling::{Instance, read_rows};
use workshop::Workshop;

mod workshop;

const PAPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/paper.toml");
const CONTENDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/contended.toml");
const AGENT: &str = concat!("agent[", env!("CARGO_MANIFEST_DIR"), "/../../models/paper]");

#[test]
fn every_policys_rows_are_a_valid_schedule() {
    let workshop = Workshop::new();
    for scenario in [PAPER, CONTENDED] {
        workshop.run(&["instance", "--scenario", scenario, "--seed", "5", "--out", "i.json"]);
        let instance = Instance::from_json(&workshop.read("i.json")).unwrap();
        assert_eq!(instance.requests().len(), 2000);
        for policy in ["random", "greedy", "greedy[ties=fastest]", "fixed", "myopic", AGENT] {
            let printed = workshop.run(&[
                "simulate",
                "--instance",
                "i.json",
                "--policy",
                policy,
                "--seed",
                "2",
                "--rows",
                "r.csv",
            ]);
            let rows = read_rows(&workshop.read("r.csv"), &[]).unwrap();
            verify(&instance, &rows, Order::FirstComeFirstServed).unwrap();
            let mean = rows.iter().map(|row| row.reward).sum::<f64>() / 2000.0;
            assert!(printed.contains(&format!("{mean:.4}")), "{printed} has no {mean}");
        }
    }
}

#[test]
fn anybodys_rows_are_judged() {
    let workshop = Workshop::new();
    workshop.run(&["instance", "--scenario", PAPER, "--seed", "5", "--out", "i.json"]);
    let simulate = ["simulate", "--instance", "i.json", "--policy", "myopic", "--rows", "r.csv"];
    workshop.run(&simulate);
    let verify = ["verify", "--instance", "i.json", "--rows", "r.csv"];
    assert_eq!(workshop.run(&verify), "2000 requests, all rules obeyed\n");
    let rows: Vec<String> = workshop.read("r.csv").lines().map(str::to_owned).collect();
    let judge = |rows: &[String]| {
        workshop.file("r.csv", &rows.join("\n"));
        let output = workshop.atelier(&verify);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, printed, error) = judge(&rows[..1999]);
    assert_eq!(code, Some(1));
    assert_eq!(printed, "(4b) request 1998 never runs\n(4b) request 1999 never runs\n");
    assert_eq!(error, "error: r.csv breaks the rules of i.json: 2 violations\n");
    let (code, printed, error) = judge(&[rows[0].clone(), "1,2,three".into()]);
    assert_eq!((code, printed), (Some(2), String::new()));
    assert!(error.starts_with("error: r.csv: ") && error.contains("line: 2"), "{error}");
}

#[test]
fn same_seed_same_rows_on_any_number_of_threads() {
    let workshop = Workshop::new();
    let mut seen = Vec::new();
    for threads in ["1", "2"] {
        let t = ["--threads", threads];
        let instance = ["instance", "--scenario", CONTENDED, "--seed", "7", "--out", "i.json"];
        workshop.run(&[&instance[..], &t].concat());
        let simulate =
            ["simulate", "--instance", "i.json", "--policy", "random", "--rows", "r.csv"];
        workshop.run(&[&simulate[..], &t].concat());
        let evaluate =
            ["evaluate", "--scenario", CONTENDED, "--instances", "4", "--json", "e.json"];
        workshop.run(&[&evaluate[..], &t].concat());
        seen.push(["i.json", "r.csv", "e.json"].map(|file| workshop.read(file)));
    }
    assert_eq!(seen[0], seen[1]);
    workshop.run(&["instance", "--scenario", CONTENDED, "--seed", "8", "--out", "i.json"]);
    assert_ne!(workshop.read("i.json"), seen[0][0]);
}

#[test]
fn training_leaves_a_checkpoint_that_can_be_evaluated_and_is_not_overwritten() {
    let workshop = Workshop::new();
    let small = fs::read_to_string(PAPER).unwrap().replace("requests = 2000", "requests = 50");
    workshop.file("small.toml", &small);
    let train = [
        "train",
        "--scenario",
        "small.toml",
        "--seed",
        "3",
        "--out",
        "x",
        "--episodes",
        "4",
        "--hidden",
        "8",
        "--instances",
        "2",
    ];
    let table = workshop.run(&train);
    assert!(table.contains("agent[x]") && table.contains("myopic"), "{table}");
    let events = |file: &fs::DirEntry| file.file_name().to_string_lossy().contains("tfevents");
    let folder = fs::read_dir(workshop.at("x")).unwrap();
    assert_eq!(folder.filter(|file| events(file.as_ref().unwrap())).count(), 1);
    workshop.refused(&train, &["x", "--resume"]);
    workshop.refused(
        &[&train[..], &["--resume", "--discount", "0.5"]].concat(),
        &["other hyperparameters"],
    );
    // Done already, so resuming only compares again.
    assert_eq!(workshop.run(&[&train[..], &["--resume"]].concat()), table);
    let evaluate = ["evaluate", "--scenario", "small.toml", "--policy", "agent[x]"];
    assert!(workshop.run(&evaluate).contains("agent[x]"));
    // Another number of servers does not fit.
    workshop.file("five.toml", &small.replace("count = 6", "count = 1"));
    let evaluate = ["evaluate", "--scenario", "five.toml", "--policy", "agent[x]"];
    workshop.refused(&evaluate, &["trained for 10 servers and the cluster has 5"]);
}

#[test]
fn recorded_traffic_can_be_evaluated_tuned_for_and_trained_on() {
    let shop = Workshop::new();
    let contended = fs::read_to_string(CONTENDED).unwrap();
    shop.file("short.toml", &contended.replace("requests = 2000", "requests = 60"));
    shop.run(&["instance", "--scenario", "short.toml", "--seed", "2", "--out", "traffic.json"]);
    let table = shop.run(&["evaluate", "--instance", "traffic.json", "--policy", "greedy"]);
    assert!(table.contains("60 requests as they were recorded"), "{table}");
    let simulated = ["simulate", "--instance", "traffic.json", "--policy", "greedy", "--rows"];
    let simulated = shop.run(&[&simulated[..], &["rows.csv"]].concat());
    let reward = simulated.lines().next().unwrap().split_whitespace().last().unwrap();
    assert!(table.contains(&reward[..reward.len() - 2]), "{reward} is not in {table}");
    let tuned = ["tune", "--instance", "traffic.json", "--training-instances", "1"];
    assert!(shop.run(&tuned).starts_with("priced[base="));
    let trained = ["train", "--instance", "traffic.json", "--episodes", "2", "--out", "agent"];
    assert!(shop.run(&trained).contains("agent[agent]"));
    let universal = ["train", "--agent", "universal", "--instance", "traffic.json"];
    shop.run(&[&universal[..], &["--rounds", "1", "--out", "universal"]].concat());
    shop.run(&["evaluate", "--instance", "traffic.json", "--policy", "agent[universal]"]);
    // Another recording: an interval over both, and no going on with what was trained on the first.
    shop.run(&["instance", "--scenario", "short.toml", "--seed", "4", "--out", "tuesday.json"]);
    let both = ["--instance", "traffic.json", "--instance", "tuesday.json"];
    let evaluate = ["evaluate", "--policy", "greedy", "--json", "both.json"];
    let table = shop.run(&[&evaluate[..], &both].concat());
    assert!(table.contains("traffic, tuesday: 2 recordings with 120 requests"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&shop.read("both.json")).unwrap();
    let greedy = &json["policies"][0];
    let reward = |index: usize| greedy["instances"][index]["reward"].as_f64().unwrap();
    let [low, high] = [0, 1].map(|end| greedy["reward"]["ci95"][end].as_f64().unwrap());
    assert_eq!([low, high], [reward(0).min(reward(1)), reward(0).max(reward(1))]);
    assert_eq!(json["scenario"], "traffic, tuesday");
    shop.run(&[&["tune", "--training-instances", "2", "--instances", "0"], &both[..]].concat());
    let trained = ["train", "--episodes", "2", "--instances", "0", "--out", "of-both"];
    shop.run(&[&trained[..], &both].concat());
    let resumed = ["train", "--instance", "tuesday.json", "--episodes", "2", "--out", "agent"];
    shop.refused(&[&resumed[..], &["--resume"]].concat(), &["agent", "another scenario"]);
    shop.file("five.toml", &contended.replace("count = 6", "count = 1"));
    shop.run(&["instance", "--scenario", "five.toml", "--out", "five.json"]);
    let unequal = ["train", "--instance", "traffic.json", "--instance", "five.json", "--out", "x"];
    shop.refused(&unequal, &["traffic has 10 servers and five has 5"]);
    shop.file("empty.json", "{}");
    let nothing = ["train", "--instance", "empty.json", "--out", "nothing"];
    shop.refused(&nothing, &["empty.json", "servers"]);
    let both = ["evaluate", "--instance", "traffic.json", "--scenario", "short.toml"];
    shop.refused(&both, &["--instance", "--scenario"]);
}

#[test]
fn other_servers_are_judged_on_traffic_that_was() {
    let shop = Workshop::new();
    let contended = fs::read_to_string(CONTENDED).unwrap();
    shop.file("short.toml", &contended.replace("requests = 2000", "requests = 200"));
    shop.run(&["instance", "--scenario", "short.toml", "--seed", "2", "--out", "traffic.json"]);
    let plan = ["plan", "--instance", "traffic.json", "--policy", "myopic"];
    let wanted = ["--add", "steps_per_second=15", "--without", "s0", "--target", "p99=15"];
    let table = shop.run(&[&plan[..], &wanted, &["--json", "plan.json"]].concat());
    for part in ["as it was", "steps_per_second=15", "without s0", "200 requests", "myopic"] {
        assert!(table.contains(part), "{part:?} is not in {table}");
    }
    let found: serde_json::Value = serde_json::from_str(&shop.read("plan.json")).unwrap();
    let reward = |change: usize| found[change]["reward"].as_f64().unwrap();
    assert!(reward(1) > reward(0) && reward(0) > reward(2), "{found}");
    // What stands in the table is what `simulate` says of the same traffic.
    let simulate = ["simulate", "--instance", "traffic.json", "--policy", "myopic"];
    let simulated = shop.run(&simulate);
    assert!(simulated.contains(&format!("{:.4}", reward(0))), "{simulated} {found}");
    let times = found[1]["needed"]["times"].as_u64().unwrap();
    assert!(times > 0 && found[1]["needed"]["metrics"]["tardiness_p99"].as_f64() <= Some(15.0));
    let refused = |more: &[&str], parts: &[&str]| shop.refused(&[&plan[..], more].concat(), parts);
    refused(&["--without", "zebra"], &["traffic.json", "\"zebra\"", "s0"]);
    refused(&["--add", "speed=3"], &["speed=3", "steps_per_second=NUMBER"]);
    refused(&["--target", "p99=15"], &["--add"]);
    refused(&["--add", "like=s0", "--target", "on_time=2"], &["on_time=2", "0 to 1"]);
}

#[test]
fn a_quality_curve_is_fitted_to_what_was_measured() {
    let shop = Workshop::new();
    let points = [4, 6, 10, 20, 40, 80].map(|steps: u32| {
        let value = 60.0 - 50.0 * f64::from(steps).powf(-0.7);
        format!("ddim,{steps},{value}\nother,{steps},1\n")
    });
    shop.file("points.csv", &("sampler,steps,value\n".to_owned() + &points.concat()));
    let fit = ["fit", "quality", "points.csv", "--only", "sampler=ddim"];
    let printed = shop.run(&fit);
    // The curve that the points were taken from, in the words of a scenario.
    let curve = printed.split("\n\n").next().unwrap();
    let (head, curve) = curve.split_once('\n').unwrap();
    assert_eq!(head, "[quality.power_law]");
    for (line, (name, value)) in
        curve.lines().zip([("best", 60.0), ("scale", 50.0), ("exponent", 0.7)])
    {
        let (named, fitted) = line.split_once(" = ").unwrap();
        let fitted: f64 = fitted.parse().unwrap();
        assert_eq!(named, name);
        assert!((fitted / value - 1.0).abs() < 1e-3, "{name}: {printed}");
    }
    assert!(
        shop.run(&[&fit[..], &["--shape", "table"]].concat())
            .starts_with("[quality]\ntable = [[4, ")
    );
    let refused = |more: &[&str], parts: &[&str]| shop.refused(&[&fit[..], more].concat(), parts);
    refused(&["--shape", "line"], &["line", "power_law, logistic, table"]);
    refused(&["--only", "steps=5"], &["points.csv", "sampler=ddim and steps=5"]);
    shop.file("wrong.csv", "steps,value\n4,1\n0,2\n");
    shop.refused(&["fit", "quality", "wrong.csv"], &["wrong.csv", "line 3", "1 to 1000000"]);
}

#[test]
fn a_schedule_can_be_seen() {
    let workshop = Workshop::new();
    workshop.run(&["instance", "--scenario", CONTENDED, "--out", "i.json"]);
    let simulate = ["simulate", "--instance", "i.json", "--policy", "greedy"];
    let pictures = ["--gantt", "g.svg", "--trace", "t.json", "--window", "100..200"];
    workshop.run(&[&simulate[..], &pictures].concat());
    assert!(workshop.read("g.svg").starts_with("<svg xmlns="));
    assert!(workshop.read("t.json").contains("\"traceEvents\""));
    for window in ["200..100", "x..", "100", "-1..5"] {
        let window = format!("--window={window}");
        let asked = ["--gantt", "h.svg", &window];
        workshop.refused(&[&simulate[..], &asked].concat(), &["FROM..TO"]);
    }
}

#[test]
fn reproduce_goes_on_where_it_stopped_and_ends_with_a_report() {
    let workshop = Workshop::new();
    let small = fs::read_to_string(PAPER).unwrap().replace("requests = 2000", "requests = 20");
    workshop.file("small.toml", &small);
    fs::create_dir(workshop.at("studies")).unwrap();
    let study = r#"
title = "A study of one's own"
figure = "instances"
instances = 4
seed = 1
policies = ["greedy", "myopic"]
[[learned]]
name = "agent"
trained_in = "panel"
seeds = [1, 2]
episodes = 3
[[panels]]
name = "small"
title = "small"
scenario = "../small.toml"
"#;
    workshop.file("studies/own.toml", study);
    let reproduce = ["reproduce", "--studies", "studies", "--out", "report"];
    workshop.run(&reproduce);
    let rows = workshop.read("report/rows/own.csv");
    assert_eq!(rows.lines().count(), 1 + 4 * (2 + 2));
    let page = workshop.read("report/index.html");
    assert!(page.contains("A study of one's own") && page.contains("</html>"));
    assert!(!page.contains("http"), "the page opens offline");
    // From the cache, on another number of threads.
    workshop.run(&[&reproduce[..], &["--threads", "1"]].concat());
    assert_eq!(workshop.read("report/rows/own.csv"), rows);
    assert_eq!(workshop.read("report/index.html"), page);
    workshop.file("studies/own.toml", &study.replace("seed = 1", "seed = 1\ncolour = 2"));
    workshop.refused(&reproduce, &["own.toml", "line", "unknown field", "colour"]);
    workshop.refused(&["reproduce", "--studies", "none"], &["none"]);
}

#[test]
fn bad_scenarios_are_refused() {
    let workshop = Workshop::new();
    let paper = fs::read_to_string(PAPER).unwrap();
    let check = |from: &str, to: &str, parts: &[&str]| {
        assert!(paper.contains(from));
        workshop.file("s.toml", &paper.replacen(from, to, 1));
        let instance = ["instance", "--scenario", "s.toml", "--out", "out.json"];
        workshop.refused(&instance, &[&["s.toml"], parts].concat());
        let train = ["train", "--scenario", "s.toml", "--out", "x"];
        workshop.refused(&train, &["s.toml"]);
    };
    check("requests = 2000", "requests = 2000\ncolour = 1", &["unknown field", "colour", "line"]);
    check("requests = 2000", "requests = 0", &["line", "1 to 1e6"]);
    check("15.0 }", "-15.0 }", &["line", "-15", "0 to 1e9 seconds"]);
    check("15.0 }", "nan }", &["line", "NaN", "0 to 1e9 seconds"]);
    check("[2.0, 20.0]", "[20.0, 2.0]", &["line"]);
    check("tardiness_weight = 1.5", "tardiness_weight = -1", &["line", "0 to 1e6"]);
    check("count = 6", "count = 0\nsteps = 1", &["unknown field", "line"]);
    let empty = paper.replace("count = 6", "count = 0").replace("count = 4", "count = 0");
    workshop.file("s.toml", &empty);
    let instance = ["instance", "--scenario", "s.toml", "--out", "out.json"];
    workshop.refused(&instance, &["0 servers", "1 to 1000"]);
    workshop.refused(&["instance", "--scenario", "none.toml", "--out", "o"], &["none.toml"]);
}

#[test]
fn bad_instances_are_refused() {
    let workshop = Workshop::new();
    let check = |servers: &str, requests: &str, parts: &[&str]| {
        let json = format!(
            "{{\"servers\": [{servers}],\n\"requests\": [{requests}],\n\"tardiness_weight\": 1.5}}"
        );
        workshop.file("i.json", &json);
        workshop.file("r.csv", "precious");
        let simulate =
            ["simulate", "--instance", "i.json", "--policy", "greedy", "--rows", "r.csv"];
        workshop.refused(&simulate, &[&["i.json"], parts].concat());
    };
    let server = r#"{"name":"s0","steps_per_second":10}"#;
    let request = |arrival: &str, due: &str| {
        format!(r#"{{"arrival":{arrival},"due":{due},"penalty":"linear"}}"#)
    };
    check("", &request("0", "1"), &["servers", "1 or more"]);
    check(server, &request("-1", "1"), &["requests[0].arrival", "-1", "0 to 1e9"]);
    check(server, &request("NaN", "1"), &["requests[0].arrival", "line 2"]);
    check(server, &request("2", "1"), &["requests[0].due", "2 s or later"]);
    let unsorted = request("2", "3") + "," + &request("1", "3");
    check(server, &unsorted, &["requests[1].arrival", "2 s or later"]);
    let unknown = r#"{"arrival":0,"due":1,"penalty":"linear","steps":0}"#;
    check(server, unknown, &["unknown field", "steps", "line 2"]);
}

#[test]
fn bad_arguments_are_refused() {
    let workshop = Workshop::new();
    workshop.run(&["instance", "--scenario", PAPER, "--out", "i.json"]);
    let simulate = |policy| ["simulate", "--instance", "i.json", "--policy", policy];
    workshop.refused(&simulate("best"), &["no such policy", "valid are random"]);
    workshop.refused(&simulate("fixed[steps=0]"), &["steps=0", "1 to 200"]);
    workshop.refused(&simulate("agent[nowhere]"), &["nowhere"]);
    workshop.refused(&["evaluate", "--scenario", PAPER, "--instances", "0"], &["instances"]);
    let train = ["train", "--scenario", PAPER, "--out", "x", "--discount", "1.5"];
    workshop.refused(&train, &["--discount", "1.5", "0 to 1"]);
    workshop.refused(&["paint"], &["paint"]);
}

#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let workshop = Workshop::new();
    let output =
        workshop.atelier(&["instance", "--scenario", PAPER, "--out", "no/such/folder/i.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/such/folder/i.json"));
}

/// Ctrl-C in the middle leaves a checkpoint that evaluates, and that resumes to the same end.
#[cfg(unix)]
#[test]
fn an_interrupted_training_can_be_resumed() {
    let workshop = Workshop::new();
    let small = fs::read_to_string(PAPER).unwrap().replace("requests = 2000", "requests = 200");
    workshop.file("small.toml", &small);
    let train = |out| {
        [
            "train",
            "--scenario",
            "small.toml",
            "--seed",
            "3",
            "--out",
            out,
            "--episodes",
            "600",
            "--hidden",
            "32",
            "--instances",
            "0",
        ]
    };
    workshop.run(&train("whole"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_atelier"))
        .args(train("parts"))
        .current_dir(workshop.at(""))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // As soon as the first checkpoint is there, training is under way.
    while !workshop.at("parts/metadata.json").exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let code = child.wait().unwrap().code();
    // The signal may come too late to interrupt anything.
    assert!(code == Some(130) || code == Some(0), "{code:?}");
    let policy = "agent[parts]";
    workshop.run(&["evaluate", "--scenario", "small.toml", "--policy", policy, "--instances", "1"]);
    workshop.run(&[&train("parts")[..], &["--resume"]].concat());
    for file in ["weights-600.safetensors", "curve-600.csv"] {
        let read = |out: &str| fs::read(workshop.at(out).join(file)).unwrap();
        assert!(read("whole") == read("parts"), "{file} differs");
    }
}
