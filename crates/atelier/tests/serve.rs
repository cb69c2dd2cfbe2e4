//! The gateway as a user starts it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

#[test]
fn the_demo_keeps_its_journal_out_of_the_working_directory_and_starts_twice_in_a_row() {
    let (work, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Free at this moment, and nobody else asks for it.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let journal = state.path().join(format!("atelier/demo-{port}.db"));
    for start in 1..=2 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_atelier"))
            .args(["serve", "--demo", "--listen", &format!("127.0.0.1:{port}")])
            .current_dir(work.path())
            .env("XDG_STATE_HOME", state.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            told.push_str(&line.unwrap());
            told.push('\n');
            if told.contains("\"serving\"") {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(told.contains("\"serving\""), "start {start}: {told}");
        assert!(told.contains(&format!("its journal is {}", journal.display())), "{told}");
        assert!(journal.is_file());
        let left = std::fs::read_dir(work.path()).unwrap().count();
        assert_eq!(left, 0, "start {start} left something in the working directory");
    }
}
