//! `tune` and `train --agent universal` as a user types them.

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

const CONTENDED: &str = include_str!("../../../scenarios/contended.toml");
const FLEETS: &str = include_str!("../../../scenarios/fleets.toml");
const UNIVERSAL: &str = include_str!("../../../scenarios/universal.toml");

/// Small problems in a folder of their own.
fn workshop() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name, text: String| fs::write(folder.path().join(name), text).unwrap();
    write("contended.toml", CONTENDED.replace("requests = 2000", "requests = 50"));
    let domain = UNIVERSAL.replace("base = 1500", "base = 10").replace("[1, 64]", "[1, 3]");
    write("domain.toml", domain);
    let fleets = FLEETS.replace("base = 1500", "base = 10").replace("[2, 24]", "[2, 3]");
    write("fleets.toml", fleets);
    folder
}

fn atelier(folder: &TempDir, command: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_atelier"))
        .args(command.split(' '))
        .current_dir(folder.path())
        .output()
        .unwrap()
}

fn run(folder: &TempDir, command: &str) -> String {
    let output = atelier(folder, command);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn tune_prints_a_name_that_evaluate_understands() {
    let folder = workshop();
    let tune = "tune --scenario contended.toml --seed 3 --training-instances 1 --instances 0";
    let name = run(&folder, tune);
    assert!(name.starts_with("priced[base="), "{name}");
    assert_eq!(run(&folder, &format!("--threads 1 {tune}")), name);
    let evaluate = "evaluate --scenario contended.toml --instances 2 --policy";
    assert!(run(&folder, &format!("{evaluate} {}", name.trim())).contains(name.trim()));
}

#[test]
fn a_universal_agent_runs_on_any_scenario_and_resumes() {
    let folder = workshop();
    let train = "train --agent universal --scenario domain.toml --seed 3 --rounds 2 --out";
    run(&folder, &format!("{train} one"));
    run(&folder, &format!("--threads 1 {train} two"));
    let weights = |out: &str| fs::read(folder.path().join(out).join("weights-2.safetensors"));
    assert_eq!(weights("one").unwrap(), weights("two").unwrap());
    run(&folder, &format!("{train} one --resume"));
    let evaluate = "evaluate --scenario contended.toml --instances 2";
    let table = run(&folder, &format!("{evaluate} --policy agent[one] --policy agent[one,cap=9]"));
    assert!(table.contains("agent[one,cap=9]"), "{table}");
}

#[test]
fn a_universal_agent_goes_on_in_fleets() {
    let folder = workshop();
    let plain = "train --agent universal --scenario domain.toml --seed 3 --rounds 1";
    let fleets = "--fleets fleets.toml --fleet-rounds 2";
    run(&folder, &format!("{plain} {fleets} --out at-once"));
    run(&folder, &format!("{plain} --out later"));
    run(&folder, &format!("{plain} {fleets} --resume --out later"));
    let read = |out: &str, file: &str| fs::read(folder.path().join(out).join(file)).unwrap();
    let weights = "weights-3.safetensors";
    assert!(read("at-once", weights) == read("later", weights));
    let metadata = |out: &str| String::from_utf8(read(out, "metadata.json")).unwrap();
    assert_eq!(metadata("at-once"), metadata("later").replace("later", "at-once"));
    let fleet = include_str!("../../../scenarios/fleet.toml");
    fs::write(folder.path().join("fleet.toml"), fleet.replace("= 2000", "= 50")).unwrap();
    run(&folder, "evaluate --scenario fleet.toml --instances 2 --policy agent[later]");
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = workshop();
    let train = "train --seed 3 --out x --scenario";
    for (command, part) in [
        (format!("{train} domain.toml"), "unknown field"),
        (format!("{train} contended.toml --agent universal"), "unknown field"),
        (format!("{train} domain.toml --agent universal --lanes 2"), "--rounds"),
        (format!("{train} contended.toml --rounds 2"), "--agent universal only"),
        (format!("{train} contended.toml --fleets fleets.toml"), "--agent universal only"),
        (format!("{train} fleets.toml --agent universal"), "--fleets"),
        (format!("{train} domain.toml --agent universal --fleets domain.toml"), "no [models]"),
        (format!("{train} domain.toml --agent universal --fleet-rounds 2"), "--fleets"),
    ] {
        let output = atelier(&folder, &command);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}: {message}");
        assert!(message.contains(part), "{message}");
        assert!(!folder.path().join("x").exists(), "{command}");
    }
}
