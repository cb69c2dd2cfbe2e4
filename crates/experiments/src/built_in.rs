//! The committed studies with what they name, for `reproduce` where there is no repository.

use std::path::Path;

use agent::{UNIVERSAL, UNIVERSAL_FILES};

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

/// All of them: the checkpoint is the agent's own.
fn files() -> impl Iterator<Item = (String, &'static [u8])> {
    let path = |name: &str| format!("models/{UNIVERSAL}/{name}");
    let model = UNIVERSAL_FILES.iter().map(move |&(name, contents)| (path(name), contents));
    model.chain(FILES.iter().map(|&(path, contents)| (path.to_owned(), contents)))
}

impl Study {
    /// The committed studies. They are written into `folder` with the scenarios and the checkpoint that they
    /// name, where a person can read and change them.
    ///
    /// # Errors
    /// [`StudyError`] if a file cannot be written.
    pub fn built_in(folder: &Path, effort: Effort) -> Result<Vec<Self>, StudyError> {
        for (path, contents) in files() {
            let file = folder.join(path);
            let written = crate::results::write(&file, contents);
            written.map_err(|error| StudyError { file, problem: error.to_string() })?;
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
        for folder in ["studies", "scenarios", "models/universal"] {
            for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
                let path = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
                assert!(files().any(|(built_in, _)| built_in == path), "{path}");
            }
        }
    }
}
