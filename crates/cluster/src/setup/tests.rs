//! What is in the folder of a cell, before and after each command.

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;

const NODES: [&str; 3] = ["n1=127.0.0.1:4222", "n2=127.0.0.1:4223", "n3=127.0.0.1:4224"];

fn plan() -> Plan {
    Plan { cell: "c".into(), nodes: NODES.map(|node| node.parse().unwrap()).into() }
}

/// A folder with a cell in it.
fn cell() -> (TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("cell");
    init(&folder, &plan()).unwrap();
    (temporary, folder)
}

fn add(folder: &Path, name: &str, servers: &[&str]) -> Result<Vec<PathBuf>, SetupError> {
    let servers: Vec<_> = servers.iter().map(|&server| server.to_owned()).collect();
    add_agent(folder, name, &servers)
}

/// All files below a folder, with what is in them.
fn contents(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else if path.file_name().unwrap() != ".lock" {
            files.insert(path.clone(), fs::read_to_string(&path).unwrap());
        }
    }
    files
}

fn users(folder: &Path) -> [String; 3] {
    ["n1", "n2", "n3"].map(|node| fs::read_to_string(folder.join(node).join(USERS_FILE)).unwrap())
}

#[test]
fn a_new_cell_has_all_its_files() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("cell");
    let written = init(&folder, &plan()).unwrap();
    let files = contents(&folder);
    let mut sorted = written.clone();
    sorted.sort();
    assert!(files.keys().eq(&sorted), "{files:?}");
    assert_eq!(written.len(), 3 + 3 * 7);
    assert_eq!(written.last(), Some(&folder.join("cell.toml")));
    let cell = read(&folder).unwrap();
    assert_eq!(cell.plan(), plan());
    assert_eq!(cell.agents, []);
    for member in &cell.nodes {
        let seed = &files[&folder.join(&member.node.name).join("node.nk")];
        let pair = nkeys::KeyPair::from_seed(seed.trim()).unwrap();
        assert_eq!(pair.public_key(), member.key);
    }
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn secrets_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_temporary, folder) = cell();
    add(&folder, "a", &["s"]).unwrap();
    for (file, text) in contents(&folder) {
        let secret = text.contains("PRIVATE KEY") || text.starts_with("SU");
        let name = file.extension().is_some_and(|kind| kind == "key" || kind == "nk");
        assert_eq!(secret, name, "{}", file.display());
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert!(!secret || mode == 0o600, "{} {mode:o}", file.display());
        assert!(!text.contains("\nSU") && !text.contains("\"SU"), "{}", file.display());
    }
}

#[test]
fn a_cell_goes_into_a_new_or_empty_folder() {
    let temporary = tempfile::tempdir().unwrap();
    let check = |folder: &Path, problem: &str| {
        let error = init(folder, &plan()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    };
    let empty = temporary.path().join("empty");
    fs::create_dir(&empty).unwrap();
    init(&empty, &plan()).unwrap();
    let before = contents(&empty);
    check(&empty, "has a cell already: allowed is a folder that is empty or not there yet");
    let full = temporary.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("letter"), "dear").unwrap();
    check(&full, "is not empty");
    check(&full.join("letter"), "is no folder");
    check(&full.join(".."), "is not empty");
    assert_eq!(contents(&empty), before);
    assert_eq!(contents(&full).len(), 1);
    init(&temporary.path().join("deep/er"), &plan()).unwrap();
}

#[test]
fn nothing_is_left_of_a_cell_that_cannot_be_written() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("cell");
    let two = Plan { nodes: plan().nodes[..2].into(), ..plan() };
    let error = init(&folder, &two).unwrap_err().to_string();
    assert_eq!(error, "there are 2 nodes: allowed are 1, 3 or 5, as two brokers are no redundancy");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    fs::create_dir(temporary.path().join(".cell.new")).unwrap();
    let error = init(&folder, &plan()).unwrap_err().to_string();
    assert!(error.contains("another command is at work, or was cut short"), "{error}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
}

#[test]
fn agents_come_and_go() {
    let (_temporary, folder) = cell();
    let new = contents(&folder);
    let written = add(&folder, "a", &["s1", "s2"]).unwrap();
    let one = contents(&folder);
    let changed = one.iter().filter(|(file, text)| new.get(*file) != Some(text));
    let mut sorted = written;
    sorted.sort();
    assert!(changed.map(|(file, _)| file).eq(&sorted), "{sorted:?}");
    assert_eq!(sorted.len(), 3 + 3 + 1);
    add(&folder, "b", &["s3"]).unwrap();
    let agents = read(&folder).unwrap().agents;
    assert_eq!(agents.len(), 2);
    let known = users(&folder);
    assert!(known.iter().all(|text| *text == known[0]));
    for Agent { name, key, .. } in &agents {
        assert!(known[0].contains(key));
        let seed = fs::read_to_string(folder.join(AGENTS).join(name).join("agent.nk")).unwrap();
        assert_eq!(nkeys::KeyPair::from_seed(seed.trim()).unwrap().public_key(), *key);
    }
    remove_agent(&folder, "b").unwrap();
    assert_eq!(contents(&folder), one);
    remove_agent(&folder, "a").unwrap();
    assert_eq!(contents(&folder), new);
}

#[test]
fn what_is_refused_changes_nothing() {
    let (_temporary, folder) = cell();
    add(&folder, "a", &["s1", "s2"]).unwrap();
    let before = contents(&folder);
    let check = |result: Result<(), SetupError>, problem: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
        assert_eq!(contents(&folder), before);
    };
    let add = |name: &str, servers: &[&str]| add(&folder, name, servers).map(drop);
    check(add("a", &["s3"]), "agent \"a\" is there twice");
    check(add("../b", &["s3"]), "agent \"../b\": allowed are");
    check(add("b", &[]), "agent \"b\" has no servers");
    check(add("b", &["s2"]), "server \"s2\" of agent \"b\" is agent \"a\"'s");
    check(add("b", &["*"]), "server \"*\": allowed are");
    check(remove_agent(&folder, "b"), "agent \"b\" is not in cell c: there are a");
    check(remove_agent(&folder, ".."), "agent \"..\" is not in cell c");
    let nowhere = folder.join("agents");
    check(remove_agent(&nowhere, "a"), "cell.toml: there is none, so this is no folder of a cell");
    check(read(&nowhere).map(drop), "this is no folder of a cell");
}

#[test]
fn what_was_cut_short_is_done_again() {
    let (_temporary, folder) = cell();
    let place = folder.join(AGENTS).join("a");
    // A node's folder is gone: the first part fails, and nothing has changed.
    let before = contents(&folder);
    fs::rename(folder.join("n3"), folder.join("gone")).unwrap();
    let error = add(&folder, "a", &["s"]).unwrap_err().to_string();
    assert!(error.contains("n3"), "{error}");
    fs::rename(folder.join("gone"), folder.join("n3")).unwrap();
    assert_eq!(contents(&folder), before);
    // Killed before `cell.toml` was written, while another file was.
    for leftover in [place.clone(), folder.join(AGENTS).join(".a.new")] {
        fs::create_dir(&leftover).unwrap();
        fs::write(leftover.join("agent.nk"), "SUOLD").unwrap();
    }
    fs::write(folder.join("n1/.users.conf.new"), "half").unwrap();
    add(&folder, "a", &["s"]).unwrap();
    assert_eq!(contents(&folder).len(), before.len() + 3);
    // Copied to its machine and gone from here.
    fs::remove_dir_all(&place).unwrap();
    remove_agent(&folder, "a").unwrap();
    assert_eq!(contents(&folder), before);
}

#[test]
fn commands_at_once_wait_for_one_another() {
    let (_temporary, folder) = cell();
    std::thread::scope(|scope| {
        for agent in 0..8 {
            let folder = &folder;
            let server = format!("s{agent}");
            scope.spawn(move || add(folder, &format!("a{agent}"), &[server.as_str()]).unwrap());
        }
    });
    let cell = read(&folder).unwrap();
    assert_eq!(cell.agents.len(), 8);
    let known = users(&folder);
    assert!(cell.agents.iter().all(|agent| known.iter().all(|text| text.contains(&agent.key))));
}
