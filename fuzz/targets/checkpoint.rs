//! Checkpoints of both agents: two bytes with the length of the metadata, the metadata, the weights.
#![no_main]

use std::cell::LazyCell;
use std::fs;

use agent::Recipe;
use scheduling::AgentName;
use tempfile::TempDir;

thread_local! {
    static FOLDER: LazyCell<TempDir> = LazyCell::new(|| tempfile::tempdir().expect("a folder"));
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (metadata, weights) = rest.split_at(length);
    FOLDER.with(|folder| {
        let folder = folder.path();
        for (name, contents) in
            [("metadata.json", metadata), ("weights-0.safetensors", weights), ("curve-0.csv", b"")]
        {
            fs::write(folder.join(name), contents).expect("a file");
        }
        let name = AgentName { checkpoint: folder.into(), cap: None }.into();
        if let Err(error) = Recipe::load(&name) {
            assert!(error.to_string().len() < 10_000, "{error}");
        }
    });
});
