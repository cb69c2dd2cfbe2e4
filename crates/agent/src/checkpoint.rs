//! Checkpoints: a folder with the weights, the learning curve, and a file that a person can read.
//!
//! ```text
//! models/paper/
//!   metadata.json             what this is and how it came to be
//!   weights-3000.safetensors  both networks and both optimisers after episode 3000
//!   curve-3000.csv            one line per update
//! ```
//!
//! `metadata.json` names the other two and is renamed into place last: whenever saving is cut
//! short, the folder still holds the checkpoint before, whole.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, View};
use scheduling::message::bounded;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::actor::Actor;
use crate::adam::Adam;
use crate::algorithm1::{ActorCritic, CurvePoint, Hyperparameters, MOST_EPISODES, MOST_LANES};
use crate::features::FEATURE_VERSION;
use crate::network::Mlp;

mod file;

pub(crate) use file::{METADATA_BYTES, curve_bytes, read, weights_bytes};

/// A training, finished or not, with its past.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Both networks and their optimisers.
    pub training: ActorCritic,
    /// One entry per update.
    pub curve: Vec<CurvePoint>,
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

/// The contents of `metadata.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Version of this file's form.
    pub format: u32,
    /// Where the checkpoint came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Seed of the weights, of the exploration and of the training episodes.
    pub seed: u64,
    /// The random generator that the seed belongs to.
    pub generator: String,
    /// Meaning of the networks' input.
    pub feature_version: u32,
    /// J
    pub servers: usize,
    /// The choices that the paper leaves open.
    pub hyperparameters: Hyperparameters,
    /// Episodes done.
    pub episodes: u64,
    /// Updates done, as the optimisers count them.
    pub updates: u64,
    /// File of the weights.
    pub weights: PathBuf,
    /// File of the learning curve.
    pub curve: PathBuf,
}

const FORMAT: u32 = 1;
const METADATA: &str = "metadata.json";

impl Checkpoint {
    /// Writes the checkpoint into `folder`, in place of an older one.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; an older checkpoint is then still there.
    pub fn save(&self, folder: &Path) -> Result<(), CheckpointError> {
        let training = &self.training;
        let metadata = Metadata {
            format: FORMAT,
            origin: self.origin.clone(),
            seed: training.seed,
            generator: scheduling::Generator::VERSION.into(),
            feature_version: FEATURE_VERSION,
            servers: training.actor.servers(),
            hyperparameters: training.hyperparameters.clone(),
            episodes: training.episodes,
            updates: training.actor_adam.updates,
            weights: format!("weights-{}.safetensors", training.episodes).into(),
            curve: format!("curve-{}.csv", training.episodes).into(),
        };
        let older = read_metadata(folder).ok();
        fs::create_dir_all(folder).map_err(|error| CheckpointError::io(folder, error))?;
        write(&folder.join(&metadata.weights), &self.weights())?;
        write(&folder.join(&metadata.curve), write_curve(&self.curve).as_bytes())?;
        let json = serde_json::to_string_pretty(&metadata).expect("metadata has JSON's types");
        write(&folder.join(METADATA), format!("{json}\n").as_bytes())?;
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
        let metadata = read_metadata(folder)?;
        let file = folder.join(&metadata.weights);
        let parameters = ActorCritic::parameter_count(metadata.servers, &metadata.hyperparameters);
        // Each with the two moments of its gradient.
        let bytes = read(&file, weights_bytes(3 * parameters))?;
        let training = read_weights(&bytes, &metadata)
            .map_err(|problem| CheckpointError::content(&file, &problem))?;
        let curve = read_curve(&folder.join(&metadata.curve), metadata.updates)?;
        Ok(Self { training, curve, origin: metadata.origin })
    }

    /// Whether `folder` holds a checkpoint.
    pub fn exists(folder: &Path) -> bool {
        folder.join(METADATA).exists()
    }

    fn weights(&self) -> Vec<u8> {
        let training = &self.training;
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        for (name, network, adam) in [
            ("actor", training.actor.network(), &training.actor_adam),
            ("critic", &training.critic, &training.critic_adam),
        ] {
            for (part, values) in [
                ("", network.parameters()),
                (".first_moment", &adam.first_moment),
                (".second_moment", &adam.second_moment),
            ] {
                tensors.extend(layers(network.sizes(), values).flat_map(|(layer, shape, w, b)| {
                    let bias = vec![shape[1]];
                    [
                        (format!("{name}.{layer}.weight{part}"), Tensor::new(shape, w)),
                        (format!("{name}.{layer}.bias{part}"), Tensor::new(bias, b)),
                    ]
                }));
            }
        }
        safetensors::serialize(tensors, None).expect("names differ and shapes fit")
    }
}

/// A learning curve as CSV with a header.
pub fn write_curve<Point: Serialize>(curve: &[Point]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for point in curve {
        writer.serialize(point).expect("points are flat and memory does not fail");
    }
    let bytes = writer.into_inner().expect("memory does not fail");
    String::from_utf8(bytes).expect("numbers are ASCII")
}

/// Reads a learning curve of at most so many points back.
pub(crate) fn read_curve<Point: DeserializeOwned>(
    file: &Path,
    points: u64,
) -> Result<Vec<Point>, CheckpointError> {
    csv::Reader::from_reader(&read(file, curve_bytes(points))?[..])
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|error| CheckpointError::content(file, &error.to_string()))
}

/// Removes the files of an older checkpoint, but for those that the new one uses.
pub(crate) fn remove_older(folder: &Path, older: [&PathBuf; 2], kept: [&PathBuf; 2]) {
    for file in older.into_iter().filter(|file| !kept.contains(file)) {
        // Left behind, it would only take space.
        let _ = fs::remove_file(folder.join(file));
    }
}

fn read_metadata(folder: &Path) -> Result<Metadata, CheckpointError> {
    let file = folder.join(METADATA);
    let text = read(&file, METADATA_BYTES)?;
    let content = |problem: String| CheckpointError::content(&file, &problem);
    check_versions(&text, FORMAT, FEATURE_VERSION).map_err(content)?;
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|error| content(error.to_string()))?;
    let Metadata { servers, hyperparameters, episodes, updates, .. } = &metadata;
    hyperparameters.check(*servers).map_err(content)?;
    check_counts(*episodes, MOST_EPISODES + MOST_LANES as u64, *updates).map_err(content)?;
    for name in [&metadata.weights, &metadata.curve] {
        check_file_name(name).map_err(content)?;
    }
    Ok(metadata)
}

/// Whether the metadata is of the versions that are read. Asked first, as others have other fields.
pub(crate) fn check_versions(
    metadata: &[u8],
    format: u32,
    feature_version: u32,
) -> Result<(), String> {
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
pub(crate) fn check_file_name(name: &Path) -> Result<(), String> {
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

fn read_weights(bytes: &[u8], metadata: &Metadata) -> Result<ActorCritic, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let hyperparameters = metadata.hyperparameters.clone();
    let [actor_sizes, critic_sizes] = ActorCritic::sizes(metadata.servers, &hyperparameters.hidden);
    let read = |name: &str, sizes: &[usize], part: &str| -> Result<Vec<f32>, String> {
        let mut values = Vec::new();
        for (layer, pair) in sizes.windows(2).enumerate() {
            for (kind, shape) in [("weight", pair), ("bias", &pair[1..])] {
                let name = format!("{name}.{layer}.{kind}{part}");
                read_values(&tensors, &name, shape, &mut values)?;
            }
        }
        Ok(values)
    };
    let network = |name: &str, sizes: &[usize]| {
        let adam = Adam {
            first_moment: read(name, sizes, ".first_moment")?,
            second_moment: read(name, sizes, ".second_moment")?,
            updates: metadata.updates,
        };
        let network = Mlp::from_parameters(sizes, read(name, sizes, "")?);
        Ok::<_, String>((network.expect("as many as the shapes say"), adam))
    };
    let (actor, actor_adam) = network("actor", &actor_sizes)?;
    let actor = Actor::from_network(actor, metadata.servers).expect("sizes are those of an actor");
    let (critic, critic_adam) = network("critic", &critic_sizes)?;
    let (seed, episodes) = (metadata.seed, metadata.episodes);
    Ok(ActorCritic { hyperparameters, seed, actor, critic, actor_adam, critic_adam, episodes })
}

/// Appends the numbers of the tensor of that name and shape.
pub(crate) fn read_values(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
    values: &mut Vec<f32>,
) -> Result<(), String> {
    let tensor = tensors.tensor(name).map_err(|error| format!("{name}: {error}"))?;
    if tensor.shape() != shape || tensor.dtype() != Dtype::F32 {
        let (dtype, found) = (tensor.dtype(), tensor.shape());
        return Err(format!("{name} is {dtype:?} {found:?}: expected F32 {shape:?}"));
    }
    let (numbers, _) = tensor.data().as_chunks::<4>();
    values.extend(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)));
    Ok(())
}

/// Weights and biases of each layer in a vector of parameters, with the shape of the weights.
fn layers<'a>(
    sizes: &'a [usize],
    mut values: &'a [f32],
) -> impl Iterator<Item = (usize, Vec<usize>, &'a [f32], &'a [f32])> {
    sizes.windows(2).enumerate().map(move |(layer, pair)| {
        let (weights, rest) = values.split_at(pair[0] * pair[1]);
        let (bias, rest) = rest.split_at(pair[1]);
        values = rest;
        (layer, pair.to_vec(), weights, bias)
    })
}

/// A tensor as safetensors wants it.
pub(crate) struct Tensor {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    pub(crate) fn new(shape: Vec<usize>, values: &[f32]) -> Self {
        Self { shape, bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
    }
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes a file of a checkpoint, whole or not at all.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
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
    pub(crate) fn io(file: &Path, source: io::Error) -> Self {
        Self::Io { file: file.to_owned(), source }
    }

    pub(crate) fn content(file: &Path, problem: &str) -> Self {
        Self::Content { file: file.to_owned(), problem: bounded(problem) }
    }
}
