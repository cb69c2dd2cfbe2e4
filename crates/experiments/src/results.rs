//! Results on disk: typed rows as CSV, and the cache that lets a study go on where it stopped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use scheduling::message::bounded;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use simulation::Metrics;
use thiserror::Error;

/// The version that rows name: of atelier, and of all code that results depend on.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("ATELIER_SOURCES"));

/// What one policy reached on one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceRow {
    /// [`VERSION`]
    pub version: String,
    /// The random generator that the seeds belong to.
    pub generator: String,
    /// Name of the scenario file's scenario.
    pub scenario: String,
    /// Seed of the instances.
    pub seed: u64,
    /// Name of the panel.
    pub panel: String,
    /// Value of what is swept; empty without a sweep.
    pub x: Option<f64>,
    /// Name of the policy.
    pub policy: String,
    /// Empty for what is not trained.
    pub training_seed: Option<u64>,
    /// Index of the evaluation instance under the seed.
    pub instance: u64,
    /// [`Metrics`], as are all that follow.
    pub reward: f64,
    #[allow(missing_docs)]
    pub quality: f64,
    #[allow(missing_docs)]
    pub tardiness: f64,
    #[allow(missing_docs)]
    pub penalty: f64,
    #[allow(missing_docs)]
    pub late_fraction: f64,
    #[allow(missing_docs)]
    pub tardiness_p99: f64,
    #[allow(missing_docs)]
    pub tardiness_worst: f64,
}

impl InstanceRow {
    /// The figures of the row.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            reward: self.reward,
            quality: self.quality,
            tardiness: self.tardiness,
            penalty: self.penalty,
            late_fraction: self.late_fraction,
            tardiness_p99: self.tardiness_p99,
            tardiness_worst: self.tardiness_worst,
        }
    }
}

/// What one policy did with one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestRow {
    /// As in [`InstanceRow`], down to `instance`.
    pub version: String,
    #[allow(missing_docs)]
    pub generator: String,
    #[allow(missing_docs)]
    pub scenario: String,
    #[allow(missing_docs)]
    pub seed: u64,
    #[allow(missing_docs)]
    pub panel: String,
    #[allow(missing_docs)]
    pub policy: String,
    #[allow(missing_docs)]
    pub training_seed: Option<u64>,
    #[allow(missing_docs)]
    pub instance: u64,
    /// [`scheduling::Row`], as are all that follow.
    pub request: usize,
    #[allow(missing_docs)]
    pub server: usize,
    #[allow(missing_docs)]
    pub steps: u32,
    #[allow(missing_docs)]
    pub tardiness: f64,
    #[allow(missing_docs)]
    pub quality: f64,
    #[allow(missing_docs)]
    pub reward: f64,
}

/// What a training saw in one update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurveRow {
    /// As in [`InstanceRow`], down to `panel`.
    pub version: String,
    #[allow(missing_docs)]
    pub generator: String,
    #[allow(missing_docs)]
    pub scenario: String,
    #[allow(missing_docs)]
    pub panel: String,
    /// Name of the policy.
    pub policy: String,
    /// Seed of training instances, weights and exploration.
    pub training_seed: u64,
    /// Episodes done.
    pub episode: u64,
    /// Mean per request under the exploring policy.
    pub reward: f64,
}

/// Rows as CSV with a header, numbers in the shortest form that reads back exactly.
pub(crate) fn to_csv<R: Serialize>(rows: &[R]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).expect("rows are flat and memory does not fail");
    }
    let bytes = writer.into_inner().expect("memory does not fail");
    String::from_utf8(bytes).expect("rows are text")
}

/// Reads rows from CSV.
///
/// # Errors
/// [`ResultsError::Content`] with the line.
pub fn read_csv<R: DeserializeOwned>(file: &Path) -> Result<Vec<R>, ResultsError> {
    let text = fs::read_to_string(file).map_err(|error| ResultsError::io(file, error))?;
    csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().map_err(
        |error| {
            let problem = bounded(&error.to_string());
            ResultsError::Content { file: file.into(), problem }
        },
    )
}

/// Writes a file whole or not at all, into a folder that need not exist yet.
///
/// # Errors
/// [`ResultsError::Io`]
pub(crate) fn write(file: &Path, contents: impl AsRef<[u8]>) -> Result<(), ResultsError> {
    let write = || {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        writing::write(file, contents)
    };
    write().map_err(|error| ResultsError::io(file, error))
}

/// All that determines a result, as text; equal keys mean equal results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// A key from its parts, together with the version of the code.
    pub fn new(parts: &serde_json::Value) -> Self {
        Self(serde_json::json!([VERSION, scheduling::Generator::VERSION, parts]).to_string())
    }

    /// FNV-1a with 64 bits, in hexadecimal: short enough for the name of a file.
    pub fn hash(&self) -> String {
        let hash = self.0.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        format!("{hash:016x}")
    }

    /// The key itself.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Results by key, one file each. The first line of a file is its key, so that neither a collision
/// of hashes nor a file from elsewhere is taken for a result.
#[derive(Clone, Debug)]
pub struct Cache(PathBuf);

impl Cache {
    /// The cache in a folder, which need not exist yet.
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The result of a key, if it is there and whole.
    pub fn get<R: DeserializeOwned>(&self, key: &Key) -> Option<Vec<R>> {
        let text = fs::read_to_string(self.file(key)).ok()?;
        let rows = text.strip_prefix(key.text())?.strip_prefix('\n')?;
        csv::Reader::from_reader(rows.as_bytes()).deserialize().collect::<Result<_, _>>().ok()
    }

    /// Whether there is a file for the key.
    pub fn has(&self, key: &Key) -> bool {
        self.file(key).exists()
    }

    /// Keeps a result.
    ///
    /// # Errors
    /// [`ResultsError::Io`]
    pub fn put<R: Serialize>(&self, key: &Key, rows: &[R]) -> Result<(), ResultsError> {
        write(&self.file(key), format!("{}\n{}", key.text(), to_csv(rows)))
    }

    fn file(&self, key: &Key) -> PathBuf {
        self.0.join(format!("{}.csv", key.hash()))
    }
}

/// Results that cannot be read or written.
#[derive(Debug, Error)]
pub enum ResultsError {
    /// A file cannot be reached.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The reason that the system gives.
        source: io::Error,
    },
    /// A file does not hold the rows it should.
    #[error("{}: {problem}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl ResultsError {
    pub(crate) fn io(file: &Path, source: io::Error) -> Self {
        Self::Io { file: file.into(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(instance: u64, x: Option<f64>) -> InstanceRow {
        InstanceRow {
            version: VERSION.into(),
            generator: "g".into(),
            scenario: "paper, but \"quoted\"".into(),
            seed: u64::MAX,
            panel: "p".into(),
            x,
            policy: "greedy[ties=fastest]".into(),
            training_seed: None,
            instance,
            reward: 0.1 + 0.2,
            quality: 1.0 / 3.0,
            tardiness: 0.0,
            penalty: 5e300,
            late_fraction: -0.0,
            tardiness_p99: 1e-9,
            tardiness_worst: 2.0,
        }
    }

    #[test]
    fn rows_read_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let (file, rows) = (folder.path().join("a/b.csv"), [row(0, None), row(1, Some(0.75))]);
        write(&file, to_csv(&rows)).unwrap();
        assert_eq!(read_csv::<InstanceRow>(&file).unwrap(), rows);
        fs::write(&file, to_csv(&rows).replace("0.75", "x")).unwrap();
        let problem = read_csv::<InstanceRow>(&file).unwrap_err().to_string();
        assert!(problem.contains("b.csv") && problem.contains("line: 3"), "{problem}");
    }

    #[test]
    fn the_cache_gives_back_what_was_put_under_the_same_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"));
        let key = |seed| Key::new(&serde_json::json!({ "seed": seed }));
        assert_eq!(cache.get::<InstanceRow>(&key(1)), None);
        cache.put(&key(1), &[row(3, None)]).unwrap();
        assert_eq!(cache.get::<InstanceRow>(&key(1)).unwrap(), [row(3, None)]);
        assert_eq!(cache.get::<InstanceRow>(&key(2)), None);
        // A file of another key under this one's name, as after a collision.
        let file = |seed| cache.file(&key(seed));
        fs::copy(file(1), file(2)).unwrap();
        assert_eq!(cache.get::<InstanceRow>(&key(2)), None);
        // A file that was cut short.
        let text = fs::read_to_string(file(1)).unwrap();
        fs::write(file(1), &text[..text.len() - 20]).unwrap();
        assert_eq!(cache.get::<InstanceRow>(&key(1)), None);
    }
}
