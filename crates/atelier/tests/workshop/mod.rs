//! An empty folder in which commands are given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub(crate) struct Workshop(TempDir);

impl Workshop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, in a folder of its own if its name has one.
    pub(crate) fn file(&self, name: &str, contents: &str) -> PathBuf {
        let file = self.at(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, contents).unwrap();
        file
    }

    pub(crate) fn read(&self, name: impl AsRef<Path>) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    pub(crate) fn atelier(&self, arguments: &[&str]) -> Output {
        self.atelier_in("", arguments)
    }

    /// The command as it is given in a folder of the workshop.
    pub(crate) fn atelier_in(&self, folder: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_atelier"))
            .args(arguments)
            .current_dir(self.at(folder))
            .output()
            .unwrap()
    }

    /// Runs a command that is to succeed and gives its standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.atelier(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that is to be refused: exit code 2, a message with these parts, nothing written.
    pub(crate) fn refused(&self, arguments: &[&str], parts: &[&str]) -> String {
        let before = contents(self.0.path());
        let output = self.atelier(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        for part in parts {
            assert!(message.contains(part), "{message:?} does not contain {part:?}");
        }
        assert_eq!(contents(self.0.path()), before, "{arguments:?} wrote something");
        message
    }
}

/// Files and folders, with what is in them.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push((path.clone(), Vec::new()));
            all.append(&mut contents(&path));
        } else {
            all.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    all.sort();
    all
}
