//! TensorBoard event files: `TFRecord` frames around `Event` messages, both small enough to write
//! by hand.
//!
//! A frame is the length (u64), its masked CRC-32C, the message, and that one's masked CRC-32C, all
//! little-endian. The messages are protocol buffers of `tensorflow/core/util/event.proto`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use agent::CurvePoint;

/// An event file that grows during a training; `TensorBoard` watches its folder.
#[derive(Debug)]
pub struct EventFile {
    file: File,
}

impl EventFile {
    /// A new file in `folder`, which is created if need be, for points from `first_step` on. A
    /// training that is resumed has a file for each of its parts; whatever an earlier one holds at
    /// or beyond `first_step` was never saved, and `TensorBoard` drops it.
    ///
    /// `wall_time` is in seconds since 1970; the reader sorts files by it.
    ///
    /// # Errors
    /// The system's, if the file cannot be written.
    pub fn create(folder: &Path, first_step: u64, wall_time: f64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (path, file) = new_file(folder, wall_time as u64)?;
        let mut events = Self { file };
        let version = Event { wall_time, step: 0, what: What::FileVersion };
        let start = Event { wall_time, step: first_step, what: What::SessionStart };
        events.write(&[version, start]).inspect_err(|_| drop(fs::remove_file(&path)))?;
        Ok(events)
    }

    /// Appends the points, each with the time at which it was reached.
    ///
    /// # Errors
    /// The system's, if the file cannot be written.
    pub fn append(&mut self, points: &[(f64, CurvePoint)]) -> io::Result<()> {
        let events = points.iter().map(|(wall_time, point)| Event {
            wall_time: *wall_time,
            step: point.episode,
            what: What::Scalars(scalars(point)),
        });
        self.write(&events.collect::<Vec<_>>())
    }

    fn write(&mut self, events: &[Event]) -> io::Result<()> {
        let frames: Vec<u8> = events.iter().flat_map(|event| frame(&event.message())).collect();
        self.file.write_all(&frames)
    }
}

/// A file that nobody has, even if a training is resumed within the same second.
fn new_file(folder: &Path, seconds: u64) -> io::Result<(PathBuf, File)> {
    for number in 0.. {
        let path = folder.join(format!("events.out.tfevents.{seconds}.atelier.{number}"));
        match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|file| (path, file)),
        }
    }
    unreachable!("there are fewer files than numbers")
}

/// The tags are the columns of `curve-*.csv`.
fn scalars(point: &CurvePoint) -> [(&'static str, f64); 6] {
    [
        ("training/reward", point.reward),
        ("training/floored", point.floored),
        ("training/entropy", point.entropy),
        ("training/td_error", point.td_error),
        ("training/actor_gradient", point.actor_gradient),
        ("training/critic_gradient", point.critic_gradient),
    ]
}

struct Event {
    wall_time: f64,
    step: u64,
    what: What,
}

enum What {
    FileVersion,
    SessionStart,
    Scalars([(&'static str, f64); 6]),
}

impl Event {
    /// `message Event { double wall_time = 1; int64 step = 2; string file_version = 3;
    /// Summary summary = 5; SessionLog session_log = 7; }`
    fn message(&self) -> Vec<u8> {
        let mut message = vec![0x09];
        message.extend(self.wall_time.to_le_bytes());
        if self.step > 0 {
            message.push(0x10);
            varint(&mut message, self.step);
        }
        match &self.what {
            What::FileVersion => bytes(&mut message, 3, b"brain.Event:2"),
            // `message SessionLog { SessionStatus status = 1; }`, START = 1
            What::SessionStart => bytes(&mut message, 7, &[0x08, 0x01]),
            What::Scalars(scalars) => {
                // `message Summary { repeated Value value = 1; }`
                let mut summary = Vec::new();
                for (tag, value) in scalars {
                    // `message Value { string tag = 1; float simple_value = 2; }`
                    let mut scalar = Vec::new();
                    bytes(&mut scalar, 1, tag.as_bytes());
                    scalar.push(0x15);
                    scalar.extend((*value as f32).to_le_bytes());
                    bytes(&mut summary, 1, &scalar);
                }
                bytes(&mut message, 5, &summary);
            }
        }
        message
    }
}

/// A field of wire type 2.
fn bytes(message: &mut Vec<u8>, field: u8, value: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, value.len() as u64);
    message.extend(value);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| masked(crc32c(bytes)).to_le_bytes();
    [&length[..], &checksum(&length), message, &checksum(message)].concat()
}

/// As TensorFlow masks checksums that stand beside what they check.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32 of Castagnoli, bit by bit: a few hundred bytes per update need no table.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(episode: u64) -> CurvePoint {
        CurvePoint {
            episode,
            reward: -53_752.25,
            floored: 0.5,
            entropy: 7.6,
            td_error: 1.5,
            actor_gradient: 0.125,
            critic_gradient: 2.0,
        }
    }

    /// Known answers of RFC 3720, appendix B.4.
    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    /// `tests/golden.tfevents` was written with the message classes of TensorBoard 2.21 and read back
    /// by its `EventAccumulator`.
    #[test]
    fn a_file_is_the_one_that_tensorboard_writes() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path(), 0, 1_700_000_000.0).unwrap();
        events.append(&[(1_700_000_001.5, point(1)), (1_700_000_002.0, point(300))]).unwrap();
        events.append(&[(1_700_000_003.0, point(70_000))]).unwrap();
        let file = folder.path().join("events.out.tfevents.1700000000.atelier.0");
        let written = fs::read(file).unwrap();
        assert!(written == include_bytes!("../tests/golden.tfevents"));
    }

    #[test]
    fn every_part_of_a_training_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        for step in [1, 251] {
            EventFile::create(folder.path(), step, 1.7e9).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
