//! Checkpoints: a folder with the weights, the learning curve, and a file that a person can read.
//!
//! ```text
//! models/paper/
//!   metadata.json             what this is and how it came to be
//!   weights-3000.safetensors  networks and optimisers after episode 3000
//!   curve-3000.csv            one line per update
//! ```
//!
//! `metadata.json` names the other two and is renamed into place last: whenever saving is cut
//! short, the folder still holds the checkpoint before, whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use scheduling::message::bounded;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::training::Training;

mod file;
mod tensor;

use file::{METADATA_BYTES, curve_bytes, read, weights_bytes};
pub(crate) use tensor::{Tensor, layers, read_values};

/// A training, finished or not, with its past.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint<T: Training> {
    /// Networks and optimisers.
    pub training: T,
    /// One entry per update.
    pub curve: Vec<T::Point>,
    /// Where it came from.
    pub origin: Origin,
}

/// What a training was started with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Version of atelier.
    pub version: String,
    /// The command that made it.
    pub command: String,
    /// The scenario, whole.
    pub scenario: serde_json::Value,
}

/// How a kind of training is kept on disk.
pub trait Stored: Sized {
    /// What `metadata.json` calls the agent; the paper's has no name there.
    const AGENT: Option<&'static str>;
    /// Version of the form of `metadata.json`.
    const FORMAT: u32;
    /// Meaning of the networks' input.
    const FEATURE_VERSION: u32;

    /// What `metadata.json` says of the shape and the progress, beside what it says of all trainings.
    type State: Serialize + DeserializeOwned;

    /// The training without its numbers.
    fn state(&self) -> Self::State;

    /// Updates done, as the optimisers count them.
    fn updates(&self) -> u64;

    /// Checks a state from elsewhere, before anything is allocated for it.
    ///
    /// # Errors
    /// What is wrong with it, and what is allowed.
    fn check(state: &Self::State, updates: u64) -> Result<(), String>;

    /// How many numbers the weights' file holds.
    fn numbers(state: &Self::State) -> usize;

    /// How many points the curve has at most.
    fn points(state: &Self::State, updates: u64) -> u64;

    /// The numbers, by name.
    fn tensors(&self) -> Vec<(String, Tensor)>;

    /// The training of a checked state with these numbers.
    ///
    /// # Errors
    /// What is missing, or has another shape than the state says.
    fn from_tensors(
        state: Self::State,
        seed: u64,
        updates: u64,
        tensors: &SafeTensors<'_>,
    ) -> Result<Self, String>;
}

/// The contents of `metadata.json`.
#[derive(Serialize, Deserialize)]
struct Metadata<State> {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(flatten)]
    origin: Origin,
    /// Of the weights, of the exploration and of the training instances.
    seed: u64,
    /// The random generator that the seed belongs to.
    generator: String,
    feature_version: u32,
    #[serde(flatten)]
    state: State,
    updates: u64,
    /// Files beside this one.
    weights: PathBuf,
    curve: PathBuf,
}

/// What is asked of `metadata.json` first, as other kinds and versions have other fields.
#[derive(Deserialize)]
struct Kind {
    agent: Option<String>,
}

const METADATA: &str = "metadata.json";

/// Whether `folder` holds a checkpoint of any kind.
pub fn has_checkpoint(folder: &Path) -> bool {
    folder.join(METADATA).exists()
}

impl<T: Training> Checkpoint<T> {
    /// A training that has not begun.
    pub fn fresh(training: T, origin: Origin) -> Self {
        Self { training, curve: Vec::new(), origin }
    }

    /// Whether the checkpoint in `folder` says that it is of this kind.
    pub(crate) fn is_in(folder: &Path) -> bool {
        read(&folder.join(METADATA), METADATA_BYTES)
            .ok()
            .and_then(|text| serde_json::from_slice::<Kind>(&text).ok())
            .is_some_and(|kind| kind.agent.as_deref() == T::AGENT)
    }

    /// Writes the checkpoint into `folder`, in place of an older one.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; an older checkpoint is then still there.
    pub fn save(&self, folder: &Path) -> Result<(), CheckpointError> {
        let training = &self.training;
        let done = training.done();
        let metadata = Metadata {
            format: T::FORMAT,
            agent: T::AGENT.map(Into::into),
            origin: self.origin.clone(),
            seed: training.seed(),
            generator: scheduling::Generator::VERSION.into(),
            feature_version: T::FEATURE_VERSION,
            state: training.state(),
            updates: training.updates(),
            weights: format!("weights-{done}.safetensors").into(),
            curve: format!("curve-{done}.csv").into(),
        };
        let file = folder.join(METADATA);
        let older =
            read(&file, METADATA_BYTES).and_then(|text| Metadata::of::<T>(&text, &file)).ok();
        fs::create_dir_all(folder).map_err(|error| CheckpointError::io(folder, error))?;
        let weights =
            safetensors::serialize(training.tensors(), None).expect("names differ and shapes fit");
        write(&folder.join(&metadata.weights), &weights)?;
        write(&folder.join(&metadata.curve), write_curve(&self.curve).as_bytes())?;
        let json = serde_json::to_string_pretty(&metadata).expect("metadata has JSON's types");
        write(&file, format!("{json}\n").as_bytes())?;
        if let Some(older) = older {
            remove_older(
                folder,
                [&older.weights, &older.curve],
                [&metadata.weights, &metadata.curve],
            );
        }
        Ok(())
    }

    /// Reads the checkpoint in `folder`.
    ///
    /// # Errors
    /// [`CheckpointError`] with the file and what is wrong with it.
    pub fn load(folder: &Path) -> Result<Self, CheckpointError> {
        let file = folder.join(METADATA);
        let metadata = Metadata::of::<T>(&read(&file, METADATA_BYTES)?, &file)?;
        let (updates, origin) = (metadata.updates, metadata.origin.clone());
        let [weights, curve] = [&metadata.weights, &metadata.curve].map(|name| folder.join(name));
        let points = T::points(&metadata.state, updates);
        let bytes = read(&weights, weights_bytes(T::numbers(&metadata.state)))?;
        let training = metadata.training::<T>(&bytes, &weights)?;
        Ok(Self { training, curve: read_curve(&curve, points)?, origin })
    }
}

/// The training of a checkpoint whose two files are known; `folder` is for messages.
///
/// # Errors
/// [`CheckpointError::Content`]
pub(crate) fn training_of<T: Training>(
    metadata: &[u8],
    weights: &[u8],
    folder: &Path,
) -> Result<T, CheckpointError> {
    let metadata = Metadata::of::<T>(metadata, &folder.join(METADATA))?;
    let file = folder.join(&metadata.weights);
    metadata.training::<T>(weights, &file)
}

impl<State: DeserializeOwned> Metadata<State> {
    /// Reads the text of `file`, and checks it.
    fn of<T: Stored<State = State>>(text: &[u8], file: &Path) -> Result<Self, CheckpointError> {
        let content = |problem: String| CheckpointError::content(file, &problem);
        let Kind { agent } =
            serde_json::from_slice(text).map_err(|error| content(error.to_string()))?;
        if agent.as_deref() != T::AGENT {
            let [found, allowed] = [agent.as_deref(), T::AGENT]
                .map(|name| name.map_or("not given".into(), |name| format!("{name:?}")));
            return Err(content(format!("agent is {found}: allowed here is {allowed}")));
        }
        check_versions(text, T::FORMAT, T::FEATURE_VERSION).map_err(content)?;
        let metadata: Self =
            serde_json::from_slice(text).map_err(|error| content(error.to_string()))?;
        T::check(&metadata.state, metadata.updates).map_err(content)?;
        for name in [&metadata.weights, &metadata.curve] {
            check_file_name(name).map_err(content)?;
        }
        Ok(metadata)
    }

    /// The training with the numbers of `file`.
    fn training<T: Stored<State = State>>(
        self,
        bytes: &[u8],
        file: &Path,
    ) -> Result<T, CheckpointError> {
        let Self { state, seed, updates, .. } = self;
        SafeTensors::deserialize(bytes)
            .map_err(|error| error.to_string())
            .and_then(|tensors| T::from_tensors(state, seed, updates, &tensors))
            .map_err(|problem| CheckpointError::content(file, &problem))
    }
}

/// Whether the metadata is of the versions that are read. Asked first, as others have other fields.
fn check_versions(metadata: &[u8], format: u32, feature_version: u32) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Versions {
        format: u32,
        feature_version: u32,
    }
    let found: Versions = serde_json::from_slice(metadata).map_err(|error| error.to_string())?;
    for (what, found, expected) in [
        ("format", found.format, format),
        ("feature_version", found.feature_version, feature_version),
    ] {
        if found != expected {
            return Err(format!("{what} is {found}: this version reads {expected}"));
        }
    }
    Ok(())
}

/// A checkpoint from elsewhere must not make us read other folders.
fn check_file_name(name: &Path) -> Result<(), String> {
    if name.file_name() == Some(name.as_os_str()) {
        return Ok(());
    }
    Err(format!("{}: allowed is a plain file name", name.display()))
}

/// How much of a training is done: of its episodes or rounds, and of its optimiser's updates. A training
/// that goes on counts from there.
pub(crate) fn check_counts(done: u64, most: u64, updates: u64) -> Result<(), String> {
    /// Adam's corrections count in 32 bits.
    const MOST_UPDATES: u64 = i32::MAX as u64 / 2;
    for (what, found, most) in
        [("what is done of the training", done, most), ("updates", updates, MOST_UPDATES)]
    {
        if found > most {
            return Err(format!("{what} is {found}: allowed is 0 to {most}"));
        }
    }
    Ok(())
}

/// A learning curve as CSV with a header.
fn write_curve<Point: Serialize>(curve: &[Point]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for point in curve {
        writer.serialize(point).expect("points are flat and memory does not fail");
    }
    let bytes = writer.into_inner().expect("memory does not fail");
    String::from_utf8(bytes).expect("numbers are ASCII")
}

/// Reads a learning curve of at most so many points back.
fn read_curve<Point: DeserializeOwned>(
    file: &Path,
    points: u64,
) -> Result<Vec<Point>, CheckpointError> {
    csv::Reader::from_reader(&read(file, curve_bytes(points))?[..])
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|error| CheckpointError::content(file, &error.to_string()))
}

/// Removes the files of an older checkpoint, but for those that the new one uses.
fn remove_older(folder: &Path, older: [&PathBuf; 2], kept: [&PathBuf; 2]) {
    for file in older.into_iter().filter(|file| !kept.contains(file)) {
        // Left behind, it would only take space.
        let _ = fs::remove_file(folder.join(file));
    }
}

/// Writes a file of a checkpoint, whole or not at all.
fn write(file: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    writing::write(file, bytes).map_err(|error| CheckpointError::io(file, error))
}

/// A checkpoint that cannot be read or written.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// A file cannot be reached.
    #[error("{}: {source}", bounded(&file.display().to_string()))]
    Io {
        /// The file.
        file: PathBuf,
        /// The reason that the system gives.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {problem}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl CheckpointError {
    /// A file that cannot be reached, for what is kept beside a checkpoint.
    pub fn io(file: &Path, source: io::Error) -> Self {
        Self::Io { file: file.to_owned(), source }
    }

    pub(crate) fn content(file: &Path, problem: &str) -> Self {
        Self::Content { file: file.to_owned(), problem: bounded(problem) }
    }
}
