//! `study` and `reproduce` as a user meets them, in a folder that holds nothing but their own files.

use std::fs;

use workshop::Workshop;

mod workshop;

const SCENARIO: &str = include_str!("../../../scenarios/contended.toml");

const STUDY: &str = r#"
title = "What more time is worth"
figure = "sweep"
instances = 3
seed = 1
policies = ["greedy", "random", "agent[universal]"]

[[panels]]
name = "slack"
title = "A request a second"
scenario = "own.toml"
set = { requests = 60 }
sweep = { "due.slack_seconds" = [5, 10], "cluster.servers.0.count" = [2, 6] }

[[claims]]
claim = "agent[universal] > random"

[[claims]]
claim = "random > agent[universal]"
panel = "slack"
at = 10
"#;

/// In one line.
fn refused(workshop: &Workshop, arguments: &[&str], parts: &[&str]) {
    let message = workshop.refused(arguments, parts);
    assert_eq!(message.lines().count(), 1, "{message:?}");
}

/// A workshop with a study and a scenario in a folder.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.file("mine/own.toml", SCENARIO);
    workshop.file("mine/slack.toml", STUDY);
    workshop
}

#[test]
fn a_study_of_ones_own_is_one_page_from_any_folder() {
    let workshop = workshop();
    let said = workshop.run(&["study", "mine/slack.toml"]);
    for part in ["agent[universal] > random", "holds", "does not hold", "index.html"] {
        assert!(said.contains(part), "{said}");
    }
    let rows = workshop.read("study-report/rows/slack.csv");
    assert_eq!(rows.lines().count(), 1 + 2 * 2 * 3 * 3);
    assert!(
        rows.contains("\"slack, cluster.servers.0.count = 6\",10.0,agent[universal]"),
        "{rows}"
    );
    let page = workshop.read("study-report/index.html");
    assert!(page.contains("<h1>What more time is worth</h1>"));
    assert!(page.contains("A request a second: cluster.servers.0.count = 2"));
    for word in ["paper’s", "Feng", "reproduced"] {
        assert!(!page.contains(word), "the page speaks of the paper: {word}");
    }
    // From the cache, and from elsewhere.
    fs::rename(workshop.at("study-report"), workshop.at("again")).unwrap();
    let there = ["study", "slack.toml", "--threads", "1", "--out", "../again"];
    let again = workshop.atelier_in("mine", &there);
    assert!(again.status.success());
    assert_eq!(workshop.read("again/rows/slack.csv"), rows);
    assert_eq!(workshop.read("again/index.html"), page);
}

#[test]
fn a_policy_of_ones_own_joins_every_figure() {
    let workshop = workshop();
    workshop.file(
        "hasty.py",
        "def decide(observation):\n    return 0, observation.offers[0].min_steps\n",
    );
    let study = ["study", "mine/slack.toml", "--policy", "file[hasty.py]", "--policy", "random"];
    workshop.run(&study);
    let rows = workshop.read("study-report/rows/slack.csv");
    assert_eq!(rows.lines().count(), 1 + 2 * 2 * 3 * 4, "those that were there are there once");
    assert_eq!(rows.matches(",file[hasty.py],").count(), 2 * 2 * 3);
    assert!(workshop.read("study-report/index.html").contains("file[hasty.py]"));
    refused(&workshop, &["study", "mine/slack.toml", "--policy", "file[no.py]"], &["file[no.py]"]);
    workshop.refused(&["study", "mine/slack.toml", "--policy", "gredy"], &["gredy"]);
}

#[test]
fn given_instances_and_several_studies_share_a_page() {
    let workshop = workshop();
    for (seed, name) in [("1", "mon"), ("2", "tue"), ("3", "wed")] {
        let out = format!("mine/{name}.json");
        workshop.run(&["instance", "--scenario", "mine/own.toml", "--seed", seed, "--out", &out]);
    }
    let study = r#"
title = "Three days"
figure = "instances"
seed = 1
policies = ["greedy", "myopic"]
[[learned]]
name = "priced on monday"
method = "tune"
trained_in = "mon.json"
seeds = [1]
episodes = 1
[[learned]]
name = "agent"
trained_in = "panel"
seeds = [1]
episodes = 1
[[panels]]
name = "days"
title = "Days"
instances = ["mon.json", "tue.json", "wed.json"]
[[claims]]
claim = "priced on monday > greedy"
"#;
    workshop.file("mine/days.toml", study);
    let said = workshop.run(&["study", "mine/days.toml", "mine/slack.toml", "--out", "both"]);
    assert!(said.contains("priced on monday > greedy"), "{said}");
    let rows = workshop.read("both/rows/days.csv");
    assert_eq!(rows.lines().count(), 1 + 3 * 4);
    assert!(rows.lines().nth(2).unwrap().contains(",tue,1,days,,greedy,,1,"), "{rows}");
    let page = workshop.read("both/index.html");
    assert!(page.contains("<h1>Studies: days, slack</h1>"));
    assert!(page.contains("3 given instances with 6000 requests"));
}

#[test]
fn bad_studies_are_refused_before_anything_is_written() {
    let workshop = workshop();
    let check = |from: &str, to: &str, parts: &[&str]| {
        assert!(STUDY.contains(from), "{from}");
        workshop.file("mine/bad.toml", &STUDY.replacen(from, to, 1));
        refused(&workshop, &["study", "mine/bad.toml"], &[&["mine/bad.toml"], parts].concat());
    };
    check("due.slack_seconds", "due.slak", &["slack", "due.slak = 5", "unknown field"]);
    check("[5, 10]", "[5, -1]", &["panel \"slack\"", "due.slack_seconds = -1", "0 to 1e9 seconds"]);
    check("own.toml", "none.toml", &["panel \"slack\"", "none.toml", "No such file"]);
    check("agent[universal]", "agent[none]", &["agent[none]"]);
    check(
        "random > agent",
        "rndom > agent",
        &["rndom", "allowed are greedy; random; agent[universal]"],
    );
    let agent =
        "[[learned]]\nname = \"a\"\ntrained_in = \"panel\"\nseeds = [1]\nepisodes = 1\n[[panels]]";
    check("[[panels]]", agent, &["learned \"a\"", "trained for 10 servers and the cluster has 6"]);
    let noisy = "requests = 60, \"noise.sigma\" = 0.3";
    let both = STUDY.replace("requests = 60", noisy);
    let known = both.replace("seed = 1", "seed = 1\nclairvoyant = { instances = 1, rounds = 1 }");
    workshop.file("mine/bad.toml", &known);
    refused(&workshop, &["study", "mine/bad.toml"], &["panel \"slack", "exact service times"]);
    workshop.file("mine/bad.toml", &both.replace("[[panels]]", agent));
    refused(&workshop, &["study", "mine/bad.toml"], &["learned \"a\"", "service times that stray"]);
    refused(&workshop, &["study", "nowhere.toml"], &["nowhere.toml", "No such file"]);
    refused(
        &workshop,
        &["study", "mine/slack.toml", "mine/slack.toml"],
        &["two studies are named slack"],
    );
}
