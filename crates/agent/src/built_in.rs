//! The universal agent that comes with atelier.

use std::path::Path;

use crate::checkpoint::{CheckpointError, training_of};
use crate::universal::{PriceNetworks, PriceTraining};

/// What it is called in the name of a policy, `agent[universal]`, where there is no such folder.
pub const UNIVERSAL: &str = "universal";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../../models/universal/", $name)))),*]
    };
}

/// Name and contents of the files of its checkpoint: the metadata, the weights, the learning curve.
pub const UNIVERSAL_FILES: [(&str, &[u8]); 3] =
    files!["metadata.json", "weights-900.safetensors", "curve-900.csv"];

/// Its networks.
///
/// # Errors
/// [`CheckpointError`] if this version cannot read what it was built with: a bug of ours.
pub(crate) fn universal() -> Result<PriceNetworks, CheckpointError> {
    let [(_, metadata), (_, weights), _] = UNIVERSAL_FILES;
    let training: PriceTraining = training_of(metadata, weights, Path::new(UNIVERSAL))?;
    Ok(training.networks())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checkpoint;

    #[test]
    fn it_is_the_committed_one() {
        let folder = Path::new("../../models/universal");
        let committed = Checkpoint::<PriceTraining>::load(folder).unwrap();
        let [(_, metadata), (_, weights), (_, curve)] = UNIVERSAL_FILES;
        let built_in: PriceTraining = training_of(metadata, weights, folder).unwrap();
        assert_eq!(built_in, committed.training);
        let lines = std::str::from_utf8(curve).unwrap().lines().count();
        assert_eq!(lines, committed.curve.len() + 1);
        assert!(universal().is_ok());
    }
}
