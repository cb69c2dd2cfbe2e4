//! From addresses to the first picture, with not a line edited: `atelier init` against a server of each kind.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use servers::{Kind, serve};
use tempfile::TempDir;

#[path = "../../gateway/examples/stand_ins/servers.rs"]
mod servers;

/// A server of each kind at a port of its own; they live as long as this.
struct StandIns {
    _runtime: tokio::runtime::Runtime,
    addresses: Vec<String>,
}

fn stand_ins() -> StandIns {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kinds = [Kind::ComfyUi, Kind::Automatic1111, Kind::SdServer, Kind::OpenAi];
    let addresses = kinds.map(|kind| {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            tokio::spawn(serve(kind, listener, 400.0));
            address
        })
    });
    StandIns { _runtime: runtime, addresses: addresses.to_vec() }
}

fn atelier(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atelier"));
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
    command.output().unwrap()
}

/// A gateway in a folder, and where it is.
struct Serving(Child, String);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serving(folder: &TempDir) -> Serving {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atelier"));
    command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(folder.path());
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it served");
        if let Some((_, behind)) = line.split_once("atelier is at http://") {
            break behind.split(',').next().unwrap().to_string();
        }
    };
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    Serving(child, address)
}

/// Posts JSON, and gives status and body: as in HTTP/1.0, which has it in one piece.
fn post(address: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.into())
}

#[test]
fn a_server_of_each_kind_is_configured_by_one_command_and_draws() {
    let (folder, stand_ins) = (tempfile::tempdir().unwrap(), stand_ins());
    let mut arguments = vec!["init"];
    arguments.extend(stand_ins.addresses.iter().map(String::as_str));
    let output = atelier(&folder, &arguments);
    let (said, error) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{error}");
    for part in [
        "is ComfyUI",
        "is AUTOMATIC1111",
        "is sd-server",
        "OpenAI's protocol",
        "6.text",
        "atelier serve",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    let check = atelier(&folder, &["check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let Serving(_, address) = &serving(&folder);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..24 {
        let body = format!(r#"{{ "prompt": "a red fox", "seed": {seed}, "due_in_seconds": 20 }}"#);
        let (status, answer) = post(address, "/v1/requests", &body);
        assert_eq!(status, 202, "{answer}");
        let decided: serde_json::Value = serde_json::from_str(&answer).unwrap();
        seen.insert(decided["decision"]["server"].as_str().unwrap().to_string());
    }
    let (status, answer) = post(address, "/v1/images/generations", r#"{ "prompt": "a red fox" }"#);
    let picture: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let picture = picture["data"][0]["b64_json"].as_str().unwrap_or_default();
    assert!(
        status == 200 && picture.starts_with("iVBORw0KGgo"),
        "{status}: {}",
        &answer[..200.min(answer.len())]
    );
    assert!(seen.len() > 1, "several of them draw: {seen:?}");
    // Once more, nothing is overwritten.
    let before = fs::read_to_string(folder.path().join("atelier.toml")).unwrap();
    let again = atelier(&folder, &arguments);
    let error = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.code() == Some(2) && error.contains("nothing is overwritten"), "{error}");
    assert_eq!(fs::read_to_string(folder.path().join("atelier.toml")).unwrap(), before);
}

#[test]
fn what_cannot_be_used_is_refused_in_a_sentence_and_writes_nothing() {
    let (folder, stand_ins) = (tempfile::tempdir().unwrap(), stand_ins());
    let comfyui = stand_ins.addresses[0].as_str();
    let drawn = r#"{ "nodes": [{ "id": 1, "type": "Fancy" }], "links": [] }"#;
    fs::write(folder.path().join("drawn.json"), drawn).unwrap();
    for (arguments, part) in [
        (&["init", "127.0.0.1:9"][..], "start the program there"),
        (&["init", "ftp://x"], "http://HOST:PORT"),
        (&["init", comfyui, comfyui], "it is there twice"),
        (
            &["init", comfyui, "--workflow", "drawn.json"],
            "drawn.json: node 1 is of the kind \"Fancy\"",
        ),
        (&["init", comfyui, "--workflow", "nowhere.json"], "nowhere.json: "),
        (&["init", comfyui, "--input", "steps"], "NAME=NODE.INPUT"),
        (&["init", comfyui, "--config", "."], "no path of a file"),
        (
            &["init", &stand_ins.addresses[3], "--workflow", "drawn.json"],
            "none of the addresses is a ComfyUI",
        ),
    ] {
        let output = atelier(&folder, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(part), "{arguments:?}: {error}");
        let files: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["drawn.json"], "{arguments:?}");
    }
}

#[test]
fn quality_is_measured_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let text = "# mine\n[defaults]\nwidth = 32\nheight = 32\n[[server]]\nname = \"painter\"\nsteps_per_second = 1e6\n\
                backend = { kind = \"demo\", method = \"METHOD\" }\n";
    for (method, settles) in [("ddim", true), ("ddpm", false)] {
        let file = folder.path().join("atelier.toml");
        fs::write(&file, text.replace("METHOD", method)).unwrap();
        let output = atelier(&folder, &["calibrate", "--quality"]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let after = fs::read_to_string(&file).unwrap();
        assert!(after.starts_with("# mine\n"), "{after}");
        assert_eq!(after.contains("[objective]\nquality = {"), settles, "{said}\n{after}");
        assert_eq!(said.contains("do not settle"), !settles, "{said}");
        assert!(atelier(&folder, &["check"]).status.success());
    }
}
