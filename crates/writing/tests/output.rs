//! What becomes of files, links, pipes and devices that are written to.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use writing::{Output, Readers, create_folder, create_new, write};

fn folder() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    (folder, move |name| path.join(name))
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_file_is_replaced_when_it_is_whole_and_keeps_its_mode() {
    let (folder, at) = folder();
    write(&at("f"), "old").unwrap();
    fs::set_permissions(at("f"), Permissions::from_mode(0o600)).unwrap();
    let mut output = Output::create(&at("f")).unwrap();
    output.write_all(&vec![b'x'; 100_000]).unwrap();
    output.flush().unwrap();
    assert_eq!(fs::read(at("f")).unwrap(), b"old");
    drop(output);
    assert_eq!(fs::read(at("f")).unwrap(), b"old");
    write(&at("f"), "new").unwrap();
    assert_eq!(fs::read(at("f")).unwrap(), b"new");
    assert_eq!(fs::metadata(at("f")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(folder.path()), ["f"], "nothing is left beside it");
}

#[test]
fn of_a_link_the_file_behind_it_is_replaced() {
    let (folder, at) = folder();
    fs::create_dir(at("real")).unwrap();
    write(&at("real/f"), "old").unwrap();
    fs::set_permissions(at("real/f"), Permissions::from_mode(0o640)).unwrap();
    symlink("real/f", at("one")).unwrap();
    symlink("one", at("two")).unwrap();
    symlink("real/not yet", at("dangling")).unwrap();
    write(&at("two"), "new").unwrap();
    write(&at("dangling"), "first").unwrap();
    assert_eq!(fs::read(at("real/f")).unwrap(), b"new");
    assert_eq!(fs::metadata(at("real/f")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read(at("real/not yet")).unwrap(), b"first");
    for link in ["one", "two", "dangling"] {
        assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
    }
    symlink("loop", at("loop")).unwrap();
    assert!(write(&at("loop"), "x").is_err());
    assert_eq!(names(folder.path()), ["dangling", "loop", "one", "real", "two"]);
}

#[test]
fn a_pipe_gets_what_is_written_and_stays_a_pipe() {
    let (_folder, at) = folder();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    symlink("pipe", at("link")).unwrap();
    for name in ["pipe", "link"] {
        let pipe = at("pipe");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            fs::File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
            text
        });
        write(&at(name), "through").unwrap();
        assert_eq!(reader.join().unwrap(), "through");
        assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
    }
}

#[test]
fn a_pipe_that_nobody_reads_is_not_waited_for_for_ever() {
    let (_folder, at) = folder();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let error = write(&at("pipe"), "to nobody").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("nobody has read it for 10 s"), "{error}");
    assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
}

/// More than a pipe holds, to a reader that is slow to begin.
#[test]
fn a_pipe_is_written_to_as_fast_as_it_is_read() {
    let (_folder, at) = folder();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let pipe = at("pipe");
    let reader = std::thread::spawn(move || {
        let mut file = fs::File::open(pipe).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let contents: Vec<u8> = (0..1_000_000_u32).map(|byte| byte as u8).collect();
    write(&at("pipe"), &contents).unwrap();
    assert!(reader.join().unwrap() == contents);
}

#[test]
fn a_device_stays_a_device() {
    let (_folder, at) = folder();
    symlink("/dev/null", at("link")).unwrap();
    for place in [Path::new("/dev/null"), &at("link")] {
        write(place, "gone").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
    if Path::new("/dev/full").exists() {
        let full = write(Path::new("/dev/full"), "x").unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }
}

#[test]
fn what_cannot_be_written_is_found_at_the_start() {
    let (folder, at) = folder();
    assert_eq!(Output::create(folder.path()).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(Output::create(&at("no/f")).unwrap_err().kind(), ErrorKind::NotFound);
    write(&at("f"), "x").unwrap();
    assert_eq!(Output::create(&at("f/g")).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert!(create_folder(&at("f")).unwrap_err().to_string().contains("is no folder"));
    assert!(create_folder(&at("f/g")).is_err());
    create_folder(&at("a/b")).unwrap();
    create_folder(&at("a/b")).unwrap();
    assert!(names(&at("a/b")).is_empty());
}

/// Root may write everything, so this shows something for others only.
#[test]
fn a_write_protected_file_stays_as_it_is() {
    let (folder, at) = folder();
    write(&at("f"), "precious").unwrap();
    fs::set_permissions(at("f"), Permissions::from_mode(0o444)).unwrap();
    if fs::OpenOptions::new().write(true).open(at("f")).is_ok() {
        return;
    }
    assert_eq!(write(&at("f"), "x").unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(fs::read(at("f")).unwrap(), b"precious");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
    assert_eq!(write(&at("g"), "x").unwrap_err().kind(), ErrorKind::PermissionDenied);
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_new_file_takes_no_name_that_is_taken_and_may_be_its_owners_alone() {
    let (folder, place) = folder();
    let mode = |name: &str| fs::metadata(place(name)).unwrap().permissions().mode() & 0o777;
    fs::write(place("another"), "").unwrap();
    for (name, readers, expected) in
        [("usual", Readers::AsUsual, mode("another")), ("secret", Readers::Owner, 0o600)]
    {
        create_new(&place(name), name, readers).unwrap();
        assert_eq!(mode(name), expected, "{name}");
        let taken = create_new(&place(name), "again", readers).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(place(name)).unwrap(), name);
    }
    symlink(place("nowhere"), place("link")).unwrap();
    let taken = create_new(&place("link"), "x", Readers::AsUsual).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing else is left behind");
}
