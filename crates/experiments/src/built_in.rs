//! The committed studies with what they name, for `reproduce` where there is no repository.

use std::path::Path;

use crate::study::{Effort, Study, StudyError};

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../../", $path)))),*]
    };
}

/// Path and contents of each file.
const FILES: &[(&str, &[u8])] = files![
    "scenarios/bursty.toml",
    "scenarios/contended-any-cluster.toml",
    "scenarios/contended.toml",
    "scenarios/daily.toml",
    "scenarios/failures.toml",
    "scenarios/fleet-mixed.toml",
    "scenarios/fleet.toml",
    "scenarios/fleets.toml",
    "scenarios/measured-quality.toml",
    "scenarios/noisy.toml",
    "scenarios/office.toml",
    "scenarios/paper-any-cluster.toml",
    "scenarios/paper.toml",
    "scenarios/universal.toml",
    "studies/1-learning.toml",
    "studies/2-instances.toml",
    "studies/3-requests.toml",
    "studies/4-arrivals.toml",
    "studies/5-clusters.toml",
    "studies/6-any-cluster.toml",
    "studies/7-fleets.toml",
    "studies/8-scenarios.toml",
];

impl Study {
    /// The committed studies. They are written into `folder` with the scenarios that they name, where a person can
    /// read and change them. The checkpoint that they name is built in.
    ///
    /// # Errors
    /// [`StudyError`] if a file cannot be written.
    pub fn built_in(folder: &Path, effort: Effort) -> Result<Vec<Self>, StudyError> {
        for (path, contents) in FILES {
            let file = folder.join(path);
            let written = crate::results::write(&file, contents);
            written.map_err(|error| StudyError::new(&file, &error.to_string()))?;
        }
        Self::load_folder(&folder.join("studies"), effort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use std::fs;

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

    #[test]
    fn they_are_all_there_and_need_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let built_in = Study::built_in(folder.path(), Effort::Quick).unwrap();
        let committed =
            Study::load_folder(&Path::new(ROOT).join("studies"), Effort::Quick).unwrap();
        let [built_in, committed] =
            [built_in, committed].map(|studies| Plan::new(studies).unwrap());
        let keys = |plan: &Plan| plan.units.iter().map(|unit| unit.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&built_in), keys(&committed));
    }

    #[test]
    fn no_committed_file_is_left_out() {
        for folder in ["studies", "scenarios"] {
            for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
                let entry = entry.unwrap();
                let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
                let left_out = entry.path().is_dir();
                assert!(left_out || FILES.iter().any(|(built_in, _)| *built_in == path), "{path}");
            }
        }
    }
}
