//! A fingerprint of all code that results depend on, so that an edited policy or simulator never
//! meets cached results of the one before.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let workspace = Path::new("../..");
    let mut files = vec![workspace.join("Cargo.lock"), PathBuf::from("src/tune.rs")];
    for room in ["scheduling", "simulation", "agent", "hindsight"] {
        let folder = workspace.join("crates").join(room).join("src");
        // Cargo watches whole folders, so a new file counts too.
        println!("cargo::rerun-if-changed={}", folder.display());
        collect(&folder, &mut files);
    }
    println!("cargo::rerun-if-changed={}", workspace.join("Cargo.lock").display());
    println!("cargo::rerun-if-changed=src/tune.rs");
    println!("cargo::rerun-if-changed=build.rs");
    files.sort();
    let mut hash = FNV_OFFSET;
    for file in files {
        let contents = fs::read(&file).expect("a file that was just listed can be read");
        hash = fnv(hash, file.to_string_lossy().replace('\\', "/").as_bytes());
        hash = fnv(hash, &contents);
    }
    println!("cargo::rustc-env=ATELIER_SOURCES={:08x}", hash >> 32 ^ hash & 0xffff_ffff);
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the rooms stand beside one another") {
        let path = entry.expect("a listed entry can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bit.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
