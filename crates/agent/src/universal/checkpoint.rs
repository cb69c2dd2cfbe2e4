//! Checkpoints of the universal agent: a folder like that of the paper's agent.
//!
//! `metadata.json` says `"agent": "universal"`, and names the weights and the learning curve.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::UNIVERSAL_FEATURE_VERSION;
use super::chance::Chance;
use super::prices::PriceNetwork;
use super::training::{MOST_ROUNDS, PriceHyperparameters, PriceTraining, RoundPoint};
use crate::adam::Adam;
use crate::checkpoint::{
    CheckpointError, METADATA_BYTES, Origin, Tensor, check_counts, check_file_name, check_versions,
    read, read_curve, read_values, remove_older, weights_bytes, write, write_curve,
};

/// A training of the universal agent, finished or not, with its past.
#[derive(Clone, Debug, PartialEq)]
pub struct UniversalCheckpoint {
    /// The network and its optimiser.
    pub training: PriceTraining,
    /// One entry per round.
    pub curve: Vec<RoundPoint>,
    /// Where it came from.
    pub origin: Origin,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    format: u32,
    agent: String,
    #[serde(flatten)]
    origin: Origin,
    seed: u64,
    generator: String,
    feature_version: u32,
    hyperparameters: PriceHyperparameters,
    rounds: u64,
    /// As the optimiser counts them.
    updates: u64,
    weights: PathBuf,
    curve: PathBuf,
}

/// Which agent a checkpoint says that it is of.
#[derive(Deserialize)]
struct Kind {
    agent: Option<String>,
}

const FORMAT: u32 = 4;
const AGENT: &str = "universal";
const METADATA: &str = "metadata.json";

impl UniversalCheckpoint {
    /// Whether the checkpoint in `folder` says that it is one of a universal agent.
    pub fn is_in(folder: &Path) -> bool {
        read(&folder.join(METADATA), METADATA_BYTES)
            .ok()
            .and_then(|text| serde_json::from_slice::<Kind>(&text).ok())
            .is_some_and(|kind| kind.agent.as_deref() == Some(AGENT))
    }

    /// Writes the checkpoint into `folder`, in place of an older one.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; an older checkpoint is then still there.
    pub fn save(&self, folder: &Path) -> Result<(), CheckpointError> {
        let PriceTraining { hyperparameters, seed, network, learner, adam, chance, rounds } =
            &self.training;
        let metadata = Metadata {
            format: FORMAT,
            agent: AGENT.into(),
            origin: self.origin.clone(),
            seed: *seed,
            generator: scheduling::Generator::VERSION.into(),
            feature_version: UNIVERSAL_FEATURE_VERSION,
            hyperparameters: hyperparameters.clone(),
            rounds: *rounds,
            updates: adam.updates,
            weights: format!("weights-{rounds}.safetensors").into(),
            curve: format!("curve-{rounds}.csv").into(),
        };
        let older = read_metadata(folder).ok();
        fs::create_dir_all(folder).map_err(|error| CheckpointError::io(folder, error))?;
        let tensors = [
            ("prices", network.perceptron().parameters()),
            ("prices.learner", learner.perceptron().parameters()),
            ("prices.first_moment", &adam.first_moment),
            ("prices.second_moment", &adam.second_moment),
            ("chance", chance.network.parameters()),
            ("chance.first_moment", &chance.adam.first_moment),
            ("chance.second_moment", &chance.adam.second_moment),
        ]
        .map(|(name, values)| (name, Tensor::new(vec![values.len()], values)));
        let weights = safetensors::serialize(tensors, None).expect("names differ and shapes fit");
        write(&folder.join(&metadata.weights), &weights)?;
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
        let prices = PriceNetwork::parameter_count(&metadata.hyperparameters.hidden);
        // The learner has the two moments of its gradient, and so has the chance.
        let bytes = read(&file, weights_bytes(4 * prices + 3 * Chance::parameter_count()))?;
        let training = read_weights(&bytes, &metadata)
            .map_err(|problem| CheckpointError::content(&file, &problem))?;
        let curve = read_curve(&folder.join(&metadata.curve), metadata.rounds)?;
        Ok(Self { training, curve, origin: metadata.origin })
    }
}

fn read_metadata(folder: &Path) -> Result<Metadata, CheckpointError> {
    let file = folder.join(METADATA);
    let text = read(&file, METADATA_BYTES)?;
    let content = |problem: String| CheckpointError::content(&file, &problem);
    let Kind { agent } =
        serde_json::from_slice(&text).map_err(|error| content(error.to_string()))?;
    if agent.as_deref() != Some(AGENT) {
        let agent = agent.unwrap_or_default();
        return Err(content(format!("agent is {agent:?}: allowed here is {AGENT:?}")));
    }
    check_versions(&text, FORMAT, UNIVERSAL_FEATURE_VERSION).map_err(content)?;
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|error| content(error.to_string()))?;
    metadata.hyperparameters.check().map_err(content)?;
    check_counts(metadata.rounds, MOST_ROUNDS, metadata.updates).map_err(content)?;
    for name in [&metadata.weights, &metadata.curve] {
        check_file_name(name).map_err(content)?;
    }
    Ok(metadata)
}

fn read_weights(bytes: &[u8], metadata: &Metadata) -> Result<PriceTraining, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let hidden = &metadata.hyperparameters.hidden;
    let numbers = |name: &str, count: usize| {
        let mut values = Vec::new();
        read_values(&tensors, name, &[count], &mut values)?;
        Ok::<_, String>(values)
    };
    let adam = |name: &str, count: usize| {
        Ok::<_, String>(Adam {
            first_moment: numbers(&format!("{name}.first_moment"), count)?,
            second_moment: numbers(&format!("{name}.second_moment"), count)?,
            // The chance is learned in step with the prices.
            updates: metadata.updates,
        })
    };
    let prices = PriceNetwork::parameter_count(hidden);
    let network = |name: &str| {
        let network = PriceNetwork::from_parameters(hidden, numbers(name, prices)?);
        Ok::<_, String>(network.expect("as many as the shape says"))
    };
    let count = Chance::parameter_count();
    let chance = Chance::from_parts(numbers("chance", count)?, adam("chance", count)?);
    Ok(PriceTraining {
        hyperparameters: metadata.hyperparameters.clone(),
        seed: metadata.seed,
        network: network("prices")?,
        learner: network("prices.learner")?,
        adam: adam("prices", prices)?,
        chance: chance.expect("as many as the shape says"),
        rounds: metadata.rounds,
    })
}
