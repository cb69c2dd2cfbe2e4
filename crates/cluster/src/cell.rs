//! Streams and buckets of a cell: made once, opened by every node.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::kv::{self, Store};
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Republish, StorageType, Stream};

use scheduling::message::hex;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::ClusterError;
use crate::log::Extent;

/// What all nodes of a cell share.
#[derive(Clone)]
pub(crate) struct Cell {
    pub(crate) log: Stream,
    pub(crate) pictures: Stream,
    pub(crate) lease: Store,
    pub(crate) settings: Settings,
    pub(crate) snapshots: ObjectStore,
}

/// How a cell is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) replicas: usize,
    pub(crate) lease: Duration,
}

/// Version of what stands in the log, which all nodes of a cell must read.
const FORMAT: &str = "1";
/// How long the log is kept; who was away for longer begins with a snapshot.
const DAYS: u64 = 3;
/// Longest that brokers may take to choose who leads among them.
const PATIENCE: Duration = Duration::from_secs(20);

impl Cell {
    /// Makes what is not there yet, and says what that was.
    ///
    /// # Errors
    /// [`ClusterError::Cell`]
    pub(crate) async fn make(
        connection: &Connection,
        shape: Shape,
    ) -> Result<Vec<String>, ClusterError> {
        let (streams, names) = (&connection.streams, &connection.names);
        let mut made = Vec::new();
        let log = log(connection, shape, None);
        let pictures = Config {
            name: names.pictures(),
            subjects: vec![names.all_pictures()],
            max_messages_per_subject: 1,
            // Until a node that leads knows for how long pictures are kept.
            max_age: keep(86_400.0),
            storage: StorageType::File,
            num_replicas: shape.replicas,
            allow_direct: true,
            ..Config::default()
        };
        for config in [log, pictures] {
            let name = config.name.clone();
            if streams.get_stream(&name).await.is_ok() {
                continue;
            }
            let create = || streams.create_stream(config.clone());
            match patiently(names.cell(), create).await? {
                Ok(_) => made.push(format!("stream {name}")),
                Err(error) if exists(&error) => {}
                Err(error) => return Err(problem(names.cell(), &name, &error)),
            }
        }
        let bucket = |bucket: String, max_age, storage| kv::Config {
            bucket,
            history: 1,
            max_age,
            storage,
            num_replicas: shape.replicas,
            ..kv::Config::default()
        };
        for config in [
            // On the disk as well: one that was lost would be taken while it still holds.
            bucket(names.lease(), shape.lease, StorageType::File),
            bucket(names.settings(), Duration::ZERO, StorageType::File),
        ] {
            let name = config.bucket.clone();
            if streams.get_key_value(&name).await.is_err() {
                let create = || streams.create_key_value(config.clone());
                let bucket = patiently(names.cell(), create).await?;
                bucket.map_err(|error| problem(names.cell(), &name, &error))?;
                made.push(format!("bucket {name}"));
            }
        }
        let lease = streams.get_stream(format!("KV_{}", names.lease())).await;
        let lease = lease.map_err(|error| problem(names.cell(), &names.lease(), &error))?;
        let config = lease.cached_info().config.clone();
        if config.max_age != shape.lease {
            // A message cannot be known again for longer than it lives.
            let duplicate_window = config.duplicate_window.min(shape.lease);
            let changed = Config { max_age: shape.lease, duplicate_window, ..config };
            let updated = streams.update_stream(changed).await;
            updated.map_err(|error| problem(names.cell(), &names.lease(), &error))?;
            made.push(format!("lease of {} s", shape.lease.as_secs_f64()));
        }
        let snapshots = object_store::Config {
            bucket: names.snapshots(),
            num_replicas: shape.replicas,
            ..object_store::Config::default()
        };
        let name = snapshots.bucket.clone();
        if streams.get_object_store(&name).await.is_err() {
            let create = || streams.create_object_store(snapshots.clone());
            let bucket = patiently(names.cell(), create).await?;
            bucket.map_err(|error| problem(names.cell(), &name, &error))?;
            made.push(format!("bucket {name}"));
        }
        let settings = Settings(
            streams
                .get_key_value(names.settings())
                .await
                .map_err(|error| problem(names.cell(), &names.settings(), &error))?,
        );
        settings
            .begin(Settings::FORMAT, FORMAT)
            .await
            .map_err(|why| settings_problem(connection, &why))?;
        let secret = hex(&gateway::node::link_secret());
        settings
            .begin(Settings::SECRET, &secret)
            .await
            .map_err(|why| settings_problem(connection, &why))?;
        Ok(made)
    }

    /// Opens what must be there.
    ///
    /// # Errors
    /// [`ClusterError::Cell`] if something is missing, or of another version.
    pub(crate) async fn open(connection: &Connection) -> Result<Self, ClusterError> {
        let (streams, names) = (&connection.streams, &connection.names);
        let stream = async |name: String| {
            let get = || streams.get_stream(name.clone());
            match patiently(names.cell(), get).await? {
                Ok(stream) => Ok(stream),
                Err(error) if matches!(&error.kind(), GetStreamErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND) => {
                    Err(missing(connection, &name))
                }
                Err(error) => Err(problem(names.cell(), &name, &error)),
            }
        };
        let log = stream(names.log()).await?;
        let pictures = stream(names.pictures()).await?;
        // What they are made of is looked for first, so that what is missing is named.
        for bucket in [
            format!("KV_{}", names.lease()),
            format!("KV_{}", names.settings()),
            format!("OBJ_{}", names.snapshots()),
        ] {
            stream(bucket).await?;
        }
        let bucket = async |name: String| {
            let get = || streams.get_key_value(name.clone());
            patiently(names.cell(), get)
                .await?
                .map_err(|error| problem(names.cell(), &name, &error))
        };
        let (lease, settings) = (bucket(names.lease()).await?, bucket(names.settings()).await?);
        let get = || streams.get_object_store(names.snapshots());
        let snapshots = patiently(names.cell(), get).await?;
        let snapshots =
            snapshots.map_err(|error| problem(names.cell(), &names.snapshots(), &error))?;
        let settings = Settings(settings);
        let format = patiently(names.cell(), || settings.get(Settings::FORMAT)).await?;
        let format = format.map_err(|why| settings_problem(connection, &crate::causes(&why)))?;
        match format.as_deref() {
            Some(FORMAT) => {}
            None => return Err(missing(connection, "the version of the log")),
            Some(other) => {
                let other = scheduling::message::excerpt(other);
                return Err(ClusterError::Cell {
                    cell: names.cell().into(),
                    problem: format!(
                        "its log is of version {other:?}, and this atelier reads version {FORMAT}: start that of the \
                         other nodes"
                    ),
                });
            }
        }
        Ok(Self { log, pictures, lease, settings, snapshots })
    }

    /// Whether the lease lasts as long here as for the brokers: a leader must not believe in it for longer.
    ///
    /// # Errors
    /// [`ClusterError::Cell`] with both.
    pub(crate) async fn check_lease(
        &self,
        connection: &Connection,
        seconds: f64,
    ) -> Result<(), ClusterError> {
        let names = &connection.names;
        let status = patiently(names.cell(), || self.lease.status()).await?;
        let status = status.map_err(|error| problem(names.cell(), &names.lease(), &error))?;
        let made = status.max_age().as_secs_f64();
        if (made - seconds).abs() < 1e-3 {
            return Ok(());
        }
        Err(ClusterError::Cell {
            cell: names.cell().into(),
            problem: format!(
                "`cluster.lease_seconds` is {seconds}, and {made} for its brokers: allowed is the same at all nodes; \
                 `atelier cluster init FOLDER` takes what stands in the atelier.toml of the first node there"
            ),
        })
    }

    /// What links to pictures are signed with, at all nodes.
    ///
    /// # Errors
    /// [`ClusterError::Cell`]
    pub(crate) async fn link_secret(
        &self,
        connection: &Connection,
    ) -> Result<[u8; 32], ClusterError> {
        let secret = patiently(connection.names.cell(), || self.settings.secret()).await?;
        let secret = secret.map_err(|why| settings_problem(connection, &crate::causes(&why)))?;
        secret.ok_or_else(|| missing(connection, "the secret for links"))
    }

    /// How far the log goes, also while brokers choose who leads among them.
    ///
    /// # Errors
    /// [`ClusterError::Cell`]
    pub(crate) async fn extent(&self, connection: &Connection) -> Result<Extent, ClusterError> {
        let names = &connection.names;
        let info = patiently(names.cell(), || self.log.get_info()).await?;
        let info = info.map_err(|error| problem(names.cell(), &names.log(), &error))?;
        Ok(Extent::of(&info.state))
    }

    /// Whether the log has as many copies as the configuration says.
    ///
    /// # Errors
    /// [`ClusterError::Cell`] with both.
    pub(crate) fn check_replicas(
        &self,
        connection: &Connection,
        wanted: u32,
    ) -> Result<(), ClusterError> {
        let made = self.log.cached_info().config.num_replicas;
        if made == wanted as usize {
            return Ok(());
        }
        Err(ClusterError::Cell {
            cell: connection.names.cell().into(),
            problem: format!(
                "`cluster.replicas` is {wanted}, and its log has {made} copies: allowed is {made}, as the cell was made"
            ),
        })
    }

    /// Has the brokers keep pictures for as long as the journal does, and a little longer. What they keep for longer
    /// already stays so.
    pub(crate) async fn keep_pictures(&self, connection: &Connection, seconds: f64) {
        let Ok(info) = self.pictures.get_info().await else { return };
        let wanted = keep(seconds);
        if info.config.max_age >= wanted {
            return;
        }
        let changed = Config { max_age: wanted, ..info.config };
        if let Err(error) = connection.streams.update_stream(changed).await {
            tracing::warn!(%error, "the brokers keep pictures for less than `keep_seconds`");
        }
    }
}

/// How the stream of the log is made; its first message may be another one than the first.
pub(crate) fn log(connection: &Connection, shape: Shape, first: Option<u64>) -> Config {
    let names = &connection.names;
    Config {
        name: names.log(),
        subjects: vec![names.append()],
        max_age: Duration::from_secs(DAYS * 86_400),
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: shape.replicas,
        // Nobody removes what has happened.
        deny_delete: true,
        republish: Some(Republish {
            source: names.append(),
            destination: names.appended(),
            headers_only: false,
        }),
        first_sequence: first,
        ..Config::default()
    }
}

/// The journal forgets a picture first.
fn keep(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.mul_add(1.1, 3_600.0).ceil())
}

/// Tries while brokers do not answer, as when they have just been started.
async fn patiently<T, E: std::error::Error + 'static, F: Future<Output = Result<T, E>>>(
    cell: &str,
    mut call: impl FnMut() -> F,
) -> Result<Result<T, E>, ClusterError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let result = call().await;
        let again = result.as_ref().err().map(|error| crate::causes(error)).filter(|why| {
            ["timed out", "no responders", "unavailable", "timeout", "no leader"]
                .iter()
                .any(|word| why.contains(word))
        });
        match again {
            None => return Ok(result),
            Some(why) if Instant::now() > until => {
                return Err(ClusterError::Cell {
                    cell: cell.into(),
                    problem: format!(
                        "its brokers do not answer: {why}: more than half of them must run"
                    ),
                });
            }
            Some(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

fn exists(error: &async_nats::jetstream::context::CreateStreamError) -> bool {
    matches!(error.kind(), CreateStreamErrorKind::JetStream(ref e) if e.error_code() == ErrorCode::STREAM_NAME_EXIST)
}

fn missing(connection: &Connection, what: &str) -> ClusterError {
    ClusterError::Cell {
        cell: connection.names.cell().into(),
        problem: format!(
            "{what} is missing: run `atelier cluster init FOLDER` while its brokers run, or write the name of the \
             cell as `cluster.cell`"
        ),
    }
}

fn problem(cell: &str, what: &str, error: &(dyn std::error::Error + 'static)) -> ClusterError {
    ClusterError::Cell { cell: cell.into(), problem: format!("{what}: {}", crate::causes(error)) }
}

fn settings_problem(connection: &Connection, why: &str) -> ClusterError {
    let problem = format!("{}: {why}", connection.names.settings());
    ClusterError::Cell { cell: connection.names.cell().into(), problem }
}

/// What holds at all nodes.
#[derive(Clone)]
pub(crate) struct Settings(Store);

impl Settings {
    const FORMAT: &str = "format";
    const SECRET: &str = "links";
    /// Begins the keys of servers that take no requests.
    const DRAINED: &str = "drained.";
    /// The policy that an operator has put in place, since the configuration with this one was in force.
    const POLICY: &str = "policy";

    async fn begin(&self, key: &str, value: &str) -> Result<(), String> {
        match self.0.create(key, value.to_owned().into()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == kv::CreateErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(crate::causes(&error)),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<String>, kv::EntryError> {
        let value = self.0.get(key).await?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    async fn secret(&self) -> Result<Option<[u8; 32]>, kv::EntryError> {
        let text = self.get(Self::SECRET).await?.unwrap_or_default();
        let byte = |i: usize| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()))
    }

    /// A server takes no requests from now on, or takes them again.
    pub(crate) async fn drain(&self, server: &str, drained: bool) {
        let key = format!("{}{server}", Self::DRAINED);
        let done = if drained {
            self.0.put(&key, "1".into()).await.map(drop).map_err(|error| crate::causes(&error))
        } else {
            self.0.delete(&key).await.map_err(|error| crate::causes(&error))
        };
        if let Err(error) = done {
            tracing::warn!(
                server,
                error,
                "the next node to lead will not know what an operator has set"
            );
        }
    }

    /// Another policy decides from now on, in place of the configured one.
    pub(crate) async fn policy(&self, name: &str, configured: &str) {
        let value = format!("{configured}\n{name}");
        if let Err(error) = self.0.put(Self::POLICY, value.into()).await {
            tracing::warn!(%error, "the next node to lead will not know what an operator has set");
        }
    }

    /// Servers that take no requests, and the policy in place of the configured one, if any.
    pub(crate) async fn set(
        &self,
        configured: &str,
    ) -> Result<(Vec<String>, Option<String>), String> {
        use futures_util::TryStreamExt as _;
        let keys = self.0.keys().await.map_err(|error| crate::causes(&error))?;
        let keys: Vec<String> = keys.try_collect().await.map_err(|error| crate::causes(&error))?;
        let drained = keys.iter().filter_map(|key| key.strip_prefix(Self::DRAINED));
        let policy = self.get(Self::POLICY).await.map_err(|error| crate::causes(&error))?;
        let policy = policy.and_then(|value| {
            let (before, name) = value.split_once('\n')?;
            // A configuration that says something else is newer.
            (before == configured && name != configured).then(|| name.to_owned())
        });
        Ok((drained.map(Into::into).collect(), policy))
    }
}
