//! Where output goes: files, links, pipes, devices and the standard streams, and when it is refused.
#![cfg(unix)]

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const PAPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/paper.toml");
const INSTANCE: &str = r#"{
    "servers": [{ "name": "a", "steps_per_second": 5.0 }],
    "requests": [{ "arrival": 0, "due": 9, "penalty": "linear" }],
    "tardiness_weight": 1.5
}"#;
const SIMULATE: [&str; 5] = ["simulate", "--instance", "i.json", "--policy", "myopic"];
const HEADER: &str = "request,server,steps,arrival";

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.at("i.json"), INSTANCE).unwrap();
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atelier"));
        command.args(arguments).current_dir(self.0.path());
        command
    }

    fn atelier(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that cannot go on and gives its one line on standard error.
    fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.atelier(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty(), "{arguments:?} went to work");
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
        message
    }
}

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

#[test]
fn devices_links_and_pipes_are_written_through() {
    let folder = Folder::new();
    symlink("/dev/null", folder.at("null")).unwrap();
    symlink("real.csv", folder.at("link.csv")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.at("pipe")).status().unwrap().success());
    for (option, start) in [("--rows", HEADER), ("--gantt", "<svg"), ("--trace", "{\"display")] {
        for place in ["null", "/dev/null"] {
            assert!(folder.atelier(&with(&SIMULATE, &[option, place])).status.success());
            assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        }
        fs::write(folder.at("real.csv"), "old").unwrap();
        fs::set_permissions(folder.at("real.csv"), Permissions::from_mode(0o600)).unwrap();
        assert!(folder.atelier(&with(&SIMULATE, &[option, "link.csv"])).status.success());
        assert!(fs::symlink_metadata(folder.at("link.csv")).unwrap().is_symlink());
        assert!(fs::read_to_string(folder.at("real.csv")).unwrap().starts_with(start));
        let mode = fs::metadata(folder.at("real.csv")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let mut child = folder.command(&with(&SIMULATE, &[option, "pipe"]));
        let mut child = child.stdout(Stdio::null()).spawn().unwrap();
        let mut text = String::new();
        File::open(folder.at("pipe")).unwrap().read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(text.starts_with(start), "{text}");
        assert!(fs::symlink_metadata(folder.at("pipe")).unwrap().file_type().is_fifo());
    }
}

#[test]
fn standard_output_gets_rows_and_what_is_printed() {
    let folder = Folder::new();
    symlink("/proc/self/fd/1", folder.at("stdout")).unwrap();
    for place in ["/dev/stdout", "stdout"] {
        let arguments = with(&SIMULATE, &["--rows", place]);
        let piped = String::from_utf8(folder.atelier(&arguments).stdout).unwrap();
        assert!(piped.starts_with(HEADER) && piped.contains("\nreward "), "{piped}");
        // Into a file, as the shell's > does.
        let file = File::create(folder.at("printed")).unwrap();
        assert!(folder.command(&arguments).stdout(file).status().unwrap().success());
        assert_eq!(fs::read_to_string(folder.at("printed")).unwrap(), piped);
        assert!(fs::symlink_metadata(folder.at("stdout")).unwrap().is_symlink());
    }
}

#[test]
fn what_cannot_be_written_is_said_before_any_work() {
    let folder = Folder::new();
    fs::write(folder.at("file"), "precious").unwrap();
    fs::create_dir(folder.at("folder")).unwrap();
    let evaluate = ["evaluate", "--scenario", PAPER, "--instances", "100000", "--json"];
    let bound = ["bound", "--instance", "i.json", "--rows"];
    let tidy = ["train", "--scenario", PAPER, "--out"];
    let universal = ["train", "--agent", "universal", "--instance", "i.json", "--out"];
    let reproduce = ["reproduce", "--out"];
    for command in [&SIMULATE[..], &evaluate, &bound] {
        let command =
            if command == SIMULATE { with(command, &["--trace"]) } else { command.into() };
        for (place, part) in [
            ("no/such/f", "No such file"),
            ("file/f", "Not a directory"),
            ("folder", "is a directory"),
        ] {
            let message = folder.fails(&with(&command, &[place]), 1);
            assert!(message.contains(place) && message.contains(part), "{message}");
        }
    }
    for command in [&tidy[..], &universal, &reproduce] {
        for place in ["file", "file/folder"] {
            let message = folder.fails(&with(command, &[place]), 1);
            assert!(message.contains(place), "{message}");
        }
    }
    assert_eq!(fs::read_to_string(folder.at("file")).unwrap(), "precious");
}

#[test]
fn calibrate_changes_the_file_behind_a_link_and_keeps_its_mode() {
    let folder = Folder::new();
    let text = "journal = \"j.db\"\n[[server]]\nname = \"a\"\nsteps_per_second = 900.0\n\
                backend = { kind = \"demo\" }\n[defaults]\nwidth = 16\nheight = 16\n";
    fs::write(folder.at("real.toml"), text).unwrap();
    fs::set_permissions(folder.at("real.toml"), Permissions::from_mode(0o600)).unwrap();
    symlink("real.toml", folder.at("atelier.toml")).unwrap();
    let output = folder.atelier(&["calibrate"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(fs::symlink_metadata(folder.at("atelier.toml")).unwrap().is_symlink());
    let real = folder.at("real.toml");
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
    let changed = fs::read_to_string(real).unwrap();
    assert!(changed.contains("overhead_seconds") && !changed.contains("900.0"), "{changed}");
}

#[test]
fn messages_do_not_repeat_what_is_as_long_as_a_file() {
    let folder = Folder::new();
    let (long, digits) = ("x".repeat(100_000), "9".repeat(300));
    let bracket = format!("agent[{long}]");
    fs::write(folder.at("long.toml"), &long).unwrap();
    fs::write(folder.at("marked.json"), format!("\u{feff}{INSTANCE}")).unwrap();
    let marked = ["simulate", "--instance", "marked.json", "--policy", "myopic"];
    assert!(folder.atelier(&marked).status.success());
    for arguments in [
        &["simulate", "--instance", "i.json", "--policy", &long][..],
        &["simulate", "--instance", "i.json", "--policy", &bracket],
        &["simulate", "--instance", "long.toml", "--policy", "myopic"],
        &["simulate", "--instance", &long, "--policy", "myopic"],
        &["evaluate", "--scenario", "long.toml"],
        &["train", "--agent", "universal", "--scenario", "long.toml", "--out", "x"],
        &["serve", "--config", "long.toml"],
        &["bound", "--instance", "i.json", "--seconds", &digits],
        &["bound", "--instance", "i.json", "--seed", &digits],
        &["train", "--scenario", PAPER, "--out", "x", "--discount", &digits],
        &[&long],
    ] {
        let output = folder.atelier(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.len() < 1500, "{} bytes: {message}", message.len());
        assert!(!message.contains(&"9".repeat(310)), "{message}");
    }
}
