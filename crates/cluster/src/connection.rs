//! The way to the brokers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::{Client, ConnectOptions, Event};
use gateway::backends::check_authorities;
use gateway::config::ClusterConfig;
use tokio::sync::watch;

use crate::error::ClusterError;
use crate::subjects::Names;

/// How a program reaches the brokers of a cell.
#[derive(Clone, Debug)]
pub(crate) struct Address<'a> {
    pub(crate) brokers: Vec<&'a str>,
    pub(crate) cell: &'a str,
    pub(crate) nkey_file: &'a Path,
    pub(crate) ca_file: &'a Path,
    /// How it is called at the brokers.
    pub(crate) name: String,
}

impl<'a> Address<'a> {
    /// That of a node.
    pub(crate) fn of(cluster: &'a ClusterConfig, name: String) -> Self {
        Self {
            brokers: texts(&cluster.nats),
            cell: cluster.cell.get_ref(),
            nkey_file: &cluster.nkey_file,
            ca_file: &cluster.ca_file,
            name,
        }
    }
}

/// The texts of a list in a configuration.
pub(crate) fn texts(list: &[toml::Spanned<String>]) -> Vec<&str> {
    list.iter().map(|text| text.get_ref().as_str()).collect()
}

/// An open connection.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) streams: Context,
    pub(crate) names: Names,
    /// Counts how often it was open; what others said in between is lost.
    pub(crate) opened: watch::Receiver<u64>,
    /// Why the brokers do not let this one do what it is for, once they have said so.
    pub(crate) refused: watch::Receiver<Option<String>>,
}

impl Connection {
    /// Longest that a broker may take to answer.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

    /// Resolves when the brokers have said that they do not let this one do what it is for, with why.
    pub(crate) async fn refusal(&self) -> String {
        let mut refused = self.refused.clone();
        match refused.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Connects to one of the brokers.
    ///
    /// # Errors
    /// [`ClusterError`], if none of them can be reached, or they do not know us.
    pub(crate) async fn open(address: &Address<'_>) -> Result<Self, ClusterError> {
        // Already installed is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let seed = first_line(address.nkey_file)?;
        let file = |problem: String| ClusterError::File { file: address.nkey_file.into(), problem };
        nkeys::KeyPair::from_seed(&seed).map_err(|e| {
            file(format!("{e}: allowed is the seed of an nkey, 58 characters from SU"))
        })?;
        check_ca(address.ca_file)?;
        let (opens, opened) = watch::channel(0);
        let (refuse, refused) = watch::channel(None);
        let (opens, refuse) = (Arc::new(opens), Arc::new(refuse));
        let name = address.name.clone();
        let options = ConnectOptions::with_nkey(seed)
            .name(&name)
            .require_tls(true)
            .add_root_certificates(address.ca_file.into())
            .no_echo()
            .connection_timeout(Duration::from_secs(2))
            .request_timeout(Some(Self::PATIENCE))
            .ping_interval(Duration::from_secs(2))
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis((attempts as u64).saturating_mul(50).min(1_000))
            })
            .subscription_capacity(8_192)
            .event_callback(move |event| {
                let (opens, refuse) = (opens.clone(), refuse.clone());
                async move { told(&event, &opens, &refuse) }
            });
        let client = options.connect(&address.brokers[..]).await.map_err(|error| {
            ClusterError::Connect { brokers: address.brokers.join(", "), problem: plain(&error) }
        })?;
        let mut streams = async_nats::jetstream::new(client.clone());
        streams.set_timeout(Self::PATIENCE);
        Ok(Self { client, streams, names: Names::of(address.cell), opened, refused })
    }
}

/// What a failed connection says, and what to do where that is known.
fn plain(error: &async_nats::ConnectError) -> String {
    let text = crate::causes(error).replace("IO error: ", "");
    let hint = if text.contains("authorization violation") {
        UNKNOWN
    } else if text.contains("certificate") {
        "`ca_file` is not that of the authority of this cell"
    } else if text.contains("refused") || text.contains("timed out") {
        "start the brokers, or write where they are as `nats`"
    } else {
        return text;
    };
    format!("{text}: {hint}")
}

/// What to do about a key that brokers do not know.
const UNKNOWN: &str = "they do not know this nkey: copy users.conf to every broker and reload them";

fn told(event: &Event, opens: &watch::Sender<u64>, refuse: &watch::Sender<Option<String>>) {
    let text = event.to_string();
    let small = text.to_lowercase();
    if small.contains("authorization violation") {
        refuse.send_replace(Some(UNKNOWN.into()));
        return;
    }
    // An answer that comes too late is refused as well, and no harm.
    let essential = ["subscription", "publish to \"$js.api"];
    let violated = small.split_once("permissions violation for ");
    let violated = violated.filter(|(_, what)| essential.iter().any(|word| what.starts_with(word)));
    if let Some((_, what)) = violated {
        let what = format!(
            "they do not let this nkey have its part of the cell ({what}): it is another one's, or users.conf of the \
             brokers does not have it: copy that to every broker and reload them"
        );
        refuse.send_replace(Some(what));
        return;
    }
    match event {
        Event::Connected => {
            opens.send_modify(|opened| *opened += 1);
            tracing::info!("connected to a broker");
        }
        Event::Disconnected => tracing::warn!("the connection to the brokers is lost"),
        Event::LameDuckMode => tracing::info!("the broker is about to stop"),
        _ => tracing::debug!(text, "from the brokers"),
    }
}

/// Whether the file of the authority is there, and is one.
///
/// # Errors
/// [`ClusterError::File`]
pub(crate) fn check_ca(file: &Path) -> Result<(), ClusterError> {
    check_authorities(file).map_err(|problem| ClusterError::File { file: file.into(), problem })
}

/// The first line of a file.
fn first_line(file: &Path) -> Result<String, ClusterError> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| ClusterError::File { file: file.into(), problem: e.to_string() })?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
