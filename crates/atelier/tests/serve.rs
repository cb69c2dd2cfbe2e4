//! The gateway as a user starts and stops it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `atelier serve` with these arguments, in a working directory of its own.
fn command(work: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atelier"));
    command.arg("serve").args(arguments).current_dir(work).env("XDG_STATE_HOME", work);
    command.stderr(Stdio::piped());
    command
}

/// Waits until it serves; what it has said by then.
fn until_serving(child: &mut Child) -> String {
    let mut told = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for line in lines.by_ref() {
        told.push_str(&line.unwrap());
        told.push('\n');
        if told.contains("\"serving\"") {
            // Whatever else it says must not fill the pipe.
            std::thread::spawn(move || lines.for_each(drop));
            return told;
        }
    }
    panic!("it never serves: {told}");
}

/// Free at this moment, and nobody else asks for it.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Head and body of an answer.
fn ask(port: u16, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nprefer: wait=60\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_demo_keeps_its_journal_out_of_the_working_directory_and_starts_twice_in_a_row() {
    let (work, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = free_port();
    let journal = state.path().join(format!("atelier/demo-{port}.db"));
    for start in 1..=2 {
        let listen = format!("127.0.0.1:{port}");
        let mut child = command(work.path(), &["--demo", "--listen", &listen])
            .env("XDG_STATE_HOME", state.path())
            .spawn()
            .unwrap();
        let told = until_serving(&mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        // The first line, whatever else the log has to say.
        let line = format!("atelier is at http://{listen}, its journal is {}\n", journal.display());
        assert!(told.starts_with(&line), "{told}");
        assert!(journal.is_file());
        let left = std::fs::read_dir(work.path()).unwrap().count();
        assert_eq!(left, 0, "start {start} left something in the working directory");
    }
}

const PAINTER: &str = "[defaults]\nwidth = 16\nheight = 16\n[[server]]\nname = \"a\"\n\
                       steps_per_second = 20.0\nbackend = { kind = \"demo\" }\n";

#[cfg(unix)]
#[test]
fn on_sigterm_what_runs_finishes_what_waits_is_kept_and_the_process_exits_with_0() {
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("atelier.toml"), PAINTER).unwrap();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut child = command(work.path(), &["--listen", &listen]).spawn().unwrap();
    until_serving(&mut child);
    while !ask(port, "GET /readyz", "").starts_with("HTTP/1.1 200") {}
    // One second each: the first one runs, the second one waits.
    let body = "{\"prompt\": \"x\", \"min_steps\": 20, \"max_steps\": 20}";
    let clients: Vec<_> =
        (0..2).map(|_| std::thread::spawn(move || ask(port, "POST /v1/requests", body))).collect();
    let listed = |state: &str| ask(port, &format!("GET /v1/requests?state={state}"), "");
    while !(listed("running").contains("\"id\"") && listed("waiting").contains("\"id\"")) {}
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // Whoever waited is told how it stands.
    let answers: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let told = |state: &str| {
        let state = format!("\"state\":\"{state}\"");
        answers.iter().filter(|answer| answer.contains(&state)).count()
    };
    assert_eq!((told("completed"), told("waiting")), (1, 1), "{answers:?}");

    let mut child = command(work.path(), &["--listen", &listen]).spawn().unwrap();
    until_serving(&mut child);
    for answer in answers {
        let id = answer.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap();
        let done = ask(port, &format!("GET /v1/requests/{id}"), "");
        assert!(done.contains("\"state\":\"completed\""), "{done}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn at_sighup_the_file_is_read_again_and_a_wrong_one_changes_nothing() {
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("atelier.toml");
    std::fs::write(&file, PAINTER).unwrap();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut child = command(work.path(), &["--listen", &listen]).spawn().unwrap();
    until_serving(&mut child);
    let hang_up = || {
        let sent = Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    let servers = || ask(port, "GET /v1/servers", "");
    let another =
        "[[server]]\nname = \"b\"\nsteps_per_second = 9.0\nbackend = { kind = \"demo\" }\n";
    std::fs::write(&file, format!("{PAINTER}{another}")).unwrap();
    hang_up();
    while !servers().contains("\"name\":\"b\"") {}
    std::fs::write(&file, "nonsense").unwrap();
    hang_up();
    let refused = ask(port, "PUT /v1/configuration/reload", "");
    assert!(refused.contains("atelier.toml:1: `nonsense`"), "{refused}");
    assert!(servers().contains("\"name\":\"b\""));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_wrong_configuration_is_refused_with_file_line_and_key_and_nothing_is_started() {
    for (change, with, place, parts) in [
        ("20.0", "-1", "atelier.toml:6: ", ["steps_per_second", "0.001 to 1e6"]),
        ("demo", "dalle", "atelier.toml:7: ", ["dalle", "comfyui"]),
        ("16\n[[", "16\ncolour = 1\n[[", "atelier.toml:4: ", ["colour", "due_in_seconds"]),
        ("[def", "policy = \"agent[no]\"\n[def", "atelier.toml:1: ", ["`policy`", "no"]),
        ("[def", "listen = \"0.0.0.0:1\"\n[def", "atelier.toml:1: ", ["loopback", "[[key]]"]),
    ] {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("atelier.toml");
        std::fs::write(file, PAINTER.replacen(change, with, 1)).unwrap();
        let output = command(work.path(), &["--listen", "127.0.0.1:0"]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(place), "{told}");
        for part in parts {
            assert!(told.contains(part), "{told:?} does not contain {part:?}");
        }
        assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 1, "{told}");
    }
}

#[cfg(unix)]
#[test]
fn whatever_becomes_of_the_log_requests_are_served_and_the_process_stops() {
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let nobody_is_there = || Stdio::from(std::io::pipe().unwrap().1);
    for kind in ["a reader that has gone", "a full disk", "a reader that does not read"] {
        let work = tempfile::tempdir().unwrap();
        std::fs::write(work.path().join("atelier.toml"), PAINTER).unwrap();
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let (_reader, mut unread) = std::io::pipe().unwrap();
        let stderr = match kind {
            "a reader that has gone" => nobody_is_there(),
            "a full disk" => full(),
            _ => {
                // As much as fits in: whoever writes more waits.
                unread.write_all(&vec![b'x'; 65_536]).unwrap();
                Stdio::from(unread)
            }
        };
        let mut child =
            command(work.path(), &["--listen", &listen]).stderr(stderr).spawn().unwrap();
        let start = std::time::Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err()
            || !ask(port, "GET /readyz", "").starts_with("HTTP/1.1 200")
        {
            assert!(start.elapsed().as_secs() < 60, "{kind}: it does not start");
        }
        let done = ask(port, "POST /v1/requests", "{\"prompt\": \"x\", \"max_steps\": 1}");
        assert!(done.contains("\"state\":\"completed\""), "{kind}: {done}");
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        let stopping = std::time::Instant::now();
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if stopping.elapsed().as_secs() > 60 {
                child.kill().unwrap();
                panic!("{kind}: it does not stop");
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        assert_eq!(code, Some(0), "{kind}");
    }
}

#[test]
fn a_second_process_on_the_journal_is_refused_in_one_line() {
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("atelier.toml"), PAINTER).unwrap();
    let arguments = ["--listen", "127.0.0.1:0"];
    let mut first = command(work.path(), &arguments).spawn().unwrap();
    until_serving(&mut first);
    let second = command(work.path(), &arguments).output().unwrap();
    let told = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert_eq!(told.lines().count(), 1, "it never was at any address: {told}");
    assert!(told.contains(&format!("in use by process {}", first.id())), "{told}");
    first.kill().unwrap();
    first.wait().unwrap();
    // The system has given the lock back, however the first ended.
    let mut third = command(work.path(), &arguments).spawn().unwrap();
    until_serving(&mut third);
    third.kill().unwrap();
    third.wait().unwrap();
}

#[test]
fn a_configuration_is_checked_without_starting_anything() {
    let work = tempfile::tempdir().unwrap();
    let server =
        "[[server]]\nname = \"a\"\nsteps_per_second = 9.0\nbackend = { kind = \"demo\" }\n";
    let check = |text: &str| {
        std::fs::write(work.path().join("atelier.toml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_atelier"));
        let output = command.arg("check").current_dir(work.path()).output().unwrap();
        let told = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), told(output.stdout), told(output.stderr))
    };
    let sound = "atelier.toml can be served: agent[universal], 1 server\n";
    assert_eq!(check(server), (Some(0), sound.into(), String::new()));
    for (text, told) in [
        ("", "atelier.toml:1: there is no [[server]]"),
        (&*format!("policy = \"agent[nowhere]\"\n{server}"), "atelier.toml:1: `policy`: "),
        (
            &*server.replace("\"demo\"", "\"openai\", url = \"http://h:1\", key_file = \"k\""),
            "k: No such",
        ),
    ] {
        let (code, printed, error) = check(text);
        assert_eq!((code, printed), (Some(2), String::new()), "{error}");
        assert!(error.contains(told), "{error}");
    }
    let left = std::fs::read_dir(work.path()).unwrap().count();
    assert_eq!(left, 1, "nothing is written");
}
