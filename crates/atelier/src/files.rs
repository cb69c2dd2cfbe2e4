//! Reading input, which may be refused, and writing output, whole or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use agent::Recipe;
use anyhow::Context;
use atomic_write_file::AtomicWriteFile;
use scheduling::{Instance, PolicyName};
use simulation::{Domain, Scenario};

use crate::failure::Failure;

/// The scenario in a TOML file.
pub(crate) fn read_scenario(file: &Path) -> Result<Scenario, Failure> {
    Scenario::from_toml(&read(file)?).map_err(|error| Failure::refused(file.display(), error))
}

/// What is compared or trained on: drawn instances, or recorded traffic.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Source {
    /// Scenario file (TOML).
    #[arg(long)]
    scenario: Option<PathBuf>,
    /// Instance file (JSON), such as a gateway's traffic from `export`, in place of a scenario:
    /// evaluated as it is; training resamples it in blocks of 50 requests.
    #[arg(long)]
    instance: Option<PathBuf>,
}

impl Source {
    /// The scenario of the file.
    pub(crate) fn read(&self) -> Result<Scenario, Failure> {
        match (&self.scenario, &self.instance) {
            (Some(file), _) => read_scenario(file),
            (None, Some(file)) => {
                let name = file
                    .file_stem()
                    .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
                Scenario::recorded(&name, read_instance(file)?)
                    .map_err(|error| Failure::refused(file.display(), error))
            }
            (None, None) => unreachable!("the group is required"),
        }
    }

    /// The file of a scenario or domain, if it is one.
    pub(crate) fn scenario(&self) -> Option<&Path> {
        self.scenario.as_deref()
    }

    /// How many evaluation instances there are: those asked for, or the one that was recorded.
    pub(crate) fn instances(&self, asked: u64) -> u64 {
        if self.instance.is_some() { asked.min(1) } else { asked }
    }
}

/// The domain in a TOML file.
pub(crate) fn read_domain(file: &Path) -> Result<Domain, Failure> {
    Domain::from_toml(&read(file)?).map_err(|error| Failure::refused(file.display(), error))
}

/// The instance in a JSON file.
pub(crate) fn read_instance(file: &Path) -> Result<Instance, Failure> {
    Instance::from_json(&read(file)?).map_err(|error| Failure::refused(file.display(), error))
}

/// The policies of these names.
pub(crate) fn load_policies(names: &[PolicyName]) -> Result<Vec<Recipe>, Failure> {
    let load = |name| Recipe::load(name).map_err(|error| Failure::Refused(error.into()));
    names.iter().map(load).collect()
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| Failure::refused(file.display(), error))
}

/// Writes under a temporary name and renames: readers see the whole file or none.
pub(crate) fn write(file: &Path, contents: &str) -> Result<(), Failure> {
    let write = || {
        let mut handle = AtomicWriteFile::open(file)?;
        handle.write_all(contents.as_bytes())?;
        handle.commit()
    };
    let written: std::io::Result<()> = write();
    Ok(written.with_context(|| format!("cannot write {}", file.display()))?)
}
