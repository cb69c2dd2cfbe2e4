//! Finished schedules as a user looks at them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const CONTENDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/contended.toml");

fn atelier(work: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atelier"));
    command.args(arguments).current_dir(work).output().unwrap()
}

/// A folder with an instance `i.json`, its rows `myopic.csv` and `greedy.csv`, and those of another one, `other.csv`.
fn workshop() -> TempDir {
    let work = tempfile::tempdir().unwrap();
    for (seed, instance, policies) in [
        ("5", "i.json", &[("myopic", "myopic.csv"), ("greedy", "greedy.csv")][..]),
        ("6", "j.json", &[("myopic", "other.csv")]),
    ] {
        let draw = ["instance", "--scenario", CONTENDED, "--seed", seed, "--out", instance];
        assert!(atelier(work.path(), &draw).status.success());
        for (policy, rows) in policies {
            let simulate = ["simulate", "--instance", instance, "--policy", policy, "--rows", rows];
            assert!(atelier(work.path(), &simulate).status.success());
        }
    }
    work
}

/// A replay that ends with its test, however that ends.
struct Replay(Child);

impl Drop for Replay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `atelier replay`, and the address at which it says it is.
fn start(work: &Path, arguments: &[&str]) -> (Replay, String) {
    let child = Command::new(env!("CARGO_BIN_EXE_atelier"))
        .args(["replay", "--listen", "127.0.0.1:0"])
        .args(arguments)
        .current_dir(work)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut replay = Replay(child);
    let mut line = String::new();
    BufReader::new(replay.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("atelier replay is at http://");
    let address = address.unwrap_or_else(|| panic!("it never serves: {line}")).to_owned();
    (replay, address)
}

/// Head and body of an answer.
fn ask(address: &str, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[cfg(unix)]
#[test]
fn two_schedules_are_shown_until_sigterm() {
    let work = workshop();
    let (mut replay, address) =
        start(work.path(), &["myopic.csv", "greedy.csv", "--instance", "i.json"]);
    for (path, part) in [("/", "<!doctype html>"), ("/page/main.js", "text/javascript")] {
        let answer = ask(&address, path, &address);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(part), "{path}: {answer}");
    }
    let answer = ask(&address, "/schedule.json", &address);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let shown: serde_json::Value = serde_json::from_str(body).unwrap();
    let instance = fs::read_to_string(work.path().join("i.json")).unwrap();
    let servers = scheduling::Instance::from_json(&instance).unwrap().cluster().clone();
    for (index, name) in ["myopic", "greedy"].into_iter().enumerate() {
        let schedule = &shown["schedules"][index];
        assert_eq!(schedule["name"], name);
        let rows = fs::read_to_string(work.path().join(format!("{name}.csv"))).unwrap();
        let rows = scheduling::read_rows(&rows, &[]).unwrap();
        let finish: Vec<_> = rows.iter().map(|row| row.finish).collect();
        assert_eq!(schedule["requests"]["finish"], serde_json::json!(finish));
        let rates: Vec<_> = servers.iter().map(|s| s.step_rate.steps_per_second()).collect();
        assert_eq!(schedule["steps_per_second"], serde_json::json!(rates));
    }
    let refused = ask(&address, "/schedule.json", "evil.example");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");

    // A connection that stays open keeps nothing from ending.
    let _open = TcpStream::connect(&address).unwrap();
    let killed = Command::new("kill").args(["-TERM", &replay.0.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(replay.0.wait().unwrap().code(), Some(0));
}

#[test]
fn without_an_instance_models_are_those_of_the_file() {
    let work = tempfile::tempdir().unwrap();
    let rows = "request,server,steps,arrival,start,finish,due,tardiness,penalty,quality,reward,model,size,\
                load,attempts,outcome\n0,1,20,0.0,0.0,2.0,3.0,0.0,0.0,9.0,9.0,sdxl,1.0,0.5,1,completed\n";
    fs::write(work.path().join("fleet.csv"), rows).unwrap();
    let (_replay, address) = start(work.path(), &["fleet.csv"]);
    let answer = ask(&address, "/schedule.json", "localhost");
    for part in ["\"model\":[\"sdxl\"]", "[\"server 0\",\"server 1\"]", "\"tardiness_weight\":null"]
    {
        assert!(answer.contains(part), "{answer}");
    }
}

#[test]
fn what_cannot_be_shown_is_refused_in_one_line() {
    let work = workshop();
    let header = fs::read_to_string(work.path().join("myopic.csv")).unwrap();
    let header = header.lines().next().unwrap();
    for (name, text) in [
        ("none.csv", format!("{header}\n")),
        ("bad.csv", format!("{header}\n0,0,x,0,0,0,0,0,0,0,0\n")),
        ("few.csv", format!("{header}\n0,0,1,0,0,0,0,0,0,0,0\n")),
    ] {
        fs::write(work.path().join(name), text).unwrap();
    }
    for (arguments, parts) in [
        (&["myopic.csv", "--listen", "0.0.0.0:0"][..], ["0.0.0.0:0", "127.0.0.1 or [::1]"]),
        (&["gone.csv"], ["gone.csv", "No such file"]),
        (&["none.csv"], ["none", "1 or more"]),
        (&["bad.csv"], ["bad.csv", "line: 2"]),
        (&["myopic.csv", "other.csv"], ["other: request 0", "as in myopic"]),
        (&["myopic.csv", "few.csv"], ["few: request 0", "as in myopic"]),
        (&["other.csv", "--instance", "i.json"], ["other: request 0", "as in the instance"]),
        (&["myopic.csv", "--instance", "gone.json"], ["gone.json", "No such file"]),
    ] {
        let output = atelier(work.path(), &[&["replay"], arguments].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        for part in parts {
            assert!(message.contains(part), "{message:?} does not contain {part:?}");
        }
    }
    for arguments in [&["replay"][..], &["replay", "a.csv", "b.csv", "c.csv"]] {
        assert_eq!(atelier(work.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}
