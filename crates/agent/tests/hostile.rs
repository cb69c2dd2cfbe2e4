//! Checkpoints that were made to harm: refused with a message, without waiting and without the memory that
//! they ask for.

use std::fs::{self, File};
use std::path::Path;

use agent::{
    ActorCritic, Checkpoint, Hyperparameters, Origin, PriceHyperparameters, PriceTraining, Recipe,
};
use scheduling::AgentName;
use serde_json::{Value, json};
use tempfile::TempDir;

fn origin() -> Origin {
    Origin { version: "0".into(), command: "test".into(), scenario: json!({ "name": "toy" }) }
}

fn paper() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let hyperparameters = Hyperparameters { hidden: vec![16], ..Default::default() };
    let training = ActorCritic::new(2, 5, hyperparameters);
    Checkpoint { training, curve: Vec::new(), origin: origin() }.save(folder.path()).unwrap();
    folder
}

fn universal() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let hyperparameters = PriceHyperparameters { hidden: vec![4], ..Default::default() };
    let training = PriceTraining::new(5, hyperparameters);
    Checkpoint { training, curve: Vec::new(), origin: origin() }.save(folder.path()).unwrap();
    folder
}

/// Loads the checkpoint as a policy is loaded, and expects a short message with these parts.
fn refused(folder: &Path, parts: &[&str]) {
    let name = AgentName { checkpoint: folder.into(), cap: None }.into();
    let message = Recipe::load(&name).unwrap_err().to_string();
    assert!(message.len() < 1500, "{} bytes of message", message.len());
    for part in parts {
        assert!(message.contains(part), "{message:?} does not contain {part:?}");
    }
}

fn change(folder: &Path, pointer: &str, value: Value) {
    let file = folder.join("metadata.json");
    let mut metadata: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    *metadata.pointer_mut(pointer).unwrap() = value;
    fs::write(&file, metadata.to_string()).unwrap();
}

#[test]
fn absurd_numbers_are_refused_by_name_and_range() {
    let widths = "allowed are layers of 1 to 4096 units";
    let wide = [4_294_967_296, 9_223_372_036_854_775_807_u64, 50_000, 2_000_000, 0];
    for make in [paper, universal] {
        let check = |pointer: &str, value: Value, parts: &[&str]| {
            let folder = make();
            change(folder.path(), pointer, value);
            refused(folder.path(), parts);
        };
        let hidden = "/hyperparameters/hidden";
        for width in wide {
            check(hidden, json!([128, width]), &["metadata.json", widths]);
        }
        check(
            hidden,
            json!([4096_u64; 8].to_vec()),
            &["metadata.json", "parameters: allowed are up to"],
        );
        check(hidden, json!(vec![1; 9]), &["9 layers: allowed are up to 8"]);
        check(hidden, json!(vec![1; 1_000_000]), &["1000000 layers"]);
        check(hidden, json!(vec![1; 3_000_000]), &["metadata.json", "bytes long"]);
        check(
            "/hyperparameters/learning_rate",
            json!(1e300),
            &["learning_rate is 1e300", "0 to 1"],
        );
        check("/updates", json!(u64::MAX), &["updates is", "allowed is 0 to"]);
        check("/weights", json!("x".repeat(100_000)), &["too long"]);
        check("/weights", json!("../".repeat(100_000)), &["metadata.json", "plain file name"]);
    }
    let check = |pointer: &str, value: Value, part: &str| {
        let folder = paper();
        change(folder.path(), pointer, value);
        refused(folder.path(), &["metadata.json", part, "allowed is"]);
    };
    check("/servers", json!(1_000_000_000_000_000_000_u64), "servers is 1000000000000000000");
    check("/servers", json!(0), "servers is 0");
    check("/hyperparameters/lanes", json!(u64::MAX), "lanes is");
    check("/hyperparameters/episodes", json!(0), "episodes is 0");
    check("/hyperparameters/episodes", json!(u64::MAX), "episodes is");
    check("/hyperparameters/discount", json!(-1), "discount is -1");
    check("/hyperparameters/entropy_bonus", json!(1e9), "entropy_bonus is");
    check("/hyperparameters/reward_centre", json!(-1e9), "reward_centre is");
    check("/hyperparameters/reward_scale", json!(0), "reward_scale is 0");
    check("/hyperparameters/reward_floor", json!(1), "reward_floor is 1");
    check("/hyperparameters/max_grad_norm", json!(-1), "max_grad_norm is -1");
    check("/episodes", json!(u64::MAX), "what is done of the training");
    let check = |pointer: &str, value: Value, part: &str| {
        let folder = universal();
        change(folder.path(), pointer, value);
        refused(folder.path(), &["metadata.json", part, "allowed is"]);
    };
    for count in ["instances", "alternatives", "followed_requests", "epochs", "batch", "rounds"] {
        let pointer = format!("/hyperparameters/{count}");
        check(&pointer, json!(1_000_000_000_000_000_000_u64), count);
        check(&pointer, json!(0), count);
    }
    check("/rounds", json!(u64::MAX), "what is done of the training");
}

#[test]
fn files_longer_than_they_can_be_are_not_read() {
    for make in [paper, universal] {
        for file in ["metadata.json", "weights-0.safetensors", "curve-0.csv"] {
            let folder = make();
            // A hole: it takes no room on the disk, but would in memory.
            File::options()
                .write(true)
                .open(folder.path().join(file))
                .unwrap()
                .set_len(1 << 40)
                .unwrap();
            refused(folder.path(), &[file, "is 1099511627776 bytes long: allowed is"]);
        }
    }
}

#[test]
fn weights_that_the_header_does_not_have_are_not_allocated() {
    for make in [paper, universal] {
        let folder = make();
        change(folder.path(), "/hyperparameters/hidden", json!([4096, 3000]));
        refused(folder.path(), &["weights-0.safetensors", "F32"]);
        let folder = make();
        let weights = folder.path().join("weights-0.safetensors");
        for damage in [vec![], vec![0xff; 8], vec![0xff; 100], b"\x10\0\0\0\0\0\0\0{}".to_vec()] {
            fs::write(&weights, damage).unwrap();
            refused(folder.path(), &["weights-0.safetensors"]);
        }
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_not_waited_for() {
    for make in [paper, universal] {
        for file in ["metadata.json", "weights-0.safetensors", "curve-0.csv"] {
            let folder = make();
            let path = folder.path().join(file);
            fs::remove_file(&path).unwrap();
            assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
            refused(folder.path(), &[file, "no regular file"]);
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            refused(folder.path(), &[file, "no regular file"]);
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            refused(folder.path(), &[file, "no regular file"]);
        }
    }
}
