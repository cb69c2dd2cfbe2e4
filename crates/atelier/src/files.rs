//! Reading input, which may be refused, and opening output before the work whose result it takes.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::exit;

use agent::Recipe;
use scheduling::{Instance, PolicyName, Row};
use simulation::{Domain, InstanceSource, Recording, Recordings, Scenario};
use writing::Output;

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
    /// Instance file (JSON), such as a gateway's traffic from `export`, in place of a scenario; may
    /// be given several times. Evaluated as it is; training resamples it in blocks of 50 requests.
    #[arg(long = "instance", value_name = "INSTANCE")]
    recordings: Vec<PathBuf>,
}

impl Source {
    /// The scenario of the file, or the recordings.
    pub(crate) fn read(&self) -> Result<Box<dyn InstanceSource>, Failure> {
        self.read_with(|file| Ok(Box::new(read_scenario(file)?)))
    }

    /// The domain of the file, or the recordings.
    pub(crate) fn read_domain(&self) -> Result<Box<dyn InstanceSource>, Failure> {
        self.read_with(read_domain)
    }

    fn read_with(
        &self,
        read_drawn: impl FnOnce(&Path) -> Result<Box<dyn InstanceSource>, Failure>,
    ) -> Result<Box<dyn InstanceSource>, Failure> {
        if let Some(file) = &self.scenario {
            return read_drawn(file);
        }
        let recording = |file: &PathBuf| {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            Ok(Recording::new(&name, read_instance(file)?))
        };
        let recordings = self.recordings.iter().map(recording).collect::<Result<_, Failure>>()?;
        Ok(Box::new(Recordings::new(recordings)))
    }
}

/// The domain in a TOML file.
pub(crate) fn read_domain(file: &Path) -> Result<Box<dyn InstanceSource>, Failure> {
    let domain = Domain::from_toml(&read(file)?);
    Ok(Box::new(domain.map_err(|error| Failure::refused(file.display(), error))?))
}

/// The instance in a JSON file.
pub(crate) fn read_instance(file: &Path) -> Result<Instance, Failure> {
    Instance::from_json(&read(file)?).map_err(|error| Failure::refused(file.display(), error))
}

/// The rows in a CSV file, of an instance with models of these names.
pub(crate) fn read_rows(file: &Path, models: &[String]) -> Result<Vec<Row>, Failure> {
    scheduling::read_rows(&read(file)?, models)
        .map_err(|error| Failure::refused(file.display(), error))
}

/// The rows in a CSV file, and the models that it names.
pub(crate) fn read_rows_and_models(file: &Path) -> Result<(Vec<Row>, Vec<String>), Failure> {
    let text = read(file)?;
    let models = scheduling::models_in_rows(&text);
    let read = models.and_then(|models| Ok((scheduling::read_rows(&text, &models)?, models)));
    read.map_err(|error| Failure::refused(file.display(), error))
}

/// The policies of these names.
pub(crate) fn load_policies(names: &[PolicyName]) -> Result<Vec<Recipe>, Failure> {
    let load = |name| Recipe::load(name).map_err(|error| Failure::Refused(error.into()));
    names.iter().map(load).collect()
}

pub(crate) fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| Failure::refused(file.display(), error))
}

/// A file, or whatever else is written to, that an option names. Opened before long work, so that what
/// is in its way is found at the start.
pub(crate) struct Destination {
    path: PathBuf,
    output: Output,
}

impl Destination {
    /// Opens it; what is there stays until all is written.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let output = Output::create(path).map_err(|error| cannot_write(path, error))?;
        Ok(Self { path: path.to_owned(), output })
    }

    /// Opens what an option names, if it is given.
    pub(crate) fn optional(path: Option<&PathBuf>) -> Result<Option<Self>, Failure> {
        path.map(|path| Self::open(path)).transpose()
    }

    /// Writes all of it.
    pub(crate) fn write(self, contents: &str) -> Result<(), Failure> {
        self.write_with(|output| output.write_all(contents.as_bytes()))
    }

    /// Writes all of it, part by part. A reader that has gone (`--rows /dev/stdout | head`) ends the
    /// command quietly, as with all that is printed.
    pub(crate) fn write_with(
        self,
        contents: impl FnOnce(&mut Output) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let Self { path, mut output } = self;
        match contents(&mut output).and_then(|()| output.commit()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
            written => written.map_err(|error| cannot_write(&path, error)),
        }
    }
}

/// Creates the folder that an option names, or says why files cannot be written there.
pub(crate) fn create_folder(path: &Path) -> Result<(), Failure> {
    writing::create_folder(path).map_err(|error| cannot_write(path, error))
}

fn cannot_write(path: &Path, error: io::Error) -> Failure {
    Failure::Failed(anyhow::Error::new(error).context(format!("cannot write {}", path.display())))
}
