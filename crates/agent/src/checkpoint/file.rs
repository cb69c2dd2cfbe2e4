//! Reading the files of a checkpoint, which may come from anywhere: regular files of bounded length alone.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::CheckpointError;

/// Longest `metadata.json`: a thousand groups of servers in its scenario take a tenth of it.
pub(crate) const METADATA_BYTES: u64 = 4 << 20;
/// Longest list of tensors ahead of the weights; each takes about a hundred bytes.
const HEADER_BYTES: u64 = 1 << 20;
/// Longest line of a learning curve, of numbers of at most 24 characters.
const CURVE_LINE_BYTES: u64 = 512;
/// Longest learning curve: that of some million updates.
const CURVE_BYTES: u64 = 1 << 30;

/// The contents of a file. A pipe or a device would be waited for, or never end.
pub(crate) fn read(file: &Path, most: u64) -> Result<Vec<u8>, CheckpointError> {
    let io = |error| CheckpointError::io(file, error);
    let found = fs::metadata(file).map_err(io)?;
    if !found.is_file() {
        return Err(CheckpointError::content(file, "is no regular file, and nothing else is read"));
    }
    let too_long = |length| {
        CheckpointError::content(file, &format!("is {length} bytes long: allowed is {most}"))
    };
    if found.len() > most {
        return Err(too_long(found.len()));
    }
    let mut contents = Vec::new();
    // It may grow meanwhile.
    let mut reader = File::open(file).map_err(io)?.take(most + 1);
    let length = reader.read_to_end(&mut contents).map_err(io)? as u64;
    if length > most { Err(too_long(length)) } else { Ok(contents) }
}

/// The longest file of weights for so many numbers of four bytes.
pub(crate) fn weights_bytes(numbers: usize) -> u64 {
    (numbers as u64).saturating_mul(4).saturating_add(HEADER_BYTES)
}

/// The longest learning curve of so many points.
pub(crate) fn curve_bytes(points: u64) -> u64 {
    points.saturating_add(2).saturating_mul(CURVE_LINE_BYTES).min(CURVE_BYTES)
}
