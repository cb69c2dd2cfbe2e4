//! The seeds of the fuzz targets `checkpoint`, `instance` and `scenario`, and whatever they once found. Those of the
//! other targets run beside what they fuzz.

use std::fs;
use std::path::Path;

use agent::Recipe;
use scheduling::{AgentName, Instance, read_rows};
use simulation::{Domain, Scenario};

/// Name and contents of each seed; there is at least one.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let seeds: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|file| {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(file).unwrap())
        })
        .collect();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}

#[test]
fn checkpoints_are_read_or_refused() {
    for (seed, bytes) in seeds("checkpoint") {
        let (length, rest) = bytes.split_first_chunk().unwrap();
        let (metadata, weights) = rest.split_at(u16::from_le_bytes(*length).into());
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("metadata.json", metadata),
            ("weights-0.safetensors", weights),
            ("curve-0.csv", b"".as_slice()),
        ];
        for (name, contents) in files {
            fs::write(folder.path().join(name), contents).unwrap();
        }
        let name = AgentName { checkpoint: folder.path().into(), cap: None }.into();
        let loaded = Recipe::load(&name).map(drop).map_err(|error| error.to_string());
        assert_eq!(loaded.is_ok(), seed == "paper", "{seed}: {loaded:?}");
    }
}

#[test]
fn texts_are_read_or_refused() {
    for (seed, bytes) in seeds("instance") {
        let text = String::from_utf8_lossy(&bytes);
        let read = [Instance::from_json(&text).is_ok(), read_rows(&text, &[]).is_ok()];
        assert!(!read.iter().all(|read| *read), "{seed} is no instance and rows at once");
    }
    for (seed, bytes) in seeds("scenario") {
        let text = String::from_utf8_lossy(&bytes);
        let read = [Scenario::from_toml(&text).is_ok(), Domain::from_toml(&text).is_ok()];
        assert!(!read.iter().all(|read| *read), "{seed} is no scenario and domain at once");
    }
}
