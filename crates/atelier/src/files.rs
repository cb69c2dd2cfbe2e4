//! Reading input, which may be refused, and writing output, whole or not at all.

use std::fs;
use std::io::Write;
use std::path::Path;

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
