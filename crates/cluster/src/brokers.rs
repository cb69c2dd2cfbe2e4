//! Whether the brokers are what the promises rest on.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;

use crate::error::ClusterError;

/// The oldest version that does what it is asked: older ones pass over what they do not know, the fence included.
const OLDEST: (u64, u64) = (2, 12);
/// Bytes of one message, at least.
pub(crate) const PAYLOAD: usize = 8 * 1024 * 1024;
/// Seconds that clocks may be apart.
const APART: f64 = 1.0;
/// Longest that a monitor may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a broker tells of itself, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Told {
    pub(crate) server_name: String,
    pub(crate) version: String,
    max_payload: usize,
    now: Timestamp,
    jetstream: Option<JetStream>,
    /// Bytes of memory.
    #[serde(default)]
    pub(crate) mem: u64,
}

#[derive(Debug, Deserialize)]
struct JetStream {
    config: Option<JetStreamConfig>,
}

#[derive(Debug, Deserialize)]
struct JetStreamConfig {
    /// Left out where it is not so.
    #[serde(default)]
    sync_always: bool,
}

/// Checks all brokers that answer.
///
/// # Errors
/// [`ClusterError::Broker`] for the first that is not fit, or if none answers.
pub(crate) async fn check(monitors: &[&str]) -> Result<(), ClusterError> {
    let mut answered = false;
    for (monitor, told) in ask(monitors).await {
        match told {
            Ok((told, apart)) => {
                answered = true;
                told.is_fit(apart).map_err(|problem| ClusterError::Broker {
                    broker: format!("{} ({monitor})", told.server_name),
                    problem,
                })?;
            }
            Err(problem) => tracing::warn!(monitor, problem, "a broker does not tell how it is"),
        }
    }
    if answered {
        return Ok(());
    }
    Err(ClusterError::Broker {
        broker: monitors.join(", "),
        problem: "none of them tells how it is, so nobody knows whether it keeps what it acknowledges: write as \
                  `monitor` where the `http` of nats.conf listens"
            .into(),
    })
}

/// What the brokers tell, and by how many seconds their clocks are ahead of ours.
pub(crate) async fn ask<'a>(monitors: &[&'a str]) -> Vec<(&'a str, Result<(Told, f64), String>)> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    let Ok(client) = client else { return Vec::new() };
    join_all(monitors.iter().map(|&monitor| {
        let client = client.clone();
        async move { (monitor, one(&client, monitor).await) }
    }))
    .await
}

async fn one(client: &reqwest::Client, monitor: &str) -> Result<(Told, f64), String> {
    let url = format!("{}/varz", monitor.trim_end_matches('/'));
    let asked = Timestamp::now();
    let response = client.get(url).send().await.map_err(|error| crate::causes(&error))?;
    let bytes = response.bytes().await.map_err(|error| crate::causes(&error))?;
    let seconds = |time: Timestamp| time.as_microsecond() as f64 / 1e6;
    let (asked, answered) = (seconds(asked), seconds(Timestamp::now()));
    let told: Told = serde_json::from_slice(&bytes)
        .map_err(|error| format!("its answer is none of nats-server: {error}"))?;
    // It looked at its clock somewhere in between.
    let now = seconds(told.now);
    let apart = if now < asked { now - asked } else { (now - answered).max(0.0) };
    Ok((told, apart))
}

impl Told {
    /// Whether it can be relied on; otherwise what is wrong with it, and what to change.
    pub(crate) fn is_fit(&self, apart: f64) -> Result<(), String> {
        check_version(&self.version)?;
        check_payload(self.max_payload)?;
        let config = self.jetstream.as_ref().and_then(|jetstream| jetstream.config.as_ref());
        match config {
            None => {
                return Err(
                    "it has no JetStream: write a `jetstream` block in its nats.conf".into()
                );
            }
            Some(config) if !config.sync_always => {
                return Err("a power loss would take what it has acknowledged: write `sync_interval: always` in the \
                            `jetstream` of its nats.conf"
                    .into());
            }
            Some(_) => {}
        }
        if apart.abs() > APART {
            let (by, way) = (apart.abs(), if apart > 0.0 { "ahead of" } else { "behind" });
            return Err(format!(
                "its clock is {by:.1} s {way} this machine's: allowed is {APART} s, so set both by NTP"
            ));
        }
        Ok(())
    }
}

pub(crate) fn check_version(version: &str) -> Result<(), String> {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= OLDEST {
        return Ok(());
    }
    let (major, minor) = OLDEST;
    Err(format!(
        "it is nats-server {version}, which passes over what keeps two leaders apart: allowed is {major}.{minor} or later"
    ))
}

pub(crate) fn check_payload(bytes: usize) -> Result<(), String> {
    if bytes >= PAYLOAD {
        return Ok(());
    }
    Err(format!("its max_payload is {bytes} bytes: write `max_payload: 8MB` in its nats.conf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_that_must_not_be_relied_on_are_refused_with_what_to_change() {
        let check = |change: &str, problem: Option<&str>| {
            let fit = r#"{"server_name": "n1", "version": "2.12.3", "max_payload": 8388608,
                "now": "2026-11-29T21:00:00.5Z", "jetstream": {"config": {"sync_always": true}}}"#;
            let (from, to) = change.split_once(" -> ").unwrap_or_default();
            let told: Told = serde_json::from_str(&fit.replace(from, to)).unwrap();
            let found = told.is_fit(0.2).err();
            match (&found, problem) {
                (None, None) => {}
                (Some(found), Some(problem)) => assert!(found.contains(problem), "{found}"),
                _ => panic!("{change}: {found:?}"),
            }
        };
        check("2.12.3 -> 2.15.1-preview.1", None);
        check("2.12.3 -> 3.0.0", None);
        check("2.12.3 -> 2.11.9", Some("allowed is 2.12 or later"));
        check("2.12.3 -> 2.9.10", Some("2.9.10"));
        check("8388608 -> 1048576", Some("max_payload: 8MB"));
        check("\"sync_always\": true -> ", Some("sync_interval: always"));
        check("{\"config\": {\"sync_always\": true}} -> null", Some("no JetStream"));
        let told = |apart: f64| {
            let told: Told = serde_json::from_str(
                r#"{"server_name": "n1", "version": "2.12.3", "max_payload": 8388608,
                "now": "2026-11-29T21:00:00Z", "jetstream": {"config": {"sync_always": true}}}"#,
            )
            .unwrap();
            told.is_fit(apart)
        };
        assert!(told(-0.9).is_ok());
        assert!(told(1.5).unwrap_err().contains("1.5 s ahead of"));
        assert!(told(-70.0).unwrap_err().contains("70.0 s behind"));
    }
}
