//! Results on disk: typed rows as CSV, and the cache that lets a study go on where it stopped.

use std::fs;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};

use scheduling::message::bounded;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use simulation::Metrics;
use thiserror::Error;

/// The version that rows name: of atelier, and of all code that results depend on.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("ATELIER_SOURCES"));

/// What one policy reached on one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstanceRow {
    /// [`VERSION`]
    pub(crate) version: String,
    /// The random generator that the seeds belong to.
    pub(crate) generator: String,
    /// Name of the scenario file's scenario.
    pub(crate) scenario: String,
    /// Seed of the instances.
    pub(crate) seed: u64,
    /// Name of the panel.
    pub(crate) panel: String,
    /// Value of what is swept; empty without a sweep.
    pub(crate) x: Option<f64>,
    /// Name of the policy.
    pub(crate) policy: String,
    /// Empty for what is not trained.
    pub(crate) training_seed: Option<u64>,
    /// Index of the evaluation instance under the seed.
    pub(crate) instance: u64,
    /// [`Metrics`], as are all that follow.
    pub(crate) reward: f64,
    pub(crate) quality: f64,
    pub(crate) tardiness: f64,
    pub(crate) penalty: f64,
    pub(crate) late_fraction: f64,
    pub(crate) tardiness_p99: f64,
    pub(crate) tardiness_worst: f64,
}

impl InstanceRow {
    /// A row of a policy without training, with this reward and all else 0, for tests.
    #[cfg(test)]
    pub(crate) fn of(
        panel: &str,
        x: Option<f64>,
        policy: &str,
        instance: u64,
        reward: f64,
    ) -> Self {
        Self {
            version: VERSION.into(),
            generator: "g".into(),
            scenario: "s".into(),
            seed: 1,
            panel: panel.into(),
            x,
            policy: policy.into(),
            training_seed: None,
            instance,
            reward,
            quality: 0.0,
            tardiness: 0.0,
            penalty: 0.0,
            late_fraction: 0.0,
            tardiness_p99: 0.0,
            tardiness_worst: 0.0,
        }
    }

    /// The figures of the row.
    pub(crate) fn metrics(&self) -> Metrics {
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
pub(crate) struct RequestRow {
    /// As in [`InstanceRow`], down to `instance`.
    pub(crate) version: String,
    pub(crate) generator: String,
    pub(crate) scenario: String,
    pub(crate) seed: u64,
    pub(crate) panel: String,
    pub(crate) policy: String,
    pub(crate) training_seed: Option<u64>,
    pub(crate) instance: u64,
    /// [`scheduling::Row`], as are all that follow.
    pub(crate) request: usize,
    pub(crate) server: usize,
    pub(crate) steps: u32,
    pub(crate) tardiness: f64,
    pub(crate) quality: f64,
    pub(crate) reward: f64,
}

/// What a training saw in one update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CurveRow {
    /// As in [`InstanceRow`], down to `panel`.
    pub(crate) version: String,
    pub(crate) generator: String,
    pub(crate) scenario: String,
    pub(crate) panel: String,
    /// Name of the policy.
    pub(crate) policy: String,
    /// Seed of training instances, weights and exploration.
    pub(crate) training_seed: u64,
    /// Episodes done.
    pub(crate) episode: u64,
    /// Mean per request under the exploring policy.
    pub(crate) reward: f64,
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
pub(crate) fn read_csv<R: DeserializeOwned>(file: &Path) -> Result<Vec<R>, ResultsError> {
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
pub(crate) struct Key(String);

impl Key {
    /// A key from its parts, together with the version of the code.
    pub(crate) fn new(parts: &serde_json::Value) -> Self {
        Self(serde_json::json!([VERSION, scheduling::Generator::VERSION, parts]).to_string())
    }

    /// FNV-1a with 64 bits, in hexadecimal: short enough for the name of a file.
    pub(crate) fn hash(&self) -> String {
        let hash = self.0.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        format!("{hash:016x}")
    }

    /// The key itself.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Results by key, one file each. The first line of a file is its key, so that neither a collision
/// of hashes nor a file from elsewhere is taken for a result.
#[derive(Clone, Debug)]
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// The cache in a folder, which need not exist yet.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The result of a key, if it is there and whole.
    pub(crate) fn get<R: DeserializeOwned>(&self, key: &Key) -> Option<Vec<R>> {
        let text = fs::read_to_string(self.file(key)).ok()?;
        let rows = text.strip_prefix(key.text())?.strip_prefix('\n')?;
        csv::Reader::from_reader(rows.as_bytes()).deserialize().collect::<Result<_, _>>().ok()
    }

    /// Whether there is a result for the key.
    pub(crate) fn has(&self, key: &Key) -> bool {
        let begins = || {
            let mut file = io::BufReader::new(fs::File::open(self.file(key)).ok()?);
            let mut first = Vec::new();
            file.read_until(b'\n', &mut first).ok()?;
            Some(first.strip_suffix(b"\n")? == key.text().as_bytes())
        };
        begins().unwrap_or(false)
    }

    /// The result of a key that was put.
    ///
    /// # Errors
    /// [`ResultsError::Content`] if it is there no longer, or not whole.
    pub(crate) fn result<R: DeserializeOwned>(&self, key: &Key) -> Result<Vec<R>, ResultsError> {
        self.get(key).ok_or_else(|| ResultsError::Content {
            file: self.file(key),
            problem: "does not hold its rows any more: without this file they are made anew".into(),
        })
    }

    /// Keeps a result.
    ///
    /// # Errors
    /// [`ResultsError::Io`]
    pub(crate) fn put<R: Serialize>(&self, key: &Key, rows: &[R]) -> Result<(), ResultsError> {
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
            scenario: "paper, but \"quoted\"".into(),
            seed: u64::MAX,
            quality: 1.0 / 3.0,
            penalty: 5e300,
            late_fraction: -0.0,
            tardiness_p99: 1e-9,
            tardiness_worst: 2.0,
            ..InstanceRow::of("p", x, "greedy[ties=fastest]", instance, 0.1 + 0.2)
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
